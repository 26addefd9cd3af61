"""Kills at random instants: a real process, a real SIGKILL, two sources, changes of all kinds, and every way on.

`make test` runs a short campaign, `make faults N=2000` a longer one. The seed is printed; QLOADER_FAULT_SEED
repeats a campaign (its changes and delays; the machine decides what a delay hits).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from qloader import Workspace
from qloader.errors import ForeignIndexError
from support.git_builder import Builder
from support.workspaces import assert_index_is_a_fresh_load

KILLS = int(os.environ.get("QLOADER_KILLS", "6"))
SEED = int(os.environ.get("QLOADER_FAULT_SEED", str(time.time_ns() % 10**9)))

CONFIG = """\
name: test
guards: {max_delete_percent: null}
index: {collection: test, path: .qloader/index}
sources:
  docs: {type: files, path: docs}
  repo: {type: git, url: repo}
chunking: {max_chars: 200}
ingestion: {batch: {size: 2}}
"""
WORDS = ["plan", "apply", "index", "state", "source", "chunk", "point", "batch", "guard", "lease", "retry", "drift"]


class Campaign:
    """A workspace with two sources that change at random."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.docs: dict[str, str] = {}
        self.repo: dict[str, str] = {}
        self.past: list[tuple[dict[str, str], dict[str, str]]] = []
        folder.mkdir()
        self.builder = Builder(folder / "repo")
        (folder / "qloader.yaml").write_text(CONFIG, encoding="utf-8")
        for number in range(8):
            self.docs[f"{number}.md"] = self.page()
            self.repo[f"r{number}.md"] = self.page()
        self.write()
        self.workspace = Workspace.open(folder / "qloader.yaml")

    def page(self) -> str:
        paragraphs = [" ".join(self.random.choices(WORDS, k=self.random.randint(5, 40))) for _ in range(6)]
        return f"# {self.random.choice(WORDS)} {self.random.randint(0, 9)}\n\n" + "\n\n".join(paragraphs) + "\n"

    def change(self) -> None:
        """Edits, creates, moves and deletes a few documents of each source, or goes back to an earlier moment."""
        self.past.append((dict(self.docs), dict(self.repo)))
        if self.random.random() < 0.15:
            self.docs, self.repo = (dict(files) for files in self.random.choice(self.past))
        for files in (self.docs, self.repo):
            for _ in range(self.random.randint(1, 4)):
                self._change_one(files)
        self.write()

    def _change_one(self, files: dict[str, str]) -> None:
        kind = self.random.choice(["edit", "edit", "create", "move", "delete", "swap"])
        names = sorted(files)
        if kind == "create" or len(names) < 4:
            files[f"{self.random.randint(0, 99)}/new.md"] = self.page()
        elif kind == "edit":
            name = self.random.choice(names)
            parts = files[name].split("\n\n")
            parts[self.random.randrange(len(parts))] = " ".join(self.random.choices(WORDS, k=12))
            files[name] = "\n\n".join(parts)
        elif kind == "move":
            files[f"{self.random.randint(0, 99)}/moved.md"] = files.pop(self.random.choice(names))
        elif kind == "swap":
            one, two = self.random.sample(names, 2)
            files[one], files[two] = files[two], files[one]
        else:
            del files[self.random.choice(names)]

    def write(self) -> None:
        docs = self.folder / "docs"
        subprocess.run(["rm", "-rf", str(docs)], check=True)
        for name, text in self.docs.items():
            path = docs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            os.utime(path, (1_700_000_000, 1_700_000_000))
        self.builder.commit(dict(self.repo))

    def plan(self, name: str = "plan.json") -> Path:
        result = self.workspace.plan(self.folder / name, request=_request())
        return result.plan.path

    def lose_state(self) -> None:
        state = self.workspace.settings.state
        for suffix in ("", "-wal", "-shm"):
            state.with_name(state.name + suffix).unlink(missing_ok=True)
        with contextlib.suppress(ForeignIndexError):
            self.workspace.rebuild_state()


def _request():
    from qloader.workspace.planning import PlanRequest

    # Whatever the dice delete is meant; that guards refuse what is not, other tests show.
    return PlanRequest(allow_deletes=("docs", "repo"))


class Zygote:
    """The process that forks a child for each apply."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "zygote.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def apply(self, config: Path, plan: Path, *, kill_after: float | None = None) -> int:
        """Applies a plan; the exit code, or minus the signal's number."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"config": str(config), "plan": str(plan)}), file=self._process.stdin, flush=True)
        pid = json.loads(self._process.stdout.readline())["pid"]
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(json.loads(self._process.stdout.readline())["status"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()


def test_kills_at_random_instants_never_cost_a_point(tmp_path: Path) -> None:
    print(f"seed {SEED}, {KILLS} kills")
    campaign = Campaign(tmp_path / "w", SEED)
    zygote = Zygote(tmp_path)
    config = tmp_path / "w" / "qloader.yaml"
    outcomes: Counter[str] = Counter()
    try:
        start = time.perf_counter()
        assert zygote.apply(config, campaign.plan()) == 0
        window = time.perf_counter() - start
        while outcomes["killed"] < KILLS:
            assert outcomes["too late"] < 20 * KILLS, outcomes
            campaign.change()
            plan = campaign.plan()
            status = zygote.apply(config, plan, kill_after=campaign.random.uniform(0, window))
            outcomes["killed" if status == -signal.SIGKILL else "too late"] += 1
            # A machine gets faster and slower: the instants should cover an apply, and few should come after it.
            window *= 1.1 if status == -signal.SIGKILL else 0.8
            way_on = campaign.random.choice(["same plan", "plan anew", "change", "revert", "rebuild"])
            if status == -signal.SIGKILL:
                outcomes[way_on] += 1
            if way_on == "change":
                campaign.change()
            elif way_on == "revert":
                campaign.docs, campaign.repo = (dict(files) for files in campaign.past[-1])
                campaign.write()
            elif way_on == "rebuild":
                campaign.lose_state()
            if way_on != "same plan":
                plan = campaign.plan()
            assert zygote.apply(config, plan) == 0, f"seed {SEED}, {outcomes}"
            assert_index_is_a_fresh_load(campaign.workspace, dated=False)
            assert campaign.workspace.refresh().points == ()
    except AssertionError as error:
        log = (tmp_path / "zygote.log").read_text(encoding="utf-8")
        raise AssertionError(f"seed {SEED}: {error}\n{outcomes}\n{log[-2000:]}") from error
    finally:
        zygote.close()
    print(dict(outcomes))
