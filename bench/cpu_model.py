"""A model that runs on this machine's cores, with a clock around it: `provider: python`.

all-MiniLM-L6-v2 by numpy (tests/support/minilm.py) where its package is installed; else as many multiplications, of
weights that mean nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support import minilm

NAME = "all-MiniLM-L6-v2 by numpy" if minilm.IS_THERE else "as many multiplications as all-MiniLM-L6-v2 needs, by numpy"
_LAYERS, _WIDTH, _HEADS, _INNER, _MOST_TOKENS = 6, 384, 12, 1536, 256
_TOKENS_A_WORD = 1.4


class Clock:
    """Seconds during which the model was busy, however many threads called it."""

    def __init__(self) -> None:
        self.spent = 0.0
        self._busy = 0
        self._since = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._busy += 1
            if self._busy == 1:
                self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._busy -= 1
            if not self._busy:
                self.spent += time.perf_counter() - self._since


clock = Clock()


def embed(texts: list[str], *, kind: str) -> np.ndarray:
    """The vectors of texts; the clock runs."""
    with clock:
        return minilm.embed(texts, kind=kind) if minilm.IS_THERE else np.stack([_encoded(text) for text in texts])


def _encoded(text: str) -> np.ndarray:
    """A vector after six layers of a transformer's multiplications."""
    words = text.split()
    length = min(int(len(words) * _TOKENS_A_WORD) + 2, _MOST_TOKENS)
    x = np.random.default_rng(len(words)).standard_normal((length, _WIDTH)).astype(np.float32)
    attention, inner, outer = _weights()
    for _ in range(_LAYERS):
        query, key, value = ((x @ weights).reshape(length, _HEADS, -1).swapaxes(0, 1) for weights in attention[:3])
        scores = query @ key.swapaxes(1, 2)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        x = _normed(x + (scores @ value).swapaxes(0, 1).reshape(length, _WIDTH) @ attention[3])
        hidden = x @ inner
        x = _normed(x + hidden * (1 + np.tanh(0.8 * hidden * (1 + 0.045 * hidden * hidden))) @ outer)
    mean: np.ndarray = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def _normed(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(1e-6))


@lru_cache(maxsize=1)
def _weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)

    def weights(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(shape[-2]))

    return weights(4, _WIDTH, _WIDTH), weights(_WIDTH, _INNER), weights(_INNER, _WIDTH)
