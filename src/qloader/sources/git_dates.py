"""When each path of a git tree last changed, found by one walk back through the history."""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush
from typing import NamedTuple

from qloader.sources.git_objects import CORRUPT, FOLDER, Commit, Objects
from qloader.sources.times import utc_time

MANY = 30
"""Files of a folder that one commit changed from which the folder is remembered in their place, where they are most of
them: of a folder in which few change each time, every look at a file would go through all those commits."""


class _Dated(NamedTuple):
    """A change: of one file, or of many in a folder.

    Attributes:
        commit: The number of the commit, the newest first.
        time: Its time.
        tree: Of a folder: its tree then.
        others: The trees that the parents had there; empty where all below the folder came with the commit.
    """

    commit: int
    time: int
    tree: bytes = b""
    others: tuple[bytes, ...] = ()


class Dates:
    """Dates paths as of one commit. The walk goes on only as far as the paths asked for need.

    A path's date is the committer date of the newest commit that changed it; a merge changes a path only
    if it differs from what every parent has. Commits are taken newest first, equal dates by id, so the
    answer depends on the history alone.

    Of a folder that no parent had, or in which many files changed, the folder alone is remembered: a first commit of a
    million files is one entry.
    """

    def __init__(self, objects: Objects, commit: bytes, *, bound: int, shallow: Collection[bytes]) -> None:
        """Starts at a commit.

        Args:
            objects: The repository's objects.
            commit: The commit whose paths are dated.
            bound: How many commits are looked at, at most.
            shallow: Commits whose parents were not cloned: what they changed cannot be known.
        """
        self._objects = objects
        self._bound = bound
        self._shallow = shallow
        self._files: dict[bytes, _Dated] = {}
        self._folders: dict[bytes, list[_Dated]] = {}
        self._commits = 0
        self._queue: list[tuple[int, bytes, Commit]] = []
        self._seen: set[bytes] = set()
        self._push(commit)

    def date(self, path: bytes) -> str | None:
        """The time of a path's last change, ISO 8601 in UTC; None where the walk ends before it is found."""
        found = self._find(path)
        while found is None and self._queue and self._bound > 0:
            self._bound -= 1
            _, sha, commit = heappop(self._queue)
            self._commits += 1
            self._look_at(sha, commit)
            found = self._find(path, only_last=True)
        return None if found is None else utc_time(found.time)

    def _find(self, path: bytes, *, only_last: bool = False) -> _Dated | None:
        """What is known of a path's last change: of the newest commit that changed it alone, or with its folder.

        Args:
            path: The path.
            only_last: Look only at what the last commit changed; the others are known not to have changed it.
        """
        found = self._files.get(path)
        at = len(path)
        while self._folders and at >= 0:
            at = path.rfind(b"/", 0, at)
            folders = self._folders.get(path[: at + 1], [])
            for folder in folders[-1:] if only_last else folders:
                if found is not None and found.commit <= folder.commit:
                    break
                if self._changed(folder, path[at + 1 :]):
                    found = folder
                    break
        return found

    def _changed(self, folder: _Dated, path: bytes) -> bool:
        """Whether the file at a path below a folder is one of those that changed with it."""
        entries, tree = self._objects.raw_entries, folder.tree
        *between, name = path.split(b"/")
        if folder.others and between:
            return False  # of the folders below it, each is remembered by itself
        try:
            for part in between:
                kind, tree = entries(tree).get(part, (0, b""))
                if kind != FOLDER:
                    return False
            kind, sha = entries(tree).get(name, (FOLDER, b""))
            before = (entries(other).get(name) for other in folder.others)
            return kind != FOLDER and all(old is None or old[1] != sha for old in before)
        except CORRUPT:
            return False  # a date is worth less than the document: it stays unknown

    def _push(self, sha: bytes) -> Commit | None:
        try:
            commit = self._objects.commit(sha)
        except CORRUPT:
            return None
        if sha not in self._seen:
            self._seen.add(sha)
            heappush(self._queue, (-commit.time, sha, commit))
        return commit

    def _look_at(self, sha: bytes, commit: Commit) -> None:
        if sha in self._shallow:
            return
        parents = [self._push(parent) for parent in commit.parents]
        if any(parent is None for parent in parents):
            return  # cut off without a word, as a partial clone may be
        trees = tuple(parent.tree for parent in parents if parent is not None)
        try:
            self._record_changes(commit, trees)
        except CORRUPT:
            return  # a date is worth less than the document: it stays unknown

    def _record_changes(self, commit: Commit, parents: tuple[bytes, ...]) -> None:
        """Records what differs from every parent; only folders that differ are read."""
        folders: list[tuple[bytes, bytes, tuple[bytes, ...]]] = [(b"", commit.tree, parents)]
        entries, dated = self._objects.raw_entries, _Dated(self._commits, commit.time)
        while folders:
            base, tree, others = folders.pop()
            if tree in others:
                continue
            if not others:
                self._folders.setdefault(base, []).append(dated._replace(tree=tree))
                continue
            before = [entries(other) for other in others]
            files = []
            for name, (kind, sha) in entries(tree).items():
                olds = [old for entry in before if (old := entry.get(name)) is not None]
                if any(old[1] == sha for old in olds):
                    continue
                if kind == FOLDER:
                    folders.append((base + name + b"/", sha, tuple(s for k, s in olds if k == FOLDER)))
                else:
                    files.append(base + name)
            if len(files) > MANY and len(files) > len(entries(tree)) // 2:
                self._folders.setdefault(base, []).append(dated._replace(tree=tree, others=others))
                continue
            for path in files:
                self._files.setdefault(path, dated)
