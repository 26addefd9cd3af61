"""What a run does, as records for programs: one JSON object a line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

LogLevel = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")


def is_log(head: bytes) -> bool:
    """Whether a file that begins so is a log."""
    return head.startswith(b'{"time": "') and b'"level": "' in head.partition(b"\n")[0]


class Log:
    """Writes records. Any thread may; each is one write. What cannot be written is left out: a log ends no run.

    Attributes:
        invocation: What tells the records of this run from those of others.
        run: The number of the run in the state, once there is one.
        told: The error that was recorded last, so that it is recorded once.

    Args:
        write: Takes a line, its end included.
        invocation: In every record.
        level: Records below it are left out.
        clock: The time.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        invocation: str,
        level: LogLevel = "info",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.run: int | None = None
        self.told: BaseException | None = None
        self._write = write
        self.invocation = invocation
        self._least = LEVELS.index(level)
        self._clock = clock
        self._lock = threading.Lock()

    def record(self, level: LogLevel, event: str, /, **fields: Any) -> None:
        """Writes a record.

        Args:
            level: How much it matters.
            event: One word for scripts.
            fields: What else there is to say, as JSON values.
        """
        if LEVELS.index(level) < self._least:
            return
        time = self._clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        facts = {"time": time, "level": level, "event": event, "invocation": self.invocation, "run": self.run}
        line = json.dumps({**facts, **{k: v for k, v in fields.items() if k not in facts}}, ensure_ascii=False)
        with self._lock:
            try:
                self._write(line.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
            except (OSError, ValueError):
                return
