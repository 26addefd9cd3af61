"""Confluence's XML as a tree, whatever state it is in.

A scanner of our own, after looking at others (versions of November 2026, measured on the cases of
`tests/documents/atlassian/test_storage_xml.py`): lxml, recovering, loses all text below level 2,048 and drops a bare
`&`; HTML parsers (selectolax, html5lib) turn CDATA, which holds all code, into comments, and let a self-closed
`<ri:page/>` swallow what follows; expat stops at the first mistake. What is left to do is small: no names of the
document's own are ever defined, so there are no entity bombs and nothing external; every expression is possessive and
stops at the next `<`, so the time is linear in the size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.entities import html5

from qloader.documents.atlassian.blocks import MAX_DEPTH

_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z_][\w:.-]*+)"
    r"(?P<attributes>(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+)>"
)
_ATTRIBUTE = re.compile(r"([A-Za-z_][\w:.-]*+)\s*+=\s*+(?:\"([^\"]*+)\"|'([^']*+)')")
_ENTITY = re.compile(r"&(?:#([0-9]{1,8})|#[xX]([0-9a-fA-F]{1,7})|([A-Za-z][A-Za-z0-9]{0,31}));")

_VOID = frozenset({"br", "hr", "img", "col", "input", "wbr", "area", "param"})
_ENDED_BY = {
    "p": frozenset({"p"}),
    "li": frozenset({"li"}),
    "td": frozenset({"td", "th", "tr"}),
    "th": frozenset({"td", "th", "tr"}),
    "tr": frozenset({"tr"}),
}
"""By the element that is open: the start tags that end it, where somebody forgot to."""


class Literal(str):
    """Text from a CDATA section, in which nothing is markup."""

    __slots__ = ()


@dataclass(slots=True)
class Node:
    """An element.

    Attributes:
        name: Its name with prefix, in lower case, e.g. `ac:link`.
        raw: Its attributes as written.
        children: Elements and texts, in order.
    """

    name: str
    raw: str = ""
    children: list[Node | str] = field(default_factory=list)

    def get(self, name: str) -> str:
        """An attribute's value; empty where there is none."""
        if name not in self.raw:
            return ""
        for found in _ATTRIBUTE.finditer(self.raw):
            if found[1] == name:
                return _unescaped(found[2] if found[2] is not None else found[3])
        return ""

    def nodes(self) -> Iterator[Node]:
        """The elements in it."""
        return (child for child in self.children if isinstance(child, Node))

    def first(self, *names: str) -> Node | None:
        """The first element in it of one of these names."""
        return next((node for node in self.nodes() if node.name in names), None)

    def text(self) -> str:
        """All its text, as written."""
        parts: list[str] = []
        stack: list[Node | str] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, Node):
                stack.extend(reversed(item.children))
            else:
                parts.append(item)
        return "".join(parts)


def parse_storage(source: str) -> Node:
    """A tree with all elements and texts of a storage format, at most `MAX_DEPTH` levels deep.

    Never raises. A tag without its end is ended where the element around it ends; an end without a start is
    passed over; what is no tag (`a < b`) is text; elements below the last level are left out, their text is not.
    """
    return _Parser(source).parse()


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.root = Node("")
        self.names: list[str] = []  # the open elements
        self.opened: dict[str, int] = {}  # how many of each name are open
        self.path = [self.root]  # the nodes of the open elements, as deep as the tree goes
        self.no_more: set[str] = set()  # ends of sections that do not occur again, so that nobody looks twice

    def parse(self) -> Node:
        source, at = self.source, 0
        while (start := source.find("<", at)) >= 0:
            if start > at:
                self._text(source[at:start])
            at = self._markup(start)
        self._text(source[at:])
        return self.root

    def _markup(self, start: int) -> int:
        """Takes in what begins with the `<` at `start`; the index behind it."""
        source = self.source
        found = _TAG.match(source, start)
        if found is not None:
            name = found["name"].lower()
            if found["close"]:
                self._close(name)
            else:
                attributes = found["attributes"]
                empty = attributes.endswith("/")
                self._open(name, attributes, empty or name in _VOID)
            return found.end()
        if source.startswith("<![CDATA[", start):
            end = self._find("]]>", start)
            if end < 0:
                end = self._find("</ac:plain-text", start)
                end = len(source) if end < 0 else end
                self._append(Literal(source[start + 9 : end]))
                return end
            self._append(Literal(source[start + 9 : end]))
            return end + 3
        for opening, closing in (("<!--", "-->"), ("<?", "?>"), ("<!", ">")):
            if source.startswith(opening, start):
                return self._skip(start, closing)
        self._append("<")
        return start + 1

    def _skip(self, start: int, closing: str) -> int:
        """The index behind a comment, an instruction or a document type; one without an end is text."""
        end = self._find(closing, start)
        if end < 0:
            self._append("<")
            return start + 1
        if closing == ">" and self.source.find("[", start, end) >= 0:  # a document type with declarations in it
            subset = self._find("]>", start)
            return subset + 2 if subset >= 0 else end + 1
        return end + len(closing)

    def _find(self, words: str, start: int) -> int:
        if words in self.no_more:
            return -1
        found = self.source.find(words, start)
        if found < 0:
            self.no_more.add(words)
        return found

    def _text(self, text: str) -> None:
        if text:
            self._append(_unescaped(text))

    def _append(self, text: str) -> None:
        self.path[-1].children.append(text)

    def _open(self, name: str, attributes: str, empty: bool) -> None:
        while self.names and name in _ENDED_BY.get(self.names[-1], ()):
            self._pop()
        if len(self.names) < MAX_DEPTH:
            node = Node(name, attributes)
            self.path[-1].children.append(node)
            if not empty:
                self.path.append(node)
        else:
            self.path[-1].children.append(" ")
        if not empty:
            self.names.append(name)
            self.opened[name] = self.opened.get(name, 0) + 1

    def _close(self, name: str) -> None:
        if not self.opened.get(name):
            return
        while self._pop() != name:
            pass

    def _pop(self) -> str:
        name = self.names.pop()
        self.opened[name] -= 1
        if len(self.names) < MAX_DEPTH:
            self.path.pop()
        else:
            self.path[-1].children.append(" ")
        return name


def _unescaped(text: str) -> str:
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(found: re.Match[str]) -> str:
    decimal, hexadecimal, name = found.groups()
    if name is not None:
        return html5.get(name + ";", found[0])
    code = int(decimal) if decimal is not None else int(hexadecimal, 16)
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
