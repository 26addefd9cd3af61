"""`plan --save`: a folder of plans, each under a name that says which it is, and `history` that finds them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from support.command_line import Prompt
from support.workspaces import write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_plan_is_saved_under_its_name_serial_and_digest(prompt: Prompt) -> None:
    answer = prompt.ok("plan", "--save", "plans/", "-o", "plan.json")
    digest = json.loads((prompt.folder / "plan.json").read_bytes())["digest"]
    name = f"test-000000-{digest[:12]}.plan.json"
    assert answer.err.splitlines()[0] == f"Saved plans/{name}"
    assert answer.last.startswith("Plan: 12 to create")
    assert names(prompt.folder / "plans") == [name]
    assert (prompt.folder / "plans" / name).read_bytes() == (prompt.folder / "plan.json").read_bytes()


def test_the_same_plan_is_the_same_file_and_another_is_another(prompt: Prompt) -> None:
    prompt.ok("plan", "--save", "deep/er/plans")
    prompt.ok("plan", "--save", "deep/er/plans", "--no-cache")
    folder = prompt.folder / "deep/er/plans"
    assert len(names(folder)) == 1
    prompt.ok("apply", f"deep/er/plans/{names(folder)[0]}")
    write(prompt.docs, {"new.md": "# New"})
    prompt.ok("plan", "--save", "deep/er/plans")
    write(prompt.docs, {"newer.md": "# Newer"})
    prompt.ok("plan", "--save", "deep/er/plans")
    first, *others = names(folder)
    assert first.startswith("test-000000-")
    assert [name[:12] for name in others] == ["test-000004-"] * 2


def test_nothing_is_saved_of_a_plan_without_changes_or_of_one_that_is_refused(applied: Prompt) -> None:
    assert "Nothing was saved: there are no changes." in applied.ok("plan", "--save", "plans").err
    for path in applied.docs.iterdir():
        path.unlink()
    assert applied("plan", "--save", "plans").code == 3
    assert not (applied.folder / "plans").exists()


def test_a_folder_that_cannot_be_made_is_an_error(prompt: Prompt) -> None:
    (prompt.folder / "plans").write_text("a file")
    answer = prompt("plan", "--save", "plans/deeper")
    assert answer.code == 1
    assert answer.error == "Error: the folder plans/deeper cannot be made: Not a directory"


def test_history_waits_for_nothing_that_is_no_file(applied: Prompt) -> None:
    folder = applied.folder / "plans"
    folder.mkdir()
    os.mkfifo(folder / "pipe.plan.json")
    (folder / "folder.plan.json").mkdir()
    assert "12 created" in applied.ok("history").err


def test_history_leads_from_a_run_to_its_plan(prompt: Prompt) -> None:
    prompt.ok("plan", "--save", "plans")
    (name,) = names(prompt.folder / "plans")
    (prompt.folder / "plans" / "broken.plan.json").write_text("{")
    prompt.ok("apply", f"plans/{name}")
    write(prompt.docs, {"new.md": "# New"})
    prompt.ok("ingest")
    latest, first = prompt.ok("history", "--format", "json").json["runs"]
    assert (latest["plan_file"], first["plan_file"]) == (None, f"plans/{name}")
    text = prompt.ok("history").err
    assert f"plans/{name}" in text
    assert latest["plan"][:12] in text
    assert f"plan {first['plan']} in plans/{name}\n" in prompt.ok("history", "--run", "1").err
    shown = prompt.ok("show", first["plan_file"], "--format", "json").json
    assert shown["digest"] == first["plan"]


def test_a_saved_plan_is_found_under_any_name_and_in_any_folder(prompt: Prompt) -> None:
    (prompt.folder / "kept").mkdir()
    prompt.ok("plan", "-o", "kept/release 7.plan.json")
    prompt.ok("apply", "kept/release 7.plan.json")
    run = prompt.ok("history", "--format", "json", "--plans", "kept").json["runs"][0]
    assert run["plan_file"] == "kept/release 7.plan.json"
    assert prompt.ok("history", "--format", "json").json["runs"][0]["plan_file"] is None
