"""A foreign collection in a folder: a shard of Qdrant's engine (qdrant-edge), as other programs embed it.

The engine writes into a folder that it opens, also to read. A copy is opened, therefore.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qloader.adopting.collection import PAGE, ForeignFacts, ForeignPoint, PointId, one_vector, pages
from qloader.errors import IndexUnavailableError
from qloader.index.marker import MARKER, SHARD

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

_CONFIG = "edge_config.json"
_LOCAL_MODE = ("meta.json", "collection")
"""What qdrant-client's local mode has in its folder."""


class ShardCollection:
    """A shard in a folder, or in a folder of its name below that. Nothing is read before the first call."""

    def __init__(self, folder: Path, name: str = "") -> None:
        """Opens nothing yet.

        Args:
            folder: The shard, or the folder that it is in.
            name: Which of the folders in there; empty where the folder is the shard itself.
        """
        self._base = folder
        self._folder = folder / name if name else folder
        self.name = name or folder.resolve().name
        self.location = f"the folder {folder}"
        self.farewell = f"rm -r {shlex.quote(str(self._folder))}"
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._shard: EdgeShard | None = None

    def describe(self) -> ForeignFacts | None:
        """What is there; None where there is no such shard.

        Raises:
            IndexUnavailableError: It is a folder of qdrant-client's local mode.
        """
        if all((self._base / name).exists() for name in _LOCAL_MODE):
            raise IndexUnavailableError(
                f"the folder {self._base} is one of qdrant-client's local mode, whose points are pickled Python "
                "objects: to read them is to run what they say",
                remedy="Copy it to a server with `QdrantClient(path=…).migrate(QdrantClient(url=…))`, and import it "
                "from there.",
            )
        if (self._folder / MARKER).exists() or (self._folder.parent / MARKER).exists():
            return ForeignFacts(0, {}, (), is_qloaders=True)
        where = self._where()
        if where is None:
            return None
        try:
            stored = json.loads((where / _CONFIG).read_text(encoding="utf-8"))
            vectors, sparse = dict(stored.get("vectors") or {}), dict(stored.get("sparse_vectors") or {})
            dense = {
                str(name): int(one["size"]) for name, one in vectors.items() if one.get("multivector_config") is None
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise IndexUnavailableError(
                f"{where / _CONFIG} is damaged: {type(error).__name__}", remedy="Restore the folder from a backup."
            ) from error
        others = (*(name for name in vectors if name not in dense), *sparse)
        with self._errors():
            points = int(self._opened().info().points_count)
        return ForeignFacts(points, dense, others, is_qloaders=False)

    def neighbours(self) -> list[str]:
        """The names of the shards below the folder, sorted."""
        try:
            return sorted(path.parent.name for path in self._base.glob(f"*/{_CONFIG}"))
        except OSError:
            return []

    def points(self) -> Iterator[ForeignPoint]:
        """Every point with its payload, page by page, without vectors."""
        from qdrant_edge import ScrollRequest

        offset: Any = None
        while True:
            request = ScrollRequest(offset=offset, limit=PAGE, with_payload=True, with_vector=False)
            with self._errors():
                records, offset = self._opened().scroll(request)
            for record in records:
                yield ForeignPoint(_id(record.id), record.payload or {})
            if offset is None:
                return

    def fetch(self, ids: Sequence[PointId], vector: str) -> Iterator[ForeignPoint]:
        """Points by id with payloads and one vector, in no particular order; those that are gone are left out."""
        for some in pages(ids):
            with self._errors():
                records = self._opened().retrieve(list(some), with_payload=True, with_vector=True)
            for record in records:
                yield ForeignPoint(_id(record.id), record.payload or {}, one_vector(record.vector, vector))

    def close(self) -> None:
        """Closes the engine, and removes the copy."""
        shard, self._shard = self._shard, None
        copy, self._copy = self._copy, None
        try:
            if shard is not None:
                with self._errors():
                    shard.close()
        finally:
            if copy is not None:
                copy.cleanup()

    def _where(self) -> Path | None:
        return next((path for path in (self._folder, self._folder / SHARD) if (path / _CONFIG).is_file()), None)

    def _opened(self) -> EdgeShard:
        if self._shard is None:
            from qdrant_edge import EdgeShard

            where = self._where()
            assert where is not None
            self._copy = tempfile.TemporaryDirectory(prefix="qloader-import-")
            target = Path(self._copy.name) / SHARD
            try:
                shutil.copytree(where, target)
            except (OSError, shutil.Error) as error:
                raise IndexUnavailableError(
                    f"the folder {where} cannot be copied, and to open it where it is would write into it: {error}",
                    remedy=f"Check its permissions and the space in {tempfile.gettempdir()}; TMPDIR names another.",
                ) from error
            self._shard = EdgeShard.load(str(target))
        return self._shard

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns what the engine raises (plain `Exception`, or a Rust panic) into an error with a remedy."""
        try:
            yield
        except BaseException as error:
            if type(error) is not Exception and type(error).__name__ != "PanicException":
                raise
            words = str(error).strip().partition("\n")[0]
            raise IndexUnavailableError(
                f"the folder {self._folder} cannot be read as a collection: {words}",
                remedy="Close the program that uses it, or restore it from a backup.",
            ) from error


def _id(value: Any) -> PointId:
    return value if isinstance(value, int) else str(value)
