"""Breaks each promise once on purpose, and says which test catches it.

    python tests/broken/break_promises.py                             all, a table at the end
    python tests/broken/break_promises.py --only stale-plan-accepted  some, by name
    python tests/broken/break_promises.py --list                      their names
    python tests/broken/break_promises.py --write docs/reliability.md the table into that page, between its markers

Each mutation of `mutations.py` is applied to a copy of the tree, alone, and its tests are run there: they must fail.
In a copy that is whole they must pass. Exit code 1 where a mutation survives, where it cannot be applied, or where the
whole tree fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("src", "tests", "docs", "pyproject.toml")
BEGIN, END = "<!-- broken promises: begin -->", "<!-- broken promises: end -->"
LIMIT = 900
"""Seconds for the tests of one mutation, at most."""

WHOLE_LIMIT = 3600
"""The same for all of them together, in the copy that is whole."""

_FAULT = re.compile(r"AssertionError: (.+? at .+?#\d+, then \w+):")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+\.py::.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What became of a mutation.

    Attributes:
        mutation: The mutation.
        caught_by: The first test that failed; empty where none did.
        fault: Of a test of the fault rig, what had happened and how it went on from there.
        trouble: Why that says nothing; empty where it does.
        seconds: How long its tests took.
    """

    mutation: Mutation
    caught_by: str
    fault: str
    trouble: str
    seconds: float


@contextmanager
def copy_of(tree: Path) -> Iterator[Path]:
    """A copy of the tree without anything compiled, deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="qloader-broken-") as folder:
        for name in COPIED:
            if (tree / name).is_dir():
                shutil.copytree(tree / name, Path(folder) / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(tree / name, Path(folder) / name)
        yield Path(folder)


def run_tests(
    tree: Path, tests: Sequence[str], *options: str, faults_at: str = "", limit: int = LIMIT
) -> subprocess.CompletedProcess[str]:
    """Runs tests of a copy, on the code of that copy; also what they start as processes imports it."""
    env = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "300"}
    env["QLOADER_FAULTS_AT"] = faults_at
    where = subprocess.run(
        [sys.executable, "-c", "import qloader; print(qloader.__file__)"],
        cwd=tree, env=env, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    if not Path(where).is_relative_to(tree):
        raise SystemExit(f"{where} is imported in place of the copy in {tree}")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rfE",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
    ]
    return subprocess.run(
        [*command, *options, *tests], cwd=tree, env=env, capture_output=True, text=True, timeout=limit
    )


def try_out(tree: Path, mutation: Mutation) -> Outcome:
    """Applies one mutation to a copy and runs its tests there."""
    start = time.monotonic()
    caught_by = fault = trouble = ""
    with copy_of(tree) as copy:
        try:
            mutation.apply(copy)
            done = run_tests(copy, mutation.tests, "-x", faults_at=mutation.faults_at)
        except ValueError as error:
            trouble = str(error)
        except subprocess.TimeoutExpired:
            trouble = f"its tests did not end in {LIMIT} s"
        else:
            found = _FAILED.search(done.stdout)
            if found:
                caught_by = found[1]
                fault = found[1] if (found := _FAULT.search(done.stdout)) else ""
            elif done.returncode:
                # No test ran: the mutation is no code, or a test was renamed. That is no catch.
                trouble = f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-1000:]}"
    return Outcome(mutation, caught_by, fault, trouble, time.monotonic() - start)


def check_whole(tree: Path, mutations: Sequence[Mutation]) -> str:
    """Runs all tests of these mutations on a whole copy; what they said where they fail, else nothing."""
    tests = list(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
    with copy_of(tree) as copy:
        try:
            done = run_tests(copy, tests, limit=WHOLE_LIMIT)
        except subprocess.TimeoutExpired:
            return f"they did not end in {WHOLE_LIMIT} s"
    said = f"{done.stdout[-6000:]}{done.stderr[-1000:]}\n(pytest ended with {done.returncode})"
    return "" if done.returncode == 0 else said


def as_table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as Markdown."""
    rows = ["| promise | broken by | caught by |", "|---|---|---|"]
    for outcome in outcomes:
        caught = f"`{outcome.caught_by}`" if outcome.caught_by else "**nothing**"
        caught += f" ({outcome.fault})" if outcome.fault else ""
        rows.append(f"| {outcome.mutation.promise} | {outcome.mutation.broken_by} | {_cell(caught)} |")
    caught_count = sum(bool(outcome.caught_by) for outcome in outcomes)
    return "\n".join([f"{caught_count} of {len(outcomes)} are caught.", "", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write_table(page: Path, table: str) -> None:
    """Puts the table between the markers of a page; all else there stays."""
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{page} must have {BEGIN} and {END}, each once")
    before, _, rest = text.partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def main() -> int:
    """Tries out the mutations that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="just this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the names and what each breaks")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write the table into this page")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once (default 1)")
    asked = parser.parse_args()
    unknown = set(asked.only or ()) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; see --list")
    if asked.only and asked.write:
        parser.error("--write takes the table of all")
    chosen = [mutation for mutation in MUTATIONS if not asked.only or mutation.name in asked.only]
    if asked.list:
        for mutation in chosen:
            print(f"{mutation.name:32} {mutation.promise}")
        return 0
    # Copied once: an edit meanwhile would be taken for what a mutation does.
    with copy_of(ROOT) as tree, ThreadPoolExecutor(asked.jobs) as pool:
        whole = pool.submit(check_whole, tree, chosen)
        outcomes = []
        for outcome in pool.map(lambda mutation: try_out(tree, mutation), chosen):
            outcomes.append(outcome)
            said = outcome.trouble or outcome.caught_by or "NOTHING CAUGHT IT"
            said += f" ({outcome.fault})" if outcome.fault else ""
            print(f"{outcome.mutation.name:32} {outcome.seconds:5.0f} s  {said}", flush=True)
        failure = whole.result()
    table = as_table(outcomes)
    print(f"\n{table}")
    if failure:
        print(f"\nThe same tests fail without any mutation:\n{failure}")
    is_proven = not failure and all(outcome.caught_by for outcome in outcomes)
    if asked.write and is_proven:
        write_table(asked.write, table)
    return 0 if is_proven else 1


if __name__ == "__main__":
    raise SystemExit(main())
