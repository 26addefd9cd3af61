"""Refresh: what in the index is not as the state says; noted in the state, repaired by the next plan."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from qloader.applying.preconditions import check_pipeline, check_state, check_target
from qloader.errors import ConfigError, ForeignIndexError
from qloader.index.collection_settings import find_differences
from qloader.index.protocol import CollectionInfo, Index
from qloader.refreshing.drift import Drift, find_drift
from qloader.render.progress import NoProgress, Progress
from qloader.state.records import StateHeader, count_held
from qloader.state.store import StateStore
from qloader.workspace.applied import check_comparable, find_applied
from qloader.workspace.ownership import check_marked, check_ours, mark_again
from qloader.workspace.replacing import check_not_switching
from qloader.workspace.settings import Settings, nothing_applied

if TYPE_CHECKING:
    from qloader.embedding.together import Embedders


def refresh(settings: Settings, *, deep: bool = False, progress: Progress | None = None) -> Drift:
    """Compares every point with the state and notes in the state what the next plan has to repair.

    An embedded collection that has lost the file that says whose it is gets it back, where all points are the state's.

    Args:
        settings: The config and what follows from it.
        deep: Compare vectors too, for which every text is embedded again; dense ones as far as the embedding cache has
            them.
        progress: Told what goes on.

    Raises:
        StateError: Nothing has been applied yet.
        LockedError: Another writer holds the state: what it is doing would look like drift.
        ForeignIndexError: The collection is another state's, or gone.
        IndexUnavailableError: The index cannot be read.
    """
    if not settings.has_state():
        raise nothing_applied()
    with settings.write_state(create=False) as state:
        state.lock()
        mark_again(settings, state)
        drift = look_for_drift(settings, state, deep=deep, progress=progress)
        state.replace_drift(drift.intents())
        return drift


def look_for_drift(
    settings: Settings, state: StateStore, *, deep: bool = False, progress: Progress | None = None
) -> Drift:
    """The comparison alone; nothing is written.

    Raises:
        StateError: Nothing has been applied yet.
        ForeignIndexError: The collection is another state's, or gone.
        IndexUnavailableError: The index cannot be read.
    """
    header = state.header()
    if header is None:
        raise nothing_applied()
    check_state(header, settings.here)
    check_not_switching(header)
    sources = state.sources()
    with contextlib.closing(settings.open_index(is_patient=True)) as index:
        documents = count_held(sources)
        if documents:
            check_marked(settings, header)
        info = index.describe()
        _check_target(index, header)
        check_ours(settings, info, header, documents=documents)
        check_pipeline(info, settings.here)
        if info is None:
            return Drift(0, ())
        points = sum(source.chunks for source in sources)
        with (
            (progress or NoProgress()).phase("refresh", points) as phase,
            _embedders(settings, state, index, header) if deep else contextlib.nullcontext() as embedders,
        ):
            drift = find_drift(index, state, lineage=header.lineage, embedders=embedders, advance=phase.advance)
        return replace(drift, settings=_settings_drift(settings, index, info))


def _check_target(index: Index, header: StateHeader) -> None:
    """Refuses to compare a collection that the state does not describe.

    Raises:
        ForeignIndexError: The name stands for another one, or for nothing while the right one is there.
    """
    found = index.target()
    check_target(header, found)
    if found is None and header.target in index.relatives():
        raise ForeignIndexError(
            f"{header.collection} stands for nothing; the collection {header.target} that it stood for is there",
            remedy="The next `qloader apply`, of an empty plan too, lets it stand for that again.",
        )


def _embedders(settings: Settings, state: StateStore, index: Index, header: StateHeader) -> Embedders:
    """What makes the vectors that are there anew; without the dense ones where the config's provider cannot."""
    applied = find_applied(settings, state.pipelines(), index.filled_by() or header.pipeline)
    is_there = settings.has_dense and (applied is None or applied.get("dense") is not None)
    if is_there:
        try:
            check_comparable(settings, applied)
        except ConfigError as error:
            settings.tell(f"Dense vectors are not compared: {error}.")
            is_there = False
    return settings.embedders(dense=is_there, applied=applied)


def _settings_drift(settings: Settings, index: Index, info: CollectionInfo) -> tuple[str, ...]:
    """Where the collection is not kept as the config says, a sentence each."""
    wanted = settings.config.index.settings.given
    differing = find_differences(index.settings(), wanted) if wanted else []
    postponed = (
        ["The indexing is postponed by a bulk load that was cut short: the next apply resumes it."]
        if info.is_postponed
        else []
    )
    return (*(one.as_drift(is_shared=bool(settings.tenant)) for one in differing), *postponed)
