"""BM25: the engine's tokens and weights, held to fixed values; its settings, and its refusals."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from qloader.embedding.bm25 import Bm25Embedder
from qloader.embedding.settings import BM25_VERSION, bm25_settings
from qloader.errors import ConfigError
from qloader.index.protocol import SPARSE_VECTOR, SparseVector

TEXTS = [
    "The quick brown foxes are jumping!",
    "fox fox fox",
    "Die Häuser der Stadt, houses",
    "日本語 テキスト",
    "",
    "don't e-mail x1 3.14",
]

KNOWN = [
    ([741580288, 771291085, 1621867415, 1913189942], [1.674197] * 4),
    ([1621867415], [1.993628]),
    ([408270109, 1109731834, 1407327463, 1790279870, 1888595001], [1.669730] * 5),
    ([1515949417, 2130592633], [1.683204] * 2),
    ([], []),
    ([116628897, 264741300, 1697769591, 1701593959, 1749031367], [1.669730] * 5),
]
"""What the engine makes of TEXTS in English. Where it ever makes something else, collections that are filled
with these ids cannot be searched with the new ones: raise `embedding.settings.BM25_VERSION` with the numbers here."""


def embed(text: str, language: str = "english", **settings: float) -> SparseVector:
    vector = Bm25Embedder(language, **settings).embed_documents([text])[0][SPARSE_VECTOR]
    assert isinstance(vector, SparseVector)
    return vector


def ids(text: str, language: str = "english") -> list[int]:
    return list(embed(text, language).indices)


@pytest.mark.parametrize(("text", "known"), list(zip(TEXTS, KNOWN, strict=True)))
def test_token_ids_and_weights_are_those_that_collections_are_filled_with(
    text: str, known: tuple[list[int], list[float]]
) -> None:
    assert BM25_VERSION == 1
    vector = embed(text)
    assert list(vector.indices) == known[0]
    assert list(vector.values) == pytest.approx(known[1], abs=1e-5)


def test_texts_are_embedded_one_for_one_in_order() -> None:
    together = Bm25Embedder().embed_documents(TEXTS)
    assert [list(vectors[SPARSE_VECTOR].indices) for vectors in together] == [ids(text) for text in TEXTS]  # type: ignore[union-attr]
    assert {frozenset(vectors) for vectors in together} == {frozenset({SPARSE_VECTOR})}
    assert Bm25Embedder().embed_documents([]) == []


def test_another_process_makes_the_same_vectors() -> None:
    script = f"""
import json
from qloader.embedding.bm25 import Bm25Embedder
vectors = Bm25Embedder().embed_documents({TEXTS!r})
print(json.dumps([[list(v["bm25"].indices), list(v["bm25"].values)] for v in vectors]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout) == [[list(embed(text).indices), list(embed(text).values)] for text in TEXTS]


def test_ids_are_unique_and_ascending() -> None:
    vector = embed(" ".join(f"word{number} word{number // 2}" for number in range(500)))
    assert len(vector.indices) > 400
    assert list(vector.indices) == sorted(set(vector.indices))
    assert len(vector.values) == len(vector.indices)


def test_a_text_without_words_has_an_empty_vector() -> None:
    for text in ("", " \n\t", "?! -- …", "the and of"):
        assert list(embed(text).indices) == []
        assert list(Bm25Embedder().embed_query(text).indices) == []


def test_case_stem_and_punctuation_make_no_difference() -> None:
    assert ids("Jumping, FOXES!") == ids("jump fox")


def test_a_language_has_its_own_stems_and_stop_words() -> None:
    assert ids("houses", "english") == ids("house", "english")
    assert ids("Häuser", "german") == ids("Hauses Haus", "german")[:1]
    assert ids("der die das", "german") == []
    assert len(ids("der die das", "english")) == 3


def test_a_repeated_word_weighs_more_and_ever_less_so() -> None:
    once, twice, thrice = (embed(" ".join(["fox"] * number)).values[0] for number in (1, 2, 3))
    assert once < twice < thrice
    assert twice - once > thrice - twice


def test_a_word_weighs_less_in_a_long_text_unless_b_is_zero() -> None:
    long = "fox " + " ".join(f"word{number}" for number in range(400))
    (fox,) = ids("fox")

    def weight(text: str, **settings: float) -> float:
        vector = embed(text, **settings)
        return dict(zip(vector.indices, vector.values, strict=True))[fox]

    assert weight(long) < weight("fox") / 1.3
    assert weight(long, b=0) == weight("fox", b=0)
    assert weight("fox fox", k=0) == 1


def test_words_of_a_query_weigh_one_each() -> None:
    query = Bm25Embedder().embed_query("quick quick foxes")
    assert list(query.indices) == ids("quick fox")
    assert list(query.values) == [1.0, 1.0]


def test_bytes_that_are_no_text_count_as_no_word_of_a_query() -> None:
    embedder = Bm25Embedder()
    assert embedder.embed_query("fox \udcff\udc80") == embedder.embed_query("fox ??")
    assert list(embedder.embed_query("fox \udcff").indices) == ids("fox")


@pytest.mark.parametrize(
    "settings",
    [{}, {"language": "german"}, {"k": 0.9, "b": 0.4}, {"avg_len": 100}, {"language": "french", "k": 2, "b": 1}],
)
def test_the_fingerprint_holds_what_the_settings_say(settings: dict[str, object]) -> None:
    found = Bm25Embedder(**settings).fingerprint_settings()  # type: ignore[arg-type]
    assert found == bm25_settings(**settings)  # type: ignore[arg-type]
    assert json.loads(json.dumps(found)) == found


def test_every_setting_that_changes_a_vector_changes_the_fingerprint() -> None:
    text = "The foxes of the house: fox, foxes"
    seen = [bm25_settings()]
    for settings in ({"language": "german"}, {"k": 2.0}, {"b": 0.1}, {"avg_len": 3.0}):
        assert embed(text, **settings) != embed(text)  # type: ignore[arg-type]
        assert bm25_settings(**settings) not in seen  # type: ignore[arg-type]
        seen.append(bm25_settings(**settings))  # type: ignore[arg-type]


def test_whole_numbers_are_the_same_settings() -> None:
    assert json.dumps(bm25_settings(avg_len=256, k=1, b=0)) == json.dumps(bm25_settings(avg_len=256.0, k=1.0, b=0.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"language": "klingon"}, "klingon"),
        ({"language": ""}, "language"),
        ({"k": -1}, "k1"),
        ({"k": float("nan")}, "NaN"),
        ({"b": 2}, "b must"),
        ({"avg_len": 0}, "avg_doc_len"),
    ],
)
def test_a_setting_that_cannot_be_is_a_mistake_of_the_config(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        Bm25Embedder(**settings)  # type: ignore[arg-type]
    assert "docs/configuration.md" in raised.value.remedy
