"""The page with the figures: what was measured, on what, between two marks."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from measure import Row

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
LIBRARIES = (
    "duckdb",
    "qdrant-edge-py",
    "dulwich",
    "semantic-text-splitter",
    "typer",
    "pydantic",
    "xxhash",
    "orjson",
    "numpy",
)
_HEAD = ["| what / floor | ours | floor | ratio | target | met | peak memory |", "|---|---|---|---|---|---|---|"]


def write(file: Path, rows: Sequence[Row]) -> None:
    """Puts these rows in place of all that the page had."""
    put(file, text(rows))


def merge(file: Path, rows: Sequence[Row]) -> None:
    """Puts each row in place of the one that says the same but for its numbers, or at the end of the table."""
    lines = file.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip().split("\n")
    places = {_name(line): place for place, line in enumerate(lines) if line.startswith("|")}
    for row in rows:
        line = _line(row)
        if (place := places.get(_name(line))) is not None:
            lines[place] = line
        else:
            lines.append(line)
    put(file, "\n".join(lines) + "\n")


def text(rows: Sequence[Row]) -> str:
    """The rows as Markdown, with what they were measured on."""
    table = "\n".join([*_HEAD, *map(_line, rows)])
    return f"Measured on {machine()}, by `make bench`.\n\n{table}\n"


def machine() -> str:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; {libraries}"
    )


def put(file: Path, said: str, begin: str = BEGIN, end: str = END) -> None:
    """Puts what was measured between two marks of a page."""
    whole = file.read_text(encoding="utf-8")
    before, after = whole.partition(begin)[0], whole.partition(end)[2]
    file.write_text(f"{before}{begin}\n\n{said}\n{end}{after}", encoding="utf-8")


def _line(row: Row) -> str:
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    return f"| {row.what} | {row.ours} | {row.floor} | {row.ratio:.2f} | {row.target} | {met} | {row.memory} |"


def _name(line: str) -> str:
    """What a row is about, whatever its numbers."""
    return re.sub(r"\d[\d,.]*", "N", line.split("|")[1]).strip()
