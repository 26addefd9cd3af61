"""Adoption: the vectors of a collection that another tool filled, taken over where text and model are the same.

Nothing of the collection is changed, and none of its points is ours afterwards: their ids, payloads and vectors' names
are another tool's. What is taken over goes into the embedding cache, under the keys that an apply looks for, so that
the plan that is made here, or any other, is applied as always.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from qloader.adopting.collection import VECTORS_A_PAGE, ForeignCollection, ForeignFacts
from qloader.adopting.matching import Matching
from qloader.adopting.shapes import Shape
from qloader.counting import counted
from qloader.planning.estimates import CHARACTERS_A_TOKEN, Estimate, Spared, estimate_plan
from qloader.planning.planner import PlannedChange
from qloader.render.progress import NoProgress, Progress
from qloader.workspace.foreign import ImportRequest, choose_shape, choose_vector, look_at, open_foreign
from qloader.workspace.planning import PlanRequest, PlanResult, make_plan, read_known
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.config.embedders import DenseSection
    from qloader.workspace.taking import ModelCheck, Taking

__all__ = ["Adoption", "Dense", "ImportRequest", "import_collection"]


@dataclass(frozen=True, slots=True)
class Dense:
    """What became of the dense vectors.

    Attributes:
        check: How the model that made the collection's compares with the config's.
        taken: Texts whose vectors were taken over from the collection.
        cached: Texts of the collection whose vectors the embedding cache had before.
        to_embed: Texts that an apply of the plan sends to the provider.
        tokens: About so many tokens the texts taken over have.
        cost: Their price; None where no price is configured.
        currency: That of the price.
    """

    check: ModelCheck
    taken: int
    cached: int
    to_embed: int
    tokens: int
    cost: float | None
    currency: str


@dataclass(frozen=True, slots=True)
class Adoption:
    """What came of it, as long as the `with` block lasts.

    Attributes:
        collection: The foreign collection, which is only read.
        points: How many points it holds.
        shape: How they were read.
        vector: The name of the vector that was looked at.
        size: How long it is.
        result: The plan, with what its apply costs now.
        matching: What becomes of each document, ours and theirs.
        dense: What became of the vectors; None where the config has no dense ones, so that none is taken over.
        notes: What else there is to know, a sentence each.
    """

    collection: ForeignCollection
    points: int
    shape: Shape
    vector: str
    size: int
    result: PlanResult
    matching: Matching
    dense: Dense | None
    notes: tuple[str, ...]


@contextlib.contextmanager
def import_collection(
    settings: Settings, request: ImportRequest, path: Path, *, progress: Progress | None = None
) -> Iterator[Adoption]:
    """Plans, takes over the vectors of texts that the plan embeds, and says what becomes of each document.

    Writes the embedding cache and the plan file only.

    Args:
        settings: The config and what follows from it.
        request: What is taken over, and how it is read.
        path: Where the plan file goes.
        progress: Told what goes on.

    Raises:
        ConfigError: The request is not clear: no such collection or vector, points that nobody can read, vectors of
            another length.
        ForeignIndexError: It is the config's own collection, or another one of qloader's.
        EmbeddingError: The vectors are another model's; or the provider cannot be asked.
        IndexUnavailableError: The collection cannot be read.
        QloaderError: See `workspace.planning.make_plan`.
    """
    progress = progress or NoProgress()
    with contextlib.ExitStack() as stack:
        foreign = stack.enter_context(contextlib.closing(open_foreign(settings, request)))
        facts = look_at(foreign)
        shape, vector = choose_shape(settings, request, foreign)
        vector = choose_vector(foreign, facts, vector if request.vector is None else request.vector)
        matching = stack.enter_context(Matching())
        result = make_plan(
            settings, PlanRequest(), path, progress=progress, watch=lambda planned: _add_planned(matching, planned)
        )
        _add_applied(settings, matching)
        notes = _read(foreign, facts, shape, matching, progress)
        section = settings.config.embedding.dense
        dense = None
        if section is None:
            for some in matching.candidates(VECTORS_A_PAGE):
                matching.take(one.hash for one in some)
        else:
            from qloader.workspace.taking import Taking

            taking = Taking(settings, section, foreign, shape, vector, facts.dense[vector], matching)
            check = taking.run(progress, is_trusted=request.trust_model)
            notes += taking.notes()
            result = replace(result, estimate=_estimate_again(settings, section, matching, result))
            dense = _dense(settings, section, check, taking, matching, result.estimate)
        matching.conclude()
        if count := matching.count_with_metadata():
            notes.append(
                f"{counted(count, 'chunk')} {'is' if count == 1 else 'are'} in the collection, but embedded together "
                "with metadata: these vectors are of other texts, and are not taken over."
            )
        yield Adoption(foreign, facts.points, shape, vector, facts.dense[vector], result, matching, dense, tuple(notes))


def _add_planned(matching: Matching, planned: PlannedChange) -> None:
    change = planned.change
    if change.from_id is not None:
        matching.leave_out(change.source, change.from_id)
    if change.after is None:
        matching.leave_out(change.source, change.id)
    else:
        matching.add_document(change.source, change.id, planned.embeds)


def _add_applied(settings: Settings, matching: Matching) -> None:
    """Adds the documents that the state holds and the plan leaves alone: they are no new ones."""
    state = settings.read_state()
    if state is None:
        return
    with state:
        for record in state.documents():
            if not record.is_deleted and not matching.knows(record.source, record.id):
                matching.add_document(record.source, record.id)


def _read(
    foreign: ForeignCollection, facts: ForeignFacts, shape: Shape, matching: Matching, progress: Progress
) -> list[str]:
    """Reads all points, without their vectors; what there is to tell of them."""
    without = 0
    with progress.phase(f"read {foreign.name}", facts.points) as phase:
        for point in foreign.points():
            passage = shape.read(point.payload)
            if passage is None:
                without += 1
            else:
                matching.add_passage(point, passage)
            phase.advance(1)
    matching.complete()
    return [f"{counted(without, 'point')} left out: without a text."] if without else []


def _estimate_again(
    settings: Settings, section: DenseSection, matching: Matching, result: PlanResult
) -> Estimate | None:
    """What an apply costs, now that the cache has what was taken over."""
    from qloader.embedding.known import KnownTexts

    with KnownTexts(settings.embedding_cache, section) as held:
        for some in matching.chunks():
            held.add([(chunk.hash, chunk.characters) for chunk in some])
        spared = Spared(held.count, held.repeated, held.characters)
        pace = read_known(settings).pace
        return estimate_plan(result.plan.header, settings.prices, pace, dense=held.dim, spared=spared)


def _dense(
    settings: Settings,
    section: DenseSection,
    check: ModelCheck,
    taking: Taking,
    matching: Matching,
    estimate: Estimate | None,
) -> Dense:
    texts, missing = matching.count_texts()
    to_embed = missing
    if estimate is not None and estimate.cached is not None:
        # What the cache has of elsewhere is known too, where no prefix hides it.
        to_embed = estimate.points - estimate.cached - estimate.repeated
    taken = texts - missing - check.embedded - taking.cached
    characters = matching.count_taken_characters() - check.characters - taking.cached_characters
    tokens = round(characters / CHARACTERS_A_TOKEN)
    price = settings.prices.per_million_tokens.get(section.label)
    cost = None if price is None else tokens * price / 1_000_000
    return Dense(check, taken, taking.cached, to_embed, tokens, cost, settings.prices.currency)
