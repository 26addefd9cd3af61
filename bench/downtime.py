"""Searches while the model of an index is changed: by one process, 50 a second, while another one applies the change.

`python bench/downtime.py search CONFIG` is the former: it searches until its input ends, then prints what came of it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

from dense import PYTHON, QLOADER, configure, run_in, texts_embedded
from measure import Row

A_SECOND = 50
SEARCHERS = 8
"""Threads that search, so that one that waits keeps no other from being sent in time."""

AROUND = 2.0
"""Seconds of searches before the apply and after it."""

MODELS = ("words-32", "words-48")


def downtime(base: Path, documents: int) -> Iterator[Row]:
    """A changed model, applied while the index is searched: an embedded one, and one on a stand-in for a server."""
    with _served("provider") as provider, _served("qdrant") as server:
        yield _searched(base / "embedded", documents, provider, "embedded", {})
        yield _searched(base / "server", documents // 20, provider, "on a stand-in for a server", {"url": server})


@contextlib.contextmanager
def _served(what: str) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [PYTHON, __file__, "serve", what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def serve_it(what: str) -> None:
    """Serves a provider of vectors, or a stand-in for Qdrant, until the input ends; prints its address."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from servers.embeddings import EmbeddingsModel, make_app
    from servers.serving import serve
    from support.qdrant_loopback import StandIn, serving

    model = EmbeddingsModel(others={MODELS[1]: 48})
    with serve(make_app(model)) if what == "provider" else serving(StandIn().respond) as address:
        print(address, flush=True)
        sys.stdin.read()


def _searched(base: Path, documents: int, provider: str, where: str, index: dict[str, Any]) -> Row:
    from servers.embeddings import KEY

    def dense(model: str) -> dict[str, Any]:
        return {"provider": "openai", "model": model, "url": f"{provider}/v1", "api_key": KEY}

    file = configure(base, documents, dense(MODELS[0]), index)
    run_in(base, QLOADER, "apply", "--auto-approve")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [PYTHON, __file__, "search", str(file)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as searching:
        assert searching.stdin is not None
        assert searching.stdout is not None
        searching.stdout.readline()  # it has begun
        time.sleep(AROUND)
        configure(base, 0, dense(MODELS[1]), index)
        run = run_in(base, QLOADER, "apply", "--auto-approve", "--format", "json")
        time.sleep(AROUND)
        searching.stdin.close()
        sent, failed, empty, p50, p99 = (float(part) for part in searching.stdout.read().split("\n")[-2].split())
    bad = failed + empty
    return Row(
        f"searches {where} while a changed model is applied to {texts_embedded(run):,} chunks, {A_SECOND} a second, "
        "throughout: failed or empty / none",
        f"{bad:.0f} of {sent:,.0f}; p50 {p50:.0f} ms, p99 {p99:.0f} ms", "0", bad / sent, "0", not bad,
        f"{run.memory:.0f} MB",
    )  # fmt: skip


def search_throughout(config: str) -> None:
    """Searches until the input ends; each is begun in its time, whatever the ones before it are doing.

    Every other one by a config that was opened before all, as a service does, and every other by one opened anew, as a
    command does. Prints how many were sent, failed, and found nothing, and the median and the 99th percentile of how
    long they took from when they were to be sent, in ms.
    """
    import queue
    import random
    import statistics

    from corpus import WORDS
    from qloader import Workspace
    from qloader.errors import QloaderError

    service = Workspace.open(config)
    random_ = random.Random(1)
    due: queue.SimpleQueue[tuple[int, float, str] | None] = queue.SimpleQueue()
    took: list[float] = []
    failed: list[str] = []
    empty: list[str] = []

    def search() -> None:
        while (asked := due.get()) is not None:
            number, moment, text = asked
            try:
                workspace = service if number % 2 else Workspace.open(config)
                if not workspace.search(text):
                    empty.append(text)
            except QloaderError as error:
                failed.append(f"{error} {error.remedy}")
            took.append(time.perf_counter() - moment)

    service.search(random_.choice(WORDS))
    searchers = [Thread(target=search) for _ in range(SEARCHERS)]
    for searcher in searchers:
        searcher.start()
    print("begun", flush=True)
    ended: list[str] = []
    Thread(target=lambda: ended.append(sys.stdin.read()), daemon=True).start()
    begin, sent = time.perf_counter(), 0
    while not ended:
        due.put((sent, time.perf_counter(), " ".join(random_.choices(WORDS, k=4))))
        sent += 1
        with contextlib.suppress(ValueError):  # late
            time.sleep(begin + sent / A_SECOND - time.perf_counter())
    for _ in searchers:
        due.put(None)
    for searcher in searchers:
        searcher.join()
    for error in failed[:10]:
        print(error, file=sys.stderr)
    in_order = statistics.quantiles(took, n=100)
    print(sent, len(failed), len(empty), in_order[49] * 1000, in_order[98] * 1000)


if __name__ == "__main__":
    {"search": search_throughout, "serve": serve_it}[sys.argv[1]](sys.argv[2])
