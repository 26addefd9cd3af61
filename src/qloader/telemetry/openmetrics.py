"""The last run as a text file that node_exporter's textfile collector reads, and whatever else reads OpenMetrics.

All figures are gauges of one run, and summaries of its spans: a batch job has no counter that lasts. So the file means
the same in Prometheus' older text format, which the collector reads it as.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import get_args

from qloader.telemetry.measured import Measured
from qloader.telemetry.recorder import Count, Level

QUANTILES = (0.5, 0.95, 0.99)

_COUNTS: Mapping[str, str] = {
    "documents": "Documents whose change is over.",
    "bytes": "Bytes of their texts.",
    "chunks": "Chunks of their texts.",
    "embeds": "Chunks whose vectors were made or taken from the embedding cache.",
    "requests": "Requests to the provider of dense vectors.",
    "cache_hits": "Texts whose dense vectors the embedding cache had.",
    "retries": "Requests that were sent again.",
    "failures": "Documents that were left as they were.",
    "pauses": "How often nothing more was prepared, since memory was used up.",
    "seals": "How often an embedded index was made to hold less in memory.",
    "helper_documents": "Documents that processes that help have read.",
    "helper_bytes": "Bytes of their texts.",
}
assert set(_COUNTS) == set(get_args(Count))

_LEVELS: Mapping[str, tuple[str, str]] = {
    "queue": ("queue_batches", "Batches that wait in the pipeline, the most that were seen."),
    "memory": ("memory_bytes", "Bytes of the process in RAM, the most that were sampled."),
    "helper_memory": ("helper_memory_bytes", "Bytes of the processes that help, the most that were seen."),
    "pace": ("pace_ratio", "The share of usual batches that memory allowed, the least that was seen."),
}
assert set(_LEVELS) == set(get_args(Level))


def render(measured: Measured, *, name: str, at: float, is_over: bool, is_well: bool) -> str:
    """The file's text.

    Args:
        measured: The run.
        name: The config's name, which tells its figures from those of others.
        at: When they were taken, in seconds since 1970.
        is_over: Whether the run has ended.
        is_well: Whether it has ended with all documents done.
    """
    lines: list[str] = []
    run = {"name": name}

    def gauge(metric: str, text: str, values: Iterable[tuple[Mapping[str, str], float]]) -> None:
        lines.extend((f"# TYPE {metric} gauge", f"# HELP {metric} {text}"))
        lines.extend(_line(metric, labels, value) for labels, value in values)

    gauge("qloader_run_seconds", "How long the run has worked.", [(run, measured.seconds)])
    gauge("qloader_run_updated_timestamp_seconds", "When these figures were taken.", [(run, at)])
    gauge("qloader_run_over", "1 where the run has ended, 0 while it goes on.", [(run, float(is_over))])
    gauge("qloader_run_success", "1 where it has ended with all documents done.", [(run, float(is_over and is_well))])
    for count, text in _COUNTS.items():
        found = sorted((source, number) for (counted, source), number in measured.counts.items() if counted == count)
        series = [(run | {"source": source}, float(number)) for source, number in found or [("", 0)]]
        gauge(f"qloader_run_{count}", text, series)
    for level, (metric, text) in _LEVELS.items():
        if level in measured.levels:
            gauge(f"qloader_run_{metric}", text, [(run, measured.extreme(level))])
    if measured.memory_peak:
        text = "The most bytes that the process ever had in RAM."
        gauge("qloader_run_memory_peak_bytes", text, [(run, float(measured.memory_peak))])
    cpu = [(run | {"process": process}, seconds) for process, seconds in sorted(measured.cpu.items())]
    gauge("qloader_run_cpu_seconds", "Seconds of CPU time, of the process and of those that help it.", cpu)
    busy = [(run | {"stage": stage}, seconds) for stage, seconds in sorted(measured.busy.items())]
    gauge("qloader_run_stage_busy_seconds", "Seconds in which something of the run was in a stage.", busy)
    lines.extend(_spans(measured, run))
    return "\n".join([*lines, "# EOF", ""])


def _spans(measured: Measured, run: Mapping[str, str]) -> Iterator[str]:
    metric = "qloader_run_stage_seconds"
    yield f"# TYPE {metric} summary"
    yield f"# HELP {metric} Seconds of each stretch of work in a stage, such as one batch."
    for (stage, source), histogram in sorted(measured.spans.items()):
        labels = {**run, "stage": stage, "source": source}
        for share in QUANTILES:
            yield _line(metric, {**labels, "quantile": f"{share:g}"}, histogram.quantile(share))
        yield _line(f"{metric}_count", labels, histogram.count)
        yield _line(f"{metric}_sum", labels, histogram.total)


def _line(metric: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
    return f"{metric}{{{inside}}} {value!r}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def write_whole(path: Path, text: str) -> None:
    """Puts a file in its place at once, so that no reader ever sees half of it. Others may read it.

    Raises:
        OSError: It cannot be written; what was there stays.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # the collector reads what ends in .prom alone
    try:
        beside.write_text(text, encoding="utf-8")
        beside.chmod(0o644)
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
