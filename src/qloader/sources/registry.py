"""Which class reads which type of source: from a config model to an open source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.config.extensions import Opening, find_extension
from qloader.errors import ConfigError
from qloader.sources.protocol import Source

if TYPE_CHECKING:
    from qloader.config.sources import (
        ConfluenceSourceConfig,
        FilesSourceConfig,
        GitSourceConfig,
        JiraSourceConfig,
        NetworkSource,
        SourceConfig,
        WebSourceConfig,
    )
    from qloader.sources.atlassian.site import Site
    from qloader.sources.http.settings import HttpSettings


def open_source(name: str, source_config: SourceConfig, *, base: Path, cache_dir: Path) -> Source:
    """Opens a source of the config. Nothing is read or connected yet.

    Args:
        name: The source's name.
        source_config: Its config model.
        base: The folder of the config file, which relative paths start from.
        cache_dir: Where a source may keep what it fetched; can be deleted at any time.

    Raises:
        ConfigError: Two roots with one name, or a type that nothing here reads.
    """
    openers: dict[str, Callable[[Opening], Source]] = {
        "files": _open_files,
        "git": _open_git,
        "confluence": _open_confluence,
        "jira": _open_jira,
        "web": _open_web,
    }
    opener = openers.get(source_config.type, _open_extension)
    return opener(Opening(name, source_config, base, cache_dir))


def _open_extension(opening: Opening) -> Source:
    extension = find_extension(opening.config.type)
    if extension is None:
        raise ConfigError(f"sources.{opening.name}.type: there is no source type {opening.config.type!r}.")
    source: Source = extension.open(opening)
    return source


def _open_files(opening: Opening) -> Source:
    from qloader.sources.files import FilesSettings, FilesSource

    config: FilesSourceConfig = opening.config
    return FilesSource(
        opening.name,
        FilesSettings(
            roots=_roots(opening.name, config.path, opening.base),
            include=tuple(config.include),
            exclude=tuple(config.exclude),
            max_bytes=config.max_bytes,
            uri=config.uri,
            metadata=config.metadata,
            follow_symlinks=config.follow_symlinks,
        ),
    )


def _open_git(opening: Opening) -> Source:
    from qloader.sources.git import GitSettings, GitSource

    config: GitSourceConfig = opening.config
    return GitSource(
        opening.name,
        GitSettings(
            url=config.url,
            base=opening.base,
            cache_dir=opening.cache_dir,
            ref=config.ref,
            include=tuple(config.include),
            exclude=tuple(config.exclude),
            max_bytes=config.max_bytes,
            uri=config.uri,
            metadata=config.metadata,
            history=config.history,
            username=config.username,
            token=config.token.get_secret_value() if config.token else None,
        ),
    )


def _open_confluence(opening: Opening) -> Source:
    from qloader.sources.confluence.settings import ConfluenceSettings
    from qloader.sources.confluence.source import ConfluenceSource

    config: ConfluenceSourceConfig = opening.config
    settings = ConfluenceSettings(
        deployment=config.deployment,
        url=_confluence_url(config),
        spaces=tuple(sorted(set(config.spaces))),
        roots=tuple(sorted(set(config.roots))),
        blog_posts=config.blog_posts,
        labels=config.labels,
        exclude_labels=config.exclude_labels,
        label_changes=config.label_changes,
        archived=config.archived,
        comments=config.comments,
        attachments=config.attachments,
        max_bytes=config.max_bytes,
        metadata=config.metadata,
        time_zone=config.time_zone,
    )
    hosts = ("api.media.atlassian.com",) if config.deployment == "cloud" else ()
    return ConfluenceSource(opening.name, settings, _open_site(opening, settings.url, hosts))


def _open_site(opening: Opening, url: str, hosts: tuple[str, ...] = ()) -> Site:
    from qloader.sources.atlassian.site import open_site

    config: ConfluenceSourceConfig | JiraSourceConfig = opening.config
    return open_site(
        opening.name,
        url,
        _http(config, opening.base, hosts),
        email=config.email,
        username=config.username,
        token=config.token.get_secret_value() if config.token else None,
    )


def _confluence_url(config: ConfluenceSourceConfig) -> str:
    """The site's address; on Cloud everything lies below `/wiki`, which people leave out."""
    from urllib.parse import urlsplit

    return config.url + "/wiki" if config.deployment == "cloud" and not urlsplit(config.url).path else config.url


def _open_jira(opening: Opening) -> Source:
    from qloader.sources.jira.settings import JiraSettings
    from qloader.sources.jira.source import JiraSource

    config: JiraSourceConfig = opening.config
    settings = JiraSettings(
        deployment=config.deployment,
        url=config.url,
        projects=tuple(sorted(set(config.projects))),
        jql=config.jql,
        comments=config.comments,
        changelog=config.changelog,
        exclude_fields=config.exclude_fields,
        page_size=config.page_size,
        max_bytes=config.max_bytes,
        metadata=config.metadata,
        time_zone=config.time_zone,
    )
    return JiraSource(opening.name, settings, _open_site(opening, settings.url))


def _open_web(opening: Opening) -> Source:
    from qloader.sources.web.settings import WebSettings
    from qloader.sources.web.source import WebSource

    config: WebSourceConfig = opening.config
    settings = WebSettings(
        url=config.url,
        cache_dir=opening.cache_dir,
        include=tuple(config.include),
        exclude=tuple(config.exclude),
        discovery=config.discovery,
        sitemaps=tuple(config.sitemaps),
        selector=config.selector,
        remove=tuple(config.remove),
        languages=tuple(config.languages),
        query=tuple(config.query),
        robots=config.robots,
        max_pages=config.max_pages,
        max_depth=config.max_depth,
        max_bytes=config.max_bytes,
        max_total_bytes=config.max_total_bytes,
        rate_is_set=config.rate is not None,
        metadata=config.metadata,
    )
    token = config.token.get_secret_value() if config.token else None
    auth = (config.username, token) if config.username and token else token
    return WebSource(opening.name, settings, _http(config, opening.base), auth=auth)


def _http(config: NetworkSource, base: Path, hosts: tuple[str, ...] = ()) -> HttpSettings:
    from qloader.sources.http.settings import HttpSettings

    return HttpSettings(
        timeout=config.timeout,
        deadline=config.deadline,
        attempts=config.retry_attempts,
        delay=config.retry_delay,
        parallel=config.parallel,
        rate=config.rate,
        ca_file=_absolute(base, config.ca_file) if config.ca_file else None,
        verify=config.verify,
        allowed_hosts=(*hosts, *config.allowed_hosts),
        allow_private=config.allow_private,
    )


def _roots(name: str, path: object, base: Path) -> dict[str, Path]:
    """Folders by name: one path, several (named for their last part), or a mapping of names to paths."""
    if isinstance(path, Mapping):
        return {str(key): _absolute(base, value) for key, value in path.items()}
    paths = [path] if isinstance(path, str | Path) else list(path)  # type: ignore[call-overload]
    roots: dict[str, Path] = {}
    for one in paths:
        root = _absolute(base, one)
        if root.name in roots:
            raise ConfigError(
                f"sources.{name}.path: two folders are named {root.name!r}, so that their ids would collide.",
                remedy="Name them: path: {first: ./a/docs, second: ./b/docs}.",
            )
        roots[root.name] = root
    return roots


def _absolute(base: Path, path: str | Path) -> Path:
    # Without resolving links: a root is named as the config writes it, not as the disk lays it out.
    import os.path

    return Path(os.path.normpath(base / Path(path).expanduser()))
