"""What a plan says, in words: the same in a terminal, in Markdown and in a picture. Plain text only."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from qloader.counting import counted
from qloader.planning.plan import (
    ACTIONS,
    Action,
    Change,
    IndexAction,
    IndexTarget,
    PlanHeader,
    PlanWarning,
    SourceSummary,
    Summary,
)
from qloader.render.escape import escape_controls

if TYPE_CHECKING:
    from qloader.applying.result import ApplyResult, DenseWork

FOLD = 20
"""Changes of one source that are shown before the rest is folded into a count."""

SIGNS: Mapping[Action, str] = {"create": "+", "update": "~", "move": ">", "delete": "-", "repair": "!"}

NO_CHANGES = "No changes. The index matches the sources."
NO_CHANGES_SELECTED = "No changes in what was selected."

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NUMBER_OR_KEY = re.compile(r"(?:[a-z]+/)?(?:[A-Z][A-Z0-9_]*-)?[0-9]+", re.ASCII)
"""Ids that say nothing to a reviewer: a page's number, an issue's key."""
_TITLE_CHARACTERS = 40
_USUAL_DELETE = "gone from the source"
_SELECTORS_NAMED = 10
_WIDEST_COLUMN = 60
"""Longer names are not waited for: their details follow them directly."""


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One change as a reviewer reads it; nothing in it is hidden or breaks the line.

    Attributes:
        action: What is done.
        name: The id; for a move `old -> new`; with the title where the id is a number or a key.
        detail: Chunks to embed, or why; may be empty.
    """

    action: Action
    name: str
    detail: str


def describe_change(change: Change, *, characters: int | None = None) -> ChangeLine:
    """A change in words.

    Args:
        change: The change.
        characters: How long a text may get before its middle is left out; None shows it whole.
    """
    name = printable_id(change.id, characters=characters)
    if change.from_id is not None:
        name = f"{printable_id(change.from_id, characters=characters)} -> {name}"
    version = change.after or change.before
    if version is not None and version.title and _NUMBER_OR_KEY.fullmatch(change.id):
        name = f'{name} "{printable(version.title, characters=_TITLE_CHARACTERS)}"'
    detail = _detail(change)
    shown = escape_controls(detail) if characters is None else printable(detail, characters=characters)
    return ChangeLine(change.action, name, shown)


def plan_line(summary: Summary, index_action: IndexAction = "none", *, is_partial: bool = False) -> str:
    """The last line of a plan, word for word what scripts look for: numbers have no separators.

    Args:
        summary: The plan's totals.
        index_action: With `create` or `replace` an apply has something to do even without a document.
        is_partial: Whether the plan is about some documents only, so that it says nothing of the others.
    """
    if not summary.changes and index_action == "none":
        return NO_CHANGES_SELECTED if is_partial else NO_CHANGES
    repair = f", {summary.repair} to repair" if summary.repair else ""
    chunks = f"{summary.chunks_embed} chunk{'' if summary.chunks_embed == 1 else 's'} to embed"
    return (
        f"Plan: {summary.create} to create, {summary.update} to update, {summary.move} to move, "
        f"{summary.delete} to delete{repair} ({chunks})."
    )


def applied_line(result: ApplyResult) -> str:
    """The last line of an apply, word for word what scripts look for."""
    repair = f", {result.repaired} repaired" if result.repaired else ""
    return (
        f"Apply complete: {result.created} created, {result.updated} updated, {result.moved} moved, "
        f"{result.deleted} deleted{repair}."
    )


def describe_dense(work: DenseWork) -> str:
    """What the dense vectors of an apply took, as a sentence."""
    asked = f"{counted(work.texts, 'text')} embedded in {counted(work.requests, 'request')}"
    tokens = f" ({counted(work.tokens, 'token')})" if work.tokens else ""
    shortened = f"; {work.shortened:,} over the model's limit" if work.shortened else ""
    return f"Dense vectors: {asked}{tokens}, {work.cached:,} cached{shortened}."


def list_counts(counts: Mapping[Action, int]) -> str:
    """Counts by action in the order of the totals, e.g. `900 to create, 80 to delete`."""
    return ", ".join(f"{counts[action]:,} to {action}" for action in ACTIONS if counts.get(action))


def count_documents(number: int) -> str:
    """`1 document`, `1,234 documents`."""
    return counted(number, "document")


def count_chunks(number: int) -> str:
    """`1 chunk`, `14 chunks`."""
    return counted(number, "chunk")


def count_actions(changes: Iterable[Change]) -> Counter[Action]:
    """How many changes there are by action; reads them all, holds none."""
    counts: Counter[Action] = Counter()
    for change in changes:
        counts[change.action] += 1
    return counts


def short_revision(source: SourceSummary) -> str:
    """A source's revision for people: twelve digits of a commit, others as they are; empty where there is none."""
    revision = source.revision or ""
    return revision[:12] if _COMMIT.fullmatch(revision) else printable(revision, characters=40)


def name_place(index: IndexTarget, quote: Callable[[str], str]) -> str:
    """Where a plan's points go: the collection, where that is and, in a shared one, whose they are.

    Args:
        index: What the plan says of it.
        quote: Makes a name safe to show.
    """
    whose = f" for the tenant {quote(index.tenant)}" if index.tenant else ""
    return f"collection {quote(index.collection)} at {quote(index.location)}{whose}"


def explain_index_action(header: PlanHeader, quote: Callable[[str], str] = escape_controls) -> str:
    """What `index.action` means, as a sentence; empty for `none`.

    Args:
        header: The plan's header.
        quote: Makes the collection's name safe to show.
    """
    collection = quote(header.index.collection)
    match header.index.action:
        case "create" if header.index.tenant:
            return f"The apply joins the shared collection {collection}, and creates it first where there is none."
        case "create":
            return f"The apply creates the collection {collection} first."
        case "replace":
            return (
                f"The pipeline (chunking or embedding) changed: the apply makes a new collection beside {collection}, "
                "and puts it in its place when it is complete. Searches go on meanwhile."
            )
        case "none":
            return ""


def no_changes_in(header: PlanHeader) -> str:
    """How a list of sources begins that a plan has no changes of; of a partial plan it says nothing of the others."""
    return "No changes in" if header.selection is None else "No changes selected in"


def explain_selection(header: PlanHeader, quote: Callable[[str], str] = escape_controls) -> str:
    """What a partial plan is about, as a sentence; empty for a plan of everything.

    Args:
        header: The plan's header.
        quote: Makes a pattern or an address safe to show.
    """
    selection = header.selection
    if selection is None:
        return ""
    chosen = _name_some((*selection.only, *selection.targets), quote)
    only = f"only {chosen}" if chosen else "everything"
    without = f", without {_name_some(selection.exclude, quote)}" if selection.exclude else ""
    left = selection.left_out
    rest = f" {counted(left, 'other change')} {'is' if left == 1 else 'are'} left out." if left else ""
    return f"Partial plan: {only}{without}.{rest}"


def _name_some(names: Sequence[str], quote: Callable[[str], str]) -> str:
    more = f" and {len(names) - _SELECTORS_NAMED:,} more" if len(names) > _SELECTORS_NAMED else ""
    return ", ".join(map(quote, names[:_SELECTORS_NAMED])) + more


def shown_warnings(header: PlanHeader) -> list[PlanWarning]:
    """The warnings, without those that only repeat `allowed_deletes`, which is shown as one line."""
    allowed = set(header.allowed_deletes)
    return [w for w in header.warnings if w.kind != "deletes allowed" or w.source not in allowed]


def printable(text: str, *, characters: int) -> str:
    """Text on one line with nothing hidden, its middle left out where it is longer than `characters`."""
    if len(text) > 2 * characters:
        # Escaping never shortens, so these are all that can be shown of it; the rest may be megabytes.
        text = text[:characters] + text[-characters:]
    shown = escape_controls(text)
    if len(shown) <= characters:
        return shown
    tail = characters // 3
    # Escaped again, since a cut may leave half an emoji.
    return escape_controls(f"{shown[: characters - tail - 1]}…{shown[-tail:]}")


def printable_id(document_id: str, *, characters: int | None = None) -> str:
    """An id on one line with nothing hidden; in quotes where its spaces or arrows could be taken for ours."""
    shown = escape_controls(document_id) if characters is None else printable(document_id, characters=characters)
    is_odd = not shown or shown != shown.strip() or "  " in shown or " -> " in shown
    return f'"{shown}"' if is_odd else shown


def wrap_words(text: str, width: int, indent: str) -> list[str]:
    """Lines of a sentence that is broken between words only, so that a path in it can be copied.

    Not rich's wrapping: that cuts what is longer than the terminal is wide.

    Args:
        text: One line, with nothing hidden.
        width: Columns; a longer word stands out.
        indent: Begins each line but the first.
    """
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def column_width(lines: Iterable[ChangeLine], at_least: int = 0) -> int:
    """How wide the names' column is, in cells: as the longest name that has a detail, within reason.

    Args:
        lines: The lines that stand together.
        at_least: The width that lines above them have.
    """
    widths = (cell_len(line.name) for line in lines if line.detail)
    return max((width for width in (at_least, *widths) if width <= _WIDEST_COLUMN), default=0)


def pad_name(line: ChangeLine, width: int) -> str:
    """A line's name, and the space up to its detail; a line without a detail ends with its name."""
    return line.name + " " * max(width - cell_len(line.name), 0) + "  " if line.detail else line.name


def _detail(change: Change) -> str:
    chunks = change.chunks
    share = f"{chunks.add:,} of {count_chunks(chunks.add + chunks.keep)}"
    match change.action:
        case "create":
            return count_chunks(chunks.add)
        case "update":
            return _describe_update(change, share)
        case "move":
            return share if chunks.add else ""
        case "delete":
            return "" if change.reason == _USUAL_DELETE else change.reason
        case "repair":
            return f"{change.reason}, {share}" if chunks.add else change.reason


def _describe_update(change: Change, share: str) -> str:
    before, after, chunks = change.before, change.after, change.chunks
    is_relabelled = before is not None and after is not None and before.metadata != after.metadata
    if before is not None and after is not None and before.content == after.content and not chunks.add + chunks.remove:
        return "metadata" if is_relabelled else change.reason
    removed = f", {chunks.remove:,} to remove" if chunks.remove and not chunks.add else ""
    return share + removed + (", metadata" if is_relabelled else "")
