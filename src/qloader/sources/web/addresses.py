"""Addresses of pages: one form for the many that name a page, and the ids made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit

START = "index"
"""The id of the start page itself."""

_INDEX = re.compile(r"(?:^|/)index\.html?$", re.IGNORECASE)
_SESSION = re.compile(r";(?:jsessionid|phpsessid|sid)=[^/?]*", re.IGNORECASE)
_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_KEPT_ESCAPES = re.compile(r"[\x00-\x20\x7f/?#%\\]")
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~-._"
_LONGEST = 2_000
_FILES = (
    "7z apk atom avi avif bin bmp bz2 class css csv dmg doc docx eot epub exe gif gz ico iso jar jpeg jpg "
    "js json m4a m4v map mjs mkv mov mp3 mp4 mpeg msi odp ods odt ogg ogv otf pdf png ppt pptx ps rar rss "
    "svg tar tgz tif tiff ttf wasm wav webm webmanifest webp whl wmv woff woff2 xls xlsx xml xsd xz yaml "
    "yml zip zst "
)
"""What names of files end in that are no pages; they are not asked for."""

_NO_PAGE = frozenset(_FILES.split())


@dataclass(frozen=True)
class Scope:
    """The part of the web that a source covers: the start page and all below it.

    Attributes:
        url: The start page, as configured.
        query: Names of query parameters that make a page of its own.
    """

    url: str
    query: frozenset[str] = frozenset()

    @cached_property
    def start(self) -> str:
        """The start page in its normal form."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme.lower(), self.place, _path(parts.path) or "/", self._query(parts.query), ""))

    @cached_property
    def place(self) -> str:
        """Host and port, in lower case and without a port that goes without saying."""
        return _place(self.url) or ""

    @cached_property
    def prefix(self) -> str:
        """What the paths of all pages begin with; ends in a slash."""
        path = _path(urlsplit(self.url).path) or "/"
        if path.endswith("/"):
            return path
        folder, _, name = path.rpartition("/")
        return f"{folder}/" if "." in name else f"{path}/"

    def page(self, link: str, page: str | None = None) -> str | None:
        """The normal form of a link's target, or None where it is no page of this source.

        Fragments, session ids and all query parameters but the chosen ones go; the scheme is the start page's.

        Args:
            link: An address, as it stands in a page or a sitemap.
            page: The page that it stands in, for relative ones.
        """
        link = link.strip()
        if not link or len(link) > _LONGEST or link.startswith("#"):
            return None
        try:
            whole = urljoin(page or self.start, link)
            parts = urlsplit(whole)
            if parts.scheme.lower() not in ("http", "https") or _place(whole) != self.place:
                return None
        except ValueError:
            return None
        path = _path(parts.path) or "/"
        if not (path.startswith(self.prefix) or path + "/" == self.prefix) or not _may_be_page(path):
            return None
        return urlunsplit((urlsplit(self.start).scheme, self.place, path, self._query(parts.query), ""))

    def key(self, page: str) -> str:
        """The id of a page: its path below the start page, decoded where that is unambiguous.

        `guide/`, `guide` and `guide/index.html` are one page.

        Args:
            page: In its normal form.
        """
        parts = urlsplit(page)
        below = parts.path[len(self.prefix) :] if parts.path.startswith(self.prefix) else ""
        below = _INDEX.sub("", below).rstrip("/")
        key = _ESCAPE.sub(_decoded, below) or START
        return f"{key}?{_ESCAPE.sub(_decoded, parts.query)}" if parts.query else key

    def candidates(self, key: str) -> list[str]:
        """The addresses that a page of this id may have, the likeliest first."""
        if key == START:
            return [self.start]
        path, mark, query = key.partition("?")
        quoted = self.prefix + quote(path, safe=_SAFE_IN_PATH)
        scheme = urlsplit(self.start).scheme
        paths = [quoted] if "." in quoted.rpartition("/")[2] else [quoted, f"{quoted}/"]
        return [f"{scheme}://{self.place}{one}{mark}{quote(query, safe=_SAFE_IN_PATH)}" for one in paths]

    def _query(self, query: str) -> str:
        if not query or not self.query:
            return ""
        return urlencode(sorted(pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] in self.query))


def pages_among(scope: Scope, links: Iterable[str], page: str) -> list[str]:
    """The pages that links lead to, each once, in their order."""
    return list(dict.fromkeys(found for link in links if (found := scope.page(link, page)) is not None))


def _place(url: str) -> str | None:
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if not host:
        return None
    if ":" in host:
        host = f"[{host}]"
    else:
        try:
            host = host.rstrip(".").encode("idna").decode() if not host.isascii() else host.rstrip(".")
        except UnicodeError:
            return None
    usual = {"http": 80, "https": 443}.get(parts.scheme.lower())
    return host.lower() if port in (None, usual) else f"{host.lower()}:{port}"


def _path(path: str) -> str:
    """A path without dot segments and session ids, escaped in one way only."""
    path = _SESSION.sub("", path)
    path = quote(path, safe=_SAFE_IN_PATH)
    path = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", path)
    path = _ESCAPE.sub(lambda found: quote(unquote(found[0], "latin-1"), safe="-._~", encoding="latin-1"), path)
    if "/." not in path:
        return path
    kept: list[str] = []
    parts = path.split("/")
    for part in parts:
        if part == "..":
            if len(kept) > 1:
                kept.pop()
        elif part != ".":
            kept.append(part)
    return "/".join(kept) + ("/" if parts[-1] in (".", "..") and kept[-1:] != [""] else "")


def _decoded(found: re.Match[str]) -> str:
    """Escapes as text, but for those whose character would mean something else, or is none."""
    try:
        text = bytes.fromhex(found[0].replace("%", "")).decode()
    except UnicodeDecodeError:
        return found[0]
    if not text.isprintable() and not text.isspace():
        return found[0]
    return _KEPT_ESCAPES.sub(lambda kept: quote(kept[0], safe=""), text)


def _may_be_page(path: str) -> bool:
    name, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return not (dot and name and suffix.lower() in _NO_PAGE)
