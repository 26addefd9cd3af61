"""A state takes over what another one says of documents: that of the collection which replaces its own."""

from __future__ import annotations

import sqlite3

from qloader.errors import StateError
from qloader.state.rows import note_facts

_PIPELINES = """
INSERT OR IGNORE INTO main.pipeline (fingerprint, settings, created_at)
SELECT fingerprint, settings, created_at FROM other.pipeline
"""

_SOURCES = """
INSERT INTO main.source (name, type, identity, root, documents, chunks, created_at, updated_at)
SELECT name, type, identity, root, documents, chunks, created_at, updated_at FROM other.source WHERE true
ON CONFLICT (name) DO UPDATE SET
    root = excluded.root, documents = excluded.documents, chunks = excluded.chunks, updated_at = excluded.updated_at,
    type = excluded.type, identity = excluded.identity
"""

_OTHER = """
SELECT 1 FROM other.document d JOIN other.source s ON s.id = d.source_id JOIN main.source m ON m.name = s.name
WHERE m.id = main.document.source_id AND d.id = main.document.id AND d.is_deleted = 0
"""

_GONE = f"""
UPDATE main.document SET is_deleted = 1, chunks = x'', last_ingested = :now, updated_at = :now, run_id = :run
WHERE is_deleted = 0 AND NOT EXISTS ({_OTHER})
"""

_DOCUMENTS = """
INSERT INTO main.document (
    source_id, id, content, metadata, pipeline_id, is_deleted, bytes, last_updated, last_ingested, created_at,
    updated_at, run_id, revision, chunks, title)
SELECT ms.id, d.id, d.content, d.metadata, mp.id, 0, d.bytes, d.last_updated, d.last_ingested, d.created_at,
    d.updated_at, :run, d.revision, d.chunks, d.title
FROM other.document d
JOIN other.source s ON s.id = d.source_id JOIN main.source ms ON ms.name = s.name
JOIN other.pipeline p ON p.id = d.pipeline_id JOIN main.pipeline mp ON mp.fingerprint = p.fingerprint
WHERE d.is_deleted = 0
ON CONFLICT (source_id, id) DO UPDATE SET
    content = excluded.content, metadata = excluded.metadata, pipeline_id = excluded.pipeline_id, is_deleted = 0,
    bytes = excluded.bytes, last_updated = excluded.last_updated, last_ingested = excluded.last_ingested,
    updated_at = excluded.updated_at, run_id = excluded.run_id, revision = excluded.revision,
    chunks = excluded.chunks, title = excluded.title
"""

_INTENTS = """
INSERT INTO main.intent (source, document_id, points, run_id, reason)
SELECT source, document_id, points, NULL, reason FROM other.intent
"""


def take_over(connection: sqlite3.Connection, run_id: int, now: int) -> None:
    """Replaces documents, sources' totals and intents by those of the attached state `other`.

    Args:
        connection: In a transaction, with the other state attached as `other`.
        run_id: The run that does it.
        now: Milliseconds since 1970.

    Raises:
        StateError: The other state is of another lineage.
    """
    ours = dict(connection.execute("SELECT key, value FROM main.meta"))
    theirs = dict(connection.execute("SELECT key, value FROM other.meta"))
    if ours.get("lineage") != theirs.get("lineage"):
        raise StateError(
            f"a state of {theirs.get('lineage')} cannot take the place of one of {ours.get('lineage')}",
            remedy="Remove the files beside the state that end in .replacement or .replaced.",
        )
    connection.execute(_PIPELINES)
    # What no document is left of keeps its row, which says when it was last applied.
    connection.execute(
        "UPDATE main.source SET root = zeroblob(16), documents = 0, chunks = 0, updated_at = ? "
        "WHERE name NOT IN (SELECT name FROM other.source)",
        (now,),
    )
    connection.execute(_SOURCES)
    connection.execute(_GONE, {"now": now, "run": run_id})
    connection.execute(_DOCUMENTS, {"run": run_id})
    connection.execute(
        "UPDATE main.run SET document_count = (SELECT count(*) FROM other.document WHERE is_deleted = 0) WHERE id = ?",
        (run_id,),
    )
    connection.execute("DELETE FROM main.intent")
    connection.execute(_INTENTS)
    pipeline = theirs["pipeline"]
    is_mixed = connection.execute(
        "SELECT 1 FROM main.document d JOIN main.pipeline p ON p.id = d.pipeline_id "
        "WHERE d.is_deleted = 0 AND p.fingerprint <> ? LIMIT 1",
        (pipeline,),
    ).fetchone()
    note_facts(connection, {"pipeline": pipeline, "mixed": "1" if is_mixed else "0"})
