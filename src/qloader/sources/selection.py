"""Which paths of a source are documents: include and exclude patterns with the meaning they have in .gitignore."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qloader.config.fields import is_pattern
from qloader.errors import ConfigError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NEVER = frozenset({".git", ".hg", ".svn", ".qloader"})
"""Folders (and `.git` files) that no pattern can select: repositories' own data, and ours."""

_NAMED_GROUP = re.compile(r"\(\?P<\w+>")
_GLOB = frozenset("*?[\\")


class Selection:
    """Decides on POSIX paths relative to a root, e.g. `docs/intro.md`.

    A path is selected if an include pattern matches it and no exclude pattern does. A pattern without
    a slash matches at any depth, one that matches a folder matches all in it, `!` takes back what
    earlier patterns of the same list matched. Unlike in git, a file can be taken back from an excluded folder.

    The methods are attributes, not `def`s: they are called once a path, and a call less is a third of their time.

    Attributes:
        selects: Whether a file is a document.
        excludes_folder: Whether nothing below a folder can be selected, so that it need not be read.
    """

    __slots__ = ("excludes_folder", "selects")

    selects: Callable[[str], bool]
    excludes_folder: Callable[[str], bool]

    def __init__(self, include: Sequence[str], exclude: Sequence[str] = ()) -> None:
        """Compiles the patterns.

        Raises:
            ConfigError: A pattern is invalid, or can never match anything.
        """
        included = match_paths(compile_patterns("include", include, chooses=True))
        excluded = match_paths(compile_patterns("exclude", exclude)) if exclude else None
        self.selects = included if excluded is None else _both(included, excluded)
        # With a `!` in the list a folder that matches may still hold a file that does not.
        prunes = None if excluded is None or any(p.lstrip().startswith("!") for p in exclude) else excluded
        self.excludes_folder = _folders(_literal_prefixes(include), prunes)


def compile_patterns(key: str, patterns: Sequence[str], *, chooses: bool = False) -> GitIgnoreSpec:
    """Reads patterns as .gitignore has them.

    Args:
        key: What they are called, for an error.
        patterns: In their order.
        chooses: Whether only what they match is taken, so that a list that only takes back is a mistake.

    Raises:
        ConfigError: A pattern is invalid, or can never match anything; or all of them only take back.
    """
    from pathspec import GitIgnoreSpec

    for pattern in patterns:
        if not is_pattern(pattern):
            raise ConfigError(
                f"The {key} pattern {pattern!r} matches nothing.",
                remedy="Patterns are written as in .gitignore, e.g. docs/**/*.md, *.txt or !drafts/; "
                "a leading # or a backslash needs a backslash before it.",
            )
    spec = GitIgnoreSpec.from_lines(list(patterns))
    if chooses and spec.patterns and not any(pattern.include for pattern in spec.patterns):
        raise ConfigError(
            f"The {key} patterns match nothing: all of them begin with ! and only take back ({', '.join(patterns)}).",
            remedy="Name first what they take back from, such as **.",
        )
    return spec


def match_paths(spec: GitIgnoreSpec) -> Callable[[str], bool]:
    """One call per path: where no pattern takes back another, one expression is all of them."""
    if not all(pattern.include for pattern in spec.patterns):
        return spec.match_file
    sources = (_NAMED_GROUP.sub("(?:", pattern.regex.pattern) for pattern in spec.patterns if pattern.regex)
    match = re.compile("|".join(f"(?:{source})" for source in sources) or "(?!)", re.DOTALL).match
    return lambda path: match(path) is not None


def _both(included: Callable[[str], bool], excluded: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda path: included(path) and not excluded(path)


def _folders(
    prefixes: Sequence[tuple[str, ...]] | None, excluded: Callable[[str], bool] | None
) -> Callable[[str], bool]:
    def excludes_folder(path: str) -> bool:
        parts = path.split("/")
        if parts[-1] in NEVER:
            return True
        if prefixes is not None:
            # Only folders on the way to a prefix, or below one, can hold anything.
            count = len(parts)
            if not any(tuple(parts[: len(p)]) == p[:count] for p in prefixes):
                return True
        return excluded is not None and excluded(path + "/")

    return excludes_folder


def _literal_prefixes(include: Sequence[str]) -> list[tuple[str, ...]] | None:
    """The folders that include patterns name literally, `docs/api/**` -> (docs, api); None: anything may match.

    It only says where looking is pointless: what is selected is decided by the patterns themselves.
    """
    prefixes = []
    for pattern in include:
        if pattern.startswith("!"):
            continue  # takes back, never adds
        body = pattern.rstrip()
        if "/" not in body.rstrip("/") or "\\" in body:
            return None  # matches at any depth; or has escapes, which are not worth the trouble
        parts = body.strip("/").split("/")
        literal: list[str] = []
        for part in parts if body.endswith("/") else parts[:-1]:
            if not part or _GLOB & set(part):
                break
            literal.append(part)
        if not literal:
            return None
        prefixes.append(tuple(literal))
    return prefixes
