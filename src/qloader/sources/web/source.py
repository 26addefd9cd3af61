"""The `web` source: the pages below an address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import finalize

from qloader.counting import counted
from qloader.documents.document import OUT_OF_SIGHT, SKIP_REASONS, Document, Skipped
from qloader.documents.hashing import fingerprint
from qloader.errors import ConfigError, SourceError
from qloader.retrying import RetryPolicy
from qloader.sources.http.settings import HttpSettings
from qloader.sources.protocol import Item, Listing, only_since
from qloader.sources.web.addresses import START, Scope
from qloader.sources.web.selecting import PageSelection
from qloader.sources.web.settings import WebSettings

if TYPE_CHECKING:
    from qloader.sources.http.client import HttpClient
    from qloader.sources.web.discovery import Sitemap
    from qloader.sources.web.fetching import Outcome
    from qloader.sources.web.listing import Pass
    from qloader.sources.web.robots import Robots
    from qloader.sources.web.store import PageStore

LOOKED_AT = 3
"""Pages of a sitemap that a check asks for, at most, until one can be read."""

OVERLAP = timedelta(days=1)
"""How much earlier than asked `changed_since` looks: a sitemap may give days only, in whatever time zone."""


class WebSource:
    """Reads the pages of one site that lie below its start page."""

    type = "web"

    def __init__(
        self,
        name: str,
        settings: WebSettings,
        http: HttpSettings,
        *,
        auth: tuple[str, str] | str | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            name: The source's name.
            settings: What is read.
            http: How the server is spoken to.
            auth: User and password, or a bearer token. Never shown.
            policy: When requests are sent again, if not as `http` says.
        """
        self.name = name
        self.settings = settings
        self.scope = Scope(settings.url, frozenset(settings.query))
        self._http = replace(http, max_bytes=settings.max_bytes)
        self._auth = auth
        self._policy = policy
        self._rereads = False
        self._store: PageStore | None = None
        self._closing: finalize[..., WebSource] | None = None

    def identity(self) -> str:
        """Host and path of the start page."""
        return f"{self.scope.place}{self.scope.prefix}"

    def confirms(self, identity: str) -> bool:
        """Whether the start page is the one that is remembered."""
        return identity == self.identity()

    def selection(self) -> str:
        """A fingerprint of all settings that decide which pages are documents, and how they are read."""
        return self.settings.selection

    def proof(self) -> None:
        """None: a site has no token for all that is in it."""

    def check(self) -> str:
        """Looks at robots.txt, the sitemap and the start page.

        Raises:
            SourceError: The site cannot be read.
        """
        robots, client = self._enter(self._client(0.0))
        with client, self._understanding_selectors():
            sitemap = self._sitemap(client, robots)
            if sitemap is not None:
                self._check_sitemap(sitemap)
                self._look_at_some([url for url, _ in sitemap.pages.values()], client, robots)
                return f"web, {self.scope.start}: the sitemap names {counted(len(sitemap.pages), 'page')}"
            self._look_at_start(client, robots)
            return f"web, {self.scope.start}: no sitemap, so links are followed from here"

    def list(self) -> Listing:
        """Asks for every page, on condition that it changed. A token is a hash of what a page says.

        Raises:
            SourceError: The site cannot be reached, or its start page cannot be read.
            ConfigError: A pattern or selector is invalid.
        """
        listing = Listing()
        listing.items = self._items(listing, None)
        return listing

    def changed_since(self, since: datetime) -> Listing:
        """Asks for the pages that the sitemap dates after a moment, or does not date. Never complete.

        Raises:
            SourceError: As `list`.
        """
        listing = Listing()
        listing.items = self._items(listing, since)
        return listing

    def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
        """Reads pages as the last listing saw them; those that none saw, as they are now.

        Raises:
            SourceError: The server cannot be reached.
        """
        store = self._open_store()
        wanted = iter(ids)
        for document_id in wanted:
            document = store.document(document_id)
            if document is None:
                yield from self._fetch_now(store, chain((document_id,), wanted))
                return
            yield document

    def reread(self) -> None:
        """Asks for pages without condition from now on: a server may say of a page that changed that it did not."""
        self._rereads = True

    def close(self) -> None:
        """Lets go of the file of what is known; it is opened again when it is needed."""
        if self._store is not None:
            self._store = None
        if self._closing is not None:
            self._closing()
            self._closing = None

    def _items(self, listing: Listing, since: datetime | None) -> Iterator[Item]:
        import sqlite3

        from qloader.sources.web.store import unusable

        try:
            with self._understanding_selectors():
                yield from self._pass(listing, since)
        except sqlite3.Error as error:
            raise unusable("the cache", error) from error

    @contextmanager
    def _understanding_selectors(self) -> Iterator[None]:
        from qloader.sources.web.content import BadSelectorError

        try:
            yield
        except BadSelectorError as error:
            raise ConfigError(
                f"sources.{self.name}: {str(error)!r} is no CSS selector.",
                remedy="Selectors are written as in a style sheet, e.g. main or div.content.",
            ) from error

    def _pass(self, listing: Listing, since: datetime | None) -> Iterator[Item]:
        robots, client = self._enter(self._client(0.0))
        store = self._open_store()
        store.begin(reread=self._rereads)
        with client:
            sitemap = self._sitemap(client, robots)
            walk = self._walk(client, robots, listing, store, follow=sitemap is None)
            if sitemap is None:
                self._crawl(walk, client, robots)
            else:
                self._check_sitemap(sitemap)
                if since is None and sitemap.parts > 1 and self._misses(sitemap, store):
                    # A site that lists itself anew while its parts are read can lose a page between two of them.
                    again = self._sitemap(client, robots)
                    sitemap.pages |= again.pages if again is not None else {}
                self._visit(walk, sitemap, since)
            if since is not None:
                if sitemap is None:
                    listing.problems.append("the site has no sitemap with dates, so that every page was looked at")
                else:
                    listing.problems.append(only_since(since))
            yield from walk.finish()
            if since is None and not walk.has_read:
                listing.failure = self._nothing_read(listing.skipped)

    def _check_allowed(self, robots: Robots | None, page: str) -> None:
        if robots is not None and not robots.allows(page):
            raise SourceError(f"Source {self.name}: robots.txt disallows {page}.", remedy=self._ask_the_owner)

    @property
    def _ask_the_owner(self) -> str:
        return f"Ask the site's owner. If it is your own site, set sources.{self.name}.robots: false."

    def _look_at_some(self, pages: Sequence[str], client: HttpClient, robots: Robots | None) -> None:
        """Asks for the first pages that may be asked for, until one can be read.

        A sitemap is often public where the pages want a login; but one page that is broken says nothing of the others.
        """
        from qloader.sources.web.single import look_at

        allowed = (page for page in pages if robots is None or robots.allows(page))
        skipped: list[Skipped] = []
        for page in islice(allowed, LOOKED_AT):
            skip = look_at(client, self.settings, self.scope, page)
            if skip is None:
                return
            skipped.append(skip)
        if pages and not skipped:
            self._check_allowed(robots, pages[0])
        if (failure := self._nothing_read(skipped)) is not None:
            raise failure

    def _look_at_start(self, client: HttpClient, robots: Robots | None) -> None:
        """Asks for the page from where links are followed."""
        from qloader.sources.web.addresses import pages_among
        from qloader.sources.web.documents import why_none
        from qloader.sources.web.fetching import Job, ask

        self._check_allowed(robots, self.scope.start)
        first = ask(client, self.settings, self.scope, Job(START, self.scope.start, None))
        self._check_start(first)
        if first.page is None or pages_among(self.scope, (*first.page.links, first.page.redirect), first.url):
            return
        why = why_none(self.settings, first.page)
        if why is not None and (failure := self._nothing_read([Skipped(START, *why)])) is not None:
            raise failure

    def _check_start(self, first: Outcome) -> None:
        """Refuses a start page that is none, since links are followed from there."""
        from qloader.sources.http.addresses import shown
        from qloader.sources.web.fetching import SKIPS

        if first.error is not None:
            raise first.error
        if first.kind == "gone":
            raise self._no_start("there is nothing (404, 410)", "")
        if (reason := SKIPS.get(first.kind)) is not None:
            raise self._no_start(f"it {_told(Skipped(START, reason, first.why))}", reason)
        if first.url and self.scope.page(first.url) is None:
            raise SourceError(
                f"Source {self.name}: {self.scope.start} leads to {shown(first.url)}, which does not lie below it.",
                remedy=f"Set sources.{self.name}.url to where it leads.",
            )

    def _crawl(self, walk: Pass, client: HttpClient, robots: Robots | None) -> None:
        """Follows links from the start page, and then those of llms.txt."""
        from qloader.sources.http.errors import RequestError
        from qloader.sources.web.discovery import read_llms, without_copies

        start = self.scope.start
        self._check_allowed(robots, start)
        first = walk.walk([start])
        if first is None:
            raise SourceError(
                f"Source {self.name}: exclude leaves out the start page, and links are followed from there.",
                remedy=f"Take it out of sources.{self.name}.exclude: what is no document can be left out by include.",
            )
        self._check_start(first)
        try:
            named = read_llms(self.scope, client, robots)
        except RequestError as error:
            named = []
            walk.tell(f"llms.txt could not be read, and may name pages that nothing leads to: {_why(error)}")
        walk.walk(without_copies(self.scope, named, walk.keys), depth=1)
        if walk.is_alone:
            # A login or a notice with status 200 has no links either, and must not empty the index.
            walk.tell("the start page leads to no other page, so that none of them is taken for gone")

    def _check_sitemap(self, sitemap: Sitemap) -> None:
        """Refuses a sitemap of which nothing could be read.

        Not even the pages that are known from earlier are looked at then: a plan must not depend on what is cached.

        Raises:
            SourceError: The reason, with the way to do without the sitemap.
        """
        if sitemap.names:
            return
        crawl = f"Without a sitemap, sources.{self.name}.discovery: crawl follows links."
        if sitemap.failure is not None:
            sitemap.failure.remedy = f"{sitemap.failure.remedy} {crawl}".lstrip()
            raise sitemap.failure
        if sitemap.problems:
            address, why = sitemap.problems[0]
            raise SourceError(
                f"Source {self.name}: no part of the sitemap can be read, the first {address}: {why}.",
                remedy=f"Try again later. {crawl}",
            )

    def _visit(self, walk: Pass, sitemap: Sitemap, since: datetime | None) -> None:
        """Asks for the pages of a sitemap."""
        from qloader.sources.web.discovery import modified_since

        pages = [url for url, _ in sitemap.pages.values()]
        if since is not None:
            pages = [url for _, url in modified_since(sitemap, since - OVERLAP)]
        if sitemap.failure is not None:
            walk.tell(f"a sitemap could not be read to its end: {_why(sitemap.failure)}")
        if sitemap.problems:
            (address, why), more = sitemap.problems[0], len(sitemap.problems) - 1
            others = f", and {counted(more, 'other part')}" if more else ""
            walk.tell(f"the sitemap {address}{others} could not be read: {why}")
        if sitemap.is_cut:
            walk.tell(f"max_pages was reached: the sitemap names more than {counted(self.settings.max_pages, 'page')}")
        walk.walk(pages)

    def _nothing_read(self, skipped: Sequence[Skipped]) -> SourceError | None:
        """What to say where not one page was a document, and each may well be one."""
        if not skipped or any(one.reason not in OUT_OF_SIGHT for one in skipped):
            return None
        reason, count = Counter(one.reason for one in skipped).most_common(1)[0]
        first = next(one for one in skipped if one.reason == reason)
        if reason == "robots":
            why = "robots.txt disallows it" if first.detail != "noindex" else "it says noindex itself"
        else:
            why = _told(first)
        also = f" ({counted(len(skipped) - count, 'other')} for other reasons)" if count < len(skipped) else ""
        return SourceError(
            f"Source {self.name}: not one of {counted(len(skipped), 'page')} can be read{also}: {first.id}: {why}.",
            remedy=self._remedy(reason),
        )

    def _remedy(self, reason: str) -> str:
        """What to do where pages are no documents for a reason of `SKIP_REASONS`."""
        place = f"sources.{self.name}"
        return {
            "robots": self._ask_the_owner,
            "forbidden": f"Set {place}.token, or check it: it may be mistyped, expired, or lack the right to read.",
            "elsewhere": f"Open a page in a browser. A login wants {place}.token; a site that moved, another url.",
            "no text": f"Check {place}.selector, if it is set. Pages that a script draws cannot be read.",
        }.get(reason, f"Open a page of it in a browser, and check {place}.url.")

    def _walk(
        self, client: HttpClient, robots: Robots | None, listing: Listing, store: PageStore, *, follow: bool
    ) -> Pass:
        from qloader.sources.web.listing import Pass

        return Pass(
            self.settings,
            self.scope,
            self._selection,
            client=client,
            robots=robots,
            store=store,
            listing=listing,
            follow=follow,
        )

    def _sitemap(self, client: HttpClient, robots: Robots | None) -> Sitemap | None:
        from qloader.sources.web.discovery import find_sitemap

        return find_sitemap(self.name, self.settings, self.scope, self._selection, client, robots)

    def _misses(self, sitemap: Sitemap, store: PageStore) -> bool:
        """Whether the sitemap names less than what was listed last."""
        selection = self._selection
        return any(key not in sitemap.pages and selection.takes(key) for key, _ in store.listed())

    @cached_property
    def _selection(self) -> PageSelection:
        return PageSelection(self.settings.include, self.settings.exclude)

    def _fetch_now(self, store: PageStore, ids: Iterable[str]) -> Iterator[Document | Skipped]:
        """Some that no listing here saw: another machine made the plan, or the cache was deleted."""
        from qloader.sources.web.single import read_single

        robots, client = self._enter(self._client(0.0))

        def one(wanted: tuple[str, Document | None]) -> Document | Skipped:
            document_id, document = wanted
            return document or read_single(client, robots, self.settings, self.scope, document_id)

        with client:
            yield from client.map(one, ((document_id, store.document(document_id)) for document_id in ids))

    def _enter(self, client: HttpClient) -> tuple[Robots | None, HttpClient]:
        """Reads robots.txt; the client that comes back keeps to its `Crawl-delay`."""
        if not self.settings.robots:
            return None, client
        from qloader.sources.web.robots import read_robots

        robots = read_robots(client)
        if robots.delay and not self.settings.rate_is_set:
            client.close()
            client = self._client(1 / robots.delay)
        return robots, client

    def _client(self, rate: float) -> HttpClient:
        from qloader.sources.http.client import HttpClient

        settings = replace(self._http, rate=rate) if rate else self._http
        return HttpClient(self.scope.start, settings, auth=self._auth, what=f"sources.{self.name}", policy=self._policy)

    def _open_store(self) -> PageStore:
        if self._store is None:
            from qloader.sources.web.store import PageStore

            name = f"{urlsplit(self.scope.start).hostname}-{fingerprint([self.name, self.scope.start])}.db"
            self._store = PageStore(self.settings.cache_dir / "web" / name.replace(":", "."), self.settings.extraction)
            self._closing = finalize(self, self._store.close)
        return self._store

    def _no_start(self, why: str, reason: str) -> SourceError:
        return SourceError(
            f"Source {self.name}: the start page {self.scope.start} cannot be read: {why}.",
            remedy=self._remedy(reason),
        )


def _told(skipped: Skipped) -> str:
    """Why a page is no document, as the end of a sentence about it."""
    return f"{SKIP_REASONS[skipped.reason]}{skipped.detail and ': '}{skipped.detail}"


def _why(error: Exception) -> str:
    """The message of an error without the place in the config that it begins with."""
    return (str(error).partition(": ")[2] or str(error)).rstrip(".")
