"""A source goes on living between plan and apply, and during the apply; clocks and time zones do as they like."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.applying.result import ApplyResult
from qloader.planning.planfile import FilePlan
from support.workspaces import assert_index_is_a_fresh_load, dump, make_workspace, plan_and_apply, write

PARTS = 6


def version(name: str, number: int) -> str:
    """A document of several chunks, each of which says whose and which version's it is."""
    return "\n\n".join(f"# {name}\n\npart {part} of version {number} " + "word " * 30 for part in range(PARTS))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Four documents applied, and a new version of each written."""
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", {f"{name}.md": version(name, 1) for name in "abcd"})
    plan_and_apply(workspace)
    write(tmp_path / "docs", {f"{name}.md": version(name, 2) for name in "abcd"})
    return workspace


def docs(workspace: Workspace) -> Path:
    return workspace.settings.config.base / "docs"


def planned(workspace: Workspace) -> FilePlan:
    return workspace.plan(workspace.settings.config.base / "plan.json").plan


def versions(workspace: Workspace) -> dict[str, set[str]]:
    """By document, the versions that its points are of."""
    found = defaultdict(set)
    for point in dump(workspace).values():
        found[point["payload"]["document_id"]].add(point["payload"]["text"].partition("version ")[2][:1])
    return dict(found)


def failed(result: ApplyResult) -> dict[str, str]:
    return {failure.document_id: failure.reason for failure in result.failures}


def edit(path: Path) -> None:
    path.write_text(version("b", 3))


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def replace_by_a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (edit, "changed"),
        (lambda path: path.write_text(""), "changed"),
        (lambda path: path.write_text("---\ntitle: New\n---\n" + version("b", 2)), "changed"),
        (Path.unlink, "vanished"),
        (replace_by_a_folder, None),
        (replace_by_a_loop, None),
        (lambda path: path.write_bytes(b"\xff\xfe\x00\x01" * 50), None),
    ],
    ids=["edited", "emptied", "title only", "deleted", "a folder", "a link to itself", "no text"],
)
def test_what_moved_on_since_the_plan_is_left_as_it_was_and_the_rest_is_done(
    workspace: Workspace, happen: Callable[[Path], object], reason: str | None
) -> None:
    plan = planned(workspace)
    happen(docs(workspace) / "b.md")
    result = workspace.apply(plan)
    assert result.updated == 3
    assert set(failed(result)) == {"b.md"}
    assert reason in (None, failed(result)["b.md"])
    assert versions(workspace) == {"a.md": {"2"}, "b.md": {"1"}, "c.md": {"2"}, "d.md": {"2"}}
    assert not result.is_complete  # exit code 1


def test_what_was_left_is_listed_recorded_and_brought_by_the_next_plan(workspace: Workspace) -> None:
    plan = planned(workspace)
    for name in "bc":
        (docs(workspace) / f"{name}.md").write_text(version(name, 3))
    result = workspace.apply(plan)
    assert failed(result) == {"b.md": "changed", "c.md": "changed"}
    run = workspace.history(1)[0]
    assert (run.status, run.error) == ("partial", "2 documents were left as they were, the first: docs/b.md")
    state = workspace.settings.read_state()
    assert state is not None
    with state:
        assert tuple(state.failures(run.id)) == result.failures
    again = planned(workspace)
    assert [(c.action, c.id) for c in again.changes()] == [("update", "b.md"), ("update", "c.md")]
    assert workspace.apply(again).is_complete
    assert_index_is_a_fresh_load(workspace)
    assert planned(workspace).header.is_empty


def test_a_title_that_alone_changed_is_brought_by_the_next_plan_without_embedding(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write(docs(workspace), {"a.md": "---\ntitle: One\n---\nwords of a", "b.md": "b"})
    plan = planned(workspace)
    write(docs(workspace), {"a.md": "---\ntitle: Two\n---\nwords of a"})
    assert failed(workspace.apply(plan)) == {"a.md": "changed"}
    plan_and_apply(workspace)
    write(docs(workspace), {"a.md": "---\ntitle: Three\n---\nwords of a"})
    assert planned(workspace).header.summary.chunks_embed == 0
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_a_document_that_comes_back_after_its_delete_was_planned_is_created_by_the_next_plan(
    workspace: Workspace,
) -> None:
    plan_and_apply(workspace)
    (docs(workspace) / "d.md").unlink()
    plan = planned(workspace)
    write(docs(workspace), {"d.md": version("d", 2)})
    assert workspace.apply(plan).deleted == 1  # as it was reviewed
    assert plan_and_apply(workspace).created == 1
    assert_index_is_a_fresh_load(workspace)


@pytest.mark.parametrize("workers", [1, 8])
def test_a_source_that_is_edited_at_each_batch_leaves_each_document_in_one_version(
    workspace: Workspace, workers: int
) -> None:
    workspace = make_workspace(workspace.settings.config.base, workers=workers)
    plan = planned(workspace)
    edges = 0

    def edit_all() -> bool:
        nonlocal edges
        edges += 1
        if edges == 2:
            write(docs(workspace), {f"{name}.md": version(name, 3) for name in "abcd"})
        return False

    result = workspace.apply(plan, should_stop=edit_all)
    assert edges == 2
    late = set(failed(result))  # what was read ahead is as it was planned
    assert late == {"c.md", "d.md"} if workers == 1 else late <= {"c.md", "d.md"}
    assert versions(workspace) == {f"{n}.md": {"1" if f"{n}.md" in late else "2"} for n in "abcd"}


def test_a_source_that_is_rewritten_without_rest_never_mixes_two_versions(workspace: Workspace) -> None:
    plan = planned(workspace)
    ended, begun = threading.Event(), threading.Event()

    def rewrite() -> None:  # not atomically: half a file can be read, too
        number = 2
        while not ended.is_set():
            number = 5 - number
            write(docs(workspace), {f"{name}.md": version(name, number) for name in "abcd"})
            begun.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        begun.wait()
        result = workspace.apply(plan)
    finally:
        ended.set()
        writer.join()
    left = {f"{name}.md": {"1"} if f"{name}.md" in failed(result) else {"2"} for name in "abcd"}
    assert versions(workspace) == left
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace, dated=False)  # the same text may have been written again later


def test_a_folder_that_is_gone_at_apply_leaves_everything_as_it_was(workspace: Workspace) -> None:
    plan = planned(workspace)
    before = dump(workspace)
    docs(workspace).rename(docs(workspace).with_name("away"))
    try:
        result = workspace.apply(plan)
    except Exception as error:  # either way round: said at once, or document by document
        assert type(error).__name__ == "SourceError"  # noqa: PT017
    else:
        assert len(result.failures) == 4
    assert dump(workspace) == before
    shutil.rmtree(docs(workspace), ignore_errors=True)
    docs(workspace).with_name("away").rename(docs(workspace))
    assert plan_and_apply(workspace).updated == 4


# Clocks


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Sets this process's clock ahead, or back."""
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(seconds * 1e9))


@pytest.mark.parametrize("seconds", [-3600, -10 * 365 * 86400, 86400, 20 * 365 * 86400])
def test_a_clock_that_is_set_between_runs_makes_no_changes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    plan = planned(workspace)
    set_clock(monkeypatch, seconds)
    assert workspace.apply(plan).updated == 4
    assert planned(workspace).header.is_empty
    monkeypatch.undo()
    assert planned(workspace).header.is_empty
    write(docs(workspace), {"a.md": version("a", 4)})
    assert plan_and_apply(workspace).updated == 1


@pytest.mark.parametrize("seconds", [0, 1, 2**31 - 1, 2**31 + 86400, 2**32 + 5, 4_102_444_800, 9_999_999_999])
def test_files_of_any_time_are_loaded_and_then_unchanged(workspace: Workspace, seconds: int) -> None:
    for path in docs(workspace).iterdir():
        os.utime(path, (seconds, seconds))
    plan_and_apply(workspace)
    assert planned(workspace).header.is_empty
    assert workspace.search("version")
    assert_index_is_a_fresh_load(workspace)


@pytest.mark.parametrize("zones", [("UTC", "Asia/Kathmandu"), ("Pacific/Apia", "America/St_Johns"), ("CET", "CEST-2")])
def test_plan_and_apply_in_two_time_zones_agree(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, zones: tuple[str, str]
) -> None:
    # One hour before and after the clocks of Europe went forward, and in the hour that they have twice in autumn.
    for name, seconds in zip("abcd", (1_711_843_200, 1_711_850_400, 1_729_989_000, 1_729_992_600), strict=True):
        os.utime(docs(workspace) / f"{name}.md", (seconds, seconds))
    try:
        monkeypatch.setenv("TZ", zones[0])
        time.tzset()
        plan = planned(workspace)
        monkeypatch.setenv("TZ", zones[1])
        time.tzset()
        assert workspace.apply(plan).updated == 4
        assert planned(workspace).header.is_empty
        times = {p["payload"]["document_id"]: p["payload"]["updated_at"] for p in dump(workspace).values()}
        assert times["a.md"] == "2024-03-31T00:00:00Z"
        assert times["d.md"] == "2024-10-27T01:30:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert planned(workspace).header.is_empty
