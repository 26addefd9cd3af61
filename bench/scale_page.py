"""The figures of scale as Markdown: what each step costs at each size, the targets, and ten million chunks on paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- make bench-scale: begin -->", "<!-- make bench-scale: end -->"

KINDS = ("files", "git")
PAPER = 10_000_000
"""Chunks that nobody loaded here."""

_GROWN_FROM = 10_000
_GROWN = ("first plan", "apply", "1 % changed, plan", "1 % changed, apply", "no change")
_FLAT = 600


def text(found: Mapping[str, Any]) -> str:
    """What was measured, as the page says it."""
    parts = [f"Measured on {found['machine']}, by `make bench-scale`."]
    for kind in KINDS:
        if of_kind := runs(found, kind):
            parts += [f"Source `{kind}`: seconds, peak memory, and how much of it is no file's:", _steps(of_kind)]
    parts += [_targets(found), *_disk(found)]
    return "\n\n".join(parts) + "\n"


def runs(found: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """All sizes of one kind that were measured, in their order."""
    of_kind = [run for run in found.values() if isinstance(run, dict) and run["kind"] == kind]
    return sorted(of_kind, key=lambda run: run["facts"]["documents"])


def _steps(of_kind: Sequence[Mapping[str, Any]]) -> str:
    heads = [f"{run['facts']['documents']:,} documents" for run in of_kind]
    lines = ["| step | " + " | ".join([*heads, "growth"]) + " |", "|---" * (len(heads) + 2) + "|"]
    for name in of_kind[-1]["steps"]:
        cells = [_cell(run["steps"].get(name)) for run in of_kind]
        lines.append(f"| {name} | {' | '.join(cells)} | {_growth_cell(of_kind, name)} |")
        if of_kind[-1]["steps"][name]["floor"]:
            cells = [_cell(run["steps"].get(name, {}).get("floor")) for run in of_kind]
            lines.append(f"| {_FLOORS[name, of_kind[-1]['kind']]} | {' | '.join(cells)} | |")
    return "\n".join(lines)


_FLOORS = {
    ("no change", "files"): "*floor: imports, `os.scandir` and stat*",
    ("no change", "git"): "*floor: imports, `git ls-tree -r`*",
    ("read the plan", "files"): "*floor: each line as JSON*",
    ("read the plan", "git"): "*floor: each line as JSON*",
}


def _cell(step: Mapping[str, float] | None) -> str:
    if not step:
        return ""
    seconds = f"{step['seconds']:,.2f}" if step["seconds"] < 100 else f"{step['seconds']:,.0f}"
    return f"{seconds} s, {step['memory']:,.0f} MB ({step['own']:,.0f})"


def growth(of_kind: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """How much more each document of the largest size costs than one of 10,000; None where one was not measured."""
    small = next((run for run in of_kind if run["facts"]["documents"] == _GROWN_FROM), None)
    large = of_kind[-1]
    if small is None or large is small:
        return None
    more = large["facts"]["documents"] / small["facts"]["documents"]
    return large["steps"][name]["seconds"] / small["steps"][name]["seconds"] / more


def _growth_cell(of_kind: Sequence[Mapping[str, Any]], name: str) -> str:
    grown = growth(of_kind, name)
    return "" if grown is None else f"{grown:.2f}x"


def _targets(found: Mapping[str, Any]) -> str:
    lines = ["| target | found | met |", "|---|---|---|"]
    lines += [f"| {target} | {said} | {'yes' if met else '**no**'} |" for target, said, met in targets(found)]
    return "\n".join(lines)


def targets(found: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """What was wanted, what was found, whether it is met."""
    walks = {"files": "walk with stat", "git": "walk of the tree"}
    for kind in KINDS:
        of_kind = runs(found, kind)
        if not of_kind:
            continue
        large = of_kind[-1]
        step, count = large["steps"]["no change"], large["facts"]["documents"]
        said = f"{step['ratio']:.2f}x, {step['memory']:.0f} MB"
        met = step["ratio"] <= 2 and step["memory"] < _FLAT
        yield f"no change, `{kind}`, {count:,}: <= 2x the {walks[kind]}, < {_FLAT} MB", said, met
        grown = {name: grown for name in _GROWN if (grown := growth(of_kind, name)) is not None}
        if grown:
            worst = max(grown, key=lambda name: grown[name])
            said = f"{grown[worst]:.2f}x at most ({worst})"
            yield f"growth from 10,000 to {count:,}, `{kind}`: <= 1.15x linear", said, grown[worst] <= 1.15


def _disk(found: Mapping[str, Any]) -> Iterator[str]:
    lines = ["| bytes a document | index | state | cache | plan of the first load |", "|---|---|---|---|---|"]
    measured = [of_kind for kind in KINDS if (of_kind := runs(found, kind))]
    for of_kind in measured:
        facts = of_kind[-1]["facts"]
        sizes = [f"{facts['disk'][name] / facts['documents']:,.0f}" for name in ("index", "state", "cache", "plan")]
        lines.append(f"| `{of_kind[-1]['kind']}`, {facts['documents']:,} | {' | '.join(sizes)} |")
    yield "\n".join(lines)
    for of_kind in measured:
        yield _on_paper(of_kind)


def _on_paper(of_kind: Sequence[Mapping[str, Any]]) -> str:
    """What ten million chunks would take: at the rate of the largest size, and in its memory, which is bounded."""
    large = of_kind[-1]
    facts, apply = large["facts"], large["steps"]["apply"]
    rate = facts["chunks"] / apply["seconds"]
    seconds = PAPER / rate
    took = f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"
    disk = sum(facts["disk"].values()) * PAPER / facts["chunks"] / 1e9
    return (
        f"On paper, {PAPER:,} chunks of this size by the figures of `{large['kind']}` with {facts['documents']:,} "
        f"documents: {took} at {rate:,.0f} points a second, {disk:,.0f} GB on the disk; in memory what these take, "
        "since an index is sealed from 256 MB on."
    )
