"""Looks at a run at intervals, in a thread of its own, and tells others of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from qloader.telemetry.measures import Measures
from qloader.telemetry.memory import memory_now


class Sampler:
    """Samples a run at its beginning, at intervals, and at its end.

    Args:
        measures: The run's.
        interval: Seconds between two samples.
        tell: Called at each interval, in the sampler's thread; what it raises is forgotten.
    """

    def __init__(self, measures: Measures, interval: float, tell: Callable[[], None]) -> None:
        self._measures = measures
        self._interval = interval
        self._tell = tell
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="qloader-sampler", daemon=True)

    def start(self) -> None:
        """Takes the first sample and goes on."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Takes the last sample. Nobody is told of it: the caller knows that the run is over."""
        self._over.set()
        self._thread.join()
        self._look()

    def _go_on(self) -> None:
        while not self._over.wait(self._interval):
            self._look()
            with contextlib.suppress(Exception):
                self._tell()

    def _look(self) -> None:
        memory = memory_now()
        if memory is not None:
            self._measures.level("memory", memory)
        self._measures.sample(time.time_ns() // 1_000_000)
