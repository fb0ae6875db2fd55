"""A pull-through cache that is made to fetch, with a small registry of the test."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tasks.clients import registry_http
from tasks.clients.registry_http import NotFetched, digest, fault, fetch, layers
from tasks.core.imageref import parse
from tasks.engine.step import Cancel, Stopped
from tests.programs import context

LAYER = b"x" * 300_000
CONFIG = b"{}"
IMAGE = parse("shop/web:1")


class Registry(http.server.ThreadingHTTPServer):
    """Has one image; `status` answers everything, `stalls` keeps the layer back."""

    daemon_threads = True
    status = 200
    stalls = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.over = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.server.status != 200:
            self.send_error(self.server.status)
        elif self.path.endswith("0" * 64):
            self.send_error(404)
        elif "/manifests/" in self.path:
            parts = {
                "config": {"digest": "sha256:c", "size": 2},
                "layers": [{"digest": "sha256:l", "size": len(LAYER)}],
            }
            self._give(json.dumps(parts).encode())
        elif self.path.endswith("sha256:l"):
            self._give(LAYER)
        else:
            self._give(CONFIG)

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/v2/shop/web/manifests/1" else 404)
        self.send_header("Docker-Content-Digest", "sha256:d")
        self.end_headers()

    def _give(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.stalls and body is LAYER:
            self.wfile.write(body[:1000])
            self.wfile.flush()
            self.server.over.wait(20)
            return
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def test_everything_of_an_image_is_read(registry: Registry) -> None:
    manifest = 2 + len(LAYER)
    assert fetch(registry.server_port, IMAGE, "amd64", context()) > manifest
    assert registry.requests[0] == "/v2/shop/web/manifests/1"
    assert sorted(registry.requests[1:]) == ["/v2/shop/web/blobs/sha256:c", "/v2/shop/web/blobs/sha256:l"]


def test_the_digest_of_a_tag_that_it_has(registry: Registry) -> None:
    assert digest(registry.server_port, IMAGE, 2.0) == "sha256:d"
    assert digest(registry.server_port, parse("shop/web:2"), 2.0) == ""
    assert digest(1, IMAGE, 2.0) is None
    assert digest(registry.server_port, parse("größe/a b:1"), 2.0) == ""


@pytest.mark.parametrize("status", [404, 500, 503])
def test_what_it_does_not_bring(registry: Registry, status: int) -> None:
    registry.status = status
    with pytest.raises(NotFetched, match=f"answered {status} to manifests of shop/web"):
        fetch(registry.server_port, IMAGE, "amd64", context())


def test_one_that_does_not_run() -> None:
    with pytest.raises(NotFetched, match="does not answer"):
        fetch(1, IMAGE, "amd64", context())


def test_a_stalled_download_ends_when_it_is_not_wanted_any_more(registry: Registry) -> None:
    registry.stalls = True
    cancelled = Cancel()
    threading.Timer(0.3, cancelled.set).start()
    begin = time.monotonic()
    with pytest.raises(Stopped):
        fetch(registry.server_port, IMAGE, "amd64", replace(context(), cancelled=cancelled))
    assert time.monotonic() - begin < 5


def test_a_cache_that_reaches_its_upstream_has_no_fault(registry: Registry) -> None:
    assert fault(registry.server_port, "shop/web") == ""
    assert registry.requests == [f"/v2/shop/web/blobs/sha256:{'0' * 64}"]


def test_the_faults_of_a_cache(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault(1, "shop/web") == "it is not running"
    registry.status = 500
    assert fault(registry.server_port, "shop/web") == "it cannot reach its upstream, and answers 500"
    monkeypatch.setattr(registry_http, "_ASKED", 0.1)
    with Silent() as port:
        assert fault(port, "shop/web") == "its upstream has not answered for 0.1 s"


class Silent:
    """A port that takes connections and says nothing."""

    def __enter__(self) -> int:
        import socket

        self.socket = socket.create_server(("127.0.0.1", 0))
        return int(self.socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def test_the_layers_of_an_image_and_their_sizes(registry: Registry) -> None:
    assert layers(registry.server_port, IMAGE, "amd64", context()) == {"sha256:l": len(LAYER)}
    assert [path for path in registry.requests if "/blobs/" in path] == []


def test_a_cache_that_does_not_answer_in_time_tells_no_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_http, "_ASKED", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotFetched, match="does not answer"):
        layers(silent.getsockname()[1], IMAGE, "amd64", context())
