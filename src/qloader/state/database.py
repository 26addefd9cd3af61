"""Opening `state.db`: modes, pragmas, and the errors that SQLite's own words hide."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from qloader.errors import QloaderError, StateError, StateOutdatedError
from qloader.state.migrate import check_version, latest_version, migrate, schema_version

APPLICATION_ID = 0x716C6F61
"""`qloa` in SQLite's header: tells a state from any other database (`PRAGMA application_id`)."""

BUSY_TIMEOUT_MS = 5_000
KEPT_BACKUPS = 5


def open_reading(path: Path) -> sqlite3.Connection | None:
    """Opens an existing state without writing to it; None where there is none.

    Raises:
        StateError: It is no qloader state or cannot be read.
        StateOutdatedError: It was written by an older qloader.
        StateVersionError: It was written by a newer qloader.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    with translated(path):
        try:
            connection = _connect(f"file:{quote(str(path))}?mode=ro")
            version = schema_version(connection)
        except sqlite3.OperationalError:
            if os.access(path.parent, os.W_OK) or not os.access(path, os.R_OK):
                raise
            # A read-only folder: SQLite cannot make the -shm file that WAL needs. Nobody can be writing here.
            connection = _connect(f"file:{quote(str(path))}?mode=ro&immutable=1")
            version = schema_version(connection)
        if version == 0:
            connection.close()
            return None
        _check_ours(connection, path)
        if version < latest_version():
            connection.close()
            raise StateOutdatedError(
                f"the state {path} has schema version {version}, older than this qloader's {latest_version()}",
                remedy="Run `qloader state migrate` to bring it up to date; a backup is made first.",
            )
        check_version(connection, path)
        return connection


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
    if not path.exists():
        if not create:
            raise StateError(
                f"there is no state at {path}",
                remedy="Set state.create_if_missing to true, or run `qloader state rebuild` if the index still exists.",
            )
        _create_file(path, permissions)
    with translated(path):
        connection = _connect(f"file:{quote(str(path))}?mode=rw")
        version = check_version(connection, path)
        if version:
            _check_ours(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
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


def backup(connection: sqlite3.Connection, path: Path, permissions: int, target: Path | None = None) -> Path:
    """A consistent copy of an open state, by SQLite's own backup; the newest `KEPT_BACKUPS` are kept.

    Args:
        connection: The open state.
        path: Where it is; the copy goes beside it unless `target` says otherwise.
        permissions: File mode of the copy.
        target: Another place for the copy; such copies are never pruned.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    copy = target or path.with_name(f"{path.name}.backup-{stamp}")
    with translated(copy):
        _create_file(copy, permissions)
        with contextlib.closing(sqlite3.connect(copy)) as destination:
            connection.backup(destination)
    if target is None:
        for old in sorted(path.parent.glob(f"{path.name}.backup-*"))[:-KEPT_BACKUPS]:
            old.unlink()
    return copy


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns SQLite's and the system's errors into a `StateError` with a remedy."""
    try:
        yield
    except QloaderError:
        raise
    except (sqlite3.Error, OSError) as error:
        message, remedy = _explain(error, path)
        raise StateError(message, remedy=remedy) from error


def _explain(error: Exception, path: Path) -> tuple[str, str]:
    words = str(error)
    if isinstance(error, OSError):
        words = error.strerror or words
    if "full" in words or "No space" in words:
        free = shutil.disk_usage(path.parent if path.parent.exists() else Path("/")).free
        return (
            f"the disk is full ({free // 1024} KiB free) while writing the state {path}",
            "Free some space and run the same command again: what was committed is kept.",
        )
    if "locked" in words or "busy" in words:
        return (
            f"the state {path} is busy: another process is writing to it",
            "Wait for it to end and run the command again.",
        )
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
    return f"the state {path} cannot be used: {words}", "Run the command again with --debug to see where."


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application not in (APPLICATION_ID, 0):
        raise StateError(
            f"{path} is a SQLite database of another program",
            remedy="Set state.path to a place of qloader's own.",
        )
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'lease'").fetchone() is None:
        raise StateError(
            f"{path} is a SQLite database, but no qloader state",
            remedy="Set state.path to a place of qloader's own.",
        )


def _create_file(path: Path, permissions: int) -> None:
    with translated(path):
        missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, permissions)
        os.fchmod(descriptor, permissions)
        os.close(descriptor)
