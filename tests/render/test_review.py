"""What stands beside a plan's changes, in every format: estimate, policies, refusal. Names stay names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_builder import HOSTILE_IDS, create, endless_plan, make_plan
from selectolax.lexbor import LexborHTMLParser
from terminal import in_a_log
from test_escape import hidden
from test_plan_html import assert_nothing_on_it_acts
from test_plan_markdown import GITHUB, assert_names_mean_nothing

from qloader.errors import GuardError
from qloader.planning.plan import MemoryPlan, Pipeline, PlanWarning, PolicyResult
from qloader.render.escape import escape_controls
from qloader.render.html import render_html
from qloader.render.markdown import LIMIT, render_markdown
from qloader.render.review import Review, describe_policies

LINES = ["refused by a policy, nothing was changed:", *(f"  paths: {name}" for name in HOSTILE_IDS if "\n" not in name)]
REFUSAL = GuardError(
    LINES[0], found=[line.strip() for line in LINES[1:]], remedy="Plan again with --allow `<b>@all</b>`."
)


def policed(*results: PolicyResult, embedding: str = "bm25") -> MemoryPlan:
    plan = make_plan([create("docs", "a.md")])
    pipeline = Pipeline("0" * 16, {}, {"sparse": embedding})
    return MemoryPlan(replace(plan.header, policies=results, pipeline=pipeline), plan.items)


def result(name: str, came_of_it: str) -> PolicyResult:
    return PolicyResult(name, "deny", came_of_it)  # type: ignore[arg-type]


def test_policies_are_told_in_one_line_by_result() -> None:
    results = [result(f"p{n}", "passed") for n in range(12)] + [result("w", "warned"), result("a", "allowed")]
    said = describe_policies(results)
    assert said == (
        "Policies: 12 passed (p0, p1, p2, p3, p4, p5, p6, p7, p8, p9 and 2 more), 1 warned (w), "
        "1 passed by --allow (a)."
    )
    assert describe_policies([]) == ""
    assert describe_policies(results, is_empty=True) == said
    assert describe_policies(results[:12], is_empty=True) == ""


def test_the_line_is_the_same_in_every_format() -> None:
    plan = policed(result("small", "passed"), result("owned", "warned"))
    said = "Policies: 1 passed (small), 1 warned (owned)."
    assert f"\n{said}\n" in in_a_log(plan)
    assert "\nPolicies: 1 passed (`small`), 1 warned (`owned`).\n" in "".join(render_markdown(plan))
    sentences = [one.text() for one in LexborHTMLParser("".join(render_html(plan))).css("header p")]
    assert said in sentences
    assert "Estimate: 15,210 characters; about 3,802 tokens for bm25; about 44 kB in Qdrant." in sentences


def test_a_refusal_is_read_in_full_and_nothing_in_it_means_anything() -> None:
    plan, review = policed(), Review(refusal=REFUSAL)
    comment = "".join(render_markdown(plan, review=review))
    assert_names_mean_nothing(comment)
    (block,) = [token for token in GITHUB.parse(comment) if token.type == "fence" and token.info == "text"]
    assert len(block.content.splitlines()) == len(LINES) + 1
    assert hidden(block.content.replace("\n", "")) == []
    page = "".join(render_html(plan, review=review))
    tree = LexborHTMLParser(page)
    assert [item.text() for item in tree.css(".refusal li")] == [escape_controls(line) for line in REFUSAL.found]
    assert tree.css_first(".refusal p").text() == REFUSAL.remedy
    assert_nothing_on_it_acts(page)


@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_names_of_policies_and_embedders_are_names(name: str) -> None:
    plan = policed(result(name, "warned"), embedding=name)
    warning = PlanWarning(name, "policy", name)
    review = replace(Review.of_file(plan.header), warnings=(warning,))
    comment = "".join(render_markdown(plan, review=review))
    assert_names_mean_nothing(comment)
    assert_nothing_on_it_acts("".join(render_html(plan, review=review)))
    assert hidden(in_a_log(plan).replace("\n", "")) == []


def test_a_long_refusal_leaves_a_comment_its_limit() -> None:
    refusal = GuardError("refused:", found=[f"p{n}: {'document ' * 100}" for n in range(2_000)], remedy="Plan again.")
    plan = endless_plan(5_000)
    warnings = tuple(PlanWarning(f"p{n}", "policy", "long " * 100) for n in range(500))
    comment = "".join(render_markdown(plan, review=Review(refusal=refusal, warnings=warnings)))
    assert len(comment) <= LIMIT
    assert "  p0: document" in comment
    assert "\n…\n" in comment
