"""A mapping file: where the points of a tool that nobody knows have their text, and what names its document."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml

from qloader.adopting.shapes import SHAPES, Shape, mapped
from qloader.errors import ConfigError

MAX_BYTES = 1 << 16
"""A larger file is no mapping; the limit bounds what the parser can be made to do."""

KEYS = ("text", "document", "title", "vector")

_FORM = (
    "Write {text: page_content, document: metadata.source}, paths of keys in a payload; title and vector may follow."
)


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a mapping says: a shape, and which vector; None where it does not say which."""

    shape: Shape
    vector: str | None


def read_mapping(path: Path) -> Mapped:
    """Reads a mapping file.

    Raises:
        ConfigError: It cannot be read, or is no mapping.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        remedy = f"Check the path; the shapes that need none are {', '.join(SHAPES)}."
        raise ConfigError(f"--shape {path} cannot be read: {error.strerror or error}", remedy=remedy) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"--shape {path} is over {MAX_BYTES >> 10} KiB: that is no mapping", remedy=_FORM)
    try:
        # Every scalar is text: a key may be called `no` as well as anything else.
        value = yaml.load(data, yaml.CBaseLoader if hasattr(yaml, "CBaseLoader") else yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        words = " ".join(str(error).split())[:200]
        raise ConfigError(f"--shape {path} is no YAML: {words}", remedy=_FORM) from None
    if not isinstance(value, dict):
        raise ConfigError(f"--shape {path} is no mapping of keys to paths", remedy=_FORM)
    for key, said in value.items():
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, 1)
            raise ConfigError(
                f"--shape {path}: unknown key {key}",
                remedy=f"Did you mean {near[0]}?" if near else f"It knows {', '.join(KEYS)}.",
            )
        if not isinstance(said, str):
            raise ConfigError(f"--shape {path}: {key} is no text", remedy=_FORM)
    if not value.get("text"):
        raise ConfigError(f"--shape {path} does not say where the text is: the key text is missing", remedy=_FORM)
    shape = mapped(text=value["text"], document=value.get("document", ""), title=value.get("title", ""))
    return Mapped(shape, value.get("vector"))
