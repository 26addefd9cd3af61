"""Pictures of figures as SVG, in the colours of a light and of a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH = 900
_STYLE = """
  svg { font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
  .page { fill: #ffffff; stroke: #d0d7de; }
  .ours { fill: #0969da; }
  .peer { fill: #afb8c1; }
  .floor { fill: #d8dee4; }
  .stale { fill: #bf8700; }
  .missing { fill: #cf222e; }
  .doubled { fill: #8250df; }
  .right { fill: #1a7f37; }
  .grid { stroke: #d8dee4; }
  .line { fill: none; stroke-width: 2; }
  .line.ours { stroke: #0969da; }
  .line.stale { stroke: #bf8700; }
  .line.doubled { stroke: #8250df; }
  .line.right { stroke: #1a7f37; }
  .line.peer { stroke: #8c959f; stroke-dasharray: 5 4; }
  text { fill: #1f2328; font-size: 13px; }
  .head { font-size: 15px; font-weight: 600; }
  .small { font-size: 12px; fill: #57606a; }
  .end { text-anchor: end; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #30363d; }
    .ours { fill: #58a6ff; }
    .peer { fill: #6e7681; }
    .floor { fill: #484f58; }
    .stale { fill: #d29922; }
    .missing { fill: #f85149; }
    .doubled { fill: #a371f7; }
    .right { fill: #3fb950; }
    .grid { stroke: #30363d; }
    .line { fill: none; }
    .line.ours { stroke: #58a6ff; }
    .line.stale { stroke: #d29922; }
    .line.doubled { stroke: #a371f7; }
    .line.right { stroke: #3fb950; }
    .line.peer { stroke: #6e7681; }
    text { fill: #e6edf3; }
    .small { fill: #9da7b1; }
  }
"""


def svg(height: int, title: str, about: str, parts: Sequence[str]) -> str:
    """A picture that says what it is about.

    Args:
        height: In pixels.
        title: What it is called.
        about: What is measured, a sentence above the picture.
        parts: The picture itself.
    """
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            'aria-labelledby="title what">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="what">{escape(about)}</desc>',
            f"<style>{_STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
            f'<text class="small" x="24" y="34">{escape(about)}</text>',
            *parts,
            "</svg>",
            "",
        ]
    )
