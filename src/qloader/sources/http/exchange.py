"""One request, one answer: headers, manners, the bounds of what is read, and words for what goes wrong below HTTP."""

from __future__ import annotations

import platform
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpcore
import httpx

from qloader import __version__
from qloader.documents.reading import human_size
from qloader.sources.http.addresses import same_host, shown
from qloader.sources.http.errors import AnswerTooLargeError, CertificateError, SlowAnswerError
from qloader.sources.http.inflate import BrokenDataError, TooMuchError, inflate
from qloader.sources.http.network import (
    DeadlineError,
    ForbiddenAddressError,
    Transport,
    checked_address,
    is_over,
    proxy_for,
)
from qloader.sources.http.pace import Sleep, pace_of
from qloader.sources.http.settings import HttpSettings
from qloader.sources.http.telling import PassingError, not_an_address, private_address

USER_AGENT = f"qloader/{__version__} (Python {platform.python_version()})"
"""Who asks, as servers' logs and robots.txt see it."""

_USUAL = {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": "gzip, deflate"}
_ERROR_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        status: The status, e.g. 200.
        headers: By lower-case name; several of one name are joined with a comma.
        body: The content, decompressed.
        url: The address that answered, behind all redirects.
        truncated: Whether the content was longer than what was asked for.
        moved: Whether a redirect led to `url`.
        permanent: Whether all redirects that led there are for good (301, 308).
        cookies: What the server wants to be told again, `name=value` each. Only redirects that follow it tell it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str
    truncated: bool = False
    moved: bool = False
    permanent: bool = True
    cookies: tuple[str, ...] = field(default=(), repr=False)

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, e.g. `text/html`; empty where there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def is_html(self) -> bool:
        """Whether the content is a web page, by its type, or by its first bytes where it has no type."""
        if self.content_type:
            return self.content_type in ("text/html", "application/xhtml+xml")
        return self.body[:256].lstrip().lower().startswith((b"<!doctype html", b"<html"))


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and how much may come back.

    Attributes:
        method: `GET` or `POST`.
        url: The address.
        headers: Besides the usual ones.
        content: The body.
        max_bytes: How large the answer may be after decompression.
        truncate: Whether a larger one is cut, instead of refused.
        reader: Who gets the content of an answer 200 piece by piece, instead of `Answer.body`.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None
    max_bytes: int
    truncate: bool = False
    reader: Callable[[Iterator[bytes]], object] | None = None


class Exchange:
    """Sends single requests to one source's server and those it may lead to."""

    def __init__(
        self, base_url: str, settings: HttpSettings, *, auth: tuple[str, str] | str | None, what: str, sleep: Sleep
    ) -> None:
        self._base_url = base_url
        self._settings = settings
        self._what = what
        self._sleep = sleep
        self._authorization = _authorization(auth)
        self._timeout = httpx.Timeout(settings.timeout, pool=None).as_dict()
        self._transport: Transport | None = None
        self._lock = threading.Lock()

    @property
    def has_credentials(self) -> bool:
        """Whether requests to the source's own host carry credentials."""
        return self._authorization is not None

    def send(self, request: Request, url: str, *, moved: bool = False, cookies: tuple[str, ...] = ()) -> Answer:
        """Sends a request once.

        Args:
            request: The request.
            url: Where to: its own address, or one that a redirect leads to.
            moved: Whether it is the latter.
            cookies: What an earlier answer of the same chain of redirects wants to be told.

        Raises:
            PassingError: No answer, for a reason that may pass.
            RequestError: No answer, for one that will not.
        """
        settings = self._settings
        place = urlsplit(url)
        is_own = same_host(url, self._base_url)
        headers = {**_USUAL, **request.headers}
        if is_own:
            if self._authorization:
                headers["authorization"] = self._authorization
            if cookies:
                headers["cookie"] = "; ".join(cookies)
        # A proxy looks names up itself, and what is connected to is the proxy.
        is_checked = not (is_own or settings.allow_private or proxy_for(place.scheme, place.hostname or "", place.port))
        with (
            self._failures(request, url),
            pace_of(place.netloc).turn(settings.parallel, settings.rate, self._sleep),
            checked_address(is_checked),
        ):
            # Not through an `httpx.Client`: it keeps cookies, and stumbles over redirects that nobody follows.
            response = self._open().handle_request(
                httpx.Request(
                    request.method, url, headers=headers, content=request.content, extensions={"timeout": self._timeout}
                )
            )
            try:
                return _read(request, response, url, moved=moved)
            finally:
                response.close()

    def close(self) -> None:
        """Closes all connections; they are opened again when they are needed."""
        with self._lock:
            transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    @contextmanager
    def _failures(self, request: Request, url: str) -> Iterator[None]:
        """Words for what goes wrong below HTTP."""
        what, place = self._what, shown(url)
        try:
            yield
        except TooMuchError:
            raise AnswerTooLargeError(
                f"{what}: the answer of {place} is over {human_size(request.max_bytes)}.",
                remedy="Look at the address in a browser. If such an answer is meant, raise max_bytes.",
            ) from None
        except DeadlineError:
            if not is_over():  # that of another request, whose end tore down the connection that HTTP/2 shares
                raise PassingError("the connection broke (another answer on it took too long)") from None
            raise SlowAnswerError(
                f"{what}: {place} was still sending after {self._settings.deadline:g} s.",
                remedy=f"The server or the network is very slow: try again later, or raise {what}.deadline.",
            ) from None
        except ForbiddenAddressError as error:
            raise private_address(what, url, str(error)) from None
        except (httpx.InvalidURL, UnicodeError) as error:
            raise not_an_address(what, url) from error
        except BrokenDataError as error:
            raise PassingError(str(error)) from error
        except httpcore.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise CertificateError(
                    f"{what}: the certificate of {urlsplit(url).hostname} is not trusted.",
                    remedy=f"If a company's own authority issued it, name its file in {what}.ca_file.",
                ) from error
            raise PassingError(f"no connection ({_words(error)})") from error
        except httpcore.TimeoutException as error:
            raise PassingError(f"no answer within {self._settings.timeout:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            raise PassingError(f"the connection broke ({_words(error)})") from error

    def _open(self) -> Transport:
        with self._lock:
            if self._transport is None:
                self._transport = Transport(self._ssl_context, self._settings.parallel + 1)
            return self._transport

    def _ssl_context(self) -> ssl.SSLContext:
        settings = self._settings
        context = httpx.create_ssl_context(verify=settings.verify)
        if settings.ca_file is not None and settings.verify:
            try:
                context.load_verify_locations(cafile=str(settings.ca_file))
            except (OSError, ssl.SSLError) as error:
                raise CertificateError(
                    f"{self._what}.ca_file: {settings.ca_file.name} holds no certificates that can be read.",
                    remedy="Name a PEM file with the certificates of the authorities to trust.",
                ) from error
        return context


def _read(request: Request, response: httpx.Response, url: str, *, moved: bool) -> Answer:
    is_error = response.status_code >= 300
    limit = min(request.max_bytes, _ERROR_BODY) if is_error else request.max_bytes
    headers = {name.lower(): value for name, value in response.headers.items()}
    truncated = False
    body = bytearray()
    pieces = inflate(response.iter_raw(), headers.get("content-encoding", ""), limit)
    try:
        if request.reader is not None and response.status_code == 200:
            request.reader(pieces)
        else:
            for piece in pieces:
                body += piece
    except TooMuchError:
        if not (is_error or request.truncate):
            raise
        truncated = True
    except BrokenDataError:
        if not is_error:
            raise
    cookies = tuple(value.partition(";")[0].strip() for value in response.headers.get_list("set-cookie"))
    return Answer(response.status_code, headers, bytes(body), url, truncated, moved, cookies=cookies)


def _authorization(auth: tuple[str, str] | str | None) -> str | None:
    if auth is None:
        return None
    if isinstance(auth, str):
        return f"Bearer {auth}"
    return "Basic " + b64encode(f"{auth[0]}:{auth[1]}".encode()).decode()


def _words(error: BaseException) -> str:
    """What the system says, e.g. `Connection refused`."""
    cause = error.__cause__ or error.__context__
    text = getattr(cause, "strerror", None) or str(error) or type(error).__name__
    return str(text).partition("\n")[0][:200]
