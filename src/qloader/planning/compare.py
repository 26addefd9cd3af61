"""Whether two plans say the same, and where not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

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
    pairs: tuple[tuple[str, Any, Any], ...] = (
        ("state", theirs.base, ours.base),
        ("name", theirs.name, ours.name),
        ("index", theirs.index, ours.index),
        ("pipeline", theirs.pipeline.fingerprint, ours.pipeline.fingerprint),
    )
    for what, said, found in pairs:
        if said != found:
            yield f"{what}: " + "; ".join(_name_differences(said, found))
    before_sources = {source.name: source for source in theirs.sources}
    now_sources = {source.name: source for source in ours.sources}
    for name in sorted(before_sources | now_sources):
        before, now = before_sources.get(name), now_sources.get(name)
        if before is None or now is None:
            yield f"source {name}: " + ("not in the plan" if before is None else "in the plan, and not planned now")
        elif before != now:
            yield f"source {name}: " + "; ".join(_name_differences(before, now))
    for warning in theirs.warnings:
        if warning not in ours.warnings:
            yield f"source {warning.source}: the plan warns, and nothing does now: {warning.message}"
    for warning in ours.warnings:
        if warning not in theirs.warnings:
            yield f"source {warning.source}: a warning that is not in the plan: {warning.message}"


def _compare_changes(theirs: Iterator[Change], ours: Iterator[Change]) -> Iterator[str]:
    """A merge of two streams in plan order: neither plan is held in memory."""
    before, now = next(theirs, None), next(ours, None)
    while before is not None or now is not None:
        if now is None or (before is not None and _key(before) < _key(now)):
            assert before is not None
            yield f"{before.address}: the plan has {_article(before.action)} {before.action}, now there is no change"
            before = next(theirs, None)
        elif before is None or _key(now) < _key(before):
            yield f"{now.address}: not in the plan, now there is {_article(now.action)} {now.action}"
            now = next(ours, None)
        else:
            if before != now:
                yield f"{now.address}: " + "; ".join(_name_differences(before, now))
            before, now = next(theirs, None), next(ours, None)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _name_differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """What differs in two values of the plan's model, field by field: `content is 91ab… instead of 6f0c…`."""
    if before == now:
        return
    if not (is_dataclass(before) and is_dataclass(now)):
        yield f"{name or 'it'} is {_shown(now)} instead of {_shown(before)}"
        return
    for field in fields(before):
        inner = f"{name} {field.name.removesuffix('_id')}".strip()
        yield from _name_differences(getattr(before, field.name), getattr(now, field.name), inner)


def _shown(value: Any) -> str:
    if is_dataclass(value):
        return "there"
    return "nothing" if value is None else str(value)


def _key(change: Change) -> tuple[str, str]:
    return change.source, change.id
