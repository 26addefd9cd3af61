"""Measuring a run, from its plan to the end of its apply, and telling others: state, files, a collector, a log.

A run is measured where somebody wants to know: an apply where `monitoring.metrics.enabled` says so, a plan where it is
logged or traced. Nothing here ends a run. What is asked for and cannot be done is refused before it begins; what goes
wrong later is said at the end.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.errors import ConfigError
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.applying.events import Event, Listener
    from qloader.applying.result import ApplyResult
    from qloader.telemetry.log import Log, LogLevel
    from qloader.telemetry.measured import Measured
    from qloader.telemetry.measures import Measures
    from qloader.telemetry.otlp import Otlp
    from qloader.workspace.planning import PlanResult

LOG_MODE = 0o600
"""A log names documents, as the state does: it is for its owner."""


@dataclass(slots=True)
class Measuring:
    """A measurement that goes on.

    Attributes:
        settings: The config's, with this as who is told.
        measures: What was told so far; None where nobody measures.
        log: Where records go; None where nobody keeps any.
        outcome: How the apply ended; None before that.
    """

    settings: Settings
    measures: Measures | None = None
    log: Log | None = None
    outcome: ApplyResult | None = None

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """A stretch of the run: what passes outside of one, such as the time to an answer, is no time of it."""
        if self.measures is None:
            yield
            return
        with self.measures.working():
            yield

    def planned(self, result: PlanResult) -> None:
        """A plan was made."""
        if self.log is None:
            return
        header = result.plan.header
        refusal = None if result.refusal is None else str(result.refusal)
        facts = {"plan": header.digest, "changes": header.summary.changes, "refusal": refusal}
        self.log.record("info" if refusal is None else "warning", "planned", **facts)

    def listener(self, inner: Listener) -> Listener:
        """Tells somebody of an apply's events, and the log."""
        log, measures = self.log, self.measures
        if log is None:
            return inner
        from qloader.applying.events import DocumentDone
        from qloader.planning.plan import PlanWarning
        from qloader.render.events import event_as_dict

        def told(event: Event) -> None:
            log.run = measures.run if measures is not None else None
            level: LogLevel = "info"
            if isinstance(event, DocumentDone):
                level = "warning" if event.outcome == "left" else "debug"
            elif isinstance(event, PlanWarning):
                level = "warning"
            facts = event_as_dict(event)
            log.record(level, facts.pop("event"), **facts)
            inner(event)

        return told


@contextlib.contextmanager
def measuring(
    settings: Settings, *, is_apply: bool, profile: Path | None = None, log: Log | None = None
) -> Iterator[Measuring]:
    """Measures what is done in the `with` block as one run.

    Args:
        settings: The config and what follows from it.
        is_apply: Whether something is applied: figures are kept and sent of applies alone.
        profile: A file for a trace of it.
        log: Where records go, if not where `monitoring.logs` says.

    Raises:
        ConfigError: The trace or the log cannot be written, or a package for `monitoring.otlp` is missing.
    """
    monitoring = settings.config.monitoring
    is_kept = is_apply and (monitoring is None or monitoring.metrics.enabled)
    is_told = monitoring is not None and (
        monitoring.logs.path is not None or (is_apply and bool(monitoring.openmetrics or monitoring.otlp))
    )
    if not (is_kept or is_told or profile is not None or log is not None):
        yield Measuring(settings)
        return
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(_measuring(settings, stack, is_apply=is_apply, profile=profile, log=log))


@contextlib.contextmanager
def _measuring(
    settings: Settings, stack: contextlib.ExitStack, *, is_apply: bool, profile: Path | None, log: Log | None
) -> Iterator[Measuring]:
    from qloader.telemetry.measures import Measures
    from qloader.telemetry.sampler import Sampler
    from qloader.telemetry.trace import Trace

    monitoring = settings.monitoring
    invocation = os.urandom(6).hex()
    log = log or _configured_log(settings, invocation, stack)
    trace = None
    if profile is not None:
        try:
            trace = Trace(profile, f"qloader {settings.config.name}")
        except OSError as error:
            raise ConfigError(
                f"--profile: the trace {profile} cannot be written: {error.strerror}",
                remedy="Name a file in a folder that is there. Nothing was changed.",
            ) from error
        stack.callback(trace.close)
    measures = Measures(watchers=() if trace is None else (trace,))
    outlets = _Outlets(settings, measures, invocation) if is_apply else None
    made = Measuring(settings.measured_by(measures, _telling(settings.tell, log)), measures, log)
    sampler = Sampler(measures, monitoring.metrics.interval, outlets.tell if outlets else lambda: None)
    is_well = True
    sampler.start()
    try:
        yield made
    except BaseException as error:
        is_well = False
        _log_error(log, measures, error)
        raise
    finally:
        sampler.stop()
        if outlets is not None:
            is_done = is_well and (made.outcome is None or made.outcome.is_complete)
            outlets.tell(is_over=True, is_well=is_done)
            for sentence in outlets.problems.values():
                made.settings.tell(sentence)
        if log is not None:
            log.record("info", "measured", **as_facts(measures.measured()))
        if trace is not None and not trace.is_whole:
            made.settings.tell(f"The trace {profile} is not whole: its disk is full.")


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
            from qloader.telemetry.openmetrics import render, write_whole

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
        ConfigError: It cannot be written.
    """
    from qloader.telemetry.log import Log

    try:
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, LOG_MODE)
    except OSError as error:
        raise ConfigError(
            f"{what}: the log {path} cannot be written: {error.strerror}",
            remedy="Name a file in a folder that is there and may be written. Nothing was changed.",
        ) from error
    stack.callback(os.close, number)
    return Log(lambda line: os.write(number, line.encode()), invocation=invocation, level=level)


def _telling(tell: Callable[[str], None], log: Log | None) -> Callable[[str], None]:
    if log is None:
        return tell

    def both(sentence: str) -> None:
        log.record("info", "note", message=sentence)
        tell(sentence)

    return both


def _log_error(log: Log | None, measures: Measures, error: BaseException) -> None:
    if log is None:
        return
    from qloader.render.events import error_as_dict

    log.run, log.told = measures.run, error
    facts = error_as_dict(error)
    log.record("error", facts.pop("event"), **facts)
