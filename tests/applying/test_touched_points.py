"""Points that an interrupted batch touched: vectors of another pipeline are not taken over, payloads are made good."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.state.store import StateStore
from support.faults import Killed
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, write

TEXT = "# Page\n\nWords that stand there twice: words, words, and other words of some length."


@pytest.mark.parametrize("is_moved", [False, True], ids=["same place", "moved"])
def test_a_point_that_an_interrupted_batch_touched_lends_no_vector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_moved: bool
) -> None:
    workspace = make_workspace(tmp_path)
    config = workspace.settings.config.file
    text = config.read_text(encoding="utf-8")
    write(tmp_path / "docs", {"a.md": TEXT})
    plan_and_apply(workspace)

    config.write_text(f"{text}embedding: {{k: 7.5}}\n", encoding="utf-8")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StateStore, "commit_batch", _kill)
        plan_and_apply(Workspace.open(config))

    config.write_text(text, encoding="utf-8")
    if is_moved:
        (tmp_path / "docs" / "a.md").rename(tmp_path / "docs" / "b.md")
    plan_and_apply(Workspace.open(config))
    assert_index_is_a_fresh_load(workspace)


@pytest.mark.parametrize("is_taken_back", [True, False], ids=["taken back", "kept"])
def test_a_new_title_that_was_cut_short_is_repaired_where_it_is_taken_back_and_else_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_taken_back: bool
) -> None:
    """Such a batch writes payloads alone, and its intent names no point."""
    workspace = make_workspace(tmp_path)
    entitle(tmp_path / "docs", "One")
    plan_and_apply(workspace)
    entitle(tmp_path / "docs", "Another")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StateStore, "commit_batch", _kill)
        plan_and_apply(workspace)
    if is_taken_back:
        entitle(tmp_path / "docs", "One")
    with workspace.temporary_plan() as result:
        assert [c.action for c in result.plan.changes()] == ["repair" if is_taken_back else "update"]
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)
    assert workspace.refresh().points == ()


def entitle(folder: Path, title: str) -> None:
    write(folder, {"a.md": f"---\ntitle: {title}\n---\n{TEXT}"})
    os.utime(folder / "a.md", (1_700_000_000, 1_700_000_000))


def _kill(*_: object, **__: object) -> None:
    raise Killed
