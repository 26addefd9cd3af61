"""What a command writes where somebody says replaces a file of its own kind: never a config, a document, a state."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.command_line import Prompt

STATE = ".qloader/state.db"
WAYS = {
    "plan": (("plan", "-o"), ()),
    "profile": (("plan", "--profile"), ()),
    "log": (("--log-file",), ("plan",)),
    "export": (("cache", "export"), ()),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["qloader.yaml", "docs/page-0001.md", STATE, "own.json", "own.toml", "own.md"])
def test_what_is_something_else_is_left_as_it_is(applied: Prompt, way: str, target: str) -> None:
    (applied.folder / "own.json").write_text('{"level": "a plan is \\"qloader.plan/1\\"", "items": [\n{}]}\n')
    (applied.folder / "own.toml").write_text("[project]\nname = 'own'\n")
    (applied.folder / "own.md").write_text("[![a picture](picture.png)](#)\n\nqloader.plan/1 is the format of plans.\n")
    before = (applied.folder / target).read_bytes()
    (first, rest) = WAYS[way]
    answer = applied(*first, target, *rest)
    assert answer.code == 1
    assert answer.error.startswith(f"Error: {target} exists and is no ")
    assert answer.remedy.startswith("Name another file")
    assert (applied.folder / target).read_bytes() == before


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_file_and_one_of_the_same_kind_are_replaced(applied: Prompt, way: str) -> None:
    (applied.folder / "out").touch()
    (first, rest) = WAYS[way]
    for _ in range(2):
        applied.ok(*first, "out", *rest)
        assert (applied.folder / "out").stat().st_size


def test_a_plan_that_was_damaged_or_formatted_anew_is_replaced(prompt: Prompt) -> None:
    prompt.ok("plan", "-o", "plan.json")
    plan = prompt.folder / "plan.json"
    whole = plan.read_bytes()
    for damaged in (whole[:200], whole.replace(b"\n", b"\r\n"), json.dumps(json.loads(whole), indent=4).encode()):
        plan.write_bytes(damaged)
        prompt.ok("plan", "-o", "plan.json")
        assert plan.read_bytes() == whole


def test_an_export_is_not_the_cache_itself(applied: Prompt) -> None:
    cache = Path(applied.ok("cache", "stats", "--format", "json").json["path"])
    assert "exists and is no exported cache" in applied("cache", "export", cache).error


def test_a_dash_is_no_file(prompt: Prompt) -> None:
    for command in (["plan", "-o", "-"], ["apply", "-"]):
        assert "- names no file" in prompt(*command).error
    assert "-" not in os.listdir(prompt.folder)
    prompt.ok("plan", "-o", "./-")
    assert (prompt.folder / "-").exists()


def test_a_folder_of_saved_plans_that_is_not_there_is_told(applied: Prompt) -> None:
    answer = applied("history", "--plans", "nosuch")
    assert (answer.code, answer.error) == (1, "Error: --plans nosuch is no folder")
