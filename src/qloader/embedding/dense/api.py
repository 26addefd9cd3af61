"""One endpoint over HTTP: a request, an answer, and words for what a refusal means."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import orjson

from qloader.config.endpoint import Endpoint
from qloader.embedding.dense.checks import WHAT
from qloader.embedding.dense.errors import EmbeddingError, RefusedTextsError, TryAgainError
from qloader.sources.http.addresses import is_loopback_name, shown
from qloader.sources.http.client import PASSING
from qloader.sources.http.errors import RequestError
from qloader.sources.http.exchange import Answer, Exchange, Request
from qloader.sources.http.network import limits
from qloader.sources.http.settings import HttpSettings
from qloader.sources.http.telling import PassingError
from qloader.stopping import sleep

_TOO_MUCH = ("token", "too long", "too large", "too many", "length", "context", "exceed", "maximum", "batch size")
"""What a refusal says where the texts are too many or too long, whatever the API."""

_SPENT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance")
"""Codes of a 429 that no waiting helps against."""

_LONGEST_ANSWER = 256_000_000
_NEVER_SHOWN = 6
"""A secret of fewer characters than this is no key, but a word that may stand in any message."""


@dataclass(frozen=True, slots=True)
class Service:
    """What an endpoint does for us, for messages.

    Attributes:
        what: Its place in the config.
        gives: What it is asked for, in the plural.
        kept: What is said of what it gave before it gave no more.
        another: What it means to take another model.
        too_long: What to do about texts that are too long for the model.
    """

    what: str
    gives: str
    too_long: str
    kept: str = ""
    another: str = ""


EMBEDDING = Service(
    WHAT,
    "vectors",
    f"If a text is too long for the model, set {WHAT}.max_tokens.",
    "What came back until now is kept in the cache and is not paid for again. ",
    " Another model makes other vectors: the next plan embeds everything anew.",
)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How an endpoint is spoken to.

    Attributes:
        url: Where the requests go.
        headers: Sent with every request; what a key is sent in is one of them.
        secrets: What no message may show, whoever says it.
        http: The manners.
        has_key: Whether a key is sent.
        service: What it is for.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    http: HttpSettings
    has_key: bool
    service: Service = EMBEDDING

    @classmethod
    def of(
        cls,
        section: Endpoint,
        url: str,
        base: Path,
        *,
        key_header: str | None = None,
        parallel: int = 1,
        service: Service = EMBEDDING,
    ) -> ApiSettings:
        """What a section means.

        Args:
            section: The section.
            url: Where the requests go.
            base: The folder that relative paths start from.
            key_header: The header for the key, where it is no bearer token.
            parallel: Requests at a time, at most.
            service: What it is for.

        Raises:
            EmbeddingError: A key that can be none.
        """
        key = section.api_key.get_secret_value() if section.api_key else None
        own = {name: value.get_secret_value() for name, value in section.headers.items()}
        for place, value in {"api_key": key, **{f"headers.{name}": value for name, value in own.items()}}.items():
            # A line break at its end, as a file leaves it, would be quoted by whoever refuses the header.
            if value is not None and not (value.isascii() and value.isprintable() and value == value.strip()):
                raise EmbeddingError(
                    f"{service.what}.{place} holds a line break or another character that no header may have.",
                    remedy="Remove it. A key that is read from a file often ends with a line break.",
                )
        headers = {"accept": "application/json", "content-type": "application/json"}
        if key is not None:
            headers |= {key_header: key} if key_header else {"authorization": f"Bearer {key}"}
        return cls(
            url=url,
            headers=headers | {name.lower(): value for name, value in own.items()},
            secrets=tuple(secret for secret in (key, *own.values()) if secret and len(secret) >= _NEVER_SHOWN),
            http=HttpSettings(
                timeout=section.timeout,
                deadline=section.deadline,
                parallel=parallel,
                ca_file=base / section.ca_file if section.ca_file else None,
                verify=section.verify,
                max_bytes=_LONGEST_ANSWER,
            ),
            has_key=key is not None or bool(own),
            service=service,
        )


class Api:
    """Asks one endpoint, once for each call. May be used by several threads at once; follows no redirect."""

    def __init__(self, settings: ApiSettings) -> None:
        """Connects to nothing yet.

        Raises:
            EmbeddingError: A key would be sent without encryption.
        """
        self._service = settings.service
        self._what = settings.service.what
        place = urlsplit(settings.url)
        is_open = place.scheme == "http" and settings.has_key and not is_loopback_name(place.hostname or "")
        if is_open and settings.http.verify:
            raise EmbeddingError(
                f"{self._what}: {shown(settings.url)} is without encryption, and would be sent the key.",
                remedy=f"Write {self._what}.url with https. In a network that you trust, {self._what}.verify: false "
                "sends it all the same.",
            )
        self._settings = settings
        self._exchange = Exchange(settings.url, settings.http, auth=None, what=self._what, sleep=sleep)

    @property
    def place(self) -> str:
        """The endpoint, for messages."""
        return shown(self._settings.url)

    def post(self, body: Any) -> Any:
        """Sends JSON and gets JSON.

        Raises:
            TryAgainError: No answer, for a reason that may pass.
            RefusedTextsError: It does not take these texts.
            EmbeddingError: It refuses everything, or answers with something else than JSON.
        """
        settings = self._settings
        request = Request("POST", settings.url, settings.headers, orjson.dumps(body), settings.http.max_bytes)
        try:
            with limits(time.monotonic() + settings.http.deadline):
                answer = self._exchange.send(request, settings.url)
        except PassingError as failure:
            raise TryAgainError(self._clean(failure.reason)) from failure
        except RequestError as error:
            raise EmbeddingError(self._clean(str(error)), remedy=error.remedy) from error
        if answer.status >= 300:
            self._refused(answer)
        return self._json(answer)

    def strange(self, expected: str) -> EmbeddingError:
        """The error that an answer is JSON, but not what this API says.

        Args:
            expected: What it lacks.
        """
        return EmbeddingError(
            f"{self._what}: {self.place} answers with something else than expected: there is no {expected}.",
            remedy=f"Check {self._what}.provider and {self._what}.url: another kind of server may listen there.",
        )

    def close(self) -> None:
        """Closes all connections; they are opened again when they are needed."""
        self._exchange.close()

    def _json(self, answer: Answer) -> Any:
        if answer.is_html or answer.body[:1] == b"<":
            raise EmbeddingError(
                f"{self._what}: {self.place} answers with a web page where {self._service.gives} should be.",
                remedy=f"Check {self._what}.url: it is the address of an API, most often with /v1 at its end. A login "
                "page means that a proxy or a single sign-on stands before it.",
            )
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            try:
                return json.loads(answer.body)  # which takes the NaN that some servers write
            except ValueError:
                raise TryAgainError("its answer is no JSON, or is cut off") from None

    def _refused(self, answer: Answer) -> NoReturn:
        status, said = answer.status, self._said(answer)
        what = f"{self._what}: {self.place}"
        if (status == 429 and self._is_spent(answer)) or status == 402:
            raise EmbeddingError(
                f"{what} says that the quota is spent ({status}){said}",
                remedy=f"{self._service.kept}Raise the quota, or wait for the next one, and run the same command "
                "again.",
            )
        if status in PASSING:
            raise TryAgainError(
                f"{self.place} answers {status}{said.rstrip('.')}",
                retry_after=answer.headers.get("retry-after"),
                is_rate=status == 429,
            )
        if status == 401:
            # What it says is left out: it may quote the key.
            raise EmbeddingError(
                f"{what} does not accept the key (401)."
                if self._settings.has_key
                else f"{what} wants a key (401), and there is none.",
                remedy=f"Check {self._what}.api_key, best a variable of the environment: it may be missing, mistyped, "
                "expired or revoked.",
            )
        if status == 403:
            raise EmbeddingError(
                f"{what} refuses what is asked with this key (403){said}",
                remedy="Give the key the right to use the model, or take another one.",
            )
        if status in (404, 410):
            raise EmbeddingError(
                f"{what} knows no such model or address ({status}){said}",
                remedy=f"Check {self._what}.model and {self._what}.url.{self._service.another}",
            )
        if 300 <= status < 400:
            raise EmbeddingError(
                f"{what} answers with a redirect ({status}), which is not followed: nothing was sent on.",
                remedy=f"Set {self._what}.url to the address behind it.",
            )
        lowered = said.lower()
        raise RefusedTextsError(
            f"{what} refuses the request ({status}){said}",
            remedy=f"Check {self._what}.model and the settings beside it. {self._service.too_long}",
            is_too_much=status == 413 or any(word in lowered for word in _TOO_MUCH),
        )

    @staticmethod
    def _is_spent(answer: Answer) -> bool:
        body = answer.body.lower()
        return any(code.encode() in body for code in _SPENT)

    def _said(self, answer: Answer) -> str:
        """What the provider says of it, as the end of a sentence."""
        try:
            text = _message(orjson.loads(answer.body))
        except orjson.JSONDecodeError:
            text = "" if answer.is_html else answer.body[:400].decode("utf-8", "replace")
        text = " ".join(self._clean(text).split())
        text = "".join(char for char in text if char.isprintable())[:300].rstrip(". ")
        return f": {text}." if text else "."

    def _clean(self, text: str) -> str:
        for secret in self._settings.secrets:
            text = text.replace(secret, "…")
        return text


def _message(body: Any) -> str:
    """The message in the body of an error, as the common APIs have it."""
    while isinstance(body, dict):
        body = next((body[key] for key in ("error", "message", "detail", "msg", "errors") if body.get(key)), "")
    if isinstance(body, list):
        return _message(body[0]) if body else ""
    return body if isinstance(body, str) else ""
