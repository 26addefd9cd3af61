"""Bad configs, bad sources, bad documents: one clear sentence, what to do next, nothing lost, never a traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command_line import QLOADER, Answer, Prompt
from support.git_builder import Builder
from support.workspaces import assert_index_is_a_fresh_load, write

HEAD = "name: test\nsources:\n"
DOCS = "  docs: {type: files, path: docs}\n"


def assert_is_a_clear_error(answer: Answer, code: int = 1) -> None:
    assert answer.code == code
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert "unexpected" not in answer.err
    assert answer.remedy.strip(), "an error says what to do next"


# The config


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "qloader.yaml is empty"),
        ("# nothing but a comment\n", "qloader.yaml is empty"),
        ("[1, 2]", "qloader.yaml"),
        ("just words", "qloader.yaml"),
        ("name: test\n\tsources: {}", "qloader.yaml:2:1: not valid YAML"),
        ("name: {", "not valid YAML"),
        ("name: test\nname: again\n" + HEAD, "qloader.yaml:2: name: the key is there twice; it is in line 1 already"),
        (HEAD, "sources"),
        (HEAD + "  docs: {type: ftp, path: x}\n", 'qloader.yaml:3: sources.docs.type: '),
        (HEAD + "  docs: {path: x}\n", "sources.docs"),
        (HEAD + "  docs: {type: files}\n", "sources.docs.path"),
        (HEAD + "  docs: {type: files, path: docs, inclde: []}\n", "include"),
        (HEAD + DOCS + "guards: {max_delete_percent: lots}\n", "qloader.yaml:4: guards.max_delete_percent"),
        (HEAD + DOCS + "chunkin: {}\n", "chunking"),
        ("name: ../up\nsources:\n" + DOCS, "name"),
        ("name: test\x00\nsources:\n" + DOCS, "qloader.yaml"),
        (HEAD + "  docs: !!python/object/apply:os.system [touch ran]\n", "no YAML tags"),
        (HEAD + "  docs: &a {type: files, path: docs, metadata: {x: *a}}\n", "holds itself"),
    ],
)  # fmt: skip
def test_a_config_that_says_nothing_usable_is_refused_by_name(prompt: Prompt, text: str, says: str) -> None:
    prompt.configure(text)
    for command in ("plan", "validate", "status", "ingest"):
        answer = prompt(command)
        assert_is_a_clear_error(answer)
        assert says in answer.err
    assert not (prompt.folder / "ran").exists()


def test_a_config_that_is_not_there_a_folder_or_no_utf_8(prompt: Prompt) -> None:
    for name in ("nosuch.yaml", "docs", "docs/page-0000.md/x.yaml"):
        assert_is_a_clear_error(prompt("plan", "-c", name))
    (prompt.folder / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    assert_is_a_clear_error(prompt("plan", "-c", "latin.yaml"))
    (prompt.folder / "zeros.yaml").write_bytes(b"\0" * 1000)
    assert_is_a_clear_error(prompt("plan", "-c", "zeros.yaml"))


def test_a_config_that_breaks_after_an_apply_loses_nothing(applied: Prompt) -> None:
    text = (applied.folder / "qloader.yaml").read_text()
    applied.configure(text + "  broken: [")
    assert_is_a_clear_error(applied("ingest"))
    applied.configure(text)
    assert applied.ok("plan").last == "No changes. The index matches the sources."


# Sources


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{type: files, path: nosuch}", "cannot be read: no such file or directory"),
        ("{type: files, path: qloader.yaml}", "is no folder"),
        ("{type: files, path: /proc/1/nosuch}", "cannot be read"),
        ("{type: files, path: docs, include: ['#']}", "pattern '#' matches nothing"),
        ("{type: git, url: nosuch}", "does not exist or is no folder"),
        ("{type: git, url: docs}", "is not in a git repository"),
        ("{type: git, url: repo, ref: nosuch}", "there is no branch, tag or commit 'nosuch'"),
        ("{type: git, url: repo, ref: maim}", "there is no branch, tag or commit 'maim'"),
        ("{type: git, url: 'http://127.0.0.1:9/x.git'}", "127.0.0.1:9"),
    ],
)
def test_a_source_that_cannot_be_read_at_all_is_an_error(prompt: Prompt, source: str, says: str) -> None:
    with Builder(prompt.folder / "repo") as repo:
        repo.commit({"a.md": "a"})
    prompt.configure(f"{HEAD}  docs: {source}\n")
    for command in (["plan"], ["ingest"], ["plan", "--debug"]):
        answer = prompt(*command)
        assert answer.code == 1
        assert says in answer.error
        assert answer.remedy.strip()
    if "maim" in source:
        assert "e.g. main" in answer.remedy


def test_a_repository_without_commits_says_so(prompt: Prompt) -> None:
    Builder(prompt.folder / "repo").repo.close()
    prompt.configure(f"{HEAD}  docs: {{type: git, url: repo}}\n")
    answer = prompt("plan")
    assert_is_a_clear_error(answer)
    assert answer.error == "Error: Source docs: the repository has no commits yet."


def test_a_commit_that_is_gone_when_a_plan_is_applied_loses_nothing(prompt: Prompt) -> None:
    with Builder(prompt.folder / "repo") as repo:
        repo.commit({"a.md": "# A\n\nsome text"})
        prompt.configure(f"{HEAD}  docs: {{type: git, url: repo}}\n")
        prompt.load()
        gone = repo.commit({"a.md": "# A\n\nother text"})
        prompt.ok("plan", "-o", "plan.json")
        repo.object_path(gone).unlink()
        repo.commit({"a.md": "# A\n\nthird text"}, parents=[])
    answer = prompt("apply", "plan.json")
    assert_is_a_clear_error(answer)
    assert f"commit {gone[:12]} is not in the repository" in answer.error
    assert prompt.ok("search", "text", "--format", "json").json["hits"]
    run = prompt.ok("history", "--format", "json").json["runs"][0]
    assert run["status"] == "failed"
    assert gone[:12] in run["error"]


def test_one_bad_source_stops_the_plan_and_the_others_can_be_planned_alone(prompt: Prompt) -> None:
    prompt.configure(f"{HEAD}{DOCS}  gone: {{type: files, path: gone}}\n")
    assert_is_a_clear_error(prompt("ingest"))
    assert prompt.ok("ingest", "--source", "docs").last.startswith("Apply complete: 12 created")


def test_names_that_the_config_does_not_have_are_listed_with_those_it_has(prompt: Prompt) -> None:
    for command in (["plan", "--source", "nosuch"], ["plan", "--allow-deletes", "nosuch"], ["ingest", "--source", ""]):
        answer = prompt(*command)
        assert_is_a_clear_error(answer)
        assert "docs" in answer.remedy


# Documents


def test_what_is_no_document_is_skipped_and_named(prompt: Prompt) -> None:
    write(prompt.docs, {"fine.md": "# Fine\n\nfine"})
    with (prompt.docs / "sparse.md").open("wb") as file:
        file.truncate(200_000_000)
    (prompt.docs / "nul.md").write_bytes(b"a\x00b")
    (prompt.docs / "latin.md").write_bytes(b"caf\xe9")
    (prompt.docs / "picture.md").write_bytes(b"\x89PNG\r\n")
    (prompt.docs / "outside.md").symlink_to("/etc/passwd")
    (prompt.docs / "nowhere.md").symlink_to("nosuch")
    os.mkfifo(prompt.docs / "pipe.md")
    (prompt.docs / os.fsdecode(b"\xff.md")).write_bytes(b"x")
    (prompt.docs / "loop").symlink_to(".")
    answer = prompt.ok("plan", "-o", "plan.json")
    assert answer.last.startswith("Plan: 13 to create")
    warnings = " ".join(w["message"] for w in prompt.ok("show", "plan.json", "--format", "json").json["warnings"])
    for name in ("sparse.md", "nul.md", "latin.md", "picture.md", "outside.md", "nowhere.md", "pipe.md", r"\xff.md"):
        assert name in warnings
    prompt.ok("apply", "plan.json")
    assert prompt.ok("plan").last == "No changes. The index matches the sources."


def test_a_large_sparse_file_that_may_be_read_is_read_and_skipped_as_binary(prompt: Prompt) -> None:
    with (prompt.docs / "sparse.md").open("wb") as file:
        file.truncate(200_000_000)
    prompt.configure(f"{HEAD}  docs: {{type: files, path: docs, max_bytes: 1GB}}\n")
    assert "binary" in prompt.ok("plan").err


HOSTILE = [
    "---\nn: 123456789012345678901234567890\nx: .nan\ny: .inf\n---\n# Numbers\n\nbody",
    '---\ntitle: "\\uD800"\nk: "\\uDFFF"\n---\nbody',
    '---\ntitle: "a\\0b"\n"": empty\n"a.b": dotted\n---\nbody',
    "---\n1: one\nnull: nothing\n? [a]\n: list\n---\nbody",
    "---\nb: !!binary aGVsbG8=\np: !!python/object/apply:os.system [touch ran]\n---\nbody",
    "---\na: &a [*a]\n---\nbody",
    "---\na: " + "[" * 300 + "]" * 300 + "\n---\nbody",
    "---\nqloader: {lineage: x}\nsource: other\ndocument_id: other\n---\nbody",
    "---\nd: 0001-01-01\nt: 9999-12-31 23:59:59 -12:00\n---\nbody",
    "+++\nd = 1979-05-27T07:32:00Z\nn = 9223372036854775807\n+++\nbody",
    "\x0b\x0c\x1b[2J\u202e\u200b\ufeff\n\nbody",
    "# " + "long heading " * 5_000 + "\n\nbody",
    "word" * 25_000 + "\n\nbody",
    "\n".join("> " * n + "deep body" for n in range(200)),
    "| a " * 500 + "|\n" + "|---" * 500 + "|\nbody",
    "```\n" * 2_000 + "body",
]


def test_documents_that_are_made_to_break_things_are_loaded_like_any_other(prompt: Prompt) -> None:
    for number, text in enumerate(HOSTILE):
        write(prompt.docs, {f"{number}.md": text, f"{number}.html": f"<title>x</title>{text}<p>body"})
    prompt.load()
    assert prompt.ok("plan", "--no-cache").last == "No changes. The index matches the sources."
    documents = prompt.ok("state", "list", "--format", "json").json["documents"]
    assert len(documents) == 12 + 2 * len(HOSTILE)
    drift = prompt.ok("refresh", "--format", "json").json
    assert (drift["missing"], drift["altered"], drift["orphaned"]) == ([], [], [])
    assert drift["checked"] == prompt.ok("status", "--format", "json").json["points"]
    assert not (prompt.folder / "ran").exists()


QUERIES = ["the of and", "\udcff\udcfe", '"', "a" * 100_000, "\x00", "水", "-- --", "*?[", "--format"]


def test_any_query_is_answered(applied: Prompt) -> None:
    for query in QUERIES:
        assert applied("search", "--format", "json", "--", query).code == 0
        assert applied("search", "--", query).code == 0


# Places that cannot be written


@contextmanager
def mounted(arguments: list[str], target: Path) -> Iterator[Path]:
    """Mounts something for the time of a test, where the system lets us."""
    done = subprocess.run(["mount", *arguments, str(target)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_a_read_only_folder_can_be_planned_and_says_why_it_cannot_be_applied(applied: Prompt) -> None:
    write(applied.docs, {"new.md": "# New\n\nnew"})
    applied.ok("plan", "-o", "plan.json")
    here = str(applied.folder)
    with mounted(["--bind", "-o", "ro", here], applied.folder):
        if os.access(here, os.W_OK):
            subprocess.run(["mount", "-o", "remount,ro,bind", here], check=True)
        assert applied.process("plan").last.startswith("Plan: 1 to create")
        assert applied.process("status", "--format", "json").json["points"] == 12
        assert applied.process("validate").code == 0
        for command in (["apply", "plan.json"], ["ingest"], ["state", "backup"], ["init", "-c", "new.yaml"]):
            assert_is_a_clear_error(applied.process(*command))
        answer = applied.process("plan", "-o", "new.json")
        assert answer.error == "Error: the plan new.json cannot be written: Read-only file system"
    applied.ok("apply", "plan.json")
    assert_index_is_a_fresh_load(applied.workspace)


def test_a_disk_that_is_full_stops_an_apply_which_goes_on_when_there_is_room(prompt: Prompt) -> None:
    small = prompt.folder / "small"
    small.mkdir()
    write(prompt.docs, {f"more-{n}.md": f"# {n}\n\nmore {n}" for n in range(200)})
    with mounted(["-t", "tmpfs", "-o", "size=8m", "tmpfs"], small):
        config = (prompt.folder / "qloader.yaml").read_text()
        prompt.configure(config.replace("state: {path: .qloader/state.db}", "state: {path: small/state.db}"))
        prompt.ok("plan", "-o", "plan.json")
        free = os.statvfs(small)
        (small / "filler").write_bytes(b"x" * (free.f_bavail * free.f_bsize - 200_000))
        answer = prompt("apply", "plan.json")
        assert_is_a_clear_error(answer)
        assert "the disk is full" in answer.error
        before = prompt.ok("status", "--format", "json").json["points"]
        assert 0 < before < 212
        # The cache is on that disk too: the plan is made without it.
        write(prompt.docs, {f"even-more-{n}.md": f"# {n}\n\neven more {n}" for n in range(500)})
        assert prompt.ok("plan").last.startswith(f"Plan: {712 - before} to create")
        (small / "filler").unlink()
        prompt.ok("apply", "plan.json")
        assert prompt.ok("status", "--format", "json").json["points"] == 212


def test_a_limit_on_the_size_of_files_stops_an_apply_which_goes_on_without_it(prompt: Prompt) -> None:
    write(prompt.docs, {f"more-{n}.md": f"# {n}\n\nmore {n}" for n in range(400)})
    prompt.ok("plan", "-o", "plan.json")
    line = f"ulimit -f 100; exec {' '.join(QLOADER)} apply plan.json"  # 50 KiB: less than the state will have
    done = subprocess.run(
        ["sh", "-c", line], cwd=prompt.folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert_is_a_clear_error(Answer(done.returncode, done.stdout, done.stderr))
    assert prompt.ok("status", "--format", "json").json["points"] < 412
    prompt.ok("apply", "plan.json")
    assert_index_is_a_fresh_load(prompt.workspace)


def test_a_folder_that_is_gone_under_the_command_is_named(prompt: Prompt) -> None:
    (prompt.folder / "gone").mkdir()
    line = f"cd gone && rmdir ../gone && exec {' '.join(QLOADER)} plan -c {prompt.folder}/qloader.yaml"
    done = subprocess.run(
        ["sh", "-c", line], cwd=prompt.folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert_is_a_clear_error(Answer(done.returncode, done.stdout, done.stderr))
    assert "the folder that this command was run in is gone" in done.stderr


def test_a_place_that_takes_no_file_is_named(prompt: Prompt) -> None:
    config = (prompt.folder / "qloader.yaml").read_text()
    prompt.ok("plan", "-o", "plan.json")
    prompt.configure(config.replace("state: {path: .qloader/state.db}", "state: {path: /proc/qloader/state.db}"))
    answer = prompt("apply", "plan.json")
    assert_is_a_clear_error(answer)
    assert "/proc/qloader/state.db" in answer.error
    prompt.configure(config.replace("path: .qloader/index", "path: /proc/index"))
    assert_is_a_clear_error(prompt("ingest"))
    prompt.configure(config.replace("state: {path: .qloader/state.db}", "state: {path: docs/page-0000.md/state.db}"))
    assert_is_a_clear_error(prompt("ingest"))
