"""What follows from a config: paths, pipeline, limits, opened sources. No I/O but opening what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

from qloader.chunking.settings import chunking_settings
from qloader.config.load import cache_path, state_path
from qloader.config.models import Config
from qloader.documents.hashing import fingerprint
from qloader.embedding.settings import bm25_settings, dense_settings, section_as_applied
from qloader.errors import StateError
from qloader.planning.estimates import Prices
from qloader.planning.guards import Limits
from qloader.planning.plan import Pipeline
from qloader.telemetry.recorder import NOBODY, Recorder

if TYPE_CHECKING:
    from qloader.applying.preconditions import Here
    from qloader.chunking.chunker import Chunker
    from qloader.config.monitoring import MonitoringConfig
    from qloader.embedding.cache import EmbeddingCache
    from qloader.embedding.reranking import Reranker
    from qloader.embedding.together import Embedders
    from qloader.index.protocol import Guard, Index
    from qloader.manifest.observing import Read
    from qloader.manifest.snapshot import Chunking
    from qloader.planning.policies import Policy
    from qloader.retrying import RetryPolicy
    from qloader.sources.protocol import Source
    from qloader.state.records import Lease
    from qloader.state.remote.copy import WorkingCopy
    from qloader.state.remote.session import RemoteStateStore
    from qloader.state.store import StateStore


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Says no sentence twice: a command may look at the state several times."""
    told: set[str] = set()

    def say(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            tell(sentence)

    return say


def nothing_applied() -> StateError:
    """The error of whoever needs a state that holds something."""
    return StateError("nothing has been applied yet", remedy="Run `qloader apply` first.")


def _tell_nobody(_: str) -> None:
    """For programs that want results alone."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A config with its paths worked out.

    Attributes:
        config: The config as loaded.
        state: Where the state is; with `state.url`, this machine's copy of it.
        cache: Where the cache is.
        pipeline: Chunking and embedding settings with their fingerprint.
        tell: Says a sentence to whoever runs this, which no result holds.
        recorder: Told what a run costs.
    """

    config: Config
    state: Path
    cache: Path
    pipeline: Pipeline
    tell: Callable[[str], None] = _tell_nobody
    recorder: Recorder = NOBODY
    _copies: list[WorkingCopy] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, config: Config, *, tell: Callable[[str], None] = _tell_nobody) -> Settings:
        """Works out what a config means."""
        chunking = chunking_settings(config.chunking.max_chars, config.chunking.overlap_chars)
        embedding = bm25_settings(
            language=config.embedding.language,
            k=config.embedding.k,
            b=config.embedding.b,
            avg_len=config.embedding.avg_len,
        )
        if config.embedding.dense is not None:
            embedding["dense"] = dense_settings(config.embedding.dense)
        return cls(
            config=config,
            state=state_path(config),
            cache=cache_path(config),
            pipeline=Pipeline(fingerprint({"chunking": chunking, "embedding": embedding}), chunking, embedding),
            tell=tell,
        )

    def measured_by(self, recorder: Recorder, tell: Callable[[str], None]) -> Settings:
        """The same, with somebody who is told what a run costs and what is said."""
        made = replace(self, recorder=recorder, tell=tell)
        object.__setattr__(made, "_copies", self._copies)  # a remote state's lock is known to its one copy
        return made

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self.config.index.collection or self.config.name

    @property
    def tenant(self) -> str:
        """Whose points are this config's in a collection that is shared; empty where it has one of its own."""
        index = self.config.index
        return (index.tenant or self.config.name) if index.shared else ""

    @property
    def embedded_path(self) -> Path | None:
        """The embedded index's folder; None for a server."""
        index = self.config.index
        return self.config.base / index.path if index.is_embedded else None

    @property
    def monitoring(self) -> MonitoringConfig:
        """How runs are measured; its models are made where this is asked for."""
        if self.config.monitoring is not None:
            return self.config.monitoring
        from qloader.config.monitoring import MonitoringConfig

        return MonitoringConfig()

    @property
    def limits(self) -> Limits:
        """The guards."""
        guards = self.config.guards
        return Limits(guards.max_delete_percent, guards.max_update_percent, guards.prevent_destroy)

    def policies(self) -> tuple[Policy, ...]:
        """The config's policies, those of other packages loaded.

        Raises:
            ConfigError: One of these cannot be loaded.
        """
        from qloader.config.extensions import load_policy
        from qloader.planning.policies import Policy

        return tuple(
            Policy(
                name=name,
                effect=policy.effect,
                sources=frozenset(policy.sources),
                max_deletes=policy.max_deletes,
                max_updates=policy.max_updates,
                max_embeds=policy.max_embeds,
                max_cost=policy.max_cost,
                max_document_size=policy.max_document_size,
                forbidden_paths=policy.forbidden_paths,
                required_metadata=policy.required_metadata,
                custom=None if policy.custom is None else load_policy(policy.custom),
                options=policy.options,
            )
            for name, policy in self.config.policies.items()
        )

    @property
    def prices(self) -> Prices:
        """What embedding costs."""
        prices = self.config.prices
        return Prices(prices.currency, prices.per_million_tokens)

    @property
    def here(self) -> Here:
        """What a plan and a state must agree with."""
        from qloader.applying.preconditions import Here

        location, pipeline = self.config.index.location, self.pipeline.fingerprint
        return Here(self.config.name, self.collection, location, pipeline, self.tenant)

    def working_copy(self) -> WorkingCopy | None:
        """This machine's copy of a remote state; None where the state is a file of this machine."""
        config = self.config.state
        if config.url is None:
            return None
        if self._copies:  # with its connections to the store
            return self._copies[0]
        from qloader.config.locations import local_state_path
        from qloader.state.remote.copy import WorkingCopy
        from qloader.state.remote.store import open_store

        copy = WorkingCopy(
            path=self.state,
            store=open_store(config.url, config.options.given(), config.options.secrets()),
            former=local_state_path(self.config),
            permissions=config.permissions,
            tell=_once(self.tell),
        )
        self._copies.append(copy)
        return copy

    def read_state(self, *, is_fresh: bool = False) -> StateStore | None:
        """Opens the state for reading; None where there is none yet.

        One that an older qloader wrote is brought up to date first, where `state.migrations.auto_migrate` says so:
        its content stays the same. Of a remote one this machine's copy is opened, once the store has said that it is
        the newest.

        Args:
            is_fresh: The store was asked in this very command already.

        Raises:
            StateError: It cannot be read, or is older and must not be migrated, or its store cannot be reached.
        """
        from qloader.errors import StateOutdatedError
        from qloader.state.store import StateStore

        if not is_fresh and (copy := self.working_copy()) is not None:
            copy.sync()
        try:
            return StateStore.read(self.state)
        except StateOutdatedError:
            if not self.config.state.migrations.auto_migrate:
                raise
        StateStore.write(self.state, **self._options()).close()
        return StateStore.read(self.state)

    def has_state(self) -> bool:
        """Whether there is a state, which need not hold anything."""
        from qloader.state.database import is_there

        copy = self.working_copy()
        if copy is not None:
            copy.sync()
        return is_there(self.state)

    def find_writer(self, state: StateStore) -> Lease | None:
        """Who is writing the state and alive, on this machine or, where it is remote, on any."""
        copy = None if state.writer() else self.working_copy()
        if copy is None:
            return state.writer()
        from qloader.state.lock import now_ms
        from qloader.state.remote.lock import find_holder

        return find_holder(copy.store, now_ms())

    def write_state(self, *, create: bool | None = None, migrate: bool | None = None) -> StateStore:
        """Opens the state for writing, created and migrated as the config says.

        Args:
            create: Whether a missing state is created; what the config says where None.
            migrate: Whether an older one is brought up to date; what the config says where None.

        Raises:
            StateError: It cannot be opened, created or migrated.
        """
        from qloader.state.store import StateStore

        copy = self.working_copy()
        if copy is None:
            return StateStore.write(self.state, **self._options(create, migrate))
        return self.write_remote_state(copy, create=create, migrate=migrate)

    def write_remote_state(
        self, copy: WorkingCopy, *, create: bool | None = None, migrate: bool | None = None, replaces: bool = False
    ) -> RemoteStateStore:
        """Opens a remote state for writing.

        Args:
            copy: What `working_copy` said.
            create: As for `write_state`.
            migrate: As for `write_state`.
            replaces: Whether a whole other state is put in its place, so that one that is gone is no error.

        Raises:
            StateError: It cannot be opened, created or migrated, or its store cannot be reached.
        """
        from qloader.state.remote.session import RemoteStateStore

        versions = self.config.state.versions
        return RemoteStateStore.open(copy, versions=versions, replaces=replaces, **self._options(create, migrate))

    def _options(self, create: bool | None = None, migrate: bool | None = None) -> dict[str, Any]:
        """What the config says of opening a state for writing."""
        config = self.config.state
        return {
            "create": config.create_if_missing if create is None else create,
            "permissions": config.permissions,
            "auto_migrate": config.migrations.auto_migrate if migrate is None else migrate,
            "backup_before_migrate": config.migrations.backup_before_migrate,
        }

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
        return RetryPolicy(batch.retry_attempts, batch.retry_delay, sleep=self._sleep_before_retry)

    def _sleep_before_retry(self, seconds: float) -> None:
        self.recorder.count("retries")
        with self.recorder.span("retry"):
            sleep(seconds)

    def open_index(
        self,
        *,
        guard: Guard | None = None,
        is_patient: bool = False,
        lock_wait: float | None = None,
        target: str | None = None,
    ) -> Index:
        """Opens the index, lazily: nothing is read or connected yet.

        Args:
            guard: For who writes: called before each write, raises where nothing may be written any more. No request
                takes longer than `ingestion.batch.timeout` then.
            is_patient: Whether a request to a server that failed is sent again, as `ingestion.batch` says: for long
                work. Who waits for one answer is better told at once.
            lock_wait: Seconds to wait where another process has an embedded index open; the engine's own where None.
            target: A collection by its own name; what the config's name stands for where None.
        """
        from qloader.index.open import open_index
        from qloader.index.protocol import allow
        from qloader.retrying import NO_RETRIES

        index = self.config.index
        timeout = index.timeout if guard is None else min(index.timeout, self.config.ingestion.batch.timeout)
        return open_index(
            collection=target or self.collection,
            embedded_path=self.embedded_path,
            url=index.url,
            api_key=index.api_key.get_secret_value() if index.api_key else None,
            prefer_grpc=index.prefer_grpc,
            timeout=timeout,
            retries=self.retries if is_patient else NO_RETRIES,
            lock_wait=lock_wait,
            guard=guard or allow,
            is_itself=target is not None,
            tenant=self.tenant,
            state=self.state_name,
        )

    def share_index(self, *, lock_wait: float | None = None) -> AbstractContextManager[Index]:
        """Opens the index for a search, or takes part in one that another thread of this process has open.

        Args:
            lock_wait: As for `open_index`.
        """
        from qloader.index.open import find_target
        from qloader.index.sharing import shared

        path, index = self.embedded_path, self.config.index
        key: tuple[object, ...]
        if path is not None:
            key = (path.absolute(), find_target(path, self.collection))
        else:
            api_key = index.api_key.get_secret_value() if index.api_key else None
            key = (index.model_dump_json(), api_key, self.collection, self.config.name)
        return shared(key, lambda: self.open_index(lock_wait=lock_wait))

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

            share = self.config.resources.cpu.max_percentage
            count = count_readers(self.config.ingestion.parallel.max_workers, documents, max_percentage=share)
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
                self.recorder,
            )

        return choose

    def chunker(self) -> Chunker:
        """The chunker that apply and plan share."""
        from qloader.chunking.chunker import Chunker

        return Chunker(self.config.chunking.max_chars, self.config.chunking.overlap_chars)

    @property
    def has_dense(self) -> bool:
        """Whether points have a dense vector."""
        return self.config.embedding.dense is not None

    @property
    def state_name(self) -> str:
        """How an error names the state with what is beside it, where it has to be moved away."""
        return f"the state {self.config.state.url or self.state}*"

    @property
    def replacement_state(self) -> Path:
        """What is known of a collection that is being made in the place of another; it is this machine's alone."""
        return self.state.with_name(f"{self.state.name}.replacement")

    @property
    def replaced_state(self) -> Path:
        """What was known of the collection that was replaced and is kept; it is this machine's alone."""
        return self.state.with_name(f"{self.state.name}.replaced")

    @property
    def has_reranker(self) -> bool:
        """Whether a model puts the hits of a search in order anew."""
        return self.config.search.rerank is not None

    @property
    def embedding_cache(self) -> Path:
        """Where the embedding cache is."""
        from qloader.config.locations import embedding_cache_path

        return embedding_cache_path(self.config, self.config.embedding.cache.path)

    @property
    def models(self) -> Path:
        """Where providers may keep models that they download."""
        return self.embedding_cache.parent / "models"

    def open_embedding_cache(self) -> EmbeddingCache:
        """Opens the embedding cache, and makes it where there is none."""
        from qloader.embedding.cache import EmbeddingCache

        cache = self.config.embedding.cache
        return EmbeddingCache.open(
            self.embedding_cache, max_bytes=cache.max_size, precision=cache.precision, tell=self.tell
        )

    def open_reranker(self) -> Reranker | None:
        """What puts hits in order anew, where the config names one. Nothing is connected yet.

        Raises:
            RerankError: A key would be sent without encryption.
        """
        section = self.config.search.rerank
        if section is None:
            return None
        from qloader.embedding.reranking import Reranker

        return Reranker(section, self.config.base)

    def embedders(self, *, dense: bool = True, applied: Mapping[str, Any] | None = None) -> Embedders:
        """What makes vectors; imports an engine, so plan never calls this. Nothing is connected or loaded yet.

        Args:
            dense: False leaves the dense vectors out, even where the config asks for them.
            applied: Embedding settings of a pipeline that shape the vectors, where they are not those of the config;
                what else a provider needs is the config's.

        Raises:
            ConfigError: A provider cannot be opened, as the config names it; or it is not that of `applied`.
            EmbeddingError: A key would be sent without encryption.
        """
        from qloader.embedding.bm25 import Bm25Embedder
        from qloader.embedding.together import Embedders

        settings = self.pipeline.embedding if applied is None else applied
        sparse = Bm25Embedder(**{name: settings[name] for name in ("language", "k", "b", "avg_len")})
        section = self.config.embedding.dense
        if section is None or not dense:
            return Embedders(sparse)
        if applied is not None:
            section = section_as_applied(section, applied.get("dense"))
        from qloader.embedding.dense.registry import open_embedder

        cache = self.open_embedding_cache()
        try:
            made = open_embedder(
                section, base=self.config.base, cache_dir=self.models, cache=cache, recorder=self.recorder
            )
        except BaseException:
            cache.close()
            raise
        return Embedders(sparse, made, cache)
