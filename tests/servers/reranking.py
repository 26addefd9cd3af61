"""A reranker on the loopback, with real HTTP: Cohere's API as others speak it too, and that of TEI.

A text scores as many of the question's words as it has, as a share of them; what was asked is kept.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

KEY = "rk-a-key-of-the-loopback"
MODEL = "rerank-words"


def score_of(query: str, text: str) -> float:
    """How many of the question's words a text has."""
    words = set(re.findall(r"\w+", query.lower()))
    return len(words & set(re.findall(r"\w+", text.lower()))) / max(len(words), 1)


@dataclass
class RerankingModel:
    """What the reranker does, and what it was asked.

    Attributes:
        key: The only key that it accepts.
        failures: Status, headers and body of the next answers, one each.
        change: Changes the JSON of an answer 200 before it is sent.
        score: What it says of a question and a text.
        bodies: What it was sent.
    """

    key: str = KEY
    failures: deque[tuple[int, dict[str, str], str]] = field(default_factory=deque)
    change: Callable[[Any], Any] | None = None
    score: Callable[[str, str], float] = score_of
    bodies: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, status: int, body: str | dict[str, Any] = "", headers: dict[str, str] | None = None) -> None:
        """The next request is answered so."""
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/html" if text.startswith("<") else "application/json"
        self.failures.append((status, {"content-type": kind, **(headers or {})}, text))


def make_app(model: RerankingModel) -> Starlette:
    """The APIs: `/v2/rerank` with a key, and `/rerank` without."""

    def answering(texts_key: str, write: Callable[[list[tuple[int, float]], dict[str, Any]], Any], *, has_key: bool):
        async def answer(request: Request) -> Response:
            body = json.loads(await request.body())
            with model.lock:
                model.bodies.append(body)
                if model.failures:
                    status, headers, text = model.failures.popleft()
                    return Response(text, status, headers)
            if has_key and request.headers.get("authorization") != f"Bearer {model.key}":
                return Response(json.dumps({"message": "invalid api token"}), 401)
            scores = [(number, model.score(body["query"], text)) for number, text in enumerate(body[texts_key])]
            found = write(sorted(scores, key=lambda one: -one[1]), body)
            return Response(json.dumps(model.change(found) if model.change else found), media_type="application/json")

        return answer

    def cohere(ranked, body):
        results = [{"index": number, "relevance_score": score} for number, score in ranked[: body["top_n"]]]
        return {"id": "1", "results": results, "meta": {"billed_units": {"search_units": 1}}}

    def tei(ranked, body):
        return [{"index": number, "score": score} for number, score in ranked]

    return Starlette(
        routes=[
            Route("/v2/rerank", answering("documents", cohere, has_key=True), methods=["POST"]),
            Route("/rerank", answering("texts", tei, has_key=False), methods=["POST"]),
        ]
    )
