"""Corpora by seed: Markdown that looks like documentation, about 6 kB a page."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WORDS = (
    "the a an of to in for with on by from and or not is are was be can must should will when where which that this "
    "index collection point vector payload document source chunk plan apply state manifest hash cache batch commit "
    "server client request response token retry timeout error message file folder path name value key list table "
    "column row query search filter score model text title section page link image user team service config option "
    "default example command line output input number string object array version release change update delete create "
    "move read write open close start stop run test check build deploy monitor alert log trace metric dashboard"
).split()


def page(random_: random.Random, number: int) -> str:
    """One page: front matter, headings, paragraphs, lists, code, a table now and then."""
    parts = [
        f"---\ntitle: Page {number}\ntags: [{random_.choice(WORDS)}, {random_.choice(WORDS)}]\n---",
        f"# Page {number}",
    ]
    for _ in range(random_.randint(3, 6)):
        parts.append("## " + " ".join(random_.choices(WORDS, k=3)).capitalize())
        for _ in range(random_.randint(1, 4)):
            parts.append(_paragraph(random_))
        kind = random_.random()
        if kind < 0.3:
            parts.append("\n".join(f"- {_sentence(random_)}" for _ in range(random_.randint(3, 6))))
        elif kind < 0.5:
            body = "\n".join(
                f"{random_.choice(WORDS)} = {random_.randint(0, 999)}" for _ in range(random_.randint(4, 10))
            )
            parts.append(f"```python\n{body}\n```")
        elif kind < 0.6:
            rows = "\n".join(f"| `{random_.choice(WORDS)}` | {_sentence(random_)} |" for _ in range(4))
            parts.append(f"| name | meaning |\n|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _sentence(random_: random.Random) -> str:
    words = random_.choices(WORDS, k=random_.randint(8, 18))
    words[random_.randrange(len(words))] = f"[{random_.choice(WORDS)}](../{random_.choice(WORDS)}.md)"
    return " ".join(words).capitalize() + "."


def _paragraph(random_: random.Random) -> str:
    return " ".join(_sentence(random_) for _ in range(random_.randint(3, 8)))


def write_corpus(folder: Path, pages: int, *, seed: int = 1) -> int:
    """Writes pages into folders of a hundred; returns their bytes."""
    random_ = random.Random(seed)
    size = 0
    for number in range(pages):
        path = folder / f"section-{number // 100:04d}" / f"page-{number:07d}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        size += path.write_text(page(random_, number), encoding="utf-8")
    return size


@dataclass(frozen=True, slots=True)
class Changed:
    """What was done to a corpus; paths are as they are afterwards, those of the deleted as they were.

    Attributes:
        edited: Pages with one paragraph that is other, new or gone.
        added: New pages.
        deleted: Pages that are gone.
        renamed: New names of pages whose bytes stayed.
    """

    edited: Sequence[Path]
    added: Sequence[Path]
    deleted: Sequence[Path]
    renamed: Sequence[Path]


def change_corpus(folder: Path, *, seed: int = 2) -> Changed:
    """Edits 1 % of the pages, and adds, deletes and renames 0.2 % each: no page twice, at least one of each."""
    random_ = random.Random(seed)
    pages = sorted(folder.rglob("*.md"))
    some, few = max(len(pages) // 100, 1), max(len(pages) // 500, 1)
    chosen = random_.sample(pages, some + 2 * few)
    edited, deleted = chosen[:some], chosen[some : some + few]
    edit_pages(edited, random_)
    for path in deleted:
        path.unlink()
    renamed = rename_pages(chosen[some + few :])
    added = []
    for number in range(len(pages), len(pages) + few):
        path = folder / "section-new" / f"page-{number:07d}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(random_, number), encoding="utf-8")
        added.append(path)
    return Changed(edited, added, deleted, renamed)


def rename_pages(paths: Sequence[Path]) -> list[Path]:
    """Gives pages other names in their folders; the new paths."""
    return [path.rename(path.with_name(f"renamed-{path.name}")) for path in paths]


def edit_pages(paths: Sequence[Path], random_: random.Random) -> None:
    """Edits a paragraph in each page, in one of five ways in turn."""

    def words(number: int) -> str:
        return " ".join(random_.choices(WORDS, k=number)).capitalize() + "."

    for number, path in enumerate(paths):
        parts = path.read_text(encoding="utf-8").split("\n\n")
        place = random_.choice([place for place, part in enumerate(parts) if part[0].isalpha() and len(part) > 100])
        match number % 5:
            case 0:
                parts[place] = words(len(parts[place].split()))
            case 1:
                first, rest = parts[place].split(" ", 1)
                parts[place] = f"{first} another {rest}"
            case 2:
                parts[place] += " " + words(12)
            case 3:
                parts.insert(place, words(60))
            case _:
                del parts[place]
        path.write_text("\n\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    print(write_corpus(Path(sys.argv[1]), int(sys.argv[2])), "bytes")
