"""Measuring a run, from its plan to the end of its apply. `plan` imports this module, and `telling.py` where it must.

A run is measured where somebody wants to know: an apply where `monitoring.metrics.enabled` says so, a plan where it is
logged or traced. Nothing here ends a run. What is asked for and cannot be done is refused before it begins; what goes
wrong later is said at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qloader.applying.events import Event, Listener
    from qloader.applying.result import ApplyResult
    from qloader.telemetry.log import Log, LogLevel
    from qloader.telemetry.measures import Measures
    from qloader.workspace.planning import PlanResult
    from qloader.workspace.settings import Settings


class Measuring:
    """A measurement that goes on.

    Attributes:
        settings: The config's, with this as who is told.
        measures: What was told so far; None where nobody measures.
        log: Where records go; None where nobody keeps any.
        outcome: How the apply ended; None before that.
    """

    def __init__(self, settings: Settings, measures: Measures | None = None, log: Log | None = None) -> None:
        self.settings = settings
        self.measures = measures
        self.log = log
        self.outcome: ApplyResult | None = None

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
    from qloader.workspace.telling import telling

    with telling(settings, is_apply=is_apply, profile=profile, log=log) as run:
        yield run
