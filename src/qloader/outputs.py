"""Files that are written where somebody says: one that is there is replaced if it is of the same kind, and no other.

A name is soon mistyped, and what would be lost may be the config, a document or the state.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qloader.errors import ConfigError

_HEAD = 4096


def check_replaceable(path: Path, is_one: Callable[[bytes], bool], *, what: str) -> None:
    """Refuses to write over a file that is something else.

    Args:
        path: Where is to be written. What is empty, or no file (a pipe, a device), passes.
        is_one: Tells by the first 4 KiB whether a file is of the kind that is written.
        what: What that is called.

    Raises:
        ConfigError: It would be lost.
    """
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            head = file.read(_HEAD)
        is_other = bool(head) and not is_one(head)
    except OSError:  # whoever writes says it better
        return
    if is_other:
        raise ConfigError(
            f"{path} exists and is no {what}, so it is left as it is",
            remedy="Name another file, or remove that one first.",
        )
