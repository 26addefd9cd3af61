"""A load that is larger than what an embedded index may hold in memory: it is sealed in between."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from qloader import Workspace
from qloader.index.marker import SHARD
from qloader.index.protocol import Sealable
from qloader.workspace import sealing
from qloader.workspace.sealing import Sealing, seal
from support.command_line import QLOADER, some_documents
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, write

HELD = 400_000
"""Bytes from which on is sealed here, and `indexing_threshold` in kB below which the engine leaves segments alone."""


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets an index hold little."""
    monkeypatch.setattr(sealing, "LEAST", HELD)
    monkeypatch.setattr(sealing, "MOST", HELD)


def workspace_with(folder: Path, documents: int = 900) -> Workspace:
    """A workspace of which nothing is loaded yet."""
    config = make_workspace(folder, batch=100).settings.config.file
    small = "path: .qloader/index, settings: {indexing_threshold: 20}"
    config.write_text(config.read_text().replace("path: .qloader/index", small))
    pages = some_documents(documents)
    write(folder / "docs", {name: f"{text}\n\n{'More of it. ' * 12}" for name, text in pages.items()})
    return Workspace.open(config)


def segments(workspace: Workspace) -> int:
    folder = workspace.settings.config.base / ".qloader" / "index" / "test" / SHARD / "segments"
    return sum(entry.is_dir() for entry in folder.iterdir())


@pytest.mark.usefixtures("little")
def test_a_load_is_sealed_in_between_and_all_is_there(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path)
    plan_and_apply(workspace)
    assert segments(workspace) > 2
    with contextlib.closing(workspace.settings.open_index()) as index:
        assert isinstance(index, Sealable)
        assert index.unsealed() < 2 * HELD
        kept = index.settings()
    assert kept["indexing_threshold"] == 20  # the engine forgets what it is not told again
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

    many = segments(workspace)
    workspace.optimize()  # makes few of them again
    assert segments(workspace) < many
    assert_index_is_a_fresh_load(workspace)


def test_nothing_is_sealed_that_memory_suffices_for(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path)
    plan_and_apply(workspace)
    assert segments(workspace) == 1


def test_what_cannot_be_sealed_now_stays_and_the_load_goes_on(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, documents=20)
    plan_and_apply(workspace)
    with contextlib.closing(workspace.settings.open_index()) as index:
        assert isinstance(index, Sealable)
        path, collection = index.let_go()
        with contextlib.closing(workspace.settings.open_index()) as other:
            assert other.describe()  # has the lock
            assert not seal(path, collection)
        assert index.describe()
    assert segments(workspace) == 1
    assert_index_is_a_fresh_load(workspace)


DYING = f"""\
import os, signal, sys, threading
from qloader.cli import main
from qloader.workspace import sealing
start = sealing.start
def start_and_die(module):
    process = start(module)
    threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGKILL)).start()
    return process
sealing.LEAST = sealing.MOST = {HELD}
sealing.start = start_and_die
main(sys.argv[2:])
"""


@pytest.mark.parametrize("later", ["0", "0.2", "0.4", "0.6"])
def test_an_apply_that_is_killed_while_it_seals_is_finished_by_the_same_plan(tmp_path: Path, later: str) -> None:
    workspace = workspace_with(tmp_path)
    workspace.plan(tmp_path / "plan.json")
    command = ["-c", str(workspace.settings.config.file), "apply", str(tmp_path / "plan.json")]
    done = subprocess.run([sys.executable, "-c", DYING, later, *command], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = subprocess.run([*QLOADER, *command], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert_index_is_a_fresh_load(workspace)


class Held:
    """An index that says how much it holds, and keeps that whatever is done."""

    def __init__(self, path: Path) -> None:
        self.path, self.held, self.times = path, 0, 0

    def unsealed(self) -> int:
        return self.held

    def let_go(self) -> tuple[Path, str]:
        self.times += 1
        return self.path, "nothing"


@pytest.mark.parametrize(
    ("allowed", "is_dense", "due"),
    [(800_000_000, False, 200_000_000), (100_000_000, True, 40_000_000), (8_000_000_000, False, 256_000_000),
     (8_000_000_000, True, 2_000_000_000), (None, False, 256_000_000)],
)  # fmt: skip
def test_when_it_is_sealed(tmp_path: Path, allowed: int | None, is_dense: bool, due: int) -> None:
    held = Held(tmp_path)
    sealing_now = Sealing(held, lambda: allowed, is_dense=is_dense)
    for number, times in ((due - 1, 0), (due, 1), (due, 1), (due * 1.4, 1), (due * 1.5, 2)):
        held.held = round(number)
        sealing_now()
        assert held.times == times  # what failed is not tried again before there is half as much again


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
