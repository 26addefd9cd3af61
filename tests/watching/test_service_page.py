"""The unit and the Compose file of docs/service.md, as far as they can be tried without systemd or Docker as root."""

from __future__ import annotations

import configparser
import getpass
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.main import get_command

from qloader import Workspace
from qloader.cli.app import make_app
from qloader.watching.server import address_of
from support.command_line import wait_until
from support.workspaces import write

PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return found[0]


def unit() -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block("ini"))
    return dict(parser["Service"])


def compose() -> dict[str, Any]:
    return yaml.safe_load(block("yml"))["services"]["qloader"]


def parses(arguments: list[str]) -> None:
    """Holds a command line to the command's own options."""
    assert arguments[0] == "watch"
    command: Any = get_command(make_app()).commands["watch"]  # type: ignore[attr-defined]
    command.make_context("watch", arguments[1:], resilient_parsing=False)


def test_the_commands_of_the_unit_and_of_compose_are_commands() -> None:
    program, *arguments = unit()["ExecStart"].split()
    assert program.endswith("/bin/qloader")
    parses(arguments)
    program, *arguments = compose()["command"]
    assert program == "qloader"
    parses(arguments)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "qloader"
    if not program.exists():
        program = Path(sys.executable)
    text = block("ini").replace("/opt/qloader/bin/qloader", str(program))
    text = text.replace("User=qloader", f"User={getpass.getuser()}")
    file = tmp_path / "qloader@.service"
    file.write_text(text, encoding="utf-8")
    instance = tmp_path / "qloader@handbook.service"
    instance.symlink_to(file)
    done = subprocess.run(["systemd-analyze", "verify", str(instance)], capture_output=True, text=True, timeout=300)
    about = [line for line in done.stderr.splitlines() if "qloader" in line]
    assert (done.returncode, about) == (0, [])


def test_the_unit_gives_the_service_what_it_needs() -> None:
    service = unit()
    assert service["Type"] == "notify"
    assert service["Environment"] == f"QLOADER_HOME=/var/lib/{service['StateDirectory']}"
    assert "-HUP" in service["ExecReload"]


def test_the_compose_file_gives_the_service_what_it_needs(keeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = compose()
    volumes = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert volumes["qloader"] == service["environment"]["QLOADER_HOME"]
    # The config that the page shows, with what it says of Compose, and the variables of the Compose file.
    shown = block("yaml")
    for name in set(re.findall(r"\$\{(\w+)\}", shown)) | {"QDRANT_URL"}:
        assert name in service["environment"]
        monkeypatch.setenv(name, "http://qdrant:6333" if name == "QDRANT_URL" else "secret")
    file = keeper.folder / "qloader.yaml"
    index, sources = 'index: {url: "${QDRANT_URL}"}', "sources: {docs: {type: files, path: docs}}"
    assert index in PAGE
    file.write_text(f"name: handbook\n{index}\n{sources}\n{shown}", encoding="utf-8")
    config = Workspace.open(file).settings.config
    assert config.watch is not None
    assert config.watch.hooks.given() == {"github": "secret"}


def test_the_health_check_of_compose_is_passed_by_a_service_and_failed_without_one(keeper: Any) -> None:
    write(keeper.folder / "docs", {"page.md": "# Page\n\nText."})
    check = compose()["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python", "-c"]
    listen = {"listen": "127.0.0.1:0"}
    with keeper.watching(keeper.configure({"docs": {"type": "files", "path": "docs"}}, watch=listen)) as running:
        program = check[3].replace("http://127.0.0.1:8080", running.url)
        assert program != check[3]
        wait_until(lambda: httpx.get(f"{running.url}/readyz", timeout=120).status_code == 200)
        assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL).returncode != 0


def test_the_page_names_every_limit_as_it_is() -> None:
    from qloader.watching import agenda, server

    assert f"{server.DEADLINE:.0f} seconds and {server.MAX_BODY >> 20} MiB" in PAGE.replace("\n", " ")
    assert f"{server.MAX_HELD >> 20} MiB" in PAGE
    assert f"{server.CONNECTIONS} connections" in PAGE
    assert f"after {agenda.FIRST_RETRY:.0f} s" in PAGE
    assert agenda.LONGEST_RETRY == 600
    assert agenda.LONGEST_BURST == 10
    with socket.socket(socket.AF_INET6) as listener:
        assert address_of(listener) == "http://[::]:0"
