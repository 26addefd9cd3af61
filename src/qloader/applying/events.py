"""What an apply tells while it goes on: facts as frozen values, for whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from qloader.applying.result import ApplyResult
from qloader.planning.plan import Change, PlanHeader, PlanWarning

Outcome = Literal["applied", "left", "already"]
"""`applied`: in the index, and recorded; `left`: as it was, see why; `already`: an earlier apply of the plan did it."""


@dataclass(frozen=True, slots=True)
class Started:
    """All checks have passed; what follows is written.

    Attributes:
        plan: The plan's header.
        is_resumed: Whether an earlier apply of the same plan was interrupted, and this one goes on.
    """

    plan: PlanHeader
    is_resumed: bool = False


@dataclass(frozen=True, slots=True)
class DocumentDone:
    """One change of the plan is over. Told when its batch is committed, so that it is true whatever happens next.

    Attributes:
        change: The change.
        outcome: What became of it.
        reason: Of one that was left: one word for scripts.
        detail: Of one that was left: why, as a sentence.
    """

    change: Change
    outcome: Outcome
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A batch is committed.

    Attributes:
        number: Which one, from 1.
        documents: Changes in it.
        done: Changes so far.
        embedded: Chunks embedded so far.
        serial: The state's serial now; 0 where nothing had to be written yet.
    """

    number: int
    documents: int
    done: int
    embedded: int
    serial: int


@dataclass(frozen=True, slots=True)
class Adapted:
    """From here on more or less is prepared at a time, since memory became scarce, or no longer is.

    Attributes:
        batch_size: Documents in a batch, at most.
        is_paused: Whether nothing is prepared until what is there has been written.
        memory: The share that is in use of the memory that may be (`resources.memory`).
    """

    batch_size: int
    is_paused: bool
    memory: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The apply has ended, and this is what it did."""

    result: ApplyResult


Event = Started | PlanWarning | Adapted | DocumentDone | BatchDone | Finished
"""In this order: one `Started`, the plan's warnings, batch by batch each document and the batch, one `Finished`.
`Adapted` may come before any batch. An apply that fails does without the last."""

Listener = Callable[[Event], None]
"""Told in the thread that works. An error that it raises ends the apply like a crash, which loses nothing."""


def tell_nobody(event: Event) -> None:
    """For an apply that nobody listens to."""
