"""Snapshot: from a source to its manifest, by the cheapest of three tiers that proves it.

1. Root: the source proves that nothing changed since the last snapshot.
2. Revision: the listing (ids and change tokens) is the last one, or tells which documents to read.
3. Content: those are fetched, normalised, hashed and chunked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from xxhash import xxh3_128

from qloader.documents.document import SKIP_REASONS, Document, Skipped
from qloader.documents.hashing import (
    EMPTY_ROOT,
    add_to_root,
    chunk_hash,
    content_hash,
    entry_hash,
    fingerprint,
    metadata_hash,
)
from qloader.manifest.cache import Cache, CachedSnapshot
from qloader.manifest.manifest import Manifest, PlannedChunk, pack_chunks
from qloader.sources.protocol import Item, Listing, Source

HELD_IN_MEMORY = 100_000
"""Listings up to this many items are held until it is known whether anything changed; longer ones spill."""

ROWS_A_COMMIT = 2_000
EXAMPLES = 3
PROBLEMS_NAMED = 20


class SplitText(Protocol):
    """Cuts a text into the texts of its chunks."""

    def __call__(self, document: Document) -> Iterable[str]:
        """The chunk texts of a document, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents are chunked: a fingerprint of the settings, and the function, made when first needed."""

    fingerprint: str
    splitter: Callable[[], SplitText]


def take_snapshot(
    source: Source, cache: Cache, chunking: Chunking, *, advance: Callable[[int], None] = lambda _: None
) -> Manifest:
    """Brings the cache's entries of a source up to date and returns the manifest.

    Args:
        source: The source.
        cache: Where its entries lie.
        chunking: How its documents are chunked, for the chunk counts of a plan.
        advance: Called with the number of documents read, for progress.

    Raises:
        SourceError: The source cannot be listed.
    """
    selection = fingerprint([source.selection(), chunking.fingerprint])
    previous = cache.snapshot(source.name)
    if previous is not None and previous.selection != selection:
        with cache.transaction():
            cache.forget(source.name)
        previous = None
    proof = source.proof()
    if previous is not None and proof is not None and previous.proof == proof:
        return _manifest(source, previous)

    listed = _Listed(cache.connection, source.list())
    if previous is not None and listed.hash is not None and listed.hash == previous.listing:
        snapshot = replace(previous, proof=proof, revision=listed.listing.revision)
        if snapshot != previous:
            with cache.transaction():
                cache.save_snapshot(source.name, snapshot)
        return _manifest(source, snapshot)

    snapshot = _Reading(source, cache, chunking, listed, previous, advance).run(selection, proof)
    return _manifest(source, snapshot)


class _Listed:
    """A listing read to its end: its hash, and its items in memory or, if many, in a temporary table."""

    def __init__(self, connection: sqlite3.Connection, listing: Listing) -> None:
        self.listing = listing
        self._connection = connection
        self._items: list[Item] = []
        self._in_table = False
        digest = xxh3_128()
        trusted = True
        for item in listing.items:
            document_id, token = item
            if not token:
                trusted = False
            digest.update(f"{document_id}\0{token}\n".encode("utf-8", "surrogatepass"))
            self._items.append(item)
            if len(self._items) >= HELD_IN_MEMORY:
                self._spill()
        for skipped in listing.skipped:
            digest.update(f"{skipped.id}\0{skipped.reason}\0\n".encode("utf-8", "surrogatepass"))
        self.hash = digest.digest() if trusted and listing.complete else None

    def to_table(self) -> None:
        """Puts every item into the temporary table `listed`; unstorable ids become skips."""
        self._spill()

    def _spill(self) -> None:
        if not self._in_table:
            self._connection.execute("DROP TABLE IF EXISTS temp.listed")
            self._connection.execute(
                "CREATE TEMP TABLE listed (id TEXT PRIMARY KEY, token TEXT NOT NULL) WITHOUT ROWID"
            )
            self._in_table = True
        good = [item for item in self._items if _storable(item.id)]
        self.listing.skipped.extend(Skipped(i.id, "bad name") for i in self._items if not _storable(i.id))
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT OR REPLACE INTO temp.listed (id, token) VALUES (?, ?)", good)
        self._connection.execute("COMMIT")
        self._items.clear()


class _Reading:
    """Tier 3 for one source: reads what the tokens do not vouch for and rewrites just those rows."""

    def __init__(
        self,
        source: Source,
        cache: Cache,
        chunking: Chunking,
        listed: _Listed,
        previous: CachedSnapshot | None,
        advance: Callable[[int], None],
    ) -> None:
        self._source = source
        self._cache = cache
        self._connection = cache.connection
        self._chunking = chunking
        self._listed = listed
        self._previous = previous
        self._advance = advance
        self._root_delta: list[int] = []
        self._problems: list[str] = []

    def run(self, selection: str, proof: str | None) -> CachedSnapshot:
        source, listing = self._source.name, self._listed.listing
        self._listed.to_table()
        with self._cache.transaction():
            # From here until the new one is saved there is no snapshot to trust, only rows under their tokens.
            self._connection.execute("DELETE FROM snapshot WHERE source = ?", (source,))
            self._drop_vanished()
            wanted = self._find_wanted()
        if wanted:
            self._read_wanted()
        with self._cache.transaction():
            problems = (*listing.problems, *self._problems)
            documents, size = self._connection.execute(
                "SELECT count(*), coalesce(sum(bytes), 0) FROM entry WHERE source = ? AND content IS NOT NULL",
                (source,),
            ).fetchone()
            snapshot = CachedSnapshot(
                selection=selection,
                proof=None if problems else proof,
                listing=None if problems else self._listed.hash,
                revision=listing.revision,
                root=self._root(),
                documents=documents,
                bytes=size,
                problems=problems,
                skipped=self._skipped(),
            )
            self._cache.save_snapshot(source, snapshot)
            self._connection.execute("DROP TABLE temp.listed")
            self._connection.execute("DROP TABLE temp.wanted")
        return snapshot

    def _drop_vanished(self) -> None:
        gone = (
            "FROM entry WHERE source = ? AND NOT EXISTS (SELECT 1 FROM temp.listed l WHERE l.id = entry.id)",
            (self._source.name,),
        )
        for document_id, content, metadata in self._connection.execute(
            f"SELECT id, content, metadata {gone[0]}", gone[1]
        ):
            if content is not None:
                self._root_delta.append(-entry_hash(document_id, content, metadata))
        self._connection.execute(f"DELETE {gone[0]}", gone[1])

    def _find_wanted(self) -> int:
        self._connection.execute("DROP TABLE IF EXISTS temp.wanted")
        self._connection.execute(
            "CREATE TEMP TABLE wanted (n INTEGER PRIMARY KEY, id TEXT NOT NULL, token TEXT NOT NULL)"
        )
        return self._connection.execute(
            "INSERT INTO temp.wanted (id, token) SELECT l.id, l.token FROM temp.listed l "
            "LEFT JOIN entry e ON e.source = ? AND e.id = l.id "
            "WHERE e.id IS NULL OR e.token <> l.token OR l.token = '' ORDER BY l.id",
            (self._source.name,),
        ).rowcount

    def _read_wanted(self) -> None:
        split = self._chunking.splitter()
        tokens: dict[str, str] = {}

        def ids() -> Iterator[str]:
            for document_id, token in self._pages():
                tokens[document_id] = token
                yield document_id

        rows: list[tuple[object, ...]] = []
        for result in self._source.fetch(ids(), revision=self._listed.listing.revision):
            row = self._row(result, tokens.pop(result.id), split)
            self._advance(1)
            if row is not None:
                rows.append(row)
            if len(rows) >= ROWS_A_COMMIT:
                self._write(rows)
                rows.clear()
        self._write(rows)

    def _write(self, rows: list[tuple[object, ...]]) -> None:
        with self._cache.transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO entry (source, id, token, skip, content, metadata, revision, bytes, chunks) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def _pages(self) -> Iterator[tuple[str, str]]:
        last = 0
        while page := self._connection.execute(
            "SELECT n, id, token FROM temp.wanted WHERE n > ? ORDER BY n LIMIT 1000", (last,)
        ).fetchall():
            for _, document_id, token in page:
                yield document_id, token
            last = page[-1][0]

    def _row(self, result: Document | Skipped, token: str, split: SplitText) -> tuple[object, ...] | None:
        source = self._source.name
        old = self._connection.execute(
            "SELECT content, metadata, chunks FROM entry WHERE source = ? AND id = ?", (source, result.id)
        ).fetchone()
        if old is not None and old[0] is not None:
            self._root_delta.append(-entry_hash(result.id, old[0], old[1]))
        if isinstance(result, Skipped):
            if result.is_failure:
                self._note_failure(result)
                self._connection.execute("DELETE FROM entry WHERE source = ? AND id = ?", (source, result.id))
                return None
            return source, result.id, token, result.reason, None, None, "", 0, b""
        content = content_hash(result.text)
        metadata = metadata_hash(result.title, result.uri, result.metadata)
        self._root_delta.append(entry_hash(result.id, content, metadata))
        if old is not None and old[0] == content:
            chunks = old[2]
        else:
            chunks = pack_chunks(PlannedChunk(chunk_hash(text), len(text)) for text in split(result))
        return source, result.id, token, None, content, metadata, result.revision, result.bytes, chunks

    def _note_failure(self, skipped: Skipped) -> None:
        if len(self._problems) < PROBLEMS_NAMED:
            detail = f": {skipped.detail}" if skipped.detail else ""
            self._problems.append(f"{skipped.id} {SKIP_REASONS[skipped.reason]}{detail}")

    def _root(self) -> bytes:
        if self._previous is not None:
            return add_to_root(self._previous.root, *self._root_delta)
        rows = self._connection.execute(
            "SELECT id, content, metadata FROM entry WHERE source = ? AND content IS NOT NULL", (self._source.name,)
        )
        return add_to_root(EMPTY_ROOT, sum(entry_hash(*row) for row in rows))

    def _skipped(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        found: dict[str, tuple[int, list[str]]] = {}
        rows = self._connection.execute(
            "SELECT id, skip FROM entry WHERE source = ? AND skip IS NOT NULL ORDER BY id", (self._source.name,)
        )
        for document_id, reason in (*((s.id, s.reason) for s in self._listed.listing.skipped), *rows):
            count, examples = found.get(reason, (0, []))
            if len(examples) < EXAMPLES:
                examples.append(document_id.encode("utf-8", "replace").decode())
            found[reason] = (count + 1, examples)
        return {reason: (count, tuple(examples)) for reason, (count, examples) in sorted(found.items())}


def _manifest(source: Source, snapshot: CachedSnapshot) -> Manifest:
    return Manifest(
        source=source.name,
        type=source.type,
        identity=source.identity(),
        revision=snapshot.revision,
        root=snapshot.root,
        documents=snapshot.documents,
        bytes=snapshot.bytes,
        problems=snapshot.problems,
        skipped=snapshot.skipped,
    )


def _storable(document_id: str) -> bool:
    if "\0" in document_id or not document_id:
        return False
    return document_id.isascii() or not any("\ud800" <= character <= "\udfff" for character in document_id)
