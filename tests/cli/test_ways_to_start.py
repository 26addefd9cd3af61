"""Every way to start a command: modules, scripts, other folders, the environment, the shell's completion."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qloader import __version__
from qloader.cli.app import make_app
from support.command_line import Prompt
from support.workspaces import CONFIG, write

COMMANDS = [
    *([command.name] for command in make_app().registered_commands),
    *(["state", command.name] for command in make_app().registered_groups[0].typer_instance.registered_commands),
]
PLACE = "path: .qloader/index"


def test_python_dash_m_is_the_command(prompt: Prompt) -> None:
    answer = prompt.process("--version")
    assert (answer.code, answer.out, answer.err) == (0, f"qloader {__version__}\n", "")
    assert prompt.process("plan", "--detailed-exitcode").code == 2


def test_the_installed_script_is_the_command(prompt: Prompt) -> None:
    script = shutil.which("qloader", path=str(Path(sys.executable).parent))
    assert script is not None
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == f"qloader {__version__}\n"


def test_version_stands_before_a_command_too(prompt: Prompt) -> None:
    assert prompt.ok("--version").out == f"qloader {__version__}\n"
    assert prompt.ok("-c", "qloader.yaml", "--version").out == f"qloader {__version__}\n"


@pytest.mark.parametrize("command", [[], *COMMANDS, ["state"]], ids=" ".join)
def test_every_command_explains_itself(prompt: Prompt, command: list[str]) -> None:
    for option in ("--help", "-h"):
        answer = prompt.ok(*command, option)
        assert answer.out.startswith(f"Usage: {' '.join(['qloader', *command])}")
        assert answer.err == ""


def test_the_bare_command_shows_the_help(prompt: Prompt) -> None:
    for command in ([], ["state"]):
        answer = prompt.ok(*command)
        assert answer.out.startswith("Usage: ")
        assert answer.err == ""


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o default -F"), ("zsh", "compdef"), ("fish", "complete --command")]
)
def test_show_completion_prints_what_the_shell_needs(prompt: Prompt, shell: str, mark: str) -> None:
    answer = prompt.process("--show-completion", shell, env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert answer.code == 0
    assert mark in answer.out
    assert "_QLOADER_COMPLETE" in answer.out


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [
        ("qloader ", 1, {"init", "plan", "apply", "search", "state"}),
        ("qloader pl", 1, {"plan"}),
        ("qloader state ", 2, {"list", "show", "backup", "unlock"}),
        ("qloader plan --de", 2, {"--detailed-exitcode"}),
    ],
)
def test_the_shell_completes_commands_and_options(prompt: Prompt, words: str, number: int, expected: set[str]) -> None:
    env = {"_QLOADER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    answer = prompt.process(env=env)
    assert answer.code == 0
    assert expected <= set(answer.out.split())


def test_a_config_elsewhere_means_what_it_means_there(
    applied: Prompt, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    config = applied.folder / "qloader.yaml"
    nothing = "No changes. The index matches the sources."
    assert applied.ok("plan", "-c", config).last == nothing
    assert applied.ok("-c", config, "plan").last == nothing
    assert applied.ok("--config", config, "ingest").err.startswith(nothing)
    assert len(applied.ok("search", "gardens", "-c", config, "--format", "json").json["hits"]) == 5
    applied.ok("plan", "-c", config, "-o", "here.json")
    assert (elsewhere / "here.json").exists()  # what is written goes where the command is run
    assert list(elsewhere.iterdir()) == [elsewhere / "here.json"]


def test_the_option_after_a_command_wins_over_the_one_before_it(prompt: Prompt) -> None:
    assert prompt("-c", "nosuch.yaml", "plan", "-c", "qloader.yaml").code == 0
    assert prompt("-c", "qloader.yaml", "plan", "-c", "nosuch.yaml").code == 1


def test_qloader_config_names_the_config(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    (prompt.folder / "qloader.yaml").rename(prompt.folder / "mine.yaml")
    assert prompt("plan").error == "Error: there is no qloader.yaml in this folder."
    monkeypatch.setenv("QLOADER_CONFIG", "mine.yaml")
    assert prompt.ok("plan").last.startswith("Plan: 12 to create")
    monkeypatch.setenv("QLOADER_CONFIG", "nosuch.yaml")
    answer = prompt("plan")
    assert answer.code == 1
    assert "QLOADER_CONFIG" in answer.error
    assert prompt.ok("plan", "-c", "mine.yaml").code == 0


def test_qloader_home_moves_state_and_cache_and_nothing_else(
    prompt: Prompt, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home") / "not yet there"
    monkeypatch.setenv("QLOADER_HOME", str(home))
    prompt.configure(
        CONFIG.format(path="docs", max_chars=200, batch=5, place=PLACE).replace(
            "state: {path: .qloader/state.db}\n", ""
        )
    )
    prompt.load()
    assert (home / "test" / "state.db").exists()
    assert (home / "test" / "cache.db").exists()
    assert {path.name for path in (prompt.folder / ".qloader").iterdir()} == {".gitignore", "index"}
    assert (home / "test" / "state.db").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert prompt.ok("plan").last == "No changes. The index matches the sources."
    monkeypatch.delenv("QLOADER_HOME")
    answer = prompt("plan")  # the state is elsewhere now: no silent second load into an index that is full
    assert answer.code == 1
    assert "belongs to the state" in answer.error
    assert "QLOADER_HOME" in answer.remedy


def test_the_environment_reaches_the_config_and_no_output(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt.configure(
        "name: test\nindex: {url: '${SERVER}', api_key: '${KEY}'}\nstate: {path: state.db}\n"
        "sources:\n  docs: {type: files, path: '${FOLDER:-docs}'}\n"
    )
    answer = prompt("plan")
    assert answer.code == 1
    assert "the environment variable SERVER is not set" in answer.err
    assert "qloader.yaml:2: " in answer.err
    monkeypatch.setenv("SERVER", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("KEY", "hunter3")
    prompt.ok("plan", "-o", "plan.json")
    said = [prompt("apply", "plan.json"), prompt("apply", "plan.json", "--debug"), prompt("validate"), prompt("status")]
    text = "".join(answer.out + answer.err for answer in said) + (prompt.folder / "plan.json").read_text()
    assert "server:http://127.0.0.1:9" in text
    assert "hunter" not in text
    assert b"hunter" not in b"".join(p.read_bytes() for p in prompt.folder.rglob("*.db*"))


def test_two_configs_in_one_folder_never_share_a_state(applied: Prompt) -> None:
    write(applied.folder / "notes", {"a.md": "# A\n\nA note on gardens."})
    applied.configure("name: other\nsources: {notes: {type: files, path: notes}}\n", name="other.yaml")
    assert applied.ok("ingest", "-c", "other.yaml").last.startswith("Apply complete: 1 created")
    assert applied.ok("plan").last == "No changes. The index matches the sources."
    assert applied.ok("plan", "-c", "other.yaml").last == "No changes. The index matches the sources."
    hits = applied.ok("search", "gardens", "-c", "other.yaml", "--format", "json").json["hits"]
    assert [hit["address"] for hit in hits] == ["notes/a.md"]
