"""The recorder that really measures: counts, spans and levels of one run, from any number of threads."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time, time_ns
from typing import Protocol

from qloader.telemetry.helpers import Report
from qloader.telemetry.histogram import Histogram
from qloader.telemetry.measured import Measured, Sample
from qloader.telemetry.memory import peak_memory
from qloader.telemetry.recorder import Count, Level, Stage

MOST_SAMPLES = 240
"""Of more, every second one is forgotten: a run of any length has some hundred."""

MOST_STRETCHES, LATE = 2_000, 1_000
"""Of more stretches of time than the first, all but the last so many are only added up: what helps tells of its work in
seconds, and so many stretches are more."""


class Watcher(Protocol):
    """Who is told of each span and each sample."""

    def span(self, stage: str, source: str, start: float, seconds: float, process: int | None = None) -> None:
        """A span has ended.

        Args:
            stage: What was done.
            source: For which source, or "".
            start: When it began, in seconds of the measures' clock.
            seconds: How long it took.
            process: The process that helps and did it; None: the thread that tells.
        """
        ...

    def sample(self, at: float, values: dict[str, float]) -> None:
        """A sample was taken, at that second of the clock."""
        ...


class Measures:
    """Measures one run. What is forgotten is only ever detail: memory is bounded, however long the run is.

    Attributes:
        run: Under which number the state knows it; None until it does.

    Args:
        clock: Seconds from some start.
        watchers: Told of each span and sample.
    """

    def __init__(self, *, clock: Callable[[], float] = perf_counter, watchers: tuple[Watcher, ...] = ()) -> None:
        self.run: int | None = None
        self._clock = clock
        self._watchers = watchers
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = {}
        self._spans: dict[tuple[str, str], Histogram] = {}
        self._busy = _Busy()
        self._covered = _Busy()
        self._working = _Busy()
        self._levels: dict[str, Histogram] = {}
        self._now: dict[str, float] = {}
        self._cpu_before = process_time()
        self._cpu_of_helpers = 0.0
        self._helpers: dict[int, int] = {}
        self._samples: list[Sample] = []

    def span(self, stage: Stage, source: str = "") -> _Span:
        """A stretch of work; see `Recorder.span`."""
        return _Span(self, stage, source)

    def count(self, name: Count, number: int = 1, source: str = "") -> None:
        """Adds to a count; see `Recorder.count`."""
        if number:
            with self._lock:
                self._counts[name, source] = self._counts.get((name, source), 0) + number

    def level(self, name: Level, value: float) -> None:
        """Says how high something stands; see `Recorder.level`."""
        with self._lock:
            self._levels.setdefault(name, Histogram()).add(value)
            self._now[name] = value

    def helped(self, report: Report) -> None:
        """Counts in what a process that helps says of itself; see `Recorder.helped`."""
        with self._lock:
            now = self._clock()
            self._cpu_of_helpers += report.cpu
            for name, source, number in report.counts:
                self._counts[name, source] = self._counts.get((name, source), 0) + number
            for stage, source, start, seconds in report.spans:
                self._spans.setdefault((stage, source), Histogram()).add(seconds)
                # Where processes share no clock, only the histogram is right.
                self._busy.add(stage, min(start, now), min(start + seconds, now))
                self._covered.add("any", min(start, now), min(start + seconds, now))
            self._helpers[report.process] = report.memory
            self._note_helpers()
        for watcher in self._watchers:
            for stage, source, start, seconds in report.spans:
                watcher.span(stage, source, start, seconds, report.process)

    def helper_ended(self, process: int) -> None:
        """A process that helped is over; see `Recorder.helper_ended`."""
        with self._lock:
            if self._helpers.pop(process, None) is not None:
                self._note_helpers()

    def _note_helpers(self) -> None:
        together = float(sum(self._helpers.values()))
        self._levels.setdefault("helper_memory", Histogram()).add(together)
        self._now["helper_memory"] = together

    def name_run(self, run: int) -> None:
        """Says under which number the state knows the run."""
        self.run = run

    @contextmanager
    def working(self) -> Iterator[None]:
        """A stretch of the run, planning or applying: what passes between two of them is no time of the run."""
        with self._lock:
            self._working.begin("run", self._clock())
        try:
            yield
        finally:
            with self._lock:
                self._working.end("run", self._clock())

    def sample(self, at: int) -> None:
        """Notes how far the run is.

        Args:
            at: Milliseconds since 1970 in UTC.
        """
        with self._lock:
            values = self._values()
            self._samples.append(Sample(at, values))
            if len(self._samples) > MOST_SAMPLES:
                del self._samples[1::2]
        for watcher in self._watchers:
            watcher.sample(self._clock(), values)

    def _values(self) -> dict[str, float]:
        values = dict.fromkeys(("documents", "embeds"), 0.0)
        for (name, _), number in self._counts.items():
            values[name] = values.get(name, 0.0) + number
        return values | self._now

    def measured(self) -> Measured:
        """All that was measured so far, with a sample of now; spans that go on count in `busy` alone."""
        with self._lock:
            now = self._clock()
            return Measured(
                seconds=self._working.seconds(now).get("run", 0.0),
                counts=dict(self._counts),
                spans={key: histogram.copy() for key, histogram in self._spans.items()},
                busy=self._busy.seconds(now),
                covered=self._covered.seconds(now).get("any", 0.0),
                levels={name: histogram.copy() for name, histogram in self._levels.items()},
                memory_peak=peak_memory(),
                cpu={"own": process_time() - self._cpu_before, "helpers": self._cpu_of_helpers},
                samples=(*self._samples, Sample(time_ns() // 1_000_000, self._values())),
            )

    def begin(self, stage: str) -> float:
        """A span begins; called by the span itself. Returns the time."""
        with self._lock:
            start = self._clock()
            self._busy.begin(stage, start)
            self._covered.begin("any", start)
        return start

    def end(self, stage: str, source: str, start: float) -> None:
        """A span has ended; called by the span itself."""
        with self._lock:
            now = self._clock()
            self._busy.end(stage, now)
            self._covered.end("any", now)
            self._spans.setdefault((stage, source), Histogram()).add(now - start)
        for watcher in self._watchers:
            watcher.span(stage, source, start, now - start)


class _Span:
    """One span; entered once."""

    __slots__ = ("_measures", "_source", "_stage", "_start")

    def __init__(self, measures: Measures, stage: str, source: str) -> None:
        self._measures = measures
        self._stage = stage
        self._source = source
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = self._measures.begin(self._stage)

    def __exit__(self, *_: object) -> None:
        self._measures.end(self._stage, self._source, self._start)


class _Busy:
    """How long at least one of several was at something, by name. The caller holds a lock."""

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[int, float]] = {}
        self._over: dict[str, _Union] = {}

    def begin(self, name: str, now: float) -> None:
        count, since = self._under_way.get(name, (0, now))
        self._under_way[name] = count + 1, since

    def end(self, name: str, now: float) -> None:
        count, since = self._under_way.pop(name)
        if count > 1:
            self._under_way[name] = count - 1, since
        else:
            self.add(name, since, now)

    def add(self, name: str, start: float, end: float) -> None:
        """Somebody was at it from then to then."""
        self._over.setdefault(name, _Union()).add(start, end)

    def seconds(self, now: float) -> dict[str, float]:
        """By name, with what goes on."""
        found = {name: union.seconds for name, union in self._over.items()}
        for name, (_, since) in self._under_way.items():
            found[name] = found.get(name, 0.0) + self._over.get(name, _NOTHING).missing(since, now)
        return found


class _Union:
    """Seconds that stretches of time cover together. They may come late, and some lie over others.

    Of those that are long past only the sum is kept.
    """

    def __init__(self) -> None:
        self._stretches: list[tuple[float, float]] = []
        self._until = -math.inf
        self._sum = 0.0

    @property
    def seconds(self) -> float:
        """All of them together."""
        return self._sum + sum(end - start for start, end in self._stretches)

    def add(self, start: float, end: float) -> None:
        """One more."""
        start = max(start, self._until)
        if end <= start:
            return
        first = bisect_left(self._stretches, start, key=lambda stretch: stretch[1])
        last = first
        while last < len(self._stretches) and self._stretches[last][0] <= end:
            start, end = min(start, self._stretches[last][0]), max(end, self._stretches[last][1])
            last += 1
        self._stretches[first:last] = [(start, end)]
        if len(self._stretches) > MOST_STRETCHES:
            past, self._stretches = self._stretches[:-LATE], self._stretches[-LATE:]
            self._sum += sum(end - start for start, end in past)
            self._until = past[-1][1]

    def missing(self, start: float, end: float) -> float:
        """How much longer all of them would be with this one."""
        start = max(start, self._until)
        covered = sum(min(e, end) - max(s, start) for s, e in self._stretches if e > start and s < end)
        return max(0.0, end - start - covered)


_NOTHING = _Union()
