"""What the Qdrant client raises, as errors with a remedy. Imported where a client is, and then only.

The client has four families of errors (HTTP answers, failed connections, gRPC status, and answers that it
cannot read). They are first sorted by what a user can do about them, and then put into words once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
from pydantic import ValidationError
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from qloader.errors import ForeignIndexError, IndexUnavailableError, QloaderError
from qloader.index.batches import RequestTooLargeError

_MAX_WORDS = 300
_AGAIN = "then run the same command again: what was done is kept."


class Trouble(Enum):
    """What a user can do about a failed request, and the sentence that says so."""

    UNREACHABLE = f"Check index.url, and that the server runs there; {_AGAIN}"
    SLOW = f"Look at the server's load, or raise index.timeout and ingestion.batch.timeout; {_AGAIN}"
    TLS = (
        "Check whether index.url should begin with http:// or https://, and the server's certificate; the authority "
        "behind a private one is named by SSL_CERT_FILE (for gRPC, GRPC_DEFAULT_SSL_ROOTS_FILE_PATH)."
    )
    KEY = "Check index.api_key: whether it is this server's, and whether it may read and write this collection."
    NO_QDRANT = "Check index.url: scheme, host, port and path. Qdrant's own ports are 6333, and 6334 for gRPC."
    GONE = "Check index.url and index.collection; `qloader apply` makes it."
    BUSY = f"Wait a while, {_AGAIN}"
    LARGE = "Lower chunking.max_chars, or raise the server's service.max_request_size_mb and its proxy's limit."
    FAILED = f"Look at the server's log, {_AGAIN}"
    REFUSED = "Look at the server's log; qloader needs Qdrant 1.16 or newer."


_BY_STATUS = {
    401: Trouble.KEY,
    403: Trouble.KEY,
    404: Trouble.NO_QDRANT,
    408: Trouble.SLOW,
    413: Trouble.LARGE,
    429: Trouble.BUSY,
    504: Trouble.SLOW,
}
_TOO_LARGE = (
    "larger than allowed"  # status 400: service.max_request_size_mb
    "|try to split your request"  # status 429: more points than a collection's rate limit has room for
    '|Limit exceeded .* for "(upsert|update) limit"'  # status 400: a collection's strict mode
    "|message length too large|larger than max"  # gRPC
)
"""What Qdrant says of a request that would pass in parts."""

_PASSING_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_PASSING_TROUBLE = frozenset({Trouble.UNREACHABLE, Trouble.SLOW, Trouble.BUSY, Trouble.FAILED})
_PASSING_ERRORS = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError, ConnectionError)

_BY_CODE = {
    "CANCELLED": Trouble.UNREACHABLE,
    "DEADLINE_EXCEEDED": Trouble.SLOW,
    "NOT_FOUND": Trouble.GONE,
    "PERMISSION_DENIED": Trouble.KEY,
    "RESOURCE_EXHAUSTED": Trouble.BUSY,
    "UNAUTHENTICATED": Trouble.KEY,
    "UNAVAILABLE": Trouble.UNREACHABLE,
    "UNIMPLEMENTED": Trouble.NO_QDRANT,
    "INTERNAL": Trouble.FAILED,
    "UNKNOWN": Trouble.FAILED,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request.

    Attributes:
        trouble: What kind of trouble it is.
        words: What was said about it.
        may_pass: Whether the same request, sent again, may succeed.
        retry_after: What the server said in `Retry-After`.
    """

    trouble: Trouble
    words: str
    may_pass: bool = False
    retry_after: str | None = None


def understand(error: BaseException) -> Failure | None:
    """What kind of trouble an error of the client is; None where it is a mistake of the program."""
    if isinstance(error, ResponseHandlingException):
        # The client's wrapper, without words of its own.
        return _of_answer(error.source) or _of_transport(error.source)
    if isinstance(error, OSError | httpx.InvalidURL) or str(error).startswith("Error initializing the grpc"):
        return _of_transport(error)
    return _of_answer(error)


def as_error(
    failure: Failure, *, what: str, server: str, collection: str, secret: str | None, tries: int = 1
) -> QloaderError:
    """Puts a failure into words.

    Args:
        failure: What went wrong.
        what: What could not be done, as in "cannot be `read`".
        server: The server's address, without credentials.
        collection: The collection's name.
        secret: The API key, which a server or proxy may repeat in its answer, and which no message may hold.
        tries: How often the request was sent.
    """
    words = failure.words.replace(secret, "***") if secret else failure.words
    words = re.sub(r"\s+", " ", words).strip()
    if failure.trouble is Trouble.GONE:
        return ForeignIndexError(
            f"there is no collection {collection} on the Qdrant server {server}", remedy=failure.trouble.value
        )
    text = f"the collection {collection} on the Qdrant server {server} cannot be {what}: "
    text += _reason(failure.trouble, has_key=secret is not None)
    if words:
        text += f" ({words[:_MAX_WORDS]})"
    if tries > 1:
        text += f", {tries} times in a row"
    remedy = failure.trouble.value
    if failure.trouble is Trouble.KEY and secret is None:
        remedy = "Set index.api_key, for example to ${QDRANT_API_KEY}."
    if failure.trouble is Trouble.LARGE:
        return RequestTooLargeError(text, remedy=remedy)
    return IndexUnavailableError(text, remedy=remedy)


def _reason(trouble: Trouble, *, has_key: bool) -> str:
    if trouble is Trouble.KEY:
        return "the server refused the API key" if has_key else "the server wants an API key"
    return {
        Trouble.UNREACHABLE: "the server cannot be reached",
        Trouble.SLOW: "the server did not answer in time",
        Trouble.TLS: "no secure connection comes about",
        Trouble.NO_QDRANT: "what answers there is no Qdrant server",
        Trouble.BUSY: "the server is overloaded",
        Trouble.LARGE: "the request is larger than the server takes",
        Trouble.FAILED: "the server failed",
        Trouble.REFUSED: "the server refused the request",
    }[trouble]


def _of_answer(error: BaseException) -> Failure | None:
    if isinstance(error, UnexpectedResponse):
        return _of_response(error)
    if isinstance(error, grpc.RpcError):
        return _of_rpc(error)
    if isinstance(error, QdrantException):
        return _of_exhaustion(error)
    # Status 200, but no JSON, other JSON, or none of the result that the client asserts.
    is_empty = isinstance(error, AssertionError) and "None" in str(error)
    if is_empty or isinstance(error, ValidationError | json.JSONDecodeError):
        return Failure(Trouble.NO_QDRANT, "its answer is not Qdrant's")
    return None


def _of_exhaustion(error: QdrantException) -> Failure:
    """Status 429 with `Retry-After`, for which the client has errors of its own; it knows no date there."""
    if isinstance(error, ResourceExhaustedResponse):
        return Failure(Trouble.BUSY, str(error), may_pass=True, retry_after=str(error.retry_after_s))
    return Failure(Trouble.BUSY, "HTTP 429", may_pass=True, retry_after=str(error).partition(": ")[2])


def _of_response(error: UnexpectedResponse) -> Failure:
    status = error.status_code or 0
    words = _qdrant_words(error.content)
    if status == 404 and words:
        return Failure(Trouble.GONE, words)
    if re.search(_TOO_LARGE, words):
        trouble = Trouble.LARGE
    elif status in _BY_STATUS:
        trouble = _BY_STATUS[status]
    elif status >= 500:
        trouble = Trouble.FAILED
    else:
        trouble = Trouble.REFUSED if words else Trouble.NO_QDRANT
    if trouble is Trouble.KEY:
        words = words or _one_line(error.content)
    # A proxy's page of HTML is named by its status, not quoted.
    words = words or f"HTTP {status} {error.reason_phrase}".strip()
    may_pass = status in _PASSING_STATUS and trouble in _PASSING_TROUBLE
    return Failure(trouble, words, may_pass, error.headers.get("retry-after"))


def _qdrant_words(body: bytes) -> str:
    """Qdrant's own words in the body of an error: `{"status": {"error": "..."}}`."""
    try:
        return str(json.loads(body)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def _one_line(body: bytes) -> str:
    """A body of one line of text, which is how Qdrant says that a key is missing or wrong."""
    text = body.decode("utf-8", "replace").strip()
    return "" if "\n" in text or "<" in text else text


def _of_rpc(error: Any) -> Failure:
    code, words = error.code().name, error.details() or ""
    trouble = _BY_CODE.get(code, Trouble.REFUSED)
    if trouble in (Trouble.UNREACHABLE, Trouble.FAILED) and _is_tls(words):
        trouble = Trouble.TLS
    elif re.search(r"http1\.x|HTTP/2|content-type", words):
        trouble = Trouble.NO_QDRANT
    elif re.search(_TOO_LARGE, words):
        trouble = Trouble.LARGE
    return Failure(trouble, words or code, may_pass=trouble in _PASSING_TROUBLE)


def _of_transport(error: BaseException) -> Failure:
    words = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return Failure(Trouble.SLOW, "", may_pass=True)
    if _is_tls(words):
        return Failure(Trouble.TLS, words)
    # A connection that ends too soon; all else that breaks the protocol is not HTTP.
    if isinstance(error, httpx.RemoteProtocolError) and not re.search(r"disconnected|closed connection", words):
        return Failure(Trouble.NO_QDRANT, words)
    return Failure(Trouble.UNREACHABLE, words, may_pass=isinstance(error, _PASSING_ERRORS))


def _is_tls(words: str) -> bool:
    return re.search(r"\bssl|certificate|\btls\b", words, re.IGNORECASE) is not None
