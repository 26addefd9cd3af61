"""A document's old and new text as the lines of a unified diff that knows of chunks: what is kept, removed, embedded.

Lines are compared only where chunks differ. A chunk whose text stayed is named, not repeated.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, Protocol

from qloader.counting import counted
from qloader.render.escape import escape_line

if TYPE_CHECKING:
    from qloader.planning.plan import Change
    from qloader.workspace.showing import Side, TextChange

DIFF_LINES = 40
"""Lines of one document's diff that are shown before the rest is folded into a count."""

CONTEXT = 3
"""Unchanged lines that are shown around a change within a chunk."""

_COMPARED = 1_000_000
"""Pairs of lines or chunks at most that are compared with one another; what is larger is shown as removed and added."""

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")

Kind = Literal["head", "embed", "context", "add", "remove", "gap", "note"]

DIFF_SIGNS: Mapping[Kind, str] = {
    "head": "@@ ",
    "embed": "@@ ",
    "context": " ",
    "add": "+",
    "remove": "-",
    "gap": " ",
    "note": "@@ ",
}


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line; nothing in its text is hidden or breaks it.

    Attributes:
        kind: What it is: a heading (`embed` of a chunk that will be embedded), a line of the text, a gap, a note.
        text: The line without its sign.
        words: Where the text differs from that of the line it takes the place of, or that takes its place: from, to.
    """

    kind: Kind
    text: str
    words: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        end = " @@" if self.kind in ("head", "embed", "note") else ""
        return f"{DIFF_SIGNS[self.kind]}{self.text}{end}"


class Texts(Protocol):
    """Where the renderings of a plan get the texts of its changes from; `workspace.showing.ChangedTexts` is one."""

    def of(self, changes: Iterator[Change]) -> Iterator[TextChange]:
        """The texts of some of the plan's changes, in their order."""
        ...


def diff_lines(found: TextChange) -> Iterator[DiffLine]:
    """The diff of one document; nothing where neither text nor labels differ and nothing is embedded."""
    if found.note:
        yield DiffLine("note", escape_line(found.note))
        return
    before, after = found.before, found.after
    yield from _compare_labels(before, after)
    old, new = before.chunks, after.chunks
    for tag, i1, i2, j1, j2 in _opcodes(old, new):
        if tag == "equal":
            yield from _name_kept(after, j1, j2)
        elif j1 == j2:
            yield from _removed(old, i1, i2)
        else:
            yield from _region(old[i1:i2], after, j1, j2)


def fold_lines(lines: Iterable[DiffLine], limit: int) -> tuple[list[DiffLine], str]:
    """The first lines, and what the others are.

    Args:
        lines: All of them; they are counted to the end.
        limit: How many are kept. The count never takes the place of a single line.

    Returns:
        The lines, and a sentence about the others; empty where there are none.
    """
    kept: list[DiffLine] = []
    more: Counter[Kind] = Counter()
    for line in lines:
        if len(kept) <= limit:
            kept.append(line)
        else:
            more[line.kind] += 1
    if more:
        more[kept.pop().kind] += 1
    return kept, describe_more(more)


def describe_more(more: Counter[Kind]) -> str:
    """`… and 12 more lines: 8 added, 2 removed, 1 chunk to embed`; empty where there are none."""
    if not more.total():
        return ""
    parts = [f"{more['add']:,} added"] * bool(more["add"]) + [f"{more['remove']:,} removed"] * bool(more["remove"])
    if chunks := more["embed"]:
        parts.append(f"{counted(chunks, 'chunk')} to embed")
    count = more.total()
    return f"… and {counted(count, 'more line')}" + (f": {', '.join(parts)}" if parts else "")


def _compare_labels(before: Side, after: Side) -> Iterator[DiffLine]:
    if before.labels is None or after.labels is None:
        return
    old, new = _flatten(before.labels), _flatten(after.labels)
    names = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    if names:
        yield DiffLine("head", "title, uri, metadata")
    for name in names:
        if name in old:
            yield DiffLine("remove", escape_line(f"{name}: {old[name]}").replace("\t", "\\t"))
        if name in new:
            yield DiffLine("add", escape_line(f"{name}: {new[name]}").replace("\t", "\\t"))


def _flatten(labels: Mapping[str, Any]) -> dict[str, str]:
    metadata = labels.get("metadata")
    fields = {f"metadata.{key}": metadata[key] for key in sorted(metadata)} if isinstance(metadata, Mapping) else {}
    flat = {"title": labels.get("title"), "uri": labels.get("uri"), **fields}
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        for name, value in flat.items()
    }


def _name_kept(after: Side, start: int, end: int) -> Iterator[DiffLine]:
    for is_embedded, group in groupby(range(start, end), key=lambda number: number in after.embedded):
        numbers = list(group)
        which = _name_chunks(numbers[0], numbers[-1], len(after.chunks))
        yield DiffLine("embed", f"{which}: same text, to embed") if is_embedded else DiffLine("head", f"{which}: kept")


def _removed(old: Sequence[str | None], start: int, end: int) -> Iterator[DiffLine]:
    for number in range(start, end):
        text = old[number]
        lost = text is None
        what = "missing from the index" if lost else "removed"
        yield DiffLine("head", f"old {_name_chunks(number, number, len(old))}: {what}")
        yield from (DiffLine("remove", escape_line(line)) for line in _lines(text))


def _region(old: Sequence[str | None], after: Side, start: int, end: int) -> Iterator[DiffLine]:
    """Chunks that take the place of others: their lines compared, each under the heading of its new chunk."""
    removed = [line for text in old for line in _lines(text)]
    numbered = [(number, line) for number in range(start, end) for line in _lines(after.chunks[number])]
    entries: list[tuple[Kind, int | None, str]] = []
    for tag, i1, i2, j1, j2 in _opcodes(removed, [line for _, line in numbered]):
        if tag == "equal":
            entries += [("context", number, line) for number, line in numbered[j1:j2]]
            continue
        entries += [("remove", None, line) for line in removed[i1:i2]]
        entries += [("add", number, line) for number, line in numbered[j1:j2]]
    for number, group in groupby(_owned(entries, start), key=lambda entry: entry[0]):
        which = _name_chunks(number, number, len(after.chunks))
        is_embedded = number in after.embedded
        yield (
            DiffLine("embed", f"{which}: to embed")
            if is_embedded
            else DiffLine("head", f"{which}: kept, its vector too")
        )
        yield from _with_context([(kind, line) for _, kind, line in group])


def _owned(entries: Sequence[tuple[Kind, int | None, str]], first: int) -> Iterator[tuple[int, Kind, str]]:
    """Every line with the new chunk it stands under: what is removed, with what takes its place."""
    current = first
    for at, (kind, number, line) in enumerate(entries):
        if number is not None:
            current = number
        elif at == 0 or entries[at - 1][0] != "remove":
            follower = next((entry for entry in entries[at:] if entry[0] != "remove"), None)
            if follower is not None and follower[0] == "add" and follower[1] is not None:
                current = follower[1]
        yield current, kind, line


def _with_context(lines: Sequence[tuple[Kind, str]]) -> Iterator[DiffLine]:
    """Lines with a few unchanged ones around each change."""
    changed = [at for at, (kind, _) in enumerate(lines) if kind != "context"]
    near = {at + step for at in changed for step in range(-CONTEXT, CONTEXT + 1)}
    for is_near, group in groupby(enumerate(lines), key=lambda item: item[0] in near):
        members = [DiffLine(kind, escape_line(line)) for _, (kind, line) in group]
        if is_near or len(members) <= 1:
            yield from _with_words(members)
        else:
            yield DiffLine("gap", f"… {len(members):,} unchanged lines")


def _with_words(lines: Sequence[DiffLine]) -> Iterator[DiffLine]:
    """Lines, and where so many are removed as are added in their place, the words that differ."""
    runs = [(kind, list(group)) for kind, group in groupby(lines, key=lambda line: line.kind)]
    for at, (kind, run) in enumerate(runs):
        other = runs[at + 1] if kind == "remove" and at + 1 < len(runs) else runs[at - 1] if at else None
        pair = {kind, other[0]} if other else set()
        if other is None or pair != {"remove", "add"} or len(other[1]) != len(run):
            yield from run
            continue
        for line, counterpart in zip(run, other[1], strict=True):
            yield replace(line, words=_find_words(line.text, counterpart.text))


def _find_words(text: str, other: str) -> tuple[tuple[int, int], ...]:
    """Where a text has words that another lacks; nowhere where the two have less than half in common."""
    words, others = _WORDS.findall(text), _WORDS.findall(other)
    if len(words) * len(others) > _COMPARED // 4:
        return ()
    found: list[tuple[int, int]] = []
    at = common = 0
    for tag, i1, i2, _, _ in _opcodes(words, others):
        length = sum(map(len, words[i1:i2]))
        if tag == "equal":
            common += length
        elif length:
            found.append((at, at + length))
        at += length
    return tuple(found) if 2 * common >= min(len(text), len(other)) else ()


def _opcodes(old: Sequence[Any], new: Sequence[Any]) -> Iterator[tuple[str, int, int, int, int]]:
    """As `SequenceMatcher.get_opcodes`, in bounded time: what both begin and end with is taken off first."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start] and old[start] is not None:
        start += 1
    tail = 0
    while tail < min(len(old), len(new)) - start and old[-1 - tail] == new[-1 - tail] and old[-1 - tail] is not None:
        tail += 1
    if start:
        yield "equal", 0, start, 0, start
    old_end, new_end = len(old) - tail, len(new) - tail
    if (old_end - start) * (new_end - start) > _COMPARED:
        yield "replace", start, old_end, start, new_end
    elif old_end > start or new_end > start:
        matcher = SequenceMatcher(None, old[start:old_end], new[start:new_end], autojunk=False)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            yield tag, i1 + start, i2 + start, j1 + start, j2 + start
    if tail:
        yield "equal", old_end, len(old), new_end, len(new)


def _name_chunks(first: int, last: int, count: int) -> str:
    return f"chunk {first + 1} of {count:,}" if first == last else f"chunks {first + 1:,}-{last + 1:,} of {count:,}"


def _lines(text: str | None) -> list[str]:
    return [] if text is None else text.split("\n")
