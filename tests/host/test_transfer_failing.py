"""What failures mean: who is named, whether it may pass, and that no secret is told."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.error import URLError

import pytest

from tasks.host.transfer import Reach

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


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate in certificate chain"
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
        (http.client.InvalidURL("nonnumeric port: 'hidden-word@h'"), False, ["no address that can be asked"]),
        (UnicodeEncodeError("idna", "x", 0, 1, "label too long"), False, ["no address that can be asked"]),
        (TimeoutError(), True, ["TimeoutError"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_broken_lines(error: BaseException, transient: bool, words: list[str]) -> None:
    told = REACH.broken(URL, error)
    assert told.transient is transient
    assert all(word in str(told) for word in words), str(told)
    assert "hidden-word" not in str(told)
    assert told.fix


def test_silence_may_pass_and_a_deadline_does_not() -> None:
    assert REACH.silent(URL, 20).transient
    late = REACH.late(URL, 900)
    assert not late.transient
    assert "900 s" in late.what
    assert "hidden-word" not in str(late) + str(REACH.silent(URL, 20))
