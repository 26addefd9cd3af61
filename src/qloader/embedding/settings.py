"""What of an embedding goes into the pipeline's fingerprint. Imports no engine: `plan` calls this."""

from __future__ import annotations

from typing import Any

BM25_VERSION = 1
"""Raised when the engine gives other token ids or weights to the same text: tests/embedding holds it to that."""


def bm25_settings(
    *, language: str = "english", k: float = 1.2, b: float = 0.75, avg_len: float = 256.0
) -> dict[str, Any]:
    """The settings of the `bm25` vector, as plans and fingerprints hold them.

    Args:
        language: Whose stop words and stems are used, e.g. `english`.
        k: How much a repeated word adds (k1 of BM25).
        b: How much long texts are marked down, 0 to 1.
        avg_len: The length of an average chunk, in tokens.

    Returns:
        JSON values; numbers are floats, so that `256` and `256.0` are one setting.
    """
    return {
        "sparse": "bm25",
        "version": BM25_VERSION,
        "language": language,
        "k": float(k),
        "b": float(b),
        "avg_len": float(avg_len),
    }
