"""The state read: what Qdrant holds according to us. Nothing here ever waits for a writer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qloader.state import accounts, database, lock, metrics
from qloader.state.records import (
    DocumentRecord,
    FailureRecord,
    IngestionRecord,
    IntentRecord,
    Lease,
    Pace,
    RunFailure,
    RunRecord,
    SourceRecord,
    StateHeader,
    unpack_hashes,
)

if TYPE_CHECKING:
    from qloader.telemetry.measured import Measured

_DOCUMENT = (
    "SELECT s.name, d.id, d.content, d.metadata, d.revision, d.bytes, d.chunks, p.fingerprint, "
    "d.last_updated, d.is_deleted, d.last_ingested, d.title, "
    "coalesce((SELECT value FROM meta WHERE key = 'tenant'), '') "
    "FROM document d JOIN source s ON s.id = d.source_id JOIN pipeline p ON p.id = d.pipeline_id "
)


class StateReader:
    """What an open state answers."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection

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
            target=meta.get("target", ""),
            replacement=meta.get("replacement", ""),
            is_switching=meta.get("switching") == "1",
            replaced=meta.get("replaced", ""),
            replacement_token=meta.get("replacement_token", ""),
            replaced_token=meta.get("replaced_token", ""),
            tenant=meta.get("tenant", ""),
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

    def used_pipelines(self) -> frozenset[str]:
        """The fingerprints of the pipelines that living documents were made with. Looks at every document."""
        with database.translated(self.path):
            rows = self._connection.execute(
                "SELECT fingerprint FROM pipeline "
                "WHERE id IN (SELECT DISTINCT pipeline_id FROM document WHERE is_deleted = 0)"
            )
            return frozenset(fingerprint for (fingerprint,) in rows)

    def document(self, source: str, document_id: str) -> DocumentRecord | None:
        """One document, tombstones included."""
        with database.translated(self.path):
            row = self._connection.execute(
                _DOCUMENT + "WHERE s.name = ? AND d.id = ?", (source, document_id)
            ).fetchone()
        return _document(row) if row else None

    def holds(self, source: str, document_id: str) -> bool:
        """Whether the index holds a document, as far as the state knows."""
        record = self.document(source, document_id)
        return record is not None and not record.is_deleted

    def documents(self, source: str | None = None, *, deleted: bool = False) -> Iterator[DocumentRecord]:
        """Documents by source and id, streamed; tombstones only where asked for."""
        where, values = "WHERE d.is_deleted <= ?", [int(deleted)]
        if source is not None:
            where += " AND s.name = ?"
            values.append(source)  # type: ignore[arg-type]
        with database.translated(self.path):
            for row in self._connection.execute(_DOCUMENT + where + " ORDER BY s.name, d.id", values):
                yield _document(row)

    def intents(self, sources: Iterable[str] | None = None, *, before_run: int | None = None) -> list[IntentRecord]:
        """What interrupted batches may have left in the index, by source and id.

        Args:
            sources: Of these; of all where None.
            before_run: Without what this run has announced itself.
        """
        wanted = None if sources is None else set(sources)
        with database.translated(self.path):
            rows = self._connection.execute(
                "SELECT source, document_id, points, reason FROM intent "
                "WHERE NOT (reason = 'announced' AND run_id IS NOT NULL AND run_id IS ?) ORDER BY 1, 2",
                (before_run,),
            )
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

    def pace(self, pipeline: str) -> Pace | None:
        """How fast the last runs of a pipeline were; None where none embedded enough to tell."""
        with database.translated(self.path):
            return accounts.last_pace(self._connection, pipeline)

    def measured(self, runs: Iterable[int]) -> dict[int, Measured]:
        """What was measured of runs, by their numbers; those of which nothing is kept are not there."""
        with database.translated(self.path):
            return metrics.read(self._connection, runs)

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
        title=row[11],
        tenant=row[12],
    )
