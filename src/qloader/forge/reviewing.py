"""The two halves of a review: the plan is put on its pull request; once that is merged, the same plan is fetched."""

from __future__ import annotations

from dataclasses import dataclass

from qloader.errors import ForgeError, StalePlanError
from qloader.forge.comment import Marker, find_comment, outcome_body, review_body
from qloader.forge.protocol import Comment, Forge, PullRequest


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A plan that was reviewed and merged.

    Attributes:
        request: Its pull request.
        comment: Where it was reviewed.
        digest: The plan's, as the comment says.
        plan: The plan file's bytes; whoever reads them holds them against the digest.
    """

    request: PullRequest
    comment: Comment
    digest: str
    plan: bytes


def check_is_reviewed(forge: Forge) -> PullRequest:
    """The pull request that this job runs for.

    Raises:
        ForgeError: It runs for none.
    """
    request = forge.current()
    if request is None:
        raise ForgeError(
            "this job runs for no pull request, so there is none to comment on",
            remedy="Leave --comment out here, or run the job for pull requests.",
        )
    return request


def post_review(forge: Forge, name: str, review: str, *, digest: str | None) -> str | None:
    """Puts a review on the pull request of this job, in place of the one before.

    Args:
        forge: Where.
        name: The config's name.
        review: Markdown.
        digest: The plan's; None where there is none to apply: it could not be made, or a guard refuses it.

    Returns:
        None; or why nothing was posted, where the forge lets nobody write: a pull request from a fork.

    Raises:
        ForgeError: This job runs for no pull request, or the forge refuses.
    """
    request, job = check_is_reviewed(forge), forge.job()
    body = review_body(Marker(name, digest, job if digest else None), review, job)
    try:
        comment = find_comment(forge.comments(request.number), name)
        if comment is None:
            forge.add_comment(request.number, body)
        elif comment.body != body:
            forge.edit_comment(request.number, comment, body)
    except ForgeError as error:
        if request.is_foreign and error.status in (401, 403, 404):
            return "the review is not on the pull request: it comes from a fork, whose jobs may not comment"
        raise
    return None


def fetch_reviewed(forge: Forge, name: str) -> Reviewed:
    """The plan that the merge of this job's commit is to apply.

    Args:
        forge: Where.
        name: The config's name.

    Raises:
        StalePlanError: The pull request went on after the plan was made.
        ForgeError: Nothing was merged, nothing was planned there, or the plan is gone.
    """
    request = forge.merged()
    if request is None:
        raise ForgeError(
            "the commit of this job came with no merged pull request, so no plan of it was reviewed",
            remedy="Plan and apply by hand: `qloader plan -o plan.json`, `qloader apply plan.json`.",
        )
    comment = find_comment(forge.comments(request.number), name)
    marker = Marker.read(comment.body) if comment else None
    if comment is None or marker is None or marker.digest is None or marker.job is None:
        raise ForgeError(
            f"pull request {request.number} has no plan of {name} that could be applied",
            remedy="The job that runs `qloader plan --comment` puts it there. Plan and apply by hand, or open another "
            "pull request.",
        )
    if marker.job.commit != request.head:
        raise StalePlanError(
            f"the plan on pull request {request.number} is of commit {marker.job.commit[:12]}, and what was merged "
            f"is {request.head[:12]}",
            remedy="Nobody reviewed a plan of that. Plan and apply by hand, or open another pull request.",
        )
    return Reviewed(request, comment, marker.digest, forge.fetch_plan(marker.job, name))


def post_outcome(forge: Forge, reviewed: Reviewed, outcome: str) -> None:
    """Says below the review what became of it.

    Raises:
        ForgeError: The forge refuses.
    """
    forge.edit_comment(reviewed.request.number, reviewed.comment, outcome_body(reviewed.comment.body, outcome))
