"""GitHub, and GitHub Enterprise: what a workflow's environment says, and its REST API."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qloader.errors import ForgeError, StalePlanError
from qloader.forge.client import LONGEST_ANSWER, ForgeClient, check_token
from qloader.forge.protocol import Comment, Job, PullRequest
from qloader.retrying import RetryPolicy

NEEDS = "the permissions pull-requests: write, actions: read and contents: read"
_VERSION = "2022-11-28"


class GitHub:
    """The repository that a workflow runs for."""

    def __init__(self, environment: Mapping[str, str], *, policy: RetryPolicy | None = None) -> None:
        """Reads the environment; connects to nothing yet.

        Raises:
            ForgeError: Something is missing in it.
        """
        self._environment = environment
        self._repository = self._need("GITHUB_REPOSITORY")
        self._client = ForgeClient(
            "GitHub",
            environment.get("GITHUB_API_URL") or "https://api.github.com",
            {
                "authorization": f"Bearer {check_token('GITHUB_TOKEN', self._need('GITHUB_TOKEN'))}",
                "x-github-api-version": _VERSION,
            },
            variable="GITHUB_API_URL",
            needs=NEEDS,
            policy=policy,
        )

    def current(self) -> PullRequest | None:
        """The pull request of the event that started the workflow."""
        request = self._event.get("pull_request")
        return self._request(request) if isinstance(request, dict) else None

    def merged(self) -> PullRequest | None:
        """The pull request whose merge made `GITHUB_SHA`: by merge commit, squash or rebase."""
        commit = self._need("GITHUB_SHA")
        found = self._client.entries(self._path(f"commits/{commit}/pulls"))
        merged = [entry for entry in found if entry.get("merged_at")]
        exact = [entry for entry in merged if entry.get("merge_commit_sha") == commit]
        return self._request((exact or merged)[0]) if merged else None

    def job(self) -> Job:
        """The workflow run."""
        run = self._need("GITHUB_RUN_ID")
        server = self._environment.get("GITHUB_SERVER_URL", "")
        request = self.current()
        commit = request.head if request else self._need("GITHUB_SHA")
        return Job(run, commit, f"{server}/{self._repository}/actions/runs/{run}" if server else "")

    def comments(self, number: int) -> Iterator[Comment]:
        """The comments of this token's user; for the token of a workflow, which has no user to ask for, of bots."""
        for entry in self._client.pages(self._path(f"issues/{number}/comments")):
            if self._is_own(entry.get("user")):
                yield Comment(self._client.need(entry, "id"), str(entry.get("body") or ""))

    def add_comment(self, number: int, body: str) -> None:
        """Writes a comment."""
        self._client.write("POST", self._path(f"issues/{number}/comments"), {"body": body})

    def edit_comment(self, number: int, comment: Comment, body: str) -> None:
        """Replaces a comment's text."""
        self._client.write("PATCH", self._path(f"issues/comments/{comment.id}"), {"body": body})

    def fetch_plan(self, job: Job, name: str) -> bytes:
        """The artifact `qloader-plan-<name>` of a run of this very repository, for the commit that the job names.

        Raises:
            StalePlanError: The run was for another commit.
            ForgeError: It is gone, from a fork, or no plan.
        """
        run = self._client.get(self._path(f"actions/runs/{job.id}"))
        if self._client.need(run, "head_repository", "full_name") != self._repository:
            raise ForgeError(
                f"the plan was made in {run['head_repository']['full_name']}, a fork",
                remedy="What a fork's workflow writes is not applied: plan in this repository, and review that.",
            )
        if self._client.need(run, "head_sha") != job.commit:
            raise StalePlanError(
                f"the plan's workflow run was for commit {run['head_sha'][:12]}, not for {job.commit[:12]}",
                remedy="Plan again, and review that.",
            )
        artifact = f"qloader-plan-{name}"
        listed = self._client.get(self._path(f"actions/runs/{job.id}/artifacts"), {"name": artifact, "per_page": 100})
        found = self._client.need(listed, "artifacts")
        usable = [entry for entry in found if entry.get("name") == artifact and not entry.get("expired")]
        if not usable:
            raise ForgeError(
                f"the run {job.id} has no artifact {artifact}, or none any more",
                remedy="Artifacts are kept for a time only: plan again and review that.",
            )
        newest = max(usable, key=lambda entry: int(entry.get("id", 0)))
        path = self._path(f"actions/artifacts/{newest['id']}/zip")
        return _unzip(self._client.download(path, what=f"the artifact {artifact}"), artifact)

    @cached_property
    def _event(self) -> dict[str, Any]:
        path = self._environment.get("GITHUB_EVENT_PATH")
        if not path:
            return {}
        try:
            event = json.loads(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            raise ForgeError(
                f"GITHUB_EVENT_PATH names a file that cannot be read as JSON: {error}",
                remedy="It is set by GitHub; leave it as it is.",
            ) from error
        return event if isinstance(event, dict) else {}

    @cached_property
    def _login(self) -> str | None:
        user = self._client.try_get("user")
        return str(user["login"]) if isinstance(user, dict) and "login" in user else None

    def _is_own(self, user: object) -> bool:
        if not isinstance(user, dict):
            return False
        return user.get("type") == "Bot" if self._login is None else user.get("login") == self._login

    def _request(self, entry: Mapping[str, Any]) -> PullRequest:
        head = self._client.need(entry, "head", "sha")
        home = (entry["head"].get("repo") or {}).get("full_name")
        return PullRequest(int(self._client.need(entry, "number")), str(head), home != self._repository)

    def _path(self, rest: str) -> str:
        return f"repos/{quote(self._repository)}/{rest}"

    def _need(self, name: str) -> str:
        value = self._environment.get(name)
        if not value:
            raise ForgeError(f"{name} is not set", remedy=_how_to_set(name))
        return value


def _how_to_set(name: str) -> str:
    if name == "GITHUB_TOKEN":
        return "Give the step `env: {GITHUB_TOKEN: ${{ github.token }}}`; the token needs " + NEEDS + "."
    return "GitHub Actions sets it; this seems to run elsewhere."


def _unzip(data: bytes, artifact: str) -> bytes:
    """The one plan in an artifact.

    Raises:
        ForgeError: It is no archive, or holds something else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len(members) == 1 and members[0].file_size <= LONGEST_ANSWER:
                return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError):
        pass
    raise ForgeError(
        f"the artifact {artifact} does not hold one plan file", remedy="Plan again, and upload the plan file alone."
    )
