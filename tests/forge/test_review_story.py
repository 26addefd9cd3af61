"""The whole way of a plan through a pull request, on runners that remember nothing.

A branch with an edit, a rename, a deletion and a new page is planned in CI, commented on, verified by a reviewer in
another checkout, squashed into the default branch, and applied there from a fresh folder: exactly as reviewed. The
recipes that users copy run for real, in bash, with real git; the forge and the store of the state (S3) are servers on
the loopback. The index is an embedded one at a fixed place, as a server would be.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from qloader import Workspace
from servers.forge import PROJECT, REPOSITORY, ForgeModel, Pull, Run, make_app, make_file_host, zipped
from servers.serving import serve
from support.actions import Runner
from support.s3_loopback import BUCKET, KEYS, serving_s3
from support.workspaces import dump

ROOT = Path(__file__).parents[2]
WORDS = "The index follows the sources, and a plan says beforehand what an apply will do to it. " * 3
BEFORE = {
    "docs/intro.md": f"# Intro\n\n{WORDS}\n\nThe old end.",
    "docs/setup.md": f"# Setup\n\n{WORDS}",
    "docs/gone.md": "# Gone\n\nThis page will go.",
    "docs/same.md": "# Same\n\nThis page stays.",
    "docs/more.md": "# More\n\nThis page stays too.",
    "docs/last.md": "# Last\n\nAnd this one.",
}
AFTER = {
    "docs/intro.md": f"# Intro\n\n{WORDS}\n\nA better end.",
    "docs/setup.md": None,
    "docs/install.md": f"# Setup\n\n{WORDS}",
    "docs/gone.md": None,
    "docs/new.md": "# New\n\nThis page is new.",
}
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="the story is told with git itself")


class Story:
    """A repository at a forge, and everybody who clones it."""

    def __init__(self, folder, kind, stack):
        self.folder, self.kind = folder, kind
        self.model = ForgeModel()
        self.forge = stack.enter_context(serve(make_app(self.model)))
        self.model.files = stack.enter_context(serve(make_file_host(self.model)))
        store = stack.enter_context(serving_s3())
        store.empty()
        self.origin = folder / "origin.git"
        self.runs = 0
        self.sh(f"git init -q --bare -b main {self.origin}", folder)
        first = self.clone("author")
        self.config = f"""\
name: handbook
index: {{collection: handbook, path: "{folder / "shared" / "index"}"}}
state: {{url: "s3://{BUCKET}/handbook", options: {{endpoint: "{store.url}", region: us-east-1}}}}
sources:
  docs: {{type: git, url: ., include: ["docs/**"]}}
chunking: {{max_chars: 200}}
guards: {{max_delete_percent: 50}}
"""
        (first / "qloader.yaml").write_text(self.config)
        (first / ".gitignore").write_text(".qloader/\n.xdg-cache/\nplan.json\n")
        self.write(first, BEFORE)
        self.sh("git add -A && git commit -q -m 'The handbook' && git push -q origin main", first)
        self.qloader(first, "ingest")

    def sh(self, script, folder, **environment):
        home = {"HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        names = {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=folder,
            env={**os.environ, **home, **names, **self.path, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    @property
    def path(self):
        return {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}

    def own(self, clone):
        """What makes a clone a machine of its own: nothing of qloader's outlives it."""
        return {"QLOADER_HOME": str(self.folder / "homes" / clone.name)}

    def clone(self, name):
        self.sh(f"git clone -q {self.origin} {name}", self.folder)
        return self.folder / name

    def write(self, clone, files):
        for name, text in files.items():
            path = clone / name
            if text is None:
                self.sh(f"git rm -q {name}", clone)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def qloader(self, clone, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "qloader", *arguments],
            cwd=clone,
            env={**os.environ, **self.own(clone)},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def branch(self, name, files):
        """A pull request: a branch is pushed."""
        clone = self.clone(name)
        self.sh(f"git switch -q -c {name}", clone)
        self.write(clone, files)
        self.sh(f"git add -A && git commit -q -m {name} && git push -q origin {name}", clone)
        number = len(self.model.pulls) + 1
        self.model.pulls[number] = Pull(number, self.sh("git rev-parse HEAD", clone))
        return number

    def merge(self, number, name):
        """The forge squashes the branch into the default branch, whose commit nobody has planned."""
        clone = self.clone(f"merge-{name}")
        self.sh(f"git merge -q --squash origin/{name} && git commit -q -m 'Squashed' && git push -q origin main", clone)
        self.model.pulls[number].merge_commit = self.sh("git rev-parse HEAD", clone)

    def run_plan(self, number, name):
        """The job of the pull request, on a fresh runner. Returns its exit code and what it printed."""
        self.runs += 1
        clone = self.clone(f"plan-{name}-{self.runs}")
        head = self.model.pulls[number].head
        if self.kind == "gitlab":
            self.sh(f"git checkout -q {head}", clone)
            environment = {"CI_MERGE_REQUEST_IID": str(number), "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
            code, log = self.gitlab("qloader:plan", clone, head, environment)
            plan = clone / "plan.json"
            if plan.exists():
                self.model.runs[self.runs] = Run(self.runs, head, artifacts={"plan.json": plan.read_bytes()})
            return code, log
        # What GitHub checks out for a pull request: the merge that is to come.
        self.sh(f"git merge -q --no-edit origin/{name}", clone)
        event = {"pull_request": {"number": number, "head": {"sha": head, "repo": {"full_name": REPOSITORY}}}}
        run = self.model.runs[self.runs] = Run(self.runs, head)

        def upload(given):
            plan = Path(given["path"])
            assert plan.exists()
            run.artifacts[given["name"]] = zipped(plan_json=plan.read_bytes())

        return self.github(
            "plan", clone, event, self.sh("git rev-parse HEAD", clone), {"actions/upload-artifact": upload}
        )

    def run_apply(self):
        """The job of the default branch, on a fresh runner."""
        self.runs += 1
        clone = self.clone(f"apply-{self.runs}")
        commit = self.sh("git rev-parse HEAD", clone)
        if self.kind == "gitlab":
            return self.gitlab("qloader:apply", clone, commit, {})
        return self.github("apply", clone, {"ref": "refs/heads/main"}, commit, {})

    def github(self, command, clone, event, commit, uses):
        temp = self.folder / f"temp-{self.runs}"
        temp.mkdir()
        (temp / "event.json").write_text(json.dumps(event))
        runner = Runner(
            clone,
            temp,
            {
                "GITHUB_ACTIONS": "true",
                "GITHUB_API_URL": self.forge,
                "GITHUB_SERVER_URL": "https://forge.example",
                "GITHUB_REPOSITORY": REPOSITORY,
                "GITHUB_SHA": commit,
                "GITHUB_RUN_ID": str(self.runs),
                "GITHUB_EVENT_PATH": str(temp / "event.json"),
                "HOME": str(temp),
                **self.path,
                **self.own(clone),
            },
            uses,
        )
        code = runner.run(ROOT / "action.yml", command=command, version="none")
        return code, runner.log

    def gitlab(self, job, clone, commit, environment):
        recipe = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text())
        described = {**recipe[".qloader"], **recipe[job]}
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", "\n".join(described["before_script"] + described["script"])],
            cwd=clone,
            env={
                **os.environ,
                **self.path,
                **{name: str(value) for name, value in recipe["variables"].items()},
                "GITLAB_CI": "true",
                "CI_API_V4_URL": f"{self.forge}/api/v4",
                "CI_PROJECT_ID": PROJECT,
                "CI_COMMIT_SHA": commit,
                "CI_JOB_ID": str(self.runs),
                "CI_JOB_URL": f"https://forge.example/jobs/{self.runs}",
                "GITLAB_TOKEN": "workflow",
                "XDG_CACHE_HOME": str(clone / ".xdg-cache"),
                "HOME": str(self.folder),
                **self.own(clone),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout

    def comment(self, number):
        (comment,) = self.model.own(number)
        return comment.body

    def assert_index_is_a_fresh_load(self):
        """The index equals one that a new state and index load from the default branch."""
        clone = self.clone(f"fresh-{self.runs}")
        other = self.config.replace(str(self.folder / "shared" / "index"), ".qloader/index")
        other = re.sub(r"state: .*\n", "state: {path: fresh.db}\n", other)
        (clone / "other.yaml").write_text(other)
        self.qloader(clone, "-c", "other.yaml", "ingest")
        found, expected = (dump(Workspace.open(clone / name)) for name in ("qloader.yaml", "other.yaml"))
        for points in (found, expected):  # a squashed page was last changed by another commit than a kept one
            for point in points.values():
                del point["payload"]["updated_at"]
        assert found == expected
        assert found


@pytest.fixture
def story(request, tmp_path, monkeypatch):
    for name in [*os.environ]:
        if name.startswith(("QLOADER", "GITHUB", "GITLAB", "CI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret_access_key"])
    monkeypatch.setenv("QLOADER_HOME", str(tmp_path / "homes" / "this process"))
    with ExitStack() as stack:
        yield Story(tmp_path, request.param, stack)


@pytest.mark.parametrize("story", ["github", "gitlab"], indirect=True)
def test_what_was_reviewed_is_applied_on_the_merge_and_nothing_else(story):
    number = story.branch("better", AFTER)
    rival = story.branch("rival", {"docs/rival.md": "# Rival\n\nAnother branch at the same time."})

    code, log = story.run_plan(number, "better")
    assert code == 0, log
    body = story.comment(number)
    assert "Plan: 1 to create, 1 to update, 1 to move, 1 to delete" in body
    for name in ("docs/new.md", "docs/intro.md", "docs/setup.md -> docs/install.md", "docs/gone.md"):
        assert name in body
    assert "Merging applies exactly this plan." in body
    code, log = story.run_plan(rival, "rival")
    assert code == 0, log
    assert "Plan: 1 to create, 0 to update" in story.comment(rival)

    # A reviewer looks at it in another checkout, with the plan that the job kept.
    reviewer = story.clone("reviewer")
    story.sh("git merge -q --no-edit origin/better", reviewer)
    kept = next(iter(story.model.runs[1].artifacts.values()))
    (reviewer / "kept").write_bytes(kept)
    story.sh("mv kept plan.json" if story.kind == "gitlab" else "python3 -m zipfile -e kept .", reviewer)
    verified = story.qloader(reviewer, "verify", "plan.json")
    assert verified.returncode == 0, verified.stderr

    story.merge(number, "better")
    code, log = story.run_apply()
    assert code == 0, log
    body = story.comment(number)
    assert body.endswith("Apply complete: 1 created, 1 updated, 1 moved, 1 deleted.\n")
    assert "Plan: 1 to create, 1 to update, 1 to move, 1 to delete" in body
    story.assert_index_is_a_fresh_load()

    # The same job once more has nothing left to do, and says so.
    code, log = story.run_apply()
    assert code == 0, log
    assert "4 changes of this plan had been applied before." in log

    # The rival was planned before that, so its plan is stale.
    story.merge(rival, "rival")
    code, log = story.run_apply()
    assert code == 4, log
    assert "is not what would be planned now" in story.comment(rival)
    assert "Rival" not in str(dump(Workspace.open(reviewer / "qloader.yaml")))
    index = Workspace.open(story.clone("by-hand") / "qloader.yaml")
    assert story.qloader(index.settings.config.base, "ingest").returncode == 0
    story.assert_index_is_a_fresh_load()


@pytest.mark.parametrize("story", ["github"], indirect=True)
def test_a_plan_that_a_guard_refuses_is_said_in_the_comment_and_cannot_be_merged_into_the_index(story):
    number = story.branch("wipe", dict.fromkeys(BEFORE))
    code, log = story.run_plan(number, "wipe")
    assert code == 3, log
    body = story.comment(number)
    assert "This plan may not be applied." in body
    assert "Merging applies" not in body
    story.merge(number, "wipe")
    code, log = story.run_apply()
    assert code == 1, log
    assert "has no plan of handbook that could be applied" in log
    assert len(dump(Workspace.open(story.clone("look") / "qloader.yaml"))) > len(BEFORE)


@pytest.mark.parametrize("story", ["github"], indirect=True)
def test_a_plan_that_cannot_be_made_replaces_the_review_of_the_commit_before(story):
    number = story.branch("broken", {"docs/new.md": "# New"})
    assert story.run_plan(number, "broken")[0] == 0
    clone = story.folder / "broken"
    story.write(clone, {"qloader.yaml": story.config.replace("url: .,", "url: missing,")})
    story.sh("git commit -q -a -m 'A mistake' && git push -q origin HEAD", clone)
    story.model.pulls[number].head = story.sh("git rev-parse HEAD", clone)
    code, log = story.run_plan(number, "broken")
    assert code == 1, log
    body = story.comment(number)
    assert "There is no plan." in body
    assert "missing" in body
    assert "Plan: 1 to create" not in body


@pytest.mark.parametrize("story", ["github"], indirect=True)
def test_what_was_pushed_after_the_plan_is_not_applied(story):
    number = story.branch("late", {"docs/new.md": "# New"})
    assert story.run_plan(number, "late")[0] == 0
    clone = story.folder / "late"
    story.write(clone, {"docs/unseen.md": "# Unseen\n\nNobody saw a plan of this."})
    story.sh("git add -A && git commit -q -m 'In the last minute' && git push -q origin HEAD", clone)
    story.model.pulls[number].head = story.sh("git rev-parse HEAD", clone)
    story.merge(number, "late")
    code, log = story.run_apply()
    assert code == 4, log
    assert "Nobody reviewed a plan of that." in log
