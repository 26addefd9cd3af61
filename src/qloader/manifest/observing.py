"""Tier 3: from a document as read to what the cache keeps of it. Pure but for the reading itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import chunk_hash, content_hash, metadata_hash
from qloader.manifest.manifest import PlannedChunk, pack_chunks, pack_keys
from qloader.sources.protocol import Source


class SplitText(Protocol):
    """Cuts a text into the texts of its chunks."""

    def __call__(self, document: Document) -> Iterable[str]:
        """The chunk texts of a document, in their order."""
        ...


class Wanted(NamedTuple):
    """A document to read.

    Attributes:
        id: The document id.
        content: Its content hash as last observed, or None: equal text need not be chunked again.
    """

    id: str
    content: bytes | None


class Observation(NamedTuple):
    """What a read document comes down to; hashes are 16 bytes. A tuple, since a large load makes millions.

    Attributes:
        id: The document id.
        skip: Why it is no document, one of `SKIP_REASONS`; None where it is one.
        detail: What a person needs to see why.
        content: Content hash; None with `skip`.
        metadata: Metadata hash; None with `skip`.
        revision: The revision that a plan shows.
        size: Bytes in the source.
        chunks: Its chunks, packed; None where its text is the one last observed.
        title: What a person calls it.
        keys: The keys of its metadata that say something, packed.
    """

    id: str
    skip: str | None
    detail: str
    content: bytes | None
    metadata: bytes | None
    revision: str
    size: int
    chunks: bytes | None
    title: str = ""
    keys: str = ""


Read = Callable[[Iterable[Wanted], str | None], Iterator[Observation]]
"""Reads documents at a source's revision and observes them, in any order."""


def read_here(source: Source, splitter: Callable[[], SplitText]) -> Read:
    """Reads in this process, one document after the other."""

    def read(wanted: Iterable[Wanted], revision: str | None) -> Iterator[Observation]:
        split = splitter()
        known: dict[str, bytes | None] = {}

        def ids() -> Iterator[str]:
            for document in wanted:
                known[document.id] = document.content
                yield document.id

        for result in source.fetch(ids(), revision=revision):
            yield observe(result, known.pop(result.id), split)

    return read


def observe(result: Document | Skipped, known: bytes | None, split: SplitText) -> Observation:
    """What one result of a source comes down to.

    Args:
        result: The document, or why there is none.
        known: Its content hash as last observed.
        split: Cuts its text.
    """
    if isinstance(result, Skipped):
        return Observation(result.id, result.reason, result.detail, None, None, "", 0, b"")
    content = content_hash(result.text)
    chunks = None
    if content != known:
        chunks = pack_chunks(PlannedChunk(chunk_hash(text), len(text)) for text in split(result))
    metadata = metadata_hash(result.title, result.uri, result.metadata)
    keys = pack_keys(result.metadata)
    return Observation(
        result.id, None, "", content, metadata, result.revision, result.bytes, chunks, result.title, keys
    )
