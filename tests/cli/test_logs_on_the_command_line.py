"""Logs: a record of JSON for each thing that happens, in a file or in place of what people read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from support.command_line import Prompt
from support.workspaces import write

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "log.schema.json").read_text())


def records(text: str) -> list[dict[str, Any]]:
    """Each line, held to the schema."""
    found = [json.loads(line) for line in text.splitlines()]
    for record in found:
        Draft202012Validator(SCHEMA).validate(record)
    return found


def events(found: list[dict[str, Any]]) -> list[str]:
    return [record["event"] for record in found]


def test_a_file_has_a_record_of_each_thing_with_the_run_that_it_is_of(prompt: Prompt) -> None:
    prompt.ok("ingest", "--log-file", "log.jsonl")
    found = records((prompt.folder / "log.jsonl").read_text())
    assert events(found) == ["planned", "started", "batch", "batch", "batch", "finished", "measured"]
    assert len({record["invocation"] for record in found}) == 1
    (run,) = prompt.workspace.history()
    assert [record["run"] for record in found] == [None, None, *[run.id] * 5]
    assert (found[0]["changes"], found[-2]["created"], found[-1]["documents"]) == (12, 12, 12)
    assert [record["done"] for record in found if record["event"] == "batch"] == [5, 10, 12]


def test_a_file_is_added_to_and_is_for_its_owner(prompt: Prompt) -> None:
    prompt.ok("--log-file=log.jsonl", "plan")
    prompt.ok("plan", "--log-file", "log.jsonl")
    file = prompt.folder / "log.jsonl"
    found = records(file.read_text())
    assert events(found) == ["planned", "measured"] * 2
    assert len({record["invocation"] for record in found}) == 2
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_config_names_a_file_and_what_it_leaves_out(prompt: Prompt) -> None:
    config = (prompt.folder / "qloader.yaml").read_text()
    prompt.configure(config + "monitoring: {logs: {path: logs.jsonl, level: debug}}\n")
    prompt.ok("plan", "-o", "plan.json")
    write(prompt.docs, {"page-0001.md": "# One\n\nmoved on"})
    assert prompt("apply", "plan.json").code == 1
    found = records((prompt.folder / "logs.jsonl").read_text())
    documents = {record["address"]: record for record in found if record["event"] == "document"}
    assert len(documents) == 12
    assert (documents["docs/page-0000.md"]["level"], documents["docs/page-0001.md"]["level"]) == ("debug", "warning")
    prompt.configure(config + "monitoring: {logs: {path: logs.jsonl, level: warning}}\n")
    (prompt.folder / "logs.jsonl").unlink()
    assert prompt("ingest", "--source", "nope").code == 1
    (error,) = records((prompt.folder / "logs.jsonl").read_text())
    assert (error["level"], error["message"]) == ("error", "the config has no source nope")


def test_with_json_there_is_nothing_but_records_on_stderr(prompt: Prompt) -> None:
    answer = prompt.ok("ingest", "--log-format", "json")
    found = records(answer.err)
    assert events(found) == [
        "planned", "started", "batch", "batch", "batch", "finished", "output", "measured",
    ]  # fmt: skip
    assert found[-2]["message"] == "Apply complete: 12 created, 0 updated, 0 moved, 0 deleted."
    assert answer.out == ""


def test_json_of_the_command_and_of_the_log_go_their_own_ways(prompt: Prompt) -> None:
    answer = prompt.ok("--log-format=json", "ingest", "--format", "json")
    assert [event["event"] for event in answer.events if event["event"] != "document"] == [
        "started", "batch", "batch", "batch", "finished",
    ]  # fmt: skip
    assert events(records(answer.err))[-1] == "measured"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "-c", "nope.yaml"), "there is no config nope.yaml."),
        (("plan", "--nope"), "No such option: --nope"),
        (("ingest", "--source", "nope"), "the config has no source nope"),
        (("state", "show", "docs/nope.md"), "the state has no document docs/nope.md"),
    ],
)
def test_an_error_is_one_record_whatever_it_is(prompt: Prompt, arguments: tuple[str, ...], message: str) -> None:
    answer = prompt(*arguments, "--log-format", "json")
    assert answer.code == 1
    told = [record for record in records(answer.err) if record["level"] == "error"]
    assert [record["event"] for record in told] == ["error"]
    assert told[0]["message"].startswith(message)
    assert told[0]["remedy"]


def test_a_traceback_is_records_too(prompt: Prompt) -> None:
    answer = prompt("plan", "--source", "nope", "--debug", "--log-format", "json")
    assert "Traceback (most recent call last):" in [r.get("message") for r in records(answer.err)]


def test_stderr_is_for_people_again_with_the_next_command(prompt: Prompt) -> None:
    prompt.ok("plan", "--log-format", "json")
    assert prompt.ok("plan").last.startswith("Plan: 12 to create")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--log-format", "yaml"), "Error: --log-format yaml is none"),
        (("--log-file",), "Error: --log-file needs a value"),
        (
            ("--log-file", "gone/log.jsonl"),
            "Error: --log-file: the log gone/log.jsonl cannot be written: No such file or directory",
        ),
    ],
)
def test_options_that_cannot_be_followed_are_refused(prompt: Prompt, arguments: tuple[str, ...], error: str) -> None:
    answer = prompt("plan", *arguments)
    assert (answer.code, answer.error) == (1, error)


def test_a_log_that_the_config_names_and_cannot_be_written_stops_a_run_before_it_begins(prompt: Prompt) -> None:
    config = (prompt.folder / "qloader.yaml").read_text()
    prompt.configure(config + "monitoring: {logs: {path: gone/log.jsonl}}\n")
    answer = prompt("ingest")
    assert answer.code == 1
    assert "monitoring.logs.path: the log " in answer.error
    assert prompt.workspace.history() == []


def test_what_stands_behind_two_dashes_is_no_option(prompt: Prompt) -> None:
    prompt.load()
    prompt.ok("search", "--", "--log-format")
