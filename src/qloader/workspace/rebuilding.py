"""`state rebuild`: a lost or broken state from the points in the index."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qloader.applying.preconditions import check_kind
from qloader.counting import counted
from qloader.errors import ForeignIndexError, StateError
from qloader.index.protocol import Index
from qloader.refreshing.rebuild import read_documents
from qloader.render.progress import NoProgress, Progress
from qloader.state.records import StateIdentity, count_held
from qloader.state.store import StateStore
from qloader.workspace.ownership import check_marked
from qloader.workspace.settings import Settings


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found.

    Attributes:
        lineage: The lineage of the rebuilt state: the collection's own.
        documents: How many documents it holds.
        backup: Where the state that was there before was copied to; None where there was none.
    """

    lineage: str
    documents: int
    backup: str | None


def rebuild_state(settings: Settings, *, progress: Progress | None = None) -> Rebuilt:
    """Writes the state anew from what the points in the index say of themselves. The index is only read.

    Raises:
        ForeignIndexError: There is no collection, or qloader did not make it; of a shared one: the tenant has no point.
        StateError: The state at hand belongs to another lineage and holds documents.
        LockedError: Another writer holds the state.
        IndexUnavailableError: The index cannot be read.
    """
    with contextlib.ExitStack() as stack:
        # Before the index is looked at: whoever writes the state may hold that too, and it is the state that tells who.
        state = stack.enter_context(_locked(settings)) if settings.has_state() else None
        index = stack.enter_context(contextlib.closing(settings.open_index(is_patient=True)))
        info = index.describe()
        if info is not None:
            check_kind(info, settings.collection, settings.tenant)
        if info is not None and info.is_shared and info.lineage is None:
            raise ForeignIndexError(
                f"no point of the tenant {settings.tenant} is in the collection {settings.collection} at "
                f"{settings.config.index.location}, so that no state can be rebuilt from it",
                remedy="Check index.tenant, index.url and index.collection.",
            )
        if info is not None and info.lineage is None:
            check_marked(settings, state.header() if state and count_held(state.sources()) else None)
        if info is None or info.lineage is None:
            what = "there is no collection" if info is None else "qloader did not make the collection"
            where = f"{settings.collection} at {settings.config.index.location}"
            raise ForeignIndexError(
                f"{what} {where}, so that no state can be rebuilt from it",
                remedy="Check index.path, index.url and index.collection.",
            )
        if state is None:  # made no sooner: what cannot be rebuilt leaves no state behind
            state = stack.enter_context(_locked(settings))
        header = state.header()
        documents = sum(source.documents for source in state.sources())
        if header is not None and documents and header.lineage != info.lineage:
            raise StateError(
                f"the state {settings.state} is {header.lineage} and holds {counted(documents, 'document')}; "
                + (f"the tenant {settings.tenant} of " if settings.tenant else "")
                + f"the collection {settings.collection} belongs to {info.lineage}",
                remedy="Move the state file away first if it is really not needed, then rebuild.",
            )
        backup = None if header is None else str(state.backup(permissions=settings.config.state.permissions))
        points = index.count(lineage=info.lineage) if info.is_shared else info.points
        with (progress or NoProgress()).phase("rebuild", points) as phase:
            count = fill_from_points(settings, state, index, info.lineage, info.pipeline, advance=phase.advance)
    return Rebuilt(info.lineage, count, backup)


def fill_from_points(
    settings: Settings,
    state: StateStore,
    index: Index,
    lineage: str,
    pipeline: str | None,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> int:
    """Writes what a state says of documents anew from the points of a collection.

    Args:
        settings: The config and what follows from it.
        state: The state, locked; what it knows of pipelines is kept.
        index: The collection.
        lineage: Whose points are read.
        pipeline: The fingerprint that the collection was filled with; the config's where nobody knows.
        advance: Called with the number of points read, for progress.

    Returns:
        How many documents the state holds now.
    """
    ours = settings.pipeline
    identity = StateIdentity(
        name=settings.config.name,
        lineage=lineage,
        collection=settings.collection,
        location=settings.config.index.location,
        pipeline=pipeline or ours.fingerprint,
        settings={**state.pipelines(), ours.fingerprint: ours.parts},
        tenant=settings.tenant,
    )
    with read_documents(index, lineage, tenant=settings.tenant, advance=advance) as found:
        count = state.replace_all(identity, ((f.source_type, f.document, f.intents) for f in found))
    state.note(target=index.target() or "")
    return count


@contextlib.contextmanager
def _locked(settings: Settings) -> Iterator[StateStore]:
    """The state, opened or made, with this process as its one writer."""
    with settings.write_state(create=True) as state:
        state.lock()
        yield state
