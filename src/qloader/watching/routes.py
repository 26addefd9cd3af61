"""What is answered to whom: health, metrics and hooks. Every answer is made from memory, in microseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from qloader.config.sources import SourceSection
from qloader.watching.hooks import HookError, concerned, read_call
from qloader.watching.metrics import CONTENT_TYPE, render_metrics
from qloader.watching.moments import Moment
from qloader.watching.notices import Notices
from qloader.watching.server import Request, Response
from qloader.watching.standing import Standing, StandingBoard

_HOOKS = "/hooks/"


@dataclass(frozen=True, slots=True)
class Routes:
    """The answers of one service.

    Attributes:
        board: How things stand.
        notices: Where hooks leave theirs.
        sources: The config's sources.
        secrets: The secret of each hook that is taken, by who calls.
    """

    board: StandingBoard
    notices: Notices
    sources: Mapping[str, SourceSection]
    secrets: Mapping[str, str] = field(repr=False)

    def answer(self, request: Request) -> Response:
        """The answer to a request."""
        path = request.path.partition("?")[0]
        is_hook = path.startswith(_HOOKS)
        if not is_hook and path not in self._read:
            return _problem(404, "there are /healthz, /readyz, /metrics and the configured hooks")
        if request.method not in (("POST",) if is_hook else ("GET", "HEAD")):
            return _problem(405, "a hook is called with POST" if is_hook else "this is read with GET")
        return self._hook(path.removeprefix(_HOOKS), request) if is_hook else self._read[path]()

    @property
    def _read(self) -> dict[str, Callable[[], Response]]:
        return {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics}

    def _health(self) -> Response:
        return _json(200, {"status": "alive", "name": self.board.read().name})

    def _readiness(self) -> Response:
        standing = self.board.read()
        return _json(200 if standing.word == "ready" else 503, describe(standing, Moment()))

    def _metrics(self) -> Response:
        return Response(200, render_metrics(self.board.read(), self.notices.counts()).encode(), CONTENT_TYPE)

    def _hook(self, kind: str, request: Request) -> Response:
        secret = self.secrets.get(kind)
        if secret is None:
            return _problem(404, "there is no such hook; watch.hooks names those that are taken")
        try:
            call = read_call(kind, request.headers, request.body, secret)
        except HookError as error:
            return _problem(error.status, str(error))
        if not call.is_news:
            return _json(200, {"sources": []})
        names = concerned(kind, call, self.sources)
        if not names:
            return _problem(404, "no source reads what this hook speaks of")
        self.notices.tell(names, f"{kind} hook", is_whole=call.is_whole)
        return _json(202, {"sources": names})


def describe(standing: Standing, now: Moment) -> dict[str, Any]:
    """How things stand, as JSON values."""
    return {
        "status": standing.word,
        "name": standing.name,
        "busy": standing.busy is not None,
        "problems": list(dict.fromkeys(standing.troubles.values())),
        "sources": {
            name: {
                "documents": source.documents,
                "seconds_since_success": None if source.success is None else round(source.success.age(now), 1),
                "problem": source.trouble or None,
            }
            for name, source in standing.sources.items()
        },
    }


def _json(status: int, value: dict[str, Any]) -> Response:
    return Response(status, orjson.dumps(value) + b"\n", "application/json")


def _problem(status: int, sentence: str) -> Response:
    return _json(status, {"error": sentence})
