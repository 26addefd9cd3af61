"""Durations and sizes as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3, "gb": 1000**3,
    "kib": 1024, "mib": 1024**2, "gib": 1024**3,
}  # fmt: skip
_AMOUNT = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*", re.ASCII)


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


# How these are written, for editors and the reference; `x-unit` is taken out of the published schema.
_WRITTEN_DURATION = {
    "type": ["number", "string"],
    "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)?$",
    "x-unit": "duration",
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
