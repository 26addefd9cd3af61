"""Confluence storage format to Markdown: the elements; macros are in `storage_macros`."""

from __future__ import annotations

from collections.abc import Callable

from qloader.documents.atlassian.blocks import (
    CODE,
    EM,
    HARD_BREAK,
    RAW,
    STRIKE,
    STRONG,
    Cell,
    Code,
    Flow,
    Heading,
    Item,
    ItemList,
    Paragraph,
    Quote,
    Rule,
    Table,
    image,
    panel,
)
from qloader.documents.atlassian.converted import Converted, Findings, Resolvers
from qloader.documents.atlassian.emoji import EMOTICONS
from qloader.documents.atlassian.storage_macros import MACROS, Macro
from qloader.documents.atlassian.storage_xml import Node, parse_storage
from qloader.documents.atlassian.writer import write_markdown

_MARKS = {
    **dict.fromkeys(("strong", "b"), STRONG),
    **dict.fromkeys(("em", "i", "cite", "dfn", "var"), EM),
    **dict.fromkeys(("s", "del", "strike"), STRIKE),
    **dict.fromkeys(("code", "tt", "samp", "kbd"), CODE),
}
_BLOCKS = frozenset(
    [
        "p",
        "li",
        "td",
        "th",
        "tr",
        "dl",
        "div",
        "section",
        "article",
        "aside",
        "main",
        "header",
        "footer",
        "center",
        "address",
        "figure",
        "figcaption",
        "details",
        "summary",
        "dd",
        "fieldset",
        "form",
        "ac:task",
        "ac:task-body",
        "ac:adf-node",
        "ac:layout",
        "ac:layout-section",
        "ac:layout-cell",
        "ac:rich-text-body",
        "ac:caption",
        "ac:adf-content",
        "ac:adf-fallback",
    ]
)
_PLAIN = frozenset(
    [
        "u",
        "ins",
        "small",
        "big",
        "span",
        "font",
        "label",
        "abbr",
        "acronym",
        "bdo",
        "bdi",
        "mark",
        "q",
        "button",
        "nobr",
        "wbr",
        "html",
        "body",
        "tbody",
        "thead",
        "tfoot",
        "ac:inline-comment-marker",
        "ac:placeholder",
        "ac:link-body",
        "ac:plain-text-link-body",
        "ac:plain-text-body",
    ]
)
_SILENT = frozenset(
    [
        "script",
        "style",
        "head",
        "title",
        "template",
        "col",
        "colgroup",
        "ac:parameter",
        "ac:default-parameter",
        "ac:adf-attribute",
        "ac:task-id",
        "ac:task-uuid",
        "ac:adf-mark",
        "ac:adf-parameter",
        "ac:local-id",
    ]
)
_SECTIONS = frozenset(("tbody", "thead", "tfoot"))


def storage_to_markdown(source: str, resolvers: Resolvers | None = None) -> Converted:
    """Converts a page body in Confluence's storage format.

    Never raises: broken XML is read as far as it can be understood, and no text is lost. Takes time in
    proportion to the length of the source.

    Args:
        source: The value of `body.storage`.
        resolvers: Answers about pages, users, attachments and issues.
    """
    reader = StorageReader(Findings(resolvers or Resolvers()))
    flow = Flow()
    reader.children(parse_storage(source), flow)
    return reader.findings.converted(write_markdown(flow.finish()))


class StorageReader:
    """Reads one text; every method adds what an element holds to a flow.

    Args:
        findings: Takes what is noted on the way.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def children(self, node: Node, flow: Flow, marks: int = 0, href: str | None = None) -> None:
        """Adds all that is in an element."""
        for child in node.children:
            if not isinstance(child, Node):
                if flow.runs or not child.isspace():
                    flow.text(child, marks, href)
                continue
            name = child.name
            read = _ELEMENTS.get(name)
            if read is not None:
                read(self, child, flow, marks, href)
                continue
            mark = _MARKS.get(name)
            if mark is not None:
                # What stands within code is code, whatever else it is.
                self.children(child, flow, marks if marks & CODE else marks | mark, href)
            elif name in _BLOCKS:
                flow.end_paragraph()
                self.children(child, flow, marks, href)
                flow.end_paragraph()
            elif name not in _SILENT:
                if name not in _PLAIN:
                    self.findings.unknown.add(name)
                struck = name == "span" and "line-through" in child.raw and not marks & CODE
                self.children(child, flow, marks | STRIKE if struck else marks, href)

    def blocks(self, node: Node) -> Flow:
        """What is in an element, in a flow of its own."""
        flow = Flow()
        self.children(node, flow)
        flow.end_paragraph()
        return flow

    def _heading(self, node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        inner = self.blocks(node)
        first = inner.blocks[0] if inner.blocks else None
        level = int(node.name[1])
        if isinstance(first, Paragraph):
            flow.add(Heading(level, first.runs))
            flow.extend(inner.blocks[1:])
        else:
            flow.extend(inner.blocks)

    def _item_list(self, node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        items: list[Item] = []
        for child in node.children:
            if isinstance(child, Node) and child.name == "li":
                items.append(Item(self.blocks(child).blocks))
            elif isinstance(child, Node) or not child.isspace():
                inner = self.blocks(Node("", "", [child])).blocks
                if items and isinstance(child, Node) and child.name in ("ul", "ol"):
                    items[-1].blocks.extend(inner)
                elif inner:
                    items.append(Item(inner))
        start = node.get("start")
        number = int(start) if start.isascii() and start.isdigit() and len(start) < 10 else 1
        flow.add(ItemList(items, number if node.name == "ol" else None))

    def _tasks(self, node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        items: list[Item] = []
        for child in node.children:
            if isinstance(child, Node) and child.name == "ac:task":
                status = child.first("ac:task-status")
                done = status is not None and status.text().strip() == "complete"
                body = Node("", "", [part for part in child.children if part is not status])
                items.append(Item(self.blocks(body).blocks, done))
            elif isinstance(child, Node) or not child.isspace():
                inner = self.blocks(Node("", "", [child])).blocks
                if items:
                    items[-1].blocks.extend(inner)
                else:
                    items.append(Item(inner))
        flow.add(ItemList(items))

    def _table(self, node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        rows: list[list[Cell]] = []
        astray = Flow()
        for child in node.children:
            if isinstance(child, Node) and child.name in _SECTIONS:
                for part in child.children:
                    self._table_part(part, rows, astray)
            else:
                self._table_part(child, rows, astray)
        flow.extend(astray.finish())
        flow.add(Table(rows))

    def _table_part(self, part: Node | str, rows: list[list[Cell]], astray: Flow) -> None:
        if isinstance(part, Node) and part.name == "tr":
            rows.append([cell for child in part.children if (cell := self._cell(child))])
        elif isinstance(part, Node) and part.name in ("td", "th"):
            rows.append([cell for cell in [self._cell(part)] if cell])
        else:
            self.children(Node("", "", [part]), astray)

    def _cell(self, child: Node | str) -> Cell | None:
        if not isinstance(child, Node) or child.name not in ("td", "th"):
            inner = self.blocks(Node("", "", [child])).blocks
            return Cell(inner) if inner else None
        columns, rows = _span(child.get("colspan")), _span(child.get("rowspan"))
        return Cell(self.blocks(child).blocks, child.name == "th", columns, rows)

    def _quote(self, node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        flow.add(Quote(self.blocks(node).blocks))

    def _preformatted(self, node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        flow.add(Code(_with_line_ends(node).removeprefix("\n")))

    def _rule(self, _node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        flow.add(Rule())

    def _line_break(self, _node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        flow.runs.append(HARD_BREAK)

    def _term(self, node: Node, flow: Flow, marks: int, href: str | None) -> None:
        flow.end_paragraph()
        self.children(node, flow, marks | STRONG, href)
        flow.end_paragraph()

    def _raised(self, node: Node, flow: Flow, marks: int, href: str | None) -> None:
        if marks & CODE:
            self.children(node, flow, marks, href)
            return
        flow.text(f"<{node.name}>", marks | RAW, href)
        self.children(node, flow, marks, href)
        flow.text(f"</{node.name}>", marks | RAW, href)

    def _anchor(self, node: Node, flow: Flow, marks: int, href: str | None) -> None:
        self._linked(node, flow, marks, node.get("href") or href)

    def _linked(self, body: Node | None, flow: Flow, marks: int, href: str | None, words: str = "") -> None:
        """A link's body; `words`, or the address itself, where it has none."""
        inner = Flow()
        if body is not None:
            self.children(body, inner, marks, href)
        if inner.blocks or any(run.text.strip() for run in inner.runs):
            if inner.blocks:
                flow.extend(inner.finish())
            else:
                flow.runs += inner.runs
        elif words or href:
            flow.text(words or href or "", marks, href)

    def _link(self, node: Node, flow: Flow, marks: int, href: str | None) -> None:
        body = node.first("ac:link-body", "ac:plain-text-link-body")
        target = next((child for child in node.nodes() if child.name.startswith("ri:")), None)
        user = user_of(target)
        if user:
            flow.text(self.findings.name_of(user, body.text() if body is not None else ""), marks, href)
            return
        url, words = self.resource(target)
        anchor = node.get("ac:anchor")
        if anchor:
            # An anchor on a page that cannot be found would lead somewhere else.
            url = f"{url or ''}#{anchor}" if url or target is None else None
            words = words or anchor
        if body is None and target is None and not anchor:
            self.children(node, flow, marks, href)
            return
        self._linked(body, flow, marks, url or href, words)

    def resource(self, target: Node | None) -> tuple[str | None, str]:  # noqa: PLR0911
        """Where a resource is, if that is known, and what it is called."""
        if target is None:
            return None, ""
        ask = self.findings.resolvers
        match target.name:
            case "ri:page" | "ri:blog-post":
                title = target.get("ri:content-title")
                return (ask.page(title, target.get("ri:space-key") or None) if title else None), title
            case "ri:attachment":
                name = target.get("ri:filename")
                # A file of another page: the caller's answer would be about this page's.
                return (ask.attachment(name) if name and target.first("ri:page") is None else None), name
            case "ri:url":
                return target.get("ri:value") or None, ""
            case "ri:space":
                return None, target.get("ri:space-key")
            case "ri:shortcut":
                return None, f"{target.get('ri:parameter')}@{target.get('ri:key')}"
            case "ri:content-entity":
                return None, ""
            case _:
                self.findings.unknown.add(target.name)
                return None, ""

    def _picture(self, node: Node, flow: Flow, marks: int, href: str | None) -> None:
        target = next((child for child in node.nodes() if child.name.startswith("ri:")), None)
        url, name = self.resource(target)
        label = node.get("ac:alt") or node.get("alt") or name or node.get("ac:title") or _file_name(url or "")
        if node.name == "img":
            url = node.get("src") or None
            label = label or node.get("title") or _file_name(url or "")
        if label or url:
            run = image(label, url)
            flow.runs.append(run if run.marks else run._replace(marks=marks, href=href))
        for caption in node.nodes():
            if caption is not target:
                flow.end_paragraph()
                self.children(caption, flow, marks, href)

    def _time(self, node: Node, flow: Flow, marks: int, href: str | None) -> None:
        if node.get("datetime"):
            flow.text(node.get("datetime"), marks, href)
        else:
            self.children(node, flow, marks, href)

    def _emoticon(self, node: Node, flow: Flow, marks: int, href: str | None) -> None:
        name = node.get("ac:name")
        shown = node.get("ac:emoji-fallback") or EMOTICONS.get(name) or node.get("ac:emoji-shortname")
        flow.text(shown or (f":{name}:" if name else ""), marks, href)
        self.children(node, flow, marks, href)

    def _adf_extension(self, node: Node, flow: Flow, _marks: int, _href: str | None) -> None:
        inner = node.first("ac:adf-node")
        if inner is not None and inner.get("type") == "panel":
            content = inner.first("ac:adf-content")
            kind = next((a.text() for a in inner.nodes() if a.get("key") == "panel-type"), "")
            if content is not None:
                flow.add(panel(PANEL_KINDS.get(kind.strip(), ""), "", self.blocks(content).blocks))
                return
        shown = node.first("ac:adf-fallback")
        if shown is None and inner is not None:
            shown = inner.first("ac:adf-fallback")
        if shown is None:
            self.findings.unknown.add(inner.get("type") or "ac:adf-extension" if inner else "ac:adf-extension")
            shown = Node("", "", [*_below_adf_nodes(node)])
        flow.extend(self.blocks(shown).blocks)

    def _macro(self, node: Node, flow: Flow, marks: int, href: str | None) -> None:
        name = node.get("ac:name").lower()
        read = MACROS.get(name)
        macro = Macro(self, node, name, flow, marks, href)
        if read is None:
            self.findings.unknown.add(name or node.name)
            macro.keep_body()
        else:
            read(macro)


PANEL_KINDS = {
    "info": "Info",
    "note": "Note",
    "warning": "Warning",
    "error": "Error",
    "success": "Success",
    "tip": "Tip",
}
"""What a panel's type is called in its title; a panel of the writer's own colours has none."""


def user_of(target: Node | None) -> str:
    """The id in an `ri:user`; empty where it is none."""
    if target is None or target.name != "ri:user":
        return ""
    return target.get("ri:account-id") or target.get("ri:username") or target.get("ri:userkey")


def _below_adf_nodes(node: Node) -> list[Node | str]:
    """What is in nested `ac:adf-node` elements, without the nodes themselves."""
    found: list[Node | str] = []
    stack: list[Node | str] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Node) and (item is node or item.name == "ac:adf-node"):
            stack.extend(reversed(item.children))
        else:
            found.append(item)
    return found


def _with_line_ends(node: Node) -> str:
    """The text of preformatted words, `<br/>` as line end."""
    parts: list[str] = []
    stack: list[Node | str] = [node]
    while stack:
        item = stack.pop()
        if not isinstance(item, Node):
            parts.append(item)
        elif item.name == "br":
            parts.append("\n")
        else:
            stack.extend(reversed(item.children))
    return "".join(parts)


def _span(value: str) -> int:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 7 else 1


def _file_name(url: str) -> str:
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]


_Read = Callable[[StorageReader, Node, Flow, int, str | None], None]
_ELEMENTS: dict[str, _Read] = {
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), StorageReader._heading),
    **dict.fromkeys(("ul", "ol"), StorageReader._item_list),
    **dict.fromkeys(("sub", "sup"), StorageReader._raised),
    **dict.fromkeys(("img", "ac:image"), StorageReader._picture),
    **dict.fromkeys(("ac:structured-macro", "ac:macro"), StorageReader._macro),
    "ac:task-list": StorageReader._tasks,
    "table": StorageReader._table,
    "blockquote": StorageReader._quote,
    "pre": StorageReader._preformatted,
    "hr": StorageReader._rule,
    "br": StorageReader._line_break,
    "dt": StorageReader._term,
    "a": StorageReader._anchor,
    "ac:link": StorageReader._link,
    "time": StorageReader._time,
    "ac:emoticon": StorageReader._emoticon,
    "ac:adf-extension": StorageReader._adf_extension,
}
