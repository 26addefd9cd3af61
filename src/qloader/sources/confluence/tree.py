"""The pages and folders of a Cloud site above one another: a listing names only the next one above."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from qloader.sources.confluence.content import Above

_DEEPEST = 200
"""Levels that are looked at, at most: a tree that is moved while it is read may run in a circle."""


class Node(NamedTuple):
    """A page or folder: its title, and what it is below."""

    title: str
    parent: str | None
    parent_type: str | None


class Tree:
    """What is known of the tree; what is not is asked for, level by level.

    Args:
        load: Looks up nodes of a type (`page`, `folder`) by their ids; what cannot be seen is missing.
    """

    def __init__(self, load: Callable[[Sequence[str], str], Mapping[str, Node]]) -> None:
        self._load = load
        self._nodes: dict[str, Node | None] = {}

    def learn(self, nodes: Mapping[str, Node]) -> None:
        """Takes over what somebody else found out."""
        self._nodes.update(nodes)

    def complete(self, ids: Iterable[str]) -> None:
        """Looks up whatever is not known above these nodes, which are."""
        known = {one: self._nodes.get(one) for one in ids}
        level = {node.parent: node.parent_type for node in known.values() if node is not None and node.parent}
        seen: set[str] = set()
        while level:
            missing = {one: kind for one, kind in level.items() if one not in self._nodes}
            for kind in sorted({str(kind) for kind in missing.values()}):
                wanted = sorted(one for one, its in missing.items() if str(its) == kind)
                self._nodes.update(dict.fromkeys(wanted))
                self._nodes.update(self._load(wanted, kind))
            seen.update(level)
            nodes = [node for one in level if (node := self._nodes.get(one)) is not None]
            level = {node.parent: node.parent_type for node in nodes if node.parent and node.parent not in seen}

    def above(self, node: Node) -> tuple[Above, ...]:
        """What a node is below, outermost first, as far as it is known and can be seen."""
        found: list[Above] = []
        parent = node.parent
        while parent is not None and (one := self._nodes.get(parent)) is not None and len(found) < _DEEPEST:
            found.append(Above(parent, one.title))
            parent = one.parent
        return tuple(reversed(found))
