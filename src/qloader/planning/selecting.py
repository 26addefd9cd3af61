"""Which documents a partial plan is about, and what it leaves out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from qloader.planning.plan import PlanSelection, PlanWarning
from qloader.sources.selection import compile_patterns, match_paths

MOVES_NAMED = 5


@dataclass(frozen=True, slots=True)
class SplitMove:
    """A move of which a selection chooses one half only. Neither is touched: a document is never doubled, nor lost."""

    source: str
    old: str
    new: str


@dataclass(slots=True)
class Choice:
    """Tells what is chosen, and counts what is not while differences are found.

    Attributes:
        chooses: Whether a document is, by its source and id.
        left_out: Documents that differ and were not chosen; a move is one.
        living: Those of them that the sources hold.
        split: Moves of which only one half was chosen, in the order of their new ids.
    """

    chooses: Callable[[str, str], bool]
    left_out: int = 0
    living: int = 0
    split: list[SplitMove] = field(default_factory=list)

    @classmethod
    def of(cls, selection: PlanSelection) -> Choice:
        """Compiles a selection.

        Raises:
            ConfigError: A pattern is invalid, or can never match anything.
        """
        only = match_documents("--only", selection.only, chooses=True)
        exclude = match_documents("--exclude", selection.exclude)
        targets = frozenset(selection.targets)
        everything = not selection.only and not targets

        def chooses(source: str, document_id: str) -> bool:
            address = f"{source}/{document_id}"
            chosen = everything or address in targets or only(document_id, address)
            return chosen and not exclude(document_id, address)

        return cls(chooses)

    def leave(self, *, lives: bool) -> None:
        """Counts a difference that was not chosen."""
        self.left_out += 1
        self.living += lives

    def warnings(self) -> list[PlanWarning]:
        """What a reviewer should know of moves that were left as they are, by source."""
        found: dict[str, list[SplitMove]] = {}
        for move in self.split:
            found.setdefault(move.source, []).append(move)
        return [PlanWarning(source, "move left out", _describe_split(moves)) for source, moves in sorted(found.items())]


def match_documents(option: str, patterns: Sequence[str], *, chooses: bool = False) -> Callable[[str, str], bool]:
    """Whether patterns match a document: the last one that matches its id or its address decides, as in .gitignore.

    Args:
        option: What they are called, for an error.
        patterns: In their order.
        chooses: See `compile_patterns`.

    Raises:
        ConfigError: See `compile_patterns`.
    """
    spec = compile_patterns(option, patterns, chooses=chooses)
    compiled = [pattern for pattern in spec.patterns if pattern.include is not None]
    if all(pattern.include for pattern in compiled):
        match = match_paths(spec)
        return lambda document_id, address: match(document_id) or match(address)
    compiled.reverse()

    def matches(document_id: str, address: str) -> bool:
        for pattern in compiled:
            if pattern.match_file(document_id) or pattern.match_file(address):
                return bool(pattern.include)
        return False

    return matches


def _describe_split(moves: Sequence[SplitMove]) -> str:
    named = ", ".join(f"{move.old} -> {move.new}" for move in moves[:MOVES_NAMED])
    more = f" and {len(moves) - MOVES_NAMED:,} more" if len(moves) > MOVES_NAMED else ""
    one = len(moves) == 1
    what = "1 move is left out" if one else f"{len(moves):,} moves are left out"
    return f"{what}, since only one half of {'it' if one else 'each'} was selected: {named}{more}"


def selection_of(only: Iterable[str], exclude: Iterable[str], targets: Iterable[str]) -> PlanSelection | None:
    """What the options ask for, as a plan records it; None where they ask for nothing.

    The order of patterns matters (`!` takes back), that of targets does not.
    """
    selection = PlanSelection(tuple(only), tuple(exclude), tuple(sorted(set(targets))))
    return None if selection == PlanSelection() else selection
