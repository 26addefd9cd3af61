"""Durations and sizes as people write them."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3, "gb": 1000**3,
    "kib": 1024, "mib": 1024**2, "gib": 1024**3,
}  # fmt: skip
_AMOUNT = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*", re.ASCII)

_AGO = re.compile(r"\d{1,15}(\.\d{1,9})?\s*(ms|s|m|h|d|w)", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_duration(value: Any) -> float:
    """Seconds, from a number of seconds or a text such as `500ms`, `30s`, `1m`, `2h`, `1d`.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if match is None or (unit := match[2].lower() or "s") not in _SECONDS:
        raise ValueError("expected a duration such as 30s, 1m or 500ms")
    return float(match[1]) * _SECONDS[unit]


def parse_size(value: Any) -> int:
    """Bytes, from a number of bytes or a text such as `10MB` (powers of 1000) or `512KiB` (powers of 1024).

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if match is None or (unit := match[2].lower()) not in _BYTES:
        raise ValueError("expected a size such as 10MB or 512KiB")
    return round(float(match[1]) * _BYTES[unit])


def parse_permissions(value: Any) -> int:
    """A file mode, from octal digits as text (`0o600`, `0600`, `600`) or a number.

    A number over 0o777 can only be octal digits written without quotes, as in `permissions: 600`.

    Raises:
        ValueError: It is no mode, or one that would lock the owner out.
    """
    digits = re.fullmatch(r"(?:0o?)?([0-7]{3})", str(value).strip(), re.ASCII)
    mode = 0
    if type(value) is int and 0 <= value <= 0o777:
        mode = value
    elif digits and not isinstance(value, float):
        mode = int(digits[1], 8)
    if mode & 0o600 != 0o600:
        raise ValueError("expected a file mode such as 0o600 that lets its owner read and write")
    return mode


def check_since(value: Any) -> str | None:
    """How far to look back: `24h`, `7d`, `2w`, `2026-11-01` or `2026-11-01T10:00+02:00`, as text.

    Raises:
        ValueError: It is none of these.
    """
    if value is None or value == "":
        return None
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str) or not (is_ago(text) or is_date(text)):
        raise ValueError("expected how far to look back, such as 24h, 7d or 2026-11-01")
    return text.strip()


def is_ago(text: str) -> bool:
    """Whether a text is an amount of time with its unit."""
    return _AGO.fullmatch(text.strip()) is not None


def is_date(text: str) -> bool:
    """Whether a text begins like a date."""
    return _DATE.match(text.strip()) is not None


# How these are written, for editors and the reference; `x-unit` is taken out of the published schema.
_WRITTEN_DURATION = {
    "type": ["number", "string"],
    "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)?$",
    "x-unit": "duration",
}
_WRITTEN_SINCE = {
    "type": ["string", "null"],
    "pattern": r"^([0-9]+(\.[0-9]+)? ?(ms|s|m|h|d|w)|[0-9]{4}-[0-9]{2}-[0-9]{2}.*)$",
    "x-unit": "time",
}
_WRITTEN_SIZE = {
    "type": ["integer", "string"],
    "pattern": r"^[0-9]+(\.[0-9]+)? ?([kKMG]?B|[KMG]iB)?$",
    "x-unit": "size",
}
_WRITTEN_MODE = {"type": ["integer", "string"], "pattern": r"^(0o?)?[0-7]{3}$", "x-unit": "file mode"}

Duration = Annotated[float, Field(gt=0, le=86400), BeforeValidator(parse_duration), WithJsonSchema(_WRITTEN_DURATION)]
"""Seconds; more than 0, at most a day."""

Retention = Annotated[
    Annotated[float, Field(gt=0, le=36500 * 86400)] | None,
    BeforeValidator(lambda value: None if value is None else parse_duration(value)),
    WithJsonSchema({**_WRITTEN_DURATION, "type": ["number", "string", "null"]}),
]
"""Seconds; more than 0, at most a hundred years. None is for ever."""

Delay = Annotated[float, Field(ge=0, le=86400), BeforeValidator(parse_duration), WithJsonSchema(_WRITTEN_DURATION)]
"""Seconds; 0 is no delay."""

Size = Annotated[int, Field(gt=0, le=1 << 40), BeforeValidator(parse_size), WithJsonSchema(_WRITTEN_SIZE)]
"""Bytes."""

Permissions = Annotated[int, BeforeValidator(parse_permissions), WithJsonSchema(_WRITTEN_MODE)]
"""A file mode."""

Since = Annotated[str | None, BeforeValidator(check_since), WithJsonSchema(_WRITTEN_SINCE)]
"""How far to look back, as text; None is everything."""
