"""Policies as a user meets them: what is refused, what is shown, what the plan records, what apply checks again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from qloader.config.extensions import POLICIES
from qloader.planning.planfile import read_plan
from support.command_line import Prompt, some_documents
from support.packages import install
from support.workspaces import CONFIG, write

BASE = CONFIG.format(path="docs", max_chars=200, batch=5, place="path: .qloader/index")
OWNED = "---\nowner: {owner}\ntags: [a]\n---\n\n# {title}\n\ntext of {title}\n"


def configure(prompt: Prompt, policies: str, rest: str = "") -> None:
    prompt.configure(f"{BASE}policies:\n{policies}{rest}")


def points(prompt: Prompt) -> int:
    return prompt.workspace.status().points


def kinds(prompt: Prompt, plan: str = "plan.json") -> list[tuple[str, str]]:
    return [(warning.source, warning.kind) for warning in read_plan(prompt.folder / plan).header.warnings]


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "-o", "plan.json"],
        ["plan", "-o", "plan.json", "--format", "json"],
        ["plan", "-o", "plan.json", "--detailed-exitcode"],
        ["apply", "--auto-approve"],
        ["ingest"],
        ["ingest", "--full"],
        ["ingest", "--dry-run"],
    ],
)
def test_what_a_policy_denies_no_command_does(prompt: Prompt, command: list[str]) -> None:
    configure(prompt, "  small-steps: {max_embeds: 11}\n")
    answer = prompt(*command)
    assert answer.code == 3
    assert "  small-steps: 12 chunks would be embedded; max_embeds is 11\n" in answer.err
    assert answer.remedy.endswith("If it is meant, change policies.small-steps in the config and plan again.\n")
    assert not (prompt.folder / "plan.json").exists()
    assert points(prompt) == 0


@pytest.mark.parametrize("command", [["plan"], ["ingest", "--dry-run"]], ids=["plan", "dry run"])
def test_a_refused_plan_is_alone_on_stdout(prompt: Prompt, command: list[str]) -> None:
    configure(prompt, "  small-steps: {max_embeds: 11}\n")
    answer = prompt(*command, "--format", "json")
    assert (answer.code, json.loads(answer.out)["summary"]["create"]) == (3, 12)


def test_a_destroy_is_held_to_the_limits_too_but_needs_no_allow(applied: Prompt) -> None:
    configure(applied, "  small-steps: {max_deletes: 11}\n  by-hand: {sources: [docs], effect: require_allow}\n")
    refused = applied("destroy", "--auto-approve")
    assert (refused.code, points(applied)) == (3, 12)
    assert "small-steps: 12 documents would be deleted; max_deletes is 11" in refused.err
    assert "by-hand: " not in refused.error + refused.remedy
    configure(applied, "  by-hand: {sources: [docs], effect: require_allow}\n")
    applied.ok("destroy", "--auto-approve")
    assert points(applied) == 0


def test_a_warning_is_in_the_plan_and_in_every_review(prompt: Prompt) -> None:
    configure(prompt, "  small-steps: {max_embeds: 11, effect: warn}\n  sizes: {max_document_size: 5MB}\n")
    shown = prompt.ok("plan", "-o", "plan.json")
    assert "\nWarning: policy small-steps: 12 chunks would be embedded; max_embeds is 11\n" in shown.err
    assert "\nPolicies: 1 passed (sizes), 1 warned (small-steps).\n" in shown.err
    assert shown.last.startswith("Plan: 12 to create")
    assert kinds(prompt) == [("small-steps", "policy")]
    assert "policy small-steps" in prompt.ok("show", "plan.json").err
    assert "- ⚠️ `policy small-steps`: `12 chunks" in prompt.ok("show", "plan.json", "--format", "markdown").out
    page = prompt.ok("show", "plan.json", "--format", "html").out
    assert "<code>policy small-steps</code> 12 chunks would be embedded" in page
    assert "Policies: 1 passed (<code>sizes</code>), 1 warned (<code>small-steps</code>)." in page
    assert prompt.ok("verify", "plan.json").code == 0
    prompt.ok("apply", "plan.json")
    assert "Policies" not in prompt.ok("plan").err


@pytest.mark.parametrize("output", ["markdown", "html"])
def test_a_refusal_is_on_the_page_that_ci_posts(prompt: Prompt, output: str) -> None:
    write(prompt.docs, {"``` </pre>&.md": "# x\n\nx"})
    configure(prompt, "  paths: {forbidden_paths: ['*pre*']}\n  small-steps: {max_embeds: 1}\n")
    answer = prompt("plan", "--format", output)
    assert answer.code == 3
    assert "This plan may not be applied" in answer.out
    assert "small-steps: 13 chunks would be embedded; max_embeds is 1" in answer.out
    assert "change policies.paths and policies.small-steps in the config" in answer.out
    if output == "html":
        assert "docs/``` &lt;/pre&gt;&amp;.md" in answer.out
    else:
        assert "\n````text\nrefused by a policy, nothing was changed:\n" in answer.out


@pytest.mark.parametrize("output", ["markdown", "html"])
def test_a_guard_is_on_the_page_too_and_what_both_refuse_is_told_together(applied: Prompt, output: str) -> None:
    write(applied.docs, {f"page-{number:04}.md": None for number in range(12)})
    configure(applied, "  small-steps: {max_deletes: 5}\n")
    answer = applied("plan", "--format", output)
    assert answer.code == 3
    for told in (answer.out, answer.err):
        assert "12 of 12 documents of docs would be deleted: the source is empty now" in told
        assert "small-steps: 12 documents would be deleted; max_deletes is 5" in told
        assert "--allow-deletes docs" in told
        assert "policies.small-steps in the config" in told


# What only --allow lets pass


def test_what_needs_allow_passes_once_and_the_plan_says_so(prompt: Prompt) -> None:
    configure(prompt, "  by-hand: {sources: [docs], effect: require_allow}\n")
    refused = prompt("plan", "-o", "plan.json")
    assert (refused.code, (prompt.folder / "plan.json").exists()) == (3, False)
    assert "by-hand: 12 documents of docs would change" in refused.err
    assert "plan again with --allow by-hand, which the plan records for its reviewer" in refused.err
    shown = prompt.ok("plan", "-o", "plan.json", "--allow", "by-hand")
    assert "Warning: policy by-hand, passed by --allow: 12 documents of docs would change" in shown.err
    assert "Policies: 1 passed by --allow (by-hand)." in shown.err
    document = json.loads((prompt.folder / "plan.json").read_text())
    assert document["allowed"] == {"deletes": [], "policies": ["by-hand"]}
    assert document["policies"] == [{"name": "by-hand", "effect": "require_allow", "result": "allowed"}]
    prompt.ok("verify", "plan.json")
    prompt.ok("apply", "plan.json")
    assert points(prompt) == 12
    write(prompt.docs, {"new.md": "# New\n\nnew"})
    assert prompt("ingest").code == 3
    prompt.ok("ingest", "--allow", "by-hand")
    write(prompt.docs, {"newer.md": "# Newer\n\nnewer"})
    prompt.ok("apply", "--auto-approve", "--allow", "by-hand")
    assert points(prompt) == 14
    assert prompt("plan").code == 0  # nothing to do needs nobody's leave


@pytest.mark.parametrize(
    ("name", "says", "remedy"),
    [
        ("by-hant", "--allow by-hant: the config has no such policy", "Did you mean by-hand?"),
        ("xyz", "--allow xyz: the config has no such policy", "It has: by-hand, strict."),
        ("strict", "--allow strict: the effect of this policy is deny, which no option lets pass", "Leave --allow"),
    ],
)
def test_an_allow_that_lets_nothing_pass_is_a_mistake(prompt: Prompt, name: str, says: str, remedy: str) -> None:
    configure(prompt, "  by-hand: {sources: [docs], effect: require_allow}\n  strict: {max_deletes: 0}\n")
    answer = prompt("plan", "--allow", name)
    assert (answer.code, answer.error) == (1, f"Error: {says}")
    assert answer.remedy.startswith(remedy)


def test_allow_belongs_to_planning(prompt: Prompt) -> None:
    prompt.ok("plan", "-o", "plan.json")
    answer = prompt("apply", "plan.json", "--allow", "by-hand")
    assert answer.code == 1
    assert "belong to planning" in answer.err


# Apply, with the plan file alone


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("{max_embeds: 11}", "12 chunks would be embedded; max_embeds is 11"),
        ("{forbidden_paths: [page-0003.md]}", "1 document on a forbidden path: docs/page-0003.md"),
        ("{max_document_size: 10B}", "12 documents larger than 10 B: docs/page-0000.md ("),
        ("{sources: [docs], effect: require_allow}", "12 documents of docs would change"),
        ("{required_metadata: [owner]}", "the plan does not say whether documents have owner: it is older than"),
        ("{max_cost: 0}", "embedding would cost about 0.0002 EUR; max_cost is 0.00 EUR"),
    ],
)
def test_a_plan_that_is_older_than_a_policy_is_held_to_it_by_apply(prompt: Prompt, policy: str, says: str) -> None:
    prompt.ok("plan", "-o", "plan.json")
    configure(prompt, f"  p: {policy}\n", "prices: {currency: EUR, per_million_tokens: {bm25: 1}}\n")
    answer = prompt("apply", "plan.json")
    assert (answer.code, points(prompt)) == (3, 0)
    assert f"  p: {says}" in answer.err


def test_a_policy_that_only_warns_does_not_stop_an_apply(prompt: Prompt) -> None:
    prompt.ok("plan", "-o", "plan.json")
    configure(prompt, "  p: {max_embeds: 1, effect: warn}\n")
    prompt.ok("apply", "plan.json")
    assert points(prompt) == 12


def test_a_plan_that_was_allowed_is_denied_by_a_policy_that_is_stricter_now(prompt: Prompt) -> None:
    configure(prompt, "  by-hand: {sources: [docs], effect: require_allow}\n")
    prompt.ok("plan", "-o", "plan.json", "--allow", "by-hand")
    configure(prompt, "  by-hand: {sources: [docs]}\n")
    assert prompt("apply", "plan.json").code == 3
    assert prompt("verify", "plan.json").code == 4


# Metadata


def test_required_metadata_is_known_when_planned_also_of_documents_that_are_not_read_again(prompt: Prompt) -> None:
    write(prompt.docs, dict.fromkeys(some_documents(12)))
    write(prompt.docs, {"a.md": OWNED.format(owner="ann", title="A"), "b.md": OWNED.format(owner='""', title="B")})
    write(prompt.docs, {"c.md": "# C\n\nno front matter"})
    prompt.ok("plan")  # now all three are in the cache
    configure(prompt, "  owned: {required_metadata: [owner, tags]}\n")
    for options in ([], ["--no-cache"]):
        answer = prompt("plan", "-o", "plan.json", *options)
        assert answer.code == 3
        assert (
            "owned: 2 documents without required metadata: docs/b.md (owner), docs/c.md (owner, tags)\n" in answer.err
        )
    configure(prompt, "  owned: {required_metadata: [owner, tags], effect: warn}\n")
    prompt.ok("plan", "-o", "plan.json")
    lacks = {
        change.id: change.after.lacks for change in read_plan(prompt.folder / "plan.json").changes() if change.after
    }
    assert lacks == {"a.md": (), "b.md": ("owner",), "c.md": ("owner", "tags")}
    configure(prompt, "  owned: {required_metadata: [owner, tags]}\n")
    assert prompt("apply", "plan.json").code == 3
    write(prompt.docs, {"b.md": OWNED.format(owner="bob", title="B"), "c.md": None})
    prompt.load()
    assert points(prompt) == 2


# Plans, their bytes, and estimates


def test_no_plan_knows_of_prices_paces_or_caches(prompt: Prompt) -> None:
    policies = "  budget: {max_cost: 0, effect: warn}\n  owned: {required_metadata: [owner], effect: warn}\n"
    seen = set()
    for price in ("0.5", "7"):
        configure(prompt, policies, f"prices: {{per_million_tokens: {{bm25: {price}}}}}\n")
        for options in ([], ["--no-cache"]):
            shown = prompt.ok("plan", "-o", "plan.json", *options)
            assert "Warning: policy budget: embedding would cost about" in shown.err
            assert "Policies: 2 warned (budget, owned)." in shown.err
            seen.add((prompt.folder / "plan.json").read_bytes())
    (plan,) = seen
    assert b"budget" not in plan
    assert b"USD" not in plan
    prompt.ok("verify", "plan.json")


def test_a_plan_without_policies_has_no_key_for_them(prompt: Prompt) -> None:
    prompt.ok("plan", "-o", "plan.json")
    document = json.loads((prompt.folder / "plan.json").read_text())
    assert {"policies", "allowed"} & document.keys() == set()
    assert "lacks" not in document["changes"][0]["after"]


def test_the_estimate_stands_above_the_last_line_where_something_is_embedded(prompt: Prompt) -> None:
    configure(prompt, "", "prices: {currency: EUR, per_million_tokens: {bm25: 1000}}\n")
    lines = prompt.ok("plan", "-o", "plan.json").err.splitlines()
    said = r"Estimate: ([\d,]+) characters; about (\d+) tokens for bm25, about 0\.\d\d EUR; about \d+ kB in Qdrant\."
    assert re.fullmatch(said, lines[-3])
    assert lines[-1].startswith("Plan: 12 to create")
    file_alone = prompt.ok("show", "plan.json").err
    assert "Estimate: " in file_alone
    assert "EUR" not in file_alone
    prompt.ok("apply", "plan.json")
    write(prompt.docs, {"page-0003.md": None})
    assert "Estimate" not in prompt.ok("plan").err


def test_the_pace_of_the_last_runs_is_told_after_a_run_that_embedded_enough(prompt: Prompt) -> None:
    prompt.configure(BASE.replace("size: 5", "size: 50"))
    prompt.ok("ingest")  # twelve chunks: too few to tell
    write(prompt.docs, some_documents(120))
    assert "at the pace" not in prompt.ok("ingest").err
    write(prompt.docs, {"new.md": "# New\n\nnew"})
    assert re.search(r"; about \d+ (s|min) at the pace of the last run\.\n", prompt.ok("plan").err)
    prompt.configure(BASE.replace("max_chars: 200", "max_chars: 150"))  # another pipeline, whose pace nobody knows
    assert "at the pace" not in prompt.ok("plan").err


# Policies of other packages


@pytest.fixture
def house(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> Prompt:
    """A package with the policies `tidy`, which looks at ids, and `broken`, which raises."""
    module = (
        "def tidy(header, changes, options):\n"
        "    for change in changes:\n"
        "        if options['word'] in change.id:\n"
        "            yield f'{change.address} has {options[\"word\"]} in its name'\n"
        "def broken(header, changes, options):\n"
        "    raise KeyError('day')\n"
    )
    packages = prompt.folder / "packages"
    points = {"tidy": "tidy_policies:tidy", "broken": "tidy_policies:broken"}
    install(packages, "tidy-policies", {"tidy_policies": module}, {POLICIES: points})
    monkeypatch.syspath_prepend(packages)
    return prompt


def test_a_custom_policy_denies_or_warns_like_any_other(house: Prompt) -> None:
    configure(house, "  words: {custom: tidy, options: {word: '0007'}}\n")
    answer = house("plan", "-o", "plan.json")
    assert answer.code == 3
    assert "  words: docs/page-0007.md has 0007 in its name\n" in answer.err
    configure(house, "  words: {custom: tidy, options: {word: '0007'}, effect: warn}\n")
    house.ok("plan", "-o", "plan.json")
    assert kinds(house) == [("words", "policy")]
    house.ok("verify", "plan.json")
    house.ok("apply", "plan.json")
    assert points(house) == 12


@pytest.mark.parametrize("command", [["plan", "-o", "new.json"], ["apply", "plan.json"], ["ingest"]])
def test_a_custom_policy_that_raises_refuses_by_its_name(house: Prompt, command: list[str]) -> None:
    house.ok("plan", "-o", "plan.json")
    configure(house, "  words: {custom: broken, effect: warn}\n")
    answer = house(*command)
    assert (answer.code, points(house)) == (3, 0)
    assert "  words: the policy could not be checked: KeyError: 'day'\n" in answer.err
    assert not Path(house.folder / "new.json").exists()
