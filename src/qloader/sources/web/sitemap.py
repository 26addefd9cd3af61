"""Sitemaps: XML, an index of them, or plain text, read as they come in, however many addresses they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING
from xml.parsers import expat

from qloader.sources.http.errors import NotFoundError, RedirectError, RequestError
from qloader.sources.http.inflate import BrokenDataError, inflate
from qloader.sources.http.telling import few_words

if TYPE_CHECKING:
    from qloader.sources.http.client import HttpClient

LARGEST = 1_000_000_000
"""Bytes that are read of one sitemap after decompression. The protocol allows 50 MiB; some sites do not care."""

MOST_SITEMAPS = 50_000
_DEEPEST = 3
_LONGEST_TEXT = 4_096
_NAMESPACE = "}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of a sitemap.

    Attributes:
        url: The address.
        modified: When it was changed last, as the sitemap says it.
        is_sitemap: Whether it is another sitemap, not a page.
    """

    url: str
    modified: str = ""
    is_sitemap: bool = False


class NoSitemapError(Exception):
    """What is at the address is no sitemap."""


class _EnoughError(Exception):
    """Nobody wants more."""


def read_sitemaps(
    client: HttpClient, url: str, take: Callable[[Listed], bool], problem: Callable[[str, str], None]
) -> int:
    """Reads a sitemap and those that it names.

    Args:
        client: Where to ask.
        url: The sitemap.
        take: Gets each page; False ends it all.
        problem: Gets the address and the reason of each sitemap below the first that could not be read whole.

    Returns:
        How many sitemaps there are.

    Raises:
        NoSitemapError: There is no sitemap at this address.
        RequestError: It cannot be read.
    """
    seen = {url}
    level = [url]
    with suppress(_EnoughError):
        for depth in range(_DEEPEST):
            below: list[str] = []
            one = _sorting(take, seen, below)
            for address in level:
                try:
                    _read_one(client, address, one)
                except (RequestError, NoSitemapError) as error:
                    if depth == 0:
                        raise
                    problem(address, few_words(error) if isinstance(error, RequestError) else str(error))
            level = below
        if level:
            problem(level[0], f"it lies below {_DEEPEST} others, and no deeper one is read")
    return len(seen)


def _sorting(take: Callable[[Listed], bool], seen: set[str], below: list[str]) -> Callable[[Listed], None]:
    """Hands on pages, and puts sitemaps that were not seen yet aside."""

    def one(listed: Listed) -> None:
        if not listed.is_sitemap:
            if not take(listed):
                raise _EnoughError
        elif listed.url not in seen and len(seen) < MOST_SITEMAPS:
            seen.add(listed.url)
            below.append(listed.url)

    return one


def _read_one(client: HttpClient, url: str, take: Callable[[Listed], None]) -> None:
    def read(pieces: Iterator[bytes]) -> None:
        first = next(pieces, b"")
        pieces = chain((first,), pieces)
        if first.startswith(b"\x1f\x8b"):
            pieces = inflate(pieces, "gzip", LARGEST)
            first = next(pieces, b"")
            pieces = chain((first,), pieces)
        if first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
            _read_xml(pieces, take)
        else:
            _read_text(pieces, take)

    try:
        answer = client.read(url, read, max_bytes=LARGEST)
    except (NotFoundError, RedirectError) as error:
        raise NoSitemapError(few_words(error)) from error
    if answer.status != 200:
        raise NoSitemapError(f"it answers {answer.status}")


def _read_xml(pieces: Iterator[bytes], take: Callable[[Listed], None]) -> None:
    """Hands on entries as their elements close. A document type is refused: a sitemap has none, a bomb needs one."""
    parser = expat.ParserCreate(namespace_separator=_NAMESPACE)
    parser.buffer_text = True
    state = _Entries(take)
    parser.StartElementHandler = state.start
    parser.EndElementHandler = state.end
    parser.CharacterDataHandler = state.text
    parser.StartDoctypeDeclHandler = state.refuse
    try:
        for piece in pieces:
            parser.Parse(piece, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        if not state.has_root:
            raise NoSitemapError("it is no XML") from error
        raise BrokenDataError(f"its XML is broken or cut off (line {error.lineno})") from error


class _Entries:
    """What expat calls: keeps the entry that is open, and nothing else."""

    def __init__(self, take: Callable[[Listed], None]) -> None:
        self._take = take
        self._is_index = False
        self._values: dict[str, str] = {}
        self._name = ""
        self.has_root = False

    def start(self, name: str, _: dict[str, str]) -> None:
        local = name.rpartition(_NAMESPACE)[2]
        if not self.has_root:
            if local not in ("urlset", "sitemapindex"):
                raise NoSitemapError("it is no sitemap")
            self._is_index = local == "sitemapindex"
            self.has_root = True
        elif local in ("url", "sitemap"):
            self._values = {}
        # An image or video of the page has a `loc` of its own, in a namespace of its own.
        self._name = local if local in ("loc", "lastmod") and "sitemap-" not in name else ""

    def text(self, text: str) -> None:
        if self._name and len(before := self._values.get(self._name, "")) < _LONGEST_TEXT:
            self._values[self._name] = before + text

    def end(self, name: str) -> None:
        self._name = ""
        if name.rpartition(_NAMESPACE)[2] in ("url", "sitemap") and (url := self._values.get("loc", "").strip()):
            self._values, values = {}, self._values
            self._take(Listed(url, values.get("lastmod", "").strip(), self._is_index))

    def refuse(self, *_: object) -> None:
        raise NoSitemapError("it has a document type, as web pages have and sitemaps have not")


def _read_text(pieces: Iterator[bytes], take: Callable[[Listed], None]) -> None:
    """One address a line."""
    rest = b""
    for piece in chain(pieces, (b"\n",)):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if address := line.decode("utf-8", "replace").removeprefix("\ufeff").strip():
                if not address.startswith(("http://", "https://")):
                    raise NoSitemapError("it is neither XML nor a list of addresses")
                take(Listed(address))
        if len(rest) > _LONGEST_TEXT:
            raise NoSitemapError("it is neither XML nor a list of addresses")
