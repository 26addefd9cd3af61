"""What `search`, `status` and `history` print."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.text import Text
from syrupy.assertion import SnapshotAssertion
from terminal import Terminal
from test_escape import hidden

from qloader.index.protocol import Hit
from qloader.refreshing.drift import Drift, DriftedPoint
from qloader.render.escape import escape_controls
from qloader.render.hits import render_hits, shorten
from qloader.render.tables import render_checks, render_drift, render_history, render_status
from qloader.render.text import make_console
from qloader.state.records import RunRecord, SourceRecord, StateHeader
from qloader.workspace.validating import Check
from qloader.workspace.workspace import Status

TEXT = """# Deletes

Deletes come only from a complete listing. A listing cut short (error, page limit, permission lost) is
incomplete: creates and updates go ahead, deletes do not, and the plan says why.

Guards refuse a plan that deletes more than a quarter of a source. `--allow-deletes NAME` lets one plan
pass for one source, and the plan records it, so that its reviewer sees it.
"""
HEADER = StateHeader(
    "handbook", "6f0c2b1e-8a4d-4e7b-9c55-0d1f2a3b4c5d", 7, "handbook", "embedded:.qloader/index", "p", False
)
SOURCES = (
    SourceRecord("docs", "git", "", "c" * 40, b"", 1234, 5678, 1_790_000_000_000),
    SourceRecord("wiki", "confluence", "", None, b"", 7, 15, None),
)


def hit(score: float = 12.345, **payload: Any) -> Hit:
    fields = {"source": "docs", "document_id": "change-detection.md", "title": "Change detection", "text": TEXT}
    return Hit("1", score, fields | payload)


def print_hits(*hits: Hit) -> str:
    file = io.StringIO()
    render_hits(hits, make_console(file))
    return file.getvalue()


def run(number: int, status: str, summary: dict[str, int], error: str | None = None) -> RunRecord:
    started = 1_790_000_000_000 + number * 60_000
    return RunRecord(number, f"{number:032x}", status, 6, 7, started, started + 1000, 5, summary, error)  # type: ignore[arg-type]


def test_hits_read_well(snapshot: SnapshotAssertion) -> None:
    assert print_hits(hit(headings=["Change detection", "Deletes"]), hit(0.83, text="Short.\n")) == snapshot
    assert print_hits() == "Nothing found.\n"


def test_a_hit_cannot_act_on_the_terminal() -> None:
    shown = print_hits(hit(document_id="a\nb\x1b", title="\x1b]0;x\x07", text="\u202etext\x9b31m\n\n" * 50))
    assert hidden(shown.replace("\n", "")) == []
    assert r"docs/a\nb\x1b" in shown


def test_an_excerpt_of_a_text_without_spaces_is_not_empty() -> None:
    text = "日本語の文書は空白がありません。" * 40
    shown = shorten(text, 320)
    assert shown.startswith("日本語の文書")
    assert cell_len(shown) <= 322
    assert all(cell_len(line) <= 96 for line in print_hits(hit(text=text)).splitlines())


def test_an_excerpt_ends_between_words() -> None:
    assert shorten("one two three", 100) == "one two three"
    assert shorten("one two three four five", 20) == "one two three four …"


def test_no_line_of_a_hit_ends_in_spaces() -> None:
    assert not any(line.endswith(" ") for line in print_hits(hit(), hit()).split("\n"))


@pytest.mark.parametrize(("lease", "interrupted"), [(None, 0), (None, 1), ("ann on host (process 7)", 3)])
def test_a_status_reads_well(lease: str | None, interrupted: int, snapshot: SnapshotAssertion) -> None:
    file = io.StringIO()
    render_status(Status("handbook", HEADER, SOURCES, lease, interrupted), make_console(file))
    assert file.getvalue() == snapshot


def test_a_history_reads_well(snapshot: SnapshotAssertion) -> None:
    runs = [
        run(12, "complete", {"create": 3, "update": 1, "embedded": 1400, "failed": 0}),
        run(11, "partial", {"update": 1, "failed": 2}, "2 documents were left as they were, the first: docs/a.md"),
        run(10, "failed", {}, "stopped\nby \x1b the user"),
        run(9, "complete", {}),
    ]
    file = io.StringIO()
    render_history(runs, make_console(file))
    assert file.getvalue() == snapshot


def test_a_run_that_is_still_running_is_not_said_to_have_changed_nothing() -> None:
    file = io.StringIO()
    render_history([run(1, "running", {})], make_console(file))
    assert "not ended yet" in file.getvalue()
    assert "no changes" not in file.getvalue()


def test_an_error_longer_than_the_terminal_is_wide_is_wrapped_in_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    terminal = Terminal()
    render_history([run(1, "complete", {}, "word " * 30)], make_console(terminal))
    first, *others = terminal.getvalue().splitlines()[1:]
    assert len(others) > 1
    assert {len(line) - len(line.lstrip()) for line in others} == {first.index("word")}
    assert all(len(line) <= 90 for line in (first, *others))


CHECKS = (
    Check("source docs", True, "files, 12 documents"),
    Check(
        "source wiki\x1b", False, "the space does not exist, \u202eor this account may not see it; " * 3, "Look. " * 30
    ),
)


def test_checks_on_a_terminal_are_coloured_and_broken_between_words() -> None:
    terminal = Terminal()
    render_checks(CHECKS, make_console(terminal))
    shown = terminal.getvalue()
    assert "\x1b[32mok    \x1b[0m" in shown
    assert "\x1b[1;31mfailed\x1b[0m" in shown
    lines = Text.from_ansi(shown).plain.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "ok      source docs      files, 12 documents"
    assert all(line.startswith(" " * 25) and line[25] != " " for line in lines[2:-2])
    assert (
        " ".join(line[25:] for line in lines[1:-2]).split()
        == escape_controls(CHECKS[1].message).split() + ["Look."] * 30
    )
    assert lines[-1] == "1 of 2 checks failed."


def test_checks_in_a_log_are_a_line_each_and_cannot_act_on_it() -> None:
    file = io.StringIO()
    render_checks(CHECKS, make_console(file))
    lines = file.getvalue().splitlines()
    assert len(lines) == 5
    assert [hidden(line) for line in lines] == [[]] * 5
    assert lines[1].startswith(r"failed  source wiki\x1b  the space does not exist, \u202eor")


def test_drift_is_told_by_document_in_their_order() -> None:
    points = [DriftedPoint("missing", bytes([n]) * 16, "docs", f"{'cab'[n % 3]}.md") for n in range(5)]
    file = io.StringIO()
    render_drift(Drift(9, tuple(points)), make_console(file))
    assert [line.split()[1] for line in file.getvalue().splitlines()[:-1]] == ["docs/a.md", "docs/b.md", "docs/c.md"]
