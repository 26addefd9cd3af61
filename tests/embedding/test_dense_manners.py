"""The manners that every provider is used with: batches, limits, order, texts that are long or blank, what is kept."""

import threading

import numpy as np
import pytest

from qloader.embedding.cache import EmbeddingCache
from qloader.embedding.dense.batching import batches
from qloader.embedding.dense.embedder import DenseEmbedder
from qloader.embedding.dense.limits import Limits
from qloader.embedding.dense.texts import halves, likely_tokens, parts
from qloader.embedding.settings import dense_settings
from qloader.errors import EmbeddingError
from servers.embeddings import EmbeddingsModel, make_app, vector_of
from servers.serving import serve
from support.embedders import Words, embedder_of, openai, section_of


@pytest.fixture
def place():
    model = EmbeddingsModel()
    with serve(make_app(model)) as url:
        yield model, url


def words_section(**keys):
    return section_of(**{"provider": "python", "model": "words", "function": "support.embedders:embed", **keys})


def near(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)).max()) < 1e-6


# Batches


def test_a_batch_ends_at_its_texts_or_its_tokens_whatever_comes_first():
    assert list(batches([1] * 7, most_texts=3, most_tokens=100)) == [range(3), range(3, 6), range(6, 7)]
    assert list(batches([4, 4, 4, 50, 1, 1], most_texts=9, most_tokens=8)) == [
        range(2),
        range(2, 3),
        range(3, 4),
        range(4, 6),
    ]
    assert list(batches([], most_texts=3, most_tokens=8)) == []


def test_requests_run_side_by_side_as_many_as_are_allowed(place):
    model, url = place
    model.delay, model.meeting = 0.05, 4
    texts = [f"text {n}" for n in range(40)]
    vectors = embedder_of(openai(url, batch={"texts": 5}, parallel=4)).embed(texts)
    assert model.at_once == 4
    assert model.requests == 8
    assert all(near(vector, vector_of(text)) for vector, text in zip(vectors, texts, strict=True))


def test_equal_texts_are_embedded_once():
    provider = Words()
    vectors = DenseEmbedder(provider, words_section()).embed(["one", "two", "one", "one"])
    assert provider.batches == [["one", "two"]]
    assert near(vectors[0], vectors[3])


def test_several_threads_may_share_an_embedder(place):
    model, url = place
    embedder = embedder_of(openai(url, batch={"texts": 3}))
    found = {}

    def work(name):
        found[name] = embedder.embed([f"{name} {n}" for n in range(20)])

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two", "three")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(near(found[name][n], vector_of(f"{name} {n}")) for name in found for n in range(20))
    assert model.requests == embedder.tally.requests == 21


# Limits


class Time:
    """A clock that only waiting moves."""

    def __init__(self):
        self.now = 100.0

    def sleep(self, seconds):
        self.now += seconds


def test_requests_are_spaced_out_evenly():
    time, sent = Time(), []
    limits = Limits(requests_per_minute=600, clock=lambda: time.now)
    for _ in range(5):
        limits.turn(1, time.sleep)
        sent.append(round(time.now - 100, 6))
    assert sent == [0, 0.1, 0.2, 0.3, 0.4]


def test_tokens_are_spaced_out_by_what_the_provider_counts():
    time = Time()
    limits = Limits(tokens_per_minute=60_000, clock=lambda: time.now)  # a thousand a second
    limits.turn(500, time.sleep)
    limits.spent(500, 1000)  # it counts twice as many
    limits.turn(500, time.sleep)
    assert time.now == pytest.approx(101)
    limits.spent(500, 1000)
    limits.turn(500, time.sleep)  # by now the estimate is right
    assert time.now == pytest.approx(102)


def test_time_that_passes_by_itself_is_not_made_up_for_with_a_burst():
    time, sent = Time(), []
    limits = Limits(requests_per_minute=60, clock=lambda: time.now)
    limits.turn(1, time.sleep)
    time.now += 30
    for _ in range(3):
        limits.turn(1, time.sleep)
        sent.append(round(time.now - 130, 6))
    assert sent == [0, 1, 2]


def test_everybody_waits_when_one_is_told_to():
    time = Time()
    limits = Limits(clock=lambda: time.now)
    limits.hold(7)
    limits.turn(1, time.sleep)
    assert time.now == 107


def test_a_limit_that_the_provider_keeps_too_is_not_run_into(place):
    model, url = place
    model.requests_per_second = 50
    # As many as there are threads may come late, and so into the next second.
    section = openai(url, batch={"texts": 1}, parallel=8, limits={"requests_per_minute": 40 * 60})
    embedder = embedder_of(section)
    embedder.embed([f"text {n}" for n in range(75)])
    assert (model.refused, embedder.tally.retries) == (0, 0)


# Blank and odd texts


@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u200b\ufeff", "\x00"], ids=repr)
def test_a_text_without_anything_to_read_has_the_vector_of_a_full_stop(blank):
    assert near(DenseEmbedder(Words(), words_section()).embed([blank])[0], vector_of("."))


def test_emoji_are_embedded_as_they_are_and_have_the_full_stop_only_where_the_model_has_nothing():
    class Latin(Words):
        def vector(self, text):
            return vector_of(text) if text.isascii() else np.zeros(32)

    assert near(DenseEmbedder(Words(), words_section()).embed(["😀"])[0], vector_of("😀"))
    provider = Latin()
    vectors = DenseEmbedder(provider, words_section()).embed(["one", "😀", "🎉"])
    assert near(vectors[1], vector_of("."))
    assert near(vectors[2], vector_of("."))
    assert provider.batches == [["one", "😀", "🎉"], ["."]]
    with pytest.raises(EmbeddingError, match='the vector of the text "日本語" is zero') as caught:
        DenseEmbedder(Latin(), words_section()).embed(["one", "日本語"])
    assert caught.value.positions == (1,)


def test_bytes_that_are_no_text_are_question_marks():
    assert near(DenseEmbedder(Words(), words_section()).embed(["one \udcff"])[0], vector_of("one ?"))


def test_vectors_are_scaled_only_where_that_is_wanted():
    class Loud(Words):
        def vector(self, text):
            return vector_of(text) * 7

    loud = DenseEmbedder(Loud(), words_section(normalise=False)).embed(["one"])[0]
    assert near(loud, vector_of("one") * 7)
    assert near(DenseEmbedder(Loud(), words_section()).embed(["one"])[0], vector_of("one"))


# Long texts

LONG = " ".join(f"word{n}" for n in range(3000))


@pytest.mark.parametrize("text", [LONG, "x" * 50_000, "日本語" * 3000, "a " * 9000], ids=lambda text: text[:6])
def test_parts_of_a_text_fit_and_together_are_the_text(text):
    found = parts(text, 100, likely_tokens)
    assert "".join(found) == text
    assert all(likely_tokens(part) <= 100 for part in found)
    assert len(found) <= 2 * likely_tokens(text) / 100 + 1
    assert "".join(halves(text)) == text


class Exact(Words):
    """A provider that has its tokenizer at hand: a word is a token."""

    max_tokens = 50

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]


def test_a_text_that_is_too_long_is_split_and_has_the_mean_of_its_parts():
    provider = Exact()
    embedder = DenseEmbedder(provider, words_section())
    vectors = embedder.embed(["short", LONG, "short too"])
    sent = [text for batch in provider.batches for text in batch]
    assert all(len(text.split()) <= 50 for text in sent)
    assert "".join(text for text in sent if text not in ("short", "short too")) == LONG
    mean = np.average([vector_of(text) for text in sent[2:]], axis=0, weights=[len(text) for text in sent[2:]])
    assert near(vectors[1], mean / np.linalg.norm(mean))
    assert near(vectors[2], vector_of("short too"))
    assert (embedder.tally.shortened, embedder.tally.examples) == (1, [f'"{LONG[:40]}…"'])


def test_a_text_that_is_too_long_is_cut_where_that_is_wanted():
    provider = Exact()
    vectors = DenseEmbedder(provider, words_section(too_long="cut")).embed([LONG])
    assert len(provider.batches) == 1
    assert LONG.startswith(provider.batches[0][0])
    assert near(vectors[0], vector_of(provider.batches[0][0]))


def test_a_text_that_is_too_long_is_refused_where_that_is_wanted():
    provider = Exact()
    with pytest.raises(EmbeddingError, match="is longer than what the model reads") as caught:
        DenseEmbedder(provider, words_section(too_long="refuse")).embed(["short", LONG])
    assert caught.value.positions == (1,)
    assert "chunking.max_chars" in caught.value.remedy


def test_max_tokens_of_the_config_counts_before_the_models_own():
    provider = Exact()
    DenseEmbedder(provider, words_section(max_tokens=20)).embed([LONG])
    assert all(len(text.split()) <= 20 for batch in provider.batches for text in batch)


def test_what_only_the_provider_knows_to_be_too_long_is_shortened_when_it_says_so(place):
    model, url = place
    model.max_tokens = 1000
    embedder = embedder_of(openai(url))
    vectors = embedder.embed(["short", LONG, "short too"])
    assert "".join(model.texts[1:-1]) == LONG
    assert near(vectors[0], vector_of("short"))
    assert near(vectors[2], vector_of("short too"))
    assert (embedder.tally.shortened, embedder.tally.examples) == (1, [f'"{LONG[:40]}…"'])
    model.texts.clear()
    embedder_of(openai(url, too_long="cut")).embed([LONG])
    assert len(model.texts) == 1
    assert LONG.startswith(model.texts[0])


# What is kept


@pytest.fixture
def cache(tmp_path):
    with EmbeddingCache.open(tmp_path / "embeddings.db") as cache:
        yield cache


@pytest.mark.parametrize("reason", ["too long", "refused", "quota"])
def test_what_came_back_of_a_batch_before_one_text_failed_is_kept(place, cache, reason):
    model, url = place
    texts = [f"text {n}" for n in range(8)]
    failing = "text 6"
    if reason == "too long":
        texts[6] = failing = "many words " * 20
    section = openai(url, max_tokens=16, too_long="refuse")

    class Picky(EmbeddingsModel):
        def refusal(self, key, name, texts):
            if failing in texts:
                is_alone = reason == "quota" and len(texts) == 1
                body = '{"error": {"message": "not this one", "code": "%s"}}' % (
                    "insufficient_quota" if is_alone else "odd"
                )
                return 429 if is_alone else 422, {"content-type": "application/json"}, body
            return super().refusal(key, name, texts)

    model.__class__ = Picky
    with pytest.raises(EmbeddingError):
        embedder_of(section, cache=cache).embed(texts)
    paid = list(model.texts)
    assert len(paid) >= 6
    model.__class__ = EmbeddingsModel
    embedder_of(openai(url, max_tokens=16, too_long="refuse"), cache=cache).embed(
        [text for text in texts if text != failing]
    )
    assert sorted(model.texts) == sorted(text for text in texts if text != failing)


def test_what_is_in_the_cache_is_never_sent(place, cache):
    model, url = place
    first = embedder_of(openai(url), cache=cache).embed(["one", "two"])
    again = embedder_of(openai(url), cache=cache)
    assert np.array_equal(again.embed(["two", "three", "one"])[[2, 0]], first)
    assert model.texts == ["one", "two", "three"]
    assert (again.tally.cached, again.tally.texts) == (2, 1)


def test_a_model_is_not_loaded_for_what_is_in_the_cache(cache):
    class Heavy(Words):
        loaded = 0

        @property
        def dim(self):
            self.loaded += 1
            return 32

        @property
        def max_tokens(self):
            self.loaded += 1
            return 256

        def count_tokens(self, texts):
            return [len(text.split()) for text in texts]

    texts = ["one", "two"]
    DenseEmbedder(Heavy(), words_section(), cache=cache).embed(texts)
    provider = Heavy()
    embedder = DenseEmbedder(provider, words_section(), cache=cache)
    assert embedder.embed(texts).shape == (2, 32)
    assert embedder.dim == 32
    assert (provider.loaded, provider.batches) == (0, [])
    embedder.embed(["three"])
    assert provider.loaded > 0


def test_who_embeds_and_who_finds_has_the_same_vector_to_the_last_bit(cache):
    section = words_section()
    embedded = DenseEmbedder(Words(), section, cache=cache).embed(["one", "two"])
    found = DenseEmbedder(Words(), section, cache=cache).embed(["one", "two"])
    assert np.array_equal(embedded, found)
    assert float(embedded[0] @ vector_of("one")) > 0.99999


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"dimensions": 32},
        {"document_prefix": "passage: "},
        {"normalise": False},
        {"max_tokens": 100},
        {"too_long": "cut"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_shapes_a_vector_is_another_key_and_another_pipeline(cache, change):
    DenseEmbedder(Words(), words_section(), cache=cache).embed(["one"])
    provider = Words()
    DenseEmbedder(provider, words_section(**change), cache=cache).embed(["one"])
    assert len(provider.batches) == 1
    assert dense_settings(words_section(**change)) != dense_settings(words_section())


def test_what_shapes_no_vector_is_the_same_key_and_the_same_pipeline(place, cache):
    model, url = place
    embedder_of(openai(url), cache=cache).embed(["one"])
    with serve(make_app(EmbeddingsModel())) as elsewhere:
        other = openai(elsewhere, api_key="another", headers={"x": "y"}, parallel=9, batch={"texts": 7}, timeout=9)
        other = other.model_copy(update={"query_prefix": "query: ", "limits": openai(url, limits={}).limits})
        embedder_of(other, cache=cache).embed(["one"])
        assert dense_settings(other) == dense_settings(openai(url))
    assert model.texts == ["one"]


def test_questions_and_documents_have_keys_of_their_own(cache):
    provider = Words()
    embedder = DenseEmbedder(provider, words_section(), cache=cache)
    embedder.embed(["one"])
    embedder.embed_query("one")
    embedder.embed_query("one")
    assert provider.batches == [["one"], ["one"]]


def test_a_length_that_changed_behind_a_models_name_is_found_out(cache):
    section = words_section()
    DenseEmbedder(Words(32), section, cache=cache).embed(["one"])
    with pytest.raises(EmbeddingError, match="have 16 dimensions, not 32"):
        DenseEmbedder(Words(16), section, cache=cache).embed(["one", "two"])


def test_the_length_is_known_from_the_config_or_from_one_text():
    assert DenseEmbedder(Words(), words_section(dimensions=99)).dim == 99
    provider = Words(24)
    embedder = DenseEmbedder(provider, words_section())
    assert (embedder.dim, embedder.dim) == (24, 24)
    assert provider.batches == [["."]]


def test_the_length_is_learned_from_a_text_that_is_paid_for_once():
    provider = Words(24)
    embedder = DenseEmbedder(provider, words_section())  # no cache, which would hide a second time
    assert embedder.size(lambda: "one") == 24
    assert embedder.embed_documents(["one", "two"])[0]["dense"] == pytest.approx(vector_of("one", 24))
    assert provider.batches == [["one"], ["two"]]
    assert (embedder.tally.texts, embedder.tally.cached) == (2, 0)

    def never():
        raise AssertionError("it is known")

    assert embedder.size(never) == 24
    assert DenseEmbedder(provider, words_section(dimensions=24)).size(never) == 24


def test_where_the_text_is_refused_a_full_stop_tells_the_length():
    provider = Words(24)
    embedder = DenseEmbedder(provider, words_section(max_tokens=16, too_long="refuse"))
    assert embedder.size(lambda: LONG) == 24
    assert provider.batches == [["."]]
    with pytest.raises(EmbeddingError, match="longer than what the model reads"):
        embedder.embed([LONG])


def test_an_embedder_is_what_apply_and_search_expect():
    embedder = DenseEmbedder(Words(), words_section())
    documents = embedder.embed_documents(["one", "two"])
    assert [list(vectors) for vectors in documents] == [["dense"], ["dense"]]
    assert near(documents[1]["dense"], vector_of("two"))
    assert near(embedder.embed_query("one"), vector_of("one"))
    assert embedder.name == "dense"
    assert embedder.fingerprint_settings() == dense_settings(words_section())
