"""A model that puts the hits of a search in order anew: it reads the question and each text together.

`cohere` speaks `POST /rerank` (https://docs.cohere.com/reference/rerank), `http` whatever its template says.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from qloader.config.rerankers import CohereRerank, HttpRerank, RerankSection
from qloader.counting import counted
from qloader.embedding.dense.answers import at_path
from qloader.embedding.dense.api import Api, ApiSettings, Service
from qloader.embedding.dense.errors import TryAgainError
from qloader.embedding.dense.http import filled
from qloader.errors import EmbeddingError, RerankError
from qloader.retrying import RetryPolicy

WHAT = "search.rerank"
_RERANKING = Service(WHAT, "scores", "If the texts are too many or too long for the model, lower `top`.")


class Reranker:
    """Asks one endpoint how well texts answer a question. Connects to nothing before it is asked."""

    def __init__(self, section: RerankSection, base: Path) -> None:
        """Prepares what is sent.

        Args:
            section: What `search.rerank` says.
            base: The folder of the config file, which relative paths start from.

        Raises:
            RerankError: A key that can be none, or that would be sent without encryption.
        """
        self._section = section
        self._body, self._scores, self._indexes = _shape(section)
        url = f"{section.url.rstrip('/')}/rerank" if isinstance(section, CohereRerank) else section.url
        self._policy = RetryPolicy(section.retry_attempts, section.retry_delay)
        try:
            self._api = Api(ApiSettings.of(section, url, base, service=_RERANKING))
        except EmbeddingError as error:
            raise RerankError(str(error), remedy=error.remedy) from error

    @property
    def label(self) -> str:
        """How people name it, e.g. `cohere/rerank-v3.5`."""
        return f"{self._section.provider}/{self._section.model or self._api.place}"

    @property
    def top(self) -> int:
        """How many hits are put in order anew, where a search does not ask for more."""
        return self._section.top

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the question, the more the better; they compare within one question only.

        Args:
            query: The question.
            texts: One at least.

        Raises:
            RerankError: It does not answer, refuses, or answers with something else than a score for each text.
        """
        values = {"query": query, "texts": list(texts), "model": self._section.model, "count": len(texts)}
        try:
            answer = self._ask(filled(self._body, values))
            found = self._at(answer, self._scores)
            indexes = self._at(answer, self._indexes) if self._indexes else None
        except EmbeddingError as error:
            raise RerankError(str(error), remedy=error.remedy) from error
        return _in_order(found, indexes, len(texts))

    def close(self) -> None:
        """Closes all connections."""
        self._api.close()

    def _ask(self, body: Any) -> Any:
        """Sends one request until it gets an answer that will not pass by itself."""
        failures = 0
        while True:
            try:
                return self._api.post(body)
            except TryAgainError as failure:
                failures += 1
                if failures > self._policy.attempts:
                    raise RerankError(
                        f"{WHAT}: the reranker cannot be used just now: {failure.reason} "
                        f"(tried {counted(failures, 'time')}).",
                        remedy=f"Check {WHAT}.url and the network, proxies included, and try again.",
                    ) from failure
                self._policy.sleep(self._policy.wait(failures, failure.retry_after))

    def _at(self, answer: Any, path: str) -> Any:
        try:
            return at_path(answer, path)
        except KeyError:
            raise self._api.strange(f"`{path}`") from None


def _shape(section: RerankSection) -> tuple[Any, str, str | None]:
    """What is sent, and where scores and positions are in the answer."""
    if isinstance(section, HttpRerank):
        return section.body, section.scores, section.indexes
    body = {"model": "{model}", "query": "{query}", "documents": "{texts}", "top_n": "{count}"}
    return body, "results.*.relevance_score", "results.*.index"


def _in_order(scores: Any, indexes: Any, count: int) -> list[float]:
    """Scores in the order of the texts, each checked."""
    if not isinstance(scores, list) or len(scores) != count:
        came = len(scores) if isinstance(scores, list) else 0
        raise RerankError(f"{WHAT}: {count} texts were sent, and {came} scores came back.", remedy=_REMEDY)
    if not all(isinstance(score, int | float) and isfinite(score) for score in scores):
        raise RerankError(f"{WHAT}: a score that came back is no number.", remedy=_REMEDY)
    if indexes is None:
        return [float(score) for score in scores]
    if not isinstance(indexes, list) or not all(type(index) is int for index in indexes):
        indexes = []
    if sorted(indexes) != list(range(count)):
        raise RerankError(
            f"{WHAT}: the answer does not say which score is of which text: its indexes are not those of the texts.",
            remedy=_REMEDY,
        )
    placed = dict(zip(indexes, scores, strict=True))
    return [float(placed[position]) for position in range(count)]


_REMEDY = f"Check {WHAT}.url and {WHAT}.model, and what stands between here and the provider (a proxy, a gateway)."
