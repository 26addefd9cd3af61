"""The one comment of a plan on its pull request: how it is found again, and what it says beside the review."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from qloader.forge.protocol import Comment, Job

_MARKER = re.compile(
    r"\A<!-- qloader:(?P<name>[\w.-]+) "
    r"(?:plan=(?P<digest>[0-9a-f]+) job=(?P<job>\w+) commit=(?P<commit>[0-9a-f]+) )?-->"
)


@dataclass(frozen=True, slots=True)
class Marker:
    """The first line of the comment, which people do not see.

    Attributes:
        name: The config's name: each config has its comment.
        digest: The plan's; None where none could be made.
        job: Where the plan is kept; None without a plan.
    """

    name: str
    digest: str | None = None
    job: Job | None = None

    def __str__(self) -> str:
        plan = f"plan={self.digest} job={self.job.id} commit={self.job.commit} " if self.digest and self.job else ""
        return f"<!-- qloader:{self.name} {plan}-->"

    @classmethod
    def read(cls, body: str) -> Marker | None:
        """The marker of a comment; None where it is not one of ours."""
        found = _MARKER.match(body)
        if found is None:
            return None
        digest = found["digest"]
        return cls(found["name"], digest, Job(found["job"], found["commit"]) if digest else None)


def find_comment(comments: Iterable[Comment], name: str) -> Comment | None:
    """The comment of a config among those that this token's user wrote; the first where there are several."""
    for comment in comments:
        marker = Marker.read(comment.body)
        if marker is not None and marker.name == name:
            return comment
    return None


def review_body(marker: Marker, review: str, job: Job) -> str:
    """What the comment says while the pull request is open.

    Args:
        marker: Names config, plan and job.
        review: The plan, or the reason why there is none, as Markdown.
        job: This job.
    """
    where = f"[this job]({job.url})" if job.url else f"job {job.id}"
    made = f"Planned by {where} at `{job.commit[:12]}`."
    ends = " Merging applies exactly this plan." if marker.digest else ""
    return f"{marker}\n{review.rstrip()}\n\n<sub>{made}{ends}</sub>\n"


_OUTCOME = "\n\n---\n"


def outcome_body(body: str, outcome: str) -> str:
    """The comment after its plan was applied or refused: as it was reviewed, with what became of it below."""
    return f"{body.partition(_OUTCOME)[0].rstrip()}{_OUTCOME}{outcome.rstrip()}\n"
