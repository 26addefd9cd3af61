"""The benchmarks of the main job: `make bench`. Each figure stands beside its floor, measured in turn with it.

python bench/run.py [--write docs/benchmarks.md | --merge docs/benchmarks.md] [--only NAME]... [--documents N]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dense
import downtime
import network
import page
from corpus import change_corpus, write_corpus
from measure import Row, Run, in_turn, row, run_process

HERE = Path(__file__).parent
FLOORS = str(HERE / "floors.py")
PYTHON = sys.executable
QLOADER = str(Path(sys.executable).parent / "qloader")
TIMES = 5


class Story:
    """A workspace in a folder, with a corpus."""

    def __init__(self, base: Path, documents: int, *, kind: str = "files") -> None:
        self.base = base
        self.docs = base / "docs"
        self.config = base / "qloader.yaml"
        self.bytes = write_corpus(self.docs, documents)
        source = "type: files, path: docs" if kind == "files" else "type: git, url: ., include: ['docs/**/*.md']"
        self.config.write_text(f"name: bench\nguards: {{max_delete_percent: null}}\nsources: {{docs: {{{source}}}}}\n")
        if kind == "git":
            self.git("init", "-q", "-b", "main")
            self.git("add", "-A", "docs")
            self.git("commit", "-q", "-m", "first")

    def git(self, *arguments: str) -> None:
        env = {**os.environ, **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "bench")}
        env |= dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "bench@example.org")
        subprocess.run(["git", *arguments], cwd=self.base, env=env, check=True, stdout=subprocess.DEVNULL)

    def plan_of_each_commit(self, change: Callable[[int], object]) -> Callable[[], Run]:
        """What changes something, commits all that was changed, and plans; `change` is told which commit, from 1.

        What qloader keeps here tells git to ignore it.
        """
        numbers = itertools.count(1)

        def plan() -> Run:
            number = next(numbers)
            change(number)
            self.git("add", "--all")
            self.git("commit", "-q", "-m", f"commit {number}")
            return self.qloader("plan")

        return plan

    def qloader(self, *arguments: str) -> Run:
        return run_process([QLOADER, *arguments], cwd=str(self.base))

    def settle(self) -> None:
        """Applies everything, and waits until no file counts as changed a moment ago."""
        for path in self.docs.rglob("*.md"):
            os.utime(path, (1_700_000_000, 1_700_000_000))
        self.qloader("apply", "--auto-approve")
        time.sleep(2.1)  # a file's change token is trusted two seconds after its change
        self.qloader("plan")

    def forget(self) -> None:
        shutil.rmtree(self.base / ".qloader", ignore_errors=True)

    def imported(self) -> str:
        """The modules that a plan imports, as `python -X importtime` names them."""
        done = subprocess.run(
            [PYTHON, "-X", "importtime", QLOADER, "plan"], cwd=self.base, capture_output=True, text=True, check=True
        )
        names = [
            line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")
        ]
        plain = [n for n in names if n and n != "imported package" and not n.startswith(("_frozen", "encodings"))]
        return ",".join(dict.fromkeys(n for n in plain if _importable(n)))


def _importable(name: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def no_change_git(base: Path, documents: int) -> Iterator[Row]:
    """One commit moved on, with nothing in it that the source reads."""
    story = Story(base, documents, kind="git")
    story.settle()
    plan = story.plan_of_each_commit(lambda number: (base / "other.txt").write_text(str(number)))
    modules = story.imported()
    ours, floor, ratio = in_turn(plan, lambda: run_process([PYTHON, FLOORS, "imports", modules]), TIMES)
    what = f"no-change plan, git, {documents:,} files, one commit on / a process that imports the same modules"
    yield row(what, ours, floor, ratio, 2.5)


def no_change_files(base: Path, documents: int) -> Iterator[Row]:
    """Nothing touched."""
    story = Story(base, documents)
    story.settle()
    modules = story.imported()
    ours, floor, ratio = in_turn(
        lambda: story.qloader("plan"),
        lambda: run_process([PYTHON, FLOORS, "walk", str(story.docs), modules]),
        TIMES,
    )
    what = (
        f"no-change plan, files, {documents:,} files / os.scandir and stat in a process that imports the same modules"
    )
    yield row(what, ours, floor, ratio, 2)


def plain_tools(base: Path, documents: int) -> Iterator[Row]:
    """Beside what anybody would use by hand: git's own comparison of two commits, and a hash of every file."""
    story = Story(base, documents, kind="git")
    story.settle()
    plan = story.plan_of_each_commit(lambda number: change_corpus(story.docs, seed=number))
    compare = ["git", "-C", str(base), "diff", "--name-status", "HEAD~1", "HEAD"]
    pairs = {f"plan after 1 % changed, git, {documents:,} files / `git diff --name-status`": (plan, compare)}

    def first() -> Run:
        story.forget()
        return story.qloader("plan", "-o", "plan.json")

    hashes = [PYTHON, FLOORS, "hash_files", str(story.docs)]
    pairs[f"first plan, git, {documents:,} files / reading and hashing each file (`find` and `xxhsum`)"] = (
        first,
        hashes,
    )
    for what, (ours_of, command) in pairs.items():
        ours, floor, ratio = in_turn(ours_of, lambda command=command: run_process(command), 3)
        yield Row(what, f"{ours.seconds:.3f} s", f"{floor.seconds:.3f} s", ratio, "", None, f"{ours.memory:.0f} MB")


def first_plan(base: Path, documents: int) -> Iterator[Row]:
    """Read, normalise, hash, chunk, write the plan; against a loop that reads, hashes and chunks."""
    story = Story(base, documents)
    megabytes = story.bytes / 1e6

    def plan() -> Run:
        story.forget()
        return story.qloader("plan", "-o", "plan.json")

    for name, floor_name in (("the same chunker", "load_ours"), ("semantic-text-splitter alone", "load_library")):
        ours, floor, ratio = in_turn(
            plan, lambda floor_name=floor_name: run_process([PYTHON, FLOORS, floor_name, str(story.docs)]), 3
        )
        what = f"first plan, {documents:,} documents, {megabytes:.0f} MB / a loop with {name}"
        yield row(what, ours, floor, ratio, 1.3, memory_limit=400)


def first_load(base: Path, documents: int) -> Iterator[Row]:
    """Points a second of a whole apply, against a loop that upserts the same points."""
    story = Story(base, documents)

    def apply() -> Run:
        story.forget()
        story.qloader("plan", "-o", "plan.json")
        return story.qloader("apply", "plan.json")

    apply()
    dump = base / "points.pickle"
    run_process([PYTHON, FLOORS, "dump", str(story.config), str(dump)])
    target = base / "bare"

    points = 0.0

    def bare() -> Run:
        nonlocal points
        shutil.rmtree(target, ignore_errors=True)
        run_process([PYTHON, FLOORS, "upsert", str(dump), str(target)])
        seconds, points = (float(part) for part in (target / "seconds").read_text().split())
        return Run(seconds, 0)

    ours, floor, ratio = in_turn(apply, bare, 5)
    share = 1 / ratio
    yield Row(
        f"first load, embedded, {documents:,} documents, {points:,.0f} points / a bare upsert loop of the same points",
        f"{points / ours.seconds:,.0f} points/s",
        f"{points / floor.seconds:,.0f} points/s",
        share,
        ">= 0.75 of its rate, < 400 MB",
        share >= 0.75 and ours.memory < 400,
        f"{ours.memory:.0f} MB, {ours.own:.0f} without mapped files",
    )


def diff_of_a_million(base: Path, documents: int) -> Iterator[Row]:
    """The diff alone: a million rows on both sides, 2,000 of them different."""
    base.mkdir(parents=True, exist_ok=True)
    cache, state = base / "cache.db", base / "state.db"
    run_process([PYTHON, FLOORS, "million", str(cache), str(state), str(documents)])
    ours, floor, ratio = in_turn(
        lambda: run_process([PYTHON, FLOORS, "diff", str(cache), str(state)]),
        lambda: run_process([PYTHON, FLOORS, "join", str(cache), str(state)]),
        3,
    )
    what = f"diff of {documents:,} documents, 2,000 changed / the bare DuckDB join"
    yield row(what, ours, floor, ratio, 3, memory_limit=600)


def start_up(base: Path, documents: int) -> Iterator[Row]:
    """`--version` and `--help` against importing typer."""
    for option in ("--version", "--help"):
        ours, floor, ratio = in_turn(
            lambda option=option: run_process([QLOADER, option]), lambda: run_process([PYTHON, "-c", "import typer"]), 9
        )
        yield row(f"qloader {option} / python -c 'import typer'", ours, floor, ratio, 2)


def crash_protocol(base: Path, documents: int) -> Iterator[Row]:
    """What intents and commits cost in a first load, by a clock around them."""
    story = Story(base, documents)
    shares, whole, without = [], [], []
    memory = 0.0
    for _ in range(3):
        story.forget()
        run = run_process([PYTHON, FLOORS, "protocol", str(story.config)])
        seconds, spent = run.numbers()
        shares.append(spent / (seconds - spent))
        whole.append(seconds)
        without.append(seconds - spent)
        memory = max(memory, run.memory)
    share = statistics.median(shares)
    yield Row(
        f"crash protocol (intents and commits) in a first load of {documents:,} documents / the time without it",
        f"{statistics.median(whole):.3f} s",
        f"{statistics.median(without):.3f} s",
        1 + share,
        "<= 1.08x",
        share <= 0.08,
        f"{memory:.0f} MB",
    )


def recovery(base: Path, documents: int) -> Iterator[Row]:
    """An apply killed near its middle, and the same plan again: how many texts were embedded a second time."""
    story = Story(base, documents)
    with story.config.open("a") as config:  # all texts are embedded where they are counted
        config.write("ingestion: {parallel: {max_workers: 1}}\n")
    plan, log, whole_log = base / "plan.json", base / "embedded", base / "embedded-in-one-go"
    story.qloader("plan", "-o", str(plan))
    command = [PYTHON, FLOORS, "counted_apply", str(story.config), str(plan)]
    run_process([*command, str(whole_log)])
    whole = _embedded(whole_log)
    story.forget()
    story.qloader("plan", "-o", str(plan))
    killed = subprocess.Popen([*command, str(log)])
    while _embedded(log) < whole / 2:
        if killed.poll() is not None:
            raise SystemExit("the apply ended before it could be killed")
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    run = run_process([*command, str(log)])
    share = _embedded(log) / whole
    yield Row(
        f"texts embedded by an apply of {whole:,} points killed in its middle and the same plan again / in one go",
        f"{_embedded(log):,}",
        f"{whole:,}",
        share,
        "<= 1.1x",
        share <= 1.1,
        f"{run.memory:.0f} MB",
    )


def _embedded(log: Path) -> int:
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def a_million_points(base: Path, documents: int) -> Iterator[Row]:
    """A refresh and a rebuild of short chunks, some 71 a document, against reading their payloads once."""
    story = Story(base, documents)
    with story.config.open("a") as file:
        file.write("chunking: {max_chars: 150}\n")
    story.qloader("apply", "--auto-approve")
    (floor,) = run_process([PYTHON, FLOORS, "scroll", str(story.config)]).numbers()
    refresh = story.qloader("refresh", "--format", "json")
    points = json.loads(refresh.output)["checked"]
    rate = points / refresh.seconds
    yield Row(
        f"`refresh` of {points:,} points, embedded / reading their payloads and nothing else",
        f"{rate:,.0f} points/s",
        f"{floor:,.0f} points/s",
        rate / floor,
        ">= 50,000 points/s, < 500 MB",
        rate >= 50_000 and refresh.memory < 500,
        f"{refresh.memory:.0f} MB, {refresh.own:.0f} without mapped files",
    )
    (base / ".qloader" / "state.db").unlink()
    rebuild = story.qloader("state", "rebuild")
    yield Row(
        f"`state rebuild` of {points:,} points / reading their payloads and nothing else",
        f"{rebuild.seconds:.1f} s",
        f"{points / floor:.1f} s",
        rebuild.seconds * floor / points,
        "< 60 s, < 700 MB",
        rebuild.seconds < 60 and rebuild.memory < 700,
        f"{rebuild.memory:.0f} MB, {rebuild.own:.0f} without mapped files",
    )


def commits(base: Path, documents: int) -> Iterator[Row]:
    """The state alone: batches of 256 documents of four chunks, against an append of the same bytes and an fsync."""
    base.mkdir(parents=True, exist_ok=True)
    run = run_process([PYTHON, FLOORS, "commits", str(base / "state.db"), str(documents)])
    milliseconds, size = run.numbers()
    (floor,) = run_process([PYTHON, FLOORS, "appends", str(base / "plain"), str(round(256 * size))]).numbers()
    yield Row(
        f"state of {documents:,} documents, {size:.0f} bytes each: commit of 256 / an append of their bytes with fsync",
        f"{milliseconds:.2f} ms",
        f"{floor:.2f} ms",
        milliseconds / floor,
        "< 20 ms, < 350 bytes",
        milliseconds < 20 and size < 350,
        f"{run.memory:.0f} MB",
    )


BENCHES: dict[str, tuple[Callable[[Path, int], Iterator[Row]], int]] = {
    "no-change-git": (no_change_git, 10_000),
    "no-change-files": (no_change_files, 10_000),
    "plain-tools": (plain_tools, 10_000),
    "first-plan": (first_plan, 10_000),
    "first-load": (first_load, 10_000),
    "diff": (diff_of_a_million, 1_000_000),
    "start-up": (start_up, 0),
    "crash-protocol": (crash_protocol, 3_000),
    "recovery": (recovery, 7_500),
    "a-million-points": (a_million_points, 14_200),
    "commits": (commits, 1_000_000),
    "atlassian-requests": (network.atlassian_requests, 10_000),
    "web-requests": (network.web_requests, 1_000),
    "network-first-load": (network.first_load, 10_000),
    "network-memory": (network.memory, 100_000),
    "rate-limit": (dense.rate_limit, 220),
    "embedder-overhead": (dense.overhead, 60),
    "edit": (dense.edit, 10_000),
    "hybrid-search": (dense.hybrid_search, 7_400),
    "cached-keys": (dense.cached_keys, 1_000_000),
    "downtime": (downtime.downtime, 400),
}
_MET = {True: "met", False: "missed", None: "no target"}
GROUPS = {"dense": ("rate-limit", "embedder-overhead", "edit", "hybrid-search", "cached-keys", "downtime")}


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder on the same disk as the repository, removed afterwards."""
    (HERE / ".work").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=HERE / ".work"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Runs what was asked for and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    parser.add_argument(
        "--merge", type=Path, help="put the rows into the table of this page, in place of the same ones"
    )
    parser.add_argument("--only", action="append", choices=[*BENCHES, *GROUPS], help="one bench, or all of `dense`")
    parser.add_argument("--documents", type=int, help="in place of each bench's own number")
    chosen = parser.parse_args()
    rows: list[Row] = []
    for name in [one for asked in chosen.only or BENCHES for one in GROUPS.get(asked, (asked,))]:
        bench, documents = BENCHES[name]
        print(f"{name} …", file=sys.stderr, flush=True)
        with work_folder() as folder:
            for line in bench(folder / "story", chosen.documents or documents):
                rows.append(line)
                print(f"  {line.what}: {line.ours} / {line.floor} = {line.ratio:.2f} ({line.target}, "
                      f"{_MET[line.met]}), {line.memory}", file=sys.stderr, flush=True)  # fmt: skip
    print(page.text(rows))
    if chosen.write:
        page.write(chosen.write, rows)
    if chosen.merge:
        page.merge(chosen.merge, rows)


if __name__ == "__main__":
    main()
