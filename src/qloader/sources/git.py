"""The `git` source: the tree of one commit, read from the objects, without a checkout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import fingerprint
from qloader.documents.reading import READER, document_uri, read_document
from qloader.errors import SourceError
from qloader.sources.git_changes import changed_between, changed_since, follow_tree
from qloader.sources.git_dates import Dates
from qloader.sources.git_objects import BLOB, CORRUPT, FILE, FOLDER, LINK, SUBMODULE, Entry, Objects
from qloader.sources.git_remote import Remote, is_remote, open_clone, parse_remote, update_clone
from qloader.sources.git_repository import find_commit, open_repository
from qloader.sources.names import bad_name_detail, is_safe_path, printable_name
from qloader.sources.protocol import Changes, Item, Listing, Step, UnfollowableError, only_since
from qloader.sources.selection import Selection

if TYPE_CHECKING:
    from dulwich.repo import Repo

_LONGEST_WALK = 50_000
"""Commits that `identity` looks at, at most: about two seconds."""

_LINK_DETAIL = "its target is no file of this commit"


@dataclass(frozen=True, slots=True)
class GitSettings:
    """What a `git` source reads.

    Attributes:
        url: A path (relative to `base`) or an address.
        base: The folder that a relative path starts from.
        cache_dir: Where clones of remote repositories lie.
        ref: A branch, tag, commit id (40 digits or its beginning) or `HEAD`.
        include: Patterns of .gitignore for paths from the repository's root.
        exclude: The same, for what is left out.
        max_bytes: Larger files are skipped.
        uri: The template of a document's uri; `{path}` is its id.
        metadata: Added to every document.
        history: How many commits are looked at, at most, to date documents.
        username: For HTTP, beside the token.
        token: For HTTP. Never shown.
    """

    url: str
    base: Path
    cache_dir: Path
    include: tuple[str, ...]
    ref: str = "HEAD"
    exclude: tuple[str, ...] = ()
    max_bytes: int = 10_000_000
    uri: str = "{path}"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    history: int = 10_000
    username: str | None = None
    token: str | None = field(default=None, repr=False)


class GitSource:
    """Reads one commit of a repository, local or remote.

    Attributes:
        dates: Whether fetched documents get their `updated_at`, for which the history is walked. Off until it
            is switched on: a plan does not need it.
    """

    type = "git"

    def __init__(self, name: str, settings: GitSettings) -> None:
        self.name = name
        self.settings = settings
        self.dates = False
        self._repository: Repo | None = None
        self._objects: Objects | None = None
        self._closing: finalize[..., GitSource] | None = None
        self._updated = False
        self._commit: bytes | None = None
        self._dating: tuple[bytes, Dates] | None = None

    def identity(self) -> str:
        """The id of the first commit, which all full clones and forks share.

        Found by a walk along first parents (some 30 microseconds a commit). In a history longer than `_LONGEST_WALK`
        it is the oldest commit reached, which serves as well. Empty in a shallow clone, and where the ref or a commit
        cannot be read.
        """
        try:
            objects = self._open()
            commit = self._commit or find_commit(self.name, self._need_repository(), objects, self._ref)
            return self._walk_back(objects, commit).decode()
        except (SourceError, *CORRUPT):
            return ""

    def confirms(self, identity: str) -> bool:
        """Whether the commit of that id is in the repository, on whatever branch.

        A shallow clone, or a repository that cannot be opened, cannot tell.
        """
        try:
            return self._open().has(identity.encode()) or bool(self._need_repository().get_shallow())
        except (SourceError, *CORRUPT):
            return True

    def selection(self) -> str:
        """A fingerprint of all settings that shape the documents; where the repository lies does not."""
        settings = self.settings
        return fingerprint(
            {
                "reader": READER,
                "include": settings.include,
                "exclude": settings.exclude,
                "max_bytes": settings.max_bytes,
                "uri": settings.uri,
                "metadata": dict(settings.metadata),
            }
        )

    def proof(self) -> str:
        """The id of the commit that `ref` names now. A remote is asked once.

        Raises:
            SourceError: No such repository, ref or commit, or a remote that cannot be reached.
        """
        return self._current().decode()

    def list(self) -> Listing:
        """Lists the commit's tree. A token is a blob id, the listing's revision is the commit id.

        Raises:
            SourceError: As `proof`, or the commit or its root tree cannot be read.
            ConfigError: A pattern is invalid.
        """
        commit = self._current()
        objects = self._open()
        root = self._root_tree(objects, commit)
        listing = Listing(revision=commit.decode())
        listing.items = self._items(_Walk(objects, root, self._selection, listing))
        return listing

    def changed_since(self, since: datetime) -> Listing:
        """Lists what commits since a moment changed, as `git log --since` finds them.

        A clone whose history does not reach back so far is listed whole.

        Raises:
            SourceError: As `list`.
        """
        commit = self._current()
        shallow = self._need_repository().get_shallow()
        changed = changed_since(self._open(), commit, since.timestamp(), shallow)
        return self.list() if changed is None else self._only(changed, only_since(since))

    def changed_after(self, revision: str) -> Listing:
        """Lists what differs between a commit, branch or tag and the source's own commit.

        Raises:
            SourceError: There is no such commit, or as `list`.
        """
        commit = self._current()
        objects = self._open()
        earlier = find_commit(self.name, self._need_repository(), objects, revision)
        changed = changed_between(objects, self._root_tree(objects, earlier), self._root_tree(objects, commit))
        return self._only(changed, f"only what differs from commit {earlier.decode()[:12]} was listed")

    def follow(self, proof: str) -> Changes:
        """What differs between the commit of an earlier proof and the source's own; equal folders are not looked at.

        Raises:
            UnfollowableError: The earlier commit is gone, or there is a link, a submodule or an odd name where
                something changed; told while the steps are iterated.
            SourceError: As `list`.
        """
        commit = self._current()
        return Changes(self._steps(proof.encode(), commit), commit.decode())

    def _steps(self, earlier: bytes, commit: bytes) -> Iterator[Step]:
        objects = self._open()
        try:
            before = objects.commit(earlier).tree
            yield from follow_tree(objects, before, self._root_tree(objects, commit), self._selection)
        except CORRUPT as error:
            raise UnfollowableError from error

    def _only(self, changed: set[bytes], why: str) -> Listing:
        """The part of a listing whose tokens, the ids of blobs, are among these; links follow what they lead to."""
        listing = self.list()
        listing.problems.append(why)
        tokens = {sha.decode() for sha in changed}
        items = listing.items
        listing.items = (item for item in items if item.token in tokens)
        return listing

    def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
        """Reads files as they are in a commit.

        Raises:
            SourceError: The commit is not in the repository, nor at the remote.
        """
        commit = self._current() if revision is None else self._planned(revision)
        objects = self._open()
        root = self._root_tree(objects, commit)
        for document_id in ids:
            yield self._read(objects, commit, root, document_id)

    def close(self) -> None:
        """Lets go of the repository's files; the source opens them again when it is used again.

        It happens by itself when the source goes away or the process ends.
        """
        if self._closing is not None:
            self._closing()
        self._repository = self._objects = self._dating = self._closing = None

    def _items(self, walk: _Walk) -> Iterator[Item]:
        # A generator of the source's own, so that the source, and with it the open files, lives as long.
        yield from walk.items()

    @cached_property
    def _selection(self) -> Selection:
        return Selection(self.settings.include, self.settings.exclude)

    @cached_property
    def _remote(self) -> Remote | None:
        settings = self.settings
        if not is_remote(settings.url):
            return None
        return parse_remote(self.name, settings.url, username=settings.username, token=settings.token)

    def _open(self, *, update: bool = False) -> Objects:
        """The repository's objects. A remote's clone is made where there is none, and updated only on demand."""
        if self._objects is not None and (self._updated or not update):
            return self._objects
        remote, cache_dir = self._remote, self.settings.cache_dir
        if remote is None:
            path = self.settings.base / Path(self.settings.url).expanduser()
            repository = open_repository(self.name, path)
            self._updated = True
        else:
            known = None if update else open_clone(remote, cache_dir)
            repository = known or update_clone(self.name, remote, cache_dir)
            self._updated = known is None
        self.close()
        self._repository = repository
        # dulwich complains on stderr about packs that the end of the process finds open.
        self._closing = finalize(self, repository.close)
        self._objects = Objects(repository.object_store)
        return self._objects

    def _current(self) -> bytes:
        """The commit that the ref names; found once, so that one run sees one commit."""
        if self._commit is None:
            objects = self._open(update=True)
            self._commit = find_commit(self.name, self._need_repository(), objects, self._ref)
        return self._commit

    @property
    def _ref(self) -> str:
        """The ref as the repository at hand names it: in a bare clone the remote's branches are its own."""
        ref = self.settings.ref
        return ref if self._remote is None else ref.removeprefix("origin/")

    def _walk_back(self, objects: Objects, commit: bytes) -> bytes:
        """The first commit of the history, or the oldest within `_LONGEST_WALK`; empty where the clone is shallow."""
        shallow = self._need_repository().get_shallow()
        for _ in range(_LONGEST_WALK):
            if commit in shallow:
                return b""
            parents = objects.commit(commit).parents
            if not parents:
                break
            commit = parents[0]
        return commit

    def _planned(self, revision: str) -> bytes:
        """The commit of a plan; a remote is asked only if the clone does not have it."""
        commit = revision.encode()
        if not self._open().has(commit) and not self._open(update=True).has(commit):
            raise SourceError(
                f"Source {self.name}: commit {revision[:12]} is not in the repository.",
                remedy="Fetch it (`git fetch`, or check out more history in CI), or plan again.",
            )
        return commit

    def _need_repository(self) -> Repo:
        if self._repository is None:
            self._open()
        assert self._repository is not None
        return self._repository

    def _root_tree(self, objects: Objects, commit: bytes) -> bytes:
        try:
            tree = objects.commit(commit).tree
            objects.entries(tree)
        except CORRUPT as error:
            raise SourceError(
                f"Source {self.name}: commit {commit.decode()[:12]} cannot be read: an object is missing or damaged "
                f"({error}).",
                remedy="Run `git fsck` in the repository, then `git fetch` or clone it again.",
            ) from error
        return tree

    def _read(self, objects: Objects, commit: bytes, root: bytes, document_id: str) -> Document | Skipped:
        settings = self.settings
        if not is_safe_path(document_id):
            return Skipped(document_id, "bad name", "leads out of the root")
        try:
            found = objects.find(root, document_id)
            if isinstance(found, str):
                return Skipped(document_id, found, _LINK_DETAIL if found == "link outside" else "not in this commit")
            data = objects.raw(found.sha, BLOB)
        except CORRUPT as error:
            return Skipped(document_id, "unreadable", f"an object is missing or damaged ({error}); run `git fsck`")
        return read_document(
            document_id,
            data,
            path=document_id,
            revision=found.sha.decode(),
            uri=document_uri(settings.uri, document_id),
            updated_at=self._dates_of(objects, commit).date(found.raw_path) if self.dates else None,
            extra_metadata=settings.metadata,
            max_bytes=settings.max_bytes,
        )

    def _dates_of(self, objects: Objects, commit: bytes) -> Dates:
        if self._dating is None or self._dating[0] != commit:
            shallow = self._need_repository().get_shallow()
            self._dating = commit, Dates(objects, commit, bound=self.settings.history, shallow=shallow)
        return self._dating[1]


class _Walk:
    """One pass over a commit's tree: yields items, reports the rest to the listing."""

    def __init__(self, objects: Objects, root: bytes, selection: Selection, listing: Listing) -> None:
        self._objects = objects
        self._root = root
        self._selects = selection.selects
        self._excludes_folder = selection.excludes_folder
        self._listing = listing

    def items(self) -> Iterator[Item]:
        selects, excludes_folder = self._selects, self._excludes_folder
        self._listing.is_plain = True
        folders: list[tuple[str, bytes]] = [("", self._root)]
        while folders:
            base, tree = folders.pop()
            below: list[tuple[str, bytes]] = []
            for entry in self._entries(base, tree):
                name, _, kind, sha = entry
                if name is None:
                    self._report_bad_name(base, entry)
                    continue
                path = base + name
                if kind == FILE:
                    if selects(path):
                        yield Item(path, sha.decode())
                elif kind == FOLDER:
                    if not excludes_folder(path):
                        below.append((path + "/", sha))
                elif kind == LINK:
                    if selects(path):
                        self._listing.is_plain = False  # it may lead to what changes while it does not
                        if item := self._follow(path, sha):
                            yield item
                elif kind == SUBMODULE and not excludes_folder(path):
                    self._skip(path, "submodule", "")
            folders.extend(reversed(below))

    def _entries(self, base: str, tree: bytes) -> list[Entry]:
        try:
            return self._objects.entries(tree)
        except CORRUPT as error:
            path = base.rstrip("/")
            self._listing.problems.append(
                f"{path} could not be listed: tree {tree.decode()[:12]} is missing or damaged"
            )
            self._skip(path, "unreadable", f"an object is missing or damaged ({error}); run `git fsck`")
            return []

    def _follow(self, path: str, sha: bytes) -> Item | None:
        try:
            found = self._objects.follow(self._root, path, sha)
        except CORRUPT as error:
            self._listing.problems.append(f"{path} could not be followed: an object is missing or damaged")
            self._skip(path, "unreadable", f"an object is missing or damaged ({error}); run `git fsck`")
            return None
        if isinstance(found, str):
            self._skip(path, found, _LINK_DETAIL if found == "link outside" else "")
            return None
        return Item(path, found.sha.decode())

    def _report_bad_name(self, base: str, entry: Entry) -> None:
        raw = entry.raw.decode("utf-8", "surrogateescape")
        path = base + printable_name(raw)
        if not self._excludes_folder(path) if entry.kind == FOLDER else self._selects(path):
            self._skip(path, "bad name", _bad_name_detail(raw))

    def _skip(self, path: str, reason: str, detail: str) -> None:
        self._listing.is_plain = False
        self._listing.skipped.append(Skipped(path, reason, detail))


def _bad_name_detail(raw: str) -> str:
    if not is_safe_path(raw) or raw == ".git" or "/" in raw:
        return "no name that a checkout would take"
    return bad_name_detail(raw)
