"""What changed in a git history: since a moment, or between two commits."""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush

from qloader.sources.git_objects import CORRUPT, FOLDER, Commit, Objects


def changed_since(objects: Objects, commit: bytes, seconds: float, shallow: Collection[bytes]) -> set[bytes] | None:
    """The ids of all blobs that commits since a moment put into the tree.

    Commits are those of `git log --since`: newest first by committer date, up to the first that is older. A merge
    counts with all that it brought to its first parent, since what it merged may have older dates.

    Args:
        objects: The repository's objects.
        commit: Where the history is read from.
        seconds: The moment, in seconds since 1970.
        shallow: Commits whose parents were not cloned.

    Returns:
        The ids; None where the history that was cloned does not reach back so far.
    """
    found: set[bytes] = set()
    seen = {commit}
    queue: list[tuple[int, bytes, Commit]] = []
    try:
        first = objects.commit(commit)
        heappush(queue, (-first.time, commit, first))
        while queue:
            _, sha, at = heappop(queue)
            if at.time < seconds:
                break
            if sha in shallow:
                return None
            parents = [(parent, objects.commit(parent)) for parent in at.parents]
            found |= changed_between(objects, parents[0][1].tree if parents else None, at.tree)
            for parent, value in parents:
                if parent not in seen:
                    seen.add(parent)
                    heappush(queue, (-value.time, parent, value))
    except CORRUPT:
        return None  # cut off without a word, as a partial clone may be
    return found


def changed_between(objects: Objects, before: bytes | None, after: bytes) -> set[bytes]:
    """The ids of all blobs that one tree has in a place where the other has not; only folders that differ are read."""
    found: set[bytes] = set()
    folders: list[tuple[bytes | None, bytes]] = [(before, after)]
    while folders:
        old, new = folders.pop()
        if old == new:
            continue
        known = objects.raw_entries(old) if old is not None else {}
        for name, (kind, sha) in objects.raw_entries(new).items():
            earlier = known.get(name)
            if earlier is not None and earlier[1] == sha:
                continue
            if kind == FOLDER:
                folders.append((earlier[1] if earlier is not None and earlier[0] == FOLDER else None, sha))
            else:
                found.add(sha)
    return found
