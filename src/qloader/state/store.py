"""The state store: what Qdrant holds according to us, read and written a batch at a time."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from qloader.documents.hashing import EMPTY_ROOT
from qloader.errors import StateConstraintError, StateError
from qloader.state import accounts, database, lock, metrics
from qloader.state.reader import StateReader
from qloader.state.records import (
    REMOTE_NOTES,
    DocumentRecord,
    FailureRecord,
    IngestionRecord,
    IntentRecord,
    Lease,
    RunStatus,
    StateIdentity,
    unpack_hashes,
)
from qloader.state.renewing import Renewal
from qloader.state.replacing import take_over
from qloader.state.rows import (
    Filler,
    Totals,
    add_intents,
    add_pipeline,
    edited,
    keys_of,
    note_facts,
    write_documents,
)

if TYPE_CHECKING:
    from qloader.telemetry.measured import Measured


class StateStore(StateReader):
    """An open state. Readers never wait; a writer holds the lease from `lock()` to `close()`, and it is renewed."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__(connection, path)
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

    def lock(self, lease: Lease | None = None) -> Lease:
        """Becomes the one writer.

        Args:
            lease: One that this process has kept by `park`, to go on with.

        Raises:
            LockedError: Somebody else is.
        """
        with database.translated(self.path):
            self._check_own()
            if lease is None:
                lease = lock.acquire(self._connection)
            else:
                lock.renew(self._connection, lease)
        self._lease = lease
        self._renewal = Renewal(self.path, lease)
        return lease

    def _check_own(self) -> None:
        """Refuses to write a copy of a remote state as if it were the state.

        Raises:
            StateError: It is one.
        """
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (f"{REMOTE_NOTES}url",)).fetchone()
        if row is not None:
            raise StateError(
                f"the file {self.path} is this machine's copy of the state {row[0]}, and cannot be written by itself",
                remedy="Use a config whose state.url is that.",
            )

    def park(self) -> Lease:
        """Closes the database and keeps the lease, which is not renewed until a `lock` goes on with it.

        For planning under the lock, which opens the state by itself, as planning without it does.
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
        tenant: str = "",
        lineage: str | None = None,
        replacement: str = "",
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
            tenant: Whose points the state's are in a shared collection.
            lineage: The lineage of a new state; made up where None.
            replacement: The collection that the run makes beside the one of this state: what the state says of that
                one stays as it is, and the documents of the run are in a state of their own until `take_over`.

        Returns:
            The run's id.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta"))
            serial = int(meta.get("serial", "0")) + 1
            mixed = meta.get("mixed", "0")
            # Of a replacement too: from the switch on, before `take_over`, searches ask what filled the collection.
            add_pipeline(connection, pipeline, pipeline_settings, now)
            if replacement:
                pipeline = meta["pipeline"]
            elif "pipeline" in meta and meta["pipeline"] != pipeline:
                mixed = "1"
            facts = {
                **({"replacement": replacement, "replacement_token": uuid.uuid4().hex} if replacement else {}),
                **({"tenant": tenant} if tenant else {}),
                "name": name,
                "lineage": meta.get("lineage") or lineage or str(uuid.uuid4()),
                "collection": collection,
                "location": location,
                "pipeline": pipeline,
                "mixed": mixed,
                "serial": str(serial),
            }
            connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", facts.items())
            for source, (kind, identity) in () if replacement else sources.items():
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
            add_intents(connection, run_id, intents)

    def announce(self, run_id: int, documents: Iterable[tuple[str, str]]) -> None:
        """Says, before the index is touched at all, which documents a run may touch.

        On a disk of this machine nothing has to be done for that: whatever a batch begins, `record_intents` has written
        down, and it is there after a crash.

        Args:
            run_id: The run.
            documents: (source, id) of each.
        """

    def secure(self) -> None:
        """Sees to it that what is committed outlives this machine, where the state is kept elsewhere."""

    def checkpoint(self) -> None:
        """Called at each batch edge: a state that has to go elsewhere goes there from time to time."""

    def replace_drift(self, found: Iterable[IntentRecord]) -> None:
        """Notes what a comparison of the whole index found; what an earlier one found is forgotten."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM intent WHERE reason = 'drift'")
            add_intents(connection, None, found)

    def know_pipeline(self, fingerprint: str, settings: Mapping[str, Any]) -> None:
        """Makes a pipeline known that documents may be recorded with, beside the one of the run."""
        with self._transaction() as connection:
            add_pipeline(connection, fingerprint, settings, lock.now_ms())

    def note(self, **facts: str) -> None:
        """Writes down what `header` says of collections: `target`, `replaced`, `switching` ("1") and so on.

        Args:
            facts: By name; an empty one is forgotten.
        """
        with self._transaction() as connection:
            note_facts(connection, facts)

    def take_over(self, file: Path, run_id: int, *, target: str, replaced: str) -> int:
        """Takes over what another state says of documents, in one transaction: the collection is another from here on.

        Runs, failures and tombstones stay, and documents that the other state does not have become tombstones.

        Args:
            file: The other state, of the same lineage, which nobody writes.
            run_id: The run that made it.
            target: The collection that it describes.
            replaced: The collection that this state has described, if it is kept.

        Returns:
            The state's new serial.

        Raises:
            StateError: The file cannot be read, or is the state of something else.
        """
        with database.translated(self.path):
            self._connection.execute("ATTACH DATABASE ? AS other", (f"{file.absolute().as_uri()}?mode=ro",))
            try:
                with self._transaction() as connection:
                    take_over(connection, run_id, lock.now_ms())
                    note_facts(connection, {"target": target, "replacement": "", "switching": "", "replaced": replaced})
                    return self._advance(connection, run_id)
            finally:
                self._connection.execute("DETACH DATABASE other")

    def begin_other(self, what: str) -> int:
        """Records a run that carries out no plan, but one step of its own.

        Args:
            what: Which one, as `history` shows it: `rollback`.

        Returns:
            The run's id.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            run_id = connection.execute(
                "INSERT INTO run (plan, base_serial, last_serial, status, started_at, updated_at) "
                "SELECT ?, value, value, 'running', ?, ? FROM meta WHERE key = 'serial'",
                (what, now, now),
            ).lastrowid
            assert run_id is not None
            return run_id

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
            write_documents(connection, run_id, written, deleted, now)
            connection.executemany("DELETE FROM intent WHERE source = ? AND document_id = ?", settled)
            return self._advance(connection, run_id)

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
            # What it announced and never began.
            connection.execute("DELETE FROM intent WHERE reason = 'announced' AND run_id = ?", (run_id,))
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
            mixed = connection.execute("SELECT 1 FROM meta WHERE key = 'mixed' AND value = '1'").fetchone()
            if (
                mixed  # else no document needs to be looked at
                and current
                and not connection.execute(
                    "SELECT 1 FROM document WHERE is_deleted = 0 AND pipeline_id <> ? LIMIT 1", current
                ).fetchone()
                # What a lost run may have made is of nobody knows which.
                and not connection.execute("SELECT 1 FROM intent WHERE reason = 'announced' LIMIT 1").fetchone()
            ):
                connection.execute("UPDATE meta SET value = '0' WHERE key = 'mixed'")
            connection.execute(
                "UPDATE run SET status = ?, summary = ?, error_message = ?, finished_at = ?, updated_at = ? "
                "WHERE id = ?",
                (status, json.dumps(dict(summary), sort_keys=True), error, now, now, run_id),
            )

    def record_measured(self, run_id: int, measured: Measured, *, keep: float | None = None) -> None:
        """Writes what was measured of a run so far; what was written before is replaced.

        Args:
            run_id: The run.
            measured: Its figures.
            keep: Figures of other runs that are so many seconds old are forgotten; None forgets none.
        """
        now = lock.now_ms()
        with self._transaction() as connection:
            metrics.write(connection, run_id, measured, now)
            if keep is not None:
                metrics.prune(connection, now - round(keep * 1000))

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
            intents = [i for i in (edited(connection, *document) for document in touched) if i.points]
            run_id = connection.execute(
                "INSERT INTO run (plan, base_serial, last_serial, status, started_at, finished_at, updated_at) "
                "SELECT 'edit', value, value + 1, 'complete', ?, ?, ? FROM meta WHERE key = 'serial'",
                (now, now, now),
            ).lastrowid
            assert run_id is not None
            write_documents(connection, run_id, written, deleted, now)
            add_intents(connection, None, intents)
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
            # Which collections there are beside this one is known no more.
            note_facts(connection, {**facts, "target": "", "replacement": "", "switching": "", "replaced": ""})
            filler = Filler(connection, now, identity.settings)
            for kind, record, intents in found:
                if record is not None:
                    filler.add(kind, record)
                add_intents(connection, None, intents)
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
            totals = Totals(connection, source_ids)
            for source, document_id in keys:
                key = (source_ids[source], document_id)
                chunks = connection.execute(
                    "SELECT chunks FROM document WHERE source_id = ? AND id = ? AND is_deleted = 0", key
                ).fetchone()
                if chunks is not None:
                    points = tuple(keys_of(connection, source, document_id, unpack_hashes(chunks[0])))
                    add_intents(connection, None, [IntentRecord(source, document_id, points)])
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

    def copy_to(self, file: Path, *, permissions: int) -> None:
        """Writes a copy that nobody holds, in a place where nothing is."""
        database.backup(self._connection, self.path, permissions, file)
        with database.translated(file), contextlib.closing(sqlite3.connect(file)) as copy, copy:
            copy.execute("DELETE FROM lease")

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
