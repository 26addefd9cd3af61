"""The JSON Schema of `qloader.yaml`, for editors: what pydantic makes of the models, brought to what a file may say.

Made for people who type: units instead of bare numbers, `${VAR}` wherever it may stand, empty sections.
"""

from __future__ import annotations

from typing import Any

from qloader.config.models import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
_NUMBERS = ("integer", "number", "boolean")


def build_schema() -> dict[str, Any]:
    """The schema, draft 2020-12. The same for the same models."""
    raw = Config.model_json_schema(mode="validation")
    definitions = {name: _section(value) for name, value in raw.pop("$defs").items()}
    root = _section(raw)
    return {
        "$schema": DIALECT,
        "title": "qloader.yaml",
        **{key: root[key] for key in sorted(root) if key not in ("title", "type")},
        "type": "object",
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


def _section(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties")
    if not properties:
        return schema
    shown = {key: _property(key, value) for key, value in properties.items()}
    return {key: value for key, value in schema.items() if key not in ("title", "properties")} | {"properties": shown}


def _property(key: str, schema: dict[str, Any]) -> dict[str, Any]:
    unit = schema.get("x-unit")
    plain = {name: value for name, value in schema.items() if name not in ("title", "x-unit")}
    about: dict[str, Any] = {name: plain.pop(name) for name in ("description", "default", "writeOnly") if name in plain}
    if unit and "default" in about:
        about["default"] = written(about["default"], unit)
    if "patternProperties" in plain:
        plain["additionalProperties"] = False  # a name that fits no pattern is a mistake
    if "$ref" in plain or unit == "section":
        # `guards:` with nothing below it is a section of defaults.
        return {**about, "anyOf": [plain, {"type": "null"}]}
    if key == "type":
        return {**about, **plain}
    alternatives = plain.pop("anyOf", None) or [plain]
    if any(_takes_no_reference(one) for one in alternatives):
        return {**about, "anyOf": [*alternatives, _REFERENCE]}
    return {**about, "anyOf": alternatives} if len(alternatives) > 1 else {**about, **alternatives[0]}


def _takes_no_reference(schema: dict[str, Any]) -> bool:
    """Whether an editor would call `${VAR}` a mistake there."""
    return schema.get("type") in _NUMBERS or bool({"pattern", "enum", "const"} & schema.keys())


def written(value: Any, unit: str = "") -> Any:
    """A default as a person would write it: `30s`, `10MB`, `0o600`."""
    if unit == "duration" and value and value % 86400 == 0:
        return f"{value / 86400:g}d"
    if unit == "duration":
        return f"{value:g}s"
    if unit == "size" and value % 1_000_000 == 0:
        return f"{value // 1_000_000}MB"
    if unit == "file mode":
        return f"0o{value:o}"
    return value
