"""What an import refuses, before it pays for anything or writes a vector; each error says what to do."""

from __future__ import annotations

import contextlib
import json

import pytest
from qdrant_client import QdrantClient, models

from qloader.errors import ConfigError, EmbeddingError, ForeignIndexError, IndexUnavailableError
from qloader.workspace.foreign import ImportRequest
from servers.embeddings import vector_of
from support.dense_places import dense_place
from support.foreign_collections import langchain_point, plain, theirs
from support.qdrant_loopback import Answer, serving
from support.workspaces import plan_and_apply, write

PAGES = {f"page-{n}.md": f"# Page {n}\n\nAbout the {word}." for n, word in enumerate(["lamp", "garden", "river"])}


@pytest.fixture
def place(tmp_path):
    with dense_place(tmp_path) as place:
        write(tmp_path / "docs", PAGES)
        yield place


@pytest.fixture
def other():
    with theirs() as other:
        yield other


def fill(other, name="old", *, embed=vector_of, dim=32):
    other.create(name, plain(dim))
    other.add(name, [langchain_point(page, text, embed=embed) for page, text in PAGES.items()])


def refusal(workspace, kind=ConfigError, **request):
    """The error and its remedy; nothing was taken over."""
    with (
        pytest.raises(kind) as caught,
        workspace.import_collection(ImportRequest(**request), workspace.settings.config.base / "refused.json"),
    ):
        pass
    with workspace.embedding_cache() as cache:
        assert cache.stats().vectors == 0
    return str(caught.value), caught.value.remedy


def test_another_model_of_the_same_length_is_refused_with_what_was_measured(place, other):
    fill(other, embed=lambda text: vector_of(text[::-1]))
    workspace = place.configure()
    with pytest.raises(EmbeddingError, match=r"of 3 texts that were embedded anew 0 got the same vector \(the cosine"):
        workspace.import_collection(ImportRequest(url=other.url)).__enter__()
    with workspace.embedding_cache() as cache:
        assert cache.stats().vectors == 3  # those that were paid for, by the config's own model
    with workspace.temporary_plan() as result:
        assert result.estimate.cached == 3


def test_one_text_of_another_model_among_those_compared_is_enough(place, other):
    fill(other)
    other.add("old", [langchain_point("page-1.md", PAGES["page-1.md"], embed=lambda text: vector_of(text + " more"))])
    workspace = place.configure()
    with pytest.raises(EmbeddingError, match="2 got the same vector"):
        workspace.import_collection(ImportRequest(url=other.url)).__enter__()


@pytest.mark.parametrize("keys", [{"dimensions": 16}, {}], ids=["as the config says", "as the provider answers"])
def test_vectors_of_another_length(place, other, keys):
    fill(other, embed=lambda text: vector_of(text, 24), dim=24)
    said, remedy = refusal(place.configure(**keys), url=other.url)
    made = keys.get("dimensions", 32)
    assert said == f"the vectors of old have 24 numbers, and openai/words-32 makes those of {made}"
    assert "embedding.dense" in remedy


def test_a_provider_that_refuses(place, other):
    fill(other)
    said, _ = refusal(place.configure(api_key="sk-wrong"), EmbeddingError, url=other.url)
    assert "sk-wrong" not in said


def test_no_such_collection(place, other):
    fill(other)
    said, remedy = refusal(place.configure(), url=other.url, collection="odl")
    assert said == f"there is no collection odl at {other.url}"
    assert remedy == "Did you mean old?"
    _, remedy = refusal(place.configure(), url=other.url, collection="something-else")
    assert remedy == "Name another one: --from COLLECTION. It has old."


def test_several_collections_and_none_named(place, other):
    fill(other)
    fill(other, "other")
    said, remedy = refusal(place.configure(), url=other.url)
    assert said == f"which collection of {other.url} is meant is not said: it has old, other"
    assert remedy == "Name it: --from COLLECTION."


def test_nothing_says_where_it_is(place):
    said, remedy = refusal(place.configure(), collection="old")
    assert "nothing says where the collection is" in said
    assert "--url" in remedy
    assert "exclude each other" in refusal(place.configure(), url="http://x", path=place.folder)[0]
    assert "is no folder" in refusal(place.configure(), path=place.folder / "nowhere")[0]


def test_an_empty_collection(place, other):
    other.create("old", plain())
    said, remedy = refusal(place.configure(), url=other.url)
    assert said == f"the collection old at {other.url} holds no points"
    assert "qloader plan" in remedy


def test_several_vectors_and_none_named(place, other):
    other.create("old", {"small": plain(), "large": plain(64)})
    points = [langchain_point(page, text) for page, text in PAGES.items()]
    for point in points:
        point.vector = {"small": point.vector, "large": [1.0] * 64}
    other.add("old", points)
    said, remedy = refusal(place.configure(), url=other.url)
    assert said == "the collection old has several dense vectors: small, large"
    assert "--vector" in remedy
    said, remedy = refusal(place.configure(), url=other.url, vector="smal")
    assert (said, remedy) == ("the collection old has no dense vector smal", "Did you mean small?")
    assert "no dense vector one without a name" in refusal(place.configure(), url=other.url, vector="")[0]


def test_sparse_vectors_alone(place, other):
    other.create("old", {}, sparse_vectors_config={"words": models.SparseVectorParams()})
    vector = {"words": models.SparseVector(indices=[1], values=[1.0])}
    other.add("old", [models.PointStruct(id=1, vector=vector, payload={"page_content": "Lamps."})])
    said, remedy = refusal(place.configure(), url=other.url)
    assert said == "the collection old has no dense vectors: it has words"
    assert "plan and apply" in remedy


def test_points_whose_text_nobody_finds_show_their_keys(place, other):
    other.create("old", plain())
    payload = {"body": "Lamps.", "meta": {"where": "lamps.md"}}
    other.add("old", [models.PointStruct(id=1, vector=[1.0] * 32, payload=payload)])
    said, remedy = refusal(place.configure(), url=other.url)
    assert said == (
        "no text is found in the points of old, read as those of a known tool; the first has body, meta.where"
    )
    assert "--shape" in remedy
    assert "read as LangChain" in refusal(place.configure(), url=other.url, shape="langchain")[0]
    mapping = place.folder / "mapping.yaml"
    mapping.write_text("text: meta.body")
    assert "text in meta.body" in refusal(place.configure(), url=other.url, shape=str(mapping))[0]


@pytest.mark.parametrize(
    ("text", "says", "remedy"),
    [
        ("txt: a", "unknown key txt", "Did you mean text?"),
        ("text: a\nwhatever: b", "unknown key whatever", "It knows text, document, title, vector."),
        ("document: a", "the key text is missing", "Write {text"),
        ("- text", "is no mapping of keys to paths", "Write {text"),
        ("text: [a]", "text is no text", "Write {text"),
        ("text: {", "is no YAML", "Write {text"),
    ],
)
def test_a_mapping_that_is_none(place, other, text, says, remedy):
    fill(other)
    mapping = place.folder / "mapping.yaml"
    mapping.write_text(text)
    said, way_out = refusal(place.configure(), url=other.url, shape=str(mapping))
    assert says in said
    assert remedy in way_out


def test_a_shape_that_is_none(place, other):
    fill(other)
    said, remedy = refusal(place.configure(), url=other.url, shape="langchan")
    assert (said, remedy) == ("--shape langchan: there is no such shape", "Did you mean langchain?")
    assert "cannot be read" in refusal(place.configure(), url=other.url, shape="nowhere.yaml")[0]


def test_a_server_that_cannot_be_reached_or_wants_a_key(place):
    said, remedy = refusal(place.configure(), IndexUnavailableError, url="http://127.0.0.1:9", collection="old")
    assert "cannot be reached" in said
    assert "--url" in remedy
    assert "index.url" not in said + remedy
    with serving(lambda _: Answer(401, b"Must provide an API key", "text/plain")) as url:
        _, remedy = refusal(place.configure(), IndexUnavailableError, url=url, collection="old")
        assert remedy == "Set $QLOADER_IMPORT_API_KEY."
        said, remedy = refusal(
            place.configure(), IndexUnavailableError, url=url, collection="old", api_key="a-wrong-key"
        )
        assert "the server refused the API key" in said
        assert "a-wrong-key" not in said + remedy
    assert "--url is not the address" in refusal(place.configure(), IndexUnavailableError, url="nowhere")[0]
    assert (
        "cannot be the name"
        in refusal(place.configure(), IndexUnavailableError, url="http://127.0.0.1:9", collection="a/b")[0]
    )


def test_the_configs_own_collection_and_others_of_qloaders(tmp_path):
    with dense_place(tmp_path, "server") as place:
        write(tmp_path / "docs", PAGES)
        workspace = place.configure()
        said, remedy = refusal(workspace, ForeignIndexError, collection="test")
        assert said == "test is the config's own collection, which the apply fills"
        assert "index.collection" in remedy
        plan_and_apply(workspace)
        beside = place.configure(name="beside")
        with pytest.raises(ForeignIndexError, match="was made by qloader") as caught:
            beside.import_collection(ImportRequest(collection="test")).__enter__()
        assert "cache export" in caught.value.remedy


def test_an_embedded_collection_of_qloaders(place):
    workspace = place.configure()
    plan_and_apply(workspace)
    for request in (
        ImportRequest(path=place.folder / ".qloader" / "index", collection="test"),
        ImportRequest(path=place.folder / ".qloader" / "index" / "test" / "shard"),
    ):
        with pytest.raises(ForeignIndexError):
            workspace.import_collection(request).__enter__()


def test_folders_that_hold_no_collection(place):
    local = place.folder / "local"
    with contextlib.closing(QdrantClient(path=str(local))) as client:
        client.create_collection("old", vectors_config=plain())
    said, remedy = refusal(place.configure(), IndexUnavailableError, path=local, collection="old")
    assert "qdrant-client's local mode" in said
    assert "migrate" in remedy
    said, _ = refusal(place.configure(), path=place.folder / "docs")
    assert "there is no collection docs" in said
    broken = place.folder / "broken"
    broken.mkdir()
    (broken / "edge_config.json").write_text("{")
    assert "is damaged" in refusal(place.configure(), IndexUnavailableError, path=broken)[0]
    (broken / "edge_config.json").write_text(json.dumps({"vectors": {"": {"size": 4, "distance": "Cosine"}}}))
    (broken / "segments").write_text("no folder")
    assert "cannot be read as a collection" in refusal(place.configure(), IndexUnavailableError, path=broken)[0]


def test_a_cache_that_is_too_small_or_cannot_be_written(place, other):
    fill(other)
    workspace = place.configure()
    file = workspace.settings.config.file
    text = file.read_text().replace("cache: {path", "cache: {max_size: 200B, path")
    file.write_text(text)
    said, remedy = refusal(type(workspace).open(file), url=other.url)
    assert "would be taken over, which need" in said
    assert remedy == "Raise embedding.cache.max_size."
    workspace = place.configure()
    folder = workspace.settings.embedding_cache
    folder.unlink(missing_ok=True)
    folder.mkdir()  # no file can be there
    with pytest.raises(EmbeddingError, match="keeps nothing"):
        workspace.import_collection(ImportRequest(url=other.url)).__enter__()
