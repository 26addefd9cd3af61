"""What runs ahead changes nothing but the time: the same points, state and events; and nothing is left behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from qloader import Workspace
from qloader.applying import preparing as stages
from qloader.applying.events import Event, Started
from qloader.errors import EmbeddingError, InterruptedRunError, QloaderError, SourceError
from qloader.sources.files import FilesSource
from qloader.workspace import preparing
from support.git_builder import Builder
from support.workspaces import assert_index_is_a_fresh_load, dump, plan_and_apply, replace_all

CONFIG = """\
name: test
guards: {{max_delete_percent: null}}
sources:
  docs: {{type: files, path: docs}}
  repo: {{type: git, url: repo}}
chunking: {{max_chars: 200}}
ingestion: {{batch: {{size: 5}}, parallel: {{max_workers: {workers}, {more}}}}}
"""

WORDS = ["plans", "points", "states", "hashes", "chunks"]


def page(name: str, version: int = 1) -> str:
    parts = [f"## {word}\n\n{word} of {name}, version {version if n == 2 else 0}. " * 3 for n, word in enumerate(WORDS)]
    return f"---\ntags: [a, {version}]\n---\n# {name}\n\n" + "\n\n".join(parts) + "\n"


BEFORE = {f"{n:02}.md": page(f"page {n}") for n in range(24)}
AFTER = {
    **{name: text for name, text in BEFORE.items() if name not in ("03.md", "04.md", "11.md")},
    "moved/03.md": BEFORE["03.md"],
    "02.md": BEFORE["02.md"].replace("tags: [a, 1]", "tags: [b]"),
    "07.md": page("page 7", 2),
    "08.md": page("page 8", 2),
    "empty.md": "",
    "new.md": page("new"),
    "twice.md": page("page 7", 2),
}


def make(folder: Path, workers: int, more: str = "") -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "qloader.yaml").write_text(CONFIG.format(workers=workers, more=more), encoding="utf-8")
    return Workspace.open(folder / "qloader.yaml")


def write_sources(folder: Path, files: dict[str, str]) -> None:
    replace_all(folder / "docs", files)
    for path in (folder / "docs").rglob("*.md"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    repo = Builder(folder / "repo")
    repo.commit(dict(files))


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to do, and however few cores: processes do it."""
    monkeypatch.setattr(preparing, "CHARACTERS_FROM", 0)
    monkeypatch.setattr(preparing, "count_processes", lambda workers, share: min(workers, 3))


class Own:
    """Threads and processes of this test: others, of tests in the same process, are none of ours."""

    def __init__(self) -> None:
        self._threads = {*threading.enumerate()}
        self._children = {child.pid for child in psutil.Process().children()}

    def threads(self) -> list[threading.Thread]:
        new = (thread for thread in threading.enumerate() if thread not in self._threads)
        return [thread for thread in new if thread.name.startswith("qloader-")]

    def children(self) -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child.pid not in self._children]


@pytest.fixture(autouse=True)
def own() -> Iterator[Own]:
    """No thread and no process outlives an apply."""
    own = Own()
    yield own
    assert own.threads() == []
    assert own.children() == []


def record(workspace: Workspace) -> tuple[list[Any], dict[str, Any], list[Any]]:
    """Applies what is due: the events without what is of this state alone, the points, and the state's documents."""
    told: list[Event] = []
    with workspace.temporary_plan() as result:
        workspace.apply(result.plan, listener=told.append)
    events = [event for event in told if not isinstance(event, Started)]
    connection = sqlite3.connect(workspace.settings.state)
    rows = connection.execute(
        "SELECT source_id, id, hex(content), hex(metadata), bytes, revision, hex(chunks), title, is_deleted "
        "FROM document ORDER BY source_id, id"
    ).fetchall()
    rows += connection.execute("SELECT name, documents, hex(root) FROM source ORDER BY name").fetchall()
    rows += connection.execute("SELECT * FROM intent").fetchall()
    connection.close()
    return events, dump(workspace), rows


def story(folder: Path, workers: int, more: str = "") -> list[Any]:
    """A first load and a change of it, as `record` tells them."""
    workspace = make(folder, workers, more)
    found: list[Any] = []
    for files in (BEFORE, AFTER):
        write_sources(folder, files)
        found.append(record(workspace))
    assert_index_is_a_fresh_load(workspace)
    return found


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return story(tmp_path_factory.mktemp("one"), 1)


@pytest.mark.parametrize("more", ["", "queue_size: 1", "queue_size: 7"])
def test_threads_that_run_ahead_change_nothing(tmp_path: Path, one_by_one: list[Any], more: str) -> None:
    assert story(tmp_path / "w", 8, more) == one_by_one


def test_processes_that_run_ahead_change_nothing(tmp_path: Path, one_by_one: list[Any], processes: None) -> None:
    assert story(tmp_path / "w", 3) == one_by_one


def test_a_source_that_is_slow_does_not_keep_the_next_one_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "qloader.yaml").write_text(
        "name: test\nsources: {a: {type: files, path: a}, b: {type: files, path: b}}\n"
        "ingestion: {batch: {size: 2}, parallel: {max_workers: 2}}\n"
    )
    for name in "ab":
        replace_all(tmp_path / name, {f"{n}.md": f"words of {n}" for n in range(4)})
    workspace = Workspace.open(tmp_path / "qloader.yaml")
    plan = workspace.plan(tmp_path / "plan.json").plan
    other_is_read, fetch = threading.Event(), FilesSource.fetch

    def waiting(self: FilesSource, ids: Any, **options: Any) -> Iterator[Any]:
        if self.name == "b":
            other_is_read.set()
        else:
            assert other_is_read.wait(600)
        yield from fetch(self, ids, **options)

    monkeypatch.setattr(FilesSource, "fetch", waiting)
    assert workspace.apply(plan).created == 8


def fail_at(monkeypatch: pytest.MonkeyPatch, document: str, act: Callable[[], Any]) -> None:
    """Something happens when a document of the folder is about to be read."""
    fetch = FilesSource.fetch

    def failing(self: FilesSource, ids: Any, **options: Any) -> Iterator[Any]:
        def checked() -> Iterator[str]:
            for one in ids:
                if one == document:
                    act()
                yield one

        yield from fetch(self, checked(), **options)

    monkeypatch.setattr(FilesSource, "fetch", failing)


def never_silent_before(monkeypatch: pytest.MonkeyPatch, hangs: threading.Event) -> None:
    """However slowly a busy machine reads: nobody is taken for silent before it hangs."""
    of = stages._Silence.of
    monkeypatch.setattr(stages._Silence, "of", lambda self, *who: of(self, *who) if hangs.is_set() else 0.0)


@pytest.mark.parametrize("workers", [1, 8])
def test_a_source_that_is_gone_is_told_when_all_before_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    workspace = make(tmp_path / "w", workers)
    write_sources(tmp_path / "w", BEFORE)
    plan = workspace.plan(tmp_path / "plan.json").plan

    def be_gone() -> None:
        raise SourceError("docs is gone")

    with monkeypatch.context() as patch:
        fail_at(patch, "12.md", be_gone)
        with pytest.raises(SourceError, match="docs is gone") as caught:
            workspace.apply(plan)
    assert "10 documents are applied and recorded" in caught.value.remedy
    assert workspace.apply(plan).already == 10
    assert_index_is_a_fresh_load(workspace)


def wait_for_all_but(others: set[threading.Thread]) -> None:
    """Waits until what began since then is over; others may be of tests that this one knows nothing of."""
    for thread in set(threading.enumerate()) - others:
        if thread.name.startswith("qloader-"):
            thread.join(60)
            assert not thread.is_alive(), thread.name


def test_a_source_that_hangs_is_named_with_its_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = set(threading.enumerate())
    workspace = make(tmp_path / "w", 8, "timeout: 2s")
    write_sources(tmp_path / "w", BEFORE)
    plan = workspace.plan(tmp_path / "plan.json").plan
    hangs, is_over = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        is_over.wait(600)

    with monkeypatch.context() as patch:
        patch.setattr("qloader.crew.GRACE", 0.0)
        never_silent_before(patch, hangs)
        fail_at(patch, "06.md", hang)
        with pytest.raises(
            SourceError, match=r"nothing was heard of the source docs for 2 s, at docs/06\.md"
        ) as caught:
            workspace.apply(plan)
        is_over.set()
    wait_for_all_but(others)
    assert "ingestion.parallel.timeout" in caught.value.remedy
    assert workspace.apply(plan).already == 5
    assert_index_is_a_fresh_load(workspace)


HANGING = """\
import threading
hangs, go_on = threading.Event(), threading.Event()
def embed(texts, *, kind):
    hangs.set()
    go_on.wait(600)
    return [[1.0, 2.0] for _ in texts]
"""


def test_a_provider_that_hangs_is_named_with_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = set(threading.enumerate())
    folder = tmp_path / "w"
    workspace = make(folder, 8, "timeout: 2s")
    write_sources(folder, BEFORE)
    (tmp_path / "a_provider_that_hangs.py").write_text(HANGING)
    monkeypatch.syspath_prepend(tmp_path)
    with (folder / "qloader.yaml").open("a") as config:
        config.write(
            "embedding: {cache: {path: vectors.db}, "
            "dense: {provider: python, function: 'a_provider_that_hangs:embed', model: m, dimensions: 2}}\n"
        )
    workspace = Workspace.open(folder / "qloader.yaml")
    monkeypatch.setattr(stages, "FIRST_ANSWER", 1)
    import a_provider_that_hangs

    with monkeypatch.context() as patch:
        patch.setattr("qloader.crew.GRACE", 0.0)
        never_silent_before(patch, a_provider_that_hangs.hangs)
        with pytest.raises(EmbeddingError, match=r"for 2 s; it has the texts of docs/00\.md and 4 more"):
            plan_and_apply(workspace)
    a_provider_that_hangs.go_on.set()
    wait_for_all_but(others)
    plan_and_apply(workspace)
    assert workspace.refresh().points == ()


@pytest.mark.parametrize("how", ["stop", "ctrl-c"])
def test_an_apply_that_is_stopped_leaves_no_thread_and_no_process(
    tmp_path: Path, processes: None, own: Own, how: str
) -> None:
    workspace = make(tmp_path / "w", 3)
    write_sources(tmp_path / "w", BEFORE)
    plan = workspace.plan(tmp_path / "plan.json").plan
    edges = 0

    def stop() -> bool:
        nonlocal edges
        edges += 1
        if edges == 3 and how == "ctrl-c":
            raise KeyboardInterrupt
        return edges == 3

    with pytest.raises(InterruptedRunError if how == "stop" else KeyboardInterrupt):
        workspace.apply(plan, should_stop=stop)
    assert own.threads() == []
    assert own.children() == []
    assert workspace.apply(plan).already == 10
    assert_index_is_a_fresh_load(workspace)


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_process_that_dies_is_named_with_its_document_in_its_turn(
    tmp_path: Path, processes: None, own: Own, monkeypatch: pytest.MonkeyPatch, is_noticed: bool
) -> None:
    """Whether its death is noticed before it is handed the next documents, or after that."""
    tasks: list[Any] = []
    put = preparing.Pool.put
    monkeypatch.setattr(preparing.Pool, "put", lambda self, task: tasks.append(task) or put(self, task))
    workspace = make(tmp_path / "w", 2)
    write_sources(tmp_path / "w", BEFORE)
    plan = workspace.plan(tmp_path / "plan.json").plan
    edges = 0

    def kill() -> bool:
        nonlocal edges
        edges += 1
        if edges == 2:
            assert [len(task.future.result(600)) for task in tasks] == [5, 5]  # what is under way by now is read
            for child in own.children():
                child.send_signal(signal.SIGSTOP)
                child.kill()
            for thread in own.threads() if is_noticed else ():
                if thread.name == "qloader-prepare":
                    thread.join(600)
        return False

    workspace = make(tmp_path / "w", 2, "queue_size: 5")
    with pytest.raises(
        QloaderError, match=r"a process that read docs/10\.md and 4 more documents ended in the middle"
    ) as caught:
        workspace.apply(plan, should_stop=kill)
    assert "max_workers: 1" in caught.value.remedy
    workspace.apply(plan)
    assert_index_is_a_fresh_load(workspace)


def test_processes_are_started_where_there_is_enough_to_do_and_a_core_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sources(tmp_path / "w", BEFORE)
    workspace = make(tmp_path / "w", 8)
    with workspace.temporary_plan() as result:
        summary = result.plan.header.summary
    counted: list[int] = []
    for characters, cores in ((preparing.CHARACTERS_FROM, 4), (preparing.CHARACTERS_FROM - 1, 4), (10**9, 1)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False)
        pool = preparing.Pool(workspace.settings, replace(summary, characters=characters))
        counted.append(pool.count)
    assert counted == [2, 0, 0]
