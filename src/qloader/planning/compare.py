"""Whether two plans say the same, and where not."""

from __future__ import annotations

from collections.abc import Iterator

from qloader.planning.plan import Change, Plan, PlanHeader


def compare_plans(theirs: Plan, ours: Plan) -> Iterator[str]:
    """What differs, a line each; nothing where the plans are the same.

    Args:
        theirs: The plan under review.
        ours: The plan as it would be made now.
    """
    yield from _compare_headers(theirs.header, ours.header)
    yield from _compare_changes(theirs.changes(), ours.changes())


def _compare_headers(theirs: PlanHeader, ours: PlanHeader) -> Iterator[str]:
    pairs = (
        ("state", theirs.base, ours.base),
        ("name", theirs.name, ours.name),
        ("index", theirs.index, ours.index),
        ("pipeline", theirs.pipeline.fingerprint, ours.pipeline.fingerprint),
        ("warnings", theirs.warnings, ours.warnings),
    )
    for what, said, found in pairs:
        if said != found:
            yield f"{what}: the plan says {said}, now it is {found}"
    before_sources = {source.name: source for source in theirs.sources}
    now_sources = {source.name: source for source in ours.sources}
    for name in sorted(before_sources | now_sources):
        before, now = before_sources.get(name), now_sources.get(name)
        if before != now:
            yield f"source {name}: the plan says {before or 'nothing'}, now it is {now or 'gone'}"


def _compare_changes(theirs: Iterator[Change], ours: Iterator[Change]) -> Iterator[str]:
    """A merge of two streams in plan order: neither plan is held in memory."""
    before, now = next(theirs, None), next(ours, None)
    while before is not None or now is not None:
        if now is None or (before is not None and _key(before) < _key(now)):
            assert before is not None
            yield f"{before.address}: the plan has a {before.action}, now there is no change"
            before = next(theirs, None)
        elif before is None or _key(now) < _key(before):
            yield f"{now.address}: not in the plan, now there is a {now.action}"
            now = next(ours, None)
        else:
            if before != now:
                yield f"{now.address}: " + "; ".join(_name_differences(before, now))
            before, now = next(theirs, None), next(ours, None)


def _name_differences(before: Change, now: Change) -> Iterator[str]:
    for name in ("action", "from_id", "before", "after", "chunks", "reason"):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            yield f"{name.removesuffix('_id')} is {new} instead of {old}"


def _key(change: Change) -> tuple[str, str]:
    return change.source, change.id
