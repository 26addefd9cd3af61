"""The kinds of values that a config holds in more than one place, and what every section of it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def check_name(value: str) -> str:
    """A name that can be part of a path and of an address."""
    # Names become parts of paths and addresses, on file systems of all kinds.
    if re.fullmatch(_NAME[1:-1], value, re.ASCII) is None or len(value) > 100:
        raise ValueError("expected a name of letters, digits, `.`, `_` and `-` that begins with a letter or digit")
    return value


def check_text(value: str) -> str:
    """Some text."""
    if not value or "\x00" in value:
        raise ValueError("expected some text" if not value else "expected text without NUL characters")
    return value


def split_http(value: str) -> SplitResult | None:
    """The parts of an address with http or https and a host; None where it is no such address."""
    try:
        parts = urlsplit(check_text(value))
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return parts if is_usable and not re.search(r"\s", value) else None


def empty_is_none(value: Any) -> Any:
    """Reads an empty text as none given."""
    # So that `url: ${QDRANT_URL:-}` means "a server where one is named".
    return None if value == "" else value


def none_is_empty(value: Any) -> Any:
    """Reads a mapping left empty (`policies:`) as one without keys."""
    return {} if value is None else value


def is_pattern(value: str) -> bool:
    """Whether a text is a pattern as .gitignore has them, that can match something."""
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines([value]).patterns[0].include is not None
    except (ValueError, IndexError):
        return False


Name = Annotated[str, AfterValidator(check_name), WithJsonSchema({"type": "string", "pattern": _NAME})]
Text = Annotated[str, AfterValidator(check_text), Field(json_schema_extra={"minLength": 1})]
Secret = Annotated[SecretStr | None, BeforeValidator(empty_is_none)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Section(BaseModel):
    """A mapping of known keys."""

    # Neither pydantic's own errors nor a repr in a traceback may show what a file holds.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, value: Any) -> Any:
        if value is None:  # an empty section is one of defaults
            return {}
        if not isinstance(value, Mapping):
            return value
        # To pydantic `true` is the number 1, and `max_deletes: true` would be a limit that nobody meant.
        numbers = {name for name, field in cls.model_fields.items() if _is_number(field.annotation)}
        return {k: str(v).lower() if isinstance(v, bool) and k in numbers else v for k, v in value.items()}


def _is_number(annotation: Any) -> bool:
    """Whether a key takes numbers alone, or numbers and nothing."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    parts = {get_args(part)[0] if get_origin(part) is Annotated else part for part in get_args(annotation)}
    return (parts or {annotation}) <= {int, float, type(None)}


class MadeLater:
    """Leaves a section to models that take 5 to 15 ms to make: they are made where a config has such a section.

    Args:
        find: Imports them, and says what they are together.
    """

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # Wrapped, since a handler does not look at what stands on the schema that it is given: another such model.
        return handler(core_schema.definitions_schema(self._adapter().core_schema, []))

    def _read(self, value: Any) -> Any:
        return self._adapter().validate_python(value)

    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._find())
