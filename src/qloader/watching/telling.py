"""What a service tells of itself: events, as sentences for people and as JSON values for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qloader.applying.events import Event
from qloader.applying.result import ApplyResult
from qloader.counting import counted
from qloader.watching.agenda import Habit
from qloader.watching.looking import Outcome, explain


@dataclass(frozen=True, slots=True)
class Watching:
    """The service is up.

    Attributes:
        name: The config's name.
        habits: How each source is looked at.
        address: Where it listens; None where it does not.
    """

    name: str
    habits: Mapping[str, Habit]
    address: str | None


@dataclass(frozen=True, slots=True)
class Looked:
    """A look is over.

    Attributes:
        outcome: What came of it.
        by: Who told of a change; empty where it was time.
        retry: Seconds until it is tried again, where it failed.
        is_news: Whether it ended otherwise than the one before; people are told the same failure once.
    """

    outcome: Outcome
    by: tuple[str, ...] = ()
    retry: float | None = None
    is_news: bool = True


@dataclass(frozen=True, slots=True)
class Stopped:
    """The service has ended, as it was asked to."""


WatchEvent = Watching | Looked | Stopped | Event
"""The events of an apply come between, as they do from `qloader apply`."""

Teller = Callable[[WatchEvent], None]


def sentences(event: WatchEvent) -> list[str]:
    """An event for people; none where nothing happened that they would want to read."""
    match event:
        case Watching():
            found = [f"Watching {counted(len(event.habits), 'source')}: {', '.join(event.habits)}."]
            return found + ([f"Listening at {event.address}."] if event.address else [])
        case Looked():
            return _of_look(event)
        case Stopped():
            return ["Stopped."]
        case _:
            return []


def _of_look(event: Looked) -> list[str]:
    outcome = event.outcome
    names = ", ".join(outcome.look.sources)
    if outcome.error is not None:
        if not event.is_news:
            return []
        message, remedy = explain(outcome.error)
        again = "" if event.retry is None else f" Trying again in {event.retry:.0f} s."
        return [f"! {names}: {message}", f"  {remedy}{again}".rstrip()]
    if outcome.result is None or not (outcome.end == "applied" or outcome.result.settings):
        return []
    result = outcome.result
    by = f" ({', '.join(event.by)})" if event.by else ""
    lines = [f"{names}{by}: {_done(result)}, in {outcome.seconds:.1f} s."]
    lines += [f"! {f.source}/{f.document_id} left as it was: {f.detail}" for f in result.failures[:20]]
    if len(result.failures) > 20:
        lines.append(f"! … and {len(result.failures) - 20:,} more; see `qloader history --format json`")
    return [*lines, *result.settings]


def _done(result: ApplyResult) -> str:
    counts = {
        "created": result.created,
        "updated": result.updated,
        "moved": result.moved,
        "deleted": result.deleted,
        "repaired": result.repaired,
        "applied before": result.already,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing to do"


def as_dict(event: Watching | Looked | Stopped) -> dict[str, Any]:
    """An event for programs; those of an apply are in `render.events`."""
    match event:
        case Watching():
            return {
                "event": "watching",
                "name": event.name,
                "sources": list(event.habits),
                "address": event.address,
            }
        case Looked():
            outcome = event.outcome
            message, remedy = ("", "") if outcome.error is None else explain(outcome.error)
            return {
                "event": "looked",
                "sources": list(outcome.look.sources),
                "by": list(event.by),
                "since": None if outcome.look.since is None else round(outcome.look.since),
                "outcome": outcome.end,
                "seconds": round(outcome.seconds, 3),
                "message": message,
                "remedy": remedy,
                "retry": None if event.retry is None else round(event.retry, 1),
            }
        case Stopped():
            return {"event": "stopped"}
