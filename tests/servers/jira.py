"""A Jira server, Cloud (REST v3) or Data Center (REST v2), over a `Jira` model.

`python -m servers.jira [cloud|data_center] [port]` (with `tests` on the path) starts one with some issues.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from servers.atlassian import Site
from servers.jira_model import SYSTEM_FIELDS, Issue, Jira
from servers.query_language import (
    Comparison,
    Query,
    QueryError,
    compare_texts,
    compare_times,
    instant,
    parse_query,
)


def jira_cloud(model: Jira, *, has_bulk: bool = True) -> Site:
    """The app of a Cloud site; its base is the address itself."""
    app = _Cloud(model, has_bulk=has_bulk).app()
    return Site(app, is_cloud=True, account=model.account, traffic=model.traffic)


def jira_data_center(model: Jira) -> Site:
    """The app of a Data Center server at `<address>/jira`."""
    return Site(_DataCenter(model).app(), is_cloud=False, account=model.account, traffic=model.traffic)


class _Server:
    base = ""

    def __init__(self, model: Jira) -> None:
        self.model = model

    def routes(self) -> list[Route]:
        return [
            Route(f"{self.base}/myself", self.myself),
            Route(f"{self.base}/serverInfo", self.server_info),
            Route(f"{self.base}/field", self.field_names),
            Route(self.base + "/project/{key}", self.project),
            Route(self.base + "/issue/{key}/comment", self.comments),
        ]

    def app(self) -> Starlette:
        return Starlette(routes=self.routes())

    async def myself(self, request: Request) -> Response:
        account = self.model.account
        return JSONResponse({"accountId": account.id, "displayName": account.name, "timeZone": account.time_zone})

    async def server_info(self, request: Request) -> Response:
        return JSONResponse({"baseUrl": f"{request.url.scheme}://{request.url.netloc}", "version": "1001.0.0"})

    async def field_names(self, request: Request) -> Response:
        system = [{"id": id_, "name": name, "custom": False, "schema": schema} for id_, name, schema in SYSTEM_FIELDS]
        custom = [{"id": i, "name": name, "custom": True, "schema": schema} for i, name, schema in self.model.custom]
        return JSONResponse([*system, *custom])

    async def project(self, request: Request) -> Response:
        key = request.path_params["key"]
        if key not in self.model.projects:
            return _errors(404, f"No project could be found with key '{key}'.")
        return JSONResponse({"key": key, "name": self.model.projects[key]})

    async def comments(self, request: Request) -> Response:
        issue = self._issue(request.path_params["key"])
        if issue is None:
            return _errors(404, "Issue does not exist or you do not have permission to see it.")
        start = int(request.query_params.get("startAt", 0))
        limit = min(int(request.query_params.get("maxResults", 5000)), max(self.model.max_results, 100))
        return JSONResponse(self._comments(issue, start, limit))

    def _issue(self, name: str) -> Issue | None:
        return self.model.by_id(int(name)) if name.isdigit() else self.model.by_key(name)

    def _parse(self, jql: str) -> Query:
        """A query whose names are all known.

        Raises:
            QueryError: What Jira says where they are not.
        """
        query = parse_query(jql)
        for project in query.required("project") or ():
            if project not in self.model.projects:
                raise QueryError(f"The value '{project}' does not exist for the field 'project'.")
        return query

    def _find(self, query: Query, after: int, reconciled: frozenset[int] = frozenset()) -> Iterator[Issue]:
        """What a query finds, in the order of ids, from after an id on."""
        wanted = query.required("id") or query.required("key") or query.required("issuekey")
        numbers: Any = self.model.ids(after)
        if wanted is not None:
            found = [self._issue(name) for name in wanted]
            numbers = sorted({issue.id for issue in found if issue is not None and issue.id > after})
        for number in numbers:
            issue = self.model.searched(number, reconciled)
            if issue is not None and query.matches(lambda test: self._test(issue, test)):  # noqa: B023
                yield issue

    def _test(self, issue: Issue, test: Comparison) -> bool:
        if test.field in ("updated", "created"):
            zone = self.model.account.time_zone or "UTC"
            return compare_times(test.op, getattr(issue, test.field), instant(test.values[0], zone, self.model.now))
        found = {
            "project": {issue.project},
            "id": {str(issue.id), issue.key, *(k for k, number in self.model.old_keys.items() if number == issue.id)},
            "status": {issue.fields.get("status", {"name": "To Do"})["name"]},
            "labels": set(issue.fields.get("labels", ())),
        }
        field = {"key": "id", "issuekey": "id", "issue": "id"}.get(test.field, test.field)
        if field not in found:
            raise QueryError(f"Field '{test.field}' does not exist or you do not have permission to view it.")
        return compare_texts(test.op, found[field], test.values)

    def _as_json(self, issue: Issue, fields: list[str], expand: list[str]) -> dict[str, Any]:
        answer: dict[str, Any] = {"id": str(issue.id), "key": issue.key}
        if not set(fields) <= {"id", "key"}:
            answer["fields"] = self._fields(issue, fields)
        if "changelog" in expand:
            answer["changelog"] = self._changelog(issue, 0, 40)
        return answer

    def _fields(self, issue: Issue, fields: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {"updated": self._stamp(issue.updated)}
        if not set(fields) <= self.model.light_fields:
            self.model.traffic.bodies += 1
            texts = {id_ for id_, _, schema in self.model.custom if schema.get("custom", "").endswith(":textarea")}
            found |= {
                "summary": issue.summary,
                "description": self._text(issue.description),
                "created": self._stamp(issue.created),
                "project": {"key": issue.project, "name": self.model.projects.get(issue.project, "")},
                "status": {"name": "To Do"},
                "issuetype": {"name": "Task"},
                "labels": [],
                "comment": self._comments(issue, 0, self.model.comments_inline),
            }
            found |= {
                name: self._text(value) if name in texts or name == "environment" else value
                for name, value in issue.fields.items()
            }
        return {name: value for name, value in found.items() if {name, "*all"} & set(fields)}

    def _comments(self, issue: Issue, start: int, limit: int) -> dict[str, Any]:
        found = [
            {
                "id": one.id,
                "author": {"accountId": one.author, "displayName": one.author},
                "body": self._text(one.body),
                "created": self._stamp(one.created),
            }
            for one in issue.comments[start : start + limit]
        ]
        return {"comments": found, "startAt": start, "maxResults": limit, "total": len(issue.comments)}

    def _changelog(self, issue: Issue, start: int, limit: int) -> dict[str, Any]:
        histories = [
            {
                "id": str(number),
                "author": {"displayName": author},
                "created": self._stamp(when),
                "items": [{"field": field, "fieldtype": "jira", "fromString": before, "toString": after}],
            }
            for number, (when, author, field, before, after) in enumerate(issue.history)
        ]
        page = histories[start : start + limit]
        return {"startAt": start, "maxResults": limit, "total": len(histories), "histories": page}

    def _text(self, value: Any) -> Any:
        return value

    def _stamp(self, time: datetime) -> str:
        local = time.astimezone(ZoneInfo(self.model.account.time_zone or "UTC"))
        return local.strftime("%Y-%m-%dT%H:%M:%S.") + f"{local.microsecond // 1000:03}" + local.strftime("%z")


class _Cloud(_Server):
    base = "/rest/api/3"

    def __init__(self, model: Jira, *, has_bulk: bool) -> None:
        super().__init__(model)
        self._has_bulk = has_bulk

    def routes(self) -> list[Route]:
        routes = [
            *super().routes(),
            Route("/_edge/tenant_info", self.tenant_info),
            Route(f"{self.base}/search", self.gone, methods=["GET", "POST"]),
            Route(f"{self.base}/search/jql", self.search, methods=["GET", "POST"]),
            Route(f"{self.base}/search/approximate-count", self.count, methods=["POST"]),
            Route(self.base + "/issue/{key}/changelog", self.changelog),
        ]
        if self._has_bulk:
            routes.append(Route(f"{self.base}/issue/bulkfetch", self.bulk, methods=["POST"]))
        return routes

    async def tenant_info(self, request: Request) -> Response:
        return JSONResponse({"cloudId": self.model.cloud_id})

    async def gone(self, request: Request) -> Response:
        return _errors(410, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")

    async def search(self, request: Request) -> Response:
        asked = await _asked(request)
        fields, reconciled = asked.get("fields", []), [int(one) for one in asked.get("reconcileIssues", [])]
        if len(reconciled) > 50:
            return _errors(400, "At most 50 issues can be reconciled.")
        try:
            query = self._parse(asked["jql"])
            if query.root is None:
                return _errors(400, "Unbounded JQL queries are not allowed here. Please add a search restriction.")
            for name in (*(query.required("id") or ()), *(query.required("key") or ())):
                if self._issue(name) is None:
                    return _errors(400, f"An issue with key '{name}' does not exist for field 'key'.")
            is_light = set(fields) <= self.model.light_fields
            limit = min(int(asked.get("maxResults", 50)), self.model.max_ids if is_light else self.model.max_results)
            after = int(base64.b64decode(asked.get("nextPageToken", "")) or 0)
            found: list[Issue] = []
            for issue in self._find(query, after, frozenset(reconciled)):
                found.append(issue)
                if len(found) > limit:
                    break
        except QueryError as error:
            return _errors(400, str(error))
        answer: dict[str, Any] = {"isLast": len(found) <= limit}
        found = found[:limit]
        answer["issues"] = [self._as_json(issue, fields, asked.get("expand", [])) for issue in found]
        if not answer["isLast"]:
            answer["nextPageToken"] = base64.b64encode(str(found[-1].id).encode()).decode()
        return JSONResponse(answer)

    async def count(self, request: Request) -> Response:
        try:
            query = self._parse((await request.json())["jql"])
            return JSONResponse({"count": sum(1 for _ in self._find(query, 0))})
        except QueryError as error:
            return _errors(400, str(error))

    async def bulk(self, request: Request) -> Response:
        asked = await _asked(request)
        if len(asked["issueIdsOrKeys"]) > 100:
            return _errors(400, "At most 100 issues can be fetched.")
        found = {i.id: i for name in asked["issueIdsOrKeys"] if (i := self._issue(name)) is not None}
        fields, expand = asked.get("fields", ["*navigable"]), asked.get("expand", [])
        return JSONResponse({"issues": [self._as_json(i, fields, expand) for i in found.values()], "issueErrors": []})

    async def changelog(self, request: Request) -> Response:
        issue = self._issue(request.path_params["key"])
        if issue is None:
            return _errors(404, "Issue does not exist or you do not have permission to see it.")
        start = int(request.query_params.get("startAt", 0))
        found = self._changelog(issue, start, min(int(request.query_params.get("maxResults", 100)), 100))
        found["values"] = found.pop("histories")
        return JSONResponse(found | {"isLast": start + len(found["values"]) >= found["total"]})

    def _text(self, value: Any) -> Any:
        """Plain paragraphs as an ADF document."""
        if not isinstance(value, str):
            return value
        paragraphs = [part for part in value.split("\n\n") if part]
        content = [{"type": "paragraph", "content": [{"type": "text", "text": part}]} for part in paragraphs]
        return {"type": "doc", "version": 1, "content": content} if content else None


class _DataCenter(_Server):
    base = "/jira/rest/api/2"

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            Route("/jira/rest/applinks/1.0/manifest", self.manifest),
            Route(f"{self.base}/search", self.search, methods=["GET", "POST"]),
        ]

    async def manifest(self, request: Request) -> Response:
        return JSONResponse({"id": self.model.cloud_id, "name": "Jira", "typeId": "jira"})

    async def search(self, request: Request) -> Response:
        asked = await _asked(request)
        fields, expand = asked.get("fields", ["*navigable"]), asked.get("expand", [])
        try:
            query = self._parse(asked.get("jql", ""))
            if asked.get("validateQuery", True) not in (False, "false", "none", "warn"):
                for name in (*(query.required("id") or ()), *(query.required("key") or ())):
                    if self._issue(name) is None:
                        return _errors(400, f"An issue with key '{name}' does not exist for field 'key'.")
            found = list(self._find(query, 0))
        except QueryError as error:
            return _errors(400, str(error))
        start = int(asked.get("startAt", 0))
        limit = min(int(asked.get("maxResults", 50)), self.model.max_results)
        page = [self._as_json(issue, fields, expand) for issue in found[start : start + limit]]
        return JSONResponse({"startAt": start, "maxResults": limit, "total": len(found), "issues": page})

    def _changelog(self, issue: Issue, start: int, limit: int) -> dict[str, Any]:
        return super()._changelog(issue, 0, len(issue.history))


async def _asked(request: Request) -> dict[str, Any]:
    """The parameters of a search, from its query or its body."""
    if request.method == "POST":
        asked = dict(await request.json())
        expand = asked.get("expand", [])
        return asked | {"expand": expand.split(",") if isinstance(expand, str) else expand}
    asked = dict(request.query_params)
    lists = {"fields", "expand", "reconcileIssues"}
    return {k: v.split(",") if k in lists else v for k, v in asked.items()}


def _errors(status: int, message: str) -> Response:
    return JSONResponse({"errorMessages": [message], "errors": {}}, status)


def main() -> None:
    """Serves a site with some issues until it is stopped."""
    import uvicorn

    edition = sys.argv[1] if len(sys.argv) > 1 else "cloud"
    port = sys.argv[2] if len(sys.argv) > 2 else "8091"
    model = Jira(max_results=1000 if edition == "data_center" else 100)
    model.add_many("ENG", 50)
    app = jira_data_center(model) if edition == "data_center" else jira_cloud(model)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
