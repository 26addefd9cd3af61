"""The way of vectors from a foreign collection into the embedding cache, and whether the same model made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from qloader.adopting.collection import VECTORS_A_PAGE, ForeignCollection, ForeignPoint
from qloader.adopting.matching import Candidate, Matching
from qloader.adopting.shapes import Shape
from qloader.counting import counted
from qloader.documents.hashing import chunk_hash
from qloader.documents.reading import human_size
from qloader.embedding.cache import ROOM_LEFT
from qloader.embedding.cache_file import ROW_BYTES
from qloader.embedding.dense.checks import normalised
from qloader.embedding.dense.registry import open_embedder
from qloader.embedding.dense.texts import prepared
from qloader.embedding.known import cache_key, document_scope
from qloader.errors import ConfigError, EmbeddingError
from qloader.render.progress import Progress
from qloader.workspace.settings import Settings

if TYPE_CHECKING:
    from qloader.config.embedders import DenseSection
    from qloader.embedding.cache import EmbeddingCache
    from qloader.embedding.dense.embedder import DenseEmbedder

COMPARED = 5
"""Texts that are embedded anew, to see whether the model is the same."""

LEAST_LIKENESS = 0.999
"""The cosine that two vectors of one text need to be of one model. Measured with all-MiniLM-L6-v2 on 38 chunks of
docs/: a vector kept in float16 has 1.000000 with its original, in int8 0.99996 at least; with the prefix `passage: ` a
text has 0.938 to 0.996 with itself."""

_LOOKED_THROUGH = 5 * COMPARED
"""Points that are fetched to find texts to compare: some may have changed, or be longer than the model reads."""


Vector: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """Whether the vectors were made by the config's model.

    Attributes:
        model: The provider and the model.
        is_trusted: Whether nobody compared, because somebody said so.
        embedded: How many texts the provider was asked for; 0 where nothing was to be taken over.
        characters: How long these texts are, together.
        likeness: The lowest cosine of their vectors with those of the collection; None where nobody compared.
    """

    model: str
    is_trusted: bool = False
    embedded: int = 0
    characters: int = 0
    likeness: float | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A candidate with its text and its vector, as the collection has them."""

    candidate: Candidate
    text: str
    vector: Vector


class Taking:
    """Takes the vectors of candidates over, in one run.

    Args:
        settings: The config and what follows from it.
        section: What it says of the model.
        foreign: Whose vectors.
        shape: How its points are read.
        vector: The name of the vector.
        size: How long it is.
        matching: Knows the candidates, and is told whose vectors are at hand.

    Attributes:
        cached: Texts whose vectors the cache had before, so that they are not taken over.
        cached_characters: How long these are, together.
    """

    def __init__(
        self,
        settings: Settings,
        section: DenseSection,
        foreign: ForeignCollection,
        shape: Shape,
        vector: str,
        size: int,
        matching: Matching,
    ) -> None:
        self._settings = settings
        self._section = section
        self._foreign = foreign
        self._shape = shape
        self._vector = vector
        self._size = size
        self._matching = matching
        self._scope = document_scope(section)
        self._unusable = self._too_long = self._blank = 0
        self.cached = self.cached_characters = 0

    def run(self, progress: Progress, *, is_trusted: bool) -> ModelCheck:
        """Takes over what can be.

        Args:
            progress: Told what goes on.
            is_trusted: Do not compare the models.

        Raises:
            EmbeddingError: The models are not the same, the provider cannot be asked, or the cache keeps nothing.
            ConfigError: The vectors are of another length, or more than the cache takes.
        """
        section, settings = self._section, self._settings
        if section.dimensions is not None:
            self._check_size(section.dimensions)
        with (
            settings.open_embedding_cache() as cache,
            # Without the cache: what is compared must come from the provider, not from an earlier import.
            open_embedder(section, base=settings.config.base, cache_dir=settings.models) as embedder,
        ):
            self._find_cached(cache)
            exact, trimmed = (self._matching.count_candidates(is_trimmed=which) for which in (False, True))
            wanted = exact + trimmed
            if not wanted:
                return ModelCheck(section.label, is_trusted)
            self._check_room(cache, wanted)
            check = self._compare(cache, embedder, is_trusted=is_trusted, has_exact=exact > 0)
            with progress.phase("take over vectors", wanted) as phase:
                for some in self._matching.candidates(VECTORS_A_PAGE):
                    self._take(cache, embedder, some)
                    phase.advance(len(some))
        return check

    def notes(self) -> list[str]:
        """What was left out, and why, a sentence each."""
        notes = []
        if self._unusable:
            notes.append(f"{counted(self._unusable, 'vector')} left out: gone or changed since, zero, or no numbers.")
        if self._too_long:
            notes.append(
                f"{counted(self._too_long, 'text')} left out: longer than what the model reads, and cut by each tool "
                "in its own way."
            )
        if self._blank:
            notes.append(
                f"{counted(self._blank, 'text')} left out: embedded there with blank space around them, which this "
                "model tells apart."
            )
        return notes

    def _find_cached(self, cache: EmbeddingCache) -> None:
        """Looks which of the texts the cache has already. With a prefix, only the text itself would tell."""
        if self._section.document_prefix:
            return
        for some in self._matching.candidates(VECTORS_A_PAGE):
            keys = {cache_key(self._scope, one.hash): one.hash for one in some}
            self._matching.take(keys[key] for key in cache.get_many(list(keys)))
        texts, missing = self._matching.count_texts()
        self.cached, self.cached_characters = texts - missing, self._matching.count_taken_characters()

    def _check_size(self, made: int) -> None:
        if self._size != made:
            raise ConfigError(
                f"the vectors of {self._foreign.name} have {self._size:,} numbers, and {self._section.label} makes "
                f"those of {made:,}",
                remedy="Name the model that made them in embedding.dense, with its dimensions.",
            )

    def _check_room(self, cache: EmbeddingCache, wanted: int) -> None:
        """Refuses what the cache would drop again while it is filled."""
        section = self._settings.config.embedding.cache
        width = 2 if section.precision == "float16" else 4
        needed, most = wanted * (self._size * width + ROW_BYTES), section.max_size
        if needed > most * ROOM_LEFT:
            raise ConfigError(
                f"{counted(wanted, 'vector')} would be taken over, which need {human_size(needed)}, and the embedding "
                f"cache takes {human_size(most)}",
                remedy="Raise embedding.cache.max_size.",
            )

    def _compare(
        self, cache: EmbeddingCache, embedder: DenseEmbedder, *, is_trusted: bool, has_exact: bool
    ) -> ModelCheck:
        """Embeds some texts anew; their new vectors, which are paid for, are kept in place of the foreign ones.

        Texts that the other tool embedded with blank space around them are compared apart: some models tell the
        difference, and then these are left out.
        """
        check = ModelCheck(self._section.label, is_trusted)
        for is_trimmed in (False, True):
            samples = self._samples(embedder, is_trimmed=is_trimmed)
            if is_trusted:
                samples = (
                    [] if self._section.dimensions or check.embedded else samples[:1]
                )  # one tells how long they are
            if not samples:
                continue
            made = embedder.embed([sample.text for sample in samples])
            self._check_size(made.shape[1])
            self._keep(cache, samples, self._keys(samples), made)
            check = replace(
                check,
                embedded=check.embedded + len(samples),
                characters=check.characters + sum(len(sample.text) for sample in samples),
            )
            if is_trusted:
                continue
            cosines = [_cosine(ours, sample.vector) for ours, sample in zip(made, samples, strict=True)]
            if min(cosines) >= LEAST_LIKENESS:
                likeness = min(cosines) if check.likeness is None else min(*cosines, check.likeness)
                check = replace(check, likeness=likeness)
            elif is_trimmed and has_exact:
                self._blank = self._matching.count_candidates(is_trimmed=True)
                self._matching.drop_trimmed()
            else:
                raise self._another_model(cosines)
        return check

    def _another_model(self, cosines: Sequence[float]) -> EmbeddingError:
        alike = sum(cosine >= LEAST_LIKENESS for cosine in cosines)
        return EmbeddingError(
            f"the vectors of {self._foreign.name} were not made by {self._section.label} as the config uses it: of "
            f"{counted(len(cosines), 'text')} that were embedded anew {alike} got the same vector (the cosine is "
            f"{min(cosines):.4f} to {max(cosines):.4f}, and has to be {LEAST_LIKENESS})",
            remedy="Name the model that made them in embedding.dense, with its document_prefix and max_tokens. "
            "--trust-model takes them over all the same; if they are another model's, no search by meaning will be "
            "of use.",
        )

    def _samples(self, embedder: DenseEmbedder, *, is_trimmed: bool) -> list[_Found]:
        """Texts to compare, the longest first, the others spread over the collection."""
        found, _, _ = self._fetch(self._matching.samples(_LOOKED_THROUGH, is_trimmed=is_trimmed), embedder)
        return found[:: max(len(found) // COMPARED, 1)][:COMPARED]

    def _take(self, cache: EmbeddingCache, embedder: DenseEmbedder, some: Sequence[Candidate]) -> None:
        found, unusable, too_long = self._fetch(some, embedder)
        self._unusable += unusable
        self._too_long += too_long
        if found:
            keys = self._keys(found)
            had = cache.get_many(keys)
            known = [one for one, key in zip(found, keys, strict=True) if key in had]
            self.cached += len(known)
            self.cached_characters += sum(len(one.text) for one in known)
            vectors = np.stack([one.vector for one in found])
            self._keep(cache, found, keys, normalised(vectors) if self._section.normalise else vectors)

    def _fetch(self, candidates: Sequence[Candidate], embedder: DenseEmbedder) -> tuple[list[_Found], int, int]:
        """Candidates with their texts and vectors, in order.

        Returns:
            Those that can be used, how many cannot, and how many are longer than what the model reads.
        """
        points = {point.id: point for point in self._foreign.fetch([one.point for one in candidates], self._vector)}
        usable = [found for one in candidates if (found := self._usable(one, points.get(one.point))) is not None]
        whole = embedder.reads_whole([found.text for found in usable])
        kept = [found for found, is_whole in zip(usable, whole, strict=True) if is_whole]
        return kept, len(candidates) - len(usable), len(usable) - len(kept)

    def _usable(self, candidate: Candidate, point: ForeignPoint | None) -> _Found | None:
        """None where a point is no longer what it was, or its vector is none."""
        passage = None if point is None else self._shape.read(point.payload)
        if point is None or passage is None or point.vector is None or len(point.vector) != self._size:
            return None
        text = passage.embedded.strip() if candidate.is_trimmed else passage.embedded
        vector = np.asarray(point.vector, dtype=np.float32)
        if not np.isfinite(vector).all() or not vector.any() or chunk_hash(text) != candidate.hash:
            return None
        return _Found(candidate, text, vector)

    def _keep(self, cache: EmbeddingCache, found: Sequence[_Found], keys: Sequence[bytes], vectors: Vector) -> None:
        """Puts vectors into the cache, and looks whether it has them: what it does not keep is not taken over."""
        cache.put_many(keys, vectors, model=self._section.label)
        kept = cache.get_many(keys)
        if not kept:
            raise EmbeddingError(
                f"the embedding cache {cache.path} keeps nothing, so that nothing can be taken over",
                remedy="Check its folder, its permissions and the space on its disk.",
            )
        self._matching.take(one.candidate.hash for one, key in zip(found, keys, strict=True) if key in kept)

    def _keys(self, found: Sequence[_Found]) -> list[bytes]:
        """What the cache knows their vectors by."""
        sent = [prepared(one.text, self._section.document_prefix) for one in found]
        return [cache_key(self._scope, chunk_hash(text)) for text in sent]


def _cosine(a: Vector, b: Vector) -> float:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))
