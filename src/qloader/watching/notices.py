"""Where threads, hooks and signals tell the service of changes: a box that never fills up, however many come."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Notice:
    """What was told of one source since the box was emptied.

    Attributes:
        first: When it was told first; steady.
        last: When it was told last.
        is_whole: Whether something is gone, which only a whole look shows.
        by: Who told it first, in a few words.
    """

    first: float
    last: float
    is_whole: bool
    by: str


class Notices:
    """One entry a source, so that ten thousand notices take the room of one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[str, Notice] = {}
        self._counts: Counter[str] = Counter()
        # A simple queue may be put to from a signal handler, whatever it interrupted; no lock or condition may.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def tell(self, names: Iterable[str], by: str, *, is_whole: bool = False) -> None:
        """Something changed in these sources; any thread may call it.

        Args:
            names: The sources.
            by: Who says so, in a few words.
            is_whole: Whether something is gone there.
        """
        now = time.monotonic()
        with self._lock:
            rings = not self._told
            for name in names:
                notice = self._told.setdefault(name, Notice(now, now, False, by))
                notice.last = now
                notice.is_whole |= is_whole
            self._counts[by] += 1
            rings = rings and bool(self._told)
        if rings:
            self.ring()

    def take(self) -> dict[str, Notice]:
        """Empties the box."""
        with self._lock:
            told, self._told = self._told, {}
        return told

    def counts(self) -> dict[str, int]:
        """How many notices came so far, by who told them."""
        with self._lock:
            return dict(self._counts)

    def ring(self) -> None:
        """Wakes who waits; a signal handler may call it."""
        self._bell.put(None)

    def wait(self, seconds: float) -> None:
        """Waits for a notice, or so long."""
        try:
            self._bell.get(timeout=min(seconds, threading.TIMEOUT_MAX))
            while True:
                self._bell.get_nowait()
        except queue.Empty:
            return
