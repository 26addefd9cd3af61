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

_SURE = 1.25
"""So many times the memory that more needs must be free before more is prepared again."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an apply may do at the moment.

    Attributes:
        share: The share of the usual batch and of what usually runs ahead: 1, a half, a quarter and so on.
        is_paused: Whether nothing more is prepared until what is there has been written.
        memory: The share of the memory that may be used which is in use, as last measured; 0 where nobody measures.
    """

    share: float = 1.0
    is_paused: bool = False
    memory: float = 0.0

    def after(self, used: int, allowed: int) -> Allowance:
        """The next one.

        Args:
            used: Bytes of memory in use.
            allowed: Bytes that may be.
        """
        room = max(allowed - used, 0) / FULL
        share = _power(room)
        if share > self.share:
            share = max(self.share, _power(room / _SURE))
        return Allowance(share, used >= allowed, used / allowed)

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
