"""Front matter: the YAML or TOML block at the head of a Markdown file, read as metadata."""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

MAX_CHARS = 64 * 1024
"""A longer block is no front matter; it stays text."""

MAX_VALUES = 5_000
"""How many values a block may expand to. Aliases make a short block large; past this it stays text."""

MAX_DEPTH = 16
MAX_ALIASES = 100
_SAFE_INTEGER = 2**63
_FENCES = {"---\n": ("\n---", "\n..."), "+++\n": ("\n+++",)}


class _NotPlainError(Exception):
    """The block holds something that has no bounded JSON form."""


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Takes the front matter off a Markdown text.

    YAML stands between `---` and `---` (or `...`), TOML between `+++` and `+++`, each alone on its line,
    the first at the very start. A block that is broken, too large, or no mapping is not front
    matter: it stays in the text, so that nothing a person wrote is lost.

    Args:
        text: A normalised text.

    Returns:
        The metadata as JSON values (dates are ISO 8601 strings, NaN and infinities are strings,
        integers beyond 64 bits are strings, binary is base64), and the text that follows.
    """
    fence = text[:4]
    if fence not in _FENCES:
        return {}, text
    end, body = _find_end(text, _FENCES[fence])
    if end < 0 or end > MAX_CHARS:
        return {}, text
    block = text[4 : end + 1]
    try:
        loaded = _load_yaml(block) if fence == "---\n" else _load_toml(block)
        if loaded is None:
            return {}, body
        if not isinstance(loaded, dict):
            return {}, text
        return _Plain().mapping(loaded, 0), body
    # A loader fails in many ways (syntax, month 13, nesting, an unhashable key), all with one answer.
    except (_NotPlainError, ValueError, TypeError, RecursionError, OverflowError, AttributeError):
        return {}, text


def _find_end(text: str, closings: tuple[str, ...]) -> tuple[int, str]:
    """Where the block ends (the index of the newline before the closing fence, or -1) and what follows."""
    best = -1
    body = ""
    for closing in closings:
        start = 3  # the newline of the opening fence, so that an empty block is found too
        while (at := text.find(closing, start, MAX_CHARS + 8)) >= 0:
            after = at + len(closing)
            if after >= len(text) or text[after] == "\n":
                if best < 0 or at < best:
                    best, body = at, text[after + 1 :].lstrip("\n")
                break
            start = after
    return best, body


def _load_yaml(block: str) -> Any:
    import yaml

    # Merge keys copy what they merge, so that twenty of them can fill the memory.
    if block.count("<<") > 10 or block.count("*") > MAX_ALIASES:
        raise _NotPlainError
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(block, loader)  # noqa: S506 - both are safe loaders
    except yaml.YAMLError as error:
        raise _NotPlainError from error


def _load_toml(block: str) -> Any:
    import tomllib

    return tomllib.loads(block)


class _Plain:
    """Turns loaded values into JSON values, counting them."""

    def __init__(self) -> None:
        self._count = 0

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        return {_key(key): self.value(item, depth + 1) for key, item in value.items()}

    def value(self, value: Any, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_VALUES or depth > MAX_DEPTH:
            raise _NotPlainError
        if isinstance(value, Mapping):
            return self.mapping(value, depth)
        if isinstance(value, list | tuple):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, set | frozenset):
            return [self.value(item, depth + 1) for item in sorted(value, key=str)]
        return _scalar(value)


def _key(key: Any) -> str:
    plain = _scalar(key)
    if isinstance(plain, str):
        return plain
    if isinstance(plain, bool) or plain is None:
        return {True: "true", False: "false", None: "null"}[plain]
    return str(plain)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # A YAML escape can spell a lone surrogate, which no UTF-8 writer takes.
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int):
        return value if -_SAFE_INTEGER <= value < _SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise _NotPlainError
