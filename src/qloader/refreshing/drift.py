"""Drift: points that are not in the index as the state says.

Both sides are written to a temporary SQLite file as (point id, check) and compared there: a million points
need no more memory than a thousand. A check is a hash over what a point must say (documents/payload.py).
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import hypot, isclose
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qloader.documents.hashing import point_bytes, point_text
from qloader.documents.payload import expected_check, payload_check
from qloader.index.protocol import Index, SparseVector, StoredPoint, Vectors
from qloader.state.records import IntentRecord
from qloader.state.store import StateStore

if TYPE_CHECKING:
    from qloader.embedding.together import Embedders

PAGE = 5_000
"""Points read at once. The engine looks at its filter anew for each page: with 1,000 it is four times slower."""

TOLERANCE = 1e-5
"""Two weights are the same where they differ by less than this part: engines keep them in 32 bits."""

NEAREST = 0.999
"""Two dense vectors are the same where the cosine between them is at least this: an engine scales them to length 1, the
embedding cache may keep them in 16 bits, and a provider never gives quite the same numbers twice."""

Kind = Literal["missing", "altered", "orphaned"]
KINDS: tuple[Kind, ...] = ("missing", "altered", "orphaned")


@dataclass(frozen=True, slots=True)
class DriftedPoint:
    """One point that is not as the state says.

    Attributes:
        kind: `missing` from the index, `altered` in it, or `orphaned`: ours, but no document's.
        point: Its id, 16 bytes.
        source: Its document's source; of an orphan, what its payload says, or empty.
        document_id: Its document; of an orphan, what its payload says, or empty.
    """

    kind: Kind
    point: bytes
    source: str
    document_id: str


@dataclass(frozen=True, slots=True)
class Drift:
    """What a comparison found, in the order of point ids.

    Attributes:
        checked: How many points were compared: those of the index that are ours, and those missing from it.
        points: The ones that are not as they should be.
        uncompared: Points whose dense vector should have been compared and was not, since the embedding cache does not
            have it: only the provider could say.
        settings: Where the collection is not kept as the config says, a sentence each. No point drifted by that.
    """

    checked: int
    points: tuple[DriftedPoint, ...]
    uncompared: int = 0
    settings: tuple[str, ...] = ()

    def of(self, kind: Kind) -> list[DriftedPoint]:
        """Those of one kind."""
        return [point for point in self.points if point.kind == kind]

    def intents(self) -> list[IntentRecord]:
        """The same as the state keeps it, by document."""
        found: dict[tuple[str, str], list[bytes]] = defaultdict(list)
        for point in self.points:
            found[point.source, point.document_id].append(point.point)
        return [IntentRecord(*key, tuple(points), "drift") for key, points in sorted(found.items())]


def find_drift(
    index: Index,
    state: StateStore,
    *,
    lineage: str,
    embedders: Embedders | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Drift:
    """Compares every point that the lineage owns with the state.

    Args:
        index: The index, opened.
        state: The state, opened for reading at least.
        lineage: The state's lineage.
        embedders: Where given, vectors are compared too (`--deep`): each text is embedded again, and its dense vector
            taken from the embedding cache, so that no provider is asked.
        advance: Called with the number of points read, for progress.

    Raises:
        IndexUnavailableError: The index cannot be read.
        StateError: The state cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="qloader-drift-") as folder:
        path = Path(folder) / "points.db"
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(
                """
                PRAGMA journal_mode = OFF;
                PRAGMA synchronous = OFF;
                CREATE TABLE expected (point BLOB, sum BLOB, document INTEGER);
                CREATE TABLE found (point BLOB, sum BLOB);
                CREATE TABLE document (n INTEGER PRIMARY KEY, source TEXT, id TEXT);
                BEGIN;
                """
            )
            connection.executemany("INSERT INTO expected VALUES (?, ?, ?)", _expected(state, connection))
            checked = uncompared = 0
            points = index.scroll(lineage=lineage, with_vectors=embedders is not None, page=PAGE)
            while page := list(islice(points, PAGE)):
                vectors = embedders.known_documents([_text(point) for point in page]) if embedders else None
                if embedders and vectors is not None:
                    uncompared += sum(not embedders.names <= vector.keys() for vector in vectors)
                connection.executemany("INSERT INTO found VALUES (?, ?)", _found(page, vectors, embedders))
                checked += len(page)
                advance(len(page))
            connection.execute("COMMIT")
            rows = _compare(connection)
    missing = sum(1 for row in rows if row[0] == "missing")
    return Drift(checked + missing, tuple(_with_owners(rows, index)), uncompared)


def _expected(state: StateStore, connection: sqlite3.Connection) -> Iterator[tuple[bytes, bytes, int]]:
    insert = "INSERT INTO document VALUES (?, ?, ?)"
    for n, document in enumerate(state.documents()):
        connection.execute(insert, (n, document.source, document.id))
        for number, (key, chunk) in enumerate(zip(document.point_keys(), document.chunks, strict=True)):
            yield key, expected_check(document.source, document.id, number, chunk, document.metadata), n


def _text(point: StoredPoint) -> str:
    return str(point.payload.get("text", ""))


def _found(
    page: Sequence[StoredPoint], vectors: Sequence[Vectors] | None, embedders: Embedders | None
) -> Iterator[tuple[bytes, bytes]]:
    for number, point in enumerate(page):
        same = True
        if vectors is not None and embedders is not None:
            expected = vectors[number]
            same = embedders.names <= point.vectors.keys()
            same = same and all(_is_same(vector, point.vectors[name]) for name, vector in expected.items())
        yield point_bytes(point.id), payload_check(point.payload) if same else b""


def _is_same(expected: SparseVector | Sequence[float], found: SparseVector | Sequence[float] | None) -> bool:
    if isinstance(expected, SparseVector):
        if not isinstance(found, SparseVector) or list(expected.indices) != list(found.indices):
            return False
        return _are_close(expected.values, found.values)
    return found is not None and not isinstance(found, SparseVector) and _are_near(expected, found)


def _are_near(one: Sequence[float], other: Sequence[float]) -> bool:
    if len(one) != len(other):
        return False
    lengths = hypot(*one) * hypot(*other)
    return lengths > 0 and sum(a * b for a, b in zip(one, other, strict=True)) >= NEAREST * lengths


def _are_close(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in zip(one, other, strict=True)
    )


def _compare(connection: sqlite3.Connection) -> list[tuple[Kind, bytes, str | None, str | None]]:
    # The ids are hashes, in no order: sorting them once is faster than to keep them sorted while they come.
    connection.execute("CREATE INDEX expected_point ON expected (point, sum, document)")
    connection.execute("CREATE INDEX found_point ON found (point, sum)")
    return connection.execute(
        """
        SELECT CASE WHEN f.point IS NULL THEN 'missing' ELSE 'altered' END, e.point, d.source, d.id
        FROM expected e LEFT JOIN found f ON f.point = e.point LEFT JOIN document d ON d.n = e.document
        WHERE f.point IS NULL OR f.sum <> e.sum
        UNION ALL
        SELECT 'orphaned', f.point, NULL, NULL FROM found f
        WHERE NOT EXISTS (SELECT 1 FROM expected e WHERE e.point = f.point)
        ORDER BY 2
        """
    ).fetchall()


def _with_owners(rows: Sequence[tuple[Kind, bytes, str | None, str | None]], index: Index) -> Iterator[DriftedPoint]:
    """The rows as values; orphans belong to whatever their payloads say."""
    orphans = [point_text(row[1]) for row in rows if row[0] == "orphaned"]
    owners = {point.id: _owner(point) for point in index.retrieve(orphans, with_payload=True)} if orphans else {}
    for kind, point, source, document_id in rows:
        if source is None or document_id is None:
            yield DriftedPoint(kind, point, *owners.get(point_text(point), ("", "")))
        else:
            yield DriftedPoint(kind, point, source, document_id)


def _owner(point: StoredPoint) -> tuple[str, str]:
    source, document_id = point.payload.get("source"), point.payload.get("document_id")
    return source if isinstance(source, str) else "", document_id if isinstance(document_id, str) else ""
