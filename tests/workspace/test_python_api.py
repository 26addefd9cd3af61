"""The Python API: what another program may rely on."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from qloader import AsyncWorkspace
from qloader.errors import GuardError
from qloader.workspace.awaiting import in_thread
from support.command_line import some_documents
from support.workspaces import make_workspace, write


@pytest.fixture
def workspace(tmp_path):
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", some_documents(6))
    return workspace


def test_a_whole_round_prints_nothing_and_tells_a_plain_function_how_far_it_is(workspace, capfd):
    told = []
    with workspace.temporary_plan(progress=lambda *args: told.append(args)) as result:
        applied = workspace.apply(result.plan, progress=lambda *args: told.append(args))
    workspace.refresh(progress=lambda *args: told.append(args))
    assert applied.created == 6
    assert [hit.payload["document_id"] for hit in workspace.search("page 3")]
    assert workspace.status().points
    assert workspace.history()[0].status == "complete"
    assert capfd.readouterr() == ("", "")
    assert ("apply", 0, 6) in told
    assert ("apply", 6, 6) in told
    assert all(isinstance(name, str) and done >= 0 for name, done, _ in told)


def test_a_plan_without_a_file_lives_as_long_as_it_is_held(workspace, tmp_path):
    result = workspace.plan()
    path = result.plan.path
    assert workspace.apply(result).created == 6
    assert path.exists()
    del result
    gc.collect()
    assert not path.parent.exists()


def test_a_plan_file_is_applied_by_its_path_and_a_refused_plan_is_not(workspace, tmp_path):
    workspace.plan(tmp_path / "plan.json")
    assert workspace.apply(str(tmp_path / "plan.json")).created == 6
    for path in (tmp_path / "docs").rglob("*.md"):
        path.unlink()
    with pytest.raises(GuardError):
        workspace.apply(workspace.plan())
    assert workspace.status().sources[0].documents == 6


def test_an_error_of_the_callback_stops_an_apply_that_can_be_repeated(workspace, tmp_path):
    def fail(phase, done, total):
        if done:
            raise ZeroDivisionError

    plan = workspace.plan(tmp_path / "plan.json").plan
    with pytest.raises(ZeroDivisionError):
        workspace.apply(plan, progress=fail)
    result = workspace.apply(plan)
    assert (result.already, result.created) == (2, 4)


def test_the_same_awaited(workspace):
    async def round_trip():
        awaited = AsyncWorkspace(workspace)
        async with awaited.temporary_plan() as result:
            applied = await awaited.apply(result.plan)
        hits, status, history, drift = await asyncio.gather(
            awaited.search("page 3", limit=2), awaited.status(), awaited.history(), awaited.refresh()
        )
        return applied.created, len(hits), status.sources[0].documents, len(history), drift.points

    assert asyncio.run(round_trip()) == (6, 2, 6, 1, ())


def test_open_reads_the_config_in_a_thread(workspace):
    async def open_it():
        return (await AsyncWorkspace.open(workspace.settings.config.file)).workspace.name

    assert asyncio.run(open_it()) == "test"


def test_a_cancelled_apply_stops_at_a_batch_edge_and_is_finished_by_the_same_plan(workspace, tmp_path):
    async def cancel():
        awaited = AsyncWorkspace(workspace)
        plan = (await awaited.plan(tmp_path / "plan.json")).plan
        loop, first = asyncio.get_running_loop(), asyncio.Event()
        proceed = threading.Event()

        def hold(phase, done, total):
            if phase == "apply" and done == 2:
                loop.call_soon_threadsafe(first.set)
                proceed.wait(300)

        task = asyncio.create_task(awaited.apply(plan, progress=hold))
        await first.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # impatience changes nothing
        await asyncio.sleep(0)
        assert not task.done(), "the loop goes on while the thread is at work"
        proceed.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert workspace.history()[0].error == "stopped by the user"
        return await awaited.apply(plan)

    result = asyncio.run(cancel())
    assert (result.already, result.created) == (2, 4)


def test_a_call_that_is_cancelled_before_its_thread_begins_does_nothing():
    begun = []

    async def cancel():
        stop = threading.Event()
        stop.set()
        task = asyncio.create_task(in_thread(lambda: begun.append(1), stop))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert begun == []


def test_a_plan_runs_alone_and_reads_run_side_by_side(workspace):
    async def watch():
        awaited = AsyncWorkspace(workspace)
        active, seen = set(), []
        reads = threading.Barrier(2, timeout=120)  # each read waits until the other one runs too

        def instead(name):
            def call(*args, **options):
                active.add(name)
                if name != "plan":
                    reads.wait()
                seen.append(frozenset(active))
                time.sleep(0.05)
                if name != "plan":
                    reads.wait()
                active.discard(name)

            return call

        for name in ("plan", "status", "history"):
            setattr(workspace, name, instead(name))
        await asyncio.gather(awaited.status(), awaited.plan("x"), awaited.history(), awaited.plan("y"))
        return seen

    seen = asyncio.run(watch())
    assert {"status", "history"} in seen
    assert all(together == {"plan"} for together in seen if "plan" in together)
