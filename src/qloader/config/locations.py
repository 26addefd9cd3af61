"""Where the state and the cache of a config lie. Nothing is created here."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from qloader.config.models import Config


def state_path(config: Config) -> Path:
    """The state's file; with `state.url`, this machine's copy of it.

    A copy lies in `remote/<hash of the URL>` beside where the state would be without a URL: it is of that URL and no
    other.

    Returns:
        An absolute path, which need not exist.
    """
    local = local_state_path(config)
    if config.state.url is None:
        return local
    name = hashlib.sha256(config.state.url.encode()).hexdigest()[:12]
    return local.parent / "remote" / name / "state.db"


def local_state_path(config: Config) -> Path:
    """The state's file where there is no `state.url`.

    `state.path` where the config gives one; else `$QLOADER_HOME/<name>/state.db`; else `state.db` beside an embedded
    index; else, for a server, `state.db` in the user's state folder.

    One state per name: where the `state.db` beside an embedded index belongs to a config of another name, this
    one's is `<name>.state.db`. So two configs can share a folder, and neither ever plans with the other's state.

    Returns:
        An absolute path, which need not exist.
    """
    if config.state.path is not None:
        return config.base / Path(config.state.path).expanduser()
    if config.home is not None:
        return config.home / config.name / "state.db"
    if not config.index.is_embedded:
        from platformdirs import user_state_path

        return user_state_path("qloader", appauthor=False) / config.name / "state.db"
    folder = (config.base / config.index.path).parent
    shared, own = folder / "state.db", folder / f"{config.name}.state.db"
    if own.exists() or (shared.exists() and _owner(shared) not in (None, config.name)):
        return own
    return shared


def cache_path(config: Config) -> Path:
    """The cache's file: beside the state; for a server, without `$QLOADER_HOME`, in the user's cache folder.

    Beside the state it is named like it: `x.state.db` has `x.cache.db`.

    Returns:
        An absolute path, which need not exist.
    """
    state = state_path(config)
    if not config.index.is_embedded and config.home is None:
        from platformdirs import user_cache_path

        return user_cache_path("qloader", appauthor=False) / config.name / "cache.db"
    if state.name.endswith("state.db"):
        return state.with_name(state.name.removesuffix("state.db") + "cache.db")
    return state.with_name(f"{state.stem}.cache.db")


def embedding_cache_path(config: Config, path: str | None) -> Path:
    """The embedding cache's file: one for all configs of a user, so that none pays for what another paid for.

    Args:
        config: The config.
        path: What `embedding.cache.path` says; relative to the config.

    Returns:
        An absolute path, which need not exist.
    """
    if path is not None:
        return config.base / Path(path).expanduser()
    if config.home is not None:
        return config.home / "embeddings.db"
    from platformdirs import user_cache_path

    return user_cache_path("qloader", appauthor=False) / "embeddings.db"


def _owner(state: Path) -> str | None:
    """The name in a state file; None where it cannot be told, which the state itself will then complain about."""
    import sqlite3

    # Without `immutable` SQLite wants to write beside the file; with it, it may miss what is being written.
    for options in ("mode=ro", "mode=ro&immutable=1"):
        try:
            with closing(sqlite3.connect(f"file:{quote(os.fsencode(state))}?{options}", uri=True)) as connection:
                row = connection.execute("SELECT value FROM meta WHERE key = 'name'").fetchone()
        except sqlite3.Error:
            continue
        return str(row[0]) if row else None
    return None
