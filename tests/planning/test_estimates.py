"""What an apply is said to cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qloader.planning.estimates import NUMBER_BYTES, Prices, Spared, estimate_plan, format_cost
from qloader.planning.plan import Base, IndexTarget, Pipeline, PlanHeader, Summary
from qloader.render.review import describe_estimate
from qloader.state.records import Pace


def header(chunks: int, characters: int) -> PlanHeader:
    return PlanHeader(
        name="test",
        base=Base(None, 0),
        index=IndexTarget("test", "embedded:index"),
        pipeline=Pipeline("0" * 16, {}, {"sparse": "bm25"}),
        sources=(),
        summary=Summary(create=1, chunks_embed=chunks, characters=characters),
    )


def test_where_nothing_is_embedded_nothing_is_estimated():
    assert estimate_plan(header(0, 0), Prices("USD", {"bm25": 1}), Pace(1, 100, 1)) is None


def test_tokens_are_a_quarter_of_the_characters_and_cost_what_is_configured():
    found = estimate_plan(header(10, 4_000_000), Prices("EUR", {"bm25": 0.02, "other": 9}))
    assert found is not None
    assert [(share.name, share.tokens, share.cost) for share in found.shares] == [("bm25", 1_000_000, 0.02)]
    assert found.cost == 0.02
    assert estimate_plan(header(10, 4_000_000)).cost is None


def test_time_is_that_of_the_last_runs_and_not_said_without_them():
    assert estimate_plan(header(500, 1), pace=Pace(2, 1_000, 4.0)).seconds == 2.0
    assert estimate_plan(header(500, 1)).seconds is None


@pytest.mark.parametrize(
    ("chunks", "characters", "prices", "pace", "says"),
    [
        (14, 15_210, None, None, "Estimate: 15,210 characters; about 3,802 tokens for bm25; about 58 kB in Qdrant."),
        (1, 1, None, None, "Estimate: 1 character; about 1 token for bm25; about 1.1 kB in Qdrant."),
        (
            1_000,
            1_000_000,
            Prices("EUR", {"bm25": 2}),
            Pace(1, 100, 0.1),
            "Estimate: 1,000,000 characters; about 250,000 tokens for bm25, about 0.50 EUR; about 3.9 MB in Qdrant; "
            "about 1 s at the pace of the last run.",
        ),
        (
            900_000,
            10**9,
            Prices("USD", {"bm25": 0}),
            Pace(3, 1_000, 10),
            "Estimate: 1,000,000,000 characters; about 250,000,000 tokens for bm25, about 0.00 USD; about 3.8 GB in "
            "Qdrant; about 2 h 30 min at the pace of the last 3 runs.",
        ),
    ],
)
def test_an_estimate_says_that_it_is_one(chunks, characters, prices, pace, says):
    assert describe_estimate(estimate_plan(header(chunks, characters), prices, pace)) == says


def test_a_small_amount_is_not_told_to_be_nothing():
    assert [format_cost(amount, "USD") for amount in (0, 0.0000123, 0.004, 0.01, 1234.5)] == [
        "0.00 USD",
        "0.00001 USD",
        "0.004 USD",
        "0.01 USD",
        "1,234.50 USD",
    ]


def dense_header(**settings) -> PlanHeader:
    embedding = {"sparse": "bm25", "dense": {"provider": "openai", "model": "large", **settings}}
    return replace(header(14, 15_210), pipeline=Pipeline("0" * 16, {}, embedding))


def test_a_dense_model_has_a_share_of_its_own_with_its_price_and_its_bytes():
    prices = Prices("USD", {"openai/large": 100})
    found = estimate_plan(dense_header(dimensions=1_000), prices, spared=Spared(0))
    assert found is not None
    assert [(share.name, share.cost) for share in found.shares] == [("bm25", None), ("openai/large", 0.3802)]
    assert found.cost == 0.3802
    assert found.bytes - estimate_plan(header(14, 15_210)).bytes == 14 * 1_000 * NUMBER_BYTES
    assert describe_estimate(found) == (
        "Estimate: 15,210 characters; 14 chunks to embed, 0 cached; about 3,802 tokens for bm25; about 3,802 tokens "
        "for openai/large, about 0.38 USD; about 180 kB in Qdrant."
    )


@pytest.mark.parametrize(
    ("spared", "cost", "says"),
    [
        (Spared(3, 2, 10_000), 0.1302, "14 chunks to embed, 3 cached, 2 repeated; about 3,802 tokens for bm25; about "
         "1,302 tokens for openai/large, about 0.13 USD; "),
        (Spared(12, 2, 15_210), 0, "14 chunks to embed, 12 cached, 2 repeated; about 3,802 tokens for bm25; about 0 "
         "tokens for openai/large, about 0.00 USD; "),
        (Spared(None, 2, 10_000), 0.1302, "14 chunks to embed, 2 repeated; "),
        (Spared(13, 0, 15_210), 0.0001, "about 1 token for openai/large, about 0.0001 USD; "),
    ],
)  # fmt: skip
def test_what_is_cached_or_repeated_costs_nothing_and_a_policy_looks_at_the_whole(spared, cost, says):
    prices = Prices("USD", {"openai/large": 100})
    found = estimate_plan(dense_header(dimensions=1_000), prices, spared=spared)
    assert found is not None
    assert (found.cost, found.full_cost) == (cost, 0.3802)
    assert found.bytes == estimate_plan(dense_header(dimensions=1_000)).bytes
    assert says in describe_estimate(found)


def test_what_nobody_knows_of_vectors_yet_is_said_and_not_counted():
    found = estimate_plan(dense_header())
    assert found is not None
    assert found.shares[1].bytes is None
    assert describe_estimate(found).endswith("; about 58 kB in Qdrant without the vectors of openai/large.")
    assert "cached" not in describe_estimate(found)
    assert estimate_plan(dense_header(), dense=1_000).bytes == estimate_plan(dense_header(dimensions=1_000)).bytes
