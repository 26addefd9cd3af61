"""`qloader show --diff` and `--format html`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

from support.command_line import CONTROLS, Prompt
from support.workspaces import write


@pytest.fixture
def changed(applied: Prompt) -> Prompt:
    write(
        applied.docs,
        {
            "page-0000.md": "# Page 0\n\nWhat page 0 says of forests, lamp 0 and tea.\n",
            "page-0001.md": None,
            "new.md": "# New\n\n" + "\n\n".join(f"Line {n} \x1b[31m" for n in range(60)),
        },
    )
    applied.ok("plan", "-o", "plan.json")
    return applied


def test_the_texts_stand_below_their_changes(changed: Prompt) -> None:
    answer = changed.ok("show", "plan.json", "--diff")
    assert answer.out == ""
    assert (
        "  ~ page-0000.md  1 of 1 chunk\n"
        "    @@ chunk 1 of 1: to embed @@\n"
        "     # Page 0\n\n"
        "    -What page 0 says of gardens, lamp 0 and tea.\n"
        "    +What page 0 says of forests, lamp 0 and tea.\n"
    ) in answer.err
    assert "    -What page 1 says of gardens, lamp 7 and tea.\n" in answer.err
    assert "more lines: " in answer.err
    assert "Line 59" not in answer.err
    assert answer.last == changed.ok("show", "plan.json").last
    assert CONTROLS.search(answer.err) is None
    whole = changed.ok("show", "plan.json", "--diff", "--all").err
    assert "    +Line 59 \\x1b[31m\n" in whole
    assert "more lines" not in whole


def test_markdown_and_html_hold_the_texts_too(changed: Prompt) -> None:
    markdown = changed.ok("show", "plan.json", "--diff", "--format", "markdown").out
    assert "<details><summary><code>~ page-0000.md</code> <code>1 of 1 chunk</code></summary>\n\n```diff\n" in markdown
    assert "\n-What page 0 says of gardens, lamp 0 and tea.\n+What page 0 says of forests" in markdown
    tree = LexborHTMLParser(changed.ok("show", "plan.json", "--diff", "--format", "html").out)
    assert [line.text() for line in tree.css(".u.document pre > ins")] == [
        "+What page 0 says of forests, lamp 0 and tea."
    ]


def test_a_plan_is_printed_as_html_by_plan_and_by_show_alike(changed: Prompt) -> None:
    shown = changed.ok("show", "plan.json", "--format", "html").out
    assert shown.startswith("<!DOCTYPE html>\n")
    assert shown.endswith("</html>\n")
    assert changed.ok("plan", "--format", "html").out == shown


def test_json_has_no_texts(changed: Prompt) -> None:
    answer = changed("show", "plan.json", "--diff", "--format", "json")
    assert (answer.code, answer.out) == (1, "")
    assert "--diff is printed as text, markdown or html" in answer.error


def test_a_source_that_moved_on_ends_with_exit_code_4_after_the_rest_was_shown(changed: Prompt) -> None:
    write(changed.docs, {"page-0000.md": "# Page 0\n\nSomething else.\n"})
    answer = changed("show", "plan.json", "--diff")
    assert answer.code == 4
    assert "    @@ its text changed in the source since the plan was made @@\n" in answer.err
    assert "    -What page 1 says of gardens" in answer.err
    assert answer.error == "Error: 1 document is no longer as planned, the first: docs/page-0000.md"


def test_the_texts_need_the_config_and_the_rest_does_not(changed: Prompt, tmp_path: Path) -> None:
    (tmp_path / "qloader.yaml").rename(tmp_path / "other.yaml")
    changed.ok("show", "plan.json")
    assert changed("show", "plan.json", "--diff").code == 1
    changed.ok("show", "plan.json", "--diff", "-c", "other.yaml")


def test_an_applied_plan_has_no_texts_any_more(changed: Prompt) -> None:
    changed.ok("apply", "plan.json")
    answer = changed("show", "plan.json", "--diff")
    assert answer.code == 4
    assert answer.error.endswith("the plan was applied already, so the index no longer holds the texts from before")
    assert "without --diff" in answer.remedy
