"""Which texts of a plan are not paid for: the embedding cache holds them, or they repeat. Imports no numpy, no client.

`plan` looks here; the cache is only read, and whatever stands in the way only means that nothing is known.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from xxhash import xxh3_128_digest

from qloader.documents.hashing import canonical_json
from qloader.embedding.cache_file import APPLICATION_ID, CACHE_VERSION
from qloader.embedding.settings import dense_settings

if TYPE_CHECKING:
    from qloader.config.embedders import DenseSection

_AT_ONCE = 900


def scope_of(settings: bytes) -> bytes:
    """What all keys of one model with its settings have in common: 16 bytes."""
    return xxh3_128_digest(settings)


def cache_key(scope: bytes, text_hash: bytes) -> bytes:
    """The key of one text's vector: 16 bytes.

    Args:
        scope: From `scope_of`.
        text_hash: The hash of the text as it is sent, its prefix included (`documents.hashing.chunk_hash`).
    """
    return xxh3_128_digest(scope + text_hash)


def document_scope(section: DenseSection) -> bytes:
    """The scope of documents, by what `embedding.dense` says."""
    return scope_of(canonical_json(dense_settings(section) | {"kind": "document"}))


class KnownTexts:
    """Counts which chunks need no provider any more, while a plan is made. Used as a `with` block.

    Attributes:
        count: How many of the chunks so far the cache holds; None where that cannot be told.
        repeated: How many of the others are the same as one before them, and are sent with it.
        characters: The text of all these: what is in the plan and is not sent.
        dim: How long the model's vectors are: what the config says, or those in the cache; None where nothing tells.
    """

    def __init__(self, path: Path, section: DenseSection) -> None:
        """Opens nothing yet.

        Args:
            path: The cache's file, which need not exist.
            section: What `embedding.dense` says. With a `document_prefix` the hash of a chunk does not tell the hash of
                what is sent, so that nothing can be told of the cache.
        """
        self.count: int | None = None if section.document_prefix else 0
        self.repeated = 0
        self.characters = 0
        self.dim = section.dimensions
        self._label = section.label
        self._path = path
        self._scope = document_scope(section)
        self._cache: sqlite3.Connection | None = None
        self._seen: sqlite3.Connection | None = None

    def __enter__(self) -> KnownTexts:
        try:
            # What was seen may be millions of hashes: SQLite puts them on the disk where they become too many.
            self._seen = sqlite3.connect("", isolation_level=None)
            self._seen.execute("PRAGMA journal_mode = OFF")
            self._seen.execute("CREATE TABLE seen (chunk BLOB PRIMARY KEY) WITHOUT ROWID")
            self._seen.execute("BEGIN")
            if self._path.exists():
                self._open_cache()
        except sqlite3.Error:
            self._give_up()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def add(self, chunks: Sequence[tuple[bytes, int]]) -> None:
        """Counts the chunks of a document that are to be embedded: the hash of each, and its length in characters."""
        if self._seen is None:
            return
        try:
            held = self._held([chunk for chunk, _ in chunks])
            first = self._first_seen({chunk for chunk, _ in chunks} - held)
        except sqlite3.Error:
            self._give_up()
            return
        for chunk, characters in chunks:
            if chunk in first:
                first.remove(chunk)
                continue
            if chunk in held:
                self.count = (self.count or 0) + 1
            else:
                self.repeated += 1
            self.characters += characters

    def _open_cache(self) -> None:
        self._cache = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
        facts = [self._cache.execute(f"PRAGMA {fact}").fetchone()[0] for fact in ("application_id", "user_version")]
        if facts != [APPLICATION_ID, CACHE_VERSION]:
            self._give_up()
        elif self.dim is None:
            dims = self._cache.execute("SELECT dim FROM model WHERE name = ?", (self._label,)).fetchall()
            self.dim = dims[0][0] if len(dims) == 1 else None

    def _held(self, chunks: Iterable[bytes]) -> set[bytes]:
        """Those that the cache holds."""
        if self.count is None or self._cache is None:
            return set()
        keys = {cache_key(self._scope, chunk): chunk for chunk in chunks}
        return {keys[key] for key in _find(self._cache, "SELECT key FROM entry WHERE key IN", keys)}

    def _first_seen(self, chunks: set[bytes]) -> set[bytes]:
        """Those that were not seen before; from now on they were."""
        if self._seen is None:
            return set()
        new = chunks.difference(_find(self._seen, "SELECT chunk FROM seen WHERE chunk IN", chunks))
        self._seen.executemany("INSERT INTO seen VALUES (?)", ((chunk,) for chunk in new))
        return new

    def _give_up(self) -> None:
        """Knows nothing: a cache that cannot be read may not be there to spare anything."""
        self.count, self.repeated, self.characters = None, 0, 0
        self._close()

    def _close(self) -> None:
        for connection in (self._cache, self._seen):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
        self._cache = self._seen = None


def _find(connection: sqlite3.Connection, question: str, keys: Iterable[bytes]) -> Iterator[bytes]:
    rest = iter(keys)
    while some := list(islice(rest, _AT_ONCE)):
        yield from (key for (key,) in connection.execute(f"{question} ({','.join('?' * len(some))})", some))
