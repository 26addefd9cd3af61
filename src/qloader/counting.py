"""Numbers of things, in words for people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number and what it counts: `1 page`, `1,234 pages`.

    Args:
        number: How many.
        noun: In the singular; its plural ends in a plain s.
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
