"""Reading a cluster's API: without a process where a kubeconfig has certificates, else through kubectl."""

from __future__ import annotations

import base64
import binascii
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from tasks.engine.step import Context
from tasks.errors import LaunchError
from tasks.tools import kubectl
from tasks.tools.program import CommandFailed, Programs

_T = TypeVar("_T")


class ApiError(LaunchError):
    """The API refused, or did not answer. `code` is the HTTP status; 0: no answer."""

    def __init__(self, code: int, what: str, why: str = "", *, transient: bool | None = None) -> None:
        super().__init__(
            what,
            why=why,
            fix="invoke health tells whether the API is well",
            transient=transient if transient is not None else code in (0, 429) or code >= 500,
        )
        self.code = code


class Api(Protocol):
    """What plans and waits ask of a cluster."""

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text, whatever the status; raises `ApiError` only where nothing answers."""


@runtime_checkable
class Direct(Api, Protocol):
    """An API that can be written to, and that tells of changes, without a process."""

    def patch(self, path: str, body: str) -> tuple[int, str]:
        """Server-side apply of one object to its path, query included; status and text. Raises as `raw` does."""

    def watch(self, path: str) -> Stream:
        """The lines of a watch, as they come. Raises `ApiError` where it is refused, or nothing answers."""


class Stream(Protocol):
    """Lines that come one by one until the server, or `close`, ends them."""

    def __iter__(self) -> Iterator[str]:
        """Each line; ends where the connection does, without an error."""

    def close(self) -> None:
        """End it; from any thread."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A cluster's address and the admin's certificate, as PEM."""

    server: str
    ca: bytes
    certificate: bytes
    key: bytes


_CLUSTER = frozenset({"server", "certificate-authority-data", "extensions", "disable-compression"})
_USER = frozenset({"client-certificate-data", "client-key-data", "extensions"})
"""What a kubeconfig may say of a cluster and a user to be understood here; all else is kubectl's."""


def credentials(kubeconfig: str) -> Credentials | None:
    """Of the current context; None if it uses anything but certificates that it holds itself.

    A token, a helper program, another identity, a proxy, certificates in files: kubectl knows what to do with them.
    """
    import yaml

    try:
        document = yaml.safe_load(kubeconfig)
    except (yaml.YAMLError, RecursionError):
        return None
    if not isinstance(document, Mapping):
        return None
    context = _named(document, "contexts", "context", document.get("current-context"))
    cluster = _named(document, "clusters", "cluster", context.get("cluster"))
    user = _named(document, "users", "user", context.get("user"))
    server = str(cluster.get("server", ""))
    if not server.startswith("https://") or _more(cluster, _CLUSTER) or _more(user, _USER):
        return None
    try:
        ca, certificate, key = (
            base64.b64decode("".join(str(part).split()), validate=True)
            for part in (
                cluster.get("certificate-authority-data") or "",
                user.get("client-certificate-data") or "",
                user.get("client-key-data") or "",
            )
        )
    except binascii.Error:
        return None
    if not (ca and certificate and key):
        return None
    return Credentials(server=server, ca=ca, certificate=certificate, key=key)


def _more(part: Mapping[str, Any], known: frozenset[str]) -> bool:
    return any(value for name, value in part.items() if name not in known)


def _named(document: Mapping[str, Any], rows: str, kind: str, name: str | None) -> Mapping[str, Any]:
    found = [row for row in document.get(rows) or () if row.get("name") == name]
    part: Mapping[str, Any] = (found[0].get(kind) if found else None) or {}
    return part


class KubectlApi:
    """Reads through kubectl, where a kubeconfig needs more than certificates."""

    def __init__(self, programs: Programs, kubeconfig: Path) -> None:
        self._programs, self._kubeconfig = programs, kubeconfig

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        code, text = self.raw(path)
        return content(path, code, text)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text; kubectl tells the status only by words."""
        try:
            return 200, self._programs.run(kubectl.raw(self._kubeconfig, path), quiet=True).out
        except CommandFailed as error:
            told = error.done.err
            code = _status(told)
            if code is not None:
                return code, told
            raise ApiError(0, f"the API does not answer: {error.tail()[-1] if error.tail() else error.what}") from error


_REASONS = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "Conflict": 409,
    "Gone": 410,
    "Expired": 410,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "Timeout": 504,
}
"""Words of the API for a status (apimachinery: `StatusReason`)."""


def _status(told: str) -> int | None:
    """The status that kubectl tells of on stderr; None if it is not about an answer."""
    if "You must be logged in to the server" in told:
        return 401
    reason = re.search(r"^Error from server \((\w+)\)", told, re.MULTILINE)
    return _REASONS.get(reason[1]) if reason else None


def content(path: str, code: int, text: str) -> Any:  # noqa: ANN401 - any JSON document
    """What an answer holds; raises `ApiError` for a status other than 200, with what the server says of it."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if code != 200:
        message = found.get("message", "") if isinstance(found, dict) else text.strip()[:200]
        raise ApiError(code, f"the API answered {code} to {path}", str(message))
    if found is None:
        raise ApiError(code, f"the API's answer to {path} is no JSON document", text.strip()[:200])
    return found


def open_api(kubeconfig: Path, programs: Programs) -> Api:
    """The API of a private kubeconfig: by certificate where it has one, else through kubectl."""
    access = credentials(kubeconfig.read_text(encoding="utf-8"))
    if access is not None:
        from tasks.tools.certapi import CertApi

        try:
            return CertApi(access)
        except (ValueError, ssl.SSLError):
            pass  # what is wrong with its certificates, kubectl tells
    return KubectlApi(programs, kubeconfig)


def port_answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether something speaks TLS there; who it is, is not asked."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's authorities: reading them costs 15 ms
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=timeout) as plain, tls.wrap_socket(plain):
            return True
    except (OSError, ValueError):
        return False


def ready(api: Api) -> bool:
    """Whether /readyz is 200; no answer is no, not an error."""
    try:
        return api.raw("/readyz")[0] == 200
    except ApiError:
        return False


class NotInTime(LaunchError):
    """A wait has passed its deadline."""


def not_in_time(context: Context, why: str) -> NotInTime:
    """The error of a wait that has passed its deadline."""
    return NotInTime(
        f"'{context.step}' was not there within {context.deadline:g} s",
        why=why,
        fix="invoke doctor checks the machine; timeouts.* are settings",
    )


def wait_until(
    look: Callable[[], _T | None],
    context: Context,
    *,
    pause: float = 0.2,
    cap: float = 1.0,
    telling: Callable[[], str] = lambda: "",
) -> _T:
    """Ask until there is a value. Raises `NotInTime` with what `telling` says, `Stopped` when cancelled.

    Answers that are transient errors count as "not yet"; others are raised at once.
    """
    end = time.monotonic() + context.deadline
    last = ""
    while True:
        try:
            found = look()
        except ApiError as error:
            if not error.transient:
                raise
            found, last = None, f"{error.what} {error.why}".strip()
        if found is not None:
            return found
        left = end - time.monotonic()
        if left <= 0:
            raise not_in_time(context, telling() or last)
        context.wait(min(pause, left))
        pause = min(cap, pause * 1.3)
