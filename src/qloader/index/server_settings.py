"""A collection's settings between qloader's flat mapping and a server's own words. Imports the client late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qloader.index.collection_settings import FIELD, CollectionSettings, Setting, part
from qloader.index.protocol import DENSE_VECTOR

if TYPE_CHECKING:
    from qdrant_client.models import CollectionInfo

_PARAMS = {
    "replicas": "replication_factor",
    "write_consistency": "write_consistency_factor",
    "on_disk.payload": "on_disk_payload",
}
_NO_QUANTIZATION: tuple[str, dict[str, Any]] = ("none", {})
_THRESHOLD = 10_000  # the server's own


def read_settings(info: CollectionInfo) -> dict[str, Setting]:
    """What a server says of a collection, by the keys of `index.settings`."""
    config, params = info.config, info.config.params
    found: dict[str, Setting] = {
        "shards": _or(params.shard_number, 1),
        "replicas": _or(params.replication_factor, 1),
        "write_consistency": _or(params.write_consistency_factor, 1),
        "on_disk.payload": bool(params.on_disk_payload),
        "indexing_threshold": _or(config.optimizer_config.indexing_threshold, _THRESHOLD),
    }
    vectors = params.vectors
    if isinstance(vectors, Mapping) and DENSE_VECTOR in vectors:
        hnsw = config.hnsw_config
        found |= {
            "datatype": getattr(vectors[DENSE_VECTOR].datatype, "value", "float32"),
            "on_disk.vectors": bool(vectors[DENSE_VECTOR].on_disk),
            "hnsw.m": hnsw.m,
            "hnsw.ef_construct": hnsw.ef_construct,
            "hnsw.full_scan_threshold": hnsw.full_scan_threshold,
            "hnsw.on_disk": bool(hnsw.on_disk),
            **_read_quantization(config.quantization_config),
        }
    for name, index in (info.payload_schema or {}).items():
        found[FIELD + name] = index.data_type.value
    return found


def _or(said: int | None, default: int) -> int:
    """What a server says, and what it means where it does not."""
    return default if said is None else said


def _read_quantization(quantization: Any) -> dict[str, Setting]:
    """The one kind that is used stands below its name."""
    facts = {} if quantization is None else quantization.model_dump(mode="json", exclude_none=True)
    kind, values = next(iter(facts.items()), _NO_QUANTIZATION)
    return {
        "quantization.type": kind,
        "quantization.quantile": values.get("quantile"),
        "quantization.compression": values.get("compression"),
        "quantization.always_ram": values.get("always_ram", False),
    }


def creation(settings: CollectionSettings, *, has_dense: bool) -> dict[str, Any]:
    """What `create_collection` is told beside the vectors."""
    arguments: dict[str, Any] = {name: settings[key] for key, name in _PARAMS.items() if key in settings}
    if "shards" in settings:
        arguments["shard_number"] = settings["shards"]
    arguments |= _shared(settings, has_dense=has_dense)
    if settings.get("quantization.type") == "none":
        arguments.pop("quantization_config", None)
    return arguments


def change(settings: CollectionSettings, changed: frozenset[str]) -> dict[str, Any]:
    """What `update_collection` is told; empty where it has nothing to do.

    Args:
        settings: All that the config says: quantization is told whole.
        changed: The keys that differ.
    """
    from qdrant_client import models

    told: dict[str, Any] = {key: settings[key] for key in changed}
    arguments: dict[str, Any] = {}
    if params := {name: told[key] for key, name in _PARAMS.items() if key in told}:
        arguments["collection_params"] = models.CollectionParamsDiff(**params)
    if "on_disk.vectors" in told:
        arguments["vectors_config"] = {DENSE_VECTOR: models.VectorParamsDiff(on_disk=bool(told["on_disk.vectors"]))}
    quantization = {key: value for key, value in settings.items() if key.startswith("quantization.")}
    told |= quantization if any(key in quantization for key in changed) else {}
    return arguments | _shared(told, has_dense=True)


def _shared(settings: CollectionSettings, *, has_dense: bool) -> dict[str, Any]:
    """What both are told in the same words."""
    from qdrant_client import models

    arguments: dict[str, Any] = {}
    if "indexing_threshold" in settings:
        threshold: Any = settings["indexing_threshold"]
        arguments["optimizers_config"] = models.OptimizersConfigDiff(indexing_threshold=threshold)
    if has_dense and (hnsw := part(settings, "hnsw.")):
        arguments["hnsw_config"] = models.HnswConfigDiff(**hnsw)
    if has_dense and (quantization := part(settings, "quantization.")):
        arguments["quantization_config"] = _quantization(**quantization)
    return arguments


def _quantization(type: str, **values: Any) -> Any:
    from qdrant_client import models

    if type == "none":
        return models.Disabled.DISABLED
    if type == "scalar":
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, **values)
        return models.ScalarQuantization(scalar=scalar)
    if type == "product":
        return models.ProductQuantization(product=models.ProductQuantizationConfig(**values))
    return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(**values))
