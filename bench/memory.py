"""A corpus that is many times as large as what memory allows in one piece: `make bench-memory`.

python bench/memory.py [--documents 110000] [--limit 200] [--write docs/scale.md]

Plans and applies run under a limit of the system on what a process writes to (`ulimit -d`, for each by itself). First
the index is never sealed: how much is loaded before the memory is used up is what it allows in one piece. Then the same
plan is applied as it always is, and the sources are compared with what was recorded.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from measure import Run, run_process
from page import machine, put
from run import PYTHON, QLOADER, Story, work_folder

BEGIN, END = "<!-- make bench-memory: begin -->", "<!-- make bench-memory: end -->"
WANTED = 20
"""So many times what memory allows in one piece has to be loaded."""

UNSEALED = """\
import sys
from qloader.cli import main
from qloader.workspace import sealing
sealing.LEAST = 1 << 60
main(sys.argv[1:])
"""


class Limited(Story):
    """A workspace whose commands run under a limit on memory."""

    def __init__(self, base: Path, documents: int, limit: int) -> None:
        super().__init__(base, documents)
        self.limit = limit

    def limited(self, command: Sequence[str]) -> list[str]:
        """The command under the limit."""
        script = f'ulimit -d {self.limit * 1000}; exec "$@"'
        return ["bash", "-c", script, "bash", *command]

    def under_limit(self, *arguments: str) -> Run:
        """Runs a qloader command; raises where it fails."""
        run = run_process(self.limited([QLOADER, "-c", str(self.config), *arguments]))
        _say(f"{arguments[0]}: {run.seconds:.0f} s, {run.own:.0f} MB")
        return run

    def load_in_one_piece(self) -> tuple[int, int, str]:
        """Applies the plan until the memory is used up.

        Returns:
            Documents that were loaded, the bytes of their texts, and the error.
        """
        command = [PYTHON, "-c", UNSEALED, "-c", str(self.config), "apply", str(self.base / "plan.json")]
        done = subprocess.run(self.limited(command), capture_output=True, text=True)
        if done.returncode == 0:
            raise SystemExit("the limit is too high: all was loaded in one piece")
        with sqlite3.connect(f"file:{self.base / '.qloader' / 'state.db'}?mode=ro", uri=True) as connection:
            paths = [Path(self.docs / row[0]) for row in connection.execute("SELECT id FROM document")]
        errors = done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"]
        error = next((line for line in errors if line.startswith("Error")), errors[-1])
        _say(f"in one piece: {len(paths):,} documents, then: {error}")
        return len(paths), sum(path.stat().st_size for path in paths), error


def measure(base: Path, documents: int, limit: int) -> str:
    """The table, as Markdown."""
    story = Limited(base, documents, limit)
    plan = str(base / "plan.json")
    story.under_limit("plan", "-o", plan)
    loaded, size, error = story.load_in_one_piece()
    story.forget()

    rows = [f"| `apply` that never seals: {_quoted(error)} | {loaded:,} | {size / 1e6:,.0f} MB | | |"]
    apply = story.under_limit("apply", plan)
    seals = _seals(story)
    rows.append(_row(f"`apply`, the index sealed {seals} times", documents, story.bytes, apply))
    no_change = story.under_limit("plan", "--detailed-exitcode")  # which fails where there are changes
    rows.append(_row("`plan`: no changes", documents, story.bytes, no_change))
    search = story.qloader("search", "certificate rotation")
    rows.append(_row("`search`, without the limit", documents, story.bytes, search))
    ratio = story.bytes / size
    head = "| what | documents | text | seconds | memory of its own |\n|---|---|---|---|---|"
    return (
        f"Measured on {machine()}, by `make bench-memory`: {limit} MB for each process "
        f"(`ulimit -d`).\n\n{head}\n" + "\n".join(rows) + f"\n\n{ratio:.1f} times what memory allowed in one "
        f"piece was loaded; wanted are {WANTED} times: {'met' if ratio >= WANTED else '**not met**'}.\n"
    )


def _row(what: str, documents: int, size: int, run: Run) -> str:
    return f"| {what} | {documents:,} | {size / 1e6:,.0f} MB | {run.seconds:,.0f} | {run.own:,.0f} MB |"


def _quoted(error: str) -> str:
    return f"“{error.removeprefix('Error: ')}”"


def _seals(story: Limited) -> int:
    command = [QLOADER, "-c", str(story.config), "history", "--metrics", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    runs = json.loads(done.stdout)["runs"]
    return sum(next(run["metrics"]["counts"].get("seals", {}) for run in runs if run["metrics"]).values())


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measures, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=110_000)
    parser.add_argument("--limit", type=int, default=200, help="MB that a process may write to")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    chosen = parser.parse_args()
    with work_folder() as folder:
        said = measure(folder / "memory", chosen.documents, chosen.limit)
    print(said)
    if chosen.write:
        put(chosen.write, said, BEGIN, END)


if __name__ == "__main__":
    main()
