"""What a config may say of a source: one frozen model a type."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from qloader.config.fields import Secret, Section, Text, check_name, check_text
from qloader.config.units import Size

DEFAULT_INCLUDE = ("**/*.md", "**/*.markdown", "**/*.mdx", "**/*.txt", "**/*.rst", "**/*.html", "**/*.htm")


def _check_uri(value: str) -> str:
    others = [found for found in re.findall(r"\{[^{}]*\}?|\}", value) if found != "{path}"]
    if "{path}" not in value or others:
        raise ValueError("expected a template with {path} in it, the only placeholder there is")
    return value


def _check_roots(value: Any) -> Any:
    problem = "expected a folder, a list of folders, or a mapping of names to folders"
    if isinstance(value, str):
        return check_text(value)
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, str) and part for part in parts):
        raise ValueError(problem)
    for part in parts:
        check_text(part)
    if isinstance(value, dict):
        for name in value:
            try:
                check_name(name)
            except ValueError as error:
                raise ValueError(f'the name "{name}" of a folder: {error}') from None
    return value


class _TextSource(Section):
    """What the sources of files have in common."""

    include: tuple[Text, ...] = Field(
        default=DEFAULT_INCLUDE, min_length=1, description="Which files are documents; patterns as in `.gitignore`."
    )
    exclude: tuple[Text, ...] = Field(
        default=(), description="Which of these are left out; patterns as in `.gitignore`."
    )
    max_bytes: Size = Field(default=10_000_000, description="Larger files are skipped, and listed as such.")
    uri: Annotated[str, AfterValidator(_check_uri)] = Field(
        default="{path}",
        description="Where a person opens a document; `{path}` is its id, e.g. `https://x.org/{path}`.",
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="Added to the metadata of every document of this source."
    )


class FilesSourceConfig(_TextSource):
    """Folders of this machine."""

    type: Literal["files"] = Field(description="`files`")
    path: Annotated[str | tuple[str, ...] | dict[str, str], BeforeValidator(_check_roots)] = Field(
        description="A folder, a list of folders, or a mapping of names to folders; relative to the config. With "
        "several, ids begin with the folder's name."
    )
    follow_symlinks: bool = Field(
        default=True, description="Follow links that stay inside their folder; `false` ignores all."
    )


class GitSourceConfig(_TextSource):
    """One commit of a git repository, read without a checkout."""

    type: Literal["git"] = Field(description="`git`")
    url: Text = Field(
        default=".", repr=False, description="A repository's folder, relative to the config, or its address."
    )
    ref: Text = Field(default="HEAD", description="A branch, a tag or a commit.")
    history: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description="How many commits are looked at, at most, to date the documents.",
    )
    token: Secret = Field(default=None, description="A token or password for `https://`; write `${GIT_TOKEN}`.")
    username: Text | None = Field(default=None, description="The user beside the token; `oauth2` where there is none.")


SourceConfig = Annotated[FilesSourceConfig | GitSourceConfig, Field(discriminator="type")]
SOURCE_TYPES: dict[str, type[_TextSource]] = {"files": FilesSourceConfig, "git": GitSourceConfig}
