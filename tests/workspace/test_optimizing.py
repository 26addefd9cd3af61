"""`qloader optimize`: in a process of its own, which may be killed at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.errors import ConfigError, IndexUnavailableError, LockedError, StateError
from qloader.index.embedded import EmbeddedIndex
from qloader.index.marker import SHARD
from qloader.index.protocol import DENSE_VECTOR, SPARSE_VECTOR, Point, SparseVector
from qloader.workspace import processes
from qloader.workspace.processes import start
from support.dense_places import DensePlace, dense_place
from support.workspaces import make_workspace, plan_and_apply, write

OURS = "6f0c2f4e-0000-4000-8000-000000000001"
GRAPH_AT_ONCE = {"indexing_threshold": 1}
"""In kB: so that there is something to do for a few points."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DensePlace]:
    with dense_place(tmp_path) as place:
        place.index = "path: .qloader/index, settings: {indexing_threshold: 1}"
        write(tmp_path / "docs", {f"page-{n}.md": f"# Page {n}\n\nA garden with {n} lamps." for n in range(60)})
        yield place


def content(workspace: Workspace) -> dict[str, tuple[object, object]]:
    """Every point by id: payload and vectors."""
    header = workspace.status().header
    assert header is not None
    with contextlib.closing(workspace.settings.open_index()) as index:
        points = list(index.scroll(lineage=header.lineage, with_vectors=True))
    return {point.id: (point.payload, point.vectors) for point in points}


def test_all_points_stay_and_are_found_as_before(place: DensePlace) -> None:
    workspace = place.configure()
    plan_and_apply(workspace)
    before, asked = content(workspace), workspace.search("a garden with 7 lamps", limit=20)
    done = workspace.optimize()
    assert (done.collection, done.points) == ("test", len(before))
    assert done.bytes != done.bytes_before
    assert content(workspace) == before
    again = workspace.search("a garden with 7 lamps", limit=20)
    assert [len(asked), len(again)] == [20, 20]
    assert again[0].payload == asked[0].payload
    again_done = workspace.optimize()  # where nothing is left to do
    assert (again_done.points, again_done.bytes) == (done.points, again_done.bytes_before)
    with workspace.temporary_plan() as result:
        assert result.plan.header.is_empty


def test_what_cannot_be_tidied_up_is_refused(place: DensePlace, tmp_path: Path) -> None:
    workspace = place.configure()
    with pytest.raises(StateError, match="nothing has been applied yet"):
        workspace.optimize()
    server = make_workspace(tmp_path / "server", url="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="only an embedded index"):
        server.optimize()


def test_nobody_writes_meanwhile(place: DensePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = place.configure()
    plan_and_apply(workspace)
    write(place.folder / "docs", {"new.md": "# New\n"})
    tried: list[str] = []

    def try_first(module: str, **more: Any) -> subprocess.Popen[bytes]:
        with pytest.raises(LockedError):
            plan_and_apply(Workspace.open(place.folder / "test.yaml"))
        tried.append(module)
        return start(module, **more)

    monkeypatch.setattr(processes, "start", try_first)
    workspace.optimize()
    assert tried
    assert plan_and_apply(workspace).created == 1


def test_a_process_that_was_killed_is_an_error_and_the_next_one_does_it(
    place: DensePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = place.configure()
    plan_and_apply(workspace)
    before = content(workspace)

    def start_and_kill(module: str, **more: Any) -> subprocess.Popen[bytes]:
        process = start(module, **more)
        process.kill()
        return process

    monkeypatch.setattr(processes, "start", start_and_kill)
    with pytest.raises(IndexUnavailableError, match="ended in the middle of its work") as raised:
        workspace.optimize()
    assert "as it was before" in raised.value.remedy
    assert content(workspace) == before
    monkeypatch.undo()
    assert workspace.optimize().points == len(before)


def test_an_index_that_somebody_has_open_is_left_alone(place: DensePlace) -> None:
    workspace = place.configure()
    plan_and_apply(workspace)
    with contextlib.closing(workspace.settings.open_index()) as holder:
        assert holder.describe()
        with pytest.raises(IndexUnavailableError, match="another process has it open") as raised:
            workspace.optimize()
    assert "wait for the other to end" in raised.value.remedy


# Killed in the middle


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded index of a few thousand points, some of them deleted again."""
    random_ = random.Random(1)
    path = tmp_path_factory.mktemp("loaded")
    with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
        index.create(lineage=OURS, pipeline="p", dense=64, settings=GRAPH_AT_ONCE)
        for first in range(0, 3000, 500):
            index.upsert([_point(number, random_) for number in range(first, first + 500)])
        index.delete([str(uuid.UUID(int=number)) for number in range(0, 3000, 7)])
        index.flush()
    return path


def _point(number: int, random_: random.Random) -> Point:
    vectors = {
        SPARSE_VECTOR: SparseVector([number % 50, 50 + number], [1.0, 2.0]),
        DENSE_VECTOR: [random_.gauss(0, 1) for _ in range(64)],
    }
    return Point(str(uuid.UUID(int=number)), vectors, {"n": number, "qloader": {"lineage": OURS}})


def _begun(segments: set[str], before: set[str]) -> bool:
    return bool(segments - before)


def _swapping(segments: set[str], before: set[str]) -> bool:
    return any(name.endswith(".deleted") for name in segments)


@pytest.mark.parametrize("what", [{}, {"seal": True}], ids=["optimize", "seal"])
@pytest.mark.parametrize(
    ("moment", "later"), [(_begun, 0.0), (_begun, 0.02), (_begun, 0.1), (_swapping, 0.0), (_swapping, 0.003)]
)
def test_killed_at_any_moment_it_leaves_all_points(
    loaded: Path, tmp_path: Path, moment: Callable[[set[str], set[str]], bool], later: float, what: dict[str, bool]
) -> None:
    path = tmp_path / "index"
    subprocess.run(["cp", "-a", str(loaded), str(path)], check=True)
    segments = path / "docs" / SHARD / "segments"
    before = {entry.name for entry in segments.iterdir()}
    with start("qloader.workspace.optimizer") as process:
        assert process.stdin is not None
        task = {"path": str(path), "collection": "docs", "lineage": OURS, "for": os.getpid(), **what}
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
        while process.poll() is None and not moment({entry.name for entry in segments.iterdir()}, before):
            time.sleep(0.0005)
        time.sleep(later)
        process.kill()
    with contextlib.closing(EmbeddedIndex(path, "docs")) as index:
        _check_whole(index)
        index.optimize()
        _check_whole(index)


def _check_whole(index: EmbeddedIndex) -> None:
    expected = [str(uuid.UUID(int=number)) for number in range(3000) if number % 7]
    found = list(index.scroll(lineage=OURS, with_vectors=True))
    assert [point.id for point in found] == expected
    assert index.count(lineage=OURS) == len(expected)
    assert all(point.vectors.keys() == {SPARSE_VECTOR, DENSE_VECTOR} for point in found)
    assert [point.payload["n"] for point in found] == [uuid.UUID(point.id).int for point in found]
    hits = index.search(SparseVector([50 + 1234], [1.0]), using=SPARSE_VECTOR, limit=3, lineage=OURS)
    assert [hit.payload["n"] for hit in hits] == [1234]
