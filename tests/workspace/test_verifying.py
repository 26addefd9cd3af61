"""`verify`: a plan is made again as it was asked for, and every difference is told by document."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.planning.plan import PlanSelection
from qloader.planning.planfile import FilePlan
from qloader.workspace.planning import PlanRequest
from qloader.workspace.since import parse_since
from qloader.workspace.verifying import KEPT, Verification
from support.command_line import some_documents
from support.git_builder import Builder
from support.workspaces import make_workspace, plan_and_apply, write

FILES: dict[str, str | None] = {f"{name}.md": f"# {name}\n\n{name} text" for name in "abcde"}


@pytest.fixture
def applied(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", FILES)
    plan_and_apply(workspace)
    return workspace


def edit(workspace: Workspace, files: dict[str, str | None]) -> None:
    write(workspace.settings.config.base / "docs", files)


def saved(workspace: Workspace, **request: object) -> FilePlan:
    return workspace.plan(workspace.settings.config.base / "plan.json", PlanRequest(**request)).plan  # type: ignore[arg-type]


def told(found: Verification) -> dict[str, str]:
    return {difference.subject: difference.message for difference in found.differences if difference.kind == "change"}


def test_a_plan_that_still_holds_is_the_same(applied: Workspace) -> None:
    edit(applied, {"a.md": "# a\n\nanew", "b.md": None})
    plan = saved(applied, allow_deletes=("docs",))
    found = applied.verify(plan)
    assert found == Verification(plan.header.digest, plan.header.digest, 0, (), ())
    assert applied.verify(plan.path).is_same


def test_every_difference_is_told_by_document(applied: Workspace) -> None:
    write(applied.settings.config.base / "docs", {"new.md": "# New\n\none"})
    edit(applied, {"a.md": "# a\n\nonce", "b.md": None, "c.md": "# c\n\nchanged"})
    (applied.settings.config.base / "docs/d.md").rename(applied.settings.config.base / "docs/moved.md")
    plan = saved(applied, allow_deletes=("docs",))
    edit(
        applied,
        {
            "a.md": "# a\n\ntwice",  # text changed again
            "b.md": "# b\n\nback, with another text",  # another action
            "c.md": FILES["c.md"],  # no change any more
            "e.md": "# e\n\nchanged meanwhile",  # not in the plan
            "new.md": "---\ntags: x\n---\n# New\n\none",  # metadata
        },
    )
    (applied.settings.config.base / "docs/moved.md").rename(applied.settings.config.base / "docs/elsewhere.md")
    found = applied.verify(plan)
    assert found.count == len(found.differences)
    assert told(found) == {
        "docs/a.md": "its text changed again",
        "docs/b.md": "an update now (text changed), a delete in the plan; "
        "1 to embed, 0 kept, 1 removed now, 0 to embed, 0 kept, 1 removed in the plan",
        "docs/c.md": "the plan has an update, now there is no change",
        "docs/e.md": "not in the plan, now there is an update (text changed)",
        "docs/elsewhere.md": "not in the plan, now there is a move (same text under a new id)",
        "docs/moved.md": "the plan has a move, now there is no change",
        "docs/new.md": "its title, uri or metadata changed again",
    }
    assert [(d.planned, d.now) for d in found.differences if d.subject == "docs/b.md"] == [("delete", "update")]
    assert {d.kind for d in found.differences} == {"source", "change"}


def test_a_plan_of_an_earlier_state_differs_in_the_state(applied: Workspace) -> None:
    edit(applied, {"a.md": "# a\n\nanew"})
    plan = saved(applied)
    applied.apply(plan)
    found = applied.verify(plan)
    assert [(d.kind, d.subject) for d in found.differences] == [("state", ""), ("change", "docs/a.md")]
    assert (
        str(found.differences[0])
        == f"state: serial is {plan.header.base.serial + 2} instead of {plan.header.base.serial}"
    )


@pytest.fixture
def clone(tmp_path: Path) -> Workspace:
    with Builder(tmp_path / "repo") as repo:
        repo.commit({"a.md": "# A", "b.md": "# B"})
    config = tmp_path / "qloader.yaml"
    config.write_text("name: test\nsources:\n  docs: {type: git, url: repo}\n", encoding="utf-8")
    workspace = Workspace.open(config)
    plan_and_apply(workspace)
    return workspace


def test_another_commit_with_the_same_documents_is_no_difference(clone: Workspace, tmp_path: Path) -> None:
    files = {"a.md": "# A\n\nmore", "b.md": "# B"}
    with Builder(tmp_path / "repo") as repo:
        branch = repo.commit(files, branch="topic", parents=[])
        main = repo.commit({"a.md": "# A", "b.md": "# B", "code.py": "x = 1"})
        repo.commit(files)
    planned = saved(clone)
    with Builder(tmp_path / "repo") as repo:
        merge = repo.commit(files, parents=[main, branch])
    found = clone.verify(planned)
    assert found.is_same
    assert found.plan != found.now
    before = planned.header.sources[0].revision
    assert found.notes == (
        f"docs: only the revision differs, {merge} now and {before} in the plan; the documents are the same",
    )
    with Builder(tmp_path / "repo") as repo:
        repo.commit({**files, "b.md": "# B\n\nmore too"})
    assert not clone.verify(planned).is_same


def test_a_partial_plan_is_verified_as_a_partial_plan(applied: Workspace) -> None:
    edit(applied, {"a.md": "# a\n\nanew", "b.md": "# b\n\nanew"})
    plan = saved(applied, selection=PlanSelection(only=("a.md",)))
    assert applied.verify(plan).is_same
    edit(applied, {"c.md": "# c\n\nanew", "f.md": "# f"})
    found = applied.verify(plan)
    assert found.is_same
    assert found.notes == ("docs: documents that the plan leaves out changed",)
    edit(applied, {"a.md": "# a\n\nonce more"})
    assert told(applied.verify(plan)) == {"docs/a.md": "its text changed again"}


def test_a_target_that_is_gone_from_everywhere_is_a_difference(applied: Workspace) -> None:
    edit(applied, {"new.md": "# New"})
    plan = saved(applied, selection=PlanSelection(targets=("docs/new.md",)))
    assert applied.verify(plan).is_same
    edit(applied, {"new.md": None})
    assert told(applied.verify(plan)) == {"docs/new.md": "the plan has a create, now there is no change"}


def test_a_plan_that_destroys_everything_is_made_again_as_such(applied: Workspace) -> None:
    plan = saved(applied, destroy=True)
    edit(applied, {"a.md": "# a\n\nanew", "new.md": "# New"})
    assert applied.verify(plan).is_same


def test_a_plan_since_a_commit_is_listed_from_that_commit_again(clone: Workspace, tmp_path: Path) -> None:
    with Builder(tmp_path / "repo") as repo:
        repo.commit({"a.md": "# A\n\nmore"})
        since = repo.repo.head().decode()
        repo.commit({"a.md": "# A\n\nmore", "c.md": "# C"})
    plan = saved(clone, since=parse_since(since))
    assert plan.header.since == since
    assert [change.id for change in plan.changes()] == ["c.md"]
    assert clone.verify(plan).is_same


def test_a_plan_since_a_time_is_listed_from_that_time_again_whatever_the_clock_says(applied: Workspace) -> None:
    edit(applied, {"a.md": "# a\n\nanew", "b.md": None})
    plan = saved(applied, since=parse_since("1h"))
    assert plan.header.since
    assert [change.action for change in plan.changes()] == ["update"]
    assert applied.verify(plan).is_same


def test_a_plan_of_one_source_says_nothing_of_the_others(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", FILES)
    write(tmp_path / "other", FILES)
    config = tmp_path / "qloader.yaml"
    config.write_text(config.read_text().replace("sources:\n", "sources:\n  other: {type: files, path: other}\n"))
    workspace = Workspace.open(config)
    plan = saved(workspace, sources=("docs",))
    write(tmp_path / "other", {"a.md": "# changed"})
    assert workspace.verify(plan).is_same


def test_a_plan_of_the_only_source_says_nothing_of_one_that_left_the_config(applied: Workspace) -> None:
    config = applied.settings.config.file
    config.write_text(config.read_text().replace("docs: {type: files, path: docs}", "new: {type: files, path: new}"))
    write(config.parent / "new", {"a.md": "# A"})
    workspace = Workspace.open(config)
    plan = saved(workspace, sources=("new",))
    assert plan.header.summary.delete == 0
    assert workspace.verify(plan).is_same


def test_a_plan_that_removes_a_source_is_made_again_whole(applied: Workspace) -> None:
    config = applied.settings.config.file
    config.write_text(config.read_text().replace("docs: {type: files, path: docs}", "new: {type: files, path: new}"))
    (config.parent / "new").mkdir()
    workspace = Workspace.open(config)
    plan = saved(workspace, allow_deletes=("docs",))
    assert plan.header.summary.delete == 5
    assert workspace.verify(plan).is_same


def test_repairs_that_only_a_look_at_the_index_finds_are_looked_for_again(applied: Workspace) -> None:
    header = applied.status().header
    assert header is not None
    point = next(iter(point_ids_of(applied, "docs/a.md")))
    index = applied.settings.open_index(guard=lambda: None, is_patient=True)
    index.delete([point])
    index.flush()
    index.close()
    plan = saved(applied, refresh=True)
    assert [change.action for change in plan.changes()] == ["repair"]
    assert applied.verify(plan).is_same


def point_ids_of(workspace: Workspace, address: str) -> list[str]:
    from qloader.documents.hashing import point_ids

    record = workspace.document(address)
    assert record is not None
    return list(point_ids(record.source, record.id, record.chunks))


def test_differences_are_kept_up_to_a_bound_and_all_are_counted(applied: Workspace) -> None:
    edit(applied, some_documents(KEPT + 20))
    plan = saved(applied)
    shutil.rmtree(applied.settings.config.base / "docs")
    edit(applied, FILES)
    found = applied.verify(plan)
    assert found.count == KEPT + 21
    assert len(found.differences) == KEPT
