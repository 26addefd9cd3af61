"""Does something at one call of a method: for scripts that run a qloader command in a process of its own."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any


def nothing() -> None:
    """What is done where nothing is said."""


def at_a_call(
    where: str, call: int, *, before: Callable[[], None] = nothing, after: Callable[[], None] = nothing
) -> None:
    """Wraps a method.

    Args:
        where: The method, such as `qloader.state.store:StateStore.commit_batch`.
        call: Which of its calls, from 1.
        before: What is done right before it.
        after: What is done when it has returned.
    """
    module, _, path = where.partition(":")
    owner, _, name = path.rpartition(".")
    cls = functools.reduce(getattr, owner.split("."), importlib.import_module(module))
    original = getattr(cls, name)
    calls = 0

    def method(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        is_due = calls == call
        if is_due:
            before()
        result = original(*arguments, **options)
        if is_due:
            after()
        return result

    setattr(cls, name, method)
