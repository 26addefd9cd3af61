"""Applying a plan: checks, the lock, the run's record, the executor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from qloader.applying.events import BatchDone, Event, Finished, Listener, Started, tell_nobody
from qloader.applying.executor import Parts, Totals, announce, execute
from qloader.applying.preconditions import check_config, check_index, check_state, check_vectors, find_resumable
from qloader.applying.result import ApplyResult, DenseWork
from qloader.applying.work import PointLabels
from qloader.counting import counted
from qloader.errors import EmbeddingError, InterruptedRunError, QloaderError, SourceError, StalePlanError, StateError
from qloader.index.collection_settings import check_fixed, find_differences
from qloader.index.protocol import CollectionInfo, Index
from qloader.planning.estimates import estimate_plan
from qloader.planning.guards import SourceTally, check_guards, find_refusal
from qloader.planning.plan import Plan, PlanHeader
from qloader.planning.policies import PolicyTally, check_policies
from qloader.render.progress import NoProgress, Progress
from qloader.state.lock import now_ms
from qloader.state.records import Lease, RunStatus, SourceRecord, StateHeader
from qloader.state.store import StateStore
from qloader.workspace.identities import find_identity, is_stranger
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.embedding.together import Embedders

DAY_MS = 86_400_000


def apply_plan(
    settings: Settings,
    plan: Plan,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    lease: Lease | None = None,
    listener: Listener = tell_nobody,
    at_present: bool = False,
) -> ApplyResult:
    """Makes the index match, exactly as the plan says.

    Args:
        settings: The config and what follows from it.
        plan: The plan, as read by `planning.planfile.read_plan`.
        progress: Told what goes on.
        should_stop: Asked at each batch edge; True stops there.
        lease: The lease on the state, if this process holds it already; it is given back at the end.
        listener: Told of each document and each batch, see `applying.events`.
        at_present: Read documents as their sources are now, not at the planned revision. Each still has to be as
            planned.

    Raises:
        StalePlanError: The plan was made for another config or rests on another state.
        GuardError: The plan does more than the guards and policies allow.
        LockedError: Another writer holds the state, or took it meanwhile; nothing was written after that.
        ForeignIndexError: The collection is not this state's, or gone.
        InterruptedRunError: `should_stop` said so; what was committed stays.
        QloaderError: Anything else; what was committed stays, and the same plan goes on from there.
    """
    result = _apply(settings, plan, progress or NoProgress(), should_stop, lease, listener, at_present)
    listener(Finished(result))
    return result


def _apply(
    settings: Settings,
    plan: Plan,
    progress: Progress,
    should_stop: Callable[[], bool],
    lease: Lease | None,
    listener: Listener,
    at_present: bool,
) -> ApplyResult:
    header = plan.header
    check_fits_config(settings, header)
    with (
        settings.write_state() as state,
        contextlib.closing(settings.open_index(guard=state.confirm, is_patient=True)) as index,
    ):
        state.lock(lease)
        known = state.header()
        check_state(known, settings.here)
        resumable = find_resumable(header, known, state)
        records = {source.name: source for source in state.sources()}
        documents = {name: record.documents for name, record in records.items()}
        info = index.describe()
        check_index(info, known, documents=sum(documents.values()), collection=settings.collection)
        _check_settings(settings, index, info)
        is_resumed = resumable is not None
        if resumable is not None and resumable.status == "complete":
            _tell_begin(listener, header, is_resumed=True)
            changed = _bring_in_line(settings, index, info)
            return ApplyResult(already=header.summary.changes, serial=resumable.last_serial, settings=changed)
        if not is_resumed:
            _check_guards(settings, plan, records)
        if header.is_empty:
            _tell_begin(listener, header, is_resumed=is_resumed)
            changed = _bring_in_line(settings, index, info)
            return replace(_record_unchanged(settings, state, known, header), settings=changed)
        with settings.embedders() as embedders:
            making = _find_making(settings, header, info, embedders)
            _tell_begin(listener, header, is_resumed=is_resumed)
            run = _Run(settings, plan, state, index, embedders, is_resumed=is_resumed, at_present=at_present)
            changed = () if making else _bring_in_line(settings, index, info, is_bulk=run.is_bulk)
            return replace(run.carry_out(progress, should_stop, listener, making), settings=changed)


def _check_settings(settings: Settings, index: Index, info: CollectionInfo | None) -> None:
    """Refuses settings that the collection that is there can never have, before anything is written.

    Raises:
        ConfigError: The config says another number of shards.
    """
    wanted = settings.config.index.settings
    if info is not None and wanted.shards is not None:
        check_fixed(find_differences(index.settings(), wanted.given), collection=settings.collection)


def _bring_in_line(
    settings: Settings, index: Index, info: CollectionInfo | None, *, is_bulk: bool = False
) -> tuple[str, ...]:
    """Has a collection that is there kept as the config says; asks nothing where the config says nothing.

    Args:
        settings: The config and what follows from it.
        index: The index.
        info: What the collection says of itself; None where there is none.
        is_bulk: Whether a bulk load follows, which would postpone again what is resumed here.

    Returns:
        What was changed, a sentence each.
    """
    if info is None:
        return ()
    wanted = settings.config.index.settings.given
    changed = [one.as_change for one in index.change_settings(wanted)] if wanted else []
    if info.is_postponed and not is_bulk:
        index.resume_indexing()
        changed.append("Resumed the indexing that a bulk load had postponed, which was cut short.")
    return tuple(changed)


def _tell_begin(listener: Listener, header: PlanHeader, *, is_resumed: bool) -> None:
    listener(Started(header, is_resumed))
    for warning in header.warnings:
        listener(warning)


@dataclass(frozen=True, slots=True)
class _Making:
    """A collection that has to be made.

    Attributes:
        dense: How long its dense vectors are; None where it has none.
        is_anew: Whether an empty one of ours, with other vectors, is there in its place.
    """

    dense: int | None
    is_anew: bool = False


def _find_making(
    settings: Settings, header: PlanHeader, info: CollectionInfo | None, embedders: Embedders
) -> _Making | None:
    """What has to be made before points can be written; None where the collection is there and takes the vectors.

    Raises:
        ForeignIndexError: The collection that is there does not take them.
        EmbeddingError: The provider, which alone knows how long its vectors are, cannot be asked.
    """
    if info is None:
        return _Making(embedders.dense_size())
    if not header.summary.chunks_embed or (header.index.action == "none" and settings.has_dense == bool(info.dense)):
        return None
    size = embedders.dense_size()
    if not info.points and info.dense != size:
        return _Making(size, is_anew=True)
    check_vectors(info, size, collection=settings.collection)
    return None


class _Run:
    """One apply after all checks: its record in the state, whatever happens."""

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
        self._at_present = at_present
        self._settings = settings
        self._plan = plan
        self._state = state
        self._index = index
        self._embedders = embedders
        self._is_resumed = is_resumed
        header = plan.header
        self._sources = {
            source.name: settings.open_source(source.name, dates=True)
            for source in header.sources
            if source.name in settings.config.sources
        }

    def carry_out(
        self, progress: Progress, should_stop: Callable[[], bool], listener: Listener, making: _Making | None
    ) -> ApplyResult:
        header = self._plan.header
        records = {source.name: source for source in self._state.sources()}
        self._identities = {n: find_identity(source, records.get(n)) for n, source in self._sources.items()}
        self._retyped = _retyped(header, records)
        run_id = self._begin(header)
        try:
            known = self._state.header()
            assert known is not None
            labels = self._labels(known)
            announce(self._plan, run_id, self._state, labels, resumed=self._is_resumed)
            if making is not None:
                if making.is_anew:
                    self._index.drop()
                wanted = self._settings.config.index.settings.given
                self._index.create(lineage=known.lineage, pipeline=known.pipeline, dense=making.dense, settings=wanted)
            with self._postponed_indexing(), progress.phase("apply", header.summary.changes) as phase:

                def told(event: Event) -> None:
                    listener(event)
                    if isinstance(event, BatchDone):
                        phase.advance(event.documents)

                totals = self._execute(run_id, known, labels, told, should_stop)
            self._finish(run_id, known, totals)
        except QloaderError as error:
            with contextlib.suppress(QloaderError):
                self._state.finish_run(run_id, "failed", summary={}, error=str(error))
                if isinstance(error, SourceError | EmbeddingError):
                    self._say_what_is_done(error)
            raise
        if totals.stopped:
            done = sum(totals.actions.values()) + totals.already
            raise InterruptedRunError(
                f"stopped after {done:,} of {counted(header.summary.changes, 'change')}; "
                "they are in the index and recorded",
                remedy="Run the same `qloader apply` again to go on from there, or plan anew.",
            )
        return replace(totals.result(), dense=_dense_work(self._embedders))

    @property
    def is_bulk(self) -> bool:
        """Whether so much is embedded that the graph of dense vectors is better built once, at the end."""
        bulk = self._settings.config.index.settings.bulk_chunks
        return bulk is not None and self._plan.header.summary.chunks_embed >= bulk

    @contextlib.contextmanager
    def _postponed_indexing(self) -> Iterator[None]:
        """Postpones indexing in a bulk load; it is resumed however that ends, and after a crash by the next apply."""
        if not self.is_bulk:
            yield
            return
        self._index.postpone_indexing()
        try:
            yield
        except BaseException:
            with contextlib.suppress(QloaderError):
                self._index.resume_indexing()
            raise
        self._index.resume_indexing()

    def _say_what_is_done(self, error: SourceError | EmbeddingError) -> None:
        """A source or a provider knows nothing of the batches before the one that it failed in."""
        done = self._state.runs(1)[0].document_count
        if done:
            kept = "1 document is" if done == 1 else f"{done:,} documents are"
            error.remedy = f"{error.remedy} {kept} applied and recorded: run the same command again to go on.".lstrip()

    def _begin(self, header: PlanHeader) -> int:
        pipeline = self._settings.pipeline
        return self._state.begin_run(
            plan=header.digest,
            name=header.name,
            collection=header.index.collection,
            location=header.index.location,
            pipeline=pipeline.fingerprint,
            pipeline_settings={"chunking": dict(pipeline.chunking), "embedding": dict(pipeline.embedding)},
            sources={source.name: (source.type, self._identities.get(source.name, "")) for source in header.sources},
        )

    def _labels(self, known: StateHeader) -> dict[str, PointLabels]:
        """What the payloads of each source say."""
        reusable = frozenset(
            fingerprint
            for fingerprint, parts in self._state.pipelines().items()
            if parts.get("embedding") == self._settings.pipeline.embedding
        )
        return {
            source.name: PointLabels(
                source.type, known.lineage, known.pipeline, reusable, is_retyped=source.name in self._retyped
            )
            for source in self._plan.header.sources
        }

    def _execute(
        self,
        run_id: int,
        known: StateHeader,
        labels: Mapping[str, PointLabels],
        listener: Listener,
        should_stop: Callable[[], bool],
    ) -> Totals:
        header = self._plan.header
        parts = Parts(
            sources=self._sources,
            revisions={} if self._at_present else {source.name: source.revision for source in header.sources},
            index=self._index,
            state=self._state,
            lineage=known.lineage,
            is_mixed=known.mixed,
            chunker=self._settings.chunker(),
            embedder=self._embedders,
            batch_size=self._settings.config.ingestion.batch.size,
            should_stop=should_stop,
            listener=listener,
        )
        return execute(self._plan, run_id, parts, labels, resumed=self._is_resumed)

    def _finish(self, run_id: int, known: StateHeader, totals: Totals) -> None:
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
        self._index.mark(lineage=known.lineage, pipeline=known.pipeline)
        _prune(self._settings, self._state)


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


def check_fits_config(settings: Settings, header: PlanHeader) -> None:
    """Refuses a plan that was made for another config.

    Raises:
        StalePlanError: Names what differs.
    """
    config = settings.config
    check_config(header, settings.here)
    for source in header.sources:
        named = config.sources.get(source.name)
        found = named.type if named else "missing"
        if found != source.type and (named or source.documents):
            raise StalePlanError(
                f"source {source.name} is of type {source.type} in the plan, and {found} in the config",
                remedy="Use the config that the plan was made with (-c), or plan again.",
            )


def _check_guards(settings: Settings, plan: Plan, records: Mapping[str, SourceRecord]) -> None:
    tallies = {name: SourceTally(record.documents) for name, record in records.items()}
    header = plan.header
    looked_for = [key for policy in header.policies for key in policy.required_metadata]
    policy_tally = PolicyTally(settings.policies(), looked_for)
    for change in plan.changes():
        tallies.setdefault(change.source, SourceTally(0)).count(change)
        policy_tally.count(change)
    estimate = estimate_plan(header, settings.prices)
    outcomes = policy_tally.conclude(header, plan.changes, estimate=estimate, allowed=header.allowed_policies)
    empty = [source.name for source in header.sources if source.complete and not source.documents]
    named = [source.name for source in header.sources if source.name in settings.config.sources]
    strangers = [name for name in named if is_stranger(settings.open_source(name), records.get(name))]
    guards = partial(
        check_guards,
        tallies,
        settings.limits,
        allowed=header.allowed_deletes,
        empty=empty,
        strangers=strangers,
        retyped=_retyped(header, records),
    )
    if refusal := find_refusal(guards, partial(check_policies, outcomes)):
        raise refusal


def _retyped(header: PlanHeader, records: Mapping[str, SourceRecord]) -> set[str]:
    """The plan's sources whose documents in the state are of another type."""
    return {s.name for s in header.sources if s.name in records and records[s.name].is_retyped(s.type)}


def _prune(settings: Settings, state: StateStore) -> None:
    """Forgets what is older than `state.retention`, by whole days, so that an apply seldom has anything to do here."""
    retention = settings.config.state.retention
    if retention is None:
        return
    before = (now_ms() - round(retention * 1000)) // DAY_MS * DAY_MS
    with contextlib.suppress(StateError):  # the apply is done; what could not be forgotten is by a later one
        state.prune(before)


def _record_unchanged(
    settings: Settings, state: StateStore, known: StateHeader | None, header: PlanHeader
) -> ApplyResult:
    if known is None:
        return ApplyResult()
    whole = [] if header.selection else [source for source in header.sources if source.complete]
    state.record_unchanged(header.digest, {source.name: source.revision for source in whole}, {})
    _prune(settings, state)
    return ApplyResult(serial=known.serial)
