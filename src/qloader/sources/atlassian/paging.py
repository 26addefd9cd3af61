"""Lists that are read by offset, from servers where things come and go meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OffsetPage(Generic[T]):
    """One answer.

    Attributes:
        entries: Each with its id.
        next: Where the next page begins, as the server says, which is behind the start of this one; None at the end.
    """

    entries: Sequence[tuple[int, T]]
    next: int | None


def by_offset(load: Callable[[int], OffsetPage[T]]) -> Iterator[T]:
    """All entries of a list, each once.

    Whatever is deleted in front of an offset moves the rest forward, past the reader. So each page is asked for from
    one entry earlier, and must begin with an entry that was seen; where it does not, the page before it is read again.

    Args:
        load: Asks for the page that begins at an offset. It may be shorter than was asked for.
    """
    seen: set[int] = set()
    doubted: set[int] = set()
    start = 0
    size = 1
    while True:
        page = load(start)
        if start and page.entries and page.entries[0][0] not in seen and start not in doubted:
            doubted.add(start)
            start = max(0, start - size)
            continue
        for key, entry in page.entries:
            if key not in seen:
                seen.add(key)
                yield entry
        if page.next is None:
            return
        size = max(size, page.next - start)
        start = page.next - 1 if page.next - 1 > start else page.next
