"""Atlassian Document Format becomes Markdown: nodes, marks, whole issues, and trees that are not as documented."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qloader.chunking.chunker import Chunker
from qloader.documents.atlassian.adf import adf_to_markdown
from qloader.documents.atlassian.converted import Resolvers

ANSWERS = Resolvers(
    user={"u1": "Ann Lee"}.get,
    attachment=lambda name: f"https://jira/files/{name}",
    issue=lambda key: f"https://jira/browse/{key}",
)


def node(kind, *content, **attrs):
    made = {"type": kind}
    if attrs:
        made["attrs"] = attrs
    if content:
        made["content"] = [text(part) if isinstance(part, str) else part for part in content]
    return made


def text(words, *marks, **attrs):
    made = {"type": "text", "text": words}
    if marks:
        made["marks"] = [{"type": mark, "attrs": attrs} if attrs else {"type": mark} for mark in marks]
    return made


def p(*content):
    return node("paragraph", *content)


def doc(*content):
    return {"type": "doc", "version": 1, "content": list(content)}


def text_of(*content):
    result = adf_to_markdown(doc(*content), ANSWERS)
    assert result.unknown == ()
    return result.text.rstrip("\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (p("a"), "a"),
        (p(), ""),
        (node("heading", "H", level=2), "## H"),
        (node("bulletList", node("listItem", p("a"), node("bulletList", node("listItem", p("b"))))), "- a\n  - b"),
        (node("orderedList", node("listItem", p("a")), node("listItem", p("b")), order=4), "4. a\n5. b"),
        (
            node(
                "taskList", node("taskItem", "a", state="DONE"), node("taskList", node("taskItem", "b", state="TODO"))
            ),
            "- [x] a\n  - [ ] b",
        ),
        (node("decisionList", node("decisionItem", "a", state="DECIDED")), "- **Decision:** a"),
        (node("codeBlock", "a\n\n```b", language="python"), "````python\na\n\n```b\n````"),
        (node("blockquote", p("a"), p("b")), "> a\n>\n> b"),
        (node("panel", p("a"), panelType="warning"), "> **Warning**\n>\n> a"),
        (node("panel", p("a"), panelType="custom"), "> a"),
        (node("rule"), "---"),
        (node("expand", p("a"), title="More"), "**More**\n\na"),
        (node("nestedExpand", p("a"), title=""), "a"),
        (node("mediaSingle", node("media", type="external", url="https://x/i.png", alt="I")), "![I](https://x/i.png)"),
        (node("mediaGroup", node("media", id="1", type="file", alt="a.log")), "![a.log](https://jira/files/a.log)"),
        (node("mediaSingle", node("media", id="1"), node("caption", "under it")), "under it"),
        (p("see ", node("mention", id="u1", text="@Old Name")), "see @Ann Lee"),
        (p(node("mention", id="u2", text="@Bo")), "@Bo"),
        (p(node("emoji", shortName=":x:", text="🚀"), node("emoji", shortName=":own:")), "🚀:own:"),
        (p(node("date", timestamp="1767225599000")), "2025-12-31"),
        (p(node("date", timestamp=1767225600000)), "2026-01-01"),
        (p("is ", node("status", text="DONE", color="green")), "is **DONE**"),
        (p(node("inlineCard", url="https://x/y")), "<https://x/y>"),
        (node("blockCard", data={"name": "Card", "url": "https://x/y"}), "[Card](https://x/y)"),
        (node("embedCard", url="https://x/y", layout="center"), "<https://x/y>"),
        (p("a", node("hardBreak"), "b"), "a\\\nb"),
        (p("a\nb"), "a\\\nb"),
        (p(node("placeholder", text="Say why")), "Say why"),
        (
            node("layoutSection", node("layoutColumn", p("a"), width=50), node("layoutColumn", p("b"), width=50)),
            "a\n\nb",
        ),
        (node("extension", extensionType="com.atlassian.confluence.macro.core", extensionKey="toc"), ""),
        (p(text("a ", "strong"), text("b", "em"), "c"), "**a** *b*c"),
        (p(text("a", "strong", "em"), text("b", "strong")), "***a*b**"),
        (p(text("a", "strike"), text(" b", "underline"), text("c", "textColor", color="#fff")), "~~a~~ bc"),
        (p(text("x`y", "code")), "``x`y``"),
        (p("x", text("2", "subsup", type="sup")), "x<sup>2</sup>"),
        (p(text("t", "link", href="https://x/y")), "[t](https://x/y)"),
        (p(text("t", "annotation", id="1", annotationType="inlineComment")), "t"),
    ],
)
def test_nodes_and_marks(source, expected):
    assert text_of(source) == expected


def test_a_table_keeps_its_headers_bars_breaks_and_merged_cells():
    head = node("tableRow", node("tableHeader", p("A"), colspan=2), node("tableHeader", p("B")))
    body = node("tableRow", node("tableHeader", p("k")), node("tableCell", p("x|y"), p("z")), node("tableCell", p("1")))
    assert text_of(node("table", head, body)).split("\n") == [
        "| A |  | B |",
        "| --- | --- | --- |",
        "| **k** | x\\|y<br>z | 1 |",
    ]


def test_what_is_unknown_is_named_once_and_its_text_kept():
    odd = node("hologram", p("a"), node("hologram", "b"), text="c")
    call = node("bodiedExtension", p("d"), extensionKey="roadmap")
    result = adf_to_markdown(doc(odd, call, p(text("e", "glow")), {"content": [text("f")]}))
    assert result.unknown == ("glow", "hologram", "node without a type", "roadmap")
    assert sorted(char for char in result.text if char.isalpha()) == list("abcdef")


@pytest.mark.parametrize("kind", ["paragraph", "bulletList", "table", "panel", "nosuch", "expand", "tableRow"])
def test_ten_thousand_levels_keep_their_words(kind):
    tree = {"type": "text", "text": "the words"}
    for _ in range(10_000):
        tree = {"type": kind, "content": [tree]}
    assert "the words" in adf_to_markdown(tree).text


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        (None, ""),
        ("bare words", "bare words"),
        (17, ""),
        ([p("a")], "a"),
        ({"type": "paragraph", "content": "words"}, "words"),
        ({"type": "paragraph", "content": p("a")}, "a"),
        ({"type": "paragraph", "content": [None, 3, "a", []]}, "a"),
        ({"type": "heading", "attrs": {"level": "x"}, "content": [text("a")]}, "a"),
        ({"type": "heading", "attrs": [], "content": [text("a")]}, "a"),
        ({"type": "text", "text": None, "marks": 3}, ""),
        ({"type": "text", "text": "a", "marks": [None, "strong", {"type": 3}, {"type": "link", "attrs": None}]}, "a"),
        ({"type": "table", "content": [text("a"), node("tableRow", "b"), "c"]}, "abc"),
        ({"type": ["x"], "text": "a"}, "a"),
        ({"type": "date", "attrs": {"timestamp": "soon"}}, "soon"),
        ({"type": "date", "attrs": {"timestamp": "9" * 40}}, "9" * 40),
        ({"type": "orderedList", "attrs": {"order": -5}, "content": [node("listItem", p("a"))]}, "a"),
        ({"type": "tableCell", "attrs": {"colspan": 1e300}, "content": [p("a")]}, "a"),
        ({"type": "text", "text": "\ud83d\ude80 \ud800"}, "🚀 \ufffd"),
    ],
)
def test_malformed_trees_keep_their_text(source, kept):
    result = adf_to_markdown(source).text
    result.encode()
    assert all(char in result for char in kept)


def test_a_number_too_long_for_python_is_no_error():
    adf_to_markdown({"type": "date", "attrs": {"timestamp": "9" * 5000}})


KINDS = st.sampled_from(
    [
        "doc",
        "paragraph",
        "heading",
        "bulletList",
        "orderedList",
        "listItem",
        "taskList",
        "taskItem",
        "decisionList",
        "decisionItem",
        "codeBlock",
        "blockquote",
        "panel",
        "table",
        "tableRow",
        "tableHeader",
        "tableCell",
        "rule",
        "expand",
        "mediaSingle",
        "media",
        "mention",
        "emoji",
        "date",
        "status",
        "inlineCard",
        "hardBreak",
        "text",
        "extension",
        "placeholder",
        "odd",
    ]
)
LEAVES = st.none() | st.integers() | st.text("ab*_`\n", max_size=4) | st.floats()
ANY = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {"type": KINDS | LEAVES}, optional={"content": inner, "attrs": inner, "marks": inner, "text": inner}
        )
        | st.dictionaries(
            st.sampled_from(["level", "order", "text", "id", "url", "href", "type", "data", "colspan"]), inner
        )
    ),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_no_tree_raises_and_the_same_tree_gives_the_same_bytes(source):
    assert adf_to_markdown(source) == adf_to_markdown(source)


FRAMES = st.sampled_from(
    [
        "doc",
        "paragraph",
        "bulletList",
        "listItem",
        "blockquote",
        "panel",
        "table",
        "tableRow",
        "tableCell",
        "expand",
        "odd",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.text("abcxyz *_|#", min_size=1, max_size=5).map(text),
        lambda inner: st.builds(
            lambda kind, parts: {"type": kind, "content": parts}, FRAMES, st.lists(inner, max_size=3)
        ),
        max_leaves=15,
    )
)
def test_every_letter_of_a_document_is_in_its_markdown(source):
    wanted = [char for char in repr(_texts(source)) if char in "abcxyz"]
    found = [char for char in adf_to_markdown(source).text.replace("<br>", "") if char in "abcxyz"]
    assert sorted(found) == sorted(wanted)


def _texts(tree):
    return tree["text"] if tree["type"] == "text" else "".join(_texts(part) for part in tree["content"])


def test_a_whole_issue_and_its_chunks():
    issue = doc(
        node("heading", "Steps to reproduce", level=3),
        node("orderedList", node("listItem", p("Open ", text("app.yaml", "code"))), node("listItem", p("Run it"))),
        node("codeBlock", 'Traceback\n\n  File "a.py"\n\n# not a heading', language="python"),
        p("Reported by ", node("mention", id="u1"), " on ", node("date", timestamp="1767225600000"), "."),
    )
    result = adf_to_markdown(issue, ANSWERS)
    assert result.mentions == ("u1",)
    assert result.text == (
        "### Steps to reproduce\n\n1. Open `app.yaml`\n2. Run it\n\n"
        '```python\nTraceback\n\n  File "a.py"\n\n# not a heading\n```\n\nReported by @Ann Lee on 2026-01-01.\n'
    )
    chunks = Chunker(max_chars=100).split(result.text, "markdown")
    assert all(chunk.text.count("```") in (0, 2) for chunk in chunks)
    assert all(chunk.headings == ("Steps to reproduce",) for chunk in chunks)
