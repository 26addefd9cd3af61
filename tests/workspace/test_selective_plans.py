"""Partial plans: only what was selected is planned and applied, and a later full plan does the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import ConfigError, GuardError
from qloader.planning.plan import FORMAT, Change, PlanSelection
from qloader.workspace.planning import PlanRequest
from support.command_line import some_documents
from support.git_builder import Builder
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, write

GUIDE = PlanSelection(only=("guide/**",))
FILES: dict[str, str | None] = {
    "a.md": "# A\n\nalpha",
    "b.md": "# B\n\nbeta",
    "guide/one.md": "# One\n\nfirst",
    "guide/two.md": "# Two\n\nsecond",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path)
    write(tmp_path / "docs", FILES)
    return made


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    plan_and_apply(workspace)
    return workspace


def docs(workspace: Workspace) -> Path:
    return workspace.settings.config.base / "docs"


def planned(workspace: Workspace, selection: PlanSelection | None = None, **more: object) -> list[tuple[str, str]]:
    """Action and address of each change of a plan."""
    with workspace.temporary_plan(PlanRequest(selection=selection, **more)) as result:
        return [(change.action, change.address) for change in result.plan.changes()]


def test_after_a_partial_first_apply_the_next_full_plan_shows_the_rest(workspace: Workspace) -> None:
    result = plan_and_apply(workspace, selection=GUIDE)
    assert result.created == 2
    assert planned(workspace) == [("create", "docs/a.md"), ("create", "docs/b.md")]
    assert workspace.status().sources[0].last_success is None
    plan_and_apply(workspace)
    assert planned(workspace) == []
    assert workspace.status().sources[0].last_success is not None
    assert_index_is_a_fresh_load(workspace)


def test_a_partial_apply_changes_what_was_selected_and_nothing_else(applied: Workspace) -> None:
    before = workspace_hashes(applied)
    success = applied.status().sources[0].last_success
    write(docs(applied), {"a.md": "# A\n\nanew", "b.md": None, "guide/one.md": "# One\n\nanew", "guide/two.md": None})
    plan_and_apply(applied, selection=GUIDE, allow_deletes=("docs",))
    after = workspace_hashes(applied)
    assert after["docs/a.md"] == before["docs/a.md"]
    assert after["docs/b.md"] == before["docs/b.md"]
    assert after["docs/guide/one.md"] != before["docs/guide/one.md"]
    assert "docs/guide/two.md" not in after
    assert applied.status().sources[0].last_success == success
    assert planned(applied, allow_deletes=("docs",)) == [("update", "docs/a.md"), ("delete", "docs/b.md")]


def workspace_hashes(workspace: Workspace) -> dict[str, bytes]:
    return {f"{d.source}/{d.id}": d.content for d in workspace.documents()}


def test_a_partial_plan_without_changes_does_not_hide_the_rest_from_a_repository_of_one_commit(tmp_path: Path) -> None:
    with Builder(tmp_path / "repo") as repo:
        repo.commit({name: text for name, text in FILES.items() if text is not None})
    config = tmp_path / "qloader.yaml"
    config.write_text("name: test\nsources:\n  docs: {type: git, url: repo}\n", encoding="utf-8")
    workspace = Workspace.open(config)
    assert plan_and_apply(workspace, selection=PlanSelection(only=("nothing/**",))).created == 0
    plan_and_apply(workspace, selection=GUIDE)
    for _ in range(2):  # the same commit, so that the source could be done with at its first look
        plan_and_apply(workspace, selection=GUIDE)
        assert planned(workspace) == [("create", "docs/a.md"), ("create", "docs/b.md")]
    with workspace.settings.read_state() as state:  # type: ignore[union-attr]
        assert state.sources()[0].revision is None


def test_a_move_within_the_selection_is_a_move(applied: Workspace) -> None:
    (docs(applied) / "guide/one.md").rename(docs(applied) / "guide/renamed.md")
    assert planned(applied, GUIDE) == [("move", "docs/guide/renamed.md")]
    assert plan_and_apply(applied, selection=GUIDE).embedded == 0
    assert_index_is_a_fresh_load(applied)


@pytest.mark.parametrize("selection", [GUIDE, PlanSelection(targets=("docs/a.md",)), PlanSelection(exclude=("a.md",))])
def test_a_move_of_which_one_half_was_selected_leaves_both_as_they_are(
    applied: Workspace, selection: PlanSelection
) -> None:
    (docs(applied) / "a.md").rename(docs(applied) / "guide/b.md")
    before = workspace_hashes(applied)
    with applied.temporary_plan(PlanRequest(selection=selection)) as result:
        assert result.plan.header.is_empty
        assert result.plan.header.selection is not None
        assert result.plan.header.selection.left_out == 1
        (warning,) = result.plan.header.warnings
        assert warning.kind == "move left out"
        applied.apply(result.plan)
    assert workspace_hashes(applied) == before
    plan_and_apply(applied)
    assert_index_is_a_fresh_load(applied)


def test_guards_count_a_partial_plan_against_the_whole_source(workspace: Workspace) -> None:
    write(docs(workspace), some_documents(30))
    plan_and_apply(workspace)
    for number in range(8):  # 8 of 34 is less than 25 %, 10 are more
        (docs(workspace) / f"page-{number:04}.md").unlink()
    selection = PlanSelection(only=("page-000?.md",))
    assert len(planned(workspace, selection)) == 8
    for number in (8, 9):
        (docs(workspace) / f"page-{number:04}.md").unlink()
    with workspace.temporary_plan(PlanRequest(selection=selection)) as result:
        assert isinstance(result.refusal, GuardError)
    assert len(planned(workspace, PlanSelection(targets=("docs/page-0001.md",)))) == 1


def test_an_emptied_source_is_refused_a_document_at_a_time_too(applied: Workspace) -> None:
    shutil.rmtree(docs(applied))
    docs(applied).mkdir()
    with applied.temporary_plan(PlanRequest(selection=PlanSelection(targets=("docs/a.md",)))) as result:
        assert isinstance(result.refusal, GuardError)


def test_what_left_the_config_is_planned_away_as_far_as_it_was_selected(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", FILES)
    write(tmp_path / "other", {"x.md": "# X"})
    config = tmp_path / "qloader.yaml"
    text = config.read_text()
    plan_and_apply(workspace)
    config.write_text(text.replace("docs: {type: files, path: docs}", "other: {type: files, path: other}"))
    workspace = Workspace.open(config)
    selection = PlanSelection(only=("guide/one.md",), targets=("docs/a.md",))
    assert planned(workspace, selection, allow_deletes=("docs",)) == [
        ("delete", "docs/a.md"),
        ("delete", "docs/guide/one.md"),
    ]
    assert planned(workspace, PlanSelection(targets=("other/x.md",))) == [("create", "other/x.md")]
    plan_and_apply(workspace, selection=PlanSelection(targets=("docs/a.md",)), allow_deletes=("docs",))
    plan_and_apply(workspace, allow_deletes=("docs",))
    assert_index_is_a_fresh_load(workspace)


def test_a_target_lists_only_its_own_source(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", FILES)
    config = tmp_path / "qloader.yaml"
    config.write_text(config.read_text().replace("sources:\n", "sources:\n  gone: {type: files, path: nowhere}\n"))
    workspace = Workspace.open(config)
    with workspace.temporary_plan(PlanRequest(selection=PlanSelection(targets=("docs/a.md",)))) as result:
        assert [source.name for source in result.plan.header.sources] == ["docs"]
        assert [change.id for change in result.plan.changes()] == ["a.md"]


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("docs/guide/on.md", "Did you mean docs/guide/one.md?"),
        ("docs/giude/one.md", "Did you mean docs/guide/one.md?"),
        ("doc/guide/one.md", "Did you mean docs/guide/one.md?"),
        ("guide/one.md", "Did you mean docs/guide/one.md?"),
        ("one.md", "Did you mean docs/guide/one.md?"),
        ("docs/something-quite-different", "An address is source/id; the sources are: docs."),
        ("docs", "A whole source is planned with --source docs."),
        ("", "An address is source/id; the sources are: docs."),
    ],
)
def test_a_target_that_is_not_there_is_an_error_that_names_what_was_meant(
    applied: Workspace, target: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match="--target") as caught:
        planned(applied, PlanSelection(targets=(target,)))
    assert caught.value.remedy == hint


def test_a_target_that_is_skipped_is_told_why(workspace: Workspace) -> None:
    (docs(workspace) / "c.md").write_bytes(b"\x00\x01\x02")
    with pytest.raises(ConfigError, match=r"docs/c\.md is no document: it holds NUL bytes"):
        planned(workspace, PlanSelection(targets=("docs/c.md",)))


def test_a_target_outside_of_the_sources_asked_for_is_an_error(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    config = tmp_path / "qloader.yaml"
    config.write_text(config.read_text().replace("sources:\n", "sources:\n  notes: {type: files, path: docs}\n"))
    with pytest.raises(ConfigError, match="--source leaves docs out"):
        planned(Workspace.open(config), PlanSelection(targets=("docs/a.md",)), sources=("notes",))


def test_after_a_change_of_the_pipeline_a_part_cannot_be_planned(applied: Workspace) -> None:
    config = applied.settings.config.file
    config.write_text(config.read_text().replace("max_chars: 200", "max_chars: 100"))
    workspace = Workspace.open(config)
    with pytest.raises(ConfigError, match="a plan with --only, --exclude or --target is of a part of it"):
        planned(workspace, GUIDE)
    plan_and_apply(workspace)
    assert planned(workspace, GUIDE) == []
    assert_index_is_a_fresh_load(workspace)


def test_a_source_of_another_type_keeps_its_type_until_all_of_it_is_applied(applied: Workspace) -> None:
    with Builder(docs(applied)) as repo:
        repo.commit({name: text for name, text in FILES.items() if text is not None})
    config = applied.settings.config.file
    config.write_text(config.read_text().replace("type: files, path: docs", "type: git, url: docs"))
    workspace = Workspace.open(config)
    plan_and_apply(workspace, selection=GUIDE)
    assert [record.type for record in workspace.status().sources] == ["files"]
    assert len(planned(workspace)) == 4
    plan_and_apply(workspace)
    assert [record.type for record in workspace.status().sources] == ["git"]
    assert planned(workspace) == []


def test_what_a_crash_left_outside_of_the_selection_stays_for_the_next_full_plan(applied: Workspace) -> None:
    from qloader.documents.hashing import point_keys
    from qloader.state.records import IntentRecord

    record = applied.document("docs/a.md")
    assert record is not None
    with applied.settings.write_state() as state:
        state.lock()
        state.replace_drift([IntentRecord("docs", "a.md", tuple(point_keys("docs", "a.md", record.chunks)))])
    assert planned(applied, GUIDE) == []
    assert planned(applied, PlanSelection(targets=("docs/a.md",))) == [("repair", "docs/a.md")]
    write(docs(applied), {"guide/one.md": "# One\n\nanew"})
    plan_and_apply(applied, selection=GUIDE)
    assert planned(applied) == [("repair", "docs/a.md")]


def test_only_a_partial_plan_says_so_in_its_file(workspace: Workspace, tmp_path: Path) -> None:
    whole = workspace.plan(tmp_path / "whole.json").plan
    assert "selection" not in json.loads(whole.path.read_bytes())
    selection = PlanSelection(only=("guide/**",), exclude=("two.md",), targets=("docs/a.md",))
    part = workspace.plan(tmp_path / "part.json", PlanRequest(selection=selection)).plan
    fields = json.loads(part.path.read_bytes())
    assert fields["format"] == FORMAT
    assert fields["selection"] == {
        "only": ["guide/**"],
        "exclude": ["two.md"],
        "targets": ["docs/a.md"],
        "left_out": 2,
    }
    assert (fields["summary"]["create"], fields["summary"]["unchanged"]) == (2, 0)
    assert workspace.read_plan(part.path).header == part.header
    changes: list[Change] = list(part.changes())
    assert [change.id for change in changes] == ["a.md", "guide/one.md"]
