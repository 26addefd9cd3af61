"""What goes wrong at a provider: what is said of it, what is tried again, and what is never stored."""

import json
import socket

import pytest

from qloader.errors import EmbeddingError
from servers.embeddings import KEY, EmbeddingsModel, make_app, vector_of
from servers.serving import serve
from support.embedders import embedder_of, openai

TEXTS = [f"text {n}" for n in range(10)]


@pytest.fixture
def place():
    model = EmbeddingsModel()
    with serve(make_app(model)) as url:
        yield model, url


def error_of(section, texts=TEXTS):
    with pytest.raises(EmbeddingError) as caught:
        embedder_of(section).embed(texts)
    error = caught.value
    assert KEY not in f"{error} {error.remedy}"
    assert error.remedy
    return error


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(place, status):
    model, url = place
    model.fail(status, "out of order")
    model.fail(status, "<html>out of order</html>", {"retry-after": "0"})
    embedder = embedder_of(openai(url))
    assert embedder.embed(TEXTS).shape == (10, 32)
    assert (model.requests, embedder.tally.requests, embedder.tally.retries) == (3, 3, 2)
    assert model.texts == TEXTS


def test_what_does_not_pass_is_given_up_with_what_the_provider_says(place):
    model, url = place
    for _ in range(3):
        model.fail(503, {"error": {"message": "The model is overloaded."}})
    error = error_of(openai(url, retry_attempts=2))
    assert "cannot be used just now" in str(error)
    assert "answers 503: The model is overloaded (tried 3 times)" in str(error)


def test_a_rate_that_stays_too_high_is_an_error_that_names_the_limits(place):
    model, url = place
    for _ in range(3):
        model.fail(429, {"error": {"message": "Slow down."}}, {"retry-after": "0"})
    error = error_of(openai(url, retry_attempts=2))
    assert "it is asked too often" in str(error)
    assert "embedding.dense.limits" in error.remedy


def test_requests_that_come_too_soon_wait_as_long_as_others_get_through(place):
    model, url = place
    model.requests_per_second, model.retry_after = 80, "1"
    model.clock = lambda: float(model.refused)  # a second is over whenever somebody was refused
    embedder = embedder_of(openai(url, batch={"texts": 1}, parallel=16, retry_attempts=3, retry_delay="20ms"))
    texts = [f"text {n}" for n in range(120)]
    assert embedder.embed(texts).shape == (120, 32)
    assert model.refused > 0
    assert sorted(model.texts) == sorted(texts)


def test_no_connection_is_told_with_the_address(place):
    with socket.socket() as free:  # nobody else gets the port, and nobody listens
        free.bind(("127.0.0.1", 0))
        error = error_of(openai(f"http://127.0.0.1:{free.getsockname()[1]}", retry_attempts=1))
    assert "no connection (Connection refused) (tried 2 times)" in str(error)


def test_no_answer_in_time_is_tried_again_and_then_told(place):
    model, url = place
    model.delay = 5
    error = error_of(openai(url, timeout="100ms", retry_attempts=1))
    assert "no answer within 0.1 s (tried 2 times)" in str(error)


def test_a_wrong_key_is_told_at_once_and_not_shown(place):
    model, url = place
    error = error_of(openai(url, api_key="sk-a-wrong-key-of-somebody"))
    assert str(error) == f"embedding.dense: {url}/v1/embeddings does not accept the key (401)."
    assert model.requests == 1


def test_no_key_at_all_is_another_message(place):
    _, url = place
    assert "wants a key (401), and there is none" in str(error_of(openai(url, api_key=None)))


def test_a_key_that_is_quoted_in_an_answer_is_not_shown(place):
    model, url = place
    model.fail(400, {"error": {"message": f"no such organisation for {KEY}"}})
    assert "no such organisation for …" in str(error_of(openai(url), ["one"]))


def test_a_key_that_is_revoked_in_the_middle_costs_nothing_that_was_paid_for(place, tmp_path):
    from qloader.embedding.cache import EmbeddingCache

    model, url = place
    model.revoked_after = 4
    section = openai(url, batch={"texts": 1}, parallel=2)
    with EmbeddingCache.open(tmp_path / "embeddings.db", precision="float32") as cache:
        with pytest.raises(EmbeddingError, match="does not accept the key"):
            embedder_of(section, cache=cache).embed(TEXTS)
        assert len(model.texts) == 4
        model.revoked_after = None
        assert embedder_of(section, cache=cache).embed(TEXTS).shape == (10, 32)
    assert sorted(model.texts) == TEXTS


def test_a_quota_that_is_spent_is_told_and_not_waited_for(place):
    model, url = place
    model.quota = 8
    error = error_of(openai(url, batch={"texts": 2}, parallel=1))
    assert "says that the quota is spent (429): You exceeded your current quota." in str(error)
    assert "is not paid for again" in error.remedy
    assert len(model.texts) == 4
    assert model.requests == 3


def test_a_model_that_was_renamed_is_told_in_the_providers_words(place):
    model, url = place
    model.model = "words-33"
    error = error_of(openai(url))
    assert "(404): The model `words-32` was renamed to `words-33`." in str(error)
    assert "embedding.dense.model" in error.remedy


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda body: {**body, "data": body["data"][1:]}, "its indexes are not those of the texts"),
        (lambda body: {**body, "data": []}, "10 texts were sent, and 0 vectors came back"),
        (lambda body: {**body, "data": body["data"][:1] * 10}, "its indexes are not those of the texts"),
        (lambda body: {"vectors": body["data"]}, "there is no list `data`"),
        (lambda body: ["data"], "there is no list `data`"),
        (lambda body: {"data": [{"index": e["index"], "embedding": None} for e in body["data"]]}, "no vectors"),
        (
            lambda body: {"data": [{**e, "embedding": e["embedding"][: 5 + e["index"]]} for e in body["data"]]},
            "not all of one length",
        ),
        (
            lambda body: {"data": [{**e, "embedding": ["x"]} for e in body["data"]]},
            "not all of one length, or are no numbers",
        ),
    ],
    ids=["one is missing", "none", "one is repeated", "another shape", "a list", "null", "ragged", "words"],
)
def test_what_is_no_vector_for_each_text_is_refused(place, change, says):
    model, url = place
    model.change = change
    assert says in str(error_of(openai(url)))


def test_fewer_vectors_without_indexes_are_refused_too(place):
    model, url = place
    model.change = lambda body: {"data": [{"embedding": entry["embedding"]} for entry in body["data"][1:]]}
    assert "10 texts were sent, and 9 vectors came back" in str(error_of(openai(url)))


def test_a_wrong_dimension_is_refused_also_where_it_changes_on_the_way(place):
    model, url = place
    embedder = embedder_of(openai(url))
    assert embedder.embed(["one"]).shape == (1, 32)
    model.dim = 16
    with pytest.raises(EmbeddingError, match="have 16 dimensions, not 32"):
        embedder.embed(["two"])
    model.change = lambda body: {"data": [{**e, "embedding": e["embedding"][:8]} for e in body["data"]]}
    assert "have 8 dimensions, not 64" in str(error_of(openai(url, dimensions=64)))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), None], ids=str)
def test_a_number_that_is_none_is_refused_with_the_text(place, number):
    model, url = place

    def spoil(body):
        body["data"][3]["embedding"][7] = number
        return body

    model.change = spoil
    error = error_of(openai(url))
    assert 'the vector of the text "text 3" has numbers that are none' in str(error)
    assert error.positions == (3,)


def test_a_zero_vector_is_refused_with_the_text(place):
    model, url = place

    def spoil(body):
        body["data"][4]["embedding"] = [0] * 32
        return body

    model.change = spoil
    error = error_of(openai(url), [*TEXTS, "text 4"])
    assert 'the vector of the text "text 4" is zero' in str(error)
    assert error.positions == (4, 10)


def test_a_web_page_is_no_answer(place):
    _, url = place
    assert "answers with a web page where vectors should be" in str(error_of(openai(url, url=f"{url}/page")))


def test_what_is_cut_off_is_tried_again(place):
    model, url = place
    model.fail(200, '{"data": [{"ind')
    assert embedder_of(openai(url)).embed(TEXTS).shape == (10, 32)


def test_another_kind_of_server_is_told(place):
    _, url = place
    assert "something else than expected: there is no list `data`" in str(error_of(openai(url, url=f"{url}/other")))


def test_a_redirect_is_not_followed(place):
    model, url = place
    assert "answers with a redirect (307)" in str(error_of(openai(url, url=f"{url}/moved")))
    assert model.requests == 0


def test_a_key_is_not_sent_without_encryption_but_to_this_machine():
    section = openai("http://models.example")
    with pytest.raises(EmbeddingError, match="is without encryption"):
        embedder_of(section)
    embedder_of(section.model_copy(update={"verify": False}))


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}\x00", "schlüssel-schlüssel"])
def test_a_key_that_can_be_none_is_refused_and_not_shown(place, key):
    _, url = place
    error = error_of(openai(url, api_key=key))
    assert str(error).startswith("embedding.dense.api_key holds a line break or another character")
    error = error_of(openai(url, headers={"X-Team": key}))
    assert str(error).startswith("embedding.dense.headers.X-Team holds")


def test_a_batch_that_is_too_large_is_sent_in_parts_and_the_next_ones_are_smaller(place):
    model, url = place
    model.max_texts = 32
    embedder = embedder_of(openai(url, batch={"texts": 100}, parallel=1))
    texts = [f"text {n}" for n in range(200)]
    vectors = embedder.embed(texts)
    assert abs(vectors[150] - vector_of("text 150")).max() < 1e-6
    assert model.texts == texts
    assert model.refused == 2  # 100, 50; then 25 at a time


def test_one_text_that_is_refused_is_named(place):
    model, url = place

    class Picky(EmbeddingsModel):
        def refusal(self, key, name, texts):
            if "text 6" in texts:
                body = json.dumps({"detail": [{"msg": "this is not allowed here"}]})
                return 422, {"content-type": "application/json"}, body
            return super().refusal(key, name, texts)

    model.__class__ = Picky
    error = error_of(openai(url))
    assert "(422): this is not allowed here. It is about the text" in str(error)
    assert '"text 6" of 6 characters' in str(error)
    assert error.positions == (6,)
