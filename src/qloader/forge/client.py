"""Requests to a forge's API, and its refusals as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from qloader import __version__
from qloader.errors import ForgeError
from qloader.retrying import RetryPolicy

LONGEST_ANSWER = 512 * 1024 * 1024
"""Bytes that are read of an answer, at most."""

PAGES = 100
"""Pages of a list that are read, at most: 10,000 comments."""

_PASSING = frozenset({429, 500, 502, 503, 504})
_MESSAGE = 200
"""Characters of a forge's own message that are shown."""


class ForgeClient:
    """Speaks to one forge.

    Questions are sent again where they fail in passing; what writes is not, but for a refusal that came before anything
    was done (too many requests).
    """

    def __init__(
        self,
        name: str,
        api: str,
        headers: Mapping[str, str],
        *,
        variable: str,
        needs: str,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            name: The forge's name, for messages.
            api: The address of its API.
            headers: What says who asks; sent to `api`'s host only.
            variable: Where the environment says that address, for messages.
            needs: The permissions that a token needs, for messages.
            policy: When a request is sent again; three times where None.

        Raises:
            ForgeError: The API has no address that can be used.
        """
        self._name, self._variable, self._needs = name, variable, needs
        self._policy = policy or RetryPolicy(attempts=3, delay=1.0)
        try:
            self._http = httpx.Client(
                base_url=api.rstrip("/") + "/",
                headers={"user-agent": f"qloader/{__version__}", "accept": "application/json", **headers},
                timeout=30.0,
            )
        except httpx.InvalidURL as error:
            raise ForgeError(f"{name}: {api} is no address: {error}", remedy="Check the address of the API.") from None

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """Asks for JSON.

        Raises:
            ForgeError: The forge cannot be reached, or refuses.
        """
        return self._json(self._send("GET", path, params=params))

    def try_get(self, path: str) -> Any:
        """As `get`; None where the forge says that this token may not see it, or that there is none."""
        answer = self._send("GET", path, allowed=(401, 403, 404))
        return self._json(answer) if answer.status_code < 300 else None

    def entries(self, path: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The entries of a list.

        Raises:
            ForgeError: As `get`, or it is no list of mappings.
        """
        found = self.get(path, params)
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise self._odd(path)
        return found

    def pages(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The entries of a list that comes by pages.

        Raises:
            ForgeError: As `entries`, or the list has no end.
        """
        for page in range(1, PAGES + 1):
            entries = self.entries(path, {**(params or {}), "per_page": 100, "page": page})
            yield from entries
            if len(entries) < 100:
                return
        raise ForgeError(
            f"{self._name}: there are more than {PAGES * 100:,} comments on this pull request",
            remedy="Delete some of them, or open another pull request.",
        )

    def need(self, found: Any, *names: str) -> Any:
        """A value deep in an answer.

        Raises:
            ForgeError: It is not there: the answer is not what the API says.
        """
        for name in names:
            if not isinstance(found, dict) or name not in found:
                raise ForgeError(
                    f"{self._name}: an answer is not what its API says",
                    remedy=f"Check {self._variable}: a proxy may answer in its place.",
                )
            found = found[name]
        return found

    def write(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Sends JSON.

        Raises:
            ForgeError: As `get`.
        """
        self._send(method, path, json=body)

    def download(self, path: str, *, what: str) -> bytes:
        """Gets a file; a redirect to where it is kept is followed without the token.

        Raises:
            ForgeError: As `get`; or the file is gone.
        """
        answer = self._send("GET", path, allowed=(302, 404, 410))
        location = answer.headers.get("location")
        if answer.status_code == 302 and location:
            # The keeper has its own key in the address, and must not see ours.
            try:
                target = str(answer.url.join(location))
            except httpx.InvalidURL:
                raise self._odd(path) from None
            answer = self._send("GET", target, allowed=(404, 410), anonymous=True)
        if answer.status_code >= 300:
            raise ForgeError(
                f"{self._name}: {what} is gone",
                remedy="Artifacts are kept for a time only: plan again and review that.",
            )
        return answer.content

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        allowed: tuple[int, ...] = (),
        anonymous: bool = False,
    ) -> httpx.Response:
        failures = 0
        while True:
            problem, retry_after = "", None
            try:
                answer = self._once(method, path, params=params, json=json, anonymous=anonymous)
            except httpx.ConnectError as error:
                problem = f"no connection ({error})"
            except httpx.HTTPError as error:
                if method != "GET":
                    raise self._unreached(f"{type(error).__name__}") from error
                problem = f"no whole answer ({type(error).__name__})"
            else:
                retry_after = answer.headers.get("retry-after")
                is_refused_for_now = answer.status_code == 429 or (answer.status_code == 403 and retry_after)
                if answer.status_code in allowed and not is_refused_for_now:
                    return answer
                if not is_refused_for_now and (answer.status_code not in _PASSING or method != "GET"):
                    return self._checked(answer)
                problem = f"it answers {answer.status_code}"
            failures += 1
            if failures > self._policy.attempts:
                raise self._unreached(problem)
            self._policy.sleep(self._policy.wait(failures, retry_after))

    def _once(
        self, method: str, path: str, *, params: Mapping[str, Any] | None, json: Any, anonymous: bool
    ) -> httpx.Response:
        request = self._http.build_request(method, path, params=params, json=json)
        if anonymous:
            for header in ("authorization", "private-token"):
                request.headers.pop(header, None)
        answer = self._http.send(request, stream=True)
        try:
            body = bytearray()
            for block in answer.iter_raw():
                body += block
                if len(body) > LONGEST_ANSWER:
                    raise ForgeError(
                        f"{self._name}: an answer is longer than {LONGEST_ANSWER // 1024**2} MiB", remedy="Plan again."
                    )
        finally:
            answer.close()
        headers = [(k, v) for k, v in answer.headers.multi_items() if k not in ("content-length", "transfer-encoding")]
        return httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=request)

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        status = answer.status_code
        if status < 300:
            return answer
        told = self._told(answer)
        if status == 401:
            raise ForgeError(
                f"{self._name} does not accept the token{told}",
                remedy=f"It may be wrong or have expired. It needs {self._needs}.",
                status=status,
            )
        if status in (403, 404):
            raise ForgeError(
                f"{self._name} answers {status} to {answer.request.method} {answer.request.url.path}{told}",
                remedy=f"The token needs {self._needs}; the token of a pull request from a fork may only read.",
                status=status,
            )
        raise ForgeError(
            f"{self._name} answers {status} to {answer.request.method} {answer.request.url.path}{told}",
            remedy="Check the address of the API: what it names has moved."
            if status < 400
            else "Look at the forge's status page, and run the job again.",
            status=status,
        )

    def _told(self, answer: httpx.Response) -> str:
        try:
            said = answer.json()
            causes = [cause.get("message") for cause in said.get("errors") or () if isinstance(cause, dict)]
            messages = [str(message) for message in (said.get("message"), *causes) if message]
        except (ValueError, AttributeError, TypeError):
            return ""
        return f": {'; '.join(messages)[:_MESSAGE]}" if messages else ""

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise self._odd(answer.request.url.path) from None

    def _odd(self, path: str) -> ForgeError:
        return ForgeError(
            f"{self._name}: what {path} answers is not what its API says",
            remedy="Check the address of the API: a proxy or a login page may answer in its place.",
        )

    def _unreached(self, problem: str) -> ForgeError:
        return ForgeError(
            f"{self._name} cannot be reached: {problem}", remedy="Check the network of this job, and run it again."
        )


def check_token(name: str, value: str) -> str:
    """A token as it can be sent, without the line end that a copied secret may bring.

    Args:
        name: The variable that holds it, for an error.
        value: What it holds.

    Raises:
        ForgeError: It holds what no token has.
    """
    token = value.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ForgeError(
            f"{name} holds no token: it is blank, or has characters in it that no token has",
            remedy="Copy the token once more, alone and on one line.",
        )
    return token
