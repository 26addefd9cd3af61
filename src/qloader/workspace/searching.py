"""Searching the index: by words, by meaning, or by both together, through all documents or some, and reranked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from qloader.applying.preconditions import check_state
from qloader.errors import ConfigError, EmbeddingError, RerankError
from qloader.index.fusing import fuse_weighted
from qloader.index.protocol import DENSE_VECTOR, SPARSE_VECTOR, FoundBy, Fusion, Hit, Index, Vectors, Where
from qloader.planning.selecting import match_documents
from qloader.state.records import count_held
from qloader.workspace.applied import check_comparable, find_applied
from qloader.workspace.fusing import Fusing
from qloader.workspace.ownership import check_ours
from qloader.workspace.planning import check_embedded_marker
from qloader.workspace.settings import Settings, nothing_applied

if TYPE_CHECKING:
    from qloader.embedding.reranking import Reranker
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

REPLACEMENT_WAIT = 30.0
"""Seconds that a search waits while a collection is made beside an embedded one: whoever makes it opens the live one
for moments, so that the wait is sure to end."""

LEAST_DEPTH, DEPTH = 50, 4
"""By each vector so many points take part in a hybrid search: `DEPTH` times as many as are asked for, if not fewer."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """How a search goes about it.

    Attributes:
        mode: `hybrid`, `dense` or `sparse`; None is `hybrid` where the config has dense vectors, else `sparse`.
        fusion: How `hybrid` makes one ranking of two; as the config says where None.
        weights: How much each vector's ranking counts, by its name; 1 for one that is not named. As the config says
            where None.
        rerank: Whether the reranker that the config names puts the hits in order anew.
        sources: Only documents of these sources.
        paths: Only documents whose id or address matches, patterns as in .gitignore, or whose address one is.
        metadata: Only documents whose metadata says this.
        since: Only documents whose `updated_at` is not before this moment, which has an offset.
        explain: Look too which vector found each hit, at which rank, and where it was before it was reranked.
    """

    mode: Mode | None = None
    fusion: Fusion | None = None
    weights: Mapping[str, float] | None = None
    rerank: bool = True
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
        StateError: Nothing was applied yet, or by a config of another name.
        ConfigError: A source, pattern, mode or weight is none.
        RerankError: The reranker would be sent a key without encryption.
        ForeignIndexError: The collection is another state's, or gone, or its dense vectors are another model's.
        IndexUnavailableError: The index cannot be opened.
    """
    asked = modes or ((request.mode,) if request.mode else ())
    modes = asked or modes_of(settings)[:1]
    if (request.fusion or request.weights) and "hybrid" not in modes:
        raise ConfigError(
            f"--fusion and --weights are of a hybrid search, and this one is by --mode {modes[0]}",
            remedy="Leave them out, or search by --mode hybrid.",
        )
    if _needs_dense(modes) and not settings.has_dense:
        raise ConfigError(
            f"a search by --mode {modes[0]} needs dense vectors, and the config has none",
            remedy="Leave --mode out, or name a provider in embedding.dense (docs/embedding.md).",
        )
    fusing = Fusing.of(settings.config.search, request.fusion, request.weights)
    state = settings.read_state()
    header = None
    if state is not None:
        with state:
            header = state.header()
            if header is not None:
                documents = count_held(state.sources())
                where = _where(state, request)
                pipelines = state.pipelines()
                is_replaced = state.writer() is not None and bool(header.replacement)
    if header is None:
        raise nothing_applied()
    check_state(header, settings.here)
    check_embedded_marker(settings, header, documents)
    # A writer has an embedded index to itself until it ends, but for one that makes a collection beside it.
    lock_wait = REPLACEMENT_WAIT if is_replaced else None
    with contextlib.ExitStack() as stack:
        reranker = settings.open_reranker() if request.rerank else None
        if reranker is not None:
            stack.callback(reranker.close)
        index = stack.enter_context(settings.share_index(lock_wait=lock_wait))
        # What the collection was filled with: the config may be ahead of it, or the state in the moment of a switch.
        applied = find_applied(settings, pipelines, index.filled_by() or header.pipeline)
        if _needs_dense(modes):
            try:
                check_comparable(settings, applied)
            except ConfigError as error:
                if asked:
                    raise
                settings.tell(f"Searched by words alone: {error}.")
                modes = ("sparse",)
        embedders = stack.enter_context(settings.embedders(dense=_needs_dense(modes), applied=applied))
        yield Searcher(
            settings, header, documents, index, embedders, reranker, where, modes[0], fusing, explain=request.explain
        )


class Searcher:
    """An open index that may be asked again and again. Made by `open_searcher`."""

    def __init__(
        self,
        settings: Settings,
        header: StateHeader,
        documents: int,
        index: Index,
        embedders: Embedders,
        reranker: Reranker | None,
        where: Where | None,
        mode: Mode,
        fusing: Fusing,
        *,
        explain: bool,
    ) -> None:
        self._settings = settings
        self._header = header
        self._documents = documents
        self._index = index
        self._embedders = embedders
        self._reranker = reranker
        self._where = where
        self._mode = mode
        self._fusing = fusing
        self._explain = explain

    def search(self, query: str, *, limit: int, mode: Mode | None = None) -> list[Hit]:
        """Hits, best first.

        Args:
            query: Words, as a person types them.
            limit: How many hits at most.
            mode: One of the modes that the searcher was opened for; the first of them where None.

        Raises:
            EmbeddingError: The question cannot be embedded.
            RerankError: The hits cannot be reranked.
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
        hits = self._ask(vectors, self._where, max(limit, self._reranker.top if self._reranker else 0))
        if not hits:  # nothing there, or nothing of ours: only now is it worth another question to a server
            check_ours(self._settings, self._index.describe(), self._header, documents=self._documents)
        return self._reranked(query, hits)[:limit]

    def _reranked(self, query: str, hits: list[Hit]) -> list[Hit]:
        """The hits as the reranker orders them, those of equal score as they were; as they are where there is none."""
        if self._reranker is None or not hits:
            return hits
        try:
            scores = self._reranker.scores(query, [hit.payload["text"] for hit in hits])
        except RerankError as error:
            error.remedy = f"{error.remedy} `--no-rerank` searches without.".lstrip()
            raise
        anew = [
            replace(hit, score=score, rank_before=rank if self._explain else None)
            for rank, (hit, score) in enumerate(zip(hits, scores, strict=True), 1)
        ]
        return sorted(anew, key=lambda hit: -hit.score)

    def _ask(self, vectors: Vectors, where: Where, limit: int) -> list[Hit]:
        lineage, depth = self._header.lineage, max(DEPTH * limit, LEAST_DEPTH)
        fusion, weights = self._fusing.fusion, self._fusing.weights
        rankings: dict[str, list[Hit]] = {}
        if len(vectors) == 1:
            depth = limit
        if len(vectors) == 1 or weights is not None or self._explain:
            for name, vector in vectors.items():
                rankings[name] = self._index.search(vector, using=name, limit=depth, lineage=lineage, where=where)
        if len(vectors) == 1:
            (hits,) = rankings.values()
        elif weights is not None:
            hits = fuse_weighted(rankings, weights, limit)
        else:
            hits = self._index.fuse(vectors, limit=limit, depth=depth, fusion=fusion, lineage=lineage, where=where)
        if not self._explain:
            return hits
        found: dict[str, list[FoundBy]] = {hit.id: [] for hit in hits}
        for name, alone in rankings.items():
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


def _needs_dense(modes: Sequence[Mode]) -> bool:
    return any(DENSE_VECTOR in VECTORS[mode] for mode in modes)
