"""One pass over a site: which pages there are, each asked for once, and what that says of the listing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from qloader.counting import counted
from qloader.documents.document import Skipped
from qloader.documents.reading import human_size
from qloader.sources.http.addresses import shown
from qloader.sources.protocol import Item, Listing
from qloader.sources.web.addresses import START, Scope, pages_among
from qloader.sources.web.documents import make_document, why_none
from qloader.sources.web.fetching import SKIPS, Job, Outcome, ask
from qloader.sources.web.selecting import PageSelection
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.store import ALIAS, DOCUMENT, SKIP, PageStore, Row

if TYPE_CHECKING:
    from qloader.sources.http.client import HttpClient
    from qloader.sources.web.page import Page
    from qloader.sources.web.robots import Robots

FAILURES_IN_A_ROW = 10
"""Pages that fail one after the other, each tried several times, until the pass ends: the server is down."""

EXAMPLES = 3


class Pass:
    """Walks over a site once.

    What it lists, skips and says follows from what the site answers, never from what is known of the pages, so that a
    plan is the same whether there is a cache or not. Which of the skipped pages must not be deleted is for the
    snapshot to say, which knows the index.
    """

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
        self._skipped: dict[str, Skipped] = {}
        self._failed: list[str] = []
        self._known: set[str] = set()
        self._done: set[str] = set()
        self._next: list[Job] = []
        self._bytes = 0
        self._failures = 0
        self._is_over = False
        self._too_deep = False
        self._is_full = False
        self._has_read = False

    @property
    def has_read(self) -> bool:
        """Whether any page was a document, chosen or not."""
        return self._has_read

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
            with closing(
                self._client.map(lambda job: ask(self._client, self._settings, self._scope, job), jobs)
            ) as outcomes:
                for outcome in outcomes:
                    first = first or outcome
                    if self._take(outcome):
                        break
        return first

    def tell(self, problem: str) -> None:
        """Adds a reason why the listing is not complete."""
        self._listing.problems.append(problem)

    def finish(self) -> Iterator[Item]:
        """Says what was left out, and lists the documents."""
        self._listing.skipped.extend(self._skipped[key] for key in sorted(self._skipped))
        if self._failed:
            self._listing.problems.append(
                f"{counted(len(self._failed), 'page')} could not be read: {_some(self._failed)}"
            )
        if self._too_deep:
            self._listing.problems.append(
                f"max_depth was reached: pages over {counted(self._settings.max_depth, 'link')} away were left out"
            )
        if self._is_full:
            self._listing.problems.append(
                f"max_pages was reached: pages beyond {self._settings.max_pages:,} were left out"
            )
        for key, token in self._store.finish(complete=self._listing.complete):
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
            self._leave(key, "robots", "robots.txt disallows it")
            return
        self._next.append(Job(key, page, None, depth))

    def _take(self, outcome: Outcome) -> bool:
        """Writes down what came of a page; True ends the pass."""
        job = outcome.job
        self._failures = self._failures + 1 if outcome.kind == "failed" else 0
        # An unchanged page weighs what it did, so that a limit is reached with a cache where it is without.
        self._bytes += job.row.size if outcome.kind == "unchanged" and job.row is not None else outcome.size
        if self._bytes > self._settings.max_total_bytes:
            size = human_size(self._settings.max_total_bytes)
            self._listing.problems.append(f"max_total_bytes was reached: what comes after {size} was left out")
            self._is_over = True
        match outcome.kind:
            case "unchanged":
                self._take_unchanged(outcome)
            case "page":
                self._take_page(outcome)
            case "gone":
                self._store.forget(job.key)
            case "no page" | "too large":
                # Written down, so that it need not be read again.
                self._save_row(_row(job.key, outcome.url, outcome).as_skip(SKIPS[outcome.kind], outcome.why))
            case "forbidden" | "refused" | "elsewhere":
                self._leave(job.key, SKIPS[outcome.kind], outcome.why)
            case "failed":
                self._take_failure(outcome)
        return self._is_over

    def _take_failure(self, outcome: Outcome) -> None:
        self._fail(outcome.job.key, outcome.why)
        if self._failures >= FAILURES_IN_A_ROW:
            self._listing.problems.append("the server stopped answering: no more pages were asked for")
            self._is_over = True

    def _take_unchanged(self, outcome: Outcome) -> None:
        row, depth = outcome.job.row, outcome.job.depth
        if row is None:  # nobody asked on a condition
            self._fail(outcome.job.key, "it answers 304 to a request without condition")
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
            self._add(row.leads_to, depth)

    def _keep(self, row: Row, depth: int) -> None:
        """A page that is as it was."""
        self._done.add(row.key)
        self._store.keep(row.key, counts=self._selection.takes(row.key))
        self._tell_of(row)
        if row.kind == DOCUMENT and row.target:
            self._add(row.leads_to, depth)
        self._follow_links(row.links, depth)

    def _take_page(self, outcome: Outcome) -> None:
        job, page = outcome.job, outcome.page
        assert page is not None
        url = self._scope.page(outcome.url)
        if url is None:
            # A page that was moved away for good is gone from here.
            if outcome.permanent:
                self._store.forget(job.key)
            else:
                self._leave(job.key, "elsewhere", f"to {shown(outcome.url)}")
            return
        key = self._scope.key(url)
        if key != job.key:
            self._save_row(replace(_row(job.key, url, outcome), kind=ALIAS, target=key, leads_to=url))
            self._known.add(key)
            if key in self._done or not self._selection.asks_for(key):
                return
            if self._robots is not None and not self._robots.allows(url):
                self._leave(key, "robots", "robots.txt disallows it")
                return
        self._done.add(key)
        self._save(key, url, page, outcome)

    def _save(self, key: str, url: str, page: Page, outcome: Outcome) -> None:
        depth = outcome.job.depth
        links = tuple(pages_among(self._scope, page.links, url))
        row = replace(_row(key, url, outcome), links=links)
        if page.redirect:
            self._save_refresh(row, page, depth)
            return
        row = self._judge(row, page, outcome)
        self._save_row(row)
        if row.target:
            self._add(row.leads_to, depth)
        self._follow_links(links, depth)

    def _judge(self, row: Row, page: Page, outcome: Outcome) -> Row:
        """A page as a document, or as none with the reason."""
        why = why_none(self._settings, page)
        return self._document(row, page, outcome) if why is None else row.as_skip(*why)

    def _save_refresh(self, row: Row, page: Page, depth: int) -> None:
        """A page that does nothing but lead on to another."""
        target = self._scope.page(page.redirect)
        if target is None:
            self._save_row(replace(row, links=()).as_skip("elsewhere", f"to {shown(page.redirect)}"))
        elif (key := self._scope.key(target)) != row.key:
            self._save_row(replace(row, kind=ALIAS, target=key, leads_to=target, links=()))
            self._add(target, depth)

    def _document(self, row: Row, page: Page, outcome: Outcome) -> Row:
        document = make_document(self._scope, self._settings, row.key, row.url, outcome)
        row = replace(row, kind=DOCUMENT, token=document["revision"], document=document)
        canonical = self._scope.page(page.canonical) if page.canonical else None
        if canonical is None:
            return row
        target = self._scope.key(canonical)
        # A template that names the start page on every page would swallow them all.
        if target in (row.key, START) or not self._selection.asks_for(target):
            return row
        return replace(row, target=target, leads_to=canonical)

    def _follow_links(self, links: Iterable[str], depth: int) -> None:
        if self._follow:
            for link in links:
                self._add(link, depth + 1)

    def _save_row(self, row: Row) -> None:
        self._store.save(row, counts=self._selection.takes(row.key))
        self._tell_of(row)

    def _tell_of(self, row: Row) -> None:
        """Notes what became of a page: it is a document, or why it is none."""
        if row.kind == DOCUMENT:
            self._has_read = True
        elif row.kind == SKIP and row.token:
            self._skipped[row.key] = Skipped(row.key, row.token, row.document.get("detail", ""))

    def _leave(self, key: str, reason: str, detail: str) -> None:
        """A page that is no document just now. What is known of it stays, since that may pass."""
        self._skipped[key] = Skipped(key, reason, detail)
        self._store.keep(key, counts=False)

    def _fail(self, key: str, why: str) -> None:
        """A page that could not be read, so that the listing is not complete."""
        self._leave(key, "unreadable", why)
        self._failed.append(f"{key}, {why}")


def _row(key: str, url: str, outcome: Outcome) -> Row:
    """What an answer says of a page before it is looked into."""
    return Row(key, url, outcome.etag, outcome.modified, SKIP, noindex=outcome.noindex, size=outcome.size)


def _some(pages: list[str]) -> str:
    """The first of many, and how many more there are."""
    more = len(pages) - EXAMPLES
    return "; ".join(pages[:EXAMPLES]) + (f"; and {more:,} more" if more > 0 else "")
