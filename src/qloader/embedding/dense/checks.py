"""What comes back is held against what was asked for, before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qloader.embedding.dense.errors import EmbeddingError, TextError
from qloader.embedding.dense.protocol import Matrix
from qloader.embedding.dense.texts import excerpt

WHAT = "embedding.dense"
"""The place in the config, for messages."""


def checked(found: Any, texts: Sequence[str], dim: int | None) -> Matrix:
    """Vectors as float32, one row for each text.

    Args:
        found: What the provider gave.
        texts: What it was given.
        dim: How long a vector has to be; None where that is not known yet.

    Raises:
        EmbeddingError: Too few or too many, or of another length.
        TextError: One has numbers that are none.
    """
    try:
        vectors: Matrix = np.asarray(found, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise EmbeddingError(
            f"{WHAT}: the vectors that came back are not all of one length, or are no numbers.", remedy=_REMEDY
        ) from error
    rows = vectors.shape[0] if vectors.ndim else 0
    if rows != len(texts):
        raise EmbeddingError(f"{WHAT}: {len(texts)} texts were sent, and {rows} vectors came back.", remedy=_REMEDY)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise EmbeddingError(f"{WHAT}: what came back are no vectors, one for each text.", remedy=_REMEDY)
    if dim is not None and vectors.shape[1] != dim:
        raise EmbeddingError(
            f"{WHAT}: the vectors that came back have {vectors.shape[1]} dimensions, not {dim}.",
            remedy=f"Check {WHAT}.model and {WHAT}.dimensions. Vectors of two lengths cannot be in one collection.",
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        text = texts[int(np.argmin(finite))]
        raise TextError(
            f"{WHAT}: the vector of the text {excerpt(text)} has numbers that are none (NaN or infinite).",
            text,
            remedy="Nothing of it was stored. A model in half precision may overflow: run it in float32, or ask its "
            "makers.",
        )
    return vectors


def zeros(vectors: Matrix) -> list[int]:
    """Which rows are zero vectors, that no search could compare with anything."""
    return [int(row) for row in np.flatnonzero(~vectors.any(axis=1))]


def normalised(vectors: Matrix) -> Matrix:
    """The rows scaled to length 1; none of them may be zero."""
    # In float64: squares of numbers that float32 holds may be too large or too small for it.
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    scaled: Matrix = (vectors / lengths).astype(np.float32)
    return scaled


_REMEDY = (
    f"Nothing of it was stored. Check {WHAT}.url and {WHAT}.model, and what stands between here and the provider (a "
    "proxy, a gateway)."
)
