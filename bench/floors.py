"""The floors: the least that each job can cost, as small programs: `python bench/floors.py NAME ARGUMENTS`."""

from __future__ import annotations

import os
import sys


def imports(names: str) -> None:
    """Imports modules and nothing else."""
    import importlib

    for name in names.split(","):
        importlib.import_module(name)


def walk(folder: str, names: str = "") -> None:
    """A plain os.scandir walk with a stat of each file."""
    if names:
        imports(names)
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)


def _files(folder: str):
    for root, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(root, name)


def hash_files(folder: str) -> None:
    """Reads and hashes each file, as `find | xargs xxhsum` does."""
    from xxhash import xxh3_128_digest

    for path in _files(folder):
        with open(path, "rb") as file:
            xxh3_128_digest(file.read())


def load_library(folder: str) -> None:
    """Reads, hashes and chunks with semantic-text-splitter alone."""
    from semantic_text_splitter import MarkdownSplitter
    from xxhash import xxh3_128_digest

    splitter = MarkdownSplitter(1200)
    for path in _files(folder):
        with open(path, "rb") as file:
            data = file.read()
        xxh3_128_digest(data)
        for chunk in splitter.chunks(data.decode()):
            xxh3_128_digest(chunk.encode())


def load_ours(folder: str) -> None:
    """Reads, hashes and chunks with qloader's own chunker, and nothing else of qloader."""
    from xxhash import xxh3_128_digest

    from qloader.chunking.chunker import Chunker

    chunker = Chunker()
    for path in _files(folder):
        with open(path, "rb") as file:
            data = file.read()
        xxh3_128_digest(data)
        for chunk in chunker.split(data.decode(), "markdown"):
            xxh3_128_digest(chunk.text.encode())


def join(cache: str, state: str) -> None:
    """The bare DuckDB join of two SQLite files."""
    from pathlib import Path

    import duckdb
    import duckdb_extension_sqlite_scanner

    package = Path(duckdb_extension_sqlite_scanner.__file__).parent
    extension = package / "extensions" / f"v{duckdb.__version__}" / "sqlite_scanner.duckdb_extension"
    connection = duckdb.connect(config={"threads": 2, "memory_limit": "512MB"})
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH '{Path(cache)}' AS cache (TYPE sqlite, READ_ONLY)")
    connection.execute(f"ATTACH '{Path(state)}' AS state (TYPE sqlite, READ_ONLY)")
    connection.execute(
        "SELECT count(*) FROM cache.entry m FULL OUTER JOIN state.document a ON m.id = a.id "
        "WHERE m.content IS DISTINCT FROM a.content OR m.metadata IS DISTINCT FROM a.metadata"
    ).fetchall()


def million(cache: str, state: str, documents: str) -> None:
    """Writes a cache and a state of so many documents, 2,000 of them different."""
    import sqlite3
    from pathlib import Path

    from xxhash import xxh3_128_digest

    from qloader.manifest.cache import Cache
    from qloader.state.store import StateStore

    count = int(documents)
    ids = [f"section-{n // 100:05}/page-{n:07}.md" for n in range(count)]
    step = max(count // 2_000, 1)
    with Cache.open(Path(cache)) as opened, opened.transaction() as connection:
        connection.executemany(
            "INSERT INTO entry (source, id, token, content, metadata, revision, bytes, chunks) "
            "VALUES ('docs', ?, 't', ?, ?, 'r', 6000, ?)",
            ((i, xxh3_128_digest(f"{i}{n % step == 0}".encode()), b"m" * 16, b"c" * 40) for n, i in enumerate(ids)),
        )
    with StateStore.write(Path(state)) as store:
        store.lock()
        store.begin_run(
            plan="", name="bench", collection="bench", location="embedded:index", pipeline="p", pipeline_settings={},
            sources={"docs": ("files", "")},
        )  # fmt: skip
    connection = sqlite3.connect(state)
    with connection:
        connection.executemany(
            "INSERT INTO document (source_id, id, content, metadata, pipeline_id, bytes, last_ingested, created_at, "
            "updated_at, revision, chunks) VALUES (1, ?, ?, ?, 1, 6000, 0, 0, 0, 'r', ?)",
            ((i, xxh3_128_digest(f"{i}False".encode()), b"m" * 16, b"c" * 32) for i in ids),
        )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def diff(cache: str, state: str) -> None:
    """qloader's diff and planner, changes counted and thrown away."""
    from pathlib import Path

    from qloader.manifest.cache import Cache
    from qloader.planning.diff import Scope, find_differences
    from qloader.planning.planner import Rules, plan_changes

    with Cache.open(Path(cache)) as opened:
        scope = Scope({"docs": True}, frozenset({"docs"}), (), "p")
        differences = find_differences(opened.connection, opened.path, Path(state), scope)
        count = sum(1 for _ in plan_changes(differences, Rules("p", frozenset({"p"}))))
    assert count >= 2_000, count


def dump(config: str, target: str) -> None:
    """Every point of a workspace's index, in a file."""
    import contextlib
    import pickle

    from qloader import Workspace

    workspace = Workspace.open(config)
    header = workspace.status().header
    assert header is not None
    with contextlib.closing(workspace.settings.open_index()) as index, open(target, "wb") as file:
        points = [
            (p.id, p.payload, {n: (list(v.indices), list(v.values)) for n, v in p.vectors.items()})
            for p in index.scroll(lineage=header.lineage, with_vectors=True)
        ]
        pickle.dump(points, file)


def upsert(source: str, target: str) -> None:
    """A bare qdrant-edge loop over these points; writes the seconds that it took and the number of points."""
    import pickle
    import time
    from pathlib import Path

    from qdrant_edge import (
        EdgeConfig,
        EdgeShard,
        EdgeSparseVectorParams,
        Modifier,
        PayloadSchemaType,
        Point,
        SparseVector,
        UpdateOperation,
    )

    from qloader.index.protocol import PAYLOAD_INDEXES

    with open(source, "rb") as file:
        points = pickle.load(file)
    folder = Path(target)
    folder.mkdir()
    start = time.perf_counter()
    config = EdgeConfig(sparse_vectors={"bm25": EdgeSparseVectorParams(modifier=Modifier.Idf)})
    shard = EdgeShard.create(str(folder / "shard"), config)
    for name in PAYLOAD_INDEXES:
        shard.update(UpdateOperation.create_field_index(name, PayloadSchemaType.Keyword))
    for at in range(0, len(points), 1000):
        batch = [Point(i, {n: SparseVector(*v) for n, v in vectors.items()}, payload)
                 for i, payload, vectors in points[at : at + 1000]]  # fmt: skip
        shard.update(UpdateOperation.upsert_points(batch))
    shard.flush()
    shard.close()
    (folder / "seconds").write_text(f"{time.perf_counter() - start} {len(points)}")


def scroll(config: str) -> None:
    """Reads every payload of a workspace's embedded index, and nothing else; prints points a second."""
    import time

    from qdrant_edge import EdgeShard, ScrollRequest

    from qloader import Workspace

    settings = Workspace.open(config).settings
    assert settings.embedded_path is not None
    shard = EdgeShard.load(str(settings.embedded_path / settings.collection / "shard"))
    start, count, offset = time.perf_counter(), 0, None
    while True:
        records, offset = shard.scroll(ScrollRequest(offset=offset, limit=5000, with_payload=True))
        for record in records:
            count += record.payload is not None
        if offset is None:
            break
    print(count / (time.perf_counter() - start))


def protocol(config: str) -> None:
    """A first load with a clock around intents and commits; prints its seconds, and those of the two."""
    import time

    from qloader import Workspace
    from qloader.state.store import StateStore

    spent = 0.0

    def clocked(call):
        def timed(*arguments, **named):
            nonlocal spent
            start = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                spent += time.perf_counter() - start

        return timed

    for name in ("record_intents", "commit_batch"):
        setattr(StateStore, name, clocked(getattr(StateStore, name)))
    workspace = Workspace.open(config)
    plan = workspace.plan()
    start = time.perf_counter()
    workspace.apply(plan)
    print(time.perf_counter() - start, spent)


def counted_apply(config: str, plan: str, log: str) -> None:
    """An apply that writes down, at once, how many texts it embeds."""
    from qloader import Workspace
    from qloader.embedding.bm25 import Bm25Embedder

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    embed = Bm25Embedder.embed_documents

    def counted(self, texts):
        os.write(file, b"%d\n" % len(texts))
        return embed(self, texts)

    Bm25Embedder.embed_documents = counted
    workspace = Workspace.open(config)
    workspace.apply(workspace.read_plan(plan))


def commits(path: str, documents: str) -> None:
    """A state of so many documents in batches of 256; prints the median commit in ms, and bytes a document."""
    import statistics
    import time
    from pathlib import Path

    from xxhash import xxh3_128_digest

    from qloader.state.records import DocumentRecord
    from qloader.state.store import StateStore

    times = []
    with StateStore.write(Path(path)) as store:
        store.lock()
        run = store.begin_run(
            plan="", name="bench", collection="bench", location="embedded:index", pipeline="p", pipeline_settings={},
            sources={"docs": ("files", "")},
        )  # fmt: skip
        for first in range(0, int(documents), 256):
            batch = []
            for n in range(first, min(first + 256, int(documents))):
                name = f"section-{n // 100:05}/page-{n:07}.md"
                hashes = [xxh3_128_digest(f"{name}{part}".encode()) for part in range(6)]
                batch.append(
                    DocumentRecord(
                        source="docs", id=name, content=hashes[0], metadata=hashes[1], revision=hashes[0].hex()[:40],
                        size=6000, chunks=tuple(hashes[2:]), pipeline="p", last_updated=1_700_000_000,
                    )
                )  # fmt: skip
            start = time.perf_counter()
            store.commit_batch(run, written=batch)
            times.append(time.perf_counter() - start)
    print(statistics.median(times) * 1000, os.path.getsize(path) / int(documents))


def appends(path: str, size: str) -> None:
    """Appends so many bytes and syncs them, 200 times; prints the median in ms."""
    import statistics
    import time

    data, times = b"x" * int(size), []
    with open(path, "wb", buffering=0) as file:
        for _ in range(200):
            start = time.perf_counter()
            file.write(data)
            os.fsync(file.fileno())
            times.append(time.perf_counter() - start)
    print(statistics.median(times) * 1000)


def requests(source: str, parallel: str) -> None:
    """Sends the requests of a file again, so many at a time, by bare httpx; the answers are thrown away."""
    import json
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    with open(source) as file:
        site, user, token, sent = json.load(file)
    with httpx.Client(auth=(user, token), timeout=30) as client, ThreadPoolExecutor(int(parallel)) as pool:

        def send(request):
            method, _, path = request[0].partition(" ")
            headers = {"content-type": "application/json"} if request[1] else {}
            client.request(method, site + path, content=request[1], headers=headers).raise_for_status()

        list(pool.map(send, sent))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
