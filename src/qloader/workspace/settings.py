"""What follows from a config: paths, pipeline, limits, opened sources. No I/O but opening what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.chunking.settings import chunking_settings
from qloader.config.load import cache_path, state_path
from qloader.config.models import Config
from qloader.documents.hashing import fingerprint
from qloader.embedding.settings import bm25_settings
from qloader.planning.guards import Limits
from qloader.planning.plan import Pipeline

if TYPE_CHECKING:
    from qloader.applying.preconditions import Here
    from qloader.chunking.chunker import Chunker
    from qloader.embedding.protocol import Embedder
    from qloader.index.protocol import Guard, Index
    from qloader.manifest.observing import Read
    from qloader.manifest.snapshot import Chunking
    from qloader.retrying import RetryPolicy
    from qloader.sources.protocol import Source
    from qloader.state.store import StateStore


@dataclass(frozen=True, slots=True)
class Settings:
    """A config with its paths worked out.

    Attributes:
        config: The config as loaded.
        state: Where the state is.
        cache: Where the cache is.
        pipeline: Chunking and embedding settings with their fingerprint.
    """

    config: Config
    state: Path
    cache: Path
    pipeline: Pipeline

    @classmethod
    def of(cls, config: Config) -> Settings:
        """Works out what a config means."""
        chunking = chunking_settings(config.chunking.max_chars, config.chunking.overlap_chars)
        embedding = bm25_settings(
            language=config.embedding.language,
            k=config.embedding.k,
            b=config.embedding.b,
            avg_len=config.embedding.avg_len,
        )
        return cls(
            config=config,
            state=state_path(config),
            cache=cache_path(config),
            pipeline=Pipeline(fingerprint({"chunking": chunking, "embedding": embedding}), chunking, embedding),
        )

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self.config.index.collection or self.config.name

    @property
    def embedded_path(self) -> Path | None:
        """The embedded index's folder; None for a server."""
        index = self.config.index
        return self.config.base / index.path if index.is_embedded else None

    @property
    def limits(self) -> Limits:
        """The guards."""
        guards = self.config.guards
        return Limits(guards.max_delete_percent, guards.max_update_percent, guards.prevent_destroy)

    @property
    def here(self) -> Here:
        """What a plan and a state must agree with."""
        from qloader.applying.preconditions import Here

        return Here(self.config.name, self.collection, self.config.index.location, self.pipeline.fingerprint)

    def read_state(self) -> StateStore | None:
        """Opens the state for reading; None where there is none yet.

        One that an older qloader wrote is brought up to date first, where `state.migrations.auto_migrate` says so:
        its content stays the same.

        Raises:
            StateError: It cannot be read, or is older and must not be migrated.
        """
        from qloader.errors import StateOutdatedError
        from qloader.state.store import StateStore

        try:
            return StateStore.read(self.state)
        except StateOutdatedError:
            if not self.config.state.migrations.auto_migrate:
                raise
        self.write_state().close()
        return StateStore.read(self.state)

    def write_state(self, *, create: bool | None = None, migrate: bool | None = None) -> StateStore:
        """Opens the state for writing, created and migrated as the config says.

        Args:
            create: Whether a missing state is created; what the config says where None.
            migrate: Whether an older one is brought up to date; what the config says where None.

        Raises:
            StateError: It cannot be opened, created or migrated.
        """
        from qloader.state.store import StateStore

        config = self.config.state
        return StateStore.write(
            self.state,
            create=config.create_if_missing if create is None else create,
            permissions=config.permissions,
            auto_migrate=config.migrations.auto_migrate if migrate is None else migrate,
            backup_before_migrate=config.migrations.backup_before_migrate,
        )

    def open_source(self, name: str, *, dates: bool = False) -> Source:
        """Opens a source of the config.

        Args:
            name: Its name.
            dates: Whether documents need their `updated_at`, which some sources have to work for.
        """
        from qloader.sources.registry import open_source

        source = open_source(
            name, self.config.sources[name], base=self.config.base, cache_dir=self.cache.parent / "sources"
        )
        if dates and hasattr(source, "dates"):
            source.dates = True
        return source

    @property
    def retries(self) -> RetryPolicy:
        """How often a request to a server is sent again."""
        from qloader.retrying import RetryPolicy

        batch = self.config.ingestion.batch
        return RetryPolicy(batch.retry_attempts, batch.retry_delay)

    def open_index(
        self, *, guard: Guard | None = None, is_patient: bool = False, lock_wait: float | None = None
    ) -> Index:
        """Opens the index, lazily: nothing is read or connected yet.

        Args:
            guard: For who writes: called before each write, raises where nothing may be written any more. No request
                takes longer than `ingestion.batch.timeout` then.
            is_patient: Whether a request to a server that failed is sent again, as `ingestion.batch` says: for long
                work. Who waits for one answer is better told at once.
            lock_wait: Seconds to wait where another process has an embedded index open; the engine's own where None.
        """
        from qloader.index.open import open_index
        from qloader.index.protocol import allow
        from qloader.retrying import NO_RETRIES

        index = self.config.index
        timeout = index.timeout if guard is None else min(index.timeout, self.config.ingestion.batch.timeout)
        return open_index(
            collection=self.collection,
            embedded_path=self.embedded_path,
            url=index.url,
            api_key=index.api_key.get_secret_value() if index.api_key else None,
            prefer_grpc=index.prefer_grpc,
            timeout=timeout,
            retries=self.retries if is_patient else NO_RETRIES,
            lock_wait=lock_wait,
            guard=guard or allow,
        )

    def chunking(self) -> Chunking:
        """How a snapshot counts chunks."""
        from qloader.manifest.observing import SplitText
        from qloader.manifest.snapshot import Chunking

        def splitter() -> SplitText:
            chunker = self.chunker()
            return lambda document: [chunk.text for chunk in chunker.split(document.text, document.syntax)]

        return Chunking(fingerprint(self.pipeline.chunking), splitter)

    def reader(self, name: str) -> Callable[[int], Read | None]:
        """Who reads so many documents of a source: processes side by side, or None for this one."""

        def choose(documents: int) -> Read | None:
            from qloader.workspace.readers import ReaderSettings, count_readers, read_side_by_side

            count = count_readers(self.config.ingestion.parallel.max_workers, documents)
            # A source of another package may not say.
            if not count or not getattr(self.config.sources[name], "is_local", False):
                return None
            # Without its secrets: what a token opens was fetched when the source was listed.
            config = self.config.sources[name].model_dump(mode="json", exclude={"token"})
            chunking = self.config.chunking
            return read_side_by_side(
                ReaderSettings(
                    source=name,
                    config=config,
                    base=str(self.config.base),
                    cache_dir=str(self.cache.parent / "sources"),
                    max_chars=chunking.max_chars,
                    overlap_chars=chunking.overlap_chars,
                ),
                count,
            )

        return choose

    def chunker(self) -> Chunker:
        """The chunker that apply and plan share."""
        from qloader.chunking.chunker import Chunker

        return Chunker(self.config.chunking.max_chars, self.config.chunking.overlap_chars)

    def embedder(self) -> Embedder:
        """The embedder; imports an engine, so plan never calls this."""
        from qloader.embedding.bm25 import Bm25Embedder

        embedding = self.config.embedding
        return Bm25Embedder(language=embedding.language, k=embedding.k, b=embedding.b, avg_len=embedding.avg_len)
