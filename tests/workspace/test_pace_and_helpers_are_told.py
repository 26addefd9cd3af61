"""What an apply makes do with, and who helps it: shown while it goes on, and kept with its figures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.applying.pacing import FULL
from qloader.telemetry.measured import Measured
from qloader.workspace import preparing, readers, running
from qloader.workspace.resources import Memory, MemoryPace
from support.command_line import Prompt, some_documents
from support.workspaces import write


class Noting:
    """A progress that takes notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @contextlib.contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Noting]:
        yield self

    def advance(self, count: int) -> None:
        """Is not asked how far it is."""

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Prompt:
    """A command line in a folder with a config and some documents."""
    here = Prompt(tmp_path, capsys, monkeypatch)
    here.configure(
        "name: test\nindex: {path: .qloader/index}\nstate: {path: .qloader/state.db}\n"
        "sources:\n  docs: {type: files, path: docs}\n"
        "ingestion: {batch: {size: 8}, parallel: {max_workers: 3}}\nresources: {check_interval: 1ms}\n"
    )
    write(here.docs, some_documents(60))
    return here


def last(workspace: Workspace) -> Measured:
    (run,) = workspace.history(1)
    return workspace.measurements([run])[run.id]


def test_that_memory_is_short_is_said_while_it_is_and_kept(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([FULL // 4, 0, 0])  # a quarter of what the largest batches need; nothing; and then plenty

    def measure() -> list[Memory]:
        return [Memory(0 if (room := next(left, 10 * FULL)) else FULL, room)]

    monkeypatch.setattr(running, "MemoryPace", partial(MemoryPace, measure=measure, clock=iter(range(10**6)).__next__))
    prompt.configure(
        (prompt.folder / "qloader.yaml")
        .read_text()
        .replace("resources: {", "resources: {memory: {max_percentage: 100}, ")
    )
    workspace, progress = prompt.workspace, Noting()
    workspace.apply(workspace.plan(), progress=progress)  # type: ignore[arg-type]
    assert progress.notes == [
        "memory is short: batches of 2 documents",
        "memory is used up: nothing is prepared ahead",
        "",
    ]
    measured = last(workspace)
    assert (measured.levels["pace"].least, measured.count("pauses")) == (0, 1)
    shown = prompt.ok("history", "--run", "1", "--metrics").err
    assert "memory was short: nothing was prepared ahead at times" in shown
    assert "pauses 1" in shown


def test_processes_that_help_say_what_they_take(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "READERS_FROM", 10)
    monkeypatch.setattr(preparing, "CHARACTERS_FROM", 0)
    for module in (readers, preparing):
        monkeypatch.setattr(module, "count_processes", lambda workers, share: min(workers, 2))
    prompt.ok("ingest")
    workspace: Any = prompt.workspace
    measured = last(workspace)
    size = sum(file.stat().st_size for file in prompt.docs.iterdir())
    assert measured.counts["helper_documents", "docs"] == 120, "once for the plan, once for the apply"
    assert measured.counts["helper_bytes", "docs"] == 2 * size
    assert measured.levels["helper_memory"].most > 1 << 20
    assert measured.samples[-1].values["helper_memory"] == 0, "they are over"
    assert measured.cpu["helpers"] > 0
    for stage in ("fetch", "chunk", "embed"):
        assert measured.spans[stage, "docs"].count >= 60
        assert 0 < measured.busy[stage] <= measured.seconds
    shown = prompt.ok("history", "--run", "1", "--metrics").err
    assert "of it in processes that help" in shown
    assert ", processes that help " in shown
