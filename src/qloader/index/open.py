"""Opens the index that a config names. Imports neither engine until it is asked to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qloader.index.marker import Marker, check_files, find_target, find_unmarked, read_marker
from qloader.index.protocol import Guard, allow
from qloader.retrying import NO_RETRIES, RetryPolicy

if TYPE_CHECKING:
    from qloader.index.protocol import Index

__all__ = ["Marker", "check_files", "find_target", "find_unmarked", "open_index", "read_marker"]


def open_index(
    *,
    collection: str,
    embedded_path: Path | None,
    url: str | None,
    api_key: str | None = None,
    prefer_grpc: bool = False,
    timeout: float = 30.0,
    retries: RetryPolicy = NO_RETRIES,
    lock_wait: float | None = None,
    guard: Guard = allow,
    is_itself: bool = False,
    tenant: str = "",
    state: str = "its state",
) -> Index:
    """Opens an index, lazily: nothing is read, locked or connected before the first call.

    Args:
        collection: The collection's name.
        embedded_path: The folder of an embedded index; None for a server.
        url: The server's address; used where `embedded_path` is None.
        api_key: The server's key, if it wants one.
        prefer_grpc: Talk gRPC to the server.
        timeout: How long one request to a server may take, in seconds.
        retries: How often a request to a server that failed is sent again.
        lock_wait: Seconds to wait where another process has an embedded index open; the engine's own where None.
        guard: Called before each write; raises where this process may write nothing any more.
        is_itself: Whether the name is one collection's own, which stands for no other.
        tenant: Whose points are meant in a collection on a server that is shared; empty for one of one's own.
        state: How errors name the state that belongs to the collection.

    Raises:
        ValueError: Neither a path nor a url is given.
        IndexUnavailableError: The collection's name or the address cannot be one.
    """
    if embedded_path is not None:
        from qloader.index.embedded import LOCK_WAIT, EmbeddedIndex

        wait = LOCK_WAIT if lock_wait is None else lock_wait
        return EmbeddedIndex(embedded_path, collection, lock_wait=wait, guard=guard, is_itself=is_itself, state=state)
    if url is None:
        raise ValueError("an index needs a path or a url")
    from qloader.index.server import connect

    return connect(
        url,
        collection,
        api_key=api_key,
        prefer_grpc=prefer_grpc,
        timeout=timeout,
        retries=retries,
        guard=guard,
        is_itself=is_itself,
        tenant=tenant,
    )
