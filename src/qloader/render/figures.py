"""What `history --metrics` prints and tells: the figures of runs, beside those of the runs before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.text import Text

from qloader.documents.reading import human_size
from qloader.render.escape import escape_controls
from qloader.render.tables import print_table
from qloader.render.times import iso
from qloader.telemetry.comparing import Series, StageLine
from qloader.telemetry.measured import Measured, Sample

if TYPE_CHECKING:
    from rich.console import Console

    from qloader.state.records import RunRecord

_BARS = "▁▂▃▄▅▆▇█"
WIDEST = 40
"""Bars of a sparkline at most; of more values, those that share a bar are its mean."""


def sparkline(values: Sequence[float | None]) -> str:
    """A bar for each value, from the least to the greatest; a space where there is none."""
    values = _thinned(values)
    known = [value for value in values if value is not None]
    if not known:
        return ""
    least, reach = min(known), max(known) - min(known)
    last = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[round((value - least) / reach * last) if reach else 0] for value in values
    )


def _thinned(values: Sequence[float | None]) -> list[float | None]:
    if len(values) <= WIDEST:
        return list(values)
    found: list[float | None] = []
    for place in range(WIDEST):
        part = values[place * len(values) // WIDEST : (place + 1) * len(values) // WIDEST]
        known = [value for value in part if value is not None]
        found.append(sum(known) / len(known) if known else None)
    return found


def render_figures(
    runs: Sequence[RunRecord], measured: Mapping[int, Measured], series: Sequence[Series], console: Console
) -> None:
    """Prints runs with their figures, in the order given, and what became of each figure from run to run.

    Args:
        runs: The runs, the latest first.
        measured: Their figures, by number.
        series: The figures over the runs.
        console: Where to.
    """
    names = ("run", "started", "status", "time", "documents", "a second", "embeds", "cached", "retries", "memory")
    rows = []
    for run in runs:
        found = measured.get(run.id)
        figures = ["-"] * 7 if found is None else _figures(found)
        rows.append((str(run.id), iso(run.started_at) or "", run.status, *figures, _longest(found)))
    print_table((*names, "longest"), rows, console, right={0, 3, 4, 5, 6, 7, 8, 9})
    if len(measured) > 1:
        console.print()
        lines = [
            (s.name, _shown(s.name, s.last), _shown(s.name, s.before), as_percent(s.change), sparkline(s.values))
            for s in series
        ]
        print_table(("figure", "last", "median before", "change", "over the runs"), lines, console, right={1, 2, 3})


def render_run_figures(measured: Measured, lines: Sequence[StageLine], console: Console) -> None:
    """Prints where the time of one run went, stage by stage, beside the runs before it."""
    console.print()
    _print(f"{as_time(measured.seconds)}, {as_rate(measured.rate)} documents a second", console)
    names = sorted({name for name, _ in measured.counts})
    _print(
        ", ".join(f"{name.replace('_', ' ')} {measured.count(name):,}" for name in names) or "nothing counted", console
    )
    for sentence in _resources(measured):
        _print(sentence, console)
    if lines:
        console.print()
        rows = []
        for line in lines:
            s = line.spans.statistics()
            quantiles = (as_time(s[name]) for name in ("min", "mean", "p50", "p95", "p99", "max"))
            share = f"{measured.share(line.stage):.0%}"
            rows.append(
                (line.stage, line.source or "-", f"{line.spans.count:,}", as_time(s["sum"]), share, *quantiles,
                 as_percent(line.change))
            )  # fmt: skip
        other = max(measured.seconds - measured.covered, 0.0)
        rows.append(("other", "-", "-", as_time(other), f"{other / (measured.seconds or 1):.0%}", *["-"] * 7))
        head = (
            "stage",
            "source",
            "spans",
            "together",
            "of the time",
            "min",
            "mean",
            "p50",
            "p95",
            "p99",
            "max",
            "change",
        )
        print_table(head, rows, console, right=set(range(2, 12)))
    if len(measured.samples) > 2:
        console.print()
        rows = [
            (name.replace("_", " "), sparkline(values))
            for name, values in over_time(measured.samples).items()
            if any(value is not None for value in values)
        ]
        print_table(("over the run", ""), rows, console, right=set())


def _resources(measured: Measured) -> Iterator[str]:
    """What of the machine a run took, and whether that was less than it wanted, a line each."""
    helpers = measured.levels.get("helper_memory")
    if measured.memory_peak:
        more = f", processes that help {human_size(round(helpers.most))} together" if helpers else ""
        yield f"memory at most {human_size(measured.memory_peak)}{more}"
    if cpu := sum(measured.cpu.values()):
        more = f", {as_time(measured.cpu['helpers'])} of it in processes that help" if helpers else ""
        yield f"CPU time {as_time(cpu)}{more}"
    pace = measured.levels.get("pace")
    if pace is not None and pace.least < 1:
        how = (
            f"batches went down to {pace.least:.0%} of their size"
            if pace.least
            else "nothing was prepared ahead at times"
        )
        yield f"memory was short: {how}"


def over_time(samples: Sequence[Sample]) -> dict[str, list[float | None]]:
    """What a run did between each two samples, and where its levels stood."""
    levels = ("memory", "helper_memory", "queue", "pace")
    found: dict[str, list[float | None]] = {name: [] for name in ("documents a second", "embeds a second", *levels)}
    for before, now in pairwise(samples):
        seconds = max(now.at - before.at, 1) / 1000
        for name in ("documents", "embeds"):
            more = now.values.get(name, 0.0) - before.values.get(name, 0.0)
            found[f"{name} a second"].append(more / seconds)
        for name in levels:
            found[name].append(now.values.get(name))
    return found


def figures_as_dict(measured: Measured | None, lines: Sequence[StageLine] = ()) -> dict[str, Any] | None:
    """The figures of a run as JSON values; None where nothing was kept."""
    if measured is None:
        return None
    counts: dict[str, dict[str, int]] = {}
    for (name, source), number in sorted(measured.counts.items()):
        counts.setdefault(name, {})[source] = number
    return {
        "seconds": measured.seconds,
        "documents_a_second": measured.rate,
        "counts": counts,
        "busy": dict(measured.busy),
        "other": max(measured.seconds - measured.covered, 0.0),
        "stages": [
            {
                "stage": line.stage,
                "source": line.source,
                **line.spans.statistics(),
                "before": None if line.before is None else line.before.statistics(),
            }
            for line in lines
        ],
        "levels": {name: histogram.statistics() for name, histogram in sorted(measured.levels.items())},
        "memory_peak": measured.memory_peak,
        "cpu": dict(measured.cpu),
        "samples": [{"at": iso(sample.at), **sample.values} for sample in measured.samples],
    }


def series_as_dict(series: Series) -> dict[str, Any]:
    """A figure over runs as JSON values."""
    return {
        "name": series.name,
        "last": series.last,
        "before": series.before,
        "change": series.change,
        "values": list(series.values),
    }


def as_percent(change: float | None) -> str:
    """`+12 %`; `-` where nothing is known."""
    return "-" if change is None else f"{change:+.0%}"


def as_rate(rate: float) -> str:
    """How many a second with the digits that count, e.g. `0.96`, `12`."""
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.2g}"


def as_time(seconds: float) -> str:
    """Seconds with the digits that count, e.g. `85 µs`, `12.3 ms`, `1.23 s`, `123 s`."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else "1.00 s"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def _figures(found: Measured) -> list[str]:
    return [
        as_time(found.seconds),
        f"{found.count('documents'):,}",
        as_rate(found.rate),
        f"{found.count('embeds'):,}",
        f"{found.count('cache_hits'):,}",
        f"{found.count('retries'):,}",
        human_size(found.memory_peak) if found.memory_peak else "-",
    ]


def _longest(found: Measured | None) -> str:
    stages = [] if found is None else list(found.stages())
    return f"{stages[0]} {found.share(stages[0]):.0%}" if found is not None and stages else "-"


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name == "memory peak":
        return human_size(round(value))
    if name == "documents a second":
        return as_rate(value)
    return as_time(value) if name == "time" else f"{value:,.0f}"


def _print(text: str, console: Console) -> None:
    console.print(Text(escape_controls(text)), soft_wrap=True)
