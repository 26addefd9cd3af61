"""What can be a server's address, its key and a collection's name: looked at before anything is sent there."""

from __future__ import annotations

from urllib.parse import urlsplit

from qloader.errors import IndexUnavailableError

_NO_NAME = frozenset('<>:"/\\|?*\0\x1f')
_LONGEST_NAME = 255


def check_name(collection: str) -> None:
    """Refuses what cannot be the name of a collection, by the server's own rule.

    Raises:
        IndexUnavailableError: It cannot.
    """
    if collection in ("", ".", "..") or len(collection) > _LONGEST_NAME or _NO_NAME & set(collection):
        raise IndexUnavailableError(
            f"{collection[:80]!r} cannot be the name of a collection on a Qdrant server",
            remedy='Choose a name of 1 to 255 characters, none of <>:"/\\|?*, in index.collection.',
        )


def check_url(url: str) -> str:
    """The address for messages: what a message may show of it.

    Raises:
        IndexUnavailableError: It is no server's address, or holds what the client would not send.
    """
    remedy = "Write index.url as http://HOST:PORT or https://HOST:PORT, with a path if the server is behind one."
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    # What is wrong is not shown: it may hold a password.
    if not is_usable or any(char.isspace() or not char.isprintable() for char in url):
        raise IndexUnavailableError("index.url is not the address of a Qdrant server", remedy=remedy)
    if "@" in parts.netloc:
        raise IndexUnavailableError(
            "index.url holds a name or a password, which the Qdrant client would not send",
            remedy="Leave them out of index.url, and put the server's key into index.api_key.",
        )
    if parts.query or parts.fragment:
        raise IndexUnavailableError("index.url holds a query or a fragment, which no server has", remedy=remedy)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def check_key(key: str | None) -> str | None:
    """The key, or None for an empty one.

    Raises:
        IndexUnavailableError: It cannot be sent. The HTTP library would repeat it, in full, in its error.
    """
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise IndexUnavailableError(
            "index.api_key holds a space, a line break or another character that no key has",
            remedy="Check what sets it; a key read from a file may end with a line break.",
        )
    return key or None
