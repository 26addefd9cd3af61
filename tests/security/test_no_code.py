"""Documents and configs are data: nothing in the source could run one as code. And TLS is always verified."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from qloader.config.models import Config

SOURCE = Path(__file__).parents[2] / "src" / "qloader"
MODULES = sorted(SOURCE.rglob("*.py"))
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "code", "codeop"}
ALLOWED = {("workspace/preparing.py", "marshal"), ("manifest/snapshot.py", "marshal")}
"""Plain types alone, over a pipe between processes of this program or in a file without a name: nobody else has it."""
FORBIDDEN_CALLS = {"eval", "exec", "__import__", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"}


def trees():
    return [(path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in MODULES]


def nodes(kind):
    return [(name, node) for name, tree in trees() for node in ast.walk(tree) if isinstance(node, kind)]


def test_nothing_imports_what_runs_data_as_code():
    found = [
        (name, alias.name)
        for name, node in nodes((ast.Import, ast.ImportFrom))
        for alias in [*node.names, *([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else [])]
        if alias.name.split(".")[0] in FORBIDDEN_MODULES and (name, alias.name) not in ALLOWED
    ]
    assert found == []


def test_nothing_evaluates_text():
    assert [
        (name, ast.unparse(node.func)) for name, node in nodes(ast.Call) if ast.unparse(node.func) in FORBIDDEN_CALLS
    ] == []


def test_no_command_goes_through_a_shell():
    shells = [
        (name, node.lineno)
        for name, node in nodes(ast.keyword)
        if node.arg == "shell" and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    assert shells == []


def test_yaml_is_read_by_safe_loaders_alone():
    used = {
        (name, ast.unparse(node.args[1])) for name, node in nodes(ast.Call) if ast.unparse(node.func) == "yaml.load"
    }
    assert {name for name, _ in used} == {
        "adopting/mapping.py",
        "documents/frontmatter.py",
        "workspace/evaluating.py",
    }
    loaders = {node.attr for _, node in nodes(ast.Attribute) if node.attr.endswith("Loader")}
    assert loaders <= {
        "SafeLoader",
        "CSafeLoader",
        "BaseLoader",
        "CBaseLoader",
    }  # the base ones make text of everything


@pytest.mark.parametrize("name", ["verify", "verify_ssl", "check_hostname", "insecure", "skip_tls"])
def test_nothing_turns_the_verification_of_certificates_off(name):
    off = [
        (module, node.lineno)
        for module, node in nodes(ast.keyword)
        if node.arg == name and isinstance(node.value, ast.Constant) and node.value.value is False
    ]
    assert off == []
    assert f'"{name}"' not in str(Config.model_json_schema())


def test_nothing_makes_a_context_that_verifies_nothing():
    texts = [path.read_text(encoding="utf-8") for path in MODULES]
    assert not any(word in text for text in texts for word in ("CERT_NONE", "_create_unverified_context"))
