"""A process that prepares documents: `python -m qloader.workspace.preparer`. Started and ended by `preparing.py` alone.

Reads a frame of settings, then frames of portions, and answers each with a frame: its documents, in their order, and
what it took.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from array import array
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from qloader.applying.reading import Portion, ReadDocument, Wanted, read_portion
from qloader.chunking.chunker import Chunker
from qloader.config.sources import SourceConfig
from qloader.documents.document import Skipped
from qloader.embedding.bm25 import Bm25Embedder
from qloader.errors import QloaderError, SourceError
from qloader.index.protocol import SPARSE_VECTOR, SparseVector
from qloader.sources.protocol import Source
from qloader.sources.registry import open_source
from qloader.telemetry.helpers import Diary
from qloader.workspace.preparing import read_frame, write_frame

ANSWERS = 4
"""Answers that may wait for their reader while the next is worked out."""


def main() -> None:
    """Answers until the input ends."""
    hello = read_frame(sys.stdin.buffer)
    if hello is None:
        return
    preparer = Preparer(hello)
    answers: queue.Queue[Any] = queue.Queue(ANSWERS)
    writer = threading.Thread(target=_write, args=(answers,), daemon=True)
    writer.start()
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        name, revision, wanted = frame
        portion = Portion(name, revision, tuple(Wanted(*one) for one in wanted))
        try:
            packed = [preparer.pack(name, result, one) for result, one in preparer.read(portion)]
            answer: Any = {"documents": packed, "report": tuple(preparer.diary.tell())}
        except QloaderError as error:
            answer = {"error": str(error), "remedy": error.remedy, "is_source": isinstance(error, SourceError)}
        answers.put(answer)
    answers.put(None)
    writer.join()


def _write(answers: queue.Queue[Any]) -> None:
    """Writes answers in a thread of their own: who reads them is in the engine for a while now and then."""
    try:
        while (answer := answers.get()) is not None:
            write_frame(sys.stdout.buffer, answer)
    except OSError:  # nobody wants them any more
        os._exit(0)


class Preparer:
    """Reads portions of the sources that it was told of.

    Attributes:
        diary: What it takes.

    Args:
        settings: What `preparing.py` says.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.diary = Diary()
        self._settings = settings
        self._chunker = Chunker(*settings["chunking"])
        self._bm25 = Bm25Embedder(**settings["bm25"])
        self._sources: dict[str, Source] = {}

    def read(self, portion: Portion) -> Any:
        """The documents of a portion, each with what was wanted."""
        results = read_portion(self._source(portion.source), portion, self._chunker, self.diary, lambda address: None)
        return zip(results, portion.wanted, strict=True)

    def _source(self, name: str) -> Source:
        if name not in self._sources:
            section: Any = TypeAdapter(SourceConfig).validate_python(self._settings["sources"][name])
            base, cache_dir = Path(self._settings["base"]), Path(self._settings["cache_dir"])
            source = open_source(name, section, base=base, cache_dir=cache_dir)
            if hasattr(source, "dates"):
                source.dates = True
            self._sources[name] = source
        return self._sources[name]

    def pack(self, source: str, result: ReadDocument | Skipped, wanted: Wanted) -> tuple[Any, ...]:
        """One result of a source, in plain types."""
        self.diary.count("helper_documents", 1, source)
        if isinstance(result, Skipped):
            return (result.id, result.reason, result.detail)
        document = result.document
        self.diary.count("helper_bytes", document.bytes, source)
        sparse = []
        if wanted.is_new:
            with self.diary.span("embed", source):
                for vectors in self._bm25.embed_documents([chunk.text for chunk in result.chunks]):
                    vector = vectors[SPARSE_VECTOR]
                    assert isinstance(vector, SparseVector)
                    sparse.append((array("I", vector.indices).tobytes(), array("f", vector.values).tobytes()))
        return (
            document.id,
            document.title,
            document.uri,
            document.revision,
            document.bytes,
            dict(document.metadata),
            document.updated_at,
            result.content,
            result.metadata,
            [(chunk.text, chunk.headings) for chunk in result.chunks],
            result.hashes,
            sparse,
        )


if __name__ == "__main__":
    main()
