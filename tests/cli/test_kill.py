"""A real process that is really killed in the middle of an apply, and what Ctrl-C does: docs/reliability.md.

Where a kill hits is random. The seed is printed, and QLOADER_TEST_SEED sets it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from qloader import Workspace
from qloader.documents.hashing import point_ids
from qloader.workspace.readers import READERS_FROM, count_readers
from support.command_line import QLOADER, Prompt, let_go, some_documents, start_held, until_it_holds
from support.workspaces import assert_index_is_a_fresh_load, dump, make_workspace, plan_and_apply, write

KILLS = 3
COMMIT = "qloader.state.store:StateStore.commit_batch"
LONG = "\n\n".join(f"Paragraph {n} says something at some length. {'So that it counts. ' * 8}" for n in range(4))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 240 documents applied and a plan that updates, moves, deletes and creates sixty each."""
    folder = tmp_path_factory.mktemp("planned")
    workspace = make_workspace(folder, batch=200)
    write(folder / "docs", {f"page-{n:03}.md": f"# Page {n}\n\n{LONG}\n\nThe end of {n}." for n in range(240)})
    plan_and_apply(workspace)
    workspace = make_workspace(folder, batch=3)
    write(folder / "docs", {f"page-{n:03}.md": f"# Page {n}\n\n{LONG}\n\nAnother end of {n}." for n in range(60)})
    write(folder / "docs", {f"page-{n:03}.md": None for n in range(60, 120)})
    write(folder / "docs", some_documents(60, first=1_000))
    (folder / "docs" / "moved").mkdir()
    for n in range(120, 180):
        (folder / "docs" / f"page-{n:03}.md").rename(folder / "docs" / "moved" / f"page-{n:03}.md")
    result = workspace.plan(folder / "plan.json")
    assert result.refusal is None
    summary = result.plan.header.summary
    assert (summary.create, summary.update, summary.move, summary.delete) == (60, 60, 60, 60)
    return folder


@pytest.fixture(scope="module")
def undisturbed(planned: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every point as an undisturbed apply of that plan leaves it."""
    workspace = copy(planned, tmp_path_factory.mktemp("undisturbed") / "copy")
    workspace.apply(workspace.read_plan(workspace.settings.config.base / "plan.json"))
    return dump(workspace)


def copy(folder: Path, to: Path) -> Workspace:
    # `cp` keeps the holes of the engine's files.
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True)
    return Workspace.open(to / "qloader.yaml")


def start(workspace: Workspace, *arguments: str) -> subprocess.Popen[bytes]:
    folder = workspace.settings.config.base
    return subprocess.Popen([*QLOADER, *arguments], cwd=folder, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)


def kill_in_mid_apply(workspace: Workspace, chance: random.Random) -> None:
    """Starts `qloader apply plan.json` and kills it at a random moment of a random batch, or of the few after it."""
    batch = chance.randint(2, 20)
    # However late the kill comes: the apply goes no further than some batches on.
    with start_held(workspace.settings.config.base, COMMIT, f"{batch},{batch + 5}", "apply", "plan.json") as process:
        until_it_holds(process)
        let_go(process)
        time.sleep(chance.uniform(0, 0.03))
        process.kill()
    assert process.returncode == -signal.SIGKILL


def assert_every_point_has_an_owner(workspace: Workspace) -> None:
    """No point is in the index that the state does not know, as a document's or as an interrupted batch's."""
    with workspace.settings.read_state() as state:
        owned = {i for d in state.documents() for i in point_ids(d.source, d.id, d.chunks)}
        for intent in state.intents():
            owned |= {point.hex() for point in intent.points}
    assert {point for point in dump(workspace) if point not in owned and point.replace("-", "") not in owned} == set()


def same_plan_again(workspace: Workspace) -> None:
    with start(workspace, "apply", "plan.json") as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()


def plan_anew(workspace: Workspace) -> None:
    plan_and_apply(workspace)


@pytest.mark.parametrize("way_on", [same_plan_again, plan_anew], ids=lambda way: way.__name__)
def test_an_apply_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
    tmp_path: Path, planned: Path, undisturbed: dict[str, Any], way_on: Callable[[Workspace], None]
) -> None:
    seed = int(os.environ.get("QLOADER_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"QLOADER_TEST_SEED={seed}")
    chance = random.Random(seed)
    workspace = copy(planned, tmp_path / "copy")
    for _ in range(KILLS):
        kill_in_mid_apply(workspace, chance)
        assert_every_point_has_an_owner(workspace)
    way_on(workspace)
    assert dump(workspace) == undisturbed
    with workspace.temporary_plan() as result:
        assert result.plan.header.is_empty


def test_a_first_load_that_is_killed_is_finished_by_the_same_plan(prompt: Prompt) -> None:
    write(prompt.docs, some_documents(600))
    prompt.ok("plan", "-o", "plan.json")
    kill_in_mid_apply(prompt.workspace, random.Random(1))
    points = prompt.ok("status", "--format", "json").json["points"]
    assert 0 < points < 600
    answer = prompt.ok("apply", "plan.json")
    assert answer.err.startswith(f"{points} changes of this plan had been applied before.\n")
    assert answer.last == f"Apply complete: {600 - points} created, 0 updated, 0 moved, 0 deleted."
    assert_index_is_a_fresh_load(prompt.workspace)


# Ctrl-C


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_stops_at_a_batch_edge_says_what_is_applied_and_how_to_go_on(prompt: Prompt, number: int) -> None:
    write(prompt.docs, some_documents(600))
    prompt.ok("plan", "-o", "plan.json")
    with start_held(prompt.folder, COMMIT, "3", "apply", "plan.json") as process:
        until_it_holds(process)
        process.send_signal(number)
        assert process.stderr is not None
        heard = process.stderr.readline().decode()
        let_go(process)
        errors = process.stderr.read().decode()
    points = prompt.ok("status", "--format", "json").json["points"]
    assert process.returncode == 130, errors
    assert heard == "Stopping after this batch; press Ctrl-C again to stop at once (also safe).\n"
    assert errors == (
        f"Error: stopped after {points} of 600 changes; they are in the index and recorded\n"
        "Run the same command again to go on from there, or plan anew.\n"
    )
    assert points == 3 * 5  # the batch that was under way is whole
    assert prompt.workspace.status().interrupted == 0
    run = prompt.ok("history", "--format", "json").json["runs"][0]
    assert (run["status"], run["error"]) == ("failed", "stopped by the user")
    assert (
        prompt.ok("apply", "plan.json").last
        == f"Apply complete: {600 - points} created, 0 updated, 0 moved, 0 deleted."
    )
    assert_index_is_a_fresh_load(prompt.workspace)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(
    "where",
    [
        "qloader.state.store:StateStore.record_intents",
        "qloader.index.embedded:EmbeddedIndex.upsert",
        "qloader.index.embedded:EmbeddedIndex.delete",
        COMMIT,
    ],
)
def test_ctrl_c_twice_stops_at_once_and_nothing_is_lost(
    tmp_path: Path, planned: Path, undisturbed: dict[str, Any], where: str, number: int
) -> None:
    workspace = copy(planned, tmp_path / "copy")
    config = workspace.settings.config.file
    config.write_text(config.read_text().replace("size: 3", "size: 1000"))  # one batch, of every kind of change
    with start_held(config.parent, where, "1", "apply", "plan.json") as process:
        until_it_holds(process)
        assert process.stderr is not None
        process.send_signal(number)
        heard = process.stderr.readline().decode()
        process.send_signal(number)
        errors = process.stderr.read().decode()
    assert process.returncode == 130, errors
    assert heard == "Stopping after this batch; press Ctrl-C again to stop at once (also safe).\n"
    assert errors == (
        "Error: stopped by Ctrl-C\n"
        "Nothing is half done, and what an apply committed is recorded: run the same command again.\n"
    )
    assert workspace.status().lease is None
    same_plan_again(workspace)
    assert dump(workspace) == undisturbed


@pytest.mark.skipif(count_readers(4, READERS_FROM) == 0, reason="readers need a second core")
def test_ctrl_c_ends_a_plan_without_a_trace_and_without_leaving_its_readers_behind(prompt: Prompt) -> None:
    # Some take a reader a second each, so that readers are at work when the signal comes.
    long = "\n\n".join(f"Paragraph {n} of a page that takes a while to read." for n in range(150_000))
    write(prompt.docs, {**some_documents(4_000), **{f"long-{n}.md": long for n in range(4)}})
    # Where messages are handed out, all readers are up.
    with start_held(prompt.folder, "qloader.workspace.readers:_Pool._send", "2", "plan", "-o", "plan.json") as process:
        until_it_holds(process)
        readers = psutil.Process(process.pid).children()
        assert readers
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        errors = process.stderr.read().decode()
    assert process.returncode == 130, errors
    assert errors.startswith("Error: stopped by Ctrl-C\n")
    assert "Traceback" not in errors
    assert psutil.wait_procs(readers, timeout=60)[1] == []
    assert not (prompt.folder / "plan.json").exists()
    assert prompt.ok("plan").last.startswith("Plan: 4004 to create")
