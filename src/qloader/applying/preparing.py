"""What is done with a batch before it is written: its documents are read, looked up in state and index, embedded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from qloader.applying.faults import find_faults
from qloader.applying.live import Live
from qloader.applying.lookahead import LOOK, Batch, name_all
from qloader.applying.reading import Portion, ReadDocument, Reader, ThreadReader, Wanted, read_portion
from qloader.applying.work import Applied, NewPoint, PointLabels, Work, plan_removal, plan_write
from qloader.crew import Crew
from qloader.documents.document import SKIP_REASONS, Skipped
from qloader.errors import EmbeddingError, SourceError
from qloader.index.protocol import DENSE_VECTOR, SPARSE_VECTOR, Vectors
from qloader.planning.plan import Change
from qloader.planning.planner import UNSEEN
from qloader.state.records import DocumentRecord, FailureRecord, IntentRecord
from qloader.state.store import StateStore
from qloader.stopping import beat

if TYPE_CHECKING:
    from qloader.applying.executor import Parts

T = TypeVar("T")

FIRST_ANSWER = 10
"""So many times as long as any other an embedder may take for its first answer: a model is loaded, or downloaded."""


@dataclass(slots=True, eq=False)
class Prepared:
    """A batch as far as it is prepared.

    Attributes:
        batch: The batch.
        source: The source that all of it is of; empty where it is of several.
        pending: Its changes, but for those that an earlier apply of the plan has made.
        portions: Changes of one source each, and their documents as they are read.
        failures: What could not be done, as far as it is known.
        works: What is to be done.
        vectors: The vectors that are there, by chunk hash.
        embedding: The vectors that are being made.
        embedded: How many were made.
        homeless: Addresses of documents that the live collection holds and the new one cannot.
    """

    batch: Batch
    source: str
    pending: list[Change]
    portions: list[tuple[list[Change], Future[Sequence[ReadDocument | Skipped]] | None]] = field(default_factory=list)
    failures: list[FailureRecord] = field(default_factory=list)
    works: Sequence[Work] = ()
    vectors: dict[bytes, Vectors] = field(default_factory=dict)
    embedding: Future[_Embedded] | None = None
    embedded: int = 0
    homeless: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Embedded:
    """What came of an embedding: vectors by chunk hash, and works that cannot be done, with the reason."""

    vectors: dict[bytes, Vectors]
    works: Sequence[Work]
    refused: list[tuple[Work, EmbeddingError]] = field(default_factory=list)
    count: int = 0

    def leave_out(self, chunks: set[bytes], error: EmbeddingError) -> None:
        """Leaves out the works that need one of these chunks."""
        left = []
        for work in self.works:
            if any(point.chunk in chunks for point in work.new_points()):
                self.refused.append((work, error))
            else:
                left.append(work)
        self.works = left


class _Silence:
    """How long nothing was heard of who is waited for.

    Only time in which this process did run counts: one that was stopped, or in the engine, hears nothing of others that
    are well.
    """

    def __init__(self) -> None:
        self._who = ""
        self._beats = -1
        self._seconds = 0.0
        self._looked_at = 0.0

    def of(self, who: str, beats: int) -> float:
        """Seconds since the last sign of life, as far as somebody looked; to be asked every second or so."""
        now = time.monotonic()
        if (who, beats) != (self._who, self._beats):
            self._who, self._beats, self._seconds = who, beats, 0.0
        else:
            self._seconds += min(now - self._looked_at, 2 * LOOK)
        self._looked_at = now
        return self._seconds


class Preparation:
    """Prepares batches; see `lookahead.Stages`. Where nothing may run ahead, all is done here, when it is asked for.

    Args:
        parts: What to work with.
        labels: What the payloads of each source say, by source name.
        intents: What interrupted batches may have touched.
        resumed: An earlier apply of this plan was interrupted: look what it had done.
    """

    def __init__(
        self,
        parts: Parts,
        labels: Mapping[str, PointLabels],
        intents: Mapping[tuple[str, str], IntentRecord],
        *,
        resumed: bool,
    ) -> None:
        self._parts = parts
        self._labels = labels
        self._intents = intents
        self._resumed = resumed
        self._readers: dict[str, Reader] = {}
        is_ahead = parts.bounds.ahead > 0
        # BM25 is computed in no time, and holds Python's lock: only a provider is worth a thread.
        self._embedder = Crew(1, "embedder") if is_ahead and DENSE_VECTOR in parts.embedder.names else None
        self._has_answered = self._is_given_up = False
        self._silence = _Silence()
        self._tell: Callable[[Future[Any]], None] = lambda future: None

    def close(self, *, patience: float = 0.0) -> None:
        """Ends whoever works ahead; nothing of it is left.

        Args:
            patience: Seconds that requests under way to a provider are given to come back: they are paid for.
        """
        for reader in self._readers.values():
            reader.close()
        if self._embedder is not None:
            self._embedder.close(patience=0.0 if self._is_given_up else patience)

    def __enter__(self) -> Preparation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_at_once = kind is not None and not issubclass(kind, Exception)  # Ctrl-C, for the second time
        self.close(patience=0.0 if is_at_once else self._parts.timeout)

    def begin(self, batch: Batch) -> Prepared:
        """Has its documents read."""
        parts, changes = self._parts, batch.changes
        pending = changes
        if self._resumed:
            pending = [c for c in changes if not is_done(c, parts.state, self._labels, self._intents)]
        source = changes[0].source if changes[0].source == changes[-1].source else ""
        prepared = Prepared(batch, source, pending)
        to_read = [c for c in pending if parts.live is None or not is_unseen(c)]
        for name, group in groupby(to_read, key=lambda change: change.source):
            members = list(group)
            wanted = [change for change in members if change.after is not None]
            if not wanted:
                prepared.portions.append((members, None))
                continue
            if name not in parts.sources:
                raise SourceError(f"source {name} is in the plan but not in the config", remedy="Plan again.")
            if not parts.bounds.ahead:
                prepared.portions.append((members, _done(list(self._read_here(name, members)))))
                continue
            reader = self._reader(name)
            size = reader.most or len(members)
            for start in range(0, len(members), size):
                some = members[start : start + size]
                prepared.portions.append((some, self._watched(reader.submit(self._portion(name, some)))))
        return prepared

    def is_read(self, prepared: Prepared) -> bool:
        """Whether all its documents are read, or could not be."""
        return all(future is None or future.done() for _, future in prepared.portions)

    def look_up(self, prepared: Prepared) -> None:
        """Looks up what state and index hold, and has what has to be embedded embedded."""
        parts, works = self._parts, list[Work]()
        for members, future in prepared.portions:
            results = iter(()) if future is None else iter(future.result())
            for change in members:
                if change.after is None:
                    works.append(plan_removal(change, look_up_applied(change, parts, self._intents)))
                    continue
                read = _verify(change, next(results), prepared.failures)
                if read is not None:
                    applied = look_up_applied(change, parts, self._intents)
                    works.append(plan_write(change, read, applied, self._labels[change.source]))
        prepared.portions = []  # the texts stand in the works
        if parts.live is not None:
            failed = {(failure.source, failure.document_id) for failure in prepared.failures}
            kept = [c for c in prepared.pending if is_unseen(c) or (c.source, c.id) in failed]
            works += _carry(kept, parts, parts.live, self._intents)
        prepared.works = works
        prepared.vectors = _taken_over(works, parts)
        if self._embedder is not None:
            known = dict(prepared.vectors)
            prepared.embedding = self._watched(
                self._embedder.submit(lambda: self._embed(works, known, prepared.source))
            )

    def is_ready(self, prepared: Prepared) -> bool:
        """Whether its vectors are there; where nobody makes them ahead, they are made by `finish`."""
        return prepared.embedding is None or prepared.embedding.done()

    def finish(self, prepared: Prepared) -> None:
        """Takes the vectors in; documents with a text that cannot be embedded are left as they were."""
        if prepared.embedding is None:
            found = self._embed(prepared.works, prepared.vectors, prepared.source)
        else:
            found = prepared.embedding.result()
        self._has_answered = True
        live = self._parts.live
        for work, error in found.refused:
            change = work.change
            if not work.is_carried:
                prepared.failures.append(FailureRecord(change.source, change.id, "embedding", str(error)))
            if live is not None and live.holds(change):
                prepared.homeless.append(f"{change.address}: {error}")
        prepared.works, prepared.vectors, prepared.embedded = found.works, found.vectors, found.count

    def check(self, prepared: Prepared) -> None:
        """Raises where whoever is waited for has not been heard of for `timeout` seconds.

        Raises:
            SourceError: A source.
            EmbeddingError: The provider.
        """
        limit = self._parts.timeout
        for members, future in prepared.portions:
            source = members[0].source
            reader = self._readers.get(source)
            if future is None or future.done() or reader is None:
                continue
            if self._silence.of(source, reader.beats) >= limit:
                raise SourceError(
                    f"nothing was heard of the source {source} for {limit:g} s, at {reader.at}",
                    remedy="Try again later. If a single document may take so long, raise ingestion.parallel.timeout.",
                )
            return
        crew, embedding = self._embedder, prepared.embedding
        if crew is None or embedding is None or embedding.done():
            return
        limit *= 1 if self._has_answered else FIRST_ANSWER
        if self._silence.of("", crew.stop.beats) >= limit:
            self._is_given_up = True
            raise EmbeddingError(
                f"nothing was heard of {self._parts.embedder.label} for {limit:g} s; it has the texts of "
                f"{name_all(prepared.pending)}",
                remedy="Try again later: what came back until then is in the embedding cache. If one request may take "
                "so long, raise ingestion.parallel.timeout, or lower embedding.dense.batch_texts.",
            )

    def watch(self, tell: Callable[[Future[Any]], None]) -> None:
        """Has somebody told whenever anything that is done ahead is done."""
        self._tell = tell

    def _watched(self, future: Future[T]) -> Future[T]:
        future.add_done_callback(self._tell)
        return future

    def _reader(self, name: str) -> Reader:
        if name not in self._readers:
            parts = self._parts
            made = parts.reader(name) if parts.reader is not None else None
            self._readers[name] = made or ThreadReader(parts.sources[name], parts.chunker, parts.recorder)
        return self._readers[name]

    def _portion(self, name: str, members: Sequence[Change]) -> Portion:
        wanted = tuple(
            Wanted(change.id, not (change.chunks.keep or change.from_id)) for change in members if change.after
        )
        return Portion(name, self._parts.revisions.get(name), wanted)

    def _read_here(self, name: str, members: Sequence[Change]) -> Iterator[ReadDocument | Skipped]:
        parts = self._parts
        return read_portion(
            parts.sources[name], self._portion(name, members), parts.chunker, parts.recorder, lambda address: None
        )

    def _embed(self, works: Sequence[Work], vectors: dict[bytes, Vectors], source: str) -> _Embedded:
        """Vectors for every chunk hash that has none yet, each embedded once."""
        found = _Embedded(vectors, works)
        embedder = self._parts.embedder
        beat()
        with self._parts.recorder.span("embed", source):
            while True:
                new: dict[bytes, NewPoint] = {}
                for work in found.works:
                    for point in work.new_points():
                        if point.chunk not in vectors:
                            new[point.chunk] = point
                texts = [point.text for point in new.values()]
                ready = [{} if p.sparse is None else {SPARSE_VECTOR: p.sparse} for p in new.values()]
                try:
                    vectors.update(zip(new, embedder.embed_documents(texts, ready=ready), strict=True))
                except EmbeddingError as error:
                    if not error.positions:
                        raise
                    # Once more without them: what came back is in the embedding cache.
                    chunks = list(new)
                    found.leave_out({chunks[position] for position in error.positions}, error)
                    continue
                found.count = len(texts)
                return found


def is_unseen(change: Change) -> bool:
    """Whether a document is planned to stay as it is, since a listing that is not complete does not show it."""
    return change.reason == UNSEEN


def is_done(
    change: Change,
    state: StateStore,
    labels: Mapping[str, PointLabels],
    intents: Mapping[tuple[str, str], IntentRecord],
) -> bool:
    """Whether an earlier apply of the plan has made a change."""
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


def look_up_applied(change: Change, parts: Parts, intents: Mapping[tuple[str, str], IntentRecord]) -> Applied:
    """What the state, and where it has doubts the index, knows of a change's document."""
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
    doubtful = before.point_keys() if parts.is_mixed and before is not None else ()
    return tuple(dict.fromkeys((*intent.points, *faults, *doubtful)))


def _verify(change: Change, result: ReadDocument | Skipped, failures: list[FailureRecord]) -> ReadDocument | None:
    """The document that was read if it is the planned one; else a failure is noted and it stays as it was."""
    if isinstance(result, Skipped):
        detail = f": {result.detail}" if result.detail else ""
        reason = f"{SKIP_REASONS[result.reason]}{detail}"
        failures.append(FailureRecord(change.source, change.id, result.reason, reason))
        return None
    assert change.after is not None
    same_text = result.content.hex() == change.after.content
    same_metadata = result.metadata.hex() == change.after.metadata
    if same_text and same_metadata:
        return result
    what = "text" if not same_text else "title, uri or metadata"
    failures.append(
        FailureRecord(change.source, change.id, "changed", f"its {what} changed in the source since the plan was made")
    )
    return None


def _carry(
    changes: Sequence[Change],
    parts: Parts,
    live: Live,
    intents: Mapping[tuple[str, str], IntentRecord],
) -> list[Work]:
    """What keeps documents as they are: they could not be read as they were planned, or the listing lacks them."""

    def applied(source: str, document_id: str) -> Applied:
        record = parts.state.document(source, document_id)
        before = None if record is None or record.is_deleted else record
        return Applied(before, _touched_points(source, document_id, before, parts, intents))

    return live.carry(changes, applied)


def _taken_over(works: Sequence[Work], parts: Parts) -> dict[bytes, Vectors]:
    """Vectors that need not be made: of moved documents, and of the collection that a new one is made beside."""
    donors = {point: digest for work in works for digest, point in work.donors.items()}
    vectors: dict[bytes, Vectors] = {}
    if donors:
        for stored in parts.index.retrieve(list(donors), with_vectors=True):
            if stored.vectors.keys() >= parts.embedder.names:
                vectors[donors[stored.id]] = stored.vectors
    if parts.live is not None:
        vectors |= parts.live.vectors(works, parts.embedder.names)
    return vectors


def _done(result: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(result)
    return future
