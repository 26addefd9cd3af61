"""A run as a trace that opens in Perfetto (ui.perfetto.dev) and chrome://tracing: spans by thread, counters beside.

The format is Chrome's trace events, as an array: its end may be missing, so that the trace of a run that was killed
opens too. https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHOWN_MOST = ("memory", "helper_memory", "queue", "pace", "documents", "embeds")
"""The values of a sample that get a line of their own."""


def is_trace(head: bytes) -> bool:
    """Whether a file that begins so is a trace."""
    return head.startswith(b"[\n{") and b'"process_name"' in head.splitlines()[1]


class Trace:
    """Writes events as they come, so that a trace takes no memory. Never raises once it is open.

    Args:
        path: The file; what is there is replaced.
        process: What the process is called in it.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path, process: str) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()
        self._threads: set[int] = set()
        self._pid = os.getpid()
        self._is_broken = False
        self._file.write("[\n" + self._as_line({"name": "process_name", "ph": "M", "args": {"name": process}}))

    def span(self, stage: str, source: str, start: float, seconds: float, process: int | None = None) -> None:
        """Writes a span that has ended; see `measures.Watcher`."""
        name = threading.current_thread().name if process is None else f"process {process}"
        event = {
            "name": stage,
            "cat": "stage",
            "ph": "X",
            "ts": round(start * 1e6, 3),
            "dur": round(seconds * 1e6, 3),
            "tid": threading.get_native_id() if process is None else process,
            "args": {"source": source} if source else {},
        }
        self._write(event, name)

    def sample(self, at: float, values: dict[str, float]) -> None:
        """Writes a sample as counters; see `measures.Watcher`."""
        for name in SHOWN_MOST:
            if name in values:
                self._write({"name": name, "ph": "C", "ts": round(at * 1e6, 3), "args": {name: values[name]}})

    def close(self) -> None:
        """Ends the file; once is enough."""
        with self._lock:
            if self._file.closed:
                return
            try:
                self._file.write("\n]\n")
                self._file.close()
            except OSError:
                self._is_broken = True

    @property
    def is_whole(self) -> bool:
        """Whether all of it could be written, so far."""
        return not self._is_broken

    def _write(self, event: dict[str, Any], thread: str = "") -> None:
        with self._lock:
            if self._is_broken or self._file.closed:
                return
            try:
                tid = event.get("tid")
                if tid is not None and tid not in self._threads:
                    self._threads.add(tid)
                    named = {"name": "thread_name", "ph": "M", "tid": tid, "args": {"name": thread}}
                    self._file.write(",\n" + self._as_line(named))
                self._file.write(",\n" + self._as_line(event))
            except OSError:  # a full disk must not end the run that is looked at
                self._is_broken = True

    def _as_line(self, event: Mapping[str, Any]) -> str:
        return json.dumps({"pid": self._pid, "tid": 0, **event})
