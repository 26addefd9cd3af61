"""Keeps a lease alive while its holder is busy with something else."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

from qloader.errors import LockedError, QloaderError
from qloader.state import database, lock
from qloader.state.records import Lease


class Renewal:
    """Renews a lease until it is stopped, however long a batch takes: in a thread, with a connection of its own.

    It is quiet where it fails. The lease in the state is the one truth, and whoever writes looks at it
    (`StateStore.confirm`): one that was not renewed is renewed then, and one that is lost ends the run.

    Args:
        path: Where the state is.
        lease: What to renew.
    """

    def __init__(self, path: Path, lease: Lease) -> None:
        self._path = path
        self._lease = lease
        self._is_over = threading.Event()
        # A daemon, so that a program that forgets to close the state ends all the same.
        self._thread = threading.Thread(target=self._run, name="qloader-lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; returns when it has ended."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while not self._is_over.wait(lock.RENEW_MS / 1000):
                try:
                    if connection is None:
                        connection = database.open_beside(self._path)
                    lock.renew(connection, self._lease)
                except LockedError:
                    return
                except (sqlite3.Error, QloaderError):
                    continue  # busy, or the disk is full: three more times until the lease runs out
        finally:
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
