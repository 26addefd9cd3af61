"""The embedding cache's file: its tables, what is in a row, and how old rows make room for new ones."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from xxhash import xxh3_64_intdigest

from qloader.errors import EmbeddingError

CACHE_VERSION = 1
"""Of the tables and of what a row means; a cache of a newer qloader is left alone."""

DAMAGED = ".damaged"
"""What is added to the name of a file that cannot be read."""

ROW_BYTES = 60
"""What a vector takes beside its numbers: its entry, the index by day, what SQLite adds to a row."""

SPARSE = 1.3
"""A file so many times as large as its rows is written anew when something was deleted."""

APPLICATION_ID = 0x716C6F61
"""`qloa`: what tells an exported cache from any other SQLite file."""

PAGE_BYTES = 16_384
"""Of a page of the file: vectors of 384 to 3072 numbers leave little of such a page empty."""

_SCHEMA = """
CREATE TABLE model (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    dim  INTEGER NOT NULL,
    UNIQUE (name, dim)
);
CREATE TABLE entry (
    key      BLOB PRIMARY KEY,
    vector   INTEGER NOT NULL,
    model    INTEGER NOT NULL,
    day      INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX entry_by_day ON entry (day);
CREATE TABLE vector (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE total (vectors INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO total VALUES (0, 0);
"""


def connect(path: Path) -> sqlite3.Connection | None:
    """The database, with its tables; None where a newer qloader or another program made it."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        is_new = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if not is_new and (version != CACHE_VERSION or owner != APPLICATION_ID):
            connection.close()
            return None
        if is_new:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {CACHE_VERSION}; COMMIT;"
            )
        connection.execute("PRAGMA synchronous = NORMAL")  # may lose the last rows to a power cut, never mixes them
        connection.execute("PRAGMA cache_size = -65536")
    except BaseException:
        connection.close()
        raise
    return connection


def is_cache(head: bytes) -> bool:
    """Whether a file begins as a cache or its export. A state's pages are of another size."""
    application = int.from_bytes(head[68:72], "big")
    return head.startswith(b"SQLite format 3\0") and (int.from_bytes(head[16:18], "big"), application) == (
        PAGE_BYTES,
        APPLICATION_ID,
    )


def check_export(other: sqlite3.Connection, path: Path) -> None:
    """Refuses a file that is no export.

    Raises:
        EmbeddingError: It is another file, or of another version.
    """
    application = other.execute("PRAGMA application_id").fetchone()[0]
    version = other.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise EmbeddingError(
            f"{path} is a SQLite file, but no exported cache", remedy="Export one with `qloader cache export`."
        )
    if version != CACHE_VERSION:
        raise EmbeddingError(
            f"{path} was exported by another version of qloader (format {version}; this one reads {CACHE_VERSION})",
            remedy="Use the same version of qloader on both sides.",
        )


def exported(other: sqlite3.Connection) -> Iterator[tuple[tuple[str, int], list[tuple[bytes, bytes, int]]]]:
    """The rows of an exported cache by model, some at a time."""
    for number, name, dim in other.execute("SELECT id, name, dim FROM model ORDER BY id").fetchall():
        rows = other.execute(
            "SELECT e.key, v.data, e.checksum FROM entry e LEFT JOIN vector v ON v.id = e.vector WHERE e.model = ?",
            (number,),
        )
        while some := rows.fetchmany(10_000):
            yield (str(name), int(dim)), some


def checksum(key: bytes, data: bytes) -> int:
    """What tells a damaged row."""
    # 31 bits: SQLite keeps them in four bytes.
    return xxh3_64_intdigest(key + data) & 0x7FFFFFFF


def is_whole(key: object, data: object, given: object, dim: int) -> bool:
    """Whether a row is as it was written: a vector of that length, in either precision."""
    return (
        isinstance(key, bytes)
        and isinstance(data, bytes)
        and len(data) in (2 * dim, 4 * dim)
        and len(data) > 0
        and given == checksum(key, data)
    )


def used_bytes(connection: sqlite3.Connection) -> int:
    """What the rows take. Their file may be larger for a while: what is deleted leaves pages that are half full."""
    vectors, data = connection.execute("SELECT vectors, bytes FROM total").fetchone()
    return int(data + vectors * ROW_BYTES)


def count_in(connection: sqlite3.Connection, vectors: int, data: int) -> None:
    """Adds to the totals, inside the caller's transaction."""
    connection.execute("UPDATE total SET vectors = vectors + ?, bytes = bytes + ?", (vectors, data))


def forget(connection: sqlite3.Connection, where: str, values: Iterable[object]) -> int:
    """Deletes entries with their vectors, inside the caller's transaction; how many."""
    values = tuple(values)
    ids = f"SELECT vector FROM entry WHERE {where}"
    data = connection.execute(f"SELECT total(length(data)) FROM vector WHERE id IN ({ids})", values).fetchone()[0]
    connection.execute(f"DELETE FROM vector WHERE id IN ({ids})", values)
    gone = connection.execute(f"DELETE FROM entry WHERE {where}", values).rowcount
    count_in(connection, -gone, -int(data))
    return gone


def shrink(connection: sqlite3.Connection, max_bytes: int) -> int:
    """Forgets what was not used for longest until the rest fits, inside the caller's transaction; how many."""
    gone = 0
    while (used := used_bytes(connection)) > max_bytes:
        vectors = connection.execute("SELECT count(*) FROM entry").fetchone()[0]
        if not vectors:
            break
        share = max(1, int(vectors * (used - max_bytes) / used))
        gone += forget(connection, "key IN (SELECT key FROM entry ORDER BY day LIMIT ?)", (share,))
    return gone


def tidy(connection: sqlite3.Connection) -> None:
    """Writes the file anew where much of it is empty, outside of any transaction; not while others read it."""
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if pages * size > SPARSE * used_bytes(connection) + 64 * size:
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction; an error or a kill leaves the cache as it was."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """One process at a time makes or replaces the file."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that the file is no database, or no longer one."""
    return (error.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def put_aside(path: Path) -> Path:
    """Gives a damaged file another name, one for all: it was paid for, or is another file under a wrong path.

    Returns:
        Where it is now.
    """
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return path.replace(path.with_name(path.name + DAMAGED))
