"""`--log-format` and `--log-file`: records for programs, beside what people read or in its place.

Both may stand anywhere on the command line, as `--debug` may.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from qloader.errors import QloaderError

if TYPE_CHECKING:
    from qloader.telemetry.log import Log

FORMATS = ("text", "json")


class _Logging:
    """What the command line that is being run says of logs."""

    log: Log | None = None
    takes_stderr = False


_now = _Logging()


def current() -> Log | None:
    """Where records go; None where the command line names nothing."""
    return _now.log


def takes_stderr() -> bool:
    """Whether records go to stderr, so that nothing else may."""
    return _now.takes_stderr


def begin(arguments: Sequence[str], stack: contextlib.ExitStack) -> list[str]:
    """Takes the options of logs from a command line and does what they say until the stack is closed.

    Args:
        arguments: The command line.
        stack: Undoes it.

    Returns:
        The command line without them.

    Raises:
        QloaderError: The format is none, or the file cannot be written.
    """
    options, rest = _take(arguments)
    form, file = options.get("--log-format", "text"), options.get("--log-file")
    if form not in FORMATS:
        raise QloaderError(f"--log-format {form} is none", remedy="Write --log-format json, or leave it out.")
    if file is None and form == "text":
        return rest
    from qloader.workspace.telling import open_log

    stack.callback(_end)
    invocation = os.urandom(6).hex()
    if file is not None:
        _now.log = open_log(Path(file), invocation, level="info", what="--log-file", stack=stack)
        return rest
    _now.log, _now.takes_stderr = _log_to(sys.stderr, invocation), True
    stream = _Lines(_now.log)
    stack.callback(setattr, sys, "stderr", sys.stderr)
    stack.callback(stream.close)
    sys.stderr = stream
    return rest


def _log_to(stream: TextIO, invocation: str) -> Log:
    from qloader.telemetry.log import Log

    def write(line: str) -> None:
        stream.write(line)
        stream.flush()

    return Log(write, invocation=invocation)


def _end() -> None:
    _now.log, _now.takes_stderr = None, False


def tell_error(message: str, remedy: str) -> bool:
    """Records how a command ended badly, unless the run did; whether that is all that may be written to stderr."""
    if _now.log is not None and _now.log.told is None:
        _now.log.record("error", "error", message=message, remedy=remedy)
    return _now.takes_stderr


def _take(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The options with their values, and what is left."""
    found: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, is_joined, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif name in ("--log-format", "--log-file"):
            given = value if is_joined else next(words, None)
            if not given:
                raise QloaderError(f"{name} needs a value", remedy="See `qloader --help`.")
            found[name] = given
        else:
            rest.append(word)
    return found, rest


class _Lines(io.TextIOBase):
    """Makes a record of each line that is written to stderr: it must not be lost, and only records may be there."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._record(line)
        return len(text)

    def close(self) -> None:
        rest, self._rest = self._rest, ""
        self._record(rest)
        super().close()

    def _record(self, line: str) -> None:
        if line.strip():
            self.log.record("info", "output", message=line.rstrip())
