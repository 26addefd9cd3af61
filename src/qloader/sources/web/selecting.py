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
        self._included = Selection(include).selects
        self._not_excluded = Selection(("**",), exclude).selects

    def asks_for(self, key: str) -> bool:
        """Whether a page may be asked for: it is not excluded."""
        return self._not_excluded(key) and self._not_excluded(f"{key}/index")

    def takes(self, key: str) -> bool:
        """Whether a page is a document."""
        return self.asks_for(key) and (self._included(key) or self._included(f"{key}/index"))
