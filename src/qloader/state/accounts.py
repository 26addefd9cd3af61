"""What the state keeps to be asked later: how each source's last run ended, what failed and why, and for how long.

Functions over the state's connection. Those that write are called within the store's transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from qloader.documents.hashing import EMPTY_ROOT
from qloader.state.records import IngestionRecord, Pace, RunFailure, RunStatus

PACE_RUNS = 3
"""Runs that tell how fast the next will be, the latest first."""

PACE_CHUNKS = 100
"""A run that embedded fewer chunks tells more of how long it takes to start than of how fast it goes on."""

_FAILURE = (
    "SELECT f.source, f.document_id, f.reason, f.detail, f.run_id, coalesce(r.finished_at, r.started_at) "
    "FROM failure f JOIN run r ON r.id = f.run_id "
)


def begin(connection: sqlite3.Connection, sources: Iterable[str], now: int) -> None:
    """Notes that a run of these sources goes on. What still was said to go on never ended: its process died."""
    _end_running(connection, "failed", "interrupted", now)
    connection.executemany(
        "UPDATE source SET last_status = 'running', last_error = NULL, last_run_at = ? WHERE name = ?",
        [(now, source) for source in sources],
    )


def finish(
    connection: sqlite3.Connection, done: Iterable[str], now: int, *, status: RunStatus, error: str | None
) -> None:
    """Notes how it ended: well for those that are wholly applied, as the run itself for the others."""
    connection.executemany(
        "UPDATE source SET last_status = 'complete', last_error = NULL, last_run_at = ?, last_count = documents "
        "WHERE name = ?",
        [(now, source) for source in done],
    )
    _end_running(connection, status, error, now)


def _end_running(connection: sqlite3.Connection, status: RunStatus, error: str | None, now: int) -> None:
    connection.execute(
        "UPDATE source SET last_status = ?, last_error = ?, last_run_at = ?, last_count = documents "
        "WHERE last_status = 'running'",
        (status, error, now),
    )


def last_ingestion(connection: sqlite3.Connection, kind: str, name: str) -> IngestionRecord | None:
    """How the last run of a source ended; None where it never had one, or is of another type."""
    row = connection.execute(
        "SELECT type, name, coalesce(last_status, 'complete'), coalesce(last_count, documents), last_error, "
        "last_success, coalesce(last_run_at, last_success) FROM source "
        "WHERE type = ? AND name = ? AND (last_status IS NOT NULL OR last_success IS NOT NULL)",
        (kind, name),
    ).fetchone()
    return IngestionRecord(*row) if row else None


def write_ingestion(connection: sqlite3.Connection, record: IngestionRecord) -> None:
    """Writes such an account; a source that the state does not know becomes one without documents."""
    now = record.finished_at
    connection.execute(
        "INSERT INTO source (name, type, root, documents, created_at, updated_at) VALUES (?, ?, ?, 0, ?, ?) "
        "ON CONFLICT (name) DO NOTHING",
        (record.source_name, record.source_type, EMPTY_ROOT, now, now),
    )
    connection.execute(
        "UPDATE source SET last_status = ?, last_count = ?, last_error = ?, last_run_at = ?, updated_at = ?, "
        "last_success = coalesce(?, last_success) WHERE name = ?",
        (
            record.status, record.document_count, record.error, now, now, record.last_success, record.source_name,
        ),
    )  # fmt: skip


def open_failures(connection: sqlite3.Connection) -> list[RunFailure]:
    """Documents that the latest failing run of their source left as they were, where none has ended well since."""
    rows = connection.execute(
        _FAILURE + "LEFT JOIN source s ON s.name = f.source "
        "WHERE f.run_id = (SELECT max(run_id) FROM failure WHERE source = f.source) "
        "AND coalesce(s.last_success, 0) <= r.started_at ORDER BY 1, 2"
    )
    return [RunFailure(*row) for row in rows]


def failures_of(connection: sqlite3.Connection, source: str, document_id: str) -> list[RunFailure]:
    """Every time that a run left one document as it was, the latest first."""
    rows = connection.execute(
        _FAILURE + "WHERE f.source = ? AND f.document_id = ? ORDER BY f.run_id DESC", (source, document_id)
    )
    return [RunFailure(*row) for row in rows]


def last_pace(connection: sqlite3.Connection, pipeline: str) -> Pace | None:
    """How fast the last runs of a pipeline were; None where none embedded enough to tell.

    Args:
        connection: The state's.
        pipeline: Its fingerprint. Runs from before it was first used embedded with another.
    """
    runs, chunks, milliseconds = connection.execute(
        "SELECT count(*), sum(embedded), sum(took) FROM ("
        "SELECT json_extract(summary, '$.embedded') AS embedded, finished_at - started_at AS took FROM run "
        "WHERE embedded >= ? AND took > 0 AND started_at >= (SELECT created_at FROM pipeline WHERE fingerprint = ?) "
        "ORDER BY id DESC LIMIT ?)",
        (PACE_CHUNKS, pipeline, PACE_RUNS),
    ).fetchone()
    return Pace(runs, chunks, milliseconds / 1000) if runs else None


def prune(connection: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Forgets tombstones and runs that ended before a time.

    The latest run stays, and so does the latest that changed something, which a plan made after it may have to be
    compared with; so do runs that an intent still names.

    Args:
        connection: Within a transaction, and with foreign keys off: what refers to a run is changed in one walk over
            the documents here, where SQLite would walk over all of them for each run.
        before: Milliseconds since 1970 in UTC.

    Returns:
        How many tombstones and runs were forgotten.
    """
    documents = connection.execute("DELETE FROM document WHERE is_deleted = 1 AND last_ingested < ?", (before,))
    tombstones = documents.rowcount
    runs = [
        run
        for (run,) in connection.execute(
            "SELECT id FROM run WHERE finished_at < ? "
            "AND id NOT IN (SELECT run_id FROM intent WHERE run_id IS NOT NULL) "
            "AND id < (SELECT max(id) FROM run) "
            "AND id < (SELECT coalesce(max(id), 0) FROM run WHERE last_serial > base_serial)",
            (before,),
        )
    ]
    chosen = json.dumps(runs)
    if runs:
        for statement in (
            "UPDATE document SET run_id = NULL WHERE run_id IN (SELECT value FROM json_each(?))",
            "DELETE FROM failure WHERE run_id IN (SELECT value FROM json_each(?))",
            "DELETE FROM metric WHERE run_id IN (SELECT value FROM json_each(?))",
            "DELETE FROM run WHERE id IN (SELECT value FROM json_each(?))",
        ):
            connection.execute(statement, (chosen,))
    return tombstones, len(runs)
