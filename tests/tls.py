"""A cluster's certificates, created by openssl, and an API server on loopback that requires them."""

import base64
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tasks.kube.client import Credentials

# Nothing but what an old cluster's authority has: no key usage, no key identifiers. Python 3.13 refuses
# such certificates unless told otherwise; kubectl does not.
_CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = test data
[authority]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = none
authorityKeyIdentifier = none
[server]
subjectAltName = IP:127.0.0.1
subjectKeyIdentifier = none
authorityKeyIdentifier = none
[client]
extendedKeyUsage = clientAuth
subjectKeyIdentifier = none
authorityKeyIdentifier = none
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Maker:
    """Makes certificates in a folder."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("openssl")
        assert found is not None, "these tests make their certificates with the program openssl"
        self._openssl, self._folder = found, folder
        self._config = folder / "openssl.cnf"
        self._config.write_text(_CONFIG)

    def _run(self, *args: object) -> None:
        command = [self._openssl, *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr

    def make(self, name: str, part: str, by: Pair | None = None, days: int = 2) -> Pair:
        """A certificate of one part of the configuration, signed by another one or by itself."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        self._run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pair.key)
        self._run(
            "req", "-new", "-config", self._config, "-key", pair.key, "-subj", f"/CN=test-{name}", "-out", request
        )
        signer = ("-signkey", pair.key) if by is None else ("-CA", by.certificate, "-CAkey", by.key, "-CAcreateserial")
        options = ("-extfile", self._config, "-extensions", part, "-days", days, "-out", pair.certificate)
        self._run("x509", "-req", "-in", request, *signer, *options)
        return pair


@dataclass(frozen=True)
class Certificates:
    """Those of one cluster, and an authority that has nothing to do with it."""

    authority: Pair
    between: Pair
    """Signed by the authority; signs itself."""
    server: Pair
    server_between: Pair
    server_expired: Pair
    client: Pair
    other: Pair


def certificates(folder: Path) -> Certificates:
    """All that the tests need; some tenths of a second."""
    maker = Maker(folder)
    authority = maker.make("ca", "authority")
    between = maker.make("between", "authority", authority)
    return Certificates(
        authority=authority,
        between=between,
        server=maker.make("server", "server", authority),
        server_between=maker.make("server-between", "server", between),
        server_expired=maker.make("server-expired", "server", authority, days=-1),
        client=maker.make("client", "client", authority),
        other=maker.make("other", "authority"),
    )


@dataclass
class Served:
    """A running server: its address, and its requests."""

    port: int
    requests: list[str] = field(default_factory=list)
    taken: list[tuple[str, str, bytes]] = field(default_factory=list)
    """What was sent to it: path, type and body."""
    logins: list[str] = field(default_factory=list)
    """Who sent each request: its token, or the name in its certificate."""
    connections: list[tuple[str, int]] = field(default_factory=list)
    answer: Callable[[str], tuple[int, bytes]] = lambda _path: (200, b'{"kind": "X"}')
    """One that raises ends the connection without an answer."""
    stream: Callable[[], Iterator[bytes]] | None = None
    """The chunks of a watch; an iterator that raises ends the connection in the middle."""
    chunked: bool = True
    """The end of a watch can be distinguished from the end of its connection."""
    close_after: bool = False
    """End the connection after each answer, without saying so."""
    length: int | None = None
    """What answers say of their length, where that is not true."""
    headers: dict[str, str] = field(default_factory=dict)
    """More that answers say."""
    hold: threading.Event = field(default_factory=threading.Event)
    """What answers wait for; set."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextmanager
def serving(server: Pair, clients: Pair, port: int = 0, *, tokens: bool = False) -> Iterator[Served]:
    """An HTTPS server on loopback that takes only clients with a certificate of that authority; `tokens`: others, too.

    Its end is the end of all its connections, as when a container is stopped.
    """
    open_ones: list[ssl.SSLSocket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            served.requests.append(self.path)
            served.connections.append(self.client_address)
            if served.stream is not None and "watch=1" in self.path:
                self.tell(served.stream())
            else:
                self.answer()

        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            served.taken.append((self.path, str(self.headers["Content-Type"]), body))
            served.connections.append(self.client_address)
            self.answer()

        def tell(self, pieces: Iterator[bytes]) -> None:
            self.send_response(200)
            self.send_header(*(("Transfer-Encoding", "chunked") if served.chunked else ("Connection", "close")))
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if served.chunked else piece)
            if served.chunked:
                self.wfile.write(b"0\r\n\r\n")

        def answer(self) -> None:
            served.hold.wait(20)
            subject = dict(part[0] for part in (self.connection.getpeercert() or {}).get("subject", ()))
            served.logins.append(self.headers["Authorization"] or subject.get("commonName", ""))
            code, body = served.answer(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(served.length or len(body)))
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = served.close_after

        def log_message(self, *_args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_args: object) -> None:
            """A client that goes away, or does not trust us, is what some tests are about."""

        def finish_request(self, request: Any, client_address: Any) -> None:
            with tls.wrap_socket(request, server_side=True) as secure:
                open_ones.append(secure)
                super().finish_request(secure, client_address)

        def shutdown_request(self, request: Any) -> None:
            self.close_request(request)

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.certificate, server.key)
    tls.load_verify_locations(clients.certificate)
    tls.verify_mode = ssl.CERT_OPTIONAL if tokens else ssl.CERT_REQUIRED
    with Server(("127.0.0.1", port), Handler) as httpd:
        served = Served(port=httpd.server_port)
        served.hold.set()
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            served.hold.set()
            httpd.shutdown()
            thread.join(5)
            for each in open_ones:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def access(url: str, pki: Certificates, authority: Pair | None = None) -> Credentials:
    """The admin's credentials for a server at that address."""
    return Credentials(
        server=url,
        ca=(authority or pki.authority).certificate.read_bytes(),
        certificate=pki.client.certificate.read_bytes(),
        key=pki.client.key.read_bytes(),
    )


def kubeconfig(held: Credentials, **changes: dict[str, Any]) -> str:
    """As k3s writes it; `cluster` and `user` say what differs (None: it is not there)."""
    cluster = {"certificate-authority-data": _b64(held.ca), "server": held.server, **changes.get("cluster", {})}
    user = {
        "client-certificate-data": _b64(held.certificate),
        "client-key-data": _b64(held.key),
        **changes.get("user", {}),
    }
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "clusters": [{"cluster": _there(cluster), "name": "default"}],
            "contexts": [{"context": {"cluster": "default", "user": "default"}, "name": "default"}],
            "current-context": "default",
            "kind": "Config",
            "preferences": {},
            "users": [{"name": "default", "user": _there(user)}],
        }
    )


def _there(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if value is not None}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def status(code: int, message: str) -> tuple[int, bytes]:
    """How the API says that something is wrong."""
    return code, json.dumps({"kind": "Status", "message": message, "code": code}).encode()
