"""The plan as a page: everything is on it, nothing on it acts, and it is never held in memory."""

from __future__ import annotations

import base64
import hashlib
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
from selectolax.lexbor import LexborHTMLParser
from test_escape import hidden

from qloader.planning.plan import Plan, PlanWarning
from qloader.render.html import ROWS, render_html
from qloader.render.wording import SIGNS, describe_change, plan_line

ELEMENTS = frozenset(
    """html head meta title style body header h1 h2 p code ul li section main form input fieldset legend label b output
    details summary bdi small div table thead tbody tr th td footer script""".split()  # noqa: SIM905
)
ATTRIBUTES = frozenset(
    """lang charset http-equiv content name class aria-label id role hidden type placeholder title autocomplete
    spellcheck value checked aria-live data-total open""".split()  # noqa: SIM905
)
NASTY = st.text(st.sampled_from("<>&\"'/=`-! \n\t\x1b\u202eab1é"), max_size=40)


def page(plan: Plan) -> str:
    return "".join(render_html(plan))


def rows(text: str) -> list[tuple[str, ...]]:
    found = LexborHTMLParser(text).css("tbody tr")
    return [tuple((cell.text() or "").strip("\n") for cell in row.css("td")) for row in found]


def expected(plan: Plan) -> list[tuple[str, ...]]:
    lines = [(change.action, describe_change(change, characters=4_000)) for change in plan.changes()]
    return [(f"{SIGNS[action]} {action}", line.name, line.detail) for action, line in lines]


def assert_nothing_on_it_acts(text: str) -> None:
    """Only our own elements and attributes, our one style and one script, and no word that hides."""
    tree = LexborHTMLParser(text)
    for node in tree.root.traverse():
        assert node.tag in ELEMENTS, node.html
        assert set(node.attributes) <= ATTRIBUTES, node.html
    assert len(tree.css("style")) == 1
    assert len(tree.css("script")) <= 1
    assert hidden(text.replace("\n", "")) == []


@pytest.mark.parametrize("make", [realistic_plan, first_plan, hostile_plan, long_plan])
def test_every_change_has_a_row_with_the_words_of_the_text_review(make: Callable[[], Plan]) -> None:
    plan = make()
    text = page(plan)
    assert rows(text) == expected(plan)
    assert LexborHTMLParser(text).css_first(".totals").text() == plan_line(
        plan.header.summary, plan.header.index.action
    )
    assert_nothing_on_it_acts(text)


def test_what_a_reviewer_should_know_stands_above_the_changes() -> None:
    plan = make_plan(
        [create("docs", "a.md"), delete("docs", "b.md")],
        [source("wiki", "confluence", None, 3, complete=False), source("notes", documents=1)],
        warnings=[PlanWarning("wiki", "incomplete", "listing incomplete, so nothing is deleted: 503")],
        allowed=["docs"],
        index_action="replace",
    )
    tree = LexborHTMLParser(page(plan))
    notes = [note.text() for note in tree.css(".notes li")]
    assert notes[:2] == [
        "wiki listing incomplete, so nothing is deleted: 503",
        "Deletes allowed past the guards: docs",
    ]
    assert notes[2].startswith("The pipeline (chunking or embedding) changed: the apply makes a new collection beside")
    assert tree.css_first(".unchanged").text() == "No changes in notes (1 document), wiki (3 documents)."
    assert "Rests on serial 7 of lineage 6f0c2b1e" in tree.css_first("footer").text()


def test_a_plan_without_changes_has_neither_search_nor_script() -> None:
    text = page(make_plan())
    assert "No changes. The index matches the sources." in text
    assert "<form" not in text
    assert "<script" not in text


def test_the_page_loads_nothing_and_its_policy_allows_our_style_and_script_alone() -> None:
    text = page(hostile_plan())
    tree = LexborHTMLParser(text)
    policy = tree.css_first("meta[http-equiv=Content-Security-Policy]").attributes["content"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for kind in ("style", "script"):
        inline = re.search(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert rules.pop(f"{kind}-src") == f"'sha256-{digest}'"
        assert not re.search(r"https?:|url\(|@import|fetch\(|import\(|innerHTML|eval\(", inline)
    assert rules == {"default-src": "'none'", "base-uri": "'none'", "form-action": "'none'"}
    # The policy only holds for what stands after it.
    assert text.index("Content-Security-Policy") < text.index("<title>") < text.index("<style>")
    assert not tree.css("[src], [href], [style], link, img, iframe, object, embed, base, a")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.sampled_from(HOSTILE_IDS) | NASTY | st.text(), min_size=1, max_size=20), NASTY)
def test_no_name_is_ever_anything_but_text(ids: list[str], other: str) -> None:
    unique = sorted(set(ids))
    changes = [move("docs", i + other, i) for i in unique] + [delete(other, i, reason=other) for i in unique]
    plan = make_plan(
        changes,
        [source("docs", other, other), source(f"{other}-same", other)],
        warnings=[PlanWarning(other, "skipped", i) for i in unique],
        allowed=[other],
        name=other,
    )
    header = replace(
        plan.header, digest=other, index=replace(plan.header.index, collection=other, location=other, action="replace")
    )
    plan = replace(plan, header=header)
    text = page(plan)
    assert_nothing_on_it_acts(text)
    assert rows(text) == expected(plan)


def test_names_of_ten_thousand_characters_stay_on_one_row() -> None:
    plan = make_plan([create("docs", "x" * 10_000), create("docs", "</td>" * 10_000)])
    assert rows(page(plan)) == expected(plan)


def test_a_million_changes_would_need_no_more_memory_than_a_page_of_them() -> None:
    longest = count = 0
    tracemalloc.start()
    try:
        for part in render_html(endless_plan(30_000)):
            longest = max(longest, len(part))
            count += part.count("<tr class=")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert longest < ROWS * 300
    assert peak < 3_000_000


def test_only_full_pages_say_how_high_they_are() -> None:
    pages = LexborHTMLParser(page(make_plan([create("docs", f"{n:05}") for n in range(2 * ROWS + 1)]))).css(".page")
    assert [p.attributes["class"] for p in pages] == ["page full", "page full", "page"]
    assert [len(p.css("tbody tr")) for p in pages] == [ROWS, ROWS, 1]
