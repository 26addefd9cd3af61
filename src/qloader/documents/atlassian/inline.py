"""Runs as one paragraph of Markdown: marks nested and set tight around their words, links, code, pictures."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from qloader.documents.atlassian.blocks import (
    BREAK,
    CODE,
    EM,
    EMPHASIS,
    IMAGE,
    LINE,
    RAW,
    STRIKE,
    STRONG,
    Run,
)
from qloader.documents.atlassian.escaping import Escaper, escape_line_start, escaper

_SPACES = re.compile(r"[ \t\r\n\f\v\u00a0]+")
_ODD_SPACE = re.compile(r"[\t\r\n\f\v\u00a0]|  ")
_TICKS = re.compile("`+")
_UNSAFE = re.compile(r"(?:javascript|vbscript|data)\s*:", re.IGNORECASE)
_AUTOLINK = re.compile(r"(?:https?|ftp|mailto):[^\s<>|]+")
_CONTROL = re.compile(r"[\x00-\x20<>\\]")
_BRACKETS = re.compile(r"(\\.)|([\[\]])", re.DOTALL)
_BITS = (STRONG, EM, STRIKE)
_DELIMITERS = {STRONG: "**", EM: "*", STRIKE: "~~"}
_SPACE = Run(" ")
_BREAKS = BREAK | LINE
_VERBATIM = CODE | RAW | IMAGE


def paragraphs(runs: list[Run]) -> Iterator[list[Run]]:
    """Runs cut where two line breaks of the author follow each other: that is how people write a new paragraph."""
    if len(runs) == 1:
        yield runs
        return
    part: list[Run] = []
    breaks = 0
    for run in runs:
        if run.marks & BREAK:
            breaks += 1
            if breaks == 2:
                yield part
                part = []
            part.append(run)
            continue
        if run.marks & _VERBATIM or (run.text and not run.text.isspace()):
            breaks = 0
        part.append(run)
    yield part


def inline(runs: Sequence[Run], *, cell: bool = False, one_line: bool = False) -> str:
    """A paragraph's runs as Markdown; empty where there are no words.

    Args:
        runs: The runs.
        cell: The paragraph stands in a cell of a table: line breaks are `<br>`, bars are escaped, and nothing
            means anything at the start of a line.
        one_line: The paragraph is a heading: line breaks are spaces.
    """
    if len(runs) == 1 and not runs[0].marks and runs[0].href is None:  # as most are
        text = _SPACES.sub(" ", runs[0].text).strip(" ")
        text = escaper(text, emphasis=False, ticks=False).words(text)
        return text.replace("|", "\\|") if cell else escape_line_start(text)
    atoms = _tidy(runs, one_line=one_line)
    if not atoms:
        return ""
    atoms = _tight(_neutral_spaces(atoms))
    return _Writing(atoms, cell).write()


def code_span(text: str) -> str:
    """Code within a line, in more backticks than it holds."""
    ticks = "`" * _longest_and_one(text, 1)
    pad = " " if text.startswith("`") or text.endswith("`") or (text[0] == text[-1] == " " and text.strip()) else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _longest_and_one(text: str, least: int) -> int:
    """A number of backticks from `least` on that no run of them in the text has."""
    lengths = {len(run) for run in _TICKS.findall(text)}
    length = least
    while length in lengths:
        length += 1
    return length


def _tidy(runs: Iterable[Run], *, one_line: bool) -> list[Run]:
    """Runs without needless white space: none at the ends of lines, one space in a row, equal neighbours joined."""
    done: list[Run] = []
    pending: list[str] = []  # the texts of the last run, not yet joined
    for run in runs:
        marks = run.marks
        if one_line and marks & _BREAKS:
            run = _SPACE  # noqa: PLW2901
            marks = 0
        if marks & _BREAKS:
            _settle(done, pending)
            _strip_end(done)
            if done and not done[-1].marks & _BREAKS:
                done.append(Run("", marks))
            continue
        text = run.text
        if marks & (CODE | IMAGE):
            text = text if text.isprintable() else _SPACES.sub(" ", text)
        elif not marks & RAW and _ODD_SPACE.search(text):
            text = _SPACES.sub(" ", text)
        href = _safe(run.href) if run.href is not None else None
        if not marks & _VERBATIM and text[:1] == " ":
            before = pending[-1] if pending else done[-1].text if done else ""
            verbatim = done and done[-1].marks & _VERBATIM
            if not done or done[-1].marks & _BREAKS or (before[-1:] == " " and not verbatim):
                text = text[1:]
        if not text:
            continue
        if done and done[-1].marks == marks and done[-1].href == href and not marks & (RAW | IMAGE):
            pending = pending or [done[-1].text]
            pending.append(text)
            continue
        _settle(done, pending)
        pending = []
        done.append(Run(text, marks, href))
    _settle(done, pending)
    while done and (done[-1].marks & _BREAKS or _strip_end(done)):
        if done and done[-1].marks & _BREAKS:
            done.pop()
    return done


def _settle(done: list[Run], pending: list[str]) -> None:
    if pending:
        done[-1] = done[-1]._replace(text="".join(pending))
        pending.clear()


def _strip_end(done: list[Run]) -> bool:
    """Takes the space off the end of the last run; True where nothing was left of it."""
    if done and not done[-1].marks & (_VERBATIM | _BREAKS) and done[-1].text.endswith(" "):
        text = done[-1].text.rstrip(" ")
        if text:
            done[-1] = done[-1]._replace(text=text)
        else:
            done.pop()
            return True
    return False


def _safe(href: str) -> str | None:
    """An address that may be written; None for scripts and for nothing."""
    href = href.strip()
    return None if not href or _UNSAFE.match(href) else href


def _neutral_spaces(atoms: list[Run]) -> list[Run]:
    """White space at the edges of marked words, as atoms that carry only what both neighbours carry."""
    split: list[Run] = []
    for run in atoms:
        text = run.text
        if run.marks & (_VERBATIM | _BREAKS) or (not run.marks and run.href is None) or text.strip(" ") == text:
            split.append(run)
            continue
        core = text.strip(" ")
        if text[0] == " ":
            split.append(Run(" ", 0, run.href))
        if core:
            split.append(run._replace(text=core))
            if text[-1] == " ":
                split.append(Run(" ", 0, run.href))
    for number, run in enumerate(split):
        if run.marks & _BREAKS or (run.text == " " and not run.marks & _VERBATIM):
            before = split[number - 1] if number else _SPACE
            after = split[number + 1] if number + 1 < len(split) else _SPACE
            marks = before.marks & after.marks & EMPHASIS
            same = run.href == before.href == after.href and not (before.marks | after.marks) & IMAGE
            href = run.href if same else None
            split[number] = Run(run.text, (run.marks & _BREAKS) | marks, href)
    return split


def _is_word(char: str) -> bool:
    return bool(char) and not char.isspace() and not _is_punctuation(char)


def _is_punctuation(char: str) -> bool:
    return bool(char) and (char in "\ufffc" or unicodedata.category(char)[0] in "PS")


def _edge(run: Run, other: Run, place: int) -> str:
    """The first (0) or last (-1) character of a run as it will be written beside another."""
    if run.marks & _BREAKS:
        return " "
    if run.marks & _VERBATIM or (run.href is not None and run.href != other.href):
        return "\ufffc"
    return run.text[place] if run.text else ""


def _tight(atoms: list[Run]) -> list[Run]:
    """Marks moved off punctuation where Markdown would not see them end or begin: `**a.**b` becomes `**a**.b`."""
    if not any(run.marks & EMPHASIS for run in atoms):
        return atoms
    ended: list[Run] = []
    for run in reversed(atoms):
        if ended:
            _pull_in(run, ended, place=-1)
        else:
            ended.append(run)
    ended.reverse()
    begun: list[Run] = []
    for run in ended:
        if begun:
            _pull_in(run, begun, place=0)
        else:
            begun.append(run)
    return begun


def _pull_in(run: Run, done: list[Run], *, place: int) -> None:
    """Appends a run to those on its one side, its marks pulled in from that side's punctuation."""
    other = done[-1]
    lost = run.marks & EMPHASIS & ~other.marks
    if lost and _is_word(_edge(other, run, -1 - place)) and _is_punctuation(_edge(run, other, place)):
        if run.marks & _VERBATIM or (run.href is not None and run.href != other.href):
            run = run._replace(marks=run.marks & ~lost)
        else:
            size = 0
            text = run.text if place == 0 else run.text[::-1]
            while size < len(text) and (_is_punctuation(text[size]) or text[size] == " "):
                size += 1
            cut = size if place == 0 else len(run.text) - size
            first, last = run.text[:cut], run.text[cut:]
            outer, inner = (first, last) if place == 0 else (last, first)
            done.append(run._replace(text=outer, marks=run.marks & ~lost))
            if not inner:
                return
            run = run._replace(text=inner)
    done.append(run)


class _Writing:
    """One paragraph under way."""

    def __init__(self, atoms: list[Run], cell: bool) -> None:
        self.atoms = atoms
        self.cell = cell
        self.out: list[str] = []
        self.open: list[int] = []  # marks that are open, the outermost first; 0 is a link
        self.href: str | None = None
        self.at_start = not cell
        self.reach = self._reaches()
        self.escape = self._escaper()

    def _escaper(self) -> Escaper:
        # What stands between two runs keeps them apart: two single backticks are not one double one.
        text = "\ufffc".join("\ufffc" if run.marks & _VERBATIM else run.text or "\n" for run in self.atoms)
        return escaper(
            text,
            emphasis=any(run.marks & EMPHASIS for run in self.atoms),
            ticks=any(run.marks & CODE for run in self.atoms),
        )

    def _reaches(self) -> list[tuple[int, int, int, int]]:
        """For each atom how far its link and each of its marks reach: what reaches further is opened first."""
        reach = [(0, 0, 0, 0)] * len(self.atoms)
        link = strong = em = strike = 0
        after: Run = _SPACE
        for number in range(len(self.atoms) - 1, -1, -1):
            run = self.atoms[number]
            link = link if run.href is not None and run.href == after.href else number
            strong = strong if run.marks & after.marks & STRONG else number
            em = em if run.marks & after.marks & EM else number
            strike = strike if run.marks & after.marks & STRIKE else number
            reach[number] = (link, strong, em, strike)
            after = run
        return reach

    def write(self) -> str:
        for number, run in enumerate(self.atoms):
            link = run.href if not run.marks & IMAGE else None
            self._close(run.marks, link)
            if run.marks & _BREAKS:
                self.out.append("<br>" if self.cell else "\\\n" if run.marks & BREAK else "\n")
                self.at_start = not self.cell
            elif run.text == " " and not run.marks & _VERBATIM:
                self.out.append(" ")
            else:
                self._word(number, run, link)
                self.at_start = False
        self._close(0, None)
        return "".join(self.out)

    def _word(self, number: int, run: Run, link: str | None) -> None:
        whole = self.reach[number][0] == number and self.href is None
        auto = link is not None and whole and link == run.text and _AUTOLINK.fullmatch(link) is not None
        self._open(number, run.marks, None if auto else link)
        if auto:
            self.out.append(f"<{run.text}>")
        elif run.marks & RAW:
            self.out.append(run.text)
        elif run.marks & IMAGE:
            label = _in_brackets(self._words(run.text, at_start=False))
            self.out.append(f"![{label}]({self._address(run.href or '')})")
        elif run.marks & CODE:
            span = code_span(run.text)
            self.out.append(span.replace("|", "\\|") if self.cell else span)
        else:
            words = self._words(run.text, at_start=self.at_start)
            self.out.append(_in_brackets(words) if self.href is not None else words)

    def _words(self, text: str, *, at_start: bool) -> str:
        words = self.escape.words(text)
        if self.cell:
            return words.replace("|", "\\|")
        return escape_line_start(words) if at_start and not self.open else words

    def _close(self, marks: int, link: str | None) -> None:
        """Closes what does not go on, and what was opened within it."""
        for depth, mark in enumerate(self.open):
            if (mark == 0 and link != self.href) or (mark and not marks & mark):
                for inner in reversed(self.open[depth:]):
                    self.out.append(_DELIMITERS[inner] if inner else f"]({self._address(self.href or '')})")
                    self.href = self.href if inner else None
                del self.open[depth:]
                return

    def _open(self, number: int, marks: int, link: str | None) -> None:
        reach = self.reach[number]
        wanted = [(-reach[0], 0, 0)] if link is not None and self.href is None else []
        wanted += [
            (-reach[place], place, bit) for place, bit in enumerate(_BITS, 1) if marks & bit and bit not in self.open
        ]
        for _, _, bit in sorted(wanted):
            if not bit:
                if self.out and self.out[-1].endswith("!"):
                    self.out[-1] = self.out[-1][:-1] + "\\!"
                self.href = link
            self.out.append(_DELIMITERS[bit] if bit else "[")
            self.open.append(bit)

    def _address(self, href: str) -> str:
        href = _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", href).replace("|", "%7C")
        if not _balanced(href):
            href = href.replace("(", "%28").replace(")", "%29")
        return href


def _balanced(href: str) -> bool:
    """Whether parentheses in an address pair up, without nesting: such an address needs no escapes."""
    depth = 0
    for char in href:
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        if depth not in (0, 1):
            return False
    return depth == 0


def _in_brackets(words: str) -> str:
    """The words of a link: its brackets escaped, what is escaped already left alone."""
    return _BRACKETS.sub(lambda found: found[1] or "\\" + found[2], words)
