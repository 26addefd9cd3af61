"""Apply: a plan's changes through five stages, a batch at a time.

    fetch -> chunk -> embed -> write -> commit

The first three read and compute; only `write` touches the index, and never before the intent is in the
state. Each stage takes a batch and hands on a batch, so that they can run side by side one day without
a change to the protocol. docs/reliability.md says what a crash after each step leaves, and who mends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from qloader.applying.events import BatchDone, DocumentDone, Listener, tell_nobody
from qloader.applying.faults import find_faults
from qloader.applying.live import Live
from qloader.applying.result import ApplyResult
from qloader.applying.work import Applied, NewPoint, PointLabels, Work, plan_removal, plan_write
from qloader.chunking.chunker import Chunker
from qloader.documents.document import SKIP_REASONS, Document, Skipped
from qloader.documents.hashing import content_hash, metadata_hash, point_keys
from qloader.embedding.protocol import DocumentEmbedder
from qloader.errors import EmbeddingError, SourceError
from qloader.index.protocol import Index, Point, Vectors
from qloader.planning.plan import Change, ChunkCounts, Plan
from qloader.sources.protocol import Source
from qloader.state.records import DocumentRecord, FailureRecord, IntentRecord
from qloader.state.store import StateStore

POINTS_A_BATCH = 4_000
"""A batch ends when it would write more points than this, however few documents that is: it bounds memory."""

CHARACTERS_A_BATCH = 16_000_000


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
        batch_size: Documents in a batch, at most.
        should_stop: Asked at each batch edge; True ends the run there.
        listener: Told of each change and each batch when it is committed.
        live: The collection that `index` is made beside; None where `index` is it.
    """

    sources: Mapping[str, Source]
    revisions: Mapping[str, str | None]
    index: Index
    state: StateStore
    lineage: str
    chunker: Chunker
    embedder: DocumentEmbedder
    is_mixed: bool = False
    batch_size: int = 256
    should_stop: Callable[[], bool] = lambda: False
    listener: Listener = tell_nobody
    live: Live | None = None


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


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A change with what is known about it: the state's side and, where it will exist, the fetched document."""

    change: Change
    applied: Applied
    document: Document | None


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
            if resumed and _is_done(change, state, labels, intents):
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
    for number, batch in enumerate(_batches(plan.changes(), parts.batch_size), 1):
        if parts.should_stop():
            totals.stopped = True
            break
        pending = [change for change in batch if not (resumed and _is_done(change, parts.state, labels, intents))]
        totals.already += len(batch) - len(pending)
        failed_before = len(totals.failures)
        loaded = list(_fetch(pending, parts, intents, totals))
        works: Sequence[Work] = [_chunk(item, parts.chunker, labels) for item in loaded]
        if parts.live is not None:
            works = [*works, *_carry(pending, totals.failures[failed_before:], parts, parts.live, intents)]
        works, vectors = _embed(works, parts, totals)
        _write(works, vectors, run_id, parts)
        _commit(works, run_id, parts, totals)
        parts.state.checkpoint()
        done += len(batch)
        _tell(parts.listener, batch, pending, totals.failures[failed_before:])
        parts.listener(BatchDone(number, len(batch), done, totals.embedded, totals.serial))
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
    for start in range(0, len(gone), parts.batch_size):
        works = []
        for source, document_id in gone[start : start + parts.batch_size]:
            change = Change("delete", source, document_id, None, None, ChunkCounts(), "not planned any more")
            works.append(plan_removal(change, _applied(change, parts, left)))
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


def _batches(changes: Iterable[Change], size: int) -> Iterator[list[Change]]:
    batch: list[Change] = []
    points = characters = 0
    for change in changes:
        weight = change.chunks.add + change.chunks.keep + change.chunks.remove
        length = change.after.bytes if change.after else 0
        full = len(batch) >= size or points + weight > POINTS_A_BATCH or characters + length > CHARACTERS_A_BATCH
        if batch and full:
            yield batch
            batch, points, characters = [], 0, 0
        batch.append(change)
        points += weight
        characters += length
    if batch:
        yield batch


def _is_done(
    change: Change,
    state: StateStore,
    labels: Mapping[str, PointLabels],
    intents: Mapping[tuple[str, str], IntentRecord],
) -> bool:
    # Of a repair the state cannot tell; to do it again costs a look at the document's points.
    if change.action == "repair" or (change.source, change.id) in intents:
        return False
    record = state.document(change.source, change.id)
    if change.after is None:
        return record is None or record.is_deleted
    return (
        not labels[change.source].is_retyped
        and record is not None
        and not record.is_deleted
        and record.content.hex() == change.after.content
        and record.metadata.hex() == change.after.metadata
        and record.pipeline == labels[change.source].pipeline
    )


def _fetch(
    changes: Sequence[Change],
    parts: Parts,
    intents: Mapping[tuple[str, str], IntentRecord],
    totals: Totals,
) -> Iterator[_Loaded]:
    for name, group in groupby(changes, key=lambda change: change.source):
        members = list(group)
        wanted = [change.id for change in members if change.after is not None]
        if wanted and name not in parts.sources:
            raise SourceError(f"source {name} is in the plan but not in the config", remedy="Plan again.")
        fetched = parts.sources[name].fetch(wanted, revision=parts.revisions.get(name)) if wanted else iter(())
        for change in members:
            applied = _applied(change, parts, intents)
            if change.after is None:
                yield _Loaded(change, applied, None)
                continue
            document = _verify(change, next(fetched), totals)
            if document is not None:
                yield _Loaded(change, applied, document)


def _applied(change: Change, parts: Parts, intents: Mapping[tuple[str, str], IntentRecord]) -> Applied:
    old_id = change.from_id if change.from_id is not None else change.id
    record = parts.state.document(change.source, old_id)
    before = None if record is None or record.is_deleted else record
    if change.from_id is not None:
        points = _touched_points(change.source, change.id, None, parts, intents)
        return Applied(before, points, _touched_points(change.source, change.from_id, before, parts, intents))
    points = _touched_points(change.source, change.id, before, parts, intents)
    if change.action == "repair" and not points:
        # `plan --refresh` saw what is wrong, but writes nothing down: look at just this document again.
        points = find_faults(parts.index, parts.lineage, (change.source, change.id), before)
    return Applied(before, points)


def _touched_points(
    source: str,
    document_id: str,
    before: DocumentRecord | None,
    parts: Parts,
    intents: Mapping[tuple[str, str], IntentRecord],
) -> tuple[bytes, ...]:
    """The points of a document that an interrupted batch may have touched.

    Of a run that was lost with its machine only the announcement is left: the index tells what became of the document.
    It does not tell whose pipeline made a vector, so that where there were two, none of the document's is believed.
    """
    intent = intents.get((source, document_id))
    if intent is None:
        return ()
    if intent.reason != "announced":
        return intent.points
    faults = find_faults(parts.index, parts.lineage, (source, document_id), before)
    doubtful = point_keys(source, document_id, before.chunks) if parts.is_mixed and before is not None else ()
    return tuple(dict.fromkeys((*intent.points, *faults, *doubtful)))


def _verify(change: Change, result: Document | Skipped, totals: Totals) -> Document | None:
    """The fetched document if it is the planned one; else a failure is noted and it stays as it was."""
    if isinstance(result, Skipped):
        detail = f": {result.detail}" if result.detail else ""
        reason = f"{SKIP_REASONS[result.reason]}{detail}"
        totals.failures.append(FailureRecord(change.source, change.id, result.reason, reason))
        return None
    assert change.after is not None
    same_text = content_hash(result.text).hex() == change.after.content
    same_metadata = metadata_hash(result.title, result.uri, result.metadata).hex() == change.after.metadata
    if same_text and same_metadata:
        return result
    what = "text" if not same_text else "title, uri or metadata"
    totals.failures.append(
        FailureRecord(change.source, change.id, "changed", f"its {what} changed in the source since the plan was made")
    )
    return None


def _carry(
    changes: Sequence[Change],
    failures: Sequence[FailureRecord],
    parts: Parts,
    live: Live,
    intents: Mapping[tuple[str, str], IntentRecord],
) -> list[Work]:
    """What keeps documents as they are that could not be read as they were planned."""
    failed = {(failure.source, failure.document_id) for failure in failures}

    def applied(source: str, document_id: str) -> Applied:
        record = parts.state.document(source, document_id)
        before = None if record is None or record.is_deleted else record
        return Applied(before, _touched_points(source, document_id, before, parts, intents))

    return live.carry((change for change in changes if (change.source, change.id) in failed), applied)


def _chunk(item: _Loaded, chunker: Chunker, labels: Mapping[str, PointLabels]) -> Work:
    if item.document is None:
        return plan_removal(item.change, item.applied)
    chunks = chunker.split(item.document.text, item.document.syntax)
    return plan_write(item.change, item.document, chunks, item.applied, labels[item.change.source])


def _embed(works: Sequence[Work], parts: Parts, totals: Totals) -> tuple[Sequence[Work], dict[bytes, Vectors]]:
    """Vectors for every chunk hash that needs one: taken over from a moved document, or embedded once.

    A document with a text that cannot be embedded is left as it was and noted as a failure; the others go on.

    Returns:
        The works that can be done, and their vectors.
    """
    donors = {point: digest for work in works for digest, point in work.donors.items()}
    vectors: dict[bytes, Vectors] = {}
    if donors:
        for stored in parts.index.retrieve(list(donors), with_vectors=True):
            if stored.vectors.keys() >= parts.embedder.names:
                vectors[donors[stored.id]] = stored.vectors
    if parts.live is not None:
        vectors |= parts.live.vectors(works, parts.embedder.names)
    while True:
        texts: dict[bytes, str] = {}
        for work in works:
            for point in _new_points(work):
                if point.chunk not in vectors:
                    texts[point.chunk] = point.text
        try:
            vectors.update(zip(texts, parts.embedder.embed_documents(list(texts.values())), strict=True))
        except EmbeddingError as error:
            if not error.positions:
                raise
            # Once more without them: what came back is in the embedding cache.
            works = _without(works, {list(texts)[p] for p in error.positions}, error, parts.live, totals)
            continue
        totals.embedded += len(texts)
        return works, vectors


def _without(
    works: Sequence[Work], chunks: set[bytes], error: EmbeddingError, live: Live | None, totals: Totals
) -> list[Work]:
    """The works that need none of these chunks; the others are failures."""
    left = []
    for work in works:
        if any(point.chunk in chunks for point in _new_points(work)):
            change = work.change
            if not work.is_carried:
                totals.failures.append(FailureRecord(change.source, change.id, "embedding", str(error)))
            if live is not None and live.holds(change):
                totals.homeless.append(f"{change.address}: {error}")
        else:
            left.append(work)
    return left


def _write(works: Sequence[Work], vectors: Mapping[bytes, Vectors], run_id: int, parts: Parts) -> None:
    """New before old, and the intent before both: search never misses a document that is being updated."""
    if not works:
        return
    parts.state.record_intents(run_id, [intent for work in works for intent in work.intents])
    new = [Point(p.id, vectors[p.chunk], p.payload) for work in works for p in _new_points(work)]
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
    totals.actions.update(work.change.action for work in works if not work.is_carried)
    totals.carried.update((r.source, r.id) for r in (w.record for w in works if w.is_carried) if r is not None)


def _new_points(work: Work) -> Iterator[NewPoint]:
    return (point for point in work.points if point.id not in work.kept)
