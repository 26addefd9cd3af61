"""The plan that people read in a terminal or a log."""

from __future__ import annotations

import io
import itertools
import re
import sys
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_builder import (
    HOSTILE_IDS,
    create,
    delete,
    endless_plan,
    first_plan,
    hostile_plan,
    long_plan,
    make_plan,
    move,
    realistic_plan,
    relabel,
    repair,
    source,
    update,
)
from rich.console import Console
from syrupy.assertion import SnapshotAssertion
from terminal import Terminal, in_a_log, on_a_terminal
from test_escape import hidden

from qloader.applying.result import ApplyResult
from qloader.planning.plan import Base, Change, ChunkCounts, PlanWarning, Summary
from qloader.render.text import make_console
from qloader.render.wording import applied_line, plan_line

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("make", [realistic_plan, long_plan, first_plan, make_plan, hostile_plan])
def test_a_plan_reads_like_a_review(make: object, snapshot: SnapshotAssertion) -> None:
    assert in_a_log(make()) == snapshot  # type: ignore[operator]


def test_a_terminal_gets_the_same_words_in_colour(snapshot: SnapshotAssertion) -> None:
    shown = on_a_terminal(realistic_plan())
    assert shown == snapshot
    words = " ".join(ANSI.sub("", shown).split())
    assert words == " ".join(in_a_log(realistic_plan()).split())


def test_a_log_gets_no_escape_codes_and_a_line_for_each_change_however_long() -> None:
    shown = in_a_log(make_plan([create("docs", "d/" * 400 + "e.md", 4)]))
    assert "\x1b" not in shown
    assert f"  + {'d/' * 400}e.md  4 chunks\n" in shown


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = on_a_terminal(realistic_plan())
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown)


def test_names_are_neither_markup_nor_emoji_codes() -> None:
    shown = in_a_log(make_plan([create("docs", "[bold]:smile:[/bold] 1.5.md")]))
    assert "+ [bold]:smile:[/bold] 1.5.md  1 chunk" in shown


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (create("docs", "a.md", 4), "+ a.md  4 chunks"),
        (create("docs", "a.md", 1), "+ a.md  1 chunk"),
        (create("docs", "a.md", 0), "+ a.md  0 chunks"),
        (update("docs", "a.md", 2, 29), "~ a.md  2 of 31 chunks"),
        (update("docs", "a.md", 1, 0), "~ a.md  1 of 1 chunk"),
        (update("docs", "a.md", 0, 4, 2), "~ a.md  0 of 4 chunks, 2 to remove"),
        (replace(update("docs", "a.md", 1, 2), after=relabel("docs", "a.md").after), "~ a.md  1 of 3 chunks, metadata"),
        (relabel("docs", "a.md"), "~ a.md  metadata"),
        (move("docs", "old.md", "a.md"), "> old.md -> a.md"),
        (replace(move("docs", "old.md", "a.md"), chunks=ChunkCounts(2, 3, 2)), "> old.md -> a.md  2 of 5 chunks"),
        (delete("docs", "a.md"), "- a.md"),
        (delete("docs", "a.md", reason="source removed from the config"), "- a.md  source removed from the config"),
        (repair("docs", "a.md"), "! a.md  points left by an interrupted apply"),
        (repair("docs", "a.md", 1, 2), "! a.md  left unfinished by an interrupted apply, 1 of 3 chunks"),
    ],
)
def test_each_kind_of_change_has_its_line(change: Change, line: str) -> None:
    assert f"\n  {line}\n" in in_a_log(make_plan([change]))


def test_an_update_that_only_the_pipeline_asks_for_says_so() -> None:
    change = replace(relabel("docs", "a.md"), after=relabel("docs", "a.md").before, reason="pipeline changed")
    assert "  ~ a.md  pipeline changed\n" in in_a_log(make_plan([change]))


@pytest.mark.parametrize(("document_id", "shown"), [("a  b", '"a  b"'), (" a", '" a"'), ("a -> b", '"a -> b"')])
def test_an_id_that_reads_like_our_own_layout_stands_in_quotes(document_id: str, shown: str) -> None:
    assert f"  + {shown}  1 chunk\n" in in_a_log(make_plan([create("docs", document_id)]))


def test_a_fold_says_what_it_hides_by_action() -> None:
    changes = [create("docs", f"{n:04}.md") for n in range(920)] + [delete("docs", f"z{n}.md") for n in range(80)]
    shown = in_a_log(make_plan(changes))
    assert "  … and 980 more: 900 to create, 80 to delete (use --all)\n" in shown
    assert "0019.md" in shown
    assert "0020.md" not in shown


def test_each_source_is_folded_by_itself() -> None:
    changes = [create(name, f"{n:02}.md") for name in ("a", "b") for n in range(21)]
    assert in_a_log(make_plan(changes)).count("… and 1 more: 1 to create") == 2


def test_twenty_changes_are_not_folded_and_without_a_fold_none_is() -> None:
    assert "more" not in in_a_log(make_plan([create("docs", f"{n:02}.md") for n in range(20)]))
    shown = in_a_log(long_plan(3000), fold=sys.maxsize)
    assert "use --all" not in shown
    assert sum(line.startswith("  + ") for line in shown.splitlines()) == 2700
    assert sum(line.startswith("  - ") for line in shown.splitlines()) == 300


def test_a_fold_of_nothing_shows_counts_alone() -> None:
    assert "  … and 2 more: 1 to create, 1 to delete (use --all)\n" in in_a_log(
        make_plan([create("docs", "a"), delete("docs", "b")]), fold=0
    )


def test_a_plan_says_what_it_does_to_the_collection() -> None:
    assert "The apply creates the collection handbook first." in in_a_log(first_plan())
    replaced = in_a_log(make_plan([update("docs", "a.md", 3, 0)], index_action="replace"))
    assert "the apply makes a new collection beside handbook, and puts it in its place" in replaced


def test_creating_an_empty_collection_is_not_called_no_change() -> None:
    shown = in_a_log(make_plan(index_action="create", base=Base(None, 0)))
    assert "The apply creates the collection" in shown
    assert shown.endswith("\nPlan: 0 to create, 0 to update, 0 to move, 0 to delete (0 chunks to embed).\n")


def test_deletes_allowed_past_a_guard_are_shown_once() -> None:
    warning = PlanWarning("docs", "deletes allowed", "--allow-deletes docs: the guards let this plan delete")
    shown = in_a_log(make_plan([delete("docs", "a.md")], allowed=["docs", "wiki"], warnings=[warning]))
    assert shown.count("Warning: deletes allowed past the guards: docs, wiki\n") == 1
    assert "the guards let this plan delete" not in shown


def test_warnings_stand_before_the_totals_also_where_nothing_changes() -> None:
    warning = PlanWarning("wiki", "incomplete", "listing incomplete, so nothing is deleted: 503")
    assert in_a_log(make_plan(warnings=[warning])) == (
        "Warning: wiki: listing incomplete, so nothing is deleted: 503\n\nNo changes. The index matches the sources.\n"
    )


def test_a_warning_is_wrapped_between_words_and_never_within_a_path() -> None:
    path = "very/" * 30 + "long.md"
    plan = make_plan(warnings=[PlanWarning("docs", "skipped", f"1 item skipped ({'word ' * 12}): {path}")])
    lines = ANSI.sub("", on_a_terminal(plan)).splitlines()
    assert f"  {path}" in lines
    assert all(len(line) <= 80 for line in lines if path not in line)


def test_a_source_shows_its_type_short_commit_and_size() -> None:
    assert "docs  git 3f2a91c4d5e6, 1,234 documents\n" in in_a_log(realistic_plan())
    assert "\nnotes  files, 1 document\n" in in_a_log(make_plan([create("notes", "a")], [source("notes", documents=1)]))


@settings(deadline=None)
@given(st.lists(st.sampled_from(HOSTILE_IDS) | st.text(), max_size=25))
def test_no_id_acts_on_the_terminal_or_adds_a_line(ids: list[str]) -> None:
    unique = sorted(set(ids))
    plan = make_plan([move("docs", i + "x", i) for i in unique] + [delete("wiki", i, reason=i) for i in unique])
    lines = in_a_log(plan).split("\n")
    assert [c for line in lines for c in hidden(line)] == []
    assert sum(line.startswith(("  > ", "  - ")) for line in lines) == 2 * min(len(unique), 20)
    assert sum(line.startswith(("Plan:", "No changes.")) for line in lines) == 1


def test_a_plan_is_read_once_and_never_held() -> None:
    passes = itertools.count()

    class Counted:
        header = endless_plan(30_000).header

        def changes(self):
            next(passes)
            return endless_plan(30_000).changes()

    class Sink(io.StringIO):
        def write(self, text: str) -> int:
            return len(text)

    tracemalloc.start()
    try:
        from qloader.render.text import render_plan

        render_plan(Counted(), make_console(Sink()), fold=sys.maxsize)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert next(passes) == 1
    assert peak < 3_000_000


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (
            Summary(create=3, update=1, delete=2, chunks_embed=14),
            "Plan: 3 to create, 1 to update, 0 to move, 2 to delete (14 chunks to embed).",
        ),
        (
            Summary(update=1, chunks_embed=1),
            "Plan: 0 to create, 1 to update, 0 to move, 0 to delete (1 chunk to embed).",
        ),
        (
            Summary(move=1, repair=2),
            "Plan: 0 to create, 0 to update, 1 to move, 0 to delete, 2 to repair (0 chunks to embed).",
        ),
        (
            Summary(create=1_234_567, chunks_embed=7_654_321),
            "Plan: 1234567 to create, 0 to update, 0 to move, 0 to delete (7654321 chunks to embed).",
        ),
        (Summary(unchanged=9), "No changes. The index matches the sources."),
    ],
)
def test_the_last_line_of_a_plan_is_the_contracts(summary: Summary, line: str) -> None:
    assert plan_line(summary) == line


def test_the_last_line_of_an_apply_is_the_contracts() -> None:
    done = {"created": 3, "updated": 1, "moved": 0, "deleted": 2}
    assert applied_line(ApplyResult(**done, repaired=0)) == "Apply complete: 3 created, 1 updated, 0 moved, 2 deleted."
    assert (
        applied_line(ApplyResult(**done, repaired=1))
        == "Apply complete: 3 created, 1 updated, 0 moved, 2 deleted, 1 repaired."
    )


def test_a_console_for_a_terminal_takes_its_width() -> None:
    assert make_console(Terminal()).width == Console(file=Terminal()).width
