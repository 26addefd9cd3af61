"""What is measured of a run: time by stage from several threads, counts, levels, samples."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from qloader.telemetry.measured import Sample, from_text, to_text
from qloader.telemetry.measures import MOST_SAMPLES, Measures
from qloader.telemetry.memory import memory_now, peak_memory
from qloader.telemetry.recorder import NOBODY


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def measures(clock: Hand) -> Measures:
    return Measures(clock=clock)


def test_time_is_counted_by_stage_and_source(measures: Measures, clock: Hand) -> None:
    for source, seconds in (("docs", 1.0), ("docs", 3.0), ("wiki", 2.0)):
        with measures.span("fetch", source):
            clock.now += seconds
    found = measures.measured()
    assert {key: (h.count, h.total) for key, h in found.spans.items()} == {
        ("fetch", "docs"): (2, 4.0),
        ("fetch", "wiki"): (1, 2.0),
    }
    assert (found.busy, found.covered) == ({"fetch": 6.0}, 6.0)


def test_stages_that_go_on_side_by_side_are_busy_no_longer_than_the_clock_says(measures: Measures, clock: Hand) -> None:
    first, second, other = measures.span("embed"), measures.span("embed"), measures.span("write")
    with measures.working():
        first.__enter__()
        clock.now += 2
        second.__enter__()
        clock.now += 2
        first.__exit__(None, None, None)
        other.__enter__()
        clock.now += 2
        second.__exit__(None, None, None)
        other.__exit__(None, None, None)
        clock.now += 4
    found = measures.measured()
    assert found.spans["embed", ""].total == 8
    assert (found.busy, found.covered, found.seconds) == ({"embed": 6.0, "write": 2.0}, 6.0, 10.0)
    assert (found.share("embed"), found.share("write"), found.share("chunk")) == (0.6, 0.2, 0.0)


def test_what_passes_between_two_stretches_of_work_is_no_time_of_the_run(measures: Measures, clock: Hand) -> None:
    with measures.working():
        clock.now += 3
    clock.now += 1000  # somebody is asked
    with measures.working():
        clock.now += 4
        assert measures.measured().seconds == 7
    assert measures.measured().seconds == 7


def test_a_span_that_goes_on_counts_as_busy_already(measures: Measures, clock: Hand) -> None:
    with measures.span("write"):
        clock.now += 5
        found = measures.measured()
        assert (found.busy, dict(found.spans)) == ({"write": 5.0}, {})


def test_a_span_that_ends_with_an_error_is_counted_and_the_error_goes_on(measures: Measures, clock: Hand) -> None:
    with pytest.raises(KeyError), measures.span("write"):
        clock.now += 1
        raise KeyError
    assert measures.measured().spans["write", ""].total == 1


def test_counts_of_many_threads_add_up() -> None:
    measures, ready = Measures(), threading.Barrier(8)

    def work(number: int) -> None:
        ready.wait()
        for _ in range(500):
            with measures.span("chunk", f"s{number % 2}"):
                measures.count("documents", 2, f"s{number % 2}")
            measures.level("queue", number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    found = measures.measured()
    assert found.counts == {("documents", "s0"): 4000, ("documents", "s1"): 4000}
    assert found.count("documents") == 8000
    assert found.stages()["chunk"].count == 4000
    assert (found.levels["queue"].count, found.levels["queue"].most) == (4000, 7)


def test_a_run_of_any_length_has_some_hundred_samples_from_its_beginning_to_its_end(measures: Measures) -> None:
    for minute in range(10_000):
        measures.count("documents")
        measures.sample(minute)
    samples = measures.measured().samples[:-1]
    assert len(samples) <= MOST_SAMPLES
    assert (samples[0].at, samples[-1].at) == (0, 9999)
    assert [sample.values["documents"] for sample in samples] == [sample.at + 1 for sample in samples]


def test_what_was_measured_is_the_same_when_it_was_written_down_and_read(measures: Measures, clock: Hand) -> None:
    with measures.working(), measures.span("fetch", "docs"):
        clock.now += 1.5
    measures.count("bytes", 1 << 40, "docs")
    measures.level("memory", 3e9)
    measures.sample(1_700_000_000_000)
    found = measures.measured()
    assert from_text(to_text(found)) == found
    assert found.samples[0] == Sample(1_700_000_000_000, {"documents": 0, "embeds": 0, "bytes": 1 << 40, "memory": 3e9})


@pytest.mark.parametrize("text", ["{}", "[]", '{"version": 1}', "no JSON"])
def test_figures_that_cannot_be_read_are_none_and_no_error(text: str) -> None:
    assert from_text(text) is None


def test_figures_of_a_version_to_come_are_none(measures: Measures) -> None:
    assert from_text(json.dumps({**json.loads(to_text(measures.measured())), "version": 2})) is None


def test_memory_is_what_the_system_says() -> None:
    now = memory_now()
    assert now is not None
    held = bytearray(64 << 20)
    for place in range(0, len(held), 4096):
        held[place] = 1
    grown = memory_now()
    assert grown is not None
    assert grown - now > 32 << 20
    assert peak_memory() > 64 << 20


def test_nobody_forgets_everything() -> None:
    with NOBODY.span("fetch"), NOBODY.span("fetch"):
        NOBODY.count("documents")
        NOBODY.level("queue", 1)
    assert NOBODY.measured() is None
