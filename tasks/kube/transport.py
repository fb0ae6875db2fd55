"""Transport of requests to the Kubernetes API: HTTPS with a client certificate, or kubectl for anything else.

A kubectl costs 0.05 to 0.1 s of CPU even where it does nothing, and one that applies takes more than a second
while the starting cluster uses all of the CPU (measured); a launch sends hundreds of requests.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import ssl
import tempfile
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from tasks.core.files import prefix
from tasks.core.redact import bare_address
from tasks.kube.client import READ, WRITE, Api, ApiError, Busy, Credentials, NoAnswer, content, credentials, explained
from tasks.process.command import Command, CommandFailed, DeadlinePassed
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


class CertApi(Api):
    """The API over persistent connections with a client certificate, never through a proxy. Thread-safe.

    Raises `ValueError` or `ssl.SSLError` for certificates that cannot be used.
    """

    def __init__(self, access: Credentials, *, read: float = READ, write: float = WRITE) -> None:
        address = urlsplit(access.server)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 443
        self._prefix = address.path.rstrip("/")
        self._read, self._write = read, write
        self._tls = _trust(access)
        self._idle: deque[http.client.HTTPSConnection] = deque()
        weakref.finalize(self, _close, self._idle)

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
        connection = self._new()
        try:
            connection.connect()
            raw = connection.sock
            raw.settimeout(_QUIET)
            response = _request(connection, "GET", self._prefix + path, None, {})
            text = "" if response.status == 200 else response.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._no_connection(error) from error
        if response.status != 200:
            connection.close()
            content(path, response.status, text)
        return Lines(connection, response, raw)

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text. If an idle connection has died, the request is sent once more on a new one."""
        request = (method, self._prefix + path, body, headers or {})
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
        connection: http.client.HTTPSConnection,
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
        if len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        later = response.getheader("Retry-After") or ""
        if response.status in _PUT_OFF and later.isdigit():
            what = f"the API answered {response.status} to {path}"
            raise Busy(response.status, what, text.strip()[:200], float(later))
        return response.status, text

    def _take_idle(self) -> http.client.HTTPSConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _new(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT, context=self._tls)

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
        return refused

    def _reason(self, error: ssl.SSLCertVerificationError) -> str:
        """Why a certificate cannot be verified, in the words of Go, and so of kubectl."""
        if error.verify_code in _OUT_OF_TIME:
            return (
                "certificate has expired or is not yet valid: "
                f"current time {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} is {_OUT_OF_TIME[error.verify_code]}"
            )
        if error.verify_code in _OTHER_NAME:
            return f"certificate is not valid for {self._host}"
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


def _trust(access: Credentials) -> ssl.SSLContext:
    tls = ssl.create_default_context(cadata=access.ca.decode("ascii"))
    # as in kubectl: an intermediate authority may be the root of trust, and an old cluster's certificates, which lack
    # fields that RFC 5280 requires, are valid (Python 3.13 changed both defaults; kubernetes-client/python#2394)
    tls.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # OpenSSL loads a chain only from files: they exist for the length of one call, mode 0600
    with tempfile.TemporaryDirectory(prefix=prefix("certificate")) as folder:
        pair = Path(folder) / "pair.pem"
        handle = os.open(pair, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(access.certificate.rstrip() + b"\n" + access.key)
        tls.load_cert_chain(pair, password="")  # never prompt on the terminal
    return tls


def _close(idle: deque[http.client.HTTPSConnection]) -> None:
    while idle:
        idle.pop().close()


_ERROR = re.compile(r"^(?:error: |Unable to connect to the server: |The connection to the server ).*", re.MULTILINE)
"""The line with kubectl's error; advice and a URL may follow it (kubectl: `util.CheckErr`)."""


class KubectlApi(Api):
    """Reads, and requests with at most one effect, through one kubectl each."""

    def __init__(self, programs: Programs, kubeconfig: Path) -> None:
        self._programs, self._kubeconfig = programs, kubeconfig

    def raw(self, path: str) -> tuple[int, str]:
        """Status and text; kubectl reports the status only in words."""
        from tasks.clients import kubectl

        return self._answer(kubectl.raw(self._kubeconfig, path, deadline=READ + 3))

    def send(self, method: str, path: str, body: str) -> tuple[int, str]:
        """POST, PUT or DELETE with a JSON body; status and text."""
        from tasks.clients import kubectl

        return self._answer(kubectl.send(self._kubeconfig, method, path, body, deadline=WRITE + 3))

    def _answer(self, command: Command) -> tuple[int, str]:
        try:
            return 200, self._programs.run(command, quiet=True).out
        except DeadlinePassed as error:
            message = error.tail()[-1] if error.tail() else ""  # such as a credential plugin that waits for the user
            raise NoAnswer(0, f"the API does not answer: {error.what}", message) from error
        except CommandFailed as error:
            stderr = error.done.err
            code = _status(stderr)
            if code is not None:
                return code, stderr
            found = _ERROR.search(stderr)
            last = found[0] if found else error.last_line()
            raise self._by_proxy(explained(ApiError(0, f"the API does not answer: {last}"), stderr)) from error

    def _by_proxy(self, error: ApiError) -> ApiError:
        """The same; where kubectl asks by a proxy with that, of which it says nothing when it is refused there."""
        from tasks.core import yaml

        try:
            cluster = yaml.load(self._kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
        except (OSError, LookupError, TypeError):
            return error
        given = bare_address(str(cluster.get("proxy-url") or ""))
        proxy = given or _proxy(str(cluster.get("server") or ""), self._programs.env)
        if not proxy:
            return error
        source = "the kubeconfig's proxy-url" if given else "HTTPS_PROXY"
        return error.amend(
            why=f"kubectl reaches it by the proxy {proxy} ({source}). {error.why}",
            fix=f"see that this proxy runs and reaches the API, or take it away; {error.fix}",
        )


_REASONS = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Gone": 410,
    "Expired": 410,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "Timeout": 504,
}
"""The API's reason for each status (apimachinery: `StatusReason`)."""


def _status(stderr: str) -> int | None:
    """The HTTP status for kubectl's stderr; None if the API did not answer."""
    if "You must be logged in to the server" in stderr:
        return 401
    if re.search(r'^The \S+ ".*" is invalid', stderr, re.MULTILINE):
        return 422
    reason = re.search(r"^Error from server \((\w+)\)", stderr, re.MULTILINE)
    return _REASONS.get(reason[1]) if reason else None


def _proxy(server: str, environ: Mapping[str, str]) -> str:
    """The proxy that an environment names for an API's address, without its login; empty: none. Never for loopback."""
    if not any(name.lower().endswith("s_proxy") for name in environ):
        return ""
    from tasks.core.proxies import LOOPBACK, no_proxy, read

    address = urlsplit(server)
    host = address.hostname or "localhost"
    found = None if no_proxy(",".join(LOOPBACK)).covers(host) else read(environ).of("https", host, address.port or 443)
    return found.shown if found else ""


def open_api(kubeconfig: Path, programs: Programs) -> Api:
    """The API of a private kubeconfig: by client certificate if it has one and no proxy applies, else kubectl."""
    access = credentials(kubeconfig.read_text(encoding="utf-8"))
    if access is not None and not _proxy(access.server, programs.env):
        try:
            return CertApi(access)
        except (ValueError, ssl.SSLError):
            pass  # kubectl reports what is wrong with its certificates
    return KubectlApi(programs, kubeconfig)
