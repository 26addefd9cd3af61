"""Which of an issue's fields are text, which say something about it, and which are noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

SYSTEM_TEXTS = ("description", "environment")
"""Fields of text that every Jira has, in the order in which they stand in a document."""

_NAMES: dict[str, str] = {
    "status": "status",
    "issuetype": "issue_type",
    "priority": "priority",
    "resolution": "resolution",
    "assignee": "assignee",
    "reporter": "reporter",
    "components": "components",
    "fixVersions": "fix_versions",
    "versions": "affects_versions",
    "security": "security_level",
}
"""Fields whose name, or names, are metadata, and under what key."""

_TEXT_TYPES = (":textarea", ":textfield", ":readonlyfield")
_NOISE_TYPES = ("gh-lexo-rank", "devsummarycf", "gh-global-rank", "vulnerabilitycf")
"""Custom fields that machines write for machines: ranks, and summaries of commits."""

_EPIC_TYPE = "gh-epic-link"


class CustomField(NamedTuple):
    """A custom field: its id, its name, and its kind (`schema.custom`)."""

    id: str
    name: str
    kind: str


def custom_fields(listed: Iterable[Mapping[str, Any]], excluded: Iterable[str]) -> list[CustomField]:
    """The custom fields that are read, in the order of their names.

    Args:
        listed: What `/field` answers.
        excluded: Names or ids of fields that are not wanted.
    """
    unwanted = {name.lower() for name in excluded}
    found = []
    for field in listed:
        one, name = str(field["id"]), str(field.get("name") or field["id"])
        kind = str((field.get("schema") or {}).get("custom") or "")
        if not one.startswith("customfield_") or unwanted & {one.lower(), name.lower()}:
            continue
        if not kind.endswith(_NOISE_TYPES):
            found.append(CustomField(one, name, kind))
    return sorted(found, key=lambda field: (field.name, field.id))


def is_text(field: CustomField, value: Any) -> bool:
    """Whether a custom field's value is text to be read, rather than a choice, a number or a date."""
    if isinstance(value, dict):
        return value.get("type") == "doc"
    return isinstance(value, str) and bool(value.strip()) and field.kind.endswith(_TEXT_TYPES)


def metadata_of(fields: Mapping[str, Any], custom: Sequence[CustomField]) -> dict[str, Any]:
    """What an issue's fields say about it. Fields that are empty are left out."""
    found: dict[str, Any] = {
        "project": _name(fields.get("project"), "key"),
        "status_category": _name((fields.get("status") or {}).get("statusCategory"), "name"),
        "labels": sorted(fields.get("labels") or ()),
        "parent": _name(fields.get("parent"), "key"),
        "links": _links(fields.get("issuelinks") or ()),
        "subtasks": sorted(str(one["key"]) for one in fields.get("subtasks") or ()),
        "attachments": sorted(str(one["filename"]) for one in fields.get("attachment") or ()),
        "due": fields.get("duedate"),
    }
    for field, key in _NAMES.items():
        found[key] = _value(fields.get(field))
    for one in custom:
        value = fields.get(one.id)
        if one.kind.endswith(_EPIC_TYPE):
            found["epic"] = value
        elif value is not None and not is_text(one, value):
            found.setdefault("fields", {})[one.name] = _value(value)
    fields_found = {name: value for name, value in found.pop("fields", {}).items() if value not in (None, "", [])}
    found["fields"] = fields_found
    return {key: value for key, value in found.items() if value not in (None, "", [], {})}


def _links(links: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Links to other issues, in words: `{"how": "blocks", "key": "ENG-7"}`."""
    found = []
    for link in links:
        kind = link.get("type") or {}
        for side, how in (("outwardIssue", "outward"), ("inwardIssue", "inward")):
            if link.get(side):
                found.append({"how": str(kind.get(how) or kind.get("name") or ""), "key": str(link[side]["key"])})
    return sorted(found, key=lambda link: (link["how"], link["key"]))


def _value(value: Any) -> Any:
    """A field's value as metadata: names instead of objects, lists of them, plain values as they are."""
    if isinstance(value, list):
        return [one for one in (_value(part) for part in value) if one not in (None, "")]
    if isinstance(value, Mapping):
        chosen = value.get("displayName") or value.get("name") or value.get("value") or value.get("key")
        child = value.get("child")
        if isinstance(child, Mapping) and chosen:  # a cascading choice
            return f"{chosen} / {_value(child)}"
        return chosen
    return value if isinstance(value, str | int | float | bool) else None


def _name(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
