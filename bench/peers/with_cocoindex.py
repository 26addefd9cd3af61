"""CocoIndex 1: an app that walks a folder into its Qdrant target; its state lies in LMDB, no Postgres is needed.

As in its example for Qdrant; the vectors of texts are memoised as well, so that an edit embeds only what is new. Its
target writes from several threads, which local mode does not bear: a lock lets one in at a time.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common

os.environ["COCOINDEX_DB"] = str(Path(sys.argv[3]) / "cocoindex.db")

import cocoindex as coco
import numpy as np
from cocoindex.connectors import localfs, qdrant
from cocoindex.resources.file import FileLike, PatternFilePathMatcher
from cocoindex.resources.id import UuidGenerator
from cocoindex.resources.schema import VectorSchema
from qdrant_client import QdrantClient

BATCH = 1000
QDRANT = coco.ContextKey[QdrantClient]("qdrant")


class OneAtATime(QdrantClient):
    """A client whose writes wait for each other."""

    _one = threading.Lock()

    def upsert(self, *arguments: Any, **named: Any) -> Any:
        with self._one:
            return super().upsert(*arguments, **named)

    def delete(self, *arguments: Any, **named: Any) -> Any:
        with self._one:
            return super().delete(*arguments, **named)


@coco.fn.as_async(batching=True, max_batch_size=BATCH, memo=True)
def embed(texts: list[str]) -> list[list[float]]:
    return common.vectors(texts)


@coco.fn
async def process_chunk(text: str, path: str, ids: UuidGenerator, target: qdrant.CollectionTarget) -> None:
    vector = await embed(text)
    target.declare_point(
        qdrant.PointStruct(id=str(ids.next_uuid(text)), vector=vector, payload={"filename": path, "text": text})
    )


@coco.fn(memo=True)
async def process_file(file: FileLike, target: qdrant.CollectionTarget) -> None:
    path = str(file.file_path.path)
    pieces = common.chunks(common.normal_text(await file.read(), path))
    await coco.map(process_chunk, pieces, path, UuidGenerator(path), target)


@coco.fn
async def app_main(docs: Path) -> None:
    schema = await qdrant.CollectionSchema.create(
        vectors=qdrant.QdrantVectorDef(schema=VectorSchema(dtype=np.dtype(np.float32), size=common.DIM))
    )
    target = await qdrant.mount_collection_target(QDRANT, common.COLLECTION, schema)
    files = localfs.walk_dir(docs, recursive=True, path_matcher=PatternFilePathMatcher(included_patterns=["**/*.md"]))
    await coco.mount_each(process_file, files.items(), target)


def update(docs: Path, store: Path) -> None:
    client = common.local_client(store, OneAtATime)

    @coco.lifespan
    def provided(builder: coco.EnvironmentBuilder) -> Iterator[None]:
        builder.provide(QDRANT, client)
        yield

    coco.App(coco.AppConfig(name="bench"), app_main, docs=docs).update_blocking()
    client.close()


def dump(docs: Path, store: Path) -> Iterator[tuple[str, str]]:
    for payload in common.local_points(store):
        path = Path(payload["filename"])
        yield str(path.relative_to(docs) if path.is_absolute() else path), payload["text"]


if __name__ == "__main__":
    common.main(update, dump)
