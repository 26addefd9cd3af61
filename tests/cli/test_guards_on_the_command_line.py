"""Nothing is wiped by accident: emptied folders, missing mounts, listings that are not whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qloader.workspace.planning import PlanRequest
from support.command_line import Prompt, some_documents
from support.git_builder import Builder
from support.workspaces import assert_index_is_a_fresh_load, write


def points(prompt: Prompt) -> int:
    return int(prompt.ok("status", "--format", "json").json["points"])


def guard(prompt: Prompt, text: str) -> None:
    """Adds guards to the config."""
    config = (prompt.folder / "qloader.yaml").read_text().partition("guards:")[0]
    prompt.configure(f"{config}guards: {{{text}}}\n")


def remove(prompt: Prompt, count: int) -> None:
    for path in sorted(prompt.docs.iterdir())[:count]:
        path.unlink()


@pytest.mark.parametrize(
    "command", [("plan", "-o", "new.json"), ("apply", "--auto-approve"), ("ingest",), ("ingest", "--full")]
)
def test_an_emptied_folder_wipes_nothing(applied: Prompt, command: tuple[str, ...]) -> None:
    remove(applied, 12)
    answer = applied(*command)
    assert answer.code == 3
    assert answer.error == "Error: refused by a guard, nothing was changed:"
    assert "  12 of 12 documents of docs would be deleted: the source is empty now\n" in answer.err
    assert "plan again with --allow-deletes docs" in answer.remedy
    assert "a missing mount, a wrong path or branch, an account that lost a permission" in answer.remedy
    assert points(applied) == 12
    assert not (applied.folder / "new.json").exists()


@pytest.mark.parametrize("command", ["plan", "ingest"])
def test_a_missing_mount_wipes_nothing(applied: Prompt, command: str) -> None:
    applied.docs.rename(applied.folder / "unmounted")
    answer = applied(command)
    assert answer.code == 1
    assert "cannot be read: no such file or directory" in answer.error
    assert "that the drive is mounted. Nothing was changed." in answer.remedy
    assert points(applied) == 12


def test_a_drive_that_is_replaced_by_a_file_wipes_nothing(applied: Prompt) -> None:
    applied.docs.rename(applied.folder / "unmounted")
    applied.docs.write_text("no folder")
    answer = applied("ingest")
    assert (answer.code, points(applied)) == (1, 12)
    assert answer.error.endswith("is no folder.")


def test_deleting_thirty_percent_needs_to_be_allowed_for_the_one_plan(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(20))
    prompt.load()
    remove(prompt, 6)
    answer = prompt("plan", "-o", "new.json")
    assert answer.code == 3
    assert "6 of 20 documents of docs would be deleted (30.0 %); guards.max_delete_percent is 25" in answer.err
    allowed = prompt.ok("plan", "-o", "new.json", "--allow-deletes", "docs")
    assert "Warning: deletes allowed past the guards: docs" in allowed.err
    plan = prompt.ok("show", "new.json", "--format", "json").json
    assert plan["allowed"] == {"deletes": ["docs"]}  # for its reviewer
    assert [w["kind"] for w in plan["warnings"]] == ["deletes allowed"]
    assert "deletes allowed past the guards" in prompt.ok("show", "new.json").err
    prompt.ok("apply", "new.json")
    assert points(prompt) == 14


def test_deleting_a_quarter_passes(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(20))
    prompt.load()
    remove(prompt, 5)
    prompt.load()
    assert points(prompt) == 15


def test_guards_are_asked_again_when_a_plan_is_applied(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(20))
    prompt.load()
    remove(prompt, 4)
    prompt.ok("plan", "-o", "new.json")
    guard(prompt, "max_delete_percent: 10")  # since the plan was made
    answer = prompt("apply", "new.json")
    assert (answer.code, points(prompt)) == (3, 20)
    guard(prompt, "max_delete_percent: null")
    prompt.ok("apply", "new.json")


def test_prevent_destroy_holds_whatever_is_allowed(applied: Prompt) -> None:
    guard(applied, "prevent_destroy: true")
    remove(applied, 12)
    for command in (["plan", "--allow-deletes", "docs"], ["destroy", "--auto-approve"]):
        answer = applied(*command)
        assert answer.code == 3
        assert "all 12 documents of docs would be deleted; guards.prevent_destroy is set" in answer.err
        assert "change guards.prevent_destroy in the config and plan again" in answer.remedy
        assert "--allow-deletes" not in answer.remedy  # it would not help
    assert points(applied) == 12


def test_too_many_updates_are_refused_with_the_way_past_that_there_is(applied: Prompt) -> None:
    guard(applied, "max_update_percent: 20")
    write(applied.docs, {f"page-000{n}.md": f"# {n}\n\nrewritten" for n in range(3)})
    answer = applied("plan")
    assert answer.code == 3
    assert "3 of 12 documents of docs would be updated (25.0 %); guards.max_update_percent is 20" in answer.err
    assert "change guards.max_update_percent in the config and plan again" in answer.remedy
    assert applied("plan", "--allow-deletes", "docs").code == 3


def test_renaming_everything_is_no_deletion(applied: Prompt) -> None:
    (applied.docs / "sub").mkdir()
    for path in [p for p in applied.docs.iterdir() if p.is_file()]:
        path.rename(applied.docs / "sub" / path.name)
    assert applied.ok("plan").last == "Plan: 0 to create, 0 to update, 12 to move, 0 to delete (0 chunks to embed)."


def test_a_source_that_left_the_config_is_planned_away_and_needs_to_be_allowed(applied: Prompt) -> None:
    config = (applied.folder / "qloader.yaml").read_text()
    applied.configure(config.replace("  docs: {", "  other: {").replace("path: docs", "path: other"))
    (applied.folder / "other").mkdir()
    answer = applied("plan")
    assert answer.code == 3
    assert "  - page-0000.md  source removed from the config" in answer.err
    assert points(applied) == 12
    applied.load("--allow-deletes", "docs")
    assert points(applied) == 0


def test_a_renamed_source_is_another_source(applied: Prompt) -> None:
    config = (applied.folder / "qloader.yaml").read_text()
    applied.configure(config.replace("  docs: {", "  notes: {"))
    answer = applied("plan")
    assert answer.code == 3
    assert "Plan: 12 to create, 0 to update, 0 to move, 12 to delete (12 chunks to embed)." in answer.err
    applied.load("--allow-deletes", "docs")
    assert {
        d["address"].partition("/")[0] for d in applied.ok("state", "list", "--format", "json").json["documents"]
    } == {"notes"}
    assert_index_is_a_fresh_load(applied.workspace)


def test_a_plan_of_other_sources_never_removes_a_source_that_left_the_config(applied: Prompt) -> None:
    config = (applied.folder / "qloader.yaml").read_text()
    applied.configure(config.replace("  docs: {", "  notes: {"))
    plan = applied.ok("plan", "--source", "notes", "--format", "json").json
    assert plan["summary"]["delete"] == 0


def test_a_branch_without_documents_wipes_nothing(prompt: Prompt) -> None:
    with Builder(prompt.folder / "repo") as repo:
        repo.commit(some_documents(12))
        repo.commit({"code.c": "int main;"}, branch="empty", parents=[])
        prompt.configure("name: test\nsources:\n  docs: {type: git, url: repo, ref: main}\n")
        prompt.load()
        prompt.configure("name: test\nsources:\n  docs: {type: git, url: repo, ref: empty}\n")
        assert (prompt("ingest").code, points(prompt)) == (3, 12)


# Listings that are not whole


@contextlib.contextmanager
def too_deep(folder: Path) -> Iterator[None]:
    """Folders in folders until no path reaches the last: what not even root can list."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
        yield
    finally:
        for _ in range(20):
            os.chdir("..")
            os.rmdir("d" * 250)
        os.chdir(here)


def test_an_incomplete_listing_creates_and_updates_but_deletes_nothing_and_says_why(applied: Prompt) -> None:
    write(applied.docs, {"page-0000.md": None, "page-0001.md": "# One\n\nchanged", "new.md": "# New\n\nnew"})
    with too_deep(applied.docs):
        plan = applied.process("plan", "-o", "plan.json", cwd=applied.folder)
    assert plan.code == 0
    assert plan.last == "Plan: 1 to create, 1 to update, 0 to move, 0 to delete (2 chunks to embed)."
    assert "incomplete: nothing is deleted" in plan.err
    document = applied.ok("show", "plan.json", "--format", "json").json
    assert document["sources"][0]["complete"] is False
    (incomplete,) = [w["message"] for w in document["warnings"] if w["kind"] == "incomplete"]
    assert "could not be listed: file name too long" in incomplete
    applied.ok("apply", "plan.json")
    assert points(applied) == 13
    assert applied.ok("plan").last == "Plan: 0 to create, 0 to update, 0 to move, 1 to delete (0 chunks to embed)."
    applied.load()
    assert_index_is_a_fresh_load(applied.workspace)


class Interference:
    """Somebody who does something as soon as the first document was read."""

    def __init__(self, act) -> None:
        self._act = act

    @contextlib.contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Interference]:
        yield self

    def advance(self, count: int) -> None:
        act, self._act = self._act, lambda: None
        act()


def test_a_file_that_vanishes_between_listing_and_reading_is_no_deleted_document(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(2_500))  # more than are read ahead
    prompt.configure(
        (prompt.folder / "qloader.yaml").read_text().replace("ingestion: {", "ingestion: {parallel: {max_workers: 1}, ")
    )
    last = prompt.docs / "page-2499.md"
    text = last.read_bytes()
    workspace = prompt.workspace
    result = workspace.plan(prompt.folder / "plan.json", progress=Interference(last.unlink))
    header = result.plan.header
    assert (header.summary.create, header.sources[0].complete) == (2_499, False)
    assert [w.message for w in header.warnings if w.kind == "incomplete"] == [
        "listing incomplete, so nothing is deleted: page-2499.md was listed but gone when it was read: "
        "no such file or directory"
    ]
    last.write_bytes(text)
    assert workspace.plan(prompt.folder / "plan.json", PlanRequest()).plan.header.summary.create == 2_500


def test_a_document_that_vanishes_while_it_is_known_stays_in_the_index(applied: Prompt) -> None:
    known = applied.docs / "page-0011.md"
    for path in sorted(applied.docs.iterdir()):
        path.write_text(path.read_text() + "\n\nmore")
    result = applied.workspace.plan(applied.folder / "plan.json", progress=Interference(known.unlink))
    assert (result.plan.header.summary.update, result.plan.header.summary.delete) == (11, 0)
    applied.ok("apply", "plan.json")
    assert applied.ok("state", "show", "docs/page-0011.md", "--format", "json").json["deleted"] is False
    assert applied.ok("search", "page 11", "--format", "json").json["hits"][0]["address"] == "docs/page-0011.md"
