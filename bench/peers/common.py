"""What every tool of the comparison has in common: the chunks, the embedder with its counter, and a death on time.

Each script beside this one runs in an environment of its own as `python with_x.py update|dump DOCS STORE`. `update`
brings the index up to date with the folder, once, whatever was in it before, and prints the seconds of its own work,
imports not counted. `dump` prints what the index holds. Both print one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

DIM = 64
COLLECTION = "bench"
LOG, WRITES, DEATH = "PEERS_LOG", "PEERS_WRITES", "PEERS_DEATH"
"""Variables: a file that each call of the embedder adds its number of texts to; whether points written are counted
there as well; `embed:N` or `write:N`, when this process kills itself: with N texts embedded but not handed on, or with
N points just written."""


def vectors(texts: Iterable[str]) -> list[list[float]]:
    """A vector of 64 numbers for each text, by its hash alone; counted."""
    found = [[byte / 127.5 - 1 for byte in blake2b(text.encode(), digest_size=DIM).digest()] for text in texts]
    if found:
        _note("embed", len(found))
    return found


def wrote(points: int) -> None:
    """Says that so many points were just written."""
    _note("write", points)


_done = {"embed": 0, "write": 0}


def _note(kind: str, count: int) -> None:
    _done[kind] += count
    if log := os.environ.get(LOG):
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, f"{kind} {count}\n".encode())
        os.close(file)
    what, _, at = os.environ.get(DEATH, "").partition(":")
    if what == kind and _done[kind] >= int(at):
        os.kill(os.getpid(), signal.SIGKILL)


def normal_text(data: bytes, path: str) -> str:
    """A page as qloader reads it: without its front matter, in normal form."""
    from qloader.documents.reading import read_document

    document = read_document(path, data, path=path, revision="", uri="")
    return document.text  # type: ignore[union-attr]  # no page of the corpus is skipped


def chunks(text: str) -> list[str]:
    """The chunks of a page's text: qloader's own chunker, in every tool's hook for splitting."""
    return [chunk.text for chunk in _chunker().split(text, "markdown")]


@lru_cache(maxsize=1)
def _chunker():
    from qloader.chunking.chunker import Chunker

    return Chunker()


def local_client(store: Path, kind: type | None = None):
    """qdrant-client's local mode in a folder; where it is asked for, each point that it stores is counted."""
    from qdrant_client import QdrantClient
    from qdrant_client.local.persistence import CollectionPersistence

    persist = CollectionPersistence.persist

    def counted(self, point):
        persist(self, point)
        wrote(1)

    if os.environ.get(WRITES):  # else none of it is in the way of the clock
        CollectionPersistence.persist = counted
    return (kind or QdrantClient)(path=str(store / "qdrant"), force_disable_check_same_thread=True)


def make_collection(client) -> None:
    """A collection of cosines, unless it is there."""
    from qdrant_client import models

    if not client.collection_exists(COLLECTION):
        size = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
        client.create_collection(COLLECTION, vectors_config=size)


def local_points(store: Path) -> Iterator[dict]:
    """The payloads of all points in a folder of local mode."""
    from qdrant_client import QdrantClient

    client = QdrantClient(path=str(store / "qdrant"))
    offset = None
    while True:
        records, offset = client.scroll(COLLECTION, limit=5000, offset=offset, with_payload=True)
        yield from (record.payload or {} for record in records)
        if offset is None:
            break
    client.close()


def main(update: Callable[[Path, Path], None], dump: Callable[[Path, Path], Iterator[tuple[str, str]]]) -> None:
    """Runs a script's command: `update` or `dump`, which gives each point's document and text."""
    command, docs, store = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    store.mkdir(parents=True, exist_ok=True)
    if command == "dump":
        print(json.dumps(sorted(dump(docs, store))))
        return
    start = time.perf_counter()
    update(docs, store)
    print(json.dumps({"seconds": time.perf_counter() - start}))
