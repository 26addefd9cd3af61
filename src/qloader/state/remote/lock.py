"""One writer among all machines: the lease beside the state's object.

The lock is an object of its own, `<name>.lock`. It is never deleted: a lease that is given back is written over with
an empty one. So each step, to take, renew and give back, is one put that names the version it replaces, and of two that
try the same the store lets one through.

Time counts by one clock, the store's. A lease that nobody renewed is as old as its object, and how late it is, the
store says of an object that is written for the purpose. What a holder's or a taker's own clock says never matters.

A process of this machine that can be looked at keeps its lease as long as it lives, and loses it when it is dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from qloader.errors import LockedError, StateError
from qloader.state import lock, process
from qloader.state.records import Lease
from qloader.state.remote.store import ConflictError, Found, RemoteStore, Version

_NOBODY_S = Version('"00000000000000000000000000000000"', "1")
"""A version that no object has."""

_TRIES = 3
_PATIENCE_S = 5.0

_held: set[str] = set()
"""The leases that this very process holds."""


@dataclass(frozen=True, slots=True)
class Note:
    """The lock as it was read.

    Attributes:
        lease: Who holds it; None where it was given back.
        version: Which version of the object this was.
        modified: When it was written, by the store's clock.
    """

    lease: Lease | None
    version: Version
    modified: datetime


def read_lock(store: RemoteStore) -> Note | None:
    """The lock as it is; None where nobody ever took it.

    Raises:
        StateError: The store cannot be reached, or the object is no lock.
    """
    found = store.read(_name(store))
    if not isinstance(found, Found):
        return None
    try:
        facts = json.loads(b"".join(found.chunks))
        lease = Lease(**facts["lease"]) if facts["lease"] else None
    except (ValueError, KeyError, TypeError):
        raise StateError(
            f"the lock {store.url}.lock is cut short, or not qloader's",
            remedy="Make sure that nobody is writing this state, then delete that object.",
        ) from None
    return Note(lease, found.version, found.modified)


def find_holder(store: RemoteStore, now: int) -> Lease | None:
    """Who seems to be writing, for people: a lease that was renewed lately, by this machine's clock.

    Args:
        store: Where the state is.
        now: Milliseconds since 1970.
    """
    note = read_lock(store)
    if note is None or note.lease is None:
        return None
    is_alive = _is_alive(note.lease)
    if is_alive is None:
        is_alive = now - note.modified.timestamp() * 1000 < lock.LEASE_MS
    return note.lease if is_alive else None


def unlock(store: RemoteStore, lease_id: str) -> bool:
    """Takes a lease from whoever holds it; False where it is not held under that id.

    Raises:
        StateError: The store cannot be reached.
    """
    note = read_lock(store)
    if note is None or note.lease is None or note.lease.id != lease_id:
        return False
    try:
        store.put(_name(store), _written(None), over=note.version)
    except ConflictError:  # renewed, or given back meanwhile
        return unlock(store, lease_id)
    return True


class RemoteLock:
    """A lease that this process holds, renewed in the background until it is given back."""

    def __init__(self, store: RemoteStore, lease: Lease, version: Version, taken: float) -> None:
        self.lease = lease
        self._store = store
        self._version = version
        self._renewed = taken
        self._renewed_by_the_clock = time.time()
        self._is_lost = False
        self._turn = threading.Lock()
        self._is_over = threading.Event()
        # A daemon, so that a program that forgets to close the state ends all the same.
        self._thread = threading.Thread(target=self._run, name="qloader-remote-lease", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, store: RemoteStore) -> RemoteLock:
        """Becomes the one writer of a remote state.

        Raises:
            LockedError: Somebody else is.
            StateError: The store cannot be reached, refuses, or knows no conditional writes.
        """
        lease = lock.new_lease(lock.now_ms())
        _held.add(lease.id)  # before anybody can read it and find its holder dead
        try:
            held = cls(store, lease, *_write_first(store, lease))
        except BaseException:
            _held.discard(lease.id)
            raise
        try:
            held._check_store()
        except BaseException:
            held.give_back()
            raise
        return held

    def confirm(self) -> None:
        """Makes sure that this process is still the one writer. Asks the store only where half of the lease is over.

        Raises:
            LockedError: The lease was lost, or could not be renewed in time.
        """
        if self._is_safe():
            return
        with contextlib.suppress(StateError):
            self._renew()
        if not self._is_safe():
            why = "somebody else took it" if self._is_lost else "the store could not be reached in time"
            raise LockedError(
                f"this run lost its lock on the state {self._store.url}: {why}; it stopped before writing more",
                remedy="Run the same command again: what was committed is kept.",
            )

    def give_back(self) -> None:
        """Lets the next one in; does nothing where the lease is another's by now."""
        self._is_over.set()
        # Where the store does not answer a renewal that is under way, the lease runs out by itself.
        if self._turn.acquire(timeout=_PATIENCE_S):
            try:
                if not self._is_lost:
                    with contextlib.suppress(StateError, ConflictError):
                        self._store.put(_name(self._store), _written(None), over=self._version)
                    self._is_lost = True
            finally:
                self._turn.release()
        _held.discard(self.lease.id)

    def _is_safe(self) -> bool:
        if self._is_lost:
            return False
        # The wall clock too: a machine that slept may not count that on the other.
        passed = max(_now() - self._renewed, time.time() - self._renewed_by_the_clock)
        return passed * 1000 < lock.LEASE_MS / 2

    def _renew(self) -> None:
        with self._turn:
            if self._is_lost:
                return
            started, by_the_clock = _now(), time.time()
            text = _written(replace(self.lease, expires_at=lock.now_ms() + lock.LEASE_MS))
            for _ in range(_TRIES):
                try:
                    self._version = self._store.put(_name(self._store), text, over=self._version)
                except ConflictError:
                    note = read_lock(self._store)
                    if note is None or note.lease is None or note.lease.id != self.lease.id:
                        self._is_lost = True
                        return
                    self._version = note.version  # our own put, whose answer was lost: once more, to be sure of when
                else:
                    self._renewed, self._renewed_by_the_clock = started, by_the_clock
                    return

    def _run(self) -> None:
        while not self._is_over.wait(lock.RENEW_MS / 1000):
            # Whoever writes asks `confirm`, which tries once more and says so; here nobody would hear it.
            with contextlib.suppress(StateError):
                self._renew()
            if self._is_lost:
                return

    def _check_store(self) -> None:
        """Makes sure that the store refuses what it must refuse: twice the same lock, and a version that is not there.

        Raises:
            StateConnectionError: It does not.
        """
        with self._turn:
            text = _written(self.lease)
            for over, what in ((None, "an object that exists was created anew"), (_NOBODY_S, "a wrong ETag passed")):
                try:
                    self._version = self._store.put(_name(self._store), text, over=over)
                except ConflictError:
                    continue
                raise self._store.unfit(what)


def _write_first(store: RemoteStore, lease: Lease) -> tuple[Version, float]:
    """Writes a lease where there is none, or an abandoned one; which version that became, and when it was begun."""
    note = read_lock(store)
    for _ in range(_TRIES):
        if note is not None and note.lease is not None and not _is_abandoned(store, note):
            raise _locked_by(store, note.lease)
        begun = _now()
        try:
            return store.put(_name(store), _written(lease), over=note.version if note else None), begun
        except ConflictError:
            note = read_lock(store)
            if note is not None and note.lease is not None and note.lease.id == lease.id:
                return note.version, begun  # our own put, whose answer was lost
    raise LockedError(
        f"the state {store.url} is locked by others again and again",
        remedy="Wait for them to end, and run the command again.",
    )


def _is_abandoned(store: RemoteStore, note: Note) -> bool:
    """Whether the holder is certainly dead, or has not renewed its lease for as long as one lasts."""
    assert note.lease is not None
    is_alive = _is_alive(note.lease)
    if is_alive is not None:
        return not is_alive
    return _store_time(store) - note.modified >= timedelta(milliseconds=lock.LEASE_MS)


def _is_alive(lease: Lease) -> bool | None:
    """Whether the process that took it lives; None where it cannot be looked at from here.

    The host's name says nothing: those of machines that are made for one job are often the same.
    """
    if not lease.machine or lease.machine != process.machine():
        return None
    if lease.pid == os.getpid():
        return lease.id in _held
    return process.is_running(lease.pid, lease.started)


def _store_time(store: RemoteStore) -> datetime:
    """What the store's clock says."""
    name = f"{_name(store)}.{uuid.uuid4().hex[:12]}"
    store.overwrite(name, b"what time is it\n")
    try:
        return store.modified(name)
    finally:
        store.delete(name)


def _name(store: RemoteStore) -> str:
    return f"{store.name}.lock"


def _written(lease: Lease | None) -> bytes:
    # No two are alike, so that no two versions bear one ETag.
    return json.dumps({"lease": asdict(lease) if lease else None, "write": str(uuid.uuid4())}, indent=1).encode()


def _now() -> float:
    """Seconds on a clock that nobody sets, and that goes on while the machine sleeps where the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _locked_by(store: RemoteStore, lease: Lease) -> LockedError:
    ends = "" if _is_alive(lease) else "; a holder that died elsewhere loses it two minutes after it last renewed it"
    return LockedError(
        f"the state {store.url} is locked by {lease.holder} on {lease.host} (process {lease.pid}) since "
        f"{lock.clock_text(lease.since)}",
        remedy=f"Wait for it to end. If it is certainly dead, run `qloader state unlock {lease.id}`{ends}.",
    )
