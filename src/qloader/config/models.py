"""What a config may say: one frozen model a section. The descriptions are the reference in docs/configuration.md.

The models check values; `load.py` says where in the file a mistake stands. A section left empty (`guards:`) is
a section of defaults.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from qloader.config.fields import (
    MadeLater,
    Name,
    Percent,
    Secret,
    Section,
    Text,
    empty_is_none,
    none_is_empty,
    split_http,
)
from qloader.config.index_settings import SERVER_ONLY, IndexSettings
from qloader.config.policies import PolicyConfig, PricesConfig
from qloader.config.remote import RemoteOptions, check_options, check_url
from qloader.config.sources import SourceConfig
from qloader.config.units import Delay, Duration, Permissions, Retention, Since, Size

DEFAULT_FILE = "qloader.yaml"
DEFAULT_INDEX_PATH = ".qloader/index"

LANGUAGES = (
    "arabic", "azerbaijani", "basque", "bengali", "catalan", "chinese", "danish", "dutch", "english", "finnish",
    "french", "german", "greek", "hebrew", "hinglish", "hungarian", "indonesian", "italian", "japanese", "kazakh",
    "nepali", "norwegian", "portuguese", "romanian", "russian", "slovene", "spanish", "swedish", "tajik", "turkish",
)  # fmt: skip
"""What `qdrant_edge.Language` knows, held together by a test: importing the engine here would slow down every start."""

_NO_COLLECTION = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def _check_collection(value: str) -> str:
    if not value or len(value) > 255 or _NO_COLLECTION.search(value) or value in (".", ".."):
        raise ValueError('expected the name of a collection: 1 to 255 characters, none of <>:"/\\|?*')
    return value


class IndexConfig(Section):
    """Where the points go: an embedded index in a folder, or a collection on a Qdrant server or cluster."""

    collection: Annotated[str, AfterValidator(_check_collection)] | None = Field(
        default=None, description="The collection's name. Without it, `name`."
    )
    url: Annotated[Text | None, BeforeValidator(empty_is_none)] = Field(
        default=None,
        repr=False,
        description="The address of a Qdrant server, e.g. `http://localhost:6333`. Excludes `path`; empty is none.",
    )
    path: Annotated[Text, WithJsonSchema({"type": ["string", "null"]})] = Field(
        default=DEFAULT_INDEX_PATH,
        description="The folder of the embedded index, which is used where no `url` is given.",
    )
    api_key: Secret = Field(
        default=None, description="The server's API key; write `${QDRANT_API_KEY}`, not the key itself."
    )
    prefer_grpc: bool = Field(default=False, description="Talk gRPC to the server, which is faster for large loads.")
    timeout: Duration = Field(
        default=30.0,
        description="How long one request to the server may take; for gRPC in whole seconds, rounded up.",
    )
    shared: bool = Field(
        default=False,
        description="Several configs write into the collection, each its own points; on a Qdrant server only.",
    )
    tenant: Annotated[Name | None, BeforeValidator(empty_is_none)] = Field(
        default=None,
        validate_default=True,
        description="With `shared`: whose points this config's are, in their field `tenant`. Without it, `name`.",
    )
    settings: IndexSettings = Field(default_factory=IndexSettings, description="See below.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if split_http(value) is None:
            raise ValueError("expected the address of a Qdrant server, such as http://localhost:6333")
        return value

    @field_validator("path", mode="before")
    @classmethod
    def _check_path(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            return DEFAULT_INDEX_PATH
        if info.data.get("url"):
            raise ValueError("`url` and `path` exclude each other: an index is on a server or in a folder")
        if isinstance(value, str) and value.startswith("~"):
            raise ValueError("`~` is not expanded here; write ${HOME}, or a path relative to the config")
        return value

    @field_validator("shared")
    @classmethod
    def _check_shared(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "url" in info.data and info.data["url"] is None:
            raise ValueError(
                "only a collection on a Qdrant server (index.url) is shared; one in a folder has one owner"
            )
        return value

    @field_validator("tenant")
    @classmethod
    def _check_tenant(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("shared") is False:
            raise ValueError("only a collection with `shared: true` has tenants")
        return value

    @field_validator("settings")
    @classmethod
    def _check_settings(cls, value: IndexSettings, info: ValidationInfo) -> IndexSettings:
        if "url" not in info.data or info.data["url"] is not None:
            return value
        if unknown := [f"`{key}`" for key in SERVER_ONLY if getattr(value, key) is not None]:
            raise ValueError(f"only a Qdrant server (index.url) has {' and '.join(unknown)}, no embedded index")
        if value.quantization.type == "none":
            raise ValueError("the embedded engine takes no quantization away: leave `quantization` out, or load anew")
        return value

    @property
    def is_embedded(self) -> bool:
        """Whether the index is in a folder, not on a server."""
        return self.url is None

    @property
    def location(self) -> str:
        """How a plan names the place: `embedded:<path as configured>` or `server:<url without credentials>`."""
        if self.url is None:
            return f"embedded:{self.path}"
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"server:{parts.scheme}://{host}{parts.path.rstrip('/')}"


class MigrationsConfig(Section):
    """What happens to a state that an older qloader wrote."""

    auto_migrate: bool = Field(default=True, description="Bring it up to date by itself; `false` makes it an error.")
    backup_before_migrate: bool = Field(
        default=True, description="Copy it before, as `state.db.backup-<time>` beside it."
    )


class StateConfig(Section):
    """The state: what Qdrant holds according to qloader."""

    url: Annotated[Text | None, BeforeValidator(empty_is_none)] = Field(
        default=None,
        description="An object in a store that several machines share: `s3://bucket/handbook`, `gs://`, `az://`, "
        "`file:///folder/handbook`. Excludes `path`; empty is none.",
    )
    options: RemoteOptions = Field(default_factory=RemoteOptions, description="See below.")
    versions: int = Field(
        default=10, ge=0, le=10_000, description="With `url`: how many former states are kept beside it in the store."
    )
    path: Text | None = Field(
        default=None,
        description="The state's file. Without it, `state.db` beside an embedded index, and "
        "`<user state folder>/qloader/<name>/state.db` for a server; `$QLOADER_HOME/<name>/state.db` where "
        "QLOADER_HOME is set.",
    )
    permissions: Permissions = Field(default=0o600, description="The mode of a state file that is created, in octal.")
    create_if_missing: bool = Field(
        default=True, description="Begin a state where there is none; `false` makes it an error."
    )
    retention: Retention = Field(
        default=90 * 86400.0,
        description="How long deleted documents and past runs are remembered; `null` is for ever. An apply forgets, at "
        "its end, whole days of what is older.",
    )
    migrations: MigrationsConfig = Field(default_factory=MigrationsConfig, description="See below.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        return check_url(value)

    @field_validator("options")
    @classmethod
    def _check_options(cls, value: RemoteOptions, info: ValidationInfo) -> RemoteOptions:
        return check_options(info.data["url"], value) if "url" in info.data else value

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("url"):
            raise ValueError("`url` and `path` exclude each other: a state is in a store or in a file")
        if value is not None and value.rstrip().endswith(("/", "\\")):
            raise ValueError("expected a file such as ./state.db, not a folder")
        return value


class ChunkingConfig(Section):
    """How texts are cut. A change makes another pipeline: all chunks are cut and embedded anew."""

    max_chars: int = Field(
        default=1200, ge=100, le=1_000_000, description="The length of a chunk at most, in characters."
    )
    overlap_chars: int = Field(default=0, ge=0, description="How much of a chunk the next one repeats, at most.")

    @field_validator("overlap_chars")
    @classmethod
    def _check_overlap(cls, value: int, info: ValidationInfo) -> int:
        limit = info.data.get("max_chars", 1200) / 2
        if value >= limit:
            raise ValueError(f"expected less than half of max_chars ({limit:g})")
        return value


class EmbeddingCacheConfig(Section):
    """Where vectors are kept, so that no text is paid for twice. One cache serves all configs of a user."""

    path: Annotated[Text | None, BeforeValidator(empty_is_none)] = Field(
        default=None, description="Its file, relative to the config. Without it, one in the user's cache folder."
    )
    max_size: Size = Field(
        default=2_000_000_000, description="How large it may become; what was not used for longest goes first."
    )
    precision: Literal["float16", "float32"] = Field(
        default="float16", description="How exactly a number is kept; `float16` takes half the space."
    )


def _find_embedders() -> Any:
    from qloader.config.embedders import DenseConfig

    return DenseConfig


def _find_rerankers() -> Any:
    from qloader.config.rerankers import RerankConfig

    return RerankConfig


def _find_monitoring() -> Any:
    from qloader.config.monitoring import MonitoringConfig

    return MonitoringConfig


def _find_watching() -> Any:
    from qloader.config.watching import WatchConfig

    return WatchConfig


if TYPE_CHECKING:
    from qloader.config.embedders import DenseSection as _Dense
    from qloader.config.monitoring import MonitoringConfig as _Monitoring
    from qloader.config.rerankers import RerankSection as _Rerank
    from qloader.config.watching import WatchConfig as _Watch
else:
    _Dense = Annotated[Any, MadeLater(_find_embedders)]
    _Monitoring = Annotated[Any, MadeLater(_find_monitoring)]
    _Rerank = Annotated[Any, MadeLater(_find_rerankers)]
    _Watch = Annotated[Any, MadeLater(_find_watching)]


class EmbeddingConfig(Section):
    """How chunks become vectors. A change makes another pipeline: all chunks are embedded anew."""

    sparse: Literal["bm25"] = Field(
        default="bm25", description="The sparse vector: `bm25`, Qdrant's own, without a model."
    )
    language: str = Field(
        default="english",
        json_schema_extra={"enum": [*LANGUAGES]},
        description="Whose word stems and stop words are used; the languages are listed below.",
    )
    k: float = Field(default=1.2, ge=0, le=1000, description="BM25: how much a repeated word adds.")
    b: float = Field(
        default=0.75, ge=0, le=1, description="BM25: how much long texts are marked down; 0 is not at all."
    )
    avg_len: float = Field(default=256.0, gt=0, le=1e9, description="BM25: the length of an average chunk, in words.")
    dense: _Dense | None = Field(
        default=None, description="The dense vector beside it, by a model; without it there is none. See below."
    )
    cache: EmbeddingCacheConfig = Field(default_factory=EmbeddingCacheConfig, description="See below.")

    @property
    def names(self) -> tuple[str, ...]:
        """The embedders as estimates and prices name them."""
        return (self.sparse,) if self.dense is None else (self.sparse, self.dense.label)

    @field_validator("language")
    @classmethod
    def _check_language(cls, value: str) -> str:
        if value not in LANGUAGES:
            from difflib import get_close_matches

            near = get_close_matches(value.lower(), LANGUAGES, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(LANGUAGES)}"
            raise ValueError(f"not a language of BM25; {hint}")
        return value


class WeightsConfig(Section):
    """How much each vector's ranking counts in a hybrid search, against the other's: 2 and 1 are as 0.8 and 0.4."""

    bm25: float = Field(default=1.0, gt=0, le=1000, description="The ranking by words.")
    dense: float = Field(default=1.0, gt=0, le=1000, description="The ranking by meaning.")


class SearchConfig(Section):
    """How a search puts its hits in order. No part of the pipeline: a change embeds and plans nothing."""

    fusion: Literal["rrf", "dbsf"] = Field(
        default="rrf",
        description="How a hybrid search makes one ranking of two: `rrf` by ranks, `dbsf` by scores, each against the "
        "spread of its own.",
    )
    weights: WeightsConfig = Field(default_factory=WeightsConfig, description="See below; of `rrf` only.")
    rerank: _Rerank | None = Field(
        default=None, description="A model that puts the best hits in order anew; without it there is none. See below."
    )

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, value: WeightsConfig, info: ValidationInfo) -> WeightsConfig:
        if info.data.get("fusion") == "dbsf" and value.bm25 != value.dense:
            raise ValueError("only `fusion: rrf` takes weights")
        return value


class GuardsConfig(Section):
    """What a plan may not do unless it is allowed for that one plan (`--allow-deletes`)."""

    max_delete_percent: Percent | None = Field(
        default=25.0, description="Refuse to delete more of a source's documents than this; `null` for no limit."
    )
    max_update_percent: Percent | None = Field(
        default=None, description="Refuse to update more of a source's documents than this; `null` for no limit."
    )
    prevent_destroy: bool = Field(
        default=False, description="Never delete all documents of a source, whatever is allowed."
    )


class BatchConfig(Section):
    """The batches of an apply; each is committed by itself."""

    size: int = Field(default=256, ge=1, le=100_000, description="Documents in a batch, at most.")
    timeout: Duration = Field(
        default=30.0,
        description="How long an apply gives a server for one request; `index.timeout` where that is less.",
    )
    retry_attempts: int = Field(
        default=3,
        ge=0,
        le=100,
        description="How often an apply sends a request again that failed in passing: no connection, no answer in "
        "time, a server that is overloaded or failing.",
    )
    retry_delay: Delay = Field(
        default=1.0,
        description="How long to wait before the first retry. Each further one waits twice as long, up to a minute; "
        "longer where the server says so (`Retry-After`), up to a minute too.",
    )


class ParallelConfig(Section):
    """What is done side by side."""

    max_workers: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Processes that work at a time, at most: they read, hash and chunk documents, and one of them "
        "writes. Never more than `resources.cpu` allows. `1`: one thing is done after the other.",
    )
    queue_size: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Documents that an apply may have ready before their turn, at most; it bounds memory, as do 8,000 "
        "chunks and 32 MB.",
    )
    timeout: Duration = Field(
        default=60.0,
        description="How long an apply waits for a source or a provider of which nothing is heard. What waits for a "
        "server, or for its turn, is heard of.",
    )


class IncrementalConfig(Section):
    """How far back `qloader ingest` looks."""

    default_since: Since = Field(
        default=None,
        description="What `ingest` takes for `--since` where none is given, e.g. `24h`; such a run deletes nothing. "
        "`null` looks at everything, which costs no more where nothing changed.",
    )


class IngestionConfig(Section):
    """How documents get in."""

    incremental: IncrementalConfig = Field(default_factory=IncrementalConfig, description="See below.")

    batch: BatchConfig = Field(default_factory=BatchConfig, description="See below.")
    parallel: ParallelConfig = Field(default_factory=ParallelConfig, description="See below.")


class MemoryConfig(Section):
    """How much memory an apply may use."""

    max_percentage: Annotated[float, Field(gt=0, le=100)] = Field(
        default=80.0,
        description="Of the memory that there is for this process, in its container or on its machine. Near it, less "
        "is prepared at a time; above it, nothing is until what is there has been written.",
    )


class CpuConfig(Section):
    """How many cores are used."""

    max_percentage: Annotated[float, Field(gt=0, le=100)] = Field(
        default=80.0,
        description="Of the cores that there are for this process, to the nearest whole number: so many processes "
        "work at a time, at most.",
    )


class ResourcesConfig(Section):
    """What may be used of the machine."""

    memory: MemoryConfig = Field(default_factory=MemoryConfig, description="See below.")
    cpu: CpuConfig = Field(default_factory=CpuConfig, description="See below.")
    check_interval: Duration = Field(default=5.0, description="How often an apply looks at the memory.")


class Config(Section):
    """A whole `qloader.yaml`."""

    name: Name = Field(description="The name of this config and its state: one state per name.")
    index: IndexConfig = Field(default_factory=IndexConfig, description="Where the points go.")
    state: StateConfig = Field(default_factory=StateConfig, description="Where qloader keeps what it knows.")
    sources: dict[Name, SourceConfig] = Field(min_length=1, description="Where documents come from, by name.")
    chunking: ChunkingConfig = Field(default_factory=ChunkingConfig, description="How texts are cut.")
    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig, description="How chunks become vectors.")
    search: SearchConfig = Field(default_factory=SearchConfig, description="How a search puts its hits in order.")
    guards: GuardsConfig = Field(default_factory=GuardsConfig, description="What a plan may not do by itself.")
    policies: Annotated[dict[Name, PolicyConfig], BeforeValidator(none_is_empty)] = Field(
        default_factory=dict,
        json_schema_extra={"x-unit": "section"},
        description="Rules of your own that a plan is held to, by name.",
    )
    prices: PricesConfig = Field(default_factory=PricesConfig, description="What embedding costs, for estimates.")
    ingestion: IngestionConfig = Field(default_factory=IngestionConfig, description="How an apply goes about it.")
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig, description="What may be used of the machine.")
    monitoring: _Monitoring | None = Field(
        default=None, description="How runs are measured, and who is told. See below; without it all is as said there."
    )
    watch: _Watch | None = Field(default=None, description="How `qloader watch` goes about it. See below.")

    _file: Path = PrivateAttr(default_factory=lambda: Path.cwd() / DEFAULT_FILE)
    _home: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path:
        """The file it was loaded from, absolute."""
        return self._file

    @property
    def base(self) -> Path:
        """The folder of that file, which relative paths start from."""
        return self._file.parent

    @property
    def home(self) -> Path | None:
        """`$QLOADER_HOME`, where state and cache were moved to; None where it is not set."""
        return self._home
