"""A foreign collection on a Qdrant server, over REST. Only requests that read are sent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from qloader.adopting.collection import PAGE, ForeignFacts, ForeignPoint, PointId, one_vector, pages
from qloader.errors import IndexUnavailableError, QloaderError
from qloader.index.address import check_key, check_name, check_url
from qloader.index.asking import ask
from qloader.index.server import METADATA
from qloader.retrying import NO_RETRIES, RetryPolicy

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

KEY_VARIABLE = "QLOADER_IMPORT_API_KEY"
"""The environment variable that holds the key of a server that the config does not name."""


class ServerCollection:
    """A collection behind a Qdrant client, which the first request makes."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy = NO_RETRIES,
        is_configured: bool = False,
    ) -> None:
        """Connects to nothing yet.

        Args:
            url: The server's address.
            name: The collection's name; empty where only `neighbours` is asked.
            api_key: The server's key, if it wants one.
            timeout: How long one request may take, in seconds.
            retries: How often a request that failed is sent again.
            is_configured: Whether the config's `index` names the server, which errors then point to.

        Raises:
            IndexUnavailableError: The name, the address or the key cannot be one.
        """
        self._is_configured = is_configured
        try:
            self.location = check_url(url)
            self._key = check_key(api_key)
            if name:
                check_name(name)
        except IndexUnavailableError as error:
            raise self._reworded(error) from None
        self.name = name
        self.farewell = f"curl -X DELETE {self.location}/collections/{quote(name, safe='')}"
        self._url = url
        self._timeout = timeout
        self._retries = retries
        self._client: QdrantClient | None = None

    def describe(self) -> ForeignFacts | None:
        """What is there; None where there is no such collection."""
        if not self._ask("collection_exists", self.name):
            return None
        config = self._ask("get_collection", self.name).config
        found = config.params.vectors
        vectors = dict(found) if isinstance(found, Mapping) else {"": found} if found else {}
        dense = {name: int(one.size) for name, one in vectors.items() if one.multivector_config is None}
        others = (*(name for name in vectors if name not in dense), *(config.params.sparse_vectors or {}))
        points = int(self._ask("count", self.name, exact=True).count)
        return ForeignFacts(points, dense, tuple(others), METADATA in (config.metadata or {}))

    def neighbours(self) -> list[str]:
        """The names of the server's collections, sorted."""
        return sorted(one.name for one in self._ask("get_collections").collections)

    def points(self) -> Iterator[ForeignPoint]:
        """Every point with its payload, page by page, without vectors."""
        offset: Any = None
        while True:
            records, offset = self._ask(
                "scroll", self.name, limit=PAGE, offset=offset, with_payload=True, with_vectors=False
            )
            for record in records:
                yield ForeignPoint(record.id, record.payload or {})
            if offset is None:
                return

    def fetch(self, ids: Sequence[PointId], vector: str) -> Iterator[ForeignPoint]:
        """Points by id with payloads and one vector, in no particular order; those that are gone are left out."""
        for some in pages(ids):
            records = self._ask(
                "retrieve", self.name, ids=list(some), with_payload=True, with_vectors=[vector] if vector else True
            )
            for record in records:
                yield ForeignPoint(record.id, record.payload or {}, one_vector(record.vector, vector))

    def close(self) -> None:
        """Lets go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Sends one request that reads."""
        client = self._connected()
        try:
            return ask(
                lambda: getattr(client, method)(*arguments, **options),
                self._retries,
                what="read",
                server=self.location,
                collection=self.name or "to import",
                secret=self._key,
            )
        except QloaderError as error:
            raise self._reworded(error) from error.__cause__

    def _connected(self) -> QdrantClient:
        if self._client is None:
            from qdrant_client import QdrantClient

            try:
                self._client = QdrantClient(
                    url=self._url,
                    timeout=math.ceil(self._timeout),
                    # As a header, since the client prints a warning for a key over http each time it is made.
                    headers={"api-key": self._key} if self._key else None,
                    # The check is a thread of its own that asks the server once more, and prints what it thinks.
                    check_compatibility=False,
                )
            except (OSError, ValueError) as error:
                raise IndexUnavailableError(
                    f"no client can be made for the Qdrant server {self.location}: {error}",
                    remedy="Check the certificates that SSL_CERT_FILE names, if it is set.",
                ) from error
        return self._client

    def _reworded(self, error: QloaderError) -> QloaderError:
        """An error of the index's own checks, which names keys of the config, for what was said on the command line."""
        said, remedy = str(error), error.remedy.replace("index.collection", "--from")
        if not self._is_configured:
            remedy = remedy.replace("Set index.api_key, for example to ${QDRANT_API_KEY}", "Set index.api_key")
            said, remedy = (
                text.replace("index.url", "--url").replace("index.api_key", f"${KEY_VARIABLE}")
                for text in (said, remedy)
            )
        return type(error)(said, remedy=remedy)
