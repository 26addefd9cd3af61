"""Which foreign collection is meant, how its points are read, and which of its vectors is taken over.

Each question that a request leaves open has one answer that can be meant, or an error that names those there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qloader.adopting.collection import ForeignCollection, ForeignFacts
from qloader.adopting.mapping import read_mapping
from qloader.adopting.shapes import LOOKED_AT, SHAPES, Shape, recognise
from qloader.errors import ConfigError, ForeignIndexError
from qloader.workspace.settings import Settings

_KEYS_SHOWN = 12
_NAMES_SHOWN = 20
_QDRANT_PORT = 6333


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is taken over.

    Attributes:
        collection: Its name; empty where there is only one.
        url: The Qdrant server that it is on; that of `index.url` where neither this nor `path` is said.
        path: The folder that it is in.
        api_key: The server's key; that of `index.api_key` where the config names the server.
        shape: `auto`, the name of a tool, or a mapping file.
        vector: Which of its vectors; "" is the one without a name. None where it has only one.
        trust_model: Do not compare the models.
    """

    collection: str = ""
    url: str | None = None
    path: Path | None = None
    api_key: str | None = field(default=None, repr=False)
    shape: str = "auto"
    vector: str | None = None
    trust_model: bool = False


def open_foreign(settings: Settings, request: ImportRequest) -> ForeignCollection:
    """The collection that is asked for, or the only one that can be meant.

    Raises:
        ConfigError: Nothing says where it is, or which it is.
        ForeignIndexError: It is the config's own.
    """
    if request.url is not None and request.path is not None:
        raise ConfigError("--url and --path exclude each other", remedy="A collection is on a server or in a folder.")
    if request.path is not None:
        return _open_folder(settings, request.path, request.collection)
    return _open_server(settings, request)


def _open_folder(settings: Settings, folder: Path, name: str) -> ForeignCollection:
    from qloader.adopting.shard import ShardCollection

    if not folder.is_dir():
        raise ConfigError(f"--path {folder} is no folder", remedy="Check the path.")
    own = settings.embedded_path
    if own is not None and (folder / name).resolve() == (own / settings.collection).resolve():
        raise _own(settings)
    return ShardCollection(folder, name)


def _open_server(settings: Settings, request: ImportRequest) -> ForeignCollection:
    from qloader.adopting.server import KEY_VARIABLE, ServerCollection

    index = settings.config.index
    url = request.url or index.url
    if url is None:
        raise ConfigError(
            "nothing says where the collection is, and the config's index is in a folder",
            remedy="Give --url for a Qdrant server, or --path for a folder.",
        )
    is_configured = index.url is not None and _place(url) == _place(index.url)
    key = request.api_key
    if not key and is_configured and index.api_key is not None:
        key = index.api_key.get_secret_value()

    def open_named(name: str) -> ServerCollection:
        return ServerCollection(
            url,
            name,
            api_key=key,
            timeout=index.timeout,
            retries=settings.retries,
            is_configured=request.url is None or (is_configured and not request.api_key),
        )

    if request.collection:
        if is_configured and request.collection == settings.collection:
            raise _own(settings)
        return open_named(request.collection)
    with contextlib.closing(open_named("")) as server:
        own = settings.collection if is_configured else None
        names = [name for name in server.neighbours() if name != own and not name.startswith(f"{own}__")]
    if len(names) != 1:
        raise ConfigError(
            f"which collection of {server.location} is meant is not said: it has {_list(names)}",
            remedy="Name it: --from COLLECTION." if names else f"Check --url, and the key in ${KEY_VARIABLE}.",
        )
    return open_named(names[0])


def _own(settings: Settings) -> ForeignIndexError:
    return ForeignIndexError(
        f"{settings.collection} is the config's own collection, which the apply fills",
        remedy="Give index.collection another name than that of the collection to import. Once the new one is filled, "
        "an alias on the server can bear the old name.",
    )


def _place(url: str) -> tuple[str, str, int, str]:
    """Where a server is, so that two ways to write one address are the same."""
    parts = urlsplit(url)
    with contextlib.suppress(ValueError):
        return parts.scheme, parts.hostname or "", parts.port or _QDRANT_PORT, parts.path.rstrip("/")
    return parts.scheme, parts.netloc, 0, parts.path


def look_at(foreign: ForeignCollection) -> ForeignFacts:
    """What the collection says of itself.

    Raises:
        ConfigError: There is none, or nothing is in it.
        ForeignIndexError: qloader made it.
    """
    facts = foreign.describe()
    if facts is None:
        names = foreign.neighbours()
        near = get_close_matches(foreign.name, names, 1)
        there = f"It has {_list(names)}." if names else "It has none."
        raise ConfigError(
            f"there is no collection {foreign.name} at {foreign.location}",
            remedy=f"Did you mean {near[0]}?" if near else f"Name another one: --from COLLECTION. {there}",
        )
    if facts.is_qloaders:
        raise ForeignIndexError(
            f"the collection {foreign.name} at {foreign.location} was made by qloader",
            remedy="Its vectors are in the embedding cache of who filled it: `qloader cache export` there, `qloader "
            "cache import` here.",
        )
    if not facts.points:
        raise ConfigError(
            f"the collection {foreign.name} at {foreign.location} holds no points",
            remedy="There is nothing to take over: `qloader plan` and `qloader apply` are all it takes.",
        )
    return facts


def choose_shape(settings: Settings, request: ImportRequest, foreign: ForeignCollection) -> tuple[Shape, str | None]:
    """How the points are read, and which vector a mapping names.

    Raises:
        ConfigError: There is no such shape; or it finds no text.
    """
    vector = None
    first = [point.payload for point in islice(foreign.points(), LOOKED_AT)]
    if request.shape == "auto":
        found = recognise(first)
        if found is not None:
            settings.tell(f"The points look like those of {found.tool}.")
    elif request.shape in SHAPES:
        found = SHAPES[request.shape]
    elif near := get_close_matches(request.shape, ("auto", *SHAPES), 1):
        raise ConfigError(f"--shape {request.shape}: there is no such shape", remedy=f"Did you mean {near[0]}?")
    else:
        mapped = read_mapping(Path(request.shape))
        found, vector = mapped.shape, mapped.vector
    if found is None or not any(found.read(payload) for payload in first):
        keys = ", ".join(islice(_key_paths(first[0] if first else {}), _KEYS_SHOWN)) or "no keys"
        how = f"as {found.tool}" if found is not None else "as those of a known tool"
        raise ConfigError(
            f"no text is found in the points of {foreign.name}, read {how}; the first has {keys}",
            remedy="Write a file that says where the text is, such as {text: page_content, document: metadata.source}, "
            "and give it to --shape.",
        )
    return found, vector


def _key_paths(payload: Any, prefix: str = "") -> Iterator[str]:
    for key, value in payload.items():
        if isinstance(value, dict) and value:
            yield from _key_paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def choose_vector(foreign: ForeignCollection, facts: ForeignFacts, wanted: str | None) -> str:
    """The name of the dense vector that is taken over.

    Raises:
        ConfigError: There is none, or none of this name, or several.
    """
    if wanted is not None and wanted in facts.dense:
        return wanted
    names = ", ".join(_called(name) for name in facts.dense)
    if wanted is not None:
        near = get_close_matches(wanted, list(facts.dense), 1)
        raise ConfigError(
            f"the collection {foreign.name} has no dense vector {_called(wanted)}",
            remedy=f"Did you mean {near[0]}?" if near else f"It has {names or 'none'}.",
        )
    if not facts.dense:
        others = ", ".join(_called(name) for name in facts.others)
        raise ConfigError(
            f"the collection {foreign.name} has no dense vectors: it has {others or 'none at all'}",
            remedy="There is nothing to take over, since qloader makes its sparse vectors by itself: plan and apply.",
        )
    if len(facts.dense) > 1:
        raise ConfigError(
            f"the collection {foreign.name} has several dense vectors: {names}",
            remedy="Name the one that the config's model made: --vector NAME.",
        )
    return next(iter(facts.dense))


def _called(name: str) -> str:
    return name or "one without a name"


def _list(names: Sequence[str]) -> str:
    """Names in a sentence."""
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more if names else "none"
