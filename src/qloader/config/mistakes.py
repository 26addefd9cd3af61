"""From what pydantic finds wrong to sentences about the file: the key, what was expected, what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from qloader.config.embedders import EMBEDDER_TYPES, embedder_model
from qloader.config.extensions import EMBEDDERS, SOURCES, names_in
from qloader.config.models import Config
from qloader.config.monitoring import MonitoringConfig
from qloader.config.policies import PolicyConfig
from qloader.config.rerankers import RERANKER_TYPES, reranker_model
from qloader.config.sources import SOURCE_TYPES, source_model
from qloader.config.watching import WatchConfig
from qloader.config.yamlfile import Mistake, ParsedFile, Path_, Place, dotted

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_EXPECTED = {
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "int_parsing_size": "expected a smaller number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "model_type": "expected a mapping of keys to values",
    "model_attributes_type": "expected a mapping of keys to values",
    "dict_type": "expected a mapping of keys to values",
    "tuple_type": 'expected a list, such as ["**/*.md"]',
    "list_type": 'expected a list, such as ["**/*.md"]',
    "string_unicode": "expected valid Unicode",
    "too_short": "expected at least one",
    "greater_than": "expected more than {gt:g}",
    "greater_than_equal": "expected at least {ge:g}",
    "less_than": "expected less than {lt:g}",
    "less_than_equal": "expected at most {le:g}",
    "literal_error": "expected {expected}",
}
_PROVIDED: dict[Path_, Callable[[str], type[BaseModel] | None]] = {
    ("embedding", "dense"): embedder_model,
    ("search", "rerank"): reranker_model,
}
"""Sections whose `provider` tells the model."""
_MADE_LATER: dict[str, type[BaseModel]] = {"monitoring": MonitoringConfig, "watch": WatchConfig}
"""Sections whose models `Config` does not name."""
_SECRET_KEYS = frozenset(
    {"token", "api_key", "password", "secret", "access_key_id", "secret_access_key", "session_token", "account_key"}
)


def find_mistakes(errors: Iterable[ErrorDetails], parsed: ParsedFile) -> list[Mistake]:
    """Says where in the file each error of the models stands, and what was found there.

    Secrets, and whatever came from the environment, are never shown.
    """
    located = [(_path_in_file(error, parsed.value), error) for error in errors]
    return [_mistake(path, error, parsed) for path, error in located if path not in parsed.broken]


def _mistake(path: Path_, error: ErrorDetails, parsed: ParsedFile) -> Mistake:
    match error["type"]:
        case "extra_forbidden":
            hint = _hint(str(path[-1]), _known_keys(path, parsed), "the keys here")
            return Mistake(_place(path, parsed), f"{dotted(path)}: unknown key; {hint}")
        case "missing":
            return Mistake(_place(path[:-1], parsed), f"{dotted(path)}: this key is missing{_meaning(path, parsed)}")
        case "union_tag_not_found":
            key, _, names = _kinds_at(path)
            return Mistake(
                _place(path, parsed), f"{dotted((*path, key))}: this key is missing; expected {' or '.join(names)}"
            )
        case "union_tag_invalid":
            key, what, names = _kinds_at(path)
            path = (*path, key)
            value = "" if path in parsed.variables else str(_value_at(path, parsed.value))
            expected = f"unknown {what}; {_hint(value, names, f'the {key}s')}"
        case "value_error":
            expected = str(error["ctx"]["error"])
        case kind:
            expected = _EXPECTED.get(kind, "").format(**error.get("ctx", {})) or error["msg"]
    is_name = error["loc"][-1:] == ("[key]",)
    found = f'found "{_printable(str(path[-1]))}"' if is_name else _found(path, parsed)
    if error["type"] == "string_type" and isinstance(_value_at(path, parsed.value), int | float):
        found += " (put it in quotes)"
    return Mistake(_place(path, parsed), f"{dotted(path)}: {expected}; {found}")


def _kinds_at(path: Path_) -> tuple[str, str, list[str]]:
    """The key that tells which model a mapping is of, what it names, and what it may say."""
    if path in _PROVIDED:
        is_dense = path[0] == "embedding"
        return "provider", "provider", [*EMBEDDER_TYPES, *names_in(EMBEDDERS)] if is_dense else [*RERANKER_TYPES]
    return "type", "source type", [*SOURCE_TYPES, *names_in(SOURCES)]


def _path_in_file(error: ErrorDetails, value: Any) -> Path_:
    """The error's path without what is not in the file: the type of a source, members of a union, `[key]`."""
    path: Path_ = ()
    parts = error["loc"]
    is_absent = error["type"] == "missing"
    for number, part in enumerate(parts):
        is_key = isinstance(value, Mapping) and part in value
        if is_key or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            path, value = (*path, part), value[part]
        elif is_absent and number == len(parts) - 1:
            path = (*path, part)
    return path


def _value_at(path: Path_, value: Any) -> Any:
    for part in path:
        value = value[part] if isinstance(value, list) and isinstance(part, int) else value.get(part)
    return value


def _place(path: Path_, parsed: ParsedFile) -> Place | None:
    """The line of the key, or of the value in a list, or of what is nearest above it."""
    while path:
        if place := parsed.keys.get(path) or parsed.values.get(path):
            return place
        path = path[:-1]
    return None


def _found(path: Path_, parsed: ParsedFile) -> str:
    """What stands there, as far as it may be shown."""
    value = _value_at(path, parsed.value)
    last = next((part for part in reversed(path) if isinstance(part, str)), "")
    if names := parsed.variables.get(path):
        return f"found what {' and '.join(f'${{{name}}}' for name in names)} holds"
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"found a {kind}" if value else f"found an empty {kind}"
    if value is not None and (last in _SECRET_KEYS or "headers" in path):
        return "found a value that is not shown"
    if isinstance(value, str):
        text = _printable(_without_credentials(value))
        return f'found "{text}"' if text else "found an empty text"
    return "found nothing (null)" if value is None else f"found {str(value).lower()}"


def _without_credentials(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    rest, query, _ = rest.partition("?")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{query and '?…'}"


def _printable(text: str) -> str:
    short = text if len(text) <= 60 else text[:59] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in short)


def _hint(found: str, known: Iterable[str], what: str) -> str:
    """`did you mean "include"?`, or all known words where none is near."""
    plain = {word.replace("_", ""): word for word in known}
    near = get_close_matches(found.lower().replace("-", "").replace("_", ""), plain, 1)
    return f'did you mean "{plain[near[0]]}"?' if near else f"{what} are {', '.join(plain.values())}"


def _known_keys(path: Path_, parsed: ParsedFile) -> list[str]:
    model = _model_at(path[:-1], parsed)
    return list(model.model_fields) if model else []


def _meaning(path: Path_, parsed: ParsedFile) -> str:
    model = _model_at(path[:-1], parsed)
    field = model.model_fields.get(str(path[-1])) if model else None
    return f": {_first_clause(field.description)}" if field and field.description else ""


def _first_clause(description: str) -> str:
    text = re.split(r"[;.] |\.$", description)[0]
    return text[:1].lower() + text[1:]


def _model_at(path: Path_, parsed: ParsedFile) -> type[BaseModel] | None:
    """The model that describes the mapping at a path."""
    model: type[BaseModel] | None = Config
    if path[:1] == ("sources",):
        source = _value_at(path, parsed.value)
        kind = source.get("type") if len(path) == 2 and isinstance(source, dict) else None
        return source_model(kind) if isinstance(kind, str) else None
    if path[:1] == ("policies",):
        return PolicyConfig if len(path) == 2 else None
    if find := _PROVIDED.get(path[:2]):
        section = _value_at(path[:2], parsed.value)
        kind = section.get("provider") if isinstance(section, dict) else None
        model, path = find(kind) if isinstance(kind, str) else None, path[2:]
    if made := _MADE_LATER.get(str(path[0])) if path else None:
        model, path = made, path[1:]
    for part in path:
        field = model.model_fields.get(str(part)) if model else None
        model = _section_of(field.annotation) if field else None
    return model


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The model of a section, also of one that may be left out."""
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
