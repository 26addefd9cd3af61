"""Every error a user can meet: one class per remedy.

A message says what happened, where, and what to do next. `exit_code` is what the process ends with
(the contract's table: 1 error, 3 refused by a guard, 4 stale or invalid plan, 5 locked).
Nothing here may import anything else of qloader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class QloaderError(Exception):
    """Something a user can act on. `str(error)` is one sentence; `remedy` says what to do next.

    Attributes:
        remedy: The next step, as a sentence; empty where the message already says it.
        exit_code: The exit code of a command that ends with this error.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class ConfigError(QloaderError):
    """The config file is missing, malformed, or says something that cannot be."""


class SourceError(QloaderError):
    """A source cannot be listed or read at all: no such path, no such ref, no permission."""


class EmbeddingError(QloaderError):
    """Texts cannot be made vectors: a key, a quota, a model, an answer that is none, a package that is missing.

    Attributes:
        positions: Which of the texts that were given, where it is about certain ones.
        came_back: Texts of the same batch that were embedded before it, each with its vector: they are paid for.
    """

    positions: tuple[int, ...] = ()
    came_back: tuple[tuple[str, Any], ...] = ()


class RerankError(QloaderError):
    """The hits of a search cannot be put in order anew: the reranker does not answer, refuses, or answers nonsense."""


class IndexUnavailableError(QloaderError):
    """The index cannot be reached or opened: a server that is down, a folder held by another process."""


class ForeignIndexError(QloaderError):
    """The collection is not this state's: another lineage, other vectors, or it is gone."""


class StateError(QloaderError):
    """The state database cannot be opened, read or written."""


class StateConnectionError(StateError):
    """The state cannot be opened: its path, permissions or disk, or a file that is damaged. To be put right by hand."""


class StateBusyError(StateError):
    """Another process writes to the state's file just now. To be tried again; nothing was changed."""


class StateConstraintError(StateError):
    """What should be written contradicts what the state holds. To be corrected; nothing was changed."""


class StateVersionError(StateError):
    """The state was written by a newer qloader, or is no qloader state."""


class StateOutdatedError(StateError):
    """The state was written by an older qloader and has to be brought up to date before it can be read."""


class StateUnreachableError(StateError):
    """The store of a remote state does not answer, or fails. To be tried again; what is here is kept."""


class GuardError(QloaderError):
    """Guards or policies refused the plan before anything was written.

    Attributes:
        found: What they found, a sentence each; the message holds them below its first line.
    """

    exit_code = 3

    def __init__(self, message: str, *, found: Sequence[str], remedy: str) -> None:
        super().__init__("\n  ".join((message, *found)), remedy=remedy)
        self.found = tuple(found)


class PlanError(QloaderError):
    """The plan file cannot be read: cut short, changed after it was written, or of an unknown format."""

    exit_code = 4


class StalePlanError(PlanError):
    """The plan rests on another state, config or collection than the one at hand."""


class LockedError(QloaderError):
    """Another writer holds the state."""

    exit_code = 5


class ForgeError(QloaderError):
    """The pull request cannot be reached, or the forge refuses: the token, its rights, the network.

    Attributes:
        status: The HTTP status of the refusal; 0 where it is none.
    """

    def __init__(self, message: str, *, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


class InterruptedRunError(QloaderError):
    """The user stopped an apply; everything up to the last batch is done and recorded."""

    exit_code = 130


def out_of_memory(error: BaseException) -> QloaderError | None:
    """What to say of an error that means that there is no memory left; None of any other."""
    words = str(error)
    if not (
        isinstance(error, MemoryError)
        or (isinstance(error, RuntimeError) and "can't start new thread" in words)
        or (isinstance(error, ImportError) and "cannot allocate memory" in words.lower())
        or (isinstance(error, ImportError) and "failed to map segment" in words)
    ):
        return None
    return QloaderError(
        f"there is no memory left for this process{f' ({words})' if words else ''}",
        remedy="What was committed is kept. Give it more memory (the container's limit, `ulimit -v` and `-d`), or set "
        "ingestion.parallel.max_workers: 1 and a smaller ingestion.batch.size, and run the same command again.",
    )
