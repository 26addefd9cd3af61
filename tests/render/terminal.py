"""Files that say they are terminals, and what a person would see in them."""

from __future__ import annotations

import io
import threading

from qloader.planning.plan import Plan
from qloader.render.diff import Texts
from qloader.render.text import make_console, render_plan


class Terminal(io.StringIO):
    """A terminal 80 columns wide; `written` is set when something appears in it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count


def in_a_log(plan: Plan, fold: int = 20, texts: Texts | None = None) -> str:
    """A plan as a pipe or a log file gets it."""
    file = io.StringIO()
    render_plan(plan, make_console(file), fold, texts=texts)
    return file.getvalue()


def on_a_terminal(plan: Plan, fold: int = 20, texts: Texts | None = None) -> str:
    """A plan as a terminal gets it."""
    terminal = Terminal()
    render_plan(plan, make_console(terminal), fold, texts=texts)
    return terminal.getvalue()
