"""What failed and why, one run by itself, tombstones, and how long all that is remembered."""

from __future__ import annotations

import sqlite3

import pytest

from qloader import Workspace
from qloader.errors import StateError
from support.command_line import some_documents
from support.workspaces import make_workspace, plan_and_apply, write

OLD = 1_000


@pytest.fixture
def workspace(tmp_path):
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", some_documents(4))
    plan_and_apply(workspace)
    write(tmp_path / "docs", {"page-0003.md": None})
    plan_and_apply(workspace)
    return workspace


def age(workspace):
    """Makes all that happened so far happen long ago."""
    with sqlite3.connect(workspace.settings.state) as state:
        state.execute("UPDATE run SET started_at = ?, finished_at = ?", (OLD, OLD))
        state.execute("UPDATE document SET last_ingested = ?", (OLD,))
    state.close()


def leave_one_behind(workspace):
    """An apply for which one document changed after the plan was made."""
    docs = workspace.settings.config.base / "docs"
    write(docs, {"page-0000.md": "# One\n", "page-0001.md": "# Two\n"})
    with workspace.temporary_plan() as result:
        write(docs, {"page-0000.md": "# Another\n"})
        return workspace.apply(result.plan)


def test_old_tombstones_and_runs_are_forgotten_at_the_end_of_an_apply(workspace, tmp_path):
    age(workspace)
    write(tmp_path / "docs", some_documents(1, first=9))
    plan_and_apply(workspace)
    assert workspace.document("docs/page-0003.md") is None
    assert [run.id for run in workspace.history()] == [3]
    assert workspace.document("docs/page-0000.md") is not None


def test_the_figures_of_a_run_are_forgotten_with_it(workspace, tmp_path):
    assert workspace.measurements(workspace.history()).keys() == {1, 2}
    age(workspace)
    write(tmp_path / "docs", some_documents(1, first=9))
    plan_and_apply(workspace)
    with sqlite3.connect(workspace.settings.state) as state:
        assert state.execute("SELECT run_id FROM metric").fetchall() == [(3,)]
        assert state.execute("PRAGMA foreign_key_check").fetchall() == []
    state.close()


def test_what_is_young_is_remembered(workspace, tmp_path):
    write(tmp_path / "docs", some_documents(1, first=9))
    plan_and_apply(workspace)
    assert workspace.document("docs/page-0003.md").is_deleted
    assert len(workspace.history()) == 3


def test_an_apply_without_changes_forgets_too_but_keeps_the_last_run_that_changed_something(workspace):
    age(workspace)
    plan_and_apply(workspace)
    assert workspace.document("docs/page-0003.md") is None
    assert [run.id for run in workspace.history()] == [3, 2]


def test_null_keeps_all_for_ever(workspace):
    config = workspace.settings.config.file
    config.write_text(config.read_text().replace("state.db}", "state.db, retention: null}"))
    age(workspace)
    plan_and_apply(Workspace.open(config))
    assert workspace.document("docs/page-0003.md").is_deleted
    assert len(workspace.history()) == 3


def test_documents_outlive_the_run_that_wrote_them_and_references_stay_whole(workspace, tmp_path):
    leave_one_behind(workspace)
    age(workspace)
    write(tmp_path / "docs", some_documents(1, first=9))
    plan_and_apply(workspace)
    with sqlite3.connect(workspace.settings.state) as state:
        assert state.execute("PRAGMA foreign_key_check").fetchall() == []
        assert state.execute("SELECT count(*) FROM failure").fetchone() == (0,)
    state.close()


def test_status_names_what_failed_until_its_source_succeeds(workspace):
    assert workspace.status().failures == ()
    result = leave_one_behind(workspace)
    assert not result.is_complete
    [failure] = workspace.status().failures
    assert (failure.document_id, failure.reason, failure.run) == ("page-0000.md", "changed", 3)
    assert "changed in the source since the plan was made" in failure.detail
    plan_and_apply(workspace)
    assert workspace.status().failures == ()
    assert [f.run for f in workspace.failures_of("docs/page-0000.md")] == [3]


def test_one_run_tells_what_it_left_behind_and_why(workspace):
    leave_one_behind(workspace)
    details = workspace.run(3)
    assert details.run.status == "partial"
    assert details.run.summary["update"] == 1
    assert [failure.document_id for failure in details.failures] == ["page-0000.md"]
    with pytest.raises(StateError, match="knows no run 99"):
        workspace.run(99)
