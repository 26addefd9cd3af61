from __future__ import annotations

import asyncio
import os
import sqlite3
from dataclasses import replace

import pytest

from qloader.errors import (
    LockedError,
    StalePlanError,
    StateBusyError,
    StateConnectionError,
    StateConstraintError,
    StateError,
)
from qloader.state import database
from qloader.state.ledger import Ledger
from qloader.state.store import StateStore
from support.command_line import some_documents
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, write


@pytest.fixture
def workspace(tmp_path):
    workspace = make_workspace(tmp_path)
    write(tmp_path / "docs", some_documents(4))
    plan_and_apply(workspace)
    return workspace


@pytest.fixture
def ledger(workspace):
    return Ledger(workspace.settings.state)


def test_an_apply_is_an_ingestion_of_each_of_its_sources(workspace, ledger):
    found = asyncio.run(ledger.get_last_ingestion("files", "docs"))
    assert (found.status, found.document_count, found.error) == ("complete", 4, None)
    assert found.last_success is not None
    assert found.last_success <= found.finished_at
    assert asyncio.run(ledger.get_last_ingestion("git", "docs")) is None
    assert asyncio.run(ledger.get_last_ingestion("files", "other")) is None


def test_a_failed_ingestion_keeps_the_time_of_the_last_success(ledger):
    async def fail():
        before = await ledger.get_last_ingestion("files", "docs")
        await ledger.update_ingestion("files", "docs", "failed", 1, "no connection")
        return before, await ledger.get_last_ingestion("files", "docs")

    before, after = asyncio.run(fail())
    assert (after.status, after.document_count, after.error) == ("failed", 1, "no connection")
    assert after.last_success == before.last_success


def test_an_ingestion_of_a_new_source_is_recorded(workspace, ledger):
    asyncio.run(ledger.update_ingestion("wiki", "elsewhere", "complete", 12))
    found = asyncio.run(ledger.get_last_ingestion("wiki", "elsewhere"))
    assert (found.document_count, found.last_success) == (12, found.finished_at)
    assert workspace.status().points


def test_a_run_that_died_is_a_failed_ingestion(ledger):
    asyncio.run(ledger.update_ingestion("files", "docs", "running"))
    found = asyncio.run(ledger.get_last_ingestion("files", "docs"))
    assert (found.status, found.error) == ("failed", "interrupted")


def test_documents_are_read_recorded_and_marked_as_deleted(workspace, ledger):
    async def edit():
        document = await ledger.get_document_state("docs", "page-0000.md")
        serial = await ledger.update_document_state(replace(document, revision="another"))
        changed = await ledger.get_document_state("docs", "page-0000.md")
        assert await ledger.mark_document_deleted("docs", "page-0001.md") == serial + 1
        return document, changed, await ledger.get_document_state("docs", "page-0001.md")

    document, changed, gone = asyncio.run(edit())
    assert document.revision != changed.revision == "another"
    assert gone.is_deleted
    assert asyncio.run(ledger.get_document_state("docs", "nobody.md")) is None
    assert workspace.status().sources[0].documents == 3


def test_no_point_is_left_without_an_owner_by_an_edit(workspace, ledger):
    async def edit():
        document = await ledger.get_document_state("docs", "page-0000.md")
        await ledger.update_document_state(replace(document, content=b"x" * 16, chunks=(b"y" * 16,)))
        await ledger.mark_document_deleted("docs", "page-0001.md")

    asyncio.run(edit())
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_an_edit_makes_plans_stale(workspace, ledger, tmp_path):
    plan = workspace.plan(tmp_path / "plan.json").plan
    asyncio.run(ledger.mark_document_deleted("docs", "page-0001.md"))
    with pytest.raises(StalePlanError, match="rests on serial"):
        workspace.apply(plan)


@pytest.mark.parametrize("wrong", [{"source": "nowhere"}, {"pipeline": "unknown"}, {"size": None}])
def test_a_record_that_contradicts_the_state_is_refused_and_nothing_stays_of_it(workspace, ledger, wrong):
    document = asyncio.run(ledger.get_document_state("docs", "page-0000.md"))
    before = workspace.settings.state.with_name("before.db")
    workspace.backup_state(before)
    with pytest.raises(StateConstraintError) as caught:
        asyncio.run(ledger.update_document_state(replace(document, **wrong)))
    assert caught.value.remedy
    after = workspace.settings.state.with_name("after.db")
    workspace.backup_state(after)
    dumps = [list(sqlite3.connect(path).iterdump()) for path in (before, after)]
    assert dumps[0] == dumps[1]


def test_a_document_that_never_was_cannot_be_marked_as_deleted(ledger):
    with pytest.raises(StateConstraintError, match="never had it"):
        asyncio.run(ledger.mark_document_deleted("docs", "nobody.md"))


@pytest.mark.parametrize(("status", "count"), [("done", 1), ("complete", -1)])
def test_an_ingestion_with_a_wrong_status_or_count_is_refused(ledger, status, count):
    with pytest.raises(StateConstraintError):
        asyncio.run(ledger.update_ingestion("files", "docs", status, count))


def test_a_held_state_says_who_holds_it(workspace, ledger):
    with StateStore.write(workspace.settings.state) as other:
        other.lock()
        with pytest.raises(LockedError, match="is locked by"):
            asyncio.run(ledger.update_ingestion("files", "docs", "complete"))


def test_a_busy_file_is_an_error_of_its_own(workspace, ledger, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    with sqlite3.connect(workspace.settings.state, isolation_level=None) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateBusyError, match="is busy"):
            asyncio.run(ledger.update_ingestion("files", "docs", "complete"))
        shell.execute("ROLLBACK")
    shell.close()


def test_a_state_that_cannot_be_opened_is_an_error_of_its_own(tmp_path):
    (tmp_path / "state.db").write_bytes(b"no database at all, " * 100)
    with pytest.raises(StateConnectionError, match="damaged or is no SQLite"):
        asyncio.run(Ledger(tmp_path / "state.db").get_last_ingestion("files", "docs"))
    if os.geteuid():
        (tmp_path / "closed.db").touch(0o000)
        with pytest.raises(StateConnectionError):
            asyncio.run(Ledger(tmp_path / "closed.db").update_ingestion("files", "docs", "complete"))


def test_where_there_is_no_state_nothing_is_known_and_nothing_can_be_written(tmp_path):
    ledger = Ledger(tmp_path / "state.db")
    assert asyncio.run(ledger.get_last_ingestion("files", "docs")) is None
    assert asyncio.run(ledger.get_document_state("docs", "a.md")) is None
    with pytest.raises(StateError, match="there is no state"):
        asyncio.run(ledger.mark_document_deleted("docs", "a.md"))


def test_writes_side_by_side_take_turns(ledger):
    async def many():
        await asyncio.gather(*(ledger.update_ingestion("files", "docs", "complete", n) for n in range(5)))

    asyncio.run(many())
