"""The main story, command by command: plan, apply, change, plan, apply, search; counts and last lines word for word."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from support.command_line import Prompt, some_documents
from support.git_builder import Builder
from support.workspaces import assert_index_is_a_fresh_load, write

LONG = "\n\n".join(f"Paragraph {n} tells of {word}. {'It goes on for a while. ' * 6}" for n, word in enumerate(
    ("violins", "harbours", "glaciers", "bakeries")))  # fmt: skip

GIT = """\
name: test
index: {{collection: test, path: .qloader/index}}
sources:
  docs: {{type: git, url: repo, ref: {ref}, history: 0}}
chunking: {{max_chars: 200}}
"""
"""Without dates (`history: 0`): a fresh load of a later commit dates unchanged documents differently."""


def found(prompt: Prompt, query: str) -> set[str]:
    return {hit["address"] for hit in prompt.ok("search", query, "--format", "json").json["hits"]}


def test_a_folder_from_its_first_plan_to_a_changed_and_searchable_index(prompt: Prompt) -> None:
    write(prompt.docs, {"edited.md": f"# Edited\n\n{LONG}\n\nThe end tells of walruses."})

    first = prompt.ok("plan", "-o", "plan.json")
    chunks = prompt.ok("plan", "--format", "json").json["summary"]["chunks"]
    assert chunks == {"embed": 12 + 5, "keep": 0, "delete": 0}
    assert first.last == "Plan: 13 to create, 0 to update, 0 to move, 0 to delete (17 chunks to embed)."
    assert not (prompt.folder / ".qloader" / "state.db").exists()  # planning writes no state

    assert prompt.ok("apply", "plan.json").last == "Apply complete: 13 created, 0 updated, 0 moved, 0 deleted."
    assert found(prompt, "walruses") == {"docs/edited.md"}
    assert prompt.ok("plan").last == "No changes. The index matches the sources."
    assert_index_is_a_fresh_load(prompt.workspace)

    write(
        prompt.docs,
        {
            "edited.md": f"# Edited\n\n{LONG}\n\nThe end tells of penguins.",
            "new.md": "# New\n\nThis page tells of submarines.",
            "page-0000.md": None,
        },
    )
    (prompt.docs / "far").mkdir()
    (prompt.docs / "page-0001.md").rename(prompt.docs / "far" / "away.md")
    second = prompt.ok("plan", "-o", "plan.json")
    assert second.last == "Plan: 1 to create, 1 to update, 1 to move, 1 to delete (2 chunks to embed)."
    for line in ("+ new.md", "~ edited.md", "> page-0001.md -> far/away.md", "- page-0000.md"):
        assert f"  {line}" in second.err
    plan = prompt.ok("show", "plan.json", "--format", "json").json
    assert plan["summary"]["chunks"] == {"embed": 2, "keep": 5, "delete": 2}
    assert plan["summary"]["unchanged"] == 10

    assert prompt.ok("apply", "plan.json").last == "Apply complete: 1 created, 1 updated, 1 moved, 1 deleted."
    assert found(prompt, "penguins") == {"docs/edited.md"}
    assert found(prompt, "submarines") == {"docs/new.md"}
    assert found(prompt, "walruses") == set()
    assert "docs/page-0000.md" not in found(prompt, "gardens")
    assert_index_is_a_fresh_load(prompt.workspace)
    assert prompt.ok("plan").last == "No changes. The index matches the sources."


def test_a_repository_through_commits_that_change_nothing_rename_branch_and_tag(prompt: Prompt) -> None:
    with Builder(prompt.folder / "repo") as repo:
        files = {**some_documents(12), "edited.md": f"# Edited\n\n{LONG}"}
        repo.commit(files)
        prompt.configure(GIT.format(ref="main"))
        prompt.load()
        assert_index_is_a_fresh_load(prompt.workspace)

        moved_on = repo.commit(files)
        nothing = prompt.ok("plan", "-o", "plan.json", "--detailed-exitcode")
        assert nothing.last == "No changes. The index matches the sources."
        assert prompt.ok("show", "plan.json", "--format", "json").json["sources"][0]["revision"] == moved_on
        assert prompt.ok("apply", "plan.json").code == 0

        files["renamed/page.md"] = files.pop("page-0003.md")
        files["edited.md"] += "\n\nThe end tells of penguins."
        repo.commit(files)
        assert prompt.ok("plan", "-o", "plan.json").last == (
            "Plan: 0 to create, 1 to update, 1 to move, 0 to delete (1 chunk to embed)."
        )
        late = repo.commit({**files, "late.md": "# Late\n\nThis came after the plan."})
        assert prompt.ok("apply", "plan.json").last == "Apply complete: 0 created, 1 updated, 1 moved, 0 deleted."
        assert found(prompt, "penguins") == {"docs/edited.md"}
        assert found(prompt, "came after the plan") == set()

        repo.commit(
            {**files, "branch.md": "# Branch\n\nOnly the branch tells of tunnels."}, branch="side", parents=[late]
        )
        prompt.configure(GIT.format(ref="side"))
        assert prompt.ok("plan").last == "Plan: 1 to create, 0 to update, 0 to move, 0 to delete (1 chunk to embed)."
        repo.tag("v1", late)
        prompt.configure(GIT.format(ref="v1"))
        prompt.load()
        assert found(prompt, "came after") == {"docs/late.md"}
        assert_index_is_a_fresh_load(prompt.workspace)


def test_init_plan_apply_search_work_as_the_help_says(prompt: Prompt) -> None:
    (prompt.folder / "qloader.yaml").unlink()
    assert prompt.ok("init").err.startswith("Wrote qloader.yaml: a folder with 12 documents (12 .md).")
    prompt.load()
    assert len(found(prompt, "gardens")) == 5
    assert prompt("init").code == 1  # never over a config that is there
    assert "exists, and is left as it is" in prompt("init").error


def test_a_source_that_changes_its_type_gets_its_points_labelled_anew_without_embedding(applied: Prompt) -> None:
    with Builder(applied.folder / "repo") as repo:
        repo.commit({path.name: path.read_bytes() for path in applied.docs.iterdir()})
    applied.configure(GIT.format(ref="HEAD"))
    plan = applied.ok("plan", "-o", "plan.json")
    assert plan.last == "Plan: 0 to create, 12 to update, 0 to move, 0 to delete (0 chunks to embed)."
    assert "~ page-0000.md  source type changed" in plan.err
    applied.ok("apply", "plan.json")
    assert_index_is_a_fresh_load(applied.workspace)
    assert applied.ok("status", "--format", "json").json["sources"][0]["type"] == "git"
    assert applied.ok("plan").last == "No changes. The index matches the sources."


def test_a_stopped_change_of_type_is_finished_by_the_same_plan(applied: Prompt) -> None:
    with Builder(applied.folder / "repo") as repo:
        repo.commit({path.name: path.read_bytes() for path in applied.docs.iterdir()})
    applied.configure(GIT.format(ref="HEAD") + "ingestion: {batch: {size: 5}}\n")
    workspace = applied.workspace
    plan = workspace.plan(applied.folder / "plan.json").plan
    edges = iter((False, True))
    with pytest.raises(Exception, match="stopped after 5 of 12 changes"):
        workspace.apply(plan, should_stop=lambda: next(edges))
    assert applied("plan", "--detailed-exitcode").code == 2
    applied.ok("apply", "plan.json")
    assert_index_is_a_fresh_load(applied.workspace)


@pytest.mark.parametrize("arguments", [("apply", "--auto-approve"), ("ingest",), ("ingest", "--full")])
def test_planning_and_applying_in_one_shows_the_plan_and_the_result(prompt: Prompt, arguments: tuple[str, ...]) -> None:
    answer = prompt.ok(*arguments)
    assert "Plan: 12 to create, 0 to update, 0 to move, 0 to delete (12 chunks to embed).\n" in answer.err
    assert answer.last == "Apply complete: 12 created, 0 updated, 0 moved, 0 deleted."
    assert answer.out == ""
    again = prompt.ok(*arguments)
    assert again.err == (
        "No changes. The index matches the sources.\nApply complete: 0 created, 0 updated, 0 moved, 0 deleted.\n"
    )


def test_a_dry_run_of_ingest_changes_nothing(prompt: Prompt) -> None:
    assert prompt.ok("ingest", "--dry-run").last.startswith("Plan: 12 to create")
    assert prompt.ok("ingest", "--dry-run", "--format", "json").json["summary"]["create"] == 12
    assert not (prompt.folder / ".qloader" / "state.db").exists()


def test_an_apply_that_nobody_can_confirm_changes_nothing(prompt: Prompt) -> None:
    answer = prompt.process("apply")
    assert answer.code == 1
    assert answer.error == "Error: nobody can be asked: standard input is no terminal"
    assert "Nothing was changed" in answer.remedy
    assert prompt.ok("status").err == "test: nothing has been applied yet. Run `qloader plan`.\n"


def test_destroy_removes_every_point_and_the_next_plan_begins_anew(applied: Prompt) -> None:
    answer = applied.ok("destroy", "--auto-approve")
    assert "  - page-0000.md  everything is destroyed" in answer.err
    assert answer.last == "Apply complete: 0 created, 0 updated, 0 moved, 12 deleted."
    assert applied.ok("status", "--format", "json").json["points"] == 0
    assert applied.ok("search", "gardens", "--format", "json").json == {"hits": []}
    assert applied.ok("plan").last.startswith("Plan: 12 to create")


def test_destroy_where_nothing_was_applied_creates_nothing(prompt: Prompt) -> None:
    assert prompt.ok("destroy").err.startswith("There is nothing to remove")  # nothing to ask for either
    assert not (prompt.folder / ".qloader" / "index").exists()


def test_a_destroy_that_nobody_confirms_names_its_own_option(applied: Prompt) -> None:
    answer = applied.process("destroy")
    assert answer.code == 1
    assert answer.remedy == "Give --auto-approve. Nothing was changed.\n"


def test_a_document_that_moved_on_since_the_plan_is_left_as_it_was(applied: Prompt) -> None:
    write(applied.docs, {"page-0001.md": "# One\n\nplanned", "page-0002.md": "# Two\n\nplanned"})
    applied.ok("plan", "-o", "plan.json")
    write(applied.docs, {"page-0001.md": "# One\n\nmoved on", "page-0002.md": None})
    answer = applied("apply", "plan.json", "--format", "json")
    assert answer.code == 1
    assert {(f["address"], f["reason"]) for f in answer.events[-1]["failures"]} == {
        ("docs/page-0001.md", "changed"),
        ("docs/page-0002.md", "vanished"),
    }
    assert answer.events[-1]["updated"] == 0
    assert "docs/page-0001.md" in found(applied, "page 1")  # the old text is still found
    run = applied.ok("history", "--format", "json").json["runs"][0]
    assert (run["status"], run["error"]) == (
        "partial",
        "2 documents were left as they were, the first: docs/page-0001.md",
    )
    answer = applied("apply", "plan.json")
    assert answer.err.startswith("! docs/page-0001.md left as it was: its text changed in the source")
    write(applied.docs, {"page-0001.md": "# One\n\nplanned", "page-0002.md": "# Two\n\nplanned"})
    applied.ok("apply", "plan.json")  # once the source is as planned again, the same plan goes on
    assert_index_is_a_fresh_load(applied.workspace)


def test_a_plan_that_is_applied_twice_changes_nothing_the_second_time(applied: Prompt) -> None:
    answer = applied.ok("apply", "plan.json")
    assert answer.err == (
        "12 changes of this plan had been applied before.\nApply complete: 0 created, 0 updated, 0 moved, 0 deleted.\n"
    )
    assert applied.ok("status", "--format", "json").json["points"] == 12


def test_verify_says_whether_a_plan_is_still_what_would_be_planned(applied: Prompt) -> None:
    write(applied.docs, {"page-0001.md": "# One\n\nchanged"})
    applied.ok("plan", "-o", "plan.json")
    assert applied.ok("verify", "plan.json").err == "plan.json is what would be planned now.\n"
    write(applied.docs, {"page-0001.md": "# One\n\nchanged again", "page-0002.md": None})
    answer = applied("verify", "plan.json")
    assert answer.code == 4
    assert answer.error == "Error: plan.json is not what would be planned now (3 differences)"
    assert "docs/page-0001.md: its text changed again\n" in answer.err
    assert "docs/page-0002.md: not in the plan, now there is a delete (gone from the source)\n" in answer.err
    assert "source docs: documents is 11 instead of 12; root is " in answer.err
    assert "Version(" not in answer.err  # in words, not as Python writes its values


def test_one_source_of_several_is_planned_and_applied_alone(prompt: Prompt) -> None:
    write(prompt.folder / "notes", {"a.md": "# A\n\nA note."})
    config = (
        (prompt.folder / "qloader.yaml")
        .read_text()
        .replace("sources:\n", "sources:\n  notes: {type: files, path: notes}\n")
    )
    prompt.configure(config)
    assert prompt.ok("ingest", "--source", "notes").last == "Apply complete: 1 created, 0 updated, 0 moved, 0 deleted."
    assert [s["name"] for s in prompt.ok("status", "--format", "json").json["sources"]] == ["notes"]
    assert prompt.ok("ingest").last == "Apply complete: 12 created, 0 updated, 0 moved, 0 deleted."


def test_a_pipeline_that_changed_replaces_everything_and_keeps_what_it_can(applied: Prompt) -> None:
    config = (applied.folder / "qloader.yaml").read_text()
    applied.configure(config.replace("max_chars: 200", "max_chars: 300"))
    plan = applied.ok("plan")
    assert plan.last == "Plan: 0 to create, 12 to update, 0 to move, 0 to delete (0 chunks to embed)."
    assert "the apply makes a new collection beside test, and puts it in its place" in plan.err
    applied.load()
    assert_index_is_a_fresh_load(applied.workspace)
    applied.configure(config + "embedding: {k: 1.5}\n")
    assert applied.ok("plan").last.endswith("(12 chunks to embed).")
    applied.load()
    assert_index_is_a_fresh_load(applied.workspace)


def test_a_touched_file_is_no_change(applied: Prompt) -> None:
    for path in applied.docs.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    text = (applied.docs / "page-0001.md").read_bytes()
    (applied.docs / "page-0001.md").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"  \r\n"))
    assert applied.ok("plan").last == "No changes. The index matches the sources."


def test_the_plan_file_is_written_as_the_contract_shows_it(prompt: Prompt) -> None:
    prompt.ok("plan", "-o", "plan.json")
    text = Path("plan.json").read_text()
    lines = text.splitlines()
    assert lines[:3] == ["{", '"format": "qloader.plan/1",', '"name": "test",']
    assert lines[3] == '"base": {"lineage": null, "serial": 0},'
    assert lines[4] == '"index": {"collection": "test", "location": "embedded:.qloader/index", "action": "create"},'
    changes = lines[lines.index('"changes": [') + 1 : lines.index("],", lines.index('"changes": ['))]
    assert len(changes) == 12
    assert all(line.startswith('{"action": "create", "source": "docs", "id": "page-00') for line in changes)
    assert str(prompt.folder) not in text  # no absolute path
    assert re.search(r'"digest": "[0-9a-f]{32}"\n}\n$', text)
