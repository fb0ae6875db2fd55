"""The API of a cluster: protocols, errors and responses. `tasks.kube.transport` opens a connection."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from tasks.core.errors import LaunchError

READ = 32.0
"""Timeout of a read in seconds: kubectl's own for discovery (client-go: `defaultTimeout`)."""
WRITE = 65.0
"""Timeout of a write in seconds: the server ends one after 60 s (kube-apiserver: `--request-timeout`), in
which it may call several admission webhooks, each for up to 30 s."""


class ApiError(LaunchError):
    """The API rejected a request, or did not answer. `code` is the HTTP status; 0: no response."""

    def __init__(self, code: int, what: str, why: str = "", *, transient: bool | None = None) -> None:
        super().__init__(
            what,
            why=why,
            fix="invoke health shows whether the API is healthy",
            transient=transient if transient is not None else code in (0, 429) or code >= 500,
        )
        self.code = code


class NoAnswer(ApiError):
    """A request was sent, but timed out: whether the server has processed it is unknown."""


class Busy(ApiError):
    """The API has not processed a request, and says after how many seconds to retry (`Retry-After`)."""

    def __init__(self, code: int, what: str, why: str, seconds: float) -> None:
        super().__init__(code, what, why, transient=True)
        self.seconds = seconds


_E = TypeVar("_E", bound=ApiError)


def explained(error: _E, words: str) -> _E:
    """The same error with its known cause, if any. `words` is kubectl's message for it: patterns match that."""
    from tasks.diagnose.rules import clean, recognise, rules

    causes = (*rules("api"), *rules("images"), *rules("network"))
    found = recognise(causes, clean(words), where="kubectl", code=1)
    return error if found is None else error.explain(found)


class Api(Protocol):
    """Read access to a cluster's API."""

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        code, text = self.raw(path)
        return content(path, code, text)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text, whatever the status; raises `ApiError` only if there is no response, or a `Retry-After`."""


@runtime_checkable
class Sender(Api, Protocol):
    """An API that also creates, replaces and deletes single objects; each request has at most one effect."""

    def send(self, method: str, path: str, body: str) -> tuple[int, str]:
        """POST, PUT or DELETE with a JSON body; status and text. Raises as `raw` does."""


@runtime_checkable
class Direct(Api, Protocol):
    """An API that applies objects and watches for changes without a process."""

    def patch(self, path: str, body: str) -> tuple[int, str]:
        """Server-side apply of one object to its path, query included; status and text. Raises as `raw` does."""

    def watch(self, path: str) -> Stream:
        """The lines of a watch, as they arrive. Raises `ApiError` if it is rejected, or there is no response."""


class Stream(Protocol):
    """Lines that arrive one by one until the server, or `close`, ends the stream."""

    def __iter__(self) -> Iterator[str]:
        """Each line; ends with the connection, without an error."""

    def close(self) -> None:
        """End the stream; from any thread."""


def content(path: str, code: int, text: str) -> Any:  # noqa: ANN401 - any JSON document
    """The body of a response; raises `ApiError` for a status other than 200, with the server's message."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if code != 200:
        message = found.get("message", "") if isinstance(found, dict) else _plain_text(text)
        error = ApiError(code, f"the API answered {code} to {path}", str(message))
        if code in (401, 403):
            prefix = (
                f"Error from server ({'Unauthorized' if code == 401 else 'Forbidden'}): "  # kubectl says so already
            )
            error = explained(error, prefix + str(message).removeprefix(prefix))
        raise error
    if found is None:
        raise ApiError(code, f"the API's response to {path} is no JSON", _plain_text(text))
    return found


def _plain_text(text: str) -> str:
    """The text of a response that is not JSON, shortened."""
    page = "it is a web page: of a proxy, a captive portal, or another server at that address"
    return page if text.lstrip().startswith("<") else text.strip()[:200]


def permitted(api: Api, path: str) -> list[Any] | None:
    """The items of a list; None if they may not be read."""
    try:
        return list(api.get(path)["items"] or ())
    except ApiError as error:
        if error.code == 403:
            return None
        raise


def port_answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether a TLS handshake succeeds there, with any server."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's authorities: loading them takes 15 ms
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=timeout) as plain, tls.wrap_socket(plain):
            return True
    except (OSError, ValueError):
        return False


def ready(api: Api) -> bool:
    """Whether /readyz is 200. No response means no; raises `ApiError` if waiting does not help.

    That is a certificate that cannot be verified, or credentials that the API rejects.
    """
    try:
        code, text = api.raw("/readyz")
    except ApiError as error:
        if error.transient:
            return False
        raise
    if code == 401 or (code == 403 and "system:anonymous" in text):
        content("/readyz", code, text)
    return code in (200, 403)  # without permission for /readyz the API answers nevertheless


class RetryingApi:
    """The same API with reads that are retried while it is busy: for gathering facts by single reads."""

    def __init__(self, api: Api, limit: float = 60.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._api, self._limit, self._sleep = api, limit, sleep

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError` at the latest after `limit` seconds and one more response."""
        end, pause = time.monotonic() + self._limit, 0.5
        while True:
            try:
                return self._api.get(path)
            except ApiError as error:
                wait = max(pause, error.seconds) if isinstance(error, Busy) else pause
                if not _passes(error, path) or time.monotonic() + wait > end:
                    raise
            self._sleep(wait)
            pause = min(8.0, pause * 2)

    def raw(self, path: str) -> tuple[int, str]:
        """As for `get`, any status."""
        return self._api.raw(path)


_DISCOVERY = re.compile(r"/apis/([^/?]+/[^/?]+)")
_BUILT_IN = re.compile(
    r"[^./]+(?:/.*)?|(?:admissionregistration|apiextensions|apiregistration|authentication|authorization|certificates|"
    r"coordination|discovery|events|flowcontrol\.apiserver|networking|node|rbac\.authorization|resource|scheduling|"
    r"storage|storagemigration)\.k8s\.io/.*"
)
"""Versions of the built-in API groups: no CRD adds a kind to them."""


def built_in(api_version: str) -> bool:
    """Whether an API group is built in: no CRD adds a kind to it."""
    return _BUILT_IN.fullmatch(api_version) is not None


def _passes(error: ApiError, path: str) -> bool:
    """Whether a retry may help. An unavailable group may be an aggregated API whose server does not run yet."""
    if error.code == 503 and (group := _DISCOVERY.fullmatch(path)) and not built_in(group[1]):
        return False
    return isinstance(error, NoAnswer | Busy) or error.code in (429, 502, 503, 504)


_PLAIN = ("/api", "/apis", "/healthz", "/healthz/etcd", "/readyz")
_HOOKS = ("start-apiserver-admission-initializer", "start-kube-apiserver-admission-initializer")
"""The admission hook's name today, and its name before 1.30 (measured on 1.30 to 1.36)."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The state of one health endpoint: ok, failing, or not offered, which is no failure."""

    name: str
    state: str
    detail: str = ""


def endpoints(api: Api) -> list[Endpoint]:
    """Query all of them. A server that does not answer fails each."""
    try:
        verbose = api.raw("/readyz?verbose")[1]
    except ApiError as error:
        return [Endpoint(name=path, state="failing", detail=error.why or error.what) for path in _PLAIN]
    offered = set(re.findall(r"\[[+-]\](?:poststarthook/)?(\S+)", verbose))
    hooks = [f"/healthz/poststarthook/{hook}" for hook in _HOOKS if hook in offered] or [
        f"/healthz/poststarthook/{_HOOKS[0]}"
    ]
    return [_query(api, path) for path in (*_PLAIN, *hooks)]


def _query(api: Api, path: str) -> Endpoint:
    try:
        code, text = api.raw(path)
    except ApiError as error:
        return Endpoint(name=path, state="failing", detail=error.why or error.what)
    if code == 200:
        return Endpoint(name=path, state="ok")
    if code in (403, 404):
        return Endpoint(name=path, state="not offered", detail=f"HTTP {code}")
    failed = re.findall(r"\[-\](\S+) failed", text)
    return Endpoint(name=path, state="failing", detail=", ".join(failed) or f"HTTP {code}")
