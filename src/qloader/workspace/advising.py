"""Where the time of a run went, and what of the config would change that: for the last lines of a long apply."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from qloader.applying.pacing import LEAST
from qloader.config.models import Config
from qloader.counting import counted
from qloader.telemetry.measured import Measured
from qloader.telemetry.recorder import WAITS

LONG = 10.0
"""Seconds from which on it matters where they went."""

NAMED, WORTH_NAMING = 4, 0.05
"""How many stages are named at most, and from what part of the time on."""

LEADS = 0.5
"""From what part of the time on a stage is what a change has to begin with."""

HOLDS_UP = 0.3
"""The same for time in which nothing is done."""

WORTH_OPTIMIZING = 20_000
"""Chunks that were embedded from which on a search by meaning notices that it is compared with each of them."""

_WORDS: Mapping[str, str] = {
    "snapshot": "looking at sources",
    "compare": "comparing",
    "fetch": "reading documents",
    "chunk": "cutting texts",
    "embed": "embedding",
    "write": "writing to the index",
    "commit": "writing the state",
    "limit": "waiting until the embedder may be asked",
    "retry": "waiting to send requests again",
}


def advise(measured: Measured, config: Config) -> tuple[str, ...]:
    """Where the time went, and what to change, a sentence each; nothing of a run that was over soon.

    Args:
        measured: The run.
        config: What it was run with.
    """
    if measured.seconds < LONG:
        return ()
    shares = {stage: measured.share(stage) for stage in measured.stages() if stage in _WORDS}
    named = [(stage, share) for stage, share in sorted(shares.items(), key=lambda item: -item[1])]
    parts = [f"{share:.0%} {_WORDS[stage]}" for stage, share in named[:NAMED] if share >= WORTH_NAMING]
    if not parts:
        return ()
    aside = ", in part side by side" if sum(share for stage, share in named if stage not in WAITS) > 1.05 else ""
    where = f"Of {measured.seconds:,.0f} s: {', '.join(parts)}{aside}."
    return (where, *_about_memory(measured), *_changes(measured, config, shares), *_afterwards(measured, config))


def _changes(measured: Measured, config: Config, shares: Mapping[str, float]) -> Iterator[str]:
    """What to change first, if anything."""
    if shares.get("limit", 0.0) >= HOLDS_UP:
        yield _about_limits(config)
        return
    if shares.get("retry", 0.0) >= HOLDS_UP:
        yield (
            f"{measured.count('retries'):,} requests failed in passing and were sent again: see to the server or the "
            "provider that they went to, or to the network."
        )
        return
    stage = max((s for s in shares if s not in WAITS), key=lambda s: shares[s], default="")
    if not stage or shares[stage] < LEADS:
        if measured.share("wait") >= LEADS:  # for documents that other processes read and cut
            yield from _about_processes(config)
        return
    if stage in ("fetch", "chunk", "embed") and config.embedding.dense is None and measured.count("helper_documents"):
        yield from _about_processes(config)
    elif stage == "embed":
        yield from _about_embedding(config)
    elif stage in ("snapshot", "fetch"):
        yield from _about_sources(measured, config, stage)
    elif stage == "write":
        yield from _about_index(measured, config)
    elif stage == "commit" and config.ingestion.batch.size < 256:
        yield f"Raise ingestion.batch.size ({config.ingestion.batch.size}): each batch is committed by itself."


def _afterwards(measured: Measured, config: Config) -> Iterator[str]:
    """What makes searches faster, now that so much was written."""
    is_dense = config.embedding.dense is not None
    if config.index.is_embedded and is_dense and measured.count("embeds") >= WORTH_OPTIMIZING:
        yield "Searches are faster after a `qloader optimize`, which takes about a minute for 100,000 chunks."


def _about_memory(measured: Measured) -> Iterator[str]:
    """Whether the apply had to make do with less than it would have used."""
    pace = measured.levels.get("pace")
    if pace is None or pace.least >= 1:
        return
    pauses = measured.count("pauses")
    paused = f" and nothing was prepared ahead {counted(pauses, 'time')}" if pauses else ""
    least = f"batches went down to {max(pace.least, LEAST):.0%} of their size"
    yield f"Memory was short: {least}{paused}. Raise resources.memory.max_percentage, or give it more memory."


def _about_limits(config: Config) -> str:
    dense = config.embedding.dense
    limits = None if dense is None else dense.limits
    if limits is not None and (limits.requests_per_minute or limits.tokens_per_minute):
        return "Raise embedding.dense.limits, if your account allows more."
    return "The provider said that it is asked too often: it sets the pace, unless your account is raised."


def _about_embedding(config: Config) -> Iterator[str]:
    dense = config.embedding.dense
    if dense is None:
        return
    from qloader.config.embedders import LocalDense

    if isinstance(dense, LocalDense):
        yield f"The model {dense.model} sets the pace on this machine: a GPU or a smaller model is faster."
    elif dense.parallel < 64:
        yield f"Raise embedding.dense.parallel ({dense.parallel}), if the provider bears more requests at a time."


def _about_sources(measured: Measured, config: Config, stage: str) -> Iterator[str]:
    totals = {source: histogram.total for (of, source), histogram in measured.spans.items() if of == stage and source}
    name = max(totals, key=lambda source: totals[source], default="")
    source = config.sources.get(name)
    if source is None:
        return
    parallel, rate = getattr(source, "parallel", None), getattr(source, "rate", None)
    if parallel is not None:
        paced = f" and sources.{name}.rate ({rate:g} requests a second)" if rate else ""
        yield f"Raise sources.{name}.parallel ({parallel}){paced}, if its server bears more."
    else:
        yield from _about_processes(config)


def _about_processes(config: Config) -> Iterator[str]:
    workers = config.ingestion.parallel.max_workers
    if workers < (os.cpu_count() or 1):
        yield f"Raise ingestion.parallel.max_workers ({workers})."


def _about_index(measured: Measured, config: Config) -> Iterator[str]:
    index = config.index
    if index.is_embedded:
        return
    if not index.prefer_grpc:
        yield "Set index.prefer_grpc: true, which takes a load in less time where the server's gRPC port is open."
    elif index.settings.bulk_chunks is None and measured.count("embeds") >= 100_000:
        yield "Set index.settings.bulk_chunks, so that the server builds its graph once, at the end of a large load."
