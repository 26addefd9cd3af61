"""The floor of a first load in local mode: read, chunk, embed and upsert, and no state to keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import common
from qdrant_client.models import PointStruct

BATCH = 1000


def update(docs: Path, store: Path) -> None:
    client = common.local_client(store)
    common.make_collection(client)
    waiting: list[tuple[str, str]] = []
    for path in sorted(docs.rglob("*.md")):
        text = common.normal_text(path.read_bytes(), str(path))
        waiting += [(str(path.relative_to(docs)), chunk) for chunk in common.chunks(text)]
        if len(waiting) >= BATCH:
            _write(client, waiting)
            waiting = []
    if waiting:
        _write(client, waiting)
    client.close()


def _write(client, pieces: list[tuple[str, str]]) -> None:
    vectors = common.vectors(text for _, text in pieces)
    points = [
        PointStruct(
            id=str(uuid5(NAMESPACE_URL, f"{path}\0{text}")), vector=vector, payload={"source": path, "text": text}
        )
        for (path, text), vector in zip(pieces, vectors, strict=True)
    ]
    client.upsert(common.COLLECTION, points)


def dump(docs: Path, store: Path) -> Iterator[tuple[str, str]]:
    for payload in common.local_points(store):
        yield payload["source"], payload["text"]


if __name__ == "__main__":
    common.main(update, dump)
