"""The figures of scale as pictures: lines over the number of documents, both axes in powers of ten."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from pictures import svg
from scale_page import KINDS, runs

_LINES = (
    ("doubled", "apply", "first apply"),
    ("ours", "first plan", "first plan"),
    ("stale", "1 % changed, apply", "1 % changed, apply"),
    ("right", "no change", "no change, plan"),
)
_FLOOR = ("peer", "no change", "no change, floor")
_TOP, _HEIGHT, _PANEL, _LEFTS = 110, 300, 340, (74, 514)


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Writes `scale-seconds.svg` and `scale-memory.svg`."""
    seconds = "Seconds of each step over the number of documents, whole processes; both axes in powers of ten."
    memory = "Peak memory in MB of the largest process, mapped files included; both axes in powers of ten."
    for name, title, about, key in (
        ("scale-seconds", "Seconds by documents", seconds, "seconds"),
        ("scale-memory", "Memory by documents", memory, "memory"),
    ):
        (folder / f"{name}.svg").write_text(_picture(found, title, about, key), encoding="utf-8")


def _picture(found: Mapping[str, Any], title: str, about: str, key: str) -> str:
    lines = [*_LINES, _FLOOR] if key == "seconds" else list(_LINES)
    parts, x = [], 24
    for kind, _, name in lines:
        parts.append(f'<rect class="{kind}" x="{x}" y="55" width="12" height="12" rx="2"/>')
        parts.append(f'<text class="small" x="{x + 18}" y="66">{escape(name)}</text>')
        x += 50 + 7 * len(name)
    for left, kind in zip(_LEFTS, KINDS, strict=True):
        of_kind = runs(found, kind)
        if of_kind:
            parts += _panel(left, kind, of_kind, key, lines)
    return svg(_TOP + _HEIGHT + 60, title, about, parts)


def _panel(
    left: int, kind: str, of_kind: Sequence[Mapping[str, Any]], key: str, lines: Sequence[tuple[str, str, str]]
) -> list[str]:
    curves = [(style, _curve(of_kind, step, key, floor=style == "peer")) for style, step, _ in lines]
    values = [value for _, curve in curves for _, value in curve]
    sizes = [run["facts"]["documents"] for run in of_kind]
    x = _scale(min(sizes), max(sizes), left, left + _PANEL)
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    y = _scale(10**low, 10**high, _TOP + _HEIGHT, _TOP + 10)
    parts = [f'<text class="head" x="{left}" y="{_TOP - 10}">{kind}</text>']
    for power in range(low, high + 1):
        at = y(10**power)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + _PANEL}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="small end" x="{left - 8}" y="{at + 4:.1f}">{10**power:,g}</text>')
    for size in sizes:
        at = x(size)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP + 10}" y2="{_TOP + _HEIGHT}"/>')
        label = f'<text class="small" text-anchor="middle" x="{at:.1f}" y="{_TOP + _HEIGHT + 20}">{size:,}</text>'
        parts.append(label)
    for style, curve in curves:
        points = [(x(size), y(value)) for size, value in curve]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline class="line {style}" points="{path}"/>')
        parts += [f'<circle class="{style}" cx="{px:.1f}" cy="{py:.1f}" r="3"/>' for px, py in points]
    return parts


def _curve(of_kind: Sequence[Mapping[str, Any]], step: str, key: str, *, floor: bool) -> list[tuple[int, float]]:
    steps = [(run["facts"]["documents"], run["steps"][step]) for run in of_kind]
    return [(size, (found["floor"] if floor else found)[key]) for size, found in steps]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From a number to a place on an axis in powers of ten."""
    length = math.log10(high / low) or 1
    return lambda value: start + (end - start) * math.log10(value / low) / length
