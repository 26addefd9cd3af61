import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata

import pytest
from docs_pages import DOCS, ROOT, table_rows

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

EXTRAS = {
    re.match(r"[\w.-]+", line)[0]
    for extra, lines in PROJECT["optional-dependencies"].items()
    for line in lines
    if extra != "dev"
}
"""Packages that only those have who ask for them."""


def required():
    """Every package of pyproject.toml, at run time and for development."""
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return sorted({re.match(r"[\w.-]+", line)[0] for line in lines})


def explained():
    """The packages on the page, each with its row."""
    return {name: row for row in table_rows(DOCS / "dependencies.md") for name in row[0].codes}


def test_every_dependency_is_explained_and_nothing_else_is():
    assert sorted(explained()) == required()


def licence(name):
    """What the installed package says of its licence, as SPDX names it."""
    facts = metadata(name)
    spelt_out = {
        "Apache Software License": "Apache-2.0",
        "MIT License": "MIT",
        "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    }
    classified = [line.rpartition(" :: ")[2] for line in facts.get_all("Classifier", []) if "License ::" in line]
    return facts["License-Expression"] or facts["License"] or " AND ".join(spelt_out[line] for line in classified)


@pytest.mark.parametrize("name", required())
def test_a_dependency_says_what_it_is_for_and_under_which_licence_it_is(name):
    row = explained()[name]
    assert row[1].text
    try:
        assert row[3].text == licence(name)
    except PackageNotFoundError:
        assert name in EXTRAS  # is not installed where nobody wants it
        assert row[3].text
