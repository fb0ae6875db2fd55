"""A line of the test's own to a registry, as slow as it says and cut when it says; a chart repository with moods."""

import contextlib
import http.server
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

_CHUNK = 16384


@dataclass(kw_only=True)
class Line:
    """Carries connections to another address. `rate`: bytes per second of each connection, 0 for no limit."""

    host: str
    upstream: tuple[str, int]
    rate: int = 0
    carried: int = 0
    """Bytes that came down so far."""
    url: str = ""
    _server: socket.socket = field(init=False)
    _open: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = socket.create_server((self.host, 0))
        self.url = f"http://{self.host}:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Every connection breaks, and nobody answers any more."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(self.upstream)
            except OSError:
                return
            self._open += [near, far]
            threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, down: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                target.sendall(data)
                if down:
                    self.carried += len(data)
                    if self.rate:
                        time.sleep(len(data) / self.rate)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        if down:  # both ways have ended, or are about to
            source.close()
            target.close()


class Charts:
    """A chart repository that proxies another one, unless it fails or hangs."""

    def __init__(self, upstream: str) -> None:
        self.failures, self.hangs, self.commands = 0, False, list[float]()
        """How often it still answers 500; whether it never answers; when it was requested."""
        self._over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.commands.append(time.monotonic())
                if outer.hangs:
                    outer._over.wait(120)
                    return
                if outer.failures > 0:
                    outer.failures -= 1
                    self.send_error(500)
                    return
                with urllib.request.urlopen(upstream + self.path) as found:
                    data = found.read()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def charts(upstream: str) -> Iterator[Charts]:
    result = Charts(upstream)
    try:
        yield result
    finally:
        result.close()
