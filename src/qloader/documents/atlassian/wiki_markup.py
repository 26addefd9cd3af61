"""Jira's wiki markup to Markdown: blocks; what stands within a line is in `wiki_inline`.

The notation as documented in Jira's own help, "Text Formatting Notation Help".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qloader.documents.atlassian.blocks import (
    SOFT_BREAK,
    Block,
    Cell,
    Code,
    Flow,
    Heading,
    Item,
    ItemList,
    Paragraph,
    Quote,
    Rule,
    Run,
    Table,
    panel,
    titled,
)
from qloader.documents.atlassian.converted import Converted, Findings, Resolvers
from qloader.documents.atlassian.wiki_inline import HELD, read_line
from qloader.documents.atlassian.writer import write_markdown

MAX_LEVEL = 12
MAX_OPEN = 20
"""Levels of lists, and of quotations and panels in one another, that are followed."""

_MACRO = re.compile(
    r"(?<!\\)\{(?P<name>code|noformat|quote|panel|info|note|warning|tip|expand)(?::(?P<given>[^{}\n]*+))?\}"
)
_PAIRED = re.compile(r"(?<![\\{$])\{(?P<name>[a-z][a-z0-9-]{1,40})(?P<given>:[^{}\n]*+)?\}(?!\})")
_SILENT = frozenset(("anchor", "color", "toc"))
_HEADING = re.compile(r"\s*+h([1-6])\.[ \t]++(.*)")
_QUOTED = re.compile(r"\s*+bq\.[ \t]++(.*)")
_RULE = re.compile(r"\s*+-{4,}\s*+$")
_ITEM = re.compile(r"\s*+([*#]++-?|-++)[ \t]++(.*)")
_TASK = re.compile(r"\[([ xX]?)\][ \t]+")
_CELL = re.compile(
    r"\\.|\[[^\[\]\n]*+\]|!(?![\s!|])[^!\n|]++\|[^!\n|]*+!|\{\{[^{}\n]*+\}\}|(?P<bars>\|\|?)|[^\\\[!{|]++|.", re.DOTALL
)


def wiki_to_markdown(source: str, resolvers: Resolvers | None = None) -> Converted:
    """Converts a text in Jira's wiki markup.

    Never raises: what is no valid markup is text. Takes time in proportion to the length of the source.

    Args:
        source: A description, a comment or another text field of Jira Data Center.
        resolvers: Answers about users, attachments and issues.
    """
    reader = _Reader(Findings(resolvers or Resolvers()))
    text = source.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")
    return reader.findings.converted(write_markdown(reader.read(text)))


@dataclass(slots=True)
class _Frame:
    """A quotation or panel that is open."""

    name: str
    title: str
    blocks: list[Block] = field(default_factory=list)


class _Reader:
    """Reads one text."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.held: list[list[Block]] = []  # code, taken out of the text first: nothing in it is markup
        self.frames = [_Frame("", "")]

    def read(self, text: str) -> list[Block]:
        """The blocks of a whole text."""
        text = self._drop_unknown(text)
        waiting: list[str] = []
        at = 0
        while (found := _MACRO.search(text, at)) is not None:
            waiting.append(text[at : found.start()])
            at = found.end()
            name = found["name"]
            if name in ("code", "noformat"):
                at = self._hold(text, found, waiting)
                continue
            self._lines("".join(waiting))
            waiting = []
            self._turn(name, found["given"])
        self._lines("".join(waiting) + text[at:])
        while len(self.frames) > 1:
            self._end_frame()
        return self.frames[0].blocks

    def _drop_unknown(self, text: str) -> str:
        """The text without macros that are not understood: those that open with values and are closed."""
        if "{" not in text:
            return text
        found = list(_PAIRED.finditer(text))
        last_end = {match["name"]: match.start() for match in found if match["given"] is None}
        known = {"code", "noformat", "quote", "panel", "info", "note", "warning", "tip", "expand"}
        pairs = {
            match["name"]
            for match in found
            if match["given"] is not None and last_end.get(match["name"], -1) > match.start()
        } - known
        pairs |= {
            match["name"] for match in found if match["name"] in _SILENT - ({"anchor"} if not match["given"] else set())
        }
        if not pairs:
            return text
        self.findings.unknown |= pairs - _SILENT
        code = _code_spans(text)
        parts, at, span = [], 0, 0
        for match in found:
            while span < len(code) and code[span][1] <= match.start():
                span += 1
            in_code = span < len(code) and code[span][0] <= match.start()
            if match["name"] in pairs and not in_code:
                parts.append(text[at : match.start()])
                at = match.end()
        return "".join(parts) + text[at:]

    def _hold(self, text: str, found: re.Match[str], waiting: list[str]) -> int:
        """Takes code out of the text and leaves a mark for it; the index behind it."""
        end = text.find("{" + found["name"] + "}", found.end())
        code = text[found.end() : end if end >= 0 else len(text)]
        values = _values(found["given"])
        language = values.get("", values.get("language", "")) if found["name"] == "code" else ""
        block = Code(_without_empty_ends(code), language)
        self.held.append(titled(values.get("title", ""), [block]) if code.strip() else [])
        waiting.append(f"{HELD}{len(self.held) - 1}{HELD}")
        return end + len(found["name"]) + 2 if end >= 0 else len(text)

    def _turn(self, name: str, given: str | None) -> None:
        """A quotation or panel begins or ends."""
        is_open = any(frame.name == name for frame in self.frames)
        if is_open and not given:
            while self._end_frame() != name:
                pass
        elif len(self.frames) < MAX_OPEN:
            values = _values(given)
            self.frames.append(_Frame(name, values.get("title", values.get("", "") if name == "expand" else "")))

    def _end_frame(self) -> str:
        frame = self.frames.pop()
        blocks = self.frames[-1].blocks
        if frame.name == "quote":
            blocks.append(Quote(frame.blocks))
        elif frame.name == "expand":
            blocks += titled(frame.title, frame.blocks)
        else:
            blocks.append(panel("" if frame.name == "panel" else frame.name.capitalize(), frame.title, frame.blocks))
        return frame.name

    def _lines(self, text: str) -> None:
        """Reads lines without macros into the frame that is open."""
        if text.strip():
            self.frames[-1].blocks += _Lines(self, text).read()

    def flow(self, text: str, marks: int = 0) -> Flow:
        """The words of a line, and the code that stands in it."""
        flow = Flow()
        self.add(flow, text, marks)
        return flow

    def add(self, flow: Flow, text: str, marks: int = 0) -> None:
        """Adds the words of a line to a flow."""
        for number, part in enumerate(text.split(HELD)):
            if number % 2:
                if part.isdigit() and int(part) < len(self.held):
                    flow.extend(self.held[int(part)])
            elif part:
                flow.runs += read_line(part, self.findings, marks)


class _Lines:
    """Reads lines one after the other."""

    def __init__(self, reader: _Reader, text: str) -> None:
        self.reader = reader
        self.lines = text.split("\n")
        self.at = 0
        self.flow = Flow()
        self.stack: list[ItemList] = []  # the lists that are open, by level
        self.item: Flow | None = None  # the item under way

    def read(self) -> list[Block]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            self._line(line)
        self._end_list()
        return self.flow.finish()

    def _line(self, line: str) -> None:
        stripped = line.strip()
        if not stripped:
            self._end_list()
            self.flow.end_paragraph()
            return
        first = stripped[0]
        if first in "*#-" and self._list_line(line):
            return
        if first == "|" and len(stripped) > 1:
            self._end_list()
            self._table(stripped)
        elif first == "h" and (found := _HEADING.match(line)):
            self._end_list()
            runs, rest = self._opening(found[2])
            self.flow.add(Heading(int(found[1]), runs))
            self.flow.extend(rest)
        elif first == "b" and (found := _QUOTED.match(line)):
            self._end_list()
            self.flow.add(Quote(self.reader.flow(found[1]).finish()))
        else:
            flow = self.item or self.flow
            if flow.runs:
                flow.runs.append(SOFT_BREAK)
            self.reader.add(flow, stripped)

    def _opening(self, text: str) -> tuple[list[Run], list[Block]]:
        """A line's words, and blocks that stand behind them in the same line."""
        blocks = self.reader.flow(text).finish()
        if blocks and isinstance(blocks[0], Paragraph):
            return blocks[0].runs, blocks[1:]
        return [], blocks

    def _list_line(self, line: str) -> bool:
        """An item or a rule; False where the line is neither."""
        if _RULE.match(line):
            self._end_list()
            self.flow.add(Rule())
            return True
        found = _ITEM.match(line)
        if found is None:
            return False
        marker = found[1]
        if marker.strip("-") == "" and len(marker) > 1 and len(self.stack) < len(marker) - 1:
            return False  # two or three dashes are a dash, unless a list goes on
        self._end_item()
        if not self.stack:
            self.flow.end_paragraph()
        level = min(len(marker), MAX_LEVEL)
        del self.stack[level:]
        ordered = marker[-1] == "#"
        if len(self.stack) == level and (self.stack[-1].start is not None) != ordered:
            del self.stack[level - 1 :]
        while len(self.stack) < level:
            kind = marker[len(self.stack)] if len(self.stack) < level - 1 else marker[-1]
            self._open_list(1 if kind == "#" else None)
        text = found[2]
        task = _TASK.match(text)
        item = Item([], task[1] in ("x", "X") if task else None)
        self.stack[-1].items.append(item)
        self.item = Flow(item.blocks)
        self.reader.add(self.item, text[task.end() :] if task else text)
        return True

    def _open_list(self, start: int | None) -> None:
        new = ItemList([], start)
        if not self.stack:
            self.flow.blocks.append(new)
        else:
            above = self.stack[-1]
            if not above.items:
                above.items.append(Item([]))
            above.items[-1].blocks.append(new)
        self.stack.append(new)

    def _end_item(self) -> None:
        if self.item is not None:
            self.item.end_paragraph()
            self.item = None

    def _end_list(self) -> None:
        self._end_item()
        self.stack = []

    def _table(self, first: str) -> None:
        rows: list[list[Cell]] = []
        line = first
        while True:
            parts = [line]
            # A cell may hold line ends: the row goes on until a line ends with a bar.
            while not parts[-1].endswith("|") and self.at < len(self.lines):
                following = self.lines[self.at].strip()
                if not following or following[0] == "|":
                    break
                parts.append(following)
                self.at += 1
            rows.append(self._row("\n".join(parts)))
            if self.at >= len(self.lines) or not self.lines[self.at].strip().startswith("|"):
                break
            line = self.lines[self.at].strip()
            self.at += 1
        self.flow.add(Table(rows))

    def _row(self, text: str) -> list[Cell]:
        cells: list[Cell] = []
        words: list[str] = []
        header: bool | None = None
        for found in _CELL.finditer(text):
            bars = found["bars"]
            if bars is None:
                words.append(found[0])
                continue
            if header is not None or "".join(words).strip():
                cells.append(self._cell("".join(words), bool(header)))
            words, header = [], len(bars) == 2
        if "".join(words).strip():
            cells.append(self._cell("".join(words), bool(header)))
        return cells

    def _cell(self, text: str, header: bool) -> Cell:
        lines = text.strip()
        if not lines:
            return Cell([], header)
        if "\n" in lines or lines[0] in "*#-":
            inner = _Lines(self.reader, lines)
            inner.lines = [line.lstrip("|") for line in inner.lines]
            return Cell(inner.read(), header)
        return Cell(self.reader.flow(lines).finish(), header)


def _code_spans(text: str) -> list[tuple[int, int]]:
    """Where code stands."""
    spans = []
    at = 0
    while (found := _MACRO.search(text, at)) is not None:
        at = found.end()
        if found["name"] in ("code", "noformat"):
            end = text.find("{" + found["name"] + "}", at)
            end = len(text) if end < 0 else end
            spans.append((found.start(), end))
            at = min(len(text), end + len(found["name"]) + 2)
    return spans


def _values(given: str | None) -> dict[str, str]:
    """A macro's values by name: `java|title=A.java`; one without a name is called `""`."""
    values: dict[str, str] = {}
    for part in (given or "").split("|"):
        name, equals, value = part.partition("=")
        if equals:
            values.setdefault(name.strip().lower(), value.strip())
        elif part.strip():
            values.setdefault("", part.strip())
    return values


def _without_empty_ends(code: str) -> str:
    """Code without the line ends that only set the macro's own marks apart."""
    head, line_end, rest = code.partition("\n")
    code = rest if line_end and not head.strip() else code
    return code.rstrip(" \t").removesuffix("\n")
