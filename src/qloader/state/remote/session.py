"""A remote state, open: this machine's copy, written under the lock of all machines and put in the store."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from qloader.errors import LockedError, QloaderError, StateUnreachableError
from qloader.state import database, lock
from qloader.state.records import REMOTE_NOTES, Lease
from qloader.state.remote.copy import WorkingCopy, read_notes
from qloader.state.remote.lock import RemoteLock
from qloader.state.remote.parcel import Label, pack, read_label
from qloader.state.remote.store import ConflictError, Found, Version
from qloader.state.store import StateStore

CHECKPOINT_SECONDS = 30.0
"""How often a run puts the state while it goes on: what a lost machine had done since is looked at again."""

CHECKPOINT_SHARE = 10
"""A put that takes long is done more seldom: at most this part of a run's time goes into it."""


class RemoteStateStore(StateStore):
    """An open remote state. What is written is in this machine's copy at once, and in the store at the end at latest.

    Example:
        `with RemoteStateStore.open(copy, versions=10) as state:` puts what was changed when the block ends, and raises
        where it cannot. After an error it is tried all the same; the error is what the caller hears of.
    """

    _parked: ClassVar[dict[str, RemoteLock]] = {}

    def __init__(
        self,
        connection: sqlite3.Connection,
        copy: WorkingCopy,
        *,
        versions: int,
        replaces: bool,
        options: dict[str, Any],
    ) -> None:
        super().__init__(connection, copy.path)
        self._copy = copy
        self._versions = versions
        self._replaces = replaces
        self._options = options
        self._held: RemoteLock | None = None
        self._is_version_kept = False
        self._next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS

    @classmethod
    def open(cls, copy: WorkingCopy, *, versions: int, replaces: bool = False, **options: Any) -> Self:
        """Opens the copy for writing, once it is the newest state there is.

        Args:
            copy: This machine's copy.
            versions: How many former states are kept in the store.
            replaces: Whether a whole other state is put in its place, so that one that is gone is no error.
            options: Those of `database.open_writing`.

        Raises:
            StateError: The store cannot be reached, or the state cannot be opened, created or migrated.
        """
        with copy.alone():
            notes, is_written = copy.look()
            if not is_written:
                copy.fetch(notes, replaces=replaces)
            connection = database.open_writing(copy.path, **options)
        return cls(connection, copy, versions=versions, replaces=replaces, options=options)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.save()
            elif issubclass(kind, Exception):  # else somebody wants to be gone: the copy here stays ahead
                with contextlib.suppress(QloaderError):
                    self.save()
        finally:
            self.close()

    def lock(self, lease: Lease | None = None) -> Lease:
        """Becomes the one writer among all machines, and brings the copy up to date once more.

        Raises:
            LockedError: Somebody else is.
            StateError: The store cannot be reached, refuses, or cannot keep writers apart.
        """
        if lease is not None:
            return self._go_on(lease)
        held = RemoteLock.take(self._copy.store)
        try:
            with self._copy.alone():
                self._connection.close()
                self._copy.sweep()
                notes, is_written = self._copy.look()
                if not is_written:
                    self._copy.fetch(notes, replaces=self._replaces)
                self._connection = database.open_writing(self.path, **self._options)
                self._forget_the_dead()
                lease = super().lock()
        except BaseException:
            held.give_back()
            raise
        self._held = held
        return lease

    def _go_on(self, lease: Lease) -> Lease:
        held = self._parked.pop(lease.id, None)
        if held is None:
            raise LockedError(
                "the lock on the state was given back already",
                remedy="Run the same command again: what was committed is kept.",
            )
        self._held = held
        return super().lock(lease)

    def park(self) -> Lease:
        """See `StateStore.park`. The lock of all machines is renewed meanwhile."""
        lease = super().park()
        if self._held is not None:
            self._parked[lease.id], self._held = self._held, None
        return lease

    def close(self) -> None:
        """Gives the locks back and closes the copy; what was not put stays ahead in it."""
        try:
            super().close()
        finally:
            held, self._held = self._held, None
            if held is not None:
                held.give_back()

    def confirm(self) -> None:
        """Makes sure that this process is still the one writer, here and among all machines."""
        if self._held is not None:
            self._held.confirm()
        super().confirm()

    def announce(self, run_id: int, documents: Iterable[tuple[str, str]]) -> None:
        """Puts the state with an intent for each document that a run may touch, of points that nobody knows yet.

        This machine may be lost with its copy. So before it touches the index, the store has written down what it may
        have touched.
        """
        with self._transaction() as connection:
            # What was in doubt before stays so, whatever becomes of this run.
            connection.executemany(
                "INSERT INTO intent (source, document_id, points, run_id, reason) VALUES (?, ?, x'', ?, 'announced') "
                "ON CONFLICT (source, document_id) DO UPDATE SET reason = 'announced', run_id = NULL "
                "WHERE reason = 'drift'",
                ((source, document_id, run_id) for source, document_id in documents),
            )
        self._put()

    def secure(self) -> None:
        """Puts the state now: what comes next must not be known to this machine alone."""
        self._put()

    def checkpoint(self) -> None:
        """Puts the state, where the last time is some while ago. One that fails is tried again at a later edge."""
        if time.monotonic() >= self._next_checkpoint:
            try:
                self._put()
            except StateUnreachableError:
                self._next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS

    def replace_with(self, file: Path) -> None:
        """Takes all that a state's file holds in the place of what is here; it is put when the block ends.

        Raises:
            StateError: The file cannot be read, or cannot be brought up to date.
        """
        super().park()
        with self._copy.alone():
            self._copy.replace_from(file)
            self._connection = database.open_writing(self.path, **self._options)
            super().lock()

    def save(self, *, always: bool = False) -> None:
        """Puts the state, if this machine's copy is ahead of the store.

        Args:
            always: Also if it is not, as after a migration, which changes no content.

        Raises:
            LockedError: Somebody else put one meanwhile.
            StateError: The store cannot be reached, or refuses; what was changed is kept here.
        """
        if self._held is None:
            return
        with database.translated(self.path):
            is_ahead = read_notes(self._connection).is_ahead
        if is_ahead or always:
            try:
                self._put()
            except StateUnreachableError as error:
                error.remedy = (
                    "What was done is kept in this machine's copy of the state. Run the same command again, here, when "
                    "the store answers; elsewhere, the next plan looks at what this run had announced."
                )
                raise

    def _put(self) -> None:
        """Puts the state in the place of the one that this machine's copy rests on."""
        assert self._held is not None
        begun = time.monotonic()
        self._held.confirm()
        store = self._copy.store
        with database.translated(self.path):
            label, parcel = pack(self._connection, self.path.parent)
            notes = read_notes(self._connection)
            self._note("pending", " ".join((*notes.pending, label.write)))
        is_kept = self._keep_version(notes.version, label)
        try:
            version = store.put(store.name, parcel, over=notes.version)
        except ConflictError:
            version = self._put_over_own(parcel, label.write, notes.pending)
        with database.translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            self._copy.note(self._connection, version)
            self._connection.execute("COMMIT")
        if is_kept:
            self._drop_versions()
        took = time.monotonic() - begun
        self._next_checkpoint = time.monotonic() + max(CHECKPOINT_SECONDS, took * CHECKPOINT_SHARE)

    def _put_over_own(self, parcel: bytes, write: str, earlier: Sequence[str]) -> Version:
        """The version of a put that was told that it does not fit, where that was because of our own puts.

        This one had arrived, and its answer was lost; or an earlier one had, and another put was begun.

        Raises:
            LockedError: The state is another's by now.
        """
        store = self._copy.store
        found = store.read(store.name)
        if isinstance(found, Found):
            there = read_label(found.chunks, store.url)[0].write
            if there == write:
                return found.version
            if there in earlier:
                with contextlib.suppress(ConflictError):
                    return store.put(store.name, parcel, over=found.version)
        kept = self._copy.set_aside()
        self._note("ahead", "0")  # the copy of what is lost is that file
        raise LockedError(
            f"the state {store.url} was changed by somebody else while this run held its lock; nothing was written "
            f"over it, and what this run knew is kept in {kept}",
            remedy="Run `qloader plan --refresh` and apply it: it looks at the whole index.",
        )

    def _keep_version(self, version: Version | None, by: Label) -> bool:
        """Copies the state that is about to be replaced, once a session, under its serial; whether it did.

        Not where nothing but the time of the last run changed: versions are for going back.
        """
        if version is None:
            self._is_version_kept = True  # what this session puts is no former state
        if version is None or self._is_version_kept or not self._versions:
            return False
        store = self._copy.store
        found = store.read(store.name)
        if isinstance(found, Found) and found.version == version:
            label, _ = read_label(found.chunks, store.url)
            if (label.lineage, label.serial) != (by.lineage, by.serial):
                store.copy(store.name, f"{store.name}.versions/{label.serial:012}-{label.write[:8]}")
                self._is_version_kept = True
        return self._is_version_kept

    def _drop_versions(self) -> None:
        store = self._copy.store
        with contextlib.suppress(QloaderError):  # the state is there; what was not deleted is by a later run
            for name in store.names(f"{store.name}.versions")[: -self._versions]:
                store.delete(name)

    def _forget_the_dead(self) -> None:
        """Whoever holds the lock of all machines need not wait for a lease in the copy whose holder nobody sees."""
        with database.translated(self.path):
            held = lock.current_lease(self._connection)
            if held is not None and lock.is_alive(held) is not True:
                self._connection.execute("DELETE FROM lease WHERE id = ?", (held.id,))

    def _check_own(self) -> None:
        """A copy is what this is for."""

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with super()._transaction() as connection:
            self._note("ahead", "1")
            yield connection

    def _note(self, key: str, value: str) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (f"{REMOTE_NOTES}{key}", value)
        )
