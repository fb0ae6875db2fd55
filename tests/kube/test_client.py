"""Which kubeconfigs are read by certificate, what kubectl's words mean, and waiting for an answer."""

from __future__ import annotations

import base64
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.core.errors import LaunchError
from tasks.engine.step import Cancel, Context, Stopped
from tasks.kube.client import (
    ApiError,
    Busy,
    Credentials,
    KubectlApi,
    NoAnswer,
    Patient,
    credentials,
    port_answers,
    ready,
)
from tasks.kube.https import CertApi, open_api
from tasks.kube.wait import NotInTime, api_ready, poll
from tasks.process.command import Command, CommandFailed, Completed, DeadlinePassed
from tests.fake_kubectl import FakeApi, FakePrograms
from tests.tls import Certificates, Served, access, kubeconfig

HELD = Credentials(server="https://127.0.0.1:6550", ca=b"CA", certificate=b"CERT", key=b"KEY")


def test_the_kubeconfig_of_k3s_is_read() -> None:
    assert credentials(kubeconfig(HELD)) == HELD


def test_only_the_current_context_counts() -> None:
    document = yaml.safe_load(kubeconfig(HELD))
    document["clusters"].insert(0, {"name": "other", "cluster": {"server": "https://other"}})
    document["users"].insert(0, {"name": "other", "user": {"token": "t"}})
    document["contexts"].insert(0, {"name": "other", "context": {"cluster": "other", "user": "other"}})
    assert credentials(yaml.safe_dump(document)) == HELD
    document["current-context"] = "other"
    assert credentials(yaml.safe_dump(document)) is None


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("user", {"token": "t"}),
        ("user", {"tokenFile": "/t"}),
        ("user", {"exec": {"command": "aws"}}),
        ("user", {"auth-provider": {"name": "gcp"}}),
        ("user", {"username": "u", "password": "p"}),
        ("user", {"as": "somebody"}),
        ("user", {"as-groups": ["g"]}),
        ("user", {"client-certificate-data": None}),
        ("user", {"client-key-data": ""}),
        ("user", {"client-key-data": None, "client-key": "/k.pem"}),
        ("user", {"client-certificate": "/c.pem"}),
        ("user", {"client-key-data": "no base64!"}),
        ("cluster", {"certificate-authority-data": None}),
        ("cluster", {"certificate-authority-data": None, "certificate-authority": "/etc/passwd"}),
        ("cluster", {"certificate-authority": "/ca.pem"}),
        ("cluster", {"insecure-skip-tls-verify": True}),
        ("cluster", {"proxy-url": "socks5://h"}),
        ("cluster", {"tls-server-name": "kubernetes"}),
        ("cluster", {"server": "http://127.0.0.1:8080"}),
        ("cluster", {"server": None}),
    ],
)
def test_what_needs_more_than_certificates_is_kubectls(part: str, changes: dict[str, Any]) -> None:
    assert credentials(kubeconfig(HELD, **{part: changes})) is None


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("cluster", {"insecure-skip-tls-verify": False}),
        ("cluster", {"extensions": [{"name": "x", "extension": {}}]}),
        ("cluster", {"disable-compression": True}),
        ("user", {"token": ""}),
        ("user", {"client-key-data": base64.b64encode(b"KEY").decode() + "\n"}),
    ],
)
def test_what_says_nothing_changes_nothing(part: str, changes: dict[str, Any]) -> None:
    assert credentials(kubeconfig(HELD, **{part: changes})) == HELD


@pytest.mark.parametrize("text", ["", "a", "[]", "contexts: ", "current-context: x", "{unclosed", "kind: Config"])
def test_what_is_no_kubeconfig_has_no_credentials(text: str) -> None:
    assert credentials(text) is None


def kubectl_says(out: str, err: str = "", code: int = 0) -> FakePrograms:
    return FakePrograms(lambda _command: (out, err, code))


def test_kubectl_is_asked_quietly() -> None:
    programs = kubectl_says('{"kind": "X"}')
    assert KubectlApi(programs, Path("/k")).get("/api/v1/secrets") == {"kind": "X"}
    ((command, quiet),) = programs.ran
    assert command.argv == ("kubectl", "--kubeconfig", "/k", "get", "--raw", "/api/v1/secrets")
    assert quiet


# as kubectl 1.32 writes them
@pytest.mark.parametrize(
    ("err", "code"),
    [
        ("Error from server (NotFound): the server could not find the requested resource\n", 404),
        ('Error from server (NotFound): namespaces "x" not found\n', 404),
        ('Error from server (Forbidden): secrets is forbidden: User "u" cannot list resource\n', 403),
        ("error: You must be logged in to the server (Unauthorized)\n", 401),
        (
            "error: You must be logged in to the server (the server has asked for the client to provide credentials)\n",
            401,
        ),
        ("Error from server (ServiceUnavailable): the server is currently unable to handle the request\n", 503),
        ("Error from server (Timeout): the server was unable to return a response in the time allotted\n", 504),
        ('Error from server (InternalError): an error on the server ("[-]etcd failed") has prevented it\n', 500),
        ("Error from server (TooManyRequests): the server has received too many requests\n", 429),
        ("Warning: v1 is old\nError from server (NotFound): no\n", 404),
    ],
)
def test_kubectls_words_are_a_status(err: str, code: int) -> None:
    api = KubectlApi(kubectl_says("", err, 1), Path("/k"))
    assert api.raw("/x") == (code, err)
    with pytest.raises(ApiError) as caught:
        api.get("/x")
    assert caught.value.code == code
    assert caught.value.transient == (code == 429 or code >= 500)


@pytest.mark.parametrize(
    ("err", "told"),
    [
        ("The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n", "refused"),
        ("Unable to connect to the server: EOF\n", "EOF"),
        ("error: exec: executable aws not found\n", "aws"),
        ("Error from server: something new\n", "something new"),
        ("W1 x\nUnable to connect to the server: executable aws\n\nTo learn more:\n   https://x\n", "executable aws"),
        ("", "it wrote nothing"),
    ],
)
def test_all_else_is_no_answer(err: str, told: str) -> None:
    with pytest.raises(ApiError, match="the API does not answer") as caught:
        KubectlApi(kubectl_says("", err, 1), Path("/k")).raw("/x")
    assert told in caught.value.what
    assert caught.value.code == 0
    assert caught.value.transient == ("exec: executable" not in err)


@pytest.mark.parametrize(
    ("err", "cause"),
    [
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "api-stranger"),
        ("tls: failed to verify certificate: x509: certificate is valid for 10.0.0.1, not 127.0.0.1", "api-other-name"),
        ("getting credentials: exec: executable aws not found", "api-login-helper"),
    ],
)
def test_what_kubectl_says_of_a_certificate_or_a_login_is_no_silence(err: str, cause: str) -> None:
    with pytest.raises(ApiError) as caught:
        KubectlApi(kubectl_says("", f"Unable to connect to the server: {err}\n", 1), Path("/k")).raw("/readyz")
    assert (caught.value.cause, caught.value.transient) == (cause, False)


def test_a_kubectl_that_hangs_is_no_answer() -> None:
    class Slow(FakePrograms):
        def run(self, command: Command, *_args: Any, **_more: Any) -> Completed:
            raise DeadlinePassed(Completed(command=command, code=-15, out="", err="", seconds=30.0), 30)

    with pytest.raises(NoAnswer, match="kubectl did not end within 30 s"):
        KubectlApi(Slow(lambda _command: ("", "", 0)), Path("/k")).raw("/x")


def test_an_answer_of_kubectl_that_is_no_json_is_told() -> None:
    with pytest.raises(ApiError, match="no JSON"):
        KubectlApi(kubectl_says("ok"), Path("/k")).get("/x")
    assert KubectlApi(kubectl_says("ok"), Path("/k")).raw("/readyz") == (200, "ok")


def opened(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    return open_api(path, kubectl_says("{}"))


def test_a_kubeconfig_with_certificates_needs_no_kubectl(tmp_path: Path, served: Served, made: Certificates) -> None:
    api = opened(tmp_path, kubeconfig(access(served.url, made)))
    assert isinstance(api, CertApi)
    assert api.get("/x") == {"kind": "X"}


@pytest.mark.parametrize("changes", [{"user": {"token": "t"}}, {"user": {"exec": {"command": "aws"}}}])
def test_a_kubeconfig_with_more_is_kubectls(tmp_path: Path, made: Certificates, changes: dict[str, Any]) -> None:
    assert isinstance(opened(tmp_path, kubeconfig(access("https://h", made), **changes)), KubectlApi)


@pytest.mark.parametrize("part", ["ca", "certificate", "key"])
def test_certificates_that_are_none_are_kubectls_to_tell(tmp_path: Path, made: Certificates, part: str) -> None:
    held = {**vars(access("https://h", made)), part: b"-----BEGIN NOTHING-----\n\xff"}
    assert isinstance(opened(tmp_path, kubeconfig(Credentials(**held))), KubectlApi)


def test_a_port_answers_if_it_speaks_tls(served: Served) -> None:
    assert port_answers("127.0.0.1", served.port)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert not port_answers("127.0.0.1", silent.getsockname()[1], timeout=0.2)
        assert time.monotonic() - began < 2
        free = silent.getsockname()[1]
    assert not port_answers("127.0.0.1", free)
    assert not port_answers("nowhere.invalid", 443)


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        ((200, "ok"), True),
        ((500, "[-]etcd failed"), False),
        ((403, 'User "viewer" cannot get path "/readyz"'), True),
        (ApiError(0, "no answer"), False),
    ],
)
def test_ready_is_200_of_readyz(answer: Any, good: bool) -> None:
    assert ready(FakeApi({"/readyz": answer})) is good


REFUSALS = [
    (401, "Unauthorized"),
    (403, 'forbidden: User "system:anonymous" cannot get path "/readyz"'),
    ApiError(0, "its certificate cannot be verified", transient=False),
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_ends_the_wait_for_an_api_once_it_lasts(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.kube.wait._SETTLES", 0.2)
    api, began = FakeApi({"/readyz": answer}), time.monotonic()
    with pytest.raises(ApiError) as caught:
        api_ready(lambda: api, waiting(60), pause=0.01, cap=0.05)
    assert 0.15 < time.monotonic() - began < 5
    assert not caught.value.transient
    assert caught.value.cause in ("api-login", "")


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_is_told_where_time_is_over_before(answer: Any) -> None:
    api = FakeApi({"/readyz": answer})
    with pytest.raises(ApiError):
        api_ready(lambda: api, waiting(0.1), pause=0.01)


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_server_that_starts_may_refuse_for_a_moment(answer: Any) -> None:
    api = FakeApi({"/readyz": answer})
    looks = iter(range(4))

    def asked() -> FakeApi:
        if next(looks) == 3:
            api.answers["/readyz"] = (200, "ok")
        return api

    api_ready(asked, waiting(), pause=0.01)


class Slow(FakeApi):
    """Answers one after another at one path."""

    def __init__(self, *answers: Any) -> None:
        super().__init__({})
        self.left = list(answers)

    def get(self, path: str) -> Any:
        found = self.left.pop(0)
        if isinstance(found, ApiError):
            raise found
        return found


GONE = ApiError(0, "connection refused")


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (Busy(429, "busy", "", 3), [3, 3]),
        (ApiError(429, "busy"), [0.5, 1]),
        (ApiError(502, "a proxy"), [0.5, 1]),
        (ApiError(503, "starts"), [0.5, 1]),
        (ApiError(504, "slow"), [0.5, 1]),
        (NoAnswer(0, "slow"), [0.5, 1]),
    ],
)
def test_reads_of_facts_are_repeated_while_the_api_is_busy(error: ApiError, waits: list[float]) -> None:
    slept: list[float] = []
    assert Patient(Slow(error, error, {"items": []}), sleep=slept.append).get("/api/v1/nodes") == {"items": []}
    assert slept == waits


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (GONE, "/api/v1/nodes"),
        (ApiError(401, "who"), "/api/v1/nodes"),
        (ApiError(404, "none"), "/api/v1/nodes"),
        (ApiError(500, "fault"), "/api/v1/nodes"),
        (ApiError(503, "its server is not up"), "/apis/metrics.k8s.io/v1beta1"),
    ],
)
def test_what_waiting_does_not_heal_is_told_at_once(error: ApiError, path: str) -> None:
    with pytest.raises(ApiError) as caught:
        Patient(Slow(error), sleep=lambda _: pytest.fail("it waits")).get(path)
    assert caught.value is error


def test_patience_has_a_limit() -> None:
    api = Slow(*[ApiError(503, "starts")] * 50)
    with pytest.raises(ApiError):
        Patient(api, limit=0.05, sleep=lambda _: None).get("/api/v1/nodes")
    assert len(api.left) == 49


def waiting(deadline: float = 5.0, cancelled: Cancel | None = None) -> Context:
    return Context(step="api", deadline=deadline, cancelled=cancelled or Cancel())


class Looks:
    """Answers one after another; the last again and again."""

    def __init__(self, *answers: object) -> None:
        self.left, self.count = list(answers), 0

    def __call__(self) -> Any:
        self.count += 1
        found = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(found, Exception):
            raise found
        return found


def test_it_is_asked_until_there_is_a_value() -> None:
    look = Looks(None, ApiError(0, "refused"), ApiError(503, "etcd"), ApiError(429, "slow down"), 0)
    assert poll(look, waiting(), pause=0.01) == 0
    assert look.count == 5


@pytest.mark.parametrize("error", [ApiError(403, "no"), ApiError(404, "no"), LaunchError("other"), ValueError("bug")])
def test_what_cannot_pass_is_raised_at_once(error: Exception) -> None:
    look = Looks(None, error)
    with pytest.raises(type(error)) as caught:
        poll(look, waiting(), pause=0.01)
    assert caught.value is error
    assert look.count == 2


def test_a_deadline_tells_the_last_error_or_what_was_missing() -> None:
    began = time.monotonic()
    with pytest.raises(NotInTime, match=r"'api' was not there within 0\.2 s") as caught:
        poll(Looks(ApiError(0, "refused", "port 1")), waiting(0.2), pause=0.05)
    assert 0.2 <= time.monotonic() - began < 2
    assert caught.value.why == "refused port 1"
    with pytest.raises(NotInTime) as caught:
        poll(Looks(None), waiting(0.1), pause=0.05, telling=lambda: "one of two")
    assert caught.value.why == "one of two"


def test_it_is_asked_once_more_at_the_deadline() -> None:
    began = time.monotonic()

    def look() -> bool | None:
        return True if time.monotonic() - began >= 0.2 else None

    assert poll(look, waiting(0.2), pause=30)


def test_cancelling_ends_the_wait_at_once() -> None:
    cancelled = Cancel()
    threading.Timer(0.1, cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        poll(Looks(None), waiting(30, cancelled), pause=20)
    assert time.monotonic() - began < 3


def test_pauses_grow_to_their_cap() -> None:
    look = Looks(None)
    with pytest.raises(NotInTime):
        poll(look, waiting(0.5), pause=0.001, cap=0.1)
    assert 10 < look.count < 40


def test_a_failed_command_is_not_an_answer() -> None:
    """What a wait asks by a program fails the wait, unless it says otherwise."""
    failed = CommandFailed(Completed(command=Command(argv=("x",)), code=1, out="", err="no", seconds=0))
    with pytest.raises(CommandFailed):
        poll(Looks(failed), waiting())


def test_a_kubeconfig_that_is_nested_without_end_is_left_to_kubectl() -> None:
    assert credentials("clusters: " + "[" * 50_000) is None
