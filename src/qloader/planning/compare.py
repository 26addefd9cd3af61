"""Whether two plans say the same, and where not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

from qloader.planning.plan import Action, Change, ChunkCounts, Plan, PlanHeader, PolicyResult, SourceSummary, Version

Kind = Literal[
    "state", "name", "index", "pipeline", "selection", "since", "allowed", "policies", "source", "warning", "change"
]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two plans do not say alike.

    Attributes:
        kind: What it is about.
        subject: The address of a change, the name of a source; else empty.
        message: What differs, as a sentence.
        planned: The action that the plan under review has for a change, or None.
        now: The action that would be planned now, or None.
    """

    kind: Kind
    subject: str
    message: str
    planned: Action | None = None
    now: Action | None = None

    def __str__(self) -> str:
        """One line, beginning with what it is about: an address, `source docs`, `state`."""
        about = self.subject or self.kind
        return f"{'source ' if self.kind in ('source', 'warning') else ''}{about}: {self.message}"


def compare_plans(theirs: Plan, ours: Plan) -> Iterator[Difference]:
    """What differs, streamed; nothing where the plans are the same.

    A source's revision is no difference where its root is the same: a merge commit holds the documents of the commit
    that was planned. Of a partial plan neither is a source's root: what was not selected may change.

    Args:
        theirs: The plan under review.
        ours: The plan as it would be made now.
    """
    yield from _compare_headers(theirs.header, ours.header)
    yield from _compare_changes(theirs.changes(), ours.changes())


def describe_moved_on(theirs: PlanHeader, ours: PlanHeader) -> Iterator[str]:
    """What moved on in the sources without making a difference, a sentence for each source."""
    before_sources = {source.name: source for source in theirs.sources}
    for now in ours.sources:
        before = before_sources.get(now.name)
        if before is None or before == now:
            continue
        if _essence(before, theirs) == _essence(now, ours) and before.root != now.root:
            yield f"{now.name}: documents that the plan leaves out changed"
        elif before.root == now.root and before.revision != now.revision:
            yield (
                f"{now.name}: only the revision differs, {now.revision or 'none'} now and {before.revision or 'none'} "
                f"in the plan; the documents are the same"
            )


def _compare_headers(theirs: PlanHeader, ours: PlanHeader) -> Iterator[Difference]:
    pairs: tuple[tuple[Kind, Any, Any], ...] = (
        ("state", theirs.base, ours.base),
        ("name", theirs.name, ours.name),
        ("index", theirs.index, ours.index),
        ("pipeline", theirs.pipeline.fingerprint, ours.pipeline.fingerprint),
        ("selection", _asked(theirs), _asked(ours)),
        ("since", theirs.since, ours.since),
        ("allowed", theirs.allowed_deletes + theirs.allowed_policies, ours.allowed_deletes + ours.allowed_policies),
        ("policies", theirs.policies, ours.policies),
    )
    for kind, said, found in pairs:
        if said != found:
            yield Difference(kind, "", "; ".join(_name_differences(said, found)))
    before_sources = {source.name: source for source in theirs.sources}
    now_sources = {source.name: source for source in ours.sources}
    for name in sorted(before_sources | now_sources):
        before, now = before_sources.get(name), now_sources.get(name)
        if before is None or now is None:
            yield Difference("source", name, "not in the plan" if before is None else "in the plan, not planned now")
        elif _essence(before, theirs) != _essence(now, ours):
            yield Difference("source", name, "; ".join(_name_differences(before, now)))
    for warning in theirs.warnings:
        if warning not in ours.warnings:
            yield Difference("warning", warning.source, f"the plan warns, and nothing does now: {warning.message}")
    for warning in ours.warnings:
        if warning not in theirs.warnings:
            yield Difference("warning", warning.source, f"a warning that is not in the plan: {warning.message}")


def _asked(header: PlanHeader) -> Any:
    return None if header.selection is None else replace(header.selection, left_out=0)


def _essence(source: SourceSummary, header: PlanHeader) -> SourceSummary:
    """A source without what may differ in plans that say the same."""
    whole = replace(source, revision=None)
    return whole if header.selection is None else replace(whole, root="", documents=0)


def _compare_changes(theirs: Iterator[Change], ours: Iterator[Change]) -> Iterator[Difference]:
    """A merge of two streams in plan order: neither plan is held in memory."""
    before, now = next(theirs, None), next(ours, None)
    while before is not None or now is not None:
        if now is None or (before is not None and _key(before) < _key(now)):
            assert before is not None
            message = f"the plan has {_a(before.action)}, now there is no change"
            yield Difference("change", before.address, message, planned=before.action)
            before = next(theirs, None)
        elif before is None or _key(now) < _key(before):
            message = f"not in the plan, now there is {_a(now.action)} ({now.reason})"
            yield Difference("change", now.address, message, now=now.action)
            now = next(ours, None)
        else:
            if before != now:
                message = "; ".join(_compare_change(before, now))
                yield Difference("change", now.address, message, planned=before.action, now=now.action)
            before, now = next(theirs, None), next(ours, None)


def _compare_change(before: Change, now: Change) -> Iterator[str]:
    """What is different in the change of one document, in a reviewer's words."""
    if before.action != now.action:
        yield f"{_a(now.action)} now ({now.reason}), {_a(before.action)} in the plan"
    elif before.from_id != now.from_id:
        yield f"moved from {now.from_id} now, from {before.from_id} in the plan"
    if before.after is not None and now.after is not None:
        yield from _compare_version(before.after, now.after)
    if before.before is not None and now.before is not None and before.before != now.before:
        yield "the index holds another version of it than the plan says"
    if before.chunks != now.chunks:
        yield f"{_describe_chunks(now.chunks)} now, {_describe_chunks(before.chunks)} in the plan"
    if before.action == now.action and before.reason != now.reason:
        yield f"because {now.reason} now, because {before.reason} in the plan"


def _compare_version(before: Version, now: Version) -> Iterator[str]:
    again = [
        what
        for what, differs in (
            ("text", before.content != now.content),
            ("title, uri or metadata", before.metadata != now.metadata),
        )
        if differs
    ]
    if again:
        yield f"its {' and its '.join(again)} changed again"
    elif before != now:
        yield f"its text is the same, but {'; '.join(_name_differences(before, now))}"


def _describe_chunks(chunks: ChunkCounts) -> str:
    return f"{chunks.add:,} to embed, {chunks.keep:,} kept, {chunks.remove:,} removed"


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


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
    if isinstance(value, PolicyResult):
        return f"{value.name} {value.result}"
    if is_dataclass(value):
        return "there"
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "nothing"
    return "nothing" if value in (None, "") else str(value)


def _key(change: Change) -> tuple[str, str]:
    return change.source, change.id
