"""What qloader asks of a forge: the site that holds the repository and its pull requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request; what GitLab calls a merge request is one too.

    Attributes:
        number: Its number in the repository.
        head: The last commit of its branch.
        is_foreign: Whether the branch lies in another repository, a fork.
    """

    number: int
    head: str
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment that this token's user wrote.

    Attributes:
        id: What the forge calls it.
        body: Its text, Markdown.
    """

    id: int
    body: str


@dataclass(frozen=True, slots=True)
class Job:
    """The CI job that a plan was made in.

    Attributes:
        id: What the forge calls it: a workflow run of GitHub, a job of GitLab.
        commit: The head of the pull request's branch at that time.
        url: Where people see it; empty where unknown.
    """

    id: str
    commit: str
    url: str = ""


class Forge(Protocol):
    """A forge, for the repository that this CI job runs for. Every method may raise `ForgeError`."""

    def current(self) -> PullRequest | None:
        """The pull request that this job runs for; None where it runs for none."""

    def merged(self) -> PullRequest | None:
        """The pull request whose merge made the commit that this job runs for; None where nothing was merged."""

    def job(self) -> Job:
        """This job."""

    def comments(self, number: int) -> Iterator[Comment]:
        """The comments on a pull request that this token's user wrote, the oldest first; read as far as is asked."""

    def add_comment(self, number: int, body: str) -> None:
        """Writes a comment."""

    def edit_comment(self, number: int, comment: Comment, body: str) -> None:
        """Replaces a comment's text."""

    def fetch_plan(self, job: Job, name: str) -> bytes:
        """The plan file that a job kept, as an artifact.

        Args:
            job: As its comment names it.
            name: The config's name, which the artifact's is made from.

        Raises:
            StalePlanError: The job ran for another commit.
        """
