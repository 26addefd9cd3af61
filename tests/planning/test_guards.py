"""No combination of flags lets a silent wipe through: every damage against every way to ask for a plan."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from qloader.errors import GuardError
from qloader.planning.guards import Limits, SourceTally, check_guards
from support.command_line import Prompt, some_documents
from support.git_builder import Builder
from support.workspaces import write

CONFIG = """\
name: test
sources:
  docs: {type: files, path: docs}
  notes: {type: files, path: notes}
"""
NARROW = (["--source", "docs"], ["--source", "docs", "--source", "notes"])
"""Without `--source` every source is planned, and those that left the config are planned away."""

WIDE = ([],)


def commands(*scopes: list[str]) -> list[list[str]]:
    ways = (
        ["plan", "-o", "new.json"],
        ["plan", "-o", "new.json", "--no-cache"],
        ["plan", "-o", "new.json", "--refresh"],
        ["apply", "--auto-approve"],
        ["ingest"],
        ["ingest", "--full"],
        ["ingest", "--dry-run"],
    )
    return [[*way, *scope] for way, scope in product(ways, scopes)]


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.workspaces import plan_and_apply

    folder = tmp_path_factory.mktemp("loaded")
    for name in ("docs", "notes"):
        write(folder / name, some_documents(12))
    (folder / "qloader.yaml").write_text(CONFIG, encoding="utf-8")
    from qloader import Workspace

    plan_and_apply(Workspace.open(folder / "qloader.yaml"))
    return folder


@pytest.fixture
def two(loaded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Prompt:
    """Two sources of twelve documents each, applied."""
    subprocess.run(["cp", "-a", f"{loaded}/.", str(tmp_path)], check=True)  # the index has sparse files
    return Prompt(tmp_path, capsys, monkeypatch)


def left(prompt: Prompt) -> dict[str, int]:
    return {source.name: source.documents for source in prompt.workspace.status().sources}


def remove(prompt: Prompt, count: int, source: str = "docs") -> None:
    for path in sorted((prompt.folder / source).iterdir())[:count]:
        path.unlink()


def configure(prompt: Prompt, old: str, new: str) -> None:
    assert old in CONFIG
    prompt.configure(CONFIG.replace(old, new))


def empty_both(prompt: Prompt) -> None:
    remove(prompt, 12)
    remove(prompt, 12, "notes")


class Damage(NamedTuple):
    act: Callable[[Prompt], object]
    code: int
    says: str
    scopes: tuple[list[str], ...] = (*WIDE, *NARROW)


DAMAGES = {
    "emptied": Damage(lambda p: remove(p, 12), 3, "12 of 12 documents of docs would be deleted: the source is empty"),
    "mostly gone": Damage(lambda p: remove(p, 9), 3, "9 of 12 documents of docs would be deleted (75.0 %)"),
    "path vanished": Damage(lambda p: p.docs.rename(p.folder / "x"), 1, "cannot be read: no such file or directory"),
    "path is empty": Damage(lambda p: (remove(p, 12), p.docs.rmdir(), p.docs.mkdir()), 3, "the source is empty now"),
    "path is a file": Damage(lambda p: (shutil.rmtree(p.docs), p.docs.write_text("x")), 1, "is no folder"),
    "nothing included": Damage(
        lambda p: configure(p, "path: docs", "path: docs, include: ['*.rst']"), 3, "the source is empty now"
    ),
    "all excluded": Damage(
        lambda p: configure(p, "path: docs", "path: docs, exclude: ['*']"), 3, "the source is empty now"
    ),
    "both emptied": Damage(empty_both, 3, "documents of docs would be deleted: the source is empty now"),
    "left the config": Damage(
        lambda p: configure(p, "  docs: {type: files, path: docs}\n", ""), 3, "12 of 12 documents of docs", WIDE
    ),
    "renamed": Damage(lambda p: configure(p, "  docs: {", "  pages: {"), 3, "12 of 12 documents of docs", WIDE),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_whatever_happened_to_a_source_no_command_deletes_it_unasked(two: Prompt, name: str) -> None:
    damage = DAMAGES[name]
    damage.act(two)
    for command in commands(*damage.scopes):
        answer = two(*command)
        assert (answer.code, left(two)) == (damage.code, {"docs": 12, "notes": 12}), command
        assert damage.says in answer.err, command
        assert not (two.folder / "new.json").exists()


@pytest.mark.parametrize("edit", [("  docs: {type: files, path: docs}\n", ""), ("  docs: {", "  pages: {")])
def test_a_plan_of_one_source_leaves_those_alone_that_left_the_config(two: Prompt, edit: tuple[str, str]) -> None:
    configure(two, *edit)
    for command in commands(["--source", "notes"]):
        assert two(*command).code == 0, command
    assert left(two) == {"docs": 12, "notes": 12}


def test_the_flag_for_one_source_does_not_let_another_go(two: Prompt) -> None:
    empty_both(two)
    for command in commands(["--allow-deletes", "docs"]):
        answer = two(*command)
        assert (answer.code, left(two)) == (3, {"docs": 12, "notes": 12}), command
        assert "documents of notes would be deleted" in answer.err
        assert "documents of docs would be deleted" not in answer.err


def test_the_flag_holds_for_one_plan_and_not_for_the_next(two: Prompt) -> None:
    remove(two, 9)
    two.ok("ingest", "--allow-deletes", "docs")
    assert left(two) == {"docs": 3, "notes": 12}
    remove(two, 9, "notes")
    assert two("ingest").code == 3


@pytest.mark.parametrize("options", [[], ["--allow-deletes", "docs"]])
def test_an_incomplete_listing_deletes_nothing_even_if_it_were_allowed(two: Prompt, options: list[str]) -> None:
    remove(two, 12)
    dig_too_deep(two.docs)
    for command in commands(*([*scope, *options] for scope in (*WIDE, *NARROW))):
        answer = two(*command)
        assert (answer.code, left(two)) == (0, {"docs": 12, "notes": 12}), command


def dig_too_deep(folder: Path) -> None:
    """Folders in folders until no path reaches the last: what not even root can list."""
    with contextlib.chdir(folder):
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)


def test_prevent_destroy_holds_whatever_is_allowed(two: Prompt) -> None:
    two.configure(CONFIG + "guards: {prevent_destroy: true, max_delete_percent: null}\n")
    remove(two, 12)
    for command in (*commands([], ["--allow-deletes", "docs"]), ["destroy", "--auto-approve"]):
        answer = two(*command)
        assert (answer.code, left(two)) == (3, {"docs": 12, "notes": 12}), command
        assert "all 12 documents of docs would be deleted; guards.prevent_destroy is set" in answer.err


def test_an_emptied_source_needs_the_flag_where_no_percentage_is_set(two: Prompt) -> None:
    two.configure(CONFIG + "guards: {max_delete_percent: null}\n")
    remove(two, 12)
    for command in commands(*WIDE, *NARROW):
        assert two(*command).code == 3, command
    two.ok("ingest", "--allow-deletes", "docs")
    assert left(two) == {"docs": 0, "notes": 12}


def test_max_update_percent_holds_whatever_is_allowed(two: Prompt) -> None:
    two.configure(CONFIG + "guards: {max_update_percent: 20}\n")
    write(two.docs, {f"page-000{n}.md": f"# {n}\n\nrewritten" for n in range(3)})
    for command in commands([], ["--allow-deletes", "docs"], *NARROW):
        answer = two(*command)
        assert (answer.code, left(two)) == (3, {"docs": 12, "notes": 12}), command
        assert "3 of 12 documents of docs would be updated (25.0 %)" in answer.err


# The pure function


def refused(tally: SourceTally, limits: Limits | None = None, **options: object) -> bool:
    try:
        check_guards({"docs": tally}, limits or Limits(), **options)
    except GuardError:
        return True
    return False


@pytest.mark.parametrize(
    ("documents", "deletes", "is_refused"),
    [(9, 8, False), (10, 2, False), (10, 3, True), (100, 25, False), (100, 26, True), (0, 0, False)],
)
def test_the_share_counts_from_ten_documents_on(documents: int, deletes: int, is_refused: bool) -> None:
    assert refused(SourceTally(documents, deletes=deletes)) is is_refused


@pytest.mark.parametrize(
    ("options", "is_refused"),
    [
        ({}, False),
        ({"strangers": ["docs"]}, True),
        ({"strangers": ["docs"], "allowed": ["docs"]}, False),
        ({"strangers": ["docs"], "allowed": ["notes"]}, True),
        ({"strangers": ["notes"]}, False),
    ],
)
def test_another_source_under_the_name_is_refused_for_any_change(options: dict, is_refused: bool) -> None:
    for tally in (SourceTally(5, deletes=1), SourceTally(5, updates=1), SourceTally(5, others=1)):
        assert refused(tally, **options) is is_refused
    assert not refused(SourceTally(5), **options)


@pytest.mark.parametrize("limits", [Limits(), Limits(max_delete_percent=None), Limits(max_delete_percent=100)])
def test_a_source_of_another_type_may_delete_nothing_unless_it_is_allowed(limits: Limits) -> None:
    tally = SourceTally(3, deletes=1, others=3)
    assert refused(tally, limits, retyped=["docs"])
    assert not refused(tally, limits, retyped=["notes"])
    assert not refused(tally, limits, retyped=["docs"], allowed=["docs"])
    assert not refused(SourceTally(3, updates=3), limits, retyped=["docs"])


def test_a_small_source_of_another_type_now_is_refused_when_planned_and_when_applied(two: Prompt) -> None:
    remove(two, 9)
    two.ok("ingest", "--allow-deletes", "docs")
    repository = two.docs.parent / "repository"
    with Builder(repository) as builder:
        builder.commit({"other.md": "# Other\n\nsomething else"})
    config = CONFIG.replace("{type: files, path: docs}", "{type: git, url: repository}")
    two.configure(config + "guards: {max_delete_percent: null}\n")
    for command in commands(*WIDE, *NARROW):
        answer = two(*command)
        assert (answer.code, left(two)) == (3, {"docs": 3, "notes": 12}), command
        assert "3 of 3 documents of docs would be deleted: the source is of another type now" in answer.err
    result = two.workspace.plan(two.docs.parent / "refused.json")  # the Python API writes what is refused, too
    with pytest.raises(GuardError, match="of another type now"):
        two.workspace.apply(result.plan)
    two.ok("ingest", "--allow-deletes", "docs")
    assert left(two) == {"docs": 1, "notes": 12}
