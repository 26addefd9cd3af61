"""docs/embedding.md held to the program: its configs are embedders, its example is installed, opened and tested."""

import os
import subprocess
import sys
import tomllib

import pytest
import yaml
from docs_pages import DOCS, blocks

from qloader.config.embedders import EMBEDDER_TYPES
from qloader.config.extensions import EMBEDDERS, find_embedder
from qloader.embedding.dense import protocol
from support.embedders import embedder_of, section_of
from support.packages import install

PAGE = DOCS / "embedding.md"


def block(language, number=0):
    return [one.text for one in blocks(PAGE) if one.language == language][number]


@pytest.fixture
def packages(tmp_path, monkeypatch):
    folder = tmp_path / "packages"
    project = tomllib.loads(block("toml"))["project"]
    install(folder, project["name"], {"qloader_hashing": block("python")}, project["entry-points"])
    assert project["entry-points"].keys() == {EMBEDDERS}
    monkeypatch.syspath_prepend(folder)
    find_embedder.cache_clear()
    yield folder
    find_embedder.cache_clear()
    sys.modules.pop("qloader_hashing", None)


def test_every_config_of_the_page_is_an_embedder_and_every_provider_is_there():
    sections = [section_of(**keys) for keys in yaml.safe_load(block("yml")).values()]
    assert {section.provider for section in sections} == EMBEDDER_TYPES.keys()
    for section in sections:
        embedder_of(section).close()


def test_the_example_is_opened_by_a_config_and_embeds(packages):
    embedder = embedder_of(section_of(provider="hashing", model="words"))
    one, other, tram = embedder.embed(["apples and walnuts", "walnuts and apples!", "the tram is late"])
    assert one @ other > 0.99
    assert one @ tram < 0.5
    assert len(embedder.embed_query("walnuts")) == embedder.dim == 256


def test_the_example_passes_the_contract_suite(packages, tmp_path):
    (tmp_path / "test_hashing.py").write_text(block("python", 1), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hashing.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_the_page_names_every_method_of_the_protocols():
    kinds = (protocol.DenseProvider, protocol.CountsCost, protocol.CountsTokens)
    names = {name for kind in kinds for name in vars(kind) if not name.startswith("_")}
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}" not in text] == []


def test_the_page_names_every_provider():
    assert [name for name in EMBEDDER_TYPES if f"| `{name}` |" not in PAGE.read_text(encoding="utf-8")] == []
