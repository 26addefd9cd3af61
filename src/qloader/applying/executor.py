"""Apply: a plan's changes through five stages, a batch at a time.

    fetch -> chunk -> embed -> write -> commit

The first three read and compute, and may run ahead of the others (`lookahead.py`, `preparing.py`); only `write` touches
the index, and never before the intent is in the state. docs/reliability.md says what a crash after each step leaves,
and who mends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qloader.applying.events import Adapted, BatchDone, DocumentDone, Listener, tell_nobody
from qloader.applying.live import Live
from qloader.applying.lookahead import ONE_BY_ONE, Bounds, Lookahead
from qloader.applying.pacing import FULL_PACE, Allowance, Pace
from qloader.applying.preparing import Preparation, Prepared, is_done, is_unseen, look_up_applied
from qloader.applying.reading import Reader
from qloader.applying.result import ApplyResult
from qloader.applying.work import PointLabels, Work, plan_removal
from qloader.chunking.chunker import Chunker
from qloader.documents.document import Skipped
from qloader.documents.hashing import content_hash
from qloader.embedding.protocol import DocumentEmbedder
from qloader.errors import SourceError
from qloader.index.protocol import Index, Point, Vectors
from qloader.planning.plan import Change, ChunkCounts, Plan
from qloader.sources.protocol import Source
from qloader.state.records import DocumentRecord, FailureRecord
from qloader.state.store import StateStore
from qloader.telemetry.recorder import NOBODY, Recorder


@dataclass(frozen=True, slots=True)
class Parts:
    """What an apply works with; everything is open already and stays open.

    Attributes:
        sources: By name; a source that only loses documents may be missing.
        revisions: The planned revision of each source, by name: documents are read as they were then.
        index: The collection, created and this state's own.
        state: Locked for writing.
        lineage: Its lineage.
        is_mixed: Whether points may be of more than one pipeline.
        chunker: Cuts texts.
        embedder: Makes all vectors of a point.
        bounds: How large a batch may be, and how much may be prepared ahead.
        timeout: Seconds without a sign of life after which a source or a provider that works ahead is given up.
        pace: Watches memory.
        reader: Gives a source's reader, where it is read otherwise than in a thread of this process.
        should_stop: Asked at each batch edge; True ends the run there.
        listener: Told of each change and each batch when it is committed.
        live: The collection that `index` is made beside; None where `index` is it.
        seal_if_due: Called when a batch is committed: has the index hold less in memory where it holds too much.
        recorder: Told how long each stage takes.
    """

    sources: Mapping[str, Source]
    revisions: Mapping[str, str | None]
    index: Index
    state: StateStore
    lineage: str
    chunker: Chunker
    embedder: DocumentEmbedder
    is_mixed: bool = False
    bounds: Bounds = ONE_BY_ONE
    timeout: float = 60.0
    pace: Pace = FULL_PACE
    reader: Callable[[str], Reader | None] | None = None
    should_stop: Callable[[], bool] = lambda: False
    listener: Listener = tell_nobody
    live: Live | None = None
    seal_if_due: Callable[[], None] = lambda: None
    recorder: Recorder = NOBODY


@dataclass(slots=True)
class Totals:
    """Counts that grow while a run goes on.

    Attributes:
        carried: (source, id) of documents that were kept as they were in a collection made beside the live one.
        homeless: Addresses of those that could not even be kept, since their texts cannot be embedded.
    """

    actions: Counter[str] = field(default_factory=Counter)
    already: int = 0
    embedded: int = 0
    failures: list[FailureRecord] = field(default_factory=list)
    serial: int = 0
    stopped: bool = False
    carried: set[tuple[str, str]] = field(default_factory=set)
    homeless: list[str] = field(default_factory=list)

    def note(self, prepared: Prepared) -> None:
        """Counts what is known of a batch before it is written."""
        self.already += len(prepared.batch.changes) - len(prepared.pending)
        self.failures += prepared.failures
        self.homeless += prepared.homeless
        self.embedded += prepared.embedded

    def result(self) -> ApplyResult:
        """The counts as they stand."""
        return ApplyResult(
            created=self.actions["create"],
            updated=self.actions["update"],
            moved=self.actions["move"],
            deleted=self.actions["delete"],
            repaired=self.actions["repair"],
            already=self.already,
            embedded=self.embedded,
            failures=tuple(self.failures),
            serial=self.serial,
        )


def announce(plan: Plan, run_id: int, state: StateStore, labels: Mapping[str, PointLabels], *, resumed: bool) -> None:
    """Tells the state which documents a run may touch, before it touches the index at all.

    Args:
        plan: The plan.
        run_id: The run that `state.begin_run` recorded.
        state: Locked for writing.
        labels: What the payloads of each source say, by source name.
        resumed: As for `execute`: what was done by then is not touched.

    Raises:
        StateError: What is announced cannot be kept.
    """

    def touched() -> Iterator[tuple[str, str]]:
        intents = {(i.source, i.document_id): i for i in state.intents()} if resumed else {}
        for change in plan.changes():
            if resumed and is_done(change, state, labels, intents):
                continue
            yield change.source, change.id
            if change.from_id is not None:
                yield change.source, change.from_id

    state.announce(run_id, touched())


def execute(plan: Plan, run_id: int, parts: Parts, labels: Mapping[str, PointLabels], *, resumed: bool) -> Totals:
    """Applies a plan's changes.

    Args:
        plan: The plan; the caller has checked that it fits the state, the config and the index.
        run_id: The run that `state.begin_run` recorded.
        parts: What to work with.
        labels: What the payloads of each source say, by source name.
        resumed: An earlier apply of this plan was interrupted: look what it had done.

    Returns:
        What was done. Documents whose source moved on are left as they were and listed as failures.

    Raises:
        SourceError: A source is gone; what was committed stays.
        IndexUnavailableError: The index is gone; what was committed stays.
        StateError: The state cannot be written; what was committed stays.
    """
    header = parts.state.header()
    totals = Totals(serial=header.serial if header else 0)
    intents = {(i.source, i.document_id): i for i in parts.state.intents(before_run=run_id)}
    done = 0

    def adapted(allowance: Allowance) -> None:
        parts.listener(Adapted(allowance.of(parts.bounds.size), allowance.is_paused, allowance.memory))

    with Preparation(parts, labels, intents, resumed=resumed) as stages:
        ahead = Lookahead(
            plan.changes(), stages, parts.bounds, pace=parts.pace, recorder=parts.recorder, adapted=adapted
        )
        while ahead:
            if parts.should_stop():
                totals.stopped = True
                break
            batch, prepared = ahead.take()
            totals.note(prepared)
            works, vectors, source = prepared.works, prepared.vectors, prepared.source
            span = parts.recorder.span
            with span("write", source):
                _write(works, vectors, run_id, parts)
            with span("commit", source):
                _commit(works, run_id, parts, totals)
                parts.state.checkpoint()
            done += len(batch.changes)
            _tell(parts.listener, batch.changes, prepared.pending, prepared.failures)
            parts.listener(BatchDone(batch.number, len(batch.changes), done, totals.embedded, totals.serial))
            parts.seal_if_due()
    return totals


def sweep(plan: Plan, run_id: int, parts: Parts, carried: Collection[tuple[str, str]]) -> int:
    """Removes documents that an earlier plan brought into a collection made beside the live one, and this does not.

    So are points that are left of a batch that was cut short, where this plan did not come upon their document.

    Args:
        plan: The plan, of every document there is.
        run_id: The run.
        parts: What to work with.
        carried: (source, id) of documents that stay though the plan says otherwise.

    Returns:
        How many.
    """
    living = ((change.source, change.id) for change in plan.changes() if change.after is not None)
    held = ((record.source, record.id) for record in parts.state.documents())
    left = {(intent.source, intent.document_id): intent for intent in parts.state.intents()}
    gone = [*left, *(key for key in _missing_from(held, living) if key not in carried and key not in left)]
    for start in range(0, len(gone), parts.bounds.size):
        works = []
        for source, document_id in gone[start : start + parts.bounds.size]:
            change = Change("delete", source, document_id, None, None, ChunkCounts(), "not planned any more")
            works.append(plan_removal(change, look_up_applied(change, parts, left)))
        _write(works, {}, run_id, parts)
        _commit(works, run_id, parts, Totals())
    return len(gone)


def _missing_from(keys: Iterable[tuple[str, str]], others: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Keys that are not among others; both in order."""
    rest = iter(others)
    other = next(rest, None)
    for key in keys:
        while other is not None and other < key:
            other = next(rest, None)
        if key != other:
            yield key


def first_text(
    plan: Plan, sources: Mapping[str, Source], revisions: Mapping[str, str | None], chunker: Chunker
) -> str | None:
    """A text that a plan embeds, whatever else it does: the first chunk of its first document of which none is kept.

    Returns:
        The text; None where there is no such document, or it cannot be had just now.
    """
    for change in plan.changes():
        if change.after is None or not change.chunks.add or change.chunks.keep or change.source not in sources:
            continue
        if is_unseen(change):
            continue
        try:
            (document,) = sources[change.source].fetch([change.id], revision=revisions.get(change.source))
        except SourceError:
            return None  # the apply will meet it too, and say what was done by then
        if isinstance(document, Skipped) or content_hash(document.text).hex() != change.after.content:
            return None
        return next((chunk.text for chunk in chunker.split(document.text, document.syntax)), None)
    return None


def _tell(
    listener: Listener, batch: Sequence[Change], pending: Sequence[Change], failures: Sequence[FailureRecord]
) -> None:
    """Tells what became of each change of a batch that is committed."""
    waiting = {(change.source, change.id) for change in pending}
    failed = {(failure.source, failure.document_id): failure for failure in failures}
    for change in batch:
        key = change.source, change.id
        if key not in waiting:
            listener(DocumentDone(change, "already"))
        elif failure := failed.get(key):
            listener(DocumentDone(change, "left", failure.reason, failure.detail))
        else:
            listener(DocumentDone(change, "applied"))


def _write(works: Sequence[Work], vectors: Mapping[bytes, Vectors], run_id: int, parts: Parts) -> None:
    """New before old, and the intent before both: search never misses a document that is being updated."""
    if not works:
        return
    parts.state.record_intents(run_id, [intent for work in works for intent in work.intents])
    new = [Point(p.id, vectors[p.chunk], p.payload) for work in works for p in work.new_points()]
    labelled = [(p.id, p.payload) for work in works for p in work.points if p.id in work.kept]
    stale = [point for work in works for point in work.stale]
    if new:
        parts.index.upsert(new)
    if labelled:
        parts.index.set_payloads(labelled)
    if stale:
        parts.index.delete(stale)
    parts.index.flush()


def _commit(works: Sequence[Work], run_id: int, parts: Parts, totals: Totals) -> None:
    if not works:
        return
    written: list[DocumentRecord] = [work.record for work in works if work.record is not None]
    totals.serial = parts.state.commit_batch(
        run_id,
        written=written,
        deleted=[key for work in works for key in work.forget],
        settled=[key for work in works for key in work.settled],
    )
    totals.actions.update(work.change.action for work in works if not work.is_carried or is_unseen(work.change))
    totals.carried.update((r.source, r.id) for r in (w.record for w in works if w.is_carried) if r is not None)
