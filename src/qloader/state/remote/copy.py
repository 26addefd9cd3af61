"""This machine's copy of a remote state: a state like any other, with notes on which version of the object it is.

The notes are rows of its table `meta`, so that they change with what they speak of, or not at all:

- `remote_url`: what it is a copy of;
- `remote_version`: the version of the object that it was, or was put as; missing where there was none;
- `remote_ahead`: 1 from the first change after that until the next put;
- `remote_pending`: puts that were begun since and not heard of: they may have reached the store.

Two things are never done to the copy: it is not taken from under a writer of this machine, who is ahead of the store;
and the file is never replaced, since a reader may have it open: its content is, by SQLite, in one transaction.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qloader.errors import StateError
from qloader.state import database, lock
from qloader.state.records import REMOTE_NOTES
from qloader.state.remote.parcel import PACKING, Label, read_label, unpack
from qloader.state.remote.store import Found, RemoteStore, Unchanged, Version, file_lock

FETCHED = ".fetched."
"""How files begin that are on their way into the copy."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What the copy says of itself.

    Attributes:
        version: Which version of the object it rests on; None where there was none.
        is_ahead: Whether something was changed here since.
        pending: Puts that were begun since and not heard of.
    """

    version: Version | None = None
    is_ahead: bool = False
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkingCopy:
    """Where the copy lies, and the store that it is a copy of.

    Attributes:
        path: The copy.
        store: The store.
        former: Where the state was before it became remote; None where that is nowhere.
        permissions: The mode of a copy that is created.
        tell: Says a sentence to whoever runs this.
    """

    path: Path
    store: RemoteStore
    former: Path | None
    permissions: int
    tell: Callable[[str], None]

    def sync(self) -> None:
        """Makes the copy the newest state there is. Asks the store, and downloads only what changed.

        Where a process of this machine is writing the state, its copy is the newest already.

        Raises:
            StateError: The store cannot be reached or refuses, or its object is no whole state.
        """
        with self.alone():
            notes, is_written = self.look()
            if is_written:
                return
            self.fetch(notes)
        if notes.is_ahead:
            self.tell(
                f"This machine's copy of the state {self.store.url} holds what an earlier run here could not put "
                "there; the next command that writes the state puts it."
            )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps the other processes of this machine from replacing the copy or beginning to write it."""
        with database.translated(self.path):
            self._make_folder()
        with file_lock(self.path.with_name(f"{self.path.name}.flock"), self._unusable):
            yield

    def look(self) -> tuple[Notes, bool]:
        """What the copy says of itself, and whether a living process of this machine is writing it."""
        if not self.path.exists() or self.path.stat().st_size == 0:
            return Notes(), False
        try:
            with contextlib.closing(database.open_older(self.path)) as connection:
                return read_notes(connection), _is_written(connection)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            aside = self._move_away()
            self.tell(f"The copy of the state here was damaged ({error}); it is {aside} now.")
            return Notes(), False

    def fetch(self, notes: Notes, *, replaces: bool = False) -> None:
        """Brings the copy up to date, within `alone`.

        Args:
            notes: What it says of itself.
            replaces: Whether the caller puts a whole other state in its place: then an object that is gone is no error.

        Raises:
            StateError: See `sync`.
        """
        found = self.store.read(self.store.name, unless=notes.version)
        if isinstance(found, Unchanged):
            return
        if found is None:
            self._check_gone(notes, replaces)
            return
        label, rest = read_label(found.chunks, self.store.url)
        if label.write in notes.pending:
            # Our own put, whose answer was lost; what was changed after it is ahead still.
            self._write_notes(found.version)
            return
        if notes.is_ahead:
            self._set_aside(label)
        self._take(found, label, rest)

    def has_something_to_move(self) -> bool:
        """Whether there is no remote state yet, and one where it was before."""
        with self.alone():
            notes, _ = self.look()
            is_there = self.store.read(self.store.name, unless=notes.version) is not None
        return not is_there and self.former is not None and _has_lineage(self.former)

    def sweep(self) -> None:
        """Removes what killed processes left half-way, within `alone` and under the lock of all machines."""
        for name in (f"{FETCHED}*", f"{PACKING}*"):
            for left in self.path.parent.glob(name):
                left.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Keeps what the copy holds as a backup beside it."""
        with contextlib.closing(database.open_older(self.path)) as connection:
            return database.backup(connection, self.path, self.permissions)

    def _set_aside(self, label: Label) -> None:
        kept = self.set_aside()
        self.tell(
            f"The state {self.store.url} went on without this machine (it is at serial {label.serial:,} now); what was "
            f"changed only here is kept in {kept}."
        )

    def _check_gone(self, notes: Notes, replaces: bool) -> None:
        if replaces:
            if notes.version is not None:
                self._write_notes(None)
            return
        if notes.version is not None:
            raise StateError(
                f"the state {self.store.url} is gone; this machine knew it",
                remedy=f"Bring it back (its versions lie under {self.store.url}.versions/), or put this machine's copy "
                f"there: `qloader state push {self.path}`.",
            )
        if self.former is not None and _has_lineage(self.former):
            raise StateError(
                f"there is no state at {self.store.url} yet, and there is one at {self.former}, where it was before",
                remedy="`qloader state migrate` moves it; if it is not needed any more, move that file away.",
            )

    def _take(self, found: Found, label: Label, rest: bytes) -> None:
        new = self.path.with_name(f"{FETCHED}{uuid.uuid4().hex}")
        try:
            unpack(label, rest, found.chunks, new, self.store.url)
            with database.translated(new), contextlib.closing(database.open_older(new)) as connection:
                self.note(connection, found.version)
            self._replace(new)
        finally:
            new.unlink(missing_ok=True)

    def _replace(self, new: Path) -> None:
        with database.translated(self.path):
            if not self.path.exists():
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                new.chmod(self.permissions)
                new.replace(self.path)
                return
            with (
                contextlib.closing(sqlite3.connect(new)) as source,
                contextlib.closing(database.open_older(self.path)) as target,
            ):
                source.backup(target)

    def replace_from(self, file: Path) -> None:
        """Puts another state in the place of what the copy holds, within `alone`; the notes stay.

        Raises:
            StateError: It cannot be read.
        """
        notes, _ = self.look()
        new = self.path.with_name(f"{FETCHED}{uuid.uuid4().hex}")
        try:
            with database.translated(file), contextlib.closing(database.open_as_it_is(file)) as source:
                database.backup(source, file, self.permissions, new)
            with database.translated(new), contextlib.closing(database.open_older(new)) as connection:
                connection.execute("DELETE FROM lease")
                self.note(connection, notes.version, is_ahead=True)
            self._replace(new)
        finally:
            new.unlink(missing_ok=True)

    def note(self, connection: sqlite3.Connection, version: Version | None, *, is_ahead: bool = False) -> None:
        """Writes which version the copy is, in a transaction of the caller or by itself."""
        connection.execute("DELETE FROM meta WHERE key = ?", (f"{REMOTE_NOTES}version",))
        facts = {"url": self.store.url, "ahead": str(int(is_ahead)), "pending": ""}
        if version is not None:
            facts["version"] = version.to_text()
        connection.executemany(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
            [(f"{REMOTE_NOTES}{key}", value) for key, value in facts.items()],
        )

    def _write_notes(self, version: Version | None) -> None:
        """Notes another version, of our own put or none; what is here stays ahead of it."""
        with database.translated(self.path), contextlib.closing(database.open_older(self.path)) as connection:
            self.note(connection, version, is_ahead=True)

    def _make_folder(self) -> None:
        from qloader.folders import make_private_folder

        make_private_folder(self.path.parent)

    def _move_away(self) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.damaged-{stamp}")
        with database.translated(self.path):
            self.path.replace(aside)
        return aside

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"the copy of the state {self.store.url} in {self.path.parent} cannot be used: {error.strerror}",
            remedy="Check the permissions of that folder.",
        )


def read_notes(connection: sqlite3.Connection) -> Notes:
    """What an open copy says of itself."""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    version = meta.get(f"{REMOTE_NOTES}version")
    return Notes(
        Version.from_text(version) if version else None,
        meta.get(f"{REMOTE_NOTES}ahead") == "1",
        tuple(meta.get(f"{REMOTE_NOTES}pending", "").split()),
    )


def _is_written(connection: sqlite3.Connection) -> bool:
    try:
        lease = lock.current_lease(connection)
    except sqlite3.OperationalError:  # of an older qloader, whose writers died with it
        return False
    # One that cannot be looked at from here came with a folder from elsewhere: the store knows better who is writing.
    return lease is not None and lock.is_alive(lease) is True


def _has_lineage(path: Path) -> bool:
    """Whether something was ever applied with the state of a file."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    try:
        with contextlib.closing(database.open_as_it_is(path)) as connection:
            return connection.execute("SELECT 1 FROM meta WHERE key = 'lineage'").fetchone() is not None
    except (sqlite3.Error, StateError):
        return False
