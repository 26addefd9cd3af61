"""The engines that the contract suite runs on."""

from __future__ import annotations

import contextlib
import os
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdrant_client import QdrantClient, models
from qdrant_edge import (
    EdgeConfig,
    EdgeShard,
    EdgeSparseVectorParams,
    Modifier,
    UpdateOperation,
)
from qdrant_edge import Point as EdgePoint
from qdrant_edge import SparseVector as EdgeVector

from qloader.index.embedded import EmbeddedIndex
from qloader.index.marker import SHARD
from qloader.index.open import open_index
from qloader.index.protocol import Index
from qloader.index.server import METADATA, ServerIndex
from support.qdrant_loopback import StandIn, serving

COLLECTION = "docs"
FOREIGN_POINT = str(uuid.UUID(int=1))

URL = os.environ.get("QLOADER_TEST_QDRANT_URL")
"""A real server, for the suite to run on it as well: by REST, and by gRPC on port 6334 of the same host."""
API_KEY = os.environ.get("QLOADER_TEST_QDRANT_API_KEY")

ENGINES = ["embedded", "local", "http"] + (["server-rest", "server-grpc"] if URL else [])
SERVERS = [name for name in ENGINES if name not in ("embedded", "local")]
"""Those that several may use at once."""


@dataclass
class Engine:
    """One implementation, and what happens to its collections behind its back.

    Attributes:
        connect: Opens the collection, once more each time, or one beside it by its own name; only one index of each
            may be open, but on a server, where it may be opened for a tenant too.
        make_theirs: Makes the collection as somebody else would, with one point and no word of qloader.
        cut_short: Makes the collection and leaves it as a creation does that was cut short.
        make_unlike: Makes a collection that says that it is the lineage's, with other vectors than ours.
    """

    connect: Callable[..., Index]
    make_theirs: Callable[[], None]
    cut_short: Callable[[str], None]
    make_unlike: Callable[[str], None]
    opened: list[Index] = field(default_factory=list)

    def open(self, name: str | None = None, **options: Any) -> Index:
        index = self.connect(**options) if name is None else self.connect(name, **options)
        self.opened.append(index)
        return index


@contextlib.contextmanager
def making_engine(name: str, folder: Path) -> Iterator[Engine]:
    """Makes an engine by name, with no collection in it."""
    engines: dict[str, Callable[[Path], AbstractContextManager[Engine]]] = {
        "embedded": _embedded,
        "local": _local,
        "http": _http,
        "server-rest": lambda _: _server(prefer_grpc=False),
        "server-grpc": lambda _: _server(prefer_grpc=True),
    }
    with warnings.catch_warnings():
        # The local mode searches without payload indexes, and says so.
        warnings.filterwarnings("ignore", "Payload indexes have no effect")
        with engines[name](folder) as engine:
            yield engine
            for index in engine.opened:
                index.close()


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[Engine]:
    path = folder / "index"

    def make_theirs() -> None:
        make_shard(path / COLLECTION / SHARD, points=1)

    def cut_short(_: str) -> None:
        make_shard(path / COLLECTION / SHARD)

    def make_unlike(lineage: str) -> None:
        with contextlib.closing(EmbeddedIndex(path, COLLECTION)) as index:
            index.create(lineage=lineage, pipeline="p")
        (path / COLLECTION / SHARD).rename(path / "gone")
        make_shard(path / COLLECTION / SHARD, vector="other")

    def connect(name: str | None = None) -> Index:
        return EmbeddedIndex(path, name or COLLECTION, is_itself=name is not None)

    yield Engine(connect, make_theirs, cut_short, make_unlike)


@contextlib.contextmanager
def _local(folder: Path) -> Iterator[Engine]:
    def make_client() -> QdrantClient:
        return QdrantClient(path=str(folder / "qdrant"))

    def connect(name: str | None = None) -> Index:
        return ServerIndex(make_client, name or COLLECTION, server="local", is_itself=name is not None)

    yield _client_engine(connect, make_client, COLLECTION)


@contextlib.contextmanager
def _http(_: Path) -> Iterator[Engine]:
    # A name that has to be quoted on its way into a URL.
    collection = "dócs & more"
    with serving(StandIn().respond) as url:
        yield _server_engine(url, collection)


@contextlib.contextmanager
def _server(*, prefer_grpc: bool) -> Iterator[Engine]:
    assert URL
    engine = _server_engine(URL, f"qloader-test-{uuid.uuid4().hex}", api_key=API_KEY, prefer_grpc=prefer_grpc)
    try:
        yield engine
    finally:
        with contextlib.closing(engine.connect()) as index:
            relatives = index.relatives()
        for name in relatives:
            with contextlib.closing(engine.connect(name)) as index:
                index.drop()


def _server_engine(url: str, collection: str, **options: Any) -> Engine:
    def connect(name: str | None = None, **more: Any) -> Index:
        is_itself = name is not None
        return open_index(
            collection=name or collection, embedded_path=None, url=url, is_itself=is_itself, **options, **more
        )

    def make_client() -> QdrantClient:
        key = options.get("api_key")
        headers = {"api-key": key} if key else None
        return QdrantClient(url=url, headers=headers, check_compatibility=False, timeout=300)

    return _client_engine(connect, make_client, collection)


def _client_engine(connect: Callable[..., Index], make_client: Callable[[], QdrantClient], collection: str) -> Engine:
    def make(*, vector: str = "bm25", metadata: dict[str, Any] | None = None, points: int = 0) -> None:
        with contextlib.closing(make_client()) as client:
            sparse = {vector: models.SparseVectorParams(modifier=models.Modifier.IDF)}
            client.create_collection(collection, {}, sparse, metadata=metadata)
            if points:
                values = {vector: models.SparseVector(indices=[7], values=[1.0])}
                client.upsert(
                    collection, [models.PointStruct(id=FOREIGN_POINT, vector=values, payload={"text": "hers"})]
                )

    def facts(lineage: str, *, complete: bool) -> dict[str, Any]:
        return {METADATA: {"format": "qloader.index/1", "lineage": lineage, "pipeline": "p", "complete": complete}}

    return Engine(
        connect,
        make_theirs=lambda: make(points=1),
        cut_short=lambda lineage: make(metadata=facts(lineage, complete=False)),
        make_unlike=lambda lineage: make(vector="other", metadata=facts(lineage, complete=True)),
    )


def make_shard(
    folder: Path, *, vector: str = "bm25", points: int = 0, modifier: Modifier | None = Modifier.Idf
) -> None:
    """An engine's folder, made without qloader."""
    folder.mkdir(parents=True)
    shard = EdgeShard.create(
        str(folder), EdgeConfig(sparse_vectors={vector: EdgeSparseVectorParams(modifier=modifier)})
    )
    if points:
        point = EdgePoint(FOREIGN_POINT, {vector: EdgeVector([7], [1.0])}, {"text": "hers"})
        shard.update(UpdateOperation.upsert_points([point]))
    shard.flush()
    shard.close()
