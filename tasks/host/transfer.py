"""One request that can be cancelled at any moment: by the deadline, by silence, by the user.

Sockets alone cannot do that: name resolution has no timeout, and a server that sends a byte now and
then restarts the others forever. So a separate thread does the request, and the step only waits for it. The
thread uses nothing but its socket, and is abandoned if it hangs.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import queue
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import IO, Self
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from tasks.core import proxies
from tasks.core.errors import BadInput, LaunchError
from tasks.core.redact import bare_address, conceal
from tasks.engine.step import Context, Stopped
from tasks.facts.trust import trust

Response = HTTPResponse | HTTPError
"""Both have `status`, `headers`, `read1` or `read`, and `close`."""
_AGENT = "openframe-setup"
_PORTS = {"http": 80, "https": 443}
_NAME_ONE = "set HTTPS_PROXY to one, such as http://proxy:3128, or list hosts that need none in NO_PROXY"


def open_address(url: str, headers: Mapping[str, str], environ: Mapping[str, str], patience: float) -> Response:
    """The response, whatever its status. `patience`: seconds for connecting and for each read.

    Raises `LaunchError` for requests that are rejected here, OSError and http.client.HTTPException for failures.
    """
    try:
        response: Response = _opener(environ).open(_request(url, headers), timeout=patience)
    except HTTPError as error:
        return error
    return response


def _request(url: str, headers: Mapping[str, str]) -> urllib.request.Request:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(  # noqa: S310 - the opener below supports http and https only
        urlunsplit(parts._replace(netloc=host)), headers={"User-Agent": _AGENT, **headers}
    )
    if user:
        name, _, password = user.partition(":")
        if password:
            conceal(unquote(password))
        token = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        # "unredirected": a mirror's credentials are not for the target of a redirect
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _opener(environ: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """Without urllib's handlers for files and FTP: no redirect can lead there."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Proxies(environ),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=trust(environ).context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to other hosts (such as GitHub's downloads), but never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise LaunchError(
                f"{bare_address(req.full_url)} redirects to {bare_address(newurl)}, without encryption",
                why="the connection could be tampered with, including the checksum",
                fix="use a mirror that keeps https",
            )
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is None:
            return None
        following.remove_header("Proxy-authorization")  # set again if the next host is contacted through the proxy
        authorization = req.unredirected_hdrs.get("Authorization")
        if authorization and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            following.add_unredirected_header("Authorization", authorization)
        return following


class _Proxies(urllib.request.ProxyHandler):
    """The proxies of the given environment; urllib's own handler uses this process's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._read = proxies.read(environ)
        both = {"http": self._read.http, "https": self._read.https}
        # an invalid one is still registered: `proxy_open` reports what is wrong with it
        super().__init__({scheme: each.url if each is not None else "http://unread" for scheme, each in both.items()})

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> object:  # noqa: A002 - urllib's own name
        """None if urllib is to continue without a proxy, or with the one that is set then."""
        there = urlsplit(f"//{req.host}")
        if self._read.excluded.covers(there.hostname or "", there.port or _PORTS.get(type)):
            return None
        fault = self._read.fault(type)
        if fault is not None:
            raise BadInput(f"{fault[0]} names no proxy", why=fault[1], fix=_NAME_ONE)
        chosen = self._read.of(type, there.hostname or "", there.port)
        if chosen is None:
            return None
        if not chosen.web:
            raise BadInput(
                f"the proxy {chosen.shown} has an unsupported scheme: {chosen.scheme}",
                why="downloads support HTTP proxies only",
                fix=_NAME_ONE,
            )
        return super().proxy_open(req, proxy, type)


_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may not recur for the same request (RFC 9110, 6585, 8470)."""
_TIMES = frozenset({9, 10})
"""OpenSSL's codes of a certificate that is not valid yet, and of one that has expired."""
_MIRROR = "set {setting} to a reachable mirror, or put {program} on the PATH"


class Reach:
    """Error messages of one download. `other` is alternative advice."""

    def __init__(self, program: str, setting: str) -> None:
        self.other = _MIRROR.format(program=program, setting=setting)

    def refused(self, url: str, status: int) -> LaunchError:
        """The server answered with a status without a file."""
        why = {
            401: "the server requires authentication",
            403: "the server denies access",
            404: "the server has no such file",
            407: "the proxy requires authentication",
            429: "the server got too many requests from this address",
        }.get(status, "")
        if not why:
            kinds = {
                3: "the server redirects endlessly, or to an unsupported address",
                4: "the server rejects the request",
                5: "the server has an error",
            }
            why = kinds.get(status // 100, "the response has no file")
        return LaunchError(
            f"{bare_address(url)} answered with status {status}",
            why=why,
            fix=self.other,
            transient=status in _PASSING,
        )

    def broken(self, url: str, error: BaseException, environ: Mapping[str, str] | None = None) -> LaunchError:
        """The connection failed: DNS, connect, TLS, or read. `environ`: the environment of the request."""
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, LaunchError):
            return reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            return self._untrusted(url, reason, environ or {})
        if isinstance(reason, UnicodeError | ValueError | http.client.InvalidURL):
            return LaunchError(
                f"{bare_address(url)} is not a usable address",
                why=type(reason).__name__,  # its text may repeat a password
                fix=self.other,
            )
        if isinstance(reason, socket.gaierror):
            unknown = reason.errno == socket.EAI_NONAME
            return LaunchError(
                f"the name {_host(url)} cannot be resolved",
                why=reason.strerror or str(reason),
                fix=f"check the network and HTTPS_PROXY; or {self.other}",
                transient=not unknown,
            )
        text = str(reason) or type(reason).__name__
        refused = "Tunnel connection failed: 4" in text
        return LaunchError(
            f"the connection to {_host(url)} failed" + (" at the proxy" if refused else ""),
            why=text,
            fix=f"check the network, HTTPS_PROXY and NO_PROXY; or {self.other}",
            transient=not refused,
        )

    def _untrusted(self, url: str, error: ssl.SSLCertVerificationError, environ: Mapping[str, str]) -> LaunchError:
        """A certificate that could not be verified: because of the clock, the authorities, or its name."""
        why = getattr(error, "verify_message", "") or str(error)
        what = f"the certificate of {_host(url)} is not trusted"
        if getattr(error, "verify_code", 0) in _TIMES:
            return LaunchError(what, why=why, fix=f"check this machine's clock (`date`); or {self.other}")
        try:
            found = trust(environ)
        except LaunchError as wrong:
            return wrong
        named = found.source or "nothing: Python has no authorities of its own here, and the system has none"
        return LaunchError(what, why=f"{why}; authorities were read from {named}", fix=f"{found.fix}; or {self.other}")

    def silent(self, url: str, seconds: float) -> LaunchError:
        """No data for too long."""
        return LaunchError(
            f"{_host(url)} has sent nothing for {seconds:g} s",
            why="the server hangs, or a proxy on the way does",
            fix=f"try again: partial downloads are kept; or {self.other}",
            transient=True,
        )

    def late(self, url: str, seconds: float) -> LaunchError:
        """The deadline has passed."""
        return LaunchError(
            f"{bare_address(url)} was not downloaded within {seconds:g} s",
            why="the deadline of a download has passed (timeouts.pull)",
            fix=f"run it again: it continues where it stopped; or {self.other}",
        )


def _host(url: str) -> str:
    return bare_address(url).partition("://")[2].partition("/")[0]


_CHUNK = 65536
_AHEAD = 64
"""Maximum number of unread chunks: 4 MiB."""
PATIENCE = 20.0
"""Seconds without a byte after which a server counts as hanging."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The beginning of a response."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""

    @property
    def length(self) -> int | None:
        """Bytes that follow, if the server says so."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None


@dataclass(frozen=True)
class _End:
    """The end of a body, or the error that ended it."""

    error: BaseException | None = None


class Line:
    """Shared by all requests of one attempt: deadline, cancellation, and error messages."""

    def __init__(self, context: Context, environ: Mapping[str, str], reach: Reach, patience: float = PATIENCE) -> None:
        self.environ, self.reach, self.patience = environ, reach, patience
        self.step, self.cancelled, self.seconds = context.step, context.cancelled, context.deadline
        self.end = time.monotonic() + self.seconds

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Transfer:
        """Request an address; the request starts when the transfer is entered."""
        wanted = dict(headers or {})
        # the socket's own timeout comes after ours, and only ends the thread
        return Transfer(self, url, lambda: open_address(url, wanted, self.environ, self.patience + 1.0))

    def text(self, url: str, limit: int = 1_000_000) -> str:
        """A short text. Raises `LaunchError`, also for one that is longer than `limit` bytes."""
        with self.get(url) as transfer:
            head = transfer.head()
            if head.status != 200:
                raise self.reach.refused(url, head.status)
            data = b""
            for chunk in transfer.chunks():
                data += chunk
                if len(data) > limit:
                    raise LaunchError(
                        f"{bare_address(url)} is longer than {limit} bytes",
                        why="a short text is expected there",
                        fix=self.reach.other,
                    )
        return data.decode("utf-8", "replace")


class Transfer:
    """One request in progress."""

    def __init__(self, line: Line, url: str, ask: Callable[[], Response]) -> None:
        self._line, self._url, self._ask = line, url, ask
        self._queue: queue.SimpleQueue[Head | bytes | _End] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._left = threading.Event()
        self._forget: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self._forget = self._line.cancelled.call(lambda: self._queue.put(_End()))
        threading.Thread(target=self._work, name=f"{self._line.step}: transfer", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()
        self._left.set()
        self._room.release()

    def head(self) -> Head:
        """The beginning of the response. Raises `LaunchError`, `Stopped`."""
        found = self._next()
        if isinstance(found, _End):
            raise self._line.reach.broken(self._url, found.error or OSError("no answer"), self._line.environ) from None
        assert isinstance(found, Head)
        return found

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives. Raises `LaunchError`, `Stopped`."""
        while not isinstance(found := self._next(), _End):
            assert isinstance(found, bytes)
            yield found
            self._room.release()
        if found.error is not None:
            raise self._line.reach.broken(self._url, found.error, self._line.environ) from None

    def _next(self) -> Head | bytes | _End:
        line = self._line
        left = line.end - time.monotonic()
        try:
            found = self._queue.get(timeout=max(0.0, min(left, line.patience)))
        except queue.Empty:
            found = None
        if line.cancelled.is_set():
            raise Stopped(line.step)
        if time.monotonic() >= line.end:  # also while bytes still arrive
            raise line.reach.late(self._url, line.seconds)
        if found is None:
            raise line.reach.silent(self._url, line.patience)
        return found

    def _work(self) -> None:
        try:
            response = self._ask()
            with contextlib.closing(response):
                headers = {name.lower(): value for name, value in response.headers.items()}
                self._queue.put(Head(status=response.status or 0, headers=headers))
                while not self._left.is_set() and (chunk := response.read1(_CHUNK)):
                    self._room.acquire()
                    self._queue.put(chunk)
        except BaseException as error:  # noqa: BLE001 - passed on to the waiting thread
            self._queue.put(_End(error))
        else:
            self._queue.put(_End())
