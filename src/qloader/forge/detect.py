"""Which forge this CI job belongs to, from the environment that the forge sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qloader.errors import ForgeError

if TYPE_CHECKING:
    from qloader.forge.protocol import Forge
    from qloader.retrying import RetryPolicy


def find_forge(environment: Mapping[str, str], *, policy: RetryPolicy | None = None) -> Forge:
    """The forge whose CI set this environment.

    Args:
        environment: As in `os.environ`.
        policy: When a request is sent again; the client's own where None.

    Raises:
        ForgeError: It is nobody's, or something is missing in it.
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        from qloader.forge.github import GitHub

        return GitHub(environment, policy=policy)
    if environment.get("GITLAB_CI") == "true":
        from qloader.forge.gitlab import GitLab

        return GitLab(environment, policy=policy)
    raise ForgeError(
        "this is no job of GitHub Actions or GitLab CI, so there is no pull request to speak to",
        remedy="Elsewhere post what `qloader show plan.json --format markdown` prints, and apply the plan file itself.",
    )
