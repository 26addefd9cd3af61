"""What an index is, for the rest of qloader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

SPARSE_VECTOR = "bm25"
DENSE_VECTOR = "dense"
PAYLOAD_INDEXES = ("source", "document_id", "qloader.lineage")
"""Payload fields with a keyword index: what searches filter by, and what tells our points from foreign ones."""


Guard = Callable[[], None]
"""Asked right before the index is changed; raises where this process may change nothing any more."""


def allow() -> None:
    """The guard of an index that needs none."""


def owner_fields(lineage: str, document: tuple[str, str] | None = None) -> dict[str, str]:
    """What the payload of a point says that the lineage owns (and that is of this document)."""
    fields = {"qloader.lineage": lineage}
    if document is not None:
        fields["source"], fields["document_id"] = document
    return fields


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Token ids and their weights, equally long; ids are unique and in ascending order."""

    indices: Sequence[int]
    values: Sequence[float]


Vectors = Mapping[str, "SparseVector | Sequence[float]"]
"""Vectors by name: `bm25` (sparse), `dense` (float32)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One chunk as Qdrant holds it. `id` is a UUID in its canonical text form."""

    id: str
    vectors: Vectors
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point read back; vectors and payload are empty where they were not asked for."""

    id: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    vectors: Vectors = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result, best first; the score is the engine's own and only compares within one query."""

    id: str
    score: float
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection says of itself.

    Attributes:
        lineage: The lineage of the state that owns it; None where no qloader state made it.
        pipeline: The pipeline fingerprint it was filled with, or None.
        vectors: The names of its vectors, sparse and dense.
        points: All its points, foreign ones included.
    """

    lineage: str | None
    pipeline: str | None
    vectors: frozenset[str]
    points: int


class Index(Protocol):
    """A Qdrant collection, embedded or on a server. Writes return when they are durable.

    Every method raises `IndexUnavailableError` where the index cannot be reached or is held by
    another process. Methods that write are idempotent: repeating one changes nothing.
    """

    def describe(self) -> CollectionInfo | None:
        """What is there, or None where the collection does not exist."""
        ...

    def create(self, *, lineage: str, pipeline: str) -> None:
        """Creates the collection with its vectors and payload indexes and records whose it is.

        Completes a creation that was cut short.

        Raises:
            ForeignIndexError: A collection of that name exists and belongs to another lineage.
        """
        ...

    def mark(self, *, lineage: str, pipeline: str) -> None:
        """Records the lineage and the pipeline fingerprint in the collection's metadata."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Writes points, whole: an existing point of the same id is replaced."""
        ...

    def set_payloads(self, payloads: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Replaces the payload of existing points, keeping their vectors."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes points; unknown ids are ignored."""
        ...

    def retrieve(
        self, ids: Sequence[str], *, with_payload: bool = False, with_vectors: bool = False
    ) -> list[StoredPoint]:
        """Reads points by id, in no particular order; missing ones are left out."""
        ...

    def scroll(
        self,
        *,
        lineage: str,
        document: tuple[str, str] | None = None,
        with_payload: bool = True,
        with_vectors: bool = False,
        page: int = 1000,
    ) -> Iterator[StoredPoint]:
        """Every point that the lineage owns, page by page, in id order. Foreign points are not read.

        Args:
            lineage: Whose points.
            document: Source and id of a document, whose points alone are wanted.
            with_payload: Whether to read payloads.
            with_vectors: Whether to read vectors.
            page: How many points one request reads.
        """
        ...

    def count(self, *, lineage: str) -> int:
        """How many points the lineage owns."""
        ...

    def search(
        self, vector: SparseVector | Sequence[float], *, using: str, limit: int, lineage: str | None = None
    ) -> list[Hit]:
        """The nearest points by one named vector, best first; only the lineage's own where one is given."""
        ...

    def drop(self) -> None:
        """Deletes the collection and all that is in it; does nothing where it does not exist."""
        ...

    def flush(self) -> None:
        """Makes all earlier writes survive a power cut."""
        ...

    def close(self) -> None:
        """Lets go of the index; further calls are errors."""
        ...
