import inspect
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import DOCS, ROOT, blocks, code_spans, links, named, pages, read, table_rows
from docs_stage import SCENES, Stage
from error_messages import SOURCE
from typer.main import get_command

from qloader import errors
from qloader.cli.app import make_app
from qloader.config.models import GuardsConfig
from qloader.documents.document import SKIP_REASONS
from qloader.state.migrate import migrate

GROUPS = {"state", "cache"}
"""Words that a command of their own follows."""


def commands(group=None, path=()):
    """Every command by what is typed for it, e.g. `state list`."""
    group = group or get_command(make_app())
    found = {}
    for name, child in group.commands.items():
        found |= commands(child, (*path, name)) if hasattr(child, "commands") else {" ".join((*path, name)): child}
    return found


def typed_commands(text):
    """The commands that lines begin with: of `qloader state list --source docs` that is `state list`."""
    found = re.findall(r"^qloader (?:-c \S+ )?([a-z]+)(?: ([a-z]+))?", text, re.MULTILINE)
    return {f"{name} {inner}" if name in GROUPS else name for name, inner in found if name not in GROUPS or inner}


def test_what_is_generated_is_up_to_date():
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_is_on_the_commands_page(name):
    section = re.search(rf"^## qloader {name}\n(.*?)(?=^## |\Z)", read("commands.md"), re.DOTALL | re.MULTILINE)
    assert section is not None
    for parameter in commands()[name].params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if parameter.param_type_name == "option":
                assert re.search(rf"[` ,/]{option}[` ,]", section[1]), option
        assert parameter.help, f"{parameter.name} has no help"


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_command_that_a_page_names_exists(page):
    named_here = {name for code in code_spans(page) for name in typed_commands(code)}
    named_here |= {name for block in blocks(page) if block.language == "sh" for name in typed_commands(block.text)}
    assert named_here <= commands().keys()


def test_every_command_that_a_remedy_names_exists():
    texts = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")]
    said = {name for text in texts for line in re.findall(r"`(qloader [^`]+)`", text) for name in typed_commands(line)}
    assert said <= commands().keys()


def test_every_exit_code_is_explained():
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    codes = {str(kind.exit_code) for kind in classes} | {"0", "2"}
    assert {row[0].text for row in table_rows(DOCS / "commands.md") if row[0].text.isdigit()} == codes


def test_every_reason_to_skip_a_file_is_explained():
    explained = {code for page in (DOCS / "sources").glob("*.md") for code in code_spans(page)}
    assert SKIP_REASONS.keys() <= explained


def test_every_guard_is_explained():
    explained = {code for row in table_rows(DOCS / "incremental-ingestion.md") for code in row[0].codes}
    assert {f"guards.{name}" for name in GuardsConfig.model_fields} <= explained


def test_every_promise_names_the_test_that_holds_it():
    promises = [row for row in table_rows(DOCS / "reliability.md") if len(row) == 2]
    assert promises
    assert all((ROOT / row[1].codes[0]).is_file() for row in promises)


def test_every_table_of_the_state_is_explained():
    state = sqlite3.connect(":memory:", isolation_level=None)
    migrate(state, Path("state.db"))
    tables = {name for (name,) in state.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    tables -= {"sqlite_sequence"}
    explained = {row[0].codes[0] for row in table_rows(DOCS / "state-management.md") if len(row) == 3}
    assert explained == tables


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("json"))
    SCENES["a folder of Markdown"](stage)
    stage.do("qloader init && qloader ingest")
    return stage


def test_every_schema_of_an_output_is_on_the_page_of_machine_output():
    schemas = {path.relative_to(DOCS).as_posix() for path in (DOCS / "schema" / "output").iterdir()}
    assert {target for _, target in links(DOCS / "machine-output.md") if "/output/" in target} == schemas


def test_the_payload_of_a_point_is_what_the_page_says(stage):
    rows = [row for row in table_rows(DOCS / "concepts.md") if row[0].codes]
    code, output = stage.run_python(
        "import json\n"
        "from qloader import Workspace\n"
        "print(json.dumps([dict(hit.payload) for hit in Workspace.open().search('plan index deletes')]))"
    )
    assert code == 0, output
    for payload in json.loads(output):
        assert payload.keys() == {code for row in rows for code in row[0].codes}
