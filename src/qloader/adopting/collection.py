"""What a foreign collection is, for the rest of qloader: it is described, read page by page, and never written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

PAGE = 1_000
"""Payloads in a request."""

VECTORS_A_PAGE = 256
"""Vectors in a request: 1,536 numbers each are about 8 MB of JSON."""

PointId: TypeAlias = "str | int"


@dataclass(frozen=True, slots=True)
class ForeignPoint:
    """A point; its vector is None where it has none of that name, or none was asked for."""

    id: PointId
    payload: Mapping[str, Any] = field(default_factory=dict)
    vector: Sequence[float] | None = None


@dataclass(frozen=True, slots=True)
class ForeignFacts:
    """What a collection says of itself.

    Attributes:
        points: How many it holds.
        dense: How long its dense vectors are, by name; one without a name has the name "".
        others: The names of its other vectors: sparse ones, and those of several rows a point.
        is_qloaders: Whether qloader made it.
    """

    points: int
    dense: Mapping[str, int]
    others: tuple[str, ...]
    is_qloaders: bool


class ForeignCollection(Protocol):
    """A collection that another tool filled. Every method raises `IndexUnavailableError` where it cannot be read.

    Attributes:
        name: Its name.
        location: Where it is, for people; without credentials.
        farewell: How it is deleted, for whoever no longer needs it; ends a sentence.
    """

    name: str
    location: str
    farewell: str

    def describe(self) -> ForeignFacts | None:
        """What is there; None where there is no such collection."""
        ...

    def neighbours(self) -> list[str]:
        """The names of the collections that are there, sorted."""
        ...

    def points(self) -> Iterator[ForeignPoint]:
        """Every point with its payload, page by page, without vectors."""
        ...

    def fetch(self, ids: Sequence[PointId], vector: str) -> Iterator[ForeignPoint]:
        """Points by id with payloads and one vector, in no particular order; those that are gone are left out."""
        ...

    def close(self) -> None:
        """Lets go of it."""
        ...


def pages(ids: Sequence[PointId]) -> Iterator[Sequence[PointId]]:
    """Cuts ids into requests with vectors."""
    for start in range(0, len(ids), VECTORS_A_PAGE):
        yield ids[start : start + VECTORS_A_PAGE]


def one_vector(found: Any, name: str) -> Sequence[float] | None:
    """One dense vector of what a point has: a list where it has only one, without a name; else by name."""
    vector = found.get(name) if isinstance(found, Mapping) else found if name == "" else None
    return vector if isinstance(vector, list) and vector and not isinstance(vector[0], list) else None
