"""What an embedder is, for the rest of qloader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from qloader.index.protocol import SparseVector, Vectors


class Embedder(Protocol):
    """Makes vectors of texts: the same text and settings give the same vectors, in every process."""

    name: str

    def fingerprint_settings(self) -> Mapping[str, Any]:
        """Every setting that shapes the vectors, as JSON values; part of the pipeline's fingerprint."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """The vectors of texts to be found, one result for each text, in order."""
        ...

    def embed_query(self, text: str) -> SparseVector | Sequence[float]:
        """The vector of what someone looks for."""
        ...


class DocumentEmbedder(Protocol):
    """Makes every vector that a point has."""

    @property
    def names(self) -> frozenset[str]:
        """The names of these vectors."""
        ...

    @property
    def label(self) -> str:
        """What makes them, as people know it."""
        ...

    def embed_documents(self, texts: Sequence[str], *, ready: Sequence[Vectors] = ()) -> list[Vectors]:
        """The vectors of texts to be found, one result for each text, in order.

        Args:
            texts: The texts.
            ready: What is made already of each; empty where nothing is of any.

        Raises:
            EmbeddingError: They cannot be made; `positions` says of which texts, where it is about certain ones.
        """
        ...
