"""When each path of a git tree last changed, found by one walk back through the history."""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush

from qloader.sources.git_objects import CORRUPT, FOLDER, Commit, Objects
from qloader.sources.times import utc_time


class Dates:
    """Dates paths as of one commit. The walk goes on only as far as the paths asked for need.

    A path's date is the committer date of the newest commit that changed it; a merge changes a path only
    if it differs from what every parent has. Commits are taken newest first, equal dates by id, so the
    answer depends on the history alone.
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
        self._dated: dict[bytes, int] = {}
        self._queue: list[tuple[int, bytes, Commit]] = []
        self._seen: set[bytes] = set()
        self._push(commit)

    def date(self, path: bytes) -> str | None:
        """The time of a path's last change, ISO 8601 in UTC; None where the walk ends before it is found."""
        while path not in self._dated and self._queue and self._bound > 0:
            self._bound -= 1
            _, sha, commit = heappop(self._queue)
            self._look_at(sha, commit)
        seconds = self._dated.get(path)
        return None if seconds is None else utc_time(seconds)

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
        entries, dated = self._objects.raw_entries, self._dated
        while folders:
            base, tree, others = folders.pop()
            if tree in others:
                continue
            before = [entries(other) for other in others]
            for name, (kind, sha) in entries(tree).items():
                olds = [old for entry in before if (old := entry.get(name)) is not None]
                if any(old[1] == sha for old in olds):
                    continue
                if kind == FOLDER:
                    folders.append((base + name + b"/", sha, tuple(s for k, s in olds if k == FOLDER)))
                else:
                    dated.setdefault(base + name, commit.time)
