"""The doors for other packages: entry points of `qloader.sources`, `qloader.policies` and `qloader.embedders`.

The name of one for sources is the `type` of the source in a config; what it leads to is a `SourceType`. It is looked
for, and its package imported, only where a config names a type that qloader does not have itself. The name of one for
policies is what `custom` names; what it leads to is a function, which is imported only where a plan is held to it.
The name of one for embedders is the `provider` of `embedding.dense`; what it leads to is an `EmbedderType`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

from qloader.config.fields import MadeLater, Section
from qloader.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

SOURCES = "qloader.sources"
POLICIES = "qloader.policies"
EMBEDDERS = "qloader.embedders"


@dataclass(frozen=True, slots=True)
class Opening:
    """What a source or an embedder is opened with.

    Attributes:
        name: Its name in the config; of an embedder, `dense`.
        config: Its section of the config, an instance of `SourceType.config` or `EmbedderType.config`.
        base: The folder of the config file, which relative paths start from.
        cache_dir: Where it may keep what it fetched; can be deleted at any time.
    """

    name: str
    config: Any
    base: Path
    cache_dir: Path


@dataclass(frozen=True, slots=True)
class SourceType:
    """What an entry point leads to.

    Attributes:
        config: The model of the source's section: a subclass of `qloader.config.fields.Section` with a field `type`.
        open: Makes the source, a `qloader.sources.protocol.Source`. Nothing should be read or connected yet.
    """

    config: type[Section]
    open: Callable[[Opening], Any]


@dataclass(frozen=True, slots=True)
class EmbedderType:
    """What an entry point for embedders leads to.

    Attributes:
        config: The model of `embedding.dense`: a subclass of `qloader.config.embedders.DenseSection` with a field
            `provider`.
        open: Makes the provider, a `qloader.embedding.dense.protocol.DenseProvider`. Nothing should be connected or
            loaded yet.
    """

    config: type[Any]
    open: Callable[[Opening], Any]


def names_in(group: str) -> list[str]:
    """What other packages offer in a group, by name; none of them is imported."""
    from importlib.metadata import entry_points

    return sorted({found.name for found in entry_points(group=group)})


def _find(group: str, name: str) -> EntryPoint | None:
    from importlib.metadata import entry_points  # 20 ms that only those who have such a thing pay

    return next(iter(entry_points(group=group, name=name)), None)


@cache
def find_extension(kind: str) -> SourceType | None:
    """The type of that name, or None where no package offers it.

    Raises:
        ConfigError: The package cannot be imported, or offers something else.
    """
    found = _find(SOURCES, kind)
    return None if found is None else _load(found)


@cache
def find_embedder(provider: str) -> EmbedderType | None:
    """The provider of that name, or None where no package offers it.

    Raises:
        ConfigError: The package cannot be imported, or offers something else.
    """
    from qloader.config.embedders import DenseSection

    found = _find(EMBEDDERS, provider)
    if found is None:
        return None
    package, loaded = _import(found, "embedder", "provider")
    config: object = getattr(loaded, "config", None)
    if not isinstance(loaded, EmbedderType) or not (isinstance(config, type) and issubclass(config, DenseSection)):
        raise ConfigError(
            f"the embedder {provider} of the package {package} is no EmbedderType with a subclass of DenseSection",
            remedy=f"Tell those who make {package}; docs/embedding.md says what is expected.",
        )
    return loaded


def model_of(
    kind: str, own: Mapping[str, type[Section]], find: Callable[[str], SourceType | EmbedderType | None]
) -> type[Section] | None:
    """The model of a kind, qloader's own or another package's; None where there is none.

    Args:
        kind: What the config says.
        own: The models that qloader has itself.
        find: Looks for another package's.

    Raises:
        ConfigError: Another package offers it, and cannot be loaded.
    """
    if kind in own:
        return own[kind]
    found = find(kind)
    return found.config if found else None


def any_own(key: str, own: Mapping[str, type[Section]]) -> MadeLater:
    """The union of qloader's own models, told apart by a key; made where something has to be checked by all of it."""
    return MadeLater(lambda: Annotated[reduce(or_, own.values()), Field(discriminator=key)])


def checked_by_kind(
    key: str,
    own: Mapping[str, type[Section]],
    section: type[Section],
    find: Callable[[str], SourceType | EmbedderType | None],
) -> WrapValidator:
    """Around the union of qloader's own models: has a section checked by the model of its kind, and by no other.

    So only the models that a config needs are made, and kinds that qloader does not have are left to the package that
    does. The union says what is wrong with a section of no known kind.

    Args:
        key: What tells the kind in a section: `type`, `provider`.
        own: The models that qloader has itself.
        section: What an instance of any of the models is.
        find: Looks for another package's.
    """

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        kind = value.get(key) if isinstance(value, dict) else None
        if not isinstance(kind, str):
            return value if isinstance(value, section) else handler(value)
        model = model_of(kind, own, find)
        return handler(value) if model is None else model.model_validate(value)

    return WrapValidator(check)


def load_policy(name: str) -> Callable[..., Any]:
    """The function of a custom policy; `planning.policies.CustomPolicy` says what is expected of it.

    Raises:
        ConfigError: No package offers it any more, or the package cannot be imported, or offers something else.
    """
    found = _find(POLICIES, name)
    if found is None:
        raise ConfigError(
            f"no installed package offers the policy {name}", remedy="Install it, or take the policy out of the config."
        )
    package, loaded = _import(found, "policy", "policy")
    if not callable(loaded):
        raise ConfigError(
            f"the policy {name} of the package {package} is no function but {type(loaded).__name__}",
            remedy=f"Tell those who make {package}; docs/policies.md says what is expected.",
        )
    return loaded


def _import(entry: EntryPoint, kind: str, what: str) -> tuple[str, object]:
    """The package of an entry point, and what it leads to."""
    package = entry.dist.name if entry.dist else entry.value
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it prints is for people; programs read our stdout
            return package, entry.load()
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the {kind} {entry.name} of the package {package} cannot be loaded: {type(error).__name__}: {error}",
            remedy=f"Repair or reinstall {package}, or take the {what} out of the config.",
        ) from error


def _load(entry: EntryPoint) -> SourceType:
    package, loaded = _import(entry, "source type", "source")
    remedy = f"Tell those who make {package}; docs/sources/writing-a-source.md says what is expected."
    if not isinstance(loaded, SourceType):
        raise ConfigError(
            f"the source type {entry.name} of the package {package} is no SourceType but {type(loaded).__name__}",
            remedy=remedy,
        )
    config: object = loaded.config  # a stranger's, whatever its annotation says
    if not (isinstance(config, type) and issubclass(config, Section) and callable(loaded.open)):
        raise ConfigError(
            f"the source type {entry.name} of the package {package} needs a subclass of Section as config, "
            "and a function as open",
            remedy=remedy,
        )
    return loaded
