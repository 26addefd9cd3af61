"""The folders of `files` sources: a thread that tells when something in them changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change
from watchfiles._rust_notify import RustNotify  # documented by watchfiles as its lower interface

from qloader.config.sources import FilesSourceConfig
from qloader.sources.files import FilesSource
from qloader.sources.selection import Selection
from qloader.watching.notices import Notices
from qloader.workspace.settings import Settings

BY = "files"
_LOOK_EVERY_MS = 1000
"""How often it is asked whether the folders are still the same ones: a drive may go away and come back."""

_STEP_MS = 200
_Identity = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder of a source: as the config names it, and what of it is read."""

    source: str
    path: Path
    selection: Selection


class FolderWatch:
    """Watches the folders of all `files` sources, until it is closed."""

    def __init__(self, settings: Settings, notices: Notices, tell: Callable[[str], None]) -> None:
        """Begins to watch: what changes from here on is told.

        Args:
            settings: The config; what qloader itself writes does not count as a change.
            notices: Where changes are told.
            tell: Says a sentence to whoever runs this; may be called in another thread.

        Raises:
            ConfigError: A pattern is invalid.
        """
        self._notices = notices
        self._tell = tell
        self._own = _own_paths(settings)
        self._folders = [folder for name in settings.config.sources for folder in _folders(settings, name)]
        self._stop = threading.Event()
        self._known = self._identities()
        watcher = self._arm() if self._folders else None
        self._thread = threading.Thread(target=self._run, args=(watcher,), name="watch-files", daemon=True)
        if watcher is not None:
            self._thread.start()

    def close(self) -> None:
        """Ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _arm(self) -> RustNotify | None:
        """A watcher of the folders that are there; None where the system allows none, which is told."""
        there = [path for path, identity in self._known.items() if identity is not None]
        try:
            return RustNotify(there, False, False, 0, True, True)
        except Exception as error:
            self._tell(
                f"Changes of files are not seen at once ({error}); their sources are looked at once an interval. "
                "Where it is a limit of the system, raise fs.inotify.max_user_watches."
            )
            return None

    def _run(self, watcher: RustNotify | None) -> None:
        while watcher is not None and not self._stop.is_set():
            with watcher:
                self._watch(watcher)
            if self._stop.is_set():
                return
            self._known = self._identities()
            watcher = self._arm()
            # What changed while nobody watched was not told.
            self._notices.tell(sorted({folder.source for folder in self._folders}), BY)

    def _watch(self, watcher: RustNotify) -> None:
        """Tells changes until a folder goes, comes or becomes another one."""
        while self._identities() == self._known:
            found = watcher.watch(_LOOK_EVERY_MS, _STEP_MS, _LOOK_EVERY_MS, self._stop)
            if found == "stop":
                return
            if isinstance(found, set):
                changes = [(Change(kind), path) for kind, path in found]
                names = {folder.source for folder in self._folders if self._concern(folder, changes)}
                if names:
                    self._notices.tell(sorted(names), BY)

    def _identities(self) -> dict[str, _Identity]:
        """Each folder's real path, with what tells it from another one in its place; None where there is none."""
        found: dict[str, _Identity] = {}
        for folder in self._folders:
            real = os.path.realpath(folder.path)
            try:
                facts = os.stat(real)  # noqa: PTH116 - a text, as the watcher gives it back
            except OSError:
                found[real] = None
            else:
                found[real] = (facts.st_dev, facts.st_ino)
        return found

    def _concern(self, folder: _Folder, changes: Iterable[tuple[Change, str]]) -> bool:
        root = os.path.realpath(folder.path)
        return any(self._concerns(folder, root, *change) for change in changes)

    def _concerns(self, folder: _Folder, root: str, change: Change, changed: str) -> bool:
        """Whether a change may be one of documents: of a file that is selected, or of a folder that came or went."""
        if any(changed == own or changed.startswith(own + end) for own in self._own for end in (os.sep, "-")):
            return False
        if not changed.startswith(root + os.sep):
            return changed == root
        path = Path(changed).relative_to(root).as_posix()
        parts = path.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if any(folder.selection.excludes_folder(one) for one in above):
            return False
        if folder.selection.selects(path):
            return True
        if change is Change.deleted:  # nobody can tell any more whether it was a folder
            return not folder.selection.excludes_folder(path)
        is_new_folder = change is Change.added and os.path.isdir(changed)  # noqa: PTH112 - a text
        return is_new_folder and not folder.selection.excludes_folder(path)


def _folders(settings: Settings, name: str) -> list[_Folder]:
    config = settings.config.sources[name]
    if not isinstance(config, FilesSourceConfig):
        return []
    source = settings.open_source(name)
    assert isinstance(source, FilesSource)
    selection = Selection(config.include, config.exclude)
    return [_Folder(name, path, selection) for path in source.settings.roots.values()]


def _own_paths(settings: Settings) -> tuple[str, ...]:
    """What qloader itself writes, which may lie in a folder that it reads: each with what stands beside or in it."""
    paths = [settings.state, settings.cache, settings.cache.parent / "sources"]
    if settings.embedded_path is not None:
        paths.append(settings.embedded_path)
    return tuple(os.path.realpath(path) for path in paths)
