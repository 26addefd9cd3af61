"""Which class reads which type of source: from a config model to an open source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.errors import ConfigError
from qloader.sources.protocol import Source

if TYPE_CHECKING:
    from qloader.config.sources import FilesSourceConfig, GitSourceConfig


def open_source(
    name: str, source_config: FilesSourceConfig | GitSourceConfig, *, base: Path, cache_dir: Path
) -> Source:
    """Opens a source of the config. Nothing is read or connected yet.

    Args:
        name: The source's name.
        source_config: Its config model.
        base: The folder of the config file, which relative paths start from.
        cache_dir: Where a source may keep what it fetched; can be deleted at any time.

    Raises:
        ConfigError: Two roots with one name, or a type that nothing here reads.
    """
    if source_config.type == "files":
        return _open_files(name, source_config, base)
    if source_config.type == "git":
        return _open_git(name, source_config, base, cache_dir)
    raise ConfigError(f"sources.{name}.type: there is no source type {source_config.type!r}.")


def _open_files(name: str, config: FilesSourceConfig, base: Path) -> Source:
    from qloader.sources.files import FilesSettings, FilesSource

    return FilesSource(
        name,
        FilesSettings(
            roots=_roots(name, config.path, base),
            include=tuple(config.include),
            exclude=tuple(config.exclude),
            max_bytes=config.max_bytes,
            uri=config.uri,
            metadata=config.metadata,
            follow_symlinks=config.follow_symlinks,
        ),
    )


def _open_git(name: str, config: GitSourceConfig, base: Path, cache_dir: Path) -> Source:
    from qloader.sources.git import GitSettings, GitSource

    return GitSource(
        name,
        GitSettings(
            url=config.url,
            base=base,
            cache_dir=cache_dir,
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
