"""Hooks: whether it is really they who call, and which sources a call concerns."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import TypeAdapter

from qloader import Workspace
from qloader.config.sources import SourceConfig
from qloader.watching.hooks import Call, HookError, concerned, read_call, same_repository
from qloader.watching.service import Watch

SECRET = "It's a Secret to Everybody"

SOURCES: dict[str, Any] = {
    name: TypeAdapter(SourceConfig).validate_python(keys)  # type: ignore[arg-type]
    for name, keys in {
        "handbook": {"type": "git", "url": "https://user@github.com/Acme/Handbook.git"},
        "ssh": {"type": "git", "url": "git@github.com:acme/other.git"},
        "here": {"type": "git", "url": "."},
        "wiki": {"type": "confluence", "url": "https://acme.atlassian.net/wiki", "spaces": ["ENG", "OPS"]},
        "page": {"type": "confluence", "url": "https://acme.atlassian.net/wiki", "roots": ["123"]},
        "tickets": {"type": "jira", "url": "https://acme.atlassian.net", "projects": ["KAN"]},
        "query": {"type": "jira", "url": "https://acme.atlassian.net", "jql": "assignee = currentUser()"},
        "docs": {"type": "files", "path": "docs"},
    }.items()
}


def sign(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def call(kind: str, value: Any, **headers: str) -> Call:
    body = json.dumps(value).encode()
    named = {"github": "x-hub-signature-256"}.get(kind, "x-hub-signature")
    signed = {"x-gitlab-token": SECRET} if kind == "gitlab" else {named: sign(body)}
    return read_call(kind, signed | {name.replace("_", "-"): text for name, text in headers.items()}, body, SECRET)


def wakes(kind: str, value: Any, **headers: str) -> list[str]:
    return concerned(kind, call(kind, value, **headers), SOURCES)


def status(kind: str, headers: dict[str, str], body: bytes) -> int:
    with pytest.raises(HookError) as refused:
        read_call(kind, headers, body, SECRET)
    return refused.value.status


def test_the_signature_is_the_one_that_github_documents() -> None:
    # https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries: their own example.
    assert sign(b"Hello, World!") == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


@pytest.mark.parametrize("kind", ["github", "confluence", "jira"])
def test_a_signature_that_is_missing_wrong_of_another_secret_or_another_kind_is_refused(kind: str) -> None:
    name = "x-hub-signature-256" if kind == "github" else "x-hub-signature"
    body = b"{}"
    assert read_call(kind, {name: sign(body)}, body, SECRET) == Call()
    right = sign(body)
    sha1 = "sha1=" + hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
    wrong = ["", right[:-1], right.upper(), right.removeprefix("sha256="), sign(body, "other"), sign(b"{} "), sha1, "ö"]
    for text in wrong:
        assert status(kind, {name: text}, body) == 401, text
    assert status(kind, {}, body) == 401
    assert status(kind, {"x-gitlab-token": SECRET}, body) == 401


def test_gitlab_sends_the_token_itself() -> None:
    assert read_call("gitlab", {"x-gitlab-token": SECRET}, b"{}", SECRET) == Call()
    for text in ("", SECRET + " ", SECRET[:-1], sign(b"{}")):
        assert status("gitlab", {"x-gitlab-token": text}, b"{}") == 401


def test_automations_of_atlassian_send_the_secret_as_a_bearer() -> None:
    for kind in ("confluence", "jira"):
        assert read_call(kind, {"authorization": f"Bearer {SECRET}"}, b"{}", SECRET) == Call()
        assert status(kind, {"authorization": "Bearer "}, b"{}") == 401
        assert status(kind, {"authorization": f"Basic {SECRET}"}, b"{}") == 401
        assert status(kind, {"authorization": f"Bearer {SECRET}", "x-hub-signature": "sha256=00"}, b"{}") == 401
    assert status("github", {"authorization": f"Bearer {SECRET}"}, b"{}") == 401


def test_a_signature_is_checked_before_anything_is_read() -> None:
    assert status("github", {"x-hub-signature-256": "sha256=00"}, b"{" * 100_000) == 401
    for body in (b"", b"{", b"[" * 100_000, b"\xff", b"[]", b"1", b'{"a": NaN}'):
        assert status("github", {"x-hub-signature-256": sign(body)}, body) == 400


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/handbook",
        "https://github.com/acme/handbook.git",
        "https://github.com/acme/handbook/",
        "https://x:token@GitHub.com:443/Acme/Handbook.git",
        "ssh://git@github.com:22/acme/handbook.git",
        "git@github.com:acme/handbook.git",
        "git://github.com/acme/handbook.git",
    ],
)
def test_a_repository_is_the_same_however_it_is_written(url: str) -> None:
    assert same_repository(url) == "github.com/acme/handbook"


@pytest.mark.parametrize("url", ["", ".", "/srv/repo.git", "http://[", "C:\\repo", "file:///srv/repo.git"])
def test_what_is_no_address_is_no_repository_of_a_forge(url: str) -> None:
    assert not same_repository(url).startswith("github.com/")


def test_a_push_wakes_the_source_that_reads_the_repository_and_no_other() -> None:
    push = {"ref": "refs/heads/main", "repository": {"clone_url": "https://github.com/acme/handbook.git"}}
    assert wakes("github", push, x_github_event="push") == ["handbook"]
    other = {"repository": {"ssh_url": "git@github.com:acme/other.git"}}
    assert wakes("github", other, x_github_event="push") == ["ssh"]
    pushed = {"object_kind": "push", "project": {"git_ssh_url": "git@github.com:acme/other.git"}}
    assert wakes("gitlab", pushed) == ["ssh"]
    assert wakes("github", {"repository": {"html_url": "https://github.com/acme/unknown"}}) == []


def test_a_call_that_names_nothing_wakes_all_of_its_kind() -> None:
    assert wakes("github", {}) == wakes("gitlab", {}) == ["handbook", "ssh", "here"]
    assert wakes("confluence", {"event": "space_updated"}) == ["wiki", "page"]
    assert wakes("jira", {"webhookEvent": "jira:version_released"}) == ["tickets", "query"]
    for odd in ({"repository": None}, {"repository": [1]}, {"repository": {"clone_url": 7}}):
        assert wakes("github", odd) == ["handbook", "ssh", "here"]


def test_events_that_change_no_commit_are_no_news() -> None:
    for event in ("ping", "star", "issues"):
        assert not call("github", {}, x_github_event=event).is_news
    assert not call("gitlab", {"object_kind": "note"}).is_news
    assert call("gitlab", {"object_kind": "tag_push"}).is_news
    assert call("github", {}, x_github_event="push").is_news


def test_github_may_send_a_form() -> None:
    value = json.dumps({"repository": {"clone_url": "https://github.com/acme/handbook.git"}})
    body = urlencode({"payload": value}).encode()
    headers = {"x-hub-signature-256": sign(body), "content-type": "application/x-www-form-urlencoded"}
    assert concerned("github", read_call("github", headers, body, SECRET), SOURCES) == ["handbook"]


def test_a_page_wakes_the_source_of_its_space_and_those_whose_space_is_not_known() -> None:
    assert wakes("confluence", {"event": "page_updated", "page": {"id": 1, "spaceKey": "ENG"}}) == ["wiki", "page"]
    assert wakes("confluence", {"space": {"key": "eng"}}) == ["wiki", "page"]
    assert wakes("confluence", {"page": {"spaceKey": "HR"}}) == ["page"]
    attached = {"event": "attachment_created", "attachments": [{"spaceKey": "OPS"}]}
    assert wakes("confluence", attached) == ["wiki", "page"]


def test_an_issue_wakes_the_source_of_its_project_and_those_that_ask_by_a_query() -> None:
    assert wakes("jira", {"webhookEvent": "jira:issue_updated", "issue": {"key": "KAN-12"}}) == ["tickets", "query"]
    assert wakes("jira", {"issue": {"key": "HR-1"}}) == ["query"]
    assert wakes("jira", {"project": {"key": "kan"}}) == ["tickets", "query"]


@pytest.mark.parametrize(
    ("kind", "value", "is_whole"),
    [
        ("jira", {"webhookEvent": "jira:issue_deleted"}, True),
        ("jira", {"webhookEvent": "jira:issue_updated"}, False),
        ("confluence", {"event": "page_trashed"}, True),
        ("confluence", {"event": "page_removed"}, True),
        ("confluence", {"event": "page_moved"}, True),
        ("confluence", {"event": "space_archived"}, True),
        ("confluence", {"event": "page_created"}, False),
        ("github", {"deleted": True}, False),  # git shows deletes in any case
    ],
)
def test_after_a_delete_a_source_is_listed_whole(kind: str, value: dict[str, Any], is_whole: bool) -> None:
    assert call(kind, value).is_whole is is_whole


def test_the_secret_itself_never_shows(tmp_path: Any) -> None:
    config = tmp_path / "qloader.yaml"
    config.write_text(
        "name: x\nsources: {docs: {type: files, path: docs}}\nwatch: {listen: '127.0.0.1:0', hooks: {github: geheim}}\n"
    )
    settings = Workspace.open(config).settings
    assert settings.config.watch is not None
    assert settings.config.watch.hooks.given() == {"github": "geheim"}
    watch = Watch.of(settings.config)
    assert watch.secrets == {"github": "geheim"}
    assert "geheim" not in repr(settings) + settings.config.model_dump_json() + repr(watch)
