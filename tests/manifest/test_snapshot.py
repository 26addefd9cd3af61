"""A snapshot brings the cache up to date by the cheapest tier that proves it, and is never wrong for it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import EMPTY_ROOT, add_to_root, entry_hash, fingerprint
from qloader.errors import SourceError
from qloader.manifest.cache import Cache
from qloader.manifest.manifest import Manifest, unpack_chunks
from qloader.manifest.snapshot import Chunking, take_snapshot
from qloader.sources.protocol import Listing
from support.model import CHUNKING
from support.sources import DictSource


class Tagged(DictSource):
    """A source with settings that shape its documents, a proof if it likes, and a fetch that can break off."""

    def __init__(self, name: str, texts: dict[str, str] | None = None) -> None:
        super().__init__(name, texts)
        self.setting = "plain"
        self.revision: str | None = None
        self.breaks_after: int | None = None
        self.listings = 0

    def selection(self) -> str:
        return fingerprint({"setting": self.setting})

    def proof(self) -> str | None:
        return self.revision

    def list(self) -> Listing:
        self.listings += 1
        listing = super().list()
        listing.revision = self.revision
        return listing

    def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
        for number, result in enumerate(super().fetch(ids, revision=revision)):
            if number == self.breaks_after:
                raise SourceError("the source broke off")
            if isinstance(result, Document):
                yield Document(
                    result.id, f"{self.setting} {result.id}", result.uri, result.text, result.revision, result.bytes
                )
            else:
                yield result


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache.open(tmp_path / "cache.db") as opened:
        yield opened


def rows(cache: Cache, source: str = "docs") -> dict[str, tuple[bytes, bytes]]:
    found = cache.connection.execute(
        "SELECT id, content, metadata FROM entry WHERE source = ? AND content IS NOT NULL", (source,)
    )
    return {row[0]: (row[1], row[2]) for row in found}


def anew(source: Tagged, chunking: Chunking = CHUNKING) -> tuple[Manifest, dict[str, tuple[bytes, bytes]]]:
    """What a snapshot with an empty cache finds."""
    reads, source.reads = source.reads, []
    with Cache.empty() as empty:
        manifest = take_snapshot(source, empty, chunking)
        found = rows(empty)
    source.reads = reads
    return manifest, found


def assert_is_right(source: Tagged, cache: Cache, manifest: Manifest) -> None:
    expected, found = anew(source)
    assert manifest == expected
    assert rows(cache) == found
    assert manifest.root == add_to_root(EMPTY_ROOT, *(entry_hash(i, *hashes) for i, hashes in found.items()))


def test_a_document_is_read_once_and_then_only_when_its_token_changed(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A", "b": "B", "c": "C"})
    take_snapshot(source, cache, CHUNKING)
    assert source.reads == ["a", "b", "c"]
    source.texts |= {"b": "another B", "d": "D"}
    del source.texts["c"]
    assert_is_right(source, cache, take_snapshot(source, cache, CHUNKING))
    assert source.reads == ["a", "b", "c", "b", "d"]


def test_an_equal_listing_reads_nothing(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A", "b": "B"})
    first = take_snapshot(source, cache, CHUNKING)
    source.reads.clear()
    assert take_snapshot(source, cache, CHUNKING) == first
    assert source.reads == []


def test_an_equal_proof_does_not_even_list(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A"})
    source.revision = "commit 1"
    take_snapshot(source, cache, CHUNKING)
    assert take_snapshot(source, cache, CHUNKING).revision == "commit 1"
    assert source.listings == 1
    source.revision = "commit 2"
    assert take_snapshot(source, cache, CHUNKING).revision == "commit 2"
    assert (source.listings, source.reads) == (2, ["a"])


def test_a_token_that_promises_nothing_is_read_every_time(cache: Cache) -> None:
    class Racy(Tagged):
        def token(self, document_id: str) -> str:
            return "" if document_id == "b" else super().token(document_id)

    source = Racy("docs", {"a": "A", "b": "B"})
    for _ in range(3):
        take_snapshot(source, cache, CHUNKING)
    assert source.reads == ["a", "b", "b", "b"]


@pytest.mark.parametrize("change", ["setting", "chunking"])
def test_other_settings_read_everything_again(cache: Cache, change: str) -> None:
    source = Tagged("docs", {"a": "A", "b": "B"})
    take_snapshot(source, cache, CHUNKING)
    chunking = CHUNKING
    if change == "setting":
        source.setting = "fancy"
    else:
        chunking = Chunking("letters", lambda: lambda document: list(document.text))
    source.reads.clear()
    manifest = take_snapshot(source, cache, chunking)
    assert source.reads == ["a", "b"]
    assert manifest == anew(source, chunking)[0]


def test_chunks_are_kept_where_the_text_is_the_same(cache: Cache) -> None:
    source = Tagged("docs", {"a": "one\n\ntwo"})
    take_snapshot(source, cache, CHUNKING)
    source.titles["a"] = "another title"  # another token, the same text
    cut: list[str] = []

    def splitter():
        return lambda document: cut.append(document.id) or [document.text]

    take_snapshot(source, cache, Chunking(CHUNKING.fingerprint, splitter))
    assert cut == []
    (blob,) = cache.connection.execute("SELECT chunks FROM entry").fetchone()
    assert len(list(unpack_chunks(blob))) == 2


@pytest.mark.parametrize("change", ["nothing", "setting", "texts", "back and forth"])
def test_a_snapshot_that_was_cut_short_leads_no_later_one_astray(tmp_path: Path, change: str) -> None:
    source = Tagged("docs", {f"{n:04}": f"text {n}" for n in range(5_000)})
    source.breaks_after = 4_500
    with Cache.open(tmp_path / "cache.db") as cache, pytest.raises(SourceError):
        take_snapshot(source, cache, CHUNKING)
    source.breaks_after = None
    if change in ("setting", "back and forth"):
        source.setting = "fancy"
    if change == "texts":
        source.texts |= {f"{n:04}": f"other text {n}" for n in range(100)}
    source.reads.clear()
    with Cache.open(tmp_path / "cache.db") as cache:
        if change == "back and forth":
            source.breaks_after = 100
            with pytest.raises(SourceError):
                take_snapshot(source, cache, CHUNKING)
            source.breaks_after, source.setting = None, "plain"
        assert_is_right(source, cache, take_snapshot(source, cache, CHUNKING))
    if change == "nothing":
        assert len(source.reads) == 1_000  # two commits of two thousand documents each were there already


def test_a_failed_read_is_a_problem_and_not_a_document_that_is_gone(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A", "b": "B"})
    take_snapshot(source, cache, CHUNKING)
    source.texts["b"] = "another B"
    source.failing = {"b"}
    manifest = take_snapshot(source, cache, CHUNKING)
    assert not manifest.complete
    assert manifest.problems == (
        "b could not be read: permission denied, an I/O error, or a server that failed: permission denied",
    )
    source.failing = set()
    assert_is_right(source, cache, take_snapshot(source, cache, CHUNKING))


def test_a_document_out_of_sight_when_it_is_read_is_a_problem_too(cache: Cache) -> None:
    class Closed(Tagged):
        def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
            return (Skipped(document_id, "forbidden") for document_id in ids)

    (problem,) = take_snapshot(Closed("docs", {"a": "A"}), cache, CHUNKING).problems
    assert problem.startswith("a may not be read: the server wants a login")


def test_many_failed_reads_are_one_problem_with_examples(cache: Cache) -> None:
    source = Tagged("docs", {f"{n:04}": str(n) for n in range(1_000)})
    source.failing = set(source.texts) - {"0000"}
    (problem,) = take_snapshot(source, cache, CHUNKING).problems
    assert problem == (
        "999 documents, each of which could not be read: permission denied, an I/O error, or a server that failed: "
        "0001 (permission denied); 0002 (permission denied); 0003 (permission denied); and 996 more"
    )


def test_what_an_incomplete_listing_did_not_name_is_not_read_again(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A", "b": "B", "c": "C", "d": "D"})
    take_snapshot(source, cache, CHUNKING)
    whole, source.reads = source.texts, []
    source.texts, source.problems = {"a": "A", "b": "another B"}, ["the server stopped answering"]
    for _ in range(2):  # the manifest is that of what was listed, as it is without a cache
        assert take_snapshot(source, cache, CHUNKING) == anew(source, CHUNKING)[0]
    source.texts, source.problems = whole | {"b": "another B", "d": "another D"}, []
    source.reads.clear()
    assert_is_right(source, cache, take_snapshot(source, cache, CHUNKING))
    assert source.reads == ["d"]


def test_what_was_not_named_and_is_gone_then_comes_back_as_anything_new(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A", "b": "B"})
    take_snapshot(source, cache, CHUNKING)
    texts = source.texts
    source.texts, source.problems = {"a": "A"}, ["the server stopped answering"]
    take_snapshot(source, cache, CHUNKING)
    source.problems = []
    assert take_snapshot(source, cache, CHUNKING).documents == 1
    source.texts = texts
    source.reads.clear()
    assert_is_right(source, cache, take_snapshot(source, cache, CHUNKING))
    assert source.reads == ["b"]


def test_an_incomplete_listing_proves_nothing_to_the_next_one(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A", "b": "B"})
    source.revision = "commit 1"
    source.problems = ["a folder could not be listed"]
    assert not take_snapshot(source, cache, CHUNKING).complete
    source.problems = []
    assert take_snapshot(source, cache, CHUNKING).complete


def test_ids_that_no_database_holds_are_skipped_by_name(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A", "": "empty", "nul\0": "nul", "half \udcff": "half"})
    manifest = take_snapshot(source, cache, CHUNKING)
    assert (manifest.documents, manifest.complete) == (1, True)
    count, examples = manifest.skipped["bad name"]
    assert count == 3
    assert all(example.isprintable() or "\0" in example for example in examples)


def test_a_listing_that_repeats_itself_counts_once(cache: Cache) -> None:
    source = Tagged("docs", {"a": "A", "b": "B"})
    source.repeat = True
    assert take_snapshot(source, cache, CHUNKING).documents == 2


def test_sources_do_not_mix(cache: Cache) -> None:
    one, other = Tagged("docs", {"a": "A"}), Tagged("notes", {"a": "another A", "b": "B"})
    first = take_snapshot(one, cache, CHUNKING)
    take_snapshot(other, cache, CHUNKING)
    assert take_snapshot(one, cache, CHUNKING) == first
    cache.forget_others(["docs"])
    assert rows(cache, "notes") == {}
    assert rows(cache, "docs") != {}


@pytest.mark.parametrize("seed", range(5))
def test_the_root_is_right_after_any_sequence_of_changes(cache: Cache, seed: int) -> None:
    chance = random.Random(seed)
    source = Tagged("docs")
    for _ in range(15):
        for _ in range(chance.randint(0, 4)):
            document_id = chance.choice("abcdefgh")
            if chance.random() < 0.3:
                source.texts.pop(document_id, None)
            else:
                source.texts[document_id] = chance.choice(["", "same", str(chance.random())])
        source.setting = chance.choice(["plain"] * 9 + ["fancy"])
        source.reverse = chance.random() < 0.5
        source.failing = set(chance.sample("abcdefgh", 2)) if chance.random() < 0.2 else set()
        manifest = take_snapshot(source, cache, CHUNKING)
        if not source.failing:
            assert_is_right(source, cache, manifest)
