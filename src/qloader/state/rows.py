"""Documents of the state as rows: written, counted, filled in anew; and the intents that point at their points."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qloader.documents.hashing import EMPTY_ROOT, add_to_root, entry_hash, point_keys
from qloader.state.records import DocumentRecord, IntentRecord, pack_hashes, unpack_hashes


def write_documents(
    connection: sqlite3.Connection,
    run_id: int,
    written: Sequence[DocumentRecord],
    deleted: Sequence[tuple[str, str]],
    now: int,
) -> None:
    """Writes documents as they are now and turns others into tombstones, with all that is counted of them.

    Args:
        connection: In a transaction.
        run_id: The run that does it.
        written: Documents as they are now; their sources and pipelines are known to the state.
        deleted: (source, id) of documents that are gone.
        now: Milliseconds since 1970.
    """
    source_ids = dict(connection.execute("SELECT name, id FROM source"))
    pipelines = dict(connection.execute("SELECT fingerprint, id FROM pipeline"))
    totals = Totals(connection, source_ids)
    for source, document_id in deleted:
        if source not in source_ids:
            continue  # points that bear the name of a source that this state never had
        totals.remove(source, document_id)
        connection.execute(
            "UPDATE document SET is_deleted = 1, chunks = x'', last_ingested = ?, updated_at = ?, run_id = ? "
            "WHERE source_id = ? AND id = ?",
            (now, now, run_id, source_ids[source], document_id),
        )
    for record in written:
        totals.remove(record.source, record.id)
        totals.add(record)
    connection.executemany(
        "INSERT INTO document (source_id, id, content, metadata, pipeline_id, is_deleted, bytes, last_updated, "
        "last_ingested, created_at, updated_at, run_id, revision, chunks, title) "
        "VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (source_id, id) DO UPDATE SET content = excluded.content, metadata = excluded.metadata, "
        "pipeline_id = excluded.pipeline_id, is_deleted = 0, bytes = excluded.bytes, "
        "last_updated = excluded.last_updated, last_ingested = excluded.last_ingested, "
        "updated_at = excluded.updated_at, run_id = excluded.run_id, revision = excluded.revision, "
        "chunks = excluded.chunks, title = excluded.title",
        [
            (
                source_ids[r.source], r.id, r.content, r.metadata, pipelines[r.pipeline], r.size,
                r.last_updated, now, now, now, run_id, r.revision, pack_hashes(list(r.chunks)), r.title,
            )
            for r in written
        ],
    )  # fmt: skip
    connection.executemany(
        "DELETE FROM intent WHERE source = ? AND document_id = ?",
        [*((r.source, r.id) for r in written), *deleted],
    )
    totals.write(now)
    connection.execute(
        "UPDATE run SET document_count = document_count + ?, updated_at = ? WHERE id = ?",
        (len(written) + len(deleted), now, run_id),
    )


def add_pipeline(connection: sqlite3.Connection, fingerprint: str, settings: Mapping[str, Any], now: int) -> None:
    """Makes a pipeline known, in a transaction; does nothing where it is."""
    connection.execute(
        "INSERT OR IGNORE INTO pipeline (fingerprint, settings, created_at) VALUES (?, ?, ?)",
        (fingerprint, json.dumps(settings, sort_keys=True), now),
    )


def note_facts(connection: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    """Writes what the state says of itself, in a transaction; an empty fact is forgotten."""
    for key, value in facts.items():
        if value:
            connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
        else:
            connection.execute("DELETE FROM meta WHERE key = ?", (key,))


class Totals:
    """Keeps each source's root, document and chunk counts in step with the rows of one transaction."""

    def __init__(self, connection: sqlite3.Connection, source_ids: Mapping[str, int]) -> None:
        self._connection = connection
        self._source_ids = source_ids
        self._changes: dict[str, tuple[list[int], int, int]] = {}

    def add(self, record: DocumentRecord) -> None:
        """Counts a document in."""
        self._note(record.source, entry_hash(record.id, record.content, record.metadata), 1, len(record.chunks))

    def remove(self, source: str, document_id: str) -> None:
        """Counts a document out, as the state has it; one that it has not changes nothing."""
        row = self._connection.execute(
            "SELECT content, metadata, length(chunks) FROM document WHERE source_id = ? AND id = ? AND is_deleted = 0",
            (self._source_ids[source], document_id),
        ).fetchone()
        if row:
            self._note(source, -entry_hash(document_id, row[0], row[1]), -1, -(row[2] // 16))

    def write(self, now: int) -> None:
        """Writes what was counted, once, before the transaction ends."""
        for source, (hashes, documents, chunks) in self._changes.items():
            source_id = self._source_ids[source]
            root = self._connection.execute("SELECT root FROM source WHERE id = ?", (source_id,)).fetchone()[0]
            self._connection.execute(
                "UPDATE source SET root = ?, documents = documents + ?, chunks = chunks + ?, updated_at = ? "
                "WHERE id = ?",
                (add_to_root(root, *hashes), documents, chunks, now, source_id),
            )

    def _note(self, source: str, entry: int, documents: int, chunks: int) -> None:
        hashes, old_documents, old_chunks = self._changes.get(source, ([], 0, 0))
        hashes.append(entry)
        self._changes[source] = (hashes, old_documents + documents, old_chunks + chunks)


class Filler:
    """Writes the documents of a rebuilt state, with its sources and pipelines."""

    def __init__(self, connection: sqlite3.Connection, now: int, settings: Mapping[str, Mapping[str, Any]]) -> None:
        self._connection = connection
        self._now = now
        self._settings = settings
        self._sources: dict[str, int] = {}
        self._totals: dict[str, tuple[int, int, int]] = {}
        self.pipelines: dict[str, int] = {}
        self.count = 0

    def add(self, kind: str, record: DocumentRecord) -> None:
        """Writes one document, with its source of that type and its pipeline."""
        if record.source not in self._sources:
            self._sources[record.source] = self._insert(
                "INSERT INTO source (name, type, root, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
                (record.source, kind, EMPTY_ROOT, self._now, self._now),
            )
        if record.pipeline not in self.pipelines:
            self.pipelines[record.pipeline] = self._insert(
                "INSERT INTO pipeline (fingerprint, settings, created_at) VALUES (?, ?, ?)",
                (record.pipeline, json.dumps(self._settings.get(record.pipeline, {}), sort_keys=True), self._now),
            )
        total, documents, chunks = self._totals.get(record.source, (0, 0, 0))
        entry = entry_hash(record.id, record.content, record.metadata)
        self._totals[record.source] = (total + entry, documents + 1, chunks + len(record.chunks))
        self._connection.execute(
            "INSERT INTO document (source_id, id, content, metadata, pipeline_id, bytes, last_updated, last_ingested, "
            "created_at, updated_at, revision, chunks, title) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._sources[record.source], record.id, record.content, record.metadata,
                self.pipelines[record.pipeline], record.size, record.last_updated, self._now, self._now, self._now,
                record.revision, pack_hashes(list(record.chunks)), record.title,
            ),
        )  # fmt: skip
        self.count += 1

    def finish(self) -> None:
        """Writes what the documents of each source add up to."""
        for source, (total, documents, chunks) in self._totals.items():
            self._connection.execute(
                "UPDATE source SET root = ?, documents = ?, chunks = ? WHERE id = ?",
                (add_to_root(EMPTY_ROOT, total), documents, chunks, self._sources[source]),
            )

    def _insert(self, sql: str, values: Sequence[Any]) -> int:
        row = self._connection.execute(sql, values).lastrowid
        assert row is not None
        return row


def add_intents(connection: sqlite3.Connection, run_id: int | None, intents: Iterable[IntentRecord]) -> None:
    """Writes intents; the points of earlier ones of the same documents are added up."""
    for intent in intents:
        row = connection.execute(
            "SELECT points, reason FROM intent WHERE source = ? AND document_id = ?",
            (intent.source, intent.document_id),
        ).fetchone()
        earlier, reason = (unpack_hashes(row[0]), row[1]) if row else ([], intent.reason)
        points = dict.fromkeys((*earlier, *intent.points))
        # Whatever an interrupted batch touched, or may have, stays that: the next comparison must not forget it.
        reason = next(r for r in ("interrupted", "announced", "drift") if r in (reason, intent.reason))
        connection.execute(
            "INSERT OR REPLACE INTO intent (source, document_id, points, run_id, reason) VALUES (?, ?, ?, ?, ?)",
            (intent.source, intent.document_id, pack_hashes(list(points)), run_id, reason),
        )


def keys_of(connection: sqlite3.Connection, source: str, document_id: str, chunks: Sequence[bytes]) -> list[bytes]:
    """The ids of the points that a document with these chunks has in the collection of the state."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'tenant'").fetchone()
    return point_keys(source, document_id, chunks, tenant=row[0] if row else "")


def edited(connection: sqlite3.Connection, source: str, document_id: str, chunks: Sequence[bytes]) -> IntentRecord:
    """The points of a document that an edit of its chunks adds or leaves behind."""
    row = connection.execute(
        "SELECT d.chunks FROM document d JOIN source s ON s.id = d.source_id WHERE s.name = ? AND d.id = ?",
        (source, document_id),
    ).fetchone()
    before = set(keys_of(connection, source, document_id, unpack_hashes(row[0]) if row else []))
    after = set(keys_of(connection, source, document_id, chunks))
    return IntentRecord(source, document_id, tuple(sorted(before ^ after)), "drift")
