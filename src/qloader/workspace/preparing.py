"""Preparing on every core: processes that read, hash, cut and embed the documents of an apply ahead of their turn.

The engine holds Python's lock while it writes, and so does most of the reading; only other processes really work beside
it. They are plain ones of this program (`preparer.py`) and speak frames over their standard input and output: the
length in four bytes, then a value of plain types as `marshal` writes it. They end when this process does, however it
ends.
"""

from __future__ import annotations

import contextlib
import marshal
import sys
import threading
from array import array
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from typing import IO, Any

from qloader.applying.reading import Portion, ReadDocument, Reader
from qloader.chunking.chunker import Chunk
from qloader.documents.document import Document, Skipped
from qloader.errors import QloaderError, SourceError
from qloader.index.protocol import SparseVector
from qloader.planning.plan import Summary
from qloader.telemetry.helpers import Report
from qloader.workspace.processes import start
from qloader.workspace.resources import count_processes
from qloader.workspace.settings import Settings

CHARACTERS_FROM = 4_000_000
"""Characters to embed from which processes are worth their start: they are prepared here in less than a second."""

DOCUMENTS_A_PORTION = 16

_AHEAD = 3
"""Portions that wait for each process, so that none ever waits for this one."""

PIPE = 1 << 20
"""Bytes that a pipe should hold: a process must not wait for this one, which may be in the engine for a while."""


class Pool:
    """The processes of one apply. Starts none where they would not be worth it.

    Args:
        settings: The config and what follows from it.
        summary: What the plan is about to do.
    """

    def __init__(self, settings: Settings, summary: Summary) -> None:
        self._settings = settings
        self.recorder = settings.recorder
        """Told what the processes take."""
        config = settings.config
        count = count_processes(config.ingestion.parallel.max_workers, config.resources.cpu.max_percentage)
        is_worth_it = summary.characters >= CHARACTERS_FROM and bool(sys.executable)
        self._sources = frozenset(name for name in config.sources if _lies_here(settings, name)) if is_worth_it else ()
        self.count = count - 1 if self._sources else 0
        """How many there are; this process is one of those that may be at work, too."""
        self._workers: list[_Worker] = []
        self._tasks: deque[_Task] = deque()
        self._lock = threading.Lock()
        self._is_closed = False

    def start(self) -> None:
        """Starts them, so that they are ready when they are needed."""
        hello = _hello(self._settings, self._sources) if self.count and not self._workers else {}
        while len(self._workers) < self.count:
            self._workers.append(_Worker(self, hello))

    def reader(self, name: str) -> Reader | None:
        """Who reads a source; None where no process does."""
        return _ProcessReader(self, name) if self._workers and name in self._sources else None

    def close(self) -> None:
        """Ends the processes and the threads that speak with them; what they were at is dropped."""
        with self._lock:
            self._is_closed = True
            self._tasks.clear()
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def put(self, task: _Task) -> None:
        """Hands a task to the processes; where all have ended, it fails."""
        with self._lock:
            self._tasks.append(task)
            self._share_out()
            failed = self._forsaken()
        _fail(failed)

    def after(self, worker: _Worker) -> None:
        """Hands out what waits, since a worker is done with a task, or has ended."""
        with self._lock:
            if not worker.is_alive:
                failed, worker.tasks = list(worker.tasks), deque()
                failed += self._forsaken()
            else:
                failed = []
                self._share_out()
        _fail(failed)

    def _forsaken(self) -> list[_Task]:
        """The tasks that wait, where no process is left to do them; they wait no more."""
        if any(worker.is_alive for worker in self._workers):
            return []
        forsaken = list(self._tasks)
        self._tasks.clear()
        return forsaken

    def _share_out(self) -> None:
        while self._tasks and not self._is_closed:
            free = [worker for worker in self._workers if worker.is_alive and len(worker.tasks) < _AHEAD]
            if not free:
                return
            min(free, key=lambda worker: len(worker.tasks)).give(self._tasks.popleft())


class _Task:
    """A portion that is being read."""

    def __init__(self, portion: Portion) -> None:
        self.portion = portion
        self.future: Future[Sequence[ReadDocument | Skipped]] = Future()

    @property
    def at(self) -> str:
        """The address of its first document."""
        return f"{self.portion.source}/{self.portion.wanted[0].id}"

    def fail(self, error: BaseException) -> None:
        with contextlib.suppress(InvalidStateError):  # nobody wants it any more
            self.future.set_exception(error)


class _Worker:
    """One process, and the thread that takes what it says."""

    def __init__(self, pool: Pool, hello: dict[str, Any]) -> None:
        self._pool = pool
        self.tasks: deque[_Task] = deque()
        """What it is at, and what waits for it; changed under the pool's lock."""
        self.is_alive = True
        self.process = start("qloader.workspace.preparer")
        widen(self.process.stdout)
        self._thread = threading.Thread(target=self._listen, name="qloader-prepare", daemon=True)
        with contextlib.suppress(OSError):  # it ended already; whoever listens is told
            write_frame(self._input, hello)
        self._thread.start()

    @property
    def _input(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def give(self, task: _Task) -> None:
        """Sends it a task; called under the pool's lock."""
        self.tasks.append(task)
        portion = task.portion
        with contextlib.suppress(OSError):  # it ended; whoever listens is told
            write_frame(self._input, (portion.source, portion.revision, [tuple(one) for one in portion.wanted]))

    def _listen(self) -> None:
        output = self.process.stdout
        assert output is not None
        try:
            while (frame := read_frame(output)) is not None:
                task = self.tasks[0]
                try:
                    result = _unpack(frame)
                except QloaderError as error:
                    task.fail(error)
                else:
                    self._pool.recorder.helped(Report(*frame["report"]))
                    with contextlib.suppress(InvalidStateError):
                        task.future.set_result(result)
                self.tasks.popleft()
                self._pool.after(self)
        except Exception:  # it ended in the middle, or there is no memory for what it says: whoever waits is told
            self.process.kill()
        finally:
            self.is_alive = False
            self._pool.after(self)

    def end(self) -> None:
        """Waits for its end; it was killed."""
        self.process.wait()
        self._thread.join()
        self._pool.recorder.helper_ended(self.process.pid)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not yet written to a killed process
                    pipe.close()


class _ProcessReader:
    """Reads one source by the processes of a pool."""

    most: int | None = DOCUMENTS_A_PORTION

    def __init__(self, pool: Pool, source: str) -> None:
        self._pool = pool
        self._waiting: deque[_Task] = deque()
        self._source = source
        self._done = 0

    def submit(self, portion: Portion) -> Future[Sequence[ReadDocument | Skipped]]:
        """Has a portion read, by whichever process is free."""
        while self._waiting and self._waiting[0].future.done():
            self._waiting.popleft()
        task = _Task(portion)
        task.future.add_done_callback(self._note)
        self._waiting.append(task)
        self._pool.put(task)
        return task.future

    def _note(self, _: Future[Any]) -> None:
        self._done += 1

    @property
    def beats(self) -> int:
        """Portions that were read so far."""
        return self._done

    @property
    def at(self) -> str:
        """The address of the first document of what is being read."""
        return next((task.at for task in list(self._waiting) if not task.future.done()), self._source)

    def close(self) -> None:
        """Ends the pool."""
        self._pool.close()


def _lies_here(settings: Settings, name: str) -> bool:
    """Whether a source is files of this machine: what a server has to be asked for is asked for by one process."""
    section = settings.config.sources[name]
    if section.type == "git":
        from qloader.sources.git_remote import is_remote

        return not is_remote(section.url)
    return section.type == "files"


def _hello(settings: Settings, sources: Sequence[str] | frozenset[str]) -> dict[str, Any]:
    """What a process has to know."""
    embedding, config = settings.pipeline.embedding, settings.config
    return {
        "sources": {name: config.sources[name].model_dump(mode="json", exclude={"token"}) for name in sources},
        "base": str(config.base),
        "cache_dir": str(settings.cache.parent / "sources"),
        "chunking": (config.chunking.max_chars, config.chunking.overlap_chars),
        "bm25": {name: embedding[name] for name in ("language", "k", "b", "avg_len")},
    }


def _fail(tasks: Sequence[_Task]) -> None:
    """Tells whoever waits for them; not under the pool's lock, since whoever is told may hand over another one."""
    for task in tasks:
        task.fail(_ended(task))


def _ended(task: _Task) -> QloaderError:
    count = len(task.portion.wanted)
    return SourceError(
        f"a process that read {task.at}"
        + (f" and {count - 1} more documents" if count > 1 else "")
        + " ended in the middle of its work",
        remedy="It was killed (out of memory?) or broke down: what it said stands above. "
        "ingestion.parallel.max_workers: 1 reads without other processes.",
    )


def _unpack(answer: Any) -> list[ReadDocument | Skipped]:
    """What a process found.

    Raises:
        QloaderError: The source is gone, or something else went wrong there.
    """
    if "error" in answer:
        raise (SourceError if answer["is_source"] else QloaderError)(answer["error"], remedy=answer["remedy"])
    return [Skipped(*item) if len(item) == 3 else _document(*item) for item in answer["documents"]]


def _document(
    document_id: str,
    title: str,
    uri: str,
    revision: str,
    size: int,
    metadata: dict[str, Any],
    updated_at: str | None,
    content: bytes,
    metadata_hash: bytes,
    chunks: list[tuple[str, tuple[str, ...]]],
    hashes: tuple[bytes, ...],
    sparse: list[tuple[bytes, bytes]],
) -> ReadDocument:
    document = Document(document_id, title, uri, "", revision, size, metadata, updated_at)
    vectors = tuple(SparseVector(array("I", indices), array("f", values)) for indices, values in sparse)
    return ReadDocument(document, content, metadata_hash, tuple(Chunk(*one) for one in chunks), hashes, vectors)


def write_frame(file: IO[bytes], value: Any) -> None:
    """Writes one value of plain types."""
    data = marshal.dumps(value)
    file.write(len(data).to_bytes(4, "little") + data)
    file.flush()


def read_frame(file: IO[bytes]) -> Any:
    """The next value; None at the end, also where the last one is cut short."""
    head = file.read(4)
    size = int.from_bytes(head, "little")
    data = file.read(size) if len(head) == 4 else b""
    # It comes from a process of this very program, over a pipe that nobody else has.
    return marshal.loads(data) if data and len(data) == size else None  # noqa: S302


def widen(pipe: IO[bytes] | None) -> None:
    """Has a pipe hold more before whoever writes has to wait, where the system can."""
    if pipe is None or sys.platform != "linux":
        return
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE)
