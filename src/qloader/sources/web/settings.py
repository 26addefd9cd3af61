"""What can be set of a `web` source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qloader.documents.hashing import fingerprint
from qloader.documents.reading import READER

EXTRACTION = "web.1"
"""Raised with every change to how a page is read, so that all pages are read again."""

Discovery = Literal["auto", "sitemap", "crawl"]


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What a `web` source reads.

    Attributes:
        url: The start page; all pages lie below it.
        cache_dir: Where what is known of the pages is kept.
        include: Patterns of .gitignore for ids, which are paths below `url`.
        exclude: The same, for what is left out and never asked for.
        discovery: `sitemap`, `crawl` (following links), or `auto`: the sitemap if it names at least two pages here.
        sitemaps: Addresses of sitemaps, where neither robots.txt nor the usual place names them.
        selector: CSS: what of a page is its content; None: it is found by itself.
        remove: CSS: what of the content is left out.
        languages: Pages in other languages (`<html lang>`) are left out; empty: none are.
        query: Names of query parameters that make a page of its own; all others are dropped from addresses.
        robots: Whether robots.txt and `noindex` are obeyed.
        max_pages: How many pages are asked for, at most.
        max_depth: How many links away from the start page a page may be, at most.
        max_bytes: Larger pages are skipped.
        max_total_bytes: How much all pages may weigh together.
        rate_is_set: Whether the rate was chosen by somebody; if not, the `Crawl-delay` of robots.txt counts.
        metadata: Added to every document.
    """

    url: str
    cache_dir: Path
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    discovery: Discovery = "auto"
    sitemaps: tuple[str, ...] = ()
    selector: str | None = None
    remove: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    robots: bool = True
    max_pages: int = 50_000
    max_depth: int = 50
    max_bytes: int = 10_000_000
    max_total_bytes: int = 10_000_000_000
    rate_is_set: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def selection(self) -> str:
        """A fingerprint of what decides which pages are documents, and how."""
        return fingerprint(
            {
                "extraction": self.extraction,
                "include": self.include,
                "exclude": self.exclude,
                "discovery": self.discovery,
                "sitemaps": self.sitemaps,
                "max_pages": self.max_pages,
                "max_depth": self.max_depth,
                "max_total_bytes": self.max_total_bytes,
            }
        )

    @property
    def extraction(self) -> str:
        """A fingerprint of what decides how a page is read: what is stored of it holds for this only."""
        return fingerprint(
            {
                "reader": f"{READER} {EXTRACTION}",
                "selector": self.selector,
                "remove": self.remove,
                "languages": self.languages,
                "query": sorted(self.query),
                "robots": self.robots,
                "max_bytes": self.max_bytes,
                "metadata": dict(self.metadata),
            }
        )
