"""The manifest: what one source holds now, in short. Its entries lie in the cache, where they are joined."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_CHUNK = struct.Struct(">16sI")
_NOTHING: tuple[Any, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One source as a snapshot saw it.

    Attributes:
        source: The source's name.
        type: Its type.
        revision: Its revision as a plan shows it, or None.
        root: Root hash over (id, content hash, metadata hash) of all entries, 16 bytes.
        documents: How many entries.
        bytes: Their sizes in the source, added up.
        problems: Why the listing is not complete, one sentence each.
        skipped: How many items were skipped, with up to three example ids, by reason.
    """

    source: str
    type: str
    revision: str | None
    root: bytes
    documents: int
    bytes: int
    problems: tuple[str, ...] = ()
    skipped: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """True where an id that is missing from the manifest is gone from the source."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class PlannedChunk:
    """A chunk before it is embedded: its hash (16 bytes) and its length in characters."""

    hash: bytes
    characters: int


def pack_chunks(chunks: Iterable[PlannedChunk]) -> bytes:
    """Chunks as one blob for the cache, 20 bytes each, in their order."""
    return b"".join(_CHUNK.pack(chunk.hash, chunk.characters) for chunk in chunks)


def unpack_chunks(blob: bytes) -> Iterator[PlannedChunk]:
    """The chunks of a blob, in their order."""
    for digest, characters in _CHUNK.iter_unpack(blob):
        yield PlannedChunk(digest, characters)


def pack_keys(metadata: Mapping[str, Any]) -> str:
    """The keys of a document's metadata for the cache, sorted; without those that say nothing (null, empty)."""
    return "\0".join(sorted(key for key, value in metadata.items() if value not in _NOTHING and "\0" not in key))


def unpack_keys(text: str) -> tuple[str, ...]:
    """The keys that `pack_keys` packed."""
    return tuple(text.split("\0")) if text else ()
