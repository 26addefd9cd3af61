"""The diff: manifests in the cache joined with the state where both lie, by SQLite.

Only differences leave the join, in the order of a plan; nothing is held for documents that are the same.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from qloader.manifest.manifest import PlannedChunk, unpack_chunks, unpack_keys
from qloader.planning.joining import connect_files
from qloader.planning.selecting import Choice, SplitMove
from qloader.state.records import IntentRecord, unpack_hashes

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
        cache_path: Where it lies, for the join.
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
    moves = _Moves(cache)
    with contextlib.ExitStack() as stack:
        if scope.joined:
            join = stack.enter_context(contextlib.closing(_join(cache_path, state_path, scope)))
            if choice is None:
                moves.take(pair_moves(_move_candidates(join)))
                keys = _stream_keys(join)
            else:
                moved, others = _pair_chosen(list(_move_candidates(join)), choice)
                moves.take((source, new, old) for (source, new), old in moved.items())
                intents = _choose_intents(intents, others, choice)
                keys = _choose_keys(join, others, choice)
        elif choice is not None:
            intents = _choose_intents(intents, {}, choice)
        state = stack.enter_context(contextlib.closing(connect_files(state=state_path)))
        yield from _look_up(cache, state, merge(keys, intents), moves, scope)


def pair_moves(candidates: Iterable[tuple[str, bytes, str, bool]]) -> Iterator[tuple[str, str, str]]:
    """Which created document is which deleted one under a new id.

    Among several with equal text, those that kept their file name are paired first, then by order of ids.

    Args:
        candidates: (source, content hash, id, is created) of created and deleted documents; those of one source and
            text one after the other, otherwise in any order.

    Yields:
        Source, new id, old id.
    """
    for (source, _), group in groupby(candidates, key=lambda candidate: candidate[:2]):
        deleted, created = list[str](), list[str]()
        for _, _, document_id, is_created in group:
            (created if is_created else deleted).append(document_id)
        for new, old in _pair_alike(sorted(deleted), sorted(created)):
            yield source, new, old


def _pair_alike(olds: Sequence[str], news: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs documents of equal text; both in order."""
    by_name: dict[str, deque[str]] = defaultdict(deque)
    for old in olds:
        by_name[old.rpartition("/")[2]].append(old)
    used = set[str]()
    rest = []
    for new in news:
        same_name = by_name.get(new.rpartition("/")[2])
        if same_name:
            old = same_name.popleft()
            used.add(old)
            yield new, old
        else:
            rest.append(new)
    yield from zip(rest, (old for old in olds if old not in used), strict=False)


class _Moves:
    """The moves of a plan, in a temporary table: there may be as many as documents."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._has_any = False

    def take(self, moves: Iterable[tuple[str, str, str]]) -> None:
        """Takes moves in: source, new id, old id."""
        connection = self._connection
        connection.execute("DROP TABLE IF EXISTS temp.move")
        connection.execute(
            "CREATE TEMP TABLE move (source TEXT, new TEXT, old TEXT, PRIMARY KEY (source, new)) WITHOUT ROWID"
        )
        connection.execute("CREATE INDEX temp.move_old ON move (source, old)")
        connection.execute("BEGIN")
        self._has_any = connection.executemany("INSERT INTO temp.move VALUES (?, ?, ?)", moves).rowcount > 0
        connection.execute("COMMIT")

    def olds(self, source: str, news: Sequence[str]) -> dict[str, str]:
        """The old id of each of these documents that was moved."""
        return dict(self._rows(_OLDS, source, news))

    def left(self, source: str, olds: Sequence[str]) -> set[str]:
        """Those of these documents that were moved away."""
        return {old for (old,) in self._rows(_LEFT, source, olds)}

    def _rows(self, sql: str, source: str, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        return _rows(self._connection, sql, source, ids) if self._has_any else []


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


def _join(cache_path: Path, state_path: Path, scope: Scope) -> sqlite3.Connection:
    """A connection with the tables `delta` and `unseen`: what differs, and what a replaced index loses sight of.

    Both sides of a source are kept in the order of their ids, so that each row is found beside the one before it.
    """
    connection = connect_files(cache=cache_path, state=state_path)
    connection.execute("CREATE TEMP TABLE scope (source TEXT PRIMARY KEY, complete INTEGER, retyped INTEGER)")
    connection.executemany(
        "INSERT INTO scope VALUES (?, ?, ?)",
        [(source, scope.complete[source], source in scope.retyped) for source in sorted(scope.joined)],
    )
    for table in ("delta", "unseen"):
        connection.execute(
            f"CREATE TEMP TABLE {table} (source TEXT, id TEXT, after BLOB, before BLOB, PRIMARY KEY (source, id)) "
            "WITHOUT ROWID"
        )
    # All of it is of one moment, whatever an apply commits meanwhile. `CROSS JOIN` says which side to begin with: of a
    # source that is not in the scope no row is looked at.
    connection.execute("BEGIN")
    connection.execute(
        """
        INSERT INTO delta
        SELECT m.source, m.id, m.content, d.content
        FROM scope
        CROSS JOIN cache.entry m ON m.source = scope.source
        LEFT JOIN state.source s ON s.name = scope.source
        LEFT JOIN state.document d ON d.source_id = s.id AND d.id = m.id AND d.is_deleted = 0
        LEFT JOIN state.pipeline p ON p.id = d.pipeline_id
        WHERE m.content IS NOT NULL AND (
            d.id IS NULL OR m.content <> d.content OR m.metadata <> d.metadata OR p.fingerprint <> ?
            OR scope.retyped OR ?)
        """,
        (scope.pipeline, scope.replaces),
    )
    # A document missing from an incomplete manifest proves nothing.
    for table, is_complete in (("delta", True), ("unseen", False)) if scope.replaces else (("delta", True),):
        connection.execute(
            f"""
            INSERT INTO {table}
            SELECT s.name, d.id, NULL, d.content
            FROM scope
            CROSS JOIN state.source s ON s.name = scope.source
            CROSS JOIN state.document d ON d.source_id = s.id
            WHERE scope.complete = ? AND d.is_deleted = 0 AND NOT EXISTS (
                SELECT 1 FROM cache.entry m WHERE m.source = s.name AND m.id = d.id AND m.content IS NOT NULL)
            """,
            (is_complete,),
        )
    connection.execute("COMMIT")
    return connection


def _move_candidates(connection: sqlite3.Connection) -> Iterator[tuple[str, bytes, str, bool]]:
    kinds = ("before IS NULL", "after IS NULL")
    if not all(connection.execute(f"SELECT 1 FROM delta WHERE {kind} LIMIT 1").fetchone() for kind in kinds):
        return
    connection.execute("CREATE INDEX temp.created ON delta (source, after, id) WHERE before IS NULL")
    connection.execute("CREATE INDEX temp.deleted ON delta (source, before, id) WHERE after IS NULL")
    cursor = connection.execute(
        """
        SELECT source, after, id, 1 FROM delta d WHERE before IS NULL AND EXISTS (
            SELECT 1 FROM delta o INDEXED BY deleted
            WHERE o.source = d.source AND o.before = d.after AND o.after IS NULL)
        UNION ALL
        SELECT source, before, id, 0 FROM delta d WHERE after IS NULL AND EXISTS (
            SELECT 1 FROM delta o INDEXED BY created
            WHERE o.source = d.source AND o.after = d.before AND o.before IS NULL)
        ORDER BY 1, 2
        """
    )
    yield from cursor


def _stream_keys(connection: sqlite3.Connection) -> Iterator[_Key]:
    yield from connection.execute(
        "SELECT source, id FROM delta UNION ALL SELECT source, id FROM unseen ORDER BY source, id"
    )


def _pair_chosen(
    candidates: Sequence[tuple[str, bytes, str, bool]], choice: Choice
) -> tuple[dict[_Key, str], dict[_Key, str]]:
    """The moves among chosen documents, and all the others; documents of the latter are left as they are.

    Chosen documents are paired with each other first, so that as few moves as can be lie across the border.
    """
    moved = _by_new_id(pair_moves(c for c in candidates if choice.chooses(c[0], c[2])))
    used = _both_halves(moved)
    others = _by_new_id(pair_moves(c for c in candidates if (c[0], c[2]) not in used))
    for (source, new), old in sorted(others.items()):
        choice.leave(lives=True)
        if choice.chooses(source, new) != choice.chooses(source, old):
            choice.split.append(SplitMove(source, old, new))
    return moved, others


def _by_new_id(moves: Iterable[tuple[str, str, str]]) -> dict[_Key, str]:
    return {(source, new): old for source, new, old in moves}


def _choose_keys(connection: sqlite3.Connection, others: Mapping[_Key, str], choice: Choice) -> Iterator[_Key]:
    """The keys of chosen differences, in order; the others are counted, but for moves, which are already."""
    counted = _both_halves(others)
    rows = connection.execute("SELECT source, id, after IS NOT NULL FROM delta ORDER BY source, id")
    for source, document_id, lives in rows:
        if (source, document_id) in counted:
            continue
        if choice.chooses(source, document_id):
            yield source, document_id
        else:
            choice.leave(lives=bool(lives))


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
    moves: _Moves,
    scope: Scope,
) -> Iterator[Difference]:
    intents = {(intent.source, intent.document_id): intent.points for intent in scope.intents}
    drifted = {(i.source, i.document_id) for i in scope.intents if i.reason == "drift"}
    unique = (key for key, _ in groupby(keys))
    for source, group in groupby(unique, key=lambda key: key[0]):
        ids = (key[1] for key in group)
        while several := list(islice(ids, PAGE)):
            left = moves.left(source, several)
            page = [document_id for document_id in several if document_id not in left]
            moved = moves.olds(source, page)
            olds = {document_id: moved.get(document_id, document_id) for document_id in page}
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


_OLDS = "SELECT new, old FROM temp.move WHERE source = ? AND new IN ({})"
_LEFT = "SELECT old FROM temp.move WHERE source = ? AND old IN ({})"
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
