"""What processes that help take: told with their answers, added up with what this process does itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloader.telemetry.helpers import Diary, Report
from qloader.telemetry.measured import Measured, from_text, to_text
from qloader.telemetry.measures import LATE, MOST_STRETCHES, Measures, _Union
from qloader.telemetry.trace import Trace
from support.traces import spans_by_thread

CLOCK = 100.0


def helped(*spans: tuple[float, float], process: int = 7, memory: int = 50, stage: str = "fetch") -> Report:
    return Report(process, 0.5, memory, [("helper_documents", "docs", 2)], [(stage, "docs", *span) for span in spans])


def test_a_helper_says_what_came_since_it_said_so_last() -> None:
    diary = Diary()
    for _ in range(2):
        with diary.span("chunk", "docs"):
            sum(range(1000))
        diary.count("helper_bytes", 5, "docs")
    first, second = diary.tell(), diary.tell()
    assert first.process == os.getpid()
    assert first.cpu > second.cpu >= 0
    assert first.memory > 1 << 20
    assert first.counts == [("helper_bytes", "docs", 10)]
    assert [(stage, source) for stage, source, _, _ in first.spans] == [("chunk", "docs")] * 2
    assert all(seconds > 0 for *_, seconds in first.spans)
    assert (second.counts, second.spans) == ([], [])


def test_what_helpers_did_counts_with_what_was_done_here() -> None:
    measures = Measures(clock=lambda: CLOCK)
    measures.helped(helped((10, 4), (15, 1), process=7, memory=50))
    measures.helped(helped((12, 4), process=8, memory=70))  # two seconds of it beside the other
    measures.helped(helped((90, 20), process=8, memory=60, stage="embed"))  # no more than there is by now
    found = measures.measured()
    assert found.counts == {("helper_documents", "docs"): 6}
    assert {key: (h.count, h.total) for key, h in found.spans.items()} == {
        ("fetch", "docs"): (3, 9.0),
        ("embed", "docs"): (1, 20.0),
    }
    assert found.busy == {"fetch": 6.0, "embed": 10.0}
    assert found.covered == 16.0
    assert found.cpu["helpers"] == 1.5
    assert found.levels["helper_memory"].most == 120
    assert found.samples[-1].values["helper_memory"] == 110
    measures.helper_ended(8)
    measures.helper_ended(8)
    assert measures.measured().samples[-1].values["helper_memory"] == 50


def test_cpu_time_of_this_process_is_that_of_the_run_and_is_kept() -> None:
    measures = Measures()
    sum(range(1_000_000))
    found = measures.measured()
    assert found.cpu["own"] > 0
    assert from_text(to_text(found)) == found
    older = json.loads(to_text(found))
    del older["cpu"]
    read = from_text(json.dumps(older))
    assert read is not None
    assert read.cpu == {}
    assert isinstance(read, Measured)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=30), st.integers(0, 60), st.integers(0, 9))
def test_stretches_cover_what_lies_in_any_of_them(stretches: list[tuple[int, int]], start: int, length: int) -> None:
    union = _Union()
    for first, more in stretches:
        union.add(first, first + more)
    covered = {second for first, more in stretches for second in range(first, first + more)}
    assert union.seconds == len(covered)
    assert union.missing(start, start + length) == len(set(range(start, start + length)) - covered)


def test_stretches_of_a_long_run_take_no_more_and_more_memory() -> None:
    union = _Union()
    for second in range(3 * MOST_STRETCHES):
        union.add(second, second + 0.5)
    assert union.seconds == 1.5 * MOST_STRETCHES
    assert LATE <= len(union._stretches) <= MOST_STRETCHES
    union.add(0, 1)  # of a time of which only the sum is known
    assert union.seconds == 1.5 * MOST_STRETCHES


def test_a_trace_shows_what_each_helper_did(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace.json", "test")
    measures = Measures(clock=lambda: CLOCK, watchers=(trace,))
    measures.helped(helped((10, 4), process=71))
    measures.helped(helped((10, 5), process=72))
    trace.close()
    events = json.loads((tmp_path / "trace.json").read_text())
    assert {thread: [span["dur"] for span in spans] for (_, thread), spans in spans_by_thread(events).items()} == {
        71: [pytest.approx(4e6)],
        72: [pytest.approx(5e6)],
    }
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names == {71: "process 71", 72: "process 72"}
