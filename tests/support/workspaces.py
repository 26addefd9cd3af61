"""Workspaces in folders, and their indexes point by point."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from qloader import Workspace
from qloader.applying.result import ApplyResult
from qloader.index.protocol import DENSE_VECTOR, SparseVector
from qloader.workspace.planning import PlanRequest

CONFIG = """\
name: test
index: {{collection: test, {place}}}
state: {{path: .qloader/state.db}}
sources:
  docs: {{type: files, path: {path}}}
chunking: {{max_chars: {max_chars}}}
ingestion: {{batch: {{size: {batch}}}}}
"""


def make_workspace(
    folder: Path,
    *,
    path: str = "docs",
    max_chars: int = 200,
    batch: int = 2,
    workers: int | None = None,
    url: str | None = None,
) -> Workspace:
    """A config in a folder with a `docs` folder beside it; the index embedded, or on the server at `url`."""
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    config = folder / "qloader.yaml"
    place = f"url: {url}" if url else "path: .qloader/index"
    text = CONFIG.format(path=path, max_chars=max_chars, batch=batch, place=place)
    if workers is not None:
        text = text.replace("ingestion: {", f"ingestion: {{parallel: {{max_workers: {workers}}}, ")
    config.write_text(text, encoding="utf-8")
    return Workspace.open(config)


def write(folder: Path, files: dict[str, str | None]) -> None:
    """Writes files below a folder; None removes one. One whose text stays is left alone, with its time of change."""
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
        elif not path.is_file() or path.read_bytes() != text.encode():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def replace_all(folder: Path, files: dict[str, str]) -> None:
    """Makes a folder hold exactly these files; those whose text stays are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.rglob("*"):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    write(folder, dict(files))


def plan_and_apply(workspace: Workspace, **request: Any) -> ApplyResult:
    """Plan and apply in one."""
    with workspace.temporary_plan(PlanRequest(**request)) as result:
        if result.refusal:
            raise result.refusal
        return workspace.apply(result.plan)


def dump(workspace: Workspace) -> dict[str, Any]:
    """Every point of the index by id: payload without the lineage, and vectors."""
    header = workspace.status().header
    if header is None:
        return {}
    points = {}
    with contextlib.closing(workspace.settings.open_index()) as index:
        for point in index.scroll(lineage=header.lineage, with_payload=True, with_vectors=True):
            payload = dict(point.payload)
            payload["qloader"] = {k: v for k, v in payload["qloader"].items() if k != "lineage"}
            vectors = {
                name: (list(vector.indices), [round(value, 6) for value in vector.values])
                if isinstance(vector, SparseVector)
                else list(vector)
                for name, vector in point.vectors.items()
            }
            points[point.id] = {"payload": payload, "vectors": vectors}
    return points


_fresh: dict[tuple[Any, ...], dict[str, Any]] = {}


def fresh_load(workspace: Workspace) -> dict[str, Any]:
    """What a new index loaded from the same sources holds, by the same config in another folder.

    Remembered by the config and every file's name, bytes and time of change, which the payloads hold.
    """
    config = workspace.settings.config
    folders = [entry for entry in sorted(config.base.iterdir()) if entry.is_dir() and entry.name != ".qloader"]
    text = config.file.read_text(encoding="utf-8")
    text = re.sub(r"^(index: .*?)url: '?http[^,}]+", r"\1path: .qloader/index", text, flags=re.MULTILINE)
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    key = (
        text,
        *((str(f.relative_to(config.base)), f.read_bytes(), int(f.stat().st_mtime)) for f in files),
    )
    if key not in _fresh:
        _fresh[key] = load_anew(text, folders)
    return _fresh[key]


def load_anew(text: str, folders: Iterable[Path]) -> dict[str, Any]:
    """What a new index holds that is loaded from copies of some folders.

    Args:
        text: The config.
        folders: What it names beside itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "qloader.yaml"
        config.write_text(text, encoding="utf-8")
        for source in folders:
            shutil.copytree(source, Path(folder) / source.name, symlinks=True)
        fresh = Workspace.open(config)
        plan_and_apply(fresh)
        return dump(fresh)


def assert_index_is_a_fresh_load(workspace: Workspace, *, dated: bool = True) -> None:
    """The index equals, point by point, a fresh load; and the state agrees with it.

    Args:
        workspace: What to look at.
        dated: Compare `updated_at` and the revision too. A document that was changed and changed back is no change
            for a plan, and keeps the earlier ones.
    """
    assert_index_holds(workspace, fresh_load(workspace), dated=dated)


def assert_index_holds(workspace: Workspace, expected: dict[str, Any], *, dated: bool = True) -> None:
    """The index holds just these points, as `dump` has them; and the state agrees with it.

    Args:
        workspace: What to look at.
        expected: The points.
        dated: As above.
    """
    found = dump(workspace)
    for point, content in expected.items():
        assert point in found, f"missing: {content['payload']}"
        if not dated:
            _take_over_times(found[point]["payload"], content["payload"])
        assert found[point]["payload"] == content["payload"], f"{found[point]['payload']}, not {content['payload']}"
        assert_same_vectors(found[point]["vectors"], content["vectors"])
    for point, content in found.items():
        assert point in expected, f"left over: {content['payload']}"
    assert workspace.status().points == len(found)
    assert workspace.status().interrupted == 0


def _take_over_times(payload: dict[str, Any], other: dict[str, Any]) -> None:
    payload["updated_at"] = other["updated_at"]
    if "revision" in other["qloader"]:
        payload["qloader"]["revision"] = other["qloader"]["revision"]


def assert_same_vectors(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Vectors of a point as `dump` has them: sparse ones are equal, dense ones as near as 16 bits allow."""
    assert found.keys() == expected.keys()
    for name, vector in expected.items():
        if name == DENSE_VECTOR:
            assert len(found[name]) == len(vector)
            assert np.allclose(found[name], vector, atol=1e-3)
        else:
            assert found[name] == vector
