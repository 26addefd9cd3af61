"""The comparison as pictures: bars as SVG, in the colours of a light and of a dark page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from peers_page import MOMENTS
from pictures import WIDTH, svg

_LEFT, _BAR = 250, 20


def draw_costs(found: Mapping[str, Any], file: Path) -> None:
    """Writes what each tool costs."""
    file.write_text(_costs(found["tools"], found["facts"]), encoding="utf-8")


def draw_index(found: Mapping[str, Any], file: Path) -> None:
    """Writes whether each tool's index is right."""
    file.write_text(_index(found["tools"]), encoding="utf-8")


def _costs(tools: Sequence[Mapping[str, Any]], facts: Mapping[str, int]) -> str:
    """Four groups of bars, each on its own scale from 0."""
    groups = (
        ("First load, seconds", lambda runs: runs["first load"]["own"], "{:,.1f}"),
        ("No change, seconds", lambda runs: _no_change(runs)["own"], "{:,.2f}"),
        ("1 % changed, seconds", lambda runs: runs["1 % changed"]["own"], "{:,.2f}"),
        ("1 % changed, texts embedded", lambda runs: runs["1 % changed"]["embedded"], "{:,}"),
        ("Peak memory of the first load, MB", lambda runs: runs["first load"]["memory"], "{:,.0f}"),
    )
    parts, top = [], 70
    for place, (head, value, form) in enumerate(groups):
        shown = [tool for tool in tools if place in (0, 4) or not tool["is_floor"]]
        values = [value(tool["runs"]) for tool in shown]
        parts.append(f'<text class="head" x="24" y="{top}">{escape(head)}</text>')
        top += 12
        for tool, number in zip(shown, values, strict=True):
            width = max((WIDTH - _LEFT - 100) * number / max(values), 1)
            parts += [
                f'<text class="end" x="{_LEFT - 10}" y="{top + 15}">{escape(_plain(tool))}</text>',
                f'<rect class="{_kind(tool)}" x="{_LEFT}" y="{top + 2}" width="{width:.1f}" height="16" rx="2"/>',
                f'<text class="small" x="{_LEFT + width + 8:.1f}" y="{top + 15}">{form.format(number)}</text>',
            ]
            top += _BAR
        top += 28
    about = (
        f"{facts['documents']:,} documents, {facts['chunks']:,} chunks; the same chunks and embedder. "
        "Peers: their own work, imports not counted; qloader: the whole process."
    )
    return svg(top - 10, "What each tool costs", about, parts)


def _index(tools: Sequence[Mapping[str, Any]]) -> str:
    """For each accident and tool, the wrong chunks by kind, on a scale of powers of ten."""
    tools = [tool for tool in tools if not tool["is_floor"]]
    most = max((sum(_counts(tool, moment)) for tool in tools for moment in MOMENTS), default=1)
    scale = (WIDTH - _LEFT - 200) / math.log10(max(most, 10) + 1)
    parts, top = [], 70
    for x, word in ((24, "stale"), (104, "missing"), (200, "doubled")):
        parts.append(f'<rect class="{word}" x="{x}" y="{top - 11}" width="12" height="12" rx="2"/>')
        parts.append(f'<text class="small" x="{x + 18}" y="{top}">{word}</text>')
    top += 32
    for moment in MOMENTS:
        parts.append(f'<text class="head" x="24" y="{top}">{escape(moment[0].upper() + moment[1:])}</text>')
        top += 12
        for tool in tools:
            counts = _counts(tool, moment)
            total, x = sum(counts), float(_LEFT)
            whole = math.log10(total + 1) * scale
            for word, count in zip(("stale", "missing", "doubled"), counts, strict=True):
                if count:
                    width = whole * count / total
                    parts.append(f'<rect class="{word}" x="{x:.1f}" y="{top + 2}" width="{width:.1f}" height="16"/>')
                    x += width
            said = f"{total:,}" if total else "right"
            parts.append(f'<text class="end" x="{_LEFT - 10}" y="{top + 15}">{escape(_plain(tool))}</text>')
            parts.append(f'<text class="small" x="{x + 8:.1f}" y="{top + 15}">{said}</text>')
            top += _BAR
        top += 26
    about = (
        "Chunks that differ from a fresh load, on a scale of powers of ten; after a kill the tool was run again first."
    )
    return svg(top - 10, "Whether the index is right", about, parts)


def _counts(tool: Mapping[str, Any], moment: str) -> list[int]:
    return [tool["wrong"][moment][word] for word in ("stale", "missing", "doubled")]


def _no_change(runs: Mapping[str, Any]) -> Mapping[str, float]:
    return runs.get("no change, plan", runs["no change"])


def _plain(tool: Mapping[str, Any]) -> str:
    return tool["name"].replace("`", "").replace("IngestionPipeline", "pipeline")


def _kind(tool: Mapping[str, Any]) -> str:
    return "floor" if tool["is_floor"] else "ours" if tool["name"] == "qloader" else "peer"
