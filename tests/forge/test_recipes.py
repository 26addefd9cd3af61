"""The recipes as files: what the forges' own schemas say of them, and what must never be in them."""

import json
import os
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from support.actions import Runner

ROOT = Path(__file__).parents[2]
RECIPES = {
    "action.yml": "github-actions.json",
    "ci/github.yml": "github-workflows.json",
    "ci/gitlab.yml": "gitlab-ci.json",
}


def schema_of(name):
    return json.loads((files("check_jsonschema") / "builtin_schemas" / "vendor" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("recipe", "schema"), RECIPES.items())
def test_a_recipe_is_what_its_forge_s_schema_says(recipe, schema):
    text = (ROOT / recipe).read_text(encoding="utf-8")
    described = {str(key) if key is not True else "on": value for key, value in yaml.safe_load(text).items()}
    validator = jsonschema.validators.validator_for(schema_of(schema))(schema_of(schema))
    assert [error.message for error in validator.iter_errors(described)] == []


def test_the_workflow_gives_the_action_inputs_that_it_has():
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((ROOT / "ci/github.yml").read_text(encoding="utf-8"))
    steps = [s for job in workflow["jobs"].values() for s in job["steps"] if s["uses"].startswith("qloader/")]
    assert {step["with"]["command"] for step in steps} == {"plan", "apply"}
    assert all(step["with"].keys() <= action["inputs"].keys() for step in steps)


def test_the_job_of_a_pull_request_may_only_read_and_comment():
    workflow = yaml.safe_load((ROOT / "ci/github.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["plan"]["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "QDRANT_API_KEY" not in str(workflow["jobs"]["plan"])
    assert "pull_request_target" not in str(workflow)


STAND_IN = """#!/bin/sh
case $1 in
  show) ;;
  *) for argument in "$@"; do printf '<%s>' "$argument"; done; echo ;;
esac
[ "$1" != plan ] || printf '{\\n"format": "qloader.plan/1",\\n"added": "later",\\n"name": "a.b-c_1",\\n' > "$5"
"""
"""Tells what the action calls, and writes the head of a plan to which a key was added."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ""),
        ("  ", ""),
        ("--only docs/** --exclude *", "<--only><docs/**><--exclude><*>"),
        ("--only 'a b.md' --target \"docs/it's.md\"", "<--only><a b.md><--target><docs/it's.md>"),
        ("--source docs\n--source wiki\n", "<--source><docs><--source><wiki>"),
        ("$(id) `id` $HOME ;", "<$(id)><`id`><$HOME><;>"),
    ],
)
def test_the_action_takes_arguments_as_a_shell_does_and_expands_nothing(tmp_path, arguments, words):
    runner = stand_in(tmp_path)
    kept = {}
    runner.uses = {"actions/upload-artifact": kept.update}
    assert runner.run(ROOT / "action.yml", command="plan", version="none", arguments=arguments) == 0
    assert runner.log.endswith(f"<--comment><--detailed-exitcode>{words}\n")
    assert kept["name"] == "qloader-plan-a.b-c_1"
    assert runner.run(ROOT / "action.yml", command="apply", version="none", arguments=arguments) == 0
    assert runner.log.endswith(f"<apply><-c><qloader.yaml><--reviewed>{words}\n")


def test_the_action_runs_nothing_where_a_quote_does_not_end(tmp_path):
    runner = stand_in(tmp_path)
    assert runner.run(ROOT / "action.yml", command="apply", version="none", arguments="--only 'a b") != 0
    assert "<apply>" not in runner.log


def stand_in(folder):
    program = folder / "bin" / "qloader"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    path = os.pathsep.join((str(program.parent), os.environ["PATH"]))
    return Runner(folder, folder, {"GITHUB_RUN_ID": "1", "PATH": path})
