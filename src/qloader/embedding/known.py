"""The embedding cache's keys alone: how many texts of a plan it holds already. Imports neither numpy nor a client.

`plan` looks here; nothing is written, and whatever stands in the way only means that nothing is known.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Sequence
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
        dim: How long the model's vectors are: what the config says, or those in the cache; None where nothing tells.
    """

    def __init__(self, path: Path, section: DenseSection) -> None:
        """Opens nothing yet.

        Args:
            path: The cache's file, which need not exist.
            section: What `embedding.dense` says. With a `document_prefix` the hash of a chunk does not tell the hash of
                what is sent, so that nothing can be told.
        """
        self.count: int | None = None if section.document_prefix else 0
        self.dim = section.dimensions
        self._label = section.label
        self._path = path
        self._scope = document_scope(section)
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> KnownTexts:
        if not self._path.exists():
            return self
        try:
            self._connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            facts = [
                self._connection.execute(f"PRAGMA {fact}").fetchone()[0] for fact in ("application_id", "user_version")
            ]
            if facts != [APPLICATION_ID, CACHE_VERSION]:
                self._give_up()
            elif self.dim is None:
                dims = self._connection.execute("SELECT dim FROM model WHERE name = ?", (self._label,)).fetchall()
                self.dim = dims[0][0] if len(dims) == 1 else None
        except sqlite3.Error:
            self._give_up()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def add(self, chunks: Sequence[bytes]) -> None:
        """Counts the chunks of a document, by their hashes."""
        if self.count is None or self._connection is None:
            return
        keys = [cache_key(self._scope, chunk) for chunk in chunks]
        try:
            for some in _pieces(keys):
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(f"SELECT key FROM entry WHERE key IN ({marks})", some)
                there = {key for (key,) in rows}
                self.count += sum(key in there for key in some)
        except sqlite3.Error:
            self._give_up()

    def _give_up(self) -> None:
        self.count = None
        with contextlib.suppress(sqlite3.Error):
            if self._connection is not None:
                self._connection.close()
        self._connection = None


def _pieces(keys: Iterable[bytes]) -> Iterable[list[bytes]]:
    rest = iter(keys)
    while some := list(islice(rest, _AT_ONCE)):
        yield some
