"""The part of JQL and CQL that the servers understand: comparisons, `in`, AND, OR, NOT, parentheses, ORDER BY."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_TOKEN = re.compile(r"""\s*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|(>=|<=|!=|!~|[=<>~(),])|([^\s=<>~!(),"']+))""")


class QueryError(ValueError):
    """A query that the server would refuse."""


@dataclass(frozen=True)
class Comparison:
    """One test: `field op value`, with several values for `in`."""

    field: str
    op: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A parsed query: a tree of `Comparison` and ("and" | "or" | "not", ...), None where there is no restriction."""

    root: Any
    order: tuple[tuple[str, str], ...]

    def matches(self, test: Callable[[Comparison], bool]) -> bool:
        """Whether a record passes; `test` answers for one comparison."""
        return self.root is None or _matches(self.root, test)

    def required(self, field: str) -> tuple[str, ...] | None:
        """The values that a record's field must be one of, where the query plainly says so."""
        for part in _conjuncts(self.root):
            if isinstance(part, Comparison) and part.field == field and part.op in ("=", "in"):
                return part.values
        return None


def parse_query(text: str) -> Query:
    """Parses a query.

    Raises:
        QueryError: It is not understood.
    """
    parser = _Parser(_tokens(text))
    root = None if parser.peek() in (None, "order") else parser.any_of()
    order = []
    if parser.take("order"):
        parser.expect("by")
        while True:
            field = parser.next().lower()
            direction = next((word for word in ("asc", "desc") if parser.take(word)), "asc")
            order.append((field, direction))
            if not parser.take(","):
                break
    if parser.peek() is not None:
        raise QueryError(f"Error in the query: unexpected {parser.peek()!r}.")
    return Query(root, tuple(order))


def instant(text: str, zone: str, now: datetime) -> datetime:
    """A point in time as a query names it: minutes in the zone of the account, or `-90m`, `-2h`, `-3d`, `-1w`."""
    if relative := re.fullmatch(r"-(\d+)([mhdw])", text):
        unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[relative[2]]
        return now - timedelta(**{unit: int(relative[1])})
    for form in ("%Y/%m/%d %H:%M", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%Y-%m-%d"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        except ValueError:
            continue
    raise QueryError(f"Date value '{text}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', 'yyyy-MM-dd HH:mm'.")


def compare_times(op: str, left: datetime, right: datetime) -> bool:
    """`left op right`, for records that change within the minute that a query can name."""
    return {">=": left >= right, ">": left > right, "<=": left <= right, "<": left < right}[op]


def compare_texts(op: str, found: set[str], values: tuple[str, ...]) -> bool:
    """Whether a field that holds `found` passes; case is ignored, as both products do."""
    wanted = {value.lower() for value in values}
    hit = any(text.lower() in wanted for text in found)
    if op in ("=", "in"):
        return hit
    if op in ("!=", "not in"):
        return not hit
    raise QueryError(f"The operator '{op}' is not supported here.")


class _Parser:
    def __init__(self, tokens: list[tuple[str, bool]]) -> None:
        self._tokens = tokens
        self._at = 0

    def peek(self) -> str | None:
        """The next token as it is compared: words in lower case, quoted text as `"text`."""
        if self._at >= len(self._tokens):
            return None
        text, quoted = self._tokens[self._at]
        return f'"{text}' if quoted else text.lower()

    def next(self) -> str:
        if self._at >= len(self._tokens):
            raise QueryError("Error in the query: it ends too early.")
        self._at += 1
        return self._tokens[self._at - 1][0]

    def take(self, word: str) -> bool:
        if self.peek() == word:
            self._at += 1
            return True
        return False

    def expect(self, word: str) -> None:
        if not self.take(word):
            raise QueryError(f"Error in the query: expected {word!r}, got {self.peek()!r}.")

    def any_of(self) -> Any:
        parts = [self.all_of()]
        while self.take("or"):
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else ("or", *parts)

    def all_of(self) -> Any:
        parts = [self.one()]
        while self.take("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else ("and", *parts)

    def one(self) -> Any:
        if self.take("not"):
            return ("not", self.one())
        if self.take("("):
            inner = self.any_of()
            self.expect(")")
            return inner
        field = self.next().lower()
        if self.take("in"):
            return Comparison(field, "in", self.values())
        if self.take("not"):
            self.expect("in")
            return Comparison(field, "not in", self.values())
        op = self.next()
        if op not in ("=", "!=", ">=", "<=", ">", "<", "~", "!~"):
            raise QueryError(f"Error in the query: expected an operator, got {op!r}.")
        return Comparison(field, op, (self.next(),))

    def values(self) -> tuple[str, ...]:
        self.expect("(")
        values = [self.next()]
        while self.take(","):
            values.append(self.next())
        self.expect(")")
        return tuple(values)


def _tokens(text: str) -> list[tuple[str, bool]]:
    tokens, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise QueryError(f"Error in the query: unexpected {text[at:].strip()[:10]!r}.")
        at = match.end()
        quoted = match[1] if match[1] is not None else match[2]
        if quoted is not None:
            tokens.append((re.sub(r"\\(.)", r"\1", quoted), True))
        else:
            tokens.append((match[3] or match[4], False))
    return tokens


def _matches(node: Any, test: Callable[[Comparison], bool]) -> bool:
    if isinstance(node, Comparison):
        return test(node)
    kind, *parts = node
    if kind == "and":
        return all(_matches(part, test) for part in parts)
    if kind == "or":
        return any(_matches(part, test) for part in parts)
    return not _matches(parts[0], test)


def _conjuncts(node: Any) -> list[Any]:
    if isinstance(node, tuple) and node[0] == "and":
        return [found for part in node[1:] for found in _conjuncts(part)]
    return [] if node is None else [node]
