"""Reading documents for an apply: fetched, hashed and cut. It needs neither state nor index, so it may run ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from qloader.chunking.chunker import Chunk, Chunker
from qloader.crew import Crew
from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import chunk_hash, content_hash, metadata_hash
from qloader.index.protocol import SparseVector
from qloader.sources.protocol import Source
from qloader.stopping import beat
from qloader.telemetry.recorder import Recorder


class Wanted(NamedTuple):
    """A document to read.

    Attributes:
        id: The document id.
        is_new: Whether all its chunks have to be embedded, as far as the plan tells.
    """

    id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Portion:
    """Documents of one source that are read together.

    Attributes:
        source: Its name.
        revision: The planned revision of the source; None reads it as it is now.
        wanted: The documents, in the order of the plan.
    """

    source: str
    revision: str | None
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document with all that is worked out from its text alone; hashes are 16 bytes.

    Attributes:
        document: The document; its text may be left out, since it stands in the chunks.
        content: Its content hash.
        metadata: Its metadata hash.
        chunks: Its chunks, in order.
        hashes: Their hashes.
        sparse: Their `bm25` vectors; empty where none were made yet.
    """

    document: Document
    content: bytes
    metadata: bytes
    chunks: tuple[Chunk, ...]
    hashes: tuple[bytes, ...]
    sparse: tuple[SparseVector, ...] = ()


def cut(document: Document, chunker: Chunker) -> ReadDocument:
    """Hashes a document and cuts it into chunks."""
    chunks = tuple(chunker.split(document.text, document.syntax))
    return ReadDocument(
        document=document,
        content=content_hash(document.text),
        metadata=metadata_hash(document.title, document.uri, document.metadata),
        chunks=chunks,
        hashes=tuple(chunk_hash(chunk.text) for chunk in chunks),
    )


class Reader(Protocol):
    """Who reads the documents of one source ahead of their turn.

    Attributes:
        most: How many documents a portion may have; None for any number.
    """

    most: int | None

    def submit(self, portion: Portion) -> Future[Sequence[ReadDocument | Skipped]]:
        """Has a portion read: one result for each document, in their order. Portions are begun in the order given.

        The future raises what the source raises.
        """
        ...

    @property
    def beats(self) -> int:
        """How many signs of life there were so far; any thread may give one, and any may ask."""
        ...

    @property
    def at(self) -> str:
        """The address of what is being read, as far as it is known."""
        ...

    def close(self) -> None:
        """Ends all reading; nothing of it is left."""
        ...


def read_portion(
    source: Source, portion: Portion, chunker: Chunker, recorder: Recorder, note: Callable[[str], None]
) -> Iterator[ReadDocument | Skipped]:
    """Reads a portion, one document after the other.

    Args:
        source: Its source.
        portion: What to read.
        chunker: Cuts the texts.
        recorder: Told how long it takes.
        note: Told the address of each document before it is read.

    Raises:
        SourceError: The source is gone.
    """
    results = iter(source.fetch((one.id for one in portion.wanted), revision=portion.revision))
    for one in portion.wanted:
        note(f"{portion.source}/{one.id}")
        with recorder.span("fetch", portion.source):
            result = next(results)
        if isinstance(result, Document):
            with recorder.span("chunk", portion.source):
                yield cut(result, chunker)
        else:
            yield result


class ThreadReader:
    """Reads a source in a thread of its own, whose wait for a server costs nobody else any time."""

    most: int | None = None

    def __init__(self, source: Source, chunker: Chunker, recorder: Recorder) -> None:
        self._source = source
        self._chunker = chunker
        self._recorder = recorder
        self._crew = Crew(1, f"read-{source.name}")
        self._at = source.name

    def submit(self, portion: Portion) -> Future[Sequence[ReadDocument | Skipped]]:
        """Has a portion read."""

        def read() -> list[ReadDocument | Skipped]:
            return list(_with_signs(read_portion(self._source, portion, self._chunker, self._recorder, self._note)))

        return self._crew.submit(read)

    def _note(self, address: str) -> None:
        self._at = address

    @property
    def beats(self) -> int:
        """How many signs of life there were so far."""
        return self._crew.stop.beats

    @property
    def at(self) -> str:
        """The address of what is being read."""
        return self._at

    def close(self) -> None:
        """Ends the thread, within a second where the source waits as it should."""
        self._crew.close()


def _with_signs(results: Iterable[ReadDocument | Skipped]) -> Iterator[ReadDocument | Skipped]:
    """The same results; each is a sign of life of the thread that reads."""
    beat()
    for result in results:
        beat()
        yield result
