"""What stands within a line of wiki markup: emphasis, links, pictures, escapes. One pass, no going back."""

from __future__ import annotations

import re

from qloader.documents.atlassian.blocks import CODE, EM, HARD_BREAK, RAW, STRIKE, STRONG, Run, image
from qloader.documents.atlassian.converted import Findings

HELD = "\x00"
"""Stands around the number of what was taken out of a text; no text has it."""

_TOKEN = re.compile(
    r"(?P<path>(?:(?<=\s)|^)\\\\[\w.$-]++(?:\\[\w.$-]++)++)"
    r"|(?P<line_break>\\\\)"
    r"|\\(?P<escaped>[!-/:-@\[-`{-~])"
    r"|(?P<mono>\{\{)"
    r"|\{(?P<forced>[*_+^~-]|\?\?)\}"
    r"|(?P<link>\[(?P<inner>[^\[\]\n]++)\])"
    r"|(?P<picture>!(?P<file>[^\s!|\[\]{}][^!\n|]*+)(?P<look>\|[^!\n]*+)?!)"
    r"|(?P<url>(?:https?|ftp)://[^\s\[\]{}<>|\"^\x00]++|mailto:[^\s\[\]{}<>|\"^\x00]++)"
    r"|(?P<mark>\?\?|\*++|_++|-++|\++|\^++|~++)"
)
_MARKS = {"*": STRONG, "_": EM, "-": STRIKE, "+": 0, "??": EM}
_RAISED = {"^": "sup", "~": "sub"}
_SHORT = re.compile(r"([~^])([^\s~^\\{}\[\]*_]{1,20})\1")
_USERS = re.compile(r"~(?:accountid:)?(.+)")
_ISSUE = re.compile(r"[A-Z][A-Z0-9_]+-\d+")
_ADDRESS = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*:(?://)?\S+|//\S+|/\S+|www\.\S+|#\S+|[\w.+-]+@[\w.-]+\.\w+)")
_PICTURE = re.compile(r"(?:\S+://\S+|.*\.[A-Za-z0-9]{2,5})")
_TRAILING = ".,;:!?)'*_"


def read_line(text: str, findings: Findings, marks: int = 0) -> list[Run]:
    """The runs of a line or of several.

    Emphasis opens after a space or a sign and closes before one, as in Jira, and never reaches over a line end.
    """
    reader = _Line(findings, marks)
    reader.read(text)
    return reader.runs


class _Line:
    def __init__(self, findings: Findings, marks: int) -> None:
        self.findings = findings
        self.marks = marks
        self.runs: list[Run] = []
        self.opened: dict[str, int] = {}  # by sign: where its mark is among the runs
        self.ends = -2  # where the next `}}` is; -1: nowhere

    def read(self, text: str) -> None:
        for number, line in enumerate(text.split("\n")):
            if number:
                self.runs.append(HARD_BREAK)
            self.opened = {}
            self.ends = -2
            self._read(line)

    def _read(self, text: str) -> None:
        at = 0
        scan = at
        while (found := _TOKEN.search(text, scan)) is not None:
            start = found.start()
            taken = self._token(text, found, at)
            if taken < 0:
                scan = found.end() if found["mark"] or found["mono"] or found["path"] else start + 1
                continue
            at = scan = taken
        self._words(text[at:])

    def _words(self, text: str) -> None:
        if text:
            self.runs.append(Run(text, self.marks))

    def _token(self, text: str, found: re.Match[str], at: int) -> int:
        """Takes in a token, after the words before it; the index behind it, or -1 where it is only words."""
        start, end = found.span()
        before = text[at:start]
        if found["mark"]:
            return self._mark(text, found["mark"], before, start, end)
        if found["mono"]:
            return self._mono(text, before, start)
        if found["path"]:
            return -1
        if found["link"]:
            runs = self._link(found["inner"])
        elif found["picture"]:
            runs = self._picture(found["file"], found["look"] or "")
        elif found["url"]:
            url = found["url"].rstrip(_TRAILING)
            runs, end = [Run(url, self.marks, url)], start + len(url)
        elif found["line_break"]:
            runs = [HARD_BREAK]
        elif found["escaped"]:
            runs = [Run(found["escaped"], self.marks)]
        else:
            self._words(before)
            self._toggle(found["forced"])
            return end
        if runs is None:
            return -1
        self._words(before)
        self.runs += runs
        return end

    def _mono(self, text: str, before: str, start: int) -> int:
        if self.ends != -1 and self.ends < start + 3:
            self.ends = text.find("}}", start + 3)
        if self.ends < 0:
            return -1
        end = self.ends
        while text.startswith("}", end + 2):  # {{a{b}}} ends with its own bracket
            end += 1
        self._words(before)
        self.runs.append(Run(text[start + 2 : end].strip(), self.marks | CODE))
        return end + 2

    def _mark(self, text: str, sign: str, before: str, start: int, end: int) -> int:
        """A sign that may open or close emphasis."""
        if len(sign) > 1 and sign != "??":
            return -1
        if sign in _RAISED and sign not in self.opened and (short := _SHORT.match(text, start)):
            self._words(before)
            name = _RAISED[sign]
            self.runs += [Run(f"<{name}>", RAW), Run(short[2], self.marks), Run(f"</{name}>", RAW)]
            return short.end()
        left = text[start - 1] if start else " "
        right = text[end] if end < len(text) else " "
        if sign in self.opened and not left.isspace() and not _is_word(right):
            self._words(before)
            self._close(sign)
            return end
        if not right.isspace() and not _is_word(left) and left != "\\":
            self._words(before)
            # Words until it is closed, should that not happen.
            self.opened[sign] = len(self.runs)
            self.runs.append(Run(sign, self.marks))
            return end
        return -1

    def _toggle(self, sign: str) -> None:
        """A sign in brackets: it opens or closes wherever it stands."""
        if sign in self.opened:
            self._close(sign)
        else:
            self.opened[sign] = len(self.runs)
            self.runs.append(Run("", self.marks))

    def _close(self, sign: str) -> None:
        opened = self.opened.pop(sign)
        raised = _RAISED.get(sign)
        if raised:
            self.runs[opened] = Run(f"<{raised}>", RAW)
            self.runs.append(Run(f"</{raised}>", RAW))
            return
        self.runs[opened] = Run("", 0)
        mark = _MARKS[sign]
        for number in range(opened, len(self.runs) if mark else 0):
            run = self.runs[number]
            self.runs[number] = run._replace(marks=run.marks | mark)

    def _link(self, inner: str) -> list[Run] | None:  # noqa: PLR0911
        words, bar, target = inner.partition("|")
        if not bar:
            words, target = "", inner
        target = target.partition("|")[0].strip()
        ask = self.findings.resolvers
        if user := _USERS.fullmatch(target):
            return [Run(self.findings.name_of(user[1].strip(), words), self.marks)]
        if target.startswith("^") and len(target) > 1:
            return [Run(words or target[1:], self.marks, ask.attachment(target[1:]))]
        if _ISSUE.fullmatch(target) and (url := ask.issue(target)):
            return [Run(words or target, self.marks, url)]
        if _ISSUE.fullmatch(target):
            return [Run(words or target, self.marks)]
        if _ADDRESS.fullmatch(target) and (bar or not target.startswith("/")):
            url = f"https://{target}" if target.startswith("www.") else target
            url = f"mailto:{target}" if "@" in target and ":" not in target and "/" not in target else url
            if not words.strip():
                return [Run(target.removeprefix("mailto:").removeprefix("#"), self.marks, url)]
            inner_line = _Line(self.findings, self.marks)
            inner_line.runs = []
            inner_line.read(words)
            return [run._replace(href=url) for run in inner_line.runs]
        return None

    def _picture(self, file: str, look: str) -> list[Run] | None:
        file = file.strip()
        if not _PICTURE.fullmatch(file):
            return None
        alt = next((part[4:] for part in look.lstrip("|").split(",") if part.strip().startswith("alt=")), "")
        url = file if "://" in file else self.findings.resolvers.attachment(file)
        label = alt.strip(' "=') or file.rpartition("/")[2] or file
        return [image(label, url)]


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
