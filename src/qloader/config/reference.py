"""Writes what is generated from the models: the tables in docs/configuration.md and the JSON Schema.

`python -m qloader.config.reference --check` fails where they are out of date, `--write` brings them up to date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from qloader.config.embedders import EMBEDDER_TYPES, DenseSection, NetworkDense
from qloader.config.models import LANGUAGES, Config
from qloader.config.monitoring import MonitoringConfig, OtlpConfig
from qloader.config.policies import PolicyConfig
from qloader.config.rerankers import RERANKER_TYPES, RerankSection
from qloader.config.schema import build_schema, written
from qloader.config.sources import DEFAULT_INCLUDE, SOURCE_TYPES
from qloader.config.watching import WatchConfig

PAGE = Path("configuration.md")
SCHEMA = Path("schema/config.schema.json")
BEGIN = "<!-- generated from the models: begin -->"
END = "<!-- generated from the models: end -->"


def render_keys() -> str:
    """All keys with type, default and meaning, as Markdown."""
    lines: list[str] = []
    for title, model in _sections():
        lines += [f"### {title}", "", (model.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip(), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [_row(key, field) for key, field in _fields(model)]
        lines.append("")
    lines += [f"The default of `include` is {_code(list(DEFAULT_INCLUDE))}.", ""]
    lines += [f"The languages of `embedding.language`: {', '.join(LANGUAGES)}.", ""]
    return "\n".join(lines)


def render_page(current: str) -> str:
    """The page with its tables brought up to date; what is written by hand stays."""
    before, begin, rest = current.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} lacks the line {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{render_keys()}\n{END}{after}"


def render_schema() -> str:
    """The JSON Schema as text."""
    return json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks or writes the generated files.

    Returns:
        0, or 1 where `--check` finds one out of date.
    """
    parser = argparse.ArgumentParser(
        prog="python -m qloader.config.reference", description=(__doc__ or "").split("\n")[0]
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="fail where a file is out of date")
    what.add_argument("--write", action="store_true", help="bring the files up to date")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="the folder of the docs (default: ./docs)")
    options = parser.parse_args(arguments)
    page, schema = options.docs / PAGE, options.docs / SCHEMA
    wanted = {page: render_page(page.read_text(encoding="utf-8")), schema: render_schema()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if options.write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        sys.stderr.write(f"{path}: {'written' if options.write else 'out of date; run `make docs`'}\n")
    return 1 if stale and options.check else 0


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Each mapping of a config with its title, in the order of the file; sources by their types."""
    yield "The whole file", Config
    yield from _below("", Config)


def _below(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for key, field in model.model_fields.items():
        place = f"{prefix}{key}"
        if place == "sources":
            for name, source in SOURCE_TYPES.items():
                yield f"`sources.<name>` of type `{name}`", source
        elif place == "policies":
            yield "`policies.<name>`", PolicyConfig
        elif place == "embedding.dense":
            yield f"`{place}`, whatever the provider", DenseSection
            yield from _below(f"{place}.", DenseSection)
            over_http = [f"`{name}`" for name, model in EMBEDDER_TYPES.items() if issubclass(model, NetworkDense)]
            yield f"`{place}` with {', '.join(over_http)}", NetworkDense
            for name, provider in EMBEDDER_TYPES.items():
                yield f"`{place}` with `provider: {name}`", provider
        elif place == "search.rerank":
            yield f"`{place}`, whatever the provider", RerankSection
            for name, reranker in RERANKER_TYPES.items():
                yield f"`{place}` with `provider: {name}`", reranker
        elif place == "monitoring":
            yield f"`{place}`", MonitoringConfig
            yield from _below(f"{place}.", MonitoringConfig)
        elif place == "monitoring.otlp":
            yield f"`{place}`", OtlpConfig
        elif place == "watch":
            yield f"`{place}`", WatchConfig
            yield from _below(f"{place}.", WatchConfig)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield f"`{place}`", field.annotation
            yield from _below(f"{place}.", field.annotation)


def _fields(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The keys in the order in which people write them: what must be there first."""
    fields = [item for item in model.model_fields.items() if not _is_inherited(model, *item)]
    kinds = {"type", "provider"}
    if not model.model_fields.keys() & kinds:
        return fields
    return sorted(fields, key=lambda item: (not item[1].is_required(), item[0] not in kinds))


def _is_inherited(model: type[BaseModel], key: str, field: FieldInfo) -> bool:
    """Whether a provider has a key from what all providers have, whose table stands above."""
    base = model.__mro__[1]
    above = base.model_fields.get(key) if issubclass(base, DenseSection | RerankSection) else None
    return above is not None and (above.description, above.default) == (field.description, field.default)


def _row(key: str, field: FieldInfo) -> str:
    unit = _unit(field)
    kind = unit or _words(field.annotation)
    if field.is_required():
        default = "required"
    elif _is_section(field.annotation):
        default = ""
    else:
        default = _code(written(field.get_default(call_default_factory=True), unit))
    if key == "include":
        default = "see below"
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{key}` | {kind} | {default} | {meaning} |"


def _unit(field: FieldInfo) -> str:
    for item in field.metadata:
        extra = getattr(item, "json_schema", None)
        if extra and "x-unit" in extra:
            return str(extra["x-unit"])
    return ""


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _words(annotation: Any) -> str:
    """A type as people call it."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(parts[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(part) for part in parts if part is not type(None)))
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return "list of texts"
    if origin is dict or _is_section(annotation):
        return "mapping"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        SecretStr: "secret",
        Any: "mapping",
    }
    return names[annotation]


def _code(value: Any) -> str:
    if value is None:
        return "none"
    if value in ((), {}, ""):
        return "empty"
    if isinstance(value, float):
        value = f"{value:g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{re.sub('[|]', '&#124;', text)}`"


if __name__ == "__main__":
    raise SystemExit(main())
