"""systemd, where it started the service: told when it is ready, what it does, that it lives, and that it ends.

The protocol is a datagram a message (sd_notify(3)); where nobody listens, nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Mapping


class Supervisor:
    """Who started the service.

    A sign of life comes from a thread of its own: it stops where the whole process hangs, which no deadline inside
    can notice. What a single request or embedder takes is limited by their own deadlines.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        """Finds out whether there is one.

        Args:
            env: The environment: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` where signs of life are wanted.
        """
        path = env.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        wanted, process = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", str(os.getpid()))
        if self._address and wanted.isdigit() and int(wanted) and process == str(os.getpid()):
            every = int(wanted) / 2_000_000
            self._thread = threading.Thread(target=self._live, args=(every,), name="watch-life", daemon=True)
            self._thread.start()

    def ready(self) -> None:
        """The service is up."""
        self._send("READY=1")

    def status(self, sentence: str) -> None:
        """What it does, for `systemctl status`."""
        self._send(f"STATUS={' '.join(sentence.split())}")

    def stopping(self) -> None:
        """It ends."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """No sign of life from here on."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _live(self, every: float) -> None:
        while not self._stop.wait(every):
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A supervisor that is gone or slow is no reason to end.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), self._address)
