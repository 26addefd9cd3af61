"""A provider of embeddings on the loopback: the APIs of OpenAI, Azure, Voyage and Cohere, and two of its own.

As far as texts become vectors, and as the providers' references say: empty texts are refused, so are too many and too
long ones, keys and quotas end, limits are told with Retry-After. Its vectors are sums of random directions, one for
each word, so that texts with words in common are near each other, on every machine.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from xxhash import xxh3_64_intdigest

MODEL = "words-32"
KEY = "sk-a-key-of-the-loopback"


@lru_cache(maxsize=100_000)
def direction(word: str, dim: int) -> np.ndarray:
    """The direction of a word."""
    return np.random.default_rng(xxh3_64_intdigest(word.encode())).standard_normal(dim)


def vector_of(text: str, dim: int = 32) -> np.ndarray:
    """The vector of a text; one without words has that of its signs."""
    words = re.findall(r"\w+", text.lower()) or [text]
    total = np.sum([direction(word, dim) for word in words], axis=0)
    return (total / np.linalg.norm(total)).astype(np.float32)


def count_tokens(text: str) -> int:
    """Words and signs, as this provider counts them."""
    return len(re.findall(r"\w+|[^\w\s]", text))


@dataclass
class EmbeddingsModel:
    """What the provider does, and what it was asked and paid for.

    Attributes:
        key: The only key that it accepts.
        model: The model that it has.
        dim: How long its vectors are, where nobody asks for another length.
        others: Further models, and how long the vectors of each are.
        failures: Status, headers and body of the next answers, one each.
        change: Changes the JSON of an answer 200 before it is sent.
        revoked_after: From this request on the key is not accepted.
        quota: Tokens that may be paid for; then it is spent.
        requests_per_second: More than these in any second are answered with 429.
        retry_after: What it says then.
        max_texts: Texts in a request.
        max_tokens: Tokens in a text.
        delay: Seconds that an answer takes.
        meeting: The first answers wait until so many requests were under way at the same time.
        clock: Seconds from some start, for `requests_per_second`.
        at_once: The most requests that were under way at the same time.
        texts: Every text that was embedded, in the order that it came.
        kinds: What it was told about the texts of each request.
    """

    key: str = KEY
    model: str = MODEL
    dim: int = 32
    others: dict[str, int] = field(default_factory=dict)
    failures: deque[tuple[int, dict[str, str], str]] = field(default_factory=deque)
    change: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    revoked_after: int | None = None
    quota: int | None = None
    requests_per_second: int | None = None
    retry_after: str = "0"
    max_texts: int = 2048
    max_tokens: int = 8191
    delay: float = 0.0
    meeting: int = 0
    clock: Callable[[], float] = time.monotonic
    requests: int = 0
    refused: int = 0
    tokens: int = 0
    under_way: int = 0
    at_once: int = 0
    texts: list[str] = field(default_factory=list)
    kinds: list[Any] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    times: deque[float] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, status: int, body: str | dict[str, Any] = "", headers: dict[str, str] | None = None) -> None:
        """The next request is answered so."""
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/html" if text.startswith("<") else "application/json"
        self.failures.append((status, {"content-type": kind, **(headers or {})}, text))

    def refusal(self, key: str, model: str, texts: list[str]) -> tuple[int, dict[str, str], str] | None:
        """Why a request gets no vectors, if it gets none."""
        self.requests += 1
        if self.failures:
            return self.failures.popleft()
        if key != self.key or (self.revoked_after is not None and self.requests > self.revoked_after):
            return error(401, f"Incorrect API key provided: {key}.", "invalid_api_key")
        if self.requests_per_second is not None:
            now = self.clock()
            while self.times and self.times[0] <= now - 1:
                self.times.popleft()
            if len(self.times) >= self.requests_per_second:
                return error(429, "Rate limit reached.", "rate_limit_exceeded", {"retry-after": self.retry_after})
            self.times.append(now)
        if model != self.model and model not in self.others:
            return error(404, f"The model `{model}` was renamed to `{self.model}`.", "model_not_found")
        if len(texts) > self.max_texts:
            return error(422, f"batch size {len(texts)} > maximum allowed batch size {self.max_texts}", "batch")
        if not all(texts):
            return error(400, "input cannot be an empty string", "invalid_input")
        if any(count_tokens(text) > self.max_tokens for text in texts):
            return error(400, f"This model's maximum context length is {self.max_tokens} tokens.", "too_long")
        cost = sum(map(count_tokens, texts))
        if self.quota is not None and self.tokens + cost > self.quota:
            return error(429, "You exceeded your current quota.", "insufficient_quota")
        self.tokens += cost
        self.texts += texts
        return None


def error(status: int, message: str, code: str, headers: dict[str, str] | None = None):
    body = {"error": {"message": message, "code": code}}
    return status, {"content-type": "application/json", **(headers or {})}, json.dumps(body)


def make_app(model: EmbeddingsModel) -> Starlette:
    """The APIs: `/v1/embeddings`, `/openai/deployments/…/embeddings`, `/v2/embed`, `/vectors`, `/vector`."""

    def answering(read: Callable[[dict[str, Any]], tuple[str, list[str], Any]], write: Callable[..., dict[str, Any]]):
        async def answer(request: Request) -> Response:
            body = json.loads(await request.body())
            name, texts, kind = read(body)
            key = request.headers.get("api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
            with model.lock:
                model.under_way += 1
                model.at_once = max(model.at_once, model.under_way)
                model.kinds.append(kind)
                model.bodies.append(body)
                refusal = model.refusal(key, request.path_params.get("deployment", name), texts)
                if refusal:
                    model.refused += 1
            await asyncio.sleep(model.delay)
            while model.at_once < model.meeting:
                await asyncio.sleep(0.005)
            with model.lock:
                model.under_way -= 1
            if refusal:
                status, headers, text = refusal
                return Response(text, status, headers)
            length = model.others.get(name, model.dim)
            dim = body.get("dimensions") or body.get("output_dimension") or length
            said = f"{kind} " if kind and "query" in str(kind) else ""
            rows = [vector_of(said + text, dim).tolist() for text in texts]
            found = write(rows, sum(map(count_tokens, texts)))
            if model.change:
                found = model.change(found)
            return Response(json.dumps(found), media_type="application/json")

        return answer

    def openai_read(body):
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        return body.get("model", ""), texts, body.get("input_type")

    def openai_write(rows, tokens):
        data = [{"object": "embedding", "index": number, "embedding": row} for number, row in enumerate(rows)]
        return {"object": "list", "data": data, "model": model.model, "usage": {"total_tokens": tokens}}

    def cohere_read(body):
        return body["model"], body["texts"], body["input_type"]

    def cohere_write(rows, tokens):
        return {"id": "1", "embeddings": {"float": rows}, "meta": {"billed_units": {"input_tokens": tokens}}}

    def own_read(body):
        return body["name"], body["passages"], body["task"]

    def own_write(rows, tokens):
        return {"result": {"items": [{"place": number, "values": row} for number, row in enumerate(rows)]}}

    def single_read(body):
        return body["name"], [body["prompt"]], None

    def single_write(rows, tokens):
        return {"embedding": rows[0]}

    async def moved(request: Request) -> Response:
        return Response(status_code=307, headers={"location": "/v1/embeddings"})

    async def page(request: Request) -> Response:
        return Response("<!doctype html><title>Log in</title>", media_type="text/html")

    async def models(request: Request) -> Response:
        return JSONResponse({"models": [model.model]})

    post = ["POST"]
    return Starlette(
        routes=[
            Route("/v1/embeddings", answering(openai_read, openai_write), methods=post),
            Route("/openai/deployments/{deployment}/embeddings", answering(openai_read, openai_write), methods=post),
            Route("/v2/embed", answering(cohere_read, cohere_write), methods=post),
            Route("/vectors", answering(own_read, own_write), methods=post),
            Route("/vector", answering(single_read, single_write), methods=post),
            Route("/moved/embeddings", moved, methods=post),
            Route("/page/embeddings", page, methods=post),
            Route("/other/embeddings", models, methods=post),
        ]
    )
