"""Where the time went and what to change: said of long runs alone, and only what is true of the run and the config."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.config.models import Config
from qloader.telemetry.histogram import Histogram
from qloader.telemetry.measured import Measured
from qloader.workspace.advising import advise

DENSE = "{provider: openai, model: m, url: 'http://127.0.0.1:9/v1', parallel: 3%s}"
LOCAL = "{provider: fastembed, model: small}"
SERVER = "url: 'http://127.0.0.1:9'%s"


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def make(index: str = "path: .qloader/index", dense: str = "", more: str = "") -> Config:
        file = tmp_path / "qloader.yaml"
        file.write_text(
            f"name: test\nindex: {{{index}}}\n"
            "sources:\n  docs: {type: files, path: .}\n"
            "  wiki: {type: web, url: 'https://example.com', parallel: 2, rate: 5}\n"
            + (f"embedding: {{dense: {dense}}}\n" if dense else "")
            + more
        )
        return Workspace.open(file).settings.config

    return make


def run(seconds: float = 100.0, counts: dict[tuple[str, str], int] | None = None, **busy: float) -> Measured:
    spans = {(stage.partition("_")[0], stage.partition("_")[2]): Histogram.of([s]) for stage, s in busy.items()}
    together: dict[str, float] = {}
    for (stage, _), histogram in spans.items():
        together[stage] = together.get(stage, 0.0) + histogram.total
    return Measured(seconds=seconds, counts=counts or {}, spans=spans, busy=together)


def test_of_a_short_run_nothing_is_said(config: Any) -> None:
    assert advise(run(9.9, embed=9.5), config(dense=DENSE % "")) == ()


def test_the_stages_that_took_longest_are_named(config: Any) -> None:
    (sentence,) = advise(run(embed=40, write=30, fetch_docs=10, chunk=6, commit=2, wait=80), config())
    assert sentence == "Of 100 s: 40% embedding, 30% writing to the index, 10% reading documents, 6% cutting texts."


def test_a_large_load_of_an_embedded_index_is_worth_tidying_up(config: Any) -> None:
    large = run(counts={("embeds", ""): 20_000}, embed=40, write=40)
    said = "Searches are faster after a `qloader optimize`, which takes about a minute for 100,000 chunks."
    assert advise(large, config(dense=DENSE % ""))[-1] == said
    assert said not in advise(large, config())
    assert said not in advise(large, config(index=SERVER % "", dense=DENSE % ""))
    assert said not in advise(run(counts={("embeds", ""): 19_999}, embed=40, write=40), config(dense=DENSE % ""))


def test_stages_side_by_side_are_said_to_be_that(config: Any) -> None:
    assert advise(run(embed=90, write=60), config())[0].endswith("60% writing to the index, in part side by side.")


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


@pytest.mark.parametrize(
    ("measured", "options", "advice"),
    [
        (
            run(embed=95, limit=87), {"dense": DENSE % ", limits: {requests_per_minute: 60}"},
            "Raise embedding.dense.limits",
        ),
        (run(embed=95, limit=87), {"dense": DENSE % ""}, "The provider said that it is asked too often"),
        (
            run(embed=95, retry=50, counts={("retries", ""): 1200}), {"dense": DENSE % ""},
            "1,200 requests failed in passing",
        ),
        (run(embed=80), {"dense": DENSE % ""}, "Raise embedding.dense.parallel (3)"),
        (run(embed=80), {"dense": LOCAL}, "The model small sets the pace"),
        (
            run(fetch_wiki=70, fetch_docs=5), {},
            "Raise sources.wiki.parallel (2) and sources.wiki.rate (5 requests a second)",
        ),
        (run(snapshot_wiki=70), {}, "Raise sources.wiki.parallel (2)"),
        (run(write=80), {"index": SERVER % ""}, "Set index.prefer_grpc: true"),
        (
            run(write=80, counts={("embeds", ""): 200_000}), {"index": SERVER % ", prefer_grpc: true"},
            "Set index.settings.bulk_chunks",
        ),
        (
            run(wait=70, write=25), {"more": "ingestion: {parallel: {max_workers: 1}}\n"},
            "Raise ingestion.parallel.max_workers (1)",
        ),
        (run(commit=60), {"more": "ingestion: {batch: {size: 10}}\n"}, "Raise ingestion.batch.size (10)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_holds_a_run_up_is_what_to_change(
    config: Any, measured: Measured, options: dict[str, str], advice: str
) -> None:
    _, sentence = advise(measured, config(**options))
    assert sentence.startswith(advice)


@pytest.mark.parametrize(
    ("measured", "options"),
    [
        (run(embed=45, write=40), {"dense": DENSE % ""}),  # nothing leads
        (run(embed=90), {}),  # BM25 has nothing to be changed
        (run(write=90), {}),  # nor has an embedded index
        (run(write=90), {"index": SERVER % ", prefer_grpc: true"}),  # few chunks: a graph at the end spares nothing
        (run(embed=60, limit=20), {"dense": DENSE.replace("parallel: 3", "parallel: 64") % ""}),
        (run(commit=60), {}),
    ],
)
def test_nothing_is_advised_that_would_change_nothing(config: Any, measured: Measured, options: dict[str, str]) -> None:
    assert len(advise(measured, config(**options))) == 1


def test_that_memory_was_short_is_said_with_what_it_did(config: Any) -> None:
    def short(*paces: float, pauses: int = 0) -> Measured:
        return replace(run(embed=40, counts={("pauses", ""): pauses}), levels={"pace": Histogram.of(paces)})

    remedy = "Raise resources.memory.max_percentage, or give it more memory."
    assert advise(short(1.0), config())[1:] == ()
    assert advise(short(1.0, 0.25), config())[1:] == (
        f"Memory was short: batches went down to 25% of their size. {remedy}",
    )
    said = f"Memory was short: batches went down to 6% of their size and nothing was prepared ahead 2 times. {remedy}"
    assert advise(short(1.0, 0.0, pauses=2), config())[1:] == (said,)


def test_more_processes_are_advised_where_those_that_help_set_the_pace(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    helped = run(embed=80, counts={("helper_documents", "docs"): 9})
    assert advise(helped, config())[1:] == ("Raise ingestion.parallel.max_workers (4).",)
    assert advise(run(embed=80), config())[1:] == ()
