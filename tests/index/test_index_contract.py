"""What every index promises (index/protocol.py), held against each engine."""

from __future__ import annotations

import contextlib
import math
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from index_engines import ENGINES, FOREIGN_POINT, Engine, making_engine

from qloader.embedding.bm25 import Bm25Embedder
from qloader.errors import ForeignIndexError, IndexUnavailableError
from qloader.index.protocol import (
    DENSE_VECTOR,
    SPARSE_VECTOR,
    CollectionInfo,
    Hit,
    Index,
    Point,
    SparseVector,
    StoredPoint,
    Where,
    beside,
)

OURS = "6f0c2f4e-0000-4000-8000-000000000001"
THEIRS = "6f0c2f4e-0000-4000-8000-000000000002"
PIPELINE = "91ab"
ONLY_BM25 = frozenset({SPARSE_VECTOR})

EMBEDDER = Bm25Embedder()


def point_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"point {number}"))


def make_points(texts: list[str], *, lineage: str = OURS, first: int = 0) -> list[Point]:
    return [
        Point(
            point_id(number),
            vectors,
            {"text": text, "source": "docs", "document_id": f"{number}.md", "qloader": {"lineage": lineage}},
        )
        for number, (text, vectors) in enumerate(zip(texts, EMBEDDER.embed_documents(texts), strict=True), first)
    ]


def by_id(points: list[StoredPoint]) -> dict[str, StoredPoint]:
    return {point.id: point for point in points}


def assert_same_vector(found: Any, expected: Any) -> None:
    assert isinstance(found, SparseVector)
    assert list(found.indices) == list(expected.indices)
    assert list(found.values) == pytest.approx(list(expected.values), abs=1e-6)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with making_engine(request.param, tmp_path) as engine:
        yield engine


@pytest.fixture
def index(engine: Engine) -> Index:
    """A collection of ours, empty."""
    index = engine.open()
    index.create(lineage=OURS, pipeline=PIPELINE)
    return index


# Whose the collection is


def test_a_collection_that_was_never_made_is_described_as_none(engine: Engine) -> None:
    assert engine.open().describe() is None


def test_a_new_collection_says_whose_it_is(index: Index) -> None:
    assert index.describe() == CollectionInfo(OURS, PIPELINE, ONLY_BM25, 0)


def test_creating_twice_keeps_what_is_there(index: Index) -> None:
    index.upsert(make_points(["one", "two"]))
    index.create(lineage=OURS, pipeline=PIPELINE)
    assert index.describe() == CollectionInfo(OURS, PIPELINE, ONLY_BM25, 2)


def test_a_creation_that_was_cut_short_is_no_collection_yet(engine: Engine) -> None:
    engine.cut_short(OURS)
    index = engine.open()
    assert index.describe() is None
    with pytest.raises(ForeignIndexError):
        index.count(lineage=OURS)


def test_a_creation_that_was_cut_short_is_completed(engine: Engine) -> None:
    engine.cut_short(OURS)
    index = engine.open()
    index.create(lineage=OURS, pipeline=PIPELINE)
    index.upsert(make_points(["one"]))
    assert index.describe() == CollectionInfo(OURS, PIPELINE, ONLY_BM25, 1)


def test_a_collection_of_another_lineage_is_refused(engine: Engine, index: Index) -> None:
    index.upsert(make_points(["one"]))
    index.close()
    other = engine.open()
    with pytest.raises(ForeignIndexError, match=OURS):
        other.create(lineage=THEIRS, pipeline=PIPELINE)
    assert other.describe() == CollectionInfo(OURS, PIPELINE, ONLY_BM25, 1)


def test_a_collection_that_qloader_did_not_make_has_no_lineage(engine: Engine) -> None:
    engine.make_theirs()
    assert engine.open().describe() == CollectionInfo(None, None, ONLY_BM25, 1)


def test_a_collection_that_qloader_did_not_make_is_refused_and_left_alone(engine: Engine) -> None:
    engine.make_theirs()
    index = engine.open()
    with pytest.raises(ForeignIndexError, match="no qloader state"):
        index.create(lineage=OURS, pipeline=PIPELINE)
    with pytest.raises(ForeignIndexError):
        index.upsert(make_points(["one"]))
    with pytest.raises(ForeignIndexError):
        index.delete([FOREIGN_POINT])
    assert index.describe() == CollectionInfo(None, None, ONLY_BM25, 1)


def test_marking_changes_lineage_and_pipeline(index: Index) -> None:
    index.upsert(make_points(["one"]))
    index.mark(lineage=THEIRS, pipeline="other")
    assert index.describe() == CollectionInfo(THEIRS, "other", ONLY_BM25, 1)


def test_marking_a_collection_that_is_not_there_is_an_error(engine: Engine) -> None:
    with pytest.raises(ForeignIndexError, match="no collection"):
        engine.open().mark(lineage=OURS, pipeline=PIPELINE)


def test_other_vectors_than_ours_are_refused(engine: Engine) -> None:
    engine.make_unlike(OURS)
    index = engine.open()
    with pytest.raises(ForeignIndexError, match="other, not bm25"):
        index.create(lineage=OURS, pipeline=PIPELINE)
    with pytest.raises(ForeignIndexError, match="other, not bm25"):
        index.upsert(make_points(["one"]))
    with pytest.raises(ForeignIndexError, match="other, not bm25"):
        index.search(EMBEDDER.embed_query("one"), using=SPARSE_VECTOR, limit=3)


# Writing


def test_points_are_read_back_as_written(index: Index) -> None:
    points = make_points(["The cat sat on the mat.", "A dog barked."])
    index.upsert(points)
    found = by_id(index.retrieve([point.id for point in points], with_payload=True, with_vectors=True))
    assert set(found) == {point.id for point in points}
    for point in points:
        assert found[point.id].payload == point.payload
        assert_same_vector(found[point.id].vectors[SPARSE_VECTOR], point.vectors[SPARSE_VECTOR])


def test_payloads_keep_unicode_nesting_and_nulls(index: Index) -> None:
    point = make_points(["text"])[0]
    metadata = {
        "größe": 1.5,
        "tags": ["日本語", "emoji 👩‍🚀", "", 'a\n\t"b"\\'],
        "nested": {"deep": [{"er": None}, [], {}]},
        "draft": False,
        "none": None,
        "big": 2**53 + 1,
        "a.b": "a key with a dot",
    }
    payload = {**point.payload, "updated_at": None, "metadata": metadata}
    index.upsert([replace(point, payload=payload)])
    assert index.retrieve([point.id], with_payload=True)[0].payload == payload
    index.set_payloads([(point.id, {**payload, "title": "ß"})])
    assert index.retrieve([point.id], with_payload=True)[0].payload == {**payload, "title": "ß"}


def test_a_repeated_upsert_is_no_duplicate(index: Index) -> None:
    points = make_points(["one", "two", "three"])
    index.upsert(points)
    index.upsert(points)
    assert index.count(lineage=OURS) == 3


def test_an_upsert_replaces_the_whole_point(index: Index) -> None:
    old, new = make_points(["cats", "dogs"])
    index.upsert([old])
    payload = {"text": "dogs", "qloader": {"lineage": OURS}}
    index.upsert([Point(old.id, new.vectors, payload)])
    found = index.retrieve([old.id], with_payload=True, with_vectors=True)[0]
    assert found.payload == payload
    assert_same_vector(found.vectors[SPARSE_VECTOR], new.vectors[SPARSE_VECTOR])
    assert index.search(EMBEDDER.embed_query("cats"), using=SPARSE_VECTOR, limit=3) == []


def test_a_vector_that_the_collection_has_not_is_refused(index: Index) -> None:
    point = Point(point_id(0), {"dense": [0.5, 0.5]}, {"qloader": {"lineage": OURS}})
    with pytest.raises(ForeignIndexError, match="it has no dense"):
        index.upsert([*make_points(["one"], first=1), point])
    with pytest.raises(ForeignIndexError, match="it has no dense"):
        index.search([0.5, 0.5], using="dense", limit=3)


def test_a_new_payload_keeps_the_vector(index: Index) -> None:
    point, other = make_points(["cats purr", "dogs bark"])
    index.upsert([point, other])
    payload = {"text": "cats purr", "document_id": "moved.md", "qloader": {"lineage": OURS}}
    index.set_payloads([(point.id, payload)])
    found = index.retrieve([point.id], with_payload=True, with_vectors=True)[0]
    assert found.payload == payload  # replaced, not merged: `source` is gone
    assert_same_vector(found.vectors[SPARSE_VECTOR], point.vectors[SPARSE_VECTOR])
    hits = index.search(EMBEDDER.embed_query("purr"), using=SPARSE_VECTOR, limit=3, lineage=OURS)
    assert [hit.payload for hit in hits] == [payload]
    assert index.retrieve([other.id], with_payload=True)[0].payload == other.payload


def test_a_payload_of_an_unknown_point_is_ignored_and_the_others_are_written(index: Index) -> None:
    first, second = make_points(["one", "two"])
    index.upsert([first, second])
    changed = {"text": "changed", "qloader": {"lineage": OURS}}
    index.set_payloads([(first.id, changed), (point_id(99), changed), (second.id, changed)])
    found = by_id(index.retrieve([first.id, second.id, point_id(99)], with_payload=True))
    assert {number: point.payload for number, point in found.items()} == {first.id: changed, second.id: changed}


def test_unknown_points_are_deleted_without_an_error(index: Index) -> None:
    points = make_points(["one", "two", "three"])
    index.upsert(points)
    index.delete([point_id(99), points[1].id])
    index.delete([points[1].id])
    assert {point.id for point in index.scroll(lineage=OURS)} == {points[0].id, points[2].id}


def test_writing_nothing_is_nothing(index: Index) -> None:
    index.upsert([])
    index.set_payloads([])
    index.delete([])
    assert index.retrieve([]) == []
    assert index.count(lineage=OURS) == 0


def test_more_than_one_request_holds_is_written_read_and_deleted(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qloader.index.batches.MAX_ITEMS", 10)
    points = make_points([f"word{number} text" for number in range(35)])
    index.upsert(points)
    assert index.count(lineage=OURS) == 35
    index.set_payloads([(point.id, {**point.payload, "title": "new"}) for point in points])
    found = index.retrieve([point.id for point in points], with_payload=True)
    assert sorted(point.id for point in found) == sorted(point.id for point in points)
    assert {point.payload["title"] for point in found} == {"new"}
    index.delete([point.id for point in points[:34]])
    assert [point.id for point in index.scroll(lineage=OURS)] == [points[34].id]


# Reading


def test_missing_points_are_left_out(index: Index) -> None:
    point = make_points(["one"])[0]
    index.upsert([point])
    assert [found.id for found in index.retrieve([point_id(99), point.id])] == [point.id]


def test_payload_and_vectors_come_only_where_asked_for(index: Index) -> None:
    point = make_points(["one"])[0]
    index.upsert([point])
    assert index.retrieve([point.id]) == [StoredPoint(point.id)]
    with_payload = index.retrieve([point.id], with_payload=True)[0]
    assert with_payload.payload
    assert not with_payload.vectors
    with_vectors = index.retrieve([point.id], with_vectors=True)[0]
    assert with_vectors.vectors
    assert not with_vectors.payload
    scrolled = next(iter(index.scroll(lineage=OURS)))
    assert scrolled.payload
    assert not scrolled.vectors
    scrolled = next(iter(index.scroll(lineage=OURS, with_payload=False, with_vectors=True)))
    assert scrolled.vectors
    assert not scrolled.payload


@pytest.mark.parametrize("page", [1, 7, 24, 25, 26, 1000])
def test_a_scroll_yields_every_own_point_once_in_id_order(index: Index, page: int) -> None:
    ours = make_points([f"text {number}" for number in range(25)])
    theirs = make_points([f"text {number}" for number in range(25)], lineage=THEIRS, first=25)
    index.upsert([point for pair in zip(ours, theirs, strict=True) for point in pair])
    found = [point.id for point in index.scroll(lineage=OURS, page=page)]
    assert found == sorted(point.id for point in ours)


def test_a_scroll_of_one_document_yields_its_points_alone(index: Index) -> None:
    points = make_points(["one", "two", "three", "four", "five"])
    of_document = [replace(p, payload={**p.payload, "document_id": "a/ü.md"}) for p in points[:3]]
    of_another_source = replace(of_document[2], id=points[3].id, payload={**of_document[2].payload, "source": "wiki"})
    theirs = replace(of_document[0], id=point_id(9), payload={**of_document[0].payload, "qloader": {"lineage": THEIRS}})
    index.upsert([*of_document, of_another_source, points[4], theirs])
    found = list(index.scroll(lineage=OURS, document=("docs", "a/ü.md"), page=2))
    assert [point.id for point in found] == sorted(point.id for point in of_document)
    assert list(index.scroll(lineage=OURS, document=("docs", "a"))) == []


def test_a_scroll_goes_on_while_what_it_yielded_is_deleted(index: Index) -> None:
    points = make_points([f"text {number}" for number in range(10)])
    index.upsert(points)
    seen = []
    for point in index.scroll(lineage=OURS, page=3):
        seen.append(point.id)
        index.delete([point.id])
    assert seen == sorted(point.id for point in points)
    assert index.count(lineage=OURS) == 0


def test_foreign_points_are_not_read_counted_or_found(index: Index) -> None:
    ours = make_points(["a shared word"])
    others = make_points(["a shared word", "another shared word"], lineage=THEIRS, first=1)
    nobodys = [replace(point, payload={"text": "shared"}) for point in make_points(["shared"], first=3)]
    index.upsert([*ours, *others, *nobodys])
    assert index.count(lineage=OURS) == 1
    assert [point.id for point in index.scroll(lineage=OURS)] == [ours[0].id]
    query = EMBEDDER.embed_query("shared word")
    assert [hit.id for hit in index.search(query, using=SPARSE_VECTOR, limit=9, lineage=OURS)] == [ours[0].id]
    assert len(index.search(query, using=SPARSE_VECTOR, limit=9)) == 4
    info = index.describe()
    assert info is not None
    assert info.points == 4


def test_points_that_become_foreign_or_come_between_two_searches_are_not_found(index: Index) -> None:
    ours = make_points(["a shared word", "another shared word"])
    index.upsert(ours)
    query = EMBEDDER.embed_query("shared word")

    def found() -> set[str]:
        # More than once: an index may look first whether there is anything of others at all.
        answers = [index.search(query, using=SPARSE_VECTOR, limit=9, lineage=OURS) for _ in range(4)]
        assert answers == [answers[0]] * 4
        return {hit.id for hit in answers[0]}

    both = {point.id for point in ours}
    assert found() == both
    theirs = make_points(["shared word of hers"], lineage=THEIRS, first=2)
    index.upsert(theirs)
    assert found() == both
    index.delete([theirs[0].id])
    assert found() == both
    index.set_payloads([(ours[1].id, {**ours[1].payload, "qloader": {"lineage": THEIRS}})])
    assert found() == {ours[0].id}
    assert index.search(query, using=SPARSE_VECTOR, limit=9, lineage=THEIRS)[0].id == ours[1].id


def test_foreign_points_are_not_touched(index: Index) -> None:
    ours = make_points(["a", "b"])
    theirs = make_points(["x", "y"], lineage=THEIRS, first=2)
    index.upsert([*ours, *theirs])
    before = {point.id: point.payload for point in index.scroll(lineage=THEIRS)}
    index.upsert(ours)
    index.set_payloads([(ours[0].id, {"qloader": {"lineage": OURS}})])
    index.delete([point.id for point in ours])
    index.create(lineage=OURS, pipeline=PIPELINE)
    index.mark(lineage=OURS, pipeline="other")
    assert {point.id: point.payload for point in index.scroll(lineage=THEIRS)} == before
    assert index.count(lineage=THEIRS) == 2


# Searching


def idf(points: int, holding: int) -> float:
    """Qdrant's formula, from its documentation of the IDF modifier."""
    return math.log((points - holding + 0.5) / (holding + 0.5) + 1)


def test_scores_are_bm25(index: Index) -> None:
    texts = ["zebra river", "river bank", "river river stone", "quiet stone"]
    points = make_points(texts)
    index.upsert(points)
    hits = index.search(EMBEDDER.embed_query("river"), using=SPARSE_VECTOR, limit=9, lineage=OURS)
    (token,) = EMBEDDER.embed_query("river").indices
    expected = {}
    for point in points:
        vector = point.vectors[SPARSE_VECTOR]
        assert isinstance(vector, SparseVector)
        weights = dict(zip(vector.indices, vector.values, strict=True))
        if token in weights:
            expected[point.id] = weights[token] * idf(points=4, holding=3)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-4)
    assert hits[0].id == points[2].id
    assert hits[0].payload == points[2].payload


def test_a_rare_word_counts_more_than_a_common_one(index: Index) -> None:
    points = make_points(["zebra sat", "river ran", "river bent", "river dried"])
    index.upsert(points)
    query = EMBEDDER.embed_query("river zebra")
    hits = index.search(query, using=SPARSE_VECTOR, limit=9, lineage=OURS)
    assert hits[0].id == points[0].id
    assert hits[0].score > 2 * hits[1].score
    index.upsert(make_points([f"zebra {word}" for word in ("ate", "ran", "hid", "drank", "slept", "fled")], first=4))
    hits = index.search(query, using=SPARSE_VECTOR, limit=9, lineage=OURS)
    assert {hit.id for hit in hits[:3]} == {point.id for point in points[1:]}


def test_no_more_hits_than_asked_for(index: Index) -> None:
    index.upsert(make_points([f"river {number}" for number in range(9)]))
    assert len(index.search(EMBEDDER.embed_query("river"), using=SPARSE_VECTOR, limit=4, lineage=OURS)) == 4


def test_a_text_without_words_is_kept_and_never_found(index: Index) -> None:
    points = make_points(["", "?!", "river"])
    index.upsert(points)
    assert index.count(lineage=OURS) == 3
    found = by_id(index.retrieve([point.id for point in points], with_vectors=True))
    empty = found[points[0].id].vectors.get(SPARSE_VECTOR, SparseVector([], []))
    assert isinstance(empty, SparseVector)
    assert list(empty.indices) == []
    hits = index.search(EMBEDDER.embed_query("river"), using=SPARSE_VECTOR, limit=9, lineage=OURS)
    assert [hit.id for hit in hits] == [points[2].id]


def test_a_query_without_words_finds_nothing(index: Index) -> None:
    index.upsert(make_points(["river"]))
    assert index.search(EMBEDDER.embed_query("?!"), using=SPARSE_VECTOR, limit=9, lineage=OURS) == []


def test_an_empty_collection_has_no_hits(index: Index) -> None:
    assert index.search(EMBEDDER.embed_query("river"), using=SPARSE_VECTOR, limit=9, lineage=OURS) == []
    assert list(index.scroll(lineage=OURS)) == []


@pytest.mark.parametrize("other", ENGINES[1:])
def test_every_engine_gives_the_same_hits(other: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    vocabulary = [f"term{number}" for number in range(40)]
    # Each text has words of its own in number, so that no two scores are equal.
    texts = [" ".join(chance.choices(vocabulary, k=8 + number)) for number in range(60)]
    queries = [" ".join(chance.sample(vocabulary, k=size)) for size in (1, 2, 3, 5, 8, 13)]

    def ask(name: str) -> Iterator[list[tuple[str, float]]]:
        with making_engine(name, tmp_path / name) as engine:
            index = engine.open()
            index.create(lineage=OURS, pipeline=PIPELINE)
            index.upsert(make_points(texts))
            index.upsert(make_points(texts[:20], lineage=THEIRS, first=100))
            # No deletes: the engine's word counts forget a deleted point only when it tidies up.
            for query in queries:
                hits = index.search(EMBEDDER.embed_query(query), using=SPARSE_VECTOR, limit=20, lineage=OURS)
                yield [(hit.id, hit.score) for hit in hits]

    (tmp_path / other).mkdir()
    for ours, theirs in zip(ask("embedded"), ask(other), strict=True):
        assert len(ours) > 3
        assert [number for number, _ in ours] == [number for number, _ in theirs]
        assert [score for _, score in ours] == pytest.approx([score for _, score in theirs], abs=1e-4)


# Coming back, and going


def test_a_reopened_index_holds_everything(engine: Engine, index: Index) -> None:
    points = make_points([f"river {number}" for number in range(12)])
    index.upsert(points)
    index.delete([points[0].id])
    index.set_payloads([(points[1].id, {**points[1].payload, "title": "new"})])
    index.flush()
    index.close()
    again = engine.open()
    assert again.describe() == CollectionInfo(OURS, PIPELINE, ONLY_BM25, 11)
    found = {point.id: point for point in again.scroll(lineage=OURS, with_vectors=True)}
    assert set(found) == {point.id for point in points[1:]}
    assert found[points[1].id].payload["title"] == "new"
    for point in points[1:]:
        assert_same_vector(found[point.id].vectors[SPARSE_VECTOR], point.vectors[SPARSE_VECTOR])
    assert len(again.search(EMBEDDER.embed_query("river"), using=SPARSE_VECTOR, limit=99, lineage=OURS)) == 11


def test_a_dropped_collection_is_gone(index: Index) -> None:
    index.upsert(make_points(["one"]))
    index.drop()
    assert index.describe() is None
    with pytest.raises(ForeignIndexError, match="no collection"):
        index.count(lineage=OURS)
    index.drop()


def test_a_dropped_collection_is_made_anew_and_empty(index: Index) -> None:
    index.upsert(make_points(["one"]))
    index.drop()
    index.create(lineage=THEIRS, pipeline="other")
    assert index.describe() == CollectionInfo(THEIRS, "other", ONLY_BM25, 0)


def test_dropping_what_was_never_made_does_nothing(engine: Engine) -> None:
    index = engine.open()
    index.drop()
    assert index.describe() is None


CALLS: dict[str, Callable[[Index], object]] = {
    "count": lambda index: index.count(lineage=OURS),
    "create": lambda index: index.create(lineage=OURS, pipeline=PIPELINE),
    "delete": lambda index: index.delete([point_id(0)]),
    "describe": lambda index: index.describe(),
    "drop": lambda index: index.drop(),
    "flush": lambda index: index.flush(),
    "mark": lambda index: index.mark(lineage=OURS, pipeline=PIPELINE),
    "retrieve": lambda index: index.retrieve([point_id(0)]),
    "scroll": lambda index: list(index.scroll(lineage=OURS)),
    "search": lambda index: index.search(EMBEDDER.embed_query("one"), using=SPARSE_VECTOR, limit=1),
    "set_payloads": lambda index: index.set_payloads([(point_id(0), {"qloader": {"lineage": OURS}})]),
    "upsert": lambda index: index.upsert(make_points(["one"])),
}


def test_every_call_on_a_closed_index_is_an_error(index: Index) -> None:
    index.close()
    for name, call in CALLS.items():
        with pytest.raises(IndexUnavailableError, match="closed"):
            call(index)
            pytest.fail(f"{name} went through")


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"create", "describe", "drop", "flush"}))
def test_calls_on_a_collection_that_is_not_there_say_so(engine: Engine, name: str) -> None:
    with pytest.raises(ForeignIndexError, match="no collection") as raised:
        CALLS[name](engine.open())
    assert "index.collection" in raised.value.remedy


def test_closing_twice_is_no_error(index: Index) -> None:
    index.close()
    with contextlib.suppress(IndexUnavailableError):
        index.count(lineage=OURS)
    index.close()


# Dense vectors

DENSE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.8, 0.0]]


def dense_points() -> list[Point]:
    """Three points: the first is first by words, the second by its angle, the third is second by both."""
    words = [SparseVector([7], [3.0]), SparseVector([9], [1.0]), SparseVector([7], [2.0])]
    return [
        Point(
            str(uuid.UUID(int=number + 10)),
            {SPARSE_VECTOR: words[number], DENSE_VECTOR: DENSE[number]},
            {
                "source": "ab"[number % 2],
                "document_id": f"{number}.md",
                "updated_at": f"2026-0{number + 1}-01T00:00:00Z",
                "metadata": {"team": ["x", "y"][number % 2 :], "level": number, "of kin": {"deep": "z"}},
                "qloader": {"lineage": OURS},
            },
        )
        for number in range(3)
    ]


@pytest.fixture
def dense(engine: Engine) -> Index:
    """A collection with both vectors, and three points."""
    index = engine.open()
    index.create(lineage=OURS, pipeline="p", dense=3)
    index.upsert(dense_points())
    return index


def numbers(hits: list[Hit]) -> list[int]:
    return [uuid.UUID(hit.id).int - 10 for hit in hits]


def test_a_collection_says_how_long_its_dense_vectors_are(dense: Index, engine: Engine) -> None:
    info = dense.describe()
    assert info is not None
    assert (info.vectors, info.dense) == ({SPARSE_VECTOR, DENSE_VECTOR}, 3)
    stored = {point.id: point.vectors for point in dense.scroll(lineage=OURS, with_vectors=True)}
    for point in dense_points():
        assert stored[point.id].keys() == point.vectors.keys()
        assert list(stored[point.id][DENSE_VECTOR]) == pytest.approx(point.vectors[DENSE_VECTOR], abs=5e-4)


def test_dense_vectors_are_compared_by_their_angle(dense: Index) -> None:
    hits = dense.search([0.0, 50.0, 0.0], using=DENSE_VECTOR, limit=3, lineage=OURS)
    assert numbers(hits) == [1, 2, 0]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.8, 0.0], abs=5e-4)


def test_ranks_of_both_vectors_are_fused(dense: Index) -> None:
    asked = {SPARSE_VECTOR: SparseVector([7], [1.0]), DENSE_VECTOR: [0.0, 1.0, 0.0]}
    hits = dense.fuse(asked, limit=3, depth=2, lineage=OURS)
    # by words 0 and 2, by angle 1 and 2: 1/2 for a first, 1/3 for a second
    assert numbers(hits) == [2, 0, 1]
    assert [hit.score for hit in hits] == pytest.approx([2 / 3, 1 / 2, 1 / 2], abs=1e-5)
    assert numbers(dense.fuse(asked, limit=2, depth=2, lineage=OURS)) == [2, 0]
    assert dense.fuse(asked, limit=3, depth=2, lineage="another") == []


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Where(sources=("b",)), {1}),
        (Where(documents={"a": ["0.md", "1.md"], "b": ["2.md"]}), {0}),
        (Where(metadata=(("team", "x"),)), {0, 2}),
        (Where(metadata=(("team", "y"), ("level", "1"))), {1}),
        (Where(metadata=(("of kin.deep", "z"),)), {0, 1, 2}),
        (Where(since=datetime(2026, 2, 1, tzinfo=UTC)), {1, 2}),
        (Where(sources=("a",), since=datetime(2026, 2, 1, tzinfo=UTC)), {2}),
    ],
    ids=str,
)
def test_a_search_looks_only_where_it_is_told(dense: Index, where: Where, found: set[int]) -> None:
    asked = {SPARSE_VECTOR: SparseVector([7, 9], [1.0, 1.0]), DENSE_VECTOR: [1.0, 1.0, 0.0]}
    assert set(numbers(dense.fuse(asked, limit=9, depth=9, lineage=OURS, where=where))) == found
    for name, vector in asked.items():
        assert set(numbers(dense.search(vector, using=name, limit=9, lineage=OURS, where=where))) == found


def test_dense_vectors_of_another_length_are_neither_written_nor_asked_for(dense: Index) -> None:
    point = Point(str(uuid.UUID(int=99)), {SPARSE_VECTOR: SparseVector([], []), DENSE_VECTOR: [1.0]}, {})
    with pytest.raises(ForeignIndexError, match="its dense vectors have 3 numbers, and those that are made have 1"):
        dense.upsert([point])
    with pytest.raises(ForeignIndexError, match="have 3 numbers"):
        dense.search([1.0], using=DENSE_VECTOR, limit=1)


@pytest.mark.parametrize("other", [None, 4])
def test_a_collection_of_ours_with_other_vectors_is_refused_and_left_alone(
    dense: Index, engine: Engine, other: int | None
) -> None:
    dense.close()
    index = engine.open()
    with pytest.raises(ForeignIndexError, match="its dense vectors have 3 numbers"):
        index.create(lineage=OURS, pipeline="q", dense=other)
    info = index.describe()
    assert info is not None
    assert (info.points, info.dense, info.pipeline) == (3, 3, "p")


def test_a_creation_that_was_cut_short_is_made_anew_with_other_vectors(engine: Engine) -> None:
    engine.cut_short(OURS)
    index = engine.open()
    index.create(lineage=OURS, pipeline="p", dense=3)
    info = index.describe()
    assert info is not None
    assert info.dense == 3


def test_points_of_others_are_read_whole_and_ours_are_not_among_them(index: Index) -> None:
    index.upsert(make_points(["one", "two"]))
    others = [*make_points(["three"], lineage=THEIRS, first=2), Point(FOREIGN_POINT, {}, {"text": "nobody's"})]
    index.upsert(others)
    found = by_id(list(index.foreign(lineage=OURS, page=1)))
    assert found.keys() == {point.id for point in others}
    assert found[others[0].id].payload == others[0].payload
    assert_same_vector(found[others[0].id].vectors[SPARSE_VECTOR], others[0].vectors[SPARSE_VECTOR])


# A name that stands for another collection


def make_beside(engine: Engine, index: Index, pipeline: str = "b2") -> str:
    """Makes a collection beside one that is open, and closes both."""
    target = index.target()
    assert target is not None
    name = beside(target.partition("__")[0], pipeline, index.relatives())
    index.close()
    other = engine.open(name)
    other.create(lineage=OURS, pipeline=pipeline)
    other.upsert(make_points(["theirs is another text", "and another"]))
    assert other.target() == name
    other.close()
    return name


def texts(index: Index) -> set[str]:
    return {point.payload["text"] for point in index.scroll(lineage=OURS)}


def test_a_name_stands_for_nothing_until_the_collection_is_made(engine: Engine) -> None:
    index = engine.open()
    assert (index.target(), index.relatives()) == (None, [])
    index.create(lineage=OURS, pipeline=PIPELINE)
    assert index.relatives() == [index.target()]


def test_a_collection_that_is_made_beside_changes_nothing_before_the_switch(engine: Engine, index: Index) -> None:
    index.upsert(make_points(["one"]))
    first = index.target()
    name = make_beside(engine, index)
    again = engine.open()
    assert again.relatives() == sorted([first or "", name])
    assert (again.target(), texts(again), again.describe()) == (
        first,
        {"one"},
        CollectionInfo(OURS, PIPELINE, ONLY_BM25, 1),
    )


def test_a_switch_is_for_whoever_uses_the_name_and_back_again(engine: Engine, index: Index) -> None:
    index.upsert(make_points(["one"]))
    first = index.target()
    assert first is not None
    name = make_beside(engine, index)
    again = engine.open()
    again.switch(name)
    assert (again.target(), again.count(lineage=OURS)) == (name, 2)
    again.switch(name)  # as a repeat does
    again.close()
    for target, found in ((name, 2), (first, 1)):
        opened = engine.open()
        assert (opened.target(), len(texts(opened))) == (target, found)
        (vector,) = EMBEDDER.embed_documents(["one another"])
        hits = opened.search(vector[SPARSE_VECTOR], using=SPARSE_VECTOR, limit=5, lineage=OURS)
        assert {hit.payload["text"] for hit in hits} <= texts(opened)
        assert hits
        opened.switch(first)
        opened.close()


def test_what_was_switched_away_from_is_dropped_by_its_own_name(engine: Engine, index: Index) -> None:
    first = index.target()
    assert first is not None
    name = make_beside(engine, index)
    again = engine.open()
    again.switch(name)
    again.close()
    old = engine.open(first)
    assert (old.target(), old.count(lineage=OURS)) == (first, 0)
    old.drop()
    old.close()
    last = engine.open()
    assert (last.target(), last.relatives(), last.count(lineage=OURS)) == (name, [name], 2)


def test_a_name_cannot_stand_for_what_is_not_there_or_no_relative(engine: Engine, index: Index) -> None:
    target = index.target()
    for name in ("docs__ffff", "another"):
        with pytest.raises(ForeignIndexError, match=f"there is no collection {name}"):
            index.switch(name)
    assert index.target() == target


def test_dropping_what_a_name_stands_for_leaves_the_name_free(engine: Engine, index: Index) -> None:
    name = make_beside(engine, index)
    again = engine.open()
    again.switch(name)
    again.drop()
    again.close()
    last = engine.open()
    assert last.describe() is None
    last.create(lineage=OURS, pipeline="c3")
    assert last.describe() == CollectionInfo(OURS, "c3", ONLY_BM25, 0)
