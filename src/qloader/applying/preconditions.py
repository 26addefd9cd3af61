"""Whether a plan may be applied here and now: the same config, the same state, the same index."""

from __future__ import annotations

from dataclasses import dataclass

from qloader.counting import counted
from qloader.errors import ForeignIndexError, StalePlanError, StateError
from qloader.index.protocol import CollectionInfo, is_relative
from qloader.planning.plan import PlanHeader
from qloader.state.records import RunRecord, StateHeader
from qloader.state.store import StateStore

DIGEST = 32
"""Characters of a plan's digest; what stands in its place in a run without a plan is a word."""


@dataclass(frozen=True, slots=True)
class Here:
    """What a plan and a state must agree with.

    Attributes:
        name: The config's name.
        collection: The collection it names.
        location: Where that is.
        pipeline: The fingerprint of its pipeline.
        tenant: Whose points are its own in a shared collection; empty where it has a collection of its own.
    """

    name: str
    collection: str
    location: str
    pipeline: str
    tenant: str = ""


def check_config(plan: PlanHeader, here: Here) -> None:
    """Refuses a plan that was made for another config.

    Raises:
        StalePlanError: Names what differs, with both values.
    """
    pairs = (
        ("name", plan.name, here.name),
        ("collection", plan.index.collection, here.collection),
        ("index", plan.index.location, here.location),
        ("tenant", plan.index.tenant or "none", here.tenant or "none"),
        ("pipeline", plan.pipeline.fingerprint, here.pipeline),
    )
    differing = [f"its {what} is {theirs}, the config's is {ours}" for what, theirs, ours in pairs if theirs != ours]
    if differing:
        raise StalePlanError(
            "the plan was made for another config: " + "; ".join(differing),
            remedy="Use the config that the plan was made with (-c), or plan again.",
        )


def check_state(header: StateHeader | None, here: Here) -> None:
    """Refuses a state that another config made, or made for another collection.

    Where an embedded index lies, or under which address a server answers, may change: its lineage says whose it is.

    Raises:
        StateError: The state is that of a config of another name.
        ForeignIndexError: It belongs to another collection.
    """
    if header is None:
        return
    if header.name != here.name:
        raise StateError(
            f"the state belongs to the config {header.name}, and this config is named {here.name}",
            remedy=f"Set name back to {header.name}, or state.path to a place of this config's own.",
        )
    if (header.collection, _kind(header.location)) != (here.collection, _kind(here.location)):
        raise ForeignIndexError(
            f"the state belongs to the collection {header.collection} at {header.location}, and the config names "
            f"{here.collection} at {here.location}",
            remedy="A state belongs to one collection. Set index back, or give the config another name and so a state "
            "of its own; `qloader destroy` empties the old collection first.",
        )
    if header.tenant != here.tenant:
        raise ForeignIndexError(
            f"the state is that of the tenant {header.tenant} of the collection {header.collection}, and "
            + (f"the config's tenant is {here.tenant}" if here.tenant else "the config names no tenant")
            if header.tenant
            else f"the state has the collection {header.collection} to itself, and the config's tenant is "
            f"{here.tenant}",
            remedy="Set index.shared and index.tenant back, or give the config another name and so a state of its own; "
            "`qloader destroy` removes what the state owns first.",
        )


def _kind(location: str) -> str:
    return location.partition(":")[0]


def find_resumable(plan: PlanHeader, header: StateHeader | None, state: StateStore | None) -> RunRecord | None:
    """The run that began this plan, if nothing else has happened to the state since.

    Raises:
        StalePlanError: The plan rests on another state.
    """
    if header is None:
        if plan.base.lineage is not None:
            raise StalePlanError(
                f"the plan rests on the state {plan.base.lineage} (serial {plan.base.serial}); there is none here",
                remedy="Check state.path and QLOADER_HOME, restore a backup, or plan again.",
            )
        return None
    assert state is not None
    last = next((run for run in state.runs() if run.last_serial > run.base_serial), None)
    if last is not None and last.plan == plan.digest and last.last_serial == header.serial:
        return last
    if (plan.base.lineage, plan.base.serial) == (header.lineage, header.serial):
        return None
    raise StalePlanError(_why_stale(plan, header, last), remedy="Plan again, and have the new plan reviewed.")


def check_index(
    info: CollectionInfo | None,
    header: StateHeader | None,
    *,
    documents: int,
    collection: str,
    state: str,
    tenant: str = "",
) -> None:
    """Refuses an index that is not this state's, or that is gone while the state says it holds documents.

    Args:
        info: What is there.
        header: What the state says of itself.
        documents: How many documents it says that the index holds.
        collection: The collection's name.
        state: How an error names the state with what is beside it.
        tenant: Whose points are meant in a shared collection; empty for one of one's own.

    Raises:
        ForeignIndexError: With the ways out.
    """
    if info is not None:
        check_kind(info, collection, tenant)
    if info is None or (info.is_shared and info.lineage is None):
        if documents:
            raise ForeignIndexError(
                (
                    f"the collection {collection} is gone"
                    if info is None
                    else f"all points of the tenant {tenant} are gone from the collection {collection}"
                )
                + f", but the state says that it holds {counted(documents, 'document')}",
                remedy=f"Bring the index back, or start anew: move {state} away and plan again. "
                "The state is " + (header.lineage if header else "new") + ".",
            )
        return
    ours = header.lineage if header else None
    if info.lineage == ours:
        return
    if info.lineage is None:
        raise ForeignIndexError(
            f"the collection {collection} exists, and qloader did not make it",
            remedy="Choose another name in index.collection; qloader never writes into a collection it did not make.",
        )
    if info.is_shared:
        raise ForeignIndexError(
            f"the tenant {tenant} of the collection {collection} belongs to the state {info.lineage}, and "
            + (f"this state is {ours}" if ours else "there is no state here"),
            remedy="Give each config that shares the collection another name in index.tenant. If the tenant is this "
            "one: find its state (state.path, QLOADER_HOME) or restore a backup of it, or rebuild it from the points "
            "with `qloader state rebuild`.",
        )
    raise ForeignIndexError(
        f"the collection {collection} belongs to the state {info.lineage}, and "
        + (f"this state is {ours}" if ours else "there is no state here"),
        remedy="Find that state (state.path, QLOADER_HOME) or restore a backup of it, rebuild it from the points "
        "with `qloader state rebuild`, or choose another name in index.collection.",
    )


def check_target(header: StateHeader | None, found: str | None) -> None:
    """Refuses a collection that the name stands for and the state does not describe: somebody else led it there.

    Args:
        header: What the state says of itself.
        found: What the name stands for; None where that is nothing. A collection that can never be ours passes.

    Raises:
        ForeignIndexError: With the ways out.
    """
    if header is None or header.is_switching or found in (None, header.target):
        return
    if not header.target and found != header.replacement:  # an older qloader did not note what it describes
        return
    if not is_relative(found, header.collection):  # `check_index` says whose it is
        return
    raise ForeignIndexError(
        f"{header.collection} stands for the collection {found}, and the state describes "
        f"{header.target or 'the one before'}: somebody else changed that, or the state came back from a backup",
        remedy=f"`qloader rollback` takes over {found}, and a second one leads back to {header.target}."
        if found == header.replaced
        else f"Take over {found} with `qloader state rebuild`, or let the name stand for the other again.",
    )


def check_kind(info: CollectionInfo, collection: str, tenant: str) -> None:
    """Refuses a collection of one state to a tenant, and a shared one to who wants one of its own."""
    if tenant and not info.is_shared and info.lineage is not None:
        raise ForeignIndexError(
            f"the collection {collection} belongs to the state {info.lineage} alone, and the config says index.shared",
            remedy="Choose another name in index.collection, or leave index.shared and index.tenant out.",
        )
    if info.is_shared and not tenant:
        raise ForeignIndexError(
            f"the collection {collection} is shared by several states, and the config has no index.shared",
            remedy="Set index.shared to true, with a name of its own in index.tenant, or choose another name in "
            "index.collection.",
        )


def check_pipeline(info: CollectionInfo | None, here: Here) -> None:
    """Refuses a shared collection whose points are of another pipeline: one search compares them all.

    Raises:
        ForeignIndexError: It is filled with another one.
    """
    if info is not None and info.is_shared and info.pipeline != here.pipeline:
        raise ForeignIndexError(
            f"the shared collection {here.collection} is filled with the pipeline {info.pipeline}, and this config's "
            f"is {here.pipeline}: all its points are cut and embedded alike",
            remedy="Take over chunking and embedding of the configs that fill it, or choose another name in "
            "index.collection. If nobody fills it, delete it on the server.",
        )


def check_vectors(info: CollectionInfo, dense: int | None, *, collection: str) -> None:
    """Refuses a collection that the vectors do not fit into.

    Args:
        info: What it says of itself.
        dense: How long the dense vectors are; None where none are made.
        collection: Its name.

    Raises:
        ForeignIndexError: It has other ones.
    """
    if info.dense == dense:
        return
    has = "no dense vectors" if info.dense is None else f"dense vectors of {info.dense:,} numbers"
    makes = "none" if dense is None else f"those of {dense:,}"
    raise ForeignIndexError(
        f"the collection {collection} has {has}, and the provider makes {makes}, by the same settings as before",
        remedy="If the model is another by now under the same name, give its length in embedding.dense.dimensions: the "
        "next plan replaces the collection then. Else correct embedding.dense.",
    )


def _why_stale(plan: PlanHeader, header: StateHeader, last: RunRecord | None) -> str:
    if plan.base.lineage is None:
        return "the plan was made before anything was applied here, and something has been applied since"
    if plan.base.lineage != header.lineage:
        return f"the plan rests on another state: {plan.base.lineage}, this one is {header.lineage}"
    text = f"the plan rests on serial {plan.base.serial} of the state, which is at {header.serial} now"
    if last is not None:
        changed = counted(last.document_count, "document")
        if len(last.plan) == DIGEST:
            text += f": run {last.id} ({last.status}) of the plan {last.plan[:12]} changed {changed}"
        else:  # a rollback, a rebuild
            text += f": run {last.id} was a {last.plan}"
    return text
