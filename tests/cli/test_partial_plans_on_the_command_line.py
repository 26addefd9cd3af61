"""`--only`, `--exclude` and `--target` of `plan`, `apply` and `ingest`."""

from __future__ import annotations

import pytest

from support.command_line import Prompt
from support.workspaces import write


def planned(prompt: Prompt, *options: str) -> list[str]:
    plan = prompt.ok("plan", "--format", "json", *options).json
    return [change["id"] for change in plan["changes"]]


def test_each_option_may_be_given_several_times(prompt: Prompt) -> None:
    assert planned(prompt, "--only", "page-0001.md", "--only", "docs/page-0002.md") == ["page-0001.md", "page-0002.md"]
    assert planned(prompt, "--only", "page-000*", "--exclude", "page-0002.md", "--exclude", "page-000[3-9].md") == [
        "page-0000.md",
        "page-0001.md",
    ]
    assert planned(prompt, "--target", "docs/page-0003.md", "--target", "docs/page-0001.md") == [
        "page-0001.md",
        "page-0003.md",
    ]


def test_a_partial_plan_is_applied_from_its_file_and_the_rest_follows(prompt: Prompt) -> None:
    answer = prompt.ok("plan", "--only", "page-000[0-4].md", "-o", "part.json")
    assert "Partial plan: only page-000[0-4].md. 7 other changes are left out.\n" in answer.err
    assert "Partial plan: only page-000[0-4].md." in prompt.ok("show", "part.json").err
    prompt.ok("verify", "part.json")
    assert prompt.ok("apply", "part.json").last.startswith("Apply complete: 5 created")
    assert prompt.ok("apply", "part.json").err.startswith("5 changes of this plan had been applied before.")
    assert prompt.ok("status", "--format", "json").json["sources"][0]["last_success"] is None
    assert prompt("plan", "--detailed-exitcode", "--only", "page-0001.md").code == 0
    assert prompt.ok("plan").last.startswith("Plan: 7 to create")
    assert prompt.ok("apply", "--auto-approve", "--target", "docs/page-0005.md").last.startswith("Apply complete: 1 ")
    assert prompt.ok("ingest", "--exclude", "page-0006.md").last.startswith("Apply complete: 5 created")
    assert prompt.ok("ingest").last.startswith("Apply complete: 1 created")
    assert prompt.ok("plan").last == "No changes. The index matches the sources."


@pytest.mark.parametrize("option", ["--only=x", "--exclude=x", "--target=docs/page-0001.md"])
def test_a_plan_file_is_applied_as_it_is(prompt: Prompt, option: str) -> None:
    prompt.ok("plan", "-o", "plan.json")
    answer = prompt("apply", "plan.json", option)
    assert answer.code == 1
    assert "belong to planning" in answer.error


def test_nothing_to_do_in_the_selection_is_not_called_a_match(applied: Prompt) -> None:
    write(applied.docs, {"new.md": "# New"})
    answer = applied.ok("plan", "--only", "page-*")
    assert answer.last == "No changes in what was selected."
    assert "1 other change is left out." in answer.err


def test_an_unknown_target_is_an_error_with_what_was_meant(applied: Prompt) -> None:
    answer = applied("plan", "--target", "docs/pag-0007.md")
    assert (answer.code, answer.remedy) == (1, "Did you mean docs/page-0007.md?\n")
    answer = applied("plan", "--only", "#")
    assert (answer.code, answer.error) == (1, "Error: The --only pattern '#' matches nothing.")
