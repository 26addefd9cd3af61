"""Runs a composite action of GitHub: its shell steps for real, its `uses` by what each does to the forge."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass
class Runner:
    """One runner, as fresh as GitHub's.

    Attributes:
        checkout: Where the repository was checked out.
        temp: `RUNNER_TEMP`.
        environment: What the workflow and the forge set.
        uses: What a step that uses another action does, by the action's name; gets the step's `with`.
    """

    checkout: Path
    temp: Path
    environment: Mapping[str, str]
    uses: Mapping[str, Callable[[dict[str, str]], None]] = field(default_factory=dict)
    log: str = ""
    summary: str = ""

    def run(self, action: Path, **inputs: str) -> int:
        """Runs the steps in order until one fails.

        Args:
            action: The `action.yml`.
            inputs: The workflow's `with`, `-` written as `_`.

        Returns:
            The exit code of the step that failed, or 0.
        """
        described: Any = yaml.safe_load(action.read_text(encoding="utf-8"))
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert given.keys() <= described["inputs"].keys()
        context = {
            f"inputs.{name}": given.get(name, spec.get("default", "")) for name, spec in described["inputs"].items()
        }
        context |= {"github.action_path": str(action.parent), "github.token": "workflow", "runner.os": "Linux"}
        context["github.run_id"] = self.environment["GITHUB_RUN_ID"]
        context = {name: self._fill(value, context) for name, value in context.items()}
        for step in described["runs"]["steps"]:
            if not self._holds(step.get("if", "true"), context):
                continue
            if "uses" in step:
                name = step["uses"].partition("@")[0]
                act = self.uses.get(name)
                if act is not None:
                    act({k: self._fill(str(v), context) for k, v in step["with"].items()})
                continue
            code = self._step(step, context)
            if code:
                return code
        return 0

    def _step(self, step: Mapping[str, Any], context: dict[str, str]) -> int:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "what others chose would become part of the script"
        output, summary = self.temp / "output", self.temp / "summary"
        for file in (output, summary):
            file.write_text("", encoding="utf-8")
        environment = {
            **os.environ,
            **self.environment,
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
            **{name: self._fill(str(value), context) for name, value in step.get("env", {}).items()},
        }
        # As GitHub starts `shell: bash`.
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        self.log += done.stdout
        self.summary += summary.read_text(encoding="utf-8")
        for line in output.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            context[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode

    @staticmethod
    def _fill(value: str, context: Mapping[str, str]) -> str:
        return _EXPRESSION.sub(lambda match: context[match[1]], value)

    @staticmethod
    def _holds(condition: str, context: Mapping[str, str]) -> bool:
        """Conditions of comparisons joined by `&&`; anything else is an error."""
        parts = [part.strip() for part in condition.split("&&")]
        for part in parts:
            if part == "true":
                continue
            found = re.fullmatch(r"([\w.-]+) (==|!=) '([^']*)'", part)
            assert found, f"cannot evaluate {part}"
            if (context[found[1]] == found[3]) != (found[2] == "=="):
                return False
        return True
