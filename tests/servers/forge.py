"""A forge on the loopback: pull requests, comments, job runs and artifacts, behind the APIs of GitHub and GitLab.

As far as a review needs them, and as the forges' references say: lists come by pages, who may not write is told 403,
a workflow's own token has no user to ask for, a file is kept at another host with a key in its address.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

REPOSITORY = "acme/handbook"
PROJECT = "42"
BOT = "github-actions[bot]"


@dataclass
class User:
    """Who a token belongs to; the token of a workflow has no user that could be asked for."""

    id: int
    login: str
    can_write: bool = True
    is_workflow: bool = False


@dataclass
class Comment:
    """A comment on a pull request."""

    id: int
    author: User
    body: str
    edits: int = 0


@dataclass
class Pull:
    """A pull request."""

    number: int
    head: str
    home: str = REPOSITORY
    merge_commit: str | None = None
    comments: list[Comment] = field(default_factory=list)


@dataclass
class Run:
    """A run of a workflow, or a job."""

    id: int
    commit: str
    home: str = REPOSITORY
    parents: list[str] = field(default_factory=list)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)


class ForgeModel:
    """What the forge holds, and everything that was asked of it.

    Attributes:
        users: By token.
        failures: Statuses that the next requests are answered with, one each, whatever they ask.
        answer: What every request is answered with, whatever it asks; None answers them.
        requests: Method, path and token of each request.
        leaks: Tokens that reached the host of the files, where none may.
    """

    def __init__(self) -> None:
        self.users = {
            "workflow": User(1, BOT, is_workflow=True),
            "reader": User(2, "reader", can_write=False),
            "person": User(3, "person"),
        }
        self.pulls: dict[int, Pull] = {}
        self.runs: dict[int, Run] = {}
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.answer: Response | None = None
        self.requests: list[tuple[str, str, str]] = []
        self.leaks: list[str] = []
        self.files = ""  # the address of the host that keeps files; set by who serves it
        self._next = 100

    def comment(self, pull: Pull, author: User, body: str) -> Comment:
        """Adds a comment."""
        self._next += 1
        pull.comments.append(Comment(self._next, author, body))
        return pull.comments[-1]

    def own(self, number: int) -> list[Comment]:
        """The comments that the workflow's token wrote."""
        return [c for c in self.pulls[number].comments if c.author.login == BOT]


def zipped(**files: bytes) -> bytes:
    """An archive as `actions/upload-artifact` makes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_json", ".json"), data)
    return buffer.getvalue()


def make_app(model: ForgeModel) -> Starlette:
    """Both APIs: GitHub's below `/`, GitLab's below `/api/v4/`."""

    def guarded(handler: Any, *, writes: bool = False) -> Any:
        async def answer(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            token = given or request.headers.get("private-token", "")
            model.requests.append((request.method, request.url.path, token))
            if model.failures:
                status, headers = model.failures.pop(0)
                return JSONResponse({"message": "told to fail"}, status, headers)
            if model.answer is not None:
                return model.answer
            user = model.users.get(token)
            if user is None:
                return JSONResponse({"message": "Bad credentials"}, 401)
            if writes and not user.can_write:
                return JSONResponse({"message": "Resource not accessible by integration"}, 403)
            return await handler(request, user)

        return answer

    def page(request: Request, entries: list[Any]) -> Response:
        size, number = int(request.query_params.get("per_page", 30)), int(request.query_params.get("page", 1))
        return JSONResponse(entries[(number - 1) * size : number * size])

    def missing() -> Response:
        return JSONResponse({"message": "Not Found"}, 404)

    # GitHub

    async def github_user(request: Request, user: User) -> Response:
        if user.is_workflow:
            return JSONResponse({"message": "Resource not accessible by integration"}, 403)
        return JSONResponse({"login": user.login, "type": "User"})

    def as_github(comment: Comment) -> dict[str, Any]:
        kind = "Bot" if comment.author.is_workflow else "User"
        return {"id": comment.id, "body": comment.body, "user": {"login": comment.author.login, "type": kind}}

    async def github_comments(request: Request, user: User) -> Response:
        pull = model.pulls.get(int(request.path_params["number"]))
        return page(request, [as_github(c) for c in pull.comments]) if pull else missing()

    def too_long() -> Response:
        errors = [{"resource": "IssueComment", "message": "body is too long (maximum is 65536 characters)"}]
        return JSONResponse({"message": "Validation Failed", "errors": errors}, 422)

    async def github_add(request: Request, user: User) -> Response:
        pull = model.pulls.get(int(request.path_params["number"]))
        body = (await request.json())["body"]
        if len(body) > 65_536:
            return too_long()
        return JSONResponse(as_github(model.comment(pull, user, body)), 201) if pull else missing()

    async def github_edit(request: Request, user: User) -> Response:
        number = int(request.path_params["comment"])
        body = (await request.json())["body"]
        if len(body) > 65_536:
            return too_long()
        for pull in model.pulls.values():
            for comment in pull.comments:
                if comment.id == number:
                    comment.body, comment.edits = body, comment.edits + 1
                    return JSONResponse(as_github(comment))
        return missing()

    def pull_of(pull: Pull) -> dict[str, Any]:
        return {
            "number": pull.number,
            "merged_at": "2026-11-01T10:00:00Z" if pull.merge_commit else None,
            "merge_commit_sha": pull.merge_commit,
            "head": {"sha": pull.head, "repo": {"full_name": pull.home}},
        }

    async def github_pulls(request: Request, user: User) -> Response:
        commit = request.path_params["commit"]
        return JSONResponse([pull_of(p) for p in model.pulls.values() if commit in (p.merge_commit, p.head)])

    async def github_run(request: Request, user: User) -> Response:
        run = model.runs.get(int(request.path_params["run"]))
        if run is None:
            return missing()
        return JSONResponse({"id": run.id, "head_sha": run.commit, "head_repository": {"full_name": run.home}})

    async def github_artifacts(request: Request, user: User) -> Response:
        run = model.runs[int(request.path_params["run"])]
        wanted = request.query_params.get("name")
        listed = [
            {"id": run.id * 10 + n, "name": name, "expired": name in run.expired}
            for n, name in enumerate(run.artifacts)
            if wanted in (None, name)
        ]
        return JSONResponse({"total_count": len(listed), "artifacts": listed})

    async def github_zip(request: Request, user: User) -> Response:
        number = int(request.path_params["artifact"])
        run = model.runs[number // 10]
        name = list(run.artifacts)[number % 10]
        return RedirectResponse(f"{model.files}/kept/{run.id}/{name}?key=of-the-keeper", 302)

    # GitLab

    async def gitlab_user(request: Request, user: User) -> Response:
        return JSONResponse({"id": user.id, "username": user.login})

    def as_gitlab(comment: Comment) -> dict[str, Any]:
        return {"id": comment.id, "body": comment.body, "system": False, "author": {"id": comment.author.id}}

    async def gitlab_notes(request: Request, user: User) -> Response:
        pull = model.pulls.get(int(request.path_params["number"]))
        if pull is None:
            return JSONResponse({"message": "404 Not found"}, 404)
        if request.method == "POST":
            return JSONResponse(as_gitlab(model.comment(pull, user, (await request.json())["body"])), 201)
        return page(request, [as_gitlab(c) for c in pull.comments])

    async def gitlab_note(request: Request, user: User) -> Response:
        pull = model.pulls[int(request.path_params["number"])]
        for comment in pull.comments:
            if comment.id == int(request.path_params["note"]):
                if comment.author.id != user.id:
                    return JSONResponse({"message": "403 Forbidden"}, 403)
                comment.body, comment.edits = (await request.json())["body"], comment.edits + 1
                return JSONResponse(as_gitlab(comment))
        return missing()

    async def gitlab_requests(request: Request, user: User) -> Response:
        commit = request.path_params["commit"]
        return JSONResponse(
            [
                {
                    "iid": p.number,
                    "state": "merged",
                    "sha": p.head,
                    "source_project_id": int(PROJECT) if p.home == REPOSITORY else 7,
                }
                for p in model.pulls.values()
                if commit == p.merge_commit
            ]
        )

    async def gitlab_job(request: Request, user: User) -> Response:
        run = model.runs.get(int(request.path_params["job"]))
        if run is None:
            return missing()
        return JSONResponse({"id": run.id, "commit": {"id": run.commit, "parent_ids": run.parents}})

    async def gitlab_artifact(request: Request, user: User) -> Response:
        run = model.runs.get(int(request.path_params["job"]))
        name = request.path_params["path"]
        if run is None or name not in run.artifacts or name in run.expired:
            return missing()
        return Response(run.artifacts[name], media_type="application/octet-stream")

    github, gitlab = "/repos/acme/handbook", f"/api/v4/projects/{PROJECT}"
    return Starlette(
        routes=[
            Route("/user", guarded(github_user)),
            Route(f"{github}/issues/{{number:int}}/comments", guarded(github_comments)),
            Route(f"{github}/issues/{{number:int}}/comments", guarded(github_add, writes=True), methods=["POST"]),
            Route(f"{github}/issues/comments/{{comment:int}}", guarded(github_edit, writes=True), methods=["PATCH"]),
            Route(f"{github}/commits/{{commit}}/pulls", guarded(github_pulls)),
            Route(f"{github}/actions/runs/{{run:int}}", guarded(github_run)),
            Route(f"{github}/actions/runs/{{run:int}}/artifacts", guarded(github_artifacts)),
            Route(f"{github}/actions/artifacts/{{artifact:int}}/zip", guarded(github_zip)),
            Route("/api/v4/user", guarded(gitlab_user)),
            Route(f"{gitlab}/merge_requests/{{number:int}}/notes", guarded(gitlab_notes)),
            Route(
                f"{gitlab}/merge_requests/{{number:int}}/notes", guarded(gitlab_notes, writes=True), methods=["POST"]
            ),
            Route(
                f"{gitlab}/merge_requests/{{number:int}}/notes/{{note:int}}",
                guarded(gitlab_note, writes=True),
                methods=["PUT"],
            ),
            Route(f"{gitlab}/repository/commits/{{commit}}/merge_requests", guarded(gitlab_requests)),
            Route(f"{gitlab}/jobs/{{job:int}}", guarded(gitlab_job)),
            Route(f"{gitlab}/jobs/{{job:int}}/artifacts/{{path:path}}", guarded(gitlab_artifact)),
        ]
    )


def make_file_host(model: ForgeModel) -> Starlette:
    """The host that keeps artifacts: it knows the key in the address, and must be shown no token."""

    async def kept(request: Request) -> Response:
        model.leaks.extend(
            request.headers[name] for name in ("authorization", "private-token") if name in request.headers
        )
        run = model.runs[int(request.path_params["run"])]
        if request.query_params.get("key") != "of-the-keeper":
            return Response(status_code=403)
        return Response(run.artifacts[request.path_params["name"]], media_type="application/zip")

    return Starlette(routes=[Route("/kept/{run:int}/{name}", kept)])
