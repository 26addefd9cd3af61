"""Numbered SQL files to the schema that this qloader knows, one transaction each."""

from __future__ import annotations

import re
import sqlite3
from functools import cache
from importlib import resources
from pathlib import Path

from qloader.errors import StateError, StateVersionError

_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """The shipped migrations as (version, SQL), ascending and without gaps."""
    found = []
    for entry in (resources.files("qloader.state") / "migrations").iterdir():
        match = _NAME.match(entry.name)
        if match:
            found.append((int(match[1]), entry.read_text(encoding="utf-8")))
    found.sort()
    return tuple(found)


def latest_version() -> int:
    """The schema version that this qloader writes."""
    return migrations()[-1][0]


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of an open database; 0 for a new one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of an existing state.

    Raises:
        StateVersionError: It is newer than this qloader knows.
    """
    version = schema_version(connection)
    if version > latest_version():
        raise StateVersionError(
            f"the state {path} has schema version {version}; this qloader knows up to {latest_version()}",
            remedy="Upgrade qloader, or restore the backup that was made before the migration "
            f"(files named {path.name}.backup-* beside it).",
        )
    return version


def migrate(connection: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """Brings a database up to the latest version; safe with a second process doing the same.

    Each migration is one transaction that also sets `user_version`: a kill leaves it before or after. A new database
    gets all of them in one: a reader beside its creation sees nothing or a whole state, never one to migrate.

    Returns:
        The versions before and after.

    Raises:
        StateVersionError: The database is newer than this qloader.
        StateError: A migration failed; the database is as it was before that migration.
    """
    before = check_version(connection, path)
    for step in [migrations()] if before == 0 else [(migration,) for migration in migrations()]:
        version = step[0][0]
        try:
            connection.execute("BEGIN IMMEDIATE")
            for version, sql in step:
                _run(connection, version, sql)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise StateError(
                f"migration {version} of the state {path} failed: {error}",
                remedy="The state is unchanged. Free disk space or fix permissions, then run the command again.",
            ) from error
    return before, schema_version(connection)


def _run(connection: sqlite3.Connection, version: int, sql: str) -> None:
    """Runs one migration inside the caller's transaction, unless another process has meanwhile."""
    if schema_version(connection) < version:
        for statement in _statements(sql):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")


def _statements(sql: str) -> list[str]:
    # executescript() would commit on its own; complete_statement() knows SQL's quoting and triggers.
    statements, current = [], ""
    for line in sql.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    if current.strip() and not all(part.strip().startswith("--") or not part.strip() for part in current.splitlines()):
        statements.append(current)
    return statements
