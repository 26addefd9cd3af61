"""What a process may use: the limits of its container, read from the files that Linux has for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qloader.applying.pacing import FULL
from qloader.workspace.resources import ControlGroups, Memory, MemoryPace, count_processes, limits

OWN = 100


def groups(tmp_path: Path, membership: str, files: dict[str, str]) -> ControlGroups:
    for name, text in files.items():
        file = tmp_path / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    (tmp_path / "membership").write_text(membership)
    return ControlGroups(tmp_path / "fs", tmp_path / "membership")


def test_every_group_above_a_process_limits_it(tmp_path: Path) -> None:
    found = groups(
        tmp_path,
        "0::/a/b\n",
        {
            "a/memory.max": "1000",
            "a/memory.current": "400",
            "a/memory.stat": "anon 5\ninactive_file 150\nactive_file 7",
            "a/b/memory.max": "max",
            "a/b/memory.current": "300",
            "a/cpu.max": "150000 100000",
            "a/b/cpu.max": "max 100000",
        },
    )
    assert list(found.memory(OWN)) == [Memory(OWN, 1000 - (400 - 150))]
    assert found.cores() == 1.5


def test_a_container_that_sees_only_its_own_group_is_limited_by_it(tmp_path: Path) -> None:
    files = {"memory.max": "500", "memory.current": "600", "cpu.max": "50000 100000"}
    found = groups(tmp_path, "0::/kubepods/pod1/container\n", files)
    assert list(found.memory(OWN)) == [Memory(OWN, 0)]
    assert found.cores() == 0.5


def test_groups_of_version_1_are_read_too(tmp_path: Path) -> None:
    found = groups(
        tmp_path,
        "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n",
        {
            "memory/docker/x/memory.limit_in_bytes": "1000",
            "memory/docker/x/memory.usage_in_bytes": "700",
            "memory/docker/x/memory.stat": "inactive_file 1\ntotal_inactive_file 200",
            "memory/memory.limit_in_bytes": "9223372036854771712",  # none
            "memory/memory.usage_in_bytes": "700",
            "cpu,cpuacct/docker/x/cpu.cfs_quota_us": "300000",
            "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )
    assert list(found.memory(OWN)) == [Memory(OWN, 500)]
    assert found.cores() == 3


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("", {}),
        ("0::/\n", {"memory.max": "max", "memory.current": "1", "cpu.max": "max 100000"}),
        ("nonsense", {}),
        ("0::/\n", {"memory.max": "damaged", "memory.current": "1", "cpu.max": "0"}),
    ],
)
def test_where_nothing_is_limited_or_readable_nothing_is_said(
    tmp_path: Path, membership: str, files: dict[str, str]
) -> None:
    found = groups(tmp_path, membership, files)
    assert list(found.memory(OWN)) == []
    assert found.cores() is None


def test_processes_are_the_share_of_the_cores_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = groups(tmp_path, "", {})
    for cores, expected in {1: 1, 2: 2, 3: 2, 4: 3, 8: 6, 32: 26}.items():
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False)
        assert count_processes(64, 80, nothing) == expected
    assert count_processes(4, 80, nothing) == 4
    assert count_processes(64, 1, nothing) == 1
    limited = groups(tmp_path, "0::/\n", {"cpu.max": "400000 100000"})
    assert count_processes(64, 100, limited) == 4


def test_memory_is_looked_at_every_so_often() -> None:
    now, looks = 0.0, 0

    def measure() -> list[Memory]:
        nonlocal looks
        looks += 1
        return [Memory(FULL, 100 * FULL), Memory(FULL, [FULL, 0][min(looks, 2) - 1])]

    pace = MemoryPace(80, 5.0, measure=measure, clock=lambda: now)
    assert pace.look().share == 0.5  # 80 % of twice as much leave 0.6 of what is in use
    now = 4.9
    assert pace.look().share == 0.5
    assert looks == 1
    now = 5.0
    assert pace.look().is_paused
    assert looks == 2


def test_where_nothing_is_known_everything_is_allowed() -> None:
    assert MemoryPace(80, 5.0, measure=list).look().share == 1


def test_a_limit_on_addresses_is_seen(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    program = (
        "import resource\n"
        "from qloader.workspace.resources import limits\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        "print(*(one.used + one.available for one in limits()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert str(3 << 30) in done.stdout.split()
    assert all(one.used > 0 for one in limits())
