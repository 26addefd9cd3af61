"""From an issue to a document: its text, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from qloader.documents.atlassian.converted import CONVERSION, Converted, Resolvers
from qloader.documents.document import Document, Skipped
from qloader.documents.markdown import clean_title
from qloader.documents.normalise import NORMALISATION, normalise_text
from qloader.documents.reading import too_large
from qloader.sources.atlassian.moments import utc_text
from qloader.sources.jira.fields import SYSTEM_TEXTS, CustomField, is_text, metadata_of
from qloader.sources.jira.issues import Issue
from qloader.sources.jira.settings import JiraSettings

READER = f"{NORMALISATION}.{CONVERSION}.1"
"""What reads: part of the selection's fingerprint, so that a change reads everything again. The last number is that of
the documents that this module makes of the converted texts."""

Convert = Callable[[Any, Resolvers], Converted]

_MOVES = frozenset({"key", "project", "rank"})
"""Fields whose changes are left out of the history: a move to another project must not change a text."""


class Reader:
    """Makes documents of issues.

    Attributes:
        unknown: What was met in texts and is not known how to read; its text was kept.
    """

    def __init__(self, settings: JiraSettings) -> None:
        self._settings = settings
        self.unknown: set[str] = set()

    def read(self, issue: Issue, custom: Sequence[CustomField]) -> Document | Skipped:
        """The document of an issue.

        Its text has no key in it: a key changes with the project, and that must be a move and no new text.
        """
        settings, fields, key = self._settings, issue.fields, issue.row.key
        title = clean_title(fields.get("summary") or "") or key
        text = normalise_text("\n\n".join(self._parts(issue, custom)))
        size = len(text.encode())
        if size > settings.max_bytes:
            return too_large(key, size, settings.max_bytes)
        metadata = metadata_of(self._wanted(fields), custom)
        if created := utc_text(fields.get("created")):
            metadata["created"] = created
        return Document(
            id=key,
            title=title,
            uri=f"{settings.url}/browse/{key}",
            text=text,
            revision=_revision(issue.row.updated),
            bytes=size,
            metadata={**metadata, **settings.metadata},
            updated_at=utc_text(fields.get("updated")),
            syntax="markdown",
        )

    def _parts(self, issue: Issue, custom: Sequence[CustomField]) -> Iterator[str]:
        fields = self._wanted(issue.fields)
        convert = self._converter(issue.fields)
        if summary := clean_title(fields.get("summary") or ""):
            yield f"# {summary}"
        for name in SYSTEM_TEXTS:
            if text := convert(fields.get(name)):
                yield text if name == "description" else f"## {name.title()}\n\n{text}"
        for field in custom:
            value = fields.get(field.id)
            if value is not None and is_text(field, value) and (text := convert(value)):
                yield f"## {clean_title(field.name)}\n\n{text}"
        comments = [(one, convert(one.get("body"))) for one in issue.comments]
        if any(text for _, text in comments):
            yield "## Comments"
        for comment, text in comments:
            if text:
                yield f"### {_who_and_when(comment)}\n\n{text}"
        if lines := list(_history(issue.histories)):
            yield "## History\n\n" + "\n".join(lines)

    def _wanted(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        unwanted = {name.lower() for name in self._settings.exclude_fields}
        return {name: value for name, value in fields.items() if name.lower() not in unwanted}

    def _converter(self, fields: Mapping[str, Any]) -> Callable[[Any], str]:
        from qloader.documents.atlassian.adf import adf_to_markdown
        from qloader.documents.atlassian.wiki_markup import wiki_to_markdown

        files = {str(one.get("filename")): one.get("content") for one in fields.get("attachment") or ()}
        resolvers = Resolvers(attachment=files.get, issue=lambda key: f"{self._settings.url}/browse/{key}")

        def convert(value: Any) -> str:
            if not value:
                return ""
            found = adf_to_markdown(value, resolvers) if isinstance(value, dict) else wiki_to_markdown(value, resolvers)
            self.unknown.update(found.unknown)
            return found.text.strip("\n")

        return convert


def _history(histories: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The changelog as lines, oldest first: who changed what from what to what."""
    for entry in sorted(histories, key=lambda entry: (utc_text(entry.get("created")) or "", int(entry["id"]))):
        changes = [
            f"{change['field']}: {_short(change.get('fromString'))} → {_short(change.get('toString'))}"
            for change in entry.get("items") or ()
            if str(change["field"]).lower() not in _MOVES
        ]
        if changes:
            yield f"- {_who_and_when(entry)}: {'; '.join(changes)}"


def _who_and_when(entry: Mapping[str, Any]) -> str:
    name = clean_title((entry.get("author") or {}).get("displayName") or "") or "unknown"
    day = (utc_text(entry.get("created")) or "")[:10]
    return f"{name}, {day}" if day else name


def _short(value: Any) -> str:
    words = " ".join(str(value or "none").split())
    return words if len(words) <= 200 else words[:199] + "…"


def _revision(milliseconds: int) -> str:
    """A moment to the millisecond, the same on every machine."""
    seconds, rest = divmod(milliseconds, 1000)
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:03}Z"
