"""What was measured of each run, kept as long as `monitoring.metrics.retention` says.

Functions over the state's connection. Those that write are called within the store's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qloader.telemetry.measured import Measured


def write(connection: sqlite3.Connection, run_id: int, measured: Measured, now: int) -> None:
    """Writes what was measured of a run so far; what was written before is replaced."""
    from qloader.telemetry.measured import to_text  # here and below: a plan reads no figures

    connection.execute(
        "INSERT OR REPLACE INTO metric (run_id, measured, updated_at) VALUES (?, ?, ?)",
        (run_id, to_text(measured), now),
    )


def read(connection: sqlite3.Connection, runs: Iterable[int]) -> dict[int, Measured]:
    """What was measured of runs, by their numbers; those of which nothing is kept are not there."""
    from qloader.telemetry.measured import from_text

    found = {}
    for run in runs:
        row = connection.execute("SELECT measured FROM metric WHERE run_id = ?", (run,)).fetchone()
        measured = from_text(row[0]) if row else None
        if measured is not None:
            found[run] = measured
    return found


def prune(connection: sqlite3.Connection, before: int) -> None:
    """Forgets what was measured of runs before a time, in milliseconds since 1970."""
    connection.execute("DELETE FROM metric WHERE updated_at < ?", (before,))
