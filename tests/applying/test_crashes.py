"""A kill at every step of an apply, and every way on from there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.index.embedded import EmbeddedIndex
from qloader.planning.planfile import FilePlan
from qloader.state.store import StateStore
from support.workspaces import (
    assert_index_is_a_fresh_load,
    make_workspace,
    plan_and_apply,
    replace_all,
)


class Killed(BaseException):
    """The process is gone; nothing that catches errors may catch this."""


STEPS: list[tuple[type, str]] = [
    (StateStore, "begin_run"),
    (EmbeddedIndex, "create"),
    (StateStore, "record_intents"),
    (EmbeddedIndex, "upsert"),
    (EmbeddedIndex, "set_payloads"),
    (EmbeddedIndex, "delete"),
    (EmbeddedIndex, "flush"),
    (StateStore, "commit_batch"),
    (StateStore, "finish_run"),
    (EmbeddedIndex, "mark"),
]

LONG = "\n\n".join(
    f"Paragraph {n} says something about {word} at some length, {'so that it counts. ' * 4}"
    for n, word in enumerate(("plans", "points", "states", "hashes"))
)

BEFORE = {
    "edited.md": f"# Edited\n\n{LONG}\n\nThe old end.",
    "moved.md": f"# Moved\n\n{LONG}",
    "gone.md": "# Gone\n\nThis one will be deleted.",
    "same.md": "# Same\n\nThis one stays.",
    "last.md": "# Last\n\nThe last one of the folder.",
}
AFTER = {
    "edited.md": f"# Edited\n\n{LONG}\n\nA new end, and a better one.",
    "elsewhere/moved.md": f"# Moved\n\n{LONG}",
    "same.md": "# Same\n\nThis one stays.",
    "last.md": "# Last\n\nThe last one, with another text.",
    "new.md": "# New\n\nThis one is new.",
}
OTHER = {
    "edited.md": "# Edited\n\nShort now.",
    "moved.md": "# Moved back\n\nAnd changed.",
    "new.md": "# New\n\nThis one is new.",
}


@contextmanager
def killing(owner: type, method: str, call: int, *, after: bool) -> Iterator[None]:
    """Kills at the n-th call of a method, before it did anything or when it had done all."""
    original = getattr(owner, method)
    calls = 0

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            raise Killed
        result = original(self, *args, **kwargs)
        if calls == call:
            raise Killed
        return result

    setattr(owner, method, step)
    try:
        yield
    finally:
        setattr(owner, method, original)


def write_docs(workspace: Workspace, files: dict[str, str]) -> None:
    folder = workspace.settings.config.base / "docs"
    replace_all(folder, files)
    for path in folder.rglob("*.md"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


def kill_during(workspace: Workspace, plan: FilePlan, owner: type, method: str, call: int, *, after: bool) -> bool:
    """Applies until the kill; False where the run never came that far."""
    with killing(owner, method, call, after=after):
        try:
            workspace.apply(plan)
        except Killed:
            return True
    return False


def same_plan_again(workspace: Workspace, plan: FilePlan) -> None:
    workspace.apply(plan)


def plan_anew(workspace: Workspace, plan: FilePlan) -> None:
    plan_and_apply(workspace)


def revert_and_plan(workspace: Workspace, plan: FilePlan) -> None:
    write_docs(workspace, BEFORE)
    plan_and_apply(workspace, allow_deletes=("docs",))


def change_and_plan(workspace: Workspace, plan: FilePlan) -> None:
    write_docs(workspace, OTHER)
    plan_and_apply(workspace, allow_deletes=("docs",))


WAYS_ON: list[Callable[[Workspace, FilePlan], None]] = [same_plan_again, plan_anew, revert_and_plan, change_and_plan]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `BEFORE` applied, to be copied."""
    folder = tmp_path_factory.mktemp("applied")
    workspace = make_workspace(folder)
    write_docs(workspace, BEFORE)
    plan_and_apply(workspace)
    return folder


@pytest.mark.parametrize("way_on", WAYS_ON, ids=lambda way: way.__name__)
@pytest.mark.parametrize(("owner", "method"), STEPS, ids=[f"{o.__name__}.{m}" for o, m in STEPS])
def test_a_kill_at_any_step_leaves_nothing_that_the_next_apply_does_not_mend(
    tmp_path: Path, applied: Path, owner: type, method: str, way_on: Callable[[Workspace, FilePlan], None]
) -> None:
    reached = 0
    for call in (1, 2, 3):
        for after in (False, True):
            folder = tmp_path / f"{call}-{after}"
            if method != "create":
                # `cp` keeps the holes of the engine's files; copying them out takes most of a test's time.
                subprocess.run(["cp", "-a", str(applied), str(folder)], check=True)
            workspace = make_workspace(folder)
            write_docs(workspace, AFTER)
            plan = workspace.plan(tmp_path / f"plan-{call}-{after}.json").plan
            if not kill_during(workspace, plan, owner, method, call, after=after):
                continue
            reached += 1
            way_on(workspace, plan)
            assert_index_is_a_fresh_load(workspace)
            with workspace.temporary_plan() as result:
                assert result.plan.header.is_empty
    assert reached >= 2


def test_a_first_load_that_is_killed_and_whose_source_vanishes_leaves_no_point(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write_docs(workspace, BEFORE)
    plan = workspace.plan(tmp_path / "plan.json").plan
    assert kill_during(workspace, plan, EmbeddedIndex, "upsert", 1, after=True)
    write_docs(workspace, {"only.md": "# Only\n\nThis one is left."})
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)
