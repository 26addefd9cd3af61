"""A power cut, at its worst: of the index nothing is left but what was flushed; of the state, what was committed."""

from __future__ import annotations

import contextlib
import subprocess
from itertools import cycle
from pathlib import Path

import pytest
from test_fault_rig import Stage, plan_anew, same_plan_again

from qloader import Workspace
from qloader.errors import QloaderError
from qloader.index.embedded import EmbeddedIndex
from qloader.planning.planfile import FilePlan
from qloader.state.store import StateStore
from support.faults import FaultPoint, Killed, faulty, recording
from support.workspaces import assert_index_is_a_fresh_load

STEPS = [
    (StateStore, "record_intents"),
    (EmbeddedIndex, "create"),
    (EmbeddedIndex, "upsert"),
    (EmbeddedIndex, "set_payloads"),
    (EmbeddedIndex, "delete"),
    (EmbeddedIndex, "flush"),
    (StateStore, "commit_batch"),
    (StateStore, "finish_run"),
]


class Disk:
    """What would be on the disk of an embedded index after a power cut, as it was when it was last synced."""

    def __init__(self, workspace: Workspace, copy: Path, patch: pytest.MonkeyPatch) -> None:
        assert workspace.settings.embedded_path is not None
        self._index = workspace.settings.embedded_path
        self._copy = copy
        self._sync()
        for name in ("create", "flush"):  # a creation ends with a flush of its own
            patch.setattr(EmbeddedIndex, name, self._syncing(getattr(EmbeddedIndex, name)))

    def lose_what_was_not_synced(self) -> None:
        subprocess.run(["rm", "-rf", str(self._index)], check=True)
        if self._copy.exists():
            subprocess.run(["cp", "-a", str(self._copy), str(self._index)], check=True)

    def _syncing(self, original):
        def method(index: EmbeddedIndex, **options: str) -> None:
            original(index, **options)
            self._sync()

        return method

    def _sync(self) -> None:
        subprocess.run(["rm", "-rf", str(self._copy)], check=True)
        if self._index.exists():
            subprocess.run(["cp", "-a", str(self._index), str(self._copy)], check=True)


@pytest.mark.parametrize("first", [True, False], ids=["first load", "changes"])
def test_a_power_cut_after_any_step_is_mended(tmp_path: Path, first: bool) -> None:
    stage = Stage(tmp_path, server=False, kind="first load" if first else "changes")
    with stage.set() as (workspace, plan), recording(STEPS) as points:
        workspace.apply(plan)
    # Of each step the first of a first load, and the last of a change.
    chosen = {point.name: point for point in (reversed(points) if first else points)}
    steps = [f"{owner.__name__}.{name}" for owner, name in STEPS if f"{owner.__name__}.{name}" in chosen]
    assert {"EmbeddedIndex.upsert", "EmbeddedIndex.flush", "StateStore.commit_batch"} <= set(steps)
    for step, way_on in zip(steps, cycle([same_plan_again, plan_anew]), strict=False):
        with stage.set() as (workspace, plan):
            with pytest.MonkeyPatch.context() as patch:
                disk = Disk(workspace, tmp_path / "disk", patch)
                _cut(workspace, plan, chosen[step])
            disk.lose_what_was_not_synced()
            try:
                way_on(workspace, plan)
                assert_index_is_a_fresh_load(workspace)
            except (AssertionError, QloaderError) as error:
                raise AssertionError(f"a power cut after {step}, then {way_on.__name__}: {error!r}") from error


def _cut(workspace: Workspace, plan: FilePlan, point: FaultPoint) -> None:
    with faulty(STEPS, point, "kill after") as happened, contextlib.suppress(Killed):
        workspace.apply(plan)
    assert happened, point


def test_what_the_state_commits_is_synced(tmp_path: Path) -> None:
    with StateStore.write(tmp_path / "state.db") as state:
        assert state._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: with each commit
