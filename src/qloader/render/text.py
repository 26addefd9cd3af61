"""A plan as a person reads it in a terminal or a log: like a code review, the totals last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby, islice
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from qloader.planning.plan import ACTIONS
from qloader.render.diff import DIFF_LINES, DiffLine, Kind, Texts, diff_lines, fold_lines
from qloader.render.escape import escape_controls
from qloader.render.review import Review, find_notes
from qloader.render.wording import (
    FOLD,
    SIGNS,
    ChangeLine,
    column_width,
    count_actions,
    count_documents,
    describe_change,
    name_place,
    no_changes_in,
    pad_name,
    plan_line,
    short_revision,
    wrap_words,
)

if TYPE_CHECKING:
    from qloader.planning.plan import Action, Change, Plan, PlanHeader, SourceSummary

COLOURS: Mapping[Action, str] = {
    "create": "green",
    "update": "yellow",
    "move": "cyan",
    "delete": "red",
    "repair": "magenta",
}

_DIFF_COLOURS: Mapping[Kind, str] = {
    "head": "cyan",
    "embed": "bold cyan",
    "add": "green",
    "remove": "red",
    "gap": "dim",
    "note": "yellow",
}

_NOTE_COLOURS = {"warning": "yellow", "index": "cyan", "estimate": "dim"}

_PIPED_WIDTH = 100_000
_PIPED_HEIGHT = 50  # never matters, but without it rich asks the environment for both
_PAGE = 200
"""Lines that are aligned and printed together, so that a million changes need the memory of this many."""


def make_console(file: IO[str]) -> Console:
    """A console for people.

    Args:
        file: On a terminal: colours (unless NO_COLOR is set) and its width. Elsewhere: plain text without any
            line ends but ours, so that logs can be searched.
    """
    is_terminal = file.isatty()
    return Console(
        file=file,
        width=None if is_terminal else _PIPED_WIDTH,
        height=None if is_terminal else _PIPED_HEIGHT,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )


def render_plan(
    plan: Plan,
    console: Console,
    fold: int = FOLD,
    *,
    texts: Texts | None = None,
    lines: int = DIFF_LINES,
    review: Review | None = None,
) -> None:
    """Prints a plan, in one pass over its changes.

    Args:
        plan: The plan; its changes are in a plan's order.
        console: Where to.
        fold: Changes of a source that are printed before the rest is folded into a count.
        texts: Where the changed texts come from, which are printed as a diff below each change; None prints none.
        lines: Lines of a document's diff that are printed before the rest is folded into a count.
        review: What else is known of it; what the plan alone says where None. A refusal is not printed: whoever calls
            this ends with it as an error.
    """
    header = plan.header
    review = review or Review.of_file(header)
    if not header.is_empty:
        _print_title(header, console)
    unchanged = {source.name: source for source in header.sources}
    for name, changes in groupby(plan.changes(), key=lambda change: change.source):
        console.print()
        console.print(_head_source(name, unchanged.pop(name, None)), soft_wrap=True)
        if texts is None:
            _print_changes(changes, console, fold)
        else:
            _print_texts(changes, texts, console, fold, lines)
    if not header.is_empty:
        _print_unchanged(header, [source for source in header.sources if source.name in unchanged], console)
        console.print()
    if _print_notes(header, review, console):
        console.print()
    console.print(
        Text(plan_line(header.summary, header.index.action, is_partial=header.selection is not None), "bold"),
        soft_wrap=True,
    )


def _print_title(header: PlanHeader, console: Console) -> None:
    where = name_place(header.index, escape_controls)
    base = f"serial {header.base.serial}" if header.base.lineage else "nothing applied yet"
    title = Text.assemble((f"{escape_controls(header.name)}  ", "bold"), f"{where}, {base}")
    console.print(title, soft_wrap=True)


def _head_source(name: str, source: SourceSummary | None) -> Text:
    head = Text.assemble((escape_controls(name), "bold"))
    if source is None:
        return head
    revision = short_revision(source)
    kind = escape_controls(source.type) + (f" {revision}" if revision else "")
    head.append("  ").append(f"{kind}, {count_documents(source.documents)}", "dim")
    if not source.complete:
        head.append("  ").append("incomplete: nothing is deleted", "yellow")
    return head


def _print_changes(changes: Iterator[Change], console: Console, fold: int) -> None:
    width, left = 0, fold
    while page := [describe_change(change) for change in islice(changes, min(left, _PAGE))]:
        width = column_width(page, width)
        _print_page(page, width, console)
        left -= len(page)
    more = count_actions(changes)
    if more:
        console.print(_fold(more), soft_wrap=True)


def _print_texts(changes: Iterator[Change], texts: Texts, console: Console, fold: int, lines: int) -> None:
    for number, found in enumerate(texts.of(islice(changes, fold))):
        if number:
            console.print()
        line = describe_change(found.change)
        console.print(_text_of(line, 0), soft_wrap=True)
        kept, more = fold_lines(diff_lines(found), lines)
        for part in kept:
            console.print(_text_of_diff(part), soft_wrap=True)
        if more:
            console.print(Text(f"    {more} (use --all)", "dim"), soft_wrap=True)
    if rest := count_actions(changes):
        console.print()
        console.print(_fold(rest), soft_wrap=True)


def _text_of_diff(line: DiffLine) -> Text:
    shown = f"    {line}" if line.text else f"    {line}".rstrip()
    text = Text(shown, _DIFF_COLOURS.get(line.kind, ""), tab_size=4)
    for start, end in line.words:
        text.stylize("reverse", 5 + start, 5 + end)  # behind the indent and the sign
    return text


def _print_page(page: list[ChangeLine], width: int, console: Console) -> None:
    if console.color_system is None:
        # Three times as fast as coloured lines, for a million of them (`--all`) into a file.
        lines = (f"  {SIGNS[line.action]} {pad_name(line, width)}{line.detail}" for line in page)
        console.out("\n".join(lines), highlight=False)
    else:
        console.print(Text("\n").join(_text_of(line, width) for line in page), soft_wrap=True)


def _text_of(line: ChangeLine, width: int) -> Text:
    colour = COLOURS[line.action]
    text = Text.assemble("  ", (f"{SIGNS[line.action]} ", f"bold {colour}"), pad_name(line, width))
    return text.append(line.detail, "dim") if line.detail else text


def _fold(more: Counter[Action]) -> Text:
    """What was folded, by action and in its colour, so that no delete hides in it."""
    text = Text.assemble("  ", (f"… and {more.total():,} more: ", "dim"))
    counts = [Text(f"{more[action]:,} to {action}", f"bold {COLOURS[action]}") for action in ACTIONS if more[action]]
    return text.append_text(Text(", ").join(counts)).append(" (use --all)", "dim")


def _print_unchanged(header: PlanHeader, sources: list[SourceSummary], console: Console) -> None:
    if sources:
        names = ", ".join(f"{source.name} ({count_documents(source.documents)})" for source in sources)
        console.print()
        _print_sentence("", f"{no_changes_in(header)} {names}.", "dim", console)


def _print_notes(header: PlanHeader, review: Review, console: Console) -> bool:
    """Prints what a reviewer should know before the totals.

    Returns:
        Whether there was anything.
    """
    notes = find_notes(header, review)
    for note in notes:
        _print_sentence(note.label, note.sentence, _NOTE_COLOURS.get(note.kind, ""), console)
    return bool(notes)


def _print_sentence(label: str, sentence: str, style: str, console: Console) -> None:
    lines = wrap_words(label + escape_controls(sentence), console.width, "  ")
    text = Text("\n".join(lines), style)
    text.stylize("bold", 0, len(label))
    console.print(text, soft_wrap=True)
