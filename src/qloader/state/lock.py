"""One writer: the lease in the state. Whoever holds it renews it with each commit."""

from __future__ import annotations

import getpass
import os
import socket
import sqlite3
import time
import uuid
from datetime import UTC, datetime

from qloader.errors import LockedError
from qloader.state.records import Lease

LEASE_MS = 120_000
"""How long a lease lives without being renewed; renewed with each commit and by `keep_alive`."""

_CLOCK_SLACK_MS = 10_000
"""The system tells when a process started by a clock that may have been set since."""


def now_ms() -> int:
    """Milliseconds since 1970 in UTC."""
    return time.time_ns() // 1_000_000


def current_lease(connection: sqlite3.Connection) -> Lease | None:
    """Who holds the state, or None."""
    row = connection.execute("SELECT id, holder, host, pid, since, expires_at FROM lease").fetchone()
    return Lease(*row) if row else None


def acquire(connection: sqlite3.Connection) -> Lease:
    """Takes the lease, from nobody, from a dead process of this host, or from another host where it has run out.

    Raises:
        LockedError: Somebody else holds it; the message says who and since when.
    """
    now = now_ms()
    lease = Lease(str(uuid.uuid4()), _user(), socket.gethostname(), os.getpid(), now, now + LEASE_MS)
    connection.execute("BEGIN IMMEDIATE")
    try:
        held = current_lease(connection)
        if held is not None and not is_abandoned(held, now):
            raise _locked_by(held)  # noqa: TRY301 - the transaction must be rolled back
        connection.execute(
            "INSERT OR REPLACE INTO lease (only_one, id, holder, host, pid, since, expires_at) "
            "VALUES (1, ?, ?, ?, ?, ?, ?)",
            (lease.id, lease.holder, lease.host, lease.pid, lease.since, lease.expires_at),
        )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return lease


def renew(connection: sqlite3.Connection, lease: Lease) -> None:
    """Prolongs the lease, inside the caller's transaction: a writer that lost it can commit nothing.

    Raises:
        LockedError: Somebody else took it meanwhile.
    """
    updated = connection.execute(
        "UPDATE lease SET expires_at = ? WHERE id = ?", (now_ms() + LEASE_MS, lease.id)
    ).rowcount
    if updated != 1:
        held = current_lease(connection)
        taker = f"{held.holder} on {held.host} (process {held.pid})" if held else "`qloader state unlock`"
        raise LockedError(
            f"this run lost its lock on the state to {taker}; it stopped before writing more",
            remedy="Run the same command again: what was committed is kept.",
        )


def release(connection: sqlite3.Connection, lease: Lease) -> None:
    """Gives the lease back; does nothing where it is held by another by now."""
    connection.execute("DELETE FROM lease WHERE id = ?", (lease.id,))


def unlock(connection: sqlite3.Connection, lease_id: str) -> bool:
    """Removes a lease by its id; False where the state is not locked under that id."""
    return connection.execute("DELETE FROM lease WHERE id = ?", (lease_id,)).rowcount == 1


def is_abandoned(lease: Lease, now: int) -> bool:
    """Whether its holder is certainly gone: a dead process of this host, or one elsewhere that did not renew in time.

    A process of this host that lives keeps its lease however long a batch takes it.
    """
    if lease.host != socket.gethostname():
        return now >= lease.expires_at
    return not _is_alive(lease.pid, lease.since)


def _is_alive(pid: int, since: int) -> bool:
    """Whether a process that took a lease at `since` is still there, and not another one under its number.

    In a container that was restarted every process has the number of its predecessor.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        started = process.create_time()
        is_over = process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
    return not is_over and started * 1000 <= since + _CLOCK_SLACK_MS


def _locked_by(held: Lease) -> LockedError:
    is_here = held.host == socket.gethostname()
    runs_out = "." if is_here else f"; its lease runs out at {_clock(held.expires_at)}."
    return LockedError(
        f"the state is locked by {held.holder} on {held.host} (process {held.pid}) since {_clock(held.since)}",
        remedy=f"Wait for it to end. If it is certainly dead, run `qloader state unlock {held.id}`" + runs_out,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
