"""What a `confluence` source reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class ConfluenceSettings:
    """What a `confluence` source reads.

    Attributes:
        deployment: Which edition the site is.
        url: The site, with `/wiki` (Cloud) or the context path (Data Center), without a slash at the end.
        spaces: Keys of spaces. Empty: the spaces of `roots`.
        roots: Ids of pages; only these and what is below them. Empty: all pages of the spaces.
        blog_posts: Whether blog posts are read too.
        labels: Only what bears one of these. Empty: whatever it bears.
        exclude_labels: Not what bears one of these.
        label_changes: Whether a change of labels alone is looked for on Cloud, which costs a request a label.
        archived: Whether archived pages are read too.
        comments: Whether footer comments become part of their page's text.
        attachments: Whether attached text files are documents.
        max_bytes: Larger pages and files are skipped.
        metadata: Added to every document.
        time_zone: The account's, where the server does not tell.
    """

    deployment: Literal["cloud", "data_center"]
    url: str
    spaces: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    blog_posts: bool = False
    labels: tuple[str, ...] = ()
    exclude_labels: tuple[str, ...] = ()
    label_changes: bool = False
    archived: bool = False
    comments: bool = False
    attachments: bool = False
    max_bytes: int = 10_000_000
    metadata: Mapping[str, Any] = field(default_factory=dict)
    time_zone: str | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Which kinds of content are documents of their own."""
        return ("page", "blogpost") if self.blog_posts else ("page",)

    @property
    def statuses(self) -> tuple[str, ...]:
        """The states of content that is read."""
        return ("current", "archived") if self.archived else ("current",)


Kind = Literal["page", "blogpost"]
