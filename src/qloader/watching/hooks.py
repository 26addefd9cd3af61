"""What GitHub, GitLab, Confluence and Jira call: whether it is really they, and which sources they speak of."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from qloader.config.sources import ConfluenceSourceConfig, GitSourceConfig, JiraSourceConfig, SourceSection

_SCP = re.compile(r"(?:[\w.-]+@)?([\w.-]+):(?!//)(.+)")
_GONE = re.compile(r"delet|remov|trash|mov|archiv", re.IGNORECASE)
"""Events after which something may be missing from where it was, which a look for changes does not show."""

_PUSHES = frozenset({"push", "create", "delete", "tag_push", "repository_update"})


class HookError(Exception):
    """The call is not taken; `status` is the answer's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Call:
    """What a hook says.

    Attributes:
        places: What it speaks of: addresses of repositories, keys of spaces or projects. Empty: it does not say.
        is_whole: Whether something is gone.
        is_news: Whether it tells of a change at all.
    """

    places: frozenset[str] = frozenset()
    is_whole: bool = False
    is_news: bool = True


def read_call(kind: str, headers: Mapping[str, str], body: bytes, secret: str) -> Call:
    """Checks who calls, and reads what it says.

    Args:
        kind: Who should be calling: a name in `config.watching.HOOKS`.
        headers: The request's, their names in small letters.
        body: Its body, byte by byte as it was signed.
        secret: What both sides know.

    Raises:
        HookError: 401 where the signature is missing or wrong, 400 where the body is not what such a hook sends.
    """
    if not _CHECKS[kind](headers, body, secret.encode()):
        raise HookError(401, "the signature is missing or wrong")
    try:
        value = orjson.loads(_json_of(headers, body))
    except ValueError:
        raise HookError(400, "the body is no JSON") from None
    if not isinstance(value, dict):
        raise HookError(400, "the body is no JSON object")
    return _READERS[kind](headers, value)


def concerned(kind: str, call: Call, sources: Mapping[str, SourceSection]) -> list[str]:
    """The sources that a call speaks of; all of that kind where it does not say, none where no source reads it.

    Args:
        kind: Who calls.
        call: What it says.
        sources: The config's sources.
    """
    return [name for name, source in sources.items() if _reads(kind, source, call.places)]


def _reads(kind: str, source: SourceSection, places: frozenset[str]) -> bool:
    match source:
        case GitSourceConfig() if kind in ("github", "gitlab"):
            return not places or same_repository(source.url) in places
        case ConfluenceSourceConfig() if kind == "confluence":
            # With `roots` the space is not known from the config alone.
            return not places or bool(source.roots) or bool(places & {key.casefold() for key in source.spaces})
        case JiraSourceConfig() if kind == "jira":
            return not places or not source.projects or bool(places & {key.casefold() for key in source.projects})
        case _:
            return False


def same_repository(url: str) -> str:
    """An address of a repository, so that all ways to write it are the same: `github.com/acme/handbook`."""
    match = _SCP.fullmatch(url) if "://" not in url else None
    if match is not None:
        host, path = match[1], match[2]
    else:
        try:
            parts = urlsplit(url)
            host, path = parts.hostname or "", parts.path
        except ValueError:
            host, path = "", url
    return f"{host}/{path.strip('/').removesuffix('.git')}".casefold()


def _has_signature(header: str) -> Callable[[Mapping[str, str], bytes, bytes], bool]:
    def check(headers: Mapping[str, str], body: bytes, secret: bytes) -> bool:
        expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        return _is_same(headers.get(header, ""), expected)

    return check


def _has_signature_or_token(headers: Mapping[str, str], body: bytes, secret: bytes) -> bool:
    # Automations of Atlassian's Cloud sign nothing, but can send any header.
    bearer = headers.get("authorization", "")
    if bearer and "x-hub-signature" not in headers:
        return _is_same(bearer, f"Bearer {secret.decode()}")
    return _has_signature("x-hub-signature")(headers, body, secret)


def _has_token(headers: Mapping[str, str], body: bytes, secret: bytes) -> bool:
    return _is_same(headers.get("x-gitlab-token", ""), secret.decode())


def _is_same(given: str, expected: str) -> bool:
    """Compares in a time that does not tell how much of it is right, nor how long it is."""
    digests = [hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, expected)]
    return hmac.compare_digest(*digests)


def _json_of(headers: Mapping[str, str], body: bytes) -> bytes:
    """The JSON in a body; GitHub sends it as a form too, where whoever made the hook chose that."""
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
        return fields.get("payload", [""])[0].encode()
    return body


def _read_github(headers: Mapping[str, str], value: dict[str, Any]) -> Call:
    urls = _texts(value.get("repository"), "clone_url", "ssh_url", "html_url", "git_url")
    return Call(frozenset(map(same_repository, urls)), is_news=headers.get("x-github-event", "push") in _PUSHES)


def _read_gitlab(_: Mapping[str, str], value: dict[str, Any]) -> Call:
    urls = [
        *_texts(value.get("project"), "git_http_url", "git_ssh_url", "web_url"),
        *_texts(value.get("repository"), "git_http_url", "git_ssh_url", "homepage"),
    ]
    event = value.get("object_kind") or value.get("event_name") or "push"
    return Call(frozenset(map(same_repository, urls)), is_news=event in _PUSHES)


def _read_confluence(headers: Mapping[str, str], value: dict[str, Any]) -> Call:
    keys = _found(value, "spaceKey", parent="space")
    event = value.get("event") or headers.get("x-event-key", "")
    return Call(frozenset(key.casefold() for key in keys), is_whole=_GONE.search(str(event)) is not None)


def _read_jira(_: Mapping[str, str], value: dict[str, Any]) -> Call:
    issue = value.get("issue")
    keys = [key.rpartition("-")[0] for key in _texts(issue, "key") if "-" in key]
    keys += _texts(value.get("project"), "key")
    event = value.get("webhookEvent") or value.get("event") or ""
    return Call(frozenset(key.casefold() for key in keys), is_whole=_GONE.search(str(event)) is not None)


def _texts(value: Any, *keys: str) -> list[str]:
    """The texts under some keys of a mapping, if it is one."""
    found = [value.get(key) for key in keys] if isinstance(value, dict) else []
    return [text for text in found if isinstance(text, str) and text]


def _found(value: Any, key: str, *, parent: str, depth: int = 4) -> Iterator[str]:
    """The texts under a key, and the `key` of a mapping of that name, wherever they stand."""
    if isinstance(value, dict) and depth:
        yield from _texts(value, key)
        yield from _texts(value.get(parent), "key")
        for inner in value.values():
            yield from _found(inner, key, parent=parent, depth=depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _found(inner, key, parent=parent, depth=depth - 1)


_CHECKS: dict[str, Callable[[Mapping[str, str], bytes, bytes], bool]] = {
    "github": _has_signature("x-hub-signature-256"),
    "gitlab": _has_token,
    "confluence": _has_signature_or_token,
    "jira": _has_signature_or_token,
}
_READERS: dict[str, Callable[[Mapping[str, str], dict[str, Any]], Call]] = {
    "github": _read_github,
    "gitlab": _read_gitlab,
    "confluence": _read_confluence,
    "jira": _read_jira,
}
