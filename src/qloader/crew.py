"""Threads that do what they are handed, and hold up nobody: not their owner, not the end of the process.

The pools of the standard library are waited for when the process ends, so that one call that never returns (a model, a
package of somebody else) would keep it for ever. These are not.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from qloader.stopping import Stop, current_stop, stopping

T = TypeVar("T")

GRACE = 5.0
"""Seconds that the threads are given to end, each of them within `stopping.SLICE` where it waits as it should."""


class Crew:
    """So many threads, which take what is handed to them in its order. They start when there is something to do.

    Args:
        size: How many threads.
        name: What they are called.
    """

    def __init__(self, size: int, name: str) -> None:
        self.stop = Stop(current_stop())
        """Ends what the threads wait for; told of every sign of life."""
        self._size = size
        self._name = name
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Hands something over. Whatever it raises is raised where the result is read, Ctrl-C and the like too."""
        future: Future[T] = Future()
        self._tasks.put((future, work))
        if len(self._threads) < self._size:
            thread = threading.Thread(target=self._serve, name=f"qloader-{self._name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self, *, patience: float = 0.0) -> None:
        """Ends the threads: what has not begun is dropped, and what is under way is told to stop.

        They are waited for `GRACE` seconds. One that is still at it then ends with the process.

        Args:
            patience: Seconds that are given before to what is under way to come back, and nothing more is begun.
        """
        if patience:
            self.stop.end()
            self._join(patience)
        self.stop.set()
        self._join(GRACE)

    def _join(self, seconds: float) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _serve(self) -> None:
        with stopping(self.stop):
            while (task := self._tasks.get()) is not None:
                future, work = task
                if self.stop.is_ending:
                    future.cancel()
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    result = work()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                del future, work, task  # a thread that waits keeps nothing alive
