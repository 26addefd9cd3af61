"""Names and texts that nobody sane would choose, and changes that cross each other."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from support.command_line import CONTROLS, Prompt, some_documents
from support.workspaces import assert_index_is_a_fresh_load, make_workspace, plan_and_apply, replace_all, write

NAMES = [
    "new\nline.md",
    "carriage\r.md",
    "tab\t.md",
    "quo\"te'.md",
    "`id`.md",
    "$HOME.md",
    "%s%d{path}.md",
    "-dash.md",
    "--help.md",
    " lead.md",
    "trail .md",
    "back\\slash.md",
    "#hash?&;.md",
    "a->b.md",
    "x -> y.md",
    "*.md",
    "[x].md",
    "...md",
    ".md",
    "CON.md",
    "a" * 250 + ".md",
    "/".join(["long" * 20] * 8) + ".md",
    "\x1b[31mred.md",
    "\x07bell.md",
    "c1\x9b31m.md",
    "\x7fdel.md",
    "\u202ertl.md",
    "שלום.md",
    "zero\u200bwidth.md",
    "\ufeffbom.md",
    "line\u2028separator.md",
    "🙂👩‍🚀.md",
    "Ⅷ.md",
    "ﬁ.md",
    "ẞ.md",
    "é.md",
]
TITLE = "# \x1b[2J\x1b]0;mine\x07 \u202e title \x9b31m"


def odd(prompt: Prompt) -> Prompt:
    replace_all(prompt.docs, {name: f"{TITLE}\n\nbody number {n}" for n, name in enumerate(NAMES)})
    return prompt


def test_every_name_that_is_text_is_an_id_from_the_plan_to_the_index(prompt: Prompt) -> None:
    odd(prompt).load()
    plan = prompt.ok("show", "plan.json", "--format", "json").json
    assert [change["id"] for change in plan["changes"]] == sorted(NAMES)
    documents = prompt.ok("state", "list", "--format", "json").json["documents"]
    assert [d["address"] for d in documents] == [f"docs/{name}" for name in sorted(NAMES)]
    assert_index_is_a_fresh_load(prompt.workspace)
    assert prompt.ok("plan", "--no-cache").last == "No changes. The index matches the sources."
    for name in NAMES:
        assert prompt.ok("state", "show", f"docs/{name}", "--format", "json").json["address"] == f"docs/{name}"


def test_no_name_and_no_title_reaches_a_terminal_raw(prompt: Prompt) -> None:
    shown = [odd(prompt).ok("plan", "--all", "-o", "plan.json"), prompt.ok("show", "plan.json", "--all")]
    shown += [prompt.ok("show", "plan.json", "--format", "markdown"), prompt.ok("apply", "plan.json")]
    replace_all(prompt.docs, dict.fromkeys(NAMES[:-1], "other"))
    shown += [prompt("apply", "plan.json"), prompt("verify", "plan.json"), prompt("plan", "--source", "\x1b[2J")]
    shown += [prompt.ok("search", "body", "-k", "100"), prompt.ok("state", "list"), prompt("show", "\x1b[2J")]
    shown += [prompt.ok("state", "show", f"docs/{name}") for name in NAMES]
    for answer in shown:
        text = (answer.out + answer.err).replace("👩‍🚀", "")  # a joiner within an emoji hides nothing
        assert not CONTROLS.search(text), text[:2_000]
    assert r"\x1b[31mred.md" in shown[0].err
    assert r"new\nline.md" in shown[0].err


def test_a_plan_has_a_line_for_each_change_whatever_the_names_are(prompt: Prompt) -> None:
    odd(prompt).ok("plan", "-o", "plan.json")
    lines = (prompt.folder / "plan.json").read_bytes().split(b"\n")
    assert sum(line.startswith(b'{"action": ') for line in lines) == len(NAMES)


def test_names_that_are_no_text_are_skipped_and_shown_as_bytes(prompt: Prompt) -> None:
    (prompt.docs / os.fsdecode(b"bad\xff.md")).write_bytes(b"bad")
    (prompt.docs / os.fsdecode(b"dir\xfe")).mkdir()
    (prompt.docs / os.fsdecode(b"dir\xfe") / "x.md").write_bytes(b"x")
    (prompt.docs / "e\u0301.md").write_bytes(b"decomposed")
    (prompt.docs / "\u00e9.md").write_bytes(b"composed")
    answer = prompt.ok("plan", "-o", "plan.json")
    assert answer.last.startswith("Plan: 13 to create")
    assert r"bad\xff.md" in answer.err
    assert r"dir\xfe" in answer.err
    prompt.ok("apply", "plan.json")
    assert prompt.ok("plan").last == "No changes. The index matches the sources."


def test_a_workspace_in_a_folder_with_an_odd_name_works_like_any_other(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "a" #50%?;&\n folder\\ü'
    workspace = make_workspace(folder)
    write(folder / "docs", some_documents(3))
    plan_and_apply(workspace)
    write(folder / "docs", some_documents(2, first=3))
    plan_and_apply(workspace)
    assert_index_is_a_fresh_load(workspace)


def test_a_workspace_in_a_folder_whose_name_is_no_text_works(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = prompt.folder / os.fsdecode(b"not-\xff-text")
    workspace = make_workspace(folder)
    write(folder / "docs", some_documents(3))
    plan_and_apply(workspace)
    monkeypatch.chdir(folder)
    assert prompt.ok("status", "--format", "json").json["points"] == 3
    assert prompt.ok("search", "gardens", "--format", "json").json["hits"]
    write(folder / "docs", {"new.md": "new"})
    prompt.ok("apply", "--auto-approve")
    prompt.ok("refresh")
    assert_index_is_a_fresh_load(workspace)


# Changes that cross each other


def lay(folder: Path, files: dict[str, str]) -> None:
    """Makes the folder hold these files, all of one age: what is no change keeps its time."""
    replace_all(folder, files)
    for path in folder.rglob("*.md"):
        if path.is_file():
            os.utime(path, (1_700_000_000, 1_700_000_000))


def step(prompt: Prompt, files: dict[str, str], expected: str) -> None:
    """Makes the folder hold these files, plans, looks at the totals, applies, and compares with a fresh load."""
    lay(prompt.docs, files)
    answer = prompt.ok("plan", "-o", "plan.json", "--allow-deletes", "docs")
    assert answer.last.startswith(f"Plan: {expected} (")
    prompt.ok("apply", "plan.json")
    assert_index_is_a_fresh_load(prompt.workspace)


A, B, C = "# A\n\nThe text of A.", "# B\n\nThe text of B.", "# C\n\nThe text of C."


@pytest.fixture
def abc(prompt: Prompt) -> Prompt:
    """Three documents, applied."""
    lay(prompt.docs, {"a.md": A, "b.md": B, "c.md": C})
    prompt.load()
    return prompt


def test_documents_that_swap_their_texts_are_updated(abc: Prompt) -> None:
    step(abc, {"a.md": B, "b.md": A, "c.md": C}, "0 to create, 2 to update, 0 to move, 0 to delete")


def test_a_ring_of_three_texts_is_updated(abc: Prompt) -> None:
    step(abc, {"a.md": C, "b.md": A, "c.md": B}, "0 to create, 3 to update, 0 to move, 0 to delete")


def test_a_chain_of_renames_ends_where_a_fresh_load_does(abc: Prompt) -> None:
    step(abc, {"b.md": A, "c.md": B, "d.md": C}, "1 to create, 2 to update, 0 to move, 1 to delete")


def test_a_rename_onto_a_deleted_documents_place_is_an_update_and_a_delete(abc: Prompt) -> None:
    step(abc, {"b.md": A, "c.md": C}, "0 to create, 1 to update, 0 to move, 1 to delete")


def test_a_document_that_becomes_a_folder_and_back(abc: Prompt) -> None:
    step(abc, {"a.md/inner.md": A, "b.md": B, "c.md": C}, "0 to create, 0 to update, 1 to move, 0 to delete")
    step(abc, {"a.md/a.md/b.md": A, "b.md": B, "c.md/a.md": C}, "0 to create, 0 to update, 2 to move, 0 to delete")
    step(abc, {"a.md": A, "b.md": B, "c.md": C}, "0 to create, 0 to update, 2 to move, 0 to delete")


def test_a_rename_of_the_case_alone_is_a_move(abc: Prompt) -> None:
    step(abc, {"A.md": A, "b.md": B, "C.MD.md": C}, "0 to create, 0 to update, 2 to move, 0 to delete")


def test_equal_texts_are_documents_of_their_own(abc: Prompt) -> None:
    step(abc, {"a.md": A, "b.md": A, "c.md": A, "d.md": A}, "1 to create, 2 to update, 0 to move, 0 to delete")
    assert len(abc.ok("search", "text", "--format", "json").json["hits"]) == 4
    step(abc, {"d.md": A, "e/a.md": A}, "0 to create, 0 to update, 1 to move, 2 to delete")


def test_documents_may_be_empty_and_become_so(abc: Prompt) -> None:
    step(abc, {"a.md": "", "b.md": " \n\n", "c.md": C, "d.md": ""}, "1 to create, 2 to update, 0 to move, 0 to delete")
    step(abc, {"x.md": "", "b.md": B, "c.md": C, "y.md": ""}, "0 to create, 1 to update, 2 to move, 0 to delete")
    step(abc, {"x.md": "", "y.md": ""}, "0 to create, 0 to update, 0 to move, 2 to delete")
    assert abc.ok("status", "--format", "json").json["points"] == 0
    assert abc.ok("search", "text", "--format", "json").json == {"hits": []}


def test_a_paragraph_that_is_there_many_times_is_a_point_each_time(abc: Prompt) -> None:
    same = "All paragraphs say just this, at some length, so that each is a chunk of its own. " * 2
    for count in (7, 3, 9, 1):
        texts = {"a.md": "\n\n".join([same] * count), "b.md": "\n\n".join([same, "other" * count, same]), "c.md": C}
        step(abc, texts, "0 to create, 2 to update, 0 to move, 0 to delete")
        assert len(abc.ok("search", "paragraphs", "-k", "100", "--format", "json").json["hits"]) == count + 2


WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
PLACES = ["a.md", "A.md", "b.md", "c.md", "d/a.md", "d/b.md", "x.md/y.md", "x.md", "e/é.md", "z\n.md", "-r.md"]


def some_text(chance: random.Random) -> str:
    if chance.random() < 0.15:
        return ""
    if chance.random() < 0.3:
        return "# Same\n\nall the same"
    sizes = [chance.randint(3, 60) for _ in range(chance.randint(1, 4))]
    return "\n\n".join(" ".join(chance.choices(WORDS, k=size)) for size in sizes)


def mutate(files: dict[str, str], chance: random.Random) -> None:
    """One hostile edit."""
    names = list(files)
    match chance.choice(["write", "write", "delete", "move", "swap", "chain", "label"]):
        case "delete" if names:
            del files[chance.choice(names)]
        case "move" if names:
            text = files.pop(chance.choice(names))
            files[chance.choice(PLACES)] = text
        case "swap" if len(names) > 1:
            one, other = chance.sample(names, 2)
            files[one], files[other] = files[other], files[one]
        case "chain" if len(names) > 2:
            one, two, three = chance.sample(names, 3)
            files[three], files[two] = files[two], files.pop(one)
        case "label" if names:
            name = chance.choice(names)
            files[name] = f"---\nk: {chance.randint(0, 3)}\n---\n" + files[name].rpartition("---\n")[2]
        case _:
            files[chance.choice(PLACES)] = some_text(chance)
    for name in list(files):
        if any(other.startswith(f"{name}/") for other in files):
            del files[name]  # a path is a file or a folder


def test_whatever_is_done_to_a_folder_the_index_ends_as_a_fresh_load(tmp_path: Path) -> None:
    seed = int(os.environ.get("QLOADER_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"QLOADER_TEST_SEED={seed}")
    chance = random.Random(seed)
    workspace = make_workspace(tmp_path, batch=3)
    files: dict[str, str] = {}
    for _ in range(12):
        for _ in range(chance.randint(1, 5)):
            mutate(files, chance)
        lay(tmp_path / "docs", files)
        plan_and_apply(workspace, allow_deletes=("docs",) if workspace.status().sources else ())
        assert_index_is_a_fresh_load(workspace)
        with workspace.temporary_plan() as result:
            assert result.plan.header.is_empty


def test_ten_thousand_tiny_files_are_planned_and_loaded_in_seconds(prompt: Prompt) -> None:
    for number in range(10_000):
        path = prompt.docs / f"{number % 100:02}" / f"{number}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {number}\n\ntiny {number}")
    prompt.configure((prompt.folder / "qloader.yaml").read_text().replace("size: 5", "size: 1000"))
    start = time.process_time()
    assert prompt.ok("plan", "-o", "plan.json").last.endswith("(10012 chunks to embed).")
    assert prompt.ok("apply", "plan.json").last == "Apply complete: 10012 created, 0 updated, 0 moved, 0 deleted."
    assert prompt.ok("plan").last == "No changes. The index matches the sources."
    assert time.process_time() - start < 60  # some 3 s of this process's own work, however busy the machine is
    assert prompt.ok("search", "tiny 4711", "-k", "1", "--format", "json").json["hits"][0]["title"] == "4711"
