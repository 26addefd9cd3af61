"""When did it succeed, what failed and why, when was it deleted: asked on the command line."""

from __future__ import annotations

import pytest

from support.command_line import CONTROLS, Prompt
from support.workspaces import write


@pytest.fixture
def failed(applied: Prompt) -> Prompt:
    """One document was left behind, another one is deleted."""
    write(applied.docs, {"page-0000.md": "# One\n", "page-0001.md": "# Two\n", "page-0002.md": None})
    applied.ok("plan", "-o", "plan.json")
    write(applied.docs, {"page-0000.md": "# Another\n"})
    assert applied("apply", "plan.json").code == 1
    return applied


def test_history_of_one_run_tells_totals_times_plan_and_failures(failed: Prompt) -> None:
    text = failed.ok("history", "--run", "2").err
    assert "run 2  partial" in text
    assert "1 updated, 1 deleted" in text
    assert "! docs/page-0000.md  its text changed in the source since the plan was made" in text
    told = failed.ok("history", "--run", "2", "--format", "json").json
    assert told["plan"] in text
    assert told["started_at"] in text
    assert told["finished_at"] in text
    assert told["summary"]["failed"] == 1
    assert [f["address"] for f in told["failures"]] == ["docs/page-0000.md"]


def test_a_run_that_never_was_is_an_error(applied: Prompt) -> None:
    answer = applied("history", "--run", "7")
    assert answer.code == 1
    assert answer.error == "Error: the state knows no run 7"


def test_status_names_what_failed_and_where_to_read_more(failed: Prompt) -> None:
    text = failed.ok("status").err
    assert "! docs/page-0000.md  its text changed" in text
    assert "`qloader history --run 2`" in text
    assert failed.ok("status", "--format", "json").json["failures"][0]["run"] == 2


def test_state_show_says_when_a_document_was_deleted_and_why_one_was_left(failed: Prompt) -> None:
    gone = failed.ok("state", "show", "docs/page-0002.md", "--format", "json").json
    assert gone["deleted"]
    run = failed.ok("history", "--run", "2", "--format", "json").json
    assert run["started_at"] <= gone["deleted_at"] <= run["finished_at"]
    left = failed.ok("state", "show", "docs/page-0000.md", "--format", "json").json
    assert left["deleted_at"] is None
    assert [f["run"] for f in left["failures"]] == [2]
    assert "! run 2 at" in failed.ok("state", "show", "docs/page-0000.md").err


def test_state_show_of_a_document_that_never_got_in_says_why(applied: Prompt) -> None:
    name = "new\x1b[2J.md"
    write(applied.docs, {name: "# New\n"})
    applied.ok("plan", "-o", "plan.json")
    write(applied.docs, {name: "# Newer\n"})
    assert applied("apply", "plan.json").code == 1
    answer = applied("state", "show", f"docs/{name}")
    assert answer.code == 1
    assert "run 2 could not take it in" in answer.error
    for command in (("status",), ("history", "--run", "2"), ("history",)):
        assert not CONTROLS.search(applied.ok(*command).err)
