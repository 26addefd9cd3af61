"""GitLab: what a job's environment says, and its REST API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from qloader.errors import ForgeError, StalePlanError
from qloader.forge.client import ForgeClient, check_token
from qloader.forge.protocol import Comment, Job, PullRequest
from qloader.retrying import RetryPolicy

NEEDS = "the scope api and the role Developer in this project"
PLAN_FILE = "plan.json"
"""The artifact's path in the job that plans."""


class GitLab:
    """The project that a job runs for."""

    def __init__(self, environment: Mapping[str, str], *, policy: RetryPolicy | None = None) -> None:
        """Reads the environment; connects to nothing yet.

        Raises:
            ForgeError: Something is missing in it.
        """
        self._environment = environment
        self._project = self._need("CI_PROJECT_ID")
        self._client = ForgeClient(
            "GitLab",
            self._need("CI_API_V4_URL"),
            {"private-token": check_token("GITLAB_TOKEN", self._need("GITLAB_TOKEN"))},
            variable="CI_API_V4_URL",
            needs=NEEDS,
            policy=policy,
        )

    def current(self) -> PullRequest | None:
        """The merge request of a merge request pipeline."""
        number = self._environment.get("CI_MERGE_REQUEST_IID")
        if not number:
            return None
        # In a pipeline of merged results CI_COMMIT_SHA is the merge, and this the branch's head.
        head = self._environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or self._need("CI_COMMIT_SHA")
        source = self._environment.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", self._project)
        return PullRequest(int(number), head, source != self._project)

    def merged(self) -> PullRequest | None:
        """The merge request whose merge made `CI_COMMIT_SHA`."""
        for entry in self._client.entries(
            self._path(f"repository/commits/{self._need('CI_COMMIT_SHA')}/merge_requests")
        ):
            if entry.get("state") == "merged":
                source = str(entry.get("source_project_id", self._project))
                number, head = (self._client.need(entry, name) for name in ("iid", "sha"))
                return PullRequest(int(number), str(head), source != self._project)
        return None

    def job(self) -> Job:
        """This job."""
        request = self.current()
        commit = request.head if request else self._need("CI_COMMIT_SHA")
        return Job(self._need("CI_JOB_ID"), commit, self._environment.get("CI_JOB_URL", ""))

    def comments(self, number: int) -> Iterator[Comment]:
        """The notes of this token's user."""
        own = self._client.need(self._user, "id")
        notes = self._client.pages(
            self._path(f"merge_requests/{number}/notes"), {"order_by": "created_at", "sort": "asc"}
        )
        for entry in notes:
            author = entry.get("author")
            if isinstance(author, dict) and author.get("id") == own and not entry.get("system"):
                yield Comment(self._client.need(entry, "id"), str(entry.get("body") or ""))

    def add_comment(self, number: int, body: str) -> None:
        """Writes a note."""
        self._client.write("POST", self._path(f"merge_requests/{number}/notes"), {"body": body})

    def edit_comment(self, number: int, comment: Comment, body: str) -> None:
        """Replaces a note's text."""
        self._client.write("PUT", self._path(f"merge_requests/{number}/notes/{comment.id}"), {"body": body})

    def fetch_plan(self, job: Job, name: str) -> bytes:
        """`plan.json` of a job of this project, for the commit that the job names.

        Raises:
            StalePlanError: The job was for another commit.
            ForgeError: It is gone.
        """
        found = self._client.get(self._path(f"jobs/{job.id}"))
        # A pipeline of merged results runs for a commit of its own; its parent is what the comment names.
        commits = {self._client.need(found, "commit", "id"), *(found["commit"].get("parent_ids") or ())}
        if job.commit not in commits:
            raise StalePlanError(
                f"the plan's job was for commit {found['commit']['id'][:12]}, not for {job.commit[:12]}",
                remedy="Plan again, and review that.",
            )
        path = self._path(f"jobs/{job.id}/artifacts/{PLAN_FILE}")
        return self._client.download(path, what=f"{PLAN_FILE} of job {job.id}")

    @cached_property
    def _user(self) -> object:
        return self._client.get("user")

    def _path(self, rest: str) -> str:
        return f"projects/{self._project}/{rest}"

    def _need(self, name: str) -> str:
        value = self._environment.get(name)
        if not value:
            remedy = (
                f"Make a project access token with {NEEDS}, and a masked variable GITLAB_TOKEN of it."
                if name == "GITLAB_TOKEN"
                else "GitLab CI sets it; this seems to run elsewhere."
            )
            raise ForgeError(f"{name} is not set", remedy=remedy)
        return value
