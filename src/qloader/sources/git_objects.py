"""Commits and trees read straight from a git object store, with names as document ids have them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sized
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from dulwich.errors import ChecksumMismatch, FileFormatException, ObjectMissing, WrongObjectException
from dulwich.objects import ObjectID, parse_tree

from qloader.sources.names import stable_names

if TYPE_CHECKING:
    from dulwich.object_store import BaseObjectStore

CORRUPT = (
    KeyError,
    ValueError,
    AssertionError,
    OSError,
    zlib.error,
    ChecksumMismatch,
    FileFormatException,
    ObjectMissing,
    WrongObjectException,
)
"""What reading an object raises when it is missing or damaged."""

KEPT = 50_000
"""Entries of the trees that are kept, at most, of each kind: some 15 MB. A tree that has more is kept alone."""

T = TypeVar("T", bound=Sized)

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
_KIND = 0o170000
FOLDER, LINK, SUBMODULE, FILE = 0o040000, 0o120000, 0o160000, 0o100000
_UNSAFE = frozenset({"", ".", "..", ".git"})
_MAX_LINKS = 10


class Commit(NamedTuple):
    """A commit's facts. `time` is the committer's, in seconds since 1970, UTC."""

    tree: bytes
    parents: tuple[bytes, ...]
    time: int


class Entry(NamedTuple):
    """One entry of a tree.

    Attributes:
        name: Its part of the document id; None where it has none (not UTF-8, or a name no checkout would take).
        raw: Its name as git stores it.
        kind: `FOLDER`, `FILE`, `LINK` or `SUBMODULE`.
        sha: The object's id, in hex.
    """

    name: str | None
    raw: bytes
    kind: int
    sha: bytes


class Found(NamedTuple):
    """A file found by its path: its blob, and where it really lies in the tree."""

    sha: bytes
    raw_path: bytes


class _Last(Generic[T]):
    """What was read last, by id, until it has too many entries together. For one thread."""

    def __init__(self, read: Callable[[bytes], T]) -> None:
        self._read = read
        self._kept: dict[bytes, T] = {}
        self._entries = 0

    def __call__(self, sha: bytes) -> T:
        """What has this id; read where it is not kept."""
        found = self._kept.pop(sha, None)
        if found is None:
            found = self._read(sha)
            self._entries += len(found)
            while self._kept and self._entries > KEPT:
                self._entries -= len(self._kept.pop(next(iter(self._kept))))
        self._kept[sha] = found
        return found


class Objects:
    """Reads objects by id. Keeps the trees it read last, as documents come folder by folder."""

    def __init__(self, store: BaseObjectStore) -> None:
        self._store = store
        self._id_length = store.object_format.oid_length
        self.entries = _Last(self._entries)
        self._folder = _Last(self._read_folder)
        self.raw_entries = _Last(self._raw_entries)

    def has(self, sha: bytes) -> bool:
        """Whether an object of this id (hex) is there."""
        return len(sha) == 2 * self._id_length and ObjectID(sha) in self._store

    def raw(self, sha: bytes, kind: int) -> bytes:
        """An object's content.

        Raises:
            KeyError: It is not there. Damage raises another of `CORRUPT`.
        """
        found, data = self._store.get_raw(ObjectID(sha))
        if found != kind:
            raise ValueError(f"object {sha.decode()} has type {found}, not {kind}")
        return data

    def kind(self, sha: bytes) -> int:
        """The type of an object."""
        return self._store.get_raw(ObjectID(sha))[0]

    def commit(self, sha: bytes) -> Commit:
        """A commit. Only the header lines that matter here are read."""
        tree = b""
        parents: list[bytes] = []
        time = 0
        for line in self.raw(sha, COMMIT).partition(b"\n\n")[0].split(b"\n"):
            key, _, value = line.partition(b" ")
            if key == b"tree":
                tree = value
            elif key == b"parent":
                parents.append(value)
            elif key == b"committer":
                time = int(value.rsplit(b" ", 2)[1])
        if not tree:
            raise ValueError(f"commit {sha.decode()} has no tree")
        return Commit(tree, tuple(parents), time)

    def tag_target(self, sha: bytes) -> bytes:
        """The id of the object that an annotated tag names."""
        first = self.raw(sha, TAG).partition(b"\n")[0]
        return first.partition(b" ")[2]

    def find(self, root: bytes, path: str) -> Found | str:
        """The file at a path below a tree; a link is followed inside the tree.

        Returns:
            The file, or why there is none: a reason of `SKIP_REASONS`.
        """
        return self._find(root, path.split("/"), _MAX_LINKS)

    def follow(self, root: bytes, path: str, sha: bytes) -> Found | str:
        """The file that the link at a path leads to; `sha` is the link's own blob."""
        return self._follow(root, path.split("/"), sha, _MAX_LINKS)

    def _find(self, root: bytes, parts: list[str], links: int) -> Found | str:
        tree = root
        raw_path: list[bytes] = []
        for part in parts[:-1]:
            entry = self._folder(tree).get(part)
            if entry is None or entry.kind != FOLDER:
                return "link outside" if entry is not None and entry.kind == LINK else "vanished"
            raw_path.append(entry.raw)
            tree = entry.sha
        entry = self._folder(tree).get(parts[-1])
        if entry is None or entry.kind == FOLDER:
            return "vanished"
        if entry.kind == SUBMODULE:
            return "submodule"
        if entry.kind == LINK:
            return self._follow(root, parts, entry.sha, links)
        return Found(entry.sha, b"/".join([*raw_path, entry.raw]))

    def _follow(self, root: bytes, parts: list[str], sha: bytes, links: int) -> Found | str:
        target = self.raw(sha, BLOB).decode("utf-8", "replace")
        if target.startswith("/") or links == 0:
            return "link outside"
        resolved = parts[:-1]
        for part in target.split("/"):
            if part == "..":
                if not resolved:
                    return "link outside"
                resolved.pop()
            elif part not in ("", "."):
                resolved.append(part)
        if not resolved:
            return "link outside"
        found = self._find(root, resolved, links - 1)
        # A link to a folder, or to nothing in this tree, is no document and no failure either.
        return "link outside" if found == "vanished" else found

    def _read_folder(self, tree: bytes) -> dict[str, Entry]:
        return {entry.name: entry for entry in self.entries(tree) if entry.name is not None}

    def _raw_entries(self, tree: bytes) -> dict[bytes, tuple[int, bytes]]:
        """A tree's entries by raw name: kind and id."""
        data = self.raw(tree, TREE)
        return {name: (mode & _KIND, sha) for name, mode, sha in parse_tree(data, self._id_length)}

    def _entries(self, tree: bytes) -> list[Entry]:
        """A tree's entries in git's order."""
        return list(self._iter_entries(tree))

    def _iter_entries(self, tree: bytes) -> Iterator[Entry]:
        raw = list(parse_tree(self.raw(tree, TREE), self._id_length))
        names = [name.decode("utf-8", "surrogateescape") for name, _, _ in raw]
        joined = "".join(names)
        odd: dict[str, str | None] = {} if joined.isascii() else stable_names(names)
        if "/" in joined or not _UNSAFE.isdisjoint(names):
            # No git writes such a tree. As ids these would lie about where a document is.
            odd.update({name: None for name in names if "/" in name or name in _UNSAFE})
        for (raw_name, mode, sha), name in zip(raw, names, strict=True):
            yield Entry(odd.get(name, name) if odd else name, raw_name, mode & _KIND, sha)
