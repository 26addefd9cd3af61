"""Writes what the docs hold and the code knows: the command reference, the pictures, and files shown in pages.

python docs/generate.py --check     # fails where a page is out of date
python docs/generate.py --write
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from qloader.cli.app import make_app

DOCS = Path(__file__).parent
COMMANDS = DOCS / "commands.md"
PLAN_PICTURE = DOCS / "images" / "plan.svg"
CI_PAGE = DOCS / "ci.md"
_SHOWN = re.compile(r"(<!-- file: (\S+) -->\n```(\w+)\n).*?(^```$)", re.DOTALL | re.MULTILINE)
BEGIN, END = "<!-- generated from the commands: begin -->", "<!-- generated from the commands: end -->"


def render_commands() -> str:
    """Every command with its arguments and options, as Markdown."""
    root: Any = typer.main.get_command(make_app())
    parts = []
    for path, command in _walk(root, ()):
        parts += [f"## {' '.join(('qloader', *path))}", "", (command.help or "").strip(), ""]
        parts += ["```text", _usage(path, command), "```", ""]
        rows = list(_rows(command))
        if rows:
            parts += ["| option | default | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in command.commands.items():
        if hasattr(child, "commands"):
            yield from _walk(child, (*path, name))
        else:
            yield (*path, name), child


def _usage(path: tuple[str, ...], command: Any) -> str:
    context = typer.Context(command, info_name=" ".join(("qloader", *path)))
    usage = " ".join(command.get_usage(context).removeprefix("Usage:").split())
    # Typer puts brackets of its own around our names of arguments.
    return re.sub(r"\[(\[\w+\])\]|\{([\w.]+)\}(?:\.\.\.)?", lambda match: match[1] or match[2], usage)


def _rows(command: Any) -> Iterator[str]:
    for parameter in command.params:
        record = parameter.get_help_record(typer.Context(command)) if parameter.param_type_name == "option" else None
        if parameter.param_type_name == "argument":
            names, meaning = parameter.metavar or parameter.name, parameter.help or ""
        elif record:
            names, meaning = record[0].replace("<int range>", "N"), parameter.help or ""
        else:
            continue
        yield f"| `{_cell(names)}` | {_default(parameter)} | {_cell(meaning)} |"


def _default(parameter: Any) -> str:
    value = parameter.default
    if value is None or callable(value) or value in (False, (), []):
        return ""
    if value is True:
        return f"`{parameter.opts[0]}`"
    return f"`{getattr(value, 'value', value)}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def render_page() -> str:
    """The commands page: what is written by hand stays."""
    page = COMMANDS.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{render_commands()}\n{END}{after}"


def render_ci() -> str:
    """The page on CI, with the files that it shows."""

    def fill(match: re.Match[str]) -> str:
        return match[1] + (DOCS.parent / match[2]).read_text(encoding="utf-8") + match[4]

    return _SHOWN.sub(fill, CI_PAGE.read_text(encoding="utf-8"))


def render_picture() -> str:
    """A real plan: of a small handbook after an edit, a rename, a new page and a deleted one."""
    from qloader import Workspace
    from qloader.render.picture import plan_svg

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "qloader.yaml").write_text(
            "name: handbook\nsources:\n  docs: {type: files, path: docs}\n", encoding="utf-8"
        )
        write_story(base / "docs", edited=False)
        workspace = Workspace.open(base / "qloader.yaml")
        with workspace.temporary_plan() as result:
            workspace.apply(result.plan)
        write_story(base / "docs", edited=True)
        with workspace.temporary_plan() as result:
            return plan_svg(result.plan, "qloader plan")


def write_story(docs: Path, *, edited: bool) -> None:
    """Writes the documents of a small handbook, before or after the change that the pictures show."""
    words = "The index follows the sources, and a plan says beforehand what an apply will do to it. " * 4
    pages = {
        f"guide/part-{number}.md": f"# Part {number}\n\n" + "\n\n".join(f"{words}{number}.{k}" for k in range(8))
        for number in range(1, 13)
    }
    pages["guide/install.md"] = f"# Install\n\n{words}"
    pages["faq.md"] = f"# Questions\n\n{words}"
    if edited:
        pages["guide/part-3.md"] = pages["guide/part-3.md"].replace("3.5", "3.5, and now one sentence more.")
        pages["guide/part-7.md"] = pages["guide/part-7.md"].replace("# Part 7", "# Part 7: moving on")
        pages["start/install.md"] = pages.pop("guide/install.md")
        pages["start/first-steps.md"] = f"# First steps\n\n{words}\n\n{words}"
        del pages["faq.md"]
    for path in sorted(docs.rglob("*.md")) if docs.exists() else []:
        path.unlink()
    for name, text in pages.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")


def main() -> int:
    """Checks or writes what is generated; 1 where `--check` finds something out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--check", action="store_true")
    group.add_argument("--write", action="store_true")
    check = parser.parse_args().check
    stale = []
    for path, render in ((COMMANDS, render_page), (CI_PAGE, render_ci), (PLAN_PICTURE, render_picture)):
        text = render()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        what = "is out of date: run `make docs`" if check else "written"
        sys.stderr.write(f"{path.relative_to(DOCS.parent)} {what}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
