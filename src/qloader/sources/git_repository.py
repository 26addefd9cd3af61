"""Opening a local git repository and finding the commit that a ref names. Never runs git, never checks out."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.refs import Ref, SymrefLoop, check_ref_format
from dulwich.repo import InvalidWorktreeConfiguration, Repo, UnsupportedExtension, UnsupportedVersion

from qloader.errors import SourceError
from qloader.sources.git_objects import COMMIT, CORRUPT, TAG, Objects

_HEX = re.compile(r"[0-9a-f]{4,64}")
_MAX_TAGS = 10
_NAMED = 8


def open_repository(source: str, path: Path) -> Repo:
    """Opens the repository that a folder is or lies in: work tree, subfolder, linked worktree or bare.

    Args:
        source: The source's name, for errors.
        path: A folder.

    Raises:
        SourceError: There is no such folder, no repository, or one of a kind that cannot be read.
    """
    if not path.is_dir():
        raise SourceError(
            f"Source {source}: {path} does not exist or is no folder.",
            remedy=f"Set sources.{source}.url to a git repository: a folder or a remote address.",
        )
    try:
        return Repo.discover(path)
    except NotGitRepository:
        raise SourceError(
            f"Source {source}: {path} is not in a git repository.",
            remedy=f"Set sources.{source}.url to one, run `git init`, or read the folder with `type: files`.",
        ) from None
    except (UnsupportedExtension, UnsupportedVersion) as error:
        raise SourceError(
            f"Source {source}: the repository at {path} uses a format that qloader cannot read: {error}.",
            remedy="Clone it without that extension (a partial clone: without --filter).",
        ) from error
    except (OSError, ValueError, InvalidWorktreeConfiguration) as error:
        raise SourceError(
            f"Source {source}: the repository at {path} cannot be opened: {error}.",
            remedy="Check its permissions and its .git/config, and run `git fsck` in it.",
        ) from error


def find_commit(source: str, repository: Repo, objects: Objects, ref: str) -> bytes:
    """The id (hex) of the commit that a ref names.

    In this order: a full commit id, `HEAD` or a full ref name, a tag, a branch, a remote branch
    (`origin/main`), an abbreviated commit id. Annotated tags are peeled.

    Raises:
        SourceError: No commits yet, no such ref (near ones are named), or one that names no commit.
    """
    try:
        sha = _find_ref(repository, objects, ref)
        if sha is None:
            raise _unknown_ref(source, repository, ref)
        for _ in range(_MAX_TAGS):
            kind = objects.kind(sha)
            if kind == COMMIT:
                return sha
            if kind != TAG:
                break
            sha = objects.tag_target(sha)
    except CORRUPT as error:
        raise SourceError(
            f"Source {source}: the object that {ref} names is missing or damaged: {error}.",
            remedy="Run `git fsck` in the repository, then `git fetch` or clone it again.",
        ) from error
    raise SourceError(
        f"Source {source}: {ref} names no commit.",
        remedy=f"Set sources.{source}.ref to a branch, a tag or a commit id.",
    )


def _find_ref(repository: Repo, objects: Objects, ref: str) -> bytes | None:
    if _HEX.fullmatch(ref) and objects.has(ref.encode()):
        return ref.encode()
    direct = [ref] if ref == "HEAD" or ref.startswith("refs/") else []
    for name in (
        *direct,
        f"refs/tags/{ref}",
        f"refs/heads/{ref}",
        f"refs/remotes/{ref}",
        f"refs/remotes/{ref}/HEAD",
    ):
        sha = _read_ref(repository, name)
        if sha is not None:
            return sha
    if _HEX.fullmatch(ref) and len(ref) < 40:
        found = {s for s in repository.object_store.iter_prefix(ref.encode()) if objects.kind(s) in (COMMIT, TAG)}
        if len(found) == 1:
            return found.pop()
    return None


def _read_ref(repository: Repo, name: str) -> bytes | None:
    if name != "HEAD" and not check_ref_format(Ref(name.encode())):
        return None
    try:
        return repository.refs[Ref(name.encode())]
    except (KeyError, ValueError, OSError, SymrefLoop):
        return None


def _unknown_ref(source: str, repository: Repo, ref: str) -> SourceError:
    names = _names(repository)
    if not names:
        return SourceError(
            f"Source {source}: the repository has no commits yet.",
            remedy="Commit something first: a git source reads commits, not the work tree.",
        )
    near = difflib.get_close_matches(ref, names, n=3, cutoff=0.5) or sorted(names)[:_NAMED]
    return SourceError(
        f"Source {source}: there is no branch, tag or commit {ref!r}.",
        remedy=f"Set sources.{source}.ref to one there is, e.g. {', '.join(near)}.",
    )


def _names(repository: Repo) -> list[str]:
    """All branches and tags as a person would write them."""
    prefixes = (b"refs/heads/", b"refs/tags/", b"refs/remotes/")
    names = []
    for name in repository.refs.keys():  # noqa: SIM118 - a refs container is no mapping
        for prefix in prefixes:
            if name.startswith(prefix):
                names.append(name[len(prefix) :].decode("utf-8", "replace"))
    return names
