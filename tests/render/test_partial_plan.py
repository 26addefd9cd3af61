"""A partial plan says so, whatever it is printed as, and never that all is well."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from plan_builder import create, make_plan, source
from rich.console import Console
from selectolax.lexbor import LexborHTMLParser

from qloader.planning.plan import MemoryPlan, PlanSelection
from qloader.render.html import render_html
from qloader.render.markdown import render_markdown
from qloader.render.text import render_plan
from qloader.render.wording import NO_CHANGES

BOTH = PlanSelection(("guide/**",), ("*.txt",), ("docs/a.md",), left_out=12)


def partial(selection: PlanSelection, plan: MemoryPlan | None = None) -> MemoryPlan:
    whole = plan or make_plan([create("docs", "a.md")])
    return replace(whole, header=replace(whole.header, selection=selection))


def text_of(plan: MemoryPlan) -> str:
    out = io.StringIO()
    render_plan(plan, Console(file=out, width=200))
    return out.getvalue()


def html_of(plan: MemoryPlan) -> str:
    return LexborHTMLParser("".join(render_html(plan))).text()


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        (BOTH, "Partial plan: only guide/**, docs/a.md, without *.txt. 12 other changes are left out."),
        (
            PlanSelection(targets=("docs/a.md",), left_out=1),
            "Partial plan: only docs/a.md. 1 other change is left out.",
        ),
        (PlanSelection(exclude=("drafts/",)), "Partial plan: everything, without drafts/."),
        (
            PlanSelection(targets=tuple(f"docs/{n:02}" for n in range(12))),
            f"Partial plan: only {', '.join(f'docs/{n:02}' for n in range(10))} and 2 more.",
        ),
    ],
)
def test_every_format_says_that_a_plan_is_partial(selection: PlanSelection, sentence: str) -> None:
    plan = partial(selection)
    assert sentence in text_of(plan)
    assert sentence in "".join(render_markdown(plan)).replace("`", "")
    assert sentence in html_of(plan)


def test_a_partial_plan_without_changes_does_not_say_that_the_index_matches() -> None:
    plan = partial(BOTH, make_plan())
    for shown in (text_of(plan), "".join(render_markdown(plan)), html_of(plan)):
        assert "No changes in what was selected." in shown
        assert NO_CHANGES not in shown
        assert "12 other changes are left out." in shown
    assert NO_CHANGES in text_of(make_plan())
    assert "Partial plan" not in text_of(make_plan())


def test_a_partial_plan_does_not_say_that_a_source_has_no_changes() -> None:
    plan = partial(BOTH, make_plan([create("docs", "a.md")], [source("wiki")]))
    for shown in (text_of(plan), "".join(render_markdown(plan)).replace("`", ""), html_of(plan)):
        assert "No changes selected in wiki (12 documents)." in shown
        assert "No changes in wiki" not in shown


def test_a_pattern_can_do_nothing_to_who_reads_it() -> None:
    plan = partial(PlanSelection(only=("`<b>\x1b[31m\u202e@all", "<script>alert(1)</script>")))
    text, markdown, page = text_of(plan), "".join(render_markdown(plan)), "".join(render_html(plan))
    assert not {"\x1b", "\u202e"} & set(text + markdown + page)
    assert "<script>alert" not in page
    assert "`` `<b>" in markdown  # within a code span, where it means nothing
