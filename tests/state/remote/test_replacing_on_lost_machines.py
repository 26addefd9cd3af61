"""A replacement whose machine is lost with its disk: another, with nothing but the config, finishes or undoes it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import StateError
from support.qdrant_loopback import StandIn, serving
from support.runners import Team, some_pages
from support.workspaces import plan_and_apply

DYING = Path(__file__).parents[2] / "support" / "dying_writer.py"
UPSERT, SWITCH = "qloader.index.server:ServerIndex.upsert", "qloader.index.server:ServerIndex.switch"
TAKE_OVER = "qloader.state.store:StateStore.take_over"

DEATHS = [(UPSERT, "after", 3), (SWITCH, "after", 1)]
if os.environ.get("QLOADER_EVERY_FAULT"):
    DEATHS += [(UPSERT, "after", 1), (SWITCH, "before", 1), (TAKE_OVER, "after", 1)]


def die(runner: Workspace, plan: Path, where: str, when: str, call: int) -> None:
    """Applies a plan in a process that is killed there."""
    folder = runner.settings.config.base
    command = [sys.executable, DYING, where, when, str(call), "--", "-c", "qloader.yaml", "apply", str(plan)]
    env = {**os.environ, "QLOADER_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def collections(runner: Workspace) -> list[str]:
    with contextlib.closing(runner.settings.open_index()) as index:
        return index.relatives()


def assert_all_is_well(team: Team, runner: Workspace) -> None:
    team.assert_all_is_well(runner)
    with runner.temporary_plan() as result:
        assert result.plan.header.is_empty


@pytest.fixture
def loaded(team: Team) -> Iterator[Team]:
    """A team whose index is on a server, and holds pages of several chunks."""
    words = "What page {n} says of lamps, at some length, so that a chunk is full. " * 6
    team.write(some_pages(6, lambda n: words.format(n=n)))
    with serving(StandIn().respond) as url:
        team.server = url
        plan_and_apply(team.runner("first"))
        yield team


@pytest.fixture
def lost(loaded: Team) -> Callable[[str, str, int], Path]:
    """Loses a machine in the middle of a replacement, with its disk; the plan is in the repository."""

    def lose(where: str, when: str, call: int) -> Path:
        dying, plan = loaded.runner("dying", max_chars=400), loaded.root / "plan.json"
        dying.plan(plan)
        die(dying, plan, where, when, call)
        loaded.lose(dying)
        return plan

    return lose


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: f"{death[0].rpartition('.')[2]} {death[2]} {death[1]}")
def test_another_machine_goes_on_and_has_all(loaded: Team, lost, death: tuple[str, str, int]) -> None:
    plan = lost(*death)
    # Whoever has the old config searches on, and nothing is missing.
    hits = loaded.runner("reader").search("lamps", limit=50)
    assert {hit.payload["document_id"] for hit in hits} == {f"page-0{number}.md" for number in range(6)}
    heir = loaded.runner("heir", max_chars=400)
    assert heir.apply(plan).already
    assert_all_is_well(loaded, heir)
    assert len(collections(heir)) == 2


def test_a_lost_replacement_is_given_up_where_the_config_is_set_back(loaded: Team, lost) -> None:
    lost(UPSERT, "after", 2)
    loaded.write({"docs/page-00.md": "# Page 0\n\nOther words.\n"})
    heir = loaded.runner("heir")
    plan_and_apply(heir)
    assert_all_is_well(loaded, heir)
    assert len(collections(heir)) == 1


def test_a_machine_that_did_not_make_the_replacement_rolls_it_back_and_prunes(loaded: Team) -> None:
    (before,) = collections(loaded.runner("first"))
    maker = loaded.runner("maker", max_chars=400)
    plan_and_apply(maker)
    (after,) = {*collections(maker)} - {before}
    loaded.lose(maker)

    done = loaded.runner("other", max_chars=400).roll_back()
    assert (done.target, done.replaced, done.is_configured) == (before, after, False)
    assert_all_is_well(loaded, loaded.runner("other"))

    third = loaded.runner("third")
    assert third.status().beside == (after,)
    assert third.prune_collections().collections == (after,)
    assert collections(third) == [before]
    with pytest.raises(StateError, match="no collection to go back to"):
        loaded.runner("fourth").roll_back()
    assert_all_is_well(loaded, third)
