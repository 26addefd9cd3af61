"""One batch after the other to a provider: turns, retries, batches and texts that are too large for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from qloader.config.embedders import DenseSection
from qloader.embedding.dense.checks import WHAT, checked, normalised, zeros
from qloader.embedding.dense.errors import EmbeddingError, RefusedTextsError, TextError, TryAgainError
from qloader.embedding.dense.limits import Limits, Pause
from qloader.embedding.dense.protocol import Counted, CountsCost, CountsTokens, DenseProvider, Kind, Matrix
from qloader.embedding.dense.tally import Tally
from qloader.embedding.dense.texts import (
    SHORTEST,
    STAND_IN,
    excerpt,
    halves,
    has_words,
    likely_tokens,
    parts,
    prepared,
)
from qloader.retrying import RetryPolicy
from qloader.telemetry.recorder import NOBODY, Recorder


class Requests:
    """Sends batches to one provider. May be used by several threads at once."""

    def __init__(
        self,
        provider: DenseProvider,
        section: DenseSection,
        *,
        limits: Limits,
        policy: RetryPolicy,
        tally: Tally,
        recorder: Recorder = NOBODY,
    ) -> None:
        self._provider = provider
        self._section = section
        self._limits = limits
        self._policy = policy
        self._tally = tally
        self._recorder = recorder
        self._lock = threading.Lock()
        self._dim = section.dimensions
        self._most_texts = section.batch_texts
        self._answers = 0
        self._stand_ins: dict[Kind, Matrix] = {}

    @property
    def dim(self) -> int | None:
        """How long the vectors are; None where nothing has told yet."""
        return self._dim or self._provider.dim

    def fits(self, dim: int) -> bool:
        """Whether vectors may be so long. Where nothing has told, these do from now on; the provider is not asked."""
        with self._lock:
            self._dim = self._dim or dim
            return self._dim == dim

    def embed(self, texts: Sequence[str], kind: Kind, pause: Pause) -> Matrix:
        """The vectors of prepared texts, in order, checked and scaled as the config says.

        Args:
            texts: A batch, not empty.
            kind: Whether they are to be found or to be looked for.
            pause: Waits so many seconds, or ends this.

        Raises:
            EmbeddingError: It will not work, or did not work often enough.
        """
        long = self.too_long(texts)
        if not long:
            return self._send(texts, kind, pause)
        limit, count = self._limit()
        rows: dict[int, Matrix] = {}
        short = [number for number in range(len(texts)) if number not in long]
        with _keeping(texts, rows):
            if short:
                rows.update(zip(short, self._send([texts[number] for number in short], kind, pause), strict=True))
            for number in long:
                pieces = parts(texts[number], limit or 0, lambda text: count([text])[0])
                rows[number] = self._shortened(texts[number], pieces, kind, pause)
        return np.stack([rows[number] for number in range(len(texts))])

    def too_long(self, texts: Sequence[str]) -> set[int]:
        """Which of these prepared texts are longer than what the model reads, by their positions."""
        limit, count = self._limit()
        return {number for number, length in enumerate(count(texts)) if length > limit} if limit else set()

    def _limit(self) -> tuple[int | None, Callable[[Sequence[str]], list[int]]]:
        """How many tokens of a text the model reads, and who counts them."""
        provider = self._provider
        if isinstance(provider, CountsTokens):
            return self._section.max_tokens or provider.max_tokens, provider.count_tokens
        return self._section.max_tokens, lambda texts: [likely_tokens(text) for text in texts]

    def _send(self, texts: Sequence[str], kind: Kind, pause: Pause, *, are_parts: bool = False) -> Matrix:
        """Sends texts as they are; where the provider does not take them together, some at a time.

        Args:
            texts: What to send.
            kind: As for `embed`.
            pause: As for `embed`.
            are_parts: Whether they are parts of a text that is too long.
        """
        if len(texts) > self._most_texts:
            return self._some_at_a_time(texts, self._most_texts, kind, pause, are_parts=are_parts)
        try:
            found = self._ask(texts, kind, pause)
        except RefusedTextsError as refusal:
            if len(texts) > 1:
                half = (len(texts) + 1) // 2
                vectors = self._some_at_a_time(texts, half, kind, pause, are_parts=are_parts)
                if refusal.is_too_much:
                    self._most_texts = min(self._most_texts, half)  # so that the next batch is not refused too
                return vectors
            text = texts[0]
            if not refusal.is_too_much or len(text) <= SHORTEST:
                raise TextError(
                    f"{refusal} It is about the text {excerpt(text)} of {len(text):,} characters.",
                    text,
                    remedy=refusal.remedy,
                ) from refusal
            return self._shortened(text, halves(text), kind, pause, is_part=are_parts)[np.newaxis]
        return self._usable(texts, found, kind, pause)

    def _some_at_a_time(self, texts: Sequence[str], size: int, kind: Kind, pause: Pause, *, are_parts: bool) -> Matrix:
        rows: dict[int, Matrix] = {}
        with contextlib.nullcontext() if are_parts else _keeping(texts, rows):
            for start in range(0, len(texts), size):
                found = self._send(texts[start : start + size], kind, pause, are_parts=are_parts)
                rows.update(enumerate(found, start))
        return np.stack([rows[number] for number in range(len(texts))])

    def _shortened(
        self, text: str, pieces: Sequence[str], kind: Kind, pause: Pause, *, is_part: bool = False
    ) -> Matrix:
        """The vector of a text that is too long as a whole."""
        mode = self._section.too_long
        if mode == "refuse":
            raise TextError(
                f"{WHAT}: the text {excerpt(text)} of {len(text):,} characters is longer than what the model reads.",
                text,
                remedy=f"Lower chunking.max_chars, or set {WHAT}.too_long to split or cut.",
            )
        if not is_part:
            self._tally.was_too_long(excerpt(text))
        if mode == "cut":
            beginning: Matrix = self._send(pieces[:1], kind, pause, are_parts=True)[0]
            return beginning
        pieces = [piece for piece in pieces if piece.strip()] or [pieces[0]]
        vectors = self._some_at_a_time(pieces, self._section.batch_texts, kind, pause, are_parts=True)
        mean: Matrix = np.average(vectors, axis=0, weights=[len(piece) for piece in pieces])[np.newaxis]
        whole: Matrix = self._usable([text], mean, kind, pause)[0]
        return whole

    def _usable(self, texts: Sequence[str], found: Matrix, kind: Kind, pause: Pause) -> Matrix:
        """Vectors that may be stored: checked, none of them zero, scaled where that is asked for."""
        vectors = checked(found, texts, self.dim)
        for number in zeros(vectors):
            if vectors.base is not None or not vectors.flags.writeable:
                vectors = vectors.copy()
            vectors[number] = self._stand_in(texts[number], kind, pause)
        if self._section.normalise:
            vectors = normalised(vectors)
        self.fits(vectors.shape[1])
        return vectors

    def _stand_in(self, text: str, kind: Kind, pause: Pause) -> Matrix:
        """The vector of a text for which the model has none."""
        section = self._section
        prefix = section.query_prefix if kind == "query" else section.document_prefix
        sent = prepared(STAND_IN, prefix)
        if text == sent or has_words(text.removeprefix(prefix)):
            raise TextError(
                f"{WHAT}: the vector of the text {excerpt(text)} is zero, so that no search could find it.",
                text,
                remedy="Nothing of it was stored. If the model has no word of this text, use a model for its language.",
            )
        if kind not in self._stand_ins:
            self._stand_ins[kind] = self._send([sent], kind, pause)[0]
        return self._stand_ins[kind]

    def _ask(self, texts: Sequence[str], kind: Kind, pause: Pause) -> Matrix:
        """Sends one request until it gets an answer that will not pass by itself."""
        tokens = sum(likely_tokens(text) for text in texts)

        def await_turn(seconds: float) -> None:
            with self._recorder.span("limit"):
                pause(seconds)

        failures, answers, is_again = 0, self._answers, False
        while True:
            self._limits.turn(tokens, await_turn)
            self._tally.sent(again=is_again)
            try:
                counted = self._call(texts, kind)
            except TryAgainError as failure:
                # As long as others get through, a request that came too soon is only waiting for its turn.
                failures = 1 if failure.is_rate and self._answers > answers else failures + 1
                answers, is_again = self._answers, True
                if failures > self._policy.attempts:
                    raise _given_up(failure, failures) from failure
                seconds = self._policy.wait(failures, failure.retry_after)
                if failure.is_rate:
                    self._limits.hold(seconds)
                else:
                    with self._recorder.span("retry"):
                        pause(seconds)
                continue
            with self._lock:
                self._answers += 1
            self._limits.spent(tokens, counted.tokens)
            self._tally.came_back(len(texts), counted.tokens)
            return counted.vectors

    def _call(self, texts: Sequence[str], kind: Kind) -> Counted:
        if isinstance(self._provider, CountsCost):
            return self._provider.embed_counted(texts, kind)
        return Counted(self._provider.embed(texts, kind))


@contextlib.contextmanager
def _keeping(texts: Sequence[str], rows: Mapping[int, Matrix]) -> Iterator[None]:
    """An error in here says which texts came back before: they are paid for."""
    try:
        yield
    except EmbeddingError as error:
        error.came_back += tuple((texts[number], row) for number, row in rows.items())
        raise


def _given_up(failure: TryAgainError, times: int) -> EmbeddingError:
    tried = f"tried {times} times" if times > 1 else "tried once"
    if failure.is_rate:
        return EmbeddingError(
            f"{WHAT}: the provider says that it is asked too often: {failure.reason} ({tried}).",
            remedy=f"Set {WHAT}.limits to what your account may do, or try again later: what came back is kept in the "
            "cache, and is not paid for again.",
        )
    return EmbeddingError(
        f"{WHAT}: the provider cannot be used just now: {failure.reason} ({tried}).",
        remedy=f"Check {WHAT}.url and the network, proxies included, and try again: what came back is kept in the "
        "cache, and is not paid for again.",
    )
