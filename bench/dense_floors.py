"""The floors of dense vectors and what is measured inside a process: `python bench/dense_floors.py NAME ARGUMENTS`."""

from __future__ import annotations

import sys


def model_time(config: str) -> None:
    """A first load with a CPU model; prints the seconds that the model itself took."""
    import cpu_model
    from qloader import Workspace

    workspace = Workspace.open(config)
    with workspace.temporary_plan() as result:
        workspace.apply(result.plan)
    print(cpu_model.clock.spent)


def cached_keys(path: str, vectors: str) -> None:
    """Fills an embedding cache with vectors of 384 numbers and looks some up, in batches as large as an apply's.

    Prints keys a second by qloader, by a bare SELECT of the same rows, and the bytes of the file.
    """
    import os
    import random
    import sqlite3
    import statistics
    import time
    from pathlib import Path

    import numpy as np

    from qloader.embedding.cache import EmbeddingCache

    count, batch, dim = int(vectors), 4_000, 384
    random_ = np.random.default_rng(1)
    keys: list[bytes] = []
    with EmbeddingCache.open(Path(path), max_bytes=10**12) as cache:
        for first in range(0, count, batch):
            some = [random_.bytes(16) for _ in range(min(batch, count - first))]
            cache.put_many(some, random_.standard_normal((len(some), dim)).astype(np.float32), model="bench/384")
            keys += some
    asked = random.Random(1).sample(keys, min(40_000, count))
    batches = [asked[first : first + batch] for first in range(0, len(asked), batch)]
    bare = sqlite3.connect(path)
    bare.execute("PRAGMA cache_size = -65536")
    marks = ",".join("?" * batch)
    question = f"SELECT e.key, v.data FROM entry e JOIN vector v ON v.id = e.vector WHERE e.key IN ({marks})"
    ours, floor = [], []
    with EmbeddingCache.open(Path(path), max_bytes=10**12) as cache:
        for some in batches:
            start = time.perf_counter()
            assert len(cache.get_many(some)) == len(some)
            middle = time.perf_counter()
            assert len(bare.execute(question, some).fetchall()) == len(some)
            ours.append(len(some) / (middle - start))
            floor.append(len(some) / (time.perf_counter() - middle))
    print(statistics.median(ours), statistics.median(floor), os.path.getsize(path))


def hybrid(config: str, questions: str) -> None:
    """Hybrid searches of an index that is open, one after the other; prints medians in ms.

    The first is that of a search without what the embedding of its question took, the second that of the engine alone
    with the same vectors: both rankings and their fusion, payloads included, no filter. Each is the first to ask every
    other question, since whoever is second finds all that it needs in the system's cache.
    """
    import random
    import statistics
    import time

    from qdrant_edge import Fusion, Prefetch, Query, QueryRequest
    from qdrant_edge import SparseVector as EdgeVector

    from corpus import WORDS
    from qloader import Workspace
    from qloader.index.protocol import DENSE_VECTOR, RRF_K, SPARSE_VECTOR
    from qloader.workspace.searching import DEPTH, LEAST_DEPTH, SearchRequest, open_searcher

    random_, limit = random.Random(1), 10
    asked = [" ".join(random_.choices(WORDS, k=random_.randint(2, 8))) for _ in range(int(questions))]
    settings = Workspace.open(config).settings
    whole, alone = [], []
    with open_searcher(settings, SearchRequest()) as searcher:
        embedders, index = searcher._embedders, searcher._index

        def search(text: str) -> None:
            start = time.perf_counter()
            embedders.embed_query(text, (SPARSE_VECTOR, DENSE_VECTOR))
            embedded = time.perf_counter()
            assert len(searcher.search(text, limit=limit)) == limit
            whole.append(time.perf_counter() - embedded - (embedded - start))

        for number, text in enumerate(asked):
            vectors = embedders.embed_query(text, (SPARSE_VECTOR, DENSE_VECTOR))  # and keeps it
            if number % 2:
                search(text)
            sparse = vectors[SPARSE_VECTOR]
            depth = max(DEPTH * limit, LEAST_DEPTH)
            request = QueryRequest(
                limit=limit,
                prefetches=[
                    Prefetch(limit=depth, query=Query.Nearest(EdgeVector(sparse.indices, sparse.values), using="bm25")),
                    Prefetch(limit=depth, query=Query.Nearest(list(vectors[DENSE_VECTOR]), using="dense")),
                ],
                query=Fusion.Rrf(k=RRF_K),
                with_payload=True,
            )
            start = time.perf_counter()
            assert index._opened().query(request)
            alone.append(time.perf_counter() - start)
            if not number % 2:
                search(text)
    print(statistics.median(whole) * 1000, statistics.median(alone) * 1000)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
