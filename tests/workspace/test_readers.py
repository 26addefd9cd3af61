"""Readers side by side: the same observations as in one process, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qloader.config.load import load_config
from qloader.errors import QloaderError, SourceError
from qloader.manifest.observing import Observation, Wanted, read_here
from qloader.workspace import readers
from qloader.workspace.processes import start
from qloader.workspace.readers import READERS_FROM, ReaderSettings, count_readers, read_side_by_side
from qloader.workspace.settings import Settings
from support.git_builder import Builder

CONFIG = """\
name: test
sources:
  docs: {type: files, path: docs, metadata: {team: a}}
  repo: {type: git, url: repo}
ingestion: {parallel: {max_workers: 2}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for number in range(150):
        path = tmp_path / "docs" / f"{number % 7}" / f"page {number} ü.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"---\ntags: [x]\n---\n# Page {number}\n\nWords about {number}.\n", encoding="utf-8")
    (tmp_path / "docs" / "binary.md").write_bytes(b"\x00\x01")
    repo = Builder(tmp_path / "repo")
    repo.commit({f"{number}.md": f"# {number}\n" for number in range(130)})
    (tmp_path / "qloader.yaml").write_text(CONFIG, encoding="utf-8")
    return Settings.of(load_config(tmp_path / "qloader.yaml"))


def reader_settings(settings: Settings, name: str, **more) -> ReaderSettings:
    config = settings.config.sources[name].model_dump(mode="json", exclude={"token"})
    base = str(settings.config.base)
    return ReaderSettings(name, {**config, **more}, base, str(settings.cache.parent / "sources"), 1200, 0)


def read(settings: Settings, name: str, count: int, *, known: bool = False) -> tuple[list[Observation], str | None]:
    source = settings.open_source(name)
    listing = source.list()
    ids = sorted(item.id for item in listing.items)
    here = {seen.id: seen for seen in read_here(source, settings.chunking().splitter)(
        (Wanted(i, None) for i in ids), listing.revision)}  # fmt: skip
    wanted = [Wanted(i, here[i].content if known else None) for i in ids]
    found = list(read_side_by_side(reader_settings(settings, name), count)(wanted, listing.revision))
    expected = [seen._replace(chunks=None) if known and seen.skip is None else seen for seen in here.values()]
    assert sorted(found) == sorted(expected)
    return found, listing.revision


@pytest.mark.parametrize("name", ["docs", "repo"])
@pytest.mark.parametrize("count", [1, 3])
def test_readers_see_what_this_process_sees(settings: Settings, name: str, count: int) -> None:
    found, _ = read(settings, name, count)
    assert len(found) >= 130


def test_a_text_that_is_known_is_not_chunked_again(settings: Settings) -> None:
    found, _ = read(settings, "docs", 2, known=True)
    assert {seen.chunks for seen in found if seen.skip is None} == {None}


def test_an_error_of_the_source_comes_back_as_itself(settings: Settings) -> None:
    wanted = [Wanted("1.md", None)]
    with pytest.raises(SourceError, match="is not in the repository") as error:
        list(read_side_by_side(reader_settings(settings, "repo"), 2)(wanted, "0" * 40))
    assert "Fetch it" in error.value.remedy


def test_a_reader_that_dies_is_named_and_the_others_are_ended(settings: Settings, monkeypatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start_and_note(module: str) -> subprocess.Popen[bytes]:
        started.append(start(module))
        return started[-1]

    monkeypatch.setattr(readers, "start", start_and_note)
    wanted = (Wanted(f"{n}.md", None) for n in range(10_000))
    reading = read_side_by_side(reader_settings(settings, "docs"), 2)(wanted, None)
    next(reading)
    os.kill(started[0].pid, signal.SIGKILL)
    with pytest.raises(QloaderError, match="a process that read the source docs ended") as error:
        list(reading)
    assert "max_workers: 1" in error.value.remedy
    assert [process.poll() is not None for process in started] == [True, True]


def test_ctrl_c_while_readers_are_being_started_ends_those_that_are(settings: Settings, monkeypatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start_one_and_be_stopped(module: str) -> subprocess.Popen[bytes]:
        if started:
            raise KeyboardInterrupt
        started.append(start(module))
        return started[-1]

    monkeypatch.setattr(readers, "start", start_one_and_be_stopped)
    with pytest.raises(KeyboardInterrupt):
        list(read_side_by_side(reader_settings(settings, "docs"), 2)([Wanted("a.md", None)], None))
    assert started[0].poll() is not None


def test_readers_end_when_nobody_listens_any_more(settings: Settings) -> None:
    wanted = (Wanted(f"{n}.md", None) for n in range(10_000))
    reading = read_side_by_side(reader_settings(settings, "docs"), 2)(wanted, None)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    children = subprocess.run(["ps", "-o", "args", "--ppid", str(os.getpid())], capture_output=True, text=True).stdout
    assert "qloader.workspace.reader" not in children


def test_a_reader_ends_when_its_input_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qloader.workspace.reader"], input=b"", capture_output=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_few_documents_are_read_here() -> None:
    assert count_readers(4, READERS_FROM - 1) == 0
    assert count_readers(1, 10**6) == 0


def test_a_plan_of_many_documents_is_the_same_with_and_without_readers(tmp_path: Path, monkeypatch) -> None:
    from qloader import Workspace

    monkeypatch.setattr(readers, "READERS_FROM", 50)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    for number in range(200):
        path = tmp_path / "docs" / f"{number}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# Page {number}\n\nWords.\n", encoding="utf-8")
    plans = []
    for workers in (1, 3):
        config = CONFIG.replace("  repo: {type: git, url: repo}\n", "").replace(
            "max_workers: 2", f"max_workers: {workers}"
        )
        (tmp_path / "qloader.yaml").write_text(config, encoding="utf-8")
        plan = Workspace.open(tmp_path / "qloader.yaml").plan(tmp_path / f"{workers}.json").plan
        assert plan.header.summary.create == 200
        plans.append(plan.path.read_bytes())
        (tmp_path / ".qloader" / "cache.db").unlink()
    assert plans[0] == plans[1]
