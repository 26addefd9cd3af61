"""The live collection, while another is made beside it: what of it can be taken over. It is only read.

Vectors of texts that stay are copied, so that they are not paid for again. Documents that cannot be read as they were
planned stay as they are, as in any apply: their texts stand in their points, and are embedded for the new collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice

from qloader.applying.work import Applied, Work, plan_carry
from qloader.errors import ForeignIndexError
from qloader.index.batches import MAX_ITEMS
from qloader.index.folder_lock import HeldError
from qloader.index.protocol import Index, Point, Vectors
from qloader.planning.plan import Change
from qloader.state.reader import StateReader


@dataclass(frozen=True, slots=True)
class Live:
    """The collection that searches ask, and the state that describes it.

    Attributes:
        state: Read only.
        open_index: Opens it for a moment: an embedded one is held by whoever has it open. True waits long for that.
        collection: Its name, for messages.
        reusable: Fingerprints of the pipelines whose vectors may be taken over.
        carry_as: The pipeline that documents of another are recorded with when they are carried over: cut as they
            are, embedded anew.
    """

    state: StateReader
    open_index: Callable[[bool], AbstractContextManager[Index]]
    collection: str
    reusable: frozenset[str]
    carry_as: Callable[[str], str]

    def holds(self, change: Change) -> bool:
        """Whether the document of a change is in the live collection, under its old id where it is moved."""
        return self.state.holds(change.source, _old_id(change))

    def vectors(self, works: Iterable[Work], names: frozenset[str]) -> dict[bytes, Vectors]:
        """The vectors of chunks that are in the live collection too, in the same document, by their hash.

        Args:
            works: What is to be written.
            names: The vectors that a point must have.

        Returns:
            As many as could be had: none while somebody else has an embedded collection open.
        """
        donors: dict[str, bytes] = {}
        for work in works:
            record = self.state.document(work.change.source, _old_id(work.change))
            if record is None or record.is_deleted or record.pipeline not in self.reusable:
                continue
            wanted = {point.chunk for point in work.points if point.id not in work.kept}
            pairs = zip(record.point_ids(), record.chunks, strict=True)
            donors |= {point: chunk for point, chunk in pairs if chunk in wanted}
        if not donors:
            return {}
        try:
            with self.open_index(False) as index:
                stored = index.retrieve(list(donors), with_vectors=True)
        except HeldError:
            return {}
        return {donors[point.id]: point.vectors for point in stored if point.vectors.keys() >= names}

    def carry(self, changes: Iterable[Change], applied: Callable[[str, str], Applied]) -> list[Work]:
        """The work that keeps documents as they are, in the new collection.

        Args:
            changes: Changes that cannot be made.
            applied: What the new collection's state knows of a document.

        Raises:
            ForeignIndexError: Points of such a document are not there.
            IndexUnavailableError: The live collection cannot be read.
        """
        records = {}
        for change in changes:
            record = self.state.document(change.source, _old_id(change))
            if record is not None and not record.is_deleted:
                records[change] = record
        if not records:
            return []
        ids = {change: record.point_ids() for change, record in records.items()}
        with self.open_index(True) as index:
            wanted = [point for points in ids.values() for point in points]
            payloads = {point.id: point.payload for point in index.retrieve(wanted, with_payload=True)}
        works = []
        for change, record in records.items():
            missing = [point for point in ids[change] if point not in payloads]
            if missing:
                raise ForeignIndexError(
                    f"{record.source}/{record.id} cannot be read as it was planned, and {len(missing):,} of its points "
                    f"are missing from the collection {self.collection}, so that it cannot be kept as it is either",
                    remedy="Plan again: what the source holds now is planned then.",
                )
            carried = replace(record, pipeline=self.carry_as(record.pipeline))
            works.append(plan_carry(change, carried, _texts(ids[change], payloads), applied(record.source, record.id)))
        return works

    def take_along(self, index: Index, lineage: str) -> int:
        """Copies the points of others, as they are: whoever wrote them finds them in the new collection.

        Args:
            index: The new collection.
            lineage: Whose points are not copied.

        Returns:
            How many.

        Raises:
            ForeignIndexError: One has a vector that the new collection has no room for.
            IndexUnavailableError: A collection cannot be read or written.
        """
        count = 0
        with self.open_index(True) as live:
            info = live.describe()
            if info is None or info.points == live.count(lineage=lineage):
                return 0
            others = live.foreign(lineage=lineage)
            while batch := list(islice(others, MAX_ITEMS)):
                try:
                    index.upsert([Point(one.id, one.vectors, one.payload) for one in batch])
                except ForeignIndexError as error:
                    raise ForeignIndexError(
                        f"the collection {self.collection} holds points that qloader did not write, with vectors that "
                        "the new one has no room for, so that it cannot take its place",
                        remedy="Move these points to a collection of their own, then apply the same plan again.",
                    ) from error
                count += len(batch)
        index.flush()
        return count


def _texts(ids: Iterable[str], payloads: Mapping[str, Mapping[str, object]]) -> list[tuple[str, Mapping[str, object]]]:
    return [(point, payloads[point]) for point in ids]


def _old_id(change: Change) -> str:
    return change.id if change.from_id is None else change.from_id
