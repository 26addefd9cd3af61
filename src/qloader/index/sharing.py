"""One open index for all that search in this process at the same time.

To open a collection takes longer than to ask it, and an embedded one is open once: searches of several threads would
wait for each other, each for a whole opening. So whoever comes while another searches takes part.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from qloader.index.protocol import Index

TURN = 0.25
"""Seconds after which no more searches take part in an open index, so that others have their turn: whoever writes to an
embedded one, and whoever wants to see what a name stands for by now."""


@dataclass(slots=True)
class _Open:
    index: Index
    until: float
    users: int = 0


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
        if one is None or time.monotonic() >= one.until:
            one = _opened[key] = _Open(make(), time.monotonic() + TURN)
        one.users += 1
    try:
        yield one.index
    finally:
        with _lock:
            one.users -= 1
            is_last = not one.users
            if is_last and _opened.get(key) is one:
                del _opened[key]
        if is_last:
            one.index.close()
