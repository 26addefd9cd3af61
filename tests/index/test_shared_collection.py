"""One collection of several states: what the index of a tenant promises the others (index/protocol.py)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from index_engines import SERVERS, Engine, making_engine
from qdrant_client import QdrantClient, models

from qloader.documents.hashing import chunk_hash, point_ids
from qloader.embedding.bm25 import Bm25Embedder
from qloader.errors import ForeignIndexError
from qloader.index.open import open_index
from qloader.index.protocol import SPARSE_VECTOR, CollectionInfo, Hit, Index, Point, StoredPoint
from qloader.index.server import ServerIndex
from support.qdrant_loopback import Answer, Request, StandIn, serving

LINEAGES = {
    "acme": "6f0c2f4e-0000-4000-8000-00000000000a",
    "bond": "6f0c2f4e-0000-4000-8000-00000000000b",
}
PIPELINE = "91ab"
TEXTS = {"a.md": "The garden is full of roses.", "b.md": "The river is full of stones."}
OTHERS = {"a.md": "The garden is full of weeds."}

EMBEDDER = Bm25Embedder()

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")


@pytest.fixture(params=SERVERS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with making_engine(request.param, tmp_path) as engine:
        yield engine


def open_for(engine: Engine, tenant: str) -> Index:
    return engine.open(tenant=tenant)


def create_for(engine: Engine, tenant: str, **options: Any) -> Index:
    index = open_for(engine, tenant)
    index.create(lineage=LINEAGES[tenant], pipeline=PIPELINE, **options)
    return index


def points_of(tenant: str, texts: dict[str, str], *, lineage: str | None = None) -> list[Point]:
    vectors = EMBEDDER.embed_documents(list(texts.values()))
    return [
        Point(
            point_ids("docs", name, [chunk_hash(text)], tenant=tenant)[0],
            vector,
            {
                "text": text,
                "source": "docs",
                "document_id": name,
                "tenant": tenant,
                "qloader": {"lineage": lineage or LINEAGES[tenant]},
            },
        )
        for (name, text), vector in zip(texts.items(), vectors, strict=True)
    ]


@pytest.fixture
def acme(engine: Engine) -> Index:
    index = create_for(engine, "acme")
    index.upsert(points_of("acme", TEXTS))
    return index


@pytest.fixture
def bond(engine: Engine, acme: Index) -> Index:
    index = create_for(engine, "bond")
    index.upsert(points_of("bond", OTHERS))
    return index


def words(query: str) -> Any:
    return EMBEDDER.embed_query(query)


def texts_of(points: Iterator[StoredPoint] | list[Hit]) -> list[str]:
    return sorted(point.payload["text"] for point in points)


def test_whoever_comes_first_makes_it_and_the_next_one_joins(engine: Engine) -> None:
    assert open_for(engine, "acme").describe() is None
    first = create_for(engine, "acme")
    expected = CollectionInfo(None, PIPELINE, frozenset({SPARSE_VECTOR}), 0, is_shared=True)
    assert first.describe() == expected
    second = create_for(engine, "bond")
    assert second.describe() == expected


def test_a_tenant_is_of_the_state_whose_points_it_has(acme: Index, bond: Index, engine: Engine) -> None:
    for tenant, index in (("acme", acme), ("bond", bond)):
        info = index.describe()
        assert info is not None
        assert (info.lineage, info.points, info.is_shared) == (LINEAGES[tenant], 3, True)
    newcomer = open_for(engine, "carol").describe()
    assert newcomer is not None
    assert newcomer.lineage is None


def test_equal_names_are_different_points_and_each_sees_its_own(acme: Index, bond: Index) -> None:
    assert texts_of(acme.scroll(lineage=LINEAGES["acme"])) == sorted(TEXTS.values())
    assert texts_of(bond.scroll(lineage=LINEAGES["bond"])) == sorted(OTHERS.values())
    assert (acme.count(lineage=LINEAGES["acme"]), bond.count(lineage=LINEAGES["bond"])) == (2, 1)
    document = ("docs", "a.md")
    assert texts_of(acme.scroll(lineage=LINEAGES["acme"], document=document)) == [TEXTS["a.md"]]
    assert texts_of(acme.foreign(lineage=LINEAGES["acme"])) == sorted(OTHERS.values())


def test_searches_find_the_points_of_the_tenant_alone(acme: Index, bond: Index) -> None:
    query = words("a garden")
    assert texts_of(acme.search(query, using=SPARSE_VECTOR, limit=9, lineage=LINEAGES["acme"])) == [TEXTS["a.md"]]
    assert texts_of(bond.search(query, using=SPARSE_VECTOR, limit=9)) == [OTHERS["a.md"]]
    fused = bond.fuse({SPARSE_VECTOR: query}, limit=9, depth=9, lineage=LINEAGES["bond"])
    assert texts_of(fused) == [OTHERS["a.md"]]


def test_a_point_that_says_another_tenant_is_not_the_tenants(acme: Index) -> None:
    """So that whoever changes the field behind our back is found out as for any other point that is missing."""
    (point, _) = points_of("acme", TEXTS)
    acme.set_payloads([(point.id, {**point.payload, "tenant": "bond"})])
    assert acme.count(lineage=LINEAGES["acme"]) == 1


def test_another_pipeline_is_refused(engine: Engine, acme: Index) -> None:
    bond = open_for(engine, "bond")
    for refused in (bond.create, bond.mark):
        with pytest.raises(ForeignIndexError, match="shared and filled with the pipeline 91ab, and this one is 92ab"):
            refused(lineage=LINEAGES["bond"], pipeline="92ab")
    assert texts_of(acme.scroll(lineage=LINEAGES["acme"])) == sorted(TEXTS.values())


def test_other_vectors_are_refused(engine: Engine, acme: Index) -> None:
    with pytest.raises(ForeignIndexError, match="no dense vectors"):
        create_for(engine, "bond", dense=4)


def test_the_tenant_of_another_state_is_refused(engine: Engine, acme: Index) -> None:
    second = open_for(engine, "acme")
    for refused in (second.create, second.mark):
        with pytest.raises(ForeignIndexError, match=f"the tenant acme .* belongs to the state {LINEAGES['acme']}"):
            refused(lineage=LINEAGES["bond"], pipeline=PIPELINE)


def test_two_states_that_began_one_tenant_at_once_are_found_out(acme: Index) -> None:
    acme.upsert(points_of("acme", OTHERS, lineage=LINEAGES["bond"]))
    with pytest.raises(ForeignIndexError, match="two states have points under the tenant acme") as raised:
        acme.describe()
    assert all(lineage in str(raised.value) for lineage in LINEAGES.values())
    with pytest.raises(ForeignIndexError, match="two states"):
        acme.mark(lineage=LINEAGES["acme"], pipeline=PIPELINE)


def test_the_collection_of_one_state_is_not_joined(engine: Engine) -> None:
    index = engine.open()
    index.create(lineage=LINEAGES["acme"], pipeline=PIPELINE)
    bond = open_for(engine, "bond")
    for refused in (bond.create, bond.mark):
        with pytest.raises(ForeignIndexError, match=f"belongs to the state {LINEAGES['acme']}"):
            refused(lineage=LINEAGES["bond"], pipeline=PIPELINE)
    info = bond.describe()
    assert info is not None
    assert (info.lineage, info.is_shared) == (LINEAGES["acme"], False)


def test_a_shared_collection_is_nobodys_own(engine: Engine, acme: Index) -> None:
    index = engine.open()
    with pytest.raises(ForeignIndexError, match="belongs to several states"):
        index.create(lineage=LINEAGES["acme"], pipeline=PIPELINE)
    info = index.describe()
    assert info is not None
    assert (info.lineage, info.is_shared) == (None, True)


def test_dropping_removes_the_points_of_the_tenant_alone(acme: Index, bond: Index) -> None:
    (theirs,) = points_of("acme", {"c.md": "Written by the application itself."})
    theirs = Point(theirs.id, theirs.vectors, {"text": "of the application", "tenant": "acme"})
    bond.upsert([theirs])
    acme.drop()
    assert acme.count(lineage=LINEAGES["acme"]) == 0
    assert texts_of(bond.scroll(lineage=LINEAGES["bond"])) == sorted(OTHERS.values())
    assert [point.id for point in bond.retrieve([theirs.id])] == [theirs.id]
    acme.create(lineage=LINEAGES["acme"], pipeline=PIPELINE)
    acme.upsert(points_of("acme", TEXTS))
    assert acme.count(lineage=LINEAGES["acme"]) == 2


def test_dropping_does_nothing_to_what_is_not_shared_or_not_there(engine: Engine) -> None:
    open_for(engine, "acme").drop()
    index = engine.open()
    index.create(lineage=LINEAGES["acme"], pipeline=PIPELINE)
    index.upsert(points_of("acme", TEXTS))
    open_for(engine, "acme").drop()
    assert index.count(lineage=LINEAGES["acme"]) == 2


def test_settings_are_those_of_whoever_came_first_but_for_indexes_that_are_missing(engine: Engine) -> None:
    first = create_for(engine, "acme", settings={"replicas": 1, "payload_indexes.metadata.team": "keyword"})
    wanted = {
        "indexing_threshold": 5_000,
        "payload_indexes.metadata.team": "integer",
        "payload_indexes.metadata.year": "integer",
    }
    second = create_for(engine, "bond", settings=wanted)
    assert second.settings()["payload_indexes.metadata.year"] == "integer"
    assert second.change_settings(wanted) == []
    assert first.settings()["payload_indexes.metadata.team"] == "keyword"
    assert first.settings()["indexing_threshold"] != 5_000
    added = first.change_settings({"payload_indexes.metadata.month": "integer", "indexing_threshold": 7_000})
    assert [one.key for one in added] == ["payload_indexes.metadata.month"]


def test_the_server_is_told_that_the_field_separates_tenants() -> None:
    server = StandIn()
    with serving(server.respond) as url:
        for name, tenant in (("shared", "acme"), ("own", "")):
            opened = open_index(collection=name, embedded_path=None, url=url, tenant=tenant)
            with contextlib.closing(opened) as index:
                index.create(lineage=LINEAGES["acme"], pipeline=PIPELINE)
        assert server.keeping("shared").tenant_fields == {"tenant"}
        assert server.keeping("shared").fields["tenant"] == "keyword"
        assert "tenant" not in server.keeping("own").fields


# Two who make it at once, and one who dies meanwhile


class Dying(BaseException):
    """The end of a process."""


class CutShort:
    """A client that dies before its n-th request."""

    def __init__(self, client: QdrantClient, after: int) -> None:
        self._client = client
        self._left = after

    def __getattr__(self, name: str) -> Any:
        self._left -= 1
        if self._left == -1:
            raise Dying
        return getattr(self._client, name)


class Interrupted:
    """A server that does something before it looks at the n-th request, and once."""

    def __init__(self, after: int) -> None:
        self.server = StandIn()
        self.act: Callable[[], None] | None = None
        self._left = after

    def respond(self, request: Request) -> Answer:
        self._left -= 1
        if self._left == -1 and self.act is not None:
            self.act()
        return self.server.respond(request)

    @property
    def is_done(self) -> bool:
        return self._left > -1


@contextlib.contextmanager
def two_tenants(after: int) -> Iterator[tuple[Interrupted, Index, Index]]:
    """A server that is interrupted after so many requests, and the indexes of two tenants there."""
    server = Interrupted(after)
    with serving(server.respond) as url, contextlib.ExitStack() as stack:
        opened = [open_index(collection="docs", embedded_path=None, url=url, tenant=name) for name in LINEAGES]
        for index in opened:
            stack.callback(index.close)
        yield server, opened[0], opened[1]


@pytest.mark.parametrize("pipeline", [PIPELINE, "92ab"])
def test_of_two_who_make_it_at_once_both_join_or_one_is_refused(pipeline: str) -> None:
    for after in count():
        outcomes: list[str] = []

        def make(index: Index, tenant: str, pipeline: str, outcomes: list[str] = outcomes) -> None:
            try:
                index.create(lineage=LINEAGES[tenant], pipeline=pipeline)
            except ForeignIndexError as error:
                outcomes.append("refused" if "filled with the pipeline" in str(error) else str(error))
            else:
                outcomes.append(pipeline)

        with two_tenants(after) as (server, first, second):
            server.act = partial(make, second, "bond", pipeline)
            make(first, "acme", PIPELINE)
            if server.is_done:
                break
            assert [one.name for one in server.server.client.get_collections().collections] == ["docs"]
            info = second.describe()
        assert info is not None
        assert info.pipeline in outcomes
        assert sorted(outcomes) == sorted([PIPELINE, pipeline] if pipeline == PIPELINE else [info.pipeline, "refused"])
    assert after > 10


def test_a_creation_cut_short_before_any_of_its_requests_is_completed_by_another_tenant() -> None:
    for after in count():
        client = QdrantClient(":memory:")
        dying = ServerIndex(lambda c=client, n=after: CutShort(c, n), "docs", server="local", tenant="acme")  # type: ignore[misc]
        try:
            dying.create(lineage=LINEAGES["acme"], pipeline=PIPELINE)
        except Dying:
            pass
        else:
            break
        other = ServerIndex(lambda c=client: c, "docs", server="local", tenant="bond")  # type: ignore[misc]
        other.create(lineage=LINEAGES["bond"], pipeline=PIPELINE)
        info = other.describe()
        assert info is not None
        assert (info.pipeline, info.is_shared) == (PIPELINE, True)
    assert after > 10


def test_one_that_was_begun_with_another_pipeline_is_left_to_whoever_began_it() -> None:
    client = QdrantClient(":memory:")
    facts = {"format": "qloader.index/1", "shared": True, "pipeline": "92ab", "complete": False}
    sparse = {SPARSE_VECTOR: models.SparseVectorParams(modifier=models.Modifier.IDF)}
    client.create_collection("docs", {}, sparse, metadata={"qloader": facts})
    for tenant, message in (("acme", "filled with the pipeline 92ab"), ("", "belongs to several states")):
        index = ServerIndex(lambda: client, "docs", server="local", tenant=tenant)
        assert index.describe() is None
        with pytest.raises(ForeignIndexError, match=message):
            index.create(lineage=LINEAGES["acme"], pipeline=PIPELINE)
    assert client.get_collection("docs").config.metadata == {"qloader": facts}
