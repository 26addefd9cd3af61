"""How work in another thread is told to end, and how it shows that it goes on.

Whoever starts a thread gives it a `Stop`. What waits in it (for a server, for its turn, for a while) looks at the stop
of the current thread from time to time and says by `beat` that it is alive, so that a wait with an end of its own is
never taken for work that hangs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SLICE = 0.5
"""Seconds that a wait lasts before it is asked whether anybody still wants what it waits for."""


class StoppedError(Exception):
    """Nobody wants the result any more."""


class Stop:
    """Ends the work of one or more threads.

    Args:
        outer: The stop of whoever starts them, which ends them too, and is told of every sign of life.
    """

    def __init__(self, outer: Stop | None = None) -> None:
        self._event = threading.Event()
        self._is_ending = False
        self._outer = outer
        self.beats = 0
        """Signs of life so far."""

    def set(self) -> None:
        """Ends them at once."""
        self._event.set()

    def end(self) -> None:
        """Ends them when what is under way has come back: it may be paid for. Nothing else is begun, or waited for."""
        self._is_ending = True

    @property
    def is_ending(self) -> bool:
        """Whether nothing more should be begun."""
        return self._is_ending or self.is_set() or (self._outer is not None and self._outer.is_ending)

    def is_set(self) -> bool:
        """Whether they should end at once."""
        return self._event.is_set() or (self._outer is not None and self._outer.is_set())

    def wait(self, seconds: float) -> bool:
        """Waits so long, or until they should end; says whether they should. A wait is a sign of life."""
        end = time.monotonic() + seconds
        while not self.is_ending:
            self.beat()
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._event.wait(min(left, SLICE))
        return True

    def beat(self) -> None:
        """Says that work goes on."""
        self.beats += 1
        if self._outer is not None:
            self._outer.beat()


class _Current(threading.local):
    """The stop of the current thread."""

    stop: Stop | None = None


_current = _Current()


def current_stop() -> Stop | None:
    """The stop that holds for the current thread; None where nobody can stop it but by ending the process."""
    return _current.stop


@contextmanager
def stopping(stop: Stop) -> Iterator[None]:
    """Lets a stop end what the current thread waits for."""
    before, _current.stop = _current.stop, stop
    try:
        yield
    finally:
        _current.stop = before


def beat() -> None:
    """Says that the current thread's work goes on."""
    if _current.stop is not None:
        _current.stop.beat()


def sleep(seconds: float) -> None:
    """Waits, unless the current thread is stopped.

    Raises:
        StoppedError: It was.
    """
    stop = _current.stop
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise StoppedError
