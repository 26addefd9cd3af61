"""A collection's settings between qloader's flat mapping and the embedded engine's own. Imports the engine late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qloader.index.collection_settings import FIELD, CollectionSettings, Setting, part
from qloader.index.protocol import DENSE_VECTOR, SPARSE_VECTOR

if TYPE_CHECKING:
    from qdrant_edge import EdgeConfig, EdgeSparseVectorParams, UpdateOperation

_HNSW: Mapping[str, Setting] = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "on_disk": False}
DATATYPE = "float16"
"""What a new collection keeps the numbers of dense vectors in, where nothing was said: until it is tidied up each
question is compared with every vector, which takes two thirds of the time that `float32` takes."""

_NO_QUANTIZATION: tuple[str, dict[str, Any]] = ("none", {})
_THRESHOLD = 10_000
"""The engine's own, where nothing was said."""


FEW = 0
"""As many segments as the engine finds good for searches: about one for each core."""

MANY = 100
"""So many segments that what is sealed is left alone: merged, each seal would cost as much as all before it."""


def read_settings(stored: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Setting]:
    """What the engine keeps of a collection, by the keys of `index.settings`.

    Args:
        stored: Its `edge_config.json`.
        fields: Its payload indexes (`PayloadIndexInfo`), by field.
    """
    threshold = (stored.get("optimizers") or {}).get("indexing_threshold")
    found: dict[str, Setting] = {
        "on_disk.payload": _payload_on_disk(stored),
        "indexing_threshold": _THRESHOLD if threshold is None else threshold,
    }
    dense = (stored.get("vectors") or {}).get(DENSE_VECTOR)
    if dense is not None:
        hnsw = stored.get("hnsw_config") or {}
        found["datatype"] = dense.get("datatype") or "float32"
        found["on_disk.vectors"] = bool(dense.get("on_disk"))
        found |= {f"hnsw.{key}": hnsw.get(key, default) for key, default in _HNSW.items()}
        kind, values = next(iter((stored.get("quantization_config") or {}).items()), _NO_QUANTIZATION)
        found["quantization.type"] = kind
        found |= {f"quantization.{key}": values.get(key) for key in ("quantile", "compression")}
        found["quantization.always_ram"] = values.get("always_ram", False)
    for name, index in fields.items():
        found[FIELD + name] = str(index.data_type).rpartition(".")[2].lower()
    return found


def _payload_on_disk(stored: Mapping[str, Any]) -> bool:
    """By the newer of two keys first; the engine's own choice is the disk."""
    if memory := stored.get("payload_memory"):
        return bool(memory == "cold")
    return stored.get("on_disk_payload") is not False


def make_config(dense: int | None, settings: CollectionSettings, *, is_kept_cold: bool = True) -> EdgeConfig:
    """What the engine is told of a collection; what is left out stays as it is, but for the vectors.

    Args:
        dense: How long its dense vectors are; None where it has none.
        settings: What it has to be, the vectors and the graph whole.
        is_kept_cold: Whether the words' index and the ids of what is compact are read from the disk, and not held.
    """
    from qdrant_edge import (
        Distance,
        EdgeConfig,
        EdgeOptimizersConfig,
        EdgeVectorParams,
        HnswIndexConfig,
        Memory,
        VectorStorageDatatype,
    )

    on_disk: Any = settings.get("on_disk.vectors")
    datatype = getattr(VectorStorageDatatype, str(settings.get("datatype", DATATYPE)).title())
    hnsw: dict[str, Any] = part(settings, "hnsw.")
    quantization = part(settings, "quantization.")
    threshold: Any = settings.get("indexing_threshold")
    payload: Any = settings.get("on_disk.payload")
    vector = None if dense is None else EdgeVectorParams(dense, Distance.Cosine, on_disk=on_disk, datatype=datatype)
    return EdgeConfig(
        vectors={} if vector is None else {DENSE_VECTOR: vector},
        sparse_vectors={SPARSE_VECTOR: _sparse(is_kept_cold)},
        id_tracker_memory=Memory.Cold if is_kept_cold else None,
        on_disk_payload=payload,
        hnsw_config=HnswIndexConfig(**{**_HNSW, **hnsw}) if hnsw else None,
        quantization_config=_quantization(**quantization) if quantization else None,
        optimizers=None if threshold is None else EdgeOptimizersConfig(indexing_threshold=threshold),
    )


def is_cold(stored: Mapping[str, Any]) -> bool:
    """Whether the words' index of what is compact is read from the disk.

    So it is in a collection that was made since there is sealing; one that an older qloader made stays as it was.

    Args:
        stored: Its `edge_config.json`.
    """
    return ((stored.get("sparse_vectors") or {}).get(SPARSE_VECTOR) or {}).get("memory") == "cold"


def make_tidying_config(stored: Mapping[str, Any], segments: int) -> EdgeConfig:
    """What the engine is told before it tidies up; all else stays as it is.

    Args:
        stored: What it keeps (`edge_config.json`); of the `optimizers` it forgets what it is not told again.
        segments: How many segments there may be: `FEW` or `MANY`. Where they are many, one that is compact is not made
            anew either for the sake of points that were deleted from it.
    """
    from qdrant_edge import EdgeConfig, EdgeOptimizersConfig

    threshold = (stored.get("optimizers") or {}).get("indexing_threshold")
    return EdgeConfig(
        sparse_vectors={SPARSE_VECTOR: _sparse(is_cold(stored))},
        optimizers=EdgeOptimizersConfig(
            indexing_threshold=threshold,
            default_segment_number=segments,
            deleted_threshold=1.0 if segments == MANY else None,
        ),
    )


def _sparse(is_kept_cold: bool) -> EdgeSparseVectorParams:
    from qdrant_edge import EdgeSparseVectorParams, Memory, Modifier

    return EdgeSparseVectorParams(modifier=Modifier.Idf, memory=Memory.Cold if is_kept_cold else None)


def _quantization(type: str, **values: Any) -> Any:
    from qdrant_edge import (
        BinaryQuantizationConfig,
        CompressionRatio,
        ProductQuantizationConfig,
        ScalarQuantizationConfig,
        ScalarType,
    )

    if type == "scalar":
        return ScalarQuantizationConfig(ScalarType.Int8, **values)
    if type == "product":
        return ProductQuantizationConfig(getattr(CompressionRatio, values.pop("compression").upper()), **values)
    return BinaryQuantizationConfig(**values)


def index_field(name: str, kind: Any) -> UpdateOperation:
    """The operation that makes the index of one field of payloads."""
    import qdrant_edge

    parameters = getattr(qdrant_edge, f"{kind.title()}IndexParams")
    # On disk once tidied up: in memory they would be built anew by each opening.
    return qdrant_edge.UpdateOperation.create_field_index(name, parameters(on_disk=True))
