"""Snapshot: from a source to its manifest, by the cheapest of three tiers that proves it.

1. Root: the source proves that nothing changed since the last snapshot, or tells all that did.
2. Revision: the listing (ids and change tokens) is the last one, or tells which documents to read.
3. Content: those are fetched, normalised, hashed and chunked.
"""

from __future__ import annotations

import contextlib
import marshal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple, Self

from xxhash import xxh3_128

from qloader.documents.document import FAILURES, OUT_OF_SIGHT, SKIP_REASONS, Skipped
from qloader.documents.hashing import EMPTY_ROOT, add_to_root, entry_hash, fingerprint
from qloader.errors import QloaderError
from qloader.manifest.cache import Cache, CachedSnapshot
from qloader.manifest.manifest import Manifest
from qloader.manifest.observing import Observation, Read, SplitText, Wanted, read_here
from qloader.sources.protocol import Changes, Follows, Listing, Source, UnfollowableError

HELD_IN_MEMORY = 8_000_000
"""Bytes of a listing that are held until it is known whether anything changed; more of it goes to a temporary file."""

LINES_TOGETHER = 1_000
"""Lines of a listing that are hashed and put away together."""

ROWS_A_COMMIT = 2_000
"""Rows of the cache that are read, and written, together."""

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

    listed = _follow(source, previous) if previous is not None and proof is not None else None
    listed = listed or _Listed.whole((listing or source.list)(), holds)
    with contextlib.closing(listed):
        if previous is None or not listed.says_the_same(previous):
            snapshot = _Reading(source, cache, chunking, listed, previous, advance, reader).run(selection, proof)
            return _manifest(source, snapshot)
    # A listing may say the same, and stand for something else by now: what was a file is a link to one like it.
    plain = listed.listing.is_plain and not listed.listing.problems
    snapshot = replace(previous, proof=proof, revision=listed.listing.revision, is_plain=plain)
    if snapshot != previous:
        with cache.transaction():
            cache.save_snapshot(source.name, snapshot)
    return _manifest(source, snapshot)


def _follow(source: Source, previous: CachedSnapshot) -> _Listed | None:
    """What changed since the last snapshot; None where the source cannot tell."""
    if not isinstance(source, Follows) or not previous.is_plain or previous.proof is None:
        return None
    try:
        return _Listed.changes(source.follow(previous.proof), previous)
    except UnfollowableError:
        return None


class _Spool:
    """Lines of a listing, ids with tokens, in their order: in memory or, if many, in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(HELD_IN_MEMORY, prefix="qloader-listing-")  # noqa: SIM115 - see close
        self.is_empty = True

    def add(self, lines: Sequence[tuple[str, str | None]]) -> None:
        """Puts lines away.

        Raises:
            QloaderError: There is no room for them.
        """
        try:
            try:
                data = marshal.dumps([tuple(line) for line in lines])
            except ValueError:  # texts of a class of their own, as parsers make them
                data = marshal.dumps([(str(one), token if token is None else str(token)) for one, token in lines])
            self._file.write(data)
        except OSError as error:
            raise QloaderError(
                f"a listing cannot be written to {tempfile.gettempdir()}: {error.strerror}",
                remedy="Free some space there, or point TMPDIR at another place. Nothing was changed.",
            ) from error
        self.is_empty = False

    def take(self) -> Iterator[tuple[str, str | None]]:
        """All of them."""
        end = self._file.tell()
        self._file.seek(0)
        while self._file.tell() < end:
            yield from marshal.load(self._file)  # noqa: S302 - nobody else has the file

    def close(self) -> None:
        """Drops them."""
        self._file.close()


class _Listed:
    """A listing read to its end, or what changed since the last one.

    Attributes:
        listing: The listing; its items are used up.
        is_whole: Whether all that the source holds was listed, and not what changed alone.
        hash: What a whole listing adds up to; None where a token promises nothing, or it is not complete.
    """

    def __init__(self, listing: Listing, *, is_whole: bool) -> None:
        self.listing = listing
        self.is_whole = is_whole
        self.hash: bytes | None = None
        self._spool = _Spool()

    @classmethod
    def whole(cls, listing: Listing, holds: Callable[[str], bool]) -> Self:
        """All that a source holds.

        Args:
            listing: The source's.
            holds: See `take_snapshot`.
        """
        listed = cls(listing, is_whole=True)
        digest = xxh3_128()
        trusted = True
        items = iter(listing.items)
        with listed._unless_it_breaks():
            while lines := list(islice(items, LINES_TOGETHER)):
                trusted = trusted and all(token for _, token in lines)
                text = "".join([f"{document_id}\0{token}\n" for document_id, token in lines])
                digest.update(text.encode("utf-8", "surrogatepass"))
                listed._spool.add(lines)
            _tell_what_is_out_of_sight(listing, holds)
        for skipped in listing.skipped:
            digest.update(f"{skipped.id}\0{skipped.reason}\0\n".encode("utf-8", "surrogatepass"))
        listed.hash = digest.digest() if trusted and listing.complete else None
        return listed

    @classmethod
    def changes(cls, changes: Changes, previous: CachedSnapshot) -> Self:
        """What changed since a snapshot.

        Raises:
            UnfollowableError: The source cannot tell.
        """
        listed = cls(Listing(revision=changes.revision, is_plain=True), is_whole=False)
        steps = iter(changes.steps)
        with listed._unless_it_breaks():
            while lines := list(islice(steps, LINES_TOGETHER)):
                if not all(_storable(document_id) for document_id, _ in lines):
                    raise UnfollowableError
                listed._spool.add(lines)
        if listed._spool.is_empty:
            listed.hash = previous.listing
        return listed

    def says_the_same(self, previous: CachedSnapshot) -> bool:
        """Whether it proves that the source holds what it held."""
        if not self.is_whole:
            return self._spool.is_empty
        return self.hash is not None and self.hash == previous.listing

    def close(self) -> None:
        """Drops its lines."""
        self._spool.close()

    @contextlib.contextmanager
    def _unless_it_breaks(self) -> Iterator[None]:
        """Drops the lines where the listing breaks off."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def to_table(self, connection: sqlite3.Connection) -> None:
        """Puts every line into the temporary table `listed`, once; unstorable ids become skips.

        A line without a token is of a document that is gone.
        """

        def good() -> Iterator[tuple[str, str | None]]:
            for line in self._spool.take():
                if _storable(line[0]):
                    yield line
                else:
                    self.listing.skipped.append(Skipped(line[0], "bad name"))

        connection.execute("DROP TABLE IF EXISTS temp.listed")
        connection.execute("CREATE TEMP TABLE listed (id TEXT PRIMARY KEY, token TEXT) WITHOUT ROWID")
        connection.execute("BEGIN")
        connection.executemany("INSERT OR REPLACE INTO temp.listed (id, token) VALUES (?, ?)", good())
        connection.execute("COMMIT")


class _Sums:
    """What the entries of a source add up to, as far as it is known: changes, or all of them."""

    def __init__(self) -> None:
        self.root = self.documents = self.bytes = 0

    def add(self, document_id: str, content: bytes, metadata: bytes, size: int) -> None:
        """Counts a document in."""
        self.root += entry_hash(document_id, content, metadata)
        self.documents += 1
        self.bytes += size

    def remove(self, document_id: str, content: bytes | None, metadata: bytes | None, size: int) -> None:
        """Counts a document out; what is none changes nothing."""
        if content is not None and metadata is not None:
            self.root -= entry_hash(document_id, content, metadata)
            self.documents -= 1
            self.bytes -= size


class _Before(NamedTuple):
    """A document to be read: its new token, and what the cache held of it."""

    token: str
    content: bytes | None
    metadata: bytes | None
    size: int
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
        self._sums = _Sums()
        self._failures: list[Skipped] = []

    def run(self, selection: str, proof: str | None) -> CachedSnapshot:
        source, listing = self._source.name, self._listed.listing
        self._listed.to_table(self._connection)
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
            root, documents, size = self._add_up()
            snapshot = CachedSnapshot(
                selection=selection,
                proof=None if problems else proof,
                listing=None if problems else self._listed.hash,
                revision=listing.revision,
                root=root,
                documents=documents,
                bytes=size,
                problems=problems,
                skipped=self._skipped(),
                is_plain=listing.is_plain and not problems,
            )
            self._cache.save_snapshot(source, snapshot)
            self._connection.execute("DROP TABLE temp.listed")
            self._connection.execute("DROP TABLE temp.wanted")
        return snapshot

    def _bring_back(self) -> None:
        """What earlier listings did not name and this one does is known under the token of then."""
        source = (self._source.name,)
        back = "FROM unseen WHERE source = ? AND id IN (SELECT id FROM temp.listed)"
        for row in self._connection.execute(
            f"SELECT id, content, metadata, bytes {back} AND content IS NOT NULL", source
        ):
            self._sums.add(*row)
        self._connection.execute(f"INSERT INTO entry SELECT * {back}", source)
        self._connection.execute(f"DELETE {back}", source)

    def _drop_vanished(self) -> None:
        """What is not named is in the manifest no more; but it is gone only where the listing is complete."""
        if self._listed.is_whole:
            is_gone = "NOT EXISTS (SELECT 1 FROM temp.listed l WHERE l.id = entry.id)"
        else:
            is_gone = "id IN (SELECT id FROM temp.listed WHERE token IS NULL)"
        gone = f"FROM entry WHERE source = ? AND {is_gone}", (self._source.name,)
        for row in self._connection.execute(f"SELECT id, content, metadata, bytes {gone[0]}", gone[1]):
            self._sums.remove(*row)
        if self._listed.listing.complete:
            self._connection.execute("DELETE FROM unseen WHERE source = ?", gone[1])
        else:
            self._connection.execute(f"INSERT INTO unseen SELECT * {gone[0]}", gone[1])
        self._connection.execute(f"DELETE {gone[0]}", gone[1])

    def _find_wanted(self) -> int:
        self._connection.execute("DROP TABLE IF EXISTS temp.wanted")
        self._connection.execute(
            "CREATE TEMP TABLE wanted "
            "(n INTEGER PRIMARY KEY, id TEXT NOT NULL, token TEXT NOT NULL, content BLOB, metadata BLOB, "
            "bytes INTEGER NOT NULL, chunks BLOB)"
        )
        return self._connection.execute(
            "INSERT INTO temp.wanted (id, token, content, metadata, bytes, chunks) "
            "SELECT l.id, l.token, e.content, e.metadata, coalesce(e.bytes, 0), e.chunks FROM temp.listed l "
            "LEFT JOIN entry e ON e.source = ? AND e.id = l.id "
            "WHERE l.token IS NOT NULL AND (e.id IS NULL OR e.token <> l.token OR l.token = '') ORDER BY l.id",
            (self._source.name,),
        ).rowcount

    def _read_wanted(self, count: int) -> None:
        read = self._reader(count) or read_here(self._source, self._chunking.splitter)
        before: dict[str, _Before] = {}

        def wanted() -> Iterator[Wanted]:
            for document_id, *known in self._pages():
                before[document_id] = _Before(*known)
                yield Wanted(document_id, before[document_id].content)

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

    def _pages(self) -> Iterator[tuple[Any, ...]]:
        last = 0
        while page := self._connection.execute(
            "SELECT n, id, token, content, metadata, bytes, chunks FROM temp.wanted WHERE n > ? ORDER BY n LIMIT ?",
            (last, ROWS_A_COMMIT),
        ).fetchall():
            for row in page:
                yield row[1:]
            last = page[-1][0]

    def _row(self, seen: Observation, before: _Before) -> tuple[object, ...] | None:
        source = self._source.name
        self._sums.remove(seen.id, before.content, before.metadata, before.size)
        if seen.skip is not None:
            if seen.skip in FAILURES or seen.skip in OUT_OF_SIGHT:
                self._failures.append(Skipped(seen.id, seen.skip, seen.detail))
                self._connection.execute("DELETE FROM entry WHERE source = ? AND id = ?", (source, seen.id))
                return None
            return source, seen.id, before.token, seen.skip, None, None, "", 0, b"", "", ""
        assert seen.content is not None
        assert seen.metadata is not None
        self._sums.add(seen.id, seen.content, seen.metadata, seen.size)
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

    def _add_up(self) -> tuple[bytes, int, int]:
        """Root hash, number and bytes of all entries."""
        if (known := self._previous) is not None:
            sums = self._sums
            return add_to_root(known.root, sums.root), known.documents + sums.documents, known.bytes + sums.bytes
        whole = _Sums()
        for row in self._connection.execute(
            "SELECT id, content, metadata, bytes FROM entry WHERE source = ? AND content IS NOT NULL",
            (self._source.name,),
        ):
            whole.add(*row)
        return add_to_root(EMPTY_ROOT, whole.root), whole.documents, whole.bytes

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
