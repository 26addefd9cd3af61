"""When which source is looked at, and how: a value that is told of notices and outcomes, and knows no clock.

Every source is looked at once an interval, whatever is told of it, so that nothing rests on a notice. A notice only
makes it sooner. What failed is tried again by itself, later each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from qloader.watching.moments import Moment

Habit = Literal["whole", "changes", "seldom"]
"""How a source is looked at once an interval: listed `whole`, which is cheap and shows deletes; asked for `changes`,
and listed whole once in a while; or only that, `seldom`."""

LONGEST_BURST = 10
"""A source that never is quiet is looked at all the same after so many times `debounce`."""

FIRST_RETRY = 5.0
LONGEST_RETRY = 600.0
"""Seconds before what failed is tried again: at first, doubled each time, and at most (never more than an interval)."""

OVERLAP = 60.0
"""Seconds that a look for changes reaches back beyond the look before. What is seen twice costs nothing."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: how long a source must be quiet, how often it is looked at, how often listed whole."""

    debounce: float
    interval: float
    full_every: float


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at in one go.

    Attributes:
        sources: Names of the sources.
        since: Seconds that changes are asked for; None lists the sources whole.
    """

    sources: tuple[str, ...]
    since: float | None = None


@dataclass(slots=True)
class _Entry:
    """What is known of one source.

    Attributes:
        habit: How it is looked at.
        next_at: When it is looked at where nothing is told of it; steady, as all times here but `seen` and `whole`.
        first_notice: When its burst of notices began; None where there is none.
        last_notice: When the last one came.
        wants_whole: Whether somebody told of a delete.
        seen: When the last look began from which on changes are asked for.
        whole: When the last whole look began.
        failures: How often it failed in a row.
        refusals: How often its plan was refused in a row.
        retry_at: Not before that, where it failed.
        is_alone: Whether it is looked at by itself, so that it keeps no other source from its turn.
    """

    habit: Habit
    next_at: float
    first_notice: float | None = None
    last_notice: float = 0.0
    wants_whole: bool = False
    seen: Moment | None = None
    whole: Moment | None = None
    failures: int = 0
    refusals: int = 0
    retry_at: float = 0.0
    is_alone: bool = False


class Agenda:
    """What is to be looked at next."""

    def __init__(
        self, habits: Mapping[str, Habit], pace: Pace, now: float, *, chance: Callable[[], float] = random.random
    ) -> None:
        """Begins with everything due, and whole.

        Args:
            habits: How each source is looked at, by name.
            pace: How often.
            now: The steady time.
            chance: A number from 0 up to 1, so that services that failed together do not come back together.
        """
        self._entries = {name: _Entry(habit, now) for name, habit in habits.items()}
        self._pace = pace
        self._chance = chance

    def notice(self, name: str, first: float, last: float, *, is_whole: bool = False) -> None:
        """Something changed in a source, or so it is said.

        Args:
            name: The source.
            first: When that was first told; steady.
            last: When it was told last.
            is_whole: Whether something is gone, which only a whole look shows.
        """
        entry = self._entries[name]
        entry.first_notice = first if entry.first_notice is None else entry.first_notice
        entry.last_notice = last
        entry.wants_whole |= is_whole

    def wait(self, now: float) -> float:
        """Seconds until the next look is due; 0 where one is."""
        return max(0.0, min(self._due_at(entry) for entry in self._entries.values()) - now)

    def due(self, now: Moment) -> list[Look]:
        """What to look at now: sources that are well together, as one plan, those in trouble each by itself."""
        due = [name for name, entry in self._entries.items() if self._due_at(entry) <= now.steady]
        together = [name for name in due if not self._entries[name].is_alone]
        whole = tuple(name for name in together if self._is_whole(self._entries[name], now))
        changes = tuple(name for name in together if name not in whole)
        looks = [Look(whole)] if whole else []
        if changes:
            looks.append(Look(changes, max(self._since(name, now) for name in changes)))
        return looks + [self._alone(name, now) for name in due if name not in together]

    def split(self, look: Look) -> list[Look]:
        """The same look, each source by itself; until it is well again, each stays so."""
        for name in look.sources:
            self._entries[name].is_alone = True
        return [Look((name,), look.since) for name in look.sources]

    def begin(self, look: Look) -> None:
        """A look begins: what was told before is seen by it, what is told from here on starts another."""
        for name in look.sources:
            entry = self._entries[name]
            entry.first_notice = None

    def went_well(self, look: Look, started: Moment, *, is_complete: Iterable[str]) -> None:
        """A look was carried out.

        Args:
            look: The look.
            started: When it began.
            is_complete: The sources of which nothing was left out; the others are looked at in the same way once more.
        """
        complete = set(is_complete)
        for name in look.sources:
            entry = self._entries[name]
            entry.failures = entry.refusals = 0
            entry.is_alone = False
            if name in complete:
                entry.seen = started
            if look.since is None:
                entry.whole = started if name in complete else entry.whole
                entry.wants_whole = name not in complete
            entry.next_at = started.steady + self._period(entry)

    def failed(self, look: Look, now: float) -> float:
        """A look failed for a reason that may pass; returns the seconds until it is tried again."""
        waits = []
        for name in look.sources:
            entry = self._entries[name]
            entry.failures += 1
            longest = min(LONGEST_RETRY, self._pace.interval)
            wait = min(longest, FIRST_RETRY * 2.0 ** min(entry.failures - 1, 20)) * (1 - self._chance() / 2)
            entry.retry_at = now + wait
            entry.wants_whole |= look.since is None
            waits.append(wait)
        return min(waits)

    def refused(self, look: Look, now: float) -> None:
        """Guards or policies refused the plan: a person has to act, or the source to change."""
        for name in look.sources:
            entry = self._entries[name]
            entry.failures = 0
            entry.wants_whole |= look.since is None
            wait = self._pace.interval * 2.0 ** min(entry.refusals, 20)
            entry.refusals += 1
            entry.next_at = now + min(wait, max(self._pace.full_every, self._pace.interval))

    def _due_at(self, entry: _Entry) -> float:
        if entry.failures:
            return entry.retry_at
        if entry.first_notice is None:
            return entry.next_at
        quiet = entry.last_notice + self._pace.debounce
        return min(entry.next_at, quiet, entry.first_notice + LONGEST_BURST * self._pace.debounce)

    def _is_whole(self, entry: _Entry, now: Moment) -> bool:
        if entry.habit != "changes" or entry.wants_whole or entry.whole is None or entry.seen is None:
            return True
        return now.steady - entry.whole.steady >= self._pace.full_every

    def _since(self, name: str, now: Moment) -> float:
        seen = self._entries[name].seen
        assert seen is not None
        return seen.age(now) + OVERLAP

    def _alone(self, name: str, now: Moment) -> Look:
        whole = self._is_whole(self._entries[name], now)
        return Look((name,), None if whole else self._since(name, now))

    def _period(self, entry: _Entry) -> float:
        return max(self._pace.full_every, self._pace.interval) if entry.habit == "seldom" else self._pace.interval
