"""Whether dense vectors are as long as a collection's: it is said when the collection is made, and never changes."""

from __future__ import annotations

from collections.abc import Iterable

from qloader.index.protocol import DENSE_VECTOR, Point


def odd_length(points: Iterable[Point], size: int | None) -> int | None:
    """The length of the first dense vector that is not of this length; None where all are."""
    for point in points:
        vector = point.vectors.get(DENSE_VECTOR)
        if isinstance(vector, list | tuple) and len(vector) != size:
            return len(vector)
    return None


def unlike(found: int | None, wanted: int | None) -> str:
    """What is wrong with a collection, as the end of a sentence: how long its dense vectors are, and should be."""
    has = "it has no dense vectors" if found is None else f"its dense vectors have {found:,} numbers"
    return f"{has}, and {'none are made' if wanted is None else f'those that are made have {wanted:,}'}"
