"""A plan as a picture of a terminal, for the README: SVG, the same bytes for the same plan."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from qloader.render.escape import escape_controls
from qloader.render.text import render_plan
from qloader.render.wording import FOLD

if TYPE_CHECKING:
    from qloader.planning.plan import Plan

COLUMNS = 100
_LINES = 50  # never matters, but without it rich asks the environment for both

_THEME = TerminalTheme(
    background=(13, 17, 23),
    foreground=(230, 237, 243),
    normal=[
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
"""Colours that keep their contrast on GitHub's light and dark pages alike."""

_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 16px; font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""
"""As rich's own, but without fonts from the network: a picture in a README loads nothing."""


def plan_svg(plan: Plan, title: str, *, fold: int = FOLD) -> str:
    """A plan as it looks in a terminal, as SVG.

    Args:
        plan: The plan.
        title: What stands in the window's title bar, e.g. the command.
        fold: As in `render_plan`.

    Returns:
        SVG without any reference to a network; lines longer than the window are cut at its edge.
    """
    console = Console(
        file=io.StringIO(),
        record=True,
        width=COLUMNS,
        height=_LINES,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    render_plan(plan, console, fold)
    return console.export_svg(
        title=escape_controls(title), theme=_THEME, code_format=_FORMAT, unique_id="qloader", font_aspect_ratio=0.61
    )
