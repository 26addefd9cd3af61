"""One writer: who gets the lease, who keeps it, and what somebody who lost it can still do (nothing)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from qloader import Workspace
from qloader.embedding.bm25 import Bm25Embedder
from qloader.errors import IndexUnavailableError, LockedError, QloaderError
from qloader.index import folder_lock
from qloader.index.embedded import EmbeddedIndex
from qloader.index.server import ServerIndex
from qloader.state import database, lock, process
from qloader.state.records import DocumentRecord
from qloader.state.store import StateStore
from qloader.workspace.settings import Settings
from support.command_line import wait_until
from support.faulty_proxy import Fault, refusal, standing_before
from support.qdrant_loopback import StandIn, serving
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, replace_all

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")

SUPPORT = Path(__file__).parents[1] / "support"
needs_boot_id = pytest.mark.skipif(not process.machine(), reason="the system does not say which boot this is")
HOUR = 3_600_000
YEAR = 365 * 24 * HOUR


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the clock forward or back, by milliseconds; by itself it stands still."""
    now = lock.now_ms()

    def move(by: int) -> None:
        nonlocal now
        now += by

    monkeypatch.setattr(lock, "now_ms", lambda: now)
    return move


def hold(path: Path, **facts: Any) -> None:
    """Makes the state locked by somebody else: a lease as this process would write it, but for these facts."""
    now = lock.now_ms()
    row = {
        "only_one": 1,
        "id": "theirs",
        "holder": "ada",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": now,
        "expires_at": now + lock.LEASE_MS,
        "machine": process.machine(),
        "started": process.start_of(os.getpid()),
        **facts,
    }
    StateStore.write(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"INSERT OR REPLACE INTO lease ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
        )


def is_free(path: Path) -> bool:
    """Whether a writer would get the lease now; it is given back."""
    with StateStore.write(path) as state:
        try:
            state.lock()
        except LockedError:
            return False
        return True


ELSEWHERE = {"host": "elsewhere", "machine": "another-boot pid:[1]"}
CONTAINER = {"machine": f"{process.boot_of(process.machine())} pid:[1]"}


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this host."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


# Who is dead


def test_a_living_process_of_this_host_keeps_its_lease_whatever_the_clock_says(
    path: Path, sleeper: subprocess.Popen[bytes], clock: Callable[[int], None]
) -> None:
    hold(path, pid=sleeper.pid, started=process.start_of(sleeper.pid))
    for hours in (0, 1000, -2000):
        clock(hours * HOUR)
        assert not is_free(path)
    sleeper.kill()
    sleeper.wait()
    assert is_free(path)


def test_a_process_that_has_ended_and_was_not_waited_for_is_dead(path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    hold(path, pid=sleeper.pid, started=process.start_of(sleeper.pid))
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(sleeper.pid).status() == psutil.STATUS_ZOMBIE
    assert is_free(path)


@needs_boot_id
def test_a_process_that_got_the_number_of_a_dead_one_does_not_keep_its_lease(
    path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    hold(path, pid=sleeper.pid, started=str(int(process.start_of(sleeper.pid)) - 1))
    assert is_free(path)


def test_without_a_word_on_when_it_started_the_system_s_clock_says_which_process_it_was(
    path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    hold(path, pid=sleeper.pid, machine="", started="")
    assert not is_free(path)
    hold(path, pid=sleeper.pid, machine="", started="", since=lock.now_ms() - HOUR)
    assert is_free(path)


@needs_boot_id
def test_a_machine_that_was_started_again_has_no_old_processes(path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    hold(path, pid=sleeper.pid, machine="another-boot pid:[4026531836]")
    assert is_free(path)


@needs_boot_id
def test_another_container_under_the_same_host_name_is_not_taken_for_dead(
    path: Path, clock: Callable[[int], None]
) -> None:
    hold(path, pid=2_000_000_000, **CONTAINER)
    assert not is_free(path)
    clock(lock.LEASE_MS)
    assert is_free(path)


def test_a_lease_of_another_host_is_free_only_when_it_has_run_out(path: Path, clock: Callable[[int], None]) -> None:
    hold(path, **ELSEWHERE)
    assert not is_free(path)
    clock(lock.LEASE_MS - 1000)
    assert not is_free(path)
    clock(1000)
    assert is_free(path)


def test_a_lease_that_a_clock_dated_too_late_runs_out_for_whoever_waits_for_it(
    path: Path, clock: Callable[[int], None]
) -> None:
    hold(path, **ELSEWHERE, since=lock.now_ms() + YEAR, expires_at=lock.now_ms() + YEAR + lock.LEASE_MS)
    with StateStore.write(path) as state, pytest.raises(LockedError, match="by ada on elsewhere") as raised:
        state.lock()
    soon = time.strftime("%Y-%m-%d", time.gmtime(lock.now_ms() / 1000 + 120))
    assert f"unless it is renewed, its lease runs out at {soon}" in raised.value.remedy
    clock(lock.LEASE_MS - 1000)
    assert not is_free(path)
    clock(1000)
    assert is_free(path)


def test_a_clock_that_is_set_back_while_somebody_waits_begins_the_wait_anew_and_not_for_ever(
    path: Path, clock: Callable[[int], None]
) -> None:
    hold(path, **ELSEWHERE)
    assert not is_free(path)
    clock(-YEAR)
    assert not is_free(path)
    clock(lock.LEASE_MS)
    assert is_free(path)


def test_whoever_renews_is_alive_however_wrong_its_clock_is(path: Path, clock: Callable[[int], None]) -> None:
    with StateStore.write(path) as state:
        lease = state.lock()
        disguise(path)
        for _ in range(5):
            clock(YEAR)
            state.confirm()
            clock(-YEAR)
            assert not is_free(path)
            clock(lock.LEASE_MS - 1000)
        found = state.lease()
        assert found is not None
        assert found.id == lease.id


def test_who_waits_to_take_the_lease_looks_who_has_it_when_its_turn_comes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One takes the lease while another, who found the state free, stands in the queue for SQLite's own lock."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 120_000)
    StateStore.write(path).close()
    waits, refused = threading.Event(), []
    with StateStore.write(path) as state, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        state._connection.set_trace_callback(lambda sql: waits.set() if sql == "BEGIN IMMEDIATE" else None)

        def take() -> None:
            try:
                state.lock()
            except LockedError as error:
                refused.append(error)

        second = threading.Thread(target=take)
        second.start()
        assert waits.wait(120)
        now = lock.now_ms()
        other.execute(
            "INSERT INTO lease (only_one, id, holder, host, pid, since, expires_at, machine, started) "
            "VALUES (1, 'theirs', 'ada', ?, 1, ?, ?, ?, '')",
            (ELSEWHERE["host"], now, now + lock.LEASE_MS, ELSEWHERE["machine"]),
        )
        other.execute("COMMIT")
        second.join()
        assert [str(error)[:40] for error in refused] == ["the state is locked by ada on elsewhere "]
        lease = state.lease()
        assert lease is not None
        assert lease.id == "theirs"


def disguise(path: Path) -> None:
    """Lets the present lease look as if it were held elsewhere."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE lease SET host = ?, machine = ?", [*ELSEWHERE.values()])


# Renewal


def renewals() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "qloader-lease"]


def test_a_lease_is_renewed_again_and_again_while_one_batch_takes_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_MS", 20)
    with StateStore.write(path) as state:
        state.lock()
        for _ in range(3):
            before = _runs_out(path)
            wait_until(lambda before=before: _runs_out(path) > before)
        disguise(path)
        assert not is_free(path)
    assert not renewals()


def _runs_out(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT expires_at FROM lease").fetchone()[0]


def test_a_renewal_ends_with_the_run_however_that_ends(path: Path) -> None:
    with pytest.raises(KeyError), StateStore.write(path) as state:
        state.lock()
        assert len(renewals()) == 1
        raise KeyError
    assert not renewals()
    assert is_free(path)


def test_a_renewal_that_finds_the_lease_gone_stops_in_silence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    monkeypatch.setattr(lock, "RENEW_MS", 5)
    with StateStore.write(path) as state, StateStore.write(path) as other:
        assert other.unlock(state.lock().id)
        wait_until(lambda: not renewals())
    assert raised == []


def test_a_renewal_survives_a_state_that_is_busy_or_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[object] = []
    refused = 0
    open_beside = database.open_beside

    def count(path: Path) -> sqlite3.Connection:
        nonlocal refused
        try:
            return open_beside(path)
        except (sqlite3.Error, QloaderError):
            refused += 1
            raise

    monkeypatch.setattr(threading, "excepthook", raised.append)
    monkeypatch.setattr(database, "open_beside", count)
    monkeypatch.setattr(lock, "RENEW_MS", 5)
    with StateStore.write(path) as state:
        hidden = path.rename(path.with_name("hidden"))
        state.lock()
        wait_until(lambda: refused > 2)
        hidden.rename(path)
        before = state.lease()
        assert before is not None
        wait_until(lambda: (now := state.lease()) is not None and now.expires_at > before.expires_at)
    assert raised == []


# Asking before each write


def test_to_ask_whether_the_lease_is_held_writes_nothing(path: Path) -> None:
    with StateStore.write(path) as state:
        state.lock()
        before = state._connection.total_changes
        for _ in range(100):
            state.confirm()
        assert state._connection.total_changes == before


@pytest.mark.parametrize("by", [lock.LEASE_MS * 3 // 4, YEAR, -YEAR])
def test_a_lease_that_is_about_to_run_out_is_renewed_by_whoever_asks(
    path: Path, clock: Callable[[int], None], by: int
) -> None:
    with StateStore.write(path) as state:
        state.lock()
        clock(by)
        state.confirm()
        lease = state.lease()
        assert lease is not None
        assert 0 < lease.expires_at - lock.now_ms() <= lock.LEASE_MS


def test_whoever_lost_the_lease_is_told_and_to_whom(path: Path, clock: Callable[[int], None]) -> None:
    with StateStore.write(path) as state:
        state.lock()
        hold(path, **ELSEWHERE)
        with pytest.raises(LockedError, match="lost its lock on the state to ada on elsewhere"):
            state.confirm()
        with pytest.raises(LockedError):
            state.record_intents(1, [])
    with StateStore.write(path) as state, StateStore.write(path) as other:
        assert other.unlock("theirs")
        assert other.unlock(state.lock().id)
        with pytest.raises(LockedError, match="state unlock"):
            state.confirm()


def test_a_lease_that_was_kept_without_the_state_can_be_gone_on_with_or_was_lost(path: Path) -> None:
    with StateStore.write(path) as state:
        lease = state.lock()
        assert state.park() == lease
    assert not renewals()
    assert not is_free(path)
    with StateStore.write(path) as state:
        assert state.lock(lease) == lease
        state.confirm()
    assert is_free(path)
    with StateStore.write(path) as state, pytest.raises(LockedError, match="lost its lock"):
        state.lock(lease)


# Losing it in the middle of an apply

TEXT = "\n\n".join(f"Paragraph {n} is about {w} at some length. {'It goes on. ' * 10}" for n, w in enumerate("abcd"))
BEFORE = {
    "a-edited.md": f"# Edited\n\n{TEXT}\n\nThe old end.",
    "b-gone.md": "# Gone\n\nThis one will be deleted.",
    "c-same.md": "# Same\n\nThis one stays.",
}
AFTER = {
    "a-edited.md": f"# Edited\n\n{TEXT}\n\nA new end, and a better one.",
    "c-same.md": "# Same\n\nThis one stays.",
    "d-new.md": "# New\n\nThis one is new.",
}
OTHER = {"a-edited.md": f"# Edited\n\n{TEXT}\n\nAnother end.", "e-other.md": "# Other\n\nAnother new one."}


def write_docs(workspace: Workspace, files: dict[str, str]) -> None:
    folder = workspace.settings.config.base / "docs"
    replace_all(folder, files)
    for file in folder.rglob("*.md"):
        os.utime(file, (1_700_000_000, 1_700_000_000))


@pytest.fixture(params=["embedded", "server"])
def workspace(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """A workspace whose index holds `BEFORE`; its docs are `AFTER`."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(serving(StandIn().respond)) if request.param == "server" else None
        workspace = make_workspace(tmp_path / "w", url=url)
        write_docs(workspace, BEFORE)
        plan_and_apply(workspace)
        write_docs(workspace, AFTER)
        yield workspace


def lose_the_lease(workspace: Workspace) -> None:
    with StateStore.write(workspace.settings.state) as state:
        lease = state.lease()
        assert lease is not None
        assert state.unlock(lease.id)
        hold(workspace.settings.state, **ELSEWHERE)


def points_in(index: EmbeddedIndex | ServerIndex, lineage: str) -> list[str]:
    """All of every point, by id."""
    found = index.scroll(lineage=lineage, with_payload=True, with_vectors=True)
    return [f"{point.id} {json.dumps(point.payload, sort_keys=True)} {point.vectors}" for point in found]


def documents(workspace: Workspace) -> list[DocumentRecord]:
    return list(workspace.documents())


@pytest.mark.parametrize(
    "step", ["retrieve or embed", "upsert", "set_payloads", "delete", "flush", "commit_batch", "finish_run"]
)
def test_a_writer_that_loses_its_lease_writes_nothing_after_that(
    workspace: Workspace, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is about to do: the index and the state stay as they are at that moment."""
    index = EmbeddedIndex if workspace.settings.embedded_path else ServerIndex
    lineage = workspace.status().header.lineage
    owner: Any = {"commit_batch": StateStore, "finish_run": StateStore, "retrieve or embed": Bm25Embedder}.get(
        step, index
    )
    name = "embed_documents" if step == "retrieve or embed" else step
    original, describe = getattr(owner, name), index.describe
    opened: list[Any] = []
    found: dict[str, Any] = {}

    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        if not found:
            lose_the_lease(workspace)
            found["points"] = points_in(opened[-1], lineage)  # an embedded one is ours alone as long as it is open
            found["documents"] = documents(workspace)
        return original(self, *arguments, **options)

    monkeypatch.setattr(owner, name, method)
    monkeypatch.setattr(index, "describe", lambda self: opened.append(self) or describe(self))
    plan = workspace.plan(workspace.settings.config.base / "plan.json").plan
    with pytest.raises(LockedError, match="lost its lock on the state to ada on elsewhere"):
        workspace.apply(plan)
    monkeypatch.undo()
    assert documents(workspace) == found["documents"]
    with contextlib.closing(workspace.settings.open_index()) as again:
        assert points_in(again, lineage) == found["points"]

    with StateStore.write(workspace.settings.state) as state:
        assert state.unlock("theirs")
    workspace.apply(plan)
    assert_index_is_a_fresh_load(workspace)


def test_a_writer_that_loses_its_lease_while_it_waits_for_a_server_does_not_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Settings.retries.fget
    assert told is not None
    with serving(StandIn().respond) as server, standing_before(server) as proxy:
        workspace = make_workspace(tmp_path, url=proxy.url)
        write_docs(workspace, BEFORE)
        wait = replace(told(workspace.settings), sleep=lambda _: lose_the_lease(workspace))
        monkeypatch.setattr(Settings, "retries", property(lambda _: wait))
        proxy.break_requests("PUT .*/points$", [refusal(503), Fault()])
        with pytest.raises(LockedError, match="lost its lock"):
            plan_and_apply(workspace)
        assert len(proxy.writes()) == 1


# A writer that sleeps


@contextlib.contextmanager
def stopped_before(where: str, call: int, workspace: Workspace, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real process that stands still right before the n-th call of a method."""
    arguments = [sys.executable, str(SUPPORT / "stopping_writer.py"), where, str(call), "--"]
    config = str(workspace.settings.config.file)
    child = subprocess.Popen([*arguments, "-c", config, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        found = os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert found is not None
        assert found.si_code == os.CLD_STOPPED, child.communicate()
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.mark.parametrize(
    ("where", "call"),
    [
        ("qloader.embedding.bm25:Bm25Embedder.embed_documents", 2),
        ("qloader.index.server:ServerIndex.upsert", 1),
        ("qloader.index.server:ServerIndex.delete", 1),
        ("qloader.state.store:StateStore.commit_batch", 1),
    ],
)
def test_a_writer_that_wakes_after_its_lease_was_taken_writes_nothing_more(
    tmp_path: Path, where: str, call: int
) -> None:
    server = StandIn()
    with serving(server.respond) as url:
        workspace = make_workspace(tmp_path, url=url)
        write_docs(workspace, BEFORE)
        plan_and_apply(workspace)
        write_docs(workspace, AFTER)
        with stopped_before(where, call, workspace, "ingest") as sleeper:
            with pytest.raises(LockedError, match=f"process {sleeper.pid}") as raised:
                plan_and_apply(workspace)
            lease = re.search("unlock ([0-9a-f-]{36})", raised.value.remedy)
            assert lease is not None
            assert workspace.unlock(lease[1])
            write_docs(workspace, OTHER)
            plan_and_apply(workspace, allow_deletes=("docs",))
            assert_index_is_a_fresh_load(workspace)
            requests, before = len(server.requests), documents(workspace)

            sleeper.send_signal(signal.SIGCONT)
            output, _ = sleeper.communicate(timeout=300)
            assert sleeper.returncode == 5, output.decode()
            assert b"lost its lock on the state to" in output
            assert not [r for r in server.requests[requests:] if r.method in ("PUT", "PATCH", "DELETE")]
            assert not [r for r in server.requests[requests:] if r.path.endswith(("/batch", "/delete"))]
            assert documents(workspace) == before
            assert_index_is_a_fresh_load(workspace)


# Readers


@pytest.mark.parametrize("where", ["rows:Totals.write", "store:StateStore.commit_batch"])
def test_readers_never_wait_for_an_apply(workspace: Workspace, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apply stands still, also in the middle of a transaction; nobody who reads the state sleeps for a moment.

    An embedded index is another matter: its one process has it, and a search gives up after a while.
    """
    monkeypatch.setattr(folder_lock.time, "sleep", lambda _: pytest.fail("a reader waits"))
    with stopped_before(f"qloader.state.{where}", 1, workspace, "ingest") as writer:
        assert workspace.plan(workspace.settings.config.base / "reader.json").plan.header.summary.changes
        status = workspace.status()
        assert status.lease is not None
        assert f"process {writer.pid}" in status.lease
        assert [d.id for d in documents(workspace)] == sorted(BEFORE)
        assert workspace.history()[0].status == "running"
        if workspace.settings.embedded_path is None:
            assert workspace.search("little page stays")
        monkeypatch.undo()
        if workspace.settings.embedded_path is not None:
            with pytest.raises(IndexUnavailableError, match="another process has it open") as raised:
                workspace.search("little page stays")
            assert "wait for the other to end, or use a server" in raised.value.remedy
        writer.send_signal(signal.SIGCONT)
        output, _ = writer.communicate(timeout=300)
        assert writer.returncode == 0, output.decode()
    assert_index_is_a_fresh_load(workspace)


# Two at once


def test_who_plans_and_applies_in_one_keeps_others_away_from_before_the_plan(tmp_path: Path) -> None:
    workspace, other = make_workspace(tmp_path), make_workspace(tmp_path)
    write_docs(workspace, BEFORE)
    with workspace.locked():
        with pytest.raises(LockedError):
            plan_and_apply(other)
        plan_and_apply(workspace)
        plan_and_apply(other)
    with pytest.raises(KeyError), workspace.locked():
        raise KeyError
    plan_and_apply(other)
    assert_index_is_a_fresh_load(workspace)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list open files")
def test_the_state_is_not_open_while_who_holds_it_plans(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write_docs(workspace, BEFORE)
    with workspace.locked():
        opened = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)]
        assert not [name for name in opened if "state.db" in name]


def _is_link(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.mark.parametrize("part", range(5))
def test_of_two_schedulers_that_start_in_the_same_second_one_wins_or_both_take_turns(tmp_path: Path, part: int) -> None:
    """Fifty rounds in all, each of two real processes that run `qloader ingest` in the same instant.

    In the first of ten, whoever has the lease goes on when the other one tried to take it.
    """
    workspace = make_workspace(tmp_path)
    config = str(workspace.settings.config.file)
    with subprocess.Popen(
        [sys.executable, str(SUPPORT / "schedulers.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as schedulers:
        assert schedulers.stdin is not None
        assert schedulers.stdout is not None
        for number in range(10):
            write_docs(workspace, {f"{n}.md": f"# Page {n}\n\nRound {part}.{number} at work." for n in range(6)})
            message = {"arguments": ["-c", config, "ingest"], "meet": number == 0}
            print(json.dumps(message), file=schedulers.stdin, flush=True)
            runs = sorted(json.loads(schedulers.stdout.readline()), key=lambda run: int(run["code"]))
            assert [run["code"] for run in runs] in ([0, 5], *([[0, 0]] if number else [])), runs
            if runs[1]["code"] == 5:
                winner = (
                    rf"the state is locked by \S+ on {re.escape(socket.gethostname())} \(process {runs[0]['pid']}\)"
                )
                assert re.search(winner + r" since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", runs[1]["said"]), runs
                assert "qloader state unlock" in runs[1]["said"]
            assert "Apply complete: " in runs[0]["said"]
            assert workspace.status().lease is None
            with workspace.temporary_plan() as result:
                assert result.plan.header.is_empty
            if number in (0, 9):
                assert_index_is_a_fresh_load(workspace)
        schedulers.stdin.close()
    assert workspace.refresh(deep=True).points == ()
