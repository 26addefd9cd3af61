"""States as older versions of the schema had them, as SQL; `python tests/state/old_states.py` writes what is missing.

A dump is made once, by the real schema files up to its version, and never again: it must stay what an older qloader
left behind.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from qloader.documents.hashing import EMPTY_ROOT, add_to_root, entry_hash
from qloader.state.database import APPLICATION_ID
from qloader.state.migrate import latest_version, migrations

FOLDER = Path(__file__).with_name("old_states")
LINEAGE = "6f0c1d52-3a54-4a3b-9d5f-0d8f6e3b7a11"
TIME = 1_700_000_000_000

DATA = f"""
INSERT INTO meta VALUES ('name', 'test'), ('lineage', '{LINEAGE}'), ('serial', '7'), ('collection', 'test'),
    ('location', 'embedded:.qloader/index'), ('pipeline', 'p2'), ('mixed', '1');
INSERT INTO pipeline VALUES (1, 'p1', '{{"embedding": {{"k": 1}}}}', {TIME}), (2, 'p2', '{{}}', {TIME});
INSERT INTO run (id, plan, base_serial, last_serial, status, document_count, summary, error_message, started_at,
    finished_at, updated_at) VALUES
    (1, 'd1', 0, 4, 'complete', 3, '{{"create": 3}}', NULL, {TIME}, {TIME}, {TIME}),
    (2, 'd2', 4, 7, 'partial', 1, '{{}}', '1 document was left as it was: docs/b.md', {TIME}, {TIME}, {TIME});
INSERT INTO failure VALUES (2, 'docs', 'b.md', 'changed', 'its text changed');
INSERT INTO intent (source, document_id, points, run_id) VALUES ('docs', 'b.md', x'{"0a" * 32}', 2);
"""


def of_version(version: int) -> Path:
    return FOLDER / f"v{version}.sql"


def open_old(path: Path, version: int) -> Path:
    """Makes the state of an older version at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(of_version(version).read_text(encoding="utf-8"))
    return path


def write_missing() -> None:
    for version in range(1, latest_version()):
        if not of_version(version).exists():
            of_version(version).write_text(_dump(version), encoding="utf-8")


def _dump(version: int) -> str:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for number, sql in migrations():
            if number <= version:
                connection.executescript(sql)
        connection.executescript(DATA)
        _add_documents(connection)
        dump = "\n".join(connection.iterdump())
    return f"{dump}\nPRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {version};\n"


def _add_documents(connection: sqlite3.Connection) -> None:
    living = {"a.md": (b"a" * 16, 2), "b.md": (b"b" * 16, 1)}
    root = add_to_root(EMPTY_ROOT, sum(entry_hash(i, content, b"m" * 16) for i, (content, _) in living.items()))
    connection.execute(
        "INSERT INTO source (id, name, type, identity, revision, root, documents, chunks, last_success, created_at, "
        "updated_at) VALUES (1, 'docs', 'git', 'first', 'c0ffee', ?, 2, 3, ?, ?, ?)",
        (root, TIME, TIME, TIME),
    )
    rows = [(i, content, 0, b"".join(bytes([n]) * 16 for n in range(count))) for i, (content, count) in living.items()]
    for document_id, content, is_deleted, chunks in (*rows, ("gone.md", b"g" * 16, 1, b"")):
        connection.execute(
            "INSERT INTO document (source_id, id, content, metadata, pipeline_id, is_deleted, bytes, last_updated, "
            "last_ingested, created_at, updated_at, run_id, revision, chunks) VALUES (1, ?, ?, ?, 1, ?, 10, ?, ?, ?, "
            "?, 1, 'r', ?)",
            (document_id, content, b"m" * 16, is_deleted, TIME // 1000, TIME, TIME, TIME, chunks),
        )


if __name__ == "__main__":
    write_missing()
