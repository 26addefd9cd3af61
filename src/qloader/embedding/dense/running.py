"""Several requests at a time, and what becomes of them when one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from functools import partial
from typing import TypeVar

from qloader.crew import Crew
from qloader.embedding.dense.limits import Pause
from qloader.stopping import Stop, StoppedError, beat, current_stop, sleep

T = TypeVar("T")
R = TypeVar("R")


class AbandonedError(Exception):
    """A request that has not begun is not needed any more: another one failed."""


def side_by_side(work: Callable[[T, Pause], R], items: Sequence[T], parallel: int) -> Iterator[R]:
    """Calls a function for every item, some at a time, and gives the results as they come, in no order.

    When one fails, what has not been sent is dropped, but what is under way is waited for and given: it is paid for.
    When the reader stops (Ctrl-C), or the current thread is told to, that ends within a second, too. Where it is told
    to end, but not at once, what is under way is waited for.

    Args:
        work: Is given an item, and how to wait.
        items: What to do.
        parallel: How many at a time.

    Raises:
        StoppedError: The current thread was told to stop.
    """
    if parallel == 1 or len(items) <= 1:
        for item in items:
            _go_on()
            yield work(item, sleep)
            beat()
        return
    is_over = Stop(current_stop())

    def pause(seconds: float) -> None:
        if is_over.wait(seconds):
            raise AbandonedError

    def call(item: T) -> R:
        if is_over.is_ending:
            raise AbandonedError
        return work(item, pause)

    crew = Crew(min(parallel, len(items)), "embed")
    futures = [crew.submit(partial(call, item)) for item in items]
    failure: BaseException | None = None
    try:
        for future in as_completed(futures):
            if future.cancelled() or isinstance(error := future.exception(), AbandonedError):
                continue
            if error is None:
                beat()
                yield future.result()
            elif failure is None:
                failure = error
                is_over.set()
                for other in futures:
                    other.cancel()
        _go_on()
        if failure is not None:
            raise failure
    finally:
        is_over.set()
        crew.close()


def _go_on() -> None:
    stop = current_stop()
    if stop is not None and stop.is_ending:
        raise StoppedError
