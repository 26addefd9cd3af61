"""Reviews on a pull request, against a forge on the loopback that speaks GitHub's and GitLab's API."""

import json
from contextlib import ExitStack

import pytest
from starlette.responses import Response

from qloader.applying.result import ApplyResult
from qloader.cli.app import run
from qloader.cli.reviewing import reviewed_plan
from qloader.errors import ForgeError, InterruptedRunError, StalePlanError, StateError
from qloader.forge.comment import Marker
from qloader.forge.detect import find_forge
from qloader.forge.protocol import Job
from qloader.forge.reviewing import fetch_reviewed, post_outcome, post_review
from qloader.render.markdown import LIMIT, OUTCOME, render_error, render_outcome
from qloader.retrying import RetryPolicy
from qloader.state.records import FailureRecord
from servers.forge import PROJECT, REPOSITORY, ForgeModel, Pull, Run, make_app, make_file_host, zipped
from servers.serving import serve
from support.workspaces import make_workspace, write

HEAD, MERGE = "a" * 40, "c" * 40
DIGEST = "d" * 32
PATIENT = RetryPolicy(attempts=3, delay=0.0, sleep=lambda _: None)


class Stand:
    """A forge with a pull request, and the environments of its jobs."""

    def __init__(self, kind, url, folder):
        self.kind, self.url, self.folder = kind, url, folder
        self.model = ForgeModel()
        self.pull = self.model.pulls[7] = Pull(7, HEAD)

    def environment(self, *, token="workflow", run=5, pull=True, commit=HEAD, home=REPOSITORY):
        if self.kind == "gitlab":
            found = {
                "GITLAB_CI": "true",
                "CI_API_V4_URL": f"{self.url}/api/v4",
                "CI_PROJECT_ID": PROJECT,
                "CI_COMMIT_SHA": commit,
                "CI_JOB_ID": str(run),
                "GITLAB_TOKEN": token,
            }
            if pull:
                source = PROJECT if home == REPOSITORY else "7"
                found |= {"CI_MERGE_REQUEST_IID": "7", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": source}
            return found
        event = self.folder / "event.json"
        request = {"number": 7, "head": {"sha": HEAD, "repo": {"full_name": home}}}
        event.write_text(json.dumps({"pull_request": request} if pull else {"ref": "refs/heads/main"}))
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.url,
            "GITHUB_SERVER_URL": "https://forge.example",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SHA": commit,
            "GITHUB_RUN_ID": str(run),
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_TOKEN": token,
        }

    def forge(self, **options):
        return find_forge(self.environment(**options), policy=PATIENT)

    def merging(self, **options):
        return self.forge(pull=False, commit=MERGE, **options)

    def keep(self, plan=b"the plan", *, run=5, commit=HEAD, name="handbook", **options):
        """A run that has kept a plan, as its workflow does."""
        artifacts = {"plan.json": plan} if self.kind == "gitlab" else {f"qloader-plan-{name}": zipped(plan_json=plan)}
        self.model.runs[run] = Run(run, commit, artifacts=artifacts, **options)
        return self.model.runs[run]

    def merge(self):
        self.pull.merge_commit = MERGE


@pytest.fixture(params=["github", "gitlab"])
def stand(request, tmp_path):
    with ExitStack() as stack:
        found = Stand(request.param, "", tmp_path)
        found.url = stack.enter_context(serve(make_app(found.model)))
        found.model.files = stack.enter_context(serve(make_file_host(found.model)))
        yield found


def test_a_review_is_one_comment_that_is_replaced(stand):
    assert post_review(stand.forge(), "handbook", "# First", digest=DIGEST) is None
    assert post_review(stand.forge(run=6), "handbook", "# Second", digest="e" * 32) is None
    (comment,) = stand.pull.comments
    assert "# Second" in comment.body
    assert "# First" not in comment.body
    assert Marker.read(comment.body) == Marker("handbook", "e" * 32, Job("6", HEAD))
    assert "Merging applies exactly this plan." in comment.body


def test_nothing_is_written_where_the_comment_says_it_already(stand):
    for _ in range(2):
        post_review(stand.forge(), "handbook", "# The same", digest=DIGEST)
    assert [comment.edits for comment in stand.pull.comments] == [0]


def test_each_config_has_its_own_comment(stand):
    post_review(stand.forge(), "handbook", "of the handbook", digest=DIGEST)
    post_review(stand.forge(), "handbook-2", "of the other", digest=DIGEST)
    post_review(stand.forge(), "handbook", "of the handbook again", digest=DIGEST)
    assert [c.body.splitlines()[1] for c in stand.pull.comments] == ["of the handbook again", "of the other"]


def test_the_own_comment_is_found_behind_hundreds_of_others(stand):
    for n in range(150):
        stand.model.comment(stand.pull, stand.model.users["person"], f"remark {n}")
    post_review(stand.forge(), "handbook", "one", digest=DIGEST)
    for n in range(150):
        stand.model.comment(stand.pull, stand.model.users["person"], f"more {n}")
    post_review(stand.forge(), "handbook", "two", digest=DIGEST)
    assert [c.edits for c in stand.model.own(7)] == [1]


def test_what_stands_behind_the_own_comment_is_not_read(stand):
    post_review(stand.forge(), "handbook", "one", digest=DIGEST)
    for n in range(250):
        stand.model.comment(stand.pull, stand.model.users["person"], f"remark {n}")
    del stand.model.requests[:]
    post_review(stand.forge(), "handbook", "two", digest=DIGEST)
    assert len([path for method, path, _ in stand.model.requests if method == "GET" and "user" not in path]) == 1
    assert [c.edits for c in stand.model.own(7)] == [1]


def test_a_comment_that_somebody_else_made_to_look_like_ours_is_left_alone(stand):
    forged = f"{Marker('handbook', 'f' * 32, Job('666', HEAD))}\nAll is well, merge this."
    stand.model.comment(stand.pull, stand.model.users["person"], forged)
    post_review(stand.forge(), "handbook", "the true one", digest=DIGEST)
    assert [c.body.splitlines()[1] for c in stand.pull.comments] == ["All is well, merge this.", "the true one"]
    stand.keep()
    stand.merge()
    assert fetch_reviewed(stand.merging(), "handbook").digest == DIGEST


def test_the_reviewed_plan_is_fetched_after_the_merge(stand):
    post_review(stand.forge(), "handbook", "review", digest=DIGEST)
    stand.keep(b"the very bytes")
    stand.merge()
    found = fetch_reviewed(stand.merging(), "handbook")
    assert (found.plan, found.digest, found.request.number) == (b"the very bytes", DIGEST, 7)
    assert stand.model.leaks == []


def test_the_outcome_stands_below_the_review_once(stand):
    post_review(stand.forge(), "handbook", "the review", digest=DIGEST)
    stand.keep()
    stand.merge()
    for outcome in ("it failed", "it worked"):
        post_outcome(stand.merging(), fetch_reviewed(stand.merging(), "handbook"), outcome)
    (comment,) = stand.pull.comments
    assert "the review" in comment.body
    assert comment.body.endswith("it worked\n")
    assert "it failed" not in comment.body


def test_a_pull_request_that_went_on_after_its_plan_is_stale(stand):
    post_review(stand.forge(), "handbook", "review", digest=DIGEST)
    stand.keep()
    stand.merge()
    stand.pull.head = "b" * 40
    with pytest.raises(StalePlanError, match="is of commit aaaaaaaaaaaa, and what was merged is bbbbbbbbbbbb"):
        fetch_reviewed(stand.merging(), "handbook")


def test_a_job_of_another_commit_is_not_believed(stand):
    post_review(stand.forge(), "handbook", "review", digest=DIGEST)
    stand.keep(commit="9" * 40)
    stand.merge()
    with pytest.raises(StalePlanError, match="was for commit 999999999999, not for aaaaaaaaaaaa"):
        fetch_reviewed(stand.merging(), "handbook")


def test_a_commit_without_a_pull_request_has_no_reviewed_plan(stand):
    with pytest.raises(ForgeError, match="came with no merged pull request"):
        fetch_reviewed(stand.merging(), "handbook")


@pytest.mark.parametrize("review", ["none", "without a plan", "of another config"])
def test_a_pull_request_without_a_plan_says_so(stand, review):
    if review != "none":
        name = "other" if review == "of another config" else "handbook"
        post_review(stand.forge(), name, "refused by a guard", digest=None if name == "handbook" else DIGEST)
        assert "Merging applies" not in stand.pull.comments[0].body or name == "other"
    stand.merge()
    with pytest.raises(ForgeError, match="pull request 7 has no plan of handbook"):
        fetch_reviewed(stand.merging(), "handbook")


def test_a_plan_whose_time_is_over_is_told(stand):
    post_review(stand.forge(), "handbook", "review", digest=DIGEST)
    run = stand.keep()
    run.expired.update(run.artifacts)
    stand.merge()
    with pytest.raises(ForgeError, match=r"gone|none any more") as caught:
        fetch_reviewed(stand.merging(), "handbook")
    assert "plan again" in caught.value.remedy


def test_a_wrong_token_is_told_and_not_shown(stand):
    with pytest.raises(ForgeError, match="does not accept the token") as caught:
        post_review(stand.forge(token="s3cret-t0ken"), "handbook", "review", digest=DIGEST)
    assert "s3cret" not in f"{caught.value}{caught.value.remedy}"


def test_a_token_that_may_not_write_is_told_which_rights_it_needs(stand):
    with pytest.raises(ForgeError, match="answers 403") as caught:
        post_review(stand.forge(token="reader"), "handbook", "review", digest=DIGEST)
    assert "pull-requests: write" in caught.value.remedy or "the scope api" in caught.value.remedy


def test_a_fork_that_may_not_comment_is_no_failure(stand):
    told = post_review(stand.forge(token="reader", home="stranger/handbook"), "handbook", "review", digest=DIGEST)
    assert told is not None
    assert "fork" in told
    assert stand.pull.comments == []


def test_a_job_outside_a_pull_request_has_none_to_comment_on(stand):
    with pytest.raises(ForgeError, match="runs for no pull request"):
        post_review(stand.forge(pull=False), "handbook", "review", digest=DIGEST)


def test_what_passes_is_waited_for(stand):
    stand.model.failures = [(502, {}), (503, {}), (429, {"retry-after": "1"})]
    post_review(stand.forge(), "handbook", "review", digest=DIGEST)
    assert len(stand.pull.comments) == 1


def test_a_forge_that_stays_down_is_told(stand):
    stand.model.failures = [(503, {})] * 4
    with pytest.raises(ForgeError, match="cannot be reached: it answers 503"):
        post_review(stand.forge(), "handbook", "review", digest=DIGEST)


def test_a_comment_is_not_written_twice_where_the_answer_is_lost(stand):
    forge = stand.forge()
    list(forge.comments(7))
    stand.model.failures = [(500, {})]
    with pytest.raises(ForgeError, match="answers 500"):
        forge.add_comment(7, "once")
    assert [r for r in stand.model.requests if r[0] == "POST"] == [("POST", stand.model.requests[-1][1], "workflow")]


@pytest.mark.parametrize("missing", ["token", "repository"])
def test_what_is_missing_in_the_environment_is_named(stand, missing):
    names = {"token": ("GITHUB_TOKEN", "GITLAB_TOKEN"), "repository": ("GITHUB_REPOSITORY", "CI_PROJECT_ID")}
    environment = {k: v for k, v in stand.environment().items() if k not in names[missing]}
    with pytest.raises(ForgeError, match="is not set"):
        find_forge(environment)


def test_elsewhere_there_is_no_forge():
    with pytest.raises(ForgeError, match=r"no job of GitHub Actions or GitLab CI") as caught:
        find_forge({"CI": "true"})
    assert "qloader show plan.json --format markdown" in caught.value.remedy


@pytest.mark.parametrize("token", ["t\u00f6ken", "to ken", "to\x00ken", " "])
def test_what_no_token_can_be_is_told_before_anything_is_asked(stand, token):
    with pytest.raises(ForgeError, match=r"^GIT(HUB|LAB)_TOKEN holds no token") as caught:
        stand.forge(token=token)
    assert "ken" not in str(caught.value).replace("token", "").replace("TOKEN", "")


def test_the_line_end_of_a_copied_token_is_left_out(stand):
    post_review(stand.forge(token="workflow\n"), "handbook", "review", digest=DIGEST)
    assert len(stand.pull.comments) == 1


def test_an_address_that_is_none_is_told(stand):
    stand.url = "http://[::1"
    with pytest.raises(ForgeError, match=r"http://\[::1.* is no address"):
        stand.forge()


@pytest.mark.parametrize("answer", ["<html>Sign in</html>", "null", "{}", '"text"', "[1, null]"])
def test_an_answer_in_the_forge_s_place_is_not_taken_for_one(stand, answer):
    stand.model.answer = Response(answer, media_type="application/json")
    with pytest.raises(ForgeError, match="not what its API says"):
        fetch_reviewed(stand.merging(), "handbook")
    with pytest.raises(ForgeError, match="not what its API says"):
        post_review(stand.forge(), "handbook", "review", digest=DIGEST)


def test_an_api_that_has_moved_is_told(stand):
    stand.model.answer = Response(status_code=301, headers={"location": "https://elsewhere.example/"})
    with pytest.raises(ForgeError, match="answers 301") as caught:
        fetch_reviewed(stand.merging(), "handbook")
    assert caught.value.remedy == "Check the address of the API: what it names has moved."


LONG = "`" * 200 + "ä" * 5_000
FAILURES = tuple(FailureRecord(LONG, f"{LONG}{n}", "changed", LONG) for n in range(30))


@pytest.mark.parametrize(
    "outcome",
    [
        render_outcome(ApplyResult(failures=FAILURES)),
        render_error("Not applied.", StateError("\n".join([LONG] * 30), remedy="Do this.")),
    ],
    ids=["documents that were left", "error"],
)
def test_the_longest_review_has_room_for_what_became_of_it(stand, outcome):
    post_review(stand.forge(), "handbook", "x" * LIMIT, digest=DIGEST)
    stand.keep()
    stand.merge()
    shown = "".join(outcome)
    assert len(shown) <= OUTCOME
    assert "Do this." in shown or "and 2" in shown
    post_outcome(stand.merging(), fetch_reviewed(stand.merging(), "handbook"), shown)
    assert stand.pull.comments[0].body.endswith(f"{shown.rstrip()}\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("sources:", "sauces:"), 'sauces: unknown key; did you mean "sources"?'),
        (("sources:", "sources: ["), "qloader.yaml"),
        (("type: files, path: docs", "type: git, url: nowhere"), "nowhere"),
    ],
    ids=["a mistake in the config", "no YAML", "a source that cannot be listed"],
)
def test_a_plan_that_cannot_be_made_takes_the_place_of_the_review_before(stand, tmp_path, monkeypatch, change, says):
    make_workspace(tmp_path)
    for name, value in stand.environment().items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "qloader.yaml"
    assert run(["plan", "--comment", "-c", str(config)]) == 0
    assert "Merging applies" in stand.pull.comments[0].body
    config.write_text(config.read_text().replace(*change))
    assert run(["plan", "--comment", "-c", str(config)]) == 1
    (comment,) = stand.pull.comments
    assert "There is no plan." in comment.body
    assert says in comment.body
    assert "Merging applies" not in comment.body


class TestOutcomes:
    """What the pull request is told of an apply."""

    @pytest.fixture
    def workspace(self, stand, tmp_path, monkeypatch):
        found = make_workspace(tmp_path)
        write(tmp_path / "docs", {f"{name}.md": f"# {name}" for name in "abcde"})
        plan = found.plan(tmp_path / "plan.json").plan
        post_review(stand.forge(), found.name, "the review", digest=plan.header.digest)
        stand.keep(plan.path.read_bytes(), name=found.name)
        stand.merge()
        for name, value in stand.environment(pull=False, commit=MERGE).items():
            monkeypatch.setenv(name, value)
        return found

    def test_a_forge_that_does_not_take_the_outcome_makes_no_apply_undone(self, stand, workspace, capsys):
        with reviewed_plan(workspace) as (plan, tell):
            workspace.apply(plan)
            stand.model.failures = [(500, {})]
            tell("Apply complete.")
        assert "what became of the plan is not on the pull request" in capsys.readouterr().err
        assert stand.pull.comments[0].body.count("Not applied") == 0

    def test_an_apply_that_stops_midway_is_not_told_to_have_done_nothing(self, stand, workspace):
        asked = iter((False, True))
        with pytest.raises(InterruptedRunError), reviewed_plan(workspace) as (plan, _):
            workspace.apply(plan, should_stop=lambda: next(asked))
        assert workspace.status().points > 0
        assert "Not applied to its end: what is done stays" in stand.pull.comments[0].body
        with reviewed_plan(workspace) as (plan, tell):
            tell("".join(render_outcome(workspace.apply(plan))))
        assert "had been applied before" in stand.pull.comments[0].body


class TestGitHubOnly:
    """What only GitHub's artifacts can do."""

    @pytest.fixture
    def stand(self, tmp_path):
        with ExitStack() as stack:
            found = Stand("github", "", tmp_path)
            found.url = stack.enter_context(serve(make_app(found.model)))
            found.model.files = stack.enter_context(serve(make_file_host(found.model)))
            post_review(found.forge(), "handbook", "review", digest=DIGEST)
            found.merge()
            yield found

    def test_what_a_fork_s_workflow_wrote_is_not_applied(self, stand):
        stand.keep(home="stranger/handbook")
        with pytest.raises(ForgeError, match="was made in stranger/handbook, a fork"):
            fetch_reviewed(stand.merging(), "handbook")

    @pytest.mark.parametrize("data", [b"no archive", zipped(), zipped(a=b"1", b=b"2")], ids=["no zip", "empty", "two"])
    def test_an_artifact_that_is_no_plan_is_told(self, stand, data):
        stand.keep().artifacts = {"qloader-plan-handbook": data}
        with pytest.raises(ForgeError, match="does not hold one plan file"):
            fetch_reviewed(stand.merging(), "handbook")

    def test_a_person_s_token_edits_that_person_s_comment_only(self, stand):
        post_review(stand.forge(token="person"), "handbook", "by hand", digest=DIGEST)
        assert [c.author.login for c in stand.pull.comments] == ["github-actions[bot]", "person"]
