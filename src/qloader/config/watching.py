"""What `watch` may say: how a service keeps the index true, and who may call it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from qloader.config.fields import Secret, Section, Text, empty_is_none
from qloader.config.units import Delay, Duration

HOOKS = ("github", "gitlab", "confluence", "jira")
"""Who can call a hook; each has a key of its own in `watch.hooks`, and the path `/hooks/<name>`."""

_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)


def parse_listen(value: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`.

    Raises:
        ValueError: It is no such address.
    """
    match = _LISTEN.fullmatch(value)
    if match is None or int(match[2]) > 65535:
        raise ValueError("expected a host and a port, such as 127.0.0.1:8080 or [::1]:8080")
    return match[1].strip("[]"), int(match[2])


def _check_listen(value: str) -> str:
    parse_listen(value)
    return value


class HooksConfig(Section):
    """The webhooks that are listened for, each by the secret that was given to whoever calls it."""

    github: Secret = Field(default=None, description="The secret of a webhook of GitHub, at `/hooks/github`.")
    gitlab: Secret = Field(default=None, description="The secret token of a webhook of GitLab, at `/hooks/gitlab`.")
    confluence: Secret = Field(
        default=None, description="The secret of a webhook or automation of Confluence, at `/hooks/confluence`."
    )
    jira: Secret = Field(default=None, description="The secret of a webhook or automation of Jira, at `/hooks/jira`.")

    def given(self) -> dict[str, str]:
        """The secrets in plain text, by who calls; only those that are there."""
        found = {name: getattr(self, name) for name in HOOKS}
        return {name: secret.get_secret_value() for name, secret in found.items() if secret is not None}


class WatchConfig(Section):
    """How `qloader watch` keeps the index true. No part of the pipeline."""

    debounce: Delay = Field(
        default=2.0, description="How long a source must be quiet before it is looked at, so that a burst is one run."
    )
    interval: Duration = Field(
        default=300.0, description="How often every source is looked at, whether or not anything told of a change."
    )
    full_every: Duration = Field(
        default=86400.0,
        description="How often a source of the network is listed whole, which alone shows what was deleted there.",
    )
    listen: Annotated[Text | None, BeforeValidator(empty_is_none), AfterValidator(lambda v: v and _check_listen(v))] = (
        Field(default=None, description="Host and port for health, metrics and hooks, e.g. `127.0.0.1:8080`.")
    )
    hooks: HooksConfig = Field(default_factory=HooksConfig, description="See below.")
