"""The plan file: its bytes, what reading it refuses, and that it is never held in memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloader.errors import PlanError, QloaderError
from qloader.planning.encoding import change_as_dict
from qloader.planning.plan import (
    ACTIONS,
    Base,
    Change,
    ChunkCounts,
    IndexTarget,
    Pipeline,
    PlanHeader,
    PlanWarning,
    SourceSummary,
    Version,
    summarise,
)
from qloader.planning.planfile import ChangesFile, FilePlan, digest_of, read_plan

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/plan.schema.json").read_text(encoding="utf-8"))

OLD = Version("0" * 32, "1" * 32, "a" * 40, 10)
NEW = Version("2" * 32, "3" * 32, "b" * 40, 4312)
CHANGES = (
    Change("create", "docs", 'a "quoted" id\nwith a line end', None, NEW, ChunkCounts(add=4), "new document"),
    Change("update", "docs", "b/ü.md", OLD, NEW, ChunkCounts(2, 29, 1), "text changed"),
    Change("move", "docs", "c.md", OLD, NEW, ChunkCounts(keep=3), "same text under a new id", from_id="old/c.md"),
    Change("delete", "docs", "d.md", OLD, None, ChunkCounts(remove=7), "gone from the source"),
    Change("repair", "notes", "e.md", None, None, ChunkCounts(remove=1), "points left by an interrupted apply"),
)


def header_of(*changes: Change, **more) -> PlanHeader:
    return PlanHeader(
        name="handbook",
        base=Base("6f0c2a9e-0000-4000-8000-000000000001", 7),
        index=IndexTarget("handbook", "embedded:.qloader/index"),
        pipeline=Pipeline("0123456789abcdef", {"max_chars": 1200}, {"sparse": "bm25"}),
        sources=(
            SourceSummary("docs", "git", "c" * 40, 1234, "4" * 32, True),
            SourceSummary("notes", "files", None, 0, "0" * 32, False),
        ),
        summary=summarise(changes, unchanged=1228, characters=15210),
        **more,
    )


def write(path: Path, *changes: Change, **more) -> FilePlan:
    file = ChangesFile()
    for change in changes:
        file.add(change)
    try:
        return file.write_plan(path, header_of(*changes, **more))
    finally:
        file.close()


def test_what_is_written_is_read_back(tmp_path):
    warnings = (PlanWarning("notes", "incomplete", "listing incomplete, so nothing is deleted: …"),)
    written = write(tmp_path / "plan.json", *CHANGES, warnings=warnings, allowed_deletes=("docs",))
    read = read_plan(tmp_path / "plan.json")
    assert read.header == written.header
    assert tuple(read.changes()) == CHANGES
    assert read.header.warnings == warnings
    assert read.header.allowed_deletes == ("docs",)


def test_the_file_is_json_with_one_change_a_line_in_the_order_of_the_contract(tmp_path):
    write(tmp_path / "plan.json", *CHANGES)
    text = (tmp_path / "plan.json").read_text(encoding="utf-8")
    plan = json.loads(text)
    assert list(plan) == [
        "format", "name", "base", "index", "pipeline", "sources", "summary", "changes", "warnings", "digest",
    ]  # fmt: skip
    lines = text.splitlines()
    start = lines.index('"changes": [')
    assert [json.loads(line.rstrip(",")) for line in lines[start + 1 : start + 6]] == plan["changes"]
    assert list(plan["changes"][2]) == ["action", "source", "id", "from", "before", "after", "chunks", "reason"]
    assert plan["changes"] == [change_as_dict(change) for change in CHANGES]
    assert plan["summary"]["chunks"] == {"embed": 6, "keep": 32, "delete": 9}


@pytest.mark.parametrize("count", [0, 5])
def test_the_file_fits_its_schema(tmp_path, count):
    write(tmp_path / "plan.json", *CHANGES[:count], allowed_deletes=("docs",))
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads((tmp_path / "plan.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        (0, "before", change_as_dict(CHANGES[1])["before"]),
        (0, "from", "elsewhere"),
        (1, "after", None),
        (2, "from", None),
        (3, "chunks", {"add": -1, "keep": 0, "remove": 0}),
        (4, "action", "guess"),
    ],
)
def test_the_schema_refuses_a_change_that_makes_no_sense(tmp_path, change, key, value):
    write(tmp_path / "plan.json", *CHANGES)
    plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    plan["changes"][change][key] = value
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(plan))


def test_two_plans_of_the_same_changes_are_the_same_bytes_and_their_digest_is_known_without_a_file(tmp_path):
    one, two = write(tmp_path / "1.json", *CHANGES), write(tmp_path / "2.json", *CHANGES)
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert one.header.digest == two.header.digest == digest_of(header_of(*CHANGES), CHANGES)
    assert digest_of(header_of(*CHANGES), CHANGES[:4]) != one.header.digest


def test_every_cut_of_a_plan_file_is_refused(tmp_path):
    write(tmp_path / "plan.json", *CHANGES[:2])
    data = (tmp_path / "plan.json").read_bytes()
    for length in range(len(data) - 2):
        (tmp_path / "cut.json").write_bytes(data[:length])
        with pytest.raises(PlanError):
            read_plan(tmp_path / "cut.json")


def test_every_changed_byte_is_refused(tmp_path):
    write(tmp_path / "plan.json", CHANGES[1])
    data = bytearray((tmp_path / "plan.json").read_bytes())
    for at in range(len(data) - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        (tmp_path / "changed.json").write_bytes(changed)
        with pytest.raises(PlanError):
            read_plan(tmp_path / "changed.json")


def test_line_ends_changed_by_git_are_refused_with_the_remedy(tmp_path):
    write(tmp_path / "plan.json", *CHANGES)
    data = (tmp_path / "plan.json").read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "plan.json").write_bytes(data)
    with pytest.raises(PlanError) as error:
        read_plan(tmp_path / "plan.json")
    assert error.value.exit_code == 4


def test_a_plan_of_a_newer_format_says_so(tmp_path):
    write(tmp_path / "plan.json", *CHANGES, format="qloader.plan/9")
    with pytest.raises(PlanError, match=r"qloader\.plan/9; this qloader reads qloader\.plan/1") as error:
        read_plan(tmp_path / "plan.json")
    assert "Upgrade" in error.value.remedy


@pytest.mark.parametrize("text", ["", "{}", "[]", "hello", '{\n"format": "other"', '{\n"format": 7,\n', "\x00" * 100])
def test_what_is_no_plan_is_called_so(tmp_path, text):
    (tmp_path / "plan.json").write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match=r"no plan file|damaged"):
        read_plan(tmp_path / "plan.json")


def test_a_plan_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(PlanError, match="there is no plan at"):
        read_plan(tmp_path / "none.json")
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan(tmp_path)


def test_extra_keys_of_a_later_version_are_read_over(tmp_path):
    # A later qloader may add keys under the same format; the digest covers them too.
    write(tmp_path / "plan.json", *CHANGES)
    from xxhash import xxh3_128_hexdigest

    body = (tmp_path / "plan.json").read_bytes().partition(b'"digest"')[0]
    body = body.replace(b'"summary":', b'"policies": [],\n"summary":', 1)
    (tmp_path / "plan.json").write_bytes(body + b'"digest": "%s"\n}\n' % xxh3_128_hexdigest(body).encode())
    assert tuple(read_plan(tmp_path / "plan.json").changes()) == CHANGES


def test_a_plan_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "plan.json"
    write(path, CHANGES[0])
    before = path.read_bytes()
    script = textwrap.dedent("""
        import resource, sys
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        from planning.test_planfile import CHANGES, write
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        write(Path(sys.argv[1]), *CHANGES)
    """)
    result = subprocess.run(
        [sys.executable, "-c", script, str(path), str(Path(__file__).parents[1])], capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "QloaderError" in result.stderr
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


def test_a_plan_cannot_be_written_where_there_is_no_folder(tmp_path):
    with pytest.raises(QloaderError, match="cannot be written") as error:
        write(tmp_path / "missing" / "plan.json", *CHANGES)
    assert "Nothing was changed" in error.value.remedy


def test_a_new_plan_file_has_the_mode_that_the_umask_says(tmp_path):
    old = os.umask(0o027)
    try:
        write(tmp_path / "plan.json", *CHANGES)
    finally:
        os.umask(old)
    assert (tmp_path / "plan.json").stat().st_mode & 0o777 == 0o640


def test_a_hundred_thousand_changes_are_written_and_read_without_holding_them(tmp_path):
    file = ChangesFile()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(100_000):
        file.add(replace(CHANGES[1], id=f"{number:06}.md"))
    plan = file.write_plan(tmp_path / "plan.json", header_of())
    file.close()
    assert sum(1 for _ in read_plan(plan.path).changes()) == 100_000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (tmp_path / "plan.json").stat().st_size > 35_000_000
    assert grown * 1024 < 20_000_000


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
HASHES = st.binary(min_size=16, max_size=16).map(bytes.hex)
VERSIONS = st.builds(Version, HASHES, HASHES, IDS, st.integers(0, 2**40), st.text(max_size=20))
COUNTS = st.builds(ChunkCounts, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))


@given(
    st.lists(
        st.builds(
            Change,
            st.sampled_from(ACTIONS),
            IDS,
            IDS,
            st.none() | VERSIONS,
            st.none() | VERSIONS,
            COUNTS,
            IDS,
            from_id=st.none() | IDS,
        ),
        max_size=5,
    )
)
def test_any_change_survives_the_way_through_the_file(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    write(path, *changes)
    assert list(read_plan(path).changes()) == changes
    assert json.loads(path.read_text(encoding="utf-8"))["changes"] == [change_as_dict(change) for change in changes]
