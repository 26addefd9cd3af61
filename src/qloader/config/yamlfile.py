"""A YAML file as plain values, each with the place where it stands.

Only mappings, lists, text, numbers, true/false and null: no tags, no Python objects. Scalars follow YAML 1.2, as
editors do: `no` and `1:30` are text, `0600` is text too. What the environment puts in can never become YAML,
because it is put into the values after the parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from qloader.config.environment import EnvironmentProblem, hide, reveal, reveal_pieces, substitute
from qloader.errors import ConfigError

MAX_BYTES = 1 << 20
"""A larger file is no config; the limit bounds what the parser can be made to do."""

MAX_VALUES = 50_000
"""How many values a file may expand to: aliases make a short file large."""

MAX_DEPTH = 32

Path_ = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the root."""

_SECRET_WORDS = re.compile(r"token|api_?key|password|passwd|secret|authorization|://[^\s/@]*@", re.IGNORECASE)
_BASE: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR, _MAP, _SEQ, _INT, _FLOAT, _BOOL, _NULL, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq", "int", "float", "bool", "null", "merge")
)


class _Loader(_BASE):  # type: ignore[misc]
    """A SafeLoader that only composes nodes, with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form


for _tag, _pattern, _first in (
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_INT, r"-?(?:0|[1-9][0-9]{0,17})", "-0123456789"),
    (_FLOAT, r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}(?:[eE][-+]?[0-9]{1,3})?", "-0123456789"),
    (_MERGE, r"<<", "<"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, from 1."""

    line: int
    column: int = 1


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with the file, and where.

    Attributes:
        place: Where; None for the file as a whole.
        text: What is wrong, beginning with the dotted key where there is one.
    """

    place: Place | None
    text: str


@dataclass(slots=True)
class ParsedFile:
    """What a file says.

    Attributes:
        value: The root mapping, made of dict, list, str, int, float, bool and None.
        keys: Where each key stands, by its path.
        values: Where each value stands, by its path.
        variables: Values that the environment had a part in, by path: the names of the variables. What they hold may be
            a secret and is not to be shown.
        broken: Values that could not be read, each with a mistake of its own; what the models say of them is no news.
        mistakes: What is wrong so far, in the order of the file.
    """

    value: dict[str, Any] = field(default_factory=dict)
    keys: dict[Path_, Place] = field(default_factory=dict)
    values: dict[Path_, Place] = field(default_factory=dict)
    variables: dict[Path_, tuple[str, ...]] = field(default_factory=dict)
    broken: set[Path_] = field(default_factory=set)
    mistakes: list[Mistake] = field(default_factory=list)


def read_text(path: Path, shown: str) -> str:
    """Reads a config file.

    Raises:
        ConfigError: It is a folder, not readable, too large, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise ConfigError(
            f"{shown} is a folder, not a file.", remedy=f"Name the file in it: -c {shown}/qloader.yaml."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{shown} cannot be read: {(error.strerror or str(error)).lower()}.",
            remedy="Grant the permission, or use -c.",
        ) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"{shown} is over {MAX_BYTES >> 20} MiB: that is no config.", remedy="Check the path after -c."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{shown}:{line}: not UTF-8 (byte 0x{data[error.start]:02x}).", remedy="Save the file as UTF-8."
        ) from None


def parse(text: str, environment: Mapping[str, str], shown: str) -> ParsedFile:
    """Parses YAML and puts the environment's variables into its text values.

    Args:
        text: The file's text.
        environment: The variables for `${VAR}`.
        shown: How errors name the file.

    Returns:
        The values with their places, and the mistakes that do not stop the reading: duplicate keys, missing variables.

    Raises:
        ConfigError: The text is no YAML, empty, or no mapping.
    """
    node = _compose(text, shown)
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == _NULL):
        raise ConfigError(
            f"{shown} is empty.", remedy="`qloader init` writes a first config; move this file away before."
        )
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(
            f"{shown}:{node.start_mark.line + 1}: expected a mapping of keys to values, found {_kind(node)}.",
            remedy="A config begins with `name: …`; `qloader init` writes a first one.",
        )
    try:
        return _Walk(environment).file(node)
    except _TooLargeError as error:
        raise ConfigError(f"{shown}: {error}.", remedy="Write it out, without aliases.") from None


def _compose(text: str, shown: str) -> yaml.Node | None:
    try:
        loader = _Loader(hide(text))
        try:
            return loader.get_single_node()  # type: ignore[no-any-return]
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, shown) from None
    except RecursionError:
        raise ConfigError(
            f"{shown} is nested too deeply.", remedy=f"A config has at most {MAX_DEPTH} levels."
        ) from None
    except ValueError as error:  # a character that stands for itself in `hide`
        raise ConfigError(f"{shown}: {error}", remedy="Remove the character.") from None


def _syntax_error(error: yaml.YAMLError, text: str, shown: str) -> ConfigError:
    """A YAML error with its line and the mark under it, unless a secret stands near."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = reveal_pieces(getattr(error, "problem", None) or getattr(error, "reason", None) or "not valid YAML")
    if mark is None:
        where = f"{shown}{_place_of_character(error, text)}"
        return ConfigError(f"{where}: not valid YAML: {problem}.", remedy="Remove the character.")
    lines = text.splitlines() or [""]
    if mark.line >= len(lines) and getattr(error, "context_mark", None):
        mark = error.context_mark  # type: ignore[attr-defined]  # what was never closed tells more than the end
    line, column = (mark.line, mark.column) if mark.line < len(lines) else (len(lines) - 1, len(lines[-1]))
    near = "\n".join(lines[max(0, line - 3) : line + 1])
    is_secret = _SECRET_WORDS.search(near) is not None
    if is_secret:
        problem = re.sub(r"'[^']*'", "'…'", problem)
    message = f"{shown}:{line + 1}:{column + 1}: not valid YAML: {problem}."
    if not is_secret and len(lines[line]) <= 160:
        shape = "".join("\t" if c == "\t" else " " for c in lines[line][:column])
        message += f"\n    {lines[line]}\n    {shape}^"
    return ConfigError(message, remedy=_syntax_remedy(problem, lines[line], column))


def _syntax_remedy(problem: str, line: str, column: int) -> str:
    if "\t" in line[: column + 1]:
        return "Indent with spaces: YAML allows no tabs there."
    if "mapping values are not allowed" in problem:
        return "Put a text with a colon and a space in it in quotes, and check the indentation."
    if "another document" in problem or "single document" in problem:
        return "A config is one YAML document: remove the line `---`."
    if "alias" in problem or "cannot start" in problem:
        return "Put a text that begins with a character such as * or @ in quotes."
    return "Check the indentation and the quotes at the mark and in the line above it."


def _place_of_character(error: yaml.YAMLError, text: str) -> str:
    position = getattr(error, "position", None)
    if not isinstance(position, int):
        return ""
    before = hide(text)[:position]
    return f":{before.count(chr(10)) + 1}"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a single value"


class _TooLargeError(Exception):
    """The file expands to more than a config may hold."""


class _Walk:
    """One walk over the nodes of a file."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._parsed = ParsedFile()
        self._left = MAX_VALUES

    def file(self, node: yaml.MappingNode) -> ParsedFile:
        self._parsed.value = self._mapping(node, ())
        return self._parsed

    def _value(self, node: yaml.Node, path: Path_) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _TooLargeError(f"over {MAX_VALUES:,} values, aliases included")
        if len(path) > MAX_DEPTH:
            raise _TooLargeError(f"{dotted(path[:3])}: over {MAX_DEPTH} levels, or an alias that holds itself")
        self._parsed.values[path] = _place(node)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self._value(child, (*path, number)) for number, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._add(_place(node), path, "a config has no YAML tags (`!`)")
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = dict(self._merged(value_node, path, len(path))) | merged
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._add(_place(key_node), path, "a key must be text")
                continue
            key = reveal(key_node.value)
            inner = (*path, key)
            if inner in self._parsed.keys and key in result:
                first = self._parsed.keys[inner].line
                self._add(_place(key_node), inner, f"the key is there twice; it is in line {first} already")
                continue
            self._parsed.keys[inner] = _place(key_node)
            result[key] = self._value(value_node, inner)
        for key, value_node in merged.items():
            if key not in result:
                self._parsed.keys[(*path, key)] = _place(value_node)
                result[key] = self._value(value_node, (*path, key))
        return result

    def _merged(self, node: yaml.Node, path: Path_, depth: int) -> Iterator[tuple[str, yaml.Node]]:
        """The pairs that `<<: *alias` or `<<: [*one, *two]` brings in; later ones give way to earlier ones."""
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise _TooLargeError(f"{dotted(path) or '<<'}: `<<` brings in too much, or itself")
        if isinstance(node, yaml.SequenceNode):
            for child in reversed(node.value):
                yield from self._merged(child, path, depth + 1)
        elif isinstance(node, yaml.MappingNode):
            own = [(key, value) for key, value in node.value if key.tag != _MERGE]
            for key, value in node.value:
                if key.tag == _MERGE:
                    yield from self._merged(value, path, depth + 1)
            yield from ((reveal(key.value), value) for key, value in own if isinstance(key, yaml.ScalarNode))
        else:
            self._add(_place(node), path, "`<<` takes an alias of a mapping, or a list of them")

    def _scalar(self, node: yaml.ScalarNode, path: Path_) -> str | int | float | bool | None:
        text = node.value
        match node.tag:
            case t if t == _NULL:
                return None
            case t if t == _BOOL and text.lower() in ("true", "false"):
                return bool(text.lower() == "true")
            case t if t == _INT and not node.style:
                return int(text)
            case t if t == _FLOAT and not node.style:
                return float(text)
            case t if t in (_STR, _MERGE):
                return self._text(reveal(text), node, path)
        self._add(_place(node), path, "a config has no YAML tags (`!`)")
        return None

    def _text(self, text: str, node: yaml.ScalarNode, path: Path_) -> str:
        if "${" not in text:
            return text
        try:
            result, names = substitute(text, self._environment)
        except EnvironmentProblem as error:
            self._add(_place(node), path, str(error))
            return ""
        if names:
            self._parsed.variables[path] = names
        return result

    def _add(self, place: Place, path: Path_, text: str) -> None:
        key = dotted(path)
        self._parsed.broken.add(path)
        self._parsed.mistakes.append(Mistake(place, f"{key}: {text}" if key else text))


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def dotted(path: Path_) -> str:
    """A path as people write it: `sources.docs.include[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + part
    return text
