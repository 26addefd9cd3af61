"""From a file to a `Config`, with every mistake named at its line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from qloader.config.locations import cache_path, state_path
from qloader.config.models import DEFAULT_FILE, Config
from qloader.config.policies import check_policies
from qloader.config.sources import FilesSourceConfig
from qloader.config.yamlfile import Mistake, ParsedFile, Path_, Place, dotted, parse, read_text
from qloader.errors import ConfigError

__all__ = ["cache_path", "find_config", "load_config", "read_name", "state_path"]

_NAME_LINE = re.compile(r"""^name:[ \t]+["']?([A-Za-z0-9][A-Za-z0-9._-]*)""", re.ASCII | re.MULTILINE)


def find_config(path: Path | None = None, *, env: Mapping[str, str] | None = None) -> Path:
    """Finds the config file: the one named, else `$QLOADER_CONFIG`, else `./qloader.yaml`.

    Args:
        path: The file named on the command line.
        env: The environment; the process's own where None.

    Returns:
        The path, absolute.

    Raises:
        ConfigError: There is no such file.
    """
    environment = os.environ if env is None else env
    named = environment.get("QLOADER_CONFIG", "")
    chosen = path if path is not None else Path(named) if named else Path(DEFAULT_FILE)
    found = Path(os.path.abspath(chosen.expanduser()))  # noqa: PTH100 - resolving links would move `base`
    if found.exists():
        return found
    if path is None and named:
        raise ConfigError(
            f"there is no config {chosen}, which QLOADER_CONFIG names.",
            remedy="Correct QLOADER_CONFIG, or write a first config with `qloader init`.",
        )
    raise ConfigError(
        f"there is no config {chosen}." if path is not None else f"there is no {DEFAULT_FILE} in this folder.",
        remedy="Write one with `qloader init`, or name one with -c FILE.",
    )


def load_config(path: Path | None = None, *, env: Mapping[str, str] | None = None) -> Config:
    """Loads and checks a config.

    Args:
        path: The file; None looks at `$QLOADER_CONFIG`, then `./qloader.yaml`.
        env: The environment, for `${VAR}`, `QLOADER_CONFIG` and `QLOADER_HOME`; the process's own where None.

    Returns:
        The config, with all defaults filled in.

    Raises:
        ConfigError: The file is missing, no YAML, or says something that cannot be. All mistakes are in one
            message, one a line, in the order of the file.
    """
    environment = os.environ if env is None else env
    file = find_config(path, env=environment)
    shown = _shown(file)
    parsed = parse(read_text(file, shown), environment, shown)
    mistakes = list(parsed.mistakes)
    config: Config | None = None
    try:
        config = Config.model_validate(parsed.value)
    except ValidationError as error:
        from qloader.config.mistakes import find_mistakes

        mistakes += find_mistakes(error.errors(include_url=False, include_input=False), parsed)
    if config is not None:
        mistakes += _check_root_names(config, file.parent, parsed)
        mistakes += check_policies(config, parsed)
    if mistakes or config is None:
        raise _as_error(mistakes, shown)
    return _complete(config, file, environment)


def read_name(path: Path | None = None) -> str | None:
    """The name in a config that cannot be loaded, perhaps for not being YAML; None where none is to be seen.

    Args:
        path: As for `load_config`.
    """
    try:
        file = find_config(path)
        found = _NAME_LINE.search(read_text(file, _shown(file)))
    except ConfigError:
        return None
    return found[1] if found else None


def _shown(file: Path) -> str:
    """How errors name the file: as one would type it from here."""
    try:
        return str(file.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


def _complete(config: Config, file: Path, environment: Mapping[str, str]) -> Config:
    """Fills in what a model cannot know: the file, the environment, the name as the collection's."""
    if config.index.collection is None:
        config = config.model_copy(update={"index": config.index.model_copy(update={"collection": config.name})})
    config._file = file
    if home := environment.get("QLOADER_HOME"):
        config._home = Path(os.path.abspath(Path(home).expanduser()))  # noqa: PTH100 - as above
    return config


def _check_root_names(config: Config, base: Path, parsed: ParsedFile) -> list[Mistake]:
    """Several folders in a list are told apart by their names, which become part of the ids."""
    mistakes = []
    for name, source in config.sources.items():
        if not isinstance(source, FilesSourceConfig) or not isinstance(source.path, tuple):
            continue
        seen: dict[str, int] = {}
        for number, one in enumerate(source.path):
            root = os.path.basename(os.path.normpath(base / Path(one).expanduser()))  # noqa: PTH119
            if root in seen:
                path: Path_ = ("sources", name, "path", number)
                text = f"{dotted(path)}: a second folder of the same name, so that ids would collide; name them: path: "
                if not parsed.variables.keys() & {path, (*path[:-1], seen[root])}:
                    text += f"{{{root}: {source.path[seen[root]]}, {root}-2: {one}}}"
                else:
                    text += "{first: …, second: …}"
                mistakes.append(Mistake(parsed.values.get(path), text))
            seen.setdefault(root, number)
    return mistakes


def _as_error(mistakes: Sequence[Mistake], shown: str) -> ConfigError:
    """One error for all mistakes, the first in the file first."""
    end = Place(1 << 30)  # what stands nowhere is missing from the file as a whole
    ordered = sorted(mistakes, key=lambda mistake: (mistake.place or end).line)
    lines = [
        f"{shown}:{mistake.place.line}: {mistake.text}" if mistake.place else f"{shown}: {mistake.text}"
        for mistake in ordered
    ]
    count = "this" if len(lines) == 1 else f"these {len(lines)} mistakes"
    return ConfigError(
        "\n".join(dict.fromkeys(lines)), remedy=f"Correct {count}; docs/configuration.md lists every key."
    )
