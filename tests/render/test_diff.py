"""The diff of a document's text: true to both texts, chunk by chunk, and safe to print, whatever the texts hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from plan_builder import create, delete, make_plan, move, update
from selectolax.lexbor import LexborHTMLParser
from terminal import in_a_log, on_a_terminal
from test_escape import hidden
from test_plan_html import ATTRIBUTES, ELEMENTS

from qloader.planning.plan import Change, MemoryPlan
from qloader.render import diff
from qloader.render.diff import DiffLine, diff_lines, fold_lines
from qloader.render.escape import escape_line
from qloader.render.html import render_html
from qloader.render.markdown import LIMIT, render_markdown
from qloader.workspace.showing import Side, TextChange

LINE = st.text(st.sampled_from("ab`<>&@#-+ \t\x1b\u202e\u200bé\U0001f468\u200d"), max_size=8)
CHUNK = st.lists(LINE, min_size=1, max_size=8).map("\n".join)
CHUNKS = st.lists(CHUNK, max_size=6, unique=True).map(tuple)
GITHUB = MarkdownIt("commonmark", {"html": True})


class Held:
    """Texts that are at hand, by the change's id."""

    def __init__(self, *found: TextChange) -> None:
        self.found = {one.change.id: one for one in found}
        self.asked: list[str] = []

    def of(self, changes: Iterator[Change]) -> Iterator[TextChange]:
        for change in changes:
            self.asked.append(change.id)
            yield self.found[change.id]

    @property
    def plan(self) -> MemoryPlan:
        return make_plan(one.change for one in self.found.values())


def lines_of(before: Side, after: Side) -> list[str]:
    return [str(line) for line in diff_lines(TextChange(update("docs", "a.md", 1, 1), before, after))]


def as_shown(chunks: tuple[str, ...]) -> list[str]:
    return [escape_line(line) for chunk in chunks for line in chunk.split("\n")]


def test_a_kept_chunk_is_named_and_a_changed_one_is_compared() -> None:
    before = Side(("# One\n\nalpha", "beta\ngamma\ndelta", "end"))
    after = Side(("# One\n\nalpha", "beta\nGAMMA\ndelta", "end"), embedded=frozenset({1}))
    assert lines_of(before, after) == [
        "@@ chunk 1 of 3: kept @@",
        "@@ chunk 2 of 3: to embed @@",
        " beta",
        "-gamma",
        "+GAMMA",
        " delta",
        "@@ chunk 3 of 3: kept @@",
    ]


def test_chunks_that_go_come_and_are_missing_are_told_apart() -> None:
    before = Side(("a", "gone", None, "z"))
    after = Side(("a", "z", "new"), embedded=frozenset({1, 2}))
    assert lines_of(before, after) == [
        "@@ chunk 1 of 3: kept @@",
        "@@ old chunk 2 of 4: removed @@",
        "-gone",
        "@@ old chunk 3 of 4: missing from the index @@",
        "@@ chunk 2 of 3: same text, to embed @@",
        "@@ chunk 3 of 3: to embed @@",
        "+new",
    ]


def test_a_chunk_that_only_moved_within_its_document_keeps_its_vector() -> None:
    after = Side(("b", "a"), embedded=frozenset())
    assert "@@ chunk 1 of 2: kept, its vector too @@" in lines_of(Side(("a", "b")), after) or (
        "@@ chunk 2 of 2: kept, its vector too @@" in lines_of(Side(("a", "b")), after)
    )


def test_unchanged_lines_far_from_a_change_are_counted() -> None:
    text = [f"line {n}" for n in range(20)]
    changed = [*text[:10], "other", *text[11:]]
    shown = lines_of(Side(("\n".join(text),)), Side(("\n".join(changed),), embedded=frozenset({0})))
    assert shown == [
        "@@ chunk 1 of 1: to embed @@",
        " … 7 unchanged lines",
        " line 7",
        " line 8",
        " line 9",
        "-line 10",
        "+other",
        " line 11",
        " line 12",
        " line 13",
        " … 6 unchanged lines",
    ]


def test_labels_are_compared_one_by_one() -> None:
    before = Side(("a",), {"title": "Old", "uri": "u", "metadata": {"team": "x", "gone": 1}})
    after = Side(("a",), {"title": "New\n@@ chunk", "uri": "u", "metadata": {"team": "x", "tags": ["b", "é"]}})
    assert lines_of(before, after) == [
        "@@ title, uri, metadata @@",
        "-title: Old",
        "+title: New\\n@@ chunk",
        "-metadata.gone: 1",
        '+metadata.tags: ["b", "é"]',
        "@@ chunk 1 of 1: kept @@",
    ]


def test_a_note_stands_in_place_of_a_diff() -> None:
    found = TextChange(create("docs", "a.md"), Side(("a",)), note="its text changed\x1b[0m")
    assert [str(line) for line in diff_lines(found)] == ["@@ its text changed\\x1b[0m @@"]


@settings(max_examples=150, deadline=None)
@example(("", "\n"), ("\n\n",), set(), False)
@given(CHUNKS, CHUNKS, st.sets(st.integers(0, 5)), st.booleans())
def test_both_texts_can_be_read_back_from_a_diff(
    old: tuple[str, ...], new: tuple[str, ...], embedded: set[int], is_large: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diff, "CONTEXT", 1_000)
        if is_large:
            patch.setattr(diff, "_COMPARED", 0)
        after = Side(new, embedded=frozenset(n for n in embedded if n < len(new)))
        shown = list(diff_lines(TextChange(update("docs", "a", 1, 1), Side(old), after)))
    ours, theirs, marked = [], [], set()
    for line in shown:
        if line.kind in ("head", "embed"):
            chunks = re.match(r"(old )?chunks? (\d+)(?:-(\d+))? of \d+: (.*)", line.text)
            assert chunks is not None
            first, last = int(chunks[2]) - 1, int(chunks[3] or chunks[2]) - 1
            if line.kind == "embed":
                marked |= set(range(first, last + 1))
            if chunks[4] == "kept" or chunks[4].startswith("same text"):
                ours += as_shown(new[first : last + 1])
                theirs += as_shown(new[first : last + 1])
        if line.kind == "gap":  # chunks that were only cut in another way: no line of them differs
            count = int(re.findall(r"\d+", line.text)[0])
            same = as_shown(new)[len(ours) : len(ours) + count]
            assert same == as_shown(old)[len(theirs) : len(theirs) + count]
            ours += same
            theirs += same
        if line.kind in ("context", "add"):
            ours.append(line.text)
        if line.kind in ("context", "remove"):
            theirs.append(line.text)
    assert ours == as_shown(new)
    assert theirs == as_shown(old)
    assert marked == after.embedded
    assert hidden("".join(map(str, shown)).replace("\t", "")) == []


def test_texts_too_large_to_compare_are_shown_as_removed_and_added() -> None:
    old, new = (tuple(f"{word} {n}" for n in range(1_500)) for word in ("old", "new"))
    shown = list(diff_lines(TextChange(update("docs", "a", 1, 1), Side(old), Side(new))))
    assert [line.kind for line in shown].count("remove") == [line.kind for line in shown].count("add") == 1_500


def words(before: str, after: str) -> list[list[str]]:
    shown = diff_lines(TextChange(update("docs", "a", 1, 1), Side((before,)), Side((after,))))
    return [[line.text[start:end] for start, end in line.words] for line in shown if line.kind in ("add", "remove")]


def test_the_words_that_differ_within_a_line_are_marked() -> None:
    assert words("people read before it happens", "people read and approve before it happens") == [[], ["and approve "]]
    assert words("one lamp\nand more", "one LAMP\nand less") == [["lamp"], ["more"], ["LAMP"], ["less"]]
    assert words("nothing in common", "Überraschung, hier ist alles anders") == [[], []]
    assert words("one line of two", "two lines\nof them") == [[], [], []]


def test_long_diffs_are_folded_with_their_counts() -> None:
    lines = [DiffLine("add", str(n)) for n in range(10)] + [DiffLine("remove", "x"), DiffLine("embed", "chunk")]
    assert fold_lines(lines, 4) == (lines[:4], "… and 8 more lines: 6 added, 1 removed, 1 chunk to embed")
    assert fold_lines(lines, 10) == (lines[:10], "… and 2 more lines: 1 removed, 1 chunk to embed")
    assert fold_lines(lines, 11) == (lines, "")  # a count takes as much room as the one line


def edits(count: int, text: str = "text") -> Held:
    return Held(*(
        TextChange(create("docs", f"{n:03}.md"), after=Side((f"{text} {n}",), embedded=frozenset({0})))
        for n in range(count)
    ))  # fmt: skip


def test_only_the_texts_that_are_shown_are_asked_for() -> None:
    texts = edits(30)
    shown = in_a_log(texts.plan, 5, texts=texts)
    assert len(texts.asked) == 5
    assert "\n  + 004.md  1 chunk\n    @@ chunk 1 of 1: to embed @@\n    +text 4\n" in shown
    assert "\n  … and 25 more: 25 to create (use --all)\n" in shown
    assert shown.endswith("Plan: 30 to create, 0 to update, 0 to move, 0 to delete (30 chunks to embed).\n")


def test_a_terminal_and_a_page_show_the_words_that_differ() -> None:
    found = TextChange(update("docs", "a.md", 1, 0), Side(("the <old> lamp",)), Side(("the <new> lamp",)))
    texts = Held(found)
    assert "\x1b[31m    -the <\x1b[0m\x1b[7;31mold\x1b[0m\x1b[31m> lamp\x1b[0m" in on_a_terminal(
        texts.plan, texts=texts
    )
    page = "".join(render_html(texts.plan, texts=texts))
    assert "<del>-the &lt;<mark>old</mark>&gt; lamp</del><ins>+the &lt;<mark>new</mark>&gt; lamp</ins>" in page


def test_a_terminal_gets_colours_and_no_control_of_the_texts() -> None:
    change = update("docs", "a.md", 1, 0)
    found = TextChange(change, Side(("old \x1b[2J",)), Side(("new \x9b31m\u202e",), embedded=frozenset({0})))
    texts = Held(found)
    shown = on_a_terminal(texts.plan, texts=texts)
    assert "\x1b[31m    -old \\x1b[2J\x1b[0m" in shown
    assert "\x1b[32m    +new \\x9b31m\\u202e\x1b[0m" in shown


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(LINE, CHUNKS, CHUNKS), min_size=1, max_size=8, unique_by=lambda item: item[0]))
def test_no_text_is_ever_markdown_or_html(found: list[tuple[str, tuple[str, ...], tuple[str, ...]]]) -> None:
    texts = Held(*(
        TextChange(move("docs", f"{name}<b>@all`", name), Side(old), Side(new, embedded=frozenset(range(len(new)))))
        for name, old, new in found
    ))  # fmt: skip
    shown = "".join(render_markdown(texts.plan, texts=texts))
    for token in GITHUB.parse(shown):
        if token.type == "html_block":
            ours = r"<details><summary><code>([^<]*)</code>( <code>[^<]*</code>)?</summary>|</details>"
            assert re.fullmatch(ours, token.content.strip()), token.content
        elif token.type == "fence":
            assert token.info == "diff"
            assert all(line.startswith(("@@ ", " ", "+", "-")) for line in token.content.splitlines())
        elif token.type == "inline" and "sub>" not in token.content and "`" not in token.content:
            assert not set(token.content) & set("<>@[*_"), token.content
    assert sum(token.type == "fence" for token in GITHUB.parse(shown)) == sum(
        bool(list(diff_lines(one))) for one in texts.found.values()
    )
    assert hidden(shown.replace("\n", "").replace("\t", "")) == []
    tree = LexborHTMLParser("".join(render_html(texts.plan, texts=texts, lines=1_000)))
    assert {node.tag for node in tree.root.traverse()} <= ELEMENTS | {"pre", "i", "ins", "del", "s", "span", "mark"}
    assert {key for node in tree.root.traverse() for key in node.attributes} <= ATTRIBUTES
    for one, node in zip(texts.plan.changes(), tree.css(".document"), strict=True):
        expected = [str(line) for line in diff_lines(texts.found[one.id])]
        assert [line.text() for line in node.css("pre > *")] == expected


@pytest.mark.parametrize("ticks", ["```", "``````", "~~~"])
def test_a_fence_in_a_text_does_not_close_ours(ticks: str) -> None:
    before, after = (f"{ticks}\n{word}\n{ticks}\n\n**@all** <b>" for word in ("old", "new"))
    found = TextChange(update("docs", "a.md", 1, 0), Side((before,)), Side((after,), embedded=frozenset({0})))
    texts = Held(found)
    fences = [t for t in GITHUB.parse("".join(render_markdown(texts.plan, texts=texts))) if t.type == "fence"]
    assert [fence.content.splitlines() for fence in fences] == [[str(line) for line in diff_lines(found)]]


@pytest.mark.parametrize("text", ["word " * 200, "`" * 900, "\x1b" * 300, "\n".join("+-" * 300)])
def test_a_comment_with_texts_keeps_its_size_its_totals_and_whole_lines(text: str) -> None:
    found = [
        TextChange(create(f"s{n % 3}", f"{n:03}.md", 40), after=Side((text,) * 40, embedded=frozenset(range(40))))
        for n in range(60)
    ]
    texts = Held(*found)
    shown = "".join(render_markdown(texts.plan, texts=texts, fold=50, lines=1_000_000))
    assert len(shown) <= LIMIT
    assert shown.startswith("### Plan: 60 to create, 0 to update, 0 to move, 0 to delete (2400 chunks to embed).\n")
    assert shown.count("<details>") == shown.count("</details>\n")
    listed = len(re.findall(r"<summary><code>\+ \d{3}\.md</code>", shown))
    assert listed > 3
    counted = sum(int(n) for n in re.findall(r"… and (\d+) more, not shown: \d+ to create\.", shown))
    assert listed + counted == 60
    whole = {f"+{line}" for line in as_shown((text,))}
    diffs = [token.content for token in GITHUB.parse(shown) if token.type == "fence"]
    assert all(line in whole or line.startswith("@@ ") for content in diffs for line in content.splitlines())


def test_in_html_the_changes_beyond_the_fold_stay_as_rows() -> None:
    texts = edits(30, "<script>")
    tree = LexborHTMLParser("".join(render_html(texts.plan, texts=texts, fold=7)))
    assert len(tree.css(".document")) == len(texts.asked) == 7
    assert len(tree.css("tbody tr")) == 23
    assert len(tree.css("script")) == 1


def test_what_is_deleted_is_shown_whole() -> None:
    found = TextChange(delete("docs", "a.md"), Side(("one\ntwo", "three")))
    texts = Held(found)
    shown = in_a_log(texts.plan, texts=texts).splitlines()
    assert shown[shown.index("  - a.md") + 1 :][:5] == [
        "    @@ old chunk 1 of 2: removed @@",
        "    -one",
        "    -two",
        "    @@ old chunk 2 of 2: removed @@",
        "    -three",
    ]
