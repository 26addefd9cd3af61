"""Who is told of a run that is measured: the files, the collector and the log that the config or the command names."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.errors import ConfigError
from qloader.outputs import check_replaceable
from qloader.render.events import error_as_dict
from qloader.telemetry.log import Log, LogLevel, is_log
from qloader.telemetry.measured import Measured
from qloader.telemetry.measures import Measures
from qloader.telemetry.openmetrics import render, write_whole
from qloader.telemetry.sampler import Sampler
from qloader.telemetry.trace import Trace, is_trace
from qloader.workspace.measuring import Measuring
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.telemetry.otlp import Otlp

LOG_MODE = 0o600
"""A log names documents, as the state does: it is for its owner."""


@contextlib.contextmanager
def telling(settings: Settings, *, is_apply: bool, profile: Path | None, log: Log | None) -> Iterator[Measuring]:
    """Measures what is done in the `with` block; as `measuring.measuring`, where somebody wants to know."""
    invocation = os.urandom(6).hex() if log is None else log.invocation
    with contextlib.ExitStack() as stack:
        log = log or _configured_log(settings, invocation, stack)
        trace = None if profile is None else _open_trace(profile, settings)
        measures = Measures(watchers=() if trace is None else (trace,))
        outlets = _Outlets(settings, measures, invocation) if is_apply else None
        run = Measuring(settings.measured_by(measures, _tell_both(settings.tell, log)), measures, log)
        if trace is not None:
            stack.callback(_close_trace, trace, profile, run)
        stack.callback(_log_figures, run)
        sampler = Sampler(measures, settings.monitoring.metrics.interval, outlets.tell if outlets else lambda: None)
        sampler.start()
        is_well = False
        try:
            yield run
            is_well = run.outcome is None or run.outcome.is_complete
        except BaseException as error:
            _log_error(log, measures, error)
            raise
        finally:
            sampler.stop()
            if outlets is not None:
                outlets.tell(is_over=True, is_well=is_well)
                for sentence in outlets.problems.values():
                    run.settings.tell(sentence)


def _open_trace(path: Path, settings: Settings) -> Trace:
    check_replaceable(path, is_trace, what="trace")
    try:
        return Trace(path, f"qloader {settings.config.name}")
    except OSError as error:
        raise ConfigError(
            f"--profile: the trace {path} cannot be written: {error.strerror}",
            remedy="Name a file in a folder that is there. Nothing was changed.",
        ) from error


def _close_trace(trace: Trace, path: Path | None, run: Measuring) -> None:
    trace.close()
    if not trace.is_whole:
        run.settings.tell(f"The trace {path} is not whole: its disk is full.")


def _log_figures(run: Measuring) -> None:
    if run.log is not None and run.measures is not None:
        run.log.record("info", "measured", **as_facts(run.measures.measured()))


def as_facts(measured: Measured) -> dict[str, object]:
    """A run's figures in brief, as JSON values."""
    names = sorted({name for name, _ in measured.counts})
    return {
        "seconds": round(measured.seconds, 3),
        **{name: measured.count(name) for name in names},
        "busy": {stage: round(seconds, 3) for stage, seconds in sorted(measured.busy.items())},
        "memory_peak": measured.memory_peak,
    }


@dataclass(slots=True)
class _Outlets:
    """Who is told of an apply's figures at each interval and at its end, beside the state.

    Attributes:
        problems: What went wrong, a sentence each, by the outlet; the last time counts.
    """

    settings: Settings
    measures: Measures
    invocation: str
    problems: dict[str, str] = field(default_factory=dict)
    _otlp: Otlp | None = None

    def __post_init__(self) -> None:
        otlp = self.settings.monitoring.otlp
        if otlp is not None:
            from qloader.telemetry.otlp import Otlp

            self._otlp = Otlp(
                otlp.url,
                {name: value.get_secret_value() for name, value in otlp.headers.items()},
                otlp.timeout,
                name=self.settings.config.name,
                invocation=self.invocation,
                start=time.time_ns(),
            )

    def tell(self, *, is_over: bool = False, is_well: bool = False) -> None:
        """Tells all; what goes wrong is noted."""
        measured, monitoring = self.measures.measured(), self.settings.monitoring
        if monitoring.openmetrics is not None:
            path = self.settings.config.base / monitoring.openmetrics
            text = render(measured, name=self.settings.config.name, at=time.time(), is_over=is_over, is_well=is_well)
            self.problems.pop("openmetrics", None)
            try:
                write_whole(path, text)
            except OSError as error:
                self.problems["openmetrics"] = f"monitoring.openmetrics: {path} was not written: {error.strerror}."
        if self._otlp is not None:
            self.problems.pop("otlp", None)
            if not self._otlp.send(measured, time.time_ns()):
                url = monitoring.otlp.url if monitoring.otlp is not None else ""
                self.problems["otlp"] = f"monitoring.otlp: the collector {url} did not take the figures."
            if is_over:
                self._otlp.close()


def _configured_log(settings: Settings, invocation: str, stack: contextlib.ExitStack) -> Log | None:
    """The log that the config names, opened."""
    logs = settings.monitoring.logs
    if logs.path is None:
        return None
    return open_log(
        settings.config.base / logs.path, invocation, level=logs.level, what="monitoring.logs.path", stack=stack
    )


def open_log(path: Path, invocation: str, *, level: LogLevel, what: str, stack: contextlib.ExitStack) -> Log:
    """Opens a log that is added to; several processes may at once.

    Args:
        path: The file.
        invocation: What tells this run's records from others'.
        level: What is left out: records below it.
        what: Who named the file, for the error.
        stack: Closes it.

    Raises:
        ConfigError: It cannot be written, or is no log.
    """
    check_replaceable(path, is_log, what="log of JSON lines")
    try:
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, LOG_MODE)
    except OSError as error:
        raise ConfigError(
            f"{what}: the log {path} cannot be written: {error.strerror}",
            remedy="Name a file in a folder that is there and may be written. Nothing was changed.",
        ) from error
    stack.callback(os.close, number)
    return Log(lambda line: os.write(number, line.encode()), invocation=invocation, level=level)


def _tell_both(tell: Callable[[str], None], log: Log | None) -> Callable[[str], None]:
    if log is None:
        return tell

    def both(sentence: str) -> None:
        log.record("info", "note", message=sentence)
        tell(sentence)

    return both


def _log_error(log: Log | None, measures: Measures, error: BaseException) -> None:
    if log is None:
        return
    log.run, log.told = measures.run, error
    facts = error_as_dict(error)
    log.record("error", facts.pop("event"), **facts)
