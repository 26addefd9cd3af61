"""Whether a config can be used: each source and the index is looked at, nothing is changed."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from qloader.applying.preconditions import check_pipeline, check_state
from qloader.config.policies import find_unused_prices
from qloader.counting import counted
from qloader.errors import QloaderError
from qloader.sources.protocol import Checks
from qloader.state.records import count_held
from qloader.workspace.ownership import check_ours
from qloader.workspace.planning import check_embedded_marker
from qloader.workspace.settings import Settings

MOST_AT_ONCE = 8
"""Sources that are looked at side by side: nearly all of the time is spent waiting for their servers."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Attributes:
        what: `config`, `source` and its name, `embedding`, `prices`, `reranker`, `state` or `index`.
        ok: Whether it can be used.
        message: What there is, or why not; it does not say the name again.
        remedy: What to do; empty where all is well.
    """

    what: str
    ok: bool
    message: str
    remedy: str = ""


def validate_workspace(settings: Settings) -> list[Check]:
    """Looks at the config's sources, models, state and index; one failure does not hide the next."""
    looks = [
        partial(
            _try, f"source {name}", partial(_look_at_source, settings, name), f"Source {name}: ", f"sources.{name}: "
        )
        for name in sorted(settings.config.sources)
    ]
    return [
        Check("config", True, str(settings.config.file.name)),
        *_side_by_side(looks),
        *([_try("embedding", lambda: _look_at_embedding(settings), "embedding.dense: ")] if settings.has_dense else []),
        *_look_at_prices(settings),
        *([_try("reranker", lambda: _look_at_reranker(settings), "search.rerank: ")] if settings.has_reranker else []),
        _try("state", lambda: _read_state(settings)),
        _try("index", lambda: _look_at_index(settings)),
    ]


def _side_by_side(looks: Sequence[Callable[[], Check]]) -> list[Check]:
    """Takes several looks at a time; the checks in their order."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Check | BaseException]] = queue.SimpleQueue()
    for number in range(len(looks)):
        waiting.put(number)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                number = waiting.get_nowait()
                try:
                    done.put((number, looks[number]()))
                except BaseException as error:
                    done.put((number, error))

    # Threads that nobody has to wait for: Ctrl-C ends it all at once, whatever a server is doing.
    for _ in range(min(MOST_AT_ONCE, len(looks))):
        threading.Thread(target=work, name="validate", daemon=True).start()
    found: dict[int, Check] = {}
    for _ in looks:
        number, check = done.get()
        if isinstance(check, BaseException):
            raise check
        found[number] = check
    return [found[number] for number in range(len(looks))]


def _try(what: str, look: Callable[[], str], *names: str) -> Check:
    """Looks; `names` is how an error may begin that says again what was looked at."""
    try:
        return Check(what, True, look())
    except QloaderError as error:
        said = str(error)
        name = next((name for name in names if said.startswith(name)), "")
        return Check(what, False, said.removeprefix(name), error.remedy)


def _look_at_source(settings: Settings, name: str) -> str:
    source = settings.open_source(name)
    if isinstance(source, Checks):
        return source.check()
    listing = source.list()
    count = sum(1 for _ in listing.items)
    text = f"{source.type}, {counted(count, 'document')}"
    if listing.revision:
        text += f" at {listing.revision[:12]}"
    if listing.skipped:
        text += f", {len(listing.skipped):,} skipped"
    if listing.problems:
        text += f"; incomplete: {listing.problems[0]}"
    return text


def _look_at_embedding(settings: Settings) -> str:
    """Whether the provider makes vectors: a full stop is embedded, past the cache, which knows nothing of keys."""
    from qloader.embedding.dense.registry import open_embedder

    section = settings.config.embedding.dense
    assert section is not None
    with open_embedder(section, base=settings.config.base, cache_dir=settings.models) as embedder:
        size = embedder.embed(["."]).shape[1]
    return f"{section.label}, vectors of {size:,} numbers"


def _look_at_prices(settings: Settings) -> list[Check]:
    """Says which prices are of no embedder of the config; nothing where all are."""
    unused = find_unused_prices(settings.config)
    if not unused:
        return []
    said = ", ".join(f"{name} (did you mean {near}?)" if near else name for name, near in unused.items())
    return [Check("prices", True, f"not used, since this config does not embed with it: {said}")]


def _look_at_reranker(settings: Settings) -> str:
    """Whether the reranker gives scores: a full stop is asked about another one."""
    reranker = settings.open_reranker()
    assert reranker is not None
    with contextlib.closing(reranker):
        reranker.scores(".", ["."])
    return f"{reranker.label}, the best {reranker.top:,} hits of a search"


def _read_state(settings: Settings) -> str:
    state = settings.read_state()
    if state is None:
        return "none yet; the first apply makes it"
    with state:
        header = state.header()
        documents = sum(source.documents for source in state.sources())
    return (
        f"serial {header.serial}, {counted(documents, 'document')}" if header else "none yet; the first apply makes it"
    )


def _look_at_index(settings: Settings) -> str:
    state = settings.read_state()
    header, documents = None, 0
    if state is not None:
        with state:
            header, documents = state.header(), count_held(state.sources())
    check_state(header, settings.here)
    if settings.embedded_path is not None:
        check_embedded_marker(settings, header, documents)
        return f"embedded, collection {settings.collection}" + ("" if header else ", not created yet")
    with contextlib.closing(settings.open_index()) as index:
        info = index.describe()
    check_ours(settings, info, header, documents=documents)
    check_pipeline(info, settings.here)
    return f"server, collection {settings.collection}: " + (
        counted(info.points, "point") if info else "not created yet"
    )
