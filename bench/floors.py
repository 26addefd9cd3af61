"""The floors: the least that each job can cost, as small programs of their own. `python bench/floors.py NAME ARGUMENTS`."""

from __future__ import annotations

import os
import sys


def imports(names: str) -> None:
    """Imports modules and nothing else."""
    import importlib

    for name in names.split(","):
        importlib.import_module(name)


def walk(folder: str, names: str = "") -> None:
    """A plain os.scandir walk with a stat of each file."""
    if names:
        imports(names)
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)


def _files(folder: str):
    for root, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(root, name)


def load_library(folder: str) -> None:
    """Reads, hashes and chunks with semantic-text-splitter alone."""
    from semantic_text_splitter import MarkdownSplitter
    from xxhash import xxh3_128_digest

    splitter = MarkdownSplitter(1200)
    for path in _files(folder):
        with open(path, "rb") as file:
            data = file.read()
        xxh3_128_digest(data)
        for chunk in splitter.chunks(data.decode()):
            xxh3_128_digest(chunk.encode())


def load_ours(folder: str) -> None:
    """Reads, hashes and chunks with qloader's own chunker, and nothing else of qloader."""
    from xxhash import xxh3_128_digest

    from qloader.chunking.chunker import Chunker

    chunker = Chunker()
    for path in _files(folder):
        with open(path, "rb") as file:
            data = file.read()
        xxh3_128_digest(data)
        for chunk in chunker.split(data.decode(), "markdown"):
            xxh3_128_digest(chunk.text.encode())


def join(cache: str, state: str) -> None:
    """The bare DuckDB join of two SQLite files."""
    from pathlib import Path

    import duckdb

    from qloader.planning.diff import _sqlite_extension

    connection = duckdb.connect(config={"threads": 2, "memory_limit": "512MB"})
    connection.execute(f"LOAD '{_sqlite_extension(duckdb.__version__)}'")
    connection.execute(f"ATTACH '{Path(cache)}' AS cache (TYPE sqlite, READ_ONLY)")
    connection.execute(f"ATTACH '{Path(state)}' AS state (TYPE sqlite, READ_ONLY)")
    connection.execute(
        "SELECT count(*) FROM cache.entry m FULL OUTER JOIN state.document a ON m.id = a.id "
        "WHERE m.content IS DISTINCT FROM a.content OR m.metadata IS DISTINCT FROM a.metadata"
    ).fetchall()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
