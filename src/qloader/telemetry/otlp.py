"""A run's figures for an OpenTelemetry collector, over OTLP/HTTP. Needs the packages of the extra `otlp`."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from qloader import __version__
from qloader.errors import ConfigError
from qloader.telemetry.histogram import BUCKETS_A_DOUBLING, Histogram
from qloader.telemetry.measured import Measured

MOST_BUCKETS = 160
"""What collectors take by themselves; of more, two and two are put together, which halves the exactness."""

_SCALE = BUCKETS_A_DOUBLING.bit_length() - 1


class Otlp:
    """Sends figures; each time all of the run so far.

    Args:
        url: The collector, e.g. `http://localhost:4318`; metrics go to `/v1/metrics` below it.
        headers: Sent with every request.
        timeout: Seconds for one time, with what is tried again.
        name: The config's name.
        invocation: What tells this run from others.
        start: When it began, in nanoseconds since 1970.

    Raises:
        ConfigError: The packages are missing.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout: float, *, name: str, invocation: str, start: int
    ) -> None:
        self._points = _package("opentelemetry.sdk.metrics.export")
        resources = _package("opentelemetry.sdk.resources")
        scopes = _package("opentelemetry.sdk.util.instrumentation")
        exporters = _package("opentelemetry.exporter.otlp.proto.http.metric_exporter")
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())  # what goes wrong is told by us, once
        attributes = {
            "service.name": "qloader",
            "service.version": __version__,
            "service.instance.id": invocation,
            "qloader.name": name,
        }
        self._resource = resources.Resource.create(attributes)
        self._scope = scopes.InstrumentationScope("qloader", __version__)
        self._exporter = exporters.OTLPMetricExporter(
            endpoint=f"{url.rstrip('/')}/v1/metrics", headers=dict(headers), timeout=timeout
        )
        self._start = start

    def send(self, measured: Measured, at: int) -> bool:
        """Sends the figures of a moment, in nanoseconds since 1970; False where they did not arrive."""
        points = self._points
        scope = points.ScopeMetrics(self._scope, list(self._metrics(measured, at)), "")
        resource = points.ResourceMetrics(self._resource, [scope], "")
        try:
            return bool(self._exporter.export(points.MetricsData([resource])) is points.MetricExportResult.SUCCESS)
        except Exception:  # whatever is wrong with a package or a collector, the run is not about it
            return False

    def close(self) -> None:
        """Lets go of the connection."""
        self._exporter.shutdown()

    def _metrics(self, measured: Measured, at: int) -> Iterable[Any]:
        points = self._points
        cumulative = points.AggregationTemporality.CUMULATIVE

        def number(value: float, **labels: str) -> Any:
            return points.NumberDataPoint(labels, self._start, at, value)

        def gauge(name: str, unit: str, values: Iterable[Any]) -> Any:
            return points.Metric(name, "", unit, points.Gauge(list(values)))

        for name in sorted({name for name, _ in measured.counts}):
            found = [number(n, source=source) for (counted, source), n in measured.counts.items() if counted == name]
            yield points.Metric(f"qloader.{name}", "", "1", points.Sum(found, cumulative, is_monotonic=True))
        yield gauge("qloader.run.time", "s", [number(measured.seconds)])
        busy = [number(seconds, stage=stage) for stage, seconds in measured.busy.items()]
        yield gauge("qloader.stage.busy", "s", busy)
        for name in measured.levels:
            unit = "By" if name.endswith("memory") else "1"
            yield gauge(f"qloader.{name}", unit, [number(measured.extreme(name))])
        cpu = [number(seconds, process=process) for process, seconds in measured.cpu.items()]
        yield gauge("qloader.cpu.time", "s", cpu)
        if measured.memory_peak:
            yield gauge("qloader.memory.peak", "By", [number(measured.memory_peak)])
        spans = [
            self._spread(histogram, at, {"stage": stage, "source": source})
            for (stage, source), histogram in measured.spans.items()
        ]
        yield points.Metric("qloader.stage.time", "", "s", points.ExponentialHistogram(spans, cumulative))

    def _spread(self, histogram: Histogram, at: int, labels: Mapping[str, str]) -> Any:
        points = self._points
        scale, offset, counts = scaled(histogram.buckets)
        return points.ExponentialHistogramDataPoint(
            attributes=labels,
            start_time_unix_nano=self._start,
            time_unix_nano=at,
            count=histogram.count,
            sum=histogram.total,
            scale=scale,
            zero_count=histogram.zeros,
            positive=points.Buckets(offset, counts),
            negative=points.Buckets(0, []),
            flags=0,
            min=histogram.least if histogram.count else 0.0,
            max=histogram.most,
        )


def scaled(buckets: Mapping[int, int]) -> tuple[int, int, list[int]]:
    """Buckets as OpenTelemetry has them: the scale, the first one's number, and the counts from there on."""
    scale, found = _SCALE, dict(buckets)
    if not found:
        return scale, 0, []
    while max(found) - min(found) >= MOST_BUCKETS:
        scale -= 1
        halved: dict[int, int] = {}
        for bucket, count in found.items():
            halved[bucket >> 1] = halved.get(bucket >> 1, 0) + count
        found = halved
    first = min(found)
    return scale, first, [found.get(bucket, 0) for bucket in range(first, max(found) + 1)]


def _package(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"monitoring.otlp needs a package that is not installed: {error.name or module}",
            remedy='Install it: pip install "qloader[otlp]", or leave monitoring.otlp out. Nothing was changed.',
        ) from error
