"""One look: a plan, its guards, its apply, as `ingest` does it; and what came of it, whatever happened."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qloader.applying.events import Listener
from qloader.errors import GuardError, InterruptedRunError, QloaderError, SourceError, out_of_memory
from qloader.sources.protocol import only_since
from qloader.watching.agenda import Look
from qloader.watching.moments import Moment
from qloader.workspace.planning import PlanRequest
from qloader.workspace.settings import Settings
from qloader.workspace.since import Since
from qloader.workspace.workspace import Workspace

if TYPE_CHECKING:
    from qloader.applying.result import ApplyResult
    from qloader.planning.plan import PlanHeader
    from qloader.telemetry.log import Log
    from qloader.telemetry.measured import Measured
    from qloader.workspace.planning import PlanResult

End = Literal["applied", "unchanged", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a look.

    Attributes:
        look: The look.
        end: `applied`, `unchanged` where there was nothing to do, `refused` by guards or policies, or `failed`.
        started: When it began.
        seconds: How long it took.
        result: What the apply did; None where there was none.
        error: Why it was refused or failed.
        is_by_source: Whether the sources would fare differently, were each looked at by itself.
        partial: Sources that could not be listed as far as was asked, each with the reasons.
        warnings: What else the plan warns of, a sentence each.
        measured: The figures of the run, where one was applied and is measured.
    """

    look: Look
    end: End
    started: Moment
    seconds: float = 0.0
    result: ApplyResult | None = None
    error: Exception | None = None
    is_by_source: bool = False
    partial: tuple[tuple[str, tuple[str, ...]], ...] = ()
    warnings: tuple[str, ...] = ()
    measured: Measured | None = None

    @property
    def is_complete(self) -> bool:
        """Whether no document was left as it was."""
        return self.result is None or self.result.is_complete

    def left(self, source: str) -> tuple[str, ...]:
        """Why documents of a source were left as they were."""
        failures = () if self.result is None else self.result.failures
        return tuple(f"{one.document_id}: {one.detail}" for one in failures if one.source == source)

    def missed(self, source: str) -> tuple[str, ...]:
        """Why not all of a source is in the index, as far as it was to be."""
        return (*dict(self.partial).get(source, ()), *self.left(source))


class Looker:
    """Carries out looks, one after the other, in the thread that calls it.

    Attributes:
        is_planning: Whether nothing but a plan is being made, which may be given up at any instant.
        is_applying: Whether a plan is being applied.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        should_stop: Callable[[], bool],
        listener: Listener,
        tell: Callable[[str], None],
        log: Log | None = None,
    ) -> None:
        """Prepares everything.

        Args:
            settings: The config and what follows from it.
            should_stop: Asked at each batch edge of an apply.
            listener: Told of each event of an apply.
            tell: Says a sentence to whoever runs this.
            log: Where records of runs go, if not where the config says.
        """
        self.is_planning = self.is_applying = False
        self._config = settings.config
        self._tell = tell
        self._log = log
        self._should_stop = should_stop
        self._listener = listener
        self._recorded: dict[str, str | None] = {}
        self._all = frozenset(settings.config.sources)

    def look(self, look: Look) -> Outcome:
        """Plans and applies; whatever goes wrong is part of the outcome.

        Raises:
            InterruptedRunError: `should_stop` said so; what was committed stays.
            KeyboardInterrupt: Somebody wants it to stop at once; what was committed stays.
        """
        outcome = Outcome(look, "unchanged", Moment())
        try:
            outcome = self._look(outcome)
        except Exception as error:  # a service outlives what ends a command
            if isinstance(error, InterruptedRunError) and self._should_stop():
                raise
            refused = isinstance(error, GuardError)
            outcome = replace(
                outcome,
                end="refused" if refused else "failed",
                error=error,
                is_by_source=isinstance(error, SourceError),
            )
        return replace(outcome, seconds=time.monotonic() - outcome.started.steady)

    def _look(self, outcome: Outcome) -> Outcome:
        look = outcome.look
        # A workspace of its own for each look: what one remembers of the state must not outlive it.
        workspace = Workspace(Settings.of(self._config, tell=self._tell))
        request = self._request(look)
        measuring = workspace.measured(is_apply=True, log=self._log)
        with measuring as run, self._planning(workspace, request) as planned:
            header = planned.plan.header
            outcome = replace(outcome, warnings=_warnings(header, planned), partial=_partial(header, request))
            if planned.refusal is not None:
                # A policy looks at a plan as a whole, and must not be got round by cutting it up; guards go by source.
                by_policy = any(one.result == "denied" for one in planned.outcomes)
                return replace(outcome, end="refused", error=planned.refusal, is_by_source=not by_policy)
            if header.is_empty and not self._is_worth_a_record(header, look):
                return outcome
            self.is_applying = True
            try:
                result = workspace.apply(planned.plan, should_stop=self._should_stop, listener=self._listener)
            finally:
                self.is_applying = False
            measured = None if run.measures is None else run.measures.measured()
        self._recorded.update((source.name, source.revision) for source in header.sources)
        return replace(
            outcome,
            end="unchanged" if header.is_empty else "applied",
            result=result,
            measured=measured,
        )

    def _request(self, look: Look) -> PlanRequest:
        if look.since is not None:
            return PlanRequest(look.sources, since=Since(datetime.now(UTC) - timedelta(seconds=look.since)))
        # Only where all are planned, sources that left the config are planned away.
        return PlanRequest(None if set(look.sources) == self._all else look.sources)

    @contextmanager
    def _planning(self, workspace: Workspace, request: PlanRequest) -> Iterator[PlanResult]:
        self.is_planning = True
        try:
            self._check_wanted()  # a signal that came before is_planning was set has raised nothing
            with workspace.temporary_plan(request) as planned:
                self.is_planning = False
                self._check_wanted()
                yield planned
        finally:
            self.is_planning = False

    def _check_wanted(self) -> None:
        if self._should_stop():
            raise InterruptedRunError("stopped before anything was changed")

    def _is_worth_a_record(self, header: PlanHeader, look: Look) -> bool:
        """Whether a look that found nothing to do is applied all the same: the first one, and one at another commit."""
        if look.since is not None:
            return False
        return any(self._recorded.get(source.name, "") != source.revision for source in header.sources)


def _warnings(header: PlanHeader, planned: PlanResult) -> tuple[str, ...]:
    told = tuple(f"{w.source}: {w.message}" for w in header.warnings if w.kind != "incomplete")
    return (*told, *planned.notes)


def _partial(header: PlanHeader, request: PlanRequest) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The sources that said why something was not listed, beyond what was not asked for."""
    since = request.since
    asked = None if since is None or since.moment is None else only_since(since.moment)
    found: dict[str, list[str]] = {}
    for warning in header.warnings:
        if warning.kind == "incomplete" and (asked is None or asked not in warning.message):
            found.setdefault(warning.source, []).append(warning.message)
    return tuple((name, tuple(sorted(reasons))) for name, reasons in found.items())


def explain(error: Exception) -> tuple[str, str]:
    """An error as a sentence and its remedy."""
    error = out_of_memory(error) or error
    if isinstance(error, QloaderError):
        return str(error), error.remedy
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}", "Free space or fix permissions; the service tries again by itself."
    at = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in at)
    remedy = "This is a bug in qloader; report it with what is said here. The service tries again by itself."
    return f"unexpected {type(error).__name__}: {error}{where}", remedy
