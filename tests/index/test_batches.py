"""How many points go into one request."""

from __future__ import annotations

import json
import uuid

import pytest

from qloader.index import batches
from qloader.index.batches import by_count, by_weight, weigh_payload, weigh_point
from qloader.index.protocol import Point, SparseVector


def test_items_are_cut_by_number_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_ITEMS", 3)
    assert [list(batch) for batch in by_count(list(range(7)))] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch for batch, _ in by_weight(list(range(7)), lambda _: 1)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(by_count([])) == []
    assert list(by_weight([], len)) == []


def test_items_are_cut_by_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_WEIGHT", 10)
    assert list(by_weight([4, 6, 1, 10, 2], lambda item: item)) == [([4, 6], 10), ([1], 1), ([10], 10), ([2], 2)]


def test_a_single_heavy_item_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_WEIGHT", 10)
    assert list(by_weight([1, 99, 1], lambda item: item)) == [([1], 1), ([99], 99), ([1], 1)]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"text": "x" * 5000, "title": "short"},
        {"metadata": {"tags": ["a"] * 300, "nested": {"n": [1.5, None, True, {"deep": "y" * 100}]}}},
        {str(number): number for number in range(200)},
    ],
)
def test_a_payload_weighs_about_its_json(payload: dict[str, object]) -> None:
    length = len(json.dumps(payload))
    assert length / 2 - 10 <= weigh_payload(payload) <= length * 2


def test_a_point_weighs_about_its_json() -> None:
    # The weights of words are 32-bit floats, written with all the digits of a 64-bit one.
    sparse = SparseVector([1_621_867_415] * 200, [1.6741974353790283] * 200)
    dense = [0.12345678901234567] * 384
    point = Point(str(uuid.UUID(int=1)), {"bm25": sparse, "dense": dense}, {"text": "x" * 1000})
    text = json.dumps(
        {
            "id": point.id,
            "vector": {"bm25": {"indices": list(sparse.indices), "values": list(sparse.values)}, "dense": dense},
            "payload": point.payload,
        },
        separators=(",", ":"),
    )
    assert len(text) * 0.9 <= weigh_point(point) <= len(text) * 2


def test_a_full_request_stays_below_what_a_server_takes() -> None:
    # The worst that UTF-8 does is four bytes a character, and a control character is six in JSON.
    assert batches.MAX_WEIGHT * 6 < 32 * 1024 * 1024
