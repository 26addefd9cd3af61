"""The `files` source: folders of this machine."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import blob_id, fingerprint
from qloader.documents.reading import READER, document_uri, read_document, too_large
from qloader.errors import SourceError
from qloader.sources.names import bad_name_detail, is_safe_path, printable_name, stable_names
from qloader.sources.protocol import Item, Listing, only_since
from qloader.sources.selection import NEVER, Selection
from qloader.sources.times import utc_time

_RACY_NS = 2_000_000_000
"""A file that changed this shortly before it was listed can change again without a trace in its times.

Two seconds: the coarsest clock of a file system in use (FAT). Git's index calls such a file racily clean."""

_READS = 3
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_Folder = tuple[str, str, tuple[str, ...]]
"""A folder to walk: its path below the root with a slash at its end, its real path, the real folders that links
led out of on the way to it."""

_by_name = attrgetter("name")


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """What a `files` source reads.

    Attributes:
        roots: Folders by name. With one, its name is not part of the ids; with several, ids are
            `<name>/<path in it>`.
        include: Patterns of .gitignore for paths below a root.
        exclude: The same, for what is left out.
        max_bytes: Larger files are skipped.
        uri: The template of a document's uri; `{path}` is its id.
        metadata: Added to every document.
        follow_symlinks: Whether links that stay inside their root are followed; without, links are ignored.
    """

    roots: Mapping[str, Path]
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    max_bytes: int = 10_000_000
    uri: str = "{path}"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    follow_symlinks: bool = True


class FilesSource:
    """Reads files below one or more folders, never anything outside them."""

    type = "files"

    def __init__(self, name: str, settings: FilesSettings) -> None:
        self.name = name
        self.settings = settings

    def identity(self) -> str:
        """Empty: a folder cannot tell which folder it is."""
        return ""

    def confirms(self, identity: str) -> bool:
        """True: a folder cannot tell that it is another."""
        return True

    def selection(self) -> str:
        """A fingerprint of all settings that shape the documents; where the folders lie does not."""
        settings = self.settings
        return fingerprint(
            {
                "reader": READER,
                "roots": sorted(settings.roots) if len(settings.roots) > 1 else [],
                "include": settings.include,
                "exclude": settings.exclude,
                "max_bytes": settings.max_bytes,
                "uri": settings.uri,
                "metadata": dict(settings.metadata),
                "follow_symlinks": settings.follow_symlinks,
            }
        )

    def proof(self) -> None:
        """None: a folder has no token for all that is in it."""

    def list(self) -> Listing:
        """Walks the folders. A token is `size-mtime-ctime-inode`; see docs/sources/files.md for when it is empty.

        Raises:
            SourceError: A root is missing or no folder.
            ConfigError: A pattern is invalid.
        """
        roots = self._roots
        listing = Listing()
        listing.items = chain.from_iterable(
            _Walk(root, prefix, self.settings, self._selection, listing).items() for prefix, root in roots.items()
        )
        return listing

    def changed_since(self, since: datetime) -> Listing:
        """Lists files whose content, name or mode was changed since a moment, by their ctime.

        Raises:
            SourceError: As `list`.
        """
        listing = self.list()
        listing.problems.append(only_since(since))
        items, earliest = listing.items, int(since.timestamp()) * 1_000_000_000
        listing.items = (item for item in items if _changed_at(item) >= earliest)
        return listing

    def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
        """Reads files as they are now; a folder knows no revisions.

        Raises:
            SourceError: A root is missing or no folder.
        """
        reader = _Reader(self._roots)
        settings = self.settings
        for document_id in ids:
            result = reader.read(document_id, settings.max_bytes)
            if isinstance(result, Skipped):
                yield result
                continue
            data, path, modified = result
            yield read_document(
                document_id,
                data,
                path=path,
                revision=blob_id(data),
                uri=document_uri(settings.uri, document_id),
                updated_at=utc_time(modified),
                extra_metadata=settings.metadata,
            )

    @cached_property
    def _selection(self) -> Selection:
        return Selection(self.settings.include, self.settings.exclude)

    @property
    def _roots(self) -> dict[str, str]:
        """The real path of each root by the prefix of its ids; checked each time, as a drive can go away."""
        several = len(self.settings.roots) > 1
        roots = {}
        for name, path in self.settings.roots.items():
            real = os.path.realpath(path)
            try:
                mode = Path(real).stat().st_mode
            except OSError as error:
                raise SourceError(
                    f"Source {self.name}: the folder {path} cannot be read: {_words(error)}.",
                    remedy=f"Check sources.{self.name}.path, and that the drive is mounted.",
                ) from error
            if not stat.S_ISDIR(mode):
                raise SourceError(
                    f"Source {self.name}: {path} is no folder.",
                    remedy=f"Set sources.{self.name}.path to the folder, and include to the file's name.",
                )
            roots[f"{name}/" if several else ""] = real
        return roots


def _changed_at(item: Item) -> int:
    """A file's ctime in nanoseconds; of one whose token promises nothing, the present."""
    return int(item.token.rsplit("-", 2)[1]) if item.token else time.time_ns()


class _Walk:
    """One pass over one root: yields items, reports the rest to the listing."""

    def __init__(self, root: str, prefix: str, settings: FilesSettings, selection: Selection, listing: Listing) -> None:
        self._root = root
        self._prefix = prefix
        self._settings = settings
        self._selects = selection.selects
        self._excludes_folder = selection.excludes_folder
        self._listing = listing
        self._max_bytes = settings.max_bytes
        self._racy_since = time.time_ns() - _RACY_NS
        self._linked: set[str] = set()
        self._folders: list[_Folder] = [("", root, ())]

    def items(self) -> Iterator[Item]:
        # Every line in here runs once per file: names are local and a file costs one system call.
        selects = self._selects
        while self._folders:
            base, real, links = self._folders.pop()
            entries = self._entries(base, real)
            names = [entry.name for entry in entries]
            odd = {} if "".join(names).isascii() else stable_names(names)
            below: list[_Folder] = []
            for entry in entries:
                name = entry.name
                stable = odd.get(name, name)
                if stable is None:
                    self._report_bad_name(base, entry)
                    continue
                path = base + stable
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if not self._excludes_folder(path):
                            below.append((path + "/", f"{real}/{name}", links))
                    elif entry.is_symlink():
                        facts = self._follow(path, real, entry, links, below)
                        if facts is not None and (item := self._item(path, facts)):
                            yield item
                    elif (
                        selects(path)
                        and name not in NEVER
                        and (item := self._item(path, entry.stat(follow_symlinks=False)))
                    ):
                        yield item
                except OSError as error:
                    self._report_failure(path, error)
            self._folders.extend(reversed(below))

    def _item(self, path: str, facts: os.stat_result) -> Item | None:
        size = facts.st_size
        if size > self._max_bytes:
            self._listing.skipped.append(too_large(self._prefix + path, size, self._max_bytes))
            return None
        if not stat.S_ISREG(facts.st_mode):
            self._skip(path, "binary", "a pipe, socket or device")
            return None
        changed = facts.st_ctime_ns
        if changed > self._racy_since:
            return Item(self._prefix + path, "")
        return Item(self._prefix + path, f"{size}-{facts.st_mtime_ns}-{changed}-{facts.st_ino}")

    def _entries(self, base: str, real: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(real) as entries:
                return sorted(entries, key=_by_name)
        except OSError as error:
            self._report_failure(base.rstrip("/") or ".", error)
            return []

    def _follow(
        self,
        path: str,
        folder: str,
        entry: os.DirEntry[str],
        links: tuple[str, ...],
        below: list[_Folder],
    ) -> os.stat_result | None:
        """The facts of a link's target if it is a file of the selection; queues a folder; reports the rest."""
        if not self._settings.follow_symlinks:
            return None
        real = os.path.realpath(entry.path)
        inside = _is_inside(self._root, real)
        try:
            # A target outside is not even looked at, unless it could be a document under the link's name.
            facts = Path(real).stat() if inside else None
        except OSError:
            facts = None
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            self._queue_linked(path, real, (*links, folder), below)
            return None
        if not self._selects(path):
            return None
        if facts is None:
            detail = "its target does not exist" if inside else "its target is outside the root"
            self._skip(path, "link outside", detail)
        return facts

    def _queue_linked(self, path: str, real: str, links: tuple[str, ...], below: list[_Folder]) -> None:
        """Queues a linked folder, once, and not where it holds the link itself: that would never end."""
        if self._excludes_folder(path) or real in self._linked or any(_is_inside(real, link) for link in links):
            return
        self._linked.add(real)
        below.append((path + "/", real, links))

    def _report_bad_name(self, base: str, entry: os.DirEntry[str]) -> None:
        path = base + printable_name(entry.name)
        is_folder = entry.is_dir(follow_symlinks=False)
        if not self._excludes_folder(path) if is_folder else self._selects(path):
            self._skip(path, "bad name", bad_name_detail(entry.name))

    def _report_failure(self, path: str, error: OSError) -> None:
        gone = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "vanished" if gone else "unreadable"
        what = "it went away while it was listed" if gone else _words(error)
        self._listing.problems.append(f"{self._prefix}{path} could not be listed: {what}")
        self._skip(path, reason, what)

    def _skip(self, path: str, reason: str, detail: str) -> None:
        self._listing.skipped.append(Skipped(self._prefix + path, reason, detail))


class _Reader:
    """Opens documents by id. Remembers the real paths of folders for the time of one fetch."""

    def __init__(self, roots: Mapping[str, str]) -> None:
        self._roots = roots
        self._folders: dict[tuple[str, str], str | None] = {}

    def read(self, document_id: str, max_bytes: int) -> tuple[bytes, str, float] | Skipped:
        """Bytes, the path below the root and the time of change of a document."""
        prefix = next((p for p in self._roots if document_id.startswith(p)), None)
        if prefix is None:
            return Skipped(document_id, "vanished", "no root of this name")
        path = document_id[len(prefix) :]
        if not is_safe_path(path):
            return Skipped(document_id, "bad name", "leads out of the root")
        try:
            descriptor = self._open(self._roots[prefix], path)
        except OSError as error:
            gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO)
            return Skipped(document_id, "vanished" if gone else "unreadable", _words(error))
        if descriptor is None:
            return Skipped(document_id, "link outside", "its target is outside the root")
        try:
            return _read_steadily(descriptor, document_id, path, max_bytes)
        except OSError as error:
            return Skipped(document_id, "unreadable", _words(error))
        finally:
            os.close(descriptor)

    def _open(self, root: str, path: str) -> int | None:
        """A descriptor of the file, or None where a link leads out of the root."""
        folder, _, name = path.rpartition("/")
        real = self._real_folder(root, folder)
        if real is None:
            return None
        full = f"{real}/{name}"
        try:
            return os.open(full, _OPEN_FLAGS)
        except FileNotFoundError:
            if path.isascii():
                raise
            found = _find_by_stable_name(root, path)
            if found is None:
                raise
            full = found
        except OSError as error:
            if error.errno != errno.ELOOP:  # what O_NOFOLLOW says of a link
                raise
        target = os.path.realpath(full)
        return os.open(target, _OPEN_FLAGS) if _is_inside(root, target) else None

    def _real_folder(self, root: str, folder: str) -> str | None:
        key = (root, folder)
        if key not in self._folders:
            real = os.path.realpath(f"{root}/{folder}")
            self._folders[key] = real if _is_inside(root, real) else None
        return self._folders[key]


def _read_steadily(descriptor: int, document_id: str, path: str, max_bytes: int) -> tuple[bytes, str, float] | Skipped:
    """Reads a file that nobody writes meanwhile: what is read must be what the times before and after describe."""
    for _ in range(_READS):
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return Skipped(document_id, "vanished", "it is no file any more")
        if before.st_size > max_bytes:
            return too_large(document_id, before.st_size, max_bytes)
        os.lseek(descriptor, 0, os.SEEK_SET)
        data = _read_up_to(descriptor, before.st_size)
        after = os.fstat(descriptor)
        if len(data) == before.st_size and _moment(before) == _moment(after):
            return data, path, before.st_mtime
    return Skipped(document_id, "unreadable", "it kept changing while it was read")


def _read_up_to(descriptor: int, size: int) -> bytes:
    """The file's bytes; one more than `size` where it has grown."""
    data = os.read(descriptor, size + 1)
    while 0 < len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
        data += more
    return data


def _moment(facts: os.stat_result) -> tuple[int, int, int]:
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _find_by_stable_name(root: str, path: str) -> str | None:
    """The file whose id a path is, where the disk holds its names in another Unicode form."""
    folder = root
    for part in path.split("/"):
        names = [child.name for child in Path(folder).iterdir()]
        if part not in names:
            odd = stable_names(names)
            part = next((name for name, stable in odd.items() if stable == part), "")  # noqa: PLW2901
            if not part:
                return None
        folder = f"{folder}/{part}"
    return folder


def _is_inside(folder: str, path: str) -> bool:
    """Whether a real path is a real folder or lies in it, and not in data that is never a document."""
    if path == folder:
        return True
    base = folder if folder.endswith("/") else folder + "/"
    return path.startswith(base) and not NEVER.intersection(path[len(base) :].split("/"))


def _words(error: OSError) -> str:
    """An error as words, without the path that Python adds."""
    return (error.strerror or type(error).__name__).lower()
