"""Where the pages of a site are found first: its sitemap, or the start page and llms.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from qloader.errors import SourceError
from qloader.sources.http.errors import (
    CredentialsError,
    PermissionDeniedError,
    RedirectError,
    RefusedRequestError,
    RequestError,
)
from qloader.sources.web.addresses import Scope, pages_among
from qloader.sources.web.settings import WebSettings
from qloader.sources.web.sitemap import Listed, NoSitemapError, read_sitemaps

if TYPE_CHECKING:
    from qloader.sources.http.client import HttpClient
    from qloader.sources.web.robots import Robots
    from qloader.sources.web.selecting import PageSelection

FEWEST = 2
"""Pages that a sitemap must name to be taken for the list of all: some name the start page of each version only."""

_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)")
_LLMS_BYTES = 2_000_000


@dataclass(slots=True)
class Sitemap:
    """The pages that a site lists itself.

    Attributes:
        names: Pages of this source that it names, selected or not; counted up to `FEWEST`.
        pages: Addresses in their normal form, by id, with the date that the sitemap gives.
        exists: Whether there is one at all.
        parts: How many sitemaps it is made of.
        is_cut: Whether there were more than are allowed.
        problems: What could not be read: the address and the reason.
        failure: Why nothing could be read, though there is a sitemap.
    """

    names: set[str] = field(default_factory=set)
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)
    exists: bool = False
    parts: int = 0
    is_cut: bool = False
    problems: list[tuple[str, str]] = field(default_factory=list)
    failure: RequestError | None = None


def find_sitemap(
    name: str, settings: WebSettings, scope: Scope, selection: PageSelection, client: HttpClient, robots: Robots | None
) -> Sitemap | None:
    """Reads the site's sitemap.

    Returns:
        The pages, or None where links are to be followed: there is no sitemap, or it names hardly any page here.

    Raises:
        SourceError: There is none, and the config wants one.
    """
    if settings.discovery == "crawl":
        return None
    usual = dict.fromkeys([urljoin(scope.start, f"{scope.prefix}sitemap.xml"), urljoin(scope.start, "/sitemap.xml")])
    for addresses in (list(settings.sitemaps) or (robots.sitemaps if robots else []), *([one] for one in usual)):
        found = _read_all(settings, scope, selection, client, addresses)
        if found.failure is not None or found.problems or len(found.names) >= FEWEST:
            return found
        if found.exists and (settings.discovery == "sitemap" or settings.sitemaps):
            return found
        if settings.sitemaps:
            break
    if settings.discovery == "sitemap" or settings.sitemaps:
        raise SourceError(
            f"Source {name}: there is no sitemap for {scope.start}.",
            remedy=f"Name it in sources.{name}.sitemaps, or set sources.{name}.discovery: crawl to follow links.",
        )
    return None


def _read_all(
    settings: WebSettings, scope: Scope, selection: PageSelection, client: HttpClient, addresses: list[str]
) -> Sitemap:
    found = Sitemap()

    def take(listed: Listed) -> bool:
        page = scope.page(listed.url)
        if page is None:
            return True
        key = scope.key(page)
        if len(found.names) < FEWEST:
            found.names.add(key)
        if key in found.pages or not selection.takes(key):
            return True
        if len(found.pages) >= settings.max_pages:
            found.is_cut = True
            return False
        found.pages[key] = page, listed.modified
        return True

    for address in addresses:
        try:
            found.parts += read_sitemaps(client, address, take, lambda where, why: found.problems.append((where, why)))
        except NoSitemapError:
            continue
        except RequestError as error:
            found.failure = error
        found.exists = True
    return found


def modified_since(sitemap: Sitemap, since: datetime) -> Iterator[tuple[str, str]]:
    """The pages that were changed after a moment by their dates, and those without a date."""
    for key, (url, written) in sitemap.pages.items():
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            yield key, url
            continue
        if (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) >= since:
            yield key, url


def read_llms(scope: Scope, client: HttpClient, robots: Robots | None) -> list[str]:
    """The pages that llms.txt names: below the start page, else at the root. A hint only: without it, none.

    Raises:
        RequestError: The server failed, so that there may be one.
    """
    for address in dict.fromkeys([urljoin(scope.start, f"{scope.prefix}llms.txt"), urljoin(scope.start, "/llms.txt")]):
        if robots is not None and not robots.allows(address):
            continue
        try:
            answer = client.get(address, max_bytes=_LLMS_BYTES, truncate=True)
        except (CredentialsError, PermissionDeniedError, RefusedRequestError, RedirectError):
            continue
        if answer.status == 200 and not answer.is_html:
            return pages_among(scope, _LINK.findall(answer.body.decode("utf-8", "replace")), answer.url)
    return []


def without_copies(scope: Scope, pages: list[str], known: set[str]) -> list[str]:
    """Of the pages of llms.txt those that are no Markdown copy of a page that is known: `a.md` of `a` or `a.html`."""

    def is_copy(key: str) -> bool:
        bare = re.sub(r"(?:/index)?(?:\.html)?\.mdx?$", "", key)
        return bare != key and not {bare, f"{bare}.html", f"{bare}.htm", "index" if bare == "" else bare}.isdisjoint(
            known
        )

    return [page for page in pages if not is_copy(scope.key(page))]
