"""Opening `state.db`: modes, pragmas, and the errors that SQLite's own words hide."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from qloader.errors import (
    QloaderError,
    StateBusyError,
    StateConnectionError,
    StateConstraintError,
    StateError,
    StateOutdatedError,
)
from qloader.folders import make_private_folder
from qloader.state.migrate import check_version, latest_version, migrate, schema_version
from qloader.state.records import REMOTE_NOTES

APPLICATION_ID = 0x716C6F61
"""`qloa` in SQLite's header: tells a state from any other database (`PRAGMA application_id`)."""

BUSY_TIMEOUT_MS = 5_000
ROOM_TO_READ = 1 << 16
"""Bytes: for whoever opens it SQLite makes a file of half as many beside it (-shm)."""

KEPT_BACKUPS = 5


def is_there(path: Path) -> bool:
    """Whether there is a file where a state may be.

    Raises:
        StateError: Nobody may look.
    """
    with translated(path):
        return path.exists()


def open_reading(path: Path) -> sqlite3.Connection | None:
    """Opens an existing state without writing to it; None where there is none.

    Raises:
        StateError: It is no qloader state or cannot be read.
        StateOutdatedError: It was written by an older qloader.
        StateVersionError: It was written by a newer qloader.
    """
    with translated(path):
        if not path.exists() or path.stat().st_size == 0:
            return None
        connection, version = _open_reading(path)
        if version == latest_version():
            return connection
        connection.close()
        if version == 0:
            return None
        raise StateOutdatedError(
            f"the state {path} has schema version {version}, older than this qloader's {latest_version()}",
            remedy="Run `qloader state migrate` to bring it up to date; a backup is made first.",
        )


def open_writing(
    path: Path,
    *,
    create: bool = True,
    permissions: int = 0o600,
    auto_migrate: bool = True,
    backup_before_migrate: bool = True,
) -> sqlite3.Connection:
    """Opens the state for writing, creating and migrating it as allowed.

    Args:
        path: Where it is.
        create: Whether a missing state is created.
        permissions: File mode of a new state; folders made on the way get 0700.
        auto_migrate: Whether an older schema is brought up to date.
        backup_before_migrate: Whether a copy is kept beside it first.

    Raises:
        StateError: It is missing, older and not to be migrated, damaged, or cannot be written.
        StateVersionError: It was written by a newer qloader.
    """
    if not is_there(path):
        if not create:
            raise StateError(
                f"there is no state at {path}",
                remedy="Set state.create_if_missing to true, or run `qloader state rebuild` if the index still exists.",
            )
        _create_file(path, permissions)
    with translated(path):
        connection, version = _open(path, "mode=rw")
        with _closed_on_error(connection):
            _use_log(connection)
            connection.execute("PRAGMA synchronous = FULL")  # a committed batch survives a power cut
            if 0 < version < latest_version():
                if not auto_migrate:
                    raise StateOutdatedError(
                        f"the state {path} has schema version {version}, this qloader needs {latest_version()}",
                        remedy="Set state.migrations.auto_migrate to true, or run `qloader state migrate`.",
                    )
                if backup_before_migrate:
                    backup(connection, path, permissions)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrate(connection, path)
        return connection


def open_beside(path: Path) -> sqlite3.Connection:
    """Another connection to a state that is open for writing, for what need not survive a power cut.

    Raises:
        StateError: It is gone or cannot be opened.
    """
    with translated(path):
        connection, _ = _open(path, "mode=rw")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def open_older(path: Path) -> sqlite3.Connection:
    """A connection to an existing state of this or an older schema, to be written without bringing it up to date.

    Raises:
        StateError: It is no qloader state.
        StateVersionError: It was written by a newer qloader.
        sqlite3.Error: It cannot be opened or read.
    """
    return _open(path, "mode=rw")[0]


def open_as_it_is(path: Path) -> sqlite3.Connection:
    """A connection that only reads an existing state of this or an older schema.

    Raises:
        StateError: It is no qloader state.
        StateVersionError: It was written by a newer qloader.
        sqlite3.Error: It cannot be opened or read.
    """
    return _open_reading(path)[0]


def read_version(path: Path) -> int:
    """The schema version of an existing state, whatever it is.

    Raises:
        StateError: There is no state, or it cannot be read.
    """
    if not is_there(path):
        raise StateError(f"there is no state at {path}", remedy="The first `qloader apply` makes one.")
    with translated(path):
        connection, version = _open(path, "mode=ro")
        connection.close()
        return version


def backup(connection: sqlite3.Connection, path: Path, permissions: int, target: Path | None = None) -> Path:
    """A consistent copy of an open state, by SQLite's own backup; the newest `KEPT_BACKUPS` are kept.

    Args:
        connection: The open state.
        path: Where it is; the copy goes beside it unless `target` says otherwise.
        permissions: File mode of the copy.
        target: Another place for the copy, where nothing may be yet; such copies are never pruned.

    Raises:
        StateError: There is something at `target`, or the copy cannot be written.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    copy = target or path.with_name(f"{path.name}.backup-{stamp}")
    if target is not None and (target.exists() or target.is_symlink()):
        raise StateError(f"{target} exists, and is left as it is", remedy="Name a file that does not exist yet.")
    # Under another name until it is whole: what looks like a backup must be one.
    partial = copy.with_name(f".{copy.name}.{uuid.uuid4().hex}")
    with translated(copy):
        try:
            _create_file(partial, permissions)
            with contextlib.closing(sqlite3.connect(partial)) as destination:
                connection.backup(destination)
                # A copy of a remote state has to ask the store what became of it; a backup is a state of its own.
                destination.execute("DELETE FROM meta WHERE key LIKE ?", (f"{REMOTE_NOTES}%",))
                destination.commit()
            if target is None:
                copy = _free_name(copy)
            partial.replace(copy)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    if target is None:
        for old in sorted(path.parent.glob(f"{path.name}.backup-*"))[:-KEPT_BACKUPS]:
            old.unlink(missing_ok=True)
    return copy


def _free_name(copy: Path) -> Path:
    """The name, or the next that is free: a copy of the same second may be the last of a state before it was migrated.

    Two processes may still find the same name free; then neither has migrated, and their copies are equal.
    """
    place, number = copy, 1
    while place.exists():
        number += 1
        place = copy.with_name(f"{copy.name}-{number}")
    return place


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns SQLite's and the system's errors into a `StateError` with a remedy."""
    try:
        yield
    except QloaderError:
        raise
    except (sqlite3.Error, OSError) as error:
        message, remedy = _explain(error, path)
        raise _kind(error, path)(message, remedy=remedy) from error


def _kind(error: Exception, path: Path) -> type[StateError]:
    words = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        return StateConstraintError
    if "locked" in words or "busy" in words:
        return StateBusyError
    unopened = ("not a database", "malformed", "readonly", "Read-only", "Permission", "unable to open")
    return StateConnectionError if _is_folder(path) or any(part in words for part in unopened) else StateError


def _free(path: Path) -> int:
    """Bytes that are free where a file lies."""
    try:
        return shutil.disk_usage(path.parent if path.parent.exists() else Path("/")).free
    except OSError:
        return ROOM_TO_READ  # what is said of the error must not depend on it


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - false where nobody may look


def _explain(error: Exception, path: Path) -> tuple[str, str]:  # noqa: PLR0911 - a table of words
    words = str(error)
    if isinstance(error, OSError):
        words = error.strerror or words
    free = _free(path)
    if "full" in words or "No space" in words:
        return (
            f"the disk is full ({free // 1024} KiB free) while writing the state {path}",
            "Free some space and run the same command again: what was committed is kept.",
        )
    if "disk I/O" in words and free < ROOM_TO_READ:
        return (
            f"the disk is full ({free // 1024} KiB free), and even to read the state {path} takes a little room",
            "Free some space and run the same command again: what was committed is kept.",
        )
    if isinstance(error, sqlite3.IntegrityError):
        return (
            f"the state {path} refuses a record that contradicts what it holds ({words})",
            "Correct the record. Nothing was changed.",
        )
    if "locked" in words or "busy" in words:
        return (
            f"the state {path} is busy: another process is writing to it",
            "Wait for it to end and run the command again.",
        )
    if _is_folder(path):
        return f"the state {path} is a folder, not a file", "Set state.path to a file, or move the folder away."
    if "not a database" in words or "malformed" in words:
        return (
            f"the state {path} is damaged or is no SQLite database ({words})",
            "Restore a backup (files named *.backup-* beside it), or move it away and run `qloader state rebuild`.",
        )
    if "readonly" in words or "Read-only" in words or "Permission" in words or "unable to open" in words:
        return (
            f"the state {path} cannot be opened for this ({words})",
            "Check the permissions of the file and its folder, or set state.path to a folder you can write to.",
        )
    return (
        f"the state {path} cannot be used: {words}",
        "Look at its disk: its space, health, quotas and limits (`ulimit -f`). What was committed is kept; run the "
        "command again with --debug to see more.",
    )


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Reads every page of an open state.

    Raises:
        StateError: One of them is damaged.
    """
    with translated(path):
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(f"malformed: {found}")


def is_in_read_only_folder(path: Path) -> bool:
    """Whether a database can be read, and SQLite cannot make the -shm file beside it that WAL needs.

    Nobody can be writing there: `immutable=1` opens it.
    """
    return os.access(path, os.R_OK) and not os.access(path.parent, os.W_OK)


def _open_reading(path: Path) -> tuple[sqlite3.Connection, int]:
    try:
        return _open(path, "mode=ro")
    except sqlite3.OperationalError:
        if not is_in_read_only_folder(path):
            raise
        return _open(path, "mode=ro&immutable=1")


def _open(path: Path, options: str) -> tuple[sqlite3.Connection, int]:
    """An open database that is ours, and its schema version: 0 where it is new and empty, else one that we know."""
    # From the bytes of the path: a folder's name may be no UTF-8.
    uri = f"file:{quote(os.fsencode(path))}?{options}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    with _closed_on_error(connection):
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        _check_ours(connection, path)
        return connection, check_version(connection, path)


def _use_log(connection: sqlite3.Connection) -> None:
    """Lets readers and a writer work side by side (WAL), which a new state does not do yet."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Of two that do this at once one is refused without the wait that `busy_timeout` asks for.
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.005)
        else:
            return


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuses a database that is neither ours nor empty, before anything is written to it."""
    # In one transaction: another process may be creating the state just now.
    connection.execute("BEGIN")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = schema_version(connection)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.execute("COMMIT")
    if application not in (APPLICATION_ID, 0):
        raise StateError(
            f"{path} is a SQLite database of another program",
            remedy="Set state.path to a place of qloader's own.",
        )
    is_new = not tables and not version
    is_newer = application == APPLICATION_ID and version > latest_version()
    if not (is_new or is_newer or "lease" in tables):
        raise StateError(
            f"{path} is a SQLite database, but no qloader state",
            remedy="Set state.path to a place of qloader's own.",
        )


def _create_file(path: Path, permissions: int) -> None:
    with translated(path):
        make_private_folder(path.parent)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, permissions)
        os.fchmod(descriptor, permissions)
        os.close(descriptor)
