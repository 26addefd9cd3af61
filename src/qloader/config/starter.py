"""The first config of a folder: a commented `qloader.yaml`, written from what was found there."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from qloader.config.inspection import Findings, inspect_folder
from qloader.config.sources import DEFAULT_INCLUDE
from qloader.counting import counted
from qloader.errors import ConfigError

__all__ = ["Findings", "inspect_folder", "starter_text", "write_starter"]

_COLUMN = 40
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
"""What some YAML reader takes for something else than text."""


def write_starter(path: Path, findings: Findings) -> str:
    """Writes a first config. Never over a file that is there.

    Args:
        path: The file to write.
        findings: What is in the folder with the documents.

    Returns:
        Its text.

    Raises:
        ConfigError: The file exists, or cannot be written.
    """
    text = starter_text(path, findings)
    try:
        data = text.encode()
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise ConfigError(
            f"{path} exists, and is left as it is.",
            remedy="Edit it and check it with `qloader validate`, or write another file: -c OTHER.yaml.",
        ) from None
    except UnicodeEncodeError:
        raise ConfigError(
            f"the path from {path} to the documents is not valid Unicode.", remedy="Write the config into their folder."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {(error.strerror or str(error)).lower()}.",
            remedy="Name a file in a folder that exists and can be written to: -c FILE.",
        ) from None
    return text


def starter_text(path: Path, findings: Findings) -> str:
    """The text of a first config that stands at `path`; `load_config` accepts it."""
    head = [
        "# What goes into the index, and where the index is. Check it with `qloader validate`.",
        "# All keys and their defaults: docs/configuration.md of qloader.",
        "",
        _line(f"name: {_scalar(findings.name)}", "names the state; one state per name"),
        "",
        "index:",
        _line("  path: .qloader/index", "embedded, no server needed; keep .qloader/ out of git"),
        _line("  # url: http://localhost:6333", "or a Qdrant server or cluster, in place of `path`"),
        "  # api_key: ${QDRANT_API_KEY}",
        "",
        "sources:",
        *_source(path, findings),
        "",
        "# guards:",
        _line("#   max_delete_percent: 25", "refuse a plan that deletes more of a source"),
        "# chunking:",
        _line("#   max_chars: 1200", "the length of a chunk, at most"),
        "# embedding:",
        _line("#   language: english", "whose word stems and stop words are used"),
        "#   dense:  # vectors of a model beside the words: docs/embedding.md of qloader",
        _line("#     provider: openai", "or cohere, voyage, http, fastembed, sentence-transformers, python"),
        "#     model: text-embedding-3-small",
        "#     api_key: ${OPENAI_API_KEY}",
    ]
    return "\n".join(head) + "\n"


def _source(path: Path, findings: Findings) -> list[str]:
    place = _scalar(_relative(path, findings.folder))
    lines = ["  docs:"]
    if findings.kind == "git":
        lines.append(
            _line("    type: git", "the last commit; `type: files` with `path: .` reads what lies on the disk")
        )
        lines.append(f"    url: {place}")
        lines.append(_line("    ref: HEAD", "or a branch, a tag, a commit"))
    else:
        why = (
            f"a git repository, but {findings.note}; then `type: git`" if findings.note else "a folder of this machine"
        )
        lines.append(_line("    type: files", why))
        lines.append(f"    path: {place}")
    lines.append("    include:")
    lines.extend(_includes(findings))
    if findings.excludes:
        lines.append("    exclude:")
        lines.extend(f"      - {json.dumps(pattern)}" for pattern in findings.excludes)
    else:
        lines.append(_line('    # exclude: ["drafts/"]', "patterns as in .gitignore"))
    if findings.uri:
        lines.append(_line(f"    # uri: {json.dumps(findings.uri)}", "link to the pages"))
    return lines


def _includes(findings: Findings) -> list[str]:
    if not findings.suffixes:
        return [f"      - {json.dumps(pattern)}" for pattern in DEFAULT_INCLUDE]
    below = f"{findings.below}/" if findings.below else ""
    return [
        _line(
            f"      - {_quoted(f'{below}**/*{suffix}')}",
            counted(count, "file") + (" at least" if findings.is_cut else ""),
        )
        for suffix, count in findings.suffixes
    ]


def _relative(path: Path, folder: Path) -> str:
    start = os.path.abspath(path.parent)  # noqa: PTH100
    try:
        return Path(os.path.relpath(folder, start)).as_posix()
    except ValueError:  # another drive
        return folder.as_posix()


def _scalar(text: str) -> str:
    """A text as YAML that is that text and nothing else: no number, no reference to the environment."""
    if re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", text) and text.lower() not in _WORDS:
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    # A JSON string is a YAML string; what a YAML file must not hold as it is, is escaped as YAML does.
    quoted = json.dumps(text.replace("${", "$${"), ensure_ascii=False)
    return "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else f"\\U{ord(c):08x}" for c in quoted)


def _line(text: str, comment: str) -> str:
    return f"{text.ljust(_COLUMN - 2)}  # {comment}"
