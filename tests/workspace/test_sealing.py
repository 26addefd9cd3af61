"""A load that is larger than what an embedded index may hold in memory: it is sealed in between."""

from __future__ import annotations

import contextlib
import errno
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from qloader import Workspace
from qloader.errors import InterruptedRunError
from qloader.index.folder_lock import HeldError
from qloader.index.marker import SHARD
from qloader.index.protocol import Lent, Sealable
from qloader.workspace import processes, sealing
from qloader.workspace.sealing import Sealing, seal
from support.command_line import QLOADER, some_documents
from support.dense_places import dense_place
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, write

SUPPORT = Path(__file__).parents[1] / "support"
HELD = 400_000
"""Bytes from which on is sealed here."""

SMALL = 20
"""`indexing_threshold` in kB: below it the engine leaves segments alone."""

MB = 1_000_000


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets an index hold little."""
    monkeypatch.setattr(sealing, "LEAST", HELD)
    monkeypatch.setattr(sealing, "MOST", HELD)


def pages_of(documents: int, *, first: int = 0) -> dict[str, str | None]:
    """Documents of some length."""
    pages = some_documents(documents, first=first)
    return {name: f"{text}\n\n{'More of it. ' * 12}" for name, text in pages.items()}


def workspace_with(folder: Path, documents: int = 900) -> Workspace:
    """A workspace of which nothing is loaded yet."""
    config = make_workspace(folder, batch=100).settings.config.file
    index = f"path: .qloader/index, settings: {{indexing_threshold: {SMALL}}}"
    text = config.read_text().replace("path: .qloader/index", index)
    config.write_text(f"{text}guards: {{max_delete_percent: null}}\n")
    write(folder / "docs", pages_of(documents))
    return Workspace.open(config)


def segments(workspace: Workspace) -> list[Path]:
    """Their folders."""
    folder = workspace.settings.config.base / ".qloader" / "index" / "test" / SHARD / "segments"
    return [entry for entry in folder.iterdir() if entry.is_dir()]


def compact_segments(workspace: Workspace) -> set[str]:
    """The names of those that hold points, and that nothing is appended to."""
    trackers = {
        one.name: {file.name.partition("id_tracker")[0] for file in one.glob("*id_tracker*")}
        for one in segments(workspace)
    }
    return {name for name, kinds in trackers.items() if kinds and "mutable_" not in kinds}


@pytest.mark.usefixtures("little")
def test_a_load_is_sealed_in_between_and_all_is_there(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path)
    plan_and_apply(workspace)
    assert len(segments(workspace)) > 2
    with contextlib.closing(workspace.settings.open_index()) as index:
        assert isinstance(index, Sealable)
        assert index.unsealed() < 2 * HELD
        kept = index.settings()
    assert kept["indexing_threshold"] == SMALL  # the engine forgets what it is not told again
    assert_index_is_a_fresh_load(workspace)
    drift = workspace.refresh()
    assert (drift.points, drift.settings) == ((), ())

    docs = tmp_path / "docs"
    pages = sorted(docs.iterdir())
    write(docs, {page.name: f"# Changed\n\n{page.name} says something else." for page in pages[::10]})
    write(docs, {page.name: None for page in pages[1::10]})
    for page in pages[2::10]:
        page.rename(page.with_name(f"moved-{page.name}"))
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)

    many = len(segments(workspace))
    workspace.optimize()  # makes few of them again
    assert len(segments(workspace)) < many
    assert_index_is_a_fresh_load(workspace)


def test_what_is_compact_already_is_not_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = workspace_with(tmp_path)
    plan_and_apply(workspace)
    workspace.optimize()
    compact = compact_segments(workspace)
    assert compact
    monkeypatch.setattr(sealing, "LEAST", HELD)
    monkeypatch.setattr(sealing, "MOST", HELD)
    gone = dict.fromkeys(pages_of(400))  # nearly half of what is compact
    write(tmp_path / "docs", {**pages_of(900, first=2_000), **gone})
    plan_and_apply(workspace)
    assert compact < compact_segments(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_dense_vectors_are_sealed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LEAST", HELD)
    monkeypatch.setattr(sealing, "SHARE", 0)
    with dense_place(tmp_path) as place:
        settings = f"{{indexing_threshold: {SMALL}, hnsw: {{m: 8, ef_construct: 50}}, datatype: float32}}"
        place.index = f"path: .qloader/index, settings: {settings}"
        write(place.folder / "docs", pages_of(400))
        workspace = place.configure()
        plan_and_apply(workspace)
        assert len(compact_segments(workspace)) > 1
        drift = workspace.refresh(deep=True)
        assert (drift.checked, drift.points, drift.uncompared, drift.settings) == (800, (), 0, ())
        found = workspace.search("What page 7 says of gardens", limit=5)
        assert "What page 7 says of gardens" in found[0].payload["text"]


def test_nobody_comes_in_between(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, documents=20)
    plan_and_apply(workspace)
    with contextlib.closing(workspace.settings.open_index()) as index, contextlib.ExitStack() as stack:
        assert isinstance(index, Sealable)
        lent = index.lend()
        worker = stack.enter_context(
            processes.start("qloader.workspace.optimizer", descriptors=[lent.descriptor])  # it waits for its task
        )
        index.close()
        with contextlib.closing(workspace.settings.open_index()) as other:
            with pytest.raises(HeldError):
                other.describe()
            worker.kill()
            worker.wait()
            assert other.describe()


def test_who_lent_it_goes_on_with_it(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, documents=20)
    plan_and_apply(workspace)
    with contextlib.closing(workspace.settings.open_index()) as index:
        assert isinstance(index, Sealable)
        assert isinstance(seal(index.lend()), int)
        assert index.describe()
        index.flush()
    assert_index_is_a_fresh_load(workspace)


@pytest.mark.usefixtures("little")
def test_a_stop_is_not_kept_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal is cut short; the index is as it was, and the same plan goes on."""
    workspace = workspace_with(tmp_path)
    held = tmp_path / "held.txt"

    def start(module: str, *, descriptors: Sequence[int], **more: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(SUPPORT / "holding_optimizer.py"), "before", str(held)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors)

    plan = workspace.plan(tmp_path / "plan.json").plan
    said: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(processes, "start", start)
        with pytest.raises(InterruptedRunError):
            Workspace(replace(workspace.settings, tell=said.append)).apply(plan, should_stop=held.exists)
    assert said == []
    workspace.apply(workspace.read_plan(tmp_path / "plan.json"))
    assert_index_is_a_fresh_load(workspace)


def test_what_memory_suffices_for_is_not_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LEAST", HELD)
    workspace = workspace_with(tmp_path)
    plan_and_apply(workspace)
    with contextlib.closing(workspace.settings.open_index()) as index:
        assert isinstance(index, Sealable)
        assert index.unsealed() > HELD
    assert len(segments(workspace)) == 1


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize(
    ("is_started", "reason"), [(False, "no more processes"), (True, "ended before it was done (signal 9")], ids=str
)
def test_where_it_fails_the_load_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_started: bool, reason: str
) -> None:
    really = processes.start

    def start(module: str, **more: Any) -> subprocess.Popen[bytes]:
        if not is_started:
            raise OSError(errno.EAGAIN, "no more processes")
        process = really(module, **more)
        process.kill()
        return process

    workspace = workspace_with(tmp_path)
    said: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(processes, "start", start)
        plan_and_apply(Workspace(replace(workspace.settings, tell=said.append)))
    assert len(segments(workspace)) == 1
    assert said[0].startswith("The index holds up to ")
    assert reason in said[0]
    assert_index_is_a_fresh_load(workspace)


DYING = f"""\
import os, signal, subprocess, sys, threading, time
from qloader.cli import main
from qloader.workspace import processes, sealing
def die():
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
def start(module, *, descriptors=(), **more):
    threading.Thread(target=die, daemon=True).start()
    command = [sys.executable, *sys.argv[1:4]]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors)
sealing.LEAST = sealing.MOST = {HELD}
processes.start = start
main(sys.argv[4:])
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_apply_that_is_killed_while_it_seals_is_finished_by_the_same_plan(tmp_path: Path, moment: str) -> None:
    workspace = workspace_with(tmp_path)
    workspace.plan(tmp_path / "plan.json")
    command = ["-c", str(workspace.settings.config.file), "apply", str(tmp_path / "plan.json")]
    holding = [str(SUPPORT / "holding_optimizer.py"), moment, str(tmp_path / "held.txt")]
    done = subprocess.run([sys.executable, "-c", DYING, *holding, *command], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with contextlib.suppress(psutil.NoSuchProcess):  # it ends with the apply, or soon
        worker = psutil.Process(int((tmp_path / "held.txt").read_text()))
        assert psutil.wait_procs([worker], timeout=120)[1] == []
    again = subprocess.run([*QLOADER, *command], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert_index_is_a_fresh_load(workspace)


class Held:
    """An index that says how much it holds, and keeps that whatever is done."""

    def __init__(self, path: Path, held: int = 0) -> None:
        self.path, self.held, self.times = path, held, 0

    def unsealed(self) -> int:
        return self.held

    def lend(self) -> Lent:
        self.times += 1
        return Lent(self.path, "nothing", 0)


@pytest.mark.parametrize(
    ("allowed", "is_dense", "due"),
    [(800 * MB, False, 200 * MB), (150 * MB, True, 40 * MB), (8_000 * MB, False, 256 * MB),
     (8_000 * MB, True, 2_000 * MB), (None, False, 256 * MB)],
)  # fmt: skip
def test_when_it_is_sealed(tmp_path: Path, allowed: int | None, is_dense: bool, due: int) -> None:
    index = Held(tmp_path)
    said: list[str] = []
    seal_if_due = Sealing(index, lambda: allowed, is_dense=is_dense, tell=said.append)
    for number, times in ((due - 1, 0), (due, 1), (due, 1), (due * 1.4, 1), (due * 1.5, 2)):
        index.held = round(number)
        seal_if_due()
        assert index.times == len(said) == times  # what failed is not tried again before there is half as much again


def test_what_others_left_is_sealed_where_memory_asks_for_it_and_suffices_for_it(tmp_path: Path) -> None:
    said: list[str] = []

    def sealing_of(index: Held, allowed: int) -> Sealing:
        return Sealing(index, lambda: allowed, tell=said.append)

    # An older qloader has loaded them.
    ample, scarce, little = (Held(tmp_path, 1_000 * MB) for _ in range(3))
    amply, scarcely, hardly = (
        sealing_of(ample, 20_000 * MB),
        sealing_of(scarce, 3_000 * MB),
        sealing_of(little, 1_500 * MB),
    )
    for index, seal_if_due in ((ample, amply), (scarce, scarcely), (little, hardly)):
        index.held += 10 * MB
        seal_if_due()
    assert (ample.times, scarce.times, little.times) == (0, 1, 0)
    assert "there is too little memory for it" in said[-1]
    ample.held += 400 * MB  # by now enough of it is the load's own
    amply()
    assert ample.times == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a process when another ends")
def test_a_process_ends_with_the_one_that_it_works_for() -> None:
    child = "import os, time; from qloader.workspace.processes import end_with; end_with(os.getppid()); "
    child += "print(os.getpid(), flush=True); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        worker = psutil.Process(int(process.stdout.readline()))
        process.kill()
    assert psutil.wait_procs([worker], timeout=60)[1] == []
