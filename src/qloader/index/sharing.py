"""One open index for all that search in this process at the same time.

To open a collection takes longer than to ask it, and an embedded one is open once: searches of several threads would
wait for each other, each for a whole opening. So whoever comes while another searches takes part.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from qloader.index.protocol import Index

TURN = 0.25
"""Seconds after which no more searches take part in an open index, so that others have their turn: whoever writes to an
embedded one, and whoever wants to see what a name stands for by now."""


PATIENCE = 30.0
"""Seconds to wait for those of this process that have an index open whose turn is over."""


@dataclass(slots=True)
class _Open:
    """An index and its users.

    Attributes:
        index: The index.
        before: Set when the one before it is closed; None where there was none.
        until: When its turn is over; None before it began.
        users: How many have it.
        closed: Set when it is closed.
    """

    index: Index
    before: threading.Event | None
    until: float | None = None
    users: int = 0
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        """Whether nobody takes part any more."""
        return self.until is not None and time.monotonic() >= self.until


_opened: dict[Hashable, _Open] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def shared(key: Hashable, make: Callable[[], Index]) -> Iterator[Index]:
    """Takes part in an open index, or opens one; the last one to leave closes it.

    Args:
        key: What is the same for those that may share it.
        make: Opens one, lazily.
    """
    with _lock:
        one = _opened.get(key)
        if one is None or one.is_over:
            one = _opened[key] = _Open(make(), None if one is None else one.closed)
        one.users += 1
    try:
        if one.before is not None:
            one.before.wait(PATIENCE)
        with _lock:
            if one.until is None:
                one.until = time.monotonic() + TURN
        yield one.index
    finally:
        _leave(key, one)


def _leave(key: Hashable, one: _Open) -> None:
    with _lock:
        one.users -= 1
        if one.users:
            return
        one.until = 0.0  # whoever comes now waits until it is closed
    try:
        one.index.close()
    finally:
        one.closed.set()
        with _lock:
            if _opened.get(key) is one:
                del _opened[key]
