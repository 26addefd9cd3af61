"""Where the examples of the docs are played: a new folder, a small handbook in it, and a shell.

The scenes and steps are what the notes of the pages name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SKIPPED = {
    "pip install": "the tests run what is installed",
    "make ": "make builds an environment of its own; CI runs `make check` and `make test` (.ci/run)",
}
"""Lines of a shell example that are not run, by their beginning, and why."""

HANDBOOK = {
    "intro.md": """\
# Introduction

The handbook says how we work with the index, and what to do when something is wrong with it.

## Plans

A plan says beforehand what an apply will do: which documents are new, which changed, which are gone. It is a small
file that people read before anything happens.

## Deletes

A document that is gone from its source is deleted from the index, but only if the whole source could be listed.
""",
    "setup.md": """\
# Setup

Install the loader, write a config, and make the first plan. The index is made by the first apply.
""",
    "operations.md": """\
# Operations

A nightly run brings the index up to date. When a run was killed, the next one finishes its work.
""",
}
_GIT = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-01-05T10:00:00Z",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_DATE": "2026-01-05T10:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}
"""The same commits on every machine, so that a page can show their ids."""


class Stage:
    """One folder and a shell in it.

    Args:
        base: An empty folder, which becomes the home of whoever types the commands.
    """

    def __init__(self, base: Path) -> None:
        self.folder = base / "handbook"
        self.folder.mkdir()
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("QLOADER", "QDRANT", "GIT"))}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        self._env = {**keep, **_GIT, "HOME": str(base), "PATH": path, "NO_COLOR": "1"}
        self._env.pop("XDG_STATE_HOME", None)

    def run(self, script: str) -> tuple[int, str]:
        """Runs lines of a shell, up to the first that fails.

        Returns:
            The exit code, and what they printed.
        """
        lines = [line for line in script.splitlines() if not line.strip().startswith(tuple(SKIPPED))]
        return self._run(["bash", "-e", "-c", "\n".join(lines)])

    def run_python(self, program: str) -> tuple[int, str]:
        return self._run([sys.executable, "-c", program])

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def do(self, script: str) -> None:
        """Runs lines that no page shows."""
        code, output = self.run(script)
        assert code == 0, output

    def _run(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout


def says(page: str, output: str) -> bool:
    """Whether an output is what a page shows of it: `…` stands for anything within a line."""
    pattern = "[^\n]*".join(map(re.escape, page.strip().split("…")))
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in output.strip().splitlines())) is not None


def _folder_of_markdown(stage: Stage) -> None:
    stage.write(HANDBOOK)


def _git_clone(stage: Stage) -> None:
    stage.write({f"docs/{name}": text for name, text in HANDBOOK.items()} | {".gitignore": ".qloader/\n"})
    stage.do("git init -q -b main && git add -A && git commit -q -m 'The handbook'")


def _clone_with_config(stage: Stage) -> None:
    _git_clone(stage)
    stage.do("qloader init && git add qloader.yaml && git commit -q -m 'What goes into the index'")


def _applied_clone(stage: Stage) -> None:
    _clone_with_config(stage)
    stage.do("qloader ingest")


def _edit_and_rename(stage: Stage) -> None:
    stage.write({"intro.md": _EDITED})
    stage.do("mv setup.md install.md")


def _one_of_each(stage: Stage) -> None:
    stage.write({"docs/intro.md": _EDITED, "docs/faq.md": "# Questions\n\nWhere is the index? In a folder.\n"})
    stage.do("git mv docs/setup.md docs/install.md && git rm -q docs/operations.md && git add docs")
    stage.do("git commit -q -m 'One of each' && qloader plan -o plan.json")


def _delete_pages(stage: Stage) -> None:
    stage.do("git rm -q -r docs && git commit -q -m 'By mistake'")


def _outdate_a_plan(stage: Stage) -> None:
    stage.write({"docs/faq.md": "# Questions\n"})
    stage.do("git add docs && git commit -q -m 'Questions' && qloader plan -o plan.json")
    stage.write({"docs/faq.md": "# Questions and answers\n"})
    stage.do("git commit -q -a -m 'Answers' && qloader ingest")


def _delete_a_point(stage: Stage) -> None:
    code, output = stage.run_python(
        "import contextlib\n"
        "from qloader import Workspace\n"
        "workspace = Workspace.open()\n"
        "with contextlib.closing(workspace.settings.open_index()) as index:\n"
        "    points = index.scroll(lineage=workspace.status().header.lineage)\n"
        "    index.delete([next(p.id for p in points if p.payload['document_id'] == 'docs/intro.md')])\n"
        "    index.flush()\n"
    )
    assert code == 0, output


def _write_policies(stage: Stage) -> None:
    config = (stage.folder / "qloader.yaml").read_text(encoding="utf-8")
    stage.write({"qloader.yaml": f"{config}\n{POLICIES}"})


POLICIES = """\
policies:
  small-steps: {max_deletes: 0, effect: require_allow}
  no-drafts:   {forbidden_paths: ["drafts/", "*.private.md"]}
  owned:       {required_metadata: [owner], effect: warn}
"""
"""The first block of docs/policies.md."""

_EDITED = HANDBOOK["intro.md"].replace("before anything happens", "and approve before anything happens")

SCENES: dict[str, Callable[[Stage], None]] = {
    "a folder of Markdown": _folder_of_markdown,
    "a git clone": _git_clone,
    "a git clone with a config": _clone_with_config,
    "a git clone whose documents are in the index": _applied_clone,
}

STEPS: dict[str, Callable[[Stage], None]] = {
    "a page is edited, another one is renamed": _edit_and_rename,
    "one page is new, one is edited, one is renamed, one is gone": _one_of_each,
    "the index folder is deleted": lambda stage: stage.do("rm -r .qloader/index"),
    "somebody deletes a point": _delete_a_point,
    "the state is deleted": lambda stage: stage.do("rm .qloader/state.db*"),
    "policies stand in the config": _write_policies,
    "the pages are deleted, and that is committed": _delete_pages,
    "a plan is made, and then something else is applied": _outdate_a_plan,
}
