"""What is in a folder, as far as a first config needs to know: git or not, which documents, where they lie."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from qloader.config.sources import DEFAULT_INCLUDE
from qloader.counting import counted
from qloader.errors import ConfigError

if TYPE_CHECKING:
    from dulwich.repo import Repo

MAX_ENTRIES = 50_000
"""How many files and folders are looked at; a count that was cut off is given as "at least"."""

_SUFFIXES = frozenset(pattern.removeprefix("**/*") for pattern in DEFAULT_INCLUDE)
_SKIPPED = frozenset({".git", ".hg", ".svn", ".qloader"})
_NOISE_FOLDERS = frozenset({
    "node_modules", "bower_components", ".venv", "venv", ".tox", ".nox", "site-packages", "__pycache__",
    ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".cache", ".next", ".terraform",
})  # fmt: skip
"""Folders that other tools fill with documents nobody wrote here."""

_NOISE_FILES = ("requirements*.txt", "CMakeLists.txt", "robots.txt")
_ADDRESS = re.compile(r"(?:https://(?:[^/@]*@)?|ssh://git@|git@)(github\.com|gitlab\.com)[:/]([\w.-]+(?:/[\w.-]+)+?)/?")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a folder holds.

    Attributes:
        folder: The folder, absolute.
        name: A name for the config, from the folder's.
        kind: The source that suits it.
        suffixes: Suffixes of documents with their counts, most frequent first.
        below: The folder that all documents lie in, relative to where patterns start; empty where there is none.
        excludes: Patterns for what was found and is no document of one's own.
        is_cut: Whether there is more than was looked at.
        note: Why a git repository is read as plain files; empty otherwise.
        uri: A template for links to the pages of a public host; empty where none is known.
    """

    folder: Path
    name: str
    kind: Literal["git", "files"]
    suffixes: tuple[tuple[str, int], ...] = ()
    below: str = ""
    excludes: tuple[str, ...] = ()
    is_cut: bool = False
    note: str = ""
    uri: str = ""

    @property
    def documents(self) -> int:
        """How many documents were counted."""
        return sum(count for _, count in self.suffixes)

    def describe(self) -> str:
        """One line for people, e.g. `a git repository with 12 documents (10 .md, 2 .txt)`."""
        kind = "a git repository" if self.kind == "git" else "a folder"
        if self.note:
            kind = f"a git repository, read as a folder since {self.note},"
        if not self.documents:
            return f"{kind} without documents yet"
        least = "at least " if self.is_cut else ""
        parts = ", ".join(f"{count:,} {suffix}" for suffix, count in self.suffixes)
        return f"{kind} with {least}{counted(self.documents, 'document')} ({parts})"


def inspect_folder(path: Path) -> Findings:
    """Looks at a folder, within bounds; writes nothing.

    Args:
        path: The folder.

    Returns:
        Its findings: those of the last commit where the folder is in a git repository with documents, else those of
        the disk.

    Raises:
        ConfigError: There is no such folder.
    """
    folder = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - the name is the one that was typed
    if not folder.is_dir():
        raise ConfigError(
            f"{path} is no folder.", remedy="Name the folder that your documents are in: qloader init FOLDER."
        )
    committed = _inspect_commit(folder)
    if committed is not None and committed.documents:
        return committed
    on_disk = _findings(folder, "files", _walk(folder))
    if committed is None or not on_disk.documents:
        return committed or on_disk
    return _findings(folder, "files", _walk(folder), note="no document is committed yet")


def make_name(text: str) -> str:
    """A valid config or source name, as near to a text as can be."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")[:60].rstrip("-._") or "documents"


def _findings(
    folder: Path, kind: Literal["git", "files"], paths: Iterator[str], *, note: str = "", uri: str = ""
) -> Findings:
    counts: Counter[str] = Counter()
    noise: set[str] = set()
    below: list[str] | None = None
    looked = 0
    for looked, path in enumerate(islice(paths, MAX_ENTRIES), 1):  # noqa: B007 - counted, for `is_cut`
        *folders, name = path.split("/")
        if found := next((part for part in folders if part in _NOISE_FOLDERS), None):
            noise.add(f"{found}/")
        elif found := next((pattern for pattern in _NOISE_FILES if fnmatchcase(name, pattern)), None):
            noise.add(found)
        elif (suffix := os.path.splitext(name)[1]).lower() in _SUFFIXES:  # noqa: PTH122
            counts[suffix] += 1
            below = folders if below is None else _common(below, folders)
    return Findings(
        folder=folder,
        name=make_name(folder.name),
        kind=kind,
        suffixes=tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        below=_as_pattern(below or []),
        excludes=tuple(sorted(noise)),
        is_cut=looked == MAX_ENTRIES,
        note=note,
        uri=uri,
    )


def _common(one: list[str], other: list[str]) -> list[str]:
    """The folders that two paths begin with."""
    return [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))]


def _as_pattern(folders: list[str]) -> str:
    """Folders as the beginning of a pattern, which means them and nothing else."""
    usable = takewhile(lambda part: part.isprintable() and "\ufffd" not in part, folders)
    return "/".join(re.sub(r"([*?\[\]!#\\])", r"\\\1", part) for part in usable)


def _walk(folder: Path) -> Iterator[str]:
    """Paths of files below a folder, without following links; a noisy folder counts as one file in it."""
    waiting = [(os.fspath(folder), "")]
    while waiting:
        place, shown = waiting.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = shown + entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield path
            elif entry.name in _NOISE_FOLDERS:
                yield f"{path}/…"
            elif entry.name not in _SKIPPED:
                waiting.append((entry.path, f"{path}/"))


def _inspect_commit(folder: Path) -> Findings | None:
    """The findings of the last commit; None where there is none that can be read."""
    from dulwich.errors import ChecksumMismatch, NotGitRepository
    from dulwich.repo import InvalidWorktreeConfiguration, Repo, UnsupportedExtension, UnsupportedVersion

    unusable = (
        NotGitRepository, ChecksumMismatch, InvalidWorktreeConfiguration, UnsupportedExtension, UnsupportedVersion,
        KeyError, ValueError, AssertionError, OSError,
    )  # fmt: skip
    try:
        with Repo.discover(os.fspath(folder)) as repository:
            inside = _path_inside(repository, folder)
            return _findings(folder, "git", _committed(repository, inside), uri=_page_template(repository))
    except unusable:
        return None  # what a git source could not read either


def _path_inside(repository: Repo, folder: Path) -> str:
    """The folder's path in the repository, empty for its root; `folder` may be a link to it."""
    root = os.path.realpath(repository.path)
    inside = os.path.relpath(os.path.realpath(folder), root)
    return "" if repository.bare or inside == "." or inside.startswith("..") else inside.replace(os.sep, "/")


def _committed(repository: Repo, inside: str) -> Iterator[str]:
    """Paths of the last commit's files, those below a folder only."""
    from dulwich.object_store import iter_tree_contents
    from dulwich.objects import Commit

    commit = repository[repository.head()]
    if not isinstance(commit, Commit):
        return
    prefix = f"{inside}/" if inside else ""
    for entry in iter_tree_contents(repository.object_store, commit.tree):
        path = (entry.path or b"").decode("utf-8", "replace")
        if path.startswith(prefix):
            yield path


def _page_template(repository: Repo) -> str:
    """Where the host of `origin` shows a file of the current branch."""
    try:
        address = repository.get_config().get((b"remote", b"origin"), b"url").decode("utf-8", "replace")
    except KeyError:
        return ""
    match = _ADDRESS.fullmatch(address.strip())
    branch = repository.refs.get_symrefs().get(b"HEAD", b"").decode("utf-8", "replace")  # type: ignore[call-overload]
    if match is None or not branch.startswith("refs/heads/"):
        return ""
    middle = "blob" if match[1] == "github.com" else "-/blob"
    return f"https://{match[1]}/{match[2].removesuffix('.git')}/{middle}/{quote(branch.removeprefix('refs/heads/'))}/{{path}}"
