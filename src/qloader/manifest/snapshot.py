"""Snapshot: from a source to its manifest, by the cheapest of three tiers that proves it.

1. Root: the source proves that nothing changed since the last snapshot.
2. Revision: the listing (ids and change tokens) is the last one, or tells which documents to read.
3. Content: those are fetched, normalised, hashed and chunked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

from xxhash import xxh3_128

from qloader.documents.document import FAILURES, OUT_OF_SIGHT, SKIP_REASONS, Skipped
from qloader.documents.hashing import EMPTY_ROOT, add_to_root, entry_hash, fingerprint
from qloader.manifest.cache import Cache, CachedSnapshot
from qloader.manifest.manifest import Manifest
from qloader.manifest.observing import Observation, Read, SplitText, Wanted, read_here
from qloader.sources.protocol import Item, Listing, Source

HELD_IN_MEMORY = 100_000
"""Listings up to this many items are held until it is known whether anything changed; longer ones spill."""

ROWS_A_COMMIT = 2_000
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents are chunked: a fingerprint of the settings, and the function, made when first needed."""

    fingerprint: str
    splitter: Callable[[], SplitText]


def take_snapshot(
    source: Source,
    cache: Cache,
    chunking: Chunking,
    *,
    advance: Callable[[int], None] = lambda _: None,
    reader: Callable[[int], Read | None] = lambda _: None,
    listing: Callable[[], Listing] | None = None,
    holds: Callable[[str], bool] = lambda _: False,
) -> Manifest:
    """Brings the cache's entries of a source up to date and returns the manifest.

    Args:
        source: The source.
        cache: Where its entries lie.
        chunking: How its documents are chunked, for the chunk counts of a plan.
        advance: Called with the number of documents read, for progress.
        reader: Who reads so many documents, if not this process.
        listing: Lists the source in another way than whole (`--since`). What it leaves out is not in the manifest, so
            that the cache should be an empty one.
        holds: Whether the index holds the document of an id. One that does and is out of sight makes the listing
            incomplete, whatever the source or the cache remember of it.

    Raises:
        SourceError: The source cannot be listed.
    """
    selection = fingerprint([source.selection(), chunking.fingerprint])
    previous = cache.snapshot(source.name)
    if previous is not None and previous.selection != selection:
        with cache.transaction():
            cache.forget(source.name)
        previous = None
    if previous is not None and not previous.is_finished:
        previous = None  # it was cut short: its entries count, under their tokens
    proof = source.proof() if listing is None else None
    if previous is not None and proof is not None and previous.proof == proof:
        return _manifest(source, previous)

    listed = _Listed(cache.connection, (listing or source.list)(), holds)
    if previous is not None and listed.hash is not None and listed.hash == previous.listing:
        snapshot = replace(previous, proof=proof, revision=listed.listing.revision)
        if snapshot != previous:
            with cache.transaction():
                cache.save_snapshot(source.name, snapshot)
        return _manifest(source, snapshot)

    snapshot = _Reading(source, cache, chunking, listed, previous, advance, reader).run(selection, proof)
    return _manifest(source, snapshot)


class _Listed:
    """A listing read to its end: its hash, and its items in memory or, if many, in a temporary table."""

    def __init__(self, connection: sqlite3.Connection, listing: Listing, holds: Callable[[str], bool]) -> None:
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
        _tell_what_is_out_of_sight(listing, holds)
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


class _Before(NamedTuple):
    """A document to be read: its new token, and what the cache held of it."""

    token: str
    content: bytes | None
    metadata: bytes | None
    chunks: bytes | None


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
        reader: Callable[[int], Read | None],
    ) -> None:
        self._source = source
        self._cache = cache
        self._connection = cache.connection
        self._chunking = chunking
        self._listed = listed
        self._previous = previous
        self._advance = advance
        self._reader = reader
        self._root_delta: list[int] = []
        self._failures: list[Skipped] = []

    def run(self, selection: str, proof: str | None) -> CachedSnapshot:
        source, listing = self._source.name, self._listed.listing
        self._listed.to_table()
        with self._cache.transaction():
            # From here until the new one is saved there is no snapshot to trust, only rows under their tokens.
            self._cache.save_snapshot(source, CachedSnapshot.begun(selection))
            self._bring_back()
            self._drop_vanished()
            wanted = self._find_wanted()
        if wanted:
            self._read_wanted(wanted)
        with self._cache.transaction():
            problems = (*listing.problems, *self._problems())
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

    def _bring_back(self) -> None:
        """What earlier listings did not name and this one does is known under the token of then."""
        source = (self._source.name,)
        back = "FROM unseen WHERE source = ? AND id IN (SELECT id FROM temp.listed)"
        for row in self._connection.execute(f"SELECT id, content, metadata {back} AND content IS NOT NULL", source):
            self._root_delta.append(entry_hash(*row))
        self._connection.execute(f"INSERT INTO entry SELECT * {back}", source)
        self._connection.execute(f"DELETE {back}", source)

    def _drop_vanished(self) -> None:
        """What is not named is in the manifest no more; but it is gone only where the listing is complete."""
        gone = (
            "FROM entry WHERE source = ? AND NOT EXISTS (SELECT 1 FROM temp.listed l WHERE l.id = entry.id)",
            (self._source.name,),
        )
        for document_id, content, metadata in self._connection.execute(
            f"SELECT id, content, metadata {gone[0]}", gone[1]
        ):
            if content is not None:
                self._root_delta.append(-entry_hash(document_id, content, metadata))
        if self._listed.listing.complete:
            self._connection.execute("DELETE FROM unseen WHERE source = ?", gone[1])
        else:
            self._connection.execute(f"INSERT INTO unseen SELECT * {gone[0]}", gone[1])
        self._connection.execute(f"DELETE {gone[0]}", gone[1])

    def _find_wanted(self) -> int:
        self._connection.execute("DROP TABLE IF EXISTS temp.wanted")
        self._connection.execute(
            "CREATE TEMP TABLE wanted "
            "(n INTEGER PRIMARY KEY, id TEXT NOT NULL, token TEXT NOT NULL, content BLOB, metadata BLOB, chunks BLOB)"
        )
        return self._connection.execute(
            "INSERT INTO temp.wanted (id, token, content, metadata, chunks) "
            "SELECT l.id, l.token, e.content, e.metadata, e.chunks FROM temp.listed l "
            "LEFT JOIN entry e ON e.source = ? AND e.id = l.id "
            "WHERE e.id IS NULL OR e.token <> l.token OR l.token = '' ORDER BY l.id",
            (self._source.name,),
        ).rowcount

    def _read_wanted(self, count: int) -> None:
        read = self._reader(count) or read_here(self._source, self._chunking.splitter)
        before: dict[str, _Before] = {}

        def wanted() -> Iterator[Wanted]:
            for document_id, token, content, metadata, chunks in self._pages():
                before[document_id] = _Before(token, content, metadata, chunks)
                yield Wanted(document_id, content)

        rows: list[tuple[object, ...]] = []
        for observation in read(wanted(), self._listed.listing.revision):
            row = self._row(observation, before.pop(observation.id))
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
                "INSERT OR REPLACE INTO entry (source, id, token, skip, content, metadata, revision, bytes, chunks, "
                "title, keys) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def _pages(self) -> Iterator[tuple[str, str, bytes | None, bytes | None, bytes | None]]:
        last = 0
        while page := self._connection.execute(
            "SELECT n, id, token, content, metadata, chunks FROM temp.wanted WHERE n > ? ORDER BY n LIMIT 1000", (last,)
        ).fetchall():
            for row in page:
                yield row[1:]
            last = page[-1][0]

    def _row(self, seen: Observation, before: _Before) -> tuple[object, ...] | None:
        source = self._source.name
        if before.content is not None and before.metadata is not None:
            self._root_delta.append(-entry_hash(seen.id, before.content, before.metadata))
        if seen.skip is not None:
            if seen.skip in FAILURES or seen.skip in OUT_OF_SIGHT:
                self._failures.append(Skipped(seen.id, seen.skip, seen.detail))
                self._connection.execute("DELETE FROM entry WHERE source = ? AND id = ?", (source, seen.id))
                return None
            return source, seen.id, before.token, seen.skip, None, None, "", 0, b"", "", ""
        assert seen.content is not None
        assert seen.metadata is not None
        self._root_delta.append(entry_hash(seen.id, seen.content, seen.metadata))
        chunks = before.chunks if seen.chunks is None else seen.chunks
        return (
            source,
            seen.id,
            before.token,
            None,
            seen.content,
            seen.metadata,
            seen.revision,
            seen.size,
            chunks,
            seen.title,
            seen.keys,
        )

    def _problems(self) -> Iterator[str]:
        """A sentence for each reason why documents could not be read, with the first of them."""
        self._failures.sort(key=attrgetter("id"))  # readers side by side fail in any order, and a plan has only one
        for reason in sorted({failed.reason for failed in self._failures}):
            alike = [failed for failed in self._failures if failed.reason == reason]
            if len(alike) == 1:
                yield f"{alike[0].id} {_why(alike[0])}"
                continue
            named = [f"{failed.id}{failed.detail and f' ({failed.detail})'}" for failed in alike[:EXAMPLES]]
            if len(alike) > EXAMPLES:
                named.append(f"and {len(alike) - EXAMPLES:,} more")
            yield f"{len(alike):,} documents, each of which {SKIP_REASONS[reason]}: {'; '.join(named)}"

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


def _tell_what_is_out_of_sight(listing: Listing, holds: Callable[[str], bool]) -> None:
    """Says which documents of the index were listed, but could not be seen to be documents still.

    Raises:
        SourceError: Nothing could be read, and there is nothing in the index that waits for better times.
    """
    if not listing.complete and listing.failure is None:
        return
    lost = [item for item in listing.skipped if item.reason in OUT_OF_SIGHT and holds(item.id)]
    if not lost and listing.failure is not None:
        raise listing.failure
    if lost and listing.complete:
        first = lost[0]
        documents = "1 document of the index is" if len(lost) == 1 else f"{len(lost):,} documents of the index are"
        listing.problems.append(f"{documents} listed, but cannot be read now: {first.id} {_why(first)}")


def _why(skipped: Skipped) -> str:
    """Why an item is no document, as the end of a sentence about it."""
    return f"{SKIP_REASONS[skipped.reason]}{skipped.detail and ': '}{skipped.detail}"


def _manifest(source: Source, snapshot: CachedSnapshot) -> Manifest:
    return Manifest(
        source=source.name,
        type=source.type,
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
