"""Reading on every core: processes that read, normalise, hash and chunk side by side.

Python runs one thread at a time, and a first plan is nearly all Python. The readers are plain processes of
this program (`reader.py`) that speak JSON, a line a message, over their standard input and output. They end
when this process does, however it ends.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import orjson

from qloader.errors import QloaderError, SourceError
from qloader.manifest.observing import Observation, Read, Wanted
from qloader.telemetry.helpers import Report
from qloader.telemetry.recorder import NOBODY, Recorder
from qloader.workspace.processes import start
from qloader.workspace.resources import count_processes

READERS_FROM = 2_000
"""Documents from which readers are worth their start (a quarter of a second each, half a millisecond a document)."""

DOCUMENTS_A_MESSAGE = 64

_AHEAD = 3
"""Messages that wait for each reader, so that none ever waits for this process."""


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """What a reader process needs to know, as JSON values: what `workspace/reader.py` makes a source of."""

    source: str
    config: dict[str, Any]
    base: str
    cache_dir: str
    max_chars: int
    overlap_chars: int


def count_readers(max_workers: int, documents: int, *, max_percentage: float = 100.0) -> int:
    """How many readers so many documents deserve; 0: read them here.

    Args:
        max_workers: Readers, at most.
        documents: How many are to be read.
        max_percentage: How much of the cores may be used.
    """
    if documents < READERS_FROM or not sys.executable:
        return 0
    readers = count_processes(max_workers, max_percentage)
    return readers if readers > 1 else 0


def read_side_by_side(settings: ReaderSettings, count: int, recorder: Recorder = NOBODY) -> Read:
    """Reads with so many processes; results come in any order, and the recorder is told what the processes take."""

    def read(wanted: Iterable[Wanted], revision: str | None) -> Iterator[Observation]:
        yield from _Pool(settings, revision, count, recorder).run(wanted)

    return read


class _Pool:
    """The readers of one snapshot, from their start to their end."""

    def __init__(self, settings: ReaderSettings, revision: str | None, count: int, recorder: Recorder) -> None:
        self._tasks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[list[Any] | QloaderError] = queue.SimpleQueue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._source = settings.source
        self._recorder = recorder
        hello = {name: getattr(settings, name) for name in ReaderSettings.__slots__} | {"revision": revision}
        self._hello = orjson.dumps(hello) + b"\n"
        self._count = count

    def run(self, wanted: Iterable[Wanted]) -> Iterator[Observation]:
        documents = iter(wanted)
        threads = []
        try:
            for _ in range(self._count):
                process = start("qloader.workspace.reader")
                self._processes.append(process)
                threads.append(threading.Thread(target=self._serve, args=(process,), daemon=True))
            for thread in threads:
                thread.start()
            under_way = sum(self._send(documents) for _ in range(self._count * _AHEAD))
            while under_way:
                result = self._results.get()
                if isinstance(result, QloaderError):
                    raise result
                under_way += self._send(documents) - 1
                for item in result:
                    yield _observation(item)
        finally:
            for _ in threads:
                self._tasks.put(None)
            for process in self._processes:
                process.kill()
            for thread in threads:
                if thread.is_alive():  # Ctrl-C may come before it was started
                    thread.join()
            for process in self._processes:
                process.wait()
                self._recorder.helper_ended(process.pid)
                for pipe in (process.stdin, process.stdout):
                    _close(pipe)

    def _send(self, documents: Iterator[Wanted]) -> bool:
        """Queues the next message, if there is anything left to read."""
        batch = [(d.id, d.content and d.content.hex()) for d in islice(documents, DOCUMENTS_A_MESSAGE)]
        if batch:
            self._tasks.put(orjson.dumps(batch) + b"\n")
        return bool(batch)

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        """Hands messages to one reader and takes its answers, until there are no more."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(self._hello)
            while (task := self._tasks.get()) is not None:
                process.stdin.write(task)
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer.endswith(b"\n"):
                    break
                found = orjson.loads(answer)
                if "error" in found:
                    self._results.put(SourceError(found["error"], remedy=found["remedy"]))
                else:
                    self._recorder.helped(Report(*found["report"]))
                    self._results.put(found["observed"])
            else:
                return
        except (OSError, ValueError):
            pass
        self._results.put(
            QloaderError(
                f"a process that read the source {self._source} ended in the middle of its work",
                remedy="It was killed (out of memory?) or broke down: what it said stands above. Run the same "
                "command again; ingestion.parallel.max_workers: 1 reads without other processes.",
            )
        )


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):  # what was not yet written to a killed reader
            pipe.close()


def _observation(item: list[Any]) -> Observation:
    document_id, skip, detail, content, metadata, revision, size, chunks, title, keys = item
    return Observation(
        document_id,
        skip,
        detail,
        None if content is None else bytes.fromhex(content),
        None if metadata is None else bytes.fromhex(metadata),
        revision,
        size,
        None if chunks is None else bytes.fromhex(chunks),
        title,
        keys,
    )
