"""What changed in a git history: since a moment, or between two commits."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heappop, heappush

from qloader.sources.git_objects import CORRUPT, FILE, FOLDER, LINK, Commit, Entry, Objects
from qloader.sources.protocol import Step, UnfollowableError
from qloader.sources.selection import Selection


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


def follow_tree(objects: Objects, before: bytes, after: bytes, selection: Selection) -> Iterator[Step]:
    """What became of the selected files from one tree to another; only folders that differ are read.

    Raises:
        UnfollowableError: A link, a submodule or a name that is no document's lies in one of them.
        Exception: A tree is missing or damaged: one of `CORRUPT`.
    """
    selects = selection.selects
    folders: list[tuple[str, bytes | None, bytes | None]] = [("", before, after)]
    while folders:
        base, old, new = folders.pop()
        if old == new or (base and selection.excludes_folder(base[:-1])):
            continue
        earlier, later = _selectable(objects, old, base, selection), _selectable(objects, new, base, selection)
        for path, entry in later.items():
            known = earlier.pop(path, None)
            if known is not None and (known.kind, known.sha) == (entry.kind, entry.sha):
                continue
            folder = known.sha if known is not None and known.kind == FOLDER else None
            if entry.kind == FOLDER:
                folders.append((path + "/", folder, entry.sha))
                if known is not None and folder is None and selects(path):
                    yield Step(path, None)
                continue
            if folder is not None:
                folders.append((path + "/", folder, None))
            if selects(path):
                yield Step(path, entry.sha.decode())
        for path, known in earlier.items():
            if known.kind == FOLDER:
                folders.append((path + "/", known.sha, None))
            elif selects(path):
                yield Step(path, None)


def _selectable(objects: Objects, tree: bytes | None, base: str, selection: Selection) -> dict[str, Entry]:
    """The files and folders in a folder, by path, without links that are no documents."""
    found: dict[str, Entry] = {}
    for entry in objects.entries(tree) if tree is not None else ():
        if entry.name is None:
            raise UnfollowableError
        path = base + entry.name
        if entry.kind in (FILE, FOLDER):
            found[path] = entry
            continue
        is_wanted = selection.selects(path) if entry.kind == LINK else not selection.excludes_folder(path)
        if is_wanted:
            raise UnfollowableError
    return found
