"""What a config may say of a source: one frozen model a type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from qloader.config.extensions import any_own, checked_by_kind, find_extension, model_of
from qloader.config.fields import Secret, Section, Text, check_name, check_text, empty_is_none
from qloader.config.units import Delay, Duration, Size

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


def _split(address: str) -> SplitResult | None:
    """The parts of an address; None where its host or port cannot be one."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # only this looks at it
    except ValueError:
        return None
    return parts


def _check_address(value: str, example: str) -> str:
    parts = _split(check_text(value))
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"expected the address of a site, such as {example}")
    if parts.username or parts.password:
        raise ValueError("expected an address without a user or password in it; use the keys for these")
    return value


def _check_site(value: str) -> str:
    return _check_address(value, "https://example.atlassian.net").rstrip("/")


def _check_start_page(value: str) -> str:
    return _check_address(value, "https://docs.example.com/guide/")


class SourceSection(Section):
    """What all sources have in common."""

    model_config = ConfigDict(defer_build=True)

    is_local: ClassVar[bool] = False
    """Whether what is read lies on this machine by then, so that several processes may read it side by side."""


class _TextSource(SourceSection):
    """What the sources of files have in common."""

    is_local: ClassVar[bool] = True

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


class NetworkSource(SourceSection):
    """What the sources of a network have in common: how their server is spoken to."""

    timeout: Duration = Field(default=30.0, description="How long a connection, or the next bytes, are waited for.")
    deadline: Duration = Field(
        default=300.0, description="How long one answer as a whole may take, its redirects included."
    )
    retry_attempts: int = Field(
        default=3, ge=0, le=100, description="How often a request that failed for a passing reason is sent again."
    )
    retry_delay: Delay = Field(
        default=1.0, description="How long before the first time; each time after that waits twice as long."
    )
    parallel: int = Field(default=4, ge=1, le=64, description="Requests to one host at a time, at most.")
    rate: float | None = Field(
        default=None, gt=0, le=10_000, description="Requests a second to one host, at most; none is no limit."
    )
    ca_file: Text | None = Field(
        default=None, description="A PEM file with more authorities to trust, relative to the config."
    )
    verify: bool = Field(default=True, description="Check the server's certificate; `false` only for a try.")
    allowed_hosts: tuple[Text, ...] = Field(
        default=(), description="Other hosts that redirects may lead to, e.g. `*.example.com`; never with credentials."
    )
    allow_private: bool = Field(
        default=False, description="Whether these may be addresses of this machine or its network."
    )


class _AtlassianSource(NetworkSource):
    """What the sources of Atlassian's products have in common."""

    deployment: Literal["cloud", "data_center"] = Field(
        default="cloud", description="The edition; `data_center` is Server too."
    )
    email: Annotated[Text | None, BeforeValidator(empty_is_none)] = Field(
        default=None, description="Cloud: whose API token it is."
    )
    username: Annotated[Text | None, BeforeValidator(empty_is_none)] = Field(
        default=None, description="Data Center: the user, where `token` is a password."
    )
    token: Secret = Field(
        default=None,
        description="An API token (Cloud), a personal access token or a password (Data Center); write `${TOKEN}`.",
    )
    max_bytes: Size = Field(default=10_000_000, description="Larger documents are skipped, and listed as such.")
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="Added to the metadata of every document of this source."
    )
    time_zone: Text | None = Field(
        default=None, description="The account's time zone, e.g. `Europe/Berlin`, where the server does not tell."
    )

    @model_validator(mode="after")
    def _check_account(self) -> _AtlassianSource:
        if self.deployment == "cloud" and self.token is not None and not self.email:
            raise ValueError("expected email beside token: an API token of Cloud belongs to an account")
        return self


class ConfluenceSourceConfig(_AtlassianSource):
    """Pages, blog posts and attachments of a Confluence site."""

    type: Literal["confluence"] = Field(description="`confluence`")
    url: Annotated[str, AfterValidator(_check_site)] = Field(
        description="The site, e.g. `https://example.atlassian.net/wiki`."
    )
    spaces: tuple[Text, ...] = Field(default=(), description="Keys of the spaces to read.")
    roots: tuple[Text, ...] = Field(default=(), description="Ids of pages; only these and what is below them is read.")
    blog_posts: bool = Field(default=False, description="Read blog posts too.")
    labels: tuple[Text, ...] = Field(default=(), description="Read only what bears one of these labels.")
    exclude_labels: tuple[Text, ...] = Field(default=(), description="Leave out what bears one of these labels.")
    label_changes: bool = Field(
        default=False,
        description="Cloud: look for changes of labels alone, which costs a request for each label of a space.",
    )
    archived: bool = Field(default=False, description="Read archived pages too.")
    comments: bool = Field(default=False, description="Add footer comments to the text of their page.")
    attachments: bool = Field(default=False, description="Read attached text files, as documents of their own.")

    @model_validator(mode="after")
    def _check_what(self) -> ConfluenceSourceConfig:
        if not self.spaces and not self.roots:
            raise ValueError("expected spaces, roots or both: what is to be read")
        if not all(root.isascii() and root.isdigit() for root in self.roots):
            raise ValueError("expected the numbers of pages in roots, as in their addresses")
        return self


class JiraSourceConfig(_AtlassianSource):
    """Issues of a Jira site."""

    type: Literal["jira"] = Field(description="`jira`")
    url: Annotated[str, AfterValidator(_check_site)] = Field(
        description="The site, e.g. `https://example.atlassian.net`."
    )
    projects: tuple[Text, ...] = Field(default=(), description="Keys of the projects to read.")
    jql: Text | None = Field(default=None, description="A query; with `projects` too, what both allow.")
    comments: bool = Field(default=True, description="Add comments to the text of their issue.")
    changelog: bool = Field(default=False, description="Add the history of changes to the text.")
    exclude_fields: tuple[Text, ...] = Field(default=(), description="Names or ids of fields that are not read.")
    page_size: int = Field(
        default=5000, ge=1, le=5000, description="Issues that a listing asks for at once; the server may give fewer."
    )

    @model_validator(mode="after")
    def _check_what(self) -> JiraSourceConfig:
        if not self.projects and not self.jql:
            raise ValueError("expected projects, jql or both: a query without a restriction is refused")
        return self


class WebSourceConfig(NetworkSource):
    """The pages of a documentation site, below one address."""

    is_local: ClassVar[bool] = True

    type: Literal["web"] = Field(description="`web`")
    url: Annotated[str, AfterValidator(_check_start_page)] = Field(
        description="The start page, e.g. `https://docs.example.com/guide/`; only what lies below it is read."
    )
    include: tuple[Text, ...] = Field(
        default=("**",),
        min_length=1,
        description="Which pages are documents, by their path below `url`; patterns as in `.gitignore`.",
    )
    exclude: tuple[Text, ...] = Field(default=(), description="Which of these are left out, and never asked for.")
    discovery: Literal["auto", "sitemap", "crawl"] = Field(
        default="auto",
        description="How pages are found: by the `sitemap`, by following links (`crawl`), or `auto`: the sitemap "
        "if it names at least two pages below `url`.",
    )
    sitemaps: tuple[Text, ...] = Field(
        default=(), description="Addresses of sitemaps, where neither `robots.txt` nor the usual place has them."
    )
    selector: Text | None = Field(
        default=None, description="What of a page is its content, in CSS; without, it is found by landmarks."
    )
    remove: tuple[Text, ...] = Field(default=(), description="What of the content is left out, in CSS.")
    languages: tuple[Text, ...] = Field(
        default=(), description="Only pages in these languages, e.g. `en`; pages that name none are read too."
    )
    query: tuple[Text, ...] = Field(
        default=(), description="Query parameters that make a page of its own; all others are dropped."
    )
    robots: bool = Field(default=True, description="Obey `robots.txt` and `noindex`; `false` for your own site only.")
    max_pages: int = Field(default=50_000, ge=1, le=10_000_000, description="How many pages are asked for, at most.")
    max_depth: int = Field(
        default=50, ge=0, le=10_000, description="How many links away from `url` a page may be, at most."
    )
    max_bytes: Size = Field(default=10_000_000, description="Larger pages are skipped, and listed as such.")
    max_total_bytes: Size = Field(default=10_000_000_000, description="How much all pages may weigh together.")
    token: Secret = Field(
        default=None, description="For a site with a login: a bearer token, or a password beside `username`."
    )
    username: Annotated[Text | None, BeforeValidator(empty_is_none)] = Field(
        default=None, description="The user, where `token` is a password."
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="Added to the metadata of every document of this source."
    )


SOURCE_TYPES: dict[str, type[SourceSection]] = {
    "files": FilesSourceConfig,
    "git": GitSourceConfig,
    "confluence": ConfluenceSourceConfig,
    "jira": JiraSourceConfig,
    "web": WebSourceConfig,
}


def source_model(kind: str) -> type[Section] | None:
    """The model of a source type, ours or another package's; None where there is none.

    Raises:
        ConfigError: Another package offers it, and cannot be loaded.
    """
    return model_of(kind, SOURCE_TYPES, find_extension)


if TYPE_CHECKING:
    _Own = FilesSourceConfig | GitSourceConfig | ConfluenceSourceConfig | JiraSourceConfig | WebSourceConfig
else:
    _Own = Annotated[Any, any_own("type", SOURCE_TYPES)]

SourceConfig = Annotated[_Own, checked_by_kind("type", SOURCE_TYPES, Section, find_extension)]
"""The section of any source; of another package's type, an instance of the model that the package gives."""
