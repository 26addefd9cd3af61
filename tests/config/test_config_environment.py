import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloader.config.environment import EnvironmentProblem, hide, reveal, substitute
from qloader.config.load import load_config
from qloader.errors import ConfigError

TEXT = "name: x\nsources:\n  docs: {{type: git, metadata: {{value: {value}}}}}\n"


@pytest.fixture
def value_of(tmp_path):
    def load_value(written, **env):
        file = tmp_path / "qloader.yaml"
        file.write_text(TEXT.format(value=written))
        return load_config(file, env=env).sources["docs"].metadata["value"]

    return load_value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${A}", "one"),
        ("'${A}'", "one"),
        ('"${A}"', "one"),
        ("x${A}y${A}z", "xoneyonez"),
        ("${A:-two}", "one"),
        ("${B:-two}", "two"),
        ("${EMPTY}", ""),
        ("${EMPTY:-two}", "two"),
        ("${B:-}", ""),
        ("${B:-a, b: [c] # d}", "a, b: [c] # d"),
        ("'${B:-it''s}'", "it's"),
        ('"${B:-say \\"x\\"}"', 'say "x"'),
        ("$${A}", "${A}"),
        ("'$${A:-x}'", "${A:-x}"),
        ("$A", "$A"),
        ("a$", "a$"),
        ("'${B:-$A}'", "$A"),
    ],
)
def test_a_reference_is_replaced_wherever_it_stands(value_of, written, value):
    assert value_of(written, A="one", EMPTY="") == value


@pytest.mark.parametrize(
    "value", ["a: b", "{x: 1}", "- y\n- z", "'", '"', "!!python/none", "*a", "12", "true", "null", "#", "${A}", "$${A}"]
)
def test_a_variable_is_text_and_never_yaml(value_of, value):
    assert value_of("${A}", A=value) == value
    assert value_of("'${A}'", A=value) == value


def test_a_variable_can_be_a_number_where_one_is_expected(tmp_path):
    file = tmp_path / "q.yaml"
    file.write_text(
        TEXT.format(value="x") + "chunking: {max_chars: ${N}}\nindex: {timeout: ${T}, prefer_grpc: ${G}}\n"
        "state: {permissions: ${P}}\n"
    )
    config = load_config(file, env={"N": "500", "T": "2m", "G": "true", "P": "0640"})
    assert (config.chunking.max_chars, config.index.timeout, config.index.prefer_grpc) == (500, 120.0, True)
    assert config.state.permissions == 0o640


def test_a_server_is_used_only_where_one_is_named(tmp_path):
    file = tmp_path / "q.yaml"
    file.write_text(TEXT.format(value="x") + "index: {url: ${URL:-}, api_key: ${KEY:-}}\n")
    assert load_config(file, env={}).index.is_embedded
    assert load_config(file, env={}).index.api_key is None
    assert load_config(file, env={"URL": "http://x"}).index.location == "server:http://x"


def test_a_missing_variable_is_named_with_its_line_and_once(tmp_path):
    file = tmp_path / "q.yaml"
    file.write_text("name: x\nsources:\n  docs:\n    type: git\n    # ${IN_A_COMMENT}\n    token: ${MISSING}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, env={})
    assert str(caught.value).count("\n") == 0
    assert ":6: sources.docs.token: the environment variable MISSING is not set" in str(caught.value)


@pytest.mark.parametrize(
    "written", ["'${'", "'${}'", "'${1}'", "'${A'", "'${A:-${B}}'", "'${A-x}'", "'${A:?x}'", "'${A B}'"]
)
def test_a_malformed_reference_is_an_error(value_of, written):
    with pytest.raises(ConfigError, match=r":3: sources\.docs\.metadata\.value: `\$\{` begins no variable"):
        value_of(written, A="x", B="y")


def test_a_variable_that_is_no_utf_8_is_an_error(value_of):
    with pytest.raises(ConfigError, match="variable A is not valid UTF-8"):
        value_of("${A}", A=b"caf\xe9".decode("utf-8", "surrogateescape"))


def test_keys_are_never_replaced(tmp_path):
    file = tmp_path / "q.yaml"
    file.write_text("name: x\nsources: {docs: {type: git, metadata: {'${A}': 1, \"b\": 2}}}\n")
    assert load_config(file, env={"A": "b"}).sources["docs"].metadata == {"${A}": 1, "b": 2}


def test_scalars_are_those_of_yaml_1_2(value_of):
    assert value_of("[no, on, 1:30, 0x10, 0600, 1_000, 2024-01-01, ~, true, -5, 1.5, '5', 1e3]") == [
        "no", "on", "1:30", "0x10", "0600", "1_000", "2024-01-01", None, True, -5, 1.5, "5", "1e3",
    ]  # fmt: skip


def test_aliases_and_merged_mappings_are_written_out(tmp_path):
    file = tmp_path / "q.yaml"
    file.write_text(
        "name: x\nsources:\n  a: &a {type: git, ref: one, uri: 'https://a/{path}'}\n"
        "  b: &b {type: git, ref: two, history: 5}\n  c: {<<: [*a, *b], username: me}\n  d: {ref: three, <<: *b}\n"
    )
    sources = load_config(file, env={}).sources
    assert (sources["c"].ref, sources["c"].history, sources["c"].uri) == ("one", 5, "https://a/{path}")
    assert (sources["c"].username, sources["d"].ref, sources["d"].history) == ("me", "three", 5)


@given(st.text(alphabet=st.sampled_from("${}:-A b,[]#'\"\\\n€"), max_size=30))
def test_covering_keeps_every_column_and_can_be_undone(text):
    covered = hide(text)
    assert len(covered) == len(text)
    assert covered.count("\n") == text.count("\n")
    assert reveal(covered) == text


@given(st.text(alphabet=st.sampled_from("${}:-AB x"), max_size=30))
def test_what_is_put_in_is_not_looked_at_again(text):
    try:
        result, names = substitute(text, {"A": "${B}"})
    except EnvironmentProblem:
        return
    assert result.count("${B}") >= len(names)
    assert names in ((), ("A",))


@given(st.text(alphabet=st.sampled_from("${}:-AB x"), max_size=30))
def test_a_text_without_a_brace_after_a_dollar_is_left_as_it_is(text):
    plain = text.replace("${", "")
    if "${" not in plain:
        assert substitute(plain, {}) == (plain, ())


def test_an_escaped_character_of_those_that_cover_references_is_itself():
    assert reveal("\U0010f801") == "\U0010f801"
    assert reveal(hide("a ${B} \u00fc") + "\U0010f801") == "a ${B} \u00fc\U0010f801"
