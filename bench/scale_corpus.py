"""A large corpus of small documents by seed, as a folder of files or as a git repository: about 500 bytes each.

Both kinds hold the same bytes under the same names, a hundred to a folder and a hundred folders to a section, and are
changed in the same way.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from corpus import WORDS

SEED = 8
_TIME = 1_700_000_000


@dataclass(slots=True)
class Changes:
    """What is to be done to a corpus: new texts by path, old and new names, paths that go."""

    written: dict[str, bytes] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)


def path_of(number: int) -> str:
    """Where a document lies."""
    return f"section-{number // 10_000:03d}/part-{number // 100:05d}/page-{number:07d}.md"


def text_of(random_: random.Random, number: int) -> bytes:
    """One document: a title and some eighty words, which make one chunk."""
    words = random_.choices(WORDS, k=82)
    lines = (" ".join(words[at : at + 20]).capitalize() + "." for at in range(0, 80, 20))
    return f"# Page {number}: {words[80]} {words[81]}\n\n{' '.join(lines)}\n".encode()


def documents(count: int) -> Iterator[tuple[str, bytes]]:
    """The paths and texts of so many documents."""
    random_ = random.Random(SEED)
    for number in range(count):
        yield path_of(number), text_of(random_, number)


def one_percent(count: int) -> Changes:
    """Edits 1 % of the documents, and adds, deletes and renames 0.2 % each; no document twice."""
    random_ = random.Random(SEED + 1)
    some, few = max(count // 100, 1), max(count // 500, 1)
    chosen = random_.sample(range(count), some + 2 * few)
    changes = Changes()
    for number in (*chosen[:some], *range(count, count + few)):
        changes.written[path_of(number)] = text_of(random_, number)
    changes.deleted = [path_of(number) for number in chosen[some : some + few]]
    for number in chosen[some + few :]:
        changes.renamed[path_of(number)] = path_of(number).replace("page-", "renamed-")
    return changes


class Folder:
    """The corpus as a folder of files.

    Args:
        base: The folder that it is put into.
        count: How many documents.
    """

    kind = "files"
    config = "type: files, path: docs"

    def __init__(self, base: Path, count: int) -> None:
        self.docs = base / "docs"
        self.bytes = 0
        made = ""
        for path, text in documents(count):
            folder, _, _ = path.rpartition("/")
            if folder != made:
                os.makedirs(self.docs / folder)
                made = folder
            self._write(path, text)
            self.bytes += len(text)

    def change(self, changes: Changes) -> None:
        """Carries changes out."""
        for path in changes.deleted:
            os.unlink(self.docs / path)
        for old, new in changes.renamed.items():
            os.rename(self.docs / old, self.docs / new)
        for path, text in changes.written.items():
            (self.docs / path).parent.mkdir(parents=True, exist_ok=True)
            self._write(path, text)

    def _write(self, path: str, text: bytes) -> None:
        with open(self.docs / path, "wb", buffering=0) as file:
            file.write(text)


class Repository:
    """The corpus as a bare git repository with one commit, made by `git fast-import`.

    Args:
        base: The folder that it is put into.
        count: How many documents.
    """

    kind = "git"
    config = "type: git, url: docs.git, include: ['section-*/**/*.md']"

    def __init__(self, base: Path, count: int) -> None:
        self.path = base / "docs.git"
        self.bytes = 0
        self._commits = 0
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.path)], check=True)

        def tree(out: IO[bytes]) -> None:
            for path, text in documents(count):
                _file(out, path, text)
                self.bytes += len(text)

        self._commit(tree)

    def change(self, changes: Changes) -> None:
        """Carries changes out, as one commit."""

        def tree(out: IO[bytes]) -> None:
            for path in changes.deleted:
                out.write(b"D %s\n" % path.encode())
            for old, new in changes.renamed.items():
                out.write(b"R %s %s\n" % (old.encode(), new.encode()))
            for path, text in changes.written.items():
                _file(out, path, text)

        self._commit(tree)

    def _commit(self, tree: Callable[[IO[bytes]], None]) -> None:
        command = ["git", "-C", str(self.path), "fast-import", "--quiet", "--force"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert process.stdin is not None
        with process.stdin as out:
            out.write(
                b"commit refs/heads/main\ncommitter bench <bench@example.org> %d +0000\n" % (_TIME + self._commits)
            )
            out.write(b"data 6\nchange\n")
            if self._commits:
                out.write(b"from refs/heads/main^0\n")
            tree(out)
            out.write(b"\n")
        if process.wait():
            raise SystemExit("git fast-import failed")
        self._commits += 1


def _file(out: IO[bytes], path: str, text: bytes) -> None:
    out.write(b"M 644 inline %s\ndata %d\n%s\n" % (path.encode(), len(text), text))
