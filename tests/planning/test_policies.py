"""Policies over plans made by hand: what each finds, what it does not, and what follows."""

from __future__ import annotations

import itertools
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from qloader.errors import GuardError
from qloader.planning.estimates import Prices, estimate_plan
from qloader.planning.plan import (
    Base,
    Change,
    ChunkCounts,
    IndexTarget,
    Pipeline,
    PlanHeader,
    PlanWarning,
    Version,
    summarise,
)
from qloader.planning.policies import (
    FINDINGS,
    Outcome,
    Policy,
    PolicyTally,
    check_policies,
    record_outcomes,
    required_metadata,
)

OLD = Version("a" * 32, "b" * 32, "1", 100)


def change(action, source="docs", document_id="a.md", *, size=100, lacks=(), embeds=1, old=None):
    after = None if action == "delete" else replace(OLD, bytes=size, lacks=lacks)
    before = None if action == "create" else OLD
    return Change(action, source, document_id, before, after, ChunkCounts(add=embeds), "because", from_id=old)


def header_of(changes: Iterable[Change] = (), characters: int = 4_000_000) -> PlanHeader:
    return PlanHeader(
        name="test",
        base=Base(None, 0),
        index=IndexTarget("test", "embedded:index"),
        pipeline=Pipeline("0" * 16, {}, {"sparse": "bm25"}),
        sources=(),
        summary=summarise(changes, unchanged=0, characters=characters),
    )


def outcomes(policies, changes, *, allowed=(), looked_for=None, prices=None) -> tuple[Outcome, ...]:
    tally = PolicyTally([policies] if isinstance(policies, Policy) else policies, looked_for)
    for one in changes:
        tally.count(one)
    header = header_of(changes)
    return tally.conclude(header, lambda: iter(changes), estimate=estimate_plan(header, prices), allowed=allowed)


def findings(policy, changes, **options) -> list[str]:
    (outcome,) = outcomes(policy, changes, **options)
    return list(outcome.findings)


DELETES = [change("delete", document_id=f"{n}.md", embeds=0) for n in range(3)]
UPDATES = [change("update", document_id=f"{n}.md", embeds=2) for n in range(3)]


@pytest.mark.parametrize(
    ("limit", "changes", "says"),
    [
        ({"max_deletes": 2}, DELETES, "3 documents would be deleted; max_deletes is 2"),
        ({"max_deletes": 3}, DELETES, None),
        ({"max_deletes": 0}, DELETES[:1], "1 document would be deleted; max_deletes is 0"),
        ({"max_deletes": 0}, UPDATES, None),
        ({"max_updates": 2}, UPDATES, "3 documents would be updated; max_updates is 2"),
        ({"max_updates": 3}, UPDATES, None),
        ({"max_updates": 0}, [*DELETES, change("create"), change("move", old="b.md"), change("repair")], None),
        ({"max_embeds": 5}, UPDATES, "6 chunks would be embedded; max_embeds is 5"),
        ({"max_embeds": 6}, UPDATES, None),
        ({"max_embeds": 0}, [change("repair")], "1 chunk would be embedded; max_embeds is 0"),
    ],
)
def test_a_limit_lets_pass_what_it_says_and_no_more(limit, changes, says):
    assert findings(Policy("p", **limit), changes) == ([says] if says else [])


@pytest.mark.parametrize(
    ("action", "document_id", "found"),
    [
        ("create", "drafts/a.md", True),
        ("update", "deep/drafts/a.md", True),
        ("move", "key.private.md", True),
        ("create", "docs/secret/a.md", True),
        ("delete", "drafts/a.md", False),
        ("repair", "drafts/a.md", False),
        ("create", "drafts.md", False),
        ("create", "drafts/public.md", False),
        ("create", "a.md", False),
    ],
)
def test_a_forbidden_path_is_found_where_a_document_comes_to_it(action, document_id, found):
    policy = Policy("p", forbidden_paths=("drafts/", "*.private.md", "/docs/secret/**", "!drafts/public.md"))
    said = findings(policy, [change(action, document_id=document_id, old="x.md" if action == "move" else None)])
    assert said == ([f"1 document on a forbidden path: docs/{document_id}"] if found else [])


def test_a_pattern_may_name_the_whole_address():
    policy = Policy("p", forbidden_paths=("/wiki/123",))
    assert findings(policy, [change("create", "wiki", "123"), change("create", "docs", "123")]) == [
        "1 document on a forbidden path: wiki/123"
    ]


def test_a_document_may_be_as_large_as_it_says():
    policy = Policy("p", max_document_size=5_000_000)
    large = [change("create", size=5_000_000), change("update", document_id="b.md", size=5_100_000)]
    assert findings(policy, large) == ["1 document larger than 5 MB: docs/b.md (5.1 MB)"]
    assert findings(policy, [change("delete"), change("repair", size=9_000_000)]) == []


def test_required_metadata_is_told_document_by_document():
    policies = [Policy("a", required_metadata=("owner", "team")), Policy("b", required_metadata=("team",))]
    assert required_metadata(policies) == ("owner", "team")
    changes = [change("create", lacks=("owner",)), change("move", document_id="b.md", lacks=("owner", "team"), old="c")]
    first, second = outcomes(policies, changes)
    assert first.findings == ("2 documents without required metadata: docs/a.md (owner), docs/b.md (owner, team)",)
    assert second.findings == ("1 document without required metadata: docs/b.md (team)",)


def test_a_plan_that_does_not_tell_of_a_key_is_no_plan_whose_documents_have_it():
    policy = Policy("p", required_metadata=("owner", "team"))
    assert findings(policy, [change("create")], looked_for=["owner"]) == [
        "the plan does not say whether documents have team: it is older than the policy"
    ]
    assert findings(policy, [change("delete")], looked_for=["owner"]) == []


def test_of_many_documents_five_are_named_and_the_rest_is_counted():
    policy = Policy("p", forbidden_paths=("*",))
    (said,) = findings(policy, [change("create", document_id=f"{n}") for n in range(1234)])
    assert said == "1,234 documents on a forbidden path: docs/0, docs/1, docs/2, docs/3, docs/4 and 1,229 more"


@pytest.mark.parametrize("what", [{"max_deletes": 2}, {"forbidden_paths": ("*",)}, {}])
def test_a_policy_of_some_sources_sees_no_other(what):
    policy = Policy("p", sources=frozenset({"wiki"}), **what)
    mixed = [*DELETES, *(replace(one, source="wiki") for one in DELETES[:2]), change("repair", "wiki")]
    assert findings(policy, mixed) == (["2 documents of wiki would change"] if not what else [])


def test_cost_is_an_estimate_and_nothing_without_a_price():
    changes, policy = [change("create")], Policy("p", max_cost=0.5)
    assert findings(policy, changes) == []
    assert findings(policy, changes, prices=Prices("EUR", {"bm25": 0.5})) == []
    assert findings(policy, changes, prices=Prices("EUR", {"bm25": 0.6})) == [
        "embedding would cost about 0.60 EUR; max_cost is 0.50 EUR"
    ]
    assert findings(Policy("p", max_cost=0), DELETES, prices=Prices("EUR", {"bm25": 1})) == []


# What follows


@pytest.mark.parametrize(
    ("effect", "allowed", "result"),
    [
        ("deny", (), "denied"),
        ("deny", ("p",), "denied"),
        ("warn", (), "warned"),
        ("require_allow", (), "denied"),
        ("require_allow", ("q",), "denied"),
        ("require_allow", ("p",), "allowed"),
    ],
)
def test_what_follows_is_the_effect_and_only_one_can_be_passed(effect, allowed, result):
    policy = Policy("p", effect=effect, max_deletes=2)
    (found,) = outcomes(policy, DELETES, allowed=allowed)
    assert found.result == result
    assert outcomes(policy, UPDATES, allowed=allowed)[0].result == "passed"
    kinds = {"warned": ["policy"], "allowed": ["policy allowed"]}
    assert [warning.kind for warning in found.warnings()] == kinds.get(result, [])


def test_a_refusal_names_every_policy_with_its_numbers_and_the_way_past():
    policies = [
        Policy("z", max_deletes=2),
        Policy("a", effect="require_allow", sources=frozenset({"docs"})),
        Policy("w", effect="warn", max_deletes=0),
    ]
    with pytest.raises(GuardError) as caught:
        check_policies(outcomes(policies, DELETES))
    assert str(caught.value) == (
        "refused by a policy, nothing was changed:\n"
        "  a: 3 documents of docs would change\n"
        "  z: 3 documents would be deleted; max_deletes is 2"
    )
    assert caught.value.remedy == (
        "Put right what was found. If it is meant, change policies.z in the config and plan again with --allow a, "
        "which the plan records for its reviewer."
    )
    assert caught.value.exit_code == 3


def test_a_plan_records_what_came_of_each_policy_but_not_what_rests_on_a_price():
    policies = [
        Policy("c", max_cost=0, effect="warn"),
        Policy("w", max_deletes=0, effect="warn"),
        Policy("p", max_updates=0),
    ]
    found = outcomes(policies, [*DELETES, change("create")], prices=Prices("USD", {"bm25": 1}))
    header = record_outcomes(header_of(), found)
    assert [(policy.name, policy.result) for policy in header.policies] == [("p", "passed"), ("w", "warned")]
    assert header.warnings == (PlanWarning("w", "policy", "3 documents would be deleted; max_deletes is 0"),)
    assert [warning.source for one in found if one.rests_on_price for warning in one.warnings()] == ["c"]


# Custom policies


def only_friday(header, changes, options):
    for one in changes:
        if options["day"] != "friday":
            yield f"{one.address} on a {options['day']}"


def test_a_custom_policy_sees_the_header_its_changes_and_its_options():
    seen = []

    def look(header, changes, options):
        seen.append((header.summary.delete, [one.address for one in changes], dict(options)))
        return ()

    policy = Policy("p", sources=frozenset({"docs"}), custom=look, options={"day": "friday"})
    assert findings(policy, [*DELETES, change("create", "wiki")]) == []
    assert seen == [(3, ["docs/0.md", "docs/1.md", "docs/2.md"], {"day": "friday"})]
    assert findings(Policy("p", custom=only_friday, options={"day": "monday"}), DELETES[:1]) == [
        "docs/0.md on a monday"
    ]


def test_a_custom_policy_is_told_the_same_at_plan_and_at_apply():
    seen = []
    policy = Policy("p", custom=lambda header, changes, options: seen.append(header) or ())
    warning = Policy("w", effect="warn", max_deletes=0)
    first = replace(header_of(), warnings=(PlanWarning("docs", "skipped", "1 item skipped"),))
    recorded = replace(record_outcomes(first, outcomes([policy, warning], DELETES)), digest="f" * 32)
    assert (len(recorded.warnings), len(recorded.policies)) == (2, 2)
    for header in (first, recorded):
        PolicyTally([policy]).conclude(header, lambda: iter(()))
    assert seen[-1] == seen[-2] == first


def raising(header, changes, options):
    yield "something"
    raise KeyError("owner")


@pytest.mark.parametrize(
    ("custom", "says"),
    [
        (raising, "the policy could not be checked: KeyError: 'owner'"),
        (
            lambda header, changes, options: 1 / 0,
            "the policy could not be checked: ZeroDivisionError: division by zero",
        ),
        (lambda header, changes, options: None, "it gave NoneType, and a list of sentences was expected"),
        (lambda header, changes, options: sys.exit(0), "could not be checked: SystemExit: 0"),
        (lambda header: (), "could not be checked: TypeError: "),
        (lambda header, changes, options: "all is well", "it gave str, and a list of sentences was expected"),
        (lambda header, changes, options: ["a", None, 7], "it found NoneType, int, and sentences were expected"),
    ],
    ids=[
        "raises midway",
        "raises",
        "gives nothing",
        "ends the program",
        "takes too little",
        "gives a text",
        "finds what is no text",
    ],
)
@pytest.mark.parametrize("effect", ["deny", "warn", "require_allow"])
def test_a_custom_policy_that_cannot_be_checked_refuses_whatever_its_effect(custom, says, effect):
    (found,) = outcomes(Policy("house", effect=effect, custom=custom), DELETES, allowed=["house"])
    assert found.result == "denied"
    with pytest.raises(GuardError, match=r"^refused by a policy, nothing was changed:\n  house: ") as caught:
        check_policies([found])
    assert says in str(caught.value)


def test_what_a_custom_policy_prints_is_for_people(capsys):
    def loud(header, changes, options):
        print("looking")
        yield "found"

    assert findings(Policy("p", custom=loud), DELETES) == ["found"]
    assert capsys.readouterr() == ("", "looking\n")


def test_a_custom_policy_that_finds_without_end_is_asked_no_further():
    asked = itertools.count()

    def endless(header, changes, options):
        for number in asked:
            yield f"finding {number}"

    said = findings(Policy("p", custom=endless), DELETES)
    assert next(asked) == FINDINGS
    assert said[:2] == ["finding 0", "finding 1"]
    assert said[-1] == "and at least 980 more findings"


def test_no_name_and_no_finding_breaks_its_line_or_goes_on_for_ever():
    odd = [change("create", document_id="a\n  z: all is well\x85\u2028b" + "c" * 100_000)]
    policies = [
        Policy("a", forbidden_paths=("*",)),
        Policy("b", custom=lambda header, changes, options: ["x\nPlan: 0 to create" + "y" * 100_000]),
    ]
    for found in outcomes(policies, odd):
        (said,) = found.findings
        assert len(said.splitlines()) == 1
        assert len(said) < 400


def odd_ids(header, changes, options):
    return (f"{one.address} is odd" for one in changes if one.id.endswith("1.md"))


def count_them(header, changes, options):
    return (f"{sum(1 for _ in changes)} changes",)


MANY = [
    Policy("a", forbidden_paths=("drafts/",), max_embeds=5, max_document_size=1),
    Policy("b", required_metadata=("owner",)),
    Policy("c", custom=odd_ids),
    Policy("d", custom=count_them),
]


def test_every_policy_sees_all_of_200_000_changes():
    one = change("create", document_id="drafts/1.md", lacks=("owner",))
    tally = PolicyTally(MANY)
    for same in itertools.repeat(one, 200_000):
        tally.count(same)
    found = tally.conclude(header_of(), lambda: itertools.repeat(one, 200_000))
    assert [len(outcome.findings) for outcome in found] == [3, 1, 21, 1]
    assert found[0].findings[0] == "200,000 chunks would be embedded; max_embeds is 5"
    assert found[3].findings == ("200000 changes",)


def test_no_policy_holds_the_changes_that_it_saw():
    def stream() -> Iterator[Change]:
        return (change("create", document_id=f"drafts/{n:07}.md", lacks=("owner",)) for n in range(10_000))

    tally = PolicyTally(MANY)
    tracemalloc.start()
    for one in stream():
        tally.count(one)
    tally.conclude(header_of(), stream)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400_000  # 10,000 changes are some 5 MB
