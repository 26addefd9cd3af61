"""A source that cannot be listed stops the plan of all, and the error says how the others are planned without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import SourceError
from qloader.workspace.planning import PlanRequest

GONE = "{type: files, path: gone}"


def configured(folder: Path, **sources: str) -> Workspace:
    (folder / "notes").mkdir()
    (folder / "notes" / "a.md").write_text("# A\n\nsome words", encoding="utf-8")
    lines = "".join(f"  {name}: {source}\n" for name, source in sources.items())
    config = folder / "qloader.yaml"
    config.write_text(f"name: test\nsources:\n{lines}", encoding="utf-8")
    return Workspace.open(config)


def remedy(workspace: Workspace, *sources: str) -> str:
    with pytest.raises(SourceError) as caught, workspace.temporary_plan(PlanRequest(sources=sources or None)):
        pass
    return caught.value.remedy


def test_the_others_are_named_and_can_be_planned(tmp_path: Path) -> None:
    workspace = configured(tmp_path, old=GONE, notes="{type: files, path: notes}")
    assert remedy(workspace).endswith("Nothing was changed. The others can be planned without it: --source notes.")
    with workspace.temporary_plan(PlanRequest(sources=("notes",))) as result:
        assert result.plan.header.summary.create == 1


def test_where_nothing_else_is_planned_nothing_else_is_named(tmp_path: Path) -> None:
    workspace = configured(tmp_path, old=GONE, notes="{type: files, path: notes}")
    assert "--source" not in remedy(workspace, "old")
    assert remedy(workspace, "old").endswith("is mounted. Nothing was changed.")


def test_many_others_are_not_listed(tmp_path: Path) -> None:
    many = {f"notes{number}": "{type: files, path: notes}" for number in range(6)}
    assert remedy(configured(tmp_path, old=GONE, **many)).endswith("without it: --source NAME.")


def test_a_source_that_fails_in_the_midst_of_an_apply_is_not_said_to_have_changed_nothing(tmp_path: Path) -> None:
    folders = {name: f"{{type: files, path: {name}}}" for name in ("alpha", "omega")}
    for name in folders:
        (tmp_path / name).mkdir()
        for number in range(8):
            (tmp_path / name / f"{number}.md").write_text(f"# {number}\n\nwords of {name}", encoding="utf-8")
    workspace = configured(tmp_path, **folders)
    config = workspace.settings.config.file
    config.write_text(config.read_text() + "ingestion: {batch: {size: 1}}\n", encoding="utf-8")
    workspace = Workspace.open(config)
    result = workspace.plan(tmp_path / "plan.json")
    (tmp_path / "omega").rename(tmp_path / "unmounted")
    with pytest.raises(SourceError) as caught:
        workspace.apply(result.plan)
    done = workspace.status().points
    assert done > 0
    assert "Nothing was changed" not in caught.value.remedy
    assert f"{done} documents are applied and recorded: run the same command again to go on." in caught.value.remedy
    (tmp_path / "unmounted").rename(tmp_path / "omega")
    again = workspace.apply(result.plan)
    assert (again.created + again.already, workspace.status().points) == (16, 16)
