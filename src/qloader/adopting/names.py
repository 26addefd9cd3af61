"""How two tools may call one document: `/home/me/repo/docs/a.md`, `https://host/blob/main/docs/a.md`, `docs/a.md`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_INDEX = re.compile(r"index\.html?", re.IGNORECASE)
_NUMBER_OR_KEY = re.compile(r"[0-9]+|[A-Z][A-Z0-9_]*-[0-9]+", re.ASCII)
"""What is an id by itself wherever it stands in an address: a page's number, an issue's key."""

MOST_PARTS = 64
"""Parts of a name that are looked at, the last ones: longer ones tell no more, and each costs a look-up."""


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a path or an address, without host, query and fragment."""
    if _ADDRESS.match(name):
        try:
            name = unquote(urlsplit(name).path)
        except ValueError:
            return ()
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if len(parts) > 1 and _INDEX.fullmatch(parts[-1]):
        parts.pop()
    return tuple(parts[-MOST_PARTS:])


def endings(name: str) -> Iterator[tuple[int, str]]:
    """Under which ids a document of this name may be known, the likeliest first.

    Yields:
        How many parts are missing before it, and the id.
    """
    parts = parts_of(name)
    for start in range(len(parts)):
        yield start, "/".join(parts[start:])
    if _ADDRESS.match(name):
        for at, part in enumerate(parts[:-1]):
            if _NUMBER_OR_KEY.fullmatch(part):
                yield at, part


def shorter_names(document_id: str) -> Iterator[str]:
    """What a tool may call a document that knows only the end of its path."""
    parts = parts_of(document_id)
    for start in range(1, len(parts)):
        yield "/".join(parts[start:])
