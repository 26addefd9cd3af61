"""What the sources of Atlassian's sites have in common: whose site it is, and how documents are read in batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Protocol

from qloader.documents.document import Document, Skipped
from qloader.errors import SourceError
from qloader.sources.atlassian.site import Site
from qloader.sources.http.errors import AnswerTooLargeError, BrokenAnswerError
from qloader.sources.protocol import Item

Result = Document | Skipped | Callable[[], Document | Skipped]
"""What was read: a document, why there is none, or what makes one of the answers."""

BROKEN = 20
"""Documents whose answer may be broken; if there are more, it is the server that is broken, and not they."""


class _Edition(Protocol):
    def identity(self) -> str: ...


class _Reader(Protocol):
    @property
    def unknown(self) -> Collection[str]: ...


class AtlassianSource:
    """The part of a source that its site does not shape; a subclass lists, and reads a batch."""

    def __init__(self, site: Site, url: str, edition: _Edition, reader: _Reader) -> None:
        self._site = site
        self._url = url
        self._asked = edition
        self._converter = reader
        self._broken = 0

    @property
    def unknown(self) -> Collection[str]:
        """What was met in texts and is not known how to read (macros, node types); its text was kept."""
        return self._converter.unknown

    def identity(self) -> str:
        """The site's address and the id that it gives itself; empty where it cannot be asked."""
        try:
            own = self._asked.identity()
        except SourceError:
            own = ""
        return f"{self._url} {own}" if own else ""

    def confirms(self, identity: str) -> bool:
        """Whether this is the site of that id. Asked of the site only where its address is another than it was."""
        url, _, own = identity.rpartition(" ")
        if url == self._url:
            return True
        try:
            return self._asked.identity() in (own, "")
        except SourceError:
            return True

    def proof(self) -> None:
        """None: a site has no token for all that it holds."""

    def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
        """Reads documents as they are now, many at a time; a site keeps no state of the whole.

        Raises:
            SourceError: The site cannot be reached, or refuses.
        """
        # What is asked of the server is asked side by side; what is made of the answers, here: threads that wait for
        # answers leave the processor to whoever makes documents.
        for results in self._site.map(self._read, self._batches(ids)):
            for document_id, result in results:
                yield result if isinstance(result, Document | Skipped) else self._make(document_id, result)

    def _batches(self, ids: Iterable[str]) -> Iterator[Sequence[str]]:
        """The ids in their order, as many together as one request may ask for."""
        raise NotImplementedError

    def _read_together(self, ids: Sequence[str]) -> Sequence[tuple[str, Result]]:
        """Reads a batch by as few requests as can be, in its order."""
        raise NotImplementedError

    def _make(self, document_id: str, make: Callable[[], Document | Skipped]) -> Document | Skipped:
        try:
            with self._site.understanding(document_id):
                return make()
        except BrokenAnswerError as error:
            return Skipped(document_id, "unreadable", str(error))

    def _read(self, ids: Sequence[str]) -> Sequence[tuple[str, Result]]:
        """Reads a batch, in its order."""
        try:
            with self._site.understanding("the server"):
                return self._read_together(ids)
        except (BrokenAnswerError, AnswerTooLargeError) as error:
            if len(ids) == 1:
                self._broken += 1
                if self._broken > BROKEN:
                    raise
                return [(ids[0], Skipped(ids[0], "unreadable", str(error)))]
        # One document that the server cannot write, or a very large one, must not hide the others.
        middle = len(ids) // 2
        return [*self._read(ids[:middle]), *self._read(ids[middle:])]


def with_first(first: Item | None, items: Iterator[Item]) -> Iterator[Item]:
    """Items whose first one was waited for already."""
    if first is not None:
        yield first
    yield from items
