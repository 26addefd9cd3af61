"""A plan as a comment on a pull request: GitHub-flavoured Markdown, never longer than a comment may be.

Whatever others chose (ids, names, messages) stands in code: in fenced blocks, where a line always begins with
our sign and so cannot close the fence, or in code spans fenced by more backticks than they hold. There no HTML,
link, mention or table in a name means anything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

from qloader.counting import counted
from qloader.render.diff import DIFF_LINES, Kind, Texts, describe_more, diff_lines
from qloader.render.review import Review, describe_estimate, describe_policies, warning_subject
from qloader.render.wording import (
    FOLD,
    SIGNS,
    applied_line,
    column_width,
    count_actions,
    count_documents,
    describe_change,
    explain_index_action,
    explain_selection,
    list_counts,
    name_place,
    no_changes_in,
    pad_name,
    plan_line,
    printable,
    short_revision,
    shown_warnings,
)

if TYPE_CHECKING:
    from qloader.applying.result import ApplyResult
    from qloader.errors import QloaderError
    from qloader.planning.plan import Action, Change, Plan, PlanHeader, SourceSummary
    from qloader.workspace.showing import TextChange

LIMIT = 60_000
"""Characters at most: GitHub refuses comments beyond 65,536 of them, or beyond 262,144 bytes, which is four for each;
and whoever posts one may add words of their own."""

OUTCOME = 4_000
"""Characters at most for what became of a plan, which is added to the comment that holds its review."""

ID_CHARACTERS = 160
"""Longer ids lose their middle."""

_NOTES = 12_000
"""Characters at most for all warnings, and as many for a refusal."""

_REFUSAL_LINE = 1_000
"""Characters of a line of an error: a stranger's names may be long."""

_CUT = "…\n"

_TEXTS = 500
"""Documents of a source at most whose texts a comment could hold."""

_DOCUMENT = 12_000
"""Characters at most for one document's diff."""

_DOCUMENT_FRAME = 400
"""What the fences and the count of a document's diff take at most, but for a text that is full of backticks."""

_NAMES = 3_000
"""Characters at most for a list of source names."""

_FRAME = 1_000
"""What a source's heading, fences and counts take at most, beside its list."""

_SMALLEST_SECTION = 2 * _FRAME
"""A source gets at least this much; with less left, the sources to come are only counted."""

_TICKS = re.compile("`+")


def render_markdown(
    plan: Plan,
    *,
    texts: Texts | None = None,
    fold: int = FOLD,
    lines: int = DIFF_LINES,
    review: Review | None = None,
) -> Iterator[str]:
    """A plan as Markdown, in one pass over its changes.

    Args:
        plan: The plan; its changes are in a plan's order.
        texts: Where the changed texts come from, each folded below its change; None shows none.
        fold: Changes of a source whose texts are shown, where there is room.
        lines: Lines of a document's diff that are shown, where there is room.
        review: What else is known of it; what the plan alone says where None.

    Yields:
        Whole lines with their line ends, `LIMIT` characters in all at most. The totals come first and are
        always there; what does not fit is counted by action.
    """
    header = plan.header
    head, foot = _head(header, review or Review.of_file(header)), _foot(header)
    yield from head
    left = LIMIT - _NAMES - _FRAME - sum(map(len, (*head, *foot)))
    unseen = {source.name: source for source in header.sources}
    rest: Counter[Action] = Counter()
    unlisted = 0
    for name, changes in groupby(plan.changes(), key=lambda change: change.source):
        source = unseen.pop(name, None)
        if left < _SMALLEST_SECTION:
            unlisted += 1
            rest += count_actions(changes)
            continue
        # The last source may use all that is left; before it, each leaves most of it to others.
        share = max(left // min(len(unseen) + 1, 3), _SMALLEST_SECTION)
        if texts is None:
            section = _section(name, source, changes, share - _FRAME)
        else:
            section = _text_section(name, source, changes, share - _FRAME, texts, fold, lines)
        left -= sum(map(len, section))
        yield from section
    if unlisted:
        sources = "source" if unlisted == 1 else "sources"
        yield f"… and {unlisted:,} more {sources}, not shown: {list_counts(rest)}.\n\n"
    if not header.is_empty:
        untouched = [source for source in header.sources if source.name in unseen]
        yield from _list_unchanged(no_changes_in(header), untouched)
    yield from foot


def _head(header: PlanHeader, review: Review) -> list[str]:
    index = header.index
    lines = [
        f"### {plan_line(header.summary, index.action, is_partial=header.selection is not None)}\n\n",
        f"{code_span(header.name)}: {name_place(index, code_span)}\n\n",
    ]
    if review.refusal is not None:
        lines += render_error("This plan may not be applied.", review.refusal, room=_NOTES)
    if sentence := explain_selection(header, code_span):
        lines.append(f"⚠️ {sentence}\n\n")
    if sentence := explain_index_action(header, code_span):
        lines.append(f"{'⚠️ ' if index.action == 'replace' else ''}{sentence}\n\n")
    if sentence := describe_policies(review.policies, code_span, is_empty=header.is_empty):
        lines.append(f"{sentence}\n\n")
    if review.estimate is not None:
        lines.append(f"{describe_estimate(review.estimate, code_span)}\n\n")
    return lines + _list_warnings(header, review)


def render_error(what: str, error: QloaderError, *, room: int = OUTCOME) -> list[str]:
    """An error and its remedy, in a block that nothing in them can end.

    Args:
        what: What did not work, a sentence of ours.
        error: Why.
        room: Characters that it may have; what does not fit is left out of the error, never the remedy.
    """
    *lines, remedy = (
        f"{printable(line, characters=_REFUSAL_LINE)}\n" for line in (*str(error).split("\n"), error.remedy)
    )
    fence = "`" * max(3, max(map(len, _TICKS.findall("".join((*lines, remedy)))), default=0) + 1)
    head, foot = [f"⛔ {what}\n\n", f"{fence}text\n"], [remedy, f"{fence}\n\n"]
    left = room - sum(map(len, (*head, _CUT, *foot)))
    shown = []
    for line in lines:
        left -= len(line)
        if left < 0:
            shown.append(_CUT)
            break
        shown.append(line)
    return [*head, *shown, *foot]


def render_outcome(result: ApplyResult) -> list[str]:
    """What an apply did, `OUTCOME` characters at most."""
    lines = [applied_line(result)]
    if result.already:
        lines.append(f"{counted(result.already, 'change')} had been applied before.")
    left = OUTCOME - _FRAME
    for number, one in enumerate(result.failures):
        address = code_span(f"{one.source}/{one.document_id}", ID_CHARACTERS)
        line = f"⚠️ {address} was left as it was: {code_span(one.detail, 500)}"
        left -= len(line) + 2
        if left < 0 or number == FOLD:
            lines.append(f"… and {len(result.failures) - number:,} more, not shown.")
            break
        lines.append(line)
    return [f"{line}\n\n" for line in lines]


def _list_warnings(header: PlanHeader, review: Review) -> list[str]:
    lines = []
    if header.allowed_deletes:
        names = _join_within(map(code_span, header.allowed_deletes), len(header.allowed_deletes))
        lines.append(f"- ⚠️ deletes allowed past the guards: {names}\n")
    left = _NOTES
    warnings = [*shown_warnings(header), *review.warnings]
    for number, warning in enumerate(warnings):
        line = f"- ⚠️ {code_span(warning_subject(warning))}: {code_span(warning.message, 500)}\n"
        left -= len(line)
        if left < 0:
            lines.append(f"- … and {len(warnings) - number:,} more warnings, not shown\n")
            break
        lines.append(line)
    return [*lines, "\n"] if lines else []


def _section(name: str, source: SourceSummary | None, changes: Iterator[Change], room: int) -> list[str]:
    """One source: its first changes in the open, more of them folded, the rest counted.

    Args:
        name: The source's name.
        source: What the header says of it.
        changes: Its changes.
        room: Characters for the lists of changes.
    """
    first = list(islice(changes, FOLD))
    width = column_width(describe_change(change, characters=ID_CHARACTERS) for change in first)
    listed: list[tuple[Action, str]] = []
    hidden: Counter[Action] = Counter()
    for change in chain(first, changes):
        line = describe_change(change, characters=ID_CHARACTERS)
        text = f"{SIGNS[line.action]} {pad_name(line, width)}{line.detail}\n"
        room -= len(text)
        if room < 0:
            hidden[change.action] += 1
            break
        listed.append((change.action, text))
    hidden += count_actions(changes)
    folded = hidden + Counter(action for action, _ in listed[FOLD:])
    section = [f"#### {_head_source(name, source)}\n\n", *_fence(text for _, text in listed[:FOLD])]
    if len(listed) > FOLD:
        section.append(f"<details><summary>{folded.total():,} more: {list_counts(folded)}</summary>\n\n")
        section.extend(_fence(text for _, text in listed[FOLD:]))
    if hidden:
        section.append(f"… and {hidden.total():,} more, not shown: {list_counts(hidden)}.\n\n")
    if len(listed) > FOLD:
        section.append("</details>\n\n")
    return section


def _text_section(
    name: str,
    source: SourceSummary | None,
    changes: Iterator[Change],
    room: int,
    texts: Texts,
    fold: int,
    lines: int,
) -> list[str]:
    """One source with its texts: each document folded, the rest counted."""
    first = list(islice(changes, min(fold, _TEXTS)))
    documents: list[str] = []
    shown = 0
    for found in texts.of(iter(first)):
        document = "".join(_text_document(found, min(room, _DOCUMENT), lines))
        room -= len(document)
        if room < 0:
            break
        documents.append(document)
        shown += 1
    hidden = count_actions(chain(first[shown:], changes))
    section = [f"#### {_head_source(name, source)}\n\n", *documents]
    if hidden:
        section.append(f"… and {hidden.total():,} more, not shown: {list_counts(hidden)}.\n\n")
    return section


def _text_document(found: TextChange, room: int, limit: int) -> list[str]:
    line = describe_change(found.change, characters=ID_CHARACTERS)
    detail = f" <code>{escape(line.detail)}</code>" if line.detail else ""
    name = escape(f"{SIGNS[line.action]} {line.name}")
    head = f"<details><summary><code>{name}</code>{detail}</summary>\n\n"
    room -= len(head) + _DOCUMENT_FRAME
    shown: list[str] = []
    more: Counter[Kind] = Counter()
    ticks = 2
    for part in diff_lines(found):
        text = f"{part}\n"
        if not more:
            room -= len(text)
        if more or room < 0 or len(shown) >= limit:
            more[part.kind] += 1
            continue
        shown.append(text)
        ticks = max(ticks, *map(len, _TICKS.findall(text)), 0)
    fence = "`" * (ticks + 1)
    diff = [f"{fence}diff\n", *shown, f"{fence}\n\n"] if shown else []
    rest = [f"{describe_more(more)}, not shown.\n\n"] if more else []
    return [head, *diff, *rest, "</details>\n\n"]


def _head_source(name: str, source: SourceSummary | None) -> str:
    if source is None:
        return code_span(name)
    revision = short_revision(source)
    place = f"{code_span(source.type)} at {code_span(revision)}" if revision else code_span(source.type)
    incomplete = "" if source.complete else " ⚠️ incomplete: nothing is deleted"
    return f"{code_span(name)} ({place}, {count_documents(source.documents)}){incomplete}"


def _fence(lines: Iterable[str]) -> Iterator[str]:
    yield "```diff\n"
    yield from lines
    yield "```\n\n"


def _list_unchanged(heading: str, sources: Sequence[SourceSummary]) -> Iterator[str]:
    if sources:
        names = (f"{code_span(source.name)} ({count_documents(source.documents)})" for source in sources)
        yield f"{heading} {_join_within(names, len(sources))}.\n\n"


def _foot(header: PlanHeader) -> list[str]:
    base = header.base
    rests = f"Rests on serial {base.serial} of lineage {code_span(base.lineage)}." if base.lineage else "A first plan."
    digest = f" Digest {code_span(header.digest)}." if header.digest else ""
    return [f"<sub>{rests}{digest}</sub>\n"]


def _join_within(names: Iterable[str], count: int) -> str:
    """Names with commas, as many as `_NAMES` characters hold, and how many more of `count` there are."""
    shown: list[str] = []
    room = _NAMES
    for name in names:
        room -= len(name) + 2
        if room < 0:
            return f"{', '.join(shown)} and {count - len(shown):,} more"
        shown.append(name)
    return ", ".join(shown)


def code_span(text: str, characters: int = 100) -> str:
    """A code span that holds any text: nothing in it is Markdown, HTML, a link or a mention."""
    shown = printable(text, characters=characters) or "(empty)"
    ticks = "`" * (max(map(len, _TICKS.findall(shown)), default=0) + 1)
    needs_space = shown.startswith(("`", " ")) or shown.endswith(("`", " "))
    return f"{ticks} {shown} {ticks}" if needs_space else f"{ticks}{shown}{ticks}"
