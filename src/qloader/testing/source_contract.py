"""The contract of a source, as tests: subclass `SourceContract`, give it a `Site`, and let pytest run it.

The suite edits a real place (a folder, a repository, a server on the loopback) through a `Site` and looks at it
only as qloader does: `list`, then `fetch` what the change tokens do not vouch for. What a place cannot do (a
folder has no pages) its `Site` says by raising `Unsupported`, with the reason; that test is then skipped with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from qloader.documents.document import SKIP_REASONS, Document, Skipped
from qloader.documents.hashing import content_hash, metadata_hash
from qloader.errors import SourceError
from qloader.manifest.cache import Cache
from qloader.manifest.snapshot import Chunking, take_snapshot
from qloader.sources.protocol import ListsChanges, Source

T = TypeVar("T")

UNICODE = "Grüße, 日本語, עברית, 😀 und e\u0301"


class Unsupported(Exception):
    """What this kind of place cannot do, and why."""


class Site:
    """A place of documents that the suite can edit. Keys are the suite's own names: letters, digits and hyphens.

    Everything that raises `Unsupported` here may stay so where the place has no such thing.

    Attributes:
        page_size: How many documents one page of a listing holds; None where a listing has no pages.
    """

    page_size: int | None = None

    def open(self) -> Source:
        """Opens the source anew, as another run of qloader would."""
        raise NotImplementedError

    def write(self, key: str, text: str) -> None:
        """Creates a document with one paragraph of text, or replaces its text."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Deletes a document."""
        raise NotImplementedError

    def id_of(self, key: str) -> str:
        """The id that the source gives this document."""
        raise NotImplementedError

    def write_many(self, texts: dict[str, str]) -> None:
        """Creates many documents at once."""
        for key, text in texts.items():
            self.write(key, text)

    def retitle(self, key: str, title: str) -> None:
        """Changes the title alone."""
        raise Unsupported("a title is part of the text here")

    def tag(self, key: str, label: str) -> None:
        """Changes something that only the metadata shows."""
        raise Unsupported("there is no metadata beside the title")

    def move(self, key: str) -> str:
        """Moves a document elsewhere, its text as it is.

        Returns:
            The id that it has now.
        """
        raise Unsupported("nothing can be moved")

    def restore(self, key: str, text: str) -> None:
        """Brings a deleted document back."""
        self.write(key, text)

    def breaks_on_page(self, number: int) -> AbstractContextManager[None]:
        """While it lasts, a listing fails on that page, counted from 1."""
        raise Unsupported("a listing has no pages")

    def denied(self) -> AbstractContextManager[None]:
        """While it lasts, the source may not be read."""
        raise Unsupported("there are no permissions")

    def while_paging(self, edit: Callable[[], None]) -> AbstractContextManager[None]:
        """While it lasts, `edit` is called once, when the first page of a listing was given out."""
        raise Unsupported("a listing has no pages")

    def clock_ahead(self, by: timedelta) -> AbstractContextManager[None]:
        """While it lasts, the place's clock is ahead of this machine's."""
        raise Unsupported("it has this machine's clock")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a source found.

    Attributes:
        tokens: Change tokens by document id.
        documents: Documents by id.
        skipped: Why, by id.
        complete: Whether what is missing is gone.
    """

    tokens: dict[str, str]
    documents: dict[str, Document]
    skipped: dict[str, str]
    complete: bool

    def hashes(self, document_id: str) -> tuple[bytes, bytes]:
        """Content hash and metadata hash of a document."""
        document = self.documents[document_id]
        return content_hash(document.text), metadata_hash(document.title, document.uri, document.metadata)


def look(source: Source) -> Seen:
    """Lists a source and fetches all that it lists."""
    listing = source.list()
    tokens = {item.id: item.token for item in listing.items}
    documents: dict[str, Document] = {}
    skipped = {skip.id: skip.reason for skip in listing.skipped}
    ids = sorted(tokens)
    for wanted, result in zip(ids, source.fetch(iter(ids), revision=listing.revision), strict=True):
        assert result.id == wanted, "results come in the order that was asked for"
        if isinstance(result, Skipped):
            assert result.reason in SKIP_REASONS
            skipped[wanted] = result.reason
        else:
            documents[wanted] = result
    return Seen(tokens, documents, skipped, listing.complete)


class SourceContract:
    """The tests. A subclass gives a fixture `site` that yields an empty `Site`."""

    many = 10_000
    """How many documents the large test makes."""

    @pytest.fixture
    def site(self) -> Site:
        """An empty place."""
        raise NotImplementedError("give a fixture `site`")

    def test_an_empty_source_is_complete_and_holds_nothing(self, site: Site) -> None:
        seen = look(site.open())
        assert seen.tokens == {}
        assert seen.complete

    def test_what_is_created_is_listed_and_read(self, site: Site) -> None:
        site.write("one", "The first text.")
        seen = look(site.open())
        assert list(seen.documents) == [site.id_of("one")]
        document = seen.documents[site.id_of("one")]
        assert "The first text." in document.text
        assert document.title
        assert document.uri
        assert document.revision
        assert document.bytes > 0
        assert document.updated_at is None or document.updated_at.endswith("Z")
        assert seen.complete

    def test_two_looks_at_the_same_are_equal(self, site: Site) -> None:
        site.write_many({f"doc-{n}": f"Text number {n}." for n in range(5)})
        first, second = look(site.open()), look(site.open())
        assert first.documents == second.documents
        for document_id, token in first.tokens.items():
            assert token in ("", second.tokens[document_id]) or second.tokens[document_id] == ""
        assert site.open().selection() == site.open().selection()
        assert site.open().identity() == site.open().identity()
        assert site.open().confirms(site.open().identity())

    def test_an_update_changes_one_token_and_the_content(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        before = look(site.open())
        site.write("one", "The first text, edited.")
        after = look(site.open())
        one, two = site.id_of("one"), site.id_of("two")
        assert _differ(before.tokens[one], after.tokens[one])
        assert before.hashes(one)[0] != after.hashes(one)[0]
        assert before.hashes(two) == after.hashes(two)

    def test_a_new_title_costs_no_embedding(self, site: Site) -> None:
        site.write("one", "The text.")
        before = look(site.open())
        _try(lambda: site.retitle("one", "Quite another title"))
        after = look(site.open())
        one = site.id_of("one")
        assert _differ(before.tokens[one], after.tokens[one])
        assert before.hashes(one)[0] == after.hashes(one)[0]
        assert before.hashes(one)[1] != after.hashes(one)[1]
        assert "Quite another title" in after.documents[one].title

    def test_new_metadata_costs_no_embedding(self, site: Site) -> None:
        site.write("one", "The text.")
        before = look(site.open())
        _try(lambda: site.tag("one", "urgent"))
        after = look(site.open())
        one = site.id_of("one")
        assert before.hashes(one)[0] == after.hashes(one)[0]
        assert before.hashes(one)[1] != after.hashes(one)[1]
        assert _differ(before.tokens[one], after.tokens[one])

    def test_a_move_keeps_the_content(self, site: Site) -> None:
        site.write_many({"one": "The text that moves.", "two": "The text that stays."})
        before, old = look(site.open()), site.id_of("one")
        new = _try(lambda: site.move("one"))
        after = look(site.open())
        assert len(after.documents) == 2
        assert before.hashes(old)[0] == after.hashes(new)[0]
        if new == old:
            assert before.hashes(old)[1] != after.hashes(old)[1]
            assert _differ(before.tokens[old], after.tokens[old])
        else:
            assert old not in after.tokens

    def test_a_deleted_document_is_gone_from_a_complete_listing(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        look(site.open())
        one = site.id_of("one")
        site.delete("one")
        seen = look(site.open())
        assert one not in seen.tokens
        assert site.id_of("two") in seen.documents
        assert seen.complete

    def test_a_restored_document_is_there_again(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        before = look(site.open())
        old = site.id_of("one")
        site.delete("one")
        look(site.open())
        site.restore("one", "The first text.")
        after = look(site.open())
        assert after.hashes(site.id_of("one"))[0] == before.hashes(old)[0]

    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_a_page_that_is_exactly_full_is_not_the_end(self, site: Site, more: int) -> None:
        count = (_pages(site) * 2) + more
        site.write_many({f"doc-{n}": f"Text {n}." for n in range(count)})
        listing = site.open().list()
        ids = [item.id for item in listing.items]
        assert len(set(ids)) == count
        assert listing.complete

    def test_what_shifts_while_it_is_paged_is_neither_lost_nor_doubled(self, site: Site) -> None:
        size = _pages(site)
        site.write_many({f"doc-{n:03}": f"Text {n}." for n in range(size * 3)})
        look(site.open())
        with _try(lambda: site.while_paging(lambda: site.write("aaa", "One more."))):
            documents = self._manifest(site)
        missing = {site.id_of(f"doc-{n:03}") for n in range(size * 3)} - documents.keys()
        assert not missing

    def test_what_is_deleted_while_it_is_paged_hides_nothing_else(self, site: Site) -> None:
        size = _pages(site)
        site.write_many({f"doc-{n:03}": f"Text {n}." for n in range(size * 3)})
        gone = site.id_of("doc-000")
        with _try(lambda: site.while_paging(lambda: site.delete("doc-000"))):
            listing = site.open().list()
            ids = {item.id for item in listing.items}
        kept = {site.id_of(f"doc-{n:03}") for n in range(1, size * 3)}
        # Either all others are there, or the listing says that it may have lost some.
        assert kept - ids == set() or not listing.complete
        assert gone not in ids or listing.complete

    def test_an_item_that_goes_between_list_and_fetch_is_skipped_alone(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        source = site.open()
        listing = source.list()
        ids = sorted(item.id for item in listing.items)
        one = site.id_of("one")
        site.delete("one")
        found = {result.id: result for result in source.fetch(iter(ids), revision=listing.revision)}
        assert isinstance(found[site.id_of("two")], Document)
        gone = found[one]
        # A commit still has it: then it is read as it was planned.
        assert isinstance(gone, Document) or gone.reason == "vanished"

    def test_an_id_that_never_was_is_skipped(self, site: Site) -> None:
        site.write("one", "The text.")
        source = site.open()
        list(source.list().items)
        (result,) = source.fetch(iter(["99999999"]))
        assert isinstance(result, Skipped)
        assert result.id == "99999999"

    def test_a_listing_that_breaks_is_not_complete(self, site: Site) -> None:
        size = _pages(site)
        site.write_many({f"doc-{n:03}": f"Text {n}." for n in range(size * 4)})
        whole = {item.id for item in site.open().list().items}
        with _try(lambda: site.breaks_on_page(3)):
            listing = site.open().list()
            part = {item.id for item in listing.items}
        assert part < whole
        assert not listing.complete
        assert listing.problems[0]

    def test_without_permission_nothing_counts_as_deleted(self, site: Site) -> None:
        site.write("one", "The text.")
        with _try(site.denied):
            try:
                listing = site.open().list()
                left = list(listing.items)
            except SourceError as error:
                assert error.remedy  # noqa: PT017 - what was listed before matters too
                return
        assert left
        assert not listing.complete

    def test_any_text_comes_through(self, site: Site) -> None:
        site.write("one", UNICODE)
        seen = look(site.open())
        (document,) = seen.documents.values()
        for word in ("Grüße", "日本語", "עברית", "😀"):
            assert word in document.text

    def test_changes_since_a_moment_hold_what_changed_and_are_not_complete(self, site: Site) -> None:
        site.write("one", "The first text.")
        source = site.open()
        if not isinstance(source, ListsChanges):
            pytest.skip("the source cannot tell what changed")
        listing = source.changed_since(datetime.now(UTC) - timedelta(hours=1))
        assert site.id_of("one") in {item.id for item in listing.items}
        assert not listing.complete

    def test_a_clock_that_is_ahead_loses_no_change(self, site: Site) -> None:
        site.write("one", "The first text.")
        before = look(site.open())
        with _try(lambda: site.clock_ahead(timedelta(days=2))):
            site.write("one", "The first text, edited.")
            after = look(site.open())
        site.write("one", "The first text, edited twice.")
        last = look(site.open())
        one = site.id_of("one")
        assert len({seen.hashes(one)[0] for seen in (before, after, last)}) == 3
        assert _differ(before.tokens[one], after.tokens[one])
        assert _differ(after.tokens[one], last.tokens[one])

    def test_many_documents_are_listed_once_each(self, site: Site) -> None:
        site.write_many({f"doc-{n:05}": f"Text {n}." for n in range(self.many)})
        listing = site.open().list()
        ids = [item.id for item in listing.items]
        assert len(set(ids)) == self.many
        assert listing.complete

    def test_an_unchanged_source_is_not_read_again(self, site: Site) -> None:
        site.write_many({f"doc-{n}": f"Text {n}." for n in range(4)})
        source = site.open()
        tokens = {item.id: item.token for item in source.list().items}
        again = {item.id: item.token for item in site.open().list().items}
        trusted = {document_id: token for document_id, token in tokens.items() if token}
        assert all(again[document_id] in (token, "") for document_id, token in trusted.items())

    def _manifest(self, site: Site) -> dict[str, bytes]:
        """The documents of a snapshot by id, as a plan would see them."""
        chunking = Chunking("contract", lambda: lambda document: [document.text])
        with tempfile.TemporaryDirectory() as folder, Cache.open(Path(folder) / "cache.db") as cache:
            source = site.open()
            take_snapshot(source, cache, chunking)
            rows = cache.connection.execute(
                "SELECT id, content FROM entry WHERE source = ? AND content IS NOT NULL", (source.name,)
            )
            return dict(rows.fetchall())


def _differ(one: str, other: str) -> bool:
    """Whether two tokens tell of a change; an empty one promises nothing, so that it does."""
    return one != other or not one


def _pages(site: Site) -> int:
    if site.page_size is None:
        pytest.skip("a listing has no pages")
    return site.page_size


def _try(call: Callable[[], T]) -> T:
    try:
        return call()
    except Unsupported as reason:
        pytest.skip(str(reason))
