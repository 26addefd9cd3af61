"""OTLP against a real receiver on the loopback, which reads what comes with OpenTelemetry's own messages."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qloader import Workspace
from qloader.errors import ConfigError
from qloader.telemetry.histogram import Histogram
from qloader.telemetry.otlp import MOST_BUCKETS, scaled
from servers.serving import serve
from support.command_line import some_documents
from support.workspaces import make_workspace, plan_and_apply, write


@dataclass
class Receiver:
    """What a collector was sent, message by message, and the header `authorization` of each."""

    messages: list[ExportMetricsServiceRequest] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def take(self, request: Request) -> Response:
        message = ExportMetricsServiceRequest.FromString(await request.body())
        with self._lock:
            self.messages.append(message)
            self.keys.append(request.headers.get("authorization"))
        return Response(b"", media_type="application/x-protobuf")


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/v1/metrics", receiver.take, methods=["POST"])])
    with serve(app) as url:
        yield receiver, url


def configured(folder: Path, monitoring: str) -> Workspace:
    workspace = make_workspace(folder, batch=20)
    write(folder / "docs", some_documents(7))
    file = workspace.settings.config.file
    file.write_text(f"{file.read_text()}monitoring: {monitoring}\n")
    return Workspace.open(file)


def test_a_collector_is_sent_the_figures_of_an_apply(tmp_path: Path, receiver: tuple[Receiver, str]) -> None:
    told, url = receiver
    workspace = configured(tmp_path, f"{{otlp: {{url: '{url}', headers: {{authorization: a-key}}}}}}")
    plan_and_apply(workspace)
    (message,), (key,) = told.messages, told.keys
    assert key == "a-key"
    (resource,) = message.resource_metrics
    attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert (attributes["service.name"], attributes["qloader.name"]) == ("qloader", "test")
    metrics = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
    (documents,) = metrics["qloader.documents"].sum.data_points
    assert documents.as_int == 7
    assert {a.key: a.value.string_value for a in documents.attributes} == {"source": "docs"}
    assert metrics["qloader.documents"].sum.is_monotonic
    writes = [
        point
        for point in metrics["qloader.stage.time"].exponential_histogram.data_points
        if ("stage", "write") in {(a.key, a.value.string_value) for a in point.attributes}
    ]
    assert [point.count for point in writes] == [1]
    assert sum(writes[0].positive.bucket_counts) == 1
    (measured,) = workspace.measurements(workspace.history()).values()
    assert writes[0].sum == measured.spans["write", "docs"].total
    first = writes[0].positive.offset
    base = 2.0 ** (2.0 ** -writes[0].scale)
    assert base**first < writes[0].sum <= base ** (first + 1)
    assert metrics["qloader.run.time"].gauge.data_points[0].as_double > 0


def test_a_collector_that_is_not_there_is_said_and_ends_no_run(tmp_path: Path) -> None:
    said: list[str] = []
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        monitoring = f"{{otlp: {{url: 'http://127.0.0.1:{port}', timeout: 100ms}}}}"
        workspace = Workspace.open(configured(tmp_path, monitoring).settings.config.file, tell=said.append)
        assert plan_and_apply(workspace).created == 7
    assert said == [f"monitoring.otlp: the collector http://127.0.0.1:{port} did not take the figures."]


def test_a_missing_package_is_said_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = configured(tmp_path, "{otlp: {url: 'http://127.0.0.1:9'}}")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    with pytest.raises(ConfigError, match=r"monitoring\.otlp needs a package that is not installed") as error:
        plan_and_apply(workspace)
    assert 'pip install "qloader[otlp]"' in error.value.remedy
    assert workspace.status().header is None


@given(st.lists(st.floats(min_value=1e-9, max_value=1e15), min_size=1, max_size=60))
def test_buckets_are_sent_as_few_as_a_collector_takes_and_none_of_their_values_is_lost(values: list[float]) -> None:
    scale, first, counts = scaled(Histogram.of(values).buckets)
    assert len(counts) <= MOST_BUCKETS
    assert sum(counts) == len(values)
    base = 2.0 ** (2.0**-scale)
    assert base**first <= min(values) * (1 + 1e-9)
    assert base ** (first + len(counts)) >= max(values) * (1 - 1e-9)
