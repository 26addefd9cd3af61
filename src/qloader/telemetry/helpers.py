"""What a process that helps takes: it measures itself, and says with each answer what came since the one before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time
from typing import TYPE_CHECKING, NamedTuple

from qloader.telemetry.memory import memory_now

if TYPE_CHECKING:
    from qloader.telemetry.measured import Measured
    from qloader.telemetry.recorder import Count, Level, Stage


class Report(NamedTuple):
    """What a process took since it said so last: a value of plain types, as it goes through a pipe.

    Attributes:
        process: Its number.
        cpu: Seconds of CPU time.
        memory: Bytes in RAM now; 0 where the system does not say.
        counts: What was added up: name, source, number.
        spans: Stretches of work: stage, source, start and seconds, by the clock that all processes of a machine share.
    """

    process: int
    cpu: float
    memory: int
    counts: list[tuple[Count, str, int]]
    spans: list[tuple[Stage, str, float, float]]


class Diary:
    """The recorder of a process that helps. Used by one thread."""

    def __init__(self) -> None:
        self._counts: dict[tuple[Count, str], int] = {}
        self._spans: list[tuple[Stage, str, float, float]] = []
        self._cpu = 0.0  # its start is part of what it takes

    @contextmanager
    def span(self, stage: Stage, source: str = "") -> Iterator[None]:
        """A stretch of work; see `Recorder.span`."""
        start = perf_counter()
        try:
            yield
        finally:
            self._spans.append((stage, source, start, perf_counter() - start))

    def count(self, name: Count, number: int = 1, source: str = "") -> None:
        """Adds to a count."""
        self._counts[name, source] = self._counts.get((name, source), 0) + number

    def level(self, name: Level, value: float) -> None:
        """Keeps none: whoever is helped knows how things stand."""

    def name_run(self, run: int) -> None:
        """Knows of no run."""

    def helped(self, report: Report) -> None:
        """Nobody helps a process that helps."""

    def helper_ended(self, process: int) -> None:
        """Nobody helps a process that helps."""

    def measured(self) -> Measured | None:
        """Keeps nothing but what it has not yet told."""
        return None

    def tell(self) -> Report:
        """What came since the last time."""
        cpu = process_time()
        counts = [(name, source, number) for (name, source), number in self._counts.items()]
        report = Report(os.getpid(), cpu - self._cpu, memory_now() or 0, counts, self._spans)
        self._cpu, self._counts, self._spans = cpu, {}, []
        return report
