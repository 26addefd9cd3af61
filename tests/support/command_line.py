"""The command line as a user meets it: in this process for speed, or as a real one where only that tells the truth."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qloader import Workspace
from qloader.cli.app import run
from qloader.workspace import advising

QLOADER = [sys.executable, "-m", "qloader"]
HOLDING = [sys.executable, str(Path(__file__).with_name("holding_writer.py"))]
SUPPORT = Path(__file__).parent
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
"""What no output for people may hold, but for line ends and tabs."""


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON; nothing else may be in it."""
        return json.loads(self.out)

    @property
    def events(self) -> list[Any]:
        """Standard output as JSON, a value a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> str:
        """The last line for people."""
        return self.err.rstrip("\n").rpartition("\n")[2]

    @property
    def error(self) -> str:
        """The error's sentence."""
        return self.err[self.err.rindex("Error: ") :].partition("\n")[0]

    @property
    def remedy(self) -> str:
        """What stands below the error's first line."""
        return self.err[self.err.rindex("Error: ") :].partition("\n")[2]


class Prompt:
    """A folder, and a command line in it.

    Example:
        `prompt("plan", "-o", "plan.json").code == 0`
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capsys = capsys
        monkeypatch.chdir(folder)
        for name in ("QLOADER_CONFIG", "QLOADER_HOME", "QLOADER_DEBUG", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / ".xdg"))
        monkeypatch.setenv("XDG_STATE_HOME", str(folder / ".xdg"))
        # What an apply that took long says of where its time went; here only the machine may be slow.
        monkeypatch.setattr(advising, "LONG", math.inf)

    def __call__(self, *arguments: str | Path) -> Answer:
        """Runs a command in this process."""
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    def ok(self, *arguments: str | Path) -> Answer:
        """Runs a command that must end well."""
        answer = self(*arguments)
        assert answer.code == 0, answer.err
        return answer

    def process(self, *arguments: str | Path, env: Mapping[str, str] | None = None, **options: Any) -> Answer:
        """Runs a command as a process of its own."""
        options = {"cwd": self.folder, "stdin": subprocess.DEVNULL, "capture_output": True, "timeout": 300, **options}
        done = subprocess.run([*QLOADER, *map(str, arguments)], env={**os.environ, **(env or {})}, **options)
        out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout or b"", done.stderr or b""))
        return Answer(done.returncode, out, err)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a command and lets it run."""
        options = {"cwd": self.folder, "stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen([*QLOADER, *map(str, arguments)], **options)

    @property
    def docs(self) -> Path:
        """The folder of the source `docs`."""
        return self.folder / "docs"

    @property
    def workspace(self) -> Workspace:
        """The folder's config, loaded anew."""
        return Workspace.open(self.folder / "qloader.yaml")

    def configure(self, text: str, *, name: str = "qloader.yaml") -> Path:
        """Writes a config."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def load(self, *options: str) -> None:
        """Plans and applies."""
        self.ok("plan", "-o", "plan.json", *options)
        self.ok("apply", "plan.json")


def start_held(folder: Path, where: str, calls: str, *arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a command that holds right before these calls of a method: see `support.holding_writer`."""
    command = [*HOLDING, where, calls, "--", *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, cwd=folder, **{**pipes, **options})


def until_it_holds(process: subprocess.Popen[bytes]) -> list[bytes]:
    """Waits until such a command holds; returns the lines that it wrote to stdout before."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line == b"holding\n":
            return lines
        lines.append(line)
    assert process.stderr is not None
    raise AssertionError(f"it ended and never held: {process.stderr.read().decode()}")


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Lets such a command go on."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def settle(folder: Path) -> None:
    """Waits until all files are old enough for their change tokens to be trusted, which takes two seconds."""
    newest = max(path.stat().st_ctime for path in folder.rglob("*"))
    wait_until(lambda: time.time() > newest + 2.05)


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    """Asks again and again until it is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def some_documents(count: int, *, first: int = 0) -> dict[str, str | None]:
    """So many short documents that are all different."""
    return {
        f"page-{number:04}.md": f"# Page {number}\n\nWhat page {number} says of gardens, lamp {number * 7} and tea.\n"
        for number in range(first, first + count)
    }
