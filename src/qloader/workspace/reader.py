"""A reader process: `python -m qloader.workspace.reader`. Started and ended by `readers.py` alone.

Reads a line of settings, then lines of documents to read, and answers each with a line: observations, and what it took.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from qloader.chunking.chunker import Chunker
from qloader.config.sources import SourceConfig
from qloader.documents.document import Document
from qloader.errors import QloaderError
from qloader.manifest.observing import Observation, Read, Wanted, read_here
from qloader.sources.registry import open_source
from qloader.telemetry.helpers import Diary


def main() -> None:
    """Answers until the input ends."""
    settings = orjson.loads(sys.stdin.buffer.readline() or b"null")
    if settings is None:
        return
    read, diary, source = _open(settings), Diary(), settings["source"]
    for line in sys.stdin.buffer:
        wanted = [Wanted(i, None if content is None else bytes.fromhex(content)) for i, content in orjson.loads(line)]
        try:
            seen = list(read(wanted, settings["revision"]))
            diary.count("helper_documents", len(seen), source)
            diary.count("helper_bytes", sum(one.size for one in seen), source)
            answer: Any = {"observed": [_as_json(one) for one in seen], "report": tuple(diary.tell())}
        except QloaderError as error:
            answer = {"error": str(error), "remedy": error.remedy}
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


def _open(settings: dict[str, Any]) -> Read:
    config: Any = TypeAdapter(SourceConfig).validate_python(settings["config"])
    source = open_source(settings["source"], config, base=Path(settings["base"]), cache_dir=Path(settings["cache_dir"]))
    chunker = Chunker(settings["max_chars"], settings["overlap_chars"])

    def split(document: Document) -> list[str]:
        return [chunk.text for chunk in chunker.split(document.text, document.syntax)]

    return read_here(source, lambda: split)


def _as_json(seen: Observation) -> list[Any]:
    return [value.hex() if isinstance(value, bytes) else value for value in seen]


if __name__ == "__main__":
    main()
