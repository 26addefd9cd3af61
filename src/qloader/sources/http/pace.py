"""How fast a host is asked: one account per host for the whole process, whatever sources speak to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Sleep = Callable[[float], None]


class Pace:
    """Counts the requests under way to one host and spaces them out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0
        self._next = 0.0
        self._held_until = 0.0

    @contextmanager
    def turn(self, parallel: int, rate: float | None, sleep: Sleep) -> Iterator[None]:
        """Waits until a request may be sent; it is under way until the block ends.

        Args:
            parallel: How many may be under way, at most, this one included.
            rate: Requests a second, at most; None is no limit.
            sleep: Waits so many seconds. It may raise, and then the request is not sent.
        """
        with self._changed:
            while self._under_way >= parallel:
                self._changed.wait(1.0)
                sleep(0.0)  # the caller's chance to give up
            self._under_way += 1
        try:
            wait = self._reserve(rate)
            if wait > 0:
                sleep(wait)
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def hold(self, seconds: float) -> None:
        """Sends nothing for so long: the server said that it is asked too often."""
        with self._changed:
            self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _reserve(self, rate: float | None) -> float:
        """Seconds until this request's turn."""
        with self._changed:
            now = time.monotonic()
            at = max(now, self._held_until)
            if rate is not None:
                at = max(at, self._next)
                self._next = at + 1 / rate
            return at - now


_paces: dict[str, Pace] = {}
_paces_lock = threading.Lock()


def pace_of(host: str) -> Pace:
    """The account of a host, by its name and port."""
    with _paces_lock:
        return _paces.setdefault(host.lower(), Pace())
