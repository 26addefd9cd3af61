"""Tidying an embedded index up, in a process of its own: it is found faster in afterwards, and opened faster.

The state is locked meanwhile, and the collection is held by the process that does it, so that nobody writes and no
search is answered. Killed at any moment, that process leaves a whole collection: the engine builds what is new beside
what is there, and leaves that alone until the new one is complete. Where this process is killed, that one ends with it
(on Linux; elsewhere it goes on by itself, and keeps the folder's lock until it is done).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from qloader.applying.preconditions import check_state
from qloader.counting import counted
from qloader.errors import ConfigError, IndexUnavailableError
from qloader.index.open import find_target
from qloader.render.progress import NoProgress, Progress
from qloader.workspace.ownership import check_ours
from qloader.workspace.planning import describe_embedded
from qloader.workspace.processes import ask
from qloader.workspace.replacing import check_not_switching
from qloader.workspace.settings import Settings, nothing_applied


@dataclass(frozen=True, slots=True)
class Optimized:
    """What tidying up did.

    Attributes:
        collection: The collection, by its own name.
        points: The state's points in it.
        bytes_before: What it took on the disk.
        bytes: What it takes now.
        seconds: How long it took.
    """

    collection: str
    points: int
    bytes_before: int
    bytes: int
    seconds: float


def optimize(settings: Settings, *, progress: Progress | None = None) -> Optimized:
    """Tidies up the collection that searches ask.

    Args:
        settings: The config and what follows from it.
        progress: Told what goes on.

    Raises:
        ConfigError: The index is on a server.
        StateError: Nothing has been applied yet.
        LockedError: Another writer holds the state.
        ForeignIndexError: The collection is another state's, or gone.
        IndexUnavailableError: Another process has the collection open, the disk has no room, or what tidies up was
            killed.
    """
    path = settings.embedded_path
    if path is None:
        raise ConfigError(
            "only an embedded index (index.path) is tidied up by qloader",
            remedy="A Qdrant server does it by itself, in the background: nothing is to be done.",
        )
    if not settings.has_state():
        raise nothing_applied()
    with settings.write_state(create=False) as state:
        state.lock()
        header = state.header()
        if header is None:
            raise nothing_applied()
        check_state(header, settings.here)
        check_not_switching(header)
        documents = sum(source.documents for source in state.sources())
        check_ours(settings, describe_embedded(settings), header, documents=documents)
        collection = find_target(path, settings.collection)
        task = {
            "path": str(path),
            "collection": collection,
            "lineage": header.lineage,
            "state": settings.state_name,
        }
        begun = time.monotonic()
        with (progress or NoProgress()).phase("optimize", None):
            found = _run(task, collection)
        seconds = time.monotonic() - begun
    if found["points"] != found["points_before"]:
        raise IndexUnavailableError(
            f"the collection {collection} held {counted(found['points_before'], 'point')} before it was tidied up, "
            f"and holds {found['points']:,} now",
            remedy="Run `qloader refresh`, then plan and apply: what is missing is made anew.",
        )
    return Optimized(collection, found["points"], found["bytes_before"], found["bytes"], seconds)


def _run(task: dict[str, Any], collection: str) -> dict[str, Any]:
    """Has a process do it."""
    found = ask("qloader.workspace.optimizer", task)
    if isinstance(found, int):
        raise IndexUnavailableError(
            f"the process that tidied up the collection {collection} ended in the middle of its work",
            remedy="It was killed (out of memory?) or broke down: what it said stands above. The collection is as it "
            "was before; run the same command again, with more memory free: about three times what the collection "
            "takes on the disk.",
        )
    if "error" in found:
        raise IndexUnavailableError(found["error"], remedy=found["remedy"])
    return found
