"""Faults, put where the real calls are: an undisturbed run is walked, and each call that it makes is a fault point.

A point is a public method of qloader's rooms that do I/O, a statement that SQLite is given, or an fsync. Nothing
here lists them: `called_methods` and `recording` find them, so that a new step is a new point by itself.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import inspect
import os
import re
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

ROOMS = ("qloader.state.", "qloader.index.", "qloader.sources.", "qloader.embedding.", "qloader.manifest.cache")
"""The rooms whose public methods are points: those at the edges."""


class Killed(BaseException):
    """The process is gone; nothing that catches errors may catch this."""


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """One call of an undisturbed run.

    Attributes:
        name: `StateStore.commit_batch`, `sqlite state COMMIT`, `os.fsync`.
        call: Which of the calls of this name, from 1.
        takes_many: Whether its argument is a list, so that it can be done by half.
    """

    name: str
    call: int
    takes_many: bool = False

    def __str__(self) -> str:
        return f"{self.name}#{self.call}"


def _disk_full() -> Exception:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _io_error() -> Exception:
    return OSError(errno.EIO, os.strerror(errno.EIO))


METHOD_FAULTS: dict[str, Callable[[], BaseException]] = {
    "kill before": Killed,
    "kill after": Killed,
    "kill half": Killed,
    "exception": lambda: RuntimeError("boom"),
    "timeout": lambda: TimeoutError("timed out"),
    "reset": lambda: ConnectionResetError(errno.ECONNRESET, "connection reset by peer"),
    "disk full": _disk_full,
    "fsync error": _io_error,
}
SQLITE_FAULTS: dict[str, Callable[[], BaseException]] = {
    "kill before": Killed,
    "kill after": Killed,
    "busy": lambda: sqlite3.OperationalError("database is locked"),
    "disk full": lambda: sqlite3.OperationalError("database or disk is full"),
    "fsync error": lambda: sqlite3.OperationalError("disk I/O error"),
}
FSYNC_FAULTS: dict[str, Callable[[], BaseException]] = {
    "kill before": Killed,
    "kill after": Killed,
    "disk full": _disk_full,
    "fsync error": _io_error,
}


def faults_of(point: FaultPoint) -> list[str]:
    """The faults that can happen at a point."""
    if point.name.startswith("sqlite "):
        return list(SQLITE_FAULTS)
    if point.name == "os.fsync":
        return list(FSYNC_FAULTS)
    return [name for name in METHOD_FAULTS if name != "kill half" or point.takes_many]


@contextlib.contextmanager
def recording(targets: Sequence[tuple[type, str]]) -> Iterator[list[FaultPoint]]:
    """Notes each call of these methods, each statement and each fsync."""
    points: list[FaultPoint] = []
    counts: Counter[str] = Counter()

    def pass_by(name: str, call: Callable[[], Any], arguments: Sequence[Any]) -> Any:
        counts[name] += 1
        points.append(FaultPoint(name, counts[name], _is_many(arguments)))
        return call()

    with _patched(targets, pass_by):
        yield points


@contextlib.contextmanager
def faulty(targets: Sequence[tuple[type, str]], point: FaultPoint, fault: str) -> Iterator[list[bool]]:
    """Makes one call go wrong. Yields a list that is not empty when it happened."""
    counts: Counter[str] = Counter()
    happened: list[bool] = []
    make = {**METHOD_FAULTS, **SQLITE_FAULTS}
    if point.name.startswith("sqlite "):
        make = SQLITE_FAULTS
    elif point.name == "os.fsync":
        make = FSYNC_FAULTS

    def pass_by(name: str, call: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        counts[name] += 1
        if name != point.name or counts[name] != point.call or happened:
            return call()
        happened.append(True)
        if fault == "kill half":
            many = next(a for a in arguments if _is_list(a))
            call(half=many[: len(many) // 2])
        elif fault == "kill after":
            result = call()
            if inspect.isgenerator(result):
                next(result, None)
        raise make[fault]()

    with _patched(targets, pass_by):
        yield happened


def called_methods(run: Callable[[], None]) -> list[tuple[type, str]]:
    """Every public method of the rooms at the edges that a run calls, found by the interpreter's own profiler."""
    found: dict[tuple[str, str], None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            module = frame.f_globals.get("__name__", "")
            if module.startswith(ROOMS):
                found[module, frame.f_code.co_qualname] = None

    threading.setprofile(note)  # of those that are started from here on
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    methods = []
    for module, qualname in found:
        owner, _, name = qualname.rpartition(".")
        if not owner or name.startswith("_") or "<" in qualname or owner.startswith("_"):
            continue
        cls = functools.reduce(getattr, owner.split("."), importlib.import_module(module))
        if inspect.isclass(cls) and inspect.isfunction(inspect.getattr_static(cls, name, None)):
            methods.append((cls, name))
    return methods


@contextlib.contextmanager
def _patched(targets: Sequence[tuple[type, str]], pass_by: Callable[..., Any]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for cls, name in targets:
            original = inspect.getattr_static(cls, name)
            setattr(cls, name, _wrapped(f"{cls.__name__}.{name}", original, pass_by))
            stack.callback(setattr, cls, name, original)
        real_fsync, real_connect = os.fsync, sqlite3.connect
        os.fsync = lambda descriptor: pass_by("os.fsync", lambda: real_fsync(descriptor), ())  # type: ignore[assignment]
        stack.callback(setattr, os, "fsync", real_fsync)

        def connect(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
            match = re.search(r"(state|cache)\.db", str(database))
            if match is None:
                return real_connect(database, *arguments, **options)
            return real_connect(database, *arguments, **{**options, "factory": _connection_class(match[1], pass_by)})

        sqlite3.connect = connect  # type: ignore[assignment]
        stack.callback(setattr, sqlite3, "connect", real_connect)
        yield


def _wrapped(name: str, original: Callable[..., Any], pass_by: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        def call(half: Any = None) -> Any:
            if half is None:
                return original(self, *arguments, **options)
            at = next(n for n, a in enumerate(arguments) if _is_list(a))
            return original(self, *arguments[:at], half, *arguments[at + 1 :], **options)

        return pass_by(name, call, arguments)

    return method


def _connection_class(label: str, pass_by: Callable[..., Any]) -> type[sqlite3.Connection]:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> Any:
            return pass_by(_statement(label, sql), lambda: super(Connection, self).execute(sql, *arguments), ())

        def executemany(self, sql: str, *arguments: Any) -> Any:
            return pass_by(_statement(label, sql), lambda: super(Connection, self).executemany(sql, *arguments), ())

    return Connection


def _statement(label: str, sql: str) -> str:
    """`sqlite state UPDATE lease`: what a statement does, and to which table."""
    words = re.findall(r"[A-Za-z_.]+", sql)
    verb = words[0].upper()
    table = re.search(r"(?:INTO|UPDATE|FROM|TABLE(?: IF NOT EXISTS)?)\s+([a-z_.]+)", sql)
    if verb == "PRAGMA":
        return f"sqlite {label} PRAGMA {words[1]}"
    return f"sqlite {label} {verb}" + (f" {table[1]}" if table else "")


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 1


def _is_many(arguments: Sequence[Any]) -> bool:
    return any(_is_list(argument) for argument in arguments)


def sample(points: Sequence[FaultPoint]) -> list[FaultPoint]:
    """Of the calls of each name the first and the last."""
    last = Counter(point.name for point in points)
    return [point for point in points if point.call in (1, last[point.name])]
