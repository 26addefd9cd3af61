"""The lock of all machines: who gets it, who keeps it, and what clocks have to do with it (nothing but the store's)."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from qloader.errors import LockedError, StateError
from qloader.index.embedded import EmbeddedIndex
from qloader.state import lock, process
from qloader.state.remote import lock as remote_lock
from qloader.state.remote.lock import RemoteLock, find_holder, unlock
from qloader.state.remote.store import RemoteStore, open_store
from support.command_line import wait_until
from support.runners import NAME, URL, Team, some_pages
from support.s3_loopback import DOWN, KEYS, LOST_ANSWER, S3
from support.workspaces import dump, plan_and_apply

YEAR = 365 * 24 * 3_600_000
LOCK = f"{NAME}.lock"


@pytest.fixture
def store(s3: S3) -> RemoteStore:
    return open_store(URL, {"endpoint": s3.url, **KEYS})


@pytest.fixture
def elsewhere(s3: S3, store: RemoteStore) -> Any:
    """Makes the lock held by a process of another machine, with these facts."""

    def hold(**facts: Any) -> None:
        now = lock.now_ms()
        lease = {
            "id": "theirs", "holder": "ada", "host": "elsewhere", "pid": 7, "since": now,
            "expires_at": now + lock.LEASE_MS, "machine": "another-boot pid:[1]", "started": "1", "seen_at": None,
            **facts,
        }  # fmt: skip
        s3.write(LOCK, json.dumps({"lease": lease, "write": "1"}).encode())

    return hold


def is_free(store: RemoteStore) -> bool:
    """Whether a writer would get the lock now; it is given back."""
    try:
        RemoteLock.take(store).give_back()
    except LockedError:
        return False
    return True


@pytest.mark.parametrize("skew", [-YEAR, 0, YEAR])
def test_what_the_holder_s_clock_said_makes_its_lease_neither_longer_nor_shorter(
    s3: S3, store: RemoteStore, elsewhere: Any, skew: int
) -> None:
    elsewhere(since=lock.now_ms() + skew, expires_at=lock.now_ms() + skew + lock.LEASE_MS)
    assert not is_free(store)
    s3.make_older(LOCK, lock.LEASE_MS / 1000 - 5)
    assert not is_free(store)
    s3.make_older(LOCK, 6)
    assert is_free(store)


@pytest.mark.parametrize("skew", [-YEAR, YEAR])
def test_nor_does_what_the_clock_of_the_one_who_asks_says(
    store: RemoteStore, elsewhere: Any, monkeypatch: pytest.MonkeyPatch, skew: int
) -> None:
    elsewhere()
    true_now = lock.now_ms
    monkeypatch.setattr(lock, "now_ms", lambda: true_now() + skew)
    assert not is_free(store)


def test_a_host_of_the_same_name_and_process_number_elsewhere_is_not_taken_for_dead(
    store: RemoteStore, elsewhere: Any
) -> None:
    import socket

    elsewhere(host=socket.gethostname(), pid=2_000_000_000)
    assert not is_free(store)


def test_a_dead_process_of_this_machine_holds_nothing(store: RemoteStore, elsewhere: Any) -> None:
    if not process.machine():
        pytest.skip("the system does not say which boot this is")
    elsewhere(machine=process.machine(), pid=2_000_000_000)
    assert is_free(store)


def test_whoever_asks_the_store_for_its_time_leaves_nothing_behind(s3: S3, store: RemoteStore, elsewhere: Any) -> None:
    elsewhere()
    assert not is_free(store)
    assert list(s3.objects) == [LOCK]


def test_one_who_is_refused_is_told_who_has_it_and_since_when(store: RemoteStore, elsewhere: Any) -> None:
    elsewhere()
    with pytest.raises(
        LockedError, match=f"the state {URL} is locked by ada on elsewhere \\(process 7\\) since"
    ) as told:
        RemoteLock.take(store)
    assert "`qloader state unlock theirs`" in told.value.remedy
    assert not unlock(store, "another")
    assert unlock(store, "theirs")
    assert is_free(store)


def test_a_lock_whose_answer_was_lost_is_held(s3: S3, store: RemoteStore) -> None:
    s3.trouble("PUT .*lock$", [LOST_ANSWER])
    held = RemoteLock.take(store)
    assert find_holder(store, lock.now_ms()).id == held.lease.id
    s3.trouble("PUT .*lock$", [LOST_ANSWER])
    held._renew()
    held.confirm()
    held.give_back()
    assert find_holder(store, lock.now_ms()) is None


def test_the_background_renews_it_again_and_again(s3: S3, store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEW_MS", 5)
    held = RemoteLock.take(store)
    first = held._version
    wait_until(lambda: sum(seen.method == "PUT" and seen.status == 200 for seen in s3.seen) > 4)
    held.confirm()
    held.give_back()
    assert held._version != first


def test_one_that_is_lost_is_told_before_the_next_write(s3: S3, store: RemoteStore, elsewhere: Any) -> None:
    held = RemoteLock.take(store)
    elsewhere()
    held.confirm()  # nobody looks at each write, but for half of the lease's life
    held._renewed -= lock.LEASE_MS / 2000
    with pytest.raises(LockedError, match="somebody else took it"):
        held.confirm()
    held.give_back()
    assert json.loads(s3.read(LOCK))["lease"]["id"] == "theirs"


def test_one_that_cannot_be_renewed_is_given_up_at_half_of_its_life(s3: S3, store: RemoteStore) -> None:
    held = RemoteLock.take(store)
    held._renewed_by_the_clock -= lock.LEASE_MS / 2000  # this machine slept
    s3.trouble("PUT", [DOWN] * 9)
    with pytest.raises(LockedError, match="could not be reached in time"):
        held.confirm()
    s3.mend()
    held.confirm()
    held.give_back()


def test_an_apply_that_lost_the_lock_writes_nothing_more_to_the_index(
    team: Team, s3: S3, elsewhere: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.write(some_pages(6))
    runner = team.runner("first")
    original, calls = EmbeddedIndex.upsert, []

    def upsert(index: EmbeddedIndex, points: Any) -> None:
        calls.append(True)
        if len(calls) == 2:
            elsewhere()
            monkeypatch.setattr(remote_lock, "_now", lambda: float("inf"))
        original(index, points)

    monkeypatch.setattr(EmbeddedIndex, "upsert", upsert)
    with pytest.raises(LockedError, match="lost its lock"):
        plan_and_apply(runner)
    monkeypatch.undo()
    s3.make_older(LOCK, lock.LEASE_MS / 1000)
    heir = team.runner("heir")
    assert len(dump(heir)) == 2, "the first batch"
    plan_and_apply(heir)
    team.assert_all_is_well(heir)


@pytest.mark.parametrize("text", [b"", b'{"lease": {"id"', b"<html>", b"{}", b'{"lease": {"x": 1}}'])
def test_a_lock_that_is_none_is_told(s3: S3, store: RemoteStore, text: bytes) -> None:
    s3.write(LOCK, text)
    with pytest.raises(StateError, match="is cut short, or not qloader's"):
        RemoteLock.take(store)


def test_of_two_that_take_it_in_the_same_instant_one_gets_it(store: RemoteStore, s3: S3, tmp_path: Path) -> None:
    for _ in range(int(os.environ.get("QLOADER_RACES", "10"))):
        gate = threading.Barrier(3)
        held: list[RemoteLock] = []

        def race(gate: threading.Barrier = gate, held: list[RemoteLock] = held) -> None:
            mine = open_store(URL, {"endpoint": s3.url, **KEYS})
            gate.wait()
            with contextlib.suppress(LockedError):
                held.append(RemoteLock.take(mine))

        threads = [threading.Thread(target=race) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(held) == 1
        held[0].give_back()
