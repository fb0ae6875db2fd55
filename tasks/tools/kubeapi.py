"""The Kubernetes API without a process: reads by HTTPS with the admin's certificate.

A kubectl that only reads costs 0.05 to 0.1 s of a processor (measured); a launch asks hundreds of times.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from tasks.engine.step import Context
from tasks.errors import LaunchError
from tasks.tools.program import Command, CommandFailed, Programs

_TIMEOUT = 5.0
"""Seconds for one answer of an API on this machine."""
_T = TypeVar("_T")


class ApiError(LaunchError):
    """The API refused, or did not answer. `code` is the HTTP status; 0: no answer."""

    def __init__(self, code: int, what: str, why: str = "") -> None:
        super().__init__(
            what,
            why=why,
            fix="invoke health tells whether the API is well",
            transient=code in (0, 429) or code >= 500,
        )
        self.code = code


class Api(Protocol):
    """What plans and waits ask of a cluster."""

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text, whatever the status; raises `ApiError` only where nothing answers."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A cluster's address and the admin's certificate, as PEM."""

    server: str
    ca: bytes
    certificate: bytes
    key: bytes


def credentials(kubeconfig: str) -> Credentials | None:
    """Of the current context; None if it uses something else than certificates (a token, a helper program)."""
    import yaml

    document = yaml.safe_load(kubeconfig) or {}
    current = document.get("current-context")
    context = _named(document.get("contexts"), current).get("context") or {}
    cluster = _named(document.get("clusters"), context.get("cluster")).get("cluster") or {}
    user = _named(document.get("users"), context.get("user")).get("user") or {}
    parts = [
        cluster.get("certificate-authority-data"),
        user.get("client-certificate-data"),
        user.get("client-key-data"),
    ]
    server = str(cluster.get("server", ""))
    if (
        not all(parts)
        or not server.startswith("https://")
        or cluster.get("proxy-url")
        or cluster.get("tls-server-name")
    ):
        return None
    ca, certificate, key = (base64.b64decode(str(part)) for part in parts)
    return Credentials(server=server, ca=ca, certificate=certificate, key=key)


def _named(rows: list[dict[str, Any]] | None, name: str | None) -> dict[str, Any]:
    return next((row for row in rows or () if row.get("name") == name), {})


class CertApi:
    """Reads with a client certificate. One kept connection for each thread; never by a proxy."""

    def __init__(self, access: Credentials, timeout: float = _TIMEOUT) -> None:
        address = urlsplit(access.server)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 443
        self._timeout = timeout
        self._tls = ssl.create_default_context(cadata=access.ca.decode())
        # openssl takes a chain from files only: they live for the length of one call, mode 0600
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "pair.pem"
            handle = os.open(pair, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(access.certificate.rstrip() + b"\n" + access.key)
            self._tls.load_cert_chain(pair)
        self._local = threading.local()

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        code, text = self.raw(path)
        return _document(path, code, text)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text. A kept connection that has died meanwhile is opened again, once."""
        kept: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        for connection in (kept, None) if kept is not None else (None,):
            used = connection or http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=self._tls
            )
            try:
                used.request("GET", path, headers={"Accept": "application/json"})
                response = used.getresponse()
                text = response.read().decode("utf-8", "replace")
            except (OSError, http.client.HTTPException) as error:
                used.close()
                self._local.connection = None
                if connection is None:
                    raise ApiError(
                        0, f"the API at {self._host}:{self._port} does not answer", str(error) or type(error).__name__
                    ) from error
                continue
            self._local.connection = used
            return response.status, text
        raise AssertionError("a fresh connection either answers or raises")


class KubectlApi:
    """Reads through kubectl, where a kubeconfig needs more than certificates."""

    def __init__(self, programs: Programs, kubeconfig: Path) -> None:
        self._programs, self._kubeconfig = programs, kubeconfig

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A JSON document; raises `ApiError`."""
        code, text = self.raw(path)
        return _document(path, code, text)

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text; kubectl tells the status only by words."""
        command = Command(argv=("kubectl", "--kubeconfig", str(self._kubeconfig), "get", "--raw", path), deadline=30.0)
        try:
            return 200, self._programs.run(command, quiet=True).out
        except CommandFailed as error:
            told = error.done.err
            for words, code in (
                ("(NotFound)", 404),
                ("(Forbidden)", 403),
                ("(Unauthorized)", 401),
                ("could not find", 404),
            ):
                if words in told:
                    return code, told
            if "(ServiceUnavailable)" in told or "(InternalError)" in told:
                return 503, told
            raise ApiError(0, f"the API does not answer: {error.tail()[-1] if error.tail() else error.what}") from error


def _document(path: str, code: int, text: str) -> Any:  # noqa: ANN401 - any JSON document
    if code != 200:
        try:
            message = str(json.loads(text).get("message", ""))
        except (ValueError, AttributeError):
            message = text.strip()[:200]
        raise ApiError(code, f"the API answered {code} to {path}", message)
    return json.loads(text)


def open_api(kubeconfig: Path, programs: Programs) -> Api:
    """The API of a private kubeconfig: by certificate where it has one, else through kubectl."""
    access = credentials(kubeconfig.read_text())
    return CertApi(access) if access is not None else KubectlApi(programs, kubeconfig)


def port_answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether something speaks TLS there; who it is, is not asked."""
    tls = ssl.create_default_context()
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
    import time

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
            raise NotInTime(
                f"'{context.step}' was not there within {context.deadline:g} s",
                why=telling() or last,
                fix="invoke doctor checks the machine; timeouts.* are settings",
            )
        context.wait(min(pause, left))
        pause = min(cap, pause * 1.3)
