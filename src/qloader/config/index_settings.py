"""How a collection is kept: copies, memory, indexes. None of it shapes a point, so none of it is in the pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from qloader.config.fields import Section, none_is_empty

FIELDS = ("title", "uri", "source_type", "chunk", "updated_at")
"""Fields of a payload, beside those below `metadata`, that may have an index. Others have one anyway, or need none."""

SERVER_ONLY = ("shards", "replicas", "write_consistency", "bulk_chunks")
"""What only a server knows; the embedded engine is one shard in one folder, and indexes nothing during a load."""

FieldType = Literal["keyword", "integer", "float", "bool", "datetime", "uuid"]


def _check_field(value: str) -> str:
    """A field of a payload."""
    if value not in FIELDS and not re.fullmatch(r"metadata(\.[A-Za-z0-9_-]+)+", value):
        raise ValueError(f"expected metadata.KEY, with a key of letters, digits, `_` and `-`, or {', '.join(FIELDS)}")
    return value


class OnDiskConfig(Section):
    """What is read from the disk when it is needed, instead of being held in memory."""

    payload: bool | None = Field(default=None, description="The payloads, with the texts.")
    vectors: bool | None = Field(default=None, description="The dense vectors as they were made.")


class HnswConfig(Section):
    """The graph by which dense vectors are found. A change is worked in by the server, in its own time."""

    m: int | None = Field(default=None, ge=0, le=1024, description="Edges of a node; 0 builds no graph.")
    ef_construct: int | None = Field(
        default=None, ge=4, le=100_000, description="Neighbours looked at when the graph is built."
    )
    full_scan_threshold: int | None = Field(
        default=None, ge=10, le=1_000_000_000, description="Below so many kB of vectors all are compared, without it."
    )
    on_disk: bool | None = Field(default=None, description="Whether the graph is read from the disk.")


class QuantizationConfig(Section):
    """Smaller copies of the dense vectors, for a faster first look."""

    type: Literal["scalar", "binary", "product", "none"] | None = Field(
        default=None, description="Numbers of one byte, of one bit, or of codes for parts; `none` takes them away."
    )
    quantile: float | None = Field(
        default=None, ge=0.5, le=1, description="With `scalar`: the share of numbers that are not cut off."
    )
    compression: Literal["x4", "x8", "x16", "x32", "x64"] | None = Field(
        default=None, validate_default=True, description="With `product`, which needs it: how much smaller."
    )
    always_ram: bool | None = Field(default=None, description="Held in memory, even where the vectors are on disk.")

    @field_validator("quantile", "compression", "always_ram")
    @classmethod
    def _check_kind(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or "type" not in info.data:
            return value
        kind = info.data["type"]
        takers = {"quantile": ("scalar",), "compression": ("product",)}.get(
            info.field_name or "", ("scalar", "binary", "product")
        )
        if kind not in takers:
            raise ValueError(f"this is for the type {' or '.join(takers)}")
        return value

    @field_validator("compression")
    @classmethod
    def _check_compression(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("type") == "product":
            raise ValueError("the type product needs a compression, such as x16")
        return value


class IndexSettings(Section):
    """How the collection is kept. What is not set is left as it is. Nothing of it is a change of documents."""

    shards: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Parts of the collection on the server; said once, when it is made.",
    )
    replicas: int | None = Field(default=None, ge=1, le=100, description="Copies of each part, in a cluster.")
    write_consistency: int | None = Field(
        default=None, ge=1, le=100, description="So many copies must have a write before it counts; `replicas` at most."
    )
    datatype: Literal["float16", "float32"] | None = Field(
        default=None,
        description="What the numbers of dense vectors are kept in; said once, when the collection is made. What is "
        "not set is float16 in an embedded index, and as the server has it on a server.",
    )
    on_disk: OnDiskConfig = Field(default_factory=OnDiskConfig, description="See below.")
    hnsw: HnswConfig = Field(default_factory=HnswConfig, description="See below.")
    quantization: QuantizationConfig = Field(default_factory=QuantizationConfig, description="See below.")
    indexing_threshold: int | None = Field(
        default=None, ge=0, le=999_999_999, description="From so many kB of vectors on, a graph is built; 0 for never."
    )
    bulk_chunks: int | None = Field(
        default=None,
        ge=1,
        description="An apply that embeds so many chunks or more has the server build no graph before its end.",
    )
    payload_indexes: Annotated[
        dict[Annotated[str, AfterValidator(_check_field)], FieldType], BeforeValidator(none_is_empty)
    ] = Field(
        default_factory=dict,
        json_schema_extra={"x-unit": "section"},
        description="Fields that searches narrow by, and what they hold: `metadata.team: keyword`, "
        "`updated_at: datetime`.",
    )

    @field_validator("write_consistency")
    @classmethod
    def _check_consistency(cls, value: int | None, info: ValidationInfo) -> int | None:
        replicas = info.data.get("replicas")
        if value is not None and replicas is not None and value > replicas:
            raise ValueError(f"expected {replicas} at most, as many as there are replicas")
        return value

    @property
    def given(self) -> dict[str, int | float | bool | str]:
        """What is set of the collection itself, by its path below `index.settings`."""
        return dict(_flat(self.model_dump(exclude_none=True, exclude={"bulk_chunks"})))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
