"""The network sources: what they ask of a server, counted, and how near they come to bare requests."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from measure import Row, Run, in_turn, run_process

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

FLOORS = str(Path(__file__).parent / "floors.py")
PYTHON = sys.executable
QLOADER = str(Path(sys.executable).parent / "qloader")
LATENCY = 0.02


def _workspace(base: Path, keys: dict[str, Any]) -> None:
    base.mkdir(parents=True, exist_ok=True)
    config = {"name": "bench", "guards": {"max_delete_percent": None}, "sources": {"site": keys}}
    (base / "qloader.yaml").write_text(json.dumps(config))


def _qloader(base: Path, *arguments: str) -> Run:
    return run_process([QLOADER, *arguments], cwd=str(base))


def _counted(what: str, requests: int, bodies: int, limit: int, most_bodies: int, memory: float) -> Row:
    return Row(
        f"{what}: requests, bodies / the most there may be",
        f"{requests:,}, {bodies:,}",
        f"{limit:,}, {most_bodies:,}",
        requests / limit,
        f"<= {limit:,} requests, {most_bodies:,} bodies",
        requests <= limit and bodies <= most_bodies,
        f"{memory:.0f} MB",
    )


def atlassian_requests(base: Path, documents: int) -> Iterator[Row]:
    """Confluence and Jira: no change, and 1 % changed."""
    from support.atlassian_sites import run_confluence, run_jira

    share = documents // 100
    with ExitStack() as stack:
        wiki = stack.enter_context(run_confluence("cloud"))
        wiki.model.add_space("ENG")
        pages = wiki.model.add_many("ENG", documents)
        tracker = stack.enter_context(run_jira("cloud"))
        tracker.model.add_many("ENG", documents)
        for name, running, edit, batch, limit in (
            ("Confluence Cloud, {:,} pages", wiki, lambda n: wiki.model.edit(pages[n], f"<p>new {n}</p>"), 250, 41),
            ("Jira Cloud, {:,} issues", tracker, _edit_issue(tracker), 100, 11),
        ):
            folder = base / name[:4]
            _workspace(folder, running.keys)
            _qloader(folder, "apply", "--auto-approve")
            running.clear()
            run = _qloader(folder, "plan")
            listing = len(running.requests)
            what = name.format(documents)
            yield _counted(f"no-change plan, {what}", listing, running.model.traffic.bodies, limit, 0, run.memory)
            for n in range(share):
                edit(n)
            running.clear()
            run = _qloader(folder, "plan")
            most = listing + math.ceil(share / batch)
            yield _counted(
                f"plan after 1 % changed, {what}",
                len(running.requests), running.model.traffic.bodies, most, share, run.memory,
            )  # fmt: skip


def _edit_issue(tracker: Any) -> Any:
    return lambda n: tracker.model.edit(f"ENG-{n + 1}", summary=f"Another summary {n}")


def web_requests(base: Path, documents: int) -> Iterator[Row]:
    """A site that says 304."""
    from servers.docs_site import small_site

    site = small_site(documents)
    with site.serve() as address:
        _workspace(base, {"type": "web", "url": address + "/", "parallel": 8})
        _qloader(base, "apply", "--auto-approve")
        site.forget()
        run = _qloader(base, "plan")
        asked = site.asked()
        bodies = sum(1 for one in asked if one.status == 200)
        count = len(site.pages)
        yield _counted(f"no-change plan, web, {count:,} pages", len(asked), bodies, count, 0, run.memory)


def first_load(base: Path, documents: int) -> Iterator[Row]:
    """The plan of a first load, against the same requests by bare httpx, as many at a time."""
    from support.atlassian_sites import run_jira

    with run_jira("data_center") as tracker:
        tracker.model.add_many("ENG", documents)
        tracker.site.latency = LATENCY
        _workspace(base, tracker.keys)

        def plan() -> Run:
            for file in (base / ".qloader").glob("*"):
                if file.is_file():
                    file.unlink()
            return _qloader(base, "plan", "-o", "plan.json")

        plan()
        tracker.clear()
        plan()
        requests = base / "requests.json"
        site = tracker.keys["url"].removesuffix("/jira")
        account = tracker.model.account
        requests.write_text(json.dumps([site, account.email, account.token, _with_payloads(tracker)]))
        ours, floor, ratio = in_turn(plan, lambda: run_process([PYTHON, FLOORS, "requests", str(requests), "4"]), 3)
        count = json.loads(requests.read_text())[3]
        yield Row(
            f"first plan, Jira Data Center, {documents:,} issues, {LATENCY * 1000:.0f} ms latency / "
            f"the same {len(count):,} requests by bare httpx, 4 at a time",
            f"{ours.seconds:.2f} s", f"{floor.seconds:.2f} s", ratio, "<= 1.43x (70 % of its rate)", ratio <= 1 / 0.7,
            f"{ours.memory:.0f} MB",
        )  # fmt: skip


def _with_payloads(running: Any) -> list[tuple[str, str]]:
    traffic = running.model.traffic
    return [(request, payload.decode()) for request, payload in zip(traffic.requests, traffic.payloads, strict=True)]


def memory(base: Path, documents: int) -> Iterator[Row]:
    """Peak memory of a first plan of many issues, beside that of a tenth as many."""
    from support.atlassian_sites import run_jira

    peaks = []
    for count in (documents // 10, documents):
        with run_jira("cloud") as tracker, tempfile.TemporaryDirectory(dir=base.parent) as folder:
            tracker.model.add_many("ENG", count)
            _workspace(Path(folder), tracker.keys)
            peaks.append(_qloader(Path(folder), "plan", "-o", "plan.json").memory)
    small, large = peaks
    yield Row(
        f"peak memory of a first plan, Jira Cloud, {documents:,} issues / {documents // 10:,} issues",
        f"{large:.0f} MB", f"{small:.0f} MB", large / small, "< 300 MB", large < 300, f"{large:.0f} MB",
    )  # fmt: skip
