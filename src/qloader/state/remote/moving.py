"""A remote state as a plain file, and a plain file as the remote state."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from qloader.errors import StateError
from qloader.state import database
from qloader.state.reader import StateReader
from qloader.state.records import StateHeader
from qloader.state.remote.session import RemoteStateStore
from qloader.state.store import StateStore


def read_header(file: Path) -> StateHeader:
    """What the state of a file says of itself, whichever qloader wrote it.

    Raises:
        StateError: There is no state in it, or none that anything was applied with.
    """
    header = None
    if file.exists() and file.stat().st_size:
        with database.translated(file), contextlib.closing(database.open_as_it_is(file)) as connection:
            header = StateReader(connection, file).header()
    if header is None:
        raise StateError(
            f"there is no state in {file}",
            remedy="Name a file that `qloader state pull` or `qloader state backup` wrote.",
        )
    return header


def push(state: RemoteStateStore, file: Path, *, force: bool = False) -> StateHeader:
    """Puts the state of a file in the place of the remote one, of which a version is kept.

    Args:
        state: The remote state, open; its lock is taken.
        file: A state.
        force: Also where it has another lineage than the remote one, or is older.

    Returns:
        What it says of itself.

    Raises:
        StateError: The file holds no state, or one of another lineage, or an older one.
        LockedError: Somebody else is writing.
    """
    incoming = read_header(file)
    state.lock()
    known = state.header()
    if known is not None and not force:
        if known.lineage != incoming.lineage:
            raise StateError(
                f"the state in {file} is {incoming.lineage}, and the remote one is {known.lineage}",
                remedy="If it is to take the other's place, push it with --force; the other is kept as a version.",
            )
        if incoming.serial < known.serial:
            raise StateError(
                f"the state in {file} is at serial {incoming.serial}, and the remote one at {known.serial} already",
                remedy="An older state does not know what was applied since. Push it with --force, and plan with "
                "--refresh before anything else; the newer one is kept as a version.",
            )
    state.replace_with(file)
    state.save()
    return incoming


def move_in(state: RemoteStateStore, former: StateStore) -> Path:
    """Makes a state of this machine the remote one; its file is kept under another name.

    Args:
        state: The remote state, open, of which there is none yet; its lock is taken.
        former: The state that is moved, open; its lock is taken, and it is closed.

    Returns:
        Where that file is now.

    Raises:
        LockedError: Somebody is writing one of them.
        StateError: It cannot be read, or not be put.
    """
    state.lock()
    former.lock()
    state.replace_with(former.path)
    state.save()
    former.close()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = former.path.with_name(f"{former.path.name}.moved-{stamp}")
    with database.translated(former.path):
        former.path.rename(kept)
    return kept
