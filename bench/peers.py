"""The tools beside qloader: what they cost, and whether their index is right, on the same pages in the same run.

`python bench/peers.py --write docs/benchmarks.md`. Each tool is a small script in bench/peers with
an environment of its own in bench/.work/peers, of the versions named here. All get the same pages, the same chunks
(qloader's chunker in the tool's own hook for splitting) and the same embedder, a hash; each timed step is run by one
tool after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corpus import change_corpus, rename_pages, write_corpus
from measure import run_process
from page import machine, put
from run import work_folder

HERE = Path(__file__).parent
SCRIPTS = HERE / "peers"
ENVIRONMENTS = HERE / ".work" / "peers"
QLOADER = str(Path(sys.executable).parent / "qloader")
CHUNKER = ("semantic-text-splitter==0.33.1", "xxhash==4.1.0", "PyYAML==6.0.4", "numpy==2.4.6")
CLIENT = "qdrant-client==1.20.0"
ROUNDS = 3
MARK = "<!-- make bench-full, {} documents: {} -->"

sys.path.insert(0, str(SCRIPTS))


@dataclass(frozen=True, slots=True)
class Tool:
    """One line of the tables.

    Attributes:
        name: What it is called there.
        script: Its script in bench/peers, without `.py`.
        environment: The folder of its environment; empty for the one that this runs in.
        packages: What is installed there.
        variables: What its script finds in its environment.
        is_floor: Whether only its first load counts.
    """

    name: str
    script: str
    environment: str = ""
    packages: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    is_floor: bool = False


_LANGCHAIN = (
    "langchain-qdrant==1.1.0", "langchain-classic==1.0.8", "langchain-community==0.4.2", "langchain-core==1.8.3",
    "SQLAlchemy==2.1.9", "greenlet==3.5.6", CLIENT,
)  # fmt: skip
_LLAMAINDEX = ("llama-index-core==0.14.25", "llama-index-vector-stores-qdrant==0.10.4", CLIENT)
OURS = Tool("qloader", "with_qloader")
TOOLS = (
    OURS,
    Tool("LangChain `index`, `full`", "with_langchain", "langchain", _LANGCHAIN, {"CLEANUP": "full"}),
    Tool("LangChain `index`, `incremental`", "with_langchain", "langchain", _LANGCHAIN, {"CLEANUP": "incremental"}),
    Tool("LlamaIndex `IngestionPipeline`", "with_llamaindex", "llamaindex", _LLAMAINDEX),
    Tool(
        "CocoIndex", "with_cocoindex", "cocoindex", ("cocoindex==1.0.26", CLIENT),
        {"COCOINDEX_DISABLE_USAGE_TRACKING": "1"},
    ),
    Tool("local mode alone, no state", "with_nothing", "llamaindex", _LLAMAINDEX, is_floor=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Once:
    """One run of a tool: seconds of the process and of its work alone, peak memory in MB, texts embedded."""

    seconds: float
    own: float
    memory: float
    embedded: int


@dataclass(slots=True)
class Wrong:
    """How an index differs from a fresh load, in chunks; `said` where the tool refused to run."""

    stale: int = 0
    missing: int = 0
    doubled: int = 0
    said: str = ""

    def __str__(self) -> str:
        parts = [f"{n:,} {word}" for word in ("stale", "missing", "doubled") if (n := getattr(self, word))]
        return ", ".join(parts) or "right"


@dataclass(slots=True)
class Result:
    """All that was measured of one tool."""

    name: str
    is_floor: bool = False
    runs: dict[str, Once] = field(default_factory=dict)
    wrong: dict[str, Wrong] = field(default_factory=dict)


class Contestant:
    """A tool with a store of its own, and the folder that all read."""

    def __init__(self, tool: Tool, base: Path) -> None:
        self.tool = tool
        self.docs = base / "docs"
        self.store = base / tool.script / "-".join(("store", *tool.variables.values()))
        self.result = Result(tool.name, tool.is_floor)
        self._log = self.store.with_name(self.store.name + ".log")
        self._python = _environment(tool)
        if tool is OURS:
            from with_qloader import configure

            configure(self.docs, self.store)

    def timed(self, *, look_only: bool = False) -> Once:
        """Brings the index up to date; of qloader it is its own command, for `look_only` a plan."""
        self._log.unlink(missing_ok=True)
        command = self._command("update")
        if self.tool is OURS:
            rest = ["plan"] if look_only else ["apply", "--auto-approve"]
            command = [QLOADER, "-c", str(self.store / "qloader.yaml"), *rest]
        run = run_process(command, env=self._variables())
        own = run.seconds if self.tool is OURS else float(json.loads(run.output.splitlines()[-1])["seconds"])
        return Once(run.seconds, own, run.memory, self._count("embed"))

    def update(self, death: str = "") -> tuple[int, str]:
        """Brings the index up to date by the script, up to a death; the exit code, and the last line of stderr."""
        self._log.unlink(missing_ok=True)
        more = {"PEERS_WRITES": "1"} | ({"PEERS_DEATH": death} if death else {})
        done = subprocess.run(self._command("update"), env=self._variables() | more, capture_output=True, text=True)
        return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]

    def counts(self) -> tuple[int, int]:
        """Texts embedded and points written by the last `update`."""
        return self._count("embed"), self._count("write")

    def compare(self, expected: Counter[tuple[str, str]]) -> Wrong:
        """How the index differs."""
        done = subprocess.run(self._command("dump"), env=self._variables(), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{self.tool.name}: reading the index failed:\n{done.stderr}")
        found = Counter((path, text) for path, text in json.loads(done.stdout.splitlines()[-1]))
        return Wrong(
            stale=sum(count for key, count in found.items() if key not in expected),
            missing=sum(max(count - found[key], 0) for key, count in expected.items()),
            doubled=sum(max(found[key] - count, 0) for key, count in expected.items()),
        )

    def keep(self, name: str) -> None:
        """Puts a copy of the store away."""
        shutil.copytree(self.store, self._kept(name))

    def restore(self, name: str) -> None:
        """Brings the copy back."""
        shutil.rmtree(self.store)
        shutil.copytree(self._kept(name), self.store)

    def _kept(self, name: str) -> Path:
        return self.store.with_name(f"{self.store.name}.{name}")

    def _command(self, command: str) -> list[str]:
        return [self._python, str(SCRIPTS / f"{self.tool.script}.py"), command, str(self.docs), str(self.store)]

    def _variables(self) -> dict[str, str]:
        paths = os.pathsep.join((str(SCRIPTS), str(HERE.parent / "src")))
        own = {"PEERS_LOG": str(self._log), "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
        return {**os.environ, **own, **self.tool.variables}

    def _count(self, kind: str) -> int:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return sum(int(line.split()[1]) for line in lines if line.startswith(kind))


def _environment(tool: Tool) -> str:
    """The Python of a tool's environment, which is made unless it is there with the same packages."""
    if not tool.environment:
        return sys.executable
    folder = ENVIRONMENTS / tool.environment
    stamp, packages = folder / "packages", [*tool.packages, *CHUNKER]
    python = str(folder / "bin" / "python")
    if not stamp.exists() or stamp.read_text().split() != packages:
        _say(f"installing {', '.join(tool.packages)} …")
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages], check=True)
        stamp.write_text("\n".join(packages))
    return python


def expected_chunks(docs: Path) -> Counter[tuple[str, str]]:
    """What an index of the folder holds after a fresh load."""
    from common import chunks, normal_text

    return Counter(
        (str(path.relative_to(docs)), text)
        for path in docs.rglob("*.md")
        for text in chunks(normal_text(path.read_bytes(), str(path)))
    )


def measure(
    base: Path, documents: int, tools: Sequence[Tool], *, with_accidents: bool
) -> tuple[list[Result], dict[str, int]]:
    """The comparison; the results, and facts about the corpus."""
    docs = base / "docs"
    size = write_corpus(docs, documents)
    for path in docs.rglob("*.md"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    everyone = [Contestant(tool, base) for tool in tools]
    facts = {"documents": documents, "bytes": size, "chunks": expected_chunks(docs).total()}
    _each(everyone, "first load", Contestant.timed)
    _check(everyone, "first load", docs)
    full = [one for one in everyone if not one.tool.is_floor]

    time.sleep(2.1)  # qloader trusts a file's change token two seconds after its change
    _no_change(full)
    moved = rename_pages(sorted(docs.rglob("*.md"))[:: max(documents // 20, 1)][:20])
    facts["renamed alone"] = len(moved)
    _each(full, "renames alone", Contestant.timed)
    _check(full, "renames alone", docs)
    for one in full if with_accidents else ():
        one.keep("before")

    before = expected_chunks(docs)
    changed = change_corpus(docs)
    facts |= {name: len(getattr(changed, name)) for name in ("edited", "added", "deleted", "renamed")}
    facts["new chunks"] = (expected_chunks(docs) - before).total()
    _each(full, "1 % changed", Contestant.timed)
    _check(full, "1 % changed", docs)
    if with_accidents:
        for one in full:
            one.keep("after")
        _together(lambda one: _kill(one, docs), full)
        _empty(full, docs)
    return [one.result for one in everyone], facts


def _each(everyone: Sequence[Contestant], step: str, run: Callable[[Contestant], Once]) -> None:
    for one in everyone:
        once = one.result.runs[step] = run(one)
        _say(f"  {step}: {one.tool.name}: {once.seconds:.2f} s, own {once.own:.2f} s, {once.memory:.0f} MB, "
             f"{once.embedded:,} embedded")  # fmt: skip


def _check(everyone: Sequence[Contestant], step: str, docs: Path) -> None:
    expected = expected_chunks(docs)
    for one, found in zip(everyone, _together(lambda one: one.compare(expected), everyone), strict=True):
        one.result.wrong[step] = found
        _say(f"  {step}: {one.tool.name}: {found}")


def _no_change(everyone: Sequence[Contestant]) -> None:
    """In turn, after one warm-up each; medians."""
    ways = [(one, False) for one in everyone] + [(one, True) for one in everyone if one.tool is OURS]
    found: dict[int, list[Once]] = {place: [] for place in range(len(ways))}
    for round_ in range(ROUNDS + 1):
        for place, (one, look_only) in enumerate(ways):
            once = one.timed(look_only=look_only)
            if round_:
                found[place].append(once)
    for place, (one, look_only) in enumerate(ways):
        runs = found[place]
        step = "no change, plan" if look_only else "no change"
        once = one.result.runs[step] = Once(
            statistics.median(run.seconds for run in runs), statistics.median(run.own for run in runs),
            max(run.memory for run in runs), max(run.embedded for run in runs),
        )  # fmt: skip
        _say(f"  {step}: {one.tool.name}: {once.seconds:.2f} s, own {once.own:.2f} s, {once.memory:.0f} MB")


def _kill(one: Contestant, docs: Path) -> None:
    """The update for the 1 % killed at three moments, and run again until it has ended."""
    expected = expected_chunks(docs)
    one.restore("before")
    one.update()
    embedded, written = one.counts()
    moments = {
        "killed while embedding": f"embed:{max(embedded // 2, 1)}",
        "killed amid its writes": f"write:{max(written // 2, 1)}",
        "killed after its last write": f"write:{written}",
    }
    for moment, death in moments.items():
        one.restore("before")
        code, _ = one.update(death)
        if code != -9:
            raise SystemExit(f"{one.tool.name} was not killed by {death}: it ended with {code}")
        code, said = one.update()
        found = one.result.wrong[moment] = one.compare(expected)
        found.said = said if code else ""
        _say(f"  {moment} ({death}): {one.tool.name}: {found} {found.said}")


def _empty(everyone: Sequence[Contestant], docs: Path) -> None:
    """The folder is empty, as where a disk is not mounted, and then full again."""
    expected = expected_chunks(docs)

    def run(one: Contestant) -> Wrong:
        code, said = one.update()
        found = one.compare(expected)
        found.said = said if code else ""
        return found

    for one in everyone:
        one.restore("after")
    for step in ("folder empty", "folder back"):
        with _without(docs) if step == "folder empty" else nullcontext():
            results = _together(run, everyone)
        for one, found in zip(everyone, results, strict=True):
            one.result.wrong[step] = found
            one.result.runs[step] = Once(0, 0, 0, one.counts()[0])
            _say(f"  {step}: {one.tool.name}: {found} {found.said}, {one.counts()[0]:,} embedded")


def _together(run: Callable[[Contestant], Any], everyone: Sequence[Contestant]) -> list[Any]:
    """Several at a time, where no clock runs."""
    with ThreadPoolExecutor(max(os.cpu_count() or 1, 3)) as pool:
        return list(pool.map(run, everyone))


@contextmanager
def _without(docs: Path) -> Iterator[None]:
    away = docs.with_name("away")
    docs.rename(away)
    docs.mkdir()
    try:
        yield
    finally:
        docs.rmdir()
        away.rename(docs)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measures, and writes the tables and the pictures."""
    from peers_page import text
    from peers_pictures import draw_costs, draw_index

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--costs-only", action="store_true", help="no kills and no empty folder")
    parser.add_argument("--only", action="append", choices=[tool.script for tool in TOOLS], help="beside qloader")
    parser.add_argument("--write", type=Path, help="put the tables between the marks of this page")
    parser.add_argument("--draw-costs", type=Path, help="the picture of what each tool costs")
    parser.add_argument("--draw-index", type=Path, help="the picture of whether its index is right")
    parser.add_argument("--results", type=Path, default=HERE / ".work" / "peers.json", help="all figures, as JSON")
    parser.add_argument("--from-results", action="store_true", help="measure nothing: take the figures from there")
    chosen = parser.parse_args()
    if not chosen.from_results:
        tools = [tool for tool in TOOLS if tool is OURS or not chosen.only or tool.script in chosen.only]
        with work_folder() as folder:
            results, facts = measure(folder, chosen.documents, tools, with_accidents=not chosen.costs_only)
        about = {"machine": machine(), "python": platform.python_version(),
                 "packages": sorted({pin for tool in tools for pin in tool.packages})}  # fmt: skip
        chosen.results.write_text(json.dumps({"about": about, "facts": facts, "tools": [asdict(r) for r in results]}))
    found = json.loads(chosen.results.read_text())
    said = text(found)
    print(said)
    if chosen.write:
        put(chosen.write, said, *(MARK.format(found["facts"]["documents"], word) for word in ("begin", "end")))
    if chosen.draw_costs:
        draw_costs(found, chosen.draw_costs)
    if chosen.draw_index:
        draw_index(found, chosen.draw_index)


if __name__ == "__main__":
    main()
