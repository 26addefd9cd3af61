"""What was measured of one run, as a value: kept in the state, shown by `history --metrics`, told to others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qloader.telemetry.histogram import Histogram

VERSION = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """How far a run was at one moment.

    Attributes:
        at: Milliseconds since 1970 in UTC.
        values: By name: counts so far, levels as they stood.
    """

    at: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """A run in numbers.

    Attributes:
        seconds: How long it worked; what passed while somebody was asked is not in it.
        counts: What was added up, by name and source ("" where it is of no source, or of several).
        spans: Seconds of each span, by stage and source. Spans within others count in both.
        busy: Seconds in which at least one thread was in a stage, by stage; at most `seconds`.
        covered: Seconds in which at least one thread was in any stage; the rest is what belongs to none, such as
            opening the index.
        levels: What was read of what goes up and down, by name.
        memory_peak: The most bytes of RAM that the process ever had; 0 where the system does not say.
        cpu: Seconds of CPU time, of all cores together, by whose they are: `own`, of this process; `helpers`, of those
            that help it.
        samples: The run at intervals, in order.
    """

    seconds: float = 0.0
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    spans: Mapping[tuple[str, str], Histogram] = field(default_factory=dict)
    busy: Mapping[str, float] = field(default_factory=dict)
    covered: float = 0.0
    levels: Mapping[str, Histogram] = field(default_factory=dict)
    memory_peak: int = 0
    cpu: Mapping[str, float] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()

    def count(self, name: str) -> int:
        """A count of all sources together."""
        return sum(number for (counted, _), number in self.counts.items() if counted == name)

    def extreme(self, level: str) -> float:
        """The value of a level that says most of a run: the highest that was seen, and of `pace` the lowest."""
        histogram = self.levels[level]
        return histogram.least if level == "pace" else histogram.most

    def stages(self) -> dict[str, Histogram]:
        """The spans of each stage, of all sources together; the longest stage first."""
        found: dict[str, Histogram] = {}
        for (stage, _), histogram in self.spans.items():
            found.setdefault(stage, Histogram()).merge(histogram)
        return dict(sorted(found.items(), key=lambda item: -self.busy.get(item[0], 0.0)))

    def share(self, stage: str) -> float:
        """The part of the time in which a stage went on, from 0 to 1."""
        return min(1.0, self.busy.get(stage, 0.0) / self.seconds) if self.seconds else 0.0

    @property
    def rate(self) -> float:
        """Documents a second."""
        return self.count("documents") / self.seconds if self.seconds else 0.0


def to_text(measured: Measured) -> str:
    """As the state keeps it: JSON."""
    value = {
        "version": VERSION,
        "seconds": measured.seconds,
        "counts": [[*key, number] for key, number in sorted(measured.counts.items())],
        "spans": [[*key, histogram.as_dict()] for key, histogram in sorted(measured.spans.items())],
        "busy": dict(sorted(measured.busy.items())),
        "covered": measured.covered,
        "levels": {name: histogram.as_dict() for name, histogram in sorted(measured.levels.items())},
        "memory_peak": measured.memory_peak,
        "cpu": dict(sorted(measured.cpu.items())),
        "samples": [[sample.at, dict(sample.values)] for sample in measured.samples],
    }
    return json.dumps(value, separators=(",", ":"))


def from_text(text: str) -> Measured | None:
    """What `to_text` wrote; None of what this qloader does not know how to read."""
    try:
        value: dict[str, Any] = json.loads(text)
        return _read(value) if value["version"] == VERSION else None
    except (KeyError, TypeError, ValueError):  # figures are worth no error
        return None


def _read(value: Mapping[str, Any]) -> Measured:
    return Measured(
        seconds=value["seconds"],
        counts={(name, source): number for name, source, number in value["counts"]},
        spans={(stage, source): Histogram.from_dict(histogram) for stage, source, histogram in value["spans"]},
        busy=value["busy"],
        covered=value["covered"],
        levels={name: Histogram.from_dict(histogram) for name, histogram in value["levels"].items()},
        memory_peak=value["memory_peak"],
        cpu=value.get("cpu", {}),  # an older qloader wrote none
        samples=tuple(Sample(at, values) for at, values in value["samples"]),
    )
