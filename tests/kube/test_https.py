"""Reads by certificate, against a server on loopback: trust, kept connections, what does not answer."""

from __future__ import annotations

import gc
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.kube.client import READ, WRITE, ApiError, Busy, NoAnswer, ready
from tasks.kube.https import CertApi
from tests.tls import Certificates, Served, access, serving, status

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def api(served: Served, made: Certificates) -> CertApi:
    return CertApi(access(served.url, made))


def test_a_document_is_read(api: CertApi, served: Served) -> None:
    served.answer = lambda path: (200, json.dumps({"path": path, "sign": "ä"}).encode())
    assert api.get("/api/v1/nodes?limit=5") == {"path": "/api/v1/nodes?limit=5", "sign": "ä"}


@pytest.mark.parametrize("code", [200, 401, 403, 404, 429, 500, 503])
def test_a_status_is_an_answer_for_raw_and_an_error_for_get(api: CertApi, served: Served, code: int) -> None:
    served.answer = lambda _path: status(code, "because")
    assert api.raw("/x") == (code, status(code, "because")[1].decode())
    if code == 200:
        return
    with pytest.raises(ApiError, match=f"the API answered {code} to /x") as caught:
        api.get("/x")
    assert caught.value.code == code
    assert caught.value.why == "because" or code == 401, "a login that is not known is explained"
    assert caught.value.transient == (code in (429, 500, 503))


def test_an_answer_that_is_no_json_is_told(api: CertApi, served: Served) -> None:
    served.answer = lambda _path: (200, b"<html>hello</html>")
    with pytest.raises(ApiError, match="no JSON") as caught:
        api.get("/x")
    assert not caught.value.transient
    served.answer = lambda _path: (502, b"[] bad gateway \n")
    with pytest.raises(ApiError, match="502") as caught:
        api.get("/x")
    assert caught.value.why == "[] bad gateway"


def test_one_connection_serves_many_questions_and_threads(api: CertApi, served: Served) -> None:
    for _ in range(5):
        api.get("/x")
    for _ in range(3):  # a step is a thread of its own
        thread = threading.Thread(target=api.get, args=("/x",))
        thread.start()
        thread.join()
    assert len(served.asked) == 8
    assert len(set(served.connections)) == 1


def test_questions_at_the_same_time_have_connections_of_their_own(api: CertApi, served: Served) -> None:
    served.hold.clear()
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(api.get, f"/{number}") for number in range(16)]
        end = time.monotonic() + 4
        while len(served.asked) < 16 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(served.asked) == 16
        served.hold.set()
        assert all(answer.result() == {"kind": "X"} for answer in answers)
    assert len(set(served.connections)) == 16
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(api.get, [f"/again/{number}" for number in range(64)]))
    assert len(served.asked) == 80


def test_a_connection_that_the_server_closed_is_made_again(api: CertApi, served: Served) -> None:
    served.close_after = True
    for _ in range(4):
        assert api.get("/x") == {"kind": "X"}
    assert len(set(served.connections)) == 4


def test_a_server_that_was_started_again_is_found_again(made: Certificates) -> None:
    with serving(made.server, made.authority) as first:
        api = CertApi(access(first.url, made))
        assert ready(api)
    with pytest.raises(ApiError, match="does not answer") as caught:
        api.get("/x")
    assert caught.value.code == 0
    assert caught.value.transient
    assert not ready(api)
    with serving(made.server, made.authority, port=first.port) as second:
        assert ready(api)
    assert second.asked == ["/readyz"]


def test_a_kept_connection_that_died_is_no_failure(made: Certificates) -> None:
    with serving(made.server, made.authority) as first:
        api = CertApi(access(first.url, made))
        assert ready(api)
    with serving(made.server, made.authority, port=first.port) as second:
        assert api.get("/x") == {"kind": "X"}
    assert second.asked == ["/x"]


def test_a_server_that_says_nothing_is_not_waited_for(served: Served, made: Certificates) -> None:
    api = CertApi(access(served.url, made), read=0.3)
    served.hold.clear()
    began = time.monotonic()
    with pytest.raises(NoAnswer, match=f"127.0.0.1:{served.port} has not answered within 0.3 s") as caught:
        api.get("/x")
    assert time.monotonic() - began < 2
    assert caught.value.transient


@pytest.mark.parametrize("kept", [True, False])
def test_a_write_is_waited_for_longer_than_a_read_and_sent_once(served: Served, made: Certificates, kept: bool) -> None:
    """Admission webhooks take up to 30 s each; what is sent again while the server is at it doubles its load."""
    api = CertApi(access(served.url, made), read=0.2, write=0.6)
    assert not kept or ready(api)
    served.hold.clear()
    began = time.monotonic()
    with pytest.raises(NoAnswer, match=r"has not answered within 0\.6 s"):
        api.patch("/y", "{}")
    assert 0.5 < time.monotonic() - began < 2
    assert len(served.taken) == 1


def test_the_deadlines_are_those_of_kubectl_and_of_the_server() -> None:
    assert READ == 32
    assert WRITE > 60, "the server's own limit, in which it queries webhooks for up to 30 s each"


@pytest.mark.parametrize("method", ["get", "patch"])
@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_asks_to_come_again_says_when(api: CertApi, served: Served, code: int, method: str) -> None:
    served.answer = lambda _path: status(code, "too many")
    served.headers["Retry-After"] = "3"
    with pytest.raises(Busy) as caught:
        api.get("/x") if method == "get" else api.patch("/x", "{}")
    assert (caught.value.code, caught.value.seconds, caught.value.transient) == (code, 3.0, True)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28"])
def test_what_speaks_no_tls_does_not_answer(made: Certificates, says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(says)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        api = CertApi(access(f"https://127.0.0.1:{listening.getsockname()[1]}", made))
        with pytest.raises(ApiError, match="does not answer") as caught:
            api.get("/x")
        thread.join(5)
    assert caught.value.transient


def test_another_clusters_server_is_told_at_once(served: Served, made: Certificates) -> None:
    api = CertApi(access(served.url, made, authority=made.other))
    for ask in (lambda: api.get("/x"), lambda: ready(api)):
        with pytest.raises(ApiError, match=f"certificate of the API at 127.0.0.1:{served.port} cannot") as caught:
            ask()
        assert caught.value.cause == "api-stranger"
        assert "unknown authority" in caught.value.why
        assert not caught.value.transient
    assert served.asked == []


def test_a_certificate_that_has_expired_is_told(made: Certificates) -> None:
    with serving(made.server_expired, made.authority) as served, pytest.raises(ApiError) as caught:
        ready(CertApi(access(served.url, made)))
    assert (caught.value.cause, caught.value.transient) == ("api-expired", False)
    assert "clock" in caught.value.why


def test_a_certificate_that_is_not_yet_valid_is_told(api: CertApi, monkeypatch: pytest.MonkeyPatch) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 9, "certificate is not yet valid"

    def refuse(_connection: object) -> None:
        raise error

    monkeypatch.setattr("http.client.HTTPSConnection.connect", refuse)
    with pytest.raises(ApiError, match="cannot be verified: certificate is not yet valid") as caught:
        ready(api)
    assert (caught.value.cause, caught.value.transient) == ("api-not-yet-valid", False)
    assert f"clock says {datetime.now(UTC):%Y-%m-%dT}" in caught.value.why


def test_a_certificate_for_another_host_is_told(served: Served, made: Certificates) -> None:
    api = CertApi(access(served.url.replace("127.0.0.1", "localhost"), made))
    with pytest.raises(ApiError, match=f"localhost:{served.port} cannot be verified") as caught:
        api.get("/x")
    assert caught.value.cause == "api-other-name"
    assert "localhost" in caught.value.why
    assert not caught.value.transient
    assert served.asked == []


def test_an_authority_that_is_no_root_is_enough(made: Certificates) -> None:
    """kubectl takes what the kubeconfig holds for trustworthy; Python before 3.13 wants a root."""
    with serving(made.server_between, made.authority) as served:
        assert ready(CertApi(access(served.url, made, authority=made.between)))


def test_checks_are_those_of_kubectl(served: Served, made: Certificates) -> None:
    """Not those of RFC 5280, which Python 3.13 added: the certificates of these tests would not pass them."""
    strict = ssl.create_default_context(cafile=made.authority.certificate)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", served.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
        strict.wrap_socket(plain, server_hostname="127.0.0.1"),
    ):
        pass
    assert ready(CertApi(access(served.url, made)))


def test_a_client_that_the_server_does_not_know_gets_no_answer(served: Served, made: Certificates) -> None:
    stranger = replace(
        access(served.url, made),
        certificate=made.other.certificate.read_bytes(),
        key=made.other.key.read_bytes(),
    )
    with pytest.raises(ApiError, match=r"does not answer|refuses the certificate of this login"):
        CertApi(stranger).get("/x")  # which of them depends on whether the alert or the end of the connection is first
    assert served.asked == []


@pytest.mark.parametrize("reason", ["TLSV1_ALERT_UNKNOWN_CA", "TLSV13_ALERT_CERTIFICATE_REQUIRED"])
def test_a_server_that_refuses_the_certificate_of_the_login(
    api: CertApi, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    error = ssl.SSLError()
    error.reason = reason

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("http.client.HTTPSConnection.getresponse", refuse)
    with pytest.raises(ApiError, match="refuses the certificate of this login") as caught:
        api.get("/x")
    assert (caught.value.cause, caught.value.transient) == ("api-login", False)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_no_proxy_is_used(api: CertApi, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ready(api)


def test_an_address_may_have_a_path(served: Served, made: Certificates) -> None:
    api = CertApi(access(f"{served.url}/k8s/clusters/c-1/", made))
    api.get("/api")
    assert served.asked == ["/k8s/clusters/c-1/api"]


def test_a_path_that_is_none_is_told(api: CertApi) -> None:
    with pytest.raises(ApiError, match="does not answer"):
        api.get("/a b\n")


def test_the_key_is_left_in_no_file(served: Served, made: Certificates, tmp_path: Path) -> None:
    import tempfile

    before = tempfile.tempdir
    tempfile.tempdir = str(tmp_path)
    try:
        assert ready(CertApi(access(served.url, made)))
    finally:
        tempfile.tempdir = before
    assert list(tmp_path.iterdir()) == []


OPENS = """
import pathlib, ssl, sys
from tasks.kube.https import CertApi
from tasks.kube.client import Credentials
ca, certificate, key = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
try:
    CertApi(Credentials(server="https://127.0.0.1:1", ca=ca, certificate=certificate, key=key))
except ssl.SSLError:
    print("refused")
"""


def test_a_locked_key_is_refused_and_the_terminal_is_not_asked(made: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    openssl = ["openssl", "pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:hush", "-in", str(made.client.key)]
    subprocess.run([*openssl, "-out", str(locked)], check=True, capture_output=True)
    files = [str(path) for path in (made.authority.certificate, made.client.certificate, locked)]
    inner = [sys.executable, "-c", OPENS, *files]
    on_a_terminal = [sys.executable, "-c", f"import pty; pty.spawn({inner!r})"]
    done = subprocess.run(
        on_a_terminal, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.strip() == "refused"


def test_kept_connections_end_with_the_api(served: Served, made: Certificates) -> None:
    """A socket that is left to the collector warns, and warnings are errors here."""
    api = CertApi(access(served.url, made))
    assert ready(api)
    del api
    gc.collect()
