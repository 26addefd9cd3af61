"""Which texts are sent together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(tokens: Sequence[int], *, most_texts: int, most_tokens: int) -> Iterator[range]:
    """Cuts a row of texts into batches: the positions of each, in order.

    Args:
        tokens: How many tokens each text has.
        most_texts: Texts in a batch, at most.
        most_tokens: Tokens in a batch, at most; a text that has more is a batch of its own.
    """
    start = held = 0
    for position, count in enumerate(tokens):
        if position > start and (position - start >= most_texts or held + count > most_tokens):
            yield range(start, position)
            start, held = position, 0
        held += count
    if start < len(tokens):
        yield range(start, len(tokens))
