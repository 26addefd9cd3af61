"""One writer: the lease in the state.

Whoever holds it renews it with each commit, and in the background (renewing.py). A process that can be looked at keeps
its lease as long as it lives. For one elsewhere time decides, and clocks may differ or be set, in three ways:

- by `expires_at`, which the holder wrote by its clock;
- by `seen_at`: whoever is refused writes down when, and a lease that was not renewed for as long as a lease lasts,
  by the clock of those who want it, has run out too. So none is eternal because a clock was ahead when it was taken;
- a holder that lives and loses its lease to a wrong clock finds out before it writes again (`StateStore.confirm`).
"""

from __future__ import annotations

import getpass
import os
import socket
import sqlite3
import time
import uuid
from datetime import UTC, datetime

from qloader.errors import LockedError
from qloader.state import process
from qloader.state.records import Lease

LEASE_MS = 120_000
"""How long a lease lives without being renewed."""

RENEW_MS = 30_000
"""How often it is renewed in the background."""

_held: set[str] = set()
"""The leases that this very process holds."""


def now_ms() -> int:
    """Milliseconds since 1970 in UTC."""
    return time.time_ns() // 1_000_000


def current_lease(connection: sqlite3.Connection) -> Lease | None:
    """Who holds the state, or None."""
    row = connection.execute(
        "SELECT id, holder, host, pid, since, expires_at, machine, started, seen_at FROM lease"
    ).fetchone()
    return Lease(*row) if row else None


def new_lease(now: int) -> Lease:
    """A lease of this process, taken at a time (milliseconds since 1970), that nobody knows of yet."""
    pid = os.getpid()
    return Lease(
        id=str(uuid.uuid4()),
        holder=_user(),
        host=socket.gethostname(),
        pid=pid,
        since=now,
        expires_at=now + LEASE_MS,
        machine=process.machine(),
        started=process.start_of(pid),
    )


def acquire(connection: sqlite3.Connection) -> Lease:
    """Takes the lease, from nobody, from a dead process of this host, or from elsewhere where it has run out.

    Raises:
        LockedError: Somebody else holds it; the message says who and since when.
    """
    now = now_ms()
    lease = new_lease(now)
    connection.execute("BEGIN IMMEDIATE")
    try:
        held = current_lease(connection)
        is_free = held is None or is_abandoned(held, now)
        if is_free:
            connection.execute(
                "INSERT OR REPLACE INTO lease (only_one, id, holder, host, pid, since, expires_at, machine, started) "
                "VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    lease.id, lease.holder, lease.host, lease.pid, lease.since, lease.expires_at, lease.machine,
                    lease.started,
                ),
            )  # fmt: skip
        else:
            # A time to come: this clock was set back since.
            connection.execute("UPDATE lease SET seen_at = ? WHERE seen_at IS NULL OR seen_at > ?", (now, now))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if held is not None and not is_free:
        raise locked_by(held, now)
    _held.add(lease.id)
    return lease


def renew(connection: sqlite3.Connection, lease: Lease) -> None:
    """Prolongs the lease, inside the caller's transaction if there is one: a writer that lost it can commit nothing.

    Raises:
        LockedError: Somebody else took it meanwhile.
    """
    updated = connection.execute(
        "UPDATE lease SET expires_at = ?, seen_at = NULL WHERE id = ?", (now_ms() + LEASE_MS, lease.id)
    ).rowcount
    if updated != 1:
        held = current_lease(connection)
        taker = f"{held.holder} on {held.host} (process {held.pid})" if held else "`qloader state unlock`"
        raise LockedError(
            f"this run lost its lock on the state to {taker}; it stopped before writing more",
            remedy="Run the same command again: what was committed is kept.",
        )


def is_safe(connection: sqlite3.Connection, lease: Lease) -> bool:
    """Whether nobody can take the lease for a while: for half of its life, by a clock that was not set."""
    row = connection.execute("SELECT expires_at FROM lease WHERE id = ?", (lease.id,)).fetchone()
    return row is not None and LEASE_MS // 2 <= row[0] - now_ms() <= LEASE_MS


def release(connection: sqlite3.Connection, lease: Lease) -> None:
    """Gives the lease back; does nothing where it is held by another by now."""
    _held.discard(lease.id)
    connection.execute("DELETE FROM lease WHERE id = ?", (lease.id,))


def unlock(connection: sqlite3.Connection, lease_id: str) -> bool:
    """Removes a lease by its id; False where the state is not locked under that id."""
    return connection.execute("DELETE FROM lease WHERE id = ?", (lease_id,)).rowcount == 1


def is_abandoned(lease: Lease, now: int) -> bool:
    """Whether its holder is certainly gone, or was not heard of for as long as a lease lasts.

    A process that can be looked at keeps its lease however long a batch takes it.
    """
    lives = is_alive(lease)
    return now >= _end(lease, lease.seen_at or now) if lives is None else not lives


def _end(lease: Lease, seen_at: int) -> int:
    """When a lease that is not renewed runs out, if it was seen unrenewed at a time."""
    return min(lease.expires_at, seen_at + LEASE_MS)


def is_alive(lease: Lease) -> bool | None:
    """Whether the process that took the lease lives; None where it cannot be looked at from here."""
    here = process.machine()
    if lease.pid == os.getpid() and lease.machine in ("", here) and lease.host == socket.gethostname():
        # What is not held could not be given back (the disk was full, say), or another process had this number.
        return lease.id in _held
    if lease.machine and lease.machine == here:
        return process.is_running(lease.pid, lease.started)
    if lease.host != socket.gethostname():
        return None
    if lease.machine and here:
        # The same host: started again since, or another container that bears its name.
        return False if process.boot_of(lease.machine) != process.boot_of(here) else None
    return process.is_older(lease.pid, lease.since / 1000)


def locked_by(held: Lease, now: int) -> LockedError:
    """The error of whoever wants a lease that somebody has."""
    is_elsewhere = is_alive(held) is None
    ends = f"; unless it is renewed, its lease runs out at {clock_text(_end(held, held.seen_at or now))}"
    return LockedError(
        f"the state is locked by {held.holder} on {held.host} (process {held.pid}) since {clock_text(held.since)}",
        remedy="Wait for it to end. If it is certainly dead, run "
        f"`qloader state unlock {held.id}`" + (ends if is_elsewhere else "") + ".",
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def clock_text(milliseconds: int) -> str:
    """A time, milliseconds since 1970, for people."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
