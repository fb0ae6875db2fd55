"""Proxies, redirects and credentials: who is asked, and who is told what."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import Mapping
from urllib.error import URLError

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.core.redact import redact
from tasks.host.transfer import open_address
from tests.host.server import Behaviour, Server, serving

BASIC = "Basic " + base64.b64encode(b"me:p@ss-word").decode()


def ask(url: str, environ: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    response = open_address(url, {}, environ or {}, 5.0)
    with contextlib.closing(response):
        return response.status or 0, response.read()


def test_a_file_and_a_status_are_answers(server: Server) -> None:
    server.files["/a"] = b"content"
    assert ask(f"{server.url}/a") == (200, b"content")
    assert ask(f"{server.url}/b") == (404, b"")
    assert server.requests[0].headers["user-agent"] == "openframe-setup"
    assert "authorization" not in server.requests[0].headers


def test_credentials_of_an_address_become_a_header_for_that_host_alone_and_a_secret(server: Server) -> None:
    with serving() as other:
        other.files["/c"] = b"elsewhere"
        server.plan("/a", Behaviour(status=307, location="/b"))
        server.plan("/b", Behaviour(status=302, location=f"{other.url}/c"))
        assert ask(f"http://me:p%40ss-word@127.0.0.1:{server.port}/a") == (200, b"elsewhere")
        assert [each.headers["authorization"] for each in server.requests] == [BASIC, BASIC]
        assert "authorization" not in other.requests[0].headers
    assert redact("it is p@ss-word") == "it is ***"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://h/x"])
def test_a_redirect_leads_to_the_web_only(server: Server, location: str) -> None:
    server.plan("/a", Behaviour(status=302, location=location))
    with contextlib.suppress(URLError):  # "unknown url type"
        assert ask(f"{server.url}/a")[0] == 302


def test_a_redirect_without_end_is_an_answer_and_no_endless_loop(server: Server) -> None:
    server.plan("/a", *[Behaviour(status=302, location="/a")] * 50)
    assert ask(f"{server.url}/a")[0] == 302
    assert len(server.requests) < 20


def test_encryption_is_never_given_up_on_the_way() -> None:
    from http.client import HTTPMessage
    from io import BytesIO
    from urllib.request import Request

    from tasks.host.transfer import _Redirects

    handler = _Redirects()
    old = Request("https://me@mirror/a")
    with pytest.raises(LaunchError, match="without encryption"):
        handler.redirect_request(old, BytesIO(), 302, "", HTTPMessage(), "http://mirror/a?signature=s")
    assert handler.redirect_request(old, BytesIO(), 302, "", HTTPMessage(), "https://other/a") is not None


def test_certificates_are_verified() -> None:
    from tasks.host.transfer import _opener

    handlers = vars(_opener({}))["handlers"]
    contexts = [each._context for each in handlers if type(each).__name__ == "HTTPSHandler"]
    assert [(each.verify_mode, each.check_hostname) for each in contexts] == [(ssl.CERT_REQUIRED, True)]


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_proxy_of_the_given_environment_is_asked(server: Server, name: str) -> None:
    server.files["/a"] = b"by proxy"
    assert ask("http://mirror.invalid/a", {name: server.url}) == (200, b"by proxy")
    assert server.requests[0].path == "http://mirror.invalid/a"


def test_the_proxys_password_stays_with_the_proxy(server: Server) -> None:
    with serving() as direct:
        direct.files["/b"] = b"direct"
        server.plan("http://mirror.invalid/a", Behaviour(status=302, location=f"{direct.url}/b"))
        environ = {"http_proxy": f"me:p%40ss-word@127.0.0.1:{server.port}", "no_proxy": "127.0.0.1"}
        assert ask("http://mirror.invalid/a", environ) == (200, b"direct")
        assert "proxy-authorization" not in direct.requests[0].headers
    assert server.requests[0].headers["proxy-authorization"] == BASIC


DEAD = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_PROXY": DEAD, "NO_PROXY": "example.com,127.0.0.1"},
        {"HTTP_PROXY": DEAD, "NO_PROXY": "*"},
        {"HTTP_PROXY": DEAD, "NO_PROXY": "127.0.0.0/8 192.168.0.0/16"},
        {"HTTP_PROXY": DEAD, "NO_PROXY": "x; 127.0.0.0/8"},
        {"HTTP_PROXY": DEAD, "NO_PROXY": "10.0.0.0/ 127.0.0.1"},
        {"http_proxy": "", "HTTP_PROXY": DEAD},
        {"REQUEST_METHOD": "GET", "HTTP_PROXY": DEAD},
    ],
)
def test_hosts_without_a_proxy(server: Server, environ: dict[str, str]) -> None:
    """By networks too; what cannot be read is ignored."""
    server.files["/a"] = b"direct"
    assert ask(f"{server.url}/a", environ) == (200, b"direct")
    if "/" in environ.get("NO_PROXY", ""):
        with pytest.raises(URLError):  # the proxy is not there
            ask("http://mirror.invalid/a", environ)


@pytest.mark.parametrize("value", ["http://", "me:c4nary@:80", "gopher://me:c4nary@h"])
def test_a_proxy_that_cannot_be_read_is_named(server: Server, value: str) -> None:
    server.files["/a"] = b"direct"
    with pytest.raises(BadInput, match="HTTPS_PROXY names no proxy") as caught:
        ask("https://mirror.invalid/a", {"HTTPS_PROXY": value})
    assert "c4nary" not in str(caught.value)
    assert ask(f"{server.url}/a", {"HTTP_PROXY": value, "NO_PROXY": "127.0.0.1"}) == (200, b"direct")


def test_an_encrypted_address_is_tunnelled(server: Server) -> None:
    with pytest.raises(OSError, match="Tunnel connection failed: 501"):  # the server knows no CONNECT
        ask("https://mirror.invalid/a", {"HTTPS_PROXY": server.url})


def test_a_socks_proxy_is_refused_without_its_password() -> None:
    with pytest.raises(BadInput, match="socks5") as caught:
        ask("https://mirror.invalid/a", {"ALL_PROXY": "socks5://me:p%40ss-word@h:1080"})
    assert "ss-word" not in str(caught.value)
