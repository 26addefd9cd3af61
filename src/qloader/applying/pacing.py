"""How far an apply may run ahead: less where memory becomes scarce, and nothing where it is used up. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

FULL = 256_000_000
"""Bytes of memory that must be free for the largest batches to be prepared: the one that is written and those that wait
are up to 12,000 points with 48 MB of text, in several forms at a time."""

LEAST = 1 / 16
"""The least share of a batch and of what runs ahead: a batch of 256 documents becomes one of 16, and at most 1 MB."""

LAST = 48_000_000
"""Bytes of memory that must be left for the next batch, however small: with less the process is about to be ended."""

_SURE = 1.25
"""So many times the memory that more needs must be free before more is prepared again."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an apply may do at the moment.

    Attributes:
        share: The share of the usual batch and of what usually runs ahead: 1, a half, a quarter and so on.
        is_paused: Whether nothing more is prepared until what is there has been written.
        memory: The share of the memory that may be used which is in use, as last measured; 0 where nobody measures.
        is_used_up: Whether it does not help to prepare nothing: so little is left that the apply has to end.
    """

    share: float = 1.0
    is_paused: bool = False
    memory: float = 0.0
    is_used_up: bool = False

    def after(self, used: int, allowed: int, limit: int) -> Allowance:
        """The next one.

        Args:
            used: Bytes of memory in use.
            allowed: Bytes that may be.
            limit: Bytes that there are.
        """
        room = max(allowed - used, 0) / FULL
        share = _power(room)
        if share > self.share:
            share = max(self.share, _power(room / _SURE))
        is_used_up = self.is_paused and limit - used < min(LAST, (limit - allowed) // 2)
        return Allowance(share, used >= allowed, used / allowed, is_used_up)

    def of(self, number: int) -> int:
        """The share of a number, at least 1."""
        return max(1, int(number * self.share))


def _power(room: float) -> float:
    """The largest power of two that is not above, within the bounds of a share."""
    return 1.0 if room >= 1 else LEAST if room <= LEAST else float(2.0 ** math.floor(math.log2(room)))


class Pace(Protocol):
    """Who watches what the process may use."""

    def look(self) -> Allowance:
        """What is allowed now. Cheap: it measures only where the last look is long enough ago."""
        ...


class FullPace:
    """Watches nothing: everything is allowed."""

    def look(self) -> Allowance:
        """All of it."""
        return _ALL


_ALL = Allowance()
FULL_PACE = FullPace()
"""For an apply that nobody limits."""
