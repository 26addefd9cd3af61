"""What an import found, for people: what becomes of each document, what is taken over, what is left to embed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from rich.text import Text

from qloader.counting import counted
from qloader.planning.estimates import format_cost
from qloader.render.escape import escape_controls
from qloader.render.markdown import code_span
from qloader.render.review import describe_estimate
from qloader.render.wording import count_chunks, count_documents, plan_line, printable_id

if TYPE_CHECKING:
    from rich.console import Console

    from qloader.adopting.matching import AdoptedDocument, DroppedDocument, Fate, FateCount
    from qloader.workspace.importing import Adoption, Dense

_MEANINGS: dict[Fate, str] = {
    "kept": "every text is in the collection",
    "rewritten": "the collection has these documents, but some of their texts are worded or cut otherwise",
    "new": "not in the collection",
    "applied": "in the index already",
}
_COLOURS: dict[Fate, str] = {"kept": "green", "rewritten": "yellow", "new": "cyan", "applied": "dim"}


def render_adoption(found: Adoption, console: Console, fold: int) -> None:
    """Prints what an import found.

    Args:
        found: What it found.
        console: Where to.
        fold: Documents of one fate that are printed before the rest is folded into a count.
    """
    for line in _head(found, escape_controls):
        console.print(Text(line), soft_wrap=True)
    for fate, count in found.matching.count_fates().items():
        if not count.documents:
            continue
        console.print()
        console.print(Text(_describe_fate(fate, count), f"bold {_COLOURS[fate]}"), soft_wrap=True)
        if fate != "applied":
            lines = (_describe(one, printable_id) for one in found.matching.documents(fate, fold))
            _print_some(lines, count.documents, fold, console)
    dropped, points = found.matching.count_dropped()
    if dropped:
        console.print()
        console.print(Text(_describe_dropped(dropped, points), "bold red"), soft_wrap=True)
        lines = (_describe_one_dropped(one, printable_id) for one in found.matching.dropped(fold))
        _print_some(lines, dropped, fold, console)
    console.print()
    for line in _foot(found, escape_controls):
        console.print(Text(line), soft_wrap=True)


def adoption_as_markdown(found: Adoption, fold: int) -> Iterator[str]:
    """What an import found as Markdown, line by line.

    Args:
        found: What it found.
        fold: Documents of one fate that are listed before the rest is folded into a count.
    """
    yield f"### Import of {code_span(found.collection.name)}"
    for line in _head(found, code_span):
        yield from ("", line)
    for fate, count in found.matching.count_fates().items():
        if count.documents:
            yield from ("", f"**{_describe_fate(fate, count)}**", "")
            if fate != "applied":
                lines = (_describe(one, code_span) for one in found.matching.documents(fate, fold))
                yield from _list_some(lines, count.documents, fold)
    dropped, points = found.matching.count_dropped()
    if dropped:
        yield from ("", f"**{_describe_dropped(dropped, points)}**", "")
        lines = (_describe_one_dropped(one, code_span) for one in found.matching.dropped(fold))
        yield from _list_some(lines, dropped, fold)
    for line in _foot(found, code_span):
        yield from ("", line)


def _print_some(lines: Iterator[str], count: int, fold: int, console: Console) -> None:
    for line in islice(lines, fold):
        console.print(Text(f"  {line}"), soft_wrap=True)
    if count > fold:
        console.print(Text(f"  … and {count - fold:,} more; --all shows them"), soft_wrap=True)


def _list_some(lines: Iterator[str], count: int, fold: int) -> Iterator[str]:
    yield from (f"- {line}" for line in islice(lines, fold))
    if count > fold:
        yield f"- … and {count - fold:,} more"


def _head(found: Adoption, quote: Callable[[str], str]) -> Iterator[str]:
    """What was read, and whether the model is the same."""
    documents = count_documents(found.matching.count_foreign_documents())
    vector = f" {quote(found.vector)}" if found.vector else ""
    yield (
        f"Collection {quote(found.collection.name)} at {quote(found.collection.location)}: "
        f"{counted(found.points, 'point')}, {documents}, read as {quote(found.shape.tool)}; the vector{vector} has "
        f"{found.size:,} numbers."
    )
    if found.dense is not None:
        yield _describe_check(found.dense, quote)
    for note in found.notes:
        yield f"Note: {note}"


def _describe_check(dense: Dense, quote: Callable[[str], str]) -> str:
    check = dense.check
    model, anew = f"Model {quote(check.model)}", f"{counted(check.embedded, 'text')} embedded anew"
    if check.likeness is not None:
        return f"{model}: the same, by {anew} (the cosine is {check.likeness:.4f} or more)."
    if check.is_trusted:
        return f"{model}: trusted{f'; {anew} to learn how long its vectors are' if check.embedded else ''}."
    return f"{model}: not compared, since there is nothing to take over."


def _describe_fate(fate: Fate, count: FateCount) -> str:
    chunks = f", {_count_embeds(count.embed, count.chunks)}" if count.chunks else ""
    return f"{fate}: {count_documents(count.documents)}{chunks}; {_MEANINGS[fate]}"


def _count_embeds(embed: int, chunks: int) -> str:
    return f"{embed:,} of {count_chunks(chunks)} to embed" if embed else count_chunks(chunks)


def _describe(one: AdoptedDocument, quote: Callable[[str], str]) -> str:
    foreign = f", there {quote(one.foreign)}" if one.foreign else ""
    return f"{quote(one.address)}  {_count_embeds(one.embed, one.chunks)}{foreign}"


def _describe_dropped(documents: int, points: int) -> str:
    return f"dropped: {count_documents(documents)}, {counted(points, 'point')}; no source has them"


def _describe_one_dropped(one: DroppedDocument, quote: Callable[[str], str]) -> str:
    if not one.name:
        return f"{counted(one.points, 'point')} that name no document"
    return f"{quote(one.name)}  {counted(one.points, 'point')}"


def _foot(found: Adoption, quote: Callable[[str], str]) -> Iterator[str]:
    """What is taken over, what is left to do, and what becomes of the collection."""
    header = found.result.plan.header
    dense = found.dense
    if dense is None:
        yield (
            "Nothing was taken over: the config has no dense vectors. Name the model that made those of the collection "
            f"in embedding.dense ({found.size:,} numbers), and import again."
        )
    else:
        cost = "" if dense.cost is None else f", about {format_cost(dense.cost, dense.currency)}"
        spared = f", about {counted(dense.tokens, 'token')} that are not paid for again{cost}" if dense.taken else ""
        cached = f"In the embedding cache before: {counted(dense.cached, 'text')}. " if dense.cached else ""
        yield (
            f"Taken over: the vectors of {counted(dense.taken, 'text')}{spared}. {cached}"
            f"Left to embed: {counted(dense.to_embed, 'text')}."
        )
    if found.result.estimate is not None:
        yield describe_estimate(found.result.estimate, quote)
    yield plan_line(header.summary, header.index.action)
    yield (
        f"The collection {quote(found.collection.name)} was only read. When the new index is what you want, this "
        f"deletes it: {quote(found.collection.farewell)}"
    )
