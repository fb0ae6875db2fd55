"""The API by HTTPS: what is verified, which connections are reused, what a timeout is; watches line by line."""

import gc
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.kube.client import ApiError, Busy, NoAnswer, ready
from tasks.kube.transport import HttpsApi, Lines
from tests.given import ROOT
from tests.tls import Certificates, Served, access, serving, status


@pytest.fixture
def api(served: Served, pki: Certificates) -> HttpsApi:
    return HttpsApi(access(served.url, pki))


@pytest.mark.parametrize("code", [200, 401, 403, 404, 429, 500, 503])
def test_a_status_is_an_answer_for_raw_and_an_error_for_get(api: HttpsApi, served: Served, code: int) -> None:
    served.answer = lambda _path: status(code, "because")
    assert api.raw("/x") == (code, status(code, "because")[1].decode())
    if code == 200:
        return
    with pytest.raises(ApiError, match=f"the API answered {code} to /x") as caught:
        api.get("/x")
    assert caught.value.code == code
    assert caught.value.why == "because" or code == 401, "a login that is not known is explained"
    assert caught.value.transient == (code in (429, 500, 503))


def test_questions_at_the_same_time_have_connections_of_their_own(api: HttpsApi, served: Served) -> None:
    served.hold.clear()
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(api.get, f"/{number}") for number in range(16)]
        end = time.monotonic() + 4
        while len(served.requests) < 16 and time.monotonic() < end:
            time.sleep(0.01)
        assert len(served.requests) == 16
        served.hold.set()
        assert all(answer.result() == {"kind": "X"} for answer in answers)
    assert len(set(served.connections)) == 16
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(api.get, [f"/again/{number}" for number in range(64)]))
    assert len(served.requests) == 80


def test_a_connection_that_the_server_closed_is_made_again(api: HttpsApi, served: Served) -> None:
    served.close_after = True
    for _ in range(4):
        assert api.get("/x") == {"kind": "X"}
    assert len(set(served.connections)) == 4


def test_a_kept_connection_that_died_is_no_failure(pki: Certificates) -> None:
    with serving(pki.server, pki.authority) as first:
        api = HttpsApi(access(first.url, pki))
        assert ready(api)
    with serving(pki.server, pki.authority, port=first.port) as second:
        assert api.get("/x") == {"kind": "X"}
    assert second.requests == ["/x"]


def test_a_server_that_says_nothing_is_not_waited_for(served: Served, pki: Certificates) -> None:
    api = HttpsApi(access(served.url, pki), read=0.3)
    served.hold.clear()
    began = time.monotonic()
    with pytest.raises(NoAnswer, match=f"127.0.0.1:{served.port} has not answered within 0.3 s") as caught:
        api.get("/x")
    assert time.monotonic() - began < 2
    assert caught.value.transient


@pytest.mark.parametrize("remaining", [True, False])
def test_a_write_has_more_time_than_a_read_and_is_sent_once(served: Served, pki: Certificates, remaining: bool) -> None:
    """Admission webhooks take up to 30 s each; what is sent again while the server is at it doubles its load."""
    api = HttpsApi(access(served.url, pki), read=0.2, write=0.6)
    assert not remaining or ready(api)
    served.hold.clear()
    began = time.monotonic()
    with pytest.raises(NoAnswer, match=r"has not answered within 0\.6 s"):
        api.patch("/y", "{}")
    assert 0.5 < time.monotonic() - began < 2
    assert len(served.taken) == 1


@pytest.mark.parametrize("method", ["get", "patch"])
@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_asks_to_come_again_says_when(api: HttpsApi, served: Served, code: int, method: str) -> None:
    served.answer = lambda _path: status(code, "too many")
    served.headers["Retry-After"] = "3"
    with pytest.raises(Busy) as caught:
        api.get("/x") if method == "get" else api.patch("/x", "{}")
    assert (caught.value.code, caught.value.seconds, caught.value.transient) == (code, 3.0, True)


@pytest.mark.parametrize(
    ("server", "host", "authority", "cause", "word"),
    [
        ("server", "127.0.0.1", "other", "api-stranger", "unknown authority"),
        ("server_expired", "127.0.0.1", "authority", "api-expired", "clock"),
        ("server", "localhost", "authority", "api-other-name", "localhost"),
    ],
)
def test_a_certificate_that_cannot_be_verified_is_told_at_once(
    pki: Certificates, server: str, host: str, authority: str, cause: str, word: str
) -> None:
    with serving(getattr(pki, server), pki.authority) as served:
        address = served.url.replace("127.0.0.1", host)
        api = HttpsApi(access(address, pki, authority=getattr(pki, authority)))
        for ask in (lambda: api.get("/x"), lambda: ready(api), lambda: api.watch(WATCH)):
            with pytest.raises(ApiError, match=f"certificate of the API at {host}:{served.port} cannot") as caught:
                ask()
            assert (caught.value.cause, caught.value.transient) == (cause, False)
            assert word in caught.value.why
    assert served.requests == []
    gc.collect()


def failing(kind: type[ssl.SSLError], **attributes: object) -> ssl.SSLError:
    error = kind()
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


EARLY = failing(ssl.SSLCertVerificationError, verify_code=9, verify_message="certificate is not yet valid")
LOGIN = "rejects the client certificate"


@pytest.mark.parametrize(
    ("when", "error", "output", "cause"),
    [
        ("connect", EARLY, "cannot be verified: certificate is not yet valid", "api-not-yet-valid"),
        ("getresponse", failing(ssl.SSLError, reason="TLSV1_ALERT_UNKNOWN_CA"), LOGIN, "api-login"),
        ("getresponse", failing(ssl.SSLError, reason="TLSV13_ALERT_CERTIFICATE_REQUIRED"), LOGIN, "api-login"),
    ],
)
def test_what_tls_refuses_is_told(
    api: HttpsApi, monkeypatch: pytest.MonkeyPatch, when: str, error: ssl.SSLError, output: str, cause: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"tasks.kube.transport._Connection.{when}", refuse)
    with pytest.raises(ApiError, match=output) as caught:
        ready(api)
    assert (caught.value.cause, caught.value.transient) == (cause, False)
    assert error is not EARLY or f"clock says {datetime.now(UTC):%Y-%m-%dT}" in caught.value.why


def test_an_authority_that_is_no_root_is_enough(pki: Certificates) -> None:
    """kubectl takes what the kubeconfig holds for trustworthy; Python before 3.13 wants a root."""
    with serving(pki.server_between, pki.authority) as served:
        assert ready(HttpsApi(access(served.url, pki, authority=pki.between)))


def test_checks_are_those_of_kubectl(served: Served, pki: Certificates) -> None:
    """Not those of RFC 5280, which Python 3.13 added: the certificates of these tests would not pass them."""
    strict = ssl.create_default_context(cafile=pki.authority.certificate)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", served.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
        strict.wrap_socket(plain, server_hostname="127.0.0.1"),
    ):
        pass
    assert ready(HttpsApi(access(served.url, pki)))


def test_a_client_that_the_server_does_not_know_gets_no_answer(served: Served, pki: Certificates) -> None:
    stranger = replace(
        access(served.url, pki),
        certificate=pki.other.certificate.read_bytes(),
        key=pki.other.key.read_bytes(),
    )
    with pytest.raises(ApiError, match=r"does not answer|rejects the client certificate"):
        HttpsApi(stranger).get("/x")  # which of them depends on whether the alert or the end of the connection is first
    assert served.requests == []


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_no_proxy_is_used(api: HttpsApi, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ready(api)


def test_a_path_and_a_name_that_are_none_and_a_port_without_tls_are_told(api: HttpsApi, pki: Certificates) -> None:
    with pytest.raises(ApiError, match="does not answer"):
        api.get("/a b\n")
    with pytest.raises(ApiError) as caught:
        HttpsApi(access("https://nowhere.invalid:6443", pki)).get("/x")
    assert caught.value.cause == "dns"
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            with plain.accept()[0] as opened:
                opened.recv(1000)
                opened.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ApiError) as caught:
            HttpsApi(access(f"https://127.0.0.1:{plain.getsockname()[1]}", pki)).get("/x")
        thread.join()
    assert caught.value.cause == "no-api"


def test_the_key_is_left_in_no_file(
    served: Served, pki: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert ready(HttpsApi(access(served.url, pki)))
    assert list(tmp_path.iterdir()) == []


OPENS = """
import pathlib, ssl, sys
from tasks.kube.transport import HttpsApi
from tasks.kube.client import Credentials
ca, certificate, key = (pathlib.Path(name).read_bytes() for name in sys.argv[1:])
try:
    HttpsApi(Credentials(server="https://127.0.0.1:1", ca=ca, certificate=certificate, key=key))
except ssl.SSLError:
    print("refused")
"""


def test_a_locked_key_is_refused_and_the_terminal_is_not_asked(pki: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    openssl = ["openssl", "pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:hush", "-in", str(pki.client.key)]
    subprocess.run([*openssl, "-out", str(locked)], check=True, capture_output=True)
    files = [str(path) for path in (pki.authority.certificate, pki.client.certificate, locked)]
    inner = [sys.executable, "-c", OPENS, *files]
    on_a_terminal = [sys.executable, "-c", f"import pty; pty.spawn({inner!r})"]
    done = subprocess.run(
        on_a_terminal, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.strip() == "refused"


WATCH = "/api/v1/pods?watch=1"
PLACE = "/api/v1/namespaces/a/configmaps/m?fieldManager=openframe"
BODY = '{"kind": "ConfigMap", "data": {"sign": "ä"}}'


def broken(path: str) -> tuple[int, bytes]:
    raise ConnectionAbortedError(path)


def pieces(*parts: bytes, then: threading.Event | None = None, breaks: bool = False) -> Callable[[], Iterator[bytes]]:
    """The events of a watch; then it ends, breaks, or stays open until the event."""

    def tell() -> Iterator[bytes]:
        yield from parts
        if breaks:
            raise ConnectionAbortedError
        if then is not None:
            then.wait(20)

    return tell


# -- patch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 404, 409, 422, 500])
def test_an_object_is_sent_as_server_side_apply_wants_it(api: HttpsApi, served: Served, code: int) -> None:
    served.answer = lambda _path: status(code, "because")
    assert api.patch(PLACE, BODY) == (code, status(code, "because")[1].decode())
    assert served.taken == [(PLACE, "application/apply-patch+yaml", BODY.encode())]


def test_but_not_again_and_again(api: HttpsApi, served: Served) -> None:
    served.answer = broken
    with pytest.raises(ApiError, match="does not answer") as caught:
        api.patch(PLACE, BODY)
    assert caught.value.transient
    assert len(served.taken) == 1


def test_a_path_before_all_others_is_part_of_both(served: Served, pki: Certificates) -> None:
    api = HttpsApi(access(f"{served.url}/k8s/c-1/", pki))
    served.stream = pieces()
    api.patch(PLACE, BODY)
    assert list(api.watch(WATCH)) == []
    assert served.taken[0][0] == f"/k8s/c-1{PLACE}"
    assert served.requests == [f"/k8s/c-1{WATCH}"]


# -- watch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(), (b'{"a": 1}\n',), (b'{"a": 1}\n', b'{"b": ')])
def test_a_watch_that_breaks_ends_without_an_error_and_without_half_a_line(
    api: HttpsApi, served: Served, parts: tuple[bytes, ...]
) -> None:
    served.stream = pieces(*parts, breaks=True)
    assert list(api.watch(WATCH)) == ['{"a": 1}\n'] * bool(parts)


@pytest.mark.parametrize("chunked", [True, False])
def test_who_reads_is_woken_by_the_end_from_another_thread(api: HttpsApi, served: Served, chunked: bool) -> None:
    over, first, found = threading.Event(), threading.Event(), []
    served.stream, served.chunked = pieces(b'{"a": 1}\n', then=over), chunked
    stream = api.watch(WATCH)

    def read() -> None:
        for line in stream:
            found.append(line)
            first.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert first.wait(5)
    began = time.monotonic()
    stream.close()
    reader.join(5)
    over.set()
    assert not reader.is_alive()
    assert time.monotonic() - began < 1
    assert found == ['{"a": 1}\n']


def test_sockets_of_watches_are_closed(api: HttpsApi, served: Served) -> None:
    """A socket that is left to the collector warns, and warnings are errors here."""
    served.stream = pieces(b'{"a": 1}\n', b'{"b": 2}\n')
    streams = [api.watch(WATCH) for _ in range(3)]
    assert list(streams[0])
    for line in streams[1]:
        assert line
        break
    streams[2].close()
    assert list(streams[2]) in ([], ['{"a": 1}\n', '{"b": 2}\n'], ['{"a": 1}\n'])
    del streams, line
    gc.collect()


@pytest.mark.parametrize(
    ("answer", "transient", "why"),
    [
        (status(410, "too old resource version"), False, "too old resource version"),
        (status(403, "pods is forbidden"), False, "pods is forbidden"),
        (status(429, "storage is (re)initializing"), True, "storage is (re)initializing"),
        (status(503, "shutting down"), True, "shutting down"),
        ((404, b"404 page not found\n"), False, "404 page not found"),
    ],
)
def test_a_rejected_watch(api: HttpsApi, served: Served, answer: tuple[int, bytes], transient: bool, why: str) -> None:
    served.answer = lambda _path: answer
    with pytest.raises(ApiError, match=f"answered {answer[0]} to /api/v1/pods") as caught:
        api.watch(WATCH)
    assert (caught.value.code, caught.value.transient, caught.value.why) == (answer[0], transient, why)
    gc.collect()


def test_a_refusal_that_breaks_off_is_no_answer(api: HttpsApi, served: Served) -> None:
    served.length = 100
    served.close_after = True
    served.answer = lambda _path: status(503, "shutting down")
    with pytest.raises(ApiError, match="does not answer") as caught:
        api.watch(WATCH)
    assert (caught.value.code, caught.value.transient) == (0, True)


def test_where_nothing_answers_a_watch_is_told_so(pki: Certificates) -> None:
    with serving(pki.server, pki.authority) as missing:
        api = HttpsApi(access(missing.url, pki))
    for _ in range(2):
        with pytest.raises(ApiError, match="does not answer") as caught:
            api.watch(WATCH)
        assert (caught.value.code, caught.value.transient) == (0, True)


def test_a_silent_watch_is_given_up(served: Served, pki: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("tasks.kube.transport._QUIET", 0.3)
    served.stream = pieces(b"{}\n", then=over)
    began = time.monotonic()
    stream = HttpsApi(access(served.url, pki)).watch(WATCH)
    assert isinstance(stream, Lines)
    assert list(stream) == ["{}\n"]
    over.set()
    assert 0.2 < time.monotonic() - began < 3
