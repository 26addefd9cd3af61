"""One apply after all checks: what it does, and its record in the state, whatever happens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qloader.applying.events import Adapted, BatchDone, Event, Listener
from qloader.applying.executor import Parts, Totals, announce, execute, first_text
from qloader.applying.live import Live
from qloader.applying.lookahead import Bounds
from qloader.applying.result import ApplyResult, DenseWork
from qloader.applying.work import PointLabels
from qloader.counting import counted
from qloader.errors import EmbeddingError, InterruptedRunError, QloaderError, SourceError, StateError
from qloader.index.protocol import Index, Sealable
from qloader.planning.plan import Plan, PlanHeader
from qloader.render.progress import Progress, TakesNotes
from qloader.state.lock import now_ms
from qloader.state.reader import StateReader
from qloader.state.records import RunStatus, SourceRecord, StateHeader
from qloader.state.store import StateStore
from qloader.workspace.applied import find_reusable
from qloader.workspace.identities import find_identity
from qloader.workspace.keeping import Counting, Keeping
from qloader.workspace.preparing import Pool
from qloader.workspace.resources import MemoryPace
from qloader.workspace.sealing import Sealing
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.embedding.together import Embedders

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Making:
    """A collection that has to be made.

    Attributes:
        dense: How long its dense vectors are; None where it has none.
        is_anew: Whether an empty one of ours, with other vectors, is there in its place.
    """

    dense: int | None
    is_anew: bool = False


class Run:
    """One apply after all checks: its record in the state, whatever happens."""

    where_it_is = "in the index and recorded"
    """Where is what was done when somebody stops it."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        state: StateStore,
        index: Index,
        embedders: Embedders,
        *,
        is_resumed: bool,
        at_present: bool,
    ) -> None:
        self._revisions = {} if at_present else {source.name: source.revision for source in plan.header.sources}
        self._settings = settings
        self._plan = plan
        self._state = state
        self._index = index
        self._embedders = embedders
        self._is_resumed = is_resumed
        self._sources = {
            source.name: settings.open_source(source.name, dates=True)
            for source in plan.header.sources
            if source.name in settings.config.sources
        }
        records = {source.name: source for source in state.sources()}
        self._identities = {n: find_identity(source, records.get(n)) for n, source in self._sources.items()}
        self._retyped = retyped(plan.header, records)
        self._pool = Pool(settings, plan.header.summary)
        self._keeping = Keeping(settings, state)
        resources = settings.config.resources
        self._pace = MemoryPace(resources.memory.max_percentage, resources.check_interval)

    def carry_out(
        self, progress: Progress, should_stop: Callable[[], bool], listener: Listener, making: Making | None
    ) -> ApplyResult:
        """Does it.

        Args:
            progress: Told what goes on.
            should_stop: Asked at each batch edge; True stops there.
            listener: Told of each document and each batch.
            making: The collection that has to be made first; None where it is there.

        Raises:
            InterruptedRunError: `should_stop` said so.
            QloaderError: See `applying.executor.execute`; the state says that the run failed.
        """
        run_id = self._begin(self._state)
        with self._failing(run_id):
            known = header_of(self._state)
            labels = self._labels(self._state, known, self._retyped)
            announce(self._plan, run_id, self._state, labels, resumed=self._is_resumed)
            if making is not None and making.is_anew:
                self._index.drop()
            if making is not None:
                self._create(self._index, known, making.dense)
            if making is not None or not known.target:
                self._state.note(target=self._index.target() or "")
            with self._loading(self._index, progress, listener) as told:
                parts = self._parts(self._state, self._index, known, told, should_stop)
                totals = execute(self._plan, run_id, parts, labels, resumed=self._is_resumed)
            self._finish(run_id, totals)
            self._index.mark(lineage=known.lineage, pipeline=known.pipeline)
        return self._result(totals)

    def _result(self, totals: Totals) -> ApplyResult:
        """What is told of the run.

        Raises:
            InterruptedRunError: Somebody stopped it.
        """
        if totals.stopped:
            done = sum(totals.actions.values()) + totals.already
            raise InterruptedRunError(
                f"stopped after {done:,} of {counted(self._plan.header.summary.changes, 'change')}; "
                f"they are {self.where_it_is}",
                remedy="Run the same command again to go on from there, or plan anew.",
            )
        return replace(totals.result(), dense=_dense_work(self._embedders))

    @contextlib.contextmanager
    def _failing(self, run_id: int) -> Iterator[None]:
        """What fails in here fails the run, and the state says so. Processes that help begin and end with it."""
        self._keeping.begin(run_id)
        try:
            self._pool.start()
            yield
        except QloaderError as error:
            with contextlib.suppress(QloaderError):
                self._state.finish_run(run_id, "failed", summary={}, error=str(error))
                if isinstance(error, SourceError | EmbeddingError):
                    self._say_what_is_done(error)
            self._keeping.keep()
            raise
        finally:
            self._pool.close()

    @contextlib.contextmanager
    def _loading(self, index: Index, progress: Progress, listener: Listener) -> Iterator[Listener]:
        """Yields who is to be told of each batch of a load."""
        count = Counting(self._settings.recorder, self._embedders)
        with (
            self._postponed_indexing(index),
            progress.phase("apply", self._plan.header.summary.changes) as phase,
        ):

            def told(event: Event) -> None:
                count(event)
                listener(event)
                if isinstance(event, BatchDone):
                    phase.advance(event.documents)
                    self._keeping.keep_if_due()
                elif isinstance(event, Adapted) and isinstance(phase, TakesNotes):
                    phase.note(_in_words(event, self._bounds.size))

            yield told

    def _create(self, index: Index, known: StateHeader, dense: int | None) -> None:
        wanted = self._settings.config.index.settings.given
        index.create(lineage=known.lineage, pipeline=known.pipeline, dense=dense, settings=wanted)

    def first_text(self) -> str | None:
        """A text that is embedded anyway."""
        return first_text(self._plan, self._sources, self._revisions, self._settings.chunker())

    @property
    def is_bulk(self) -> bool:
        """Whether so much is embedded that the graph of dense vectors is better built once, at the end."""
        bulk = self._settings.config.index.settings.bulk_chunks
        if bulk is None or self._settings.tenant:  # others search a shared collection meanwhile, and load it too
            return False
        return self._plan.header.summary.chunks_embed >= bulk

    @contextlib.contextmanager
    def _postponed_indexing(self, index: Index) -> Iterator[None]:
        """Postpones indexing in a bulk load; it is resumed however that ends, and after a crash by the next apply."""
        if not self.is_bulk:
            yield
            return
        index.postpone_indexing()
        try:
            yield
        except BaseException:
            with contextlib.suppress(QloaderError):
                index.resume_indexing()
            raise
        index.resume_indexing()

    def _say_what_is_done(self, error: SourceError | EmbeddingError) -> None:
        """A source or a provider knows nothing of the batches before the one that it failed in."""
        done = self._state.runs(1)[0].document_count
        if done:
            kept = "1 document is" if done == 1 else f"{done:,} documents are"
            error.remedy = f"{error.remedy} {kept} applied and recorded: run the same command again to go on.".lstrip()

    def _begin(self, state: StateStore, *, lineage: str | None = None, replacement: str = "") -> int:
        header, pipeline = self._plan.header, self._settings.pipeline
        return state.begin_run(
            plan=header.digest,
            name=header.name,
            collection=header.index.collection,
            location=header.index.location,
            pipeline=pipeline.fingerprint,
            pipeline_settings=pipeline.parts,
            sources={source.name: (source.type, self._identities.get(source.name, "")) for source in header.sources},
            tenant=header.index.tenant,
            lineage=lineage,
            replacement=replacement,
        )

    def _labels(self, state: StateReader, known: StateHeader, retyped: Collection[str]) -> dict[str, PointLabels]:
        """What the payloads of each source say."""
        reusable = find_reusable(self._settings, state.pipelines())
        return {
            source.name: PointLabels(
                source.type,
                known.lineage,
                known.pipeline,
                reusable,
                is_retyped=source.name in retyped,
                tenant=known.tenant,
            )
            for source in self._plan.header.sources
        }

    def _parts(
        self,
        state: StateStore,
        index: Index,
        known: StateHeader,
        listener: Listener,
        should_stop: Callable[[], bool],
        live: Live | None = None,
    ) -> Parts:
        return Parts(
            sources=self._sources,
            revisions=self._revisions,
            index=index,
            state=state,
            lineage=known.lineage,
            is_mixed=known.mixed,
            chunker=self._settings.chunker(),
            embedder=self._embedders,
            bounds=self._bounds,
            timeout=self._settings.config.ingestion.parallel.timeout,
            pace=self._pace,
            reader=self._pool.reader,
            should_stop=should_stop,
            listener=listener,
            live=live,
            seal_if_due=self._sealing(index, should_stop),
            recorder=self._settings.recorder,
        )

    def _sealing(self, index: Index, should_stop: Callable[[], bool]) -> Callable[[], None]:
        """Keeps what an index holds in memory within bounds, where it is one that holds anything."""
        if not isinstance(index, Sealable):
            return lambda: None
        settings = self._settings
        is_dense = settings.config.embedding.dense is not None
        return Sealing(
            index,
            self._pace.allowed,
            is_dense=is_dense,
            should_stop=should_stop,
            recorder=settings.recorder,
            tell=settings.tell,
        )

    @property
    def _bounds(self) -> Bounds:
        """How large a batch may be, and how much may be ready before its turn."""
        ingestion = self._settings.config.ingestion
        is_parallel = ingestion.parallel.max_workers > 1
        return Bounds(ingestion.batch.size, ingestion.parallel.queue_size if is_parallel else 0)

    def _finish(self, run_id: int, totals: Totals) -> None:
        """Records how the run ended, and forgets what is too old."""
        if totals.failures:
            self._state.record_failures(run_id, totals.failures)
        failed = {failure.source for failure in totals.failures}
        status: RunStatus = "failed" if totals.stopped else "partial" if failed else "complete"
        # A partial plan applies no source wholly: the source's time, place and type stay what they were.
        is_whole = not totals.stopped and self._plan.header.selection is None
        applied = [s for s in self._plan.header.sources if s.name not in failed] if is_whole else []
        error = "stopped by the user" if totals.stopped else _name_failures(totals) if failed else None
        self._state.finish_run(
            run_id,
            status,
            summary=_as_summary(totals),
            error=error,
            revisions={source.name: source.revision for source in applied},
            types={source.name: source.type for source in applied},
            identities={s.name: self._identities[s.name] for s in applied if s.name in self._identities},
        )
        self._keeping.keep()
        prune(self._settings, self._state)


def header_of(state: StateReader) -> StateHeader:
    """What a state says of itself in which a run was begun."""
    header = state.header()
    assert header is not None
    return header


def _in_words(event: Adapted, size: int) -> str:
    """What a progress bar says while memory is scarce; nothing once all is as usual again."""
    if event.is_paused:
        return "memory is used up: nothing is prepared ahead"
    return "" if event.batch_size >= size else f"memory is short: batches of {counted(event.batch_size, 'document')}"


def _dense_work(embedders: Embedders) -> DenseWork | None:
    tally = embedders.tally
    if tally is None or not tally.texts + tally.cached:
        return None
    return DenseWork(tally.requests, tally.texts, tally.tokens, tally.cached, tally.shortened)


def _name_failures(totals: Totals) -> str:
    first = totals.failures[0]
    count = len(totals.failures)
    were = "1 document was left as it was" if count == 1 else f"{count:,} documents were left as they were, the first"
    return f"{were}: {first.source}/{first.document_id}"


def _as_summary(totals: Totals) -> dict[str, int]:
    result = totals.result()
    return {
        "create": result.created,
        "update": result.updated,
        "move": result.moved,
        "delete": result.deleted,
        "repair": result.repaired,
        "already": result.already,
        "embedded": result.embedded,
        "failed": len(result.failures),
    }


def retyped(header: PlanHeader, records: Mapping[str, SourceRecord]) -> set[str]:
    """The plan's sources whose documents in the state are of another type."""
    return {s.name for s in header.sources if s.name in records and records[s.name].is_retyped(s.type)}


def prune(settings: Settings, state: StateStore) -> None:
    """Forgets what is older than `state.retention`, by whole days, so that an apply seldom has anything to do here."""
    retention = settings.config.state.retention
    if retention is None:
        return
    before = (now_ms() - round(retention * 1000)) // DAY_MS * DAY_MS
    with contextlib.suppress(StateError):  # the apply is done; what could not be forgotten is by a later one
        state.prune(before)
