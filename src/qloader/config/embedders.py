"""What `embedding.dense` may say: one model a provider, and what all of them have in common.

A provider of another package brings its own, a subclass of `DenseSection`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, model_validator

from qloader.config.endpoint import Address, Endpoint, check_placeholders, placeholders
from qloader.config.extensions import any_own, checked_by_kind, find_embedder, model_of
from qloader.config.fields import Section, Text
from qloader.config.units import Delay

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", re.ASCII)
PLACEHOLDERS = ("texts", "text", "model", "kind", "dimensions")
"""What the body of `http` may name."""


def _check_function(value: str) -> str:
    if _FUNCTION.fullmatch(value) is None:
        raise ValueError("expected a function of an installed package, such as my_package.vectors:embed")
    return value


class DenseBatch(Section):
    """What is sent at once. Both are the provider's own where nothing is set."""

    texts: int | None = Field(default=None, ge=1, le=100_000, description="Texts in a request, at most.")
    tokens: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Tokens in a request, about; a longer text goes alone."
    )


class DenseLimits(Section):
    """What the provider allows; all requests of a process share it."""

    requests_per_minute: float | None = Field(default=None, gt=0, le=10_000_000, description="None is no limit.")
    tokens_per_minute: float | None = Field(default=None, gt=0, le=1e12, description="None is no limit.")


class DenseSection(Section):
    """What all providers of dense vectors have in common."""

    model_config = ConfigDict(defer_build=True)

    manners: ClassVar[frozenset[str]] = frozenset(
        {"url", "api_key", "headers", "api_version", "batch", "limits", "parallel", "retry_attempts", "retry_delay"}
        | {"timeout", "deadline", "ca_file", "verify", "device", "threads", "query_prefix"}
    )
    """Keys that shape no vector of a document. All others are part of the pipeline: another value embeds anew."""

    own_batch: ClassVar[tuple[int, int]] = (64, 100_000)
    """Texts and tokens in a request, where the config does not say."""

    provider: str = Field(description="Who makes the vectors.")
    model: Text = Field(description="The model's name, as the provider knows it.")
    dimensions: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="How long a vector is, for models that let one choose; other answers are refused then.",
    )
    document_prefix: str = Field(
        default="", description="Put before every text that is to be found, e.g. `passage: ` for E5."
    )
    query_prefix: str = Field(default="", description="Put before every question, e.g. `query: ` for E5.")
    normalise: bool = Field(default=True, description="Scale every vector to length 1.")
    max_tokens: int | None = Field(
        default=None,
        ge=16,
        le=10_000_000,
        description="How many tokens of a text the model reads. Without, what the model says, where it can be asked; "
        "else texts are sent as they are, and shortened where the provider refuses them.",
    )
    too_long: Literal["split", "cut", "refuse"] = Field(
        default="split",
        description="What becomes of a text that is over it: `split` embeds its parts and takes their mean, `cut` "
        "embeds its beginning, `refuse` is an error.",
    )
    batch: DenseBatch = Field(default_factory=DenseBatch, description="See below.")
    limits: DenseLimits = Field(default_factory=DenseLimits, description="See below.")
    parallel: int = Field(default=4, ge=1, le=64, description="Requests at a time, at most.")
    retry_attempts: int = Field(
        default=6, ge=0, le=100, description="How often a request that failed for a passing reason is sent again."
    )
    retry_delay: Delay = Field(
        default=1.0, description="How long before the first time; each time after that waits twice as long."
    )

    @property
    def label(self) -> str:
        """How people and estimates name it, e.g. `openai/text-embedding-3-small`."""
        return f"{self.provider}/{self.model}"

    @property
    def batch_texts(self) -> int:
        """Texts in a request, at most."""
        return self.batch.texts or self.own_batch[0]

    @property
    def batch_tokens(self) -> int:
        """Tokens in a request, about."""
        return self.batch.tokens or self.own_batch[1]


class NetworkDense(DenseSection, Endpoint):
    """What the providers that are spoken to over HTTP have in common."""


class OpenaiConfig(NetworkDense):
    """OpenAI, and every server that speaks its API: Azure, Ollama, vLLM, LM Studio, TEI, LiteLLM, Mistral."""

    own_batch: ClassVar[tuple[int, int]] = (128, 100_000)

    provider: Literal["openai"] = Field(description="`openai`")
    url: Address = Field(
        default="https://api.openai.com/v1",
        description="The address that `/embeddings` follows, e.g. `http://localhost:11434/v1` for Ollama.",
    )
    api_version: Text | None = Field(
        default=None, description="Azure: the version of its API, e.g. `2024-10-21`; the key is sent as Azure wants it."
    )


class CohereConfig(NetworkDense):
    """Cohere, which embeds documents and questions differently."""

    own_batch: ClassVar[tuple[int, int]] = (96, 100_000)

    provider: Literal["cohere"] = Field(description="`cohere`")
    url: Address = Field(default="https://api.cohere.com", description="The address that `/v2/embed` follows.")


class VoyageConfig(NetworkDense):
    """Voyage AI, which embeds documents and questions differently."""

    own_batch: ClassVar[tuple[int, int]] = (128, 100_000)

    provider: Literal["voyage"] = Field(description="`voyage`")
    url: Address = Field(default="https://api.voyageai.com/v1", description="The address that `/embeddings` follows.")


class HttpDenseConfig(NetworkDense):
    """Any other endpoint that takes JSON and gives JSON, by a template."""

    provider: Literal["http"] = Field(description="`http`")
    url: Address = Field(description="Where the requests go, as a whole.")
    body: dict[str, JsonValue] = Field(
        description="What is sent: `{texts}` is the list of texts (`{text}` a single one, a request each), `{model}`, "
        "`{kind}` and `{dimensions}` what they say.",
    )
    vectors: Text = Field(
        description="Where the vectors are in the answer, e.g. `data.*.embedding`: keys and positions, `*` for each."
    )
    indexes: Text | None = Field(
        default=None, description="Where the positions of the texts are, e.g. `data.*.index`; without, in their order."
    )
    kinds: dict[Literal["document", "query"], str] = Field(
        default={"document": "document", "query": "query"}, description="What `{kind}` is for each."
    )

    @model_validator(mode="after")
    def _check_body(self) -> HttpDenseConfig:
        names = check_placeholders(self.body, PLACEHOLDERS)
        if len(names & {"texts", "text"}) != 1:
            raise ValueError('body: expected "{texts}" or "{text}" as a value: where the texts go')
        if "kind" in names and len(self.kinds) < 2:
            raise ValueError("kinds: expected both document and query")
        return self

    @property
    def is_single(self) -> bool:
        """Whether a request takes one text only."""
        return "text" in placeholders(self.body)

    @property
    def batch_texts(self) -> int:
        """Texts in a request, at most."""
        return 1 if self.is_single else super().batch_texts


class PythonDenseConfig(DenseSection):
    """A function of an installed package."""

    own_batch: ClassVar[tuple[int, int]] = (1024, 1_000_000)

    provider: Literal["python"] = Field(description="`python`")
    function: Annotated[Text, AfterValidator(_check_function)] = Field(
        description="`module:function`, called with a list of texts and `kind`, `document` or `query`."
    )
    parallel: int = Field(default=1, ge=1, le=64, description="Calls at a time, at most.")


class LocalDense(DenseSection):
    """What the models on this machine have in common."""

    own_batch: ClassVar[tuple[int, int]] = (4096, 1 << 30)

    model: Text = Field(description="The model's name, or its folder, relative to the config, beginning with `./`.")
    parallel: Literal[1] = Field(default=1, description="A model uses all cores by itself.")


class FastembedConfig(LocalDense):
    """A model on this machine by ONNX, without PyTorch; `pip install "qloader[fastembed]"`."""

    provider: Literal["fastembed"] = Field(description="`fastembed`")
    model: Text = Field(description="The model's name in fastembed, e.g. `BAAI/bge-small-en-v1.5`.")
    path: Text | None = Field(
        default=None, description="A folder with its files, relative to the config, so that nothing is downloaded."
    )
    threads: int | None = Field(default=None, ge=1, le=1024, description="Cores that it uses; without, all of them.")

    manners: ClassVar[frozenset[str]] = DenseSection.manners | {"path"}


class SentenceTransformersConfig(LocalDense):
    """A model on this machine by PyTorch; `pip install "qloader[sentence-transformers]"`."""

    provider: Literal["sentence-transformers"] = Field(description="`sentence-transformers`")
    device: Text | None = Field(default=None, description="`cpu`, `cuda` or `mps`; without, the best there is.")


EMBEDDER_TYPES: dict[str, type[DenseSection]] = {
    "openai": OpenaiConfig,
    "cohere": CohereConfig,
    "voyage": VoyageConfig,
    "http": HttpDenseConfig,
    "python": PythonDenseConfig,
    "fastembed": FastembedConfig,
    "sentence-transformers": SentenceTransformersConfig,
}


def embedder_model(provider: str) -> type[Section] | None:
    """The model of a provider's section, ours or another package's; None where there is none.

    Raises:
        ConfigError: Another package offers it, and cannot be loaded.
    """
    return model_of(provider, EMBEDDER_TYPES, find_embedder)


if TYPE_CHECKING:
    _Own = DenseSection
else:
    _Own = Annotated[Any, any_own("provider", EMBEDDER_TYPES)]

DenseConfig = Annotated[_Own, checked_by_kind("provider", EMBEDDER_TYPES, DenseSection, find_embedder)]
"""The section of any provider; of another package's, an instance of the model that the package gives."""
