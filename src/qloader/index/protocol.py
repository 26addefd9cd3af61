"""What an index is, for the rest of qloader."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from qloader.documents.payload import OWN, TENANT
from qloader.index.collection_settings import AS_THEY_ARE, CollectionSettings, Difference

SPARSE_VECTOR = "bm25"
DENSE_VECTOR = "dense"
RRF_K = 2
"""The constant of reciprocal rank fusion, Qdrant's own: a hit of rank r (from 0) counts 1 / (r + k)."""

Fusion = Literal["rrf", "dbsf"]
"""How rankings become one: by ranks, or by scores (distribution-based), each against the spread of its own ranking."""

LINEAGE = f"{OWN}.lineage"
"""Where a payload says which state owns the point."""

PAYLOAD_INDEXES = ("source", "document_id", LINEAGE)
"""Payload fields with a keyword index: what searches filter by, and what tells our points from foreign ones."""

_BESIDE = "__"
"""What stands between a collection's name and the fingerprint in the name of one that is made beside it."""

Guard = Callable[[], None]
"""Asked right before the index is changed; raises where this process may change nothing any more."""


def allow() -> None:
    """The guard of an index that needs none."""


def owner_fields(lineage: str | None, document: tuple[str, str] | None = None, tenant: str = "") -> dict[str, str]:
    """What the payload of a point says that is the tenant's, where there is one, and the lineage's, and the document's.

    Args:
        lineage: Whose it is; anybody's where None.
        document: Source and id of the document that it is of; of any where None.
        tenant: Whose it is in a shared collection; empty in any other.
    """
    fields = {TENANT: tenant} if tenant else {}
    if lineage is not None:
        fields[LINEAGE] = lineage
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
class FoundBy:
    """How one vector alone found a hit: its rank there, from 1, and its score there."""

    vector: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result, best first; the score is the engine's own and only compares within one query.

    Attributes:
        id: The point's.
        score: Of BM25, the cosine, of the fused ranks or scores, or a reranker's.
        payload: What the point says.
        found_by: Which vectors found it, where somebody asked for that.
        rank_before: Its rank, from 1, before a reranker gave it this one, where somebody asked for that.
    """

    id: str
    score: float
    payload: Mapping[str, Any]
    found_by: tuple[FoundBy, ...] = ()
    rank_before: int | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """Which points a search looks at; whatever is said holds together.

    Attributes:
        sources: Only documents of these; all of them where none is named.
        documents: Only these, the ids by source, and one at least; all of them where None.
        metadata: Only documents whose metadata says this: key and value. A value that is a list holds each of its
            entries; one that looks like a whole number is also found as a number. A point inside a key leads into a
            mapping.
        since: Only documents whose `updated_at` is not before this moment; one without is left out.
    """

    sources: tuple[str, ...] = ()
    documents: Mapping[str, Sequence[str]] | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    since: datetime | None = None


EVERYWHERE = Where()
"""A search through all that there is."""


def beside(collection: str, pipeline: str, taken: Collection[str] = ()) -> str:
    """The name of a collection of its own for a pipeline, which `collection` may stand for.

    Args:
        collection: The name that searches use.
        pipeline: The fingerprint of what fills it.
        taken: Names that cannot be it.
    """
    name = f"{collection}{_BESIDE}{pipeline}"
    numbers = (f"{name}-{number}" for number in count(2))
    return next(one for one in chain([name], numbers) if one not in taken)


def is_relative(name: str, collection: str) -> bool:
    """Whether a name is one that `collection` may stand for."""
    return name == collection or re.fullmatch(re.escape(collection) + _BESIDE + r"[0-9a-f]+(-\d+)?", name) is not None


def metadata_path(key: str) -> str:
    """Where a key of the metadata is in a payload, as both engines write such paths."""
    parts = (part if re.fullmatch(r"[\w-]+", part, re.ASCII) else f'"{part}"' for part in key.split("."))
    return ".".join(("metadata", *parts))


def metadata_readings(value: str) -> tuple[str | int, ...]:
    """What a value, as a person writes it, may be in a payload."""
    return (value, int(value)) if re.fullmatch(r"-?\d{1,18}", value, re.ASCII) else (value,)


def in_order(hits: Iterable[Hit], limit: int) -> list[Hit]:
    """The first hits of a fusion, those of equal rank by their ids: an engine gives these in any order."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit]


TIES = 2
"""So many times as many hits are asked of a fusion as are wanted, so that equal ranks are cut the same each time."""


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection says of itself.

    Attributes:
        lineage: The lineage of the state that owns it; None where no qloader state made it. Of a shared one: of the
            state whose points are there under the tenant in question; None where none are.
        pipeline: The pipeline fingerprint it was filled with, or None.
        vectors: The names of its vectors, sparse and dense.
        points: All its points, foreign ones included.
        dense: How long its `dense` vectors are; None where it has none.
        is_postponed: Whether its indexing is postponed: a bulk load is going on, or was cut short.
        is_shared: Whether several states write into it, each as a tenant.
    """

    lineage: str | None
    pipeline: str | None
    vectors: frozenset[str]
    points: int
    dense: int | None = None
    is_postponed: bool = False
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Lent:
    """What a process needs to work on a collection that another one holds.

    Attributes:
        path: The folder of the index.
        collection: The collection's own name.
        descriptor: What it inherits to hold the collection's lock by; both hold it.
    """

    path: Path
    collection: str
    descriptor: int


@runtime_checkable
class Sealable(Protocol):
    """An index that holds in this process's memory what was written lately, until it is sealed."""

    def unsealed(self) -> int:
        """Bytes that it holds of what was not sealed yet, at most: what that takes on the disk."""
        ...

    def lend(self) -> Lent:
        """Closes what it has open, so that another process may seal it.

        The next call of it opens it again: there may be none before that process has ended.
        """
        ...


class Index(Protocol):
    """A Qdrant collection, embedded or on a server. Writes return when they are durable.

    Every method raises `IndexUnavailableError` where the index cannot be reached or is held by
    another process. Methods that write are idempotent: repeating one changes nothing.

    A collection on a server may be shared: several states write into it, each as a tenant. An index that was opened for
    a tenant knows the points of that tenant alone, but for `CollectionInfo.points` and `foreign`; the collection itself
    is everybody's, and nobody removes it, changes how it is kept or lets its name stand for another.
    """

    def describe(self) -> CollectionInfo | None:
        """What is there, or None where the collection does not exist."""
        ...

    def create(
        self, *, lineage: str, pipeline: str, dense: int | None = None, settings: CollectionSettings = AS_THEY_ARE
    ) -> None:
        """Creates the collection with its vectors and payload indexes and records whose it is.

        Completes a creation that was cut short; one that is shared already is joined.

        Args:
            lineage: The lineage of the state that owns it, or its points as a tenant.
            pipeline: The fingerprint of what fills it.
            dense: How long its `dense` vectors are, which are compared by their angle; None where it has only `bm25`.
            settings: How it is kept; what is left out is as the engine has it by itself.

        Raises:
            ForeignIndexError: A collection of that name exists, and belongs to another lineage or has other vectors; or
                it is shared, and filled with another pipeline, or the tenant is another state's.
        """
        ...

    def settings(self) -> CollectionSettings:
        """How the collection is kept, as it says itself; what it has no use for is left out."""
        ...

    def change_settings(self, settings: CollectionSettings) -> list[Difference]:
        """Brings a collection in line with what is wanted of it, but for what never changes.

        To one that is shared only indexes of fields are added, where there is none.

        Args:
            settings: All that is wanted; what is left out stays as it is.

        Returns:
            What was changed.
        """
        ...

    def postpone_indexing(self) -> None:
        """Has the engine build no graph of dense vectors until `resume_indexing`, and remembers that it is to be built.

        What is remembered is in the collection, so that it survives this process.
        """
        ...

    def resume_indexing(self) -> None:
        """Undoes `postpone_indexing`, whoever called it; does nothing where nobody did."""
        ...

    def mark(self, *, lineage: str, pipeline: str) -> None:
        """Records the lineage and the pipeline fingerprint in the collection's metadata.

        Raises:
            ForeignIndexError: The collection is shared, and filled with another pipeline, or the tenant is another
                state's.
        """
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

    def foreign(self, *, lineage: str, page: int = 1000) -> Iterator[StoredPoint]:
        """Every point that the lineage does not own, with payload and vectors, page by page, in id order."""
        ...

    def search(
        self,
        vector: SparseVector | Sequence[float],
        *,
        using: str,
        limit: int,
        lineage: str | None = None,
        where: Where = EVERYWHERE,
    ) -> list[Hit]:
        """The nearest points by one named vector, best first; only the lineage's own where one is given."""
        ...

    def fuse(
        self,
        vectors: Vectors,
        *,
        limit: int,
        depth: int,
        fusion: Fusion = "rrf",
        lineage: str | None = None,
        where: Where = EVERYWHERE,
    ) -> list[Hit]:
        """The best points by several named vectors together, best first.

        Args:
            vectors: What is looked for, by the vectors' names.
            limit: How many points at most.
            depth: How many of the nearest points by each vector take part.
            fusion: How their rankings become one.
            lineage: Only its own points where one is given.
            where: Which points are looked at.
        """
        ...

    def drop(self) -> None:
        """Deletes the collection and all that is in it; does nothing where it does not exist.

        Of a shared one the points of the tenant alone: it stays, for whoever else uses it.
        """
        ...

    def target(self) -> str | None:
        """The name of the collection that this name stands for: itself or a relative; None where there is none."""
        ...

    def filled_by(self) -> str | None:
        """The fingerprint of the pipeline that the collection was filled with; None where there is none of ours.

        Cheaper than `describe`.
        """
        ...

    def relatives(self) -> list[str]:
        """The names of all collections that this name may stand for, in order: itself, and those made beside it."""
        ...

    def switch(self, to: str) -> None:
        """Lets this name stand for another collection from here on, for whoever uses it.

        A search before it is answered by the former collection and one after it by the other; none finds nothing in
        between. The former collection stays, under its own name; but on a server one that itself has this name must be
        deleted, since a server has no two things of one name.

        Args:
            to: One of `relatives`. Nothing is done where it is the target already.
        """
        ...

    def flush(self) -> None:
        """Makes all earlier writes survive a power cut."""
        ...

    def close(self) -> None:
        """Lets go of the index; further calls are errors."""
        ...
