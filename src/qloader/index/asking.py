"""Requests to a Qdrant server: sent again where that may help, and their errors become ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from qloader.retrying import RetryPolicy

T = TypeVar("T")


def ask(
    request: Callable[[], T],
    retries: RetryPolicy,
    *,
    what: str,
    server: str,
    collection: str,
    secret: str | None,
    before: Callable[[], None] = lambda: None,
) -> T:
    """Sends a request by the Qdrant client; one that failed in passing is sent again.

    Args:
        request: Sends it.
        retries: How often, and after how long.
        what: What the request is for, as in "the collection cannot be `read`".
        server: The address for messages, without credentials.
        collection: The collection's name, for messages.
        secret: The API key, which is cut out of whatever the server says.
        before: Called before each time; what it raises ends it at once.

    Raises:
        QloaderError: See `index.server_errors`.
    """
    tries = 0
    while True:
        tries += 1
        before()
        try:
            return request()
        except Exception as error:
            from qloader.index.server_errors import as_error, understand

            failure = understand(error)
            if failure is None:
                raise
            if not failure.may_pass or tries > retries.attempts:
                # An answer that repeats the key must not reach a traceback either.
                cause = None if secret and secret in str(error) else error
                raise as_error(
                    failure, what=what, server=server, collection=collection, secret=secret, tries=tries
                ) from cause
        retries.sleep(retries.wait(tries, failure.retry_after))
