"""What `policies` and `prices` may say, and what only all of a config together can tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from qloader.config.extensions import POLICIES, names_in
from qloader.config.fields import Name, Section, Text, is_pattern, none_is_empty
from qloader.config.units import Size
from qloader.config.yamlfile import Mistake, ParsedFile, Path_, dotted

if TYPE_CHECKING:
    from qloader.config.models import Config

LIMITS = ("max_deletes", "max_updates", "max_embeds", "max_cost", "max_document_size")
"""The keys that are the higher the more they let pass."""

_FINDS = (*LIMITS, "forbidden_paths", "required_metadata", "custom")
"""The keys that say what a policy looks for; without any it finds every change of its sources."""


def _check_pattern(value: str) -> str:
    if not is_pattern(value):
        raise ValueError("matches nothing; patterns are written as in .gitignore, e.g. drafts/ or *.secret.md")
    return value


def _check_metadata_key(value: str) -> str:
    if value in ("title", "uri"):
        raise ValueError("every document has a title and a uri; expected a key of its metadata, such as owner")
    return value


def _check_currency(value: str) -> str:
    if not (value.isascii() and value.isalpha() and value.isupper() and len(value) == 3):
        raise ValueError("expected the three letters of a currency, such as USD or EUR")
    return value


def _check_custom(value: str) -> str:
    known = names_in(POLICIES)
    if value not in known:
        near = get_close_matches(value, known, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"there is {', '.join(known) or 'none'}"
        raise ValueError(f"no installed package offers a policy of this name; {hint}")
    return value


Pattern = Annotated[Text, AfterValidator(_check_pattern)]
MetadataKey = Annotated[Text, AfterValidator(_check_metadata_key)]
Count = Annotated[int, Field(ge=0)]
Price = Annotated[float, Field(ge=0, le=1e9)]


class PolicyConfig(Section):
    """A rule of your own that a plan is held to: what it looks for, and what follows from it."""

    effect: Literal["deny", "warn", "require_allow"] = Field(
        default="deny",
        description="What follows where it finds something: the plan is refused, bears a warning, or is refused unless "
        "`--allow` names the policy.",
    )
    sources: tuple[Name, ...] = Field(
        default=(), description="Only changes of these sources; all of them where none is named."
    )
    max_deletes: Count | None = Field(default=None, description="Documents that a plan may delete, at most.")
    max_updates: Count | None = Field(default=None, description="Documents that a plan may update, at most.")
    max_embeds: Count | None = Field(default=None, description="Chunks that a plan may embed, at most.")
    max_cost: Price | None = Field(
        default=None,
        description="What embedding may cost, at most, in `prices.currency`: an estimate. In a policy of its own.",
    )
    max_document_size: Size | None = Field(
        default=None, description="How large a document that is created, updated or moved may be, e.g. `5MB`."
    )
    forbidden_paths: tuple[Pattern, ...] = Field(
        default=(),
        description="Which documents may not be created, updated or moved to: patterns as in `.gitignore`, held "
        "against the id and the address.",
    )
    required_metadata: tuple[MetadataKey, ...] = Field(
        default=(),
        description="Keys that the metadata of every document that is created, updated or moved must have, and not "
        "empty.",
    )
    custom: Annotated[Text, AfterValidator(_check_custom)] | None = Field(
        default=None, description="A policy of another package, by the name of its entry point in `qloader.policies`."
    )
    options: dict[Text, Any] = Field(default_factory=dict, description="What such a policy is told.")

    @model_validator(mode="after")
    def _check_together(self) -> PolicyConfig:
        found = [key for key in _FINDS if getattr(self, key) not in (None, ())]
        if not found and not self.sources:
            raise ValueError(
                f"expected what it looks for ({', '.join(_FINDS)}), or the sources whose every change it finds"
            )
        if "max_cost" in found and (len(found) > 1 or self.sources):
            raise ValueError("max_cost is of a whole plan and an estimate; expected it in a policy of its own")
        if self.forbidden_paths and all(pattern.startswith("!") for pattern in self.forbidden_paths):
            raise ValueError("forbidden_paths only takes back; expected a pattern without ! before that")
        if self.options and self.custom is None:
            raise ValueError("options are for a custom policy; expected custom beside them")
        return self


class PricesConfig(Section):
    """What embedding costs, for the estimate beside a plan. No part of the pipeline: a price changes no vector."""

    currency: Annotated[str, AfterValidator(_check_currency)] = Field(
        default="USD", description="The currency of all prices and of `max_cost`, in three letters."
    )
    per_million_tokens: Annotated[dict[Text, Price], BeforeValidator(none_is_empty)] = Field(
        default_factory=dict,
        json_schema_extra={"x-unit": "section"},
        description="The price of a million tokens, by the embedder's name in the estimate. Others are overlooked, so "
        "that several configs may have one list; `validate` names them.",
    )


def check_policies(config: Config, parsed: ParsedFile) -> Iterator[Mistake]:
    """What is wrong with policies in the light of the rest: sources, prices, each other."""
    has_price = not config.prices.per_million_tokens.keys().isdisjoint(config.embedding.names)
    for name, policy in config.policies.items():
        for number, source in enumerate(policy.sources):
            if source not in config.sources:
                path: Path_ = ("policies", name, "sources", number)
                yield Mistake(parsed.values.get(path), f"{dotted(path)}: {_unknown('source', source, config.sources)}")
        if policy.max_cost is not None and not has_price:
            path = ("policies", name, "max_cost")
            first = config.embedding.names[0]
            text = f"no price of its embedders is configured; set prices.per_million_tokens, e.g. {{{first}: 0.02}}"
            yield Mistake(parsed.keys.get(path), f"{dotted(path)}: {text}")
    yield from _contradictions(config, parsed)


def find_unused_prices(config: Config) -> dict[str, str]:
    """Prices of what the config does not embed with, each with the embedder that may be meant, or an empty text.

    They are no mistake: several configs may have one list of prices.
    """
    names = config.embedding.names
    unused = [name for name in config.prices.per_million_tokens if name not in names]
    return {name: next(iter(get_close_matches(name, names, 1)), "") for name in unused}


def _contradictions(config: Config, parsed: ParsedFile) -> Iterator[Mistake]:
    """Warnings that nobody will ever see, since another policy refuses what is less than they warn of."""
    for name, policy in config.policies.items():
        for other_name, other in config.policies.items():
            if policy.effect != "warn" or other.effect == "warn" or set(policy.sources) != set(other.sources):
                continue
            for key in LIMITS:
                limit, refused = getattr(policy, key), getattr(other, key)
                if limit is not None and refused is not None and limit >= refused:
                    path: Path_ = ("policies", name, key)
                    text = (
                        f"warns of more than {limit:,}, and policies.{other_name} refuses more than {refused:,} already"
                    )
                    yield Mistake(parsed.keys.get(path), f"{dotted(path)}: {text}")


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(name, names, 1)
    return f"there is no such {kind}; {f'did you mean {near[0]}?' if near else f'there is {_listed(names)}'}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
