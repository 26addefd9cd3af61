"""A plan as one HTML file: opened from a disk or an artifact, it loads nothing and runs only our own script.

Whatever others chose is escaped twice: what would not be seen becomes visible, and what HTML would read becomes text.
A policy in the page itself allows our style and script by their hashes and nothing else, so that even a name that
slipped through could do nothing. Without script everything is shown; the script only hides.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from itertools import groupby, islice
from typing import TYPE_CHECKING

from qloader.planning.plan import ACTIONS
from qloader.render.diff import DIFF_LINES, DiffLine, Kind, Texts, diff_lines, fold_lines
from qloader.render.review import Review, describe_estimate, describe_policies, warning_subject
from qloader.render.wording import (
    FOLD,
    SIGNS,
    ChangeLine,
    count_documents,
    describe_change,
    explain_index_action,
    explain_selection,
    name_place,
    no_changes_in,
    plan_line,
    printable,
    printable_id,
    short_revision,
    shown_warnings,
)

if TYPE_CHECKING:
    from qloader.errors import GuardError
    from qloader.planning.plan import Action, Change, Plan, PlanHeader, SourceSummary
    from qloader.workspace.showing import TextChange

ROWS = 200
"""Changes that a browser lays out together: beyond those on the screen it only reserves the height."""

_DOCUMENTS = 5

_DIFF_TAGS: Mapping[Kind, tuple[str, str]] = {
    "head": ("<i>", "</i>"),
    "embed": ('<i class="embed">', "</i>"),
    "note": ('<i class="note">', "</i>"),
    "context": ("<span>", "</span>"),
    "gap": ("<s>", "</s>"),
    "add": ("<ins>", "</ins>"),
    "remove": ("<del>", "</del>"),
}

_CHARACTERS = 4_000
"""Longer names lose their middle."""


def render_html(
    plan: Plan,
    *,
    texts: Texts | None = None,
    fold: int = FOLD,
    lines: int = DIFF_LINES,
    review: Review | None = None,
) -> Iterator[str]:
    """A plan as a page of HTML, in one pass over its changes. All of them are on it, whatever `fold` says.

    Args:
        plan: The plan; its changes are in a plan's order.
        texts: Where the changed texts come from, which stand below each change; None shows none.
        fold: Changes of a source whose texts are shown.
        lines: Lines of a document's diff that are shown before the rest is folded into a count.
        review: What else is known of it; what the plan alone says where None.

    Yields:
        The page in pieces, each small, however many changes there are.
    """
    header = plan.header
    yield from _head(header, review or Review.of_file(header))
    unchanged = {source.name: source for source in header.sources}
    for name, changes in groupby(plan.changes(), key=lambda change: change.source):
        yield from _source(name, unchanged.pop(name, None), changes, texts=texts, fold=fold, lines=lines)
    yield from _foot(header, unchanged.values())


def _head(header: PlanHeader, review: Review) -> Iterator[str]:
    """The page down to its first source: totals, what a reviewer should know, the search."""
    style, script = _asset("plan.css"), _asset("plan.js")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; " + (
        "base-uri 'none'; form-action 'none'"
    )
    index = header.index
    base = f"serial {header.base.serial}" if header.base.lineage else "nothing applied yet"
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(header.name, 200)}: plan</title>\n<style>{style}</style>\n</head>\n<body>\n<header>\n"
        f"<h1>{_text(header.name, 200)}</h1>\n"
        f"<p>C{name_place(index, _code)[1:]}, {base}</p>\n"
        f'<p class="totals">{plan_line(header.summary, index.action, is_partial=header.selection is not None)}</p>\n'
    )
    if review.refusal is not None:
        yield _refusal(review.refusal)
    for sentence in _facts(header, review):
        yield f"<p>{sentence}</p>\n"
    yield from _notes(header, review)
    yield "</header>\n<main>\n"
    if header.summary.changes:
        yield _bar(header)


def _source(
    name: str,
    source: SourceSummary | None,
    changes: Iterator[Change],
    *,
    texts: Texts | None,
    fold: int,
    lines: int,
) -> Iterator[str]:
    facts = warning = ""
    if source is not None:
        place = f"{_text(source.type, 200)} {_text(short_revision(source))}".strip()
        facts = f"<small>{place}, {count_documents(source.documents)}</small>"
        if not source.complete:
            warning = ' <small class="warn">incomplete: nothing is deleted</small>'
    title = f"<h2><bdi>{_text(name, 200)}</bdi></h2>"
    yield f'<details class="source" open><summary>{title} {facts}{warning}</summary>\n'
    if texts is not None:
        yield from _documents(texts.of(islice(changes, fold)), lines)
    yield from _rows(changes)
    yield "</details>\n"


def _foot(header: PlanHeader, unchanged: Iterable[SourceSummary]) -> Iterator[str]:
    """The page from its last source on.

    Args:
        header: The plan's header.
        unchanged: The sources that nothing was shown of.
    """
    if header.summary.changes:
        yield '<p class="nothing" id="nothing" hidden>No change matches.</p>\n'
    names = [f"{_code(source.name)} ({count_documents(source.documents)})" for source in unchanged]
    if names and not header.is_empty:
        yield f'<p class="unchanged">{no_changes_in(header)} {", ".join(names)}.</p>\n'
    base = header.base
    rests = f"Rests on serial {base.serial} of lineage {_code(base.lineage)}." if base.lineage else "A first plan."
    digest = f"<p>Digest {_code(header.digest)}</p>\n" if header.digest else ""
    yield (
        f"</main>\n<footer>\n<p>{rests}</p>\n<p>Pipeline {_code(header.pipeline.fingerprint)}</p>\n{digest}</footer>\n"
    )
    script = f"<script>{_asset('plan.js')}</script>\n" if header.summary.changes else ""
    yield f"{script}</body>\n</html>\n"


def _text(value: str, characters: int = _CHARACTERS) -> str:
    """Text that others chose, safe anywhere in the page."""
    return escape(printable(value, characters=characters))


def _code(value: str, characters: int = 1_000) -> str:
    """A name in a sentence."""
    return f"<code>{_text(value, characters) or '(empty)'}</code>"


def _name_of(change: Change, line: ChangeLine) -> str:
    """A change's id; each of a move's two stands apart, so that the order of its letters ends with it."""
    if change.from_id is None:
        return escape(line.name)
    old = printable_id(change.from_id, characters=_CHARACTERS)
    return f"<bdi>{escape(old)}</bdi> -&gt; <bdi>{escape(line.name.removeprefix(f'{old} -> '))}</bdi>"


def _rows(changes: Iterator[Change]) -> Iterator[str]:
    while page := list(islice(changes, ROWS)):
        # Only a full page says how high it is before it was seen.
        full = " full" if len(page) == ROWS else ""
        rows = "".join(map(_row, page))
        yield (
            f'<div class="page{full}"><table><thead><tr><th>Action<th>Document<th>Details</thead><tbody>\n'
            f"{rows}</tbody></table></div>\n"
        )


def _documents(found: Iterator[TextChange], limit: int) -> Iterator[str]:
    """Each document's diff under its name; a page holds few, since their height is unknown."""
    while page := list(islice(found, _DOCUMENTS)):
        yield '<div class="page">\n'
        for one in page:
            yield _document(one, limit)
        yield "</div>\n"


def _document(found: TextChange, limit: int) -> str:
    change = found.change
    line = describe_change(change, characters=_CHARACTERS)
    kept, more = fold_lines(diff_lines(found), limit)
    diff = f"<pre>{''.join(map(_diff_line, kept))}</pre>" if kept else ""
    rest = f"<p>{more} (use --all)</p>" if more else ""
    action = change.action
    return (
        f'<details class="{action[0]} document" open><summary><b>{SIGNS[action]} {action}</b> '
        f'<span class="name">{_name_of(change, line)}</span> <small>{escape(line.detail)}</small></summary>'
        f"{diff}{rest}</details>\n"
    )


def _diff_line(line: DiffLine) -> str:
    start, end = _DIFF_TAGS[line.kind]
    whole = str(line)
    parts, at = [], 0
    for first, last in line.words:  # behind the sign
        parts.append(f"{escape(whole[at : first + 1])}<mark>{escape(whole[first + 1 : last + 1])}</mark>")
        at = last + 1
    return f"{start}{''.join(parts)}{escape(whole[at:])}{end}"


def _row(change: Change) -> str:
    line = describe_change(change, characters=_CHARACTERS)
    action = change.action
    # End tags may be left out, and a row has as few elements as can be: there may be 200,000.
    return f"<tr class={action[0]}><td>{SIGNS[action]} {action}<td>{_name_of(change, line)}<td>{escape(line.detail)}\n"


def _refusal(refusal: GuardError) -> str:
    """Why the plan may not be applied: what was found, and what to do."""
    lines = "".join(f"<li>{_text(line)}</li>\n" for line in refusal.found)
    return (
        f'<section class="refusal" aria-label="Refusal">\n<h2>This plan may not be applied</h2>\n<ul>\n{lines}</ul>\n'
        f"<p>{_text(refusal.remedy)}</p>\n</section>\n"
    )


def _facts(header: PlanHeader, review: Review) -> Iterator[str]:
    if sentence := describe_policies(review.policies, _code, is_empty=header.is_empty):
        yield sentence
    if review.estimate is not None:
        yield describe_estimate(review.estimate, _code)


def _notes(header: PlanHeader, review: Review) -> Iterator[str]:
    warnings = (*shown_warnings(header), *review.warnings)
    notes = [f"{_code(warning_subject(warning))} {_text(warning.message)}" for warning in warnings]
    if header.allowed_deletes:
        names = ", ".join(map(_code, header.allowed_deletes))
        notes.append(f"Deletes allowed past the guards: {names}")
    if header.selection is not None:
        notes.append(explain_selection(header, _code))
    if header.index.action != "none":
        notes.append(explain_index_action(header, _code))
    if notes:
        yield '<ul class="notes" aria-label="Warnings">\n'
        for note in notes:
            yield f"<li>{note}</li>\n"
        yield "</ul>\n"


def _bar(header: PlanHeader) -> str:
    counts: Counter[Action] = Counter({action: getattr(header.summary, action) for action in ACTIONS})
    ticks = "".join(
        f'<label class="{action[0]}"><input type="checkbox" value="{action[0]}" checked> '
        f"<b>{SIGNS[action]} {counts[action]:,}</b> {action}</label>\n"
        for action in ACTIONS
        if counts[action]
    )
    return (
        '<form id="bar" role="search" hidden>\n'
        '<input type="search" placeholder="Search documents and details" aria-label="Search the changes" '
        'title="Press / to come here" autocomplete="off" spellcheck="false">\n'
        f'<fieldset><legend class="unseen">Show</legend>\n{ticks}</fieldset>\n'
        f'<output aria-live="polite" data-total="{header.summary.changes}"></output>\n'
        "</form>\n"
    )


@cache
def _asset(name: str) -> str:
    return (files("qloader.render") / "assets" / name).read_text(encoding="utf-8")


def _hash(inline: str) -> str:
    digest = hashlib.sha256(inline.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
