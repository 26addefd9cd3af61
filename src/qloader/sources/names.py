"""Names that are the same on every machine."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def stable_names(names: Iterable[str]) -> dict[str, str | None]:
    """What the names in one folder are called in document ids: their NFC form.

    macOS and Linux write the same name in different forms, and an id must not depend on where a
    repository was cloned. Where two names of a folder have one NFC form, the one that is in NFC (else the
    first in order) gets it.

    Args:
        names: All names in a folder.

    Returns:
        Only the names that are not their own id: with the id, or with None where the name is not valid
        Unicode or its id is taken.
    """
    odd: dict[str, str | None] = {}
    taken: set[str] = set()
    for name in names:
        if name.isascii():
            continue
        try:
            name.encode()
        except UnicodeEncodeError:
            odd[name] = None
            continue
        if unicodedata.is_normalized("NFC", name):
            taken.add(name)
        else:
            odd[name] = ""
    for name in sorted(name for name, found in odd.items() if found == ""):
        composed = unicodedata.normalize("NFC", name)
        odd[name] = None if composed in taken else composed
        taken.add(composed)
    return odd


def printable_name(name: str) -> str:
    r"""A name for people where it is no valid Unicode: undecodable bytes as `\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def bad_name_detail(name: str) -> str:
    """Why `stable_names` gave a name no id."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "not UTF-8"
    return "another name in its folder differs only in Unicode normalisation"


def is_safe_path(path: str) -> bool:
    """True for a relative POSIX path that stays where it starts: no empty part, no `.`, no `..`, no NUL."""
    return "\x00" not in path and not any(part in ("", ".", "..") for part in path.split("/"))
