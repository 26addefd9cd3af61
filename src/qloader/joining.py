"""DuckDB, opened to join SQLite files where they lie: manifests with the state, points with the state.

Imported only when there is something to join: DuckDB takes a while to load.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.errors import QloaderError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY_LIMIT = "512MB"
"""What DuckDB may hold before it spills to disk: a million documents join in less than half of it."""


def connect_duckdb() -> DuckDBPyConnection:
    """A database in memory that can attach SQLite files; nothing is ever downloaded.

    Raises:
        QloaderError: The SQLite extension of just this DuckDB is not installed.
    """
    import duckdb

    connection = duckdb.connect(
        config={
            "threads": 2,
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": tempfile.gettempdir(),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute(f"LOAD {sql_literal(str(sqlite_extension(duckdb.__version__)))}")
    return connection


def is_database_error(error: Exception) -> bool:
    """Whether SQLite or DuckDB gave up: on a damaged file, or on a disk without room."""
    duckdb = sys.modules.get("duckdb")  # not imported for this: what was never used did not fail
    return isinstance(error, sqlite3.Error) or (duckdb is not None and isinstance(error, duckdb.Error))


def sql_literal(path: str) -> str:
    """A path as SQL writes it: a statement like ATTACH takes it in no other way.

    Raises:
        QloaderError: It is not valid UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise QloaderError(
            f"the path {path} is not valid UTF-8, and DuckDB opens no such file",
            remedy="Rename the folder, or move state and cache to another one with QLOADER_HOME.",
        ) from None
    return "'" + path.replace("'", "''") + "'"


def sqlite_extension(version: str) -> Path:
    """Where the package `duckdb-extension-sqlite-scanner` keeps the extension for this DuckDB.

    Raises:
        QloaderError: It has none for this version.
    """
    import duckdb_extension_sqlite_scanner

    folder = Path(str(duckdb_extension_sqlite_scanner.__file__)).parent / "extensions"
    path = folder / f"v{version}" / "sqlite_scanner.duckdb_extension"
    if not path.exists():
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())) or "none"
        raise QloaderError(
            f"DuckDB {version} has no matching SQLite extension (installed: {found})",
            remedy=f"Run `pip install 'duckdb-extension-sqlite-scanner=={version}'`.",
        )
    return path
