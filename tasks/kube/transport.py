"""Transport of requests to the Kubernetes API: HTTPS with a certificate or a token, or kubectl for anything else.

A kubectl costs 0.05 to 0.1 s of CPU even where it does nothing, and one that applies takes more than a second
while the starting cluster uses all of the CPU (measured); a launch sends hundreds of requests.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tasks.core.files import prefix
from tasks.kube.client import (
    READ,
    WRITE,
    Api,
    ApiError,
    Busy,
    Credentials,
    Login,
    NoAnswer,
    content,
    credentials,
    explained,
    proxy_of,
)
from tasks.process.programs import Programs

_CONNECT = 5.0
"""Seconds for a connection and its TLS handshake, and for the response of a health endpoint."""
_HEALTH = ("/readyz", "/livez", "/healthz")
_OUT_OF_TIME = {9: "before it begins", 10: "after its end"}
"""OpenSSL's codes of a certificate that is not yet, or no longer, valid (openssl: x509_vfy.h)."""
_OTHER_NAME = (62, 64)
"""Its codes of a host name or an address that the certificate does not contain."""
_PUT_OFF = (429, 503)
"""Statuses with which a server that sends `Retry-After` has not processed the request (client-go: `checkWait`)."""
_UNABLE = "Unable to connect to the server"
"""The beginning of kubectl's message about a connection."""
_QUIET = 330.0
"""Seconds of silence after which a watch is closed: the server ends it after at most 300 s, as requested."""
_IDLE = 8
"""Idle connections in the pool."""


class Source(Protocol):
    """Where the login of a request comes from. Thread-safe."""

    def current(self) -> Login:
        """The login to use now. Raises `ApiError`."""

    def renewed(self, rejected: Login) -> Login:
        """The login to use after the API has rejected one: the same if there is no other. Raises `ApiError`."""


class _Connection(http.client.HTTPSConnection):
    """A connection that verifies another name than that of its host, if one is given (`tls-server-name`)."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, timeout=_CONNECT, context=tls)
        self.tls, self._name = tls, name or host

    def connect(self) -> None:
        """By TCP, then TLS."""
        http.client.HTTPConnection.connect(self)
        self.sock = self.tls.wrap_socket(self.sock, server_hostname=self._name)


class HttpsApi(Api):
    """The API over persistent connections with a certificate or a token, never through a proxy. Thread-safe.

    `whose`: the error for a login that the API rejects, if it is not this project's own.
    Raises `ValueError` or `ssl.SSLError` for certificates that cannot be used.
    """

    def __init__(
        self,
        access: Credentials,
        login: Source | None = None,
        *,
        whose: Callable[[], ApiError] | None = None,
        read: float = READ,
        write: float = WRITE,
    ) -> None:
        address = urlsplit(access.server)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 443
        self._prefix = address.path.rstrip("/")
        self._read, self._write = read, write
        self._access, self._source, self._whose = access, login, whose
        self._used = access.login
        self._tls = _trust(access, access.login)
        self._lock = threading.Lock()
        self._idle: deque[_Connection] = deque()
        weakref.finalize(self, _close, self._idle)

    def verified(self) -> bool:
        """Whether the server's certificate is not known to be rejected. The connection is used by the next request."""
        connection = self._new()
        try:
            connection.connect()
        except ssl.SSLCertVerificationError:
            return False
        except OSError:
            return True  # the next request reports it
        self._idle.append(connection)
        return True

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text."""
        return self._send("GET", path)

    def patch(self, path: str, body: str) -> tuple[int, str]:
        """Server-side apply of one object. Raises `NoAnswer`, without a retry, if the server may still process it.

        It is sent again if an idle connection has died: apply is idempotent.
        """
        return self._send("PATCH", path, body.encode(), {"Content-Type": "application/apply-patch+yaml"})

    def send(self, method: str, path: str, body: str) -> tuple[int, str]:
        """POST, PUT or DELETE with a JSON body."""
        return self._send(method, path, body.encode(), {"Content-Type": "application/json"})

    def watch(self, path: str) -> Lines:
        """The lines of a watch. Raises `ApiError` if it is rejected, or there is no response."""
        bearer = _bearer(self._login())
        connection = self._new()
        try:
            connection.connect()
            raw = connection.sock
            raw.settimeout(_QUIET)
            response = _request(connection, "GET", self._prefix + path, None, bearer)
            text = "" if response.status == 200 else response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._no_connection(error) from error
        if response.status != 200:
            connection.close()
            content(path, response.status, text)
        return Lines(connection, response, raw)

    def _login(self, rejected: Login | None = None) -> Login:
        """The current login, or the one after a rejected one. Raises `ApiError`."""
        if self._source is None:
            return self._used
        login = self._source.current() if rejected is None else self._source.renewed(rejected)
        with self._lock:
            if login[1:] != self._used[1:]:  # another certificate needs other connections
                try:
                    self._tls = _trust(self._access, login)
                except (ValueError, ssl.SSLError) as error:
                    what = "the certificate that the credential plugin returns cannot be used"
                    raise ApiError(0, what, str(error), transient=False) from None
                _close(self._idle)
            self._used = login
        return login

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text; a rejected login is renewed once. Raises `ApiError`, with the user if that is of no use."""
        login = self._login()
        code, text = self._attempt(method, path, body, {**(headers or {}), **_bearer(login)})
        if code == 401:
            again = self._login(login)
            if again != login:  # what is rejected was not processed
                code, text = self._attempt(method, path, body, {**(headers or {}), **_bearer(again)})
        if code == 401 and self._whose is not None:
            raise self._whose()
        return code, text

    def _attempt(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, str]:
        """Status and text. If an idle connection has died, the request is sent once more on a new one."""
        request = (method, self._prefix + path, body, headers)
        seconds = self._read if method == "GET" else self._write
        if path.startswith(_HEALTH):
            seconds = min(seconds, _CONNECT)
        idle = self._take_idle()
        if idle is not None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self._exchange(idle, seconds, *request)
        connection = self._new()
        try:
            connection.connect()
            return self._exchange(connection, seconds, *request)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._no_connection(error) from error

    def _exchange(
        self,
        connection: _Connection,
        seconds: float,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> tuple[int, str]:
        """Status and text. Raises `NoAnswer` on a timeout, `Busy`, and errors of the connection."""
        try:
            connection.sock.settimeout(seconds)
            response = _request(connection, method, path, body, headers)
            text = response.read().decode("utf-8", "replace")
        except BaseException as error:
            connection.close()
            if isinstance(error, TimeoutError):
                what = f"the API at {self._host}:{self._port} has not answered within {seconds:g} s"
                raise NoAnswer(0, what, f"{method} {path}") from error
            raise
        if len(self._idle) < _IDLE and connection.tls is self._tls:
            self._idle.append(connection)
        else:
            connection.close()
        later = response.getheader("Retry-After") or ""
        if response.status in _PUT_OFF and later.isdigit():
            what = f"the API answered {response.status} to {path}"
            raise Busy(response.status, what, text.strip()[:200], float(later))
        return response.status, text

    def _take_idle(self) -> _Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _new(self) -> _Connection:
        return _Connection(self._host, self._port, self._tls, self._access.name)

    def _no_connection(self, error: Exception) -> ApiError:
        where = f"{self._host}:{self._port}"
        if isinstance(error, ssl.SSLCertVerificationError):
            what = f"the certificate of the API at {where} cannot be verified: {error.verify_message}"
            return explained(ApiError(0, what, transient=False), f"{_UNABLE}: x509: {self._reason(error)}")
        reason = str(error.reason or "") if isinstance(error, ssl.SSLError) else ""
        if "_ALERT_" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
            what = f"the API at {where} rejects the client certificate"
            return explained(ApiError(0, what, transient=False), f"{_UNABLE}: remote error: tls: certificate: {reason}")
        refused = ApiError(0, f"the API at {where} does not answer", str(error) or type(error).__name__)
        if isinstance(error, socket.gaierror):
            return explained(refused, f"{_UNABLE}: dial tcp: lookup {self._host}: no such host")
        if reason == "WRONG_VERSION_NUMBER":
            return explained(refused, f"{_UNABLE}: tls: first record does not look like a TLS handshake")
        if self._whose is None:
            return refused
        message = getattr(error, "strerror", "") or str(error) or type(error).__name__
        refused.amend(what=f"{refused.what}: {message}")
        return explained(refused, f"The connection to the server {where} was refused")

    def _reason(self, error: ssl.SSLCertVerificationError) -> str:
        """Why a certificate cannot be verified, in the words of Go, and so of kubectl."""
        if error.verify_code in _OUT_OF_TIME:
            return (
                "certificate has expired or is not yet valid: "
                f"current time {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} is {_OUT_OF_TIME[error.verify_code]}"
            )
        if error.verify_code in _OTHER_NAME:
            return f"certificate is not valid for {self._access.name or self._host}"
        return f"certificate signed by unknown authority ({error.verify_message})"


class Lines:
    """A watch's answer, line by line. See `tasks.kube.client.Stream`."""

    def __init__(
        self, connection: http.client.HTTPSConnection, response: http.client.HTTPResponse, raw: socket.socket
    ) -> None:
        # `raw`: a response takes the socket over from its connection; another thread closes it through this one
        self._connection, self._response, self._socket = connection, response, raw

    def __iter__(self) -> Iterator[str]:
        try:
            while (line := self._response.readline()).endswith(b"\n"):  # otherwise it is incomplete
                yield line.decode("utf-8", "replace")
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return  # closed by the server, or by `close`
        finally:
            self._response.close()
            self._connection.close()

    def close(self) -> None:
        """End the stream; a blocked reader wakes up and finds the end."""
        with contextlib.suppress(OSError):
            # not the shutdown of the TLS layer, which frees what the reader still uses
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _request(
    connection: http.client.HTTPSConnection, method: str, path: str, body: bytes | None, more: Mapping[str, str]
) -> http.client.HTTPResponse:
    connection.request(method, path, body=body, headers={"Accept": "application/json", **more})
    return connection.getresponse()


def _bearer(login: Login) -> dict[str, str]:
    return {"Authorization": f"Bearer {login.token}"} if login.token else {}


def _trust(access: Credentials, login: Login) -> ssl.SSLContext:
    tls = ssl.create_default_context(cadata=access.ca.decode("ascii") or None)
    if access.insecure:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    # as in kubectl: an intermediate authority may be the root of trust, and an old cluster's certificates, which lack
    # fields that RFC 5280 requires, are valid (Python 3.13 changed both defaults; kubernetes-client/python#2394)
    tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not login.certificate:
        return tls
    # OpenSSL loads a chain only from files: they exist for the length of one call, mode 0600
    with tempfile.TemporaryDirectory(prefix=prefix("certificate")) as folder:
        pair = Path(folder) / "pair.pem"
        handle = os.open(pair, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(login.certificate.rstrip() + b"\n" + login.key)
        tls.load_cert_chain(pair, password="")  # never prompt on the terminal
    return tls


def _close(idle: deque[_Connection]) -> None:
    while idle:
        idle.pop().close()


def open_api(kubeconfig: Path, programs: Programs, foreign: bool = False) -> Api:
    """The API of a private kubeconfig: over HTTPS if its login allows that and no proxy applies, else by kubectl.

    `foreign`: whether it is a context of the user's, whose login is named where the API rejects it.
    """
    text = kubeconfig.read_text(encoding="utf-8")
    access, whose, login = credentials(text), None, None
    if foreign:
        from tasks.kube import logins

        logins.conceal_login(text)
        whose, login = partial(logins.rejected, text, programs.env), logins.source(access, kubeconfig, programs)
    if access is not None and not proxy_of(access.server, programs.env):
        with contextlib.suppress(ValueError, ssl.SSLError):  # kubectl reports what is wrong with its certificates
            api = HttpsApi(access, login, whose=whose)
            # the system's authorities may be where kubectl finds them and OpenSSL does not
            if access.ca or access.insecure or api.verified():
                return api
    from tasks.kube.kubectl_transport import KubectlApi

    return KubectlApi(programs, kubeconfig, whose=whose)
