"""What is ours and what is theirs, side by side: the chunks that a plan embeds, and the points of a foreign collection.

Only hashes, ids and names are kept, in a temporary database that SQLite puts on the disk where it grows. Texts decide
whose vector is taken over; names of documents decide nothing but what the report says of them.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, get_args

from qloader.adopting.collection import ForeignPoint, PointId
from qloader.adopting.names import endings, parts_of, shorter_names
from qloader.adopting.shapes import Passage
from qloader.documents.hashing import chunk_hash
from qloader.manifest.manifest import PlannedChunk

Fate = Literal["kept", "rewritten", "new", "applied"]
"""What becomes of a document of the sources: all its vectors are taken over; it is in the collection too, but some of
its chunks are worded or cut otherwise; it is not in there; it needs no vector, since the index has it already."""

FATES: tuple[Fate, ...] = get_args(Fate)

_SCHEMA = """
CREATE TABLE document (
    number INTEGER PRIMARY KEY, source TEXT NOT NULL, id TEXT NOT NULL, fate TEXT, UNIQUE (source, id)
);
CREATE TABLE leaving (source TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (source, id)) WITHOUT ROWID;
CREATE TABLE tail (tail TEXT NOT NULL, document INTEGER NOT NULL);
CREATE TABLE chunk (document INTEGER NOT NULL, hash BLOB NOT NULL, characters INTEGER NOT NULL);
CREATE TABLE foreign_document (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, title TEXT NOT NULL, points INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE foreign_name (document INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (document, name));
CREATE TABLE passage (
    number INTEGER PRIMARY KEY, point TEXT NOT NULL, document INTEGER NOT NULL, embedded BLOB NOT NULL,
    trimmed BLOB NOT NULL, text BLOB NOT NULL, characters INTEGER NOT NULL
);
CREATE TABLE candidate (
    number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, point TEXT NOT NULL, characters INTEGER NOT NULL,
    is_trimmed INTEGER NOT NULL
);
CREATE TABLE taken (hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE link (foreign_document INTEGER NOT NULL, document INTEGER NOT NULL, missing INTEGER NOT NULL);
"""

_INDEXES = """
CREATE INDEX document_by_id ON document (id);
CREATE INDEX tail_by_tail ON tail (tail);
CREATE INDEX chunk_by_hash ON chunk (hash);
CREATE INDEX chunk_by_document ON chunk (document);
CREATE INDEX passage_by_embedded ON passage (embedded);
CREATE INDEX passage_by_trimmed ON passage (trimmed);
CREATE INDEX passage_by_document ON passage (document);
CREATE INDEX link_by_document ON link (document);
CREATE INDEX link_by_foreign ON link (foreign_document);
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that is a chunk of ours, and a point whose vector was made of it.

    Attributes:
        hash: The chunk's, 16 bytes.
        point: The foreign point.
        is_trimmed: Whether the other tool embedded it with blank space around it.
    """

    hash: bytes
    point: PointId
    is_trimmed: bool


@dataclass(frozen=True, slots=True)
class AdoptedDocument:
    """What becomes of one document of the sources.

    Attributes:
        source: The source's name.
        id: The document.
        fate: What becomes of it.
        chunks: How many of its chunks need a vector.
        embed: How many of these are embedded; the vectors of the others are taken over.
        foreign: What the other tool calls it; empty where it does not have it.
    """

    source: str
    id: str
    fate: Fate
    chunks: int
    embed: int
    foreign: str

    @property
    def address(self) -> str:
        """`source/id`."""
        return f"{self.source}/{self.id}"


@dataclass(frozen=True, slots=True)
class DroppedDocument:
    """A foreign document that no source has.

    Attributes:
        name: What the other tool calls it; empty for points that name no document.
        title: Its title; may be empty.
        points: How many points it has.
    """

    name: str
    title: str
    points: int


@dataclass(frozen=True, slots=True)
class FateCount:
    """How many documents have one fate, their chunks that need a vector, and how many of these are embedded."""

    documents: int = 0
    chunks: int = 0
    embed: int = 0


class Matching:
    """Both sides, in a temporary database. Filled first, then asked; used as a `with` block."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN")
        self._foreign: tuple[tuple[str, ...], int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def add_document(self, source: str, document_id: str, chunks: Iterable[PlannedChunk] = ()) -> None:
        """Adds a document of the sources with the chunks that need a vector; one that is there already is replaced."""
        row = self._db.execute("SELECT number FROM document WHERE source = ? AND id = ?", (source, document_id))
        if (known := row.fetchone()) is not None:
            number = known[0]
            self._db.execute("DELETE FROM chunk WHERE document = ?", (number,))
        else:
            number = self._db.execute(
                "INSERT INTO document (source, id) VALUES (?, ?)", (source, document_id)
            ).lastrowid
            self._db.executemany(
                "INSERT INTO tail VALUES (?, ?)", ((name, number) for name in shorter_names(document_id))
            )
        self._db.executemany(
            "INSERT INTO chunk VALUES (?, ?, ?)", ((number, chunk.hash, chunk.characters) for chunk in chunks)
        )

    def leave_out(self, source: str, document_id: str) -> None:
        """Says that there will be no such document, so that `knows` knows it."""
        self._db.execute("INSERT OR IGNORE INTO leaving VALUES (?, ?)", (source, document_id))

    def knows(self, source: str, document_id: str) -> bool:
        """Whether a document was added, or left out."""
        found = self._db.execute(
            "SELECT 1 FROM document WHERE source = :source AND id = :id "
            "UNION ALL SELECT 1 FROM leaving WHERE source = :source AND id = :id",
            {"source": source, "id": document_id},
        )
        return found.fetchone() is not None

    def add_passage(self, point: ForeignPoint, passage: Passage) -> None:
        """Adds what a foreign point says."""
        whole = _encodable(passage.embedded)
        embedded = chunk_hash(whole)
        trimmed = embedded if (core := whole.strip()) == whole else chunk_hash(core)
        text = trimmed if passage.embedded == passage.text else chunk_hash(_encodable(passage.text).strip())
        number = self._foreign_document(passage)
        self._db.execute(
            "INSERT INTO passage (point, document, embedded, trimmed, text, characters) VALUES (?, ?, ?, ?, ?, ?)",
            (str(point.id), number, embedded, trimmed, text, len(core)),
        )

    def complete(self) -> None:
        """Ends the filling: works out which texts are chunks of ours."""
        self._db.executescript(_INDEXES)
        self._db.execute("BEGIN")
        self._db.execute(
            "UPDATE foreign_document SET points = "
            "(SELECT count(*) FROM passage WHERE document = foreign_document.number)"
        )
        # Those embedded just as they are come first: they need no proof that blank space does not matter.
        for is_trimmed, column in enumerate(("embedded", "trimmed")):
            self._db.execute(
                "INSERT OR IGNORE INTO candidate (hash, point, characters, is_trimmed) "
                f"SELECT {column}, point, characters, ? FROM passage WHERE number IN (SELECT min(number) FROM passage "
                f"WHERE {column} IN (SELECT hash FROM chunk) GROUP BY {column}) ORDER BY number",
                (is_trimmed,),
            )

    def candidates(self, size: int) -> Iterator[list[Candidate]]:
        """Every text that is a chunk of ours, once, with a point whose vector was made of it; without those taken.

        Those that the other tool embedded with blank space around them come last.

        Args:
            size: How many come at a time, in the collection's order. They may be taken in the meantime.
        """
        number = 0
        while rows := self._db.execute(
            f"SELECT {_CANDIDATE} FROM candidate WHERE number > ? AND {_NOT_TAKEN} ORDER BY number LIMIT ?",
            (number, size),
        ).fetchall():
            yield [_candidate(row) for row in rows]
            number = rows[-1][0]

    def count_candidates(self, *, is_trimmed: bool) -> int:
        """How many texts `candidates` gives, of those embedded as they are or of the others."""
        rows = self._db.execute(f"SELECT count(*) FROM candidate WHERE is_trimmed = ? AND {_NOT_TAKEN}", (is_trimmed,))
        return int(rows.fetchone()[0])

    def drop_trimmed(self) -> None:
        """Leaves out the candidates that the other tool embedded with blank space around them."""
        self._db.execute("DELETE FROM candidate WHERE is_trimmed")

    def samples(self, count: int, *, is_trimmed: bool) -> list[Candidate]:
        """Some of the candidates: the longest, and others spread over the collection.

        Args:
            count: How many at most.
            is_trimmed: Of those embedded with blank space around them, or of those embedded as they are.
        """
        total = self.count_candidates(is_trimmed=is_trimmed)
        where = f"SELECT {_CANDIDATE} FROM candidate WHERE is_trimmed = ? AND {_NOT_TAKEN} ORDER BY"
        found = self._db.execute(f"{where} characters DESC, number LIMIT 1", (is_trimmed,)).fetchall()
        places = min(count, total)
        for place in range(places):
            offset = total * place // places
            found += self._db.execute(f"{where} number LIMIT 1 OFFSET ?", (is_trimmed, offset)).fetchall()
        return list({row[0]: _candidate(row) for row in found}.values())[:count]

    def take(self, hashes: Iterable[bytes]) -> None:
        """Says that the vectors of these texts are at hand."""
        self._db.executemany("INSERT OR IGNORE INTO taken VALUES (?)", ((digest,) for digest in hashes))

    def conclude(self) -> None:
        """Works out what becomes of each document, when all is taken that can be."""
        self._link_by_name()
        self._link_by_text()
        self._db.execute(
            """
            UPDATE document SET fate = CASE
                WHEN NOT EXISTS (SELECT 1 FROM chunk c WHERE c.document = number) THEN 'applied'
                WHEN NOT EXISTS (
                    SELECT 1 FROM chunk c WHERE c.document = number AND c.hash NOT IN (SELECT hash FROM taken)
                ) THEN 'kept'
                WHEN EXISTS (SELECT 1 FROM link l WHERE l.document = number) THEN 'rewritten'
                ELSE 'new' END
            """
        )

    def documents(self, fate: Fate | None = None, limit: int = -1) -> Iterator[AdoptedDocument]:
        """What becomes of the documents of the sources, by source and id.

        Args:
            fate: Only those of this fate; all where None.
            limit: How many at most; all where negative.
        """
        rows = self._db.execute(
            """
            SELECT source, id, fate,
                (SELECT count(*) FROM chunk c WHERE c.document = d.number),
                (SELECT count(*) FROM chunk c WHERE c.document = d.number AND c.hash NOT IN (SELECT hash FROM taken)),
                (SELECT f.name FROM link l JOIN foreign_document f ON f.number = l.foreign_document
                 WHERE l.document = d.number ORDER BY l.missing, f.number LIMIT 1)
            FROM document d WHERE ? IS NULL OR fate = ? ORDER BY source, id LIMIT ?
            """,
            (fate, fate, limit),
        )
        for source, document_id, found, chunks, embed, foreign in rows:
            yield AdoptedDocument(source, document_id, found, chunks, embed, foreign or "")

    def dropped(self, limit: int = -1) -> Iterator[DroppedDocument]:
        """The foreign documents that no source has, by name.

        Args:
            limit: How many at most; all where negative.
        """
        rows = self._db.execute(
            f"SELECT name, title, points FROM foreign_document WHERE {_DROPPED} ORDER BY name LIMIT ?", (limit,)
        )
        for name, title, points in rows:
            yield DroppedDocument(name, title, points)

    def count_dropped(self) -> tuple[int, int]:
        """How many foreign documents no source has, and their points."""
        found = self._db.execute(f"SELECT count(*), total(points) FROM foreign_document WHERE {_DROPPED}")
        documents, points = found.fetchone()
        return documents, int(points)

    def count_fates(self) -> dict[Fate, FateCount]:
        """How many documents have which fate."""
        rows = self._db.execute(
            """
            SELECT fate, count(DISTINCT d.number), count(c.hash),
                count(c.hash) - total(c.hash IN (SELECT hash FROM taken))
            FROM document d LEFT JOIN chunk c ON c.document = d.number GROUP BY fate
            """
        )
        found = {fate: FateCount(documents, chunks, int(embed)) for fate, documents, chunks, embed in rows}
        return {fate: found.get(fate, FateCount()) for fate in FATES}

    def count_foreign_documents(self) -> int:
        """How many documents the collection names."""
        return int(self._db.execute("SELECT count(*) FROM foreign_document WHERE name != ''").fetchone()[0])

    def count_with_metadata(self) -> int:
        """How many chunks of ours are in the collection, but embedded together with metadata, as another text."""
        return int(
            self._db.execute(
                "SELECT count(DISTINCT text) FROM passage WHERE text != trimmed AND text IN (SELECT hash FROM chunk) "
                "AND text NOT IN (SELECT hash FROM taken)"
            ).fetchone()[0]
        )

    def count_texts(self) -> tuple[int, int]:
        """How many different texts need a vector, and how many of these have none at hand."""
        rows = self._db.execute(
            "SELECT count(*), count(*) - total(hash IN (SELECT hash FROM taken)) FROM (SELECT DISTINCT hash FROM chunk)"
        )
        texts, missing = rows.fetchone()
        return texts, int(missing)

    def count_taken_characters(self) -> int:
        """How long the texts are, together, each once, whose vectors are at hand."""
        rows = self._db.execute(
            "SELECT total(characters) FROM (SELECT characters FROM chunk WHERE hash IN (SELECT hash FROM taken) "
            "GROUP BY hash)"
        )
        return int(rows.fetchone()[0])

    def chunks(self) -> Iterator[list[PlannedChunk]]:
        """The chunks that need a vector, in the order that they came, some at a time."""
        rows = self._db.execute("SELECT hash, characters FROM chunk ORDER BY rowid")
        while some := rows.fetchmany(1_000):
            yield [PlannedChunk(digest, characters) for digest, characters in some]

    def _foreign_document(self, passage: Passage) -> int:
        """The number of a passage's document. Neighbours are mostly of one, which is remembered."""
        if self._foreign is not None and self._foreign[0] == passage.names:
            return self._foreign[1]
        names = [_encodable(name) for name in passage.names]
        name = names[0] if names else ""
        self._db.execute(
            "INSERT OR IGNORE INTO foreign_document (name, title) VALUES (?, ?)", (name, _encodable(passage.title))
        )
        number = int(self._db.execute("SELECT number FROM foreign_document WHERE name = ?", (name,)).fetchone()[0])
        self._db.executemany("INSERT OR IGNORE INTO foreign_name VALUES (?, ?)", ((number, other) for other in names))
        self._foreign = passage.names, number
        return number

    def _link_by_name(self) -> None:
        """Joins documents of equal names; one that several foreign ones could be goes to those that are nearest."""
        with contextlib.closing(self._db.execute("SELECT document, name FROM foreign_name")) as names:
            for number, name in names:
                links = self._find_by_name(name)
                self._db.executemany("INSERT INTO link VALUES (?, ?, ?)", ((number, *link) for link in links))
        self._db.execute(
            "DELETE FROM link WHERE missing > (SELECT min(missing) FROM link o WHERE o.document = link.document)"
        )

    def _find_by_name(self, name: str) -> Sequence[tuple[int, int]]:
        for missing, ending in endings(name):
            found = self._db.execute("SELECT number FROM document WHERE id = ?", (ending,)).fetchall()
            if found:
                return [(number, missing) for (number,) in found]
        whole = "/".join(parts_of(name))
        found = self._db.execute("SELECT document FROM tail WHERE tail = ? LIMIT 2", (whole,)).fetchall()
        return [(found[0][0], 0)] if len(found) == 1 else []

    def _link_by_text(self) -> None:
        """Joins foreign documents of which at least half are chunks of ours with the document that has most of them."""
        alone = self._db.execute(f"SELECT number, points FROM foreign_document WHERE {_DROPPED}").fetchall()
        for number, points in alone:
            (hits,) = self._db.execute(
                "SELECT count(*) FROM passage WHERE document = ? AND text IN (SELECT hash FROM chunk)", (number,)
            ).fetchone()
            if not hits or 2 * hits < points:
                continue
            (document, _) = self._db.execute(
                "SELECT c.document, count(*) AS hits FROM passage p JOIN chunk c ON c.hash = p.text "
                "WHERE p.document = ? GROUP BY c.document ORDER BY hits DESC, c.document LIMIT 1",
                (number,),
            ).fetchone()
            self._db.execute("INSERT INTO link VALUES (?, ?, 0)", (number, document))


_CANDIDATE = "number, hash, point, is_trimmed"
_NOT_TAKEN = "hash NOT IN (SELECT hash FROM taken)"
_DROPPED = "number NOT IN (SELECT foreign_document FROM link)"


def _candidate(row: tuple[int, bytes, str, int]) -> Candidate:
    _, digest, point, is_trimmed = row
    return Candidate(digest, int(point) if point.isdigit() else point, bool(is_trimmed))


def _encodable(text: str) -> str:
    """A text without halves of characters, which JSON can hold and UTF-8 cannot; no chunk of ours has any."""
    return text.encode("utf-8", "replace").decode()
