"""The text file, as real parsers read it: OpenMetrics' own, and that of Prometheus' older format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as as_openmetrics
from prometheus_client.parser import text_string_to_metric_families as as_prometheus

from qloader.telemetry.histogram import Histogram
from qloader.telemetry.measured import Measured
from qloader.telemetry.openmetrics import render, write_whole

PARSERS = [as_openmetrics, as_prometheus]
MEASURED = Measured(
    seconds=12.5,
    counts={("documents", "docs"): 7, ("documents", 'a "b" \\c\nd'): 2, ("embeds", ""): 30, ("pauses", ""): 2},
    spans={("write", "docs"): Histogram.of([0.1, 0.2, 0.4])},
    busy={"write": 0.7},
    covered=0.7,
    levels={"memory": Histogram.of([1e8, 2e8]), "pace": Histogram.of([1.0, 0.25, 0.5])},
    cpu={"own": 3.5, "helpers": 1.25},
    memory_peak=300_000_000,
)


def text(*, is_over: bool = True, is_well: bool = True) -> str:
    return render(MEASURED, name="handbook", at=1_700_000_000.25, is_over=is_over, is_well=is_well)


def values(parse: Callable[[str], Iterable[Any]], content: str) -> dict[tuple[str, ...], float]:
    found = {}
    for family in parse(content):
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "name"}
            assert sample.labels["name"] == "handbook"
            found[sample.name, *(labels[key] for key in sorted(labels))] = sample.value
    return found


@pytest.mark.parametrize("parse", PARSERS, ids=["openmetrics", "prometheus"])
def test_a_parser_reads_what_was_measured(parse: Callable[[str], Iterable[Any]]) -> None:
    found = values(parse, text())
    assert found["qloader_run_seconds",] == 12.5
    assert found["qloader_run_documents", "docs"] == 7
    assert found["qloader_run_documents", 'a "b" \\c\nd'] == 2
    assert found["qloader_run_embeds", ""] == 30
    assert found["qloader_run_failures", ""] == 0, "what never happened is 0, so that an alarm can ask for it"
    assert found["qloader_run_memory_peak_bytes",] == 300_000_000
    assert (found["qloader_run_pace_ratio",], found["qloader_run_pauses", ""]) == (0.25, 2)
    assert (found["qloader_run_cpu_seconds", "own"], found["qloader_run_cpu_seconds", "helpers"]) == (3.5, 1.25)
    assert found["qloader_run_stage_busy_seconds", "write"] == 0.7
    assert found["qloader_run_stage_seconds_count", "docs", "write"] == 3
    assert found["qloader_run_stage_seconds_sum", "docs", "write"] == pytest.approx(0.7)
    assert found["qloader_run_stage_seconds", "0.5", "docs", "write"] == pytest.approx(0.2, rel=0.011)


@pytest.mark.parametrize("parse", PARSERS, ids=["openmetrics", "prometheus"])
@pytest.mark.parametrize(("is_over", "is_well", "over", "success"), [(0, 0, 0, 0), (1, 0, 1, 0), (1, 1, 1, 1)])
def test_a_run_that_goes_on_is_no_success_yet(
    parse: Callable[[str], Iterable[Any]], is_over: int, is_well: int, over: int, success: int
) -> None:
    found = values(parse, text(is_over=bool(is_over), is_well=bool(is_well)))
    assert (found["qloader_run_over",], found["qloader_run_success",]) == (over, success)


def test_both_parsers_know_the_same_kinds() -> None:
    kinds = [{family.name: family.type for family in parse(text())} for parse in PARSERS]
    assert kinds[0] == kinds[1]
    assert set(kinds[0].values()) == {"gauge", "summary"}


def test_the_file_is_replaced_at_once_and_may_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "qloader.prom"
    path.write_text("before")
    with path.open() as reader:
        write_whole(path, text())
        assert reader.read() == "before", "who has the old one open reads that to its end"
    assert path.read_text() == text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["qloader.prom"]


def test_a_file_that_cannot_be_written_leaves_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "qloader.prom"
    path.mkdir()
    with pytest.raises(OSError):
        write_whole(path, text())
    assert [entry.name for entry in tmp_path.iterdir()] == ["qloader.prom"]
