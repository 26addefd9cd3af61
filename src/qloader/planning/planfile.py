"""The plan file: written and read as a stream, so that a million changes need no memory.

The layout is part of the contract: one change per line, the digest last. The digest is the xxh3-128 of
every byte above its own line, so a plan that was edited, cut short or re-formatted is recognised.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import orjson
from xxhash import xxh3_128

from qloader.errors import PlanError, QloaderError
from qloader.outputs import check_replaceable
from qloader.planning.encoding import change_from_dict, header_as_dict, header_from_dict
from qloader.planning.plan import FORMAT, Change, PlanHeader, Version

_BLOCK = 1 << 20
_HEAD = 1 << 10
_TAIL = 128
_DIGEST_LINE = re.compile(rb'\n"digest": "([0-9a-f]{32})"\s*}\s*\Z')


@dataclass(frozen=True, slots=True, weakref_slot=True)
class FilePlan:
    """A plan on disk: its header, and its changes read when they are asked for."""

    path: Path
    header: PlanHeader

    def changes(self) -> Iterator[Change]:
        """The changes in their order: by source, then id.

        Raises:
            PlanError: The file is not as it was when it was opened.
        """
        with self.path.open("rb") as file:
            for line in file:
                if line == b'"changes": [\n':
                    break
            for number, line in enumerate(file, 1):
                if line == b"],\n":
                    return
                yield change_from_dict(_parse(line.rstrip(b",\n"), f"change {number} of {self.path}"))
        raise PlanError(f"{self.path} ends in the middle of its changes", remedy="Make the plan again.")

    def copy_to(self, path: Path) -> FilePlan:
        """The same plan in another place, written atomically.

        Raises:
            ConfigError: A file is there that is no plan.
            QloaderError: It cannot be written there.
        """
        check_replaceable(path, _is_plan, what="plan")
        with _explained(path), self.path.open("rb") as file, _replacing(path) as target:
            while block := file.read(_BLOCK):
                target.write(block)
        return FilePlan(path, self.header)


class ChangesFile:
    """Changes on their way into a plan file, in a temporary file until the totals are known."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="qloader-plan-")  # noqa: SIM115 - closed by close()
        self._count = 0

    def add(self, change: Change) -> None:
        """Appends one change; they must come in a plan's order."""
        try:
            self._file.write((b",\n" if self._count else b"") + _change_line(change))
        except OSError as error:
            raise QloaderError(
                f"the plan's changes cannot be written to {tempfile.gettempdir()}: {error.strerror}",
                remedy="Free some space there, or point TMPDIR at another place. Nothing was changed.",
            ) from error
        self._count += 1

    def write_plan(self, path: Path, header: PlanHeader) -> FilePlan:
        """Writes the whole plan, atomically: a reader sees the old file or the new one.

        Args:
            path: The plan file; its folder must exist.
            header: Everything but the changes; its digest is ignored.

        Raises:
            ConfigError: A file is there that is no plan.
            QloaderError: The file cannot be written.
        """
        check_replaceable(path, _is_plan, what="plan")
        digest = xxh3_128()
        with _explained(path), _replacing(path) as file:
            for block in self.blocks(header):
                digest.update(block)
                file.write(block)
            file.write(b'"digest": "%s"\n}\n' % digest.hexdigest().encode())
        return FilePlan(path, replace(header, digest=digest.hexdigest()))

    def changes(self) -> Iterator[Change]:
        """The changes added so far, without a plan file."""
        self._file.seek(0)
        for line in self._file:
            yield change_from_dict(orjson.loads(line.rstrip(b",\n")))
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Drops the temporary file."""
        self._file.close()

    def blocks(self, header: PlanHeader) -> Iterator[bytes]:
        """The bytes of the plan file above its digest."""
        fields = header_as_dict(header)
        before = [key for key in fields if key not in ("changes", "warnings", "digest")]
        yield b"{\n"
        for key in before:
            yield _field(key, fields[key]) + b",\n"
        yield b'"changes": [\n'
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            yield block
        yield b"\n],\n" if self._count else b"],\n"
        yield _field("warnings", fields["warnings"]) + b",\n"


def _is_plan(head: bytes) -> bool:
    # One that was damaged or formatted anew may be replaced too.
    return re.match(rb'\s*\{\s*"format"\s*:\s*"qloader\.plan/', head) is not None


def read_plan(path: Path) -> FilePlan:
    """Opens a plan file after checking its digest; reads it once, as a stream.

    Raises:
        PlanError: It does not exist, is no plan, was cut short, was changed after it was written, or is of
            a format that this qloader does not know.
    """
    try:
        if path.exists() and not path.is_file():
            raise PlanError(
                f"the plan {path} cannot be read: it is no file",
                remedy="Name the plan file itself. It is read more than once, so it cannot come through a pipe.",
            )
        with path.open("rb") as file:
            header = _read_header(file, path)
    except FileNotFoundError:
        raise PlanError(f"there is no plan at {path}", remedy=f"Make one with `qloader plan -o {path}`.") from None
    except OSError as error:
        raise PlanError(f"the plan {path} cannot be read: {error.strerror}", remedy="Check its permissions.") from error
    return FilePlan(path, header)


def read_digest(path: Path) -> str | None:
    """The digest that a plan file ends with, unchecked; None where it ends otherwise or cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            found = _DIGEST_LINE.search(file.read(_TAIL))
    except OSError:
        return None
    return found[1].decode() if found else None


def digest_of(header: PlanHeader, changes: Iterable[Change] = ()) -> str:
    """The digest that a plan with these changes would have, without a file."""
    file = ChangesFile()
    with contextlib.closing(file):
        for change in changes:
            file.add(change)
        digest = xxh3_128()
        for block in file.blocks(header):
            digest.update(block)
        return digest.hexdigest()


def _read_header(file: IO[bytes], path: Path) -> PlanHeader:
    digest = xxh3_128()
    first, second = file.readline(_HEAD), file.readline(_HEAD)  # what is no plan may have lines without an end
    digest.update(first + second)
    if first.rstrip() != b"{" or not second.startswith(b'"format": '):
        raise _no_plan(path, "it does not begin like one")
    _check_format(_parse(b"{" + second.rstrip().rstrip(b",") + b"}", str(path)), path)
    parts = [first, second]
    in_changes = False
    for line in file:
        if line.startswith(b'"digest": ') and not in_changes:
            fields = _parse(b"".join((*parts, line, b"}")), str(path))
            return _checked(fields, digest.hexdigest(), path, rest=file.read(16))
        digest.update(line)
        if in_changes and line != b"],\n":
            continue
        in_changes = line == b'"changes": [\n'
        parts.append(line)
    raise PlanError(
        f"{path} is cut short: it has no digest at its end",
        remedy="Copy or download it again, or make the plan again with `qloader plan -o`.",
    )


def _checked(fields: dict[str, Any], digest: str, path: Path, *, rest: bytes) -> PlanHeader:
    if fields["digest"] == digest and rest.strip() != b"}":
        raise PlanError(
            f"{path} was changed after it was written: its end is missing, or there is more after it",
            remedy="Copy or download it again, or make the plan again with `qloader plan -o`.",
        )
    if fields["digest"] != digest:
        raise PlanError(
            f"{path} was changed after it was written: its digest is {digest}, and it says {fields['digest']}",
            remedy="A plan is applied exactly as it was reviewed. Make it again with `qloader plan -o`; "
            "if git changed its line ends, mark it `-text` in .gitattributes.",
        )
    return header_from_dict(fields)


def _check_format(fields: dict[str, Any], path: Path) -> None:
    found = fields.get("format")
    if found == FORMAT:
        return
    if isinstance(found, str) and found.startswith("qloader.plan/"):
        raise PlanError(
            f"{path} has the format {found}; this qloader reads {FORMAT}",
            remedy="Upgrade qloader, or make the plan again with this one.",
        )
    raise _no_plan(path, "it has no format of a plan on its second line")


def _no_plan(path: Path, why: str) -> PlanError:
    return PlanError(f"{path} is no plan file: {why}", remedy="Make one with `qloader plan -o plan.json`.")


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise PlanError(f"{where} is damaged: {error}", remedy="Make the plan again with `qloader plan -o`.") from error
    if not isinstance(value, dict):
        raise PlanError(f"{where} is damaged: not an object", remedy="Make the plan again with `qloader plan -o`.")
    return value


def _field(key: str, value: Any) -> bytes:
    if key in ("sources", "policies", "warnings") and value:
        lines = b",\n".join(_line(item) for item in value)
        return _line(key) + b": [\n" + lines + b"\n]"
    return _line(key) + b": " + _line(value)


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _change_line(change: Change) -> bytes:
    """`_line(change_as_dict(change))`, five times faster: it is on the path of every changed document."""
    text = orjson.dumps
    counts = change.chunks
    moved = b"" if change.from_id is None else b', "from": ' + text(change.from_id)
    return b'{"action": "%s", "source": %s, "id": %s%s, "before": %s, "after": %s, ' % (
        change.action.encode(),
        text(change.source),
        text(change.id),
        moved,
        _version(change.before),
        _version(change.after),
    ) + b'"chunks": {"add": %d, "keep": %d, "remove": %d}, "reason": %s}' % (
        counts.add,
        counts.keep,
        counts.remove,
        text(change.reason),
    )


def _version(version: Version | None) -> bytes:
    if version is None:
        return b"null"
    return b'{"content": "%s", "metadata": "%s", "revision": %s, "bytes": %d%s%s}' % (
        version.content.encode(),
        version.metadata.encode(),
        orjson.dumps(version.revision),
        version.bytes,
        b', "title": ' + orjson.dumps(version.title) if version.title else b"",
        b', "lacks": ' + _line(version.lacks) if version.lacks else b"",
    )


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block ends well, and vanishes when it does not.

    A link stays, and what it leads to is replaced. What is no file (`/dev/stdout`, a pipe) is written to as it is:
    replacing it would take the device away from the whole system.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as device:
            yield device
        return
    path = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(prefix=".qloader-plan-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise QloaderError(
            f"the plan {path} cannot be written: {error.strerror}",
            remedy="Choose another place with -o, or free some space. Nothing was changed.",
        ) from error
