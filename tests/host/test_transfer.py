"""One request: it ends wherever the server hangs, failures are reported without secrets, and what is sent to whom."""

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.error import URLError

import pytest

from tasks.core.errors import BadInput, LaunchError
from tasks.core.redact import redact
from tasks.engine.step import Cancel, Context, Stopped
from tasks.host import transfer
from tasks.host.transfer import Line, Reach, open_address
from tests.host.server import Behaviour, Server, serving


def line(seconds: float = 30.0, patience: float = 20.0, cancelled: Cancel | None = None) -> Line:
    context = Context(step="tools: helm", deadline=seconds, cancelled=cancelled or Cancel())
    return Line(context, {}, Reach("helm", "tools.helm_url"), patience)


def read(waiting_line: Line, url: str) -> bytes:
    with waiting_line.get(url) as under_way:
        assert under_way.head().status == 200
        return b"".join(under_way.chunks())


def cancelled_in(seconds: float) -> Cancel:
    cancelled = Cancel()
    timer = threading.Timer(seconds, cancelled.set)
    timer.daemon = True
    timer.start()
    return cancelled


HANGS = {
    "no answer": Behaviour(silent=True),
    "no body": Behaviour(hang=0),
    "in the body": Behaviour(hang=10),
    "drip": Behaviour(drip=0.02),
}


def test_a_body_comes_whole_also_when_its_reader_is_slow(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_AHEAD", 1)
    server.files["/a"] = bytes(range(256)) * 4_000
    assert read(line(), f"{server.url}/a") == server.files["/a"]


@pytest.mark.parametrize(
    ("limits", "reported", "hang"),
    [
        *(({"patience": 0.15}, "has sent nothing for 0.15 s", hang) for hang in HANGS if hang != "drip"),
        *(({"seconds": 0.15}, "was not downloaded within 0.15 s", hang) for hang in HANGS),
    ],
)
def test_silence_and_the_deadline_end_a_wait(server: Server, limits: dict[str, Any], reported: str, hang: str) -> None:
    """The deadline also where bytes still come."""
    server.files["/a"] = bytes(1000)
    server.plan("/a", HANGS[hang])
    begin = time.monotonic()
    with pytest.raises(LaunchError, match=reported.replace(".", r"\.")) as caught:
        read(line(**limits), f"{server.url}/a")
    assert caught.value.transient is ("patience" in limits)
    assert time.monotonic() - begin < 3


class Endless:
    """A response whose next bytes are always available."""

    status = 200
    headers: Mapping[str, str] = MappingProxyType({})

    def read1(self, _size: int) -> bytes:
        return b"x"

    def close(self) -> None:
        """Nothing is open."""


def test_the_deadline_ends_what_never_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "open_address", lambda *_: Endless())

    def read_slowly() -> None:
        with line(seconds=0.1).get("http://h/a") as under_way:
            under_way.head()
            for _, _ in zip(range(100), under_way.chunks(), strict=False):
                time.sleep(0.01)  # slower than the server: something always lies there

    with pytest.raises(LaunchError, match="was not downloaded within"):
        read_slowly()


@pytest.mark.parametrize("hang", HANGS)
def test_being_cancelled_ends_it_at_once(server: Server, hang: str) -> None:
    server.files["/a"] = bytes(1000)
    server.plan("/a", HANGS[hang])
    begin = time.monotonic()
    with pytest.raises(Stopped):
        read(line(cancelled=cancelled_in(0.05)), f"{server.url}/a")
    assert time.monotonic() - begin < 2


def test_a_name_that_is_never_resolved_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(transfer, "open_address", lambda *_: end.wait(30))
    with pytest.raises(Stopped):
        read(line(cancelled=cancelled_in(0.1)), "http://h/a")
    with pytest.raises(LaunchError, match="was not downloaded within"):
        read(line(seconds=0.1), "http://h/a")
    end.set()


def test_the_thread_that_is_left_behind_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_AHEAD", 2)
    server.files["/a"] = bytes(50_000_000)
    waiting_line = line()
    with waiting_line.get(f"{server.url}/a") as under_way:
        under_way.head()
        next(under_way.chunks())
    end = time.monotonic() + 5
    while any(thread.name == "tools: helm: transfer" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_error_of_the_line_is_the_readers(server: Server) -> None:
    with pytest.raises(LaunchError, match=r"connection to 127\.0\.0\.1:1 failed") as caught:
        read(line(), "http://127.0.0.1:1/a")
    assert caught.value.transient
    server.plan("/t", Behaviour(status=503))
    with pytest.raises(LaunchError, match="answered with status 503"):
        line().text(f"{server.url}/t")


def test_a_text_is_short_or_refused(server: Server) -> None:
    server.files["/t"] = "grüß dich".encode()
    assert line().text(f"{server.url}/t") == "grüß dich"
    with pytest.raises(LaunchError, match="is longer than 5 bytes"):
        line().text(f"{server.url}/t", limit=5)


# -- what failures mean --------------------------------------------------------------------------------


URL = "https://me:hidden-word@mirror:8443/helm.tar.gz?token=hidden-word"
REACH = Reach("helm", "tools.helm_url")


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        *((status, False) for status in (204, 302, 400, 401, 403, 404, 407, 410, 416, 501)),
        *((status, True) for status in (408, 429, 500, 502, 503, 504)),
    ],
)
def test_statuses(status: int, transient: bool) -> None:
    error = REACH.refused(URL, status)
    assert error.what == f"https://mirror:8443/helm.tar.gz answered with status {status}"
    assert error.transient is transient
    assert error.why
    assert "tools.helm_url" in error.fix
    assert "helm on the PATH" in error.fix


def untrusted(code: int = 19) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message, error.verify_code = "self-signed certificate in certificate chain", code
    return error


@pytest.mark.parametrize(
    ("error", "transient", "words"),
    [
        (URLError(untrusted()), False, ["mirror:8443 is not trusted", "self-signed", "SSL_CERT_FILE"]),
        (URLError(socket.gaierror(socket.EAI_AGAIN, "Temporary failure")), True, ["cannot be resolved", "Temporary"]),
        (URLError(socket.gaierror(socket.EAI_NONAME, "Name not known")), False, ["cannot be resolved", "not known"]),
        (URLError(ConnectionRefusedError(111, "Connection refused")), True, ["connection to mirror:8443 failed"]),
        (URLError(ssl.SSLError(1, "wrong version number")), True, ["wrong version number"]),
        (ConnectionResetError(104, "reset"), True, ["reset"]),
        (http.client.RemoteDisconnected("closed without response"), True, ["closed without response"]),
        (http.client.IncompleteRead(b"x", 5), True, ["IncompleteRead"]),
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), False, ["at the proxy", "407"]),
        (OSError("Tunnel connection failed: 503 Service Unavailable"), True, ["503"]),
        (http.client.InvalidURL("nonnumeric port: 'hidden-word@h'"), False, ["not a usable address"]),
        (UnicodeEncodeError("idna", "x", 0, 1, "label too long"), False, ["not a usable address"]),
        (TimeoutError(), True, ["TimeoutError"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_broken_lines(error: BaseException, transient: bool, words: list[str]) -> None:
    reported = REACH.broken(URL, error)
    assert reported.transient is transient
    assert all(word in str(reported) for word in words), str(reported)
    assert "hidden-word" not in str(reported)
    assert reported.fix


def test_no_secret_of_an_address_is_told_by_silence_or_a_deadline() -> None:
    late = REACH.late(URL, 900)
    assert "900 s" in late.what
    assert "hidden-word" not in str(late) + str(REACH.silent(URL, 20))


# -- who is asked, and who is told what --------------------------------------------------------

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
