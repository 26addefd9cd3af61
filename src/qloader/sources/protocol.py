"""What a source is, for the rest of qloader. Write one of these and everything else works."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol, runtime_checkable

from qloader.documents.document import Document, Skipped
from qloader.errors import SourceError


class Item(NamedTuple):
    """One line of a listing.

    Attributes:
        id: The document id.
        token: The source's own cheap change token (blob id; size, mtime and inode; page version).
            Equal tokens promise equal content. Empty: nothing is promised, read it again.
    """

    id: str
    token: str


@dataclass(slots=True)
class Listing:
    """One pass over a source: ids and change tokens, no bodies.

    `items` can be iterated once. The other attributes are facts only when it is exhausted.

    Attributes:
        items: What the source holds, in any order; a repeated id counts once (the last token wins).
        revision: The revision of the whole source as a plan shows it (git: the commit), else None.
        problems: Why the listing is not complete, one sentence each. Empty: it is complete, and an id
            that is missing from it is gone.
        skipped: Items that are no documents, or that could not be listed.
        failure: The error to end with where nothing could be read, and the index holds none of it either: a first
            plan is not to be an empty one. None where something was read.
        is_plain: Whether all that was met are documents, each of which depends on nothing but what lies at its own
            place: then a source that is a `Follows` may tell later what changed since.
    """

    items: Iterator[Item] = field(default_factory=lambda: iter(()))
    revision: str | None = None
    problems: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    failure: SourceError | None = None
    is_plain: bool = False

    @property
    def complete(self) -> bool:
        """True where an id missing from the listing is gone from the source."""
        return not self.problems


class Source(Protocol):
    """A named place that documents come from."""

    name: str
    type: str

    def identity(self) -> str:
        """What place this is, wherever it is mounted or cloned: a repository's root commit, a site's address.

        It may be work to find, so only an apply asks, and the state remembers the answer. Empty where the source
        cannot tell or cannot be reached.
        """
        ...

    def confirms(self, identity: str) -> bool:
        """Whether this may be the place of a remembered identity; cheap, since every plan asks.

        False only where the source is certain to be another one; True where it cannot tell.
        """
        ...

    def selection(self) -> str:
        """A fingerprint of every setting that shapes the documents (globs, limits, templates, reader version).

        Cached hashes are used only while it is the same.
        """
        ...

    def proof(self) -> str | None:
        """A token that is equal to an earlier one only if nothing in the source can have changed (tier 1).

        None where the source has no such token.

        Raises:
            SourceError: The source cannot be reached or does not exist.
        """
        ...

    def list(self) -> Listing:
        """Lists the source (tier 2).

        Raises:
            SourceError: The source cannot be listed at all. A listing that breaks midway does not
                raise: it ends, with the reason in `problems`.
        """
        ...

    def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
        """Reads documents (tier 3), one result for each id, in the order asked, lazily.

        Args:
            ids: Document ids from a listing or a plan.
            revision: Read them as they were at this revision of the source, where it can (git: a commit).
                None: as the last `list()` saw the source, or as it is now.

        Raises:
            SourceError: The source itself is gone. A single document never raises: it is `Skipped`.
        """
        ...


@runtime_checkable
class ListsChanges(Protocol):
    """A source whose server can say what was changed since a moment. Optional."""

    def changed_since(self, since: datetime) -> Listing:
        """Lists what was changed since a moment, and a little before it. Never complete: it says nothing of deletes.

        Args:
            since: The moment, with an offset. The source brings it to its server's own clock.

        Raises:
            SourceError: The source cannot be listed at all.
        """
        ...


@runtime_checkable
class ListsChangesAfter(Protocol):
    """A source with revisions of the whole, which can compare two of them. Optional."""

    def changed_after(self, revision: str) -> Listing:
        """Lists what differs from an earlier revision. Never complete: it says nothing of deletes.

        Args:
            revision: The earlier one, as a person names it (git: a commit, branch or tag).

        Raises:
            SourceError: There is no such revision, or the source cannot be listed at all.
        """
        ...


class Step(NamedTuple):
    """What became of one document: its token now, or None where it is gone."""

    id: str
    token: str | None


@dataclass(slots=True)
class Changes:
    """What changed in a source since an earlier proof.

    Attributes:
        steps: What became of each document that changed, each once, in any order.
        revision: As that of a listing.
    """

    steps: Iterator[Step]
    revision: str | None = None


class UnfollowableError(Exception):
    """What changed cannot be told: the source has to be listed whole."""


@runtime_checkable
class Follows(Protocol):
    """A source that can tell from an earlier proof what changed since, deletes too, without listing the rest. Optional.

    It is asked only where the listing under that proof was complete and plain (`Listing.is_plain`).
    """

    def follow(self, proof: str) -> Changes:
        """What changed since, so that a listing of now would be complete and plain again.

        Args:
            proof: What `proof()` said, under the same `selection()`.

        Raises:
            UnfollowableError: It cannot be told, as it turns out here or while the steps are iterated.
            SourceError: The source cannot be reached or does not exist.
        """
        ...


@runtime_checkable
class Rereads(Protocol):
    """A source that keeps what it read, and believes its server of what did not change since. Optional."""

    def reread(self) -> None:
        """From now on everything that is listed is read again, whatever the server says of it (`--no-cache`)."""
        ...


def only_since(moment: datetime) -> str:
    """Why a listing of changes is not complete."""
    text = moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"only what was changed since {text} was listed"


@runtime_checkable
class MeetsUnknown(Protocol):
    """A source whose texts may hold what it does not know how to read. Optional."""

    @property
    def unknown(self) -> Collection[str]:
        """What was met so far (types of nodes, macros), each once; its text was kept."""
        ...


@runtime_checkable
class Checks(Protocol):
    """A source that can be looked at more cheaply, or more closely, than by listing it. Optional."""

    def check(self) -> str:
        """Looks whether the source can be read: credentials, and whether what is to be read exists.

        Returns:
            One line for people: what there is, how much of it, as whom it is read.

        Raises:
            SourceError: It cannot.
        """
        ...
