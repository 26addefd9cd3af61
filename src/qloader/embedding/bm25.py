"""BM25 as Qdrant computes it: the server's own tokens, stems and weights, without a model or a server.

The weights are the term-frequency part of BM25; the inverse document frequency is the index's part
(the IDF modifier of the sparse vector), so that it follows the collection as it grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qdrant_edge import Bm25, Bm25Config

from qloader.embedding.settings import bm25_settings
from qloader.errors import ConfigError
from qloader.index.protocol import SPARSE_VECTOR, SparseVector, Vectors


class Bm25Embedder:
    """Sparse vectors of words. About 19,000 texts of 180 words a second on one core.

    Args:
        language: Whose stop words and stems are used.
        k: How much a repeated word adds.
        b: How much long texts are marked down, 0 to 1.
        avg_len: The length of an average chunk, in tokens.

    Raises:
        ConfigError: The engine does not know the language, or a number is out of range.
    """

    name = SPARSE_VECTOR

    def __init__(self, language: str = "english", *, k: float = 1.2, b: float = 0.75, avg_len: float = 256.0) -> None:
        self._settings = bm25_settings(language=language, k=k, b=b, avg_len=avg_len)
        try:
            self._model = Bm25(Bm25Config(language=language, k=k, b=b, avg_len=avg_len))
        except ValueError as error:
            raise ConfigError(
                f"embedding: {error}", remedy="docs/configuration.md lists the languages and ranges of `embedding`."
            ) from error

    def fingerprint_settings(self) -> Mapping[str, Any]:
        """Every setting that shapes the vectors; equal to `embedding.settings.bm25_settings`."""
        return self._settings

    def embed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """One `bm25` vector for each text; one without tokens where the text has no words (both engines take it)."""
        embed = self._model.embed_document
        return [{SPARSE_VECTOR: _sparse(embed(text))} for text in texts]

    def embed_query(self, text: str) -> SparseVector:
        """The words of a query, each with weight 1. Bytes that are no text, as a terminal may pass, count as none."""
        return _sparse(self._model.embed_query(text.encode("utf-8", "replace").decode("utf-8")))


def _sparse(vector: Any) -> SparseVector:
    # The engine sorts by token id, which the contract asks for and tests/embedding checks.
    return SparseVector(vector.indices, vector.values)
