"""SQLite files joined where they lie: manifests with the state."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from qloader.state.database import is_in_read_only_folder

_CACHE_KIB = 32_768
"""What temporary tables may hold in memory before they spill to disk."""


def connect_files(**files: Path) -> sqlite3.Connection:
    """A connection that reads files under the names given, and keeps what it makes of them in temporary tables.

    Args:
        files: The files by name; nothing is written to them.

    Raises:
        sqlite3.Error: One of them cannot be opened.
    """
    connection = sqlite3.connect(":memory:", isolation_level=None, uri=True, check_same_thread=False)
    try:
        for name, file in files.items():
            _attach(connection, name, file)
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute(f"PRAGMA temp.cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _attach(connection: sqlite3.Connection, name: str, file: Path) -> None:
    uri = f"{file.absolute().as_uri()}?mode=ro"
    try:
        connection.execute(f"ATTACH ? AS {name}", (uri,))
        connection.execute(f"SELECT 1 FROM {name}.sqlite_master LIMIT 1")  # nothing is opened before something is read
    except sqlite3.OperationalError:
        if not is_in_read_only_folder(file):
            raise
        if any(row[1] == name for row in connection.execute("PRAGMA database_list")):
            connection.execute(f"DETACH {name}")
        connection.execute(f"ATTACH ? AS {name}", (f"{uri}&immutable=1",))
