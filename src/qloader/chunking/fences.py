"""Code fences line by line, also those in list items, which stand further in than a fence of the text itself may."""

from __future__ import annotations

import re

from qloader.documents.markdown import closes_fence, opens_fence

_NESTED = re.compile(r"(?m)^(?: {4}|[ ]*\t|[ ]*(?:[-+*]|\d{1,9}[.)])[ \t])[^\n]*?(?:`{3}|~{3})")
_ITEM = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)])(?: {1,4}(?=\S)| |$)")
_RULE = re.compile(r" {0,3}([-*_])(?: *\1){2,} *$")


class Fences:
    """Knows whether a fence is open, and which list items are, given a text's lines in their order.

    A line belongs to a list item as in CommonMark: it stands at the item's own column or further in. So a fence is one
    only where an item is open that far in, and else the code block that four spaces make.

    Attributes:
        mark: The mark of the fence that is open, such as three backticks; empty where none is.
        looks_into_items: Whether list items are looked into; without, only fences with three spaces before them or
            fewer are seen, and lines need be given only from where one may begin.
    """

    def __init__(self, *, looks_into_items: bool, items: tuple[int, ...] = ()) -> None:
        """Before the first line.

        Args:
            looks_into_items: Whether to look into list items.
            items: The columns of the list items that are open, outermost first.
        """
        self.mark = ""
        self.looks_into_items = looks_into_items
        self._items = list(items)
        self._column = 0

    @property
    def items(self) -> tuple[int, ...]:
        """The columns of the list items that are open, outermost first."""
        return tuple(self._items)

    def take(self, line: str) -> bool:
        """Goes on by a line.

        Returns:
            Whether it belongs to a fence: as its first, its last or one between.
        """
        if self.mark:
            indent = _indent(line)
            if not self._column or indent >= self._column or not line.strip() or self._closes(line):
                if self._closes(line):
                    self.mark = ""
                return True
            self.mark = ""  # a line further out ends the item, and the fence with it
        column = self._enter(line) if self.looks_into_items else 0
        self.mark, self._column = opens_fence(line), 0
        if not self.mark and column:
            self.mark, self._column = opens_fence(line.expandtabs(4)[column:]), column
        return bool(self.mark)

    def _closes(self, line: str) -> bool:
        if not self._column:
            return closes_fence(line, self.mark)
        return closes_fence(line.expandtabs(4)[min(self._column, _indent(line)) :], self.mark)

    def _enter(self, line: str) -> int:
        """Opens and closes list items as a line does; returns the column of the innermost that is open."""
        line = line.expandtabs(4)
        if line.strip():
            indent = _indent(line)
            while self._items and indent < self._items[-1]:
                self._items.pop()
            column = self._items[-1] if self._items else 0
            is_rule = _RULE.match(line, column) is not None
            while not is_rule and (found := _ITEM.match(line, column)):
                column = found.end() + (found.end() == len(line))  # an item without words: one space is thought
                self._items.append(column)
        return self._items[-1] if self._items else 0


def has_nested_fences(text: str) -> bool:
    """Whether a text may have fences in list items that only a look into the items finds; cheap."""
    return _NESTED.search(text) is not None


def _indent(line: str) -> int:
    line = line.expandtabs(4)
    return len(line) - len(line.lstrip(" "))
