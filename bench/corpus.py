"""Corpora by seed: Markdown that looks like documentation, about 6 kB a page."""

from __future__ import annotations

import random
import sys
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


if __name__ == "__main__":
    print(write_corpus(Path(sys.argv[1]), int(sys.argv[2])), "bytes")
