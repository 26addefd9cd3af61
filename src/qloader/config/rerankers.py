"""What `search.rerank` may say: one model a provider, and what all of them have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from qloader.config.endpoint import Address, Endpoint, check_placeholders
from qloader.config.fields import Section, Text
from qloader.config.units import Delay, Duration

PLACEHOLDERS = ("query", "texts", "model", "count")
"""What the body of `http` may name."""


class RerankSection(Endpoint):
    """What all rerankers have in common: an endpoint that says how well each hit answers the question."""

    provider: str = Field(description="Who orders the hits.")
    model: Text | None = Field(default=None, description="The model's name, as the provider knows it.")
    top: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="How many hits of the search are put in order anew; more where a search asks for more.",
    )
    timeout: Duration = Field(default=30.0, description="How long a connection, or the next bytes, are waited for.")
    deadline: Duration = Field(default=60.0, description="How long one answer as a whole may take.")
    retry_attempts: int = Field(
        default=2, ge=0, le=100, description="How often a request that failed for a passing reason is sent again."
    )
    retry_delay: Delay = Field(
        default=1.0, description="How long before the first time; each time after that waits twice as long."
    )


class CohereRerank(RerankSection):
    """Cohere, and every server that speaks its API: Jina, vLLM, LiteLLM."""

    provider: Literal["cohere"] = Field(description="`cohere`")
    url: Address = Field(
        default="https://api.cohere.com/v2",
        description="The address that `/rerank` follows, e.g. `http://localhost:8000/v1` for vLLM.",
    )
    model: Text = Field(description="The model's name, as the provider knows it.")


class HttpRerank(RerankSection):
    """Any other endpoint that takes JSON and gives JSON, by a template."""

    provider: Literal["http"] = Field(description="`http`")
    url: Address = Field(description="Where the requests go, as a whole.")
    body: dict[str, JsonValue] = Field(
        description="What is sent: `{query}` is the question, `{texts}` the list of the hits' texts, `{model}` and "
        "`{count}` (how many texts) what they say.",
    )
    scores: Text = Field(
        description="Where the scores are in the answer, e.g. `data.*.score`: keys and positions, `*` for each."
    )
    indexes: Text | None = Field(
        default=None, description="Where the positions of the texts are, e.g. `data.*.index`; without, in their order."
    )

    @model_validator(mode="after")
    def _check_body(self) -> HttpRerank:
        if not {"query", "texts"} <= check_placeholders(self.body, PLACEHOLDERS):
            raise ValueError('body: expected "{query}" and "{texts}" as values: where the question and the texts go')
        return self


RERANKER_TYPES: dict[str, type[RerankSection]] = {"cohere": CohereRerank, "http": HttpRerank}

RerankConfig = Annotated[CohereRerank | HttpRerank, Field(discriminator="provider")]
"""The section of any reranker."""


def reranker_model(provider: str) -> type[Section] | None:
    """The model of a provider's section; None where there is none."""
    return RERANKER_TYPES.get(provider)
