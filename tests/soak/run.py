"""`make soak`: a service that runs for long, over places that change and fail all the time, killed now and then.

A third of the time it is killed or stopped at random instants and started again; the rest is one life, whose memory,
files, threads and processes are watched. Each time that everything was calm for a moment, the index must be what a
fresh load makes of the same places.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from qloader import Workspace
from qloader.errors import IndexUnavailableError
from soak.places import WORDS, Places
from soak.service import PATIENCE, Sample, Service
from support.workspaces import assert_index_holds, load_anew

MEMORY = 400_000_000
"""Bytes that the service may write to: little enough that it adapts itself now and then."""

GROWTH = {"memory": (1.10, 4_000_000), "files": (1.0, 2), "threads": (1.0, 1), "children": (1.0, 0)}
"""By figure: how many times the second quarter's median the last quarter's may be, and how much more."""

FILES = ("index", "state.db", "state.db-wal", "cache.db", "cache.db-wal")
A_RUN = 40_000
"""Bytes that the state may grow by with a run: its record, its figures, its tombstones."""

CHECK_EVERY = 60.0
"""Seconds between two looks at the index, in the long life."""


class Soak:
    """One soak, and what came of it.

    Attributes:
        counts: What happened, by name.
        samples: Of the long life, with the second of each.
        sizes: Of the files, at each comparison of the long life.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: list[tuple[float, Sample]] = []
        self.sizes: list[dict[str, int]] = []
        self.troubles: Counter[str] = Counter()
        self._folder = folder
        self._random = chance
        self._places = Places(folder / "w", chance)
        self._errors = folder / "errors.txt"

    def run(self, minutes: float) -> None:
        """Soaks for so long.

        Raises:
            AssertionError: It did not hold.
        """
        start = time.monotonic()
        with self._places.serve():
            self._restart_again_and_again(start + minutes * 20)
            self._live_long(start + minutes * 60)
        said = self._said()
        assert "Traceback" not in said, said[-3000:]
        assert not any("unexpected" in trouble for trouble in self.troubles), self.troubles

    def _restart_again_and_again(self, end: float) -> None:
        service = self._start()
        while time.monotonic() < end:
            with service:
                if self._random.random() < 0.8:  # else it dies while it starts
                    service.wait_until_it_listens()
                self._churn(service, time.monotonic() + self._random.uniform(0, 8))
                self._stop(service)
            service = self._start()
            service.wait_until_it_listens()
            self._compare(service)
        with service:
            self._stop(service)

    def _live_long(self, end: float) -> None:
        over = threading.Event()
        with self._start() as service:
            service.wait_until_it_listens()
            sampler = threading.Thread(target=self._sample, args=(service, over))
            sampler.start()
            try:
                while (now := time.monotonic()) < end:
                    self._churn(service, min(end, now + CHECK_EVERY))
                    self._compare(service)
                    self.sizes.append(self._size())
            finally:
                over.set()
                sampler.join()
            self._note(service)
            code = service.stop()
            assert code == 0, f"it ended with {code}"
        assert Workspace.open(self._places.config).status().lease is None

    def _start(self) -> Service:
        self.counts["starts"] += 1
        return Service(self._places.config, self._errors, MEMORY)

    def _stop(self, service: Service) -> None:
        self._note(service)
        how = self._random.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGTERM twice"])
        self.counts[how] += 1
        if how == "SIGKILL":
            service.kill()
            return
        code = service.stop(2 if how == "SIGTERM twice" else 1)
        # One that has only begun to start ends by the signal; the second signal may come when it has ended already.
        assert code in ((0, -15) if how == "SIGTERM" else (0, 130, -15)), f"{how}: it ended with {code}"

    def _churn(self, service: Service, end: float) -> None:
        """Changes, faults, hooks and searches, at random, for a while."""
        happening = self._random
        while time.monotonic() < end:
            dice = happening.random()
            if dice < 0.75:
                self._places.change()
                self.counts["changes"] += 1
            elif dice < 0.83:
                self._places.fail()
                self.counts["faults"] += 1
            elif dice < 0.90:
                self._places.calm()
            elif dice < 0.97 and service.address:
                for _ in range(happening.choice([1, 1, 1, 50])):
                    self.counts[f"hooks answered {self._places.call(service.address)}"] += 1
                self._places.ask(service.address)
            elif dice > 0.99:
                self._search()
            assert service.is_alive, f"it ended by itself with {service.code}: {self._said()[-3000:]}"
            time.sleep(happening.expovariate(1 / 0.15))

    def _said(self) -> str:
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def _search(self) -> None:
        """Somebody searches meanwhile; the service may have the index just then."""
        try:
            Workspace.open(self._places.config).search(self._random.choice(WORDS))
        except IndexUnavailableError:
            self.counts["searches that found the index in use"] += 1
        else:
            self.counts["searches"] += 1

    def _compare(self, service: Service) -> None:
        """Everything is calm for a moment: the index is what a fresh load makes of it."""
        self._places.calm()
        service.see_all()
        config = self._places.config
        expected = load_anew(config.read_text(encoding="utf-8"), [config.parent / "docs", config.parent / "repo"])
        end = time.monotonic() + PATIENCE
        while True:
            try:
                assert_index_holds(Workspace.open(self._places.config), expected, dated=False)
                break
            except IndexUnavailableError:  # it looks again just now
                assert time.monotonic() < end
        self.counts["comparisons"] += 1
        self.counts["points"] = len(expected)
        print(f"{self.counts['comparisons']} comparisons, {len(expected):,} points", flush=True)

    def _sample(self, service: Service, over: threading.Event) -> None:
        start = time.monotonic()
        while not over.wait(1):
            sample = service.sample()
            if sample is not None:
                self.samples.append((time.monotonic() - start, sample))

    def _size(self) -> dict[str, int]:
        home = self._folder / "w" / ".qloader"
        found = {name: _bytes(home / name) for name in FILES}
        found["log"] = _bytes(self._folder / "w" / "soak.jsonl")
        found["metrics"] = _bytes(self._folder / "w" / "soak.prom")
        found["runs"] = Workspace.open(self._places.config).history(1)[0].id
        return found

    def _note(self, service: Service) -> None:
        for outcome, count in service.looks.items():
            self.counts[f"looks {outcome}"] += count
        self.counts["adapted to memory"] += service.adapted
        self.troubles.update(service.troubles)

    def report(self) -> Iterator[tuple[str, bool]]:
        """What grew how much, a line each, with whether that is all right."""
        parts = [self.samples[len(self.samples) * n // 4 : len(self.samples) * (n + 1) // 4] for n in range(4)]
        for name, (times, more) in GROWTH.items():
            second, last = (statistics.median(getattr(one, name) for _, one in part) for part in (parts[1], parts[3]))
            most = max(getattr(one, name) for _, one in self.samples)
            yield (
                f"{name}: median {_shown(name, second)} in the second quarter, {_shown(name, last)} in the last, "
                f"at most {_shown(name, most)}",
                last <= second * times + more,
            )
        early, late = self.sizes[len(self.sizes) // 4], self.sizes[-1]
        for name in FILES:
            if name == "state.db":
                runs = max(1, late["runs"] - early["runs"])
                grown = max(0, late[name] + late["state.db-wal"] - early[name] - early["state.db-wal"]) / runs
                yield f"state.db: {late[name]:,} bytes after {late['runs']:,} runs, {grown:,.0f} a run", grown <= A_RUN
            else:
                yield (
                    f"{name}: {early[name]:,} bytes, later {late[name]:,}",
                    late[name] <= 1.5 * early[name] + 8_000_000,
                )
        yield f"metrics: {late['metrics']:,} bytes", late["metrics"] < 100_000
        yield f"log: {late['log']:,} bytes", True


def _shown(name: str, value: float) -> str:
    return f"{value / 1e6:.1f} MB" if name == "memory" else f"{value:g}"


def _bytes(path: Path) -> int:
    found = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    total = 0
    for file in found:
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def main() -> int:
    """Soaks, and says whether it held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    held = True
    with tempfile.TemporaryDirectory(prefix="qloader-soak-") as folder:
        soak = Soak(Path(folder), random.Random(arguments.seed))
        try:
            soak.run(arguments.minutes)
        except Exception:  # whatever it is, what was seen until then is told
            held = False
            traceback.print_exc(file=sys.stdout)
        print(", ".join(f"{name} {count:,}" for name, count in sorted(soak.counts.items())))
        for trouble, count in soak.troubles.most_common(12):
            print(f"  {count} x {trouble}")
        if soak.sizes:
            for line, is_well in soak.report():
                held = held and is_well
                print(f"{'ok   ' if is_well else 'GROWS'} {line}")
    print("It held." if held else "It did not hold.")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
