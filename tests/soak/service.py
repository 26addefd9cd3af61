"""`qloader watch` as a process of its own, seen from outside: what it tells, what it takes, how it ends."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

PATIENCE = 120.0
"""Seconds after which something that should have happened has not."""


@dataclass(frozen=True)
class Sample:
    """What a process takes at one moment.

    Attributes:
        memory: Bytes in RAM that are no file's (RssAnon).
        files: Open files and sockets.
        threads: Threads.
        children: Processes that it started, and theirs.
    """

    memory: int
    files: int
    threads: int
    children: int


class Service:
    """One life of the service.

    Args:
        config: Its config.
        errors: Where what it says to people goes; appended.
        limit: Bytes that it may write to at most (RLIMIT_DATA); None limits nothing.
    """

    def __init__(self, config: Path, errors: Path, limit: int | None = None) -> None:
        self.looks: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.adapted = 0
        self.address = ""
        self._sources: list[str] = []
        self._good: dict[str, float] = {}
        self._children: set[int] = set()
        with errors.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "qloader", "-c", str(config), "watch", "--format", "json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=config.parent,
            )
        if limit is not None:
            psutil.Process(self._process.pid).rlimit(psutil.RLIMIT_DATA, (limit, limit))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):
                return  # it was killed in the middle of it
            event = json.loads(line)
            match event["event"]:
                case "watching":
                    self._sources, self.address = event["sources"], event["address"]
                case "adapted":
                    self.adapted += 1
                case "looked":
                    self.looks[event["outcome"]] += 1
                    if event["message"]:
                        self.troubles[event["message"]] += 1
                    elif event["since"] is None:
                        self._good |= dict.fromkeys(event["sources"], time.monotonic() - event["seconds"])

    @property
    def code(self) -> int | None:
        """What it ended with; None while it goes on."""
        return self._process.poll()

    @property
    def is_alive(self) -> bool:
        """Whether it goes on."""
        return self.code is None

    def wait_until_it_listens(self) -> None:
        """Waits until it is up."""
        self._wait(lambda: bool(self.address), "it did not come up")

    def see_all(self) -> None:
        """Has it look at everything, and waits until each source was listed whole, with success, since just now."""
        time.sleep(2)  # whatever was told before has been read by then
        asked = time.monotonic()
        self._process.send_signal(signal.SIGHUP)
        self._wait(
            lambda: bool(self._sources) and all(self._good.get(name, 0.0) >= asked for name in self._sources),
            "it did not look at everything",
        )

    def sample(self) -> Sample | None:
        """What it takes now; None where it has ended."""
        try:
            process = psutil.Process(self._process.pid)
            children = process.children(recursive=True)
            self._children |= {child.pid for child in children}
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
            )
            return Sample(
                int(status["RssAnon"].split()[0]) * 1024, process.num_fds(), int(status["Threads"]), len(children)
            )
        except (psutil.Error, OSError, KeyError):
            return None

    def kill(self) -> None:
        """Kills it."""
        self.sample()
        self._process.kill()
        self._end()

    def stop(self, times: int = 1) -> int:
        """Asks it to stop, once or several times; its exit code."""
        self.sample()
        for _ in range(times):
            self._process.send_signal(signal.SIGTERM)
            time.sleep(0.02)
        return self._end()

    def _end(self) -> int:
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._wait(lambda: not any(map(_lives, self._children)), f"a process of it lives on: {self._children}")
        return code

    def _wait(self, is_so, otherwise: str) -> None:
        end = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < end, f"{otherwise}: {dict(self.looks)}, {dict(self.troubles)}"
            time.sleep(0.05)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)


def _lives(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "qloader" in " ".join(process.cmdline())
    return False
