"""A plan's values as JSON values and back, in the contract's key order. Pure.

Reading is strict about what is known (missing keys, wrong types, unknown actions) and lenient about extra
keys, so that a later qloader may add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qloader.errors import PlanError
from qloader.planning.plan import (
    ACTIONS,
    EFFECTS,
    RESULTS,
    Base,
    Change,
    ChunkCounts,
    IndexTarget,
    Pipeline,
    PlanHeader,
    PlanSelection,
    PlanWarning,
    PolicyResult,
    SourceSummary,
    Summary,
    Version,
)

_REMEDY = "Make the plan again with `qloader plan -o`."


def header_as_dict(header: PlanHeader) -> dict[str, Any]:
    """A plan without its changes, in the contract's key order; `changes` is an empty list in its place."""
    summary = header.summary
    fields: dict[str, Any] = {
        "format": header.format,
        "name": header.name,
        "base": {"lineage": header.base.lineage, "serial": header.base.serial},
        "index": {
            "collection": header.index.collection,
            "location": header.index.location,
            "action": header.index.action,
            **({"tenant": header.index.tenant} if header.index.tenant else {}),
        },
        "pipeline": {
            "fingerprint": header.pipeline.fingerprint,
            "chunking": dict(header.pipeline.chunking),
            "embedding": dict(header.pipeline.embedding),
        },
        "sources": [
            {
                "name": source.name,
                "type": source.type,
                "revision": source.revision,
                "documents": source.documents,
                "root": source.root,
                "complete": source.complete,
            }
            for source in header.sources
        ],
        "summary": {
            **{action: getattr(summary, action) for action in ACTIONS},
            "unchanged": summary.unchanged,
            "chunks": {
                "embed": summary.chunks_embed,
                "keep": summary.chunks_keep,
                "delete": summary.chunks_delete,
            },
            "characters": summary.characters,
        },
    }
    if header.allowed_deletes or header.allowed_policies:
        fields["allowed"] = {"deletes": list(header.allowed_deletes)}
        if header.allowed_policies:
            fields["allowed"]["policies"] = list(header.allowed_policies)
    if header.policies:
        fields["policies"] = [_policy_as_dict(policy) for policy in header.policies]
    if header.selection:
        fields["selection"] = {
            "only": list(header.selection.only),
            "exclude": list(header.selection.exclude),
            "targets": list(header.selection.targets),
            "left_out": header.selection.left_out,
        }
    if header.since:
        fields["since"] = header.since
    fields["changes"] = []
    fields["warnings"] = [
        {"source": warning.source, "kind": warning.kind, "message": warning.message} for warning in header.warnings
    ]
    fields["digest"] = header.digest
    return fields


def change_as_dict(change: Change) -> dict[str, Any]:
    """One change in the contract's key order; `from` only for moves."""
    moved = {} if change.from_id is None else {"from": change.from_id}
    return {
        "action": change.action,
        "source": change.source,
        "id": change.id,
        **moved,
        "before": _version_as_dict(change.before),
        "after": _version_as_dict(change.after),
        "chunks": {"add": change.chunks.add, "keep": change.chunks.keep, "remove": change.chunks.remove},
        "reason": change.reason,
    }


def header_from_dict(fields: Mapping[str, Any]) -> PlanHeader:
    """The inverse of `header_as_dict`.

    Raises:
        PlanError: A key is missing or of the wrong type; the message names it.
    """
    base, index, pipeline = (_get(fields, key, dict) for key in ("base", "index", "pipeline"))
    action = _get(index, "action", str, "index")
    if action not in ("none", "create", "replace"):
        raise PlanError(f"the plan's index.action is {action!r}, which this qloader does not know", remedy=_REMEDY)
    summary = _get(fields, "summary", dict)
    chunks = _get(summary, "chunks", dict, "summary")
    return PlanHeader(
        name=_get(fields, "name", str),
        base=Base(_get(base, "lineage", (str, type(None)), "base"), _get(base, "serial", int, "base")),
        index=IndexTarget(
            _get(index, "collection", str, "index"),
            _get(index, "location", str, "index"),
            action,
            _get(index, "tenant", str, "index") if "tenant" in index else "",
        ),
        pipeline=Pipeline(
            _get(pipeline, "fingerprint", str, "pipeline"),
            _get(pipeline, "chunking", dict, "pipeline"),
            _get(pipeline, "embedding", dict, "pipeline"),
        ),
        sources=tuple(_source_from_dict(source) for source in _get(fields, "sources", list)),
        summary=Summary(
            **{name: _get(summary, name, int, "summary") for name in (*ACTIONS, "unchanged", "characters")},
            chunks_embed=_get(chunks, "embed", int, "summary.chunks"),
            chunks_keep=_get(chunks, "keep", int, "summary.chunks"),
            chunks_delete=_get(chunks, "delete", int, "summary.chunks"),
        ),
        warnings=tuple(
            PlanWarning(*(_get(warning, key, str, "warnings") for key in ("source", "kind", "message")))
            for warning in _get(fields, "warnings", list)
        ),
        allowed_deletes=tuple(_get(fields["allowed"], "deletes", list, "allowed")) if "allowed" in fields else (),
        allowed_policies=tuple(_get(fields["allowed"], "policies", list, "allowed"))
        if "policies" in fields.get("allowed", {})
        else (),
        policies=tuple(_policy_from_dict(policy) for policy in _get(fields, "policies", list))
        if "policies" in fields
        else (),
        selection=_selection_from_dict(_get(fields, "selection", dict)) if "selection" in fields else None,
        since=_get(fields, "since", str) if "since" in fields else "",
        digest=_get(fields, "digest", str),
        format=_get(fields, "format", str),
    )


def change_from_dict(fields: Mapping[str, Any]) -> Change:
    """The inverse of `change_as_dict`.

    Raises:
        PlanError: A key is missing or of the wrong type, or the action is unknown; the message names it.
    """
    action = _get(fields, "action", str, "change")
    if action not in ACTIONS:
        raise PlanError(
            f"the plan has a change with the action {action!r}, which this qloader does not know",
            remedy="Upgrade qloader, or make the plan again with this one.",
        )
    chunks = _get(fields, "chunks", dict, "change")
    return Change(
        action=action,
        source=_get(fields, "source", str, "change"),
        id=_get(fields, "id", str, "change"),
        before=_version_from_dict(_get(fields, "before", (dict, type(None)), "change")),
        after=_version_from_dict(_get(fields, "after", (dict, type(None)), "change")),
        chunks=ChunkCounts(*(_get(chunks, key, int, "change.chunks") for key in ("add", "keep", "remove"))),
        reason=_get(fields, "reason", str, "change"),
        from_id=_get(fields, "from", str, "change") if "from" in fields else None,
    )


def _selection_from_dict(fields: Mapping[str, Any]) -> PlanSelection:
    only, exclude, targets = (tuple(_get(fields, key, list, "selection")) for key in ("only", "exclude", "targets"))
    return PlanSelection(only, exclude, targets, _get(fields, "left_out", int, "selection"))


def _policy_as_dict(policy: PolicyResult) -> dict[str, Any]:
    required = {"required_metadata": list(policy.required_metadata)} if policy.required_metadata else {}
    return {"name": policy.name, "effect": policy.effect, "result": policy.result, **required}


def _policy_from_dict(fields: Mapping[str, Any]) -> PolicyResult:
    effect, result = _get(fields, "effect", str, "policies"), _get(fields, "result", str, "policies")
    if effect not in EFFECTS or result not in RESULTS:
        raise PlanError(
            f"the plan has a policy of effect {effect!r} and result {result!r}, which this qloader does not know",
            remedy=_REMEDY,
        )
    return PolicyResult(
        name=_get(fields, "name", str, "policies"),
        effect=effect,
        result=result,
        required_metadata=tuple(_get(fields, "required_metadata", list, "policies"))
        if "required_metadata" in fields
        else (),
    )


def _source_from_dict(fields: Mapping[str, Any]) -> SourceSummary:
    return SourceSummary(
        name=_get(fields, "name", str, "sources"),
        type=_get(fields, "type", str, "sources"),
        revision=_get(fields, "revision", (str, type(None)), "sources"),
        documents=_get(fields, "documents", int, "sources"),
        root=_get(fields, "root", str, "sources"),
        complete=_get(fields, "complete", bool, "sources"),
    )


def _version_as_dict(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {
        "content": version.content,
        "metadata": version.metadata,
        "revision": version.revision,
        "bytes": version.bytes,
        **({"title": version.title} if version.title else {}),
        **({"lacks": list(version.lacks)} if version.lacks else {}),
    }


def _version_from_dict(fields: Mapping[str, Any] | None) -> Version | None:
    if fields is None:
        return None
    return Version(
        content=_get(fields, "content", str, "version"),
        metadata=_get(fields, "metadata", str, "version"),
        revision=_get(fields, "revision", str, "version"),
        bytes=_get(fields, "bytes", int, "version"),
        title=_get(fields, "title", str, "version") if "title" in fields else "",
        lacks=tuple(_get(fields, "lacks", list, "version")) if "lacks" in fields else (),
    )


def _get(fields: Any, key: str, kind: type | tuple[type, ...], where: str = "") -> Any:
    # A dict is asked for first: a check against Mapping costs more than all the rest, thirty times a document.
    is_mapping = type(fields) is dict or isinstance(fields, Mapping)
    if is_mapping and key in fields and type(value := fields[key]) is kind:
        return value
    name = f"{where}.{key}" if where else key
    if not is_mapping or key not in fields:
        raise PlanError(f"the plan has no {name}", remedy=_REMEDY)
    value = fields[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise PlanError(f"the plan's {name} is {value!r}, which is of the wrong type", remedy=_REMEDY)
    return value
