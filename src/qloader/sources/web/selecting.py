"""Which pages are asked for, and which of them are documents."""

from __future__ import annotations

from qloader.sources.selection import Selection


class PageSelection:
    """Patterns of .gitignore for the ids of pages.

    A page and the folder of its name are one: `guide/**` and `guide/` mean the page `guide` too.
    """

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
        """Compiles the patterns.

        Raises:
            ConfigError: A pattern is invalid.
        """
        excluded = _with_folders(exclude)
        self._takes = Selection(_with_folders(include), excluded).selects
        self._asks_for = Selection(("**",), excluded).selects

    def asks_for(self, key: str) -> bool:
        """Whether a page may be asked for: it is not excluded."""
        return self._asks_for(key)

    def takes(self, key: str) -> bool:
        """Whether a page is a document."""
        return self._takes(key)


def _with_folders(patterns: tuple[str, ...]) -> list[str]:
    """Each pattern, and behind one for all in a folder another for the folder itself."""
    found = []
    for pattern in patterns:
        found.append(pattern)
        folder = pattern.removesuffix("**").removesuffix("/")
        if folder != pattern and folder.lstrip("!"):
            found.append(folder)
    return found
