"""Guards: what a plan may not do unless somebody said so. Checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from qloader.errors import GuardError
from qloader.planning.plan import Change

SMALL_SOURCE = 10
"""Percentages are not asked of sources with fewer documents: one of three is no accident."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The config's `guards`; percentages are of a source's documents in the state, None is no limit."""

    max_delete_percent: float | None = 25
    max_update_percent: float | None = None
    prevent_destroy: bool = False


@dataclass(slots=True)
class SourceTally:
    """What a plan does to one source, counted change by change."""

    documents: int
    deletes: int = 0
    updates: int = 0
    others: int = 0

    def count(self, change: Change) -> None:
        """Counts one change. A repair is none: it is about the index, not the source."""
        self.deletes += change.action == "delete"
        self.updates += change.action == "update"
        self.others += change.action in ("create", "move")

    @property
    def changes(self) -> int:
        """How many documents the plan changes because the source says so."""
        return self.deletes + self.updates + self.others


def check_guards(
    tallies: Mapping[str, SourceTally],
    limits: Limits,
    *,
    allowed: Iterable[str] = (),
    empty: Iterable[str] = (),
    strangers: Iterable[str] = (),
    retyped: Iterable[str] = (),
) -> None:
    """Refuses a plan that deletes or rewrites too much of a source, or puts another in its place.

    Args:
        tallies: What the plan does, by source; `documents` counts the state.
        limits: The config's guards.
        allowed: Sources whose deletes were allowed for this plan (`--allow-deletes`).
        empty: Sources that hold no document at all any more.
        strangers: Sources that are another place than the one that was applied under their name.
        retyped: Sources of another type than the one that was applied under their name; they may bring the same
            documents, so that only deletes are refused.

    Raises:
        GuardError: Names every source concerned, with its numbers and the flag that allows it.
    """
    passes, emptied, others, changed = set(allowed), set(empty), set(strangers), set(retyped)
    refusals: list[_Refusal] = []
    for name, tally in sorted(tallies.items()):
        if limits.prevent_destroy and tally.deletes and tally.deletes >= tally.documents:
            share = f"all {tally.documents:,} documents of {name} would be deleted"
            text = f"{share}; guards.prevent_destroy is set, take it out of the config first"
            refusals.append(_Refusal(name, text, "guards.prevent_destroy"))
        elif name in others - passes and tally.changes:
            refusals.append(_refuse_stranger(name, tally))
        elif name not in passes:
            refusals.extend(_refuse_deletes(name, tally, limits, name in emptied, name in changed))
        refusals.extend(_refuse_updates(name, tally, limits))
    if refusals:
        raise GuardError(
            "refused by a guard, nothing was changed:",
            found=[refusal.text for refusal in refusals],
            remedy="Look whether the source is whole (a missing mount, a wrong path or branch, an account that lost a "
            "permission). " + _way_past(refusals),
        )


def find_refusal(*checks: Callable[[], None]) -> GuardError | None:
    """What guards and policies say together, so that nobody meets them one after the other; None where all pass."""
    refusals = []
    for check in checks:
        try:
            check()
        except GuardError as refusal:
            refusals.append(refusal)
    if len(refusals) < 2:
        return refusals[0] if refusals else None
    return GuardError(
        "refused by guards and policies, nothing was changed:",
        found=[line for refusal in refusals for line in refusal.found],
        remedy=" ".join(refusal.remedy for refusal in refusals),
    )


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a source's changes are refused; `key` is what to change in the config, empty where a flag allows them."""

    source: str
    text: str
    key: str = ""


def _way_past(refusals: Iterable[_Refusal]) -> str:
    flags = " ".join(dict.fromkeys(f"--allow-deletes {refusal.source}" for refusal in refusals if not refusal.key))
    keys = " and ".join(dict.fromkeys(refusal.key for refusal in refusals if refusal.key))
    planned = f"plan again with {flags}, which the plan records for its reviewer" if flags else "plan again"
    return f"If this is meant, {f'change {keys} in the config and ' if keys else ''}{planned}."


def _refuse_stranger(name: str, tally: SourceTally) -> _Refusal:
    counts = f"{tally.deletes:,} of {tally.documents:,} documents of {name} would be deleted, {tally.updates:,} updated"
    return _Refusal(name, f"{counts}, {tally.others:,} created or moved: another source bears the name now")


def _refuse_deletes(
    name: str, tally: SourceTally, limits: Limits, is_empty: bool, is_retyped: bool
) -> Iterator[_Refusal]:
    """Refuses deletes that are too many, or any at all where there is a reason to think that they are a mistake."""
    share = f"{tally.deletes:,} of {tally.documents:,} documents of {name} would be deleted"
    percent = 100 * tally.deletes / max(tally.documents, 1)
    limit = limits.max_delete_percent
    if tally.deletes and is_empty:
        yield _Refusal(name, f"{share}: the source is empty now")
    elif tally.deletes and is_retyped:
        yield _Refusal(name, f"{share}: the source is of another type now")
    elif limit is not None and tally.documents >= SMALL_SOURCE and percent > limit:
        yield _Refusal(name, f"{share} ({percent:.1f} %); guards.max_delete_percent is {limit:g}")


def _refuse_updates(name: str, tally: SourceTally, limits: Limits) -> Iterator[_Refusal]:
    percent = 100 * tally.updates / max(tally.documents, 1)
    limit = limits.max_update_percent
    if limit is not None and tally.documents >= SMALL_SOURCE and percent > limit:
        share = f"{tally.updates:,} of {tally.documents:,} documents of {name} would be updated"
        text = f"{share} ({percent:.1f} %); guards.max_update_percent is {limit:g}"
        yield _Refusal(name, text, "guards.max_update_percent")
