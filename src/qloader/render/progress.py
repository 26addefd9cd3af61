"""Progress of what takes a while: one bar at a time on a terminal, nothing where nobody waits.

`plan` imports this module, so rich is imported only when a bar is really shown.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import ceil
from time import monotonic
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

from qloader.render.escape import escape_controls

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

DELAY = 1.0
"""Seconds that a phase may take before its bar appears: a bar that only flashes by is noise."""

_WINDOW = 10.0
"""Seconds that the rate is measured over, so that it follows what happens now."""

_FRAMES_A_SECOND = 8
_BAR_WIDTH = 20
_WHEEL = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Phase(Protocol):
    """One stretch of work that goes on."""

    def advance(self, count: int) -> None:
        """Says that `count` more documents are done; any thread may call it."""
        ...


@runtime_checkable
class TakesNotes(Protocol):
    """A phase that also shows how the work goes. Optional."""

    def note(self, text: str) -> None:
        """Shows a few words until others come; empty for none."""
        ...


class Progress(Protocol):
    """Who is told what goes on."""

    def phase(self, name: str, total: int | None) -> AbstractContextManager[Phase]:
        """A stretch of work, as long as the `with` block.

        Args:
            name: What is done, in a few words.
            total: How many documents there are; None where nobody knows.
        """
        ...


class NoProgress:
    """Tells nobody."""

    @contextlib.contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:
        """A stretch of work that nobody watches."""
        yield _Unwatched()


ProgressCallback = Callable[[str, int, int | None], None]
"""Told (phase, documents done, of how many; None where nobody knows): once when a phase begins, then as it goes on."""

Watcher = Progress | ProgressCallback
"""What other programs may give as `progress`."""


class CallbackProgress:
    """Tells a plain function, one call at a time, from whichever thread does the work.

    Args:
        callback: What is called; an error that it raises ends the work like a crash, which loses nothing.
    """

    def __init__(self, callback: ProgressCallback) -> None:
        self._callback = callback

    @contextlib.contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:
        """A stretch of work that the function is told of."""
        phase = _Told(self._callback, name, total)
        phase.advance(0)
        yield phase


def as_progress(watcher: Watcher | None) -> Progress:
    """Whoever is to be told, as a `Progress`: nobody where None."""
    if watcher is None:
        return NoProgress()
    return CallbackProgress(watcher) if callable(watcher) else watcher


class TerminalProgress:
    """A bar on a terminal for each phase that takes long enough; it vanishes with the phase."""

    def __init__(
        self, file: IO[str] | None = None, *, delay: float = DELAY, clock: Callable[[], float] = monotonic
    ) -> None:
        """Args: the terminal (stderr where None), seconds before a bar appears, and the clock."""
        self._file = file
        self._delay = delay
        self._clock = clock

    @contextlib.contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Phase]:
        """A stretch of work with a bar."""
        meter = Meter(name, total, self._clock)
        bar = _Bar(meter, self._file or sys.stderr)
        timer = threading.Timer(self._delay, bar.show)
        timer.daemon = True
        timer.start()
        try:
            yield meter
        finally:
            timer.cancel()
            bar.hide()


@dataclass(slots=True)
class Meter:
    """Counts a phase; the rate is that of the last seconds.

    Attributes:
        name: What is done.
        total: How many documents there are, or None.
        clock: Seconds from some start.
        count: How many are done.
        words: How it goes, in a few words; empty where there is nothing to say.
    """

    name: str
    total: int | None
    clock: Callable[[], float] = monotonic
    count: int = 0
    words: str = ""
    _start: float = field(init=False)
    _samples: deque[tuple[float, int]] = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._start = self.clock()
        self._samples = deque([(self._start, 0)])

    def advance(self, count: int) -> None:
        """Says that `count` more documents are done; any thread may call it."""
        with self._lock:
            self.count += count

    def note(self, text: str) -> None:
        """Shows a few words until others come."""
        self.words = text

    def read(self) -> Reading:
        """How far it is now. Called once a frame; each call is a sample for the rate."""
        # Without the lock: whoever draws holds rich's, and a signal handler may print while `advance` has ours.
        now, count = self.clock(), self.count
        self._samples.append((now, count))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        rate = (count - before) / (now - since) if now > since else 0.0
        left = None
        if self.total is not None and rate > 0:
            left = max(self.total - count, 0) / rate
        return Reading(self.name, count, self.total, rate, now - self._start, left, self.words)


@dataclass(frozen=True, slots=True)
class Reading:
    """A phase at one moment.

    Attributes:
        name: What is done.
        count: Documents done.
        total: Of how many, or None.
        rate: Documents a second, lately.
        elapsed: Seconds since it began.
        left: Seconds that it will take yet, or None where nobody can tell.
        words: How it goes; empty where there is nothing to say.
    """

    name: str
    count: int
    total: int | None
    rate: float
    elapsed: float
    left: float | None
    words: str = ""

    def describe(self) -> str:
        """The words beside the bar, e.g. `1,200/5,000  350 documents/s  0:04, 0:11 left`."""
        parts = []
        if self.count or self.total is not None:
            parts.append(f"{self.count:,}" if self.total is None else f"{self.count:,}/{self.total:,}")
        if self.rate > 0:
            parts.append(f"{self.rate:,.0f} documents/s" if self.rate >= 10 else f"{self.rate:.1f} documents/s")
        left = "" if self.left is None else f", {_duration(ceil(self.left))} left"
        parts.append(f"{_duration(self.elapsed)}{left}")
        if self.words:
            parts.append(self.words)
        return "  ".join(parts)


class _Unwatched:
    """A phase that nobody watches."""

    def advance(self, count: int) -> None:
        """Forgets it."""


class _Told:
    """A phase that a function is told of."""

    def __init__(self, callback: ProgressCallback, name: str, total: int | None) -> None:
        self._callback = callback
        self._name = name
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def advance(self, count: int) -> None:
        """Says that `count` more documents are done; any thread may call it."""
        with self._lock:
            self._done += count
            self._callback(self._name, self._done, self._total)


class _Bar:
    """A live line on a terminal. A timer's thread calls `show`, the phase's own thread `hide`."""

    def __init__(self, meter: Meter, file: IO[str]) -> None:
        self._meter = meter
        self._file = file
        self._live: Live | None = None
        self._is_over = False
        self._lock = threading.Lock()

    def show(self) -> None:
        from rich.console import Console
        from rich.live import Live

        with self._lock:
            if self._is_over:
                return
            console = Console(file=self._file, markup=False, highlight=False, emoji=False)
            self._live = Live(
                get_renderable=self._draw,
                console=console,
                transient=True,
                refresh_per_second=_FRAMES_A_SECOND,
                # What is said meanwhile on stderr is printed above the bar; stdout is for programs.
                redirect_stdout=False,
            )
            self._live.start()

    def hide(self) -> None:
        with self._lock:
            self._is_over = True
            if self._live is not None:
                self._live.stop()

    def _draw(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        reading = self._meter.read()
        total = reading.total
        line = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            line.add_column(no_wrap=True, overflow="ellipsis")
        wheel = _WHEEL[int(reading.elapsed * _FRAMES_A_SECOND) % len(_WHEEL)]
        bar = Text(wheel, "cyan") if total is None else ProgressBar(total, reading.count, width=_BAR_WIDTH)
        line.add_row(Text(escape_controls(reading.name)), bar, Text(reading.describe(), "dim"))
        return line


def _duration(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
