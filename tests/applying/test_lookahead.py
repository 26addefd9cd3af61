"""Batches on their way: how far they run ahead, in which order, and what waits for what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from qloader.applying.lookahead import Batch, Bounds, Lookahead
from qloader.applying.pacing import FULL, LAST, LEAST, Allowance
from qloader.errors import QloaderError
from qloader.planning.plan import Change, ChunkCounts, Version
from qloader.telemetry.measures import Measures
from support.faults import Killed


def change(name: str, *, points: int = 1, size: int = 10, moved_from: str | None = None) -> Change:
    after = Version("c" * 32, "m" * 32, "r", size)
    action = "move" if moved_from else "create"
    return Change(action, "docs", name, None, after, ChunkCounts(points), "", moved_from)


def changes(count: int) -> list[Change]:
    return [change(f"{number:04}") for number in range(count)]


@dataclass
class Stages:
    """Stages whose work is done when the test says so, or at once; they note what was asked of them, and when."""

    at_once: bool = True
    log: list[tuple[str, int]] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    failing: dict[tuple[str, int], Exception] = field(default_factory=dict)

    def _note(self, what: str, number: int) -> None:
        self.log.append((what, number))
        if (what, number) in self.failing:
            raise self.failing[what, number]

    def begin(self, batch: Batch) -> int:
        self._note("begin", batch.number)
        return batch.number

    def is_read(self, work: int) -> bool:
        return self.at_once or work in self.read

    def look_up(self, work: int) -> None:
        self._note("look up", work)

    def is_ready(self, work: int) -> bool:
        return True

    def finish(self, work: int) -> None:
        self._note("finish", work)

    def check(self, work: int) -> None:
        self.read.add(work)  # somebody waited for it: it is done now

    def watch(self, tell: Any) -> None:
        tell(Future())

    def begun(self) -> list[int]:
        return [number for what, number in self.log if what == "begin"]


def write_all(ahead: Lookahead, stages: Stages) -> list[list[str]]:
    """Takes all batches as an apply does; the documents of each."""
    written = []
    while ahead:
        batch, work = ahead.take()
        stages.log.append(("write", work))
        written.append([one.id for one in batch.changes])
    return written


def test_without_room_ahead_a_batch_is_begun_when_the_one_before_is_written() -> None:
    stages = Stages()
    written = write_all(Lookahead(changes(5), stages, Bounds(size=2)), stages)
    assert written == [["0000", "0001"], ["0002", "0003"], ["0004"]]
    one = ["begin", "look up", "finish", "write"]
    assert stages.log == [(what, number) for number in (1, 2, 3) for what in one]


@pytest.mark.parametrize(("ahead", "most"), [(1, 1), (2, 2), (5, 3), (6, 4), (1000, 10)])
def test_no_more_documents_are_ahead_than_the_queue_has_room_for(ahead: int, most: int) -> None:
    stages = Stages()
    batches = Lookahead(changes(20), stages, Bounds(size=2, ahead=ahead))
    for number in range(1, 11):
        batches.take()
        # Those that wait are counted beside the one that is written.
        assert len(stages.begun()) == min(10, number + most - 1 if most < 10 else 10)
    assert not batches


@pytest.mark.parametrize("heavy", [{"points": 3_000}, {"size": 12_000_000}])
def test_points_and_text_are_bounded_too(heavy: dict[str, int]) -> None:
    stages = Stages()
    batches = Lookahead([change(f"{n}", **heavy) for n in range(9)], stages, Bounds(size=256, ahead=100_000))
    batches.take()
    assert stages.begun() == [1, 2, 3]  # one is written, and two wait


def test_a_document_that_a_batch_on_its_way_touches_is_looked_up_when_that_is_committed() -> None:
    plan = [change("new", moved_from="old"), change("old"), change("other")]
    stages = Stages()
    batches = Lookahead(plan, stages, Bounds(size=1, ahead=100))
    batches.take()
    assert stages.begun() == [1]
    batches.take()
    assert stages.begun() == [1, 2, 3]


def test_a_batch_that_is_read_early_is_looked_up_after_those_before_it() -> None:
    stages = Stages(at_once=False)
    batches = Lookahead(changes(3), stages, Bounds(size=1, ahead=100))
    stages.read = {2, 3}
    write_all(batches, stages)
    looked_up = [number for what, number in stages.log if what == "look up"]
    assert looked_up == [1, 2, 3]


@pytest.mark.parametrize("step", ["begin", "look up", "finish"])
def test_what_goes_wrong_ahead_is_told_when_all_before_it_are_written(step: str) -> None:
    stages = Stages(failing={(step, 3): ValueError("boom")})
    batches = Lookahead(changes(5), stages, Bounds(size=1, ahead=100))
    with pytest.raises(ValueError, match="boom"):
        write_all(batches, stages)
    assert [number for what, number in stages.log if what == "write"] == [1, 2]


def test_a_plan_that_cannot_be_read_on_is_told_in_its_turn_too() -> None:
    def broken() -> Iterator[Change]:
        yield from changes(3)
        raise OSError("gone")

    stages = Stages()
    with pytest.raises(OSError, match="gone"):
        write_all(Lookahead(broken(), stages, Bounds(size=1, ahead=100)), stages)
    assert [number for what, number in stages.log if what == "write"] == [1, 2]  # the third may not be whole


def test_what_ends_the_process_ends_it_at_once() -> None:
    stages = Stages(failing={("look up", 3): Killed()})  # type: ignore[dict-item]
    batches = Lookahead(changes(5), stages, Bounds(size=1, ahead=100))
    with pytest.raises(Killed):
        batches.take()


class Pace:
    """Allowances one after the other."""

    def __init__(self, allowances: Iterable[Allowance]) -> None:
        self._allowances = iter(allowances)
        self._now = Allowance()

    def look(self) -> Allowance:
        self._now = next(self._allowances, self._now)
        return self._now


def test_where_memory_is_short_batches_are_small_and_few() -> None:
    stages, told = Stages(), list[Allowance]()
    short = Allowance(1 / 4, False, 0.9)
    batches = Lookahead(changes(64), stages, Bounds(size=16, ahead=32), pace=Pace([short]), adapted=told.append)
    written = write_all(batches, stages)
    assert {len(batch) for batch in written} == {4}
    assert told == [short]


def test_where_memory_is_used_up_nothing_is_begun_until_all_is_written() -> None:
    stages = Stages()
    batches = Lookahead(changes(6), stages, Bounds(size=1, ahead=100), pace=Pace([Allowance(LEAST, True, 1.2)]))
    write_all(batches, stages)
    one = ["begin", "look up", "finish", "write"]
    assert stages.log == [(what, number) for number in range(1, 7) for what in one]


def test_memory_that_is_free_again_is_used_again() -> None:
    stages, told = Stages(), list[Allowance]()
    pace = Pace([Allowance(LEAST, True, 1.1)] * 4 + [Allowance(1.0, False, 0.3)])
    write_all(Lookahead(changes(100), stages, Bounds(size=4, ahead=8), pace=pace, adapted=told.append), stages)
    assert [one.is_paused for one in told] == [True, False]


def test_how_far_memory_lets_it_run_ahead_is_measured() -> None:
    stages, measures = Stages(), Measures()
    paces = [Allowance(1 / 4, False, 0.9), Allowance(LEAST, True, 1.1), Allowance(LEAST, False, 0.9)]
    again = Allowance(LEAST, True, 1.1)
    batches = Lookahead(
        changes(100), stages, Bounds(size=4, ahead=8), pace=Pace([*paces, again, again]), recorder=measures
    )
    write_all(batches, stages)
    found = measures.measured()
    assert (found.levels["pace"].most, found.levels["pace"].least) == (1, 0)
    assert (found.count("pauses"), found.samples[-1].values["pace"]) == (2, 0)


LIMIT = 20 * FULL


def test_memory_is_used_up_where_a_pause_does_not_help() -> None:
    full, paused = Allowance(), Allowance(LEAST, True, 1.1)
    assert not full.after(LIMIT - 1, 10 * FULL, LIMIT).is_used_up, "the first time there is a pause"
    assert paused.after(LIMIT - LAST + 1, 10 * FULL, LIMIT).is_used_up
    assert not paused.after(LIMIT - LAST, 10 * FULL, LIMIT).is_used_up
    small = LAST  # of a small limit half of what lies above the allowed part is enough
    assert paused.after(small * 95 // 100, small * 8 // 10, small).is_used_up
    assert not paused.after(small * 85 // 100, small * 8 // 10, small).is_used_up
    assert not paused.after(small, small, small).is_used_up, "who allows all of it is not stopped"


def test_an_apply_ends_where_memory_is_used_up_and_keeps_what_is_written() -> None:
    stages = Stages()
    paces = [Allowance(LEAST, True, 1.1)] * 4 + [Allowance(LEAST, True, 1.24, True)]
    with pytest.raises(QloaderError, match="memory that this process may use is used up"):
        write_all(Lookahead(changes(100), stages, Bounds(size=4, ahead=8), pace=Pace(paces)), stages)
    written = [number for what, number in stages.log if what == "write"]
    assert written == list(range(1, len(written) + 1))
    assert 0 < len(written) < 100


def test_the_share_follows_the_memory_that_is_left() -> None:
    full = Allowance()
    assert full.after(0, 10 * FULL, LIMIT).share == 1
    assert full.after(0, FULL // 2, LIMIT).share == 0.5
    assert full.after(FULL, FULL + FULL // 10, LIMIT) == Allowance(1 / 16, False, FULL / (FULL + FULL // 10))
    assert full.after(FULL, FULL, LIMIT).is_paused
    assert full.after(3 * FULL, FULL, LIMIT).share == LEAST


def test_a_little_more_memory_changes_nothing() -> None:
    half = Allowance(0.5)
    assert half.after(0, FULL + 1, LIMIT).share == 0.5
    assert half.after(0, FULL * 5 // 4, LIMIT).share == 1


def test_a_share_of_something_is_at_least_one() -> None:
    assert Allowance(LEAST).of(256) == 16
    assert Allowance(LEAST).of(1) == 1
