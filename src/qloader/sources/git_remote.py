"""Remote git repositories: fetched once into the cache as bare clones, and updated from then on."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from qloader.documents.hashing import fingerprint
from qloader.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from dulwich.client import FetchPackResult, GitClient
    from dulwich.config import StackedConfig
    from dulwich.repo import Repo

_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!//)")
_SCHEMES = frozenset({"https", "http", "ssh", "git+ssh", "git", "file"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PREFIXES = (b"refs/heads/", b"refs/tags/")
_TIMEOUT = 60.0
"""Seconds without a byte from an HTTP server before it counts as down."""

_ANY_USER = "oauth2"
"""The user name beside a token: GitHub and GitLab take any, and GitLab wants just this one for OAuth tokens."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a remote repository is and how to get in.

    Attributes:
        url: Its address without credentials; safe to show.
        username: For HTTP; None: without.
        password: A token or password; never shown.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def is_remote(location: str) -> bool:
    """True for an address (`https://…`, `ssh://…`, `git@host:path`), false for a path of this machine."""
    return "://" in location or _SCP.match(location) is not None


def parse_remote(source: str, location: str, *, username: str | None = None, token: str | None = None) -> Remote:
    """Takes an address apart. Credentials in the address count where the config gives none.

    Raises:
        ConfigError: An unknown scheme, or a token that would travel unencrypted.
    """
    if "://" not in location:
        return Remote(location)
    parts = urlsplit(location)
    if parts.scheme not in _SCHEMES:
        raise ConfigError(
            f"sources.{source}.url: {parts.scheme}:// is no address of a git repository.",
            remedy="Use https://, ssh://, git://, file:// or user@host:path.",
        )
    if parts.scheme not in ("http", "https"):
        return Remote(location)
    userinfo, _, host = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    secret = token or unquote(password) or None
    if secret and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ConfigError(
            f"sources.{source}.url: the token would be sent unencrypted to {parts.hostname}.",
            remedy="Use https://.",
        )
    name = username or unquote(user) or (_ANY_USER if secret else None)
    return Remote(urlunsplit(parts._replace(netloc=host)), name, secret)


def clone_folder(cache_dir: Path, remote: Remote) -> Path:
    """Where the bare clone of a remote lies."""
    return cache_dir / "git" / f"{fingerprint(remote.url)}.git"


def open_clone(remote: Remote, cache_dir: Path) -> Repo | None:
    """The clone of a remote as it was last updated; None where there is none."""
    from dulwich.errors import NotGitRepository
    from dulwich.repo import Repo

    try:
        # Not `discover`: it would climb from a broken clone up to the repository that the cache lies in.
        return Repo(str(clone_folder(cache_dir, remote)))
    except NotGitRepository:
        return None


def update_clone(source: str, remote: Remote, cache_dir: Path) -> Repo:
    """Brings the bare clone of a remote up to date, making it first where there is none.

    Branches and tags are the remote's, as refs/heads and refs/tags; what the remote deleted goes. Objects are
    only ever added, so a commit that was planned can be read as long as the cache lives.

    Raises:
        SourceError: The remote cannot be reached, refuses, or the cache cannot be written.
    """
    from dulwich.repo import Repo

    folder = clone_folder(cache_dir, remote)
    try:
        repository = open_clone(remote, cache_dir)
        if repository is not None:
            return _updated(repository, remote)
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made beside its place and then moved there: a clone that was cut short is never taken for one.
        making = Path(tempfile.mkdtemp(prefix="cloning-", dir=folder.parent))
        try:
            with Repo.init_bare(str(making)) as new:
                _update(new, remote)
            _put_in_place(making, folder, remote, cache_dir)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return Repo(str(folder))
    except Exception as error:  # a server, a network and a disk can fail in any way
        # Not chained: the cause may hold the address with its token, and --debug prints it.
        raise _explain(source, remote, error) from None


def _put_in_place(making: Path, folder: Path, remote: Remote, cache_dir: Path) -> None:
    """Moves a new clone to its place, unless another process was faster; a broken one there is replaced."""
    try:
        making.rename(folder)
    except OSError:
        theirs = open_clone(remote, cache_dir)
        if theirs is not None:
            theirs.close()
            return
        shutil.rmtree(folder)
        making.rename(folder)


def _updated(repository: Repo, remote: Remote) -> Repo:
    try:
        _update(repository, remote)
    except BaseException:
        repository.close()
        raise
    return repository


def _update(repository: Repo, remote: Remote) -> None:
    client, path = _client(remote)

    def wants(refs: dict[bytes, bytes | None], depth: int | None = None) -> list[bytes]:
        needed = {sha for name, sha in refs.items() if _is_kept(name) and sha is not None}
        return sorted(sha for sha in needed if sha not in repository.object_store)  # type: ignore[operator]

    result = client.fetch(path, repository, determine_wants=wants)  # type: ignore[arg-type]
    _write_refs(repository, result)


def _client(remote: Remote) -> tuple[GitClient, str]:
    from dulwich.client import default_urllib3_manager, get_transport_and_path
    from dulwich.config import StackedConfig

    config = StackedConfig.default()  # the user's proxies, certificates and insteadOf hold here too
    if remote.url.startswith("http"):
        return get_transport_and_path(
            remote.url,
            config=config,
            username=remote.username,
            password=remote.password,
            pool_manager=default_urllib3_manager(config, base_url=remote.url, timeout=_TIMEOUT),  # type: ignore[arg-type]
        )
    return get_transport_and_path(remote.url, config=config, ssh_command=_ssh_command(config))


def _ssh_command(config: StackedConfig) -> str:
    """The user's own ssh command, in git's order; else ssh, which must fail and not wait for an answer."""
    if command := os.environ.get("GIT_SSH_COMMAND"):
        return command
    if program := os.environ.get("GIT_SSH"):
        return shlex.quote(program)
    try:
        return config.get((b"core",), b"sshCommand").decode()
    except KeyError:
        return "ssh -o BatchMode=yes"


def _is_kept(name: bytes) -> bool:
    return (name == b"HEAD" or name.startswith(_PREFIXES)) and not name.endswith(b"^{}")


def _write_refs(repository: Repo, result: FetchPackResult) -> None:
    from dulwich.refs import check_ref_format

    refs = repository.refs
    theirs = {
        name: sha
        for name, sha in result.refs.items()
        if sha is not None and _is_kept(name) and name != b"HEAD" and check_ref_format(name)
    }
    for name in list(refs.keys()):
        if name.startswith(_PREFIXES) and name not in theirs:
            refs.remove_if_equals(name, None)
    for name, sha in theirs.items():
        if refs.read_ref(name) != sha:
            refs[name] = sha
    head = result.symrefs.get(b"HEAD") if result.symrefs else None  # type: ignore[call-overload]
    head_sha = result.refs.get(b"HEAD")  # type: ignore[call-overload]
    if head is None and head_sha is not None:
        # An old server does not say which branch HEAD is; any branch at that commit gives the same commit.
        head = next((name for name in sorted(theirs) if theirs[name] == head_sha), None)
    if head is not None:
        refs.set_symbolic_ref(b"HEAD", head)  # type: ignore[arg-type]
    elif head_sha is not None:
        refs.remove_if_equals(b"HEAD", None)  # type: ignore[arg-type]
        refs[b"HEAD"] = head_sha  # type: ignore[index]


def _explain(source: str, remote: Remote, error: Exception) -> SourceError:
    from dulwich.client import HTTPUnauthorized
    from dulwich.errors import GitProtocolError, NotGitRepository
    from dulwich.file import FileLocked

    if isinstance(error, SourceError):
        return error
    words = _without_secrets(str(error) or type(error).__name__, remote)
    if isinstance(error, HTTPUnauthorized) or re.search(r"http resp 40[13]\b", words):
        return SourceError(
            f"Source {source}: {remote.url} refuses access.",
            remedy=f"Set sources.{source}.token to a token that may read it, e.g. ${{GIT_TOKEN}}.",
        )
    if isinstance(error, NotGitRepository):
        return SourceError(
            f"Source {source}: there is no git repository at {remote.url}.",
            remedy=f"Check sources.{source}.url; a private repository may also hide behind a missing token.",
        )
    if isinstance(error, FileLocked):
        return SourceError(
            f"Source {source}: another process is updating the clone of {remote.url}.",
            remedy=f"Wait for it; if there is none, delete {os.fsdecode(error.lockfilename)}.",
        )
    if isinstance(error, GitProtocolError):
        words = words or "it does not speak git's protocol"
    return SourceError(
        f"Source {source}: {remote.url} cannot be fetched: {words}.",
        remedy="Check the address, the network and the access rights, then run the command again.",
    )


def _without_secrets(words: str, remote: Remote) -> str:
    from urllib.parse import quote

    for secret in {remote.password, quote(remote.password or "", safe="")}:
        if secret:
            words = words.replace(secret, "***")
    return re.sub(r"://[^/@\s]+@", "://", words).strip().rstrip(".")
