"""The trace: valid by the schema of Chrome's trace events, spans that lie within each other, times that add up."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from qloader.telemetry.measures import Measures
from qloader.telemetry.trace import Trace
from support.traces import TRACE, roots_of, spans_by_thread


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


@pytest.fixture
def trace(path: Path) -> Iterator[Trace]:
    trace = Trace(path, "qloader test")
    yield trace
    trace.close()


def read(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_spans_of_a_thread_lie_within_each_other_or_apart_and_add_up_to_what_was_measured(
    trace: Trace, path: Path
) -> None:
    measures = Measures(watchers=(trace,))

    def work(source: str) -> None:
        for _ in range(5):
            with measures.span("embed", source):
                with measures.span("limit"):
                    sum(range(1000))
                with measures.span("retry"):
                    sum(range(1000))
            with measures.span("write", source):
                sum(range(1000))

    threads = [threading.Thread(target=work, args=(name,), name=f"worker {name}") for name in ("docs", "wiki")]
    for thread in threads:
        thread.start()
    work("main")
    for thread in threads:
        thread.join()
    trace.close()
    events = read(path)
    Draft202012Validator(TRACE).validate(events)
    found = spans_by_thread(events)
    assert len(found) == 3
    measured = measures.measured()
    for spans in found.values():
        roots = roots_of(spans)  # which fails where two overlap
        assert [root["name"] for root in roots] == ["embed", "write"] * 5
        name = roots[0]["args"]["source"]
        together = sum(root["dur"] for root in roots) / 1e6
        wanted = measured.spans["embed", name].total + measured.spans["write", name].total
        assert together == pytest.approx(wanted, abs=1e-5)
    within = sum(span["dur"] for spans in found.values() for span in spans if span["name"] in ("limit", "retry"))
    assert within / 1e6 == pytest.approx(sum(measured.spans[s, ""].total for s in ("limit", "retry")), abs=1e-5)
    names = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"worker docs", "worker wiki", "MainThread"} <= names


def test_a_sample_is_a_counter_of_each_of_its_values(trace: Trace, path: Path) -> None:
    measures = Measures(watchers=(trace,))
    measures.level("memory", 5e7)
    measures.count("documents", 3)
    measures.sample(0)
    trace.close()
    counters = {e["name"]: e["args"] for e in read(path) if e["ph"] == "C"}
    assert counters == {"memory": {"memory": 5e7}, "documents": {"documents": 3}, "embeds": {"embeds": 0}}


def test_the_trace_of_a_run_that_was_killed_lacks_its_end_alone(trace: Trace, path: Path) -> None:
    measures = Measures(watchers=(trace,))
    for _ in range(2000):
        with measures.span("write"):
            pass
    text = path.read_text(encoding="utf-8")  # what had left the process by then
    whole, _, _ = text.rpartition(",\n")
    assert len(json.loads(whole + "]")) > 100


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no disk that is always full")
def test_a_full_disk_ends_the_trace_and_not_the_run() -> None:
    trace = Trace(Path("/dev/full"), "test")
    measures = Measures(watchers=(trace,))
    for _ in range(2000):
        with measures.span("write"):
            pass
    trace.close()
    assert not trace.is_whole
    assert measures.measured().spans["write", ""].count == 2000
