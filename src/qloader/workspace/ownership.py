"""Whether the collection is this state's, and how an embedded one says so again that has lost the file that did.

No engine is loaded but by `mark_again`, since a plan asks too.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.applying.preconditions import check_index
from qloader.errors import ForeignIndexError
from qloader.state.records import StateHeader, count_held
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.index.embedded import EmbeddedIndex
    from qloader.index.protocol import CollectionInfo
    from qloader.state.store import StateStore


def check_ours(settings: Settings, info: CollectionInfo | None, header: StateHeader | None, *, documents: int) -> None:
    """Refuses a collection that is not this state's, or gone while the state says that it holds documents.

    Args:
        settings: The config and what follows from it.
        info: What is there.
        header: What the state says of itself.
        documents: How many documents it says that the collection holds.

    Raises:
        ForeignIndexError: With the ways out.
    """
    if documents and (info is None or info.lineage is None):
        check_marked(settings, header)
    check_index(
        info,
        header,
        documents=documents,
        collection=settings.collection,
        state=settings.state_name,
        tenant=settings.tenant,
    )


def check_marked(settings: Settings, header: StateHeader | None) -> None:
    """Refuses an embedded collection whose points are there, and whose file is gone that says whose they are.

    Args:
        settings: The config and what follows from it.
        header: What a state says of itself that holds documents; None where there is none.

    Raises:
        ForeignIndexError: With the ways out: `refresh` may write it anew.
    """
    if (marker := _find_unmarked(settings, header)) is not None:
        raise _unmarked(
            marker,
            "run `qloader refresh`: where every point is this state's, it writes the file anew."
            if header
            else f"move {marker.parent} away and load it anew.",
        )


def check_marked_beside(settings: Settings, collection: str) -> None:
    """The same for a collection beside the live one, by its own name.

    Raises:
        ForeignIndexError: With the ways out.
    """
    from qloader.index.open import find_unmarked

    path = settings.embedded_path
    if path is not None and (marker := find_unmarked(path, collection, is_itself=True)) is not None:
        raise _unmarked(marker, "set chunking and embedding back, then plan and apply.")


def _unmarked(marker: Path, otherwise: str) -> ForeignIndexError:
    return ForeignIndexError(
        f"{marker} is gone, and so nothing says whose the points beside it are",
        remedy=f"Restore it from a backup, or {otherwise}",
    )


def check_files(settings: Settings) -> None:
    """Refuses an embedded collection whose engine would not open it, as far as its small files tell.

    Raises:
        IndexUnavailableError: One of them is damaged.
    """
    from qloader.index.open import check_files as look_at

    if settings.embedded_path is not None:
        look_at(settings.embedded_path, settings.collection, state=settings.state_name)


def mark_again(settings: Settings, state: StateStore) -> None:
    """Writes the file anew that says whose an embedded collection is, where it is gone and the points say it too.

    Args:
        settings: The config and what follows from it.
        state: The state, locked.

    Raises:
        ForeignIndexError: Some points are not the state's, so that nothing is written.
        IndexUnavailableError: The collection cannot be opened or written.
    """
    header = state.header()
    if header is None or not count_held(state.sources()) or header.is_switching:
        return
    marker = _find_unmarked(settings, header)
    if marker is None:
        return
    from qloader.index.marker import load_anew

    opened: EmbeddedIndex = settings.open_index(guard=state.confirm, target=marker.parent.name)  # type: ignore[assignment]
    with contextlib.closing(opened) as index:
        if not index.mark_again(lineage=header.lineage, pipeline=header.pipeline):
            raise ForeignIndexError(
                f"{marker} is gone, and the points beside it are not all of this state",
                remedy=load_anew(marker.parent, settings.state_name),
            )
    settings.tell(f"{marker} was gone. It is written anew, since every point beside it is this state's.")


def _find_unmarked(settings: Settings, header: StateHeader | None) -> Path | None:
    """The missing file of the collection that the name stands for, or stood for, as the state knows."""
    from qloader.index.open import find_unmarked

    path = settings.embedded_path
    if path is None:
        return None
    marker = find_unmarked(path, settings.collection)
    if marker is None and header is not None and header.target:
        marker = find_unmarked(path, header.target, is_itself=True)
    return marker
