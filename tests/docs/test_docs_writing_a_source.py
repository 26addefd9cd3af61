"""The example of docs/sources/writing-a-source.md, installed and used as a stranger would."""

import json
import os
import sqlite3
import subprocess
import sys
import tomllib

import pytest
from docs_pages import DOCS, blocks

from support.packages import install

PAGE = DOCS / "sources" / "writing-a-source.md"


def block(language, number=0):
    return [one.text for one in blocks(PAGE) if one.language == language][number]


class Stranger:
    """A folder with the package installed beside it, and what runs there."""

    def __init__(self, folder):
        self.folder = folder
        self.packages = folder / "packages"
        project = tomllib.loads(block("toml"))["project"]
        install(self.packages, project["name"], {"qloader_articles": block("python")}, project["entry-points"])
        (folder / "qloader.yaml").write_text(block("yml"), encoding="utf-8")
        self.change(block("sql"))

    def change(self, sql, *values):
        connection = sqlite3.connect(self.folder / "articles.db")
        with connection:
            connection.execute(sql, values)
        connection.close()

    def publish(self, slug, title, body):
        self.change("INSERT INTO article (slug, title, body, desk) VALUES (?, ?, ?, 'city')", slug, title, body)

    def run(self, *command):
        environment = {**os.environ, "PYTHONPATH": str(self.packages), "HOME": str(self.folder)}
        return subprocess.run(
            [sys.executable, "-W", "error::UserWarning", "-m", *command],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def qloader(self, *arguments):
        done = self.run("qloader", *arguments)
        assert done.returncode == 0, done.stderr
        return done


@pytest.fixture
def stranger(tmp_path):
    return Stranger(tmp_path)


def last_line(done):
    return done.stderr.rstrip().rpartition("\n")[2]


def test_the_example_is_planned_applied_and_searched(stranger):
    stranger.publish("tram", "The tram is late", "The tram of line 5 stands at the depot.")
    stranger.publish("market", "Market day", "Apples and walnuts on the square.")
    assert "news" in stranger.qloader("validate").stderr
    assert last_line(stranger.qloader("plan", "-o", "plan.json")).startswith("Plan: 2 to create")
    assert last_line(stranger.qloader("apply", "plan.json")).startswith("Apply complete: 2 created")
    hits = json.loads(stranger.qloader("search", "walnuts", "--format", "json").stdout)["hits"]
    assert hits[0]["address"] == "news/market"
    assert hits[0]["uri"] == "articles/market"

    stranger.change("UPDATE article SET title = 'No tram', version = version + 1 WHERE slug = 'tram'")
    stranger.change("UPDATE article SET slug = 'archive/market' WHERE slug = 'market'")
    assert last_line(stranger.qloader("ingest")).startswith("Apply complete: 0 created, 1 updated, 1 moved, 0 deleted")
    assert last_line(stranger.qloader("plan")).startswith("No changes.")


def test_the_example_passes_the_contract_suite(stranger):
    (stranger.folder / "test_articles.py").write_text(block("python", 1), encoding="utf-8")
    done = stranger.run("pytest", "-q", "-p", "no:cacheprovider", "test_articles.py")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_the_table_of_the_page_and_that_of_its_tests_are_one():
    assert block("sql").strip() in block("python", 1)


def test_the_example_is_short():
    assert len([line for line in block("python").splitlines() if line.strip()]) <= 85


def test_the_page_names_every_method_of_the_protocol():
    from qloader.sources import protocol

    methods = {
        name
        for kind in (
            protocol.Source,
            protocol.ListsChanges,
            protocol.ListsChangesAfter,
            protocol.Checks,
            protocol.Rereads,
        )
        for name in vars(kind)
        if callable(getattr(kind, name)) and not name.startswith("_")
    }
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in methods if f"`{name}(" not in text] == []
