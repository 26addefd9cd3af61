"""Every fault at every step of an apply, and every way on from there: the index ends as a fresh load.

make test        each point with one of its faults and one way on; a batch written and not committed with three, which
                 take turns; with a server, the points of its index: an apply to a folder has all the others too; of a
                 first load those that make something, of a replacement those of the switch
make faults      each point with each of its faults and every way on

Batches are prepared ahead in some of the trials (`max_workers: 8`), and one after the other in the others; by
`make faults` in every trial both ways.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import ForeignIndexError, QloaderError, StateError
from qloader.planning.planfile import FilePlan
from support.faults import FaultPoint, Killed, called_methods, faults_of, faulty, recording, sample
from support.qdrant_loopback import StandIn, serving
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, replace_all

EVERY_FAULT = bool(os.environ.get("QLOADER_EVERY_FAULT"))
FAULTS_AT = os.environ.get("QLOADER_FAULTS_AT", "")
"""Calls whose name begins like this are broken, and no others: for who looks for one mistake (`make broken`)."""

WORKERS = (1, 8)

LAST_CALLS = 0.05
"""How many of the last calls of each name the short run breaks too, beside all first ones."""

SWITCHING = (
    *(f"StateStore.{n}" for n in ("note", "copy_to", "take_over", "secure", "begin_run", "finish_run")),
    *(f"EmbeddedIndex.{n}" for n in ("switch", "target", "relatives", "create", "drop", "mark", "count", "flush")),
    *("sqlite state ATTACH", "sqlite state DETACH", "sqlite state INSERT main", "os.fsync"),
)
"""What the short run breaks of a replacement: the load itself is as that of any other apply."""

MAKING = (
    *(f"StateStore.{n}" for n in ("begin_run", "lock", "record_intents", "commit_batch", "finish_run")),
    *(f"EmbeddedIndex.{n}" for n in ("create", "describe", "mark", "flush", "upsert")),
    *("sqlite state CREATE", "sqlite state PRAGMA", "sqlite state INSERT", "sqlite state COMMIT", "os.fsync"),
)
"""What the short run breaks of a first load: what is made; all else is in an apply of changes too."""

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
    "titled.md": "---\ntitle: One\n---\nIts text stays.",
}
AFTER = {
    "edited.md": f"# Edited\n\n{LONG}\n\nA new end, and a better one.",
    "elsewhere/moved.md": f"# Moved\n\n{LONG}",
    "same.md": "# Same\n\nThis one stays.",
    "last.md": "# Last\n\nThe last one, with another text.",
    "new.md": "# New\n\nThis one is new.",
    "titled.md": "---\ntitle: Another\n---\nIts text stays.",
}
OTHER = {
    "edited.md": "# Edited\n\nShort now.",
    "moved.md": "# Moved back\n\nAnd changed.",
    "new.md": "# New\n\nThis one is new.",
}


def write_docs(workspace: Workspace, files: dict[str, str]) -> None:
    folder = workspace.settings.config.base / "docs"
    replace_all(folder, files)
    for path in folder.rglob("*.md"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


def same_plan_again(workspace: Workspace, plan: FilePlan) -> None:
    workspace.apply(plan)


def plan_anew(workspace: Workspace, plan: FilePlan) -> None:
    plan_and_apply(workspace)


def change_and_plan(workspace: Workspace, plan: FilePlan) -> None:
    write_docs(workspace, OTHER)
    plan_and_apply(workspace, allow_deletes=("docs",))


def revert_and_plan(workspace: Workspace, plan: FilePlan) -> None:
    write_docs(workspace, BEFORE)
    plan_and_apply(workspace, allow_deletes=("docs",))


def rebuild_and_plan(workspace: Workspace, plan: FilePlan) -> None:
    state = workspace.settings.state
    for suffix in ("", "-wal", "-shm"):
        state.with_name(state.name + suffix).unlink(missing_ok=True)
    with contextlib.suppress(ForeignIndexError):  # killed before there was a collection: nothing to rebuild from
        workspace.rebuild_state()
    plan_and_apply(workspace)


def set_back_and_plan(workspace: Workspace, plan: FilePlan) -> Workspace:
    return _resized(workspace, 200)


def set_otherwise_and_plan(workspace: Workspace, plan: FilePlan) -> Workspace:
    return _resized(workspace, 150)


def roll_back_and_plan(workspace: Workspace, plan: FilePlan) -> Workspace:
    with contextlib.suppress(StateError):  # there is nothing to go back to
        workspace.roll_back()
    return _resized(workspace, 200)


def _resized(workspace: Workspace, max_chars: int) -> Workspace:
    config = workspace.settings.config.file
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub(r"max_chars: \d+", f"max_chars: {max_chars}", text), encoding="utf-8")
    workspace = Workspace.open(config)
    plan_and_apply(workspace)
    return workspace


def assert_only_known_collections(workspace: Workspace) -> None:
    """No collection is left that the state does not know, and what the name stands for is what the state describes."""
    header = workspace.status().header
    assert header is not None
    assert not header.is_switching
    assert header.replacement == ""
    with contextlib.closing(workspace.settings.open_index()) as index:
        assert {*index.relatives()} == {name for name in (index.target(), header.replaced) if name}
        assert header.target in ("", index.target())
    assert not workspace.settings.replacement_state.exists()


WayOn = Callable[[Workspace, FilePlan], Workspace | None]
WAYS_ON: list[WayOn] = [
    same_plan_again,
    plan_anew,
    revert_and_plan,
    change_and_plan,
    rebuild_and_plan,
]


class Stage:
    """Workspaces to break, each as good as new: an apply is about to bring `BEFORE` (or nothing) to `AFTER`.

    A `replacement` does so with chunks of another size, and in a new collection.
    """

    def __init__(self, folder: Path, *, server: bool, kind: str) -> None:
        self._folder = folder
        self._server = server
        self._first = kind == "first load"
        self._sizes = {"max_chars": 300} if kind == "replacement" else {}
        self._count = 0
        if not server and not self._first:
            self._template = folder / "template"
            workspace = make_workspace(self._template)
            write_docs(workspace, BEFORE)
            plan_and_apply(workspace)

    @contextlib.contextmanager
    def set(self, workers: int = WORKERS[-1]) -> Iterator[tuple[Workspace, FilePlan]]:
        self._count += 1
        folder = self._folder / str(self._count)
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(serving(StandIn().respond)) if self._server else None
            if not self._server and not self._first:
                # `cp` keeps the holes of the engine's files; copying them out takes most of a test's time.
                subprocess.run(["cp", "-a", str(self._template), str(folder)], check=True)
            workspace = make_workspace(folder, url=url, workers=workers)
            if self._server and not self._first:
                write_docs(workspace, BEFORE)
                plan_and_apply(workspace)
            if self._sizes:
                workspace = make_workspace(folder, url=url, workers=workers, **self._sizes)
            write_docs(workspace, AFTER)
            yield workspace, workspace.plan(folder / "plan.json").plan


@pytest.mark.parametrize("kind", ["first load", "changes", "replacement"])
@pytest.mark.parametrize("server", [False, True], ids=["embedded", "server"])
def test_every_fault_at_every_step_of_an_apply_is_mended(tmp_path: Path, server: bool, kind: str) -> None:
    stage = Stage(tmp_path, server=server, kind=kind)
    with stage.set() as (workspace, plan):
        methods = called_methods(lambda: workspace.apply(plan) and None)
    with stage.set() as (workspace, plan), recording(methods) as points:
        workspace.apply(plan)
    chosen = sample(points)
    assert {"StateStore.begin_run", "StateStore.record_intents", "StateStore.commit_batch"} <= {p.name for p in chosen}
    happened = 0
    ways_on = WAYS_ON + (
        [set_back_and_plan, set_otherwise_and_plan, roll_back_and_plan] if kind == "replacement" else []
    )
    only = {"first load": MAKING, "replacement": SWITCHING}.get(kind, ("",))
    if server:
        only = tuple(name.replace("Embedded", "Server") for name in only if "Index." in name) or ("ServerIndex.",)
    trials = list(_trials(chosen, ways_on, only=only))
    for point, fault, way_on, workers in trials:
        with stage.set(workers) as (workspace, plan):
            happened += _break(workspace, plan, methods, point, fault)
            try:
                workspace = way_on(workspace, plan) or workspace  # noqa: PLW2901 - with another config
                if kind == "replacement":
                    assert_only_known_collections(workspace)
                assert_index_is_a_fresh_load(workspace)
                assert workspace.refresh().points == ()
                with workspace.temporary_plan() as result:
                    assert result.plan.header.is_empty
            except (AssertionError, QloaderError) as error:
                what = f"{fault} at {point}, {workers} workers, then {way_on.__name__}"
                raise AssertionError(f"{what}: {error!r}") from error
    print(f"{len(points)} calls, {len(chosen)} points, {len(trials)} trials, {happened} faults happened")
    assert happened > 0.9 * len(trials)


def _trials(
    points: Sequence[FaultPoint], ways_on: Sequence[WayOn], *, only: tuple[str, ...] = ("",)
) -> Iterator[tuple[FaultPoint, str, WayOn, int]]:
    """What is tried.

    Args:
        points: All calls.
        ways_on: What is done after each fault.
        only: How the names of calls begin that the short run breaks.
    """
    for point in points:
        if not str(point).startswith(FAULTS_AT) or not (EVERY_FAULT or FAULTS_AT or str(point).startswith(only)):
            continue
        every = [
            (point, fault, way_on, workers) for fault in faults_of(point) for way_on in ways_on for workers in WORKERS
        ]
        if EVERY_FAULT:
            yield from every
        else:
            chance = random.Random(str(point))
            if FAULTS_AT or point.call == 1 or chance.random() < LAST_CALLS:
                yield chance.choice(every)
            if point.name.endswith("Index.flush"):  # a whole batch is in the index, and not yet in the state
                ways = ways_on if FAULTS_AT else [ways_on[(point.call + step) % len(ways_on)] for step in range(3)]
                yield from ((point, "kill after", way_on, WORKERS[n % 2]) for n, way_on in enumerate(ways))


def _break(workspace: Workspace, plan: FilePlan, methods, point: FaultPoint, fault: str) -> bool:
    with faulty(methods, point, fault) as happened, contextlib.suppress(Exception, Killed):
        workspace.apply(plan)
    return bool(happened)


def test_every_fault_while_planning_leaves_the_next_plan_as_it_would_have_been(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w")
    write_docs(workspace, BEFORE)
    plan_and_apply(workspace)
    write_docs(workspace, AFTER)
    saved = tmp_path / "saved"
    subprocess.run(["cp", "-a", str(tmp_path / "w"), str(saved)], check=True)

    def fresh() -> Workspace:
        subprocess.run(["rm", "-rf", str(tmp_path / "w")], check=True)
        subprocess.run(["cp", "-a", str(saved), str(tmp_path / "w")], check=True)
        return Workspace.open(tmp_path / "w" / "qloader.yaml")

    undisturbed = fresh().plan(tmp_path / "plan.json").plan.path.read_bytes()
    workspace = fresh()
    methods = called_methods(lambda: workspace.plan(tmp_path / "again.json") and None)
    workspace = fresh()
    with recording(methods) as points:
        workspace.plan(tmp_path / "again.json")
    happened = 0
    trials = list(_trials(sample(points), WAYS_ON))
    for point, fault, _, _ in trials:
        workspace = fresh()
        with faulty(methods, point, fault) as done, contextlib.suppress(Exception, Killed):
            workspace.plan(tmp_path / "broken.json")
        happened += bool(done)
        assert workspace.plan(tmp_path / "next.json").plan.path.read_bytes() == undisturbed, f"{fault} at {point}"
    assert happened > 0.9 * len(trials)
