"""A machine that dies in the middle of an apply, with its disk; another one, with an empty folder, goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qloader import Workspace
from qloader.errors import LockedError
from qloader.state import lock
from support.runners import NAME, Team, some_pages
from support.s3_loopback import S3
from support.workspaces import plan_and_apply

DYING = Path(__file__).parents[2] / "support" / "dying_writer.py"
PUT, COMMIT = "qloader.state.remote.store:RemoteStore.put", "qloader.state.store:StateStore.commit_batch"
UPSERT, DELETE = "qloader.index.embedded:EmbeddedIndex.upsert", "qloader.index.embedded:EmbeddedIndex.delete"

DEATHS = [
    (PUT, "after", 4),  # the state with all that is announced; the first three are the lock's
    (UPSERT, "after", 1),
    (COMMIT, "before", 2),
    (DELETE, "after", 2),
    (PUT, "before", 5),  # the last state
]
if os.environ.get("QLOADER_EVERY_FAULT"):
    DEATHS += [
        (PUT, "before", 4),
        (PUT, "after", 5),
        (COMMIT, "after", 2),
        (UPSERT, "before", 3),
        (DELETE, "before", 1),
    ]


def die(runner: Workspace, where: str, when: str, call: int, *words: str) -> None:
    """Applies the plan in a process that is killed there."""
    folder = runner.settings.config.base
    command = [sys.executable, DYING, where, when, str(call), *words, "--"]
    done = subprocess.run(
        [*command, "-c", "qloader.yaml", "apply", str(folder.parents[1] / "plan.json")],
        cwd=folder,
        env={**os.environ, "QLOADER_HOME": str(folder / "home")},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def change(team: Team) -> dict[str, str | None]:
    """Changes of all kinds; what undoes them."""
    before = {name: (team.root / name).read_text() for name in some_pages(10)}
    team.write(
        {
            **{
                f"docs/page-0{n}.md": f"# Page {n}\n\nOther words, {n}.\n\n{'And more of them. ' * 20}\n"
                for n in (0, 1)
            },
            "docs/page-02.md": None,
            "docs/page-03.md": None,
            "docs/page-04.md": None,
            "docs/moved.md": before["docs/page-04.md"],
            **{f"notes/new-{n}.md": f"# New {n}\n\nBrand new, {n}.\n" for n in range(4)},
        }
    )
    return {**before, "docs/moved.md": None, **{f"notes/new-{n}.md": None for n in range(4)}}


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: f"{death[0].rpartition('.')[2]} {death[2]} {death[1]}")
def test_another_machine_finishes_what_a_lost_one_began(team: Team, s3: S3, death: tuple[str, str, int]) -> None:
    team.write({**some_pages(10), "notes/old.md": "# Old\n"})
    plan_and_apply(team.runner("first"))
    undo = change(team)
    dying = team.runner("dying")
    dying.plan(team.root / "plan.json")
    die(dying, *death)
    team.lose(dying)
    objects = {name: s3.read(name) for name in s3.objects}
    shutil.copytree(team.root / "index", team.root / "index-then")

    heir = team.runner("heir")
    heir.apply(team.root / "plan.json")
    team.assert_all_is_well(heir)
    with heir.temporary_plan() as result:
        assert result.plan.header.is_empty

    shutil.rmtree(team.root / "index")
    (team.root / "index-then").rename(team.root / "index")
    s3.empty()
    for name, data in objects.items():
        s3.write(name, data)
    # Some as before, some a third version, some gone.
    third = {"docs/page-00.md": "# Page 0\n\nA third text.\n", "notes/new-1.md": "# New 1\n\nNot so new.\n"}
    team.write({**undo, **third, "docs/page-01.md": None})
    other = team.runner("other")
    plan_and_apply(other)
    team.assert_all_is_well(other)
    with other.temporary_plan() as result:
        assert result.plan.header.is_empty


@pytest.mark.parametrize("death", [(PUT, "after", 4), (UPSERT, "after", 2)], ids=["before the index", "in its middle"])
def test_a_first_load_that_is_lost_is_finished_elsewhere(team: Team, s3: S3, death: tuple[str, str, int]) -> None:
    team.write(some_pages(6))
    dying = team.runner("dying")
    dying.plan(team.root / "plan.json")
    die(dying, *death)
    team.lose(dying)
    team.write({"docs/page-00.md": None, "docs/page-02.md": None, "docs/page-01.md": "# Page 1\n\nOther words.\n"})
    heir = team.runner("heir")
    assert heir.status().interrupted == 6
    plan_and_apply(heir)
    team.assert_all_is_well(heir)


def test_what_a_lost_machine_had_put_at_a_batch_edge_is_not_done_again(team: Team) -> None:
    team.write(some_pages(10))
    dying = team.runner("dying")
    dying.plan(team.root / "plan.json")
    die(dying, UPSERT, "after", 4, "eager")
    team.lose(dying)
    heir = team.runner("heir")
    assert heir.status().points == 6
    assert heir.status().interrupted == 4
    assert heir.history()[0].error == "interrupted"
    done = heir.apply(team.root / "plan.json")
    assert (done.already, done.created) == (6, 4)
    team.assert_all_is_well(heir)


def test_a_machine_that_comes_back_goes_on_from_its_own_copy(team: Team, s3: S3) -> None:
    team.write(some_pages(10))
    runner = team.runner("first")
    runner.plan(team.root / "plan.json")
    die(runner, UPSERT, "after", 4)
    done = runner.apply(team.root / "plan.json")
    assert (done.already, done.created) == (6, 4)
    team.assert_all_is_well(team.runner("second"))


def test_vectors_of_a_pipeline_that_was_given_up_are_not_believed(team: Team, s3: S3) -> None:
    team.write(some_pages(6))
    plan_and_apply(team.runner("first"))
    dying = team.runner("dying", state=f"{team.state}\nembedding: {{k: 2.5}}")
    dying.plan(team.root / "plan.json")
    die(dying, UPSERT, "after", 2)
    team.lose(dying)
    heir = team.runner("heir")  # with the pipeline of before
    plan_and_apply(heir)
    team.assert_all_is_well(heir)


def test_a_run_that_ends_in_order_leaves_nothing_in_doubt(team: Team, s3: S3) -> None:
    team.write(some_pages(10))
    runner = team.runner("first")
    runner.plan(team.root / "plan.json")
    asked = []

    def stop_at_the_third_edge() -> bool:
        asked.append(True)
        return len(asked) > 2

    with pytest.raises(BaseException, match="stopped after 4 of 10 changes"):
        runner.apply(team.root / "plan.json", should_stop=stop_at_the_third_edge)
    second = team.runner("second")
    assert (second.status().points, second.status().interrupted) == (4, 0)
    done = second.apply(team.root / "plan.json")
    assert (done.already, done.created) == (4, 6)


def test_the_lock_of_a_machine_that_cannot_be_looked_at_is_free_when_the_store_s_clock_says_so(
    team: Team, s3: S3
) -> None:
    team.write(some_pages(4))
    dying = team.runner("dying")
    dying.plan(team.root / "plan.json")
    die(dying, UPSERT, "after", 1)
    team.lose(dying)
    note = s3.read(f"{NAME}.lock").replace(lock.process.machine().encode(), b"another-boot pid:[1]")
    s3.write(f"{NAME}.lock", note)
    heir = team.runner("heir")
    with pytest.raises(LockedError):
        heir.apply(team.root / "plan.json")
    assert heir.status().lease is not None
    s3.make_older(f"{NAME}.lock", lock.LEASE_MS / 1000)
    assert heir.status().lease is None
    heir.apply(team.root / "plan.json")
    team.assert_all_is_well(heir)
