"""What a config may say of policies and prices, and what is said of what it may not."""

from __future__ import annotations

import pytest

from qloader.config.extensions import POLICIES, load_policy
from qloader.config.load import load_config
from qloader.config.policies import find_unused_prices
from qloader.errors import ConfigError
from qloader.workspace.settings import Settings
from qloader.workspace.validating import validate_workspace
from support.packages import install

HEAD = "name: test\nsources:\n  docs: {type: files, path: docs}\n  wiki: {type: files, path: wiki}\npolicies:\n"
"""Five lines; a policy begins in the sixth."""


def load(tmp_path, text):
    file = tmp_path / "qloader.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, env={})


def error_of(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("policies", "says"),
    [
        ("  p: {max_delete: 3}\n", ':6: policies.p.max_delete: unknown key; did you mean "max_deletes"?'),
        ("  p: {max_deletes: -1}\n", ":6: policies.p.max_deletes: expected at least 0; found -1"),
        ("  p: {max_deletes: 25%}\n", ':6: policies.p.max_deletes: expected a whole number; found "25%"'),
        ("  p: {max_document_size: huge}\n", ":6: policies.p.max_document_size: expected a size such as 10MB"),
        ("  p: {sources: [docs], effect: refuse}\n", ":6: policies.p.effect: expected 'deny', 'warn' or "),
        ("  p: {}\n", ":6: policies.p: expected what it looks for (max_deletes, max_updates, "),
        ("  p:\n", ":6: policies.p: expected what it looks for (max_deletes, max_updates, "),
        ("  p: {effect: warn}\n", ":6: policies.p: expected what it looks for (max_deletes, max_updates, "),
        ("  p: [drafts/]\n", ":6: policies.p: expected a mapping of keys to values; found a list"),
        ("  a b: {sources: [docs]}\n", ":6: policies.a b: expected a name of letters, digits"),
        ("  p: {forbidden_paths: [ok/, '/']}\n", ":6: policies.p.forbidden_paths[1]: matches nothing; patterns are"),
        ("  p: {forbidden_paths: ['']}\n", ":6: policies.p.forbidden_paths[0]: expected some text"),
        ("  p: {forbidden_paths: ['!drafts/']}\n", ":6: policies.p: forbidden_paths only takes back; expected a"),
        (
            f"  stop: {{max_embeds: 1{'0' * 400}}}\n  mind: {{max_embeds: 2{'0' * 400}, effect: warn}}\n",
            f":7: policies.mind.max_embeds: warns of more than {2 * 10**400:,}, and policies.stop refuses",
        ),
        ("  p: {forbidden_paths: drafts/}\n", ":6: policies.p.forbidden_paths: expected a list"),
        ("  p: {required_metadata: [title]}\n", ":6: policies.p.required_metadata[0]: every document has a title"),
        ("  p: {sources: [wikki]}\n", ':6: policies.p.sources[0]: there is no such source; did you mean wiki?'),
        ("  p: {sources: [ftp]}\n", ":6: policies.p.sources[0]: there is no such source; there is docs, wiki"),
        ("  p: {max_cost: 5}\n", ":6: policies.p.max_cost: no price of its embedders is configured; set prices.per"),
        ("  p: {max_cost: 5, max_deletes: 1}\n", ":6: policies.p: max_cost is of a whole plan and an estimate"),
        ("  p: {max_cost: 5, sources: [docs]}\n", ":6: policies.p: max_cost is of a whole plan and an estimate"),
        ("  p: {sources: [docs], options: {a: 1}}\n", ":6: policies.p: options are for a custom policy"),
        (
            "  stop: {max_deletes: 5}\n  mind: {max_deletes: 5, effect: warn}\n",
            ":7: policies.mind.max_deletes: warns of more than 5, and policies.stop refuses more than 5 already",
        ),
        ("prices: {currency: dollars}\n", 'prices.currency: expected the three letters of a currency, such as USD'),
        (
            "  p: {max_cost: 5}\nprices: {per_million_tokens: {bm52: 1}}\n",
            ":6: policies.p.max_cost: no price of its embedders is configured; set prices.per_million_tokens",
        ),
        ("prices: {per_million_tokens: {bm25: -1}}\n", "prices.per_million_tokens.bm25: expected at least 0; found -1"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path, policies, says):
    assert f"{says}" in error_of(tmp_path, HEAD + policies)


def test_two_limits_of_different_sources_do_not_contradict_each_other(tmp_path):
    policies = (
        "  stop: {max_deletes: 5, sources: [docs]}\n  mind: {max_deletes: 5, effect: warn, sources: [wiki]}\n"
        "  low: {max_deletes: 4, effect: warn, sources: [docs]}\n  ask: {max_deletes: 9, effect: require_allow}\n"
    )
    assert list(load(tmp_path, HEAD + policies).policies) == ["stop", "mind", "low", "ask"]


def test_a_price_of_another_model_is_no_mistake_and_is_told_by_validate(tmp_path):
    prices = "prices: {per_million_tokens: {openai/large: 1, bm52: 1, bm25: 1}}\n"
    config = load(tmp_path, HEAD + prices)
    assert find_unused_prices(config) == {"openai/large": "", "bm52": "bm25"}
    (check,) = [check for check in validate_workspace(Settings.of(config)) if check.what == "prices"]
    assert check.ok
    assert "openai/large, bm52 (did you mean bm25?)" in check.message
    config = load(tmp_path, HEAD + "prices: {per_million_tokens: {bm25: 1}}\n")
    assert "prices" not in [check.what for check in validate_workspace(Settings.of(config))]


def test_policies_and_prices_may_be_empty(tmp_path):
    config = load(tmp_path, HEAD + "prices:\n  per_million_tokens:\n")
    assert (config.policies, config.prices.per_million_tokens) == ({}, {})


def test_a_price_is_no_part_of_the_pipeline(tmp_path):
    from qloader.workspace.settings import Settings

    plain = Settings.of(load(tmp_path, HEAD)).pipeline
    priced = Settings.of(load(tmp_path, HEAD + "prices: {currency: EUR, per_million_tokens: {bm25: 3}}\n")).pipeline
    assert plain == priced


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Installs a package that offers a policy `house-rules`, made of the given module."""
    monkeypatch.syspath_prepend(tmp_path / "packages")

    def offer(module, name):
        install(tmp_path / "packages", f"qloader-{name}", {name: module}, {POLICIES: {"house-rules": f"{name}:check"}})

    return offer


def test_a_custom_policy_that_nobody_offers_is_named_and_near_ones_are_proposed(packages, tmp_path):
    said = error_of(tmp_path, HEAD + "  p: {custom: house-rules}\n")
    assert ":6: policies.p.custom: no installed package offers a policy of this name; there is none" in said
    packages("def check(header, changes, options):\n    return ()\n", "good_rules")
    assert 'did you mean "house-rules"?' in error_of(tmp_path, HEAD + "  p: {custom: house-rule}\n")
    assert "there is house-rules" in error_of(tmp_path, HEAD + "  p: {custom: xyz}\n")


def test_a_custom_policy_is_imported_only_where_a_plan_is_held_to_it(packages, tmp_path):
    packages("raise RuntimeError('out of order')\n", "broken_rules")
    assert load(tmp_path, HEAD + "  p: {custom: house-rules, options: {day: friday}}\n").policies["p"].custom
    with pytest.raises(ConfigError) as caught:
        load_policy("house-rules")
    assert str(caught.value) == (
        "the policy house-rules of the package qloader-broken_rules cannot be loaded: RuntimeError: out of order"
    )
    assert caught.value.remedy == "Repair or reinstall qloader-broken_rules, or take the policy out of the config."


def test_what_is_no_function_is_no_policy(packages, tmp_path):
    packages("check = 'yes'\n", "text_rules")
    with pytest.raises(ConfigError, match="the policy house-rules of the package qloader-text_rules is no function"):
        load_policy("house-rules")


def test_a_custom_policy_whose_package_is_gone_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no installed package offers the policy gone"):
        load_policy("gone")
