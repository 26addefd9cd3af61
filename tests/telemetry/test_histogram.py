"""The histogram against the values themselves: statistics, bounds, and what becomes of two that are added up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloader.telemetry.histogram import BUCKETS_A_DOUBLING, ERROR, LARGEST, SMALLEST, Histogram

VALUES = st.lists(st.floats(min_value=1e-6, max_value=1e12), min_size=1, max_size=200)
SHARES = st.sampled_from([0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0])


def nearest_rank(values: list[float], share: float) -> float:
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@given(VALUES, SHARES)
def test_a_quantile_is_the_value_of_the_nearest_rank_within_the_error_that_is_said(
    values: list[float], share: float
) -> None:
    found = Histogram.of(values).quantile(share)
    wanted = nearest_rank(values, share)
    assert abs(found - wanted) <= wanted * ERROR * (1 + 1e-9)


@given(VALUES)
def test_count_sum_least_and_most_are_exact(values: list[float]) -> None:
    found = Histogram.of(values).statistics()
    assert (found["count"], found["min"], found["max"]) == (len(values), min(values), max(values))
    assert found["sum"] == pytest.approx(sum(values))
    assert found["mean"] == pytest.approx(sum(values) / len(values))


@given(VALUES, VALUES)
def test_two_that_are_added_up_are_one_of_all_values(first: list[float], second: list[float]) -> None:
    both = Histogram.of(first)
    both.merge(Histogram.of(second))
    whole = Histogram.of([*first, *second])
    assert (both.count, both.least, both.most, both.buckets) == (whole.count, whole.least, whole.most, whole.buckets)
    assert both.total == pytest.approx(whole.total)


@given(st.lists(st.floats(min_value=0, max_value=1e300), max_size=50))
def test_one_that_was_written_down_is_the_same_when_it_is_read(values: list[float]) -> None:
    histogram = Histogram.of(values)
    assert Histogram.from_dict(histogram.as_dict()) == histogram


def test_it_takes_bounded_memory_whatever_comes() -> None:
    histogram = Histogram.of(10.0**exponent * step for exponent in range(-30, 30) for step in range(1, 100))
    assert len(histogram.buckets) <= math.log2(LARGEST / SMALLEST) * BUCKETS_A_DOUBLING + 1
    assert histogram.count == 60 * 99


def test_zeros_and_what_is_less_have_a_place_too() -> None:
    histogram = Histogram.of([0.0, -1.0, 0.0, 5.0])
    assert (histogram.quantile(0.5), histogram.quantile(1.0), histogram.zeros) == (0.0, 5.0, 3)
    assert Histogram().statistics() == dict.fromkeys(("count", "sum", "min", "max", "mean", "p50", "p95", "p99"), 0.0)
