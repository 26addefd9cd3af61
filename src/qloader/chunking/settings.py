"""What of chunking goes into the pipeline's fingerprint. Imports no splitter: every plan calls this."""

from __future__ import annotations

from typing import Any

CHUNKER_VERSION = 2
"""Raised when the same text and settings give other chunks: tests/chunking holds it to that."""


def chunking_settings(max_chars: int, overlap_chars: int) -> dict[str, Any]:
    """The settings of chunking, as plans and fingerprints hold them.

    Args:
        max_chars: The length of a chunk at most, in characters.
        overlap_chars: How much of a chunk the next one repeats, at most.
    """
    return {
        "splitter": "content-defined",
        "version": CHUNKER_VERSION,
        "max_chars": max_chars,
        "overlap_chars": overlap_chars,
    }
