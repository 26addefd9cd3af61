"""How a collection is kept (index/collection_settings.py), held against the engine and against a server's answers.

Not against the local mode of qdrant-client: it takes settings and forgets them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from index_engines import ENGINES, Engine, making_engine

from qloader.errors import ConfigError
from qloader.index.collection_settings import POSTPONED, Difference, check_fixed, find_differences
from qloader.index.marker import MARKER
from qloader.index.open import open_index
from qloader.index.protocol import DENSE_VECTOR, SPARSE_VECTOR, Index, Point, SparseVector
from support.qdrant_loopback import StandIn, serving

OURS = "6f0c2f4e-0000-4000-8000-000000000001"
POINT = "6f0c2f4e-0000-4000-8000-0000000000aa"
SETTINGS: dict[str, Any] = {
    "datatype": "float32",
    "on_disk.payload": False,
    "on_disk.vectors": True,
    "hnsw.m": 32,
    "hnsw.ef_construct": 200,
    "hnsw.on_disk": True,
    "quantization.type": "scalar",
    "quantization.quantile": 0.99,
    "quantization.always_ram": True,
    "indexing_threshold": 30_000,
    "payload_indexes.metadata.team": "keyword",
    "payload_indexes.updated_at": "datetime",
}


@pytest.fixture(params=[name for name in ENGINES if name != "local"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with making_engine(request.param, tmp_path) as engine:
        yield engine


def create(index: Index, settings: dict[str, Any], *, dense: int | None = 2) -> None:
    index.create(lineage=OURS, pipeline="p", dense=dense, settings=settings)


def write_point(index: Index) -> None:
    vectors = {SPARSE_VECTOR: SparseVector([7], [1.0]), DENSE_VECTOR: [1.0, 0.0]}
    index.upsert([Point(POINT, vectors, {"text": "one", "qloader": {"lineage": OURS}, "metadata": {"team": "a"}})])


def test_a_new_collection_is_kept_as_wanted(engine: Engine) -> None:
    index = engine.open()
    create(index, SETTINGS)
    found = index.settings()
    assert find_differences(found, SETTINGS) == []
    assert found["hnsw.full_scan_threshold"] == 10_000  # which nobody said
    assert found["payload_indexes.qloader.lineage"] == "keyword"


def test_what_is_there_is_brought_in_line_and_keeps_its_points(engine: Engine) -> None:
    index = engine.open()
    create(index, {"datatype": "float32"})
    write_point(index)
    assert {one.key for one in index.change_settings(SETTINGS)} == set(SETTINGS) - {"datatype"}
    assert find_differences(index.settings(), SETTINGS) == []
    assert index.change_settings(SETTINGS) == []
    index.close()
    again = engine.open()
    assert find_differences(again.settings(), SETTINGS) == []
    assert again.count(lineage=OURS) == 1
    assert again.search([1.0, 0.0], using=DENSE_VECTOR, limit=1)[0].id == POINT


def test_what_nobody_asks_for_stays(engine: Engine) -> None:
    index = engine.open()
    create(index, SETTINGS)
    changed = index.change_settings({"hnsw.m": 8})
    assert changed == [Difference("hnsw.m", 32, 8)]
    assert find_differences(index.settings(), SETTINGS) == [Difference("hnsw.m", 8, 32)]


def test_quantization_of_another_kind_takes_its_place(engine: Engine) -> None:
    index = engine.open()
    create(index, SETTINGS)
    wanted = {"quantization.type": "product", "quantization.compression": "x16"}
    assert {one.key for one in index.change_settings(wanted)} == set(wanted)
    found = index.settings()
    assert found["quantization.quantile"] is None
    assert find_differences(found, wanted) == []
    index.change_settings({"quantization.type": "binary"})
    assert index.settings()["quantization.type"] == "binary"


def test_a_payload_index_of_another_type_takes_the_place_of_the_first(engine: Engine) -> None:
    index = engine.open()
    create(index, {"payload_indexes.metadata.year": "keyword"})
    wanted = {"payload_indexes.metadata.year": "integer"}
    assert index.change_settings(wanted) == [Difference(*wanted, "keyword", "integer")]
    assert index.settings()["payload_indexes.metadata.year"] == "integer"


def test_a_collection_without_dense_vectors_has_no_use_for_a_graph(engine: Engine) -> None:
    index = engine.open()
    create(index, SETTINGS, dense=None)
    assert find_differences(index.settings(), SETTINGS) == []
    assert index.change_settings({"hnsw.m": 4, "quantization.type": "binary"}) == []


def test_the_datatype_is_said_when_a_collection_is_made_and_never_changes(engine: Engine) -> None:
    index = engine.open()
    create(index, {"datatype": "float16"})
    write_point(index)
    assert index.change_settings({"datatype": "float32", "hnsw.m": 8}) == [Difference("hnsw.m", 16, 8)]
    index.close()
    again = engine.open()
    differing = find_differences(again.settings(), {"datatype": "float32", "hnsw.m": 8})
    assert differing == [Difference("datatype", "float16", "float32")]
    assert again.search([1.0, 0.0], using=DENSE_VECTOR, limit=1)[0].id == POINT
    with pytest.raises(ConfigError, match=r"docs has float16 vectors, and index\.settings\.datatype says float32"):
        check_fixed(differing, collection="docs", state="the state")


def test_an_embedded_collection_keeps_half_as_many_bytes_where_nobody_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "index"
    with contextlib.closing(open_index(collection="docs", embedded_path=path, url=None)) as index:
        create(index, {})
        assert index.settings()["datatype"] == "float16"


def test_an_embedded_creation_cut_short_with_another_datatype_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "index"
    for datatype in ("float16", "float32"):
        with contextlib.closing(open_index(collection="docs", embedded_path=path, url=None)) as index:
            create(index, {"datatype": datatype})
            assert index.settings()["datatype"] == datatype
        (path / "docs" / MARKER).unlink()  # what is written last


def test_a_creation_that_was_cut_short_is_completed_with_the_settings(engine: Engine) -> None:
    engine.cut_short(OURS)
    index = engine.open()
    create(index, SETTINGS, dense=None)
    assert find_differences(index.settings(), SETTINGS) == []


def test_indexing_is_postponed_and_resumed_without_a_word_in_the_settings(engine: Engine) -> None:
    index = engine.open()
    create(index, {"indexing_threshold": 30_000})
    index.postpone_indexing()
    assert index.settings()["indexing_threshold"] == 30_000
    index.resume_indexing()
    info = index.describe()
    assert info is not None
    assert not info.is_postponed
    assert index.settings()["indexing_threshold"] == 30_000


# On a server


@pytest.fixture
def server() -> StandIn:
    return StandIn()


@pytest.fixture
def url(server: StandIn) -> Iterator[str]:
    with serving(server.respond) as url:
        yield url


@contextlib.contextmanager
def opening(url: str) -> Iterator[Index]:
    with contextlib.closing(open_index(collection="docs", embedded_path=None, url=url)) as index:
        yield index


def test_shards_and_copies_are_said_when_a_collection_is_made(server: StandIn, url: str) -> None:
    wanted = {"shards": 3, "replicas": 2, "write_consistency": 2}
    with opening(url) as index:
        create(index, wanted)
        assert find_differences(index.settings(), wanted) == []
    assert server.keeping("docs").params["shard_number"] == 3


def test_copies_change_and_shards_never_do(url: str) -> None:
    with opening(url) as index:
        create(index, {})
        wanted = {"shards": 3, "replicas": 2}
        assert index.change_settings(wanted) == [Difference("replicas", 1, 2)]
        differing = find_differences(index.settings(), wanted)
        assert differing == [Difference("shards", 1, 3)]
        with pytest.raises(ConfigError, match=r"docs has 1 shard, and index\.settings\.shards says 3") as error:
            check_fixed(differing, collection="docs", state="the state")
        assert "index.settings.shards to 1" in error.value.remedy


def test_a_creation_cut_short_with_other_shards_is_made_anew(server: StandIn, url: str) -> None:
    with opening(url) as index:
        create(index, {"shards": 2})
        server.client.update_collection(
            "docs",
            metadata={
                "qloader": {"format": "qloader.index/1", "lineage": OURS, "pipeline": "p", "complete": False},
            },
        )
    with opening(url) as index:
        create(index, {"shards": 4})
        assert index.settings()["shards"] == 4


def test_quantization_is_taken_away(server: StandIn, url: str) -> None:
    with opening(url) as index:
        create(index, {"quantization.type": "scalar"})
        index.change_settings({"quantization.type": "none"})
        assert server.keeping("docs").quantization is None
        assert index.change_settings({"quantization.type": "none"}) == []


def test_nothing_is_written_where_nothing_differs(server: StandIn, url: str) -> None:
    with opening(url) as index:
        create(index, SETTINGS)
        server.requests.clear()
        index.change_settings(SETTINGS)
    assert {request.method for request in server.requests} == {"GET"}


def test_a_postponed_indexing_survives_whoever_postponed_it(server: StandIn, url: str) -> None:
    with opening(url) as index:
        create(index, {"indexing_threshold": 30_000})
        index.postpone_indexing()
        assert server.keeping("docs").indexing_threshold == POSTPONED
    with opening(url) as index:
        info = index.describe()
        assert info is not None
        assert info.is_postponed
        index.postpone_indexing()  # once more: what is remembered is still the collection's own
        index.mark(lineage=OURS, pipeline="q")
        index.resume_indexing()
        assert server.keeping("docs").indexing_threshold == 30_000
        info = index.describe()
        assert info is not None
        assert (info.pipeline, info.is_postponed) == ("q", False)


def test_a_threshold_that_changes_during_a_bulk_load_holds_after_it(server: StandIn, url: str) -> None:
    with opening(url) as index:
        create(index, {})
        index.postpone_indexing()
        assert index.change_settings({"indexing_threshold": 5_000}) == [Difference("indexing_threshold", 10_000, 5_000)]
        assert server.keeping("docs").indexing_threshold == POSTPONED
        index.resume_indexing()
    assert server.keeping("docs").indexing_threshold == 5_000
