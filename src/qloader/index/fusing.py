"""Weighted fusion of rankings, for every index alike.

Only newer servers know weights. So each vector is asked by itself, and the rankings are fused here, by the formula that
Qdrant's client has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from qloader.index.protocol import RRF_K, Hit, in_order


def fuse_weighted(rankings: Mapping[str, Sequence[Hit]], weights: Mapping[str, float], limit: int) -> list[Hit]:
    """The best hits of several rankings together: reciprocal rank fusion, in which some rankings count more.

    A hit of rank r (from 1) counts 1 / (r / w + k - 1). The weights are brought to a mean of 1 first, so that only
    their ratio matters, and equal ones are as none.

    Args:
        rankings: What each vector found, best first.
        weights: How much each counts; all of them positive.
        limit: How many hits at most.
    """
    mean = sum(weights[name] for name in rankings) / len(rankings)
    scores: dict[str, float] = defaultdict(float)
    payloads = {hit.id: hit.payload for found in rankings.values() for hit in found}
    for name, found in rankings.items():
        for rank, hit in enumerate(found, 1):
            scores[hit.id] += 1 / (rank * mean / weights[name] + RRF_K - 1)
    return in_order((Hit(id, score, payloads[id]) for id, score in scores.items()), limit)
