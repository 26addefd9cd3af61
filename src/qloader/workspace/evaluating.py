"""How well the index answers questions whose answers are known: recall, MRR and nDCG, mode by mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Any

import yaml

from qloader.errors import ConfigError
from qloader.workspace.searching import Mode, SearchRequest, modes_of, open_searcher
from qloader.workspace.settings import Settings

MAX_BYTES = 1 << 24
CHUNKS_A_DOCUMENT = 5
"""Chunks that are asked for, for each document that counts: several chunks of one document are one answer."""

AS_CONFIGURED = SearchRequest()

_FORM = 'Write a list of {query: "how do deletes work", relevant: [docs/deletes.md]}.'


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the addresses of the documents that should be found."""

    query: str
    relevant: frozenset[str]


@dataclass(frozen=True, slots=True)
class Score:
    """How good answers are, from 0 to 1, each a mean over the questions. A document counts or does not.

    Attributes:
        recall: The share of the relevant documents that is among the first `limit`.
        mrr: 1 divided by the rank of the first relevant document; 0 where none is among them.
        ndcg: The same for all of them, each marked down by the logarithm of its rank, against the best order there is
            (Järvelin and Kekäläinen 2002).
    """

    recall: float
    mrr: float
    ndcg: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of it.

    Attributes:
        limit: How many documents of an answer counted.
        questions: How many questions there were.
        scores: By mode.
        missed: By mode: the questions of which nothing relevant was found.
        unknown: Addresses that should be found and that the index does not hold.
    """

    limit: int
    questions: int
    scores: Mapping[Mode, Score]
    missed: Mapping[Mode, tuple[str, ...]]
    unknown: tuple[str, ...]


def read_questions(path: Path) -> list[Question]:
    """Reads a YAML list of `{query, relevant: [addresses]}`.

    Raises:
        ConfigError: It cannot be read, or is something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}", remedy="Check the path.") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} is over {MAX_BYTES >> 20} MiB: those are no questions", remedy="Check the path.")
    try:
        # Every scalar is text: `no` is a question as good as any other.
        value = yaml.load(data, yaml.CBaseLoader if hasattr(yaml, "CBaseLoader") else yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}", remedy=_FORM) from None
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{path} is no list of questions", remedy=_FORM)
    return [_question(path, number, entry) for number, entry in enumerate(value, 1)]


def _question(path: Path, number: int, entry: Any) -> Question:
    match entry:
        case {"query": str(query), "relevant": [_, *_] as relevant, **rest} if not rest:
            if all(isinstance(address, str) and "/" in address for address in relevant):
                return Question(query, frozenset(relevant))
    raise ConfigError(f"{path}: entry {number} is no question with the addresses of its answers", remedy=_FORM)


def evaluate(
    settings: Settings,
    questions: Sequence[Question],
    *,
    limit: int = 10,
    modes: Sequence[Mode] = (),
    request: SearchRequest = AS_CONFIGURED,
) -> Evaluation:
    """Asks every question in every mode.

    Args:
        settings: The config and what follows from it.
        questions: One at least.
        limit: How many documents of an answer count.
        modes: The modes; all that the config allows where none is named.
        request: How to search; its own mode does not count.

    Raises:
        StateError: Nothing was applied yet.
        ConfigError: A mode needs dense vectors, and the config has none; or a weight is none.
        EmbeddingError: A question cannot be embedded.
        RerankError: Hits cannot be reranked.
        ForeignIndexError: The collection is another state's, or gone, or its dense vectors are another model's.
        IndexUnavailableError: The index cannot be opened.
    """
    modes = tuple(modes) or modes_of(settings)
    answers: dict[Mode, list[list[str]]] = {mode: [] for mode in modes}
    with open_searcher(settings, request, modes) as searcher:
        for question in questions:
            for mode in modes:
                hits = searcher.search(question.query, limit=limit * CHUNKS_A_DOCUMENT, mode=mode)
                addresses = (f"{hit.payload['source']}/{hit.payload['document_id']}" for hit in hits)
                answers[mode].append(list(dict.fromkeys(addresses))[:limit])
    relevant = [question.relevant for question in questions]
    return Evaluation(
        limit=limit,
        questions=len(questions),
        scores={mode: score(found, relevant, limit) for mode, found in answers.items()},
        missed={
            mode: tuple(q.query for q, one in zip(questions, found, strict=True) if not q.relevant & set(one))
            for mode, found in answers.items()
        },
        unknown=_unknown(settings, frozenset().union(*relevant)),
    )


def score(answers: Sequence[Sequence[str]], relevant: Sequence[frozenset[str]], limit: int) -> Score:
    """How good answers are.

    Args:
        answers: To each question the addresses found, best first, none of them twice.
        relevant: To each question those that should be found; one at least.
        limit: How many of an answer count.
    """
    recall = mrr = ndcg = 0.0
    for found, wanted in zip(answers, relevant, strict=True):
        ranks = [rank for rank, address in enumerate(found[:limit], 1) if address in wanted]
        recall += len(ranks) / len(wanted)
        mrr += 1 / ranks[0] if ranks else 0.0
        best = sum(1 / log2(rank + 1) for rank in range(1, min(len(wanted), limit) + 1))
        ndcg += sum(1 / log2(rank + 1) for rank in ranks) / best
    return Score(recall / len(relevant), mrr / len(relevant), ndcg / len(relevant))


def _unknown(settings: Settings, addresses: frozenset[str]) -> tuple[str, ...]:
    state = settings.read_state()
    if state is None:
        return tuple(sorted(addresses))
    with state:
        return tuple(sorted(address for address in addresses if not state.holds(*address.split("/", 1))))
