"""A histogram that takes any number of values in bounded memory, and adds up with others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

BUCKETS_A_DOUBLING = 32
"""The bounds of the buckets are 2^(n/32): those of an exponential histogram of OpenTelemetry with scale 5."""

ERROR = 2 ** (1 / (2 * BUCKETS_A_DOUBLING)) - 1
"""How far a quantile may be from the value that it stands for, as a share of it: 1.1 %, half a bucket."""

SMALLEST, LARGEST = 1e-9, 1e18
"""Values outside are counted with the nearest of these, which bounds the buckets: there are 2,871 at most."""


@dataclass(slots=True)
class Histogram:
    """How values are spread.

    Attributes:
        count: How many there were.
        total: Their sum.
        least: The least of them, exactly; infinite where there is none.
        most: The greatest, exactly.
        zeros: How many were 0 or less: their place is in no bucket.
        buckets: How many were above 2^(n/32) and at most 2^((n+1)/32), by n. Empty ones are not there.
    """

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = 0.0
    zeros: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Iterable[float]) -> Histogram:
        """The histogram of some values."""
        made = cls()
        for value in values:
            made.add(value)
        return made

    def add(self, value: float) -> None:
        """Counts one value in; one below 0 as 0."""
        value = max(value, 0.0)
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        if value == 0:
            self.zeros += 1
            return
        bucket = math.ceil(math.log2(min(max(value, SMALLEST), LARGEST)) * BUCKETS_A_DOUBLING) - 1
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def merge(self, other: Histogram) -> None:
        """Counts in all that another has counted; nothing is lost by that."""
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        self.zeros += other.zeros
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def copy(self) -> Histogram:
        """Another that may be changed by itself."""
        return Histogram(self.count, self.total, self.least, self.most, self.zeros, dict(self.buckets))

    @property
    def mean(self) -> float:
        """The mean, exactly; 0 where there is no value."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The value that so many of all are not above, within `ERROR`; 0 where there is no value.

        Args:
            share: From 0 to 1: 0.95 is the 95th percentile, by the nearest rank.
        """
        if not self.count:
            return 0.0
        rank = max(1, math.ceil(share * self.count))
        seen = self.zeros
        if rank <= seen:
            return 0.0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if rank <= seen:
                return float(min(max(2 ** ((bucket + 0.5) / BUCKETS_A_DOUBLING), self.least), self.most))
        return self.most

    def statistics(self) -> dict[str, float]:
        """What people ask for: count, sum, min, max, mean, p50, p95, p99."""
        return {
            "count": self.count,
            "sum": self.total,
            "min": self.least if self.count else 0.0,
            "max": self.most,
            "mean": self.mean,
            "p50": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "p99": self.quantile(0.99),
        }

    def as_dict(self) -> dict[str, Any]:
        """As a JSON value that `from_dict` reads."""
        return {
            "count": self.count,
            "total": self.total,
            "least": self.least if self.count else 0.0,
            "most": self.most,
            "zeros": self.zeros,
            "buckets": [[bucket, self.buckets[bucket]] for bucket in sorted(self.buckets)],
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Histogram:
        """What `as_dict` wrote."""
        return cls(
            count=value["count"],
            total=value["total"],
            least=value["least"] if value["count"] else math.inf,
            most=value["most"],
            zeros=value["zeros"],
            buckets=dict(value["buckets"]),
        )
