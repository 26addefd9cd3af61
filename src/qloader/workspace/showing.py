"""The texts that a plan changes, old and new: what the index holds now, and what the source held when it was planned.

Reads only: the state, the index by point ids, the sources at their planned revisions. Which chunks will be embedded is
worked out by the same function that an apply uses, so the two cannot differ.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

from qloader.applying.faults import find_faults
from qloader.applying.preconditions import check_state, find_resumable
from qloader.applying.reading import cut
from qloader.applying.work import Applied, PointLabels, Work, plan_write
from qloader.documents.document import SKIP_REASONS, Document, Skipped
from qloader.documents.hashing import content_hash, metadata_hash
from qloader.errors import SourceError, StalePlanError
from qloader.index.protocol import Index
from qloader.planning.plan import Change, Plan
from qloader.sources.protocol import Source
from qloader.state.records import DocumentRecord, count_held
from qloader.state.store import StateStore
from qloader.workspace.applying import check_fits_config
from qloader.workspace.ownership import check_ours
from qloader.workspace.planning import read_known
from qloader.workspace.settings import Settings

_DOCUMENTS = 16
"""Documents that are read together, whose texts are in memory at a time."""

_APPLIED = "applied already, by the run of this plan that was interrupted"


@dataclass(frozen=True, slots=True)
class Side:
    """A document before or after a change.

    Attributes:
        chunks: The texts of its chunks in their order; None for one that the index should hold and does not.
        labels: Its title, uri and metadata by name; None where the index does not say.
        embedded: The numbers of the chunks that will be embedded; only after.
    """

    chunks: tuple[str | None, ...] = ()
    labels: Mapping[str, Any] | None = None
    embedded: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TextChange:
    """One change with the texts it is about.

    Attributes:
        change: The change.
        before: What the index holds; empty for a document that is new.
        after: What an apply will write; empty for a document that is gone.
        note: Why there is nothing to compare, one sentence; else empty.
    """

    change: Change
    before: Side = field(default_factory=Side)
    after: Side = field(default_factory=Side)
    note: str = ""


class ChangedTexts:
    """The texts of a plan's changes, read as they are asked for. Made by `open_texts`.

    Attributes:
        plan: The plan.
        outdated: Addresses of documents, met so far, that are no longer as planned.
    """

    def __init__(
        self, settings: Settings, plan: Plan, state: StateStore | None, index: Index | None, *, is_resumed: bool
    ) -> None:
        self.plan = plan
        self.outdated: list[str] = []
        self._settings = settings
        self._state = state
        self._index = index
        self._is_resumed = is_resumed
        self._known = read_known(settings)
        self._intents = {(i.source, i.document_id): i.points for i in self._known.intents}
        self._summaries = {source.name: source for source in plan.header.sources}
        self._sources: dict[str, Source] = {}

    def of(self, changes: Iterator[Change]) -> Iterator[TextChange]:
        """The texts of some of the plan's changes, in their order, a few documents in memory at a time.

        Raises:
            SourceError: A source cannot be read.
            IndexUnavailableError: The index cannot be read.
            StateError: The state cannot be read.
        """
        for _, group in groupby(changes, key=lambda change: change.source):
            while batch := list(islice(group, _DOCUMENTS)):
                yield from self._batch(batch)

    def check(self) -> None:
        """Ends the reading.

        Raises:
            StalePlanError: Documents that were met are no longer as planned.
        """
        if self.outdated:
            count = len(self.outdated)
            were = "1 document is" if count == 1 else f"{count:,} documents are"
            raise StalePlanError(
                f"{were} no longer as planned, the first: {self.outdated[0]}",
                remedy="An apply would leave them as they are. Plan again.",
            )

    def _batch(self, changes: Sequence[Change]) -> Iterator[TextChange]:
        applied = [self._applied(change) for change in changes]
        stored = self._stored([known.before for known in applied if known.before is not None])
        documents = self._fetch(changes)
        for change, known in zip(changes, applied, strict=True):
            before = self._side(known.before, stored)
            if change.after is None:
                yield TextChange(change, before, note=self._note_removal(known))
                continue
            document = next(documents)
            if self._is_resumed and _is_as_planned(known.before, change):
                yield TextChange(change, note=_APPLIED)
            elif isinstance(document, Skipped):
                detail = f": {document.detail}" if document.detail else ""
                yield self._outdated(change, f"cannot be shown: it {SKIP_REASONS[document.reason]}{detail}")
            elif what := _find_difference(document, change):
                yield self._outdated(change, f"its {what} changed in the source since the plan was made")
            else:
                yield TextChange(change, before, self._after(change, document, known))

    def _note_removal(self, known: Applied) -> str:
        if known.before is not None:
            return ""
        return _APPLIED if self._is_resumed else "points without a document, whose texts belong to nothing any more"

    def _outdated(self, change: Change, note: str) -> TextChange:
        self.outdated.append(change.address)
        return TextChange(change, note=note)

    def _applied(self, change: Change) -> Applied:
        """What an apply would find, as its executor looks for it."""
        old = change.id if change.from_id is None else change.from_id
        record = None if self._state is None else self._state.document(change.source, old)
        before = None if record is None or record.is_deleted else record
        if before is None and self._is_resumed and change.from_id is not None and self._state is not None:
            before = self._state.document(change.source, change.id)
        points = self._intents.get((change.source, change.id), ())
        header = self._known.header
        if change.action == "repair" and not points and self._index is not None and header is not None:
            points = find_faults(self._index, header.lineage, (change.source, change.id), before)
        old_points = () if change.from_id is None else self._intents.get((change.source, change.from_id), ())
        return Applied(before, points, old_points)

    def _stored(self, records: Sequence[DocumentRecord]) -> dict[str, Mapping[str, Any]]:
        ids = [point for record in records for point in record.point_ids()]
        if not ids or self._index is None:
            return {}
        return {point.id: point.payload for point in self._index.retrieve(ids, with_payload=True)}

    def _fetch(self, changes: Sequence[Change]) -> Iterator[Document | Skipped]:
        wanted = [change.id for change in changes if change.after is not None]
        if not wanted:
            return iter(())
        name = changes[0].source
        if name not in self._settings.config.sources:
            raise SourceError(f"source {name} is in the plan but not in the config", remedy="Plan again.")
        if name not in self._sources:
            self._sources[name] = self._settings.open_source(name)
        return self._sources[name].fetch(wanted, revision=self._summaries[name].revision)

    def _after(self, change: Change, document: Document, known: Applied) -> Side:
        read = cut(document, self._settings.chunker())
        header = self._known.header
        labels = PointLabels(
            source_type=self._summaries[change.source].type,
            lineage=header.lineage if header else "",
            pipeline=self._settings.pipeline.fingerprint,
            reusable=self._known.reusable,
            tenant=self._settings.tenant,
        )
        work = plan_write(change, read, known, labels)
        return Side(
            chunks=tuple(chunk.text for chunk in read.chunks),
            labels={"title": document.title, "uri": document.uri, "metadata": dict(document.metadata)},
            embedded=_find_embedded(work),
        )

    @staticmethod
    def _side(record: DocumentRecord | None, stored: Mapping[str, Mapping[str, Any]]) -> Side:
        if record is None:
            return Side()
        payloads = [stored.get(point) for point in record.point_ids()]
        texts = tuple(None if payload is None else str(payload.get("text", "")) for payload in payloads)
        first = next((payload for payload in payloads if payload is not None), None)
        labels = None if first is None else {key: first.get(key) for key in ("title", "uri", "metadata")}
        return Side(texts, labels)


@contextlib.contextmanager
def open_texts(settings: Settings, plan: Plan) -> Iterator[ChangedTexts]:
    """Opens what a plan's texts are read from, as long as the `with` block lasts.

    Args:
        settings: The config that the plan was made with.
        plan: The plan.

    Raises:
        StalePlanError: The plan was made for another config, rests on another state, or was applied already.
        StateError: The state cannot be read, or is that of another config.
        ForeignIndexError: The collection is another state's, or gone.
        IndexUnavailableError: The index cannot be reached, or another process has it open.
    """
    check_fits_config(settings, plan.header)
    with contextlib.ExitStack() as stack:
        state = settings.read_state()
        if state is not None:
            stack.enter_context(state)
        known = None if state is None else state.header()
        check_state(known, settings.here)
        resumable = find_resumable(plan.header, known, state)
        if resumable is not None and resumable.status == "complete":
            raise StalePlanError(
                "the plan was applied already, so the index no longer holds the texts from before",
                remedy="`qloader show` without --diff prints what it did.",
            )
        index = None
        if state is not None and known is not None:
            documents = count_held(state.sources())
            # A search is over in a moment; who applies has an embedded index to itself until the end.
            lock_wait = 0.0 if state.writer() else None
            index = stack.enter_context(contextlib.closing(settings.open_index(lock_wait=lock_wait)))
            info = index.describe()
            check_ours(settings, info, known, documents=documents)
            index = None if info is None else index
        yield ChangedTexts(settings, plan, state, index, is_resumed=resumable is not None)


def _find_embedded(work: Work) -> frozenset[int]:
    taken_over = set(work.donors)
    return frozenset(
        number
        for number, point in enumerate(work.points)
        if point.id not in work.kept and point.chunk not in taken_over
    )


def _find_difference(document: Document, change: Change) -> str:
    assert change.after is not None
    if content_hash(document.text).hex() != change.after.content:
        return "text"
    metadata = metadata_hash(document.title, document.uri, document.metadata).hex()
    return "" if metadata == change.after.metadata else "title, uri or metadata"


def _is_as_planned(record: DocumentRecord | None, change: Change) -> bool:
    after = change.after
    return (
        record is not None
        and after is not None
        and (record.source, record.id) == (change.source, change.id)
        and (record.content.hex(), record.metadata.hex()) == (after.content, after.metadata)
    )
