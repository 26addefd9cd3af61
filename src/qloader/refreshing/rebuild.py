"""A lost state from the points alone: every payload says whose it is, chunk 0 says the document's hashes.

Points are sorted in a temporary SQLite file by source, document and chunk, and read back document by
document. One whose points do not add up (an apply was cut short, somebody deleted a few) is not believed: its
points become an intent, so that the next plan makes the document anew and cleans up what is left.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from qloader.documents.hashing import point_bytes, point_keys
from qloader.documents.payload import OWN, expected_check, payload_check
from qloader.documents.times import seconds
from qloader.index.protocol import Index, StoredPoint
from qloader.refreshing.drift import PAGE
from qloader.state.records import DocumentRecord, IntentRecord

_TABLE = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE point (
    source TEXT, document_id TEXT, chunk INTEGER, point BLOB, hash BLOB, sum BLOB, source_type TEXT,
    content BLOB, metadata BLOB, revision TEXT, bytes INTEGER, chunks INTEGER, pipeline TEXT, updated_at TEXT,
    title TEXT
);
BEGIN;
"""


@dataclass(frozen=True, slots=True)
class Found:
    """One document as its points tell it.

    Attributes:
        source_type: The type of its source.
        document: What the state should hold; None where the points do not add up.
        intents: Points to be looked at again by the next apply.
    """

    source_type: str
    document: DocumentRecord | None
    intents: tuple[IntentRecord, ...] = ()


@contextlib.contextmanager
def read_documents(
    index: Index, lineage: str, *, tenant: str = "", advance: Callable[[int], None] = lambda _: None
) -> Iterator[Iterator[Found]]:
    """Every document that the lineage's points tell of, by source and id, streamed.

    Args:
        index: The index, opened.
        lineage: Whose points to read.
        tenant: Whose they are in a shared collection; empty in any other.
        advance: Called with the number of points read, for progress.

    Raises:
        IndexUnavailableError: The index cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="qloader-rebuild-") as folder:
        connection = sqlite3.connect(Path(folder) / "points.db", isolation_level=None)
        try:
            connection.executescript(_TABLE)
            rows = (_row(point, advance) for point in index.scroll(lineage=lineage, page=PAGE))
            connection.executemany(f"INSERT INTO point VALUES ({','.join('?' * 15)})", rows)
            connection.execute("COMMIT")
            yield _documents(connection, tenant)
        finally:
            connection.close()


def _row(point: StoredPoint, advance: Callable[[int], None]) -> tuple[Any, ...]:
    advance(1)
    payload = point.payload
    own = payload.get(OWN)
    own = own if isinstance(own, dict) else {}
    return (
        _text(payload.get("source")),
        _text(payload.get("document_id")),
        _number(payload.get("chunk")),
        point_bytes(point.id),
        _hash(own.get("chunk_hash")),
        payload_check(payload),
        _text(payload.get("source_type")),
        _hash(own.get("content")),
        _hash(own.get("metadata")),
        _text(own.get("revision")),
        _number(own.get("bytes")),
        _number(own.get("chunks")),
        _text(own.get("pipeline")),
        payload.get("updated_at") if isinstance(payload.get("updated_at"), str) else None,
        _text(payload.get("title")),
    )


def _documents(connection: sqlite3.Connection, tenant: str) -> Iterator[Found]:
    rows = connection.execute("SELECT * FROM point ORDER BY source, document_id, chunk, point")
    for (source, document_id), group in groupby(rows, key=lambda row: (row[0], row[1])):
        yield _document(source, document_id, list(group), tenant)


def _document(source: str, document_id: str, rows: Sequence[tuple[Any, ...]], tenant: str) -> Found:
    head = rows[0]
    hashes = tuple(row[4] for row in rows)
    content, metadata, revision, size, chunks, pipeline, updated_at, title = head[7:]
    is_whole = (
        bool(document_id and content and metadata and pipeline and all(hashes))
        and [row[2] for row in rows] == list(range(chunks))
        and point_keys(source, document_id, hashes, tenant=tenant) == [row[3] for row in rows]
    )
    if not is_whole:
        return Found(head[6], None, (IntentRecord(source, document_id, tuple(row[3] for row in rows)),))
    altered = tuple(row[3] for row in rows if row[5] != expected_check(source, document_id, row[2], row[4], metadata))
    intents = (IntentRecord(source, document_id, altered, "drift"),) if altered else ()
    return Found(
        head[6],
        DocumentRecord(
            source=source,
            id=document_id,
            content=content,
            metadata=metadata,
            revision=revision,
            size=size,
            chunks=hashes,
            pipeline=pipeline,
            last_updated=seconds(updated_at),
            title=title,
            tenant=tenant,
        ),
        intents,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _hash(value: Any) -> bytes:
    try:
        digest = bytes.fromhex(value)
    except (TypeError, ValueError):
        return b""
    return digest if len(digest) == 16 else b""
