"""How things stand as OpenMetrics text, for Prometheus and whatever reads the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qloader.watching.standing import Standing

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

ENDS = ("applied", "unchanged", "refused", "failed")


def render_metrics(standing: Standing, notices: Mapping[str, int]) -> str:
    """All metrics of the service.

    Args:
        standing: How it stands.
        notices: How many notices came so far, by who told them.
    """
    # What the last run tells of itself ends as a text of its own would.
    run = standing.run.removesuffix("\n").removesuffix("# EOF").rstrip("\n")
    return "\n".join([*_lines(standing, notices), *([run] if run else []), "# EOF", ""])


def _lines(standing: Standing, notices: Mapping[str, int]) -> Iterator[str]:
    yield from _family("qloader_watch_looks", "counter", "Looks at sources, by how they ended.")
    for end in ENDS:
        yield f'qloader_watch_looks_total{{end="{end}"}} {standing.looks.get(end, 0)}'
    yield from _family("qloader_watch_notices", "counter", "Notices of changes, by who told them.")
    for by, count in sorted(notices.items()):
        yield f'qloader_watch_notices_total{{by="{_label(by)}"}} {count}'
    yield from _family("qloader_watch_busy", "gauge", "Whether a look goes on.")
    yield f"qloader_watch_busy {int(standing.busy is not None)}"
    yield from _family(
        "qloader_watch_start_timestamp_seconds", "gauge", "When the service began, since 1970.", "seconds"
    )
    yield f"qloader_watch_start_timestamp_seconds {standing.started.wall:.3f}"
    yield from _family("qloader_watch_source_trouble", "gauge", "Whether the last look at a source did not go well.")
    for name, source in standing.sources.items():
        yield f'qloader_watch_source_trouble{{source="{_label(name)}"}} {int(bool(source.trouble))}'
    yield from _family(
        "qloader_watch_source_success_timestamp_seconds",
        "gauge",
        "When the last look at a source began that went well, since 1970.",
        "seconds",
    )
    for name, source in standing.sources.items():
        if source.success is not None:
            yield f'qloader_watch_source_success_timestamp_seconds{{source="{_label(name)}"}} {source.success.wall:.3f}'
    yield from _family("qloader_documents", "gauge", "Documents in the index, by source.")
    for name, source in standing.sources.items():
        yield f'qloader_documents{{source="{_label(name)}"}} {source.documents}'
    yield from _family("qloader_points", "gauge", "Points in the index.")
    yield f"qloader_points {standing.points}"


def _family(name: str, kind: str, help_text: str, unit: str = "") -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {help_text}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
