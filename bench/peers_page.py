"""The comparison as Markdown: what each tool costs, whether its index is right, and the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TARGETS_FROM = 10_000
"""Documents that the targets are for."""

MOMENTS = (
    "renames alone",
    "1 % changed",
    "killed while embedding",
    "killed amid its writes",
    "killed after its last write",
    "folder empty",
    "folder back",
)


def text(found: Mapping[str, Any]) -> str:
    """What was measured, as the page says it."""
    facts, about, tools = found["facts"], found["about"], found["tools"]
    parts = [_about(facts, about), _cost(tools), _right(tools, facts)]
    if facts["documents"] >= TARGETS_FROM:
        parts.append(_targets(tools, facts))
    return "\n\n".join(parts) + "\n"


def _about(facts: Mapping[str, int], about: Mapping[str, Any]) -> str:
    return (
        f"Measured on {about['machine'].partition(';')[0]}, by `bench/peers.py --documents {facts['documents']}`: "
        f"{facts['documents']:,} documents, {facts['bytes'] / 1e6:.1f} MB, {facts['chunks']:,} chunks. Beside qloader: "
        f"{', '.join(about['packages'])}. Renames alone: {facts['renamed alone']} files. 1 % changed: "
        f"{facts['edited']} edited, {facts['added']} added, {facts['deleted']} deleted, {facts['renamed']} renamed; "
        f"{facts['new chunks']:,} chunks are new, those of the renamed files counted."
    )


def _cost(tools: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| seconds of its own work (of the whole process) | first load | no change | 1 % changed | "
        "texts embedded: 1 %, renames alone | peak memory: first load, no change |",
        "|---|---|---|---|---|---|",
    ]
    for tool in tools:
        runs = tool["runs"]
        first = runs["first load"]
        if tool["is_floor"]:
            lines.append(f"| {tool['name']} | {_seconds(first)} | | | | {first['memory']:.0f} MB |")
            continue
        none, change = runs.get("no change, plan", runs["no change"]), runs["1 % changed"]
        lines.append(
            f"| {tool['name']} | {_seconds(first)} | {_seconds(none)} | {_seconds(change)} | {change['embedded']:,}, "
            f"{runs['renames alone']['embedded']:,} | {first['memory']:.0f} MB, {none['memory']:.0f} MB |"
        )
    return "\n".join(lines)


def _seconds(run: Mapping[str, float]) -> str:
    return f"{run['own']:.2f} ({run['seconds']:.2f})"


def _right(tools: Sequence[Mapping[str, Any]], facts: Mapping[str, int]) -> str:
    tools = [tool for tool in tools if not tool["is_floor"]]
    lines = [
        "| chunks that differ from a fresh load | " + " | ".join(tool["name"] for tool in tools) + " |",
        "|---" * (len(tools) + 1) + "|",
    ]
    for moment in (moment for moment in MOMENTS if all(moment in tool["wrong"] for tool in tools)):
        cells = [_wrong(moment, tool) for tool in tools]
        lines.append(f"| {_NAMES.get(moment, moment)} | {' | '.join(cells)} |")
    return "\n".join(lines)


_NAMES = {
    "killed while embedding": "killed while embedding, run again",
    "killed amid its writes": "killed amid its writes, run again",
    "killed after its last write": "killed after its last write, run again",
    "folder empty": "folder empty (a disk that is not mounted)",
    "folder back": "the folder back, run again",
}


def _wrong(moment: str, tool: Mapping[str, Any]) -> str:
    wrong = tool["wrong"][moment]
    parts = [f"{wrong[word]:,} {word}" for word in ("stale", "missing", "doubled") if wrong[word]]
    said = f"**{', '.join(parts)}**" if parts else "right"
    if moment == "folder empty" and wrong["said"] and not parts:
        said = "right: it refused to go on"
    if (
        moment == "folder back" and (again := tool["runs"]["folder back"]["embedded"]) > 1
    ):  # one: LangChain checks with it
        said += f"; {again:,} texts embedded again"
    return said


def targets(tools: Sequence[Mapping[str, Any]], facts: Mapping[str, int]) -> list[tuple[str, str, str, str, bool]]:
    """What was wanted: the target, ours, the other, the ratio, and whether it is met."""
    ours = next(tool for tool in tools if tool["name"] == "qloader")["runs"]
    peers = [tool for tool in tools if tool["name"] != "qloader" and not tool["is_floor"]]
    rows = []
    for what, step, mine, least in (
        ("no change, a plan against the fastest peer's own time", "no change", "no change, plan", 20.0),
        ("no change, a whole apply against the same", "no change", "no change", 20.0),
        ("1 % changed, plan and apply against the fastest peer's own time", "1 % changed", "1 % changed", 15.0),
        ("first load against the fastest peer's own time", "first load", "first load", 4.0),
    ):
        best = min(peers, key=lambda tool, step=step: tool["runs"][step]["own"])
        other, own = best["runs"][step]["own"], ours[mine]["seconds"]
        rows.append(
            (f"{what}: >= {least:g}x faster", f"{own:.2f} s", f"{other:.2f} s, {best['name']}",
             f"{other / own:.1f}x", other / own >= least)
        )  # fmt: skip
    none = ours["no change, plan"]
    rows.append(("no change, a plan: <= 0.35 s", f"{none['seconds']:.2f} s", "", "", none["seconds"] <= 0.35))
    rows.append(("no change, a plan: < 150 MB", f"{none['memory']:.0f} MB", "", "", none["memory"] < 150))
    limit, embedded = facts["documents"] // 20, ours["1 % changed"]["embedded"]
    rows.append((f"1 % changed: <= {limit:,} chunks embedded", f"{embedded:,}", f"{facts['new chunks']:,} new chunks",
                 f"{embedded / limit:.2f} of the limit", embedded <= limit))  # fmt: skip
    embedded = ours["renames alone"]["embedded"]
    least_peer = min(tool["runs"]["renames alone"]["embedded"] for tool in peers)
    rows.append(("renames: 0 embedded", f"{embedded:,}", f"{least_peer:,}, the fewest of any peer", "", embedded == 0))
    memory = ours["first load"]["memory"]
    fewest = min(peers, key=lambda tool: tool["runs"]["first load"]["memory"])
    rows.append(("peak memory of the first load: < 400 MB", f"{memory:.0f} MB",
                 f"{fewest['runs']['first load']['memory']:.0f} MB, {fewest['name']}", "", memory < 400))  # fmt: skip
    return rows


def _targets(tools: Sequence[Mapping[str, Any]], facts: Mapping[str, int]) -> str:
    lines = ["| target | ours | beside it | ratio | met |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells)} | {'yes' if met else '**no**'} |" for *cells, met in targets(tools, facts)]
    return "\n".join(lines)
