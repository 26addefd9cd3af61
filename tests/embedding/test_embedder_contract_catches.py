"""The contract suite against providers that are broken on purpose, each in one way: it must notice every one."""

import inspect
import itertools
import threading

import numpy as np
import pytest

from qloader.embedding.dense.protocol import Counted
from qloader.testing import EmbedderContract
from support.embedders import Words, section_of

SECTION = section_of(provider="python", model="words", function="support.embedders:embed", parallel=4)


class Good(Words):
    """Keeps the contract."""


class GivesLists(Words):
    def embed(self, texts, kind):
        return super().embed(texts, kind).tolist()


class GivesDoubles(Words):
    def embed(self, texts, kind):
        return super().embed(texts, kind).astype(np.float64)


class LosesTheLastText(Words):
    def embed(self, texts, kind):
        return super().embed(texts, kind)[:-1] if len(texts) > 2 else super().embed(texts, kind)


class ClaimsAnotherLength(Words):
    dim = 99


class HasLongerQueries(Words):
    def embed(self, texts, kind):
        vectors = super().embed(texts, kind)
        return np.hstack([vectors, vectors]) if kind == "query" else vectors


class LooksAtItsNeighbours(Words):
    def embed(self, texts, kind):
        vectors = super().embed(texts, kind)
        return vectors - vectors.mean(axis=0) * 0.1


class AnswersByLength(Words):
    def embed(self, texts, kind):
        return super().embed(sorted(texts, key=len), kind)


class IsAnotherEveryTime(Words):
    numbers = itertools.count()

    def __init__(self):
        super().__init__()
        self.number = next(self.numbers)

    def vector(self, text):
        return super().vector(f"{text} run{self.number}")


class EndsWhenItIsClosed(Words):
    is_closed = False

    def embed(self, texts, kind):
        if self.is_closed:
            raise RuntimeError("it was closed")
        return super().embed(texts, kind)

    def close(self):
        self.is_closed = True


class SaysTheSameOfEverything(Words):
    def vector(self, text):
        return super().vector("same")


class ReadsTheOppositeOfAQuery(Words):
    def embed(self, texts, kind):
        vectors = super().embed(texts, kind)
        return -vectors if kind == "query" else vectors


class MixesUpLargeBatches(Words):
    def embed(self, texts, kind):
        vectors = super().embed(texts, kind)
        return np.roll(vectors, 1, axis=0) if len(texts) > 8 else vectors


class IsForOneThread(Words):
    def __init__(self):
        super().__init__()
        self.owner = threading.get_ident()
        self.working, self.is_disturbed = threading.Lock(), threading.Event()

    def embed(self, texts, kind):
        if not self.working.acquire(blocking=False):
            self.is_disturbed.set()
            raise AssertionError("two at a time")
        if threading.get_ident() != self.owner:
            self.is_disturbed.wait(60)  # whoever has threads has more than one
        self.working.release()
        return super().embed(texts, kind)


class CountsBackwards(Words):
    def embed_counted(self, texts, kind):
        return Counted(self.embed(texts, kind), -len(texts))


class CountsEveryTextAlike(Words):
    max_tokens = 1_000_000

    def count_tokens(self, texts):
        return [1 for _ in texts]


class StumblesOverEmoji(Words):
    def vector(self, text):
        return super().vector(text) if "😀" not in text else np.full(32, np.nan)


class ForgetsLongTexts(Words):
    def vector(self, text):
        return super().vector(text) if len(text) < 100_000 else np.zeros(32)


BROKEN = {
    GivesLists: {"test_every_text_has_a_vector_of_the_same_length"},
    GivesDoubles: {"test_every_text_has_a_vector_of_the_same_length"},
    LosesTheLastText: {"test_every_text_has_a_vector_of_the_same_length"},
    ClaimsAnotherLength: {"test_every_text_has_a_vector_of_the_same_length"},
    HasLongerQueries: {"test_documents_and_queries_can_be_compared"},
    LooksAtItsNeighbours: {"test_a_text_has_the_same_vector_whatever_stands_beside_it"},
    AnswersByLength: {"test_a_text_has_the_same_vector_whatever_stands_beside_it"},
    IsAnotherEveryTime: {"test_a_text_has_the_same_vector_in_another_run"},
    EndsWhenItIsClosed: {"test_it_may_be_used_again_after_it_was_closed"},
    SaysTheSameOfEverything: {"test_different_texts_have_different_vectors"},
    ReadsTheOppositeOfAQuery: {"test_what_has_words_in_common_is_nearer"},
    MixesUpLargeBatches: {"test_many_texts_come_back_in_their_order"},
    IsForOneThread: {"test_threads_may_share_it"},
    CountsBackwards: {"test_whatever_it_counts_is_a_number"},
    CountsEveryTextAlike: {"test_whatever_it_counts_is_a_number"},
    StumblesOverEmoji: {"test_odd_texts_have_vectors_once_the_manners_are_added"},
    ForgetsLongTexts: {"test_a_text_of_a_million_characters_is_shortened_or_taken_as_it_is"},
}

OF_THE_SECTION = {"test_the_settings_of_the_pipeline_are_plain_values_without_secrets"}
"""Tests of the config alone, which no provider can break; see the end of this file."""


def failing(kind):
    """The tests of the suite that a provider of that kind does not pass."""
    suite, found = EmbedderContract(), set()
    for name, test in inspect.getmembers(EmbedderContract, inspect.isfunction):
        if not name.startswith("test_"):
            continue
        given = {"opener": kind, "provider": kind(), "section": SECTION}
        given = {key: value for key, value in given.items() if key in inspect.signature(test).parameters}
        marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
        for case in [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]:
            try:
                getattr(suite, name)(**given, **case)
            except Exception:
                found.add(name)
    return found


def test_a_provider_that_keeps_the_contract_passes_every_test():
    assert failing(Good) == set()


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_what_is_broken_is_noticed(kind):
    assert failing(kind) >= BROKEN[kind]


def test_each_test_notices_something():
    names = {name for name, _ in inspect.getmembers(EmbedderContract, inspect.isfunction) if name.startswith("test_")}
    assert names - {name for noticed in BROKEN.values() for name in noticed} == OF_THE_SECTION


def test_a_section_that_calls_its_address_a_part_of_the_pipeline_is_noticed():
    class Careless(type(SECTION)):
        manners = type(SECTION).manners - {"parallel"}

    careless = Careless(**SECTION.model_dump())
    with pytest.raises(AssertionError):
        EmbedderContract().test_the_settings_of_the_pipeline_are_plain_values_without_secrets(careless)
