"""Repositories of this machine: a thread that tells when the commit that is read becomes another one."""

from __future__ import annotations

import threading

from qloader.config.sources import GitSourceConfig
from qloader.errors import QloaderError
from qloader.sources.git_remote import is_remote
from qloader.watching.notices import Notices
from qloader.workspace.settings import Settings

BY = "commit"
LOOK_EVERY = 1.0
"""Seconds between two looks at a ref; one reads a file or two."""


class CommitWatch:
    """Watches the refs of all `git` sources that are folders, until it is closed."""

    def __init__(self, settings: Settings, notices: Notices) -> None:
        """Begins to watch: what changes from here on is told.

        Args:
            settings: The config.
            notices: Where changes are told.
        """
        self._settings = settings
        self._notices = notices
        self._names = [
            name
            for name, source in settings.config.sources.items()
            if isinstance(source, GitSourceConfig) and not is_remote(source.url)
        ]
        self._known = {name: self._commit(name) for name in self._names}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch-commits", daemon=True)
        if self._names:
            self._thread.start()

    def close(self) -> None:
        """Ends."""
        self._stop.set()
        if self._names:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            for name, before in self._known.items():
                now = self._commit(name)
                if now != before:
                    self._notices.tell([name], BY)
                self._known[name] = now

    def _commit(self, name: str) -> str | None:
        """The commit that a source reads now; None where it cannot be told, which the next look says why."""
        source = self._settings.open_source(name)
        try:
            return source.proof()
        except (QloaderError, OSError):
            return None
        finally:
            if close := getattr(source, "close", None):
                close()
