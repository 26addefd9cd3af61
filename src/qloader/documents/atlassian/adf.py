"""Atlassian Document Format (a JSON tree) to Markdown.

Nodes and marks as documented at https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from qloader.documents.atlassian.blocks import (
    CODE,
    EM,
    HARD_BREAK,
    MAX_DEPTH,
    RAW,
    STRIKE,
    STRONG,
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
    image,
    panel,
    titled,
)
from qloader.documents.atlassian.converted import Converted, Findings, Resolvers
from qloader.documents.atlassian.writer import write_markdown

_MARKS = {"strong": STRONG, "em": EM, "strike": STRIKE, "code": CODE}
_QUIET_MARKS = frozenset(
    [
        "underline",
        "textColor",
        "backgroundColor",
        "annotation",
        "alignment",
        "indentation",
        "border",
        "breakout",
        "fragment",
        "dataConsumer",
        "confluenceInlineComment",
        "fontSize",
        "subsup",
        "link",
        "unsupportedMark",
        "typeAheadQuery",
    ]
)
_PANELS = {"info": "Info", "note": "Note", "warning": "Warning", "error": "Error", "success": "Success", "tip": "Tip"}
_NAVIGATION = frozenset(
    ["toc", "children", "pagetree", "contentbylabel", "recently-updated", "livesearch", "anchor", "attachments"]
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def adf_to_markdown(document: object, resolvers: Resolvers | None = None) -> Converted:
    """Converts a document in Atlassian Document Format.

    Never raises: a node that is not as documented is read as far as it can be understood, and no text is lost.

    Args:
        document: The JSON value as parsed: a node, usually of type `doc`; None gives an empty text.
        resolvers: Answers about users, attachments and issues.
    """
    reader = _Reader(Findings(resolvers or Resolvers()))
    flow = Flow()
    reader.node(document, flow, 0)
    return reader.findings.converted(write_markdown(flow.finish()))


class _Reader:
    """Reads one document; every method adds what a node holds to a flow."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def node(self, node: object, flow: Flow, depth: int) -> None:
        """Adds a node of any kind, whatever it really is."""
        if isinstance(node, str):
            _add_text(flow, node, 0, None)
        elif isinstance(node, list | tuple):
            if depth > MAX_DEPTH:
                _add_text(flow, _all_text(node), 0, None)
            else:
                for child in node:
                    self.node(child, flow, depth + 1)
        elif isinstance(node, Mapping):
            if depth > MAX_DEPTH:
                _add_text(flow, _all_text(node), 0, None)
                return
            kind = node.get("type")
            read = _NODES.get(kind) if isinstance(kind, str) else None
            if read is not None:
                read(self, node, flow, depth)
            else:
                self.unknown(node, flow, depth)

    def unknown(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        kind = node.get("type")
        self.findings.unknown.add(kind if isinstance(kind, str) and kind else "node without a type")
        self.kept(node, flow, depth)

    def kept(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        """A node's own text, and what is in it."""
        for text in (node.get("text"), _attribute(node, "text")):
            if isinstance(text, str):
                self._words(flow, text, node)
        self.node(node.get("content"), flow, depth + 1)

    def content(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        """What is in a node that is only a frame."""
        text = node.get("text")
        if isinstance(text, str):
            self._words(flow, text, node)
        self.node(node.get("content"), flow, depth + 1)

    def block(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.end_paragraph()
        self.content(node, flow, depth)
        flow.end_paragraph()

    def blocks(self, node: Mapping[str, Any], depth: int) -> list[Block]:
        inner = Flow()
        self.content(node, inner, depth)
        return inner.finish()

    def _words(self, flow: Flow, text: str, node: Mapping[str, Any]) -> None:
        """Text with a node's marks."""
        marks, href, raised = 0, None, ""
        given = node.get("marks")
        for mark in given if isinstance(given, list) else ():
            kind = mark.get("type") if isinstance(mark, Mapping) else None
            if not isinstance(kind, str):
                continue
            marks |= _MARKS.get(kind, 0)
            if kind == "link":
                href = _text(mark, "href") or None
            elif kind == "subsup":
                raised = _text(mark, "type")
            elif kind not in _MARKS and kind not in _QUIET_MARKS:
                self.findings.unknown.add(kind)
        if raised in ("sub", "sup") and text.strip() and not marks & CODE:
            flow.text(f"<{raised}>", marks | RAW, href)
            _add_text(flow, text, marks, href)
            flow.text(f"</{raised}>", marks | RAW, href)
        else:
            _add_text(flow, text, marks, href)

    def text(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        text = node.get("text")
        if isinstance(text, str):
            self._words(flow, text, node)
        if node.get("content"):
            self.node(node["content"], flow, depth + 1)

    def hard_break(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.runs.append(HARD_BREAK)
        self.node(node.get("content"), flow, depth + 1)

    def heading(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        inner = self.blocks(node, depth)
        level = _number(node, "level", 1)
        if inner and isinstance(inner[0], Paragraph):
            flow.add(Heading(level, inner[0].runs))
            inner = inner[1:]
        flow.extend(inner)

    def item_list(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        items: list[Item] = []
        for child in _children(node):
            kind = child.get("type") if isinstance(child, Mapping) else None
            inner = Flow()
            self.node(child, inner, depth + 1)
            blocks = inner.finish()
            if kind == node.get("type") and items:  # a list of tasks within one: it belongs to the task before it
                items[-1].blocks.extend(blocks)
            elif blocks:
                items.append(Item(blocks, self._done(child) if kind in ("taskItem", "blockTaskItem") else None))
        start = _number(node, "order", 1) if node.get("type") == "orderedList" else None
        flow.add(ItemList(items, start))

    def _done(self, task: object) -> bool:
        return isinstance(task, Mapping) and _attribute(task, "state") == "DONE"

    def decision(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        blocks = self.blocks(node, depth)
        label = Run("Decision:", STRONG)
        if blocks and isinstance(blocks[0], Paragraph):
            blocks[0] = Paragraph([label, Run(" "), *blocks[0].runs])
        elif blocks:
            blocks.insert(0, Paragraph([label]))
        flow.extend(blocks)

    def code(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.add(Code(_all_text(node.get("content"), "") or _text(node, "text"), _text(node, "language")))

    def quote(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.add(Quote(self.blocks(node, depth)))

    def panel(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.add(panel(_PANELS.get(_text(node, "panelType"), ""), "", self.blocks(node, depth)))

    def expand(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.extend(titled(_text(node, "title"), self.blocks(node, depth)))

    def rule(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.add(Rule())
        self.node(node.get("content"), flow, depth + 1)

    def table(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        rows = []
        for child in _children(node):
            is_row = isinstance(child, Mapping) and child.get("type") == "tableRow"
            rows.append([self._cell(cell, depth + 2) for cell in (_children(child) if is_row else [child])])
        flow.add(Table(rows))

    def _cell(self, node: object, depth: int) -> Cell:
        inner = Flow()
        if not isinstance(node, Mapping) or node.get("type") not in ("tableCell", "tableHeader"):
            self.node(node, inner, depth)
            return Cell(inner.finish())
        if depth > MAX_DEPTH:
            inner.text(_all_text(node))
        else:
            self.content(node, inner, depth)
        header = node["type"] == "tableHeader"
        return Cell(inner.finish(), header, _number(node, "colspan", 1), _number(node, "rowspan", 1))

    def media(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        ask = self.findings.resolvers.attachment
        name = _text(node, "__fileName") or _text(node, "fileName")
        url = _text(node, "url") or next((url for key in (name, _text(node, "alt")) if key and (url := ask(key))), None)
        label = _text(node, "alt") or name or (url or "").partition("?")[0].rpartition("/")[2]
        if label or url:
            flow.runs.append(image(label, url))
        self.node(node.get("content"), flow, depth + 1)

    def mention(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        user, shown = _text(node, "id"), _text(node, "text")
        if user or shown:
            self._words(flow, self.findings.name_of(user, shown) if user else shown, node)
        self.node(node.get("content"), flow, depth + 1)

    def emoji(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        self._words(flow, _text(node, "text") or _text(node, "shortName"), node)
        self.node(node.get("content"), flow, depth + 1)

    def date(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        self._words(flow, _day(_attribute(node, "timestamp")), node)
        self.node(node.get("content"), flow, depth + 1)

    def status(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.text(_text(node, "text"), STRONG)
        self.node(node.get("content"), flow, depth + 1)

    def placeholder(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        self.kept(node, flow, depth)

    def card(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        data = _attribute(node, "data")
        data = data if isinstance(data, Mapping) else {}
        name, url = data.get("name"), _text(node, "url") or data.get("url")
        url = url if isinstance(url, str) else ""
        words = name if isinstance(name, str) and name.strip() else url
        if words:
            flow.text(words, 0, url or None)
        self.node(node.get("content"), flow, depth + 1)

    def block_card(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        flow.end_paragraph()
        self.card(node, flow, depth)
        flow.end_paragraph()

    def extension(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        key = _text(node, "extensionKey")
        if key not in _NAVIGATION:
            self.findings.unknown.add(key or str(node.get("type")))
        if node.get("type") == "inlineExtension":
            self.kept(node, flow, depth)
        else:
            flow.end_paragraph()
            self.kept(node, flow, depth)
            flow.end_paragraph()

    def issue(self, node: Mapping[str, Any], flow: Flow, depth: int) -> None:
        key = _text(node, "issueKey")
        flow.text(key, 0, self.findings.resolvers.issue(key) if key else None)
        self.node(node.get("content"), flow, depth + 1)


def _children(node: object) -> list[Any]:
    """What is in a node, as a list whatever it is; its own text comes first."""
    if not isinstance(node, Mapping):
        return [node]
    content, text = node.get("content"), node.get("text")
    found = list(content) if isinstance(content, list | tuple) else [] if content is None else [content]
    return [text, *found] if isinstance(text, str) else found


def _attribute(node: Mapping[str, Any], name: str) -> object:
    attributes = node.get("attrs")
    return attributes.get(name) if isinstance(attributes, Mapping) else None


def _text(node: Mapping[str, Any], name: str) -> str:
    """An attribute that is a text; empty where it is missing or something else."""
    value = _attribute(node, name)
    return value if isinstance(value, str) else ""


def _number(node: Mapping[str, Any], name: str, default: int) -> int:
    value = _attribute(node, name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


def _add_text(flow: Flow, text: str, marks: int, href: str | None) -> None:
    """Adds words; a line end in them is a line break, as Atlassian shows it."""
    if "\n" not in text or marks & CODE:
        flow.text(text, marks, href)
        return
    for number, line in enumerate(text.split("\n")):
        if number:
            flow.runs.append(HARD_BREAK)
        if line:
            flow.text(line, marks, href)


def _day(timestamp: object) -> str:
    """Milliseconds since 1970 as a day in UTC; anything else as it stands."""
    try:
        return (_EPOCH + timedelta(milliseconds=int(str(timestamp)))).date().isoformat()
    except (ValueError, OverflowError):
        return timestamp if isinstance(timestamp, str) else ""


def _all_text(node: object, between: str = " ") -> str:
    """All texts of a tree, however deep, in order."""
    return between.join(_texts(node))


def _texts(node: object) -> Iterator[str]:
    stack: list[object] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list | tuple):
            stack.extend(reversed(item))
        elif isinstance(item, Mapping):
            stack.append(item.get("content"))
            for text in (_attribute(item, "text"), item.get("text")):
                if isinstance(text, str):
                    stack.append(text)
            if item.get("type") == "hardBreak":
                stack.append("\n")


_Read = Callable[[_Reader, Mapping[str, Any], Flow, int], None]
_NODES: dict[str, _Read] = {
    **dict.fromkeys(
        ("doc", "layoutSection", "layoutColumn", "paragraph", "listItem", "taskItem", "blockTaskItem", "caption"),
        _Reader.block,
    ),
    **dict.fromkeys(("mediaSingle", "mediaGroup", "tableRow", "tableCell", "tableHeader"), _Reader.block),
    **dict.fromkeys(("bulletList", "orderedList", "taskList", "decisionList"), _Reader.item_list),
    **dict.fromkeys(("expand", "nestedExpand"), _Reader.expand),
    **dict.fromkeys(("media", "mediaInline", "image"), _Reader.media),
    **dict.fromkeys(("blockCard", "embedCard"), _Reader.block_card),
    **dict.fromkeys(("extension", "bodiedExtension", "inlineExtension"), _Reader.extension),
    **dict.fromkeys(("multiBodiedExtension",), _Reader.extension),
    "extensionFrame": _Reader.block,
    "decisionItem": _Reader.decision,
    "codeBlock": _Reader.code,
    "blockquote": _Reader.quote,
    "panel": _Reader.panel,
    "rule": _Reader.rule,
    "table": _Reader.table,
    "heading": _Reader.heading,
    "text": _Reader.text,
    "hardBreak": _Reader.hard_break,
    "mention": _Reader.mention,
    "emoji": _Reader.emoji,
    "date": _Reader.date,
    "status": _Reader.status,
    "placeholder": _Reader.placeholder,
    "inlineCard": _Reader.card,
    "confluenceJiraIssue": _Reader.issue,
}
