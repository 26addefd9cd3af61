"""The store of a remote state, through obstore: single objects, read and written under conditions.

A put names the version that it replaces, or that there is none yet, and the store refuses it where that is not so. All
that keeps two machines apart rests on this (`lock.py` looks whether a store really does it).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import LocalStore, from_url

from qloader.errors import StateConnectionError, StateError, StateUnreachableError
from qloader.folders import make_private_folder

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CONNECT_SECONDS = 5.0
SHORT_SECONDS = 15.0
"""How long a request of a few bytes may take: a lock that cannot be renewed in time is lost."""

READ_SECONDS = 30.0
"""How long a download may stand still."""

LONG_SECONDS = 3600.0
SLOWEST_UPLOAD = 100_000
"""Bytes a second: an upload gets the time that it takes at this speed, beside `READ_SECONDS`."""

RETRIES = 2

_REASON = re.compile(r"<Code>([^<]*)</Code>.*?<Message>([^<]*)</Message>", re.DOTALL)
_NO_PLACE = ("NoSuchBucket", "ContainerNotFound", "specified bucket does not exist", "container does not exist")
_ASKS_FOR_ROLE = ("/latest/api/token", "/latest/meta-data/", "/computeMetadata/", "/metadata/identity/")
"""What a machine in a cloud is asked for its role by, when nothing else gives credentials."""

_NO_CONDITIONS = ("NotImplemented", "not yet implemented", "501 Not Implemented")


class ConflictError(Exception):
    """The object is not what a put said that it replaces."""


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of an object: what the store gave when it was written.

    Attributes:
        etag: Its ETag.
        number: Its number, in stores that count (Google's generations); None elsewhere.
    """

    etag: str | None
    number: str | None = None

    def to_text(self) -> str:
        """The same as text, for `from_text`."""
        return json.dumps([self.etag, self.number])

    @classmethod
    def from_text(cls, text: str) -> Version:
        """What `to_text` wrote."""
        return cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there.

    Attributes:
        version: Which version of it.
        modified: When it was written, by the store's clock.
        chunks: Its bytes; they are downloaded as they are taken.
    """

    version: Version
    modified: datetime
    chunks: Iterator[bytes]


class Unchanged:
    """The object is still the version that was asked about; nothing was downloaded."""


class RemoteStore:
    """A bucket, a container or a folder.

    Args:
        url: The state's own URL.
        options: obstore's settings, beside those of the environment.
        secrets: Texts that no error may repeat.

    Attributes:
        url: The URL.
        name: The name of the state's object in the store.
    """

    def __init__(self, url: str, options: Mapping[str, str] | None = None, secrets: tuple[str, ...] = ()) -> None:
        parts = urlsplit(url)
        self.url = url
        self.name = unquote(parts.path).lstrip("/")
        self._place = f"{parts.scheme}://{parts.netloc}"
        self._options = dict(options or {})
        self._secrets = secrets
        self._stores: dict[tuple[float, float | None], ObjectStore] = {}

    def read(self, name: str, *, unless: Version | None = None) -> Found | Unchanged | None:
        """An object; None where there is none, `Unchanged` where it still is a version.

        Raises:
            StateError: The store cannot be reached, or refuses.
        """
        is_small = name != self.name
        store = self._store(SHORT_SECONDS) if is_small else self._store(LONG_SECONDS, READ_SECONDS)
        options: Any = {"if_none_match": unless.etag} if unless is not None and unless.etag else None
        try:
            with self._translated("read"):
                result = obstore.get(store, name, options=options)
                meta: Any = result.meta
        except exceptions.NotModifiedError:
            return Unchanged()
        except FileNotFoundError:
            return None
        version = Version(meta["e_tag"], meta["version"])
        if version == unless:  # a store that overlooks the condition
            return Unchanged()
        return Found(version, meta["last_modified"], self._chunks(result))

    def put(self, name: str, data: bytes, *, over: Version | None) -> Version:
        """Writes an object, in place of a version of it, or anew where `over` is None.

        Raises:
            ConflictError: There is another version, or one at all. Also where a put that had reached the store was
                sent again because its answer was lost: whoever puts must look whether it is its own.
            StateError: The store cannot be reached, refuses, or says that it cannot write under conditions.
        """
        mode: Any = "create"
        if over is not None:
            mode = {key: value for key, value in (("e_tag", over.etag), ("version", over.number)) if value is not None}
        return self._put(name, data, mode)

    def overwrite(self, name: str, data: bytes) -> Version:
        """Writes an object, whatever is there."""
        return self._put(name, data, "overwrite")

    def _put(self, name: str, data: bytes, mode: Any) -> Version:
        seconds = SHORT_SECONDS
        if len(data) > SLOWEST_UPLOAD:
            seconds = READ_SECONDS + (len(data) // SLOWEST_UPLOAD // 60 + 1) * 60.0
        store = self._store(seconds)
        try:
            with self._translated("written"):
                result = obstore.put(store, name, data, mode=mode, use_multipart=False)
        except FileNotFoundError as error:
            raise self._no_place(error) from None
        return Version(result["e_tag"], result["version"])

    def modified(self, name: str) -> datetime:
        """When an object was written, by the store's clock."""
        try:
            with self._translated("read"):
                found: datetime = obstore.head(self._store(SHORT_SECONDS), name)["last_modified"]
                return found
        except FileNotFoundError as error:
            raise self._no_place(error) from None

    def copy(self, name: str, to: str) -> None:
        """Copies an object within the store; one that is there under that name is replaced."""
        with contextlib.suppress(FileNotFoundError), self._translated("copied"):
            obstore.copy(self._store(LONG_SECONDS), name, to)

    def names(self, folder: str) -> list[str]:
        """The objects below a name, the oldest first, by the store's clock."""
        with self._translated("listed"):
            found = [meta for page in obstore.list(self._store(SHORT_SECONDS), folder) for meta in page]
        return [meta["path"] for meta in sorted(found, key=lambda meta: (meta["last_modified"], meta["path"]))]

    def delete(self, name: str) -> None:
        """Deletes an object; one that is not there is gone already."""
        with contextlib.suppress(FileNotFoundError), self._translated("deleted"):
            obstore.delete(self._store(SHORT_SECONDS), name)

    def _store(self, timeout: float, read_timeout: float | None = None) -> ObjectStore:
        key = timeout, read_timeout
        if key not in self._stores:
            client: dict[str, Any] = {
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "timeout": timedelta(seconds=timeout),
                "allow_http": self._endpoint.startswith("http:"),
            }
            if read_timeout is not None:
                client["read_timeout"] = timedelta(seconds=read_timeout)
            retries: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=timeout)}
            settings: dict[str, Any] = {**self._options, "client_options": client, "retry_config": retries}
            try:
                self._stores[key] = from_url(self._place, **settings)
            except (exceptions.BaseError, ValueError) as error:
                raise StateConnectionError(
                    f"the store of the state {self.url} cannot be used: {self._reason(error)}",
                    remedy="Check state.url, state.options and the store's variables in the environment.",
                ) from None
        return self._stores[key]

    @property
    def _endpoint(self) -> str:
        named = self._options.get("endpoint")
        variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_ENDPOINT")
        return named or next((os.environ[name] for name in variables if os.environ.get(name)), "")

    def _chunks(self, result: Any) -> Iterator[bytes]:
        with self._translated("read"):
            for chunk in result.stream(min_chunk_size=1 << 20):
                yield bytes(chunk)

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Turns the errors of obstore into ours; what `read` understands passes."""
        try:
            yield
        except (FileNotFoundError, exceptions.NotModifiedError) as error:
            if any(words in str(error) for words in _NO_PLACE):
                raise self._no_place(error) from None
            raise
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise ConflictError from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise self._refused(doing, error) from None
        except (exceptions.BaseError, NotImplementedError, OSError, ValueError) as error:
            if isinstance(error, NotImplementedError) or any(words in str(error) for words in _NO_CONDITIONS):
                raise self.unfit("it says so itself") from None
            if "ConditionalRequestConflict" in str(error):
                raise ConflictError from None
            if any(path in str(error).partition("\n")[0] for path in _ASKS_FOR_ROLE):
                raise StateConnectionError(
                    f"the state {self.url} cannot be {doing}: there are no credentials, and this machine has no role",
                    remedy="Give them in the environment or in state.options; profiles in ~/.aws are not read.",
                ) from None
            raise StateUnreachableError(
                f"the state {self.url} cannot be {doing}: {self._reason(error)}",
                remedy="Look whether the store answers, and run the same command again.",
            ) from None

    def unfit(self, why: str) -> StateConnectionError:
        """The error of whoever finds that the store cannot keep two writers apart."""
        return StateConnectionError(
            f"the store of the state {self.url} knows no conditional writes ({why}), so that two writers could not be "
            "kept apart",
            remedy="Use a store that does: Amazon S3, Google Cloud Storage, Azure, Cloudflare R2, MinIO, or a folder "
            "(file://).",
        )

    def _refused(self, doing: str, error: Exception) -> StateError:
        if "RequestTimeTooSkewed" in str(error):
            return StateConnectionError(
                f"the state {self.url} cannot be {doing}: this machine's clock is wrong ({self._reason(error)})",
                remedy="Set this machine's clock; stores refuse requests that are dated more than a few minutes off.",
            )
        return StateConnectionError(
            f"the state {self.url} cannot be {doing}: the store refuses access ({self._reason(error)})",
            remedy="Check the credentials in the environment or in state.options, and that they may read, write, list "
            "and delete objects there.",
        )

    def _no_place(self, error: Exception) -> StateError:
        return StateConnectionError(
            f"the state {self.url} cannot be reached: there is no such bucket or container ({self._reason(error)})",
            remedy="Check state.url, or make the bucket first; qloader makes none.",
        )

    def _reason(self, error: Exception) -> str:
        words = str(error)
        found = _REASON.search(words)
        if found:
            words = f"{found[1]}: {found[2]}"
        else:
            words = words.partition("\n")[0].rpartition(" - ")[2][:200].strip() or type(error).__name__
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return words


class FolderStore(RemoteStore):
    """A folder, also of a network disk. Its conditions hold for those who write through this class: under a file lock.

    The system gives the lock back when its holder dies.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        path = Path(unquote(urlsplit(url).path))
        self.name = path.name
        self._folder = path.parent

    def copy(self, name: str, to: str) -> None:
        """See `RemoteStore.copy`."""
        try:
            make_private_folder((self._folder / to).parent)
        except OSError as error:
            raise self._unusable(error) from error
        super().copy(name, to)

    def _put(self, name: str, data: bytes, mode: Any) -> Version:
        with file_lock(self._folder / f"{self.name}.flock", self._unusable):
            if isinstance(mode, dict):
                found = self.read(name)
                if not isinstance(found, Found) or found.version.etag != mode.get("e_tag"):
                    raise ConflictError
                mode = "overwrite"
            version = super()._put(name, data, mode)
            self._sync(self._folder / name)
            return version

    def _sync(self, path: Path) -> None:
        """So that what is written survives a power cut."""
        try:
            for place in (path, path.parent):
                descriptor = os.open(place, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            raise self._unusable(error) from error

    def _store(self, timeout: float, read_timeout: float | None = None) -> ObjectStore:
        if not self._folder.is_dir():
            # Not made: a disk that is not mounted would become an empty state.
            raise StateConnectionError(
                f"the state {self.url} cannot be reached: there is no folder {self._folder}",
                remedy="Mount it, or make it first; or correct state.url.",
            )
        try:
            return LocalStore(self._folder)
        except exceptions.BaseError as error:
            raise StateConnectionError(
                f"the store of the state {self.url} cannot be used: {self._reason(error)}",
                remedy="Check the folder that state.url names, and its permissions.",
            ) from None

    def _unusable(self, error: OSError) -> StateError:
        return StateConnectionError(
            f"the store of the state {self.url} cannot be used: {error.strerror}",
            remedy="Check the folder that state.url names, and its permissions.",
        )


def open_store(url: str, options: Mapping[str, str] | None = None, secrets: tuple[str, ...] = ()) -> RemoteStore:
    """The store of a URL; nothing is asked of it yet."""
    return FolderStore(url) if url.startswith("file:") else RemoteStore(url, options, secrets)


@contextlib.contextmanager
def file_lock(path: Path, explain: Callable[[OSError], StateError]) -> Iterator[None]:
    """One at a time, in all processes and threads that name the same file; waits for its turn.

    Args:
        path: The file; it stays.
        explain: Words an error of the system.
    """
    import fcntl

    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise explain(error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
