"""What `embedding.dense` may say: what is refused with which words, what is a secret, what is part of the pipeline."""

import sys

import pytest
from pydantic import ValidationError

from qloader.config.embedders import EMBEDDER_TYPES, DenseConfig, DenseSection, embedder_model
from qloader.config.extensions import EMBEDDERS, find_embedder, names_in
from qloader.config.fields import Section
from qloader.config.load import load_config
from qloader.config.locations import embedding_cache_path
from qloader.config.models import EmbeddingCacheConfig
from qloader.embedding.settings import dense_settings
from qloader.errors import ConfigError
from support.packages import install


class Whole(Section):
    """As a config would hold it."""

    dense: DenseConfig


def section_of(**keys):
    return Whole.model_validate({"dense": keys}).dense


HTTP = {"provider": "http", "model": "m", "url": "http://localhost:1/x", "body": {"t": "{texts}"}, "vectors": "v"}
OPENAI = {"provider": "openai", "model": "text-embedding-3-small"}
SMALLEST = {
    "openai": OPENAI,
    "cohere": {"provider": "cohere", "model": "embed-v4.0"},
    "voyage": {"provider": "voyage", "model": "voyage-3.5"},
    "http": HTTP,
    "python": {"provider": "python", "model": "m", "function": "package.module:function"},
    "fastembed": {"provider": "fastembed", "model": "BAAI/bge-small-en-v1.5"},
    "sentence-transformers": {"provider": "sentence-transformers", "model": "./minilm"},
}


def refusal(**keys):
    with pytest.raises(ValidationError) as caught:
        section_of(**keys)
    return str(caught.value)


@pytest.mark.parametrize("provider", EMBEDDER_TYPES)
def test_a_provider_and_a_model_are_enough(provider):
    section = section_of(**SMALLEST[provider])
    assert type(section) is EMBEDDER_TYPES[provider]
    assert section.label == f"{provider}/{SMALLEST[provider]['model']}"
    assert section.batch_texts >= 1
    assert section.batch_tokens >= 1000


@pytest.mark.parametrize("provider", EMBEDDER_TYPES)
def test_every_key_has_a_description(provider):
    fields = EMBEDDER_TYPES[provider].model_fields
    assert [name for name, field in fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({**OPENAI, "modle": "x"}, "Extra inputs are not permitted"),
        ({"provider": "openai"}, "Field required"),
        ({**OPENAI, "url": "localhost:11434"}, "expected the address of an API"),
        ({**OPENAI, "url": "https://key@host/v1"}, "a key belongs in api_key"),
        ({**OPENAI, "too_long": "drop"}, "'split', 'cut' or 'refuse'"),
        ({**OPENAI, "dimensions": 0}, "greater than or equal to 1"),
        ({**OPENAI, "batch": {"texts": 0}}, "greater than or equal to 1"),
        ({**OPENAI, "limits": {"requests_per_minute": 0}}, "greater than 0"),
        ({**HTTP, "body": {"t": "text"}}, 'expected "{texts}" or "{text}"'),
        ({**HTTP, "body": {"a": "{texts}", "b": "{text}"}}, 'expected "{texts}" or "{text}"'),
        ({**HTTP, "body": {"t": ["{texts}", "{txt}"]}}, "there is no {txt}"),
        (
            {**HTTP, "body": {"t": "{texts}", "k": "{kind}"}, "kinds": {"query": "q"}},
            "expected both document and query",
        ),
        ({**SMALLEST["python"], "function": "os.system"}, "expected a function of an installed package"),
        ({**SMALLEST["fastembed"], "parallel": 2}, "Input should be 1"),
        ({"provider": "carrier pigeons", "model": "m"}, "does not match any of the expected tags"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused(keys, says):
    assert says in refusal(**keys)


def test_secrets_are_shown_nowhere():
    section = section_of(**{**OPENAI, "api_key": "hunter2-hunter2", "headers": {"X-Key": "hunter3-hunter3"}})
    shown = f"{section!r} {section.model_dump_json()} {dense_settings(section)}"
    assert "hunter" not in shown
    assert "hunter" not in refusal(**OPENAI, api_key=["hunter2-hunter2"], headers={"X": ["hunter3"]})


def test_the_pipeline_holds_just_what_shapes_a_vector():
    everything = {
        **OPENAI,
        "url": "http://localhost:1/v1",
        "api_key": "k",
        "headers": {"a": "b"},
        "api_version": "v",
        "dimensions": 256,
        "document_prefix": "d: ",
        "query_prefix": "q: ",
        "normalise": False,
        "max_tokens": 512,
        "too_long": "cut",
        "batch": {"texts": 1},
        "limits": {"requests_per_minute": 1},
        "parallel": 2,
        "retry_attempts": 1,
        "retry_delay": "1s",
        "timeout": "9s",
        "deadline": "9s",
        "ca_file": "x.pem",
        "verify": False,
    }
    assert everything.keys() == EMBEDDER_TYPES["openai"].model_fields.keys()
    assert dense_settings(section_of(**everything)) == {
        "version": 1,
        "provider": "openai",
        "model": "text-embedding-3-small",
        "dimensions": 256,
        "document_prefix": "d: ",
        "normalise": False,
        "max_tokens": 512,
        "too_long": "cut",
    }
    assert dense_settings(section_of(**HTTP)).keys() >= {"body", "vectors", "kinds"}
    assert dense_settings(section_of(**SMALLEST["python"])).keys() >= {"function"}


def test_the_cache_has_its_defaults():
    cache = EmbeddingCacheConfig.model_validate({"max_size": "500MB"})
    assert (cache.path, cache.max_size, cache.precision) == (None, 500_000_000, "float16")


def test_all_configs_of_a_user_share_a_cache_unless_one_names_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("QLOADER_HOME", raising=False)
    configs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "qloader.yaml").write_text(f"name: {name}\nsources: {{docs: {{type: files, path: .}}}}\n")
        configs.append(load_config(tmp_path / name / "qloader.yaml"))
    one, two = configs
    assert embedding_cache_path(one, None) == embedding_cache_path(two, None)
    assert embedding_cache_path(one, None).name == "embeddings.db"
    assert embedding_cache_path(one, "own.db") == tmp_path / "one" / "own.db"
    monkeypatch.setenv("QLOADER_HOME", str(tmp_path / "home"))
    moved = load_config(tmp_path / "one" / "qloader.yaml")
    assert embedding_cache_path(moved, None) == tmp_path / "home" / "embeddings.db"


# Other packages

MODULE = """\
from typing import Literal
from pydantic import Field
from qloader.config.embedders import DenseSection
from qloader.config.extensions import EmbedderType
from qloader.config.fields import Secret
from support.embedders import Words


class Config(DenseSection):
    provider: Literal["words"]
    dialect: str = "plain"
    password: Secret = None


EMBEDDER = EmbedderType(config=Config, open=lambda opening: Words())
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    find_embedder.cache_clear()
    yield folder
    find_embedder.cache_clear()
    for name in ("words_embedder", "broken_embedder"):
        sys.modules.pop(name, None)


def test_a_provider_of_another_package_is_opened_like_any_other(packages):
    from support.embedders import embedder_of

    install(packages, "qloader-words", {"words_embedder": MODULE}, {EMBEDDERS: {"words": "words_embedder:EMBEDDER"}})
    assert names_in(EMBEDDERS) == ["words"]
    section = section_of(provider="words", model="m", dialect="broad", password="hunter2")
    assert isinstance(section, DenseSection)
    assert embedder_of(section).embed(["one", "two"]).shape == (2, 32)
    assert dense_settings(section)["dialect"] == "broad"
    assert "password" not in dense_settings(section)
    assert "Extra inputs" in refusal(provider="words", model="m", dialct="broad")


def test_a_package_may_not_take_the_place_of_a_provider_of_qloader(packages):
    module = "raise SystemExit(3)\n"
    install(packages, "qloader-openai", {"broken_embedder": module}, {EMBEDDERS: {"openai": "broken_embedder:X"}})
    assert type(section_of(**OPENAI)) is EMBEDDER_TYPES["openai"]


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("import no_such_module_anywhere\n", "cannot be loaded: ModuleNotFoundError"),
        ("EMBEDDER = dict\n", "is no EmbedderType with a subclass of DenseSection"),
        (
            "from qloader.config.extensions import EmbedderType\nEMBEDDER = EmbedderType(config=dict, open=print)\n",
            "is no EmbedderType with a subclass of DenseSection",
        ),
    ],
    ids=["its import fails", "it is something else", "its config is"],
)
def test_a_package_that_offers_something_else_is_named(packages, module, says):
    install(packages, "qloader-words", {"broken_embedder": module}, {EMBEDDERS: {"words": "broken_embedder:EMBEDDER"}})
    with pytest.raises(ConfigError, match=f"the embedder words of the package qloader-words {says}"):
        embedder_model("words")
