"""The contract suite against sources that are broken on purpose, each in one way: it must notice every one."""

import contextlib
import inspect
import itertools
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from qloader.documents.document import Document, Skipped
from qloader.errors import SourceError
from qloader.sources.protocol import Changes, Item, Listing, Step, only_since
from qloader.testing import Site, SourceContract

FEW = 2
FOLLOWING = "test_what_changed_since_a_proof_leads_to_the_listing_of_now"
"""The one test that is not for every source."""
START = datetime(2026, 11, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Book:
    """A document, and the number of its edition, which no other ever has."""

    text: str
    title: str
    edition: int
    changed: datetime
    label: str = ""


class Shelf(Site):
    """A place in memory, whose listing has pages."""

    page_size = FEW

    def __init__(self, kind):
        self.kind = kind
        self.books = {}
        self.moved = {}
        self.clock = START
        self.editions = itertools.count(1)
        self.broken_from = None
        self.is_locked = False
        self.repeats = False
        self.after_first = None
        self.later = None

    def open(self):
        return self.kind(self)

    def id_of(self, key):
        return self.moved.get(key, key)

    def put(self, key, **facts):
        key = self.id_of(key)
        self.clock += timedelta(minutes=1)
        new = {"edition": next(self.editions), "changed": self.clock, **facts}
        old = self.books.get(key)
        self.books[key] = replace(old, **new) if old else Book(**{"title": key, **new})

    def write(self, key, text):
        self.put(key, text=text)

    def retitle(self, key, title):
        self.put(key, title=title)

    def tag(self, key, label):
        self.put(key, label=label)

    def delete(self, key):
        del self.books[self.id_of(key)]

    def move(self, key):
        old = self.id_of(key)
        self.moved[key] = f"{old}-moved"
        self.books[self.id_of(key)] = self.books.pop(old)
        return self.id_of(key)

    def unlock(self):
        if self.is_locked:
            raise SourceError("The shelf is locked.", remedy="Unlock it.")

    def page(self, start):
        """What the place gives from a key on: keys and books in the order of keys, and the key to go on from."""
        self.unlock()
        self.answer()
        keys = sorted(key for key in self.books if key >= start)
        if self.broken_from is not None:
            self.broken_from -= 1
            if self.broken_from < 1:
                raise SourceError("The shelf broke.", remedy="Mend it.")
        found = [(key, self.books[key]) for key in keys[:FEW]]
        if self.repeats and (before := sorted(key for key in self.books if key < start)):
            found.insert(0, (before[-1], self.books[before[-1]]))
        if self.after_first is not None:
            edit, self.after_first = self.after_first, None
            edit()
        return found, keys[FEW] if len(keys) > FEW else None

    def book(self, key):
        """What the place gives of one book."""
        self.answer()
        return self.books.get(key)

    def answer(self):
        if self.later is not None:
            number, edit = self.later
            self.later = (number - 1, edit) if number > 1 else None
            if number == 1:
                edit()

    @contextlib.contextmanager
    def before_answer(self, number, edit):
        self.later = number, edit
        yield
        self.later = None

    @contextlib.contextmanager
    def breaks_on_page(self, number):
        self.broken_from = number
        yield
        self.broken_from = None

    @contextlib.contextmanager
    def repeats_across_pages(self):
        self.repeats = True
        yield
        self.repeats = False

    @contextlib.contextmanager
    def while_paging(self, edit):
        self.after_first = edit
        yield
        self.after_first = None

    @contextlib.contextmanager
    def denied(self):
        self.is_locked = True
        yield
        self.is_locked = False

    def now(self):
        return self.clock

    def wait(self, by):
        self.clock += by

    @contextlib.contextmanager
    def clock_ahead(self, by):
        self.clock += by
        yield
        self.clock -= by


class Good:
    """A source that keeps the contract."""

    name = "shelf"
    type = "shelf"

    def __init__(self, shelf):
        self.shelf = shelf

    def identity(self):
        return "the shelf"

    def confirms(self, identity):
        return identity == "the shelf"

    def selection(self):
        return "1"

    def proof(self):
        return None

    def check(self):
        self.shelf.page("")
        return f"shelf, {len(self.shelf.books)} books"

    def token(self, key, book):
        return str(book.edition)

    def list(self):
        listing = Listing()
        items = self.items(listing)
        first = list(itertools.islice(items, 1))
        listing.items = itertools.chain(first, items)
        return listing

    def items(self, listing):
        start, is_first = "", True
        while start is not None:
            try:
                found, start = self.shelf.page(start)
            except SourceError as error:
                if is_first:
                    raise
                listing.problems.append(str(error))
                return
            is_first = False
            for key, book in found:
                yield Item(key, self.token(key, book))

    def changed_since(self, since):
        listing = Listing(problems=[only_since(since)])
        found = [(key, book) for key, book in self.shelf.books.items() if book.changed >= since]
        listing.items = (Item(key, self.token(key, book)) for key, book in found)
        return listing

    def fetch(self, ids, *, revision=None):
        for one in ids:
            book = self.shelf.book(one)
            yield self.read(one, book) if book else Skipped(one, "vanished")

    def read(self, key, book):
        return Document(
            id=key,
            title=book.title,
            uri=f"shelf/{key}",
            text=book.text,
            revision=str(book.edition),
            bytes=len(book.text),
            metadata={"label": book.label},
        )


class DropsTheLastPage(Good):
    def items(self, listing):
        pages, start = [], ""
        while start is not None:
            found, start = self.shelf.page(start)
            pages.append(found)
        for found in pages[:-1] or pages:
            for key, book in found:
                yield Item(key, self.token(key, book))


class TakesAShortPageForTheEnd(Good):
    def items(self, listing):
        for item in super().items(listing):
            yield item
            if (int(item.token) % 4) == 3:
                return


class KeepsItsTokenOnARetitle(Good):
    def token(self, key, book):
        return str(hash(book.text))


class TellsTheDateAlone(Good):
    def token(self, key, book):
        return book.changed.date().isoformat()


class ClaimsCompleteAfterAnError(Good):
    def items(self, listing):
        with contextlib.suppress(SourceError):
            start = ""
            while start is not None:
                found, start = self.shelf.page(start)
                yield from (Item(key, self.token(key, book)) for key, book in found)


class ThrowsAwayWhatItHadWhenItBreaks(Good):
    def items(self, listing):
        problems = Listing()
        items = list(super().items(problems))
        if problems.problems:
            raise SourceError(problems.problems[0], remedy="Try again.")
        yield from items


class TakesARefusalForAnEmptyPlace(Good):
    def list(self):
        return Listing() if self.shelf.is_locked else super().list()

    def check(self):
        return "shelf, 0 books"


class CountsPages(Good):
    """It pages by offset, so that a deletion moves one past the reader."""

    def items(self, listing):
        start = 0
        while True:
            self.shelf.unlock()
            found = sorted(self.shelf.books.items())[start : start + FEW]
            if not found:
                return
            yield from (Item(key, self.token(key, book)) for key, book in found)
            start += FEW
            if self.shelf.after_first is not None:
                edit, self.shelf.after_first = self.shelf.after_first, None
                edit()


class RaisesForWhatIsGone(Good):
    def fetch(self, ids, *, revision=None):
        for one in ids:
            yield self.read(one, self.shelf.books[one])


class MixesUpTheOrder(Good):
    def fetch(self, ids, *, revision=None):
        return iter(sorted(super().fetch(ids), key=lambda found: found.id, reverse=True))


class ReadsOnlyWhatItListed(Good):
    """So that an apply in another process reads nothing."""

    def list(self):
        self.listed = set(self.shelf.books)
        return super().list()

    def fetch(self, ids, *, revision=None):
        listed = getattr(self, "listed", set())
        for found in super().fetch(ids):
            yield found if found.id in listed else Skipped(found.id, "vanished")


class HasTextsOlderThanItsTokens(Good):
    """So that a new token vouches for an old text from then on."""

    def list(self):
        self.old = dict(self.shelf.books)
        return super().list()

    def fetch(self, ids, *, revision=None):
        for found in super().fetch(ids):
            known = getattr(self, "old", {}).get(found.id)
            yield self.read(found.id, known) if known else found


class CallsTheSinceListingComplete(Good):
    def changed_since(self, since):
        listing = super().changed_since(since)
        listing.problems.clear()
        return listing


class LooksSinceTheWrongWay(Good):
    def changed_since(self, since):
        return super().changed_since(since + timedelta(hours=2))


class ProvesTooMuch(Good):
    def proof(self):
        return str(len(self.shelf.books))


class SpeaksAscii(Good):
    def read(self, key, book):
        found = super().read(key, book)
        return replace(found, text=_ascii(found.text), title=_ascii(found.title))


class PutsTheTimeIntoTheText(Good):
    def read(self, key, book):
        return replace(super().read(key, book), metadata={"read": next(self.shelf.editions)})


class ReadsEverythingAgain(Good):
    def token(self, key, book):
        return str(next(self.shelf.editions))


class CutsTheFutureOff(Good):
    def token(self, key, book):
        return min(book.changed, START + timedelta(days=1)).isoformat()


class HasSomethingOfItsOwn(Good):
    def items(self, listing):
        yield Item("welcome", "1")
        yield from super().items(listing)


class HasNoTitles(Good):
    def read(self, key, book):
        return replace(super().read(key, book), title="")


class SaysTooMuch(Good):
    def check(self):
        return f"{super().check()}\nand more"


class HasNoRemedy(Good):
    def list(self):
        try:
            return super().list()
        except SourceError as error:
            raise SourceError(str(error)) from error


class Follower(Good):
    """One that can also tell what changed since a proof."""

    def proof(self):
        self.shelf.unlock()
        return json.dumps({key: book.edition for key, book in self.shelf.books.items()})

    def list(self):
        listing = super().list()
        listing.is_plain = True
        return listing

    def follow(self, proof):
        before, now = json.loads(proof), self.shelf.books
        keys = sorted(before.keys() | now.keys())
        return Changes(self.step(key, now.get(key)) for key in keys if self.differs(key, before, now))

    def differs(self, key, before, now):
        return key not in now or before.get(key) != now[key].edition

    def step(self, key, book):
        return Step(key, self.token(key, book) if book else None)


class ForgetsWhatIsGone(Follower):
    def differs(self, key, before, now):
        return key in now and super().differs(key, before, now)


class TellsOnlyWhatIsNew(Follower):
    def differs(self, key, before, now):
        return key not in before or key not in now


BROKEN = {
    ForgetsWhatIsGone: {FOLLOWING},
    TellsOnlyWhatIsNew: {FOLLOWING},
    DropsTheLastPage: {
        "test_a_page_that_is_exactly_full_is_not_the_end",
        "test_many_documents_are_listed_once_each",
        "test_a_listing_that_breaks_is_not_complete",
    },
    TakesAShortPageForTheEnd: {"test_a_page_that_is_exactly_full_is_not_the_end"},
    KeepsItsTokenOnARetitle: {"test_a_new_title_costs_no_embedding", "test_new_metadata_costs_no_embedding"},
    TellsTheDateAlone: {"test_an_update_changes_one_token_and_the_content"},
    ClaimsCompleteAfterAnError: {"test_a_listing_that_breaks_is_not_complete"},
    ThrowsAwayWhatItHadWhenItBreaks: {"test_a_listing_that_breaks_is_not_complete"},
    TakesARefusalForAnEmptyPlace: {"test_without_permission_nothing_counts_as_deleted"},
    CountsPages: {"test_what_is_deleted_while_it_is_paged_hides_nothing_else"},
    RaisesForWhatIsGone: {
        "test_an_item_that_goes_between_list_and_fetch_is_skipped_alone",
        "test_an_id_that_never_was_is_skipped_alone",
    },
    MixesUpTheOrder: {"test_two_looks_at_the_same_are_equal"},
    HasTextsOlderThanItsTokens: {"test_whatever_happens_meanwhile_the_next_plan_holds_what_is_there"},
    ReadsOnlyWhatItListed: {"test_who_has_the_ids_alone_reads_the_same"},
    CallsTheSinceListingComplete: {"test_changes_since_a_moment_hold_what_changed_and_are_not_complete"},
    LooksSinceTheWrongWay: {
        "test_changes_since_a_moment_hold_what_changed_and_are_not_complete",
        "test_changes_since_a_moment_leave_out_what_is_older",
    },
    ProvesTooMuch: {"test_a_proof_does_not_outlive_a_change"},
    SpeaksAscii: {"test_any_text_comes_through", "test_any_title_comes_through"},
    PutsTheTimeIntoTheText: {"test_two_looks_at_the_same_are_equal"},
    ReadsEverythingAgain: {"test_an_unchanged_source_is_not_read_again"},
    CutsTheFutureOff: {"test_a_clock_that_is_ahead_loses_no_change"},
    HasSomethingOfItsOwn: {"test_an_empty_source_is_complete_and_holds_nothing"},
    HasNoTitles: {"test_what_is_created_is_listed_and_read"},
    SaysTooMuch: {"test_a_check_says_in_one_line_what_there_is"},
    HasNoRemedy: {"test_without_permission_nothing_counts_as_deleted"},
}


def _ascii(text):
    return text.encode("ascii", "replace").decode()


def failing(kind):
    """The tests of the suite that a source of that kind does not pass; each with a place of its own."""
    suite = type("Suite", (SourceContract,), {"many": 50})()
    found = set()
    for name, test in inspect.getmembers(SourceContract, inspect.isfunction):
        if not name.startswith("test_"):
            continue
        marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
        cases = [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]
        for case in cases:
            try:
                getattr(suite, name)(Shelf(kind), **case)
            except pytest.skip.Exception as reason:
                if name == FOLLOWING and not issubclass(kind, Follower):
                    continue
                raise AssertionError(f"{name}: {reason}") from reason
            except (Exception, pytest.fail.Exception):
                found.add(name)
    return found


def test_a_source_that_keeps_the_contract_passes_every_test():
    assert failing(Good) == set()


def test_a_source_that_can_be_followed_passes_the_test_for_it():
    """The tests of pages are none for it here: what this shelf tells of changes has no pages."""
    assert FOLLOWING not in failing(Follower)


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_what_is_broken_is_noticed(kind):
    assert failing(kind) >= BROKEN[kind]


def test_each_test_notices_something():
    names = {name for name, _ in inspect.getmembers(SourceContract, inspect.isfunction) if name.startswith("test_")}
    noticed = {name for kind in BROKEN for name in failing(kind)}
    assert names - noticed == set()
