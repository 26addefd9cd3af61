"""Chrome's trace events as a test reads them."""

from __future__ import annotations

from typing import Any

_COMMON = {
    "name": {"type": "string", "minLength": 1},
    "pid": {"type": "integer", "minimum": 1},
    "tid": {"type": "integer", "minimum": 0},
    "args": {"type": "object"},
}
_TIME = {"ts": {"type": "number", "minimum": 0}}


def _event(phase: str, required: list[str], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["name", "ph", "pid", "tid", *required],
        "properties": {**_COMMON, "ph": {"const": phase}, **more},
        "additionalProperties": False,
    }


TRACE = {
    "type": "array",
    "minItems": 1,
    "items": {
        "oneOf": [
            _event("X", ["ts", "dur", "cat"], **_TIME, dur={"type": "number", "minimum": 0}, cat={"type": "string"}),
            _event("C", ["ts", "args"], **_TIME),
            _event("M", ["args"]),
        ]
    },
}
"""The array format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU, those kinds of
events that a trace of qloader has."""

_ROUNDED = 0.002
"""Microseconds that two spans may overlap by, since their times are rounded."""


def spans_by_thread(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """The spans of each thread, in the order in which they began; of two that began at once, the longer first."""
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for event in events:
        if event["ph"] == "X":
            found.setdefault((event["pid"], event["tid"]), []).append(event)
    return {key: sorted(spans, key=lambda span: (span["ts"], -span["dur"])) for key, spans in found.items()}


def roots_of(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans of a thread that lie within no other; an error where two overlap in part."""
    roots: list[dict[str, Any]] = []
    open_until: list[float] = []
    for span in spans:
        end = span["ts"] + span["dur"]
        while open_until and open_until[-1] <= span["ts"] + _ROUNDED:
            open_until.pop()
        if not open_until:
            roots.append(span)
        else:
            assert end <= open_until[-1] + _ROUNDED, f"{span} goes on when what it lies in has ended"
        open_until.append(end)
    return roots
