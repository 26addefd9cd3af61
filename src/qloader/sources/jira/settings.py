"""What a `jira` source reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

_QUOTED_OR_ORDER = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(\border\s+by\b)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JiraSettings:
    """What a `jira` source reads.

    Attributes:
        deployment: Which edition the site is.
        url: The site, with its context path, without a slash at the end.
        projects: Keys of projects.
        jql: A query; with `projects` too, what both allow.
        comments: Whether comments are part of the text.
        changelog: Whether the history of changes is part of the text.
        exclude_fields: Names or ids of fields that are not read.
        page_size: How many issues a listing asks for at once; the server may give fewer.
        max_bytes: Larger issues are skipped.
        metadata: Added to every document.
        time_zone: The account's, where the server does not tell.
    """

    deployment: Literal["cloud", "data_center"]
    url: str
    projects: tuple[str, ...] = ()
    jql: str | None = None
    comments: bool = True
    changelog: bool = False
    exclude_fields: tuple[str, ...] = ()
    page_size: int = 5000
    max_bytes: int = 10_000_000
    metadata: Mapping[str, Any] = field(default_factory=dict)
    time_zone: str | None = None

    @property
    def restriction(self) -> str:
        """What the listing is restricted to, as JQL without an order."""
        parts = []
        if self.projects:
            parts.append(f"project in ({', '.join(quoted(key) for key in self.projects)})")
        if self.jql:
            parts.append(f"({without_order(self.jql)})")
        return " AND ".join(parts)


def quoted(text: str) -> str:
    """A text as JQL writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def without_order(jql: str) -> str:
    """A query without its `ORDER BY`; the same words inside quotes are none."""
    for found in _QUOTED_OR_ORDER.finditer(jql):
        if found[1]:
            return jql[: found.start()].strip()
    return jql.strip()
