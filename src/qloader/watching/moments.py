"""The time, by two clocks: one that nobody can set, and one that a server shares."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time.

    Attributes:
        steady: Seconds on a clock that only goes forward, and may stand still while the machine sleeps.
        wall: Seconds since 1970 on the machine's clock, which may be set at any time.
    """

    steady: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)

    def age(self, now: Moment) -> float:
        """How many seconds ago this was, at least: of two clocks that disagree the longer time counts.

        A machine that slept, or whose clock was set, must rather ask for too much than miss what changed meanwhile.
        """
        return max(now.steady - self.steady, now.wall - self.wall, 0.0)
