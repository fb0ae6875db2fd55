"""A web server on this machine with a scripted behaviour for each request."""

import hashlib
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tasks.host.assets import Asset, Target, asset
from tests.programs import tarred

LINUX = Target(system="linux", arch="amd64")


@dataclass(kw_only=True)
class Behaviour:
    """How one request is answered; by default with the whole file, or the requested part."""

    status: int | None = None
    location: str = ""
    cut: int | None = None
    """Close after that many bytes of the body."""
    hang: int | None = None
    """Send no more after that many bytes of the body, until the server is released."""
    silent: bool = False
    """Accept, and answer nothing until the server is released."""
    drip: float = 0.0
    """Seconds between single bytes."""
    ranges: bool = True
    length: bool = True
    etag: str | None = None
    if_range: bool = True
    """Look at If-Range."""
    shift: int = 0
    """Send a part that begins so many bytes too late."""


GOOD = Behaviour()


@dataclass(kw_only=True)
class Request:
    path: str
    headers: dict[str, str]


@dataclass
class Server:
    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    plans: dict[str, list[Behaviour]] = field(default_factory=dict)
    """For a path, how its next requests are answered; GOOD when the list is used up."""
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    hanging: threading.Event = field(default_factory=threading.Event)
    """Set when a request has begun to hang."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, path: str, *behaviours: Behaviour) -> None:
        self.plans[path] = list(behaviours)

    def requests_for(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def etag(self, path: str) -> str:
        return f'"{hashlib.sha256(self.files[path]).hexdigest()[:12]}"'

    def take(self, request: Request) -> Behaviour:
        with self.lock:
            self.requests.append(request)
            plan = self.plans.get(request.path)
            return plan.pop(0) if plan else GOOD


class _Handler(BaseHTTPRequestHandler):
    @property
    def ours(self) -> Server:
        return cast(Any, self.server).ours  # type: ignore[no-any-return]

    def log_message(self, *_: object) -> None:
        """Not on the tests' screen."""

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        how = self.ours.take(Request(path=self.path, headers=headers))
        path = self.path.partition("://")[2].partition("/")[2] if "://" in self.path else self.path.lstrip("/")
        body = self.ours.files.get(f"/{path}")
        if how.silent:
            self.ours.hanging.set()
            self.ours.released.wait(30)
        elif how.status is not None:
            self._plain(how.status, how.location)
        elif body is None:
            self._plain(404)
        else:
            self._file(f"/{path}", body, how, headers)

    def _plain(self, status: int, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, path: str, body: bytes, how: Behaviour, headers: dict[str, str]) -> None:
        etag = self.ours.etag(path) if how.etag is None else how.etag
        expected = re.fullmatch(r"bytes=(\d+)-", headers.get("range", "")) if how.ranges else None
        if expected and how.if_range and headers.get("if-range", etag) != etag:
            expected = None
        first = int(expected[1]) if expected else 0
        if expected and first >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first += how.shift if expected else 0
        self.send_response(206 if expected else 200)
        if expected:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        if how.length:
            self.send_header("Content-Length", str(len(body) - first))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self._body(body[first:], how)

    def _body(self, data: bytes, how: Behaviour) -> None:
        if how.drip:
            for index in range(len(data)):
                if self.ours.released.wait(how.drip):
                    return
                self.wfile.write(data[index : index + 1])
        elif how.hang is not None:
            self.wfile.write(data[: how.hang])
            self.ours.hanging.set()
            self.ours.released.wait(30)
        else:
            self.wfile.write(data[: how.cut])


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that went away is what these tests are about."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    with _Quiet(("127.0.0.1", 0), _Handler) as http:
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        ours = Server(port=http.server_address[1])
        cast(Any, http).ours = ours
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield ours
        finally:
            ours.released.set()
            http.shutdown()
            thread.join(5)


@dataclass(kw_only=True)
class Addresses:
    """The settings from which addresses are derived."""

    k3d_url: str
    kubectl_url: str
    helm_url: str


def release(server: Server, program: str, version: str, content: bytes, base: str = "") -> Asset:
    """Publish a program with its right checksum, as its project does."""
    given = base or server.url
    result = asset(program, version, LINUX, cast(Any, Addresses(k3d_url=given, kubectl_url=given, helm_url=given)))
    body = tarred({result.member: content}, "w:gz") if result.member else content
    path = result.url.removeprefix(given)
    server.files[path] = body
    digest = hashlib.sha256(body).hexdigest()
    text = {
        "k3d": f"{'0' * 64}  _dist/k3d-darwin-amd64\n{digest}  _dist/{result.name}\n",
        "kubectl": digest,
        "helm": f"{digest}  {result.name}\n",
    }[program]
    server.files[result.checksum_url.removeprefix(given)] = text.encode()
    return result
