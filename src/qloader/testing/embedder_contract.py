"""The contract of a provider of dense vectors, as tests: subclass `EmbedderContract`, give it a fixture, run pytest.

The suite calls the provider itself, and once more with the manners that qloader uses it with. It needs no knowledge of
what is behind it, and embeds some hundred short texts, which cost next to nothing where they cost anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from qloader.config.embedders import DenseSection
from qloader.embedding.dense.embedder import DenseEmbedder
from qloader.embedding.dense.protocol import CountsCost, CountsTokens, DenseProvider, Kind, Matrix
from qloader.embedding.settings import dense_settings

TEXTS = (
    "Apples and walnuts on the market square.",
    "The tram of line 5 stands at the depot.",
    "Grüße aus Köln, 日本語, עברית, и по-русски",
    "def main() -> None: ...",
    "x",
)
ODD = ("😀😀😀", "…", "-----", "\x07\x1b[31m", "e\u0301", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "NaN", "0")


class EmbedderContract:
    """The tests. A subclass gives the fixtures `opener` and `section`."""

    tolerance = 1e-3
    """How far the parts of a vector of length 1 may differ from call to call: models in batches round differently."""

    has_meaning = True
    """Whether texts with words in common are nearer than others."""

    @pytest.fixture
    def section(self) -> DenseSection:
        """What the config says of the provider."""
        raise NotImplementedError("give a fixture `section`")

    @pytest.fixture
    def opener(self, section: DenseSection) -> Callable[[], DenseProvider]:
        """Opens the provider anew, as another run of qloader would."""
        raise NotImplementedError("give a fixture `opener`")

    @pytest.fixture
    def provider(self, opener: Callable[[], DenseProvider]) -> Iterator[DenseProvider]:
        """An open provider."""
        with closing(opener()) as provider:
            yield provider

    @pytest.mark.parametrize("kind", ["document", "query"])
    def test_every_text_has_a_vector_of_the_same_length(self, provider: DenseProvider, kind: Kind) -> None:
        vectors = provider.embed(TEXTS, kind)
        assert vectors.dtype == np.float32
        assert vectors.shape[0] == len(TEXTS)
        assert vectors.shape[1] > 0
        assert provider.dim in (None, vectors.shape[1])
        assert np.isfinite(vectors).all()
        assert vectors.any(axis=1).all()

    def test_documents_and_queries_can_be_compared(self, provider: DenseProvider) -> None:
        assert provider.embed(TEXTS[:1], "document").shape == provider.embed(TEXTS[:1], "query").shape

    def test_a_text_has_the_same_vector_whatever_stands_beside_it(self, provider: DenseProvider) -> None:
        together = provider.embed(TEXTS, "document")
        alone = np.concatenate([provider.embed([text], "document") for text in TEXTS])
        backwards = provider.embed(TEXTS[::-1], "document")[::-1]
        self._equal(together, alone)
        self._equal(together, backwards)

    def test_a_text_has_the_same_vector_in_another_run(self, opener: Callable[[], DenseProvider]) -> None:
        with closing(opener()) as first, closing(opener()) as second:
            self._equal(first.embed(TEXTS, "document"), second.embed(TEXTS, "document"))

    def test_it_may_be_used_again_after_it_was_closed(self, provider: DenseProvider) -> None:
        before = provider.embed(TEXTS[:2], "document")
        provider.close()
        self._equal(before, provider.embed(TEXTS[:2], "document"))

    def test_different_texts_have_different_vectors(self, provider: DenseProvider) -> None:
        vectors = _scaled(provider.embed(TEXTS, "document"))
        likeness = vectors @ vectors.T - 2 * np.eye(len(TEXTS))
        assert likeness.max() < 1 - 1e-4

    def test_what_has_words_in_common_is_nearer(self, provider: DenseProvider) -> None:
        if not self.has_meaning:
            pytest.skip("its vectors have no meaning")
        query = _scaled(provider.embed(["walnuts and apples"], "query"))[0]
        apples, tram, *_ = _scaled(provider.embed(TEXTS, "document"))
        assert query @ apples > query @ tram

    def test_many_texts_come_back_in_their_order(self, provider: DenseProvider, section: DenseSection) -> None:
        texts = [f"Page {n} is about {_word(n)}." for n in range(min(section.batch_texts, 40))]
        vectors = provider.embed(texts, "document")
        for number in range(0, len(texts), 13):
            self._equal(vectors[number : number + 1], provider.embed(texts[number : number + 1], "document"))

    def test_threads_may_share_it(self, provider: DenseProvider, section: DenseSection) -> None:
        texts = [f"Text {n} on {_word(n)}." for n in range(16)]
        expected = np.concatenate([provider.embed([text], "document") for text in texts])
        with ThreadPoolExecutor(section.parallel) as pool:
            found = list(pool.map(lambda text: provider.embed([text], "document"), texts))
        self._equal(expected, np.concatenate(found))

    def test_whatever_it_counts_is_a_number(self, provider: DenseProvider) -> None:
        if isinstance(provider, CountsCost):
            counted = provider.embed_counted(TEXTS, "document")
            assert counted.tokens is None or counted.tokens > 0
            assert counted.vectors.shape[0] == len(TEXTS)
        if isinstance(provider, CountsTokens):
            assert provider.max_tokens is None or provider.max_tokens > 0
            short, long = provider.count_tokens(["one", "one " * 100])
            assert 0 < short < long

    def test_odd_texts_have_vectors_once_the_manners_are_added(
        self, opener: Callable[[], DenseProvider], section: DenseSection
    ) -> None:
        with DenseEmbedder(opener(), section) as embedder:
            vectors = embedder.embed(["", "  \n\t", *ODD, *TEXTS])
            assert vectors.shape == (2 + len(ODD) + len(TEXTS), embedder.dim)
            self._equal(vectors[:1], vectors[1:2])
            assert embedder.embed([]).shape == (0, embedder.dim)
            assert len(embedder.embed_query("\udcff\udcfe")) == embedder.dim

    def test_a_text_of_a_million_characters_is_shortened_or_taken_as_it_is(
        self, opener: Callable[[], DenseProvider], section: DenseSection
    ) -> None:
        text = (" ".join(_word(n) for n in range(700)) * 200)[:1_000_000]
        with DenseEmbedder(opener(), section.model_copy(update={"too_long": "cut"})) as embedder:
            vectors = embedder.embed([TEXTS[0], text])
            self._equal(vectors[:1], embedder.embed(TEXTS[:1]))

    def test_the_settings_of_the_pipeline_are_plain_values_without_secrets(self, section: DenseSection) -> None:
        settings = dense_settings(section)
        assert json.loads(json.dumps(settings)) == settings
        assert settings["provider"] == section.provider
        assert settings["model"] == section.model
        assert settings.keys().isdisjoint({"url", "api_key", "headers", "limits", "parallel"})

    def _equal(self, one: Matrix, other: Matrix) -> None:
        assert one.shape == other.shape
        assert np.abs(_scaled(one) - _scaled(other)).max() <= self.tolerance


def _scaled(vectors: Matrix) -> Matrix:
    scaled: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def _word(number: int) -> str:
    words: Sequence[str] = ("gardens", "trams", "bread", "rivers", "books", "stars", "stones")
    return f"{words[number % len(words)]}{number // len(words) or ''}"
