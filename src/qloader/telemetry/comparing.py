"""Runs beside each other: the latest against those before it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qloader.telemetry.histogram import Histogram
from qloader.telemetry.measured import Measured


@dataclass(frozen=True, slots=True)
class Series:
    """One figure of several runs.

    Attributes:
        name: What it is.
        values: Of each run, the oldest first; None of one of which nothing was kept.
        before: The median of the runs before the latest; None where there are none.
    """

    name: str
    values: tuple[float | None, ...]
    before: float | None

    @property
    def last(self) -> float | None:
        """Of the latest run."""
        return self.values[-1] if self.values else None

    @property
    def change(self) -> float | None:
        """How much more the latest is than those before, as a share of these: 0.1 is a tenth more."""
        return change(self.last, self.before)


@dataclass(frozen=True, slots=True)
class StageLine:
    """How long the spans of a stage took in one run, and in those before it.

    Attributes:
        stage: The stage.
        source: Of which source; "" where it is of none, or of several.
        spans: In the run.
        before: In the runs before, added up; None where there were none.
    """

    stage: str
    source: str
    spans: Histogram
    before: Histogram | None

    @property
    def change(self) -> float | None:
        """How much longer the middle one took, as a share of the middle one before."""
        return change(self.spans.quantile(0.5), None if self.before is None else self.before.quantile(0.5))


_FIGURES: Mapping[str, Callable[[Measured], float]] = {
    "time": lambda measured: measured.seconds,
    "documents": lambda measured: measured.count("documents"),
    "documents a second": lambda measured: measured.rate,
    "embeds": lambda measured: measured.count("embeds"),
    "memory peak": lambda measured: measured.memory_peak,
}


def compare_runs(runs: Sequence[Measured | None]) -> tuple[Series, ...]:
    """The figures of runs that are worth a look from run to run.

    Args:
        runs: The oldest first; None of one of which nothing was kept.
    """
    found = []
    for name, figure in _FIGURES.items():
        values = tuple(None if run is None else float(figure(run)) for run in runs)
        earlier = [value for value in values[:-1] if value is not None]
        found.append(Series(name, values, statistics.median(earlier) if earlier else None))
    return tuple(found)


def compare_stages(run: Measured, earlier: Sequence[Measured]) -> tuple[StageLine, ...]:
    """The stages of a run beside those of runs before it, the longest stage first."""
    before: dict[tuple[str, str], Histogram] = {}
    for other in earlier:
        for key, histogram in other.spans.items():
            before.setdefault(key, Histogram()).merge(histogram)
    order = {stage: place for place, stage in enumerate(run.stages())}
    keys = sorted(run.spans, key=lambda key: (order[key[0]], key[1]))
    return tuple(StageLine(*key, run.spans[key], before.get(key)) for key in keys)


def change(now: float | None, before: float | None) -> float | None:
    """How much more that is, as a share of what it was; None where one of them is not there, or there was nothing."""
    return None if now is None or not before else now / before - 1
