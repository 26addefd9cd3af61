"""The embedder of dense vectors: a provider, and the manners that every provider is used with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qloader.config.embedders import DenseSection
from qloader.documents.hashing import canonical_json, chunk_hash
from qloader.embedding.cache import EmbeddingCache
from qloader.embedding.dense.batching import batches
from qloader.embedding.dense.checks import checked
from qloader.embedding.dense.errors import EmbeddingError, TextError
from qloader.embedding.dense.limits import Limits, Pause
from qloader.embedding.dense.protocol import DenseProvider, Kind, Matrix
from qloader.embedding.dense.requests import Requests
from qloader.embedding.dense.running import side_by_side
from qloader.embedding.dense.tally import Tally
from qloader.embedding.dense.texts import STAND_IN, likely_tokens, prepared
from qloader.embedding.known import cache_key, document_scope, scope_of
from qloader.embedding.settings import dense_settings
from qloader.index.protocol import DENSE_VECTOR, Vectors
from qloader.retrying import RetryPolicy
from qloader.telemetry.recorder import NOBODY, Recorder


class DenseEmbedder:
    """Dense vectors by any provider. May be used by several threads at once.

    Attributes:
        tally: What was done so far: requests, texts, tokens, what the cache had, what was too long.
    """

    name = DENSE_VECTOR

    def __init__(
        self,
        provider: DenseProvider,
        section: DenseSection,
        *,
        cache: EmbeddingCache | None = None,
        policy: RetryPolicy | None = None,
        recorder: Recorder = NOBODY,
    ) -> None:
        """Connects to nothing and loads nothing yet.

        Args:
            provider: Makes the vectors.
            section: What the config says of it.
            cache: Where vectors are kept; None keeps none. It stays the caller's to close.
            policy: When requests are sent again, if not as the section says.
            recorder: Told of what is waited for.
        """
        self.tally = Tally()
        self._provider = provider
        self._section = section
        self._cache = cache
        self._sampled: dict[str, Matrix] = {}
        self._settings = dense_settings(section)
        self._requests = Requests(
            provider,
            section,
            limits=Limits(section.limits.requests_per_minute, section.limits.tokens_per_minute),
            policy=policy or RetryPolicy(section.retry_attempts, section.retry_delay),
            tally=self.tally,
            recorder=recorder,
        )
        shape = self._settings | {"query_prefix": section.query_prefix}
        self._scopes: Mapping[Kind, bytes] = {
            "document": document_scope(section),
            "query": scope_of(canonical_json(shape | {"kind": "query"})),
        }

    def fingerprint_settings(self) -> Mapping[str, Any]:
        """Every setting that shapes the vectors; equal to `embedding.settings.dense_settings`."""
        return self._settings

    @property
    def label(self) -> str:
        """The provider and its model, as people know them."""
        return self._section.label

    @property
    def dim(self) -> int:
        """How long the vectors are. Embeds one text, once, where nothing else tells.

        Raises:
            EmbeddingError: It cannot be told.
        """
        return self.size(lambda: None)

    def size(self, sample: Callable[[], str | None]) -> int:
        """The same with a text that is embedded anyway, so that nothing is paid for which nobody wants.

        Args:
            sample: Such a text, asked for where nothing else tells; None for a full stop.

        Raises:
            EmbeddingError: It cannot be told.
        """
        if known := self._requests.dim:
            return known
        text = sample() or STAND_IN
        try:
            (vector,) = self.embed([text])
        except TextError:  # the model does not take this text: that is its document's affair
            (vector,) = self.embed([STAND_IN])
        else:
            self._sampled[prepared(text, self._section.document_prefix)] = vector
        return len(vector)

    def embed_documents(self, texts: Sequence[str]) -> list[Vectors]:
        """One `dense` vector for each text, in order.

        Raises:
            EmbeddingError: As `embed`.
        """
        return [{DENSE_VECTOR: row} for row in self.embed(texts).tolist()]

    def known_documents(self, texts: Sequence[str]) -> list[list[float] | None]:
        """The vectors of texts as far as the cache has them; the provider is not asked."""
        wanted = [prepared(text, self._section.document_prefix) for text in texts]
        known = self._cached(list(dict.fromkeys(wanted)), "document")
        return [known[text].tolist() if text in known else None for text in wanted]

    def reads_whole(self, texts: Sequence[str]) -> list[bool]:
        """Whether the model reads each of these texts to its end, as far as it can be told. Sends nothing."""
        long = self._requests.too_long([prepared(text, self._section.document_prefix) for text in texts])
        return [number not in long for number in range(len(texts))]

    def embed_query(self, text: str) -> Sequence[float]:
        """The vector of what someone looks for.

        Raises:
            EmbeddingError: As `embed`.
        """
        vector: list[float] = self.embed([text], "query")[0].tolist()
        return vector

    def embed(self, texts: Sequence[str], kind: Kind = "document") -> Matrix:
        """The vectors of texts, float32, one row for each, in order; equal texts are embedded once.

        A text without anything to read has the vector of a full stop, since no API takes it and every chunk needs one;
        so has one without letters and digits (emoji alone) for which the model has no vector.

        Raises:
            EmbeddingError: The provider refuses or fails. What came back until then is in the cache, so that nothing
                is paid for twice. `positions` says which texts it is about, where it is about certain ones.
        """
        prefix = self._section.query_prefix if kind == "query" else self._section.document_prefix
        wanted = [prepared(text, prefix) for text in texts]
        if not wanted:
            return np.empty((0, self.dim), dtype=np.float32)
        unique = list(dict.fromkeys(wanted))
        sampled = {text: self._sampled.pop(text) for text in unique if text in self._sampled and kind == "document"}
        known = self._cached([text for text in unique if text not in sampled], kind)
        self.tally.found(len(known))
        known |= sampled
        missing = [text for text in unique if text not in known]
        try:
            for done, vectors in self._new(missing, kind):
                known.update(zip(done, self._keep(done, vectors, kind), strict=True))
        except EmbeddingError as error:
            if error.came_back:
                texts_back, rows = zip(*error.came_back, strict=True)
                self._keep(texts_back, np.stack(rows), kind)
            if isinstance(error, TextError):
                error.positions = tuple(position for position, text in enumerate(wanted) if text == error.text)
            raise
        return checked([known[text] for text in wanted], wanted, None)

    def close(self) -> None:
        """Lets go of connections and models; the embedder may be used again."""
        self._provider.close()

    def __enter__(self) -> DenseEmbedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cached(self, texts: Sequence[str], kind: Kind) -> dict[str, Matrix]:
        if self._cache is None:
            return {}
        keys = {cache_key(self._scopes[kind], chunk_hash(text)): text for text in texts}
        found = self._cache.get_many(list(keys))
        # A provider that has changed its vectors behind a model's name is found out by their length, at least.
        return {keys[key]: vector for key, vector in found.items() if self._requests.fits(len(vector))}

    def _keep(self, texts: Sequence[str], vectors: Matrix, kind: Kind) -> Matrix:
        """Puts vectors into the cache, and gives them as it will give them from then on."""
        if self._cache is None:
            return vectors
        vectors = self._cache.rounded(vectors)
        keys = [cache_key(self._scopes[kind], chunk_hash(text)) for text in texts]
        self._cache.put_many(keys, vectors, model=self._section.label, is_told=kind == "document")
        return vectors

    def _new(self, texts: Sequence[str], kind: Kind) -> Iterator[tuple[list[str], Matrix]]:
        """Embeds texts, a batch at a time, in whatever order they come back."""
        section = self._section
        cut = batches(
            [likely_tokens(text) for text in texts], most_texts=section.batch_texts, most_tokens=section.batch_tokens
        )

        def work(batch: list[str], pause: Pause) -> tuple[list[str], Matrix]:
            return batch, self._requests.embed(batch, kind, pause)

        yield from side_by_side(work, [[texts[position] for position in batch] for batch in cut], section.parallel)
