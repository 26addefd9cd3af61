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
from qloader.errors import GuardError, InterruptedRunError, QloaderError, SourceError
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
        left: The sources of which documents were left as they were.
        partial: Sources that could not be listed as far as was asked, each with the reasons.
        warnings: What else the plan warns of, a sentence each.
    """

    look: Look
    end: End
    started: Moment
    seconds: float = 0.0
    result: ApplyResult | None = None
    error: Exception | None = None
    is_by_source: bool = False
    left: frozenset[str] = frozenset()
    partial: tuple[tuple[str, tuple[str, ...]], ...] = ()
    warnings: tuple[str, ...] = ()


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
        except InterruptedRunError:
            raise
        except Exception as error:  # a service outlives what ends a command
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
        with workspace.measured(is_apply=True, log=self._log), self._planning(workspace, request) as planned:
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
        self._recorded.update((source.name, source.revision) for source in header.sources)
        return replace(
            outcome,
            end="unchanged" if header.is_empty else "applied",
            result=result,
            left=frozenset(failure.source for failure in result.failures),
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
            with workspace.temporary_plan(request) as planned:
                self.is_planning = False
                yield planned
        finally:
            self.is_planning = False

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
    if isinstance(error, QloaderError):
        return str(error), error.remedy
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}", "Free space or fix permissions; the service tries again by itself."
    at = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in at)
    remedy = "This is a bug in qloader; report it with what is said here. The service tries again by itself."
    return f"unexpected {type(error).__name__}: {error}{where}", remedy
