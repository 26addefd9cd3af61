import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from qloader.config.embedders import EMBEDDER_TYPES, DenseBatch, DenseLimits
from qloader.config.load import load_config
from qloader.config.models import Config
from qloader.config.monitoring import MonitoringConfig, OtlpConfig
from qloader.config.policies import PolicyConfig
from qloader.config.reference import main
from qloader.config.rerankers import RERANKER_TYPES
from qloader.config.schema import build_schema
from qloader.config.sources import SOURCE_TYPES
from qloader.config.watching import WatchConfig
from qloader.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SCHEMA = Draft202012Validator(build_schema())


def blocks():
    """Every YAML block of the docs that is a config, or a part of one."""
    found = []
    for page in sorted([*DOCS.rglob("*.md"), DOCS.parent / "README.md"]):
        if not page.exists():
            continue
        for number, text in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1):
            keys = set(re.findall(r"^(\w+):", text, re.MULTILINE))
            if keys and keys <= Config.model_fields.keys():
                found.append(pytest.param(text, id=f"{page.relative_to(DOCS.parent)}-{number}"))
    return found


def full_example():
    return BLOCK.findall((DOCS / "configuration.md").read_text(encoding="utf-8"))[1]


class AnyVariable(dict):
    """An environment in which every variable of an example is set."""

    def get(self, name, default=None):
        if name.startswith("QLOADER"):
            return default
        return "http://localhost:6333" if name.endswith("_URL") else "value"


def whole(text):
    """A part of a config with what it lacks."""
    keys = re.findall(r"^(\w+):", text, re.MULTILINE)
    if "name" not in keys:
        text = f"name: example\n{text}"
    return text if "sources" in keys else f"{text}\nsources: {{docs: {{type: git}}}}\n"


def as_editors_read(text):
    return yaml.safe_load(re.sub(r"(?<!['\"\w])\$\{[^}]*\}", lambda match: f'"{match[0]}"', text))


def test_the_committed_reference_and_schema_are_up_to_date(capsys):
    assert main(["--check", "--docs", str(DOCS)]) == 0, capsys.readouterr().err


def test_an_outdated_page_fails_the_check_and_is_mended_by_write(tmp_path, capsys):
    shutil.copy(DOCS / "configuration.md", tmp_path)
    page = tmp_path / "configuration.md"
    fresh = page.read_text(encoding="utf-8")
    page.write_text(fresh.replace("| `max_chars` |", "| `max_char` |"), encoding="utf-8")
    assert main(["--check", "--docs", str(tmp_path)]) == 1
    assert "configuration.md: out of date" in capsys.readouterr().err
    assert main(["--write", "--docs", str(tmp_path)]) == 0
    assert page.read_text(encoding="utf-8") == fresh
    assert main(["--check", "--docs", str(tmp_path)]) == 0


def tables():
    """The rows of the reference, key and meaning, by the titles of the tables."""
    page = (DOCS / "configuration.md").read_text(encoding="utf-8").partition("## All keys")[2]
    sections = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    return {
        section.partition("\n")[0]: re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", section, re.MULTILINE)
        for section in sections
    }


def is_of_a_provider(title):
    return title.startswith(("`embedding.dense`", "`search.rerank`"))


def test_the_reference_has_a_row_for_each_key_with_a_meaning():
    rows = [row for title, found in tables().items() if not is_of_a_provider(title) for row in found]
    expected = []

    def collect(model):
        for key, field in model.model_fields.items():
            assert field.description, key
            expected.append(key)
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                collect(field.annotation)

    collect(Config)
    for model in (
        *SOURCE_TYPES.values(),
        PolicyConfig,
        WatchConfig,
        MonitoringConfig,
        OtlpConfig,
        DenseBatch,
        DenseLimits,
    ):
        collect(model)
    assert sorted(key for key, _ in rows) == sorted(expected)
    assert all(meaning.strip() for found in tables().values() for _, meaning in found)


@pytest.mark.parametrize(
    ("section", "provider", "model"),
    [("embedding.dense", *item) for item in EMBEDDER_TYPES.items()]
    + [("search.rerank", *item) for item in RERANKER_TYPES.items()],
)
def test_every_key_of_a_provider_is_in_the_tables_for_it(section, provider, model):
    found = {
        key
        for title, rows in tables().items()
        if title.startswith(f"`{section}`")
        and ("whatever" in title or f"`{provider}`" in title or f": {provider}`" in title)
        for key, _ in rows
    }
    assert found == model.model_fields.keys()


@pytest.mark.parametrize("text", blocks())
def test_every_example_in_the_docs_loads_and_pleases_editors(tmp_path, text):
    (tmp_path / "qloader.yaml").write_text(whole(text), encoding="utf-8")
    load_config(tmp_path / "qloader.yaml", env=AnyVariable())
    errors = [error.message for error in SCHEMA.iter_errors(as_editors_read(whole(text)))]
    assert errors == []


def test_the_full_example_names_every_key_there_is():
    text = full_example()
    models = [Config, *SOURCE_TYPES.values(), PolicyConfig, WatchConfig]
    while models:
        model = models.pop()
        for key, field in model.model_fields.items():
            assert re.search(rf"\b{key}:", text), key
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                models.append(field.annotation)


def test_the_values_of_the_full_example_are_the_defaults_where_it_says_nothing_else(tmp_path):
    (tmp_path / "full.yaml").write_text(full_example(), encoding="utf-8")
    (tmp_path / "bare.yaml").write_text("name: handbook\nsources: {docs: {type: git}}\n", encoding="utf-8")
    full = load_config(tmp_path / "full.yaml", env={"WIKI_TOKEN": "t"})
    bare = load_config(tmp_path / "bare.yaml", env={})
    for section in ("index", "state", "chunking", "embedding", "guards", "ingestion"):
        assert getattr(full, section) == getattr(bare, section)


def test_the_mistakes_in_the_page_are_what_is_really_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qloader.yaml").write_text(
        "name: x\n\n\nsources:\n\n  docs:\n    type: git\n    inclde: []\n\n\nguards:\n  max_delete_percent: 25%\n\n"
        "index:\n  api_key: ${QDRANT_API_KEY}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(env={})
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert f"```text\n{caught.value}\n```" in page


def test_the_schema_is_valid_itself():
    Draft202012Validator.check_schema(build_schema())
    assert json.loads((DOCS / "schema" / "config.schema.json").read_text(encoding="utf-8")) == build_schema()


@pytest.mark.parametrize(
    "text",
    [
        "name: x\n",
        "name: a/b\nsources: {d: {type: git}}\n",
        "name: x\nsources: {}\n",
        "name: x\nsources: {a/b: {type: git}}\n",
        "name: x\nsources: {d: {type: ftp}}\n",
        "name: x\nsources: {d: {type: files}}\n",
        "name: x\nsources: {d: {type: git, inclde: []}}\n",
        "name: x\nsources: {d: {type: git, max_bytes: 10XB}}\n",
        "name: x\nsources: {d: {type: git}}\nchunking: {max_chars: 5}\n",
        "name: x\nsources: {d: {type: git}}\nembedding: {language: klingon}\n",
        "name: x\nsources: {d: {type: git}}\nindex: {timeout: soon}\n",
        "name: x\nsources: {d: {type: git}}\nstate: {permissions: rw}\n",
        "name: x\nsources: {d: {type: git}}\nguards: {max_delete_percent: 101}\n",
        "name: x\nsources: {d: {type: git}}\npolicies: {p: {max_delete: 1}}\n",
        "name: x\nsources: {d: {type: git}}\npolicies: {p: {sources: [d], effect: deni}}\n",
        "name: x\nsources: {d: {type: git}}\npolicies: {a b: {sources: [d]}}\n",
        "name: x\nsources: {d: {type: git}}\nprices: {per_million_tokens: {bm25: cheap}}\n",
    ],
)
def test_what_the_loader_refuses_an_editor_marks_too(tmp_path, text):
    (tmp_path / "q.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_config(tmp_path / "q.yaml", env={})
    assert list(SCHEMA.iter_errors(as_editors_read(text)))


@pytest.mark.parametrize(
    "rest",
    [
        "guards:\nindex:\ningestion: {batch: }\npolicies:\nprices: {per_million_tokens: }\n",
        "policies: {p: {sources: [d], effect: require_allow, max_document_size: 5MB, max_deletes: '${N:-5}'}}\n",
        "chunking: {max_chars: '${N:-500}'}\nindex: {prefer_grpc: '${G:-true}', timeout: '${T:-5}'}\n",
        "index: {timeout: 30, path: null}\nstate: {permissions: 600}\n",
    ],
)
def test_what_the_loader_accepts_an_editor_accepts_too(tmp_path, rest):
    text = f"name: x\nsources: {{d: {{type: git}}}}\n{rest}"
    (tmp_path / "q.yaml").write_text(text)
    load_config(tmp_path / "q.yaml", env={})
    assert list(SCHEMA.iter_errors(as_editors_read(text))) == []
