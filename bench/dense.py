"""Dense vectors: what qloader costs beside an embedder, what it embeds, and how fast it finds."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cpu_model
from corpus import edit_pages, write_corpus
from measure import Row, Run, run_process

HERE = Path(__file__).parent
FLOORS = str(HERE / "dense_floors.py")
PYTHON = sys.executable
QLOADER = str(Path(sys.executable).parent / "qloader")

LATENCY = 0.05
REQUESTS_A_MINUTE = 600
WORD_VECTORS = {"provider": "python", "model": "words", "function": "vectors:embed"}


def configure(base: Path, documents: int, dense: dict[str, Any], index: dict[str, Any] | None = None) -> Path:
    """A folder of documents with a config that embeds them; the config's path.

    Args:
        base: The folder.
        documents: How many are written; with 0 those that are there stay.
        dense: `embedding.dense`.
        index: `index`; an embedded one where None.
    """
    if documents:
        write_corpus(base / "docs", documents)
    config = {
        "name": "bench",
        "index": index or {},
        "state": {"path": ".qloader/state.db"},
        "guards": {"max_delete_percent": None},
        "sources": {"docs": {"type": "files", "path": "docs"}},
        "embedding": {"cache": {"path": ".qloader/embeddings.db"}, "dense": dense},
    }
    file = base / "qloader.yaml"
    new = file.with_suffix(".new")
    new.write_text(json.dumps(config))
    new.replace(file)
    return file


def run_in(base: Path, *command: str) -> Run:
    """Runs a command in a folder, with the modules of this one at hand."""
    return run_process(command, cwd=str(base), env={**os.environ, "PYTHONPATH": str(HERE)})


def texts_embedded(apply: Run) -> int:
    """What `apply --format json` says of it at its end."""
    return int(json.loads(apply.output.splitlines()[-1])["dense"]["texts"])


def rate_limit(base: Path, documents: int) -> Iterator[Row]:
    """A whole apply against a provider that takes 50 ms for an answer and so many requests a minute."""
    from servers.embeddings import KEY, MODEL, EmbeddingsModel, make_app
    from servers.serving import serve

    sent: list[float] = []

    class Timed(EmbeddingsModel):
        def refusal(self, *arguments: Any) -> Any:
            refusal = super().refusal(*arguments)
            if refusal is None:
                sent.append(time.perf_counter())
            return refusal

    allowed = REQUESTS_A_MINUTE / 60
    # Of any second, one more than that: requests evenly spaced do not arrive so.
    model = Timed(delay=LATENCY, requests_per_second=round(allowed) + 1)
    with serve(make_app(model)) as address:
        configure(base, documents, {
            "provider": "openai", "model": MODEL, "url": f"{address}/v1", "api_key": KEY, "batch": {"texts": 16},
            "limits": {"requests_per_minute": REQUESTS_A_MINUTE},
        })  # fmt: skip
        run = run_in(base, QLOADER, "apply", "--auto-approve")
    rate = (len(sent) - 1) / (sent[-1] - sent[0])
    yield Row(
        f"embedding of {len(model.texts):,} chunks by an apply, {len(sent):,} requests of {LATENCY * 1000:.0f} ms, "
        f"{model.refused:,} of them refused / the provider's limit",
        f"{rate:.2f} requests/s",
        f"{allowed:.2f} requests/s",
        rate / allowed,
        ">= 0.9 of the limit",
        rate / allowed >= 0.9,
        f"{run.memory:.0f} MB",
    )


def overhead(base: Path, documents: int) -> Iterator[Row]:
    """A first load with a model on this machine's cores, against the time in the model, by a clock around it."""
    file = configure(base, documents, {"provider": "python", "model": "cpu", "function": "cpu_model:embed"})
    run = run_in(base, PYTHON, FLOORS, "model_time", str(file))
    (floor,) = run.numbers()
    yield Row(
        f"first load of {documents:,} documents with a CPU model ({cpu_model.NAME}) / the time in the model",
        f"{run.seconds:.1f} s",
        f"{floor:.1f} s",
        run.seconds / floor,
        "<= 1.05x",
        run.seconds / floor <= 1.05,
        f"{run.memory:.0f} MB",
    )


def edit(base: Path, documents: int) -> Iterator[Row]:
    """One percent of the documents edited, a paragraph in each."""
    configure(base, documents, WORD_VECTORS)
    run_in(base, QLOADER, "apply", "--auto-approve")
    random_, changed = random.Random(2), documents // 100
    edit_pages(random_.sample(sorted((base / "docs").rglob("*.md")), changed), random_)
    run = run_in(base, QLOADER, "apply", "--auto-approve", "--format", "json")
    embedded = texts_embedded(run)
    yield Row(
        f"texts embedded after an edit of 1 % of {documents:,} documents / paragraphs reworded, put in or taken out",
        f"{embedded:,}", f"{changed:,}", embedded / changed, "<= 1.2x", embedded / changed <= 1.2,
        f"{run.memory:.0f} MB",
    )  # fmt: skip


def hybrid_search(base: Path, documents: int) -> Iterator[Row]:
    """Searches by words and meaning together, one after the other."""
    file = configure(base, documents, WORD_VECTORS)
    chunks = texts_embedded(run_in(base, QLOADER, "apply", "--auto-approve", "--format", "json"))
    for optimized in ("", ", after `qloader optimize`"):
        if optimized:
            run_in(base, QLOADER, "optimize")
        run = run_in(base, PYTHON, FLOORS, "hybrid", str(file), "200")
        ours, floor = run.numbers()
        yield Row(
            f"hybrid search of {chunks:,} chunks, embedded, 384 numbers, after the question's embedding{optimized} "
            "/ the engine alone",
            f"{ours:.2f} ms", f"{floor:.2f} ms", ours / floor, "p50 < 10 ms", ours < 10, f"{run.memory:.0f} MB",
        )  # fmt: skip


def cached_keys(base: Path, documents: int) -> Iterator[Row]:
    """Looks texts up in a cache of so many vectors, against a bare SELECT of the same rows."""
    base.mkdir(parents=True, exist_ok=True)
    run = run_in(base, PYTHON, FLOORS, "cached_keys", str(base / "embeddings.db"), str(documents))
    ours, floor, size = run.numbers()
    limit = documents * 1000
    yield Row(
        f"embedding cache of {documents:,} vectors of 384 in float16, {size / 1e6:,.0f} MB: looking 4,000 up at a time "
        "/ a bare SELECT of them",
        f"{ours:,.0f} keys/s", f"{floor:,.0f} keys/s", ours / floor,
        f">= 100,000 keys/s, < {limit / 1e6:,.0f} MB", ours >= 100_000 and size < limit, f"{run.memory:.0f} MB",
    )  # fmt: skip
