"""How large one request to an index may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from qloader.errors import IndexUnavailableError
from qloader.index.protocol import Point, SparseVector

T = TypeVar("T")

MAX_ITEMS = 1_000
"""Points, ids or payloads in one request: larger ones are no faster (measured up to 2,500)."""

MAX_WEIGHT = 4_000_000
"""Characters in one request. Four bytes each and JSON's own share stay below the 32 MB that a server takes
(`service.max_request_size_mb`) and that one file of the engine's log holds."""

_CHARACTERS_A_TOKEN = 30


class RequestTooLargeError(IndexUnavailableError):
    """A server, or a proxy before it, takes no request of this size: fewer points at a time may go through."""


def by_count(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cuts a sequence into requests of `MAX_ITEMS`."""
    for start in range(0, len(items), MAX_ITEMS):
        yield items[start : start + MAX_ITEMS]


def by_weight(items: Sequence[T], weigh: Callable[[T], int]) -> Iterator[tuple[list[T], int]]:
    """Cuts a sequence into requests of at most `MAX_ITEMS` and, but for a single heavy item, `MAX_WEIGHT`.

    Yields:
        The items of one request, and their weight in characters.
    """
    batch: list[T] = []
    total = 0
    for item in items:
        weight = weigh(item)
        if batch and (len(batch) >= MAX_ITEMS or total + weight > MAX_WEIGHT):
            yield batch, total
            batch, total = [], 0
        batch.append(item)
        total += weight
    if batch:
        yield batch, total


def weigh_point(point: Point) -> int:
    """About how many characters a point is as JSON."""
    vectors = 0
    for vector in point.vectors.values():
        vectors += len(vector.indices) if isinstance(vector, SparseVector) else len(vector)
    return weigh_payload(point.payload) + vectors * _CHARACTERS_A_TOKEN


def weigh_payload(payload: Mapping[str, Any]) -> int:
    """How many bytes a payload is as JSON: written out once more, since nothing else in Python is as fast."""
    return len(orjson.dumps(payload))
