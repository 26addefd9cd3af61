"""YAML that would run code, or grow beyond all bounds."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from qloader.config.load import load_config
from qloader.documents.frontmatter import split_front_matter
from qloader.errors import ConfigError

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
"""Ten to the power of ten values from half a kilobyte."""

TAGS = ["!!python/object/apply:os.mkdir [canary]", "!!python/name:os.system", "!!python/object:builtins.object {}"]


@pytest.mark.parametrize("tag", TAGS)
def test_a_config_with_a_python_tag_is_refused(tmp_path, tag, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qloader.yaml").write_text(f"name: {tag}\nsources: {{d: {{type: files, path: .}}}}\n")
    with pytest.raises(ConfigError, match="no YAML tags"):
        load_config(tmp_path / "qloader.yaml")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("tag", TAGS)
def test_front_matter_with_a_python_tag_stays_text(tmp_path, tag, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"---\ntitle: {tag}\n---\nText\n"
    assert split_front_matter(text) == ({}, text)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("reader", ["config", "front matter"])
def test_a_bomb_of_aliases_is_refused_within_bounds(tmp_path, reader):
    (tmp_path / "bomb.yaml").write_text(f"name: x\n{BOMB}")
    program = {
        "config": "from pathlib import Path\nfrom qloader.config.load import load_config\n"
        "from qloader.errors import ConfigError\n"
        "try: load_config(Path('bomb.yaml'))\n"
        "except ConfigError as error: print('aliases included' in str(error))",
        "front matter": "from pathlib import Path\nfrom qloader.documents.frontmatter import split_front_matter\n"
        "text = '---\\n' + Path('bomb.yaml').read_text() + '---\\nText\\n'\n"
        "print(split_front_matter(text) == ({}, text))",
    }[reader]

    def bound():
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300, preexec_fn=bound
    )
    assert done.stdout == "True\n", done.stderr
