"""Collections beside the live one: the one that was replaced comes back, or is removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from qloader.applying.preconditions import check_index, check_state
from qloader.errors import ForeignIndexError, StateError
from qloader.index.protocol import Index
from qloader.state.records import StateHeader, count_held
from qloader.state.store import StateStore
from qloader.workspace.ownership import check_marked_beside, check_ours
from qloader.workspace.replacing import (
    describes_replaced,
    rebuild_into,
    remove_collection,
    remove_state,
    remove_strangers,
    see_to_target,
    settle,
    switch,
)
from qloader.workspace.running import header_of
from qloader.workspace.settings import Settings, nothing_applied


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback did.

    Attributes:
        target: The collection that searches use now.
        replaced: The one that they used before, which is kept.
        documents: How many documents the former holds.
        serial: The state's serial afterwards.
        is_configured: Whether the config's pipeline is that of the collection; else the next plan replaces it again.
    """

    target: str
    replaced: str
    documents: int
    serial: int
    is_configured: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """The collections that were removed, by their own names."""

    collections: tuple[str, ...]


def roll_back(settings: Settings) -> RolledBack:
    """Lets the collection's name stand again for the collection that was replaced; the present one is kept instead.

    Nothing is embedded and no point is written, so that it takes a moment.

    Raises:
        StateError: Nothing was replaced, or what was is not kept any more.
        LockedError: Another writer holds the state.
        ForeignIndexError: The collection that was replaced is gone, or another's.
        IndexUnavailableError: The index cannot be reached.
    """
    with _opened(settings, is_to_go_back=True) as (state, index, known):
        if not known.replaced:
            raise StateError(
                "there is no collection to go back to: none was replaced, or it was removed since",
                remedy="Set chunking and embedding back, then plan: what the embedding cache holds is not paid again.",
            )
        live = known.target or index.target()
        with contextlib.closing(settings.open_index(is_patient=True, target=known.replaced)) as other:
            info = other.describe()
            if info is not None and info.lineage is None:
                check_marked_beside(settings, known.replaced)
            check_index(info, known, documents=0, collection=known.replaced, state=settings.state_name)
            if info is None or live is None:
                raise ForeignIndexError(
                    f"the collection {known.replaced} is gone, so that nothing can go back to it",
                    remedy="Set chunking and embedding back, then plan and apply.",
                )
            # In a file of its own: the one that is there is written over by the switch.
            file = settings.replacement_state
            remove_state(file)
            if describes_replaced(settings, known):
                settings.replaced_state.replace(file)
            else:  # another machine replaced it
                rebuild_into(file, settings, other, known.lineage, info.pipeline)
        if known.replacement and known.replacement != known.replaced:
            remove_collection(settings, known.replacement, known.lineage, guard=state.confirm)
        run_id = state.begin_other("rollback")
        switch(settings, state, index, run_id, to=known.replaced, live=live, described_by=file)
        remove_state(file)
        state.finish_run(run_id, "complete", summary={})
        header = header_of(state)
        documents = sum(source.documents for source in state.sources())
        return RolledBack(
            target=header.target,
            replaced=header.replaced,
            documents=documents,
            serial=header.serial,
            is_configured=header.pipeline == settings.pipeline.fingerprint,
        )


def prune_collections(settings: Settings) -> Pruned:
    """Removes the collections beside the live one that are this state's: replaced, begun and left, unknown.

    Raises:
        StateError: Nothing has been applied yet.
        LockedError: Another writer holds the state.
        IndexUnavailableError: The index cannot be reached.
    """
    with _opened(settings) as (state, index, known):
        return Pruned(tuple(remove_kept(settings, state, index, known)))


def remove_kept(settings: Settings, state: StateStore, index: Index, known: StateHeader) -> list[str]:
    """Removes whatever is beside the live collection and the state's own; see `prune_collections`."""
    live = index.target()
    removed = [
        name
        for name in (known.replaced, known.replacement)
        if name and name != live and remove_collection(settings, name, known.lineage, guard=state.confirm)
    ]
    state.note(replaced="", replaced_token="", replacement="", replacement_token="")
    for file in (settings.replaced_state, settings.replacement_state):
        remove_state(file)
    return removed + remove_strangers(settings, index, header_of(state), guard=state.confirm)


@contextlib.contextmanager
def _opened(settings: Settings, *, is_to_go_back: bool = False) -> Iterator[tuple[StateStore, Index, StateHeader]]:
    """The state, locked, and the index, both as they were before a switch that was cut short.

    Args:
        settings: The config and what follows from it.
        is_to_go_back: Whether the name may stand for the collection that was replaced already.
    """
    if not settings.has_state():
        raise nothing_applied()
    with (
        settings.write_state(create=False) as state,
        contextlib.closing(settings.open_index(guard=state.confirm, is_patient=True)) as index,
    ):
        state.lock()
        if state.header() is None:
            raise nothing_applied()
        check_state(state.header(), settings.here)
        settle(settings, state, index)
        known = header_of(state)
        see_to_target(settings, index, known, may_be=known.replaced if is_to_go_back else "")
        if index.target() is None:
            documents = count_held(state.sources())
            check_ours(settings, None, known, documents=documents)
        yield state, index, known
