"""The folder of plans: each under a name that says which it is, so that a run can be followed back to its plan."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from qloader.errors import QloaderError
from qloader.planning.plan import PlanHeader
from qloader.planning.planfile import FilePlan, read_digest

FOLDER = "plans"
"""Where `history` looks, beside the config, if it is not told."""

SUFFIX = ".plan.json"


def plan_file_name(header: PlanHeader) -> str:
    """`handbook-000007-91ab6f0c2a9e.plan.json`: name, serial that it rests on, the first twelve digits of its digest.

    The same plan has the same name, and names sort as the plans were made.
    """
    return f"{header.name}-{header.base.serial:06}-{header.digest[:12]}{SUFFIX}"


def save_plan(plan: FilePlan, folder: Path) -> Path | None:
    """Keeps a plan in a folder, which is made where it is missing.

    Returns:
        The file; None where the plan changes nothing, and nothing was written.

    Raises:
        QloaderError: It cannot be written there.
    """
    if plan.header.is_empty:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise QloaderError(
            f"the folder {folder} cannot be made: {error.strerror}",
            remedy="Choose another place with --save. Nothing was changed.",
        ) from error
    return plan.copy_to(folder / plan_file_name(plan.header)).path


def find_saved(folder: Path, digests: Collection[str]) -> dict[str, Path]:
    """The plans of these digests in a folder, whatever their names; of a folder that is not there, none.

    Only the last line of each file is read: `qloader show` checks the rest.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX) and path.is_file())
    except OSError:
        return {}
    wanted = set(digests)
    found: dict[str, Path] = {}
    for path in files:
        digest = read_digest(path)
        if digest is not None and digest in wanted:
            found.setdefault(digest, path)
    return found
