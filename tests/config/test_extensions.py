"""The door for sources of other packages: what comes through it, and what is said of those that do not fit."""

import os
import subprocess
import sys

import pytest

from qloader import Workspace
from qloader.cli.app import run
from qloader.config.extensions import SOURCES, find_extension
from qloader.config.load import load_config
from qloader.errors import ConfigError
from support.packages import install

MODULE = """\
from typing import Literal
from pydantic import Field, model_validator
from qloader.config.extensions import SourceType
from qloader.config.fields import Secret, Section
from qloader.documents.document import Document
from qloader.sources.protocol import Item, Listing


class Config(Section):
    type: Literal["numbers"]
    count: int = Field(ge=0, description="How many numbers there are; from 0 on.")
    token: Secret = None

    @model_validator(mode="after")
    def check(self):
        if self.count == 13:
            raise ValueError("expected a count that brings no bad luck")
        return self


class Numbers:
    type = "numbers"

    def __init__(self, opening):
        self.name = opening.name
        self.count = opening.config.count

    def identity(self):
        return "numbers"

    def confirms(self, identity):
        return True

    def selection(self):
        return "1"

    def proof(self):
        return None

    def list(self):
        return Listing(items=(Item(str(n), "1") for n in range(self.count)))

    def fetch(self, ids, *, revision=None):
        for one in ids:
            yield Document(id=one, title=one, uri=one, text=f"Number {one}.", revision="1", bytes=9)


SOURCE = SourceType(config=Config, open=Numbers)
"""

CONFIG = """\
name: test
index: {path: .qloader/index}
sources:
  some:
    type: numbers
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder on the way that Python looks for packages."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    find_extension.cache_clear()
    yield folder
    find_extension.cache_clear()
    for name in ("numbers_source", "broken_source"):
        sys.modules.pop(name, None)


@pytest.fixture
def numbers(packages):
    install(packages, "qloader-numbers", {"numbers_source": MODULE}, {SOURCES: {"numbers": "numbers_source:SOURCE"}})
    return packages


def config(tmp_path, text):
    file = tmp_path / "qloader.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def error_of(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load_config(config(tmp_path, text))
    return caught.value


def test_a_type_of_another_package_is_planned_like_any_other(numbers, tmp_path):
    workspace = Workspace.open(config(tmp_path, CONFIG + "    count: 3\n"))
    with workspace.temporary_plan() as result:
        assert (result.plan.header.summary.create, result.plan.header.sources[0].type) == (3, "numbers")
        assert workspace.apply(result.plan).created == 3
    with workspace.temporary_plan() as result:
        assert result.plan.header.summary.unchanged == 3


def test_many_documents_of_such_a_type_are_read_too(numbers, tmp_path, monkeypatch):
    from qloader.workspace import readers

    monkeypatch.setattr(readers, "READERS_FROM", 5)
    workspace = Workspace.open(config(tmp_path, CONFIG + "    count: 20\n"))
    with workspace.temporary_plan() as result:
        assert result.plan.header.summary.create == 20


def test_a_missing_key_is_named_with_its_line_and_meaning(numbers, tmp_path):
    error = error_of(tmp_path, CONFIG)
    assert "qloader.yaml:4: sources.some.count: this key is missing: how many numbers there are" in str(error)


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_one(numbers, tmp_path):
    error = error_of(tmp_path, CONFIG + "    count: 1\n    tokn: x\n")
    assert 'qloader.yaml:7: sources.some.tokn: unknown key; did you mean "token"?' in str(error)


def test_wrong_values_are_named_with_their_lines_and_secrets_are_not_shown(numbers, tmp_path):
    error = error_of(tmp_path, CONFIG + "    count: many\n    token: [hunter2]\n")
    assert 'qloader.yaml:6: sources.some.count: expected a whole number; found "many"' in str(error)
    assert "qloader.yaml:7: sources.some.token: expected text; found a list" in str(error)
    assert "hunter2" not in str(error)


def test_what_its_model_says_of_the_section_as_a_whole_is_handed_on(numbers, tmp_path):
    error = error_of(tmp_path, CONFIG + "    count: 13\n")
    assert "qloader.yaml:4: sources.some: expected a count that brings no bad luck" in str(error)


def test_mistakes_of_its_section_and_of_others_are_told_together(numbers, tmp_path):
    text = CONFIG + "    count: -1\n  docs: {type: files, pth: docs}\n"
    error = str(error_of(tmp_path, text))
    assert "sources.some.count: expected at least 0" in error
    assert 'sources.docs.pth: unknown key; did you mean "path"?' in error


def test_an_unknown_type_is_answered_with_all_there_are(numbers, tmp_path):
    error = error_of(tmp_path, CONFIG.replace("numbers", "carrier pigeons"))
    assert "qloader.yaml:5: sources.some.type: unknown source type; the types are files, git, " in str(error)
    assert str(error).partition("the types are ")[2].partition(";")[0].endswith(", numbers")


def test_a_type_that_is_nearly_right_is_put_right(numbers, tmp_path):
    error = error_of(tmp_path, CONFIG.replace("numbers", "number"))
    assert 'unknown source type; did you mean "numbers"?' in str(error)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("import no_such_module_anywhere\n", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("def broken(:\n", "SyntaxError"),
        ("raise RuntimeError('out of order')\n", "RuntimeError: out of order"),
        ("OTHER = 1\n", "AttributeError"),
    ],
    ids=["its import fails", "it is no Python", "it raises", "it has no such name"],
)
def test_a_package_that_cannot_be_loaded_is_named_with_the_reason(packages, tmp_path, module, says):
    install(packages, "qloader-numbers", {"broken_source": module}, {SOURCES: {"numbers": "broken_source:SOURCE"}})
    error = error_of(tmp_path, CONFIG)
    assert "the source type numbers of the package qloader-numbers cannot be loaded: " in str(error)
    assert says in str(error)
    assert error.remedy == "Repair or reinstall qloader-numbers, or take the source out of the config."


def test_what_is_no_source_type_is_refused(packages, tmp_path):
    install(
        packages,
        "qloader-numbers",
        {"broken_source": "SOURCE = dict\n"},
        {SOURCES: {"numbers": "broken_source:SOURCE"}},
    )
    error = error_of(tmp_path, CONFIG)
    assert str(error) == "the source type numbers of the package qloader-numbers is no SourceType but type"
    assert "docs/sources/writing-a-source.md" in error.remedy


@pytest.mark.parametrize("made", ["config=dict, open=print", "config=Section, open=None"])
def test_a_source_type_of_the_wrong_parts_is_refused(packages, tmp_path, made):
    module = (
        "from qloader.config.extensions import SourceType\nfrom qloader.config.fields import Section\n"
        f"SOURCE = SourceType({made})\n"
    )
    install(packages, "qloader-numbers", {"broken_source": module}, {SOURCES: {"numbers": "broken_source:SOURCE"}})
    error = error_of(tmp_path, CONFIG)
    assert "needs a subclass of Section as config, and a function as open" in str(error)
    assert "docs/sources/writing-a-source.md" in error.remedy


def test_a_package_may_not_take_the_place_of_a_type_of_qloader(packages, tmp_path):
    install(
        packages,
        "qloader-files",
        {"broken_source": "raise SystemExit(3)\n"},
        {SOURCES: {"files": "broken_source:SOURCE"}},
    )
    loaded = load_config(config(tmp_path, "name: test\nsources:\n  docs: {type: files, path: .}\n"))
    assert type(loaded.sources["docs"]).__name__ == "FilesSourceConfig"


def test_nothing_is_imported_of_a_package_whose_type_no_config_names(packages, tmp_path):
    install(
        packages,
        "qloader-numbers",
        {"broken_source": "raise SystemExit(3)\n"},
        {SOURCES: {"numbers": "broken_source:S"}},
    )
    (tmp_path / "docs").mkdir()
    config(tmp_path, "name: test\nsources:\n  docs: {type: files, path: docs}\n")
    done = subprocess.run(
        [sys.executable, "-m", "qloader", "plan"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(packages), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("when", ["import", "listing"])
def test_a_package_that_ends_the_program_is_an_error_and_what_it_prints_is_no_json(packages, tmp_path, capsys, when):
    module = MODULE.replace("        return Listing", "        raise SystemExit(0)\n        return Listing")
    if when == "import":
        module = f"print('loud')\nraise SystemExit(0)\n{MODULE}"
    install(packages, "qloader-numbers", {"numbers_source": module}, {SOURCES: {"numbers": "numbers_source:SOURCE"}})
    file = config(tmp_path, CONFIG + "    count: 3\n")
    assert run(["plan", "-c", str(file), "--format", "json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        ("cannot be loaded: SystemExit: 0" in err) if when == "import" else ("ended the program (exit code 0)" in err)
    )
