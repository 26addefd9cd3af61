"""All vectors of a pipeline together: `bm25` always, `dense` where the config names a provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from qloader.index.protocol import DENSE_VECTOR, SPARSE_VECTOR, SparseVector, Vectors

if TYPE_CHECKING:
    from qloader.embedding.bm25 import Bm25Embedder
    from qloader.embedding.cache import EmbeddingCache
    from qloader.embedding.dense.embedder import DenseEmbedder
    from qloader.embedding.dense.tally import Tally


class Embedders:
    """What makes the vectors of points and of questions. Closes what it was given.

    Args:
        sparse: Makes `bm25`.
        dense: Makes `dense`; None where points have none.
        cache: The cache that `dense` uses.
    """

    def __init__(
        self, sparse: Bm25Embedder, dense: DenseEmbedder | None = None, cache: EmbeddingCache | None = None
    ) -> None:
        self._sparse = sparse
        self._dense = dense
        self._cache = cache

    @property
    def names(self) -> frozenset[str]:
        """The names of the vectors that every point has."""
        return frozenset({SPARSE_VECTOR} if self._dense is None else {SPARSE_VECTOR, DENSE_VECTOR})

    @property
    def tally(self) -> Tally | None:
        """What the dense vectors took so far; None where there are none."""
        return None if self._dense is None else self._dense.tally

    def dense_size(self, sample: Callable[[], str | None] = lambda: None) -> int | None:
        """How long `dense` is; None where there is none. Embeds a text, once, where nothing else tells.

        Args:
            sample: A text that is embedded anyway, or None for a full stop; called where it is needed only.

        Raises:
            EmbeddingError: The provider cannot be asked, or refuses.
        """
        return None if self._dense is None else self._dense.size(sample)

    @property
    def label(self) -> str:
        """What makes the vectors, as people know it: `bm25`, or the provider and its model."""
        return SPARSE_VECTOR if self._dense is None else self._dense.label

    def embed_documents(self, texts: Sequence[str], *, ready: Sequence[Vectors] = ()) -> list[Vectors]:
        """The vectors of texts to be found, by name, one result for each text, in order.

        Args:
            texts: The texts.
            ready: The vectors of each that are made already: `bm25`, or none.

        Raises:
            EmbeddingError: As `DenseEmbedder.embed`.
        """
        found = self._complete(texts, ready)
        if self._dense is None or not texts:
            return found
        return [{**one, **other} for one, other in zip(found, self._dense.embed_documents(texts), strict=True)]

    def _complete(self, texts: Sequence[str], ready: Sequence[Vectors]) -> list[Vectors]:
        """`bm25` of each text, made where it is not ready."""
        if not any(ready):
            return self._sparse.embed_documents(texts)
        missing = [text for text, vectors in zip(texts, ready, strict=True) if SPARSE_VECTOR not in vectors]
        made = iter(self._sparse.embed_documents(missing))
        return [vectors if SPARSE_VECTOR in vectors else next(made) for vectors in ready]

    def known_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """The same without asking a provider: `dense` is there only where the cache has it."""
        found = self._sparse.embed_documents(texts)
        if self._dense is None or not texts:
            return found
        return [
            one if vector is None else {**one, DENSE_VECTOR: vector}
            for one, vector in zip(found, self._dense.known_documents(texts), strict=True)
        ]

    def embed_query(self, text: str, names: Sequence[str]) -> Vectors:
        """The vectors of what someone looks for, those named.

        Raises:
            EmbeddingError: As `DenseEmbedder.embed`.
        """
        vectors: dict[str, SparseVector | Sequence[float]] = {}
        if SPARSE_VECTOR in names:
            vectors[SPARSE_VECTOR] = self._sparse.embed_query(text)
        if DENSE_VECTOR in names and self._dense is not None:
            vectors[DENSE_VECTOR] = self._dense.embed_query(text)
        return vectors

    def close(self) -> None:
        """Lets go of connections, models and the cache."""
        if self._dense is not None:
            self._dense.close()
        if self._cache is not None:
            self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
