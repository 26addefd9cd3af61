"""`cache.db`: what was observed at the sources. It may be deleted at any time; only speed is lost.

`entry` is the manifest of each source as last observed, with the change token that it was observed
under. A snapshot rewrites only the rows that differ, and the differ joins the table where it lies. `unseen` keeps
rows that a listing which is not complete did not name: they are in no manifest, and come back with their ids.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from qloader.folders import make_private_folder

CACHE_VERSION = 7
"""Raised with every change to the tables or to the meaning of a row: an older cache is thrown away."""

_SCHEMA = """
CREATE TABLE snapshot (
    source    TEXT PRIMARY KEY,
    selection TEXT NOT NULL,
    proof     TEXT,
    listing   BLOB,
    revision  TEXT,
    root      BLOB NOT NULL,
    documents INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    problems  TEXT NOT NULL,
    skipped   TEXT NOT NULL,
    is_plain  INTEGER NOT NULL
) WITHOUT ROWID;
""" + "".join(
    f"""\
CREATE TABLE {name} (
    source   TEXT NOT NULL,
    id       TEXT NOT NULL,
    token    TEXT NOT NULL,
    skip     TEXT,
    content  BLOB,
    metadata BLOB,
    revision TEXT NOT NULL DEFAULT '',
    bytes    INTEGER NOT NULL DEFAULT 0,
    chunks   BLOB NOT NULL DEFAULT x'',
    title    TEXT NOT NULL DEFAULT '',
    keys     TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE INDEX {name}_skip ON {name} (source, id, skip) WHERE skip IS NOT NULL;
"""
    for name in ("entry", "unseen")
)
_TABLES = ("snapshot", "entry", "unseen")


@dataclass(frozen=True, slots=True)
class CachedSnapshot:
    """What is known of a source's last snapshot.

    Attributes:
        selection: The settings it was taken under.
        proof: The source's own proof of that moment, or None.
        listing: Hash of its listing (ids and tokens), or None where a token promised nothing or only changes were told.
        revision: The source's revision then.
        root: Its root hash; empty while entries are being read, and where that was cut short.
        documents: Its entries.
        bytes: Their sizes added up.
        problems: Why it was not complete; empty where it was.
        skipped: How many items were skipped, with examples, by reason.
        is_plain: Whether its source may be followed from there, see `sources.protocol.Follows`.
    """

    selection: str
    proof: str | None
    listing: bytes | None
    revision: str | None
    root: bytes
    documents: int
    bytes: int
    problems: tuple[str, ...]
    skipped: dict[str, tuple[int, tuple[str, ...]]]
    is_plain: bool = False

    @classmethod
    def begun(cls, selection: str) -> Self:
        """A snapshot under way: it says under which settings entries are read, and nothing of what they add up to."""
        return cls(selection, None, None, None, b"", 0, 0, (), {})

    @property
    def is_finished(self) -> bool:
        """Whether it says what the source holds."""
        return bool(self.root)


class Cache:
    """An open cache, held by one process at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None, private: Path | None) -> None:
        self.path = path
        self.connection = connection
        self._lock = lock
        self._private = private

    @classmethod
    def open(cls, path: Path, *, fresh: bool = False) -> Self:
        """Opens the cache; where that cannot be (held by another plan, read-only, damaged), a private one.

        Nobody ever waits for a cache: a plan beside another plan starts from a copy and throws it away.

        Args:
            path: Where the cache lies.
            fresh: Forget everything (`--no-cache`).
        """
        lock = None
        try:
            make_private_folder(path.parent)
            lock = _try_lock(path.with_name(path.name + ".lock"))
            if lock is None:
                return cls._open_private(path, fresh=fresh)
            connection = _open_database(path, fresh=fresh)
        except (OSError, sqlite3.Error):
            if lock is not None:
                os.close(lock)
            return cls._open_private(path, fresh=True)
        return cls(path, connection, lock, None)

    @classmethod
    def empty(cls) -> Self:
        """A private cache that knows nothing and leaves nothing behind."""
        return cls._open_private(Path(), fresh=True)

    @classmethod
    def _open_private(cls, path: Path, *, fresh: bool) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="qloader-cache-"))
        copy = folder / "cache.db"
        if not fresh:
            with (
                contextlib.suppress(sqlite3.Error, OSError),
                contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as original,
                contextlib.closing(sqlite3.connect(copy)) as target,
            ):
                original.backup(target)
        return cls(copy, _open_database(copy, fresh=fresh), None, folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the cache and lets go of it."""
        self.connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._private is not None:
            for file in self._private.iterdir():
                file.unlink()
            self._private.rmdir()
            self._private = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction; an error or a kill leaves the cache as it was."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def snapshot(self, source: str) -> CachedSnapshot | None:
        """The last snapshot of a source, or None."""
        row = self.connection.execute(
            "SELECT selection, proof, listing, revision, root, documents, bytes, problems, skipped, is_plain "
            "FROM snapshot WHERE source = ?",
            (source,),
        ).fetchone()
        if row is None:
            return None
        skipped = {reason: (count, tuple(examples)) for reason, (count, examples) in json.loads(row[8]).items()}
        return CachedSnapshot(
            selection=row[0],
            proof=row[1],
            listing=row[2],
            revision=row[3],
            root=row[4],
            documents=row[5],
            bytes=row[6],
            problems=tuple(json.loads(row[7])),
            skipped=skipped,
            is_plain=bool(row[9]),
        )

    def save_snapshot(self, source: str, snapshot: CachedSnapshot) -> None:
        """Records a snapshot, inside the caller's transaction."""
        self.connection.execute(
            "INSERT OR REPLACE INTO snapshot "
            "(source, selection, proof, listing, revision, root, documents, bytes, problems, skipped, is_plain) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                source,
                snapshot.selection,
                snapshot.proof,
                snapshot.listing,
                snapshot.revision,
                snapshot.root,
                snapshot.documents,
                snapshot.bytes,
                json.dumps(snapshot.problems),
                json.dumps(snapshot.skipped),
                snapshot.is_plain,
            ),
        )

    def forget(self, source: str) -> None:
        """Forgets a source, inside the caller's transaction."""
        for table in _TABLES:
            self.connection.execute(f"DELETE FROM {table} WHERE source = ?", (source,))

    def forget_others(self, sources: Iterable[str]) -> None:
        """Forgets sources that the config no longer names."""
        names = list(sources)
        marks = ",".join("?" * len(names))
        with self.transaction() as connection:
            for table in _TABLES:
                connection.execute(f"DELETE FROM {table} WHERE source NOT IN ({marks})", names)


def _open_database(path: Path, *, fresh: bool) -> sqlite3.Connection:
    if fresh:
        _remove(path)
    try:
        connection = _prepare(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        _remove(path)  # damaged: only speed is lost
        connection = _prepare(path)
    return connection


def _prepare(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] != CACHE_VERSION:
            connection.close()
            _remove(path)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            connection.executescript(f"PRAGMA journal_mode = WAL; {_SCHEMA} PRAGMA user_version = {CACHE_VERSION};")
        connection.execute("PRAGMA synchronous = NORMAL")  # may lose the last rows to a power cut, never mixes them
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute("PRAGMA cache_size = -32768")
    except BaseException:
        connection.close()
        raise
    return connection


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _try_lock(path: Path) -> int | None:
    import fcntl

    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
