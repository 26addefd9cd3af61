"""Empty values and stray variables on the command line: refused by name, never taken for something else."""

from __future__ import annotations

import inspect
import os
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from qloader.cli.app import make_app, shared_options
from qloader.cli.common import read_path
from support.command_line import Prompt


def functions_of(app: typer.Typer) -> Iterator[Callable[..., Any]]:
    yield from (command.callback for command in app.registered_commands if command.callback)
    for group in app.registered_groups:
        yield from functions_of(group.typer_instance)


def paths_of(function: Callable[..., Any]) -> dict[str, Any]:
    """What Typer is told of each parameter that is a path."""
    hints = typing.get_type_hints(function, vars(inspect.getmodule(function)) | {"Any": Any}, include_extras=True)
    found = {}
    for name, hint in hints.items():
        kinds = typing.get_args(hint)
        if typing.get_origin(hint) is typing.Annotated and Path in (kinds[0], *typing.get_args(kinds[0])):
            found[name] = kinds[1]
    return found


def test_every_path_of_every_command_is_read_by_what_refuses_an_empty_one() -> None:
    count = 0
    for function in (shared_options, *functions_of(make_app())):
        for name, info in paths_of(function).items():
            assert info.parser is read_path, f"{function.__module__}: {name}"
            count += 1
    assert count > 30


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("plan", "-o", ""), "'--output' / '-o'"),
        (("plan", "--save="), "'--save'"),
        (("-c", "", "plan"), "'--config' / '-c'"),
        (("apply", ""), "PLAN"),
        (("init", ""), "FOLDER"),
        (("cache", "export", ""), "FILE"),
    ],
)
def test_an_empty_path_is_refused_by_the_name_of_its_option(
    prompt: Prompt, arguments: tuple[str, ...], name: str
) -> None:
    before = sorted(os.listdir(prompt.folder))
    answer = prompt(*arguments)
    assert answer.code == 1
    assert "an empty value names no file or folder" in answer.error
    assert name in answer.error
    assert answer.remedy.startswith("See `qloader ")
    assert sorted(os.listdir(prompt.folder)) == before


@pytest.mark.parametrize("query", ["", "  ", "\t\n"])
def test_a_search_for_nothing_is_refused(applied: Prompt, query: str) -> None:
    answer = applied("search", query)
    assert answer.code == 1
    assert "there is nothing to look for: write some words" in answer.error
    assert answer.out == ""


@pytest.mark.parametrize(
    "stray",
    [
        {"_QLOADER_COMPLETE": "nonsense"},
        {"_QLOADER_COMPLETE": "complete_nosuch"},
        {"_QLOADER_COMPLETE": "complete_bash"},
        {"_QLOADER_COMPLETE": "complete_bash", "COMP_WORDS": "qloader", "COMP_CWORD": "first"},
    ],
)
def test_a_stray_variable_of_completion_is_named(
    prompt: Prompt, stray: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMP_WORDS", "COMP_CWORD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in stray.items():
        monkeypatch.setenv(name, value)
    answer = prompt("status")
    assert answer.code == 1
    assert answer.error.startswith(f"Error: the variable _QLOADER_COMPLETE is '{stray['_QLOADER_COMPLETE']}'")
    assert answer.remedy.startswith("Unset _QLOADER_COMPLETE")
    assert "unexpected" not in answer.err


def test_an_empty_variable_of_completion_is_none(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_QLOADER_COMPLETE", "")
    assert prompt("plan").code == 0
