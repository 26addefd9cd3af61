"""A Confluence server, Cloud (REST v2) or Data Center (REST v1), over a `Confluence` model.

`python -m servers.confluence [cloud|data_center] [port]` (with `tests` on the path) starts one with some pages.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from servers.atlassian import Site
from servers.confluence_model import Attachment, Comment, Confluence, Page
from servers.query_language import Comparison, QueryError, compare_texts, compare_times, instant, parse_query


def confluence_cloud(model: Confluence) -> Site:
    """The app of a Cloud site; its base is `<address>/wiki`."""
    return Site(_Cloud(model).app(), is_cloud=True, account=model.account, traffic=model.traffic)


def confluence_data_center(model: Confluence, *, has_scan: bool = True) -> Site:
    """The app of a Data Center server at `<address>/confluence`; `has_scan` from release 7.18 on."""
    app = _DataCenter(model, has_scan=has_scan).app()
    return Site(app, is_cloud=False, account=model.account, traffic=model.traffic)


class _Search:
    """CQL and what else Cloud still serves from `/rest/api`, as Data Center does."""

    context = "/wiki"

    def __init__(self, model: Confluence) -> None:
        self.model = model
        self._last: tuple[str, list[tuple[Page, Any]]] | None = None
        """What the last search found, for whoever reads on."""

    def routes(self) -> list[Route]:
        rest = f"{self.context}/rest/api"
        return [
            Route(f"{rest}/search", self.search),
            Route(f"{rest}/content/search", self.content_search),
            Route(f"{rest}/user/current", self.current_user),
            Route(self.context + "/download/attachments/{page}/{name}", self.download),
        ]

    def app(self) -> Starlette:
        return Starlette(routes=self.routes())

    async def current_user(self, request: Request) -> Response:
        account = self.model.account
        return JSONResponse({"accountId": account.id, "displayName": account.name, "timeZone": account.time_zone})

    async def search(self, request: Request) -> Response:
        def as_hit(content: dict[str, Any]) -> dict[str, Any]:
            return {"content": content, "title": content["title"], "excerpt": "", "entityType": "content"}

        return self._found(request, "/rest/api/search", as_hit)

    async def content_search(self, request: Request) -> Response:
        return self._found(request, "/rest/api/content/search", lambda content: content)

    async def download(self, request: Request) -> Response:
        page = self.model.read(request.path_params["page"])
        name = request.path_params["name"]
        found = next((one for one in page.attachments if one.name == name), None) if page else None
        if found is None:
            return JSONResponse({"message": "not found"}, 404)
        self.model.traffic.bodies += 1
        return Response(found.data, media_type=found.media_type)

    def _found(self, request: Request, path: str, wrap: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
        cql = request.query_params["cql"]
        if self._last is None or self._last[0] != cql or not {"start", "cursor"} & set(request.query_params):
            try:
                query = parse_query(cql)
                records = self._records(query.required("id"))
                self._last = cql, [record for record in records if query.matches(partial(self._test, record))]
            except QueryError as error:
                return JSONResponse({"statusCode": 400, "message": f"Could not parse cql: {error}"}, 400)
        found = self._last[1]
        expand = _expand(request)
        start = int(request.query_params.get("start", request.query_params.get("cursor", "0").removeprefix("_f_")))
        limit = min(int(request.query_params.get("limit", 25)), self.model.max_limit)
        page = found[start : start + limit]
        links = {"base": _origin(request) + self.context, "context": self.context}
        if start + limit < len(found):
            key = "cursor" if self.context == "/wiki" else "start"
            at = f"_f_{start + limit}" if key == "cursor" else str(start + limit)
            links["next"] = f"{path}?" + urlencode(
                {"cql": request.query_params["cql"], "expand": ",".join(expand), "limit": limit, key: at}
            )
        results = [wrap(self._content(record, expand)) for record in page]
        return JSONResponse(
            {"results": results, "start": start, "limit": limit, "size": len(page), "totalSize": len(found)}
            | {"_links": links}
        )

    def _records(self, wanted: tuple[str, ...] | None) -> Iterator[tuple[Page, Any]]:
        pages: Iterable[Page] = self.model.visible()
        if wanted is not None:
            pages = (page for one in wanted if (page := self.model.read(one)) is not None)
        for page in pages:
            if page.status != "current" or page.id in self.model.unindexed or page.type == "folder":
                continue
            yield page, page
            for part in (*page.comments, *page.attachments):
                if part.id not in self.model.unindexed:
                    yield page, part

    def _test(self, record: tuple[Page, Any], test: Comparison) -> bool:
        page, part = record
        if test.field == "lastmodified":
            zone = self.model.account.time_zone or "UTC"
            return compare_times(test.op, part.modified, instant(test.values[0], zone, self.model.now))
        kind = page.type if part is page else type(part).__name__.lower()
        found = {
            "id": {part.id},
            "type": {kind},
            "space": {page.space},
            "space.key": {page.space},
            "label": set(page.labels),
            "container": set() if part is page else {page.id},
            "ancestor": {one.id for one in self.model.ancestors(page)},
            "title": {getattr(part, "title", "")},
        }.get(test.field)
        if found is None:
            raise QueryError(f"Field '{test.field}' is not known.")
        return compare_texts(test.op, found, test.values)

    def _content(self, record: tuple[Page, Any], expand: list[str]) -> dict[str, Any]:
        """A piece of content as `/rest/api` writes it."""
        page, part = record
        if isinstance(part, Page):
            return self._page(page, expand)
        content: dict[str, Any] = {"id": part.id, "status": "current"}
        if isinstance(part, Comment):
            content |= {"type": "comment", "title": f"Re: {page.title}", "extensions": {"location": "footer"}}
            if "body.storage" in expand:
                content["body"] = {"storage": {"value": part.body, "representation": "storage"}}
            if "ancestors" in expand:
                content["ancestors"] = [{"id": part.parent, "type": "comment"}] if part.parent else []
        else:
            content |= {
                "type": "attachment",
                "title": part.name,
                "metadata": {"mediaType": part.media_type},
                "extensions": {"mediaType": part.media_type, "fileSize": len(part.data)},
                "_links": {"download": _download_link(page, part)},
            }
        if "history" in expand and isinstance(part, Comment):
            content["history"] = {"createdBy": self._user(part.author), "createdDate": _stamp(part.created)}
        if "version" in expand:
            content["version"] = self._version(part, part.author if isinstance(part, Comment) else page.author)
        if "container" in expand:
            content["container"] = {"id": page.id, "type": page.type, "title": page.title}
        return content

    def _page(self, page: Page, expand: list[str]) -> dict[str, Any]:
        space = self.model.spaces[page.space]
        web = f"/spaces/{page.space}/pages/{page.id}/{quote_plus(page.title)}"
        content: dict[str, Any] = {"id": page.id, "type": page.type, "status": page.status, "title": page.title}
        content["_links"] = {"webui": web if self.context == "/wiki" else f"/pages/viewpage.action?pageId={page.id}"}
        if "version" in expand:
            content["version"] = self._version(page, page.author)
        if "space" in expand:
            content["space"] = {"id": space.id, "key": space.key, "name": space.name}
        if "ancestors" in expand:
            content["ancestors"] = [
                {"id": one.id, "type": one.type, "title": one.title} for one in self.model.ancestors(page)
            ]
        if "metadata.labels" in expand:
            results = [{"prefix": "global", "name": name, "id": name} for name in page.labels]
            content["metadata"] = {"labels": {"results": results, "size": len(results)}}
        if "history" in expand:
            content["history"] = {"createdBy": self._user(page.author), "createdDate": _stamp(page.created)}
        if "body.storage" in expand:
            self.model.traffic.bodies += 1
            content["body"] = {"storage": {"value": page.body, "representation": "storage"}}
        return content

    def _version(self, part: Any, author: str) -> dict[str, Any]:
        return {"number": part.version, "when": _stamp(part.modified), "by": self._user(author)}

    def _user(self, key: str) -> dict[str, Any]:
        return {"type": "known", "userKey": key, "username": key, "displayName": self.model.users.get(key, key)}


class _Cloud(_Search):
    def routes(self) -> list[Route]:
        v2 = "/wiki/api/v2"
        routes = [
            Route("/_edge/tenant_info", self.tenant_info),
            Route(f"{v2}/spaces", self.spaces),
            Route(v2 + "/spaces/{space}/content/labels", self.space_labels),
            Route(v2 + "/folders/{id}", self.folder),
            Route(v2 + "/users-bulk", self.users_bulk, methods=["POST"]),
        ]
        for kind, type_ in (("pages", "page"), ("blogposts", "blogpost")):
            routes += [
                Route(f"{v2}/{kind}", self._bulk(type_)),
                Route(v2 + "/spaces/{space}/" + kind, self._in_space(type_)),
                Route(v2 + "/labels/{label}/" + kind, self._with_label(type_)),
                Route(f"{v2}/{kind}" + "/{id}/labels", self.page_labels),
                Route(f"{v2}/{kind}" + "/{id}/attachments", self.attachments),
            ]
        return [*routes, *super().routes()]

    async def tenant_info(self, request: Request) -> Response:
        return JSONResponse({"cloudId": self.model.cloud_id})

    async def spaces(self, request: Request) -> Response:
        keys, ids = _several(request, "keys"), _several(request, "ids")
        found = [
            {"id": space.id, "key": space.key, "name": space.name, "type": "global", "status": "current"}
            for space in self.model.spaces.values()
            if not space.hidden and (not keys or space.key in keys) and (not ids or space.id in ids)
        ]
        return self._paged(request, found)

    def _bulk(self, type_: str) -> Callable[[Request], Any]:
        async def bulk(request: Request) -> Response:
            ids, statuses = _several(request, "id"), _several(request, "status") or ["current", "archived"]
            if len(ids) > 250:
                return JSONResponse({"errors": [{"status": 400, "title": "at most 250 ids"}]}, 400)
            pages = (page for one in ids if (page := self.model.read(one)) is not None)
            found = sorted(
                (page for page in pages if page.type == type_ and page.status in statuses), key=lambda p: int(p.id)
            )
            return self._paged(request, found)

        return bulk

    def _in_space(self, type_: str) -> Callable[[Request], Any]:
        async def in_space(request: Request) -> Response:
            space = next((s for s in self.model.spaces.values() if s.id == request.path_params["space"]), None)
            if space is None or space.hidden:
                return JSONResponse({"errors": [{"status": 404, "code": "NOT_FOUND", "title": "Not Found"}]}, 404)
            statuses = _several(request, "status") or ["current", "archived"]
            pages = self.model.visible(type=type_, space=space.key)
            return self._paged(request, [page for page in pages if page.status in statuses])

        return in_space

    def _with_label(self, type_: str) -> Callable[[Request], Any]:
        async def with_label(request: Request) -> Response:
            name, spaces = request.path_params["label"].removeprefix("label-"), _several(request, "space-id")
            found = [
                page
                for page in self.model.visible(type=type_)
                if name in page.labels and (not spaces or self.model.spaces[page.space].id in spaces)
            ]
            return self._paged(request, [page for page in found if page.status in ("current", "archived")])

        return with_label

    async def space_labels(self, request: Request) -> Response:
        key = next((s.key for s in self.model.spaces.values() if s.id == request.path_params["space"]), "")
        names = sorted({name for page in self.model.visible(space=key) for name in page.labels})
        return self._paged(request, [_label(name) for name in names])

    async def page_labels(self, request: Request) -> Response:
        page = self.model.read(request.path_params["id"])
        return self._paged(request, [_label(name) for name in page.labels] if page else None)

    async def folder(self, request: Request) -> Response:
        folder = self.model.read(request.path_params["id"])
        if folder is None or folder.type != "folder":
            return JSONResponse({"errors": [{"status": 404, "title": "Not Found"}]}, 404)
        return JSONResponse(self._as_v2(folder, body=False))

    async def attachments(self, request: Request) -> Response:
        page = self.model.read(request.path_params["id"])
        if page is None:
            return self._paged(request, None)
        name = request.query_params.get("filename")
        found = [
            {
                "id": one.id,
                "status": "current",
                "title": one.name,
                "mediaType": one.media_type,
                "fileSize": len(one.data),
                "downloadLink": _download_link(page, one),
                "version": {"number": one.version, "createdAt": _stamp(one.modified)},
            }
            for one in page.attachments
            if name in (None, one.name)
        ]
        return self._paged(request, found)

    async def users_bulk(self, request: Request) -> Response:
        ids = (await request.json())["accountIds"]
        found = [{"accountId": one, "displayName": self.model.users[one]} for one in ids if one in self.model.users]
        return JSONResponse({"results": found, "_links": {}})

    def _paged(self, request: Request, found: list[Any] | None) -> Response:
        """One page of a list in the order of ids, by a cursor that names the last one."""
        if found is None:
            return JSONResponse({"errors": [{"status": 404, "code": "NOT_FOUND", "title": "Not Found"}]}, 404)
        limit = min(int(request.query_params.get("limit", 25)), self.model.max_limit)
        after = base64.urlsafe_b64decode(request.query_params.get("cursor", "")).decode()
        start = 0
        if after:
            start = next((n for n, one in enumerate(found) if _sort_key(one) > _key(after)), len(found))
        page = found[start : start + limit]
        links: dict[str, str] = {"base": _origin(request) + "/wiki"}
        headers = {}
        if start + limit < len(found):
            cursor = base64.urlsafe_b64encode(str(_sort_key(page[-1])[1]).encode()).decode()
            others = [(k, v) for k, v in request.query_params.multi_items() if k not in ("cursor", "limit")]
            links["next"] = f"{request.url.path}?" + urlencode([*others, ("limit", limit), ("cursor", cursor)])
            headers["Link"] = f'<{links["next"]}>; rel="next"'
        body = request.query_params.get("body-format") == "storage"
        results = [self._as_v2(one, body=body) if isinstance(one, Page) else one for one in page]
        return JSONResponse({"results": results, "_links": links}, headers=headers)

    def _as_v2(self, page: Page, *, body: bool) -> dict[str, Any]:
        parent = self.model.pages.get(page.parent) if page.parent else None
        content: dict[str, Any] = {
            "id": page.id,
            "status": page.status,
            "title": page.title,
            "spaceId": self.model.spaces[page.space].id,
            "parentId": page.parent,
            "parentType": parent.type if parent else None,
            "authorId": page.author,
            "createdAt": _stamp(page.created),
            "version": {"number": page.version, "createdAt": _stamp(page.modified), "authorId": page.author},
            "body": {},
            "_links": self._page(page, [])["_links"],
        }
        if body:
            self.model.traffic.bodies += 1
            content["body"] = {"storage": {"representation": "storage", "value": page.body}}
        return content


class _DataCenter(_Search):
    context = "/confluence"

    def __init__(self, model: Confluence, *, has_scan: bool) -> None:
        super().__init__(model)
        self._has_scan = has_scan

    def routes(self) -> list[Route]:
        rest = "/confluence/rest/api"
        return [
            *super().routes(),
            Route("/confluence/rest/applinks/1.0/manifest", self.manifest),
            Route(f"{rest}/user", self.user),
            Route(f"{rest}/content", self.listing),
            Route(f"{rest}/content/scan", self.scan),
            Route(rest + "/content/{id}", self.one),
            Route(rest + "/content/{id}/child/attachment", self.attachments),
        ]

    async def manifest(self, request: Request) -> Response:
        return JSONResponse({"id": self.model.cloud_id, "name": "Confluence", "typeId": "confluence"})

    async def current_user(self, request: Request) -> Response:
        account = self.model.account
        return JSONResponse({"type": "known", "username": "rita", "userKey": account.id, "displayName": account.name})

    async def user(self, request: Request) -> Response:
        key = request.query_params.get("key", request.query_params.get("username", ""))
        if key not in self.model.users:
            return JSONResponse({"statusCode": 404, "message": f"No user found with key : {key}"}, 404)
        return JSONResponse(self._user(key))

    async def listing(self, request: Request) -> Response:
        return self._list(request, "/rest/api/content", cursor=False)

    async def scan(self, request: Request) -> Response:
        if not self._has_scan:
            return JSONResponse({"statusCode": 404, "message": "No content found with id : scan"}, 404)
        return self._list(request, "/rest/api/content/scan", cursor=True)

    async def one(self, request: Request) -> Response:
        page = self.model.read(request.path_params["id"])
        if page is None or page.status not in (_several(request, "status") or ["current"]):
            return JSONResponse({"statusCode": 404, "message": "No content found with id"}, 404)
        return JSONResponse(self._page(page, _expand(request)))

    async def attachments(self, request: Request) -> Response:
        page = self.model.read(request.path_params["id"])
        if page is None:
            return JSONResponse({"statusCode": 404, "message": "No content found"}, 404)
        name = request.query_params.get("filename")
        found = [(page, one) for one in page.attachments if name in (None, one.name)]
        return self._page_of(request, f"/rest/api/content/{page.id}/child/attachment", found)

    def _list(self, request: Request, path: str, *, cursor: bool) -> Response:
        key = request.query_params.get("spaceKey", "")
        space = self.model.spaces.get(key)
        if space is None or space.hidden:
            return JSONResponse({"statusCode": 404, "message": f"No space with key : {key}"}, 404)
        type_ = request.query_params.get("type", "page")
        statuses = _several(request, "status") or ["current"]
        pages = [page for page in self.model.visible(type=type_, space=key) if page.status in statuses]
        if not cursor:
            return self._page_of(request, path, [(page, page) for page in pages])
        limit = min(int(request.query_params.get("limit", 25)), self.model.max_limit)
        after = request.query_params.get("cursor", "content:false:0").rpartition(":")[2]
        rest = [page for page in pages if int(page.id) > int(after)]
        found = rest[:limit]
        links = {"base": _origin(request) + self.context, "context": self.context}
        if len(rest) > limit:
            links["next"] = _next(request, path, limit, cursor=f"content:false:{found[-1].id}")
        results = [self._page(page, _expand(request)) for page in found]
        return JSONResponse({"results": results, "limit": limit, "size": len(found), "_links": links})

    def _page_of(self, request: Request, path: str, found: list[tuple[Page, Any]]) -> Response:
        limit = min(int(request.query_params.get("limit", 25)), self.model.max_limit)
        start = int(request.query_params.get("start", 0))
        page = found[start : start + limit]
        links = {"base": _origin(request) + self.context, "context": self.context}
        if start + limit < len(found):
            links["next"] = _next(request, path, limit, start=str(start + limit))
        results = [self._content(record, _expand(request)) for record in page]
        return JSONResponse({"results": results, "start": start, "limit": limit, "size": len(page), "_links": links})


def _next(request: Request, path: str, limit: int, **place: str) -> str:
    others = [(k, v) for k, v in request.query_params.multi_items() if k not in ("start", "cursor", "limit")]
    return f"{path}?" + urlencode([*others, ("limit", limit), *place.items()])


def _sort_key(one: Any) -> tuple[int, Any]:
    return _key(one.id if isinstance(one, Page) else one["id"])


def _key(text: str) -> tuple[int, Any]:
    return (0, int(text)) if text.isdigit() else (1, text)


def _label(name: str) -> dict[str, str]:
    return {"id": f"label-{name}", "name": name, "prefix": "global"}


def _download_link(page: Page, attachment: Attachment) -> str:
    return f"/download/attachments/{page.id}/{quote(attachment.name)}?version={attachment.version}"


def _several(request: Request, name: str) -> list[str]:
    return [part for value in request.query_params.getlist(name) for part in value.split(",")]


def _expand(request: Request) -> list[str]:
    parts = request.query_params.get("expand", "").split(",")
    return [part.removeprefix("content.") for part in parts if part]


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}Z"


def main() -> None:
    """Serves a site with some pages until it is stopped."""
    import uvicorn

    edition = sys.argv[1] if len(sys.argv) > 1 else "cloud"
    port = sys.argv[2] if len(sys.argv) > 2 else "8090"
    model = Confluence()
    model.add_many("ENG", 50)
    app = confluence_data_center(model) if edition == "data_center" else confluence_cloud(model)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
