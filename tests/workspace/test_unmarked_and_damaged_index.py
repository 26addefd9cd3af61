"""An embedded index without the file that says whose it is, or that the engine could not open: seen, said, mended."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import ForeignIndexError, IndexUnavailableError, QloaderError
from qloader.index.marker import MARKER
from qloader.index.protocol import Point, SparseVector
from qloader.workspace.planning import PlanRequest
from support.workspaces import assert_index_is_a_fresh_load, dump, make_workspace, plan_and_apply, write

DOCS: dict[str, str | None] = {"docs/a.md": "# A\n\nApples.", "docs/b.md": "# B\n\nPears."}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path / "ours")
    write(tmp_path / "ours", dict(DOCS))
    plan_and_apply(workspace)
    return workspace


def collection_of(workspace: Workspace) -> Path:
    assert workspace.settings.embedded_path is not None
    return workspace.settings.embedded_path / "test"


def error_of(call: Callable[[], object]) -> QloaderError:
    with pytest.raises(QloaderError) as caught:
        call()
    return caught.value


def test_every_command_names_refresh_where_the_marker_is_gone(workspace: Workspace, tmp_path: Path) -> None:
    empty = workspace.plan(tmp_path / "empty.json").plan
    write(tmp_path / "ours", {"docs/a.md": "# A\n\nApricots."})
    changed = workspace.plan(tmp_path / "changed.json").plan
    (collection_of(workspace) / MARKER).unlink()
    for call in (
        lambda: workspace.plan(tmp_path / "plan.json"),
        lambda: workspace.plan(tmp_path / "plan.json", PlanRequest(refresh=True)),
        lambda: workspace.apply(empty),
        lambda: workspace.apply(changed),
        lambda: workspace.verify(changed),
        lambda: workspace.search("apples"),
        workspace.rebuild_state,
        workspace.roll_back,
        workspace.prune_collections,
        workspace.optimize,
    ):
        error = error_of(call)
        assert isinstance(error, ForeignIndexError)
        assert str(error).startswith(f"{collection_of(workspace) / MARKER} is gone")
        assert "`qloader refresh`" in error.remedy


def test_refresh_writes_a_marker_anew_where_every_point_is_ours(workspace: Workspace) -> None:
    marker = collection_of(workspace) / MARKER
    before = marker.read_bytes()
    told: list[str] = []
    marker.unlink()
    drift = Workspace.open(workspace.settings.config.file, tell=told.append).refresh()
    assert (drift.checked, drift.points) == (2, ())
    assert marker.read_bytes() == before
    assert [sentence for sentence in told if str(marker) in sentence]
    assert_index_is_a_fresh_load(workspace)


def test_refresh_touches_nothing_where_a_point_is_not_ours(workspace: Workspace) -> None:
    with contextlib.closing(workspace.settings.open_index()) as index:
        index.upsert([Point("0" * 8 + "-0000-8000-8000-" + "0" * 12, {"bm25": SparseVector([1], [1.0])}, {"a": 1})])
        index.flush()
    (collection_of(workspace) / MARKER).unlink()
    error = error_of(workspace.refresh)
    assert "not all of this state" in str(error)
    assert str(workspace.settings.state) in error.remedy
    assert not (collection_of(workspace) / MARKER).exists()


def test_the_folder_of_another_state_is_not_taken_over(workspace: Workspace, tmp_path: Path) -> None:
    other = make_workspace(tmp_path / "other")
    write(tmp_path / "other", dict(DOCS))
    plan_and_apply(other)
    before = dump(other)
    (collection_of(other) / MARKER).rename(tmp_path / "marker")
    shutil.rmtree(collection_of(workspace))
    collection_of(other).rename(collection_of(workspace))
    assert "not all of this state" in str(error_of(workspace.refresh))
    assert not (collection_of(workspace) / MARKER).exists()
    collection_of(workspace).rename(collection_of(other))
    (tmp_path / "marker").rename(collection_of(other) / MARKER)
    assert dump(other) == before


def test_the_former_collection_without_a_marker_is_named_by_a_rollback(workspace: Workspace) -> None:
    file = workspace.settings.config.file
    file.write_text(file.read_text(encoding="utf-8").replace("max_chars: 200", "max_chars: 300"), encoding="utf-8")
    replaced = Workspace.open(file)
    plan_and_apply(replaced)
    (collection_of(workspace) / MARKER).unlink()
    error = error_of(replaced.roll_back)
    assert str(error).startswith(f"{collection_of(workspace) / MARKER} is gone")
    assert "refresh" not in error.remedy
    # The live one is another folder, whose file comes back all the same.
    (live,) = (folder for folder in collection_of(workspace).parent.iterdir() if folder.name.startswith("test__"))
    (live / MARKER).unlink()
    assert (replaced.refresh().checked, (live / MARKER).exists()) == (2, True)


def test_without_a_state_an_index_without_a_marker_is_named_by_a_rebuild(workspace: Workspace) -> None:
    (collection_of(workspace) / MARKER).unlink()
    for file in workspace.settings.state.parent.glob("state.db*"):
        file.unlink()
    error = error_of(workspace.rebuild_state)
    assert str(error).startswith(str(collection_of(workspace) / MARKER))
    assert "refresh" not in error.remedy


@pytest.mark.parametrize("name", ["edge_config.json", "wal/first-index", "wal/open-1", "segments/*/segment.json"])
@pytest.mark.parametrize("damage", [b"", b"\0\0\0\0"], ids=["empty", "zeros"])
def test_what_the_engine_could_not_open_is_no_plan_without_changes(
    workspace: Workspace, tmp_path: Path, name: str, damage: bytes
) -> None:
    plan = workspace.plan(tmp_path / "plan.json").plan
    (file,) = (collection_of(workspace) / "shard").glob(name)
    with file.open("r+b") as opened:  # its length stays, as that of the log is fixed
        opened.write(damage)
        if not damage:
            opened.truncate()
    for call in (
        workspace.refresh,  # the engine itself, which is the proof
        lambda: workspace.plan(tmp_path / "again.json"),
        lambda: workspace.apply(plan),
        lambda: workspace.search("apples"),
    ):
        error = error_of(call)
        assert isinstance(error, IndexUnavailableError)
        assert file.name in str(error) or "WAL" in str(error)
        assert f"{workspace.settings.state}*" in error.remedy
        assert str(collection_of(workspace)) in error.remedy


def test_an_index_that_is_gone_is_told_with_the_path_of_the_state(workspace: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(collection_of(workspace))
    error = error_of(lambda: workspace.plan(tmp_path / "plan.json"))
    assert f"move the state {workspace.settings.state}* away" in error.remedy


def test_a_search_in_a_folder_that_it_cannot_write_into_says_so(workspace: Workspace) -> None:
    (collection_of(workspace) / "lock.next").unlink()
    (collection_of(workspace) / "lock.next").mkdir()  # for whoever runs this as root, who may write anywhere
    error = error_of(lambda: workspace.search("apples"))
    assert "cannot be opened, for which its files must be writable" in str(error)
