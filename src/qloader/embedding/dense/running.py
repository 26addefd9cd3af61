"""Several requests at a time, and what becomes of them when one fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from qloader.embedding.dense.limits import Pause

T = TypeVar("T")
R = TypeVar("R")


class AbandonedError(Exception):
    """A request that has not begun is not needed any more: another one failed."""


def side_by_side(work: Callable[[T, Pause], R], items: Sequence[T], parallel: int) -> Iterator[R]:
    """Calls a function for every item, some at a time, and gives the results as they come, in no order.

    When one fails, what has not been sent is dropped, but what is under way is waited for and given: it is paid for.
    When the reader stops (Ctrl-C), that ends within a second, too.

    Args:
        work: Is given an item, and how to wait.
        items: What to do.
        parallel: How many at a time.
    """
    if parallel == 1 or len(items) <= 1:
        for item in items:
            yield work(item, time.sleep)
        return
    from qloader.sources.http.network import stopping

    is_over, stop = threading.Event(), threading.Event()

    def pause(seconds: float) -> None:
        if is_over.wait(seconds):
            raise AbandonedError

    def call(item: T) -> R:
        with stopping(stop):
            return work(item, pause)

    pool = ThreadPoolExecutor(min(parallel, len(items)), thread_name_prefix="qloader-embed")
    futures = [pool.submit(call, item) for item in items]
    failure: BaseException | None = None
    try:
        for future in as_completed(futures):
            if future.cancelled() or isinstance(error := future.exception(), AbandonedError):
                continue
            if error is None:
                yield future.result()
            elif failure is None:
                failure = error
                is_over.set()
                for other in futures:
                    other.cancel()
        if failure is not None:
            raise failure
    finally:
        is_over.set()
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
