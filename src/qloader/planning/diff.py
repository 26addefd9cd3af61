"""The diff: manifests in the cache joined with the state where both lie, by DuckDB.

Only differences leave the join, in the order of a plan; nothing is held for documents that are the same.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qloader.joining import connect_duckdb, sql_literal
from qloader.manifest.manifest import PlannedChunk, unpack_chunks, unpack_keys
from qloader.planning.selecting import Choice, SplitMove
from qloader.state.records import IntentRecord, unpack_hashes

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PAGE = 400
"""Documents looked up at once; below SQLite's lowest limit on bound values (999)."""

_Key = tuple[str, str]  # source, id


@dataclass(frozen=True, slots=True)
class Before:
    """A document as the state holds it; hashes are 16 bytes."""

    content: bytes
    metadata: bytes
    revision: str
    size: int
    chunks: tuple[bytes, ...]
    pipeline: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class After:
    """A document as the manifest holds it; hashes are 16 bytes, `keys` are those of its metadata that say something."""

    content: bytes
    metadata: bytes
    revision: str
    size: int
    chunks: tuple[PlannedChunk, ...]
    title: str = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One document on both sides. Not both sides are None, but where only an intent is left of it.

    Attributes:
        source: The source's name.
        id: The document id.
        before: The state's side.
        after: The manifest's side.
        from_id: The id that `before` has in the state, where it is another.
        intent: Ids (16 bytes) of points that may not be in the index as the state says; empty where all are.
        is_drift: Whether `refresh` found them so, and no interrupted batch left them.
        is_unseen: Whether the manifest, which is not complete, does not show the document, and its points are replaced
            all the same.
    """

    source: str
    id: str
    before: Before | None
    after: After | None
    from_id: str | None = None
    intent: tuple[bytes, ...] = ()
    is_drift: bool = False
    is_unseen: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared.

    Attributes:
        complete: Every selected source, with whether its manifest is complete.
        joined: Those of them whose manifest and state may differ.
        retyped: Those of them whose points bear another source type: all their documents differ.
        intents: What interrupted batches left and `refresh` found, for all selected sources.
        pipeline: The fingerprint that every document should have.
        replaces: Whether all points are made anew, so that every document differs.
    """

    complete: Mapping[str, bool]
    joined: frozenset[str]
    intents: Sequence[IntentRecord]
    pipeline: str
    retyped: frozenset[str] = frozenset()
    replaces: bool = False


def find_differences(
    cache: sqlite3.Connection,
    cache_path: Path,
    state_path: Path | None,
    scope: Scope,
    choice: Choice | None = None,
) -> Iterator[Difference]:
    """Every difference between manifests and state, ordered by source, then id (by code point).

    Args:
        cache: The open cache; nobody else writes it meanwhile.
        cache_path: Where it lies, for DuckDB.
        state_path: The state, or None where nothing was ever applied.
        scope: What to compare.
        choice: Which documents; all of them where None. It counts the others.

    Yields:
        Differences; a document deleted and another created with equal text come as one, with `from_id`.
    """
    if state_path is None:
        yield from _all_new(cache, scope, choice)
        return
    keys: Iterable[_Key] = ()
    intents = _intent_keys(scope)
    moved: dict[_Key, str] = {}
    with contextlib.ExitStack() as stack:
        if scope.joined:
            join = stack.enter_context(contextlib.closing(_join(cache_path, state_path, scope)))
            if choice is None:
                moved = pair_moves(_move_candidates(join))
                keys = _stream_keys(join)
            else:
                moved, others = _pair_chosen(list(_move_candidates(join)), choice)
                intents = _choose_intents(intents, others, choice)
                keys = _choose_keys(join, others, choice)
        elif choice is not None:
            intents = _choose_intents(intents, {}, choice)
        # Opened only now that DuckDB has let go of the file (ADR 5): see `_join`.
        uri = f"{state_path.absolute().as_uri()}?mode=ro"
        state = stack.enter_context(contextlib.closing(sqlite3.connect(uri, uri=True, check_same_thread=False)))
        yield from _look_up(cache, state, merge(keys, intents), moved, scope)


def pair_moves(candidates: Iterable[tuple[str, bytes, str, bool]]) -> dict[_Key, str]:
    """Which created document is which deleted one under a new id.

    Among several with equal text, those that kept their file name are paired first, then by order of ids.

    Args:
        candidates: (source, content hash, id, is created) of created and deleted documents.

    Returns:
        The old id by (source, new id). Pure: the order of the candidates does not matter.
    """
    groups: dict[tuple[str, bytes], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for source, content, document_id, is_created in candidates:
        groups[source, content][is_created].append(document_id)
    pairs: dict[_Key, str] = {}
    for (source, _), (deleted, created) in groups.items():
        olds = sorted(deleted)
        by_name: dict[str, list[str]] = defaultdict(list)
        for old in olds:
            by_name[old.rpartition("/")[2]].append(old)
        rest = []
        for new in sorted(created):
            same_name = by_name.get(new.rpartition("/")[2])
            if same_name:
                pairs[source, new] = same_name.pop(0)
            else:
                rest.append(new)
        used = {pairs[source, new] for new in created if (source, new) in pairs}
        for new, old in zip(rest, (old for old in olds if old not in used), strict=False):
            pairs[source, new] = old
    return pairs


def _all_new(cache: sqlite3.Connection, scope: Scope, choice: Choice | None) -> Iterator[Difference]:
    for source in sorted(scope.joined):
        rows = cache.execute(
            "SELECT id, content, metadata, revision, bytes, chunks, title, keys FROM entry "
            "WHERE source = ? AND content IS NOT NULL ORDER BY id",
            (source,),
        )
        for row in rows:
            if choice is not None and not choice.chooses(source, row[0]):
                choice.leave(lives=True)
                continue
            yield Difference(source, row[0], None, _after(row[1:]))


def _join(cache_path: Path, state_path: Path, scope: Scope) -> DuckDBPyConnection:
    connection = connect_duckdb()
    connection.execute(f"ATTACH {sql_literal(str(cache_path))} AS cache (TYPE sqlite, READ_ONLY)")
    connection.execute(f"ATTACH {sql_literal(str(state_path))} AS state (TYPE sqlite, READ_ONLY)")
    connection.execute("CREATE TEMP TABLE scope (source VARCHAR, complete BOOLEAN, retyped BOOLEAN)")
    connection.executemany(
        "INSERT INTO scope VALUES (?, ?, ?)",
        [(source, scope.complete[source], source in scope.retyped) for source in sorted(scope.joined)],
    )
    connection.execute(
        """
        CREATE TEMP TABLE delta AS
        WITH manifest AS (
            SELECT source, id, content, metadata FROM cache.entry
            WHERE content IS NOT NULL AND source IN (SELECT source FROM scope)
        ), applied AS (
            SELECT s.name AS source, d.id, d.content, d.metadata, p.fingerprint AS pipeline
            FROM state.document d
            JOIN state.source s ON s.id = d.source_id
            JOIN state.pipeline p ON p.id = d.pipeline_id
            WHERE d.is_deleted = 0 AND s.name IN (SELECT source FROM scope)
        )
        SELECT coalesce(m.source, a.source) AS source, coalesce(m.id, a.id) AS id,
               m.content AS after, a.content AS before
        FROM manifest m FULL OUTER JOIN applied a ON m.source = a.source AND m.id = a.id
        WHERE m.content IS DISTINCT FROM a.content
           OR m.metadata IS DISTINCT FROM a.metadata
           OR a.pipeline <> ?
           OR m.source IN (SELECT source FROM scope WHERE retyped)
           OR ?
        """,
        [scope.pipeline, scope.replaces],
    )
    connection.execute(
        "CREATE TEMP TABLE unseen AS SELECT source, id FROM delta "
        "WHERE ? AND after IS NULL AND source IN (SELECT source FROM scope WHERE NOT complete)",
        [scope.replaces],
    )
    # A document missing from an incomplete manifest proves nothing.
    connection.execute(
        "DELETE FROM delta WHERE after IS NULL AND source IN (SELECT source FROM scope WHERE NOT complete)"
    )
    # DuckDB brings a SQLite of its own. When one of two in a process closes a file, the system takes away the locks of
    # the other, and a writer elsewhere may then delete the log from under it. So never both on the state at once.
    connection.execute("DETACH state")
    connection.execute("DETACH cache")
    return connection


def _move_candidates(connection: DuckDBPyConnection) -> Iterator[tuple[str, bytes, str, bool]]:
    cursor = connection.execute(
        """
        SELECT source, coalesce(after, before), id, before IS NULL FROM delta d
        WHERE (before IS NULL OR after IS NULL) AND EXISTS (
            SELECT 1 FROM delta o WHERE o.source = d.source AND (
                (d.before IS NULL AND o.after IS NULL AND o.before = d.after)
                OR (d.after IS NULL AND o.before IS NULL AND o.after = d.before)))
        """
    )
    while rows := cursor.fetchmany(10_000):
        yield from rows


def _stream_keys(connection: DuckDBPyConnection) -> Iterator[_Key]:
    cursor = connection.execute(
        "SELECT source, id FROM delta UNION ALL SELECT source, id FROM unseen ORDER BY source, id"
    )
    while rows := cursor.fetchmany(10_000):
        yield from rows


def _pair_chosen(
    candidates: Sequence[tuple[str, bytes, str, bool]], choice: Choice
) -> tuple[dict[_Key, str], dict[_Key, str]]:
    """The moves among chosen documents, and all the others; documents of the latter are left as they are.

    Chosen documents are paired with each other first, so that as few moves as can be lie across the border.
    """
    moved = pair_moves(c for c in candidates if choice.chooses(c[0], c[2]))
    used = _both_halves(moved)
    others = pair_moves(c for c in candidates if (c[0], c[2]) not in used)
    for (source, new), old in sorted(others.items()):
        choice.leave(lives=True)
        if choice.chooses(source, new) != choice.chooses(source, old):
            choice.split.append(SplitMove(source, old, new))
    return moved, others


def _choose_keys(connection: DuckDBPyConnection, others: Mapping[_Key, str], choice: Choice) -> Iterator[_Key]:
    """The keys of chosen differences, in order; the others are counted, but for moves, which are already."""
    counted = _both_halves(others)
    cursor = connection.execute("SELECT source, id, after IS NOT NULL FROM delta ORDER BY source, id")
    while rows := cursor.fetchmany(10_000):
        for source, document_id, lives in rows:
            if (source, document_id) in counted:
                continue
            if choice.chooses(source, document_id):
                yield source, document_id
            else:
                choice.leave(lives=lives)


def _choose_intents(intents: Sequence[_Key], others: Mapping[_Key, str], choice: Choice) -> list[_Key]:
    halves = _both_halves(others)
    return [key for key in intents if key not in halves and choice.chooses(*key)]


def _both_halves(moves: Mapping[_Key, str]) -> set[_Key]:
    return {*moves, *((source, old) for (source, _), old in moves.items())}


def _intent_keys(scope: Scope) -> list[_Key]:
    return sorted((intent.source, intent.document_id) for intent in scope.intents)


def _look_up(
    cache: sqlite3.Connection,
    state: sqlite3.Connection,
    keys: Iterable[_Key],
    moved: Mapping[_Key, str],
    scope: Scope,
) -> Iterator[Difference]:
    intents = {(intent.source, intent.document_id): intent.points for intent in scope.intents}
    drifted = {(i.source, i.document_id) for i in scope.intents if i.reason == "drift"}
    moved_away = {(source, old) for (source, _), old in moved.items()}
    unique = (key for key, _ in groupby(keys) if key not in moved_away)
    for source, group in groupby(unique, key=lambda key: key[0]):
        ids = (key[1] for key in group)
        while page := list(islice(ids, PAGE)):
            olds = {document_id: moved.get((source, document_id), document_id) for document_id in page}
            afters = {row[0]: _after(row[1:]) for row in _rows(cache, _AFTER, source, page)}
            befores = {row[0]: _before(row[1:]) for row in _rows(state, _BEFORE, source, list(olds.values()))}
            for document_id in page:
                old = olds[document_id]
                before, after = befores.get(old), afters.get(document_id)
                is_unseen = after is None and before is not None and not scope.complete[source]
                if is_unseen and not scope.replaces:
                    continue  # an interrupted change of a document that this listing does not show: not now
                points = intents.get((source, document_id), ())
                if old == document_id:
                    is_drift = (source, document_id) in drifted
                    yield Difference(
                        source, document_id, before, after, intent=points, is_drift=is_drift, is_unseen=is_unseen
                    )
                else:
                    points += intents.get((source, old), ())
                    yield Difference(source, document_id, before, after, from_id=old, intent=points)


_AFTER = (
    "SELECT id, content, metadata, revision, bytes, chunks, title, keys FROM entry "
    "WHERE source = ? AND content IS NOT NULL AND id IN ({})"
)
_BEFORE = (
    "SELECT d.id, d.content, d.metadata, d.revision, d.bytes, d.chunks, p.fingerprint, d.title FROM document d "
    "JOIN pipeline p ON p.id = d.pipeline_id "
    "WHERE d.source_id = (SELECT id FROM source WHERE name = ?) AND d.is_deleted = 0 AND d.id IN ({})"
)


def _rows(connection: sqlite3.Connection, sql: str, source: str, ids: Sequence[str]) -> list[tuple[Any, ...]]:
    return connection.execute(sql.format(",".join("?" * len(ids))), (source, *ids)).fetchall()


def _after(row: Sequence[Any]) -> After:
    keys = unpack_keys(row[6])
    return After(row[0], row[1], row[2], row[3], tuple(unpack_chunks(row[4])), row[5], keys)


def _before(row: Sequence[Any]) -> Before:
    return Before(row[0], row[1], row[2], row[3], tuple(unpack_hashes(row[4])), row[5], row[6])
