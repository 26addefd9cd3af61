"""The embedding cache: vectors that were paid for once, by what they were made of. Losing it loses money, nothing else.

A key is made of the model with all settings that shape a vector, and of the text: a document that was reverted or
moved, or a paragraph in 500 pages, is found again whatever collection it is for. Several processes may use one cache
at once. A row bears a checksum, so that damage is noticed, not served; a file that SQLite cannot
read is put aside, and another one begun.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from qloader.embedding.cache_file import (
    check_export,
    checksum,
    connect,
    count_in,
    exported,
    forget,
    is_cache,
    is_damage,
    is_whole,
    only_one,
    put_aside,
    shrink,
    tidy,
    transaction,
    used_bytes,
)
from qloader.errors import EmbeddingError
from qloader.folders import make_private_folder
from qloader.outputs import check_replaceable

ROOM_LEFT = 0.9
"""How full the cache is after what was not used for longest went, so that it does not have to go one by one."""

ROOM_TO_OPEN = 1 << 16
"""Bytes: for whoever opens it SQLite makes a file of half as many beside it (-shm)."""

_AT_ONCE = 900

NOT_OURS = "another program or a newer qloader made it"
"""Why a file cannot be used that can be opened."""

Vector: TypeAlias = npt.NDArray[np.float32]
T = TypeVar("T")
N = TypeVar("N")


def days() -> int:
    """Today, in days since 1970."""
    return int(time.time() // 86400)


@dataclass(frozen=True, slots=True)
class ModelStats:
    """What the cache holds of one model.

    Attributes:
        name: The provider and the model, e.g. `openai/text-embedding-3-small`.
        dim: How long its vectors are.
        vectors: How many there are.
        first_used: The day that the longest unused one was last used, in days since 1970.
        last_used: The day that the latest one was.
    """

    name: str
    dim: int
    vectors: int
    first_used: int
    last_used: int


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache holds.

    Attributes:
        path: Its file.
        bytes: What the vectors take, with all that belongs to them.
        max_bytes: What it may take.
        models: By model, the largest first.
    """

    path: Path
    bytes: int
    max_bytes: int
    models: tuple[ModelStats, ...]

    @property
    def vectors(self) -> int:
        """How many there are."""
        return sum(model.vectors for model in self.models)


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import: vectors that are new, that were there, and that were damaged in the file."""

    added: int
    known: int
    damaged: int


class EmbeddingCache:
    """An open cache. May be used by several threads, and its file by several processes, at once.

    Where the file cannot be used (read-only, busy, of a newer qloader) it finds nothing and keeps nothing, and says so
    when there is something to keep.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        precision: Literal["float16", "float32"],
        today: Callable[[], int],
        tell: Callable[[str], None],
    ) -> None:
        self.path = path
        self._tell = tell
        self._max_bytes = max_bytes
        self._type = np.float16 if precision == "float16" else np.float32
        self._today = today
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._why = ""
        self._is_loss_told = False
        self._open()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        max_bytes: int = 2_000_000_000,
        precision: Literal["float16", "float32"] = "float16",
        today: Callable[[], int] = days,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> Self:
        """Opens a cache, and makes it where there is none.

        Args:
            path: Its file.
            max_bytes: How large the file may become.
            precision: How exactly numbers are kept from now on; what is there is read either way.
            today: The current day, in days since 1970.
            tell: Told, in a sentence for people, that a damaged file was put aside.
        """
        return cls(path, max_bytes=max_bytes, precision=precision, today=today, tell=tell)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the cache; from then on it finds nothing."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def rounded(self, vectors: Vector) -> Vector:
        """Vectors as the cache gives them back, so that whoever embeds and whoever finds has the same ones.

        A row with a number that float16 does not hold stays as it is, and is kept in full.
        """
        if self._type is np.float32:
            return vectors
        with np.errstate(over="ignore"):
            near = vectors.astype(np.float16).astype(np.float32)
        fits = np.isfinite(near).all(axis=-1, keepdims=True) & near.any(axis=-1, keepdims=True)
        return np.where(fits, near, vectors)

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Vector]:
        """The vectors of those keys that are there, as float32; those that are damaged are not."""
        return self._guarded(lambda connection: self._get(connection, keys), {})

    def put_many(self, keys: Sequence[bytes], vectors: Vector, *, model: str, is_told: bool = True) -> int:
        """Keeps vectors; those whose keys are there already stay as they are.

        Args:
            keys: One for each vector.
            vectors: One a row.
            model: Whose they are, for `stats`.
            is_told: Whether it is said, once, where they cannot be kept.

        Returns:
            How many are new.
        """
        if not keys:
            return 0
        near = self.rounded(vectors)
        with np.errstate(over="ignore"):
            half = near.astype("<f2")
        fits = (half == near).all(axis=1) if self._type is np.float16 else np.zeros(len(keys), dtype=bool)
        whole = near.astype("<f4")
        rows = {
            key: (data := (half if fits[number] else whole)[number].tobytes(), checksum(key, data))
            for number, key in enumerate(keys)
        }
        kept = self._guarded(lambda connection: self._put(connection, rows, model, vectors.shape[1]), None)
        if kept is None and is_told and not self._is_loss_told:
            self._is_loss_told = True
            self._tell(
                f"The embedding cache {self.path} cannot be used ({self._why or NOT_OURS}): what is embedded now is "
                "not kept there, and would be paid for again."
            )
        return kept or 0

    def stats(self) -> CacheStats:
        """What the cache holds.

        Raises:
            EmbeddingError: It cannot be read: none would look like an empty one.
        """

        def read(connection: sqlite3.Connection) -> CacheStats:
            rows = connection.execute(
                "SELECT m.name, m.dim, count(*), min(e.day), max(e.day) FROM entry e JOIN model m ON m.id = e.model "
                "GROUP BY m.id ORDER BY count(*) DESC, m.name, m.dim"
            ).fetchall()
            models = tuple(ModelStats(*row) for row in rows)
            return CacheStats(self.path, used_bytes(connection), self._max_bytes, models)

        return self._insisting(read)

    def prune(self, *, max_bytes: int | None = None, unused_days: int | None = None, model: str | None = None) -> int:
        """Throws vectors away, and gives their room back to the disk.

        Args:
            max_bytes: What the file may take afterwards; what was not used for longest goes.
            unused_days: Those go that were not used for so many days.
            model: All of this model go, by its name in `stats`.

        Returns:
            How many went.

        Raises:
            EmbeddingError: The cache cannot be written just now.
        """

        def delete(connection: sqlite3.Connection) -> int:
            gone = 0
            with transaction(connection):
                if unused_days is not None:
                    gone += forget(connection, "day < ?", (self._today() - unused_days,))
                if model is not None:
                    gone += forget(connection, "model IN (SELECT id FROM model WHERE name = ?)", (model,))
                if max_bytes is not None:
                    gone += shrink(connection, max_bytes)
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return gone

        return self._insisting(delete)

    def export(self, path: Path) -> int:
        """Writes all vectors into a file that another cache can import.

        Args:
            path: The file; it is replaced as a whole when all is written.

        Returns:
            How many there are.

        Raises:
            ConfigError: A file is there that is no exported cache, or the cache itself.
            EmbeddingError: The file cannot be written, or the cache not be read.
        """
        check_replaceable(path, lambda head: is_cache(head) and not path.samefile(self.path), what="exported cache")
        part = path.with_name(f"{path.name}.{os.getpid()}.part")

        def copy(connection: sqlite3.Connection) -> int:
            connection.execute("VACUUM INTO ?", (str(part),))
            return int(connection.execute("SELECT count(*) FROM entry").fetchone()[0])

        try:
            os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
            count = self._insisting(copy)
            part.replace(path)
        except OSError as error:
            raise EmbeddingError(
                f"the embedding cache cannot be exported to {path}: {error.strerror or error}",
                remedy="Check the folder: that it exists, its permissions, and the space left on its disk.",
            ) from error
        finally:
            part.unlink(missing_ok=True)
        return count

    def import_from(self, path: Path) -> Imported:
        """Takes over the vectors of an exported cache; those that are here already stay as they are.

        Raises:
            EmbeddingError: The file is no export, or of a newer qloader; or the cache cannot be written.
        """
        if not path.is_file():
            raise EmbeddingError(f"there is no exported cache at {path}", remedy="Check the path.")
        added = known = damaged = 0
        try:
            with contextlib.closing(
                sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
            ) as other:
                other.execute("PRAGMA trusted_schema = OFF")
                check_export(other, path)
                for (name, dim), rows in exported(other):
                    whole = {key: (data, given) for key, data, given in rows if is_whole(key, data, given, dim)}
                    new = self._insisting(partial(self._put, rows=whole, model=name, dim=dim))
                    added, known, damaged = added + new, known + len(whole) - new, damaged + len(rows) - len(whole)
        except sqlite3.Error as error:
            raise EmbeddingError(
                f"{path} is no exported cache, or is damaged: {error}",
                remedy="Export it again with `qloader cache export`. What was read before is kept.",
            ) from error
        return Imported(added, known, damaged)

    def _get(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Vector]:
        dims = dict(connection.execute("SELECT id, dim FROM model"))
        today, used, broken = self._today(), list[bytes](), list[bytes]()
        whole: dict[tuple[int, str], dict[bytes, bytes]] = {}
        for some in _pieces(sorted(keys), _AT_ONCE):  # sorted: neighbours lie on the same pages
            marks = ",".join("?" * len(some))
            rows = connection.execute(
                "SELECT e.key, e.model, e.day, e.checksum, v.data FROM entry e LEFT JOIN vector v ON v.id = e.vector "
                f"WHERE e.key IN ({marks})",
                some,
            )
            for key, model, day, given, data in rows:
                dim = dims.get(model, 0)
                if not is_whole(key, data, given, dim):
                    broken.append(key)
                    continue
                whole.setdefault((dim, "<f2" if len(data) == 2 * dim else "<f4"), {})[key] = data
                if day < today:
                    used.append(key)
        found: dict[bytes, Vector] = {}
        for (dim, kind), data in whole.items():  # all of one kind at once: ten times as fast as one by one
            numbers = np.frombuffer(b"".join(data.values()), kind).reshape(-1, dim)
            found.update(zip(data, numbers.astype(np.float32), strict=True))
        if used or broken:
            # Who only reads does not wait for who writes: to note the day is not worth it.
            with contextlib.suppress(sqlite3.OperationalError), transaction(connection):
                connection.executemany("UPDATE entry SET day = ? WHERE key = ?", ((today, key) for key in used))
                for key in broken:
                    forget(connection, "key = ?", (key,))
        return found

    def _put(
        self,
        connection: sqlite3.Connection,
        rows: Mapping[bytes, tuple[bytes, int]],
        model: str,
        dim: int,
    ) -> int:
        with transaction(connection):
            known: set[bytes] = set()
            for some in _pieces(list(rows), _AT_ONCE):
                marks = ",".join("?" * len(some))
                known.update(
                    key for (key,) in connection.execute(f"SELECT key FROM entry WHERE key IN ({marks})", some)
                )
            new = [(key, data, given) for key, (data, given) in rows.items() if key not in known]
            if not new:
                return 0
            connection.execute("INSERT OR IGNORE INTO model (name, dim) VALUES (?, ?)", (model, dim))
            number = connection.execute("SELECT id FROM model WHERE name = ? AND dim = ?", (model, dim)).fetchone()[0]
            first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM vector").fetchone()[0]
            connection.executemany(
                "INSERT INTO vector (id, data) VALUES (?, ?)",
                ((first + place, data) for place, (_, data, _) in enumerate(new)),
            )
            day = self._today()
            connection.executemany(
                "INSERT INTO entry (key, vector, model, day, checksum) VALUES (?, ?, ?, ?, ?)",
                ((key, first + place, number, day, given) for place, (key, _, given) in enumerate(new)),
            )
            count_in(connection, len(new), sum(len(data) for _, data, _ in new))
            is_full = used_bytes(connection) > self._max_bytes
            if is_full:
                shrink(connection, int(self._max_bytes * ROOM_LEFT))
        if is_full:
            tidy(connection)
        return len(new)

    def _guarded(self, work: Callable[[sqlite3.Connection], T], nothing: N) -> T | N:
        """Does something with the cache, as far as it can be used; what fails loses only speed."""
        with self._lock:
            if self._connection is None:
                return nothing
            try:
                return work(self._connection)
            except sqlite3.Error as error:  # busy, read-only, a full disk
                self._why = self._explain(error)
                if is_damage(error):
                    self._begin_anew()
                return nothing

    def _insisting(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same for whoever asks for just this: it is done, or is an error."""
        with self._lock:
            why = self._why or NOT_OURS
            try:
                if self._connection is not None:
                    return work(self._connection)
            except sqlite3.Error as error:
                why = self._explain(error)
        raise EmbeddingError(
            f"the embedding cache {self.path} cannot be used: {why}",
            remedy="Check its folder and the space on its disk. It may be deleted: what is needed of it is embedded "
            "anew then, and paid for.",
        )

    def _open(self) -> None:
        """Opens the file, made anew where it is damaged; none where that cannot be."""
        try:
            make_private_folder(self.path.parent)
            with only_one(self.path):
                try:
                    self._connection = connect(self.path)
                except sqlite3.DatabaseError as error:
                    if not is_damage(error):
                        raise
                    self._put_aside()
                    self._connection = connect(self.path)
                facts = self.path.stat()
                self._file = facts.st_dev, facts.st_ino
        except (OSError, sqlite3.Error) as error:
            self._why = self._explain(error)

    def _explain(self, error: OSError | sqlite3.Error) -> str:
        """What an error says of the file; SQLite has no word of its own for a disk that has no room for its -shm."""
        if isinstance(error, OSError):
            return error.strerror or str(error)
        with contextlib.suppress(OSError):
            if "disk I/O" in str(error) and shutil.disk_usage(self.path.parent).free < ROOM_TO_OPEN:
                return "its disk is full"
        return str(error)

    def _begin_anew(self) -> None:
        """Puts the damaged file aside, unless another process has done so already, and opens the one there is then."""
        self.close()
        with contextlib.suppress(OSError), only_one(self.path):
            facts = self.path.stat()
            if (facts.st_dev, facts.st_ino) == self._file:
                self._put_aside()
        self._open()

    def _put_aside(self) -> None:
        aside = put_aside(self.path)
        self._tell(
            f"The embedding cache {self.path} is damaged: it was put aside as {aside.name}, and another one begun. "
            "What it held is embedded anew where it is needed, and paid for."
        )


def _pieces(values: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
