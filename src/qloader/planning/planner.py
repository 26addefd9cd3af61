"""The planner: differences in, changes out. A pure function, tried by property tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from qloader.documents.hashing import point_keys
from qloader.manifest.manifest import PlannedChunk
from qloader.planning.diff import After, Before, Difference
from qloader.planning.plan import LONGEST_TITLE, Action, Change, ChunkCounts, Version

LEFT_OVER = "points left by an interrupted apply"
UNFINISHED = "left unfinished by an interrupted apply"
STRAY = "points in the index that belong to no document"
DRIFTED = "points missing from the index or altered there"
DESTROYED = "everything is destroyed"
UNSEEN = "pipeline changed; not in this listing, so that it stays as it is"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the planner needs to know beside the differences.

    Attributes:
        pipeline: The fingerprint that every document should have.
        reusable: Fingerprints whose vectors may be kept: those with the same embedding settings.
        removed: Sources that the config no longer names.
        retyped: Sources that were of another type when they were applied, which their points say.
        replaces: Whether all points are made anew.
        is_destroy: Whether everything is removed because somebody asked for it.
        required_metadata: Keys that some policy requires, sorted: of documents without one the plan says so.
        tenant: Whose points they are in a shared collection; empty in any other.
    """

    pipeline: str
    reusable: frozenset[str]
    removed: frozenset[str] = frozenset()
    retyped: frozenset[str] = frozenset()
    replaces: bool = False
    is_destroy: bool = False
    required_metadata: tuple[str, ...] = ()
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A change, and the chunks that it embeds."""

    change: Change
    embeds: tuple[PlannedChunk, ...] = ()

    @property
    def characters(self) -> int:
        """The text of these chunks."""
        return sum(chunk.characters for chunk in self.embeds)


def plan_changes(differences: Iterable[Difference], rules: Rules) -> Iterator[PlannedChange]:
    """What to do about each difference, in the same order."""
    for difference in differences:
        action, reason = _decide(difference, rules)
        counts, embeds = _count_chunks(difference, rules)
        yield PlannedChange(
            Change(
                action=action,
                source=difference.source,
                id=difference.id,
                before=_version(difference.before),
                after=_version(
                    difference.before if difference.is_unseen else difference.after, rules.required_metadata
                ),
                chunks=counts,
                reason=reason,
                from_id=difference.from_id,
            ),
            embeds,
        )


def _decide(difference: Difference, rules: Rules) -> tuple[Action, str]:
    before, after = difference.before, difference.after
    if after is None:
        return _decide_gone(difference, rules)
    if before is None:
        return "create", "new document"
    if difference.from_id is not None:
        return "move", "same text under a new id"
    changed = [
        word
        for word, differs in (
            ("text", before.content != after.content),
            ("metadata", before.metadata != after.metadata),
            ("pipeline", before.pipeline != rules.pipeline or rules.replaces),
            ("source type", difference.source in rules.retyped),
        )
        if differs
    ]
    if changed:
        return "update", " and ".join(changed) + " changed"
    # Nothing differs, so it is here for an intent; one of a batch that only re-labelled points names none.
    return "repair", DRIFTED if difference.is_drift else UNFINISHED


def _decide_gone(difference: Difference, rules: Rules) -> tuple[Action, str]:
    if difference.before is None:
        return "repair", STRAY if difference.is_drift else LEFT_OVER
    if difference.is_unseen:
        return "update", UNSEEN
    return "delete", _why_deleted(difference.source, rules)


def _why_deleted(source: str, rules: Rules) -> str:
    if rules.is_destroy:
        return DESTROYED
    return "source removed from the config" if source in rules.removed else "gone from the source"


def _count_chunks(difference: Difference, rules: Rules) -> tuple[ChunkCounts, tuple[PlannedChunk, ...]]:
    before, after = difference.before, difference.after
    if before is None and after is None:
        return ChunkCounts(remove=len(difference.intent)), ()
    old = before.chunks if before else ()
    touched = _touched(difference, rules.tenant)
    reusable = before is not None and before.pipeline in rules.reusable
    left = Counter(chunk for chunk in old if chunk not in touched) if reusable else Counter()
    kept = 0
    embeds = []
    for chunk in after.chunks if after else _as_they_are(before) if difference.is_unseen else ():
        if left[chunk.hash] > 0:
            left[chunk.hash] -= 1
            kept += 1
        else:
            embeds.append(chunk)
    return ChunkCounts(add=len(embeds), keep=kept, remove=len(old) - kept), tuple(embeds)


def _as_they_are(before: Before | None) -> tuple[PlannedChunk, ...]:
    """The chunks of a document that nobody reads anew; the state knows how long it is, and not each chunk."""
    chunks = before.chunks if before else ()
    return tuple(PlannedChunk(chunk, before.size // len(chunks)) for chunk in chunks) if before else ()


def _touched(difference: Difference, tenant: str) -> frozenset[bytes]:
    """Chunk hashes of the state's points that an interrupted batch may have changed or deleted."""
    if not difference.intent or difference.before is None:
        return frozenset()
    old_id = difference.from_id or difference.id
    points = set(difference.intent)
    keys = point_keys(difference.source, old_id, difference.before.chunks, tenant=tenant)
    return frozenset(chunk for chunk, key in zip(difference.before.chunks, keys, strict=True) if key in points)


def _version(side: Before | After | None, required: tuple[str, ...] = ()) -> Version | None:
    match side:
        case None:
            return None
        case Before() | After():
            lacks = tuple(key for key in required if key not in side.keys) if isinstance(side, After) else ()
            return Version(
                content=side.content.hex(),
                metadata=side.metadata.hex(),
                revision=side.revision,
                bytes=side.size,
                title=side.title[:LONGEST_TITLE],
                lacks=lacks,
            )
        case _:
            assert_never(side)
