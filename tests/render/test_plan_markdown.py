"""The plan as a comment on a pull request: whole, small enough, and safe whatever the names."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from plan_builder import (
    HOSTILE_IDS,
    create,
    delete,
    endless_plan,
    first_plan,
    hostile_plan,
    long_plan,
    make_plan,
    move,
    realistic_plan,
    source,
)
from syrupy.assertion import SnapshotAssertion
from test_escape import hidden

from qloader.planning.plan import Base, Plan, PlanWarning
from qloader.render.markdown import ID_CHARACTERS, LIMIT, render_markdown
from qloader.render.wording import plan_line

GITHUB = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OUR_HTML = re.compile(r"</?details>|</?sub>|<details><summary>[0-9,]+ more: [a-z0-9, ]+</summary>")
NASTY = st.text(st.sampled_from("`<>|@*_[]()#!&\\~-+=:/. \n\t\x1b\u202eab1é"), max_size=40)


def markdown(plan: Plan) -> str:
    return "".join(render_markdown(plan))


def flatten(text: str) -> list[tuple[str, str]]:
    """Every leaf of the parsed comment: (kind, content)."""
    return [(t.type, t.content) for token in GITHUB.parse(text) for t in (token, *(token.children or ()))]


def assert_names_mean_nothing(text: str) -> None:
    """Beside code there are only our own words, and no element but ours."""
    kinds = {kind for kind, _ in flatten(text)}
    assert not kinds & {"link_open", "image", "em_open", "strong_open", "table_open", "hr", "blockquote_open", "s_open"}
    for kind, content in flatten(text):
        if kind in ("html_block", "html_inline"):
            assert OUR_HTML.fullmatch(content.strip()), content
        if kind == "text":
            assert not set(content) & set("<>@`|*[]~\\#&"), content


@pytest.mark.parametrize("make", [realistic_plan, first_plan, make_plan, hostile_plan])
def test_a_comment_reads_like_a_review(make: object, snapshot: SnapshotAssertion) -> None:
    assert markdown(make()) == snapshot  # type: ignore[operator]


def test_long_lists_are_folded_with_their_counts() -> None:
    text = markdown(long_plan(100))
    assert "<details><summary>80 more: 70 to create, 10 to delete</summary>\n\n```diff\n" in text
    assert "not shown" not in text
    assert sum(line.startswith(("+ ", "- ")) for line in text.splitlines()) == 100


def test_two_hundred_thousand_changes_fit_into_a_comment_and_none_is_cut_short() -> None:
    plan = endless_plan(200_000)
    text = markdown(plan)
    assert LIMIT // 2 < len(text) <= LIMIT < 65_000
    listed = [line for line in text.splitlines() if line.startswith("+ ")]
    assert all(re.fullmatch(r"\+ docs/\d{7}/(long-name-){5}\.md  3 chunks", line) for line in listed)
    assert f"… and {200_000 - len(listed):,} more, not shown: {200_000 - len(listed):,} to create.\n" in text
    assert text.startswith(f"### {plan_line(plan.header.summary)}\n")
    assert text.endswith("</sub>\n")


def test_a_plan_is_read_once_and_never_held() -> None:
    passes = itertools.count()

    class Counted:
        header = endless_plan(30_000).header

        def changes(self):
            next(passes)
            return endless_plan(30_000).changes()

    tracemalloc.start()
    try:
        assert sum(map(len, render_markdown(Counted()))) < LIMIT
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert next(passes) == 1
    assert peak < 3_000_000


def test_many_sources_share_the_room_and_the_last_are_counted() -> None:
    changes = [create(f"s{n:03}", f"{'x' * 100}-{k}.md") for n in range(300) for k in range(60)]
    changes.append(delete("zz", "gone.md"))
    text = markdown(make_plan(changes))
    assert len(text) <= LIMIT
    shown = re.findall(r"^#### `(s\d{3})`", text, re.MULTILINE)
    assert len(shown) > 10
    assert f"… and {301 - len(shown)} more sources, not shown: " in text
    assert ", 1 to delete.\n" in text


def test_the_first_source_leaves_room_for_the_second() -> None:
    changes = [create(name, f"{name}-{n:05}.md") for name in ("a", "b") for n in range(9000)]
    text = markdown(make_plan(changes))
    assert len(text) <= LIMIT
    assert text.count("\n+ a-") > 300
    assert text.count("\n+ b-") > 300


@pytest.mark.parametrize("document_id", ["x" * 100_000, "`" * 100_000, "\x1b" * 100_000, "\U0001f468\u200d" * 50_000])
def test_very_long_names_of_everything_fit(document_id: str) -> None:
    changes = [create(f"s{n}", f"{document_id}{n}") for n in range(50)]
    changes += [move("moved", document_id + "a", document_id + "b"), delete("moved", "c", reason=document_id)]
    warnings = [PlanWarning(document_id, "skipped", document_id) for _ in range(100)]
    sources = [source(f"unchanged-{n}-{document_id}") for n in range(500)]
    sources.append(source("moved", document_id, document_id))
    plan = make_plan(changes, sources, warnings=warnings, allowed=[document_id] * 500, name=document_id)
    header = replace(plan.header, digest=document_id, base=Base(document_id, 7))
    text = markdown(replace(plan, header=header))
    assert len(text) <= LIMIT
    assert len(text.encode()) < 262_144  # what GitHub really counts, of whatever characters
    assert "### Plan: 50 to create, 0 to update, 1 to move, 1 to delete (50 chunks to embed).\n" in text
    assert hidden(text.replace("\n", "")) == []
    assert_names_mean_nothing(text)


def test_a_long_id_loses_its_middle() -> None:
    text = markdown(make_plan([create("docs", "start-" + "x" * 5000 + "-end.md")]))
    (line,) = (line for line in text.splitlines() if line.startswith("+ "))
    assert re.fullmatch(r"\+ start-x+…x+-end\.md  1 chunk", line)
    assert len(line) == ID_CHARACTERS + len("+   1 chunk")


def test_hostile_names_mean_nothing() -> None:
    text = markdown(hostile_plan())
    assert_names_mean_nothing(text)
    assert hidden(text.replace("\n", "")) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.sampled_from(HOSTILE_IDS) | NASTY | st.text(), min_size=1, max_size=30), NASTY)
def test_no_name_is_ever_anything_but_code(ids: list[str], other: str) -> None:
    unique = sorted(set(ids))
    changes = [move("docs", i + other, i) for i in unique] + [delete(other, i, reason=other) for i in unique]
    plan = make_plan(
        changes,
        [source("docs", other, other), source(f"{other}-same", other)],
        warnings=[PlanWarning(other, "skipped", i) for i in unique],
        allowed=[other],
        name=other,
    )
    header = replace(plan.header, index=replace(plan.header.index, collection=other, location=other, action="replace"))
    text = markdown(replace(plan, header=header))
    assert_names_mean_nothing(text)
    listed = [line for kind, content in flatten(text) if kind == "fence" for line in content.splitlines()]
    assert len(listed) == len(changes)
    assert all(line.startswith(("> ", "- ")) for line in listed)


def test_warnings_beyond_their_room_are_counted() -> None:
    warnings = [PlanWarning("docs", "skipped", f"{n} " + "word " * 60) for n in range(200)]
    text = markdown(make_plan([create("docs", "a")], warnings=warnings))
    shown = text.count("- ⚠️ `docs`")
    assert 10 < shown < 200
    assert f"- … and {200 - shown} more warnings, not shown\n" in text


def test_small_print_names_the_state_that_the_plan_rests_on() -> None:
    text = markdown(realistic_plan())
    assert "<sub>Rests on serial 7 of lineage `6f0c2b1e-8a4d-4e7b-9c55-0d1f2a3b4c5d`." in text
    assert "Digest `0123456789abcdef0123456789abcdef`.</sub>" in text
