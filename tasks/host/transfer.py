"""One request whose waiting can be ended at any moment: by the deadline, by silence, by the user.

Sockets alone cannot promise that: resolving a name has no time-out, and a server that sends a byte now and
then restarts the others for ever. So a thread of its own does the asking, and the step only waits for it. The
thread touches nothing but its socket, and is left behind where it hangs.
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
_NAME_ONE = "name one in HTTPS_PROXY, such as http://proxy:3128, or the hosts to be reached without one in NO_PROXY"


def open_address(url: str, headers: Mapping[str, str], environ: Mapping[str, str], patience: float) -> Response:
    """The answer, whatever its status. `patience`: seconds for connecting and for each read.

    Raises `LaunchError` for what is refused here, OSError and http.client.HTTPException for what fails.
    """
    try:
        response: Response = _opener(environ).open(_request(url, headers), timeout=patience)
    except HTTPError as error:
        return error
    return response


def _request(url: str, headers: Mapping[str, str]) -> urllib.request.Request:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(  # noqa: S310 - the opener below knows http and https only
        urlunsplit(parts._replace(netloc=host)), headers={"User-Agent": _AGENT, **headers}
    )
    if user:
        name, _, password = user.partition(":")
        if password:
            conceal(unquote(password))
        token = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        # "unredirected": a mirror's credentials are not for the host that it sends us to
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
    """Follows to other hosts (GitHub's downloads lie elsewhere), but never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise LaunchError(
                f"{bare_address(req.full_url)} sends on to {bare_address(newurl)}, without encryption",
                why="whoever is on the line could hand out another program with another checksum",
                fix="use a mirror that stays with https",
            )
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is None:
            return None
        following.remove_header("Proxy-authorization")  # set again where the next host is asked through the proxy
        authorization = req.unredirected_hdrs.get("Authorization")
        if authorization and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            following.add_unredirected_header("Authorization", authorization)
        return following


class _Proxies(urllib.request.ProxyHandler):
    """The proxies that the given environment names; urllib's own handler looks at this process's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._read = proxies.read(environ)
        both = {"http": self._read.http, "https": self._read.https}
        # one that cannot be read is still asked for: `proxy_open` says what is wrong with it
        super().__init__({scheme: each.url if each is not None else "http://unread" for scheme, each in both.items()})

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> object:  # noqa: A002 - urllib's own name
        """None where urllib is to go on as it would without a proxy, or with the one that is set then."""
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
                f"the proxy {chosen.shown} is of a kind that is not supported: {chosen.scheme}",
                why="downloads here go through proxies of HTTP only",
                fix=_NAME_ONE,
            )
        return super().proxy_open(req, proxy, type)


_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that the same request may not meet again (RFC 9110, 6585, 8470)."""
_TIMES = frozenset({9, 10})
"""OpenSSL's codes of a certificate that is not valid yet, and of one that is no more."""
_MIRROR = "set {setting} to a mirror that this machine reaches, or put {program} on the PATH"


class Reach:
    """Of one download: its words for errors. `other` says what can be done instead."""

    def __init__(self, program: str, setting: str) -> None:
        self.other = _MIRROR.format(program=program, setting=setting)

    def refused(self, url: str, status: int) -> LaunchError:
        """The server answered with a status that is no file."""
        why = {
            401: "the server wants to know who asks",
            403: "the server lets nobody, or not you, have it",
            404: "the server has no such file",
            407: "the proxy wants to know who asks",
            429: "the server has had too many requests from this address",
        }.get(status, "")
        if not why:
            kinds = {
                3: "the server sends on without end, or to where nothing can be fetched",
                4: "the server does not take the request",
                5: "the server is in trouble",
            }
            why = kinds.get(status // 100, "that comes with no file")
        return LaunchError(
            f"{bare_address(url)} answered with status {status}",
            why=why,
            fix=self.other,
            transient=status in _PASSING,
        )

    def broken(self, url: str, error: BaseException, environ: Mapping[str, str] | None = None) -> LaunchError:
        """The line failed: no name, no connection, no trust, or no end. `environ`: what the request was made with."""
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, LaunchError):
            return reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            return self._untrusted(url, reason, environ or {})
        if isinstance(reason, UnicodeError | ValueError | http.client.InvalidURL):
            return LaunchError(
                f"{bare_address(url)} is no address that can be asked",
                why=type(reason).__name__,  # its text may repeat a password
                fix=self.other,
            )
        if isinstance(reason, socket.gaierror):
            unknown = reason.errno == socket.EAI_NONAME
            return LaunchError(
                f"the name {_host(url)} cannot be resolved",
                why=reason.strerror or str(reason),
                fix=f"look at the network and HTTPS_PROXY; or {self.other}",
                transient=not unknown,
            )
        text = str(reason) or type(reason).__name__
        refused = "Tunnel connection failed: 4" in text
        return LaunchError(
            f"the connection to {_host(url)} failed" + (" at the proxy" if refused else ""),
            why=text,
            fix=f"look at the network, HTTPS_PROXY and NO_PROXY; or {self.other}",
            transient=not refused,
        )

    def _untrusted(self, url: str, error: ssl.SSLCertVerificationError, environ: Mapping[str, str]) -> LaunchError:
        """A certificate that could not be verified: by the time, by the authorities that there are, or by its name."""
        why = getattr(error, "verify_message", "") or str(error)
        what = f"the certificate of {_host(url)} is not trusted"
        if getattr(error, "verify_code", 0) in _TIMES:
            return LaunchError(what, why=why, fix=f"see that this machine's clock is right (`date`); or {self.other}")
        try:
            found = trust(environ)
        except LaunchError as wrong:
            return wrong
        named = found.source or "nothing: Python has no authorities of its own here, and the system shows none"
        return LaunchError(what, why=f"{why}; authorities were read from {named}", fix=f"{found.fix}; or {self.other}")

    def silent(self, url: str, seconds: float) -> LaunchError:
        """Nothing came for too long."""
        return LaunchError(
            f"{_host(url)} has sent nothing for {seconds:g} s",
            why="the server hangs, or something on the way swallows what it sends",
            fix=f"try again: what has come is kept; or {self.other}",
            transient=True,
        )

    def late(self, url: str, seconds: float) -> LaunchError:
        """The deadline passed."""
        return LaunchError(
            f"{bare_address(url)} did not come within {seconds:g} s",
            why="the deadline of a download has passed (timeouts.pull)",
            fix=f"run it again: it goes on from where it was; or {self.other}",
        )


def _host(url: str) -> str:
    return bare_address(url).partition("://")[2].partition("/")[0]


_CHUNK = 65536
_AHEAD = 64
"""Chunks that may lie unread: 4 MiB."""
PATIENCE = 20.0
"""Seconds without a byte after which a server is taken for hanging."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """How an answer begins."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""

    @property
    def length(self) -> int | None:
        """Bytes that follow, where the server says so."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None


@dataclass(frozen=True)
class _End:
    """The end of a body, or what ended it."""

    error: BaseException | None = None


class Line:
    """What all requests of one attempt share: its deadline, from now on, its cancelling, and its words for errors."""

    def __init__(self, context: Context, environ: Mapping[str, str], reach: Reach, patience: float = PATIENCE) -> None:
        self.environ, self.reach, self.patience = environ, reach, patience
        self.step, self.cancelled, self.seconds = context.step, context.cancelled, context.deadline
        self.end = time.monotonic() + self.seconds

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Transfer:
        """Ask for an address; the request begins when the transfer is entered."""
        wanted = dict(headers or {})
        # the socket's own time-out comes after ours, and only ends the thread
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
    """One request under way."""

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
        """How the answer begins. Raises `LaunchError`, `Stopped`."""
        found = self._next()
        if isinstance(found, _End):
            raise self._line.reach.broken(self._url, found.error or OSError("no answer"), self._line.environ) from None
        assert isinstance(found, Head)
        return found

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises `LaunchError`, `Stopped`."""
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
        if time.monotonic() >= line.end:  # also where bytes still come
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
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._queue.put(_End(error))
        else:
            self._queue.put(_End())
