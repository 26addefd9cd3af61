"""Every provider that can run here passes the contract, against real HTTP where it speaks HTTP."""

import pytest

from qloader.testing import EmbedderContract
from servers.embeddings import KEY, MODEL, EmbeddingsModel, make_app, vector_of
from servers.serving import serve
from support.embedders import embedder_of, openai, provider_of, section_of


@pytest.fixture(scope="module")
def address():
    with serve(make_app(EmbeddingsModel())) as url:
        yield url


@pytest.fixture
def place():
    """A provider of one's own: what it does, and its address."""
    model = EmbeddingsModel()
    with serve(make_app(model)) as url:
        yield model, url


class OfSection(EmbedderContract):
    tolerance = 1e-6

    @pytest.fixture
    def opener(self, section):
        return lambda: provider_of(section)


class TestOpenai(OfSection):
    @pytest.fixture
    def section(self, address):
        return openai(address)


class TestAzure(OfSection):
    @pytest.fixture
    def section(self, address):
        return openai(address, url=f"{address}/openai/deployments/{MODEL}", api_version="2024-10-21")


class TestVoyage(OfSection):
    @pytest.fixture
    def section(self, address):
        return section_of(provider="voyage", model=MODEL, url=f"{address}/v1", api_key=KEY, dimensions=48)


class TestCohere(OfSection):
    @pytest.fixture
    def section(self, address):
        return section_of(provider="cohere", model=MODEL, url=address, api_key=KEY)


class TestHttp(OfSection):
    @pytest.fixture
    def section(self, address):
        return section_of(
            provider="http",
            model=MODEL,
            url=f"{address}/vectors",
            headers={"Authorization": f"Bearer {KEY}"},
            body={"name": "{model}", "passages": "{texts}", "task": "retrieval.{kind}"},
            kinds={"document": "passage", "query": "query"},
            vectors="result.items.*.values",
            indexes="result.items.*.place",
        )


class TestHttpWithOneTextARequest(OfSection):
    @pytest.fixture
    def section(self, address):
        body = {"name": "{model}", "prompt": "{text}"}
        return section_of(
            provider="http", model=MODEL, url=f"{address}/vector", api_key=KEY, body=body, vectors="embedding"
        )


class TestPython(OfSection):
    @pytest.fixture
    def section(self):
        return section_of(provider="python", model="words", function="support.embedders:embed")


def test_openai_is_asked_as_its_reference_says(place):
    model, url = place
    embedder_of(openai(url, dimensions=16)).embed(["one", "two"])
    assert model.bodies == [{"model": MODEL, "input": ["one", "two"], "dimensions": 16}]


def test_voyage_and_cohere_are_told_what_a_text_is_for_and_never_cut_it_silently(place):
    model, url = place
    voyage = embedder_of(section_of(provider="voyage", model=MODEL, url=f"{url}/v1", api_key=KEY))
    voyage.embed_documents(["one"])
    voyage.embed_query("two")
    cohere = embedder_of(section_of(provider="cohere", model=MODEL, url=url, api_key=KEY, dimensions=8))
    cohere.embed_documents(["one"])
    cohere.embed_query("two")
    assert model.kinds == ["document", "query", "search_document", "search_query"]
    assert [body.get("truncation", body.get("truncate")) for body in model.bodies] == [False, False, "NONE", "NONE"]
    assert model.bodies[2]["output_dimension"] == 8


def test_vectors_belong_to_their_texts_in_whatever_order_they_come(place):
    model, url = place
    model.change = lambda body: {**body, "data": body["data"][::-1]}
    texts = [f"text {n}" for n in range(10)]
    vectors = embedder_of(openai(url)).embed(texts)
    assert all(abs(vector - vector_of(text)).max() < 1e-6 for vector, text in zip(vectors, texts, strict=True))


def test_an_answer_without_indexes_is_in_the_order_of_the_texts(place):
    model, url = place
    model.change = lambda body: {"data": [{"embedding": entry["embedding"]} for entry in body["data"]]}
    vectors = embedder_of(openai(url)).embed(["one", "two"])
    assert abs(vectors[1] - vector_of("two")).max() < 1e-6


def test_prefixes_are_sent_and_are_no_part_of_an_empty_text(place):
    model, url = place
    embedder = embedder_of(openai(url, document_prefix="passage: ", query_prefix="query: "))
    embedder.embed(["one", ""])
    embedder.embed_query("two")
    assert model.texts == ["passage: one", "passage: .", "query: two"]


def test_further_headers_are_sent_and_may_replace_the_usual_ones(place):
    _, url = place
    section = openai(url, api_key=None, headers={"API-Key": KEY})
    assert embedder_of(section).embed(["one"]).shape == (1, 32)
    assert KEY not in repr(section)
