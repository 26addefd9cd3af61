"""How seconds, memory and disk grow with the number of documents: `make bench-scale`.

python bench/scale.py [--sizes 1000,10000] [--kinds files,git] [--write docs/scale.md --images docs/images]

Each size is measured by itself and kept in a file of results; the page is made of all sizes that are there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import page
from measure import Run, in_turn, run_process
from run import FLOORS, HERE, PYTHON, Story, work_folder
from scale_corpus import Changes, Folder, Repository, one_percent, path_of
from scale_page import BEGIN, END, text
from scale_pictures import draw

if TYPE_CHECKING:
    from qloader.planning.plan import Summary

SCALE_FLOORS = str(HERE / "scale_floors.py")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
KINDS: dict[str, type[Folder] | type[Repository]] = {"files": Folder, "git": Repository}
LARGE = 500_000
"""From here on a step and its floor are timed twice in turn, not three times."""

RACY = 2.1
"""Seconds after which a file's change token is trusted."""


class Workplace(Story):
    """A workspace whose one source is a large corpus."""

    def __init__(self, base: Path, documents: int, kind: str) -> None:
        self.base = base
        self.base.mkdir(parents=True)
        self.corpus = KINDS[kind](base, documents)
        self.documents = documents
        self.bytes = self.corpus.bytes
        self.config = base / "qloader.yaml"
        self.config.write_text(f"name: scale\nsources: {{docs: {{{self.corpus.config}}}}}\n")
        self._count = 0
        time.sleep(RACY)

    def touch(self, path: str) -> None:
        """Writes a file anew, with another text each time."""
        self._count += 1
        self.corpus.change(Changes({path: f"# Other {self._count}\n\nSomething else.\n".encode()}))
        time.sleep(RACY if self.corpus.kind == "files" else 0)

    def floor(self, modules: str) -> Run:
        """The least that must be looked at where nothing changed."""
        if isinstance(self.corpus, Folder):
            return run_process([PYTHON, FLOORS, "walk", str(self.corpus.docs), modules])
        return run_process([PYTHON, SCALE_FLOORS, "tree", str(self.corpus.path), modules])

    def sizes(self) -> dict[str, int]:
        """Bytes on the disk."""
        home = self.base / ".qloader"
        index = sum(f.stat().st_blocks * 512 for f in home.rglob("*") if f.is_file() and f.suffix != ".db")
        databases = {name: sum(f.stat().st_size for f in home.glob(f"**/{name}.db*")) for name in ("state", "cache")}
        return {"index": index, **databases, "plan": (self.base / "plan.json").stat().st_size}


def measure(base: Path, documents: int, kind: str) -> dict[str, Any]:
    """All steps, one after the other, over so many documents."""
    place = Workplace(base, documents, kind)
    times = 2 if documents >= LARGE else 3
    steps: dict[str, Any] = {}
    facts: dict[str, Any] = {"documents": documents, "bytes": place.bytes}

    def note(name: str, ours: Run, floor: Run | None = None, ratio: float | None = None) -> None:
        steps[name] = {**_figures(ours), "floor": floor and _figures(floor), "ratio": ratio}
        beside = f" / {floor.seconds:.2f} s = {ratio:.2f}" if floor is not None and ratio is not None else ""
        say(f"  {name}: {ours.seconds:.2f} s{beside}, {ours.memory:.0f} MB ({ours.own:.0f} of its own)")

    def beside(name: str, ours: Callable[[], Run], floor: Callable[[], Run]) -> None:
        note(name, *in_turn(ours, floor, times))

    plan = str(base / "plan.json")
    note("first plan", place.qloader("plan", "-o", plan))
    beside(
        "read the plan",
        lambda: run_process([PYTHON, SCALE_FLOORS, "read", plan]),
        lambda: run_process([PYTHON, SCALE_FLOORS, "lines", plan]),
    )
    note("show", place.qloader("show", plan))
    note("show --all", place.qloader("show", plan, "--all"))
    note("show, markdown", place.qloader("show", plan, "--format", "markdown"))
    note("show, html", place.qloader("show", plan, "--format", "html"))
    facts["chunks"] = _summary(plan).chunks_embed
    note("apply", place.qloader("apply", plan))
    facts["disk"] = place.sizes()
    note("search", place.qloader("search", "retry timeout of a request"))
    place.qloader("plan")
    modules = place.imported()

    def no_change() -> Run:
        if kind == "git":
            place.touch("other.txt")
        return place.qloader("plan")

    beside("no change", no_change, lambda: place.floor(modules))
    place.touch(path_of(0))
    note("one document changed, plan", place.qloader("plan"))
    place.corpus.change(one_percent(documents))
    time.sleep(RACY)
    note("1 % changed, plan", place.qloader("plan", "-o", plan))
    note("1 % changed, apply", place.qloader("apply", plan))
    facts["changes"] = _summary(plan).changes
    return {"kind": kind, "facts": facts, "steps": steps}


def _figures(run: Run) -> dict[str, float]:
    return {name: value for name, value in asdict(run).items() if name != "output"}


def _summary(plan: str) -> Summary:
    from qloader.planning.planfile import read_plan

    return read_plan(Path(plan)).header.summary


def say(line: str) -> None:
    """Tells how it goes on."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measures what was asked for, and writes the page and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of documents, with commas")
    parser.add_argument("--kinds", default=",".join(KINDS), help="files, git or both")
    parser.add_argument("--folder", type=Path, help="where the corpora lie meanwhile; 8 GB for a million documents")
    parser.add_argument("--results", type=Path, default=HERE / ".work" / "scale.json", help="all figures, as JSON")
    parser.add_argument("--from-results", action="store_true", help="measure nothing: take the figures from there")
    parser.add_argument("--write", type=Path, help="put the tables between the marks of this page")
    parser.add_argument("--images", type=Path, help="the folder for the pictures")
    chosen = parser.parse_args()
    found = json.loads(chosen.results.read_text()) if chosen.results.exists() else {}
    for size in [] if chosen.from_results else map(int, chosen.sizes.replace("_", "").split(",")):
        for kind in chosen.kinds.split(","):
            say(f"{size:,} documents, {kind} …")
            with work_folder() as folder:
                base = chosen.folder or folder
                try:
                    found[f"{kind}-{size}"] = measure(base / f"{kind}-{size}", size, kind)
                finally:
                    shutil.rmtree(base / f"{kind}-{size}", ignore_errors=True)
            found["machine"] = page.machine()
            chosen.results.write_text(json.dumps(found))
    said = text(found)
    print(said)
    if chosen.write:
        page.put(chosen.write, said, BEGIN, END)
    if chosen.images:
        draw(found, chosen.images)


if __name__ == "__main__":
    main()
