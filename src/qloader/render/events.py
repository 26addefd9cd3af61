"""What an apply tells and does, as JSON values for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, assert_never

from qloader.applying.events import Adapted, BatchDone, DocumentDone, Event, Finished, Started
from qloader.applying.result import ApplyResult
from qloader.errors import QloaderError
from qloader.planning.plan import ACTIONS, PlanWarning


def event_as_dict(event: Event) -> dict[str, Any]:
    """One event; `event` says which."""
    match event:
        case Started():
            header = event.plan
            return {
                "event": "started",
                "name": header.name,
                "plan": header.digest,
                "resumed": event.is_resumed,
                "changes": header.summary.changes,
                "summary": {action: getattr(header.summary, action) for action in ACTIONS},
            }
        case PlanWarning():
            return {"event": "warning", "source": event.source, "kind": event.kind, "message": event.message}
        case DocumentDone():
            return _document_as_dict(event)
        case BatchDone():
            return {
                "event": "batch",
                "batch": event.number,
                "documents": event.documents,
                "done": event.done,
                "chunks_embedded": event.embedded,
                "serial": event.serial,
            }
        case Adapted():
            return {
                "event": "adapted",
                "batch_size": event.batch_size,
                "paused": event.is_paused,
                "memory": round(event.memory, 3),
            }
        case Finished():
            return {"event": "finished", **result_as_dict(event.result)}
        case _:
            assert_never(event)


def result_as_dict(result: ApplyResult) -> dict[str, Any]:
    """What an apply did."""
    return {
        "created": result.created,
        "updated": result.updated,
        "moved": result.moved,
        "deleted": result.deleted,
        "repaired": result.repaired,
        "already_applied": result.already,
        "chunks_embedded": result.embedded,
        "serial": result.serial,
        **({} if result.dense is None else {"dense": asdict(result.dense)}),
        **({"settings": list(result.settings)} if result.settings else {}),
        "failures": [
            {"address": f"{f.source}/{f.document_id}", "reason": f.reason, "detail": f.detail} for f in result.failures
        ],
    }


def error_as_dict(error: BaseException) -> dict[str, Any]:
    """An error as the last event of an apply that fails."""
    remedy, code = (error.remedy, error.exit_code) if isinstance(error, QloaderError) else ("", 1)
    return {
        "event": "error",
        "message": str(error) or type(error).__name__,
        "remedy": remedy,
        "exit_code": code,
    }


def _document_as_dict(event: DocumentDone) -> dict[str, Any]:
    change = event.change
    moved = {} if change.from_id is None else {"from": f"{change.source}/{change.from_id}"}
    why = {"reason": event.reason, "detail": event.detail} if event.outcome == "left" else {}
    return {
        "event": "document",
        "action": change.action,
        "address": change.address,
        **moved,
        "outcome": event.outcome,
        **why,
    }
