"""The state store: what Qdrant holds according to us, read and written a batch at a time."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qloader.documents.hashing import EMPTY_ROOT, add_to_root, entry_hash, point_keys
from qloader.errors import StateConstraintError, StateError
from qloader.state import accounts, database, lock
from qloader.state.records import (
    DocumentRecord,
    FailureRecord,
    IngestionRecord,
    IntentRecord,
    Lease,
    RunFailure,
    RunRecord,
    RunStatus,
    SourceRecord,
    StateHeader,
    StateIdentity,
    pack_hashes,
    unpack_hashes,
)
from qloader.state.renewing import Renewal

_DOCUMENT = (
    "SELECT s.name, d.id, d.content, d.metadata, d.revision, d.bytes, d.chunks, p.fingerprint, "
    "d.last_updated, d.is_deleted, d.last_ingested "
    "FROM document d JOIN source s ON s.id = d.source_id JOIN pipeline p ON p.id = d.pipeline_id "
)


class StateStore:
    """An open state. Readers never wait; a writer holds the lease from `lock()` to `close()`, and it is renewed."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._lease: Lease | None = None
        self._renewal: Renewal | None = None

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Opens the state for reading; None where there is none yet.

        Raises:
            StateError: It cannot be read.
        """
        connection = database.open_reading(path)
        return cls(connection, path) if connection else None

    @classmethod
    def write(cls, path: Path, **options: Any) -> Self:
        """Opens the state for writing; `options` are those of `database.open_writing`.

        Raises:
            StateError: It cannot be opened, created or migrated.
        """
        return cls(database.open_writing(path, **options), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the lease back and closes the database."""
        try:
            self._stop_renewing()
        finally:
            self._give_back()

    def _stop_renewing(self) -> None:
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.stop()

    def _give_back(self) -> None:
        if self._lease is not None:
            with contextlib.suppress(sqlite3.Error):
                if self._connection.in_transaction:  # an error came where nothing could end it
                    self._connection.execute("ROLLBACK")
            with contextlib.suppress(sqlite3.Error):
                lock.release(self._connection, self._lease)
            self._lease = None
        self._connection.close()

    # Reading

    def header(self) -> StateHeader | None:
        """What the state says of itself; None where nothing was ever applied."""
        with database.translated(self.path):
            meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        if "lineage" not in meta:
            return None
        return StateHeader(
            name=meta["name"],
            lineage=meta["lineage"],
            serial=int(meta["serial"]),
            collection=meta["collection"],
            location=meta["location"],
            pipeline=meta["pipeline"],
            mixed=meta.get("mixed") == "1",
        )

    def sources(self) -> list[SourceRecord]:
        """All sources ever applied, by name."""
        with database.translated(self.path):
            rows = self._connection.execute(
                "SELECT name, type, identity, revision, root, documents, chunks, last_success FROM source ORDER BY name"
            )
            return [SourceRecord(*row) for row in rows]

    def pipelines(self) -> dict[str, dict[str, Any]]:
        """The settings of every pipeline that documents were made with, by fingerprint."""
        with database.translated(self.path):
            rows = self._connection.execute("SELECT fingerprint, settings FROM pipeline")
            return {fingerprint: json.loads(settings) for fingerprint, settings in rows}

    def document(self, source: str, document_id: str) -> DocumentRecord | None:
        """One document, tombstones included."""
        with database.translated(self.path):
            row = self._connection.execute(
                _DOCUMENT + "WHERE s.name = ? AND d.id = ?", (source, document_id)
            ).fetchone()
        return _document(row) if row else None

    def documents(self, source: str | None = None, *, deleted: bool = False) -> Iterator[DocumentRecord]:
        """Documents by source and id, streamed; tombstones only where asked for."""
        where, values = "WHERE d.is_deleted <= ?", [int(deleted)]
        if source is not None:
            where += " AND s.name = ?"
            values.append(source)  # type: ignore[arg-type]
        with database.translated(self.path):
            for row in self._connection.execute(_DOCUMENT + where + " ORDER BY s.name, d.id", values):
                yield _document(row)

    def intents(self, sources: Iterable[str] | None = None) -> list[IntentRecord]:
        """What interrupted batches may have left in the index, by source and id."""
        wanted = None if sources is None else set(sources)
        with database.translated(self.path):
            rows = self._connection.execute("SELECT source, document_id, points, reason FROM intent ORDER BY 1, 2")
            return [
                IntentRecord(source, document_id, tuple(unpack_hashes(points)), reason)
                for source, document_id, points, reason in rows
                if wanted is None or source in wanted
            ]

    def runs(self, limit: int = -1) -> list[RunRecord]:
        """Past runs, the latest first."""
        with database.translated(self.path):
            rows = self._connection.execute(
                "SELECT id, plan, status, base_serial, last_serial, started_at, finished_at, document_count, summary, "
                "error_message FROM run ORDER BY id DESC LIMIT ?",
                (limit,),
            )
            return [
                RunRecord(
                    id=row[0],
                    plan=row[1],
                    status=row[2],
                    base_serial=row[3],
                    last_serial=row[4],
                    started_at=row[5],
                    finished_at=row[6],
                    document_count=row[7],
                    summary=json.loads(row[8]),
                    error=row[9],
                )
                for row in rows
            ]

    def failures(self, run_id: int) -> list[FailureRecord]:
        """The documents that a run left as they were."""
        with database.translated(self.path):
            rows = self._connection.execute(
                "SELECT source, document_id, reason, detail FROM failure WHERE run_id = ? ORDER BY 1, 2",
                (run_id,),
            )
            return [FailureRecord(*row) for row in rows]

    def open_failures(self) -> list[RunFailure]:
        """Documents left as they were by the last failing run of their source, where none has ended well since."""
        with database.translated(self.path):
            return accounts.open_failures(self._connection)

    def failures_of(self, source: str, document_id: str) -> list[RunFailure]:
        """Every time that a run left one document as it was, the latest first."""
        with database.translated(self.path):
            return accounts.failures_of(self._connection, source, document_id)

    def last_ingestion(self, kind: str, source: str) -> IngestionRecord | None:
        """How the last run of a source of that type ended; None where it never had one."""
        with database.translated(self.path):
            return accounts.last_ingestion(self._connection, kind, source)

    def lease(self) -> Lease | None:
        """Who holds the state, dead or alive, or None."""
        with database.translated(self.path):
            return lock.current_lease(self._connection)

    def writer(self) -> Lease | None:
        """Who is writing and alive; None also where only the lease of a dead process is left."""
        lease = self.lease()
        return None if lease is None or lock.is_abandoned(lease, lock.now_ms()) else lease

    # Writing

    def lock(self, lease: Lease | None = None) -> Lease:
        """Becomes the one writer.

        Args:
            lease: One that this process has kept by `park`, to go on with.

        Raises:
            LockedError: Somebody else is.
        """
        with database.translated(self.path):
            if lease is None:
                lease = lock.acquire(self._connection)
            else:
                lock.renew(self._connection, lease)
        self._lease = lease
        self._renewal = Renewal(self.path, lease)
        return lease

    def park(self) -> Lease:
        """Closes the database and keeps the lease, which is not renewed until a `lock` goes on with it.

        For planning under the lock, when DuckDB opens the state: two SQLites in one process must not do that at once
        (ADR 5).
        """
        lease = self._locked()
        self._stop_renewing()
        self._lease = None
        self._connection.close()
        return lease

    def unlock(self, lease_id: str) -> bool:
        """Removes somebody's lease by its id; False where there is none of that id."""
        with database.translated(self.path):
            return lock.unlock(self._connection, lease_id)

    def confirm(self) -> None:
        """Makes sure that this process is still the one writer, right before it writes to the index.

        Costs a look at one row (some 10 microseconds), and a commit where the lease is about to run out.

        Raises:
            LockedError: The lease was lost.
        """
        lease = self._locked()
        with database.translated(self.path):
            is_safe = lock.is_safe(self._connection, lease)
        if not is_safe:
            with self._transaction():
                pass

    def begin_run(
        self,
        *,
        plan: str,
        name: str,
        collection: str,
        location: str,
        pipeline: str,
        pipeline_settings: Mapping[str, Any],
        sources: Mapping[str, tuple[str, str]],
        lineage: str | None = None,
    ) -> int:
        """Records that a plan is being applied; the first run gives the state its lineage.

        From here on a plan made earlier is stale, since the serial moves.

        Args:
            plan: The plan's digest.
            name: The config's name.
            collection: The collection's name.
            location: Where it is, as in a plan.
            pipeline: The pipeline's fingerprint.
            pipeline_settings: What the fingerprint stands for.
            sources: Type and identity of each source of the plan, by name.
            lineage: The lineage of a new state; made up where None.

        Returns:
            The run's id.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta"))
            serial = int(meta.get("serial", "0")) + 1
            mixed = meta.get("mixed", "0")
            if "pipeline" in meta and meta["pipeline"] != pipeline:
                mixed = "1"
            facts = {
                "name": name,
                "lineage": meta.get("lineage") or lineage or str(uuid.uuid4()),
                "collection": collection,
                "location": location,
                "pipeline": pipeline,
                "mixed": mixed,
                "serial": str(serial),
            }
            connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", facts.items())
            connection.execute(
                "INSERT OR IGNORE INTO pipeline (fingerprint, settings, created_at) VALUES (?, ?, ?)",
                (pipeline, json.dumps(pipeline_settings, sort_keys=True), now),
            )
            for source, (kind, identity) in sources.items():
                connection.execute(
                    "INSERT INTO source (name, type, identity, root, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?) "
                    # What is there is of the old place, and bears the old type, until the run is done: `finish_run`.
                    "ON CONFLICT (name) DO UPDATE SET "
                    "identity = CASE WHEN source.documents = 0 OR source.identity = '' THEN excluded.identity "
                    "ELSE source.identity END, "
                    "type = CASE WHEN source.documents = 0 THEN excluded.type ELSE source.type END",
                    (source, kind, identity, EMPTY_ROOT, now, now),
                )
            connection.execute(
                "UPDATE run SET status = 'failed', error_message = 'interrupted', updated_at = ? "
                "WHERE status = 'running'",
                (now,),
            )
            accounts.begin(connection, sources, now)
            cursor = connection.execute(
                "INSERT INTO run (plan, base_serial, last_serial, status, started_at, updated_at) "
                "VALUES (?, ?, ?, 'running', ?, ?)",
                (plan, serial - 1, serial, now, now),
            )
            run_id = cursor.lastrowid
        if run_id is None:
            raise StateError("SQLite gave the new run no id")
        return run_id

    def record_intents(self, run_id: int, intents: Sequence[IntentRecord]) -> None:
        """Says, before the index is touched, which points a batch may write, change or delete.

        Earlier intents of the same documents are kept: their points are added up.
        """
        with self._transaction() as connection:
            _add_intents(connection, run_id, intents)

    def replace_drift(self, found: Iterable[IntentRecord]) -> None:
        """Notes what a comparison of the whole index found; what an earlier one found is forgotten."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM intent WHERE reason = 'drift'")
            _add_intents(connection, None, found)

    def commit_batch(
        self,
        run_id: int,
        *,
        written: Sequence[DocumentRecord] = (),
        deleted: Sequence[tuple[str, str]] = (),
        settled: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Records a batch that the index now holds, in one transaction.

        Args:
            run_id: The run it belongs to.
            written: Documents as they are now.
            deleted: (source, id) of documents that are gone; they become tombstones.
            settled: (source, id) of intents that need no recovery any more, beside the above.

        Returns:
            The state's new serial.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            self._write_documents(connection, run_id, written, deleted, now)
            connection.executemany("DELETE FROM intent WHERE source = ? AND document_id = ?", settled)
            return self._advance(connection, run_id)

    @staticmethod
    def _write_documents(
        connection: sqlite3.Connection,
        run_id: int,
        written: Sequence[DocumentRecord],
        deleted: Sequence[tuple[str, str]],
        now: int,
    ) -> None:
        source_ids = dict(connection.execute("SELECT name, id FROM source"))
        pipelines = dict(connection.execute("SELECT fingerprint, id FROM pipeline"))
        totals = _Totals(connection, source_ids)
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
            "last_ingested, created_at, updated_at, run_id, revision, chunks) "
            "VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (source_id, id) DO UPDATE SET content = excluded.content, metadata = excluded.metadata, "
            "pipeline_id = excluded.pipeline_id, is_deleted = 0, bytes = excluded.bytes, "
            "last_updated = excluded.last_updated, last_ingested = excluded.last_ingested, "
            "updated_at = excluded.updated_at, run_id = excluded.run_id, revision = excluded.revision, "
            "chunks = excluded.chunks",
            [
                (
                    source_ids[r.source], r.id, r.content, r.metadata, pipelines[r.pipeline], r.size,
                    r.last_updated, now, now, now, run_id, r.revision, pack_hashes(list(r.chunks)),
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

    def record_failures(self, run_id: int, failures: Sequence[FailureRecord]) -> None:
        """Notes documents that were left as they were."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO failure (run_id, source, document_id, reason, detail) VALUES (?, ?, ?, ?, ?)",
                [(run_id, f.source, f.document_id, f.reason, f.detail) for f in failures],
            )

    def finish_run(
        self,
        run_id: int,
        status: RunStatus,
        *,
        summary: Mapping[str, Any],
        error: str | None = None,
        revisions: Mapping[str, str | None] | None = None,
        types: Mapping[str, str] | None = None,
        identities: Mapping[str, str] | None = None,
    ) -> None:
        """Closes a run.

        Args:
            run_id: The run.
            status: How it ended.
            summary: Totals for `history`.
            error: One sentence, where it did not end well.
            revisions: Revision of each source that is now wholly applied, by name.
            types: Its type, by name.
            identities: Its identity, by name.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            for source, revision in (revisions or {}).items():
                connection.execute(
                    "UPDATE source SET revision = ?, last_success = ?, updated_at = ? WHERE name = ?",
                    (revision, now, now, source),
                )
            accounts.finish(connection, revisions or {}, now, status=status, error=error)
            for source, kind in (types or {}).items():
                connection.execute("UPDATE source SET type = ? WHERE name = ?", (kind, source))
            for source, identity in (identities or {}).items():
                connection.execute("UPDATE source SET identity = ? WHERE name = ?", (identity, source))
            current = connection.execute(
                "SELECT p.id FROM pipeline p JOIN meta m ON m.key = 'pipeline' AND m.value = p.fingerprint"
            ).fetchone()
            if (
                current
                and not connection.execute(
                    "SELECT 1 FROM document WHERE is_deleted = 0 AND pipeline_id <> ? LIMIT 1", current
                ).fetchone()
            ):
                connection.execute("UPDATE meta SET value = '0' WHERE key = 'mixed'")
            connection.execute(
                "UPDATE run SET status = ?, summary = ?, error_message = ?, finished_at = ?, updated_at = ? "
                "WHERE id = ?",
                (status, json.dumps(dict(summary), sort_keys=True), error, now, now, run_id),
            )

    def record_unchanged(self, plan: str, revisions: Mapping[str, str | None], summary: Mapping[str, Any]) -> None:
        """Notes a run that had nothing to do; the serial stays, so plans under review stay valid."""
        now = lock.now_ms()
        with self._transaction() as connection:
            serial = connection.execute("SELECT value FROM meta WHERE key = 'serial'").fetchone()
            number = int(serial[0]) if serial else 0
            connection.execute(
                "INSERT INTO run (plan, base_serial, last_serial, status, summary, started_at, finished_at, "
                "updated_at) "
                "VALUES (?, ?, ?, 'complete', ?, ?, ?, ?)",
                (plan, number, number, json.dumps(dict(summary), sort_keys=True), now, now, now),
            )
            for source, revision in revisions.items():
                connection.execute(
                    "UPDATE source SET revision = ?, last_success = ?, updated_at = ? WHERE name = ?",
                    (revision, now, now, source),
                )
            accounts.finish(connection, revisions, now, status="failed", error="interrupted")

    def record_ingestion(self, record: IngestionRecord) -> None:
        """Writes how a run of a source ended, for a program that keeps that account itself."""
        with self._transaction() as connection:
            accounts.write_ingestion(connection, record)

    def edit_documents(self, *, written: Sequence[DocumentRecord] = (), deleted: Sequence[tuple[str, str]] = ()) -> int:
        """Changes what the state says of documents, apart from any plan: as a run of its own.

        Where that changes a document's points, those become intents, so that none is ever without an owner: the next
        plan looks at them and repairs the document.

        Returns:
            The state's new serial.

        Raises:
            StateConstraintError: The state has no such source, pipeline or document; nothing is changed then.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            self._check_edit(connection, written, deleted)
            touched = [*((r.source, r.id, r.chunks) for r in written), *((*key, ()) for key in deleted)]
            intents = [i for i in (_edited(connection, *document) for document in touched) if i.points]
            run_id = connection.execute(
                "INSERT INTO run (plan, base_serial, last_serial, status, started_at, finished_at, updated_at) "
                "SELECT 'edit', value, value + 1, 'complete', ?, ?, ? FROM meta WHERE key = 'serial'",
                (now, now, now),
            ).lastrowid
            assert run_id is not None
            self._write_documents(connection, run_id, written, deleted, now)
            _add_intents(connection, None, intents)
            return self._advance(connection, run_id)

    def _check_edit(
        self, connection: sqlite3.Connection, written: Sequence[DocumentRecord], deleted: Sequence[tuple[str, str]]
    ) -> None:
        sources = {name for (name,) in connection.execute("SELECT name FROM source")}
        pipelines = {fingerprint for (fingerprint,) in connection.execute("SELECT fingerprint FROM pipeline")}
        for record in written:
            if record.source not in sources or record.pipeline not in pipelines:
                what = f"source {record.source}" if record.source not in sources else f"pipeline {record.pipeline}"
                raise StateConstraintError(
                    f"the document {record.source}/{record.id} cannot be recorded: the state has no {what}",
                    remedy="Apply a plan of that source first, and take the pipeline from the state's header.",
                )
        for source, document_id in deleted:
            if self.document(source, document_id) is None:
                raise StateConstraintError(
                    f"the document {source}/{document_id} cannot be marked as deleted: the state has never had it",
                    remedy="See `qloader state list`.",
                )

    def prune(self, before: int) -> tuple[int, int]:
        """Forgets tombstones and runs that ended before a time, in milliseconds since 1970; see `accounts.prune`.

        Returns:
            How many tombstones and runs were forgotten.
        """
        with database.translated(self.path):
            self._connection.execute("PRAGMA foreign_keys = OFF")
        try:
            with self._transaction() as connection:
                return accounts.prune(connection, before)
        finally:
            with database.translated(self.path):
                self._connection.execute("PRAGMA foreign_keys = ON")

    def replace_all(
        self,
        identity: StateIdentity,
        found: Iterable[tuple[str, DocumentRecord | None, Sequence[IntentRecord]]],
    ) -> int:
        """Replaces everything the state says of documents, in one transaction; runs and failures stay.

        Args:
            identity: Whose state this is.
            found: For each document the type of its source, its record (None where only points are known) and its
                intents; by source and id, and each once.

        Returns:
            How many documents the state holds now.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            for table in ("intent", "document", "source", "pipeline"):
                connection.execute(f"DELETE FROM {table}")
            meta = dict(connection.execute("SELECT key, value FROM meta"))
            # A serial that no plan made before can have: each would be taken for one made after.
            serial = max(int(meta.get("serial", "0")), now // 1000) + 1
            facts = {**identity.as_meta(), "serial": str(serial), "mixed": "0"}
            connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", facts.items())
            filler = _Filler(connection, now, identity.settings)
            for kind, record, intents in found:
                if record is not None:
                    filler.add(kind, record)
                _add_intents(connection, None, intents)
            filler.finish()
            if filler.pipelines.keys() - {identity.pipeline}:
                connection.execute("UPDATE meta SET value = '1' WHERE key = 'mixed'")
            connection.execute(
                "INSERT INTO run (plan, base_serial, last_serial, status, document_count, summary, started_at, "
                "finished_at, updated_at) VALUES ('rebuild', ?, ?, 'complete', ?, ?, ?, ?, ?)",
                (serial - 1, serial, filler.count, json.dumps({"rebuilt": filler.count}), now, now, now),
            )
        return filler.count

    def remove_documents(self, keys: Sequence[tuple[str, str]]) -> int:
        """Takes documents out of the state, tombstones too, as if they had never been applied.

        Their points become intents: the next apply makes the documents anew over them, or removes them.

        Returns:
            The state's new serial.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            source_ids = dict(connection.execute("SELECT name, id FROM source"))
            totals = _Totals(connection, source_ids)
            for source, document_id in keys:
                key = (source_ids[source], document_id)
                chunks = connection.execute(
                    "SELECT chunks FROM document WHERE source_id = ? AND id = ? AND is_deleted = 0", key
                ).fetchone()
                if chunks is not None:
                    points = tuple(point_keys(source, document_id, unpack_hashes(chunks[0])))
                    _add_intents(connection, None, [IntentRecord(source, document_id, points)])
                totals.remove(source, document_id)
                connection.execute("DELETE FROM document WHERE source_id = ? AND id = ?", key)
            totals.write(now)
            connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'serial'")
            return int(connection.execute("SELECT value FROM meta WHERE key = 'serial'").fetchone()[0])

    def forget_source(self, name: str) -> None:
        """Removes a source and its tombstones; its documents must be deleted already."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM source WHERE name = ?", (name,))

    def check(self) -> None:
        """Reads all of the state.

        Raises:
            StateError: Something in it is damaged.
        """
        database.check_pages(self._connection, self.path)

    def backup(self, target: Path | None = None, *, permissions: int = 0o600) -> Path:
        """A consistent copy beside the state, or at `target`."""
        return database.backup(self._connection, self.path, permissions, target)

    def _locked(self) -> Lease:
        if self._lease is None:
            raise StateError(
                "the state was not locked for writing", remedy="This is a bug in qloader; please report it."
            )
        return self._lease

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        lease = self._locked()
        with database.translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                lock.renew(self._connection, lease)
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @staticmethod
    def _advance(connection: sqlite3.Connection, run_id: int) -> int:
        connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'serial'")
        serial = int(connection.execute("SELECT value FROM meta WHERE key = 'serial'").fetchone()[0])
        connection.execute("UPDATE run SET last_serial = ? WHERE id = ?", (serial, run_id))
        return serial


class _Filler:
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
            "created_at, updated_at, revision, chunks) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._sources[record.source], record.id, record.content, record.metadata,
                self.pipelines[record.pipeline], record.size, record.last_updated, self._now, self._now, self._now,
                record.revision, pack_hashes(list(record.chunks)),
            ),
        )  # fmt: skip
        self.count += 1

    def finish(self) -> None:
        for source, (total, documents, chunks) in self._totals.items():
            self._connection.execute(
                "UPDATE source SET root = ?, documents = ?, chunks = ? WHERE id = ?",
                (add_to_root(EMPTY_ROOT, total), documents, chunks, self._sources[source]),
            )

    def _insert(self, sql: str, values: Sequence[Any]) -> int:
        row = self._connection.execute(sql, values).lastrowid
        assert row is not None
        return row


class _Totals:
    """Keeps each source's root, document and chunk counts in step with the rows of one transaction."""

    def __init__(self, connection: sqlite3.Connection, source_ids: Mapping[str, int]) -> None:
        self._connection = connection
        self._source_ids = source_ids
        self._changes: dict[str, tuple[list[int], int, int]] = {}

    def add(self, record: DocumentRecord) -> None:
        self._note(record.source, entry_hash(record.id, record.content, record.metadata), 1, len(record.chunks))

    def remove(self, source: str, document_id: str) -> None:
        row = self._connection.execute(
            "SELECT content, metadata, length(chunks) FROM document WHERE source_id = ? AND id = ? AND is_deleted = 0",
            (self._source_ids[source], document_id),
        ).fetchone()
        if row:
            self._note(source, -entry_hash(document_id, row[0], row[1]), -1, -(row[2] // 16))

    def write(self, now: int) -> None:
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


def _add_intents(connection: sqlite3.Connection, run_id: int | None, intents: Iterable[IntentRecord]) -> None:
    for intent in intents:
        row = connection.execute(
            "SELECT points, reason FROM intent WHERE source = ? AND document_id = ?",
            (intent.source, intent.document_id),
        ).fetchone()
        earlier, reason = (unpack_hashes(row[0]), row[1]) if row else ([], intent.reason)
        points = dict.fromkeys((*earlier, *intent.points))
        # Whatever an interrupted batch touched stays that: the next comparison must not forget it.
        reason = "interrupted" if "interrupted" in (reason, intent.reason) else "drift"
        connection.execute(
            "INSERT OR REPLACE INTO intent (source, document_id, points, run_id, reason) VALUES (?, ?, ?, ?, ?)",
            (intent.source, intent.document_id, pack_hashes(list(points)), run_id, reason),
        )


def _edited(connection: sqlite3.Connection, source: str, document_id: str, chunks: Sequence[bytes]) -> IntentRecord:
    """The points of a document that an edit of its chunks adds or leaves behind."""
    row = connection.execute(
        "SELECT d.chunks FROM document d JOIN source s ON s.id = d.source_id WHERE s.name = ? AND d.id = ?",
        (source, document_id),
    ).fetchone()
    before = set(point_keys(source, document_id, unpack_hashes(row[0]) if row else []))
    after = set(point_keys(source, document_id, list(chunks)))
    return IntentRecord(source, document_id, tuple(sorted(before ^ after)), "drift")


def _document(row: Sequence[Any]) -> DocumentRecord:
    return DocumentRecord(
        source=row[0],
        id=row[1],
        content=row[2],
        metadata=row[3],
        revision=row[4],
        size=row[5],
        chunks=tuple(unpack_hashes(row[6])),
        pipeline=row[7],
        last_updated=row[8],
        is_deleted=bool(row[9]),
        last_ingested=row[10],
    )
