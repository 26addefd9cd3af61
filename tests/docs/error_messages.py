"""Every message that a user can meet, collected from the source: constant words, with `…` for what varies."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, product
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "qloader"

TAKES_A_MESSAGE = {
    "EnvironmentProblem": 0,
    "FailureRecord": 3,
    "Mistake": 1,
    "PlanWarning": 2,
    "_TooLargeError": 0,
    "_add": 2,
    "_engine_errors": 0,
    "_no_plan": 1,
    "_say": 0,
    "_wrong_vectors": 0,
    "self._only": 1,
    "typer.BadParameter": 0,
    "os_errors": 0,
    "_Refusal": 1,
    "problems.append": 0,
    "walk.tell": 0,
}
"""Functions and classes that put one of their arguments before the user, beside the errors themselves."""

GIVES_A_MESSAGE = {
    "applying/preconditions.py": {"_why_stale"},
    "config/load.py": {"_check_root_names"},
    "config/mistakes.py": {"_EXPECTED", "_mistake"},
    "config/policies.py": {"_contradictions", "_unknown", "check_policies"},
    "config/sources.py": {"_check_roots"},
    "index/server_errors.py": {"_reason"},
    "planning/guards.py": {"_refuse_deletes", "_refuse_updates", "check_guards"},
    "planning/policies.py": {"_ask", "_documents", "_limits"},
    "planning/selecting.py": {"_describe_split"},
    "sources/protocol.py": {"only_since"},
    "state/database.py": {"_explain"},
    "workspace/telling.py": {"tell"},
    "workspace/planning.py": {"_warnings"},
}
"""Functions and tables whose texts an error or a warning says, by module."""

_FEWEST_LETTERS = 6
_MODELS = frozenset(
    f"config/{name}.py"
    for name in (
        "models",
        "embedders",
        "endpoint",
        "rerankers",
        "monitoring",
        "policies",
        "remote",
        "sources",
        "fields",
        "units",
        "environment",
        "index_settings",
        "watching",
    )
)


@dataclass(frozen=True, order=True)
class Message:
    """What can be said, and where the source says it."""

    text: str
    place: str

    @property
    def is_computed(self) -> bool:
        """Whether its words come from elsewhere."""
        return len(re.sub(r"[\W\d_]", "", self.text)) < _FEWEST_LETTERS


@cache
def error_classes() -> frozenset[str]:
    """`QloaderError` and all that is derived from it, wherever it is defined."""
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for _, tree in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"QloaderError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return frozenset(found)


@cache
def messages() -> tuple[Message, ...]:
    """All messages, each once for every place that says it."""
    return tuple(sorted({message for place, tree in _modules() for message in _in_module(place, tree)}))


def _in_module(place: str, tree: ast.Module) -> Iterator[Message]:
    given = GIVES_A_MESSAGE.get(place, set())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Assign) and (name := _name_of(node)) in given:
            for value in _values(node):
                yield from (Message(text, f"{place}:{name}") for text in _templates(value))
        elif isinstance(node, ast.Call) and (said := _said_by(node, place)) is not None:
            name = ast.unparse(node.func).rpartition(".")[2]
            texts = _templates(said)
            if name == "_engine_errors":  # its method of the same name takes a verb alone
                texts = [text for text in texts if "…" in text]
            yield from (Message(text, f"{place}:{name}") for text in texts)


def _name_of(node: ast.FunctionDef | ast.Assign) -> str:
    return node.name if isinstance(node, ast.FunctionDef) else ast.unparse(node.targets[0])


def _values(node: ast.FunctionDef | ast.Assign) -> Iterator[ast.AST]:
    """What a function returns or works with on the way, or what a table holds: texts, with spaces in them."""
    if isinstance(node, ast.Assign):
        yield from node.value.values if isinstance(node.value, ast.Dict) else ()
        return
    says = ast.Return | ast.Yield | ast.Assign | ast.AugAssign
    whole = [inner.value for inner in ast.walk(node) if isinstance(inner, says)]
    for value in whole:
        yield from (found for found in _texts(value) if " " in "".join(_templates(found)))


def _texts(node: ast.AST | None) -> Iterator[ast.AST]:
    """The texts in a value, the outermost of each."""
    match node:
        case ast.JoinedStr() | ast.Constant(value=str()):
            yield node
        case ast.List(elts=elements):
            for element in elements:
                yield from _texts(element)
        case ast.Tuple(elts=elements):  # a message and its remedy, or whom it is about and the message
            yield from list(chain.from_iterable(map(_texts, elements)))[:1]
        case ast.Subscript(value=ast.Dict(values=values)):
            yield from values
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*_texts(body), *_texts(orelse))
        case _:
            return


def _said_by(call: ast.Call, place: str) -> ast.AST | None:
    """The argument of a call that a user will read."""
    whole = ast.unparse(call.func)
    name = whole.rpartition(".")[2]
    if name in error_classes():
        position: int | None = 0
    elif name == "ValueError":
        # What the models raise, pydantic hands on, and config/mistakes.py puts it before the user.
        position = 0 if place in _MODELS else None
    else:
        position = next((number for key, number in TAKES_A_MESSAGE.items() if whole.endswith(key)), None)
    if position is None or position >= len(call.args):
        return None
    return call.args[position]


def _templates(node: ast.AST) -> list[str]:
    """What an expression can be: its constant words, `…` for the rest; more than one where it has an `if`."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return _joined(_templates(value) for value in values)
        case ast.FormattedValue(value=ast.IfExp() as inner):
            return _templates(inner)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _joined((_templates(left), _templates(right)))
        case ast.IfExp(body=body, orelse=orelse):
            return [*_templates(body), *_templates(orelse)]
        case _:
            return ["…"]


def _joined(parts: Iterable[list[str]]) -> list[str]:
    return [re.sub("…+", "…", "".join(one)) for one in product(*parts)]


@cache
def _modules() -> tuple[tuple[str, ast.Module], ...]:
    paths = sorted(SOURCE.rglob("*.py"))
    return tuple((path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)
