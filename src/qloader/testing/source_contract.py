"""The contract of a source, as tests: subclass `SourceContract`, give it a `Site`, and let pytest run it.

The suite edits a real place (a folder, a repository, a server on the loopback) through a `Site` and looks at it
only as qloader does: `list`, then `fetch` what the change tokens do not vouch for. What a place cannot do (a
folder has no pages) its `Site` says by raising `Unsupported`, with the reason; that test is then skipped with it.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from qloader.documents.document import SKIP_REASONS, Document, Skipped
from qloader.documents.hashing import content_hash, metadata_hash
from qloader.errors import SourceError
from qloader.manifest.cache import Cache
from qloader.manifest.manifest import Manifest
from qloader.manifest.snapshot import Chunking, take_snapshot
from qloader.sources.protocol import Checks, Follows, Listing, ListsChanges, Source

T = TypeVar("T")
Hashes = tuple[bytes, bytes]
"""Content hash and metadata hash of a document."""

UNICODE = "Grüße, 日本語, עברית, 😀 und e\u0301"
_WORDS = ("Grüße", "日本語", "עברית", "😀")


class Unsupported(Exception):
    """What this kind of place cannot do, and why."""


class Site:
    """A place of documents that the suite can edit. Keys are the suite's own names: letters, digits and hyphens.

    Everything that raises `Unsupported` here may stay so where the place has no such thing.

    Attributes:
        page_size: How many documents one page of a listing holds; None where a listing has no pages. A small one
            keeps the suite fast.
        has_title_in_text: Whether a title is a part of the text too, so that a new one has to be embedded.
    """

    page_size: int | None = None
    has_title_in_text = False

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
        raise Unsupported("nothing has a title")

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
        """Brings a deleted document back, with the text that it had."""
        self.write(key, text)

    def breaks_on_page(self, number: int) -> AbstractContextManager[None]:
        """While it lasts, a listing fails on that page, counted from 1."""
        raise Unsupported("a listing has no pages")

    def repeats_across_pages(self) -> AbstractContextManager[None]:
        """While it lasts, a page of a listing begins with the last document of the page before it.

        That may be because a document appears in front of it, which is gone again in the end.
        """
        raise Unsupported("a listing has no pages")

    def while_paging(self, edit: Callable[[], None]) -> AbstractContextManager[None]:
        """While it lasts, `edit` is called once, when the first page of a listing was given out."""
        raise Unsupported("a listing has no pages")

    def before_answer(self, number: int, edit: Callable[[], None]) -> AbstractContextManager[None]:
        """While it lasts, `edit` is called once, before the place gives its answer of that number, counted from 1.

        Answers are those to a listing and to a fetch alike. There may be fewer of them.
        """
        raise Unsupported("it is read in one go")

    def denied(self) -> AbstractContextManager[None]:
        """While it lasts, the source may not be read."""
        raise Unsupported("there are no permissions")

    def clock_ahead(self, by: timedelta) -> AbstractContextManager[None]:
        """While it lasts, the place's clock is ahead of this machine's."""
        raise Unsupported("it has this machine's clock")

    def now(self) -> datetime:
        """What the place's clock says, with an offset."""
        return datetime.now(UTC)

    def wait(self, by: timedelta) -> None:
        """Lets time pass at the place, so that all that was written until now is that much older."""
        raise Unsupported("its clock cannot be moved")


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

    def hashes(self, document_id: str) -> Hashes:
        """Content hash and metadata hash of a document."""
        return _hashes(self.documents[document_id])


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


class Plans:
    """Snapshots of a site, one after the other, with one cache: what the plans of a user would see."""

    def __init__(self, site: Site, cache: Cache) -> None:
        self._site = site
        self._cache = cache
        self.manifest: Manifest | None = None
        self.read = 0

    def take(self) -> dict[str, Hashes]:
        """Takes a snapshot; the hashes of its documents by id."""
        self.read = 0
        source = self._site.open()
        chunking = Chunking("contract", lambda: lambda document: [document.text])
        self.manifest = take_snapshot(source, self._cache, chunking, advance=self._count)
        rows = self._cache.connection.execute(
            "SELECT id, content, metadata FROM entry WHERE source = ? AND content IS NOT NULL", (source.name,)
        )
        return {document_id: (content, metadata) for document_id, content, metadata in rows}

    @property
    def complete(self) -> bool:
        """Whether the last one was complete, so that a plan would delete what is missing from it."""
        return self.manifest is not None and self.manifest.complete

    @property
    def documents(self) -> int:
        """How many documents the last one counted."""
        return self.manifest.documents if self.manifest is not None else 0

    def _count(self, documents: int) -> None:
        self.read += documents


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
        source = site.open()
        assert source.name
        assert source.type
        seen = look(source)
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
        source = site.open()
        first, again, anew = look(source), look(source), look(site.open())
        assert first.documents == again.documents == anew.documents
        for seen in (again, anew):
            assert seen.tokens.keys() == first.tokens.keys()
            assert all(_may_be_same(first.tokens[one], seen.tokens[one]) for one in first.tokens)
        assert site.open().selection() == site.open().selection()
        assert site.open().identity() == site.open().identity()
        assert site.open().confirms(site.open().identity())

    def test_who_has_the_ids_alone_reads_the_same(self, site: Site) -> None:
        """An apply fetches what a plan listed, often in another process."""
        site.write_many({f"doc-{n}": f"Text number {n}." for n in range(3)})
        listing = site.open().list()
        ids = sorted((item.id for item in listing.items), reverse=True)
        seen = look(site.open())
        found = list(site.open().fetch(iter(ids), revision=listing.revision))
        assert found == [seen.documents[one] for one in ids]

    def test_an_update_changes_one_token_and_the_content(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        before = look(site.open())
        site.write("one", "The first text, edited.")
        after = look(site.open())
        one, two = site.id_of("one"), site.id_of("two")
        assert _differ(before.tokens[one], after.tokens[one])
        assert before.hashes(one)[0] != after.hashes(one)[0]
        assert _may_be_same(before.tokens[two], after.tokens[two])
        assert before.hashes(two) == after.hashes(two)

    def test_a_new_title_costs_no_embedding(self, site: Site) -> None:
        site.write("one", "The text.")
        before = look(site.open())
        _try(lambda: site.retitle("one", "Quite another title"))
        after = look(site.open())
        one = site.id_of("one")
        assert _differ(before.tokens[one], after.tokens[one])
        assert (before.hashes(one)[0] == after.hashes(one)[0]) is not site.has_title_in_text
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
        assert after.documents.keys() == {new, site.id_of("two")}
        assert after.complete
        assert before.hashes(old)[0] == after.hashes(new)[0]
        if new == old:
            assert before.hashes(old)[1] != after.hashes(old)[1]
            assert _differ(before.tokens[old], after.tokens[old])

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
        assert after.documents.keys() == {site.id_of("one"), site.id_of("two")}
        assert after.hashes(site.id_of("one"))[0] == before.hashes(old)[0]
        assert after.complete

    def test_another_document_in_the_place_of_a_deleted_one_is_read(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        before, old = look(site.open()), site.id_of("one")
        site.delete("one")
        site.write("one", "Another text.")
        after, new = look(site.open()), site.id_of("one")
        assert "Another text." in after.documents[new].text
        if new == old:
            assert _differ(before.tokens[old], after.tokens[new])
        else:
            assert old not in after.tokens

    def test_a_proof_does_not_outlive_a_change(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        proofs = [site.open().proof()]
        changes: list[Callable[[], None]] = [
            lambda: site.write("one", "The first text, edited."),
            lambda: site.write("three", "The third text."),
            lambda: site.delete("two"),
        ]
        for change in changes:
            change()
            proofs.append(site.open().proof())
        known = [proof for proof in proofs if proof is not None]
        assert len(set(known)) == len(known)

    def test_what_changed_since_a_proof_leads_to_the_listing_of_now(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text.", "three": "The third text."})
        source = site.open()
        if not isinstance(source, Follows):
            pytest.skip("the source cannot tell what changed since a proof")
        proof, listing = source.proof(), source.list()
        known: dict[str, str | None] = {item.id: item.token for item in listing.items}
        assert proof is not None
        assert listing.is_plain
        site.write("one", "The first text, edited.")
        site.write("four", "The fourth text.")
        site.delete("two")
        source = site.open()
        assert isinstance(source, Follows)
        changes = source.follow(proof)
        known |= {step.id: step.token for step in changes.steps}
        now = source.list()
        assert {one: token for one, token in known.items() if token is not None} == {i.id: i.token for i in now.items}
        assert changes.revision == now.revision

    @pytest.mark.parametrize("more", [-1, 0, 1])
    def test_a_page_that_is_exactly_full_is_not_the_end(self, site: Site, more: int) -> None:
        count = (_pages(site) * 2) + more
        site.write_many({f"doc-{n}": f"Text {n}." for n in range(count)})
        listing = site.open().list()
        ids = [item.id for item in listing.items]
        assert set(ids) == {site.id_of(f"doc-{n}") for n in range(count)}
        assert listing.complete

    def test_a_document_on_two_pages_is_one(self, site: Site) -> None:
        keys = {site.id_of(key) for key in self._fill(site, 3)}
        with _plans(site) as plans:
            with _try(site.repeats_across_pages):
                found = plans.take()
                assert found.keys() >= keys
                assert plans.complete
                assert plans.documents == len(found)
            assert plans.take().keys() == keys
            assert plans.complete

    def test_what_is_created_while_it_is_paged_hides_and_doubles_nothing(self, site: Site) -> None:
        keys = self._fill(site, 3)
        with _plans(site) as plans:
            with _while_paging(site, lambda: site.write("aaa", "One more.")):
                found = plans.take()
            assert {site.id_of(key) for key in keys} <= found.keys()
            assert plans.take().keys() == {site.id_of(key) for key in ("aaa", *keys)}
            assert plans.complete

    def test_what_is_deleted_while_it_is_paged_hides_nothing_else(self, site: Site) -> None:
        keys = self._fill(site, 3)
        first, *others = keys
        gone = site.id_of(first)
        with _plans(site) as plans:
            plans.take()
            with _while_paging(site, lambda: site.delete(first)):
                found = plans.take()
            kept = {site.id_of(key) for key in others}
            # Either all others are there, or the listing says that it may have lost some.
            assert kept <= found.keys() or not plans.complete
            assert plans.take().keys() == kept
            assert gone not in kept
            assert plans.complete

    @pytest.mark.parametrize("which", [0, -1], ids=["the first", "the last"])
    def test_what_is_edited_while_it_is_paged_is_read_by_the_next_plan_at_the_latest(
        self, site: Site, which: int
    ) -> None:
        key = self._fill(site, 3)[which]
        with _plans(site) as plans:
            with _while_paging(site, lambda: site.write(key, "Edited meanwhile.")):
                plans.take()
            found = plans.take()
            assert plans.complete
        seen = look(site.open())
        assert "Edited meanwhile." in seen.documents[site.id_of(key)].text
        assert found == {one: seen.hashes(one) for one in seen.documents}

    @pytest.mark.parametrize("seed", range(4))
    def test_whatever_happens_meanwhile_the_next_plan_holds_what_is_there(self, site: Site, seed: int) -> None:
        people = _People(site, random.Random(seed))  # noqa: S311 - the same each time is what is wanted
        for _ in range(8):
            people.do_something()
        with _plans(site) as plans:
            for _ in range(6):
                before = {site.id_of(key) for key in people.keys}
                with _in_between(site, people.random.randint(1, 12), people.do_something):
                    found = plans.take()
                still = {site.id_of(key) for key in people.keys}
                assert before & still <= found.keys() or not plans.complete
                found = plans.take()
                seen = look(site.open())
                assert plans.complete
                assert seen.documents.keys() == {site.id_of(key) for key in people.keys}
                assert found == {one: seen.hashes(one) for one in seen.documents}
                people.do_something()

    def test_an_item_that_goes_between_list_and_fetch_is_skipped_alone(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        source = site.open()
        listing = source.list()
        ids = sorted(item.id for item in listing.items)
        one = site.id_of("one")
        site.delete("one")
        found = {result.id: result for result in source.fetch(iter(ids), revision=listing.revision)}
        assert found.keys() == set(ids)
        assert isinstance(found[site.id_of("two")], Document)
        gone = found[one]
        # A commit still has it: then it is read as it was planned.
        assert isinstance(gone, Document) or gone.reason == "vanished"

    @pytest.mark.parametrize("wrong", ["99999999", "no-such-thing", "../one", 'a "quoted" one', "日本語", "a/b/c"])
    def test_an_id_that_never_was_is_skipped_alone(self, site: Site, wrong: str) -> None:
        site.write("one", "The text.")
        source = site.open()
        list(source.list().items)
        before, result, after = source.fetch(iter([site.id_of("one"), wrong, site.id_of("one")]))
        assert isinstance(result, Skipped)
        assert result.id == wrong
        assert result.reason in SKIP_REASONS
        assert isinstance(before, Document)
        assert before == after

    def test_a_listing_that_breaks_is_not_complete(self, site: Site) -> None:
        keys = self._fill(site, 4)
        whole = {site.id_of(key) for key in keys}
        with _plans(site) as plans:
            before = plans.take()
            assert before.keys() == whole
            with _try(lambda: site.breaks_on_page(3)):
                listing = site.open().list()
                part = {item.id for item in listing.items}
            with site.breaks_on_page(3):
                found = plans.take()
            assert part < whole
            assert not listing.complete
            assert listing.problems[0]
            assert not plans.complete
            assert found.items() <= before.items()
            assert plans.take() == before
            assert plans.complete

    def test_without_permission_nothing_counts_as_deleted(self, site: Site) -> None:
        site.write("one", "The text.")
        before, identity = look(site.open()), site.open().identity()
        with _try(site.denied):
            source = site.open()
            # Plans and applies ask for these too: that nobody answers is no error there.
            assert source.identity() in (identity, "")
            assert source.confirms(identity)
            if isinstance(source, Checks):
                with pytest.raises(SourceError) as caught:
                    source.check()
                assert caught.value.remedy
            listing, error = _list_or_fail(source)
            assert error.remedy if error is not None else not listing.complete
        assert look(site.open()) == before

    def test_a_check_says_in_one_line_what_there_is(self, site: Site) -> None:
        site.write("one", "The text.")
        source = site.open()
        if not isinstance(source, Checks):
            pytest.skip("the source is checked by listing it")
        line = source.check()
        assert line
        assert len(line.splitlines()) == 1

    def test_any_text_comes_through(self, site: Site) -> None:
        site.write("one", UNICODE)
        seen = look(site.open())
        (document,) = seen.documents.values()
        for word in _WORDS:
            assert word in document.text

    def test_any_title_comes_through(self, site: Site) -> None:
        site.write("one", "The text.")
        _try(lambda: site.retitle("one", UNICODE))
        seen = look(site.open())
        (document,) = seen.documents.values()
        for word in _WORDS:
            assert word in document.title

    def test_changes_since_a_moment_hold_what_changed_and_are_not_complete(self, site: Site) -> None:
        site.write_many({"one": "The first text.", "two": "The second text."})
        source = site.open()
        if not isinstance(source, ListsChanges):
            pytest.skip("the source cannot tell what changed")
        listing = source.changed_since(site.now() - timedelta(hours=1))
        assert {item.id for item in listing.items} == {site.id_of("one"), site.id_of("two")}
        assert not listing.complete
        assert listing.problems[0]

    def test_changes_since_a_moment_leave_out_what_is_older(self, site: Site) -> None:
        site.write_many({"old": "An old text.", "edited": "A text.", "deleted": "Another text."})
        source = site.open()
        if not isinstance(source, ListsChanges):
            pytest.skip("the source cannot tell what changed")
        _try(lambda: site.wait(timedelta(days=30)))
        gone = site.id_of("deleted")
        site.write("edited", "A text, edited.")
        site.write("new", "A new text.")
        site.delete("deleted")
        listing = source.changed_since(site.now() - timedelta(hours=1))
        found = {item.id: item.token for item in listing.items}
        assert found.keys() - {gone} == {site.id_of("edited"), site.id_of("new")}
        assert not listing.complete
        whole = {item.id: item.token for item in site.open().list().items}
        assert all(_may_be_same(found[one], whole[one]) for one in found.keys() & whole.keys())

    def test_a_clock_that_is_ahead_loses_no_change(self, site: Site) -> None:
        site.write("one", "The first text.")
        seen = [look(site.open())]
        with _try(lambda: site.clock_ahead(timedelta(days=2))):
            for text in ("The text from the future.", "The text from the future, edited."):
                site.write("one", text)
                seen.append(look(site.open()))
        site.write("one", "The text from the present.")
        seen.append(look(site.open()))
        one = site.id_of("one")
        assert len({found.hashes(one)[0] for found in seen}) == len(seen)
        tokens = [found.tokens[one] for found in seen if found.tokens[one]]
        assert len(set(tokens)) == len(tokens)

    def test_many_documents_are_listed_once_each(self, site: Site) -> None:
        keys = [f"doc-{n:05}" for n in range(self.many)]
        site.write_many({key: f"Text of {key}." for key in keys})
        listing = site.open().list()
        ids = [item.id for item in listing.items]
        assert len(ids) == self.many
        assert set(ids) == {site.id_of(key) for key in keys}
        assert listing.complete

    def test_an_unchanged_source_is_not_read_again(self, site: Site) -> None:
        site.write_many({f"doc-{n}": f"Text {n}." for n in range(4)})
        with _plans(site) as plans:
            first = plans.take()
            assert plans.read == 4
            untrusted = sum(1 for item in site.open().list().items if not item.token)
            assert plans.take() == first
            assert plans.read <= untrusted
            site.write("doc-2", "Edited.")
            assert plans.take() != first
            assert plans.read >= 1

    def _fill(self, site: Site, pages: int) -> list[str]:
        """Fills so many pages of a listing; the keys."""
        keys = [f"doc-{n:03}" for n in range(_pages(site) * pages)]
        site.write_many({key: f"Text of {key}." for key in keys})
        return keys


class _People:
    """They edit a place, one thing at a time, always the same for the same random numbers."""

    def __init__(self, site: Site, numbers: random.Random) -> None:
        self.site = site
        self.random = numbers
        self.keys: list[str] = []
        self._count = 0

    def do_something(self) -> None:
        """Writes something new, or changes, moves or deletes what is there."""
        self._count += 1
        what = self.random.choice(("new", "new", "edit", "delete", "retitle", "tag", "move"))
        if what == "new" or len(self.keys) < 2:
            self.keys.append(f"doc-{self._count:03}")
            self.site.write(self.keys[-1], f"Text {self._count}.")
            return
        key = self.random.choice(self.keys)
        with suppress(Unsupported):
            if what == "edit":
                self.site.write(key, f"Text {self._count}.")
            elif what == "delete":
                self.site.delete(key)
                self.keys.remove(key)
            elif what == "retitle":
                self.site.retitle(key, f"Title {self._count}")
            elif what == "tag":
                self.site.tag(key, f"label-{self._count}")
            else:
                self.site.move(key)


@contextmanager
def _plans(site: Site) -> Iterator[Plans]:
    with tempfile.TemporaryDirectory() as folder, Cache.open(Path(folder) / "cache.db") as cache:
        yield Plans(site, cache)


@contextmanager
def _while_paging(site: Site, edit: Callable[[], None]) -> Iterator[None]:
    """As `Site.while_paging`, and makes sure that it happened."""
    done: list[bool] = []

    def do() -> None:
        edit()
        done.append(True)

    with _try(lambda: site.while_paging(do)):
        yield
    assert done, "the listing had but one page, so that nothing was changed meanwhile"


def _in_between(site: Site, number: int, edit: Callable[[], None]) -> AbstractContextManager[None]:
    """As `Site.before_answer`; where that cannot be, things happen between two plans only."""
    try:
        return site.before_answer(number, edit)
    except Unsupported:
        return nullcontext()


def _list_or_fail(source: Source) -> tuple[Listing, SourceError | None]:
    try:
        listing = source.list()
        list(listing.items)
    except SourceError as error:
        return Listing(), error
    return listing, None


def _hashes(document: Document) -> Hashes:
    return content_hash(document.text), metadata_hash(document.title, document.uri, document.metadata)


def _differ(one: str, other: str) -> bool:
    """Whether two tokens tell of a change; an empty one promises nothing, so that it does."""
    return one != other or not one


def _may_be_same(one: str, other: str) -> bool:
    """Whether two tokens tell of no change; an empty one promises nothing."""
    return one == other or not one or not other


def _pages(site: Site) -> int:
    if site.page_size is None:
        pytest.skip("a listing has no pages")
    return site.page_size


def _try(call: Callable[[], T]) -> T:
    try:
        return call()
    except Unsupported as reason:
        pytest.skip(str(reason))
