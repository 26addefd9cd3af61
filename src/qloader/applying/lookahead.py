"""Batches on their way: the next ones are read and embedded while one is written, within bounds.

    plan -> read (a thread or processes for each source) -> look up (here) -> embed (a thread) -> write, commit (here)

"Here" is the thread that applies. It alone touches the state and the index, and it writes one batch after the other, in
the order of the plan: what a crash leaves is the same as if nothing ran ahead. What state and index say of a document
is looked up early, while earlier batches are not yet committed. That is safe since no two batches on their way touch
the same document: one that would waits until the other is committed.

What goes wrong early is told in its turn, when all batches before it are committed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from qloader.applying.pacing import FULL_PACE, Allowance, Pace
from qloader.errors import QloaderError
from qloader.planning.plan import Change
from qloader.telemetry.recorder import NOBODY, Recorder

POINTS_A_BATCH = 4_000
"""A batch ends when it would write more points than this, however few documents that is: it bounds memory."""

CHARACTERS_A_BATCH = 16_000_000

BATCHES_AHEAD = 2
"""So many of the largest batches may wait to be written, at most, beside the bound on documents."""

LOOK = 1.0
"""Seconds between two looks at whether somebody is still at work."""


@dataclass(slots=True, eq=False)
class Batch:
    """Changes that are committed together.

    Attributes:
        number: Which one, from 1.
        changes: All of them.
        points: How many points they write or delete, by the plan.
        characters: How much text they have, by the plan.
    """

    number: int
    changes: list[Change] = field(default_factory=list)
    points: int = 0
    characters: int = 0

    @property
    def keys(self) -> set[tuple[str, str]]:
        """The documents that they touch: source and id, of a move the old one too."""
        keys = {(change.source, change.id) for change in self.changes}
        return keys | {(change.source, change.from_id) for change in self.changes if change.from_id is not None}

    def has_room(self, change: Change, size: int, share: float) -> bool:
        """Whether a change still fits."""
        return (
            len(self.changes) < size
            and self.points + _points(change) <= POINTS_A_BATCH * share
            and self.characters + _characters(change) <= CHARACTERS_A_BATCH * share
        )

    def add(self, change: Change) -> None:
        """Takes a change in."""
        self.changes.append(change)
        self.points += _points(change)
        self.characters += _characters(change)


class Stages(Protocol):
    """What is done with a batch before it is written; what a step leaves is kept with the batch."""

    def begin(self, batch: Batch) -> Any:
        """Has its documents read; called in the thread that applies, as are all of these. Returns the batch's work."""
        ...

    def is_read(self, work: Any) -> bool:
        """Whether all its documents are read, or one of them failed."""
        ...

    def look_up(self, work: Any) -> None:
        """Looks up what state and index hold of it, and has it embedded. Called once it is read, in order."""
        ...

    def is_ready(self, work: Any) -> bool:
        """Whether it can be written, or it has failed."""
        ...

    def finish(self, work: Any) -> None:
        """Does what is left to do before it is written, when its turn has come."""
        ...

    def check(self, work: Any) -> None:
        """Raises where those who work for it have been silent for too long."""
        ...

    def watch(self, tell: Callable[[Future[Any]], None]) -> None:
        """Has somebody told, from any thread, whenever anything that is done ahead is done."""
        ...


@dataclass(slots=True, eq=False)
class _Flight:
    """A batch on its way."""

    batch: Batch
    keys: set[tuple[str, str]]
    work: Any = None
    is_looked_up: bool = False
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be prepared.

    Attributes:
        size: Documents in a batch, at most.
        ahead: Documents that may wait to be written, at most, beside those of the batch that is; 0: nothing runs ahead.
    """

    size: int = 256
    ahead: int = 0


ONE_BY_ONE = Bounds()
"""Nothing runs ahead."""


class Lookahead:
    """The batches of a plan, in their order, each of them prepared.

    Args:
        changes: The plan's changes.
        stages: What is done with each batch.
        bounds: How much may be prepared.
        pace: Watches memory.
        recorder: Told how long is waited, and how many batches wait.
        adapted: Told when another share of the bounds is allowed from here on.
    """

    def __init__(
        self,
        changes: Iterable[Change],
        stages: Stages,
        bounds: Bounds,
        *,
        pace: Pace = FULL_PACE,
        recorder: Recorder = NOBODY,
        adapted: Callable[[Allowance], None] = lambda allowance: None,
    ) -> None:
        self._stages = stages
        self._bounds = bounds
        self._pace = pace
        self._recorder = recorder
        self._adapted = adapted
        self._allowance = Allowance()
        self._flights: deque[_Flight] = deque()
        self._happened = threading.Event()
        self._broken: Exception | None = None
        happened = self._happened  # not self: a circle would keep the index open until somebody collects it
        self._stages.watch(lambda _: happened.set())
        self._note()
        self._look()
        self._batches = self._cut(changes)
        self._next = next(self._batches, None)

    def __bool__(self) -> bool:
        """Whether there is another batch, or an error instead of one."""
        return bool(self._flights) or self._next is not None or self._broken is not None

    def take(self) -> tuple[Batch, Any]:
        """The next batch and its work, ready to be written; the batch before is committed by now.

        Raises:
            Exception: What went wrong with it.
        """
        self._go_on()
        if not self._flights:
            assert self._broken is not None
            raise self._broken
        head = self._flights[0]
        with self._recorder.span("wait"):
            while not self._is_ready(head):
                self._happened.wait(LOOK)
                self._happened.clear()
                self._go_on()
                self._stages.check(head.work)
        if head.error is not None:
            error, head.error = head.error, None
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        self._stages.finish(head.work)
        self._flights.popleft()
        self._go_on(head)
        self._recorder.level("queue", len(self._flights))
        return head.batch, head.work

    def _is_ready(self, flight: _Flight) -> bool:
        return flight.error is not None or (flight.is_looked_up and self._stages.is_ready(flight.work))

    def _go_on(self, under_way: _Flight | None = None) -> None:
        """Does all that can be done without waiting.

        Args:
            under_way: What is about to be written.
        """
        self._begin_more(under_way)
        for flight in self._flights:
            if flight.is_looked_up:
                continue
            if flight.error is not None or not self._stages.is_read(flight.work):
                return  # those behind it have their turn after it
            try:
                self._stages.look_up(flight.work)
            except Exception as error:  # whatever it is, it is raised in its turn
                flight.error = error
            flight.is_looked_up = True

    def _begin_more(self, under_way: _Flight | None) -> None:
        """Begins batches as far as the bounds allow; the first one whatever they say, or nothing would go on."""
        self._look()
        if self._allowance.is_used_up and self._next is not None and not self._flights and under_way is None:
            # All is committed that was begun before the pause, and not even that made room.
            raise QloaderError(
                "the memory that this process may use is used up",
                remedy="What was committed is kept: give it more memory, and run the same command again. An embedded "
                "index is held in memory in part; one on a server (index.url) takes none here.",
            )
        while (batch := self._next) is not None:
            others = [*self._flights, *([under_way] if under_way is not None else [])]
            if others and not self._has_room(batch):
                return
            flight = _Flight(batch, batch.keys)
            if any(not flight.keys.isdisjoint(other.keys) for other in others):
                return
            try:
                flight.work = self._stages.begin(batch)
            except Exception as error:  # whatever it is, it is raised in its turn
                flight.error = error
            self._flights.append(flight)
            try:
                self._next = next(self._batches, None)
            except Exception as error:  # as above
                self._next, self._broken = None, error

    def _has_room(self, batch: Batch) -> bool:
        if self._allowance.is_paused:
            return False
        share = self._allowance.share
        waiting = [flight.batch for flight in self._flights]
        return (
            sum(len(one.changes) for one in waiting) + len(batch.changes) <= self._bounds.ahead * share
            and sum(one.points for one in waiting) + batch.points <= BATCHES_AHEAD * POINTS_A_BATCH * share
            and sum(one.characters for one in waiting) + batch.characters <= BATCHES_AHEAD * CHARACTERS_A_BATCH * share
        )

    def _look(self) -> None:
        allowance = self._pace.look()
        before, self._allowance = self._allowance, allowance
        if (allowance.share, allowance.is_paused) != (before.share, before.is_paused):
            if allowance.is_paused and not before.is_paused:
                self._recorder.count("pauses")
            self._note()
            self._adapted(allowance)

    def _note(self) -> None:
        self._recorder.level("pace", 0.0 if self._allowance.is_paused else self._allowance.share)

    def _cut(self, changes: Iterable[Change]) -> Iterator[Batch]:
        batch = Batch(1)
        for change in changes:
            size = self._allowance.of(self._bounds.size)
            if batch.changes and not batch.has_room(change, size, self._allowance.share):
                yield batch
                batch = Batch(batch.number + 1)
            batch.add(change)
        if batch.changes:
            yield batch


def _points(change: Change) -> int:
    return change.chunks.add + change.chunks.keep + change.chunks.remove


def _characters(change: Change) -> int:
    return change.after.bytes if change.after else 0


def name_all(changes: Sequence[Change]) -> str:
    """Documents as an error names them: `docs/a.md and 12 more`."""
    first = changes[0].address
    return first if len(changes) == 1 else f"{first} and {len(changes) - 1:,} more"
