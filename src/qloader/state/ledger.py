"""`Ledger`: the state's records one by one, awaited, for programs that keep their own account of what they load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from qloader.errors import StateConstraintError
from qloader.state.lock import now_ms
from qloader.state.records import DocumentRecord, IngestionRecord, RunStatus
from qloader.state.store import StateStore

T = TypeVar("T")
_STATUSES = ("running", "complete", "partial", "failed")


class Ledger:
    """An async facade over `StateStore`; every call opens the state in a thread and closes it.

    Each write is one transaction under the state's lease: it is wholly there or not at all, also where its task is
    cancelled. Writes of one ledger take turns.

    Errors of every call, each with its remedy:

    - `StateConnectionError`: the file cannot be opened;
    - `StateBusyError`: another process writes to the file just now;
    - `LockedError`: another writer, such as an apply, holds the state;
    - `StateConstraintError`: a record contradicts what the state holds;
    - `StateError`: anything else, a state that does not exist among it (writes only).

    Args:
        path: The state, as in `Workspace.settings.state`.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._writes = asyncio.Lock()

    async def get_last_ingestion(self, source_type: str, source_name: str) -> IngestionRecord | None:
        """How the last run of a source ended; None where it never had one, or is of another type."""

        def read(state: StateStore) -> IngestionRecord | None:
            found = state.last_ingestion(source_type, source_name)
            if found is not None and found.status == "running" and state.writer() is None:
                return replace(found, status="failed", error="interrupted")  # nobody could write that down
            return found

        return await self._read(read)

    async def update_ingestion(
        self,
        source_type: str,
        source_name: str,
        status: RunStatus,
        count: int = 0,
        error: str | None = None,
    ) -> IngestionRecord:
        """Writes how a run of a source ended; `complete` moves its last success.

        Args:
            source_type: Its type, e.g. `git`.
            source_name: Its name; one that is new becomes a source without documents.
            status: `running`, `complete`, `partial` or `failed`.
            count: Documents of the source then.
            error: One sentence, where it did not end well.

        Returns:
            What was written.
        """
        if status not in _STATUSES or count < 0:
            raise StateConstraintError(
                f"an ingestion of {source_name} cannot be recorded: status {status!r} or count {count} is wrong",
                remedy=f"The status is one of {', '.join(_STATUSES)}, the count is not negative.",
            )
        now = now_ms()
        last_success = now if status == "complete" else None
        record = IngestionRecord(source_type, source_name, status, count, error, last_success, now)
        await self._write(lambda state: state.record_ingestion(record))
        return record

    async def get_document_state(self, source: str, document_id: str) -> DocumentRecord | None:
        """What the state says of a document, tombstones included; None where it has never had it."""
        return await self._read(lambda state: state.document(source, document_id))

    async def update_document_state(self, record: DocumentRecord) -> int:
        """Records a document as it is now.

        Where its chunks differ from those recorded before, the next plan looks at its points and repairs them.

        Returns:
            The state's new serial; plans made before are stale.
        """
        return await self._write(lambda state: state.edit_documents(written=[record]))

    async def mark_document_deleted(self, source: str, document_id: str) -> int:
        """Makes a document a tombstone; the next apply removes its points, or makes it anew if the source has it.

        Returns:
            The state's new serial; plans made before are stale.
        """
        return await self._write(lambda state: state.edit_documents(deleted=[(source, document_id)]))

    async def _read(self, look: Callable[[StateStore], T]) -> T | None:
        def run() -> T | None:
            state = StateStore.read(self._path)
            if state is None:
                return None
            with state:
                return look(state)

        return await asyncio.to_thread(run)

    async def _write(self, change: Callable[[StateStore], T]) -> T:
        def run() -> T:
            with StateStore.write(self._path, create=False) as state:
                state.lock()
                return change(state)

        async with self._writes:
            return await asyncio.to_thread(run)
