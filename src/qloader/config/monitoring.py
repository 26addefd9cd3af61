"""What a config says of measuring runs and of telling others. Its models are made where a config has the section."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from qloader.config.fields import Section, Text, empty_is_none, none_is_empty, split_http
from qloader.config.units import Duration, Retention


def _check_collector(value: str) -> str:
    parts = split_http(value)
    if parts is None:
        raise ValueError("expected the address of a collector, such as http://localhost:4318")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("expected an address without a user, password, query or fragment; a key belongs in headers")
    return value


def _is_here(url: str) -> bool:
    """Whether an address is one of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class MetricsConfig(Section):
    """What is measured of each apply and kept in the state; `qloader history --metrics` shows it."""

    enabled: bool = Field(default=True, description="Whether applies are measured for the state.")
    interval: Duration = Field(
        default=60.0,
        description="How often a run that goes on is sampled, its figures written to the state at the next batch edge, "
        "and `openmetrics` and `otlp` told.",
    )
    retention: Retention = Field(
        default=30 * 86400.0, description="How long the figures of past runs are kept; `null` is as long as the runs."
    )


class OtlpConfig(Section):
    """A collector of OpenTelemetry that is sent each apply's figures; `pip install "qloader[otlp]"`."""

    url: Annotated[str, AfterValidator(_check_collector)] = Field(
        description="The collector over OTLP/HTTP, e.g. `http://localhost:4318`; `/v1/metrics` is added."
    )
    headers: Annotated[dict[Text, SecretStr], BeforeValidator(none_is_empty)] = Field(
        default_factory=dict, description="Sent with every request; the values are never shown."
    )
    timeout: Duration = Field(default=10.0, description="How long one time may take, with what is tried again.")

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        url = info.data.get("url", "")
        if value and url.startswith("http:") and not _is_here(url):
            raise ValueError("headers may hold a key, and the collector's address is without encryption; use https://")
        return value


class LogsConfig(Section):
    """A file with a record of JSON for each thing that happens, one a line."""

    path: Annotated[Text | None, BeforeValidator(empty_is_none)] = Field(
        default=None, description="The file, relative to the config; it is added to. Without it there is none."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is left out: records below it. `debug` has one for each document."
    )


class MonitoringConfig(Section):
    """How runs are measured, and who is told."""

    metrics: MetricsConfig = Field(default_factory=MetricsConfig, description="See below.")
    openmetrics: Annotated[Text | None, BeforeValidator(empty_is_none)] = Field(
        default=None,
        description="A text file with the figures of the last apply, relative to the config: a `.prom` file in the "
        "folder of node_exporter's textfile collector.",
    )
    otlp: OtlpConfig | None = Field(default=None, description="A collector of OpenTelemetry. See below.")
    logs: LogsConfig = Field(default_factory=LogsConfig, description="See below.")
