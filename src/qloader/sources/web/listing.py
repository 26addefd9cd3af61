"""One pass over a site: which pages there are, each asked for once, and what that says of the listing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from qloader.documents.document import Skipped
from qloader.documents.reading import human_size
from qloader.sources.protocol import Item, Listing
from qloader.sources.web.addresses import START, Scope, pages_among
from qloader.sources.web.documents import make_document
from qloader.sources.web.fetching import Job, Outcome, ask
from qloader.sources.web.selecting import PageSelection
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.store import ALIAS, DOCUMENT, SKIP, PageStore, Row

if TYPE_CHECKING:
    from qloader.sources.http.client import HttpClient
    from qloader.sources.web.page import Page
    from qloader.sources.web.robots import Robots

FAILURES_IN_A_ROW = 10
"""Pages that fail one after the other, each tried several times, until the pass ends: the server is down."""

_SOFT = {"robots": "may not be read any more", "no text": "have no text any more"}
"""Reasons for which a page that was a document is not taken for gone, and how a listing says so."""


class Trouble:
    """Why a listing is not complete: each reason once, with how many pages it concerns and one of them."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, page: str) -> None:
        """Counts a page under a reason; the first one is the example."""
        count, example = self._found.get(reason, (0, page))
        self._found[reason] = count + 1, example

    def tell(self, listing: Listing) -> None:
        """Adds a sentence a reason to the listing's problems."""
        for reason, (count, example) in self._found.items():
            pages = "1 page" if count == 1 else f"{count:,} pages"
            listing.problems.append(f"{pages} {reason}: {example}")


class Pass:
    """Walks over a site once."""

    def __init__(
        self,
        settings: WebSettings,
        scope: Scope,
        selection: PageSelection,
        *,
        client: HttpClient,
        robots: Robots | None,
        store: PageStore,
        listing: Listing,
        follow: bool,
    ) -> None:
        """Prepares the pass.

        Args:
            settings: The source's.
            scope: What it covers.
            selection: Which pages count.
            client: Where to ask.
            robots: What may be asked for; None: everything.
            store: What is known.
            listing: Where problems and skips go.
            follow: Whether links are followed.
        """
        self._settings = settings
        self._scope = scope
        self._selection = selection
        self._client = client
        self._robots = robots
        self._store = store
        self._listing = listing
        self._follow = follow
        self._trouble = Trouble()
        self._known: set[str] = set()
        self._done: set[str] = set()
        self._next: list[Job] = []
        self._bytes = 0
        self._failures = 0
        self._is_over = False
        self._too_deep = False
        self._is_full = False

    @property
    def keys(self) -> set[str]:
        """The ids of all pages that were met so far."""
        return self._known

    @property
    def is_alone(self) -> bool:
        """Whether the start page was all that was met."""
        return len(self._known) < 2

    def walk(self, pages: Iterable[str], *, depth: int = 0) -> Outcome | None:
        """Asks for pages, and for those that they lead to; returns what came of the first.

        Raises:
            BadSelectorError: A selector is no CSS.
        """
        for page in pages:
            self._add(page, depth)
        first = None
        while self._next and not self._is_over:
            level, self._next = self._next, []
            jobs = (replace(job, row=self._store.row(job.key)) for job in level)
            with closing(self._client.map(lambda job: ask(self._client, self._settings, job), jobs)) as outcomes:
                for outcome in outcomes:
                    first = first or outcome
                    if self._take(outcome):
                        break
        return first

    def tell(self, problem: str) -> None:
        """Adds a reason why the listing is not complete."""
        self._listing.problems.append(problem)

    def finish(self, *, partial: bool = False) -> Iterator[Item]:
        """Says what was left out, and lists the documents."""
        self._trouble.tell(self._listing)
        if self._too_deep:
            self._listing.problems.append(
                f"max_depth was reached: pages over {self._settings.max_depth} links away were left out"
            )
        if self._is_full:
            self._listing.problems.append(
                f"max_pages was reached: pages beyond {self._settings.max_pages:,} were left out"
            )
        complete = self._listing.complete and not partial
        for key, token in self._store.finish(complete=complete, partial=partial):
            yield Item(key, token)

    def _add(self, page: str, depth: int) -> None:
        """Queues a page that was not met before, if it may be asked for."""
        key = self._scope.key(page)
        if key in self._known or not self._selection.asks_for(key):
            return
        if depth > self._settings.max_depth:
            self._too_deep = True
            return
        if len(self._known) >= self._settings.max_pages:
            self._is_full = True
            return
        self._known.add(key)
        if self._robots is not None and not self._robots.allows(page):
            self._refuse(key, "robots.txt disallows it")
            return
        self._next.append(Job(key, page, None, depth))

    def _take(self, outcome: Outcome) -> bool:
        """Writes down what came of a page; True ends the pass."""
        job = outcome.job
        self._failures = self._failures + 1 if outcome.kind == "failed" else 0
        self._bytes += outcome.size
        if self._bytes > self._settings.max_total_bytes:
            size = human_size(self._settings.max_total_bytes)
            self._listing.problems.append(f"max_total_bytes was reached: what comes after {size} was left out")
            self._is_over = True
        was_listed = job.row is not None and job.row.listed
        match outcome.kind:
            case "unchanged":
                self._take_unchanged(outcome)
            case "page":
                self._take_page(outcome)
            case "gone":
                self._store.forget(job.key)
            case "no page":
                if was_listed:
                    self._leave(job.key, "no page", outcome.why, was_listed, "are no pages any more")
                else:
                    self._skip(job.key, "no page", outcome.why, outcome)
            case "too large":
                self._skip(job.key, "too large", f"max_bytes is {human_size(self._settings.max_bytes)}", outcome)
            case "refused":
                self._leave(job.key, "unreadable", outcome.why, was_listed, "may not be read any more")
            case "elsewhere":
                self._leave(job.key, "elsewhere", outcome.why, was_listed, "lead out of the site now")
            case "failed":
                self._take_failure(outcome)
        return self._is_over

    def _take_failure(self, outcome: Outcome) -> None:
        job = outcome.job
        self._trouble.add("could not be read", f"{job.key}, {outcome.why}")
        if job.row is not None:
            self._follow_links(job.row.links, job.depth)  # what it led to may still be there
        if self._failures >= FAILURES_IN_A_ROW:
            self._listing.problems.append("the server stopped answering: no more pages were asked for")
            self._is_over = True

    def _take_unchanged(self, outcome: Outcome) -> None:
        row, depth = outcome.job.row, outcome.job.depth
        if row is None:  # nobody asked on a condition
            self._trouble.add("could not be read", f"{outcome.job.key}, it answers 304 to a request without condition")
            return
        self._keep(row, depth)
        if row.kind != ALIAS or row.target in self._done:
            return
        target = self._store.row(row.target)
        if target is not None and target.validators == row.validators:
            # What did not change is the page that the redirect led to.
            self._known.add(target.key)
            self._keep(target, depth)
        else:
            self._add_target(row.target, target, depth)

    def _keep(self, row: Row, depth: int) -> None:
        """A page that is as it was."""
        self._done.add(row.key)
        self._store.keep(row.key, counts=self._selection.takes(row.key))
        self._tell_skip(row)
        if row.kind == DOCUMENT and row.target:
            self._add_target(row.target, self._store.row(row.target), depth)
        self._follow_links(row.links, depth)

    def _add_target(self, key: str, row: Row | None, depth: int) -> None:
        self._add(row.url if row is not None and row.url else self._scope.candidates(key)[0], depth)

    def _take_page(self, outcome: Outcome) -> None:
        job, page = outcome.job, outcome.page
        assert page is not None
        was_listed = job.row is not None and job.row.listed
        url = self._scope.page(outcome.url)
        if url is None:
            # A page that was moved away for good is gone from here.
            if not outcome.permanent or not was_listed:
                self._leave(job.key, "elsewhere", _place_of(outcome.url), was_listed, "lead out of the site now")
            else:
                self._store.forget(job.key)
            return
        key = self._scope.key(url)
        if key != job.key:
            self._save_row(Row(job.key, url, outcome.etag, outcome.modified, ALIAS, key))
            self._known.add(key)
            if key in self._done or not self._selection.asks_for(key):
                return
            if self._robots is not None and not self._robots.allows(url):
                self._refuse(key, "robots.txt disallows it")
                return
            row = self._store.row(key)
            was_listed = row is not None and row.listed
        self._done.add(key)
        self._save(key, url, page, outcome, was_listed=was_listed)

    def _save(self, key: str, url: str, page: Page, outcome: Outcome, *, was_listed: bool) -> None:
        depth = outcome.job.depth
        links = tuple(pages_among(self._scope, page.links, url))
        row = Row(key, url, outcome.etag, outcome.modified, SKIP, links=links)
        if page.redirect:
            self._save_refresh(row, page, depth, was_listed=was_listed)
            return
        row = self._judge(row, page, outcome)
        if row.kind == SKIP and was_listed and row.token in _SOFT:
            # It keeps its old row, so that it is still known as one that was a document.
            self._leave(key, row.token, row.document["detail"], was_listed, _SOFT[row.token])
        else:
            self._save_row(row)
        if row.target:
            self._add_target(row.target, self._store.row(row.target), depth)
        self._follow_links(links, depth)

    def _judge(self, row: Row, page: Page, outcome: Outcome) -> Row:
        """A page as a document, or as none with the reason."""
        settings = self._settings
        if settings.robots and page.noindex:
            return row.as_skip("robots", "noindex")
        if settings.languages and page.language and not _speaks(page.language, settings.languages):
            return row.as_skip("other language", page.language)
        if not page.text:
            detail = f"nothing in it matches {settings.selector}" if settings.selector else "is it made by a script?"
            return row.as_skip("no text", detail)
        return self._document(row, page, outcome)

    def _save_refresh(self, row: Row, page: Page, depth: int, *, was_listed: bool) -> None:
        """A page that does nothing but lead on to another."""
        target = self._scope.page(page.redirect)
        if target is None:
            self._leave(row.key, "elsewhere", _place_of(page.redirect), was_listed, "lead out of the site now")
        elif (key := self._scope.key(target)) != row.key:
            self._save_row(replace(row, kind=ALIAS, target=key, links=()))
            self._add(target, depth)

    def _document(self, row: Row, page: Page, outcome: Outcome) -> Row:
        document = make_document(self._scope, self._settings, row.key, row.url, outcome)
        canonical = self._scope.page(page.canonical) if page.canonical else None
        target = self._scope.key(canonical) if canonical is not None else ""
        # A template that names the start page on every page would swallow them all.
        if target in (row.key, START) or (target and not self._selection.asks_for(target)):
            target = ""
        return replace(row, kind=DOCUMENT, target=target, token=document["revision"], document=document)

    def _follow_links(self, links: Iterable[str], depth: int) -> None:
        if self._follow:
            for link in links:
                self._add(link, depth + 1)

    def _skip(self, key: str, reason: str, detail: str, outcome: Outcome) -> None:
        """Writes down a page that is no document, so that it need not be read again."""
        self._save_row(Row(key, outcome.url, outcome.etag, outcome.modified).as_skip(reason, detail))

    def _save_row(self, row: Row) -> None:
        self._store.save(row, counts=self._selection.takes(row.key))
        self._tell_skip(row)

    def _tell_skip(self, row: Row) -> None:
        if row.kind == SKIP and row.token:
            self._listing.skipped.append(Skipped(row.key, row.token, row.document.get("detail", "")))

    def _leave(self, key: str, reason: str, detail: str, was_listed: bool, trouble: str) -> None:
        """A page that is no document just now; if it was one, that may pass, so nothing is deleted."""
        self._listing.skipped.append(Skipped(key, reason, detail))
        if was_listed:
            self._trouble.add(trouble, f"{key}, {detail}")

    def _refuse(self, key: str, detail: str) -> None:
        row = self._store.row(key)
        self._leave(key, "robots", detail, row is not None and row.listed, "may not be read any more")


def _place_of(url: str) -> str:
    """An address as it may be shown: what a login puts into its query is a secret, and new each time."""
    return f"to {url.partition('#')[0].partition('?')[0]}"


def _speaks(language: str, wanted: tuple[str, ...]) -> bool:
    """Whether a language is one of those wanted; `en` takes `en-us` too."""
    return any(language == one.lower() or language.startswith(f"{one.lower()}-") for one in wanted)
