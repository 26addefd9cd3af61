"""Two machines that apply in the same instant: one does, the other is told, and nothing is lost."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable

from qloader.errors import QloaderError
from qloader.workspace.planning import PlanRequest
from support.runners import Team, some_pages
from support.workspaces import dump, plan_and_apply

RACES = int(os.environ.get("QLOADER_RACES", "5"))


def at_once(*calls: Callable[[], object]) -> list[int]:
    """Calls them all in the same instant; the exit code that each would have ended with."""
    gate = threading.Barrier(len(calls))
    codes = [-1] * len(calls)

    def run(number: int) -> None:
        gate.wait()
        try:
            calls[number]()
        except QloaderError as error:
            codes[number] = error.exit_code
        else:
            codes[number] = 0

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


def test_two_appliers_race_and_exactly_one_of_two_plans_is_applied_each_time(team: Team) -> None:
    team.write({**some_pages(2), "notes/note.md": "# Note\n\nBefore.\n"})
    runners = [team.runner("first"), team.runner("second")]
    plan_and_apply(runners[0])
    codes: Counter[int] = Counter()
    for number in range(RACES):
        team.write({"docs/page-00.md": f"# Page 0\n\nSays {number}.\n", "notes/note.md": f"# Note\n\nSays {number}.\n"})
        plans = [
            runner.plan(None, PlanRequest(sources=(source,)))
            for runner, source in zip(runners, ("docs", "notes"), strict=True)
        ]
        ended = at_once(*(lambda r=r, p=p: r.apply(p) for r, p in zip(runners, plans, strict=True)))
        assert sorted(ended) in ([0, 4], [0, 5]), ended
        codes.update(ended)
        loser = ended.index(max(ended))
        texts = sorted(point["payload"]["text"] for point in dump(runners[loser]).values())
        assert sum(f"Says {number}." in text for text in texts) == 1
        plan_and_apply(runners[loser])  # finds all that the winner did, and does what it could not
        header = runners[loser].status().header
        assert header == runners[1 - loser].status().header
    assert codes[0] == RACES
    team.assert_all_is_well(runners[0])
