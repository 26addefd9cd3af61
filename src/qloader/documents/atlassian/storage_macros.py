"""Confluence's macros: what each becomes. One function a kind, and a table of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qloader.documents.atlassian.blocks import CODE, STRONG, Block, Code, Flow, panel, titled
from qloader.documents.atlassian.storage_xml import Literal, Node

if TYPE_CHECKING:
    from qloader.documents.atlassian.storage import StorageReader


@dataclass(frozen=True, slots=True)
class Macro:
    """One use of a macro, and where its content goes.

    Attributes:
        reader: Reads what is in it.
        node: Its element.
        name: Its name, in lower case.
        flow: Takes the content.
        marks: How the words around it look.
        href: Where the words around it lead.
    """

    reader: StorageReader
    node: Node
    name: str
    flow: Flow
    marks: int
    href: str | None

    def parameter(self, *names: str) -> Node | None:
        """The first parameter of one of these names; the unnamed one is called ``""``."""
        for child in self.node.nodes():
            if (child.name == "ac:parameter" and child.get("ac:name") in names) or (
                child.name == "ac:default-parameter" and "" in names
            ):
                return child
        return None

    def value(self, *names: str) -> str:
        """A parameter's text; empty where it is not given."""
        found = self.parameter(*names)
        return found.text().strip() if found is not None else ""

    def rich(self) -> list[Block]:
        """The blocks of its body."""
        body = self.node.first("ac:rich-text-body")
        return self.reader.blocks(body).blocks if body is not None else []

    def plain(self) -> str:
        """The text of its body, verbatim."""
        body = self.node.first("ac:plain-text-body")
        if body is None:
            return ""
        if not any(isinstance(child, Literal) for child in body.children):
            return body.text()
        # White space around a CDATA section is somebody's indentation.
        return "".join(
            child if isinstance(child, str) else child.text()
            for child in body.children
            if isinstance(child, Literal | Node) or not child.isspace()
        )

    def keep_body(self) -> None:
        """Adds whatever text is in it: blocks as blocks, plain text as code."""
        for child in self.node.children:
            if not isinstance(child, Node):
                if not child.isspace():
                    self.flow.text(child, self.marks, self.href)
            elif child.name == "ac:plain-text-body":
                self.flow.add(Code(self.plain()))
            elif child.name == "ac:rich-text-body":
                self.flow.extend(self.reader.blocks(child).blocks)
            else:
                self.reader.children(Node("", "", [child]), self.flow, self.marks, self.href)


def _code(macro: Macro) -> None:
    language = macro.value("language", "lang", "") if macro.name == "code" else ""
    text = macro.plain()
    blocks: list[Block] = [Code(text, language)] if text else macro.rich()
    macro.flow.extend(titled(macro.value("title"), blocks) if blocks else [])


def _named_code(macro: Macro) -> None:
    macro.flow.extend([Code(macro.plain(), _CODE[macro.name]), *macro.rich()])


def _inline_code(macro: Macro) -> None:
    macro.flow.text((macro.plain() or macro.value("body", "")).strip(), macro.marks | CODE, macro.href)


def _panel(macro: Macro) -> None:
    kind = "" if macro.name == "panel" else macro.name.capitalize()
    macro.flow.add(panel(kind, macro.value("title"), macro.rich() or [Code(macro.plain())]))


def _expand(macro: Macro) -> None:
    macro.flow.extend(titled(macro.value("title", ""), macro.rich()))


def _status(macro: Macro) -> None:
    macro.flow.text(macro.value("title", "colour"), macro.marks | STRONG, macro.href)


def _jira(macro: Macro) -> None:
    key = macro.value("key")
    if key:
        macro.flow.text(key, macro.marks, macro.reader.findings.resolvers.issue(key) or macro.href)
        return
    query = macro.value("jqlQuery", "jql", "url", "")
    if query:
        macro.flow.text("Jira issues: ", macro.marks, macro.href)
        macro.flow.text(query, macro.marks | CODE, macro.href)


def _resource(macro: Macro) -> None:
    """A macro that shows a page, a file or an address: a link to it."""
    for name in ("", "name", "page", "url", "src"):
        parameter = macro.parameter(name)
        if parameter is None:
            continue
        link = parameter.first("ac:link")
        target = next((child for child in (link or parameter).nodes() if child.name.startswith("ri:")), None)
        if target is not None:
            url, words = macro.reader.resource(target)
        else:
            words = parameter.text().strip()
            url = words if words.startswith(("http://", "https://")) else None
        macro.flow.end_paragraph()
        macro.flow.text(words or url or "", macro.marks, url or macro.href)
        macro.flow.end_paragraph()
        break
    _content(macro)


def _profile(macro: Macro) -> None:
    from qloader.documents.atlassian.storage import user_of

    parameter = macro.parameter("user", "")
    user = user_of(parameter.first("ri:user")) if parameter is not None else ""
    user = user or macro.value("user", "")
    if user:
        macro.flow.text(macro.reader.findings.name_of(user), macro.marks, macro.href)


def _content(macro: Macro) -> None:
    """A macro that only arranges: what is in it."""
    macro.keep_body()


def _caption(macro: Macro) -> None:
    macro.flow.extend(titled(macro.value("title", "label", "name"), macro.rich()))


_CODE = {
    "html": "html",
    "html-include": "html",
    "latex": "latex",
    "markdown": "markdown",
    "mathblock": "latex",
    "mermaid": "mermaid",
    "mermaid-cloud": "mermaid",
    "mermaid-macro": "mermaid",
    "noformat": "",
    "plantuml": "plantuml",
    "sql": "sql",
}
"""By macros whose plain text is code: its language."""

_NAVIGATION = [
    "anchor",
    "blog-posts",
    "change-history",
    "children",
    "content-report-table",
    "contentbylabel",
    "contributors",
    "contributors-summary",
    "create-from-template",
    "detailssummary",
    "favpages",
    "gallery",
    "attachments",
    "index",
    "labels-list",
    "listlabels",
    "livesearch",
    "navmap",
    "pagetree",
    "pagetreesearch",
    "popular-labels",
    "profile-picture",
    "recently-updated",
    "recently-updated-dashboard",
    "related-labels",
    "search",
    "space-attachments",
    "space-details",
    "spaces-list",
    "tasks-report-macro",
    "task-report",
    "toc",
    "userlister",
    "viewtracker",
]
"""Macros that list or count what is elsewhere: their text is in no page."""

_Read = Callable[[Macro], None]
MACROS: dict[str, _Read] = {
    **dict.fromkeys(_NAVIGATION, _content),
    **dict.fromkeys(_CODE, _named_code),
    **dict.fromkeys(("code", "noformat"), _code),
    **dict.fromkeys(("mathinline", "eazy-math-inline"), _inline_code),
    **dict.fromkeys(("info", "note", "warning", "tip", "panel"), _panel),
    **dict.fromkeys(("expand", "ui-expand"), _expand),
    **dict.fromkeys(("status", "status-handy"), _status),
    **dict.fromkeys(("jira", "jiraissues"), _jira),
    **dict.fromkeys(("include", "excerpt-include"), _resource),
    **dict.fromkeys(("view-file", "viewdoc", "viewpdf", "viewppt", "viewxls", "multimedia", "office-excel"), _resource),
    **dict.fromkeys(("widget", "iframe", "loom-embed"), _resource),
    **dict.fromkeys(
        ("section", "column", "div", "span", "excerpt", "details", "toc-zone", "align", "center"), _content
    ),
    **dict.fromkeys(("ui-tab", "tab", "auitab", "deck", "card"), _caption),
    **dict.fromkeys(("ui-tabs", "auitabs", "auihorizontalnav", "excerpt-block"), _content),
    "profile": _profile,
}
"""By a macro's name: what reads it. A name that is not here is reported, and its body kept."""
