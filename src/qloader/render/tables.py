"""What `status`, `history`, `refresh` and `validate` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from qloader.counting import counted
from qloader.render.escape import escape_controls
from qloader.render.times import iso
from qloader.render.wording import FOLD, count_chunks, count_documents, wrap_words

if TYPE_CHECKING:
    from rich.console import Console

    from qloader.refreshing.drift import Drift
    from qloader.state.records import FailureRecord, RunDetails, RunFailure, RunRecord
    from qloader.workspace.evaluating import Evaluation
    from qloader.workspace.validating import Check
    from qloader.workspace.workspace import Status

_DONE: Mapping[str, str] = {
    "create": "created",
    "update": "updated",
    "move": "moved",
    "delete": "deleted",
    "repair": "repaired",
    "already": "done before",
    "rebuilt": "rebuilt",
}
"""What a run's summary counts, in words. Not what failed: the run's error says that, and names the first."""

_FAILED = "failed"

_ROOM_TO_WRAP = 24
"""The last column is wrapped in itself where it is at least this wide, else over the whole line."""


def render_status(status: Status, console: Console) -> None:
    """Prints what is applied, by source. There must be a header: something was applied."""
    header = status.header
    assert header is not None
    _print(Text.assemble((escape_controls(status.name), "bold"), f"  serial {header.serial}"), console)
    whose = f" for the tenant {header.tenant}" if header.tenant else ""
    _print(Text(escape_controls(f"collection {header.collection} at {header.location}{whose}")), console)
    _print(Text(f"lineage {header.lineage}", "dim"), console)
    if header.replacement:
        made = escape_controls(header.replacement)
        _print(Text(f"{made} is being made in its place; apply the same plan to go on", "yellow"), console)
    if header.replaced:
        kept = escape_controls(header.replaced)
        _print(Text(f"{kept} was replaced and is kept: qloader rollback, or qloader prune", "dim"), console)
    if status.sources:
        rows = [
            (s.name, s.type, f"{s.documents:,}", f"{s.chunks:,}", iso(s.last_success) or "never")
            for s in status.sources
        ]
        console.print()
        print_table(("source", "type", "documents", "chunks", "last success"), rows, console, right={2, 3})
    if status.failures:
        console.print()
        for failure in status.failures[:FOLD]:
            _print_failure(failure, console)
        runs = ", ".join(f"`qloader history --run {run}`" for run in sorted({f.run for f in status.failures}))
        left = count_documents(len(status.failures))
        _print(Text(f"{left} left as before by the last run; plan and apply again. See {runs}.", "yellow"), console)
    if status.lease:
        console.print()
        _print(Text(escape_controls(f"An apply is running: {status.lease}."), "yellow"), console)
        return
    for count, what in (
        (status.interrupted, "An interrupted apply left {} unfinished"),
        (status.drifted, "{} drifted"),
    ):
        if count:
            console.print()
            text = f"{what.format(count_documents(count))}; plan and apply to mend that."
            _print(Text(text, "yellow"), console)


def render_history(runs: Sequence[RunRecord], console: Console, *, files: Mapping[str, str] | None = None) -> None:
    """Prints runs in the order given.

    Args:
        runs: The runs.
        console: Where to.
        files: The saved plans by digest, whose file is named in place of twelve digits.
    """
    saved = files or {}
    rows = [
        (str(r.id), iso(r.started_at) or "", r.status, saved.get(r.plan) or r.plan[:12], _describe_run(r)) for r in runs
    ]
    styles = ["" if run.status == "complete" else "yellow" for run in runs]
    print_table(("run", "started", "status", "plan", "what"), rows, console, right={0}, styles=styles)


def render_run(details: RunDetails, console: Console, *, file: str | None = None) -> None:
    """Prints one run: its plan, with the file that it was saved in, what it did, and what it left as it was and why."""
    run = details.run
    _print(Text(f"run {run.id}  {run.status}", "bold" if run.status == "complete" else "bold yellow"), console)
    _print(Text(escape_controls(f"plan {run.plan}{f' in {file}' if file else ''}")), console)
    _print(Text(f"started {iso(run.started_at)}, finished {iso(run.finished_at) or 'never'}"), console)
    _print(Text(f"serial {run.base_serial} -> {run.last_serial}, {count_documents(run.document_count)}"), console)
    _print(Text(escape_controls(_describe_run(run))), console)
    for failure in details.failures:
        _print_failure(failure, console)


def _print_failure(failure: FailureRecord | RunFailure, console: Console) -> None:
    address = escape_controls(f"{failure.source}/{failure.document_id}")
    _print(Text.assemble(("! ", "yellow"), address, f"  {escape_controls(failure.detail or failure.reason)}"), console)


def _describe_run(run: RunRecord) -> str:
    done = [f"{run.summary[what]:,} {word}" for what, word in _DONE.items() if run.summary.get(what)]
    if embedded := run.summary.get("embedded"):
        done.append(f"{count_chunks(embedded)} embedded")
    told = "; ".join(part for part in (", ".join(done), run.error or "") if part)
    return told or ("not ended yet" if run.status == "running" else "no changes")


def print_table(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    console: Console,
    *,
    right: set[int],
    styles: Sequence[str] = (),
) -> None:
    """Prints aligned columns. Not rich's table: that cuts cells short where a terminal is narrow.

    Args:
        names: The headings.
        rows: A text for each heading.
        console: Where to.
        right: Numbers of the columns that are aligned to the right.
        styles: A style for each row.
    """
    lines = [list(names), *([escape_controls(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    indent = sum(widths[:-1]) + 2 * len(widths[:-1])
    for line, style in zip_longest(lines, ("dim", *styles), fillvalue=""):
        cells = []
        for number, (cell, width) in enumerate(zip(line, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if number in right else cell + space)
        _print(Text("\n".join(_wrap_last("  ".join(cells).rstrip(), indent, console.width)), style), console)


def _wrap_last(line: str, indent: int, width: int) -> list[str]:
    """A row, the text of its last column wrapped between words."""
    if cell_len(line) <= width or width - indent < _ROOM_TO_WRAP:
        return [line]
    head, last = line[:indent], line[indent:]
    first, *others = wrap_words(last, width - indent, "")
    return [head + first, *(" " * indent + other for other in others)]


def _print(text: Text, console: Console) -> None:
    console.print(text, soft_wrap=True)


def render_drift(drift: Drift, console: Console) -> None:
    """Prints what drifted, by document."""
    found: dict[str, Counter[str]] = {}
    for point in drift.points:
        found.setdefault(f"{point.source}/{point.document_id}", Counter())[point.kind] += 1
    for address, kinds in sorted(found.items())[:FOLD]:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        console.print(
            Text.assemble(("! ", "magenta"), escape_controls(address), (f"  {counts}", "dim")), soft_wrap=True
        )
    if len(found) > FOLD:
        console.print(Text(f"… and {counted(len(found) - FOLD, 'more document')}"), soft_wrap=True)
    if drift.uncompared:
        what = counted(drift.uncompared, "dense vector")
        _print(
            Text(f"{what} not compared: the embedding cache does not have them, and asking costs.", "yellow"), console
        )
    for sentence in drift.settings:
        _print(Text(sentence, "yellow"), console)
    if not drift.points:
        console.print(Text(f"No drift. {drift.checked:,} points are as the state says."), soft_wrap=True)
        return
    totals = Counter(point.kind for point in drift.points)
    console.print(
        Text(
            f"Drift: {totals['missing']} missing, {totals['altered']} altered, {totals['orphaned']} orphaned of "
            f"{drift.checked:,} points. Run `qloader plan` to see the repairs."
        ),
        soft_wrap=True,
    )


def render_evaluation(found: Evaluation, console: Console) -> None:
    """Prints how good each way of searching is, and of which questions it found nothing."""
    rows = [
        (mode, f"{score.recall:.3f}", f"{score.mrr:.3f}", f"{score.ndcg:.3f}", f"{len(found.missed[mode]):,}")
        for mode, score in found.scores.items()
    ]
    names = ("mode", f"recall@{found.limit}", "MRR", "nDCG", "nothing found")
    _print(Text(counted(found.questions, "question"), "bold"), console)
    print_table(names, rows, console, right={1, 2, 3, 4})
    for mode, missed in found.missed.items():
        for query in missed[:FOLD]:
            _print(Text.assemble(("! ", "yellow"), escape_controls(f"{mode} finds nothing of: {query}")), console)
        if len(missed) > FOLD:
            _print(Text(f"… and {counted(len(missed) - FOLD, 'more question')}"), console)
    if found.unknown:
        some = ", ".join(found.unknown[:FOLD])
        text = f"The index does not hold {counted(len(found.unknown), 'document')} that should be found: {some}"
        _print(Text(escape_controls(text), "yellow"), console)


def render_cache(path: str, used: int, most: int, rows: Sequence[Sequence[str]], console: Console) -> None:
    """Prints what the embedding cache holds.

    Args:
        path: Its file.
        used: The bytes that it takes.
        most: The bytes that it may take.
        rows: Each model's name, dimensions, vectors, and the days that they were used, as text.
        console: Where to.
    """
    from qloader.documents.reading import human_size

    _print(Text(escape_controls(path), "bold"), console)
    _print(Text(f"{human_size(used)} of at most {human_size(most)}"), console)
    if rows:
        console.print()
        names = ("model", "dimensions", "vectors", "longest unused since", "last used")
        print_table(names, rows, console, right={1, 2})


def render_checks(checks: Sequence[Check], console: Console) -> None:
    """Prints what was looked at, one below the other, and what to do about what cannot be used."""
    width = max(cell_len(escape_controls(check.what)) for check in checks)
    indent = len(_FAILED) + width + 4
    for check in checks:
        what = escape_controls(check.what)
        line = f"{'ok' if check.ok else _FAILED:{len(_FAILED)}}  {what}{' ' * (width - cell_len(what))}  "
        text = Text("\n".join(_wrap_last(line + escape_controls(check.message), indent, console.width)))
        text.stylize("green" if check.ok else "bold red", 0, len(_FAILED))
        _print(text, console)
        if check.remedy:
            lines = _wrap_last(" " * indent + escape_controls(check.remedy), indent, console.width)
            _print(Text("\n".join(lines), "yellow"), console)
    if failed := sum(not check.ok for check in checks):
        console.print()
        _print(Text(f"{failed:,} of {counted(len(checks), 'check')} failed.", "bold red"), console)
