"""What is counted of an apply while it goes on, and kept in the state."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from qloader.applying.events import BatchDone, DocumentDone, Event
from qloader.errors import StateError
from qloader.state.store import StateStore
from qloader.telemetry.recorder import Recorder
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.embedding.together import Embedders


class Counting:
    """Counts what an apply tells, each thing once: when its batch is committed.

    Args:
        recorder: Told the counts.
        embedders: What makes the vectors, and counts itself what that took.
    """

    def __init__(self, recorder: Recorder, embedders: Embedders) -> None:
        self._recorder = recorder
        self._embedders = embedders
        self._embedded = self._requests = self._cached = self._retries = 0

    def __call__(self, event: Event) -> None:
        """Counts an event in."""
        if isinstance(event, DocumentDone) and event.outcome != "already":
            self._count_document(event)
        elif isinstance(event, BatchDone):
            self._recorder.count("embeds", event.embedded - self._embedded)
            self._embedded = event.embedded
            self._count_dense()

    def _count_document(self, event: DocumentDone) -> None:
        change, count = event.change, self._recorder.count
        if event.outcome == "left":
            count("failures", 1, change.source)
            return
        count("documents", 1, change.source)
        if change.after is not None:
            count("bytes", change.after.bytes, change.source)
            count("chunks", change.chunks.add + change.chunks.keep, change.source)

    def _count_dense(self) -> None:
        tally = self._embedders.tally
        if tally is None:
            return
        self._recorder.count("requests", tally.requests - self._requests)
        self._recorder.count("cache_hits", tally.cached - self._cached)
        self._recorder.count("retries", tally.retries - self._retries)
        self._requests, self._cached, self._retries = tally.requests, tally.cached, tally.retries


class Keeping:
    """Writes a run's figures into its state: at the end, and at batch edges in between, for a run that is killed.

    They are no reason to end a run: what cannot be written is left out.
    """

    def __init__(self, settings: Settings, state: StateStore) -> None:
        self._settings = settings
        self._state = state
        self._metrics = settings.monitoring.metrics
        self._run: int | None = None
        self._next = 0.0

    def begin(self, run_id: int) -> None:
        """The state knows the run now, by this number."""
        self._run = run_id
        self._settings.recorder.name_run(run_id)
        self._put_off()

    def keep_if_due(self) -> None:
        """Writes the figures, where the last time is `monitoring.metrics.interval` ago."""
        if time.monotonic() >= self._next:
            self.keep()

    def keep(self) -> None:
        """Writes the figures so far."""
        measured = self._settings.recorder.measured()
        if self._run is None or measured is None or not self._metrics.enabled:
            return
        with contextlib.suppress(StateError):
            self._state.record_measured(self._run, measured, keep=self._metrics.retention)
        self._put_off()

    def _put_off(self) -> None:
        self._next = time.monotonic() + self._metrics.interval
