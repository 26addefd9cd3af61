"""One process at a time in the folder of an embedded collection.

The engine (qdrant-edge 0.9) has a lock too, and takes it last when it opens its files: by then it has put away the
journal of whoever is writing there, whose next flush fails. A search in the middle of an apply would break the apply.
So this lock is taken before the engine is called, and the engine's own is never met.

There is a second lock beside it, of whoever is next. One that lets go and comes again at once, as searches do, then
waits until that one had its turn.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from qloader.errors import IndexUnavailableError
from qloader.index.marker import os_errors

LOCK = "lock"
"""The file in the collection's folder. The system lets go of it when its holder dies."""

NEXT = "lock.next"
"""The file whose lock whoever is next holds, until the collection is its own."""

_LOOK = 0.005
"""Seconds between two looks whether a lock is free. A look takes a hundredth of that."""


class HeldError(IndexUnavailableError):
    """Another process has the collection open."""


def held(what: str) -> HeldError:
    """The error of whoever finds a collection open elsewhere; `what` could not be done."""
    return HeldError(
        f"{what}: another process has it open",
        remedy="An embedded index serves one process at a time: wait for the other to end, or use a server.",
    )


class FolderLock:
    """The lock of one collection's folder.

    Args:
        folder: The folder; it exists when the lock is taken.
        is_inherited: Whether this process was lent the lock (`descriptor`): it has it as long as it lives, and neither
            takes it nor gives it back.
    """

    def __init__(self, folder: Path, *, is_inherited: bool = False) -> None:
        self._folder = folder
        self._is_inherited = is_inherited
        self._close: Callable[[], object] | None = None
        self._descriptor: int | None = None

    def take(self, wait: float) -> None:
        """Takes the lock; does nothing where it is held already.

        Args:
            wait: Seconds to wait for another process, at most.

        Raises:
            HeldError: Another process has it.
            IndexUnavailableError: There can be no lock in the folder.
        """
        if self._is_inherited or self._close is not None:
            return
        deadline = time.monotonic() + wait
        turn = self._wait_for(NEXT, deadline)
        try:
            descriptor = self._wait_for(LOCK, deadline)
        finally:
            os.close(turn)
        # As the engine does: an index that nobody closed lets go when nobody has it any more.
        self._close = weakref.finalize(self, os.close, descriptor)
        self._descriptor = descriptor

    def _wait_for(self, name: str, deadline: float) -> int:
        while True:
            with os_errors(f"the embedded index {self._folder} cannot be opened, for which its files must be writable"):
                descriptor = _try(self._folder / name)
            if descriptor is not None:
                return descriptor
            if time.monotonic() >= deadline:
                raise held(f"the embedded index {self._folder} cannot be opened")
            time.sleep(_LOOK)

    def descriptor(self) -> int | None:
        """What a process that inherits it holds the lock by, together with this one; None where it is not held."""
        return self._descriptor

    def give_back(self) -> None:
        """Lets the next one in."""
        close, self._close, self._descriptor = self._close, None, None
        if close is not None:
            close()


def _try(path: Path) -> int | None:
    import fcntl

    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever dropped the collection meanwhile took the file with it: that lock keeps nobody out.
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
