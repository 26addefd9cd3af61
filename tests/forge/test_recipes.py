"""The recipes as files: what the forges' own schemas say of them, and what must never be in them."""

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

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
