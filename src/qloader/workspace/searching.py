"""Searching the index: by words, by meaning, or by both together, through all documents or some."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from qloader.applying.preconditions import check_index
from qloader.errors import ConfigError, EmbeddingError, ForeignIndexError, StateError
from qloader.index.protocol import DENSE_VECTOR, SPARSE_VECTOR, FoundBy, Hit, Index, Vectors, Where
from qloader.planning.selecting import match_documents
from qloader.workspace.planning import check_embedded_marker
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.embedding.together import Embedders
    from qloader.state.records import StateHeader
    from qloader.state.store import StateStore

Mode = Literal["hybrid", "dense", "sparse"]
VECTORS: Mapping[Mode, tuple[str, ...]] = {
    "hybrid": (SPARSE_VECTOR, DENSE_VECTOR),
    "dense": (DENSE_VECTOR,),
    "sparse": (SPARSE_VECTOR,),
}

MOST_DOCUMENTS = 10_000
"""Documents that `paths` may match: an engine is told each by its id."""

LEAST_DEPTH, DEPTH = 50, 4
"""By each vector so many points take part in a hybrid search: `DEPTH` times as many as are asked for, if not fewer."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """How a search goes about it.

    Attributes:
        mode: `hybrid`, `dense` or `sparse`; None is `hybrid` where the config has dense vectors, else `sparse`.
        sources: Only documents of these sources.
        paths: Only documents whose id or address matches, patterns as in .gitignore, or whose address one is.
        metadata: Only documents whose metadata says this.
        since: Only documents whose `updated_at` is not before this moment, which has an offset.
        explain: Look too which vector found each hit, at which rank.
    """

    mode: Mode | None = None
    sources: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    explain: bool = False


def modes_of(settings: Settings) -> tuple[Mode, ...]:
    """The modes that a config allows, the usual one first."""
    return ("hybrid", "dense", "sparse") if settings.has_dense else ("sparse",)


@contextlib.contextmanager
def open_searcher(settings: Settings, request: SearchRequest, modes: Sequence[Mode] = ()) -> Iterator[Searcher]:
    """Opens the index for one search or many.

    Args:
        settings: The config and what follows from it.
        request: How to search.
        modes: Modes that will be asked for; the request's own where none is named.

    Raises:
        StateError: Nothing was applied yet.
        ConfigError: A source, pattern or mode is none.
        ForeignIndexError: The collection is another state's, or gone, or its dense vectors are another model's.
        IndexUnavailableError: The index cannot be opened.
    """
    modes = modes or (request.mode or modes_of(settings)[0],)
    needs_dense = any(DENSE_VECTOR in VECTORS[mode] for mode in modes)
    if needs_dense and not settings.has_dense:
        raise ConfigError(
            f"a search by --mode {modes[0]} needs dense vectors, and the config has none",
            remedy="Leave --mode out, or name a provider in embedding.dense (docs/embedding.md).",
        )
    state = settings.read_state()
    header = None
    if state is not None:
        with state:
            header = state.header()
            if header is not None:
                documents = sum(source.documents for source in state.sources())
                where = _where(state, request)
                applied = state.pipelines().get(header.pipeline, {}).get("embedding")
                has_writer = state.writer() is not None
    if header is None:
        raise StateError("nothing has been applied yet", remedy="Run `qloader apply` first.")
    check_embedded_marker(settings, header, documents)
    if needs_dense:
        _check_model(applied, settings)
    # Another search is over in a moment; a writer has an embedded index to itself until it ends.
    lock_wait = 0.0 if has_writer else None
    with (
        settings.embedders(dense=needs_dense) as embedders,
        contextlib.closing(settings.open_index(lock_wait=lock_wait)) as index,
    ):
        yield Searcher(settings, header, documents, index, embedders, where, modes[0], request.explain)


class Searcher:
    """An open index that may be asked again and again. Made by `open_searcher`."""

    def __init__(
        self,
        settings: Settings,
        header: StateHeader,
        documents: int,
        index: Index,
        embedders: Embedders,
        where: Where | None,
        mode: Mode,
        explain: bool,
    ) -> None:
        self._settings = settings
        self._header = header
        self._documents = documents
        self._index = index
        self._embedders = embedders
        self._where = where
        self._mode = mode
        self._explain = explain

    def search(self, query: str, *, limit: int, mode: Mode | None = None) -> list[Hit]:
        """Hits, best first.

        Args:
            query: Words, as a person types them.
            limit: How many hits at most.
            mode: One of the modes that the searcher was opened for; the first of them where None.

        Raises:
            EmbeddingError: The question cannot be embedded.
            ForeignIndexError: The collection is another state's, or gone.
            IndexUnavailableError: The index cannot be read.
        """
        if self._where is None:
            return []
        try:
            vectors = self._embedders.embed_query(query, VECTORS[mode or self._mode])
        except EmbeddingError as error:
            error.remedy = f"{error.remedy} `--mode sparse` searches by words alone.".lstrip()
            raise
        hits = self._ask(vectors, self._where, limit)
        if not hits:  # nothing there, or nothing of ours: only now is it worth another question to a server
            check_index(
                self._index.describe(), self._header, documents=self._documents, collection=self._settings.collection
            )
        return hits

    def _ask(self, vectors: Vectors, where: Where, limit: int) -> list[Hit]:
        lineage, depth = self._header.lineage, max(DEPTH * limit, LEAST_DEPTH)
        if len(vectors) > 1:
            hits = self._index.fuse(vectors, limit=limit, depth=depth, lineage=lineage, where=where)
        else:
            ((name, vector),) = vectors.items()
            hits = self._index.search(vector, using=name, limit=limit, lineage=lineage, where=where)
            depth = limit
        if not self._explain:
            return hits
        found: dict[str, list[FoundBy]] = {hit.id: [] for hit in hits}
        for name, vector in vectors.items():
            alone = self._index.search(vector, using=name, limit=depth, lineage=lineage, where=where)
            for rank, hit in enumerate(alone, 1):
                if hit.id in found:
                    found[hit.id].append(FoundBy(name, rank, hit.score))
        return [replace(hit, found_by=tuple(found[hit.id])) for hit in hits]


def _where(state: StateStore, request: SearchRequest) -> Where | None:
    """What the index is asked to look at; None where the state knows that there is nothing of it."""
    known = [source.name for source in state.sources()]
    for name in request.sources:
        if name not in known:
            raise ConfigError(
                f"--source {name}: the index holds no such source", remedy=f"It holds: {', '.join(known) or 'none'}."
            )
    documents = None
    if request.paths:
        documents = _matching(state, request)
        if not documents:
            return None
    return Where(request.sources, documents, tuple(request.metadata.items()), request.since)


def _matching(state: StateStore, request: SearchRequest) -> dict[str, list[str]]:
    """The documents that the paths match, by source."""
    matches = match_documents("--path", request.paths)
    exact = frozenset(request.paths)
    found: dict[str, list[str]] = {}
    count = 0
    for name in request.sources or (None,):
        for record in state.documents(name):
            address = f"{record.source}/{record.id}"
            if address in exact or matches(record.id, address):
                found.setdefault(record.source, []).append(record.id)
                count += 1
    if count > MOST_DOCUMENTS:
        raise ConfigError(
            f"--path {request.paths[0]} matches {count:,} documents; a search can be narrowed to {MOST_DOCUMENTS:,}",
            remedy="Name a smaller part, or search a whole source with --source.",
        )
    return found


def _check_model(applied: Mapping[str, Any] | None, settings: Settings) -> None:
    """Refuses to compare vectors of two models."""
    if applied is not None and applied.get("dense") != settings.pipeline.embedding.get("dense"):
        raise ForeignIndexError(
            f"the dense vectors in the collection {settings.collection} were made by another model, or there are none "
            "yet: the config was changed since the last apply",
            remedy="Plan and apply, so that both are the same; `--mode sparse` searches by words until then.",
        )
