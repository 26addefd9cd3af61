"""`plan --comment`, `apply --verify` and `apply --reviewed`: the review in a pull request, and what is merged of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.cli import common
from qloader.counting import counted

if TYPE_CHECKING:
    import typer

    from qloader.forge.protocol import Forge
    from qloader.forge.reviewing import Reviewed
    from qloader.planning.plan import Plan
    from qloader.workspace import Workspace
    from qloader.workspace.planning import PlanResult
    from qloader.workspace.verifying import Verification

SHOWN = 50
"""Differences that people are shown before the rest is counted."""


@contextlib.contextmanager
def commenting(
    context: typer.Context, config: Path | None, *, is_wanted: bool
) -> Iterator[Callable[[PlanResult], None]]:
    """Puts what comes of planning on the pull request of this CI job: the review, or the error.

    Args:
        context: As the command got it.
        config: As the command got it: what the pull request makes of it may be what is wrong.
        is_wanted: False makes it do nothing.

    Yields:
        What posts the review of a plan.

    Raises:
        ForgeError: There is no pull request, or the forge refuses.
    """
    if not is_wanted:
        yield lambda _: None
        return
    from qloader.errors import QloaderError
    from qloader.forge.detect import find_forge
    from qloader.forge.reviewing import check_is_reviewed, post_review

    forge = find_forge(os.environ)
    check_is_reviewed(forge)  # before the sources are read
    is_posted = False

    def post(name: str, review: str, digest: str | None) -> None:
        nonlocal is_posted
        is_posted = True
        if (told := post_review(forge, name, review, digest=digest)) is not None:
            common.say(f"Note: {told}")

    def post_plan(result: PlanResult) -> None:
        from qloader.render.markdown import render_markdown

        review = "".join(render_markdown(result.plan, review=common.review_of(result)))
        header = result.plan.header
        post(header.name, review, header.digest if result.refusal is None else None)

    try:
        yield post_plan
    except QloaderError as error:
        if not is_posted:  # else the review of an earlier commit would look like this one's
            from qloader.render.markdown import render_error

            with contextlib.suppress(QloaderError):
                if (name := _name_of(context, config)) is not None:
                    post(name, "".join(render_error("There is no plan.", error)), None)
        raise


def _name_of(context: typer.Context, config: Path | None) -> str | None:
    """The config's name, also of one that cannot be loaded, as far as it can be seen."""
    from qloader.config.load import read_name
    from qloader.errors import ConfigError

    try:
        return common.open_workspace(context, config).name
    except ConfigError:
        shared: common.Shared = context.obj
        return read_name(config or shared.config)


def show_verification(found: Verification) -> None:
    """Shows people where a plan is not what would be planned now."""
    for difference in found.differences[:SHOWN]:
        common.say(f"  {difference}")
    if found.count > SHOWN:
        common.say(f"  … and {found.count - min(len(found.differences), SHOWN):,} more")
    for note in found.notes:
        common.say(f"Note: {note}")


def check_still_planned(workspace: Workspace, plan: Plan) -> None:
    """Refuses a plan that is not what would be planned now, unless an apply has begun it already.

    Raises:
        StalePlanError: After the differences were shown.
    """
    from qloader.errors import StalePlanError

    if workspace.has_begun(plan):
        return
    found = workspace.verify(plan, progress=common.make_progress())
    show_verification(found)
    if not found.is_same:
        raise StalePlanError(
            f"the plan is not what would be planned now ({counted(found.count, 'difference')}), so it is not applied",
            remedy="Plan again, and have the new plan reviewed.",
        )


@contextlib.contextmanager
def reviewed_plan(workspace: Workspace) -> Iterator[tuple[Plan, Callable[[str], None]]]:
    """The plan that was reviewed on the pull request whose merge this CI job runs for.

    An error while it is applied is told there. What cannot be told there is told here: it makes nothing undone.

    Yields:
        The plan, and what tells the outcome on the pull request.

    Raises:
        ForgeError: There is none, or the forge refuses.
        StalePlanError: It is not the plan that the comment names.
    """
    from qloader.errors import QloaderError
    from qloader.forge.detect import find_forge
    from qloader.forge.reviewing import fetch_reviewed

    forge = find_forge(os.environ)
    reviewed = fetch_reviewed(forge, workspace.name)
    plan: Plan | None = None
    with tempfile.TemporaryDirectory(prefix="qloader-reviewed-") as folder:
        path = Path(folder) / "plan.json"
        path.write_bytes(reviewed.plan)
        try:
            plan = _read(workspace, path, reviewed)
            yield plan, lambda outcome: _tell(forge, reviewed, outcome)
        except QloaderError as error:
            from qloader.render.markdown import render_error

            _tell(forge, reviewed, "".join(render_error(_how_far(workspace, plan), error)))
            raise


def _read(workspace: Workspace, path: Path, reviewed: Reviewed) -> Plan:
    from qloader.errors import StalePlanError

    plan = workspace.read_plan(path)
    if plan.header.digest != reviewed.digest:
        raise StalePlanError(
            f"the plan of the job is {plan.header.digest[:12]}, and what was reviewed on pull request "
            f"{reviewed.request.number} is {reviewed.digest[:12]}",
            remedy="Plan again, and have that reviewed.",
        )
    common.say(f"Applying the plan {plan.header.digest[:12]} of pull request {reviewed.request.number}.")
    return plan


def _how_far(workspace: Workspace, plan: Plan | None) -> str:
    """How far an apply that failed came."""
    from qloader.errors import QloaderError

    with contextlib.suppress(QloaderError):  # the state may be what failed
        if plan is not None and workspace.has_begun(plan):
            return "Not applied to its end: what is done stays, and the same job goes on with the rest."
    return "Not applied."


def _tell(forge: Forge, reviewed: Reviewed, outcome: str) -> None:
    from qloader.errors import ForgeError
    from qloader.forge.reviewing import post_outcome

    try:
        post_outcome(forge, reviewed, outcome)
    except ForgeError as error:
        common.say(f"Note: what became of the plan is not on the pull request: {error}")
