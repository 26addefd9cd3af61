"""The process's standard streams, whatever the caller made of them: closed, or pipes whose reader leaves."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Output(io.BufferedWriter):
    """A stream that its reader may leave (`| head -1`): the rest goes nowhere, and the work goes on.

    An apply must not end in the middle because nobody reads what it says, and the exit code stays that of the work.
    What a second Ctrl-C interrupts is not written twice: below this class no Python runs that it could interrupt
    between a write and the note that it was done.

    Attributes:
        is_for_people: Whether it does not matter either that a disk is full where it ends.
    """

    is_for_people = False

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self._go_on_after(error)
            return super().write(data)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._go_on_after(error)
            super().flush()

    def _go_on_after(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if not (self.is_for_people or isinstance(error, BrokenPipeError)):
            raise error


def prepare_streams() -> None:
    """Makes the three streams usable, once, before anything else is opened.

    A stream that the caller closed is opened to nowhere: else the first database opened would take its number, and a
    message printed there would end up in the database. What goes to stdout is for programs, and UTF-8 in any locale.
    """
    closed = [number for number in range(3) if not _is_open(number)]
    for number in closed:  # in ascending order, since the system gives out the lowest number that is free
        os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    if 0 in closed:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.stdout = _output(1, encoding="utf-8", line_buffering=os.isatty(1))
    sys.stderr = _output(2, encoding=sys.stderr.encoding if sys.stderr else "utf-8", line_buffering=True)


def takes_colours(file: TextIO) -> bool:
    """Whether what reads a stream shows bold and colours, and is wanted to."""
    return file.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") not in ("dumb", "unknown")


def insist_on_utf8() -> None:
    """Starts the program again in Python's UTF-8 mode where the locale is another.

    The system hands out file names as bytes, and Python makes text of them as the locale says. An id must not depend
    on the locale of whoever plans.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode:
        return
    os.environ["PYTHONUTF8"] = "1"  # for the processes that read documents
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - the same program


def _output(number: int, *, encoding: str, line_buffering: bool) -> TextIO:
    file = _Output(io.FileIO(number, "w", closefd=False))
    file.is_for_people = number == 2
    # A character that UTF-8 lacks (half of a pair) is written as `\udcff`, which is JSON's own way to write it.
    return io.TextIOWrapper(file, encoding=encoding, errors="backslashreplace", line_buffering=line_buffering)


def _is_open(number: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(number)
        return True
    return False
