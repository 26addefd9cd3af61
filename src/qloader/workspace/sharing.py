"""A state that several machines share: fetched as a file, put from a file, moved to the store, brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qloader.errors import StateError
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.state.records import StateHeader
    from qloader.state.remote.copy import WorkingCopy


def pull_state(settings: Settings, target: Path) -> Path:
    """Writes the remote state to a file, as a state like any other.

    Raises:
        StateError: There is none, something is at `target`, or the store cannot be reached.
    """
    _remote(settings)
    state = settings.read_state()
    if state is None or state.header() is None:
        raise StateError(
            f"there is no state at {settings.config.state.url} yet", remedy="The first `qloader apply` makes one."
        )
    with state:
        return state.backup(target, permissions=settings.config.state.permissions)


def push_state(settings: Settings, file: Path, *, force: bool = False) -> StateHeader:
    """Puts the state of a file in the place of the remote one, of which a version is kept.

    Args:
        settings: The config and what follows from it.
        file: A state.
        force: Also where it has another lineage than the remote one, or is older.

    Raises:
        StateError: It is no state of this config, of another lineage, or older.
        LockedError: Somebody is writing the remote one.
    """
    from qloader.applying.preconditions import check_state
    from qloader.state.remote import moving

    copy = _remote(settings)
    check_state(moving.read_header(file), settings.here)
    with settings.write_remote_state(copy, create=True, migrate=True, replaces=True) as state:
        return moving.push(state, file, force=force)


def move_state(settings: Settings) -> Path | None:
    """Makes the state of this machine the remote one, where `state.url` was added and there is none yet.

    Returns:
        Where the file is now that was the state; None where there was nothing to move.

    Raises:
        LockedError: Somebody is writing one of them.
        StateError: It cannot be read or put.
    """
    from qloader.state.remote import moving
    from qloader.state.store import StateStore

    copy = settings.working_copy()
    if copy is None or copy.former is None or not copy.has_something_to_move():
        return None
    with (
        settings.write_remote_state(copy, create=True, migrate=True, replaces=True) as state,
        StateStore.write(copy.former, create=False) as former,
    ):
        return moving.move_in(state, former)


def migrate_remote(settings: Settings) -> tuple[int, int]:
    """Brings a remote state that an older qloader wrote up to date, for all machines.

    Returns:
        The schema versions before and after.

    Raises:
        StateError: There is none, or it cannot be migrated or put.
        LockedError: Somebody is writing it.
    """
    from qloader.state.database import read_version

    copy = _remote(settings)
    copy.sync()
    before = read_version(settings.state)
    with settings.write_remote_state(copy, create=False, migrate=True) as state:
        state.lock()
        state.save(always=True)
    return before, read_version(settings.state)


def _remote(settings: Settings) -> WorkingCopy:
    copy = settings.working_copy()
    if copy is None:
        raise StateError(
            "the config names no state.url: its state is a file of this machine",
            remedy="`qloader state backup` copies it.",
        )
    return copy
