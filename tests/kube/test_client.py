"""Which kubeconfigs need no kubectl, what kubectl's words mean, and whether an API is well."""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tasks.kube.client import (
    ApiError,
    Busy,
    Credentials,
    NoAnswer,
    RetryingApi,
    content,
    port_answers,
    ready,
)
from tasks.kube.endpoints import Endpoint, endpoints
from tasks.kube.kubectl_transport import KubectlApi
from tasks.kube.transport import HttpsApi, open_api
from tests.given_live import FakeApi
from tests.programs import Answer, FakePrograms
from tests.tls import Certificates, Served, access, kubeconfig


def kubectl_says(out: str, err: str = "", code: int = 0) -> FakePrograms:
    return FakePrograms(otherwise=Answer(out=out, err=err, code=code))


def test_kubectl_is_asked_quietly() -> None:
    programs = kubectl_says('{"kind": "X"}')
    assert KubectlApi(programs, Path("/k")).get("/api/v1/secrets") == {"kind": "X"}
    (call,) = programs.calls
    assert call.command.argv == ("kubectl", "--kubeconfig", "/k", "get", "--raw", "/api/v1/secrets")
    assert call.quiet


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
    ("err", "reported"),
    [
        ("The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n", "refused"),
        ("Unable to connect to the server: EOF\n", "EOF"),
        ("error: exec: executable aws not found\n", "aws"),
        ("Error from server: something new\n", "something new"),
        ("W1 x\nUnable to connect to the server: executable aws\n\nTo learn more:\n   https://x\n", "executable aws"),
        ("", "it wrote nothing"),
    ],
)
def test_all_else_is_no_answer(err: str, reported: str) -> None:
    with pytest.raises(ApiError, match="the API does not answer") as caught:
        KubectlApi(kubectl_says("", err, 1), Path("/k")).raw("/x")
    assert reported in caught.value.what
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


@pytest.mark.parametrize(
    ("given", "env", "source"),
    [
        ({"proxy-url": "http://me:pw@127.0.0.1:9"}, {}, "http://127.0.0.1:9 (the kubeconfig's proxy-url)"),
        ({}, {"HTTPS_PROXY": "http://me:pw@proxy:9"}, "http://***@proxy:9 (HTTPS_PROXY)"),
        ({}, {"HTTPS_PROXY": "http://proxy:9", "NO_PROXY": "h"}, ""),
        ({"server": "https://127.0.0.1:6550"}, {"HTTPS_PROXY": "http://proxy:9"}, ""),
    ],
)
def test_a_proxy_on_the_way_is_told(tmp_path: Path, given: dict[str, str], env: dict[str, str], source: str) -> None:
    """Of it kubectl says nothing: 'the connection to the server was refused'."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"clusters": [{"cluster": {"server": "https://h:6443", **given}}]}))
    refused = "The connection to the server h:6443 was refused - did you specify the right host or port?\n"
    programs = replace(kubectl_says("", refused, 1), env=env)
    with pytest.raises(ApiError, match="was refused") as caught:
        KubectlApi(programs, path).raw("/x")
    assert (f"by the proxy {source}" in caught.value.why) is bool(source)
    assert ("see that this proxy runs" in caught.value.fix) is bool(source)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(("proxied", "server"), [(True, "https://h:6443"), (False, "https://127.0.0.1:6443")])
def test_what_is_reached_by_a_proxy_is_kubectls(tmp_path: Path, pki: Certificates, proxied: bool, server: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(access(server, pki)))
    programs = FakePrograms(env={"https_proxy": "http://proxy:3128"})
    assert isinstance(open_api(path, programs), KubectlApi) is proxied


def test_what_kubectl_says_of_a_refusal_is_said_once() -> None:
    output = 'Error from server (Forbidden): secrets is forbidden: User "bob" cannot list resource "secrets"'
    with pytest.raises(ApiError) as caught:
        content("/x", 403, output)
    assert caught.value.why.count("Error from server") == 1
    assert caught.value.cause == "forbidden"


@pytest.mark.parametrize(("code", "text"), [(200, "<html>Log in</html>"), (502, "\n<!DOCTYPE html>")])
def test_a_web_page_is_told_as_one(code: int, text: str) -> None:
    with pytest.raises(ApiError) as caught:
        content("/x", code, text)
    assert "it is a web page" in caught.value.why


def test_a_kubectl_that_hangs_is_no_answer() -> None:
    slow = FakePrograms(otherwise=Answer(code=-15, late=True))
    with pytest.raises(NoAnswer, match="kubectl did not end within 35 s"):
        KubectlApi(slow, Path("/k")).raw("/x")


def test_an_answer_of_kubectl_that_is_no_json_is_told() -> None:
    with pytest.raises(ApiError, match="no JSON"):
        KubectlApi(kubectl_says("ok"), Path("/k")).get("/x")
    assert KubectlApi(kubectl_says("ok"), Path("/k")).raw("/readyz") == (200, "ok")


def opened(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    return open_api(path, kubectl_says("{}"))


def test_a_kubeconfig_with_certificates_needs_no_kubectl(tmp_path: Path, served: Served, pki: Certificates) -> None:
    api = opened(tmp_path, kubeconfig(access(served.url, pki)))
    assert isinstance(api, HttpsApi)
    assert api.get("/x") == {"kind": "X"}


@pytest.mark.parametrize("changes", [{"user": {"as": "bob"}}, {"user": {"exec": {"command": "aws"}}}])
def test_a_kubeconfig_with_more_is_kubectls(tmp_path: Path, pki: Certificates, changes: dict[str, Any]) -> None:
    assert isinstance(opened(tmp_path, kubeconfig(access("https://h", pki), **changes)), KubectlApi)


@pytest.mark.parametrize("part", ["ca", "certificate", "key"])
def test_certificates_that_are_none_are_kubectls_to_tell(tmp_path: Path, pki: Certificates, part: str) -> None:
    held = {**vars(access("https://h", pki)), part: b"-----BEGIN NOTHING-----\n\xff"}
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
    assert ready(FakeApi(answers={"/readyz": answer})) is good


class Slow(FakeApi):
    """Answers one after another at one path."""

    def __init__(self, *health_api: Any) -> None:
        super().__init__()
        self.left = list(health_api)

    def get(self, path: str) -> Any:
        found = self.left.pop(0)
        if isinstance(found, ApiError):
            raise found
        return found


MISSING = ApiError(0, "connection refused")


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
    for path in ("/api/v1/nodes", "/apis/storage.k8s.io/v1"):
        assert RetryingApi(Slow(error, error, {"items": []}), sleep=slept.append).get(path) == {"items": []}
    assert slept == [*waits, *waits]


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (MISSING, "/api/v1/nodes"),
        (ApiError(401, "who"), "/api/v1/nodes"),
        (ApiError(404, "none"), "/api/v1/nodes"),
        (ApiError(500, "fault"), "/api/v1/nodes"),
        (ApiError(503, "its server is not up"), "/apis/metrics.k8s.io/v1beta1"),
    ],
)
def test_what_waiting_does_not_heal_is_told_at_once(error: ApiError, path: str) -> None:
    with pytest.raises(ApiError) as caught:
        RetryingApi(Slow(error), sleep=lambda _: pytest.fail("it waits")).get(path)
    assert caught.value is error


def test_patience_has_a_limit() -> None:
    api = Slow(*[ApiError(503, "starts")] * 50)
    with pytest.raises(ApiError):
        RetryingApi(api, limit=0.05, sleep=lambda _: None).get("/api/v1/nodes")
    assert len(api.left) == 49


NOW, THEN = "start-apiserver-admission-initializer", "start-kube-apiserver-admission-initializer"
WELL = """[+]ping ok
[+]log ok
[+]etcd ok
[+]poststarthook/{hook} ok
[+]shutdown ok
readyz check passed
"""
PLAIN = ("/api", "/apis", "/healthz", "/healthz/etcd", "/readyz")


def health_api(more: Mapping[str, Any] = MappingProxyType({}), hook: str = NOW) -> FakeApi:
    found: dict[str, Any] = dict.fromkeys(PLAIN, (200, "ok"))
    found["/readyz?verbose"] = (200, WELL.format(hook=hook))
    found[f"/healthz/poststarthook/{hook}"] = (200, "ok")
    return FakeApi(answers={**found, **more})


@pytest.mark.parametrize("hook", [NOW, THEN])
def test_all_that_a_server_offers_is_well(hook: str) -> None:
    found = endpoints(health_api(hook=hook))
    assert [each.name for each in found] == [*PLAIN, f"/healthz/poststarthook/{hook}"]
    assert {each.state for each in found} == {"ok"}


def test_a_hook_that_no_server_names_is_asked_by_its_name_of_today() -> None:
    api = health_api()
    api.answers["/readyz?verbose"] = (200, "[+]ping ok\n")
    api.answers[f"/healthz/poststarthook/{NOW}"] = (404, "404 page not found")
    assert endpoints(api)[-1] == Endpoint(name=f"/healthz/poststarthook/{NOW}", state="not offered", detail="HTTP 404")


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        ((404, "404 page not found"), "not offered", "HTTP 404"),
        ((403, "forbidden"), "not offered", "HTTP 403"),
        ((401, "Unauthorized"), "failing", "HTTP 401"),
        ((500, "internal error"), "failing", "HTTP 500"),
        ((500, "[+]ping ok\n[-]etcd failed: reason withheld\n[-]x/y failed: why\nfailed\n"), "failing", "etcd, x/y"),
        # by kubectl, which quotes the answer
        ((500, 'an error on the server ("[+]ping ok\\n[-]etcd failed: reason withheld")'), "failing", "etcd"),
        (ApiError(0, "no answer", "timed out"), "failing", "timed out"),
        (ApiError(0, "no answer"), "failing", "no answer"),
    ],
)
def test_one_endpoint_alone(answer: Any, state: str, detail: str) -> None:
    found = {each.name: each for each in endpoints(health_api({"/healthz/etcd": answer}))}
    assert found.pop("/healthz/etcd") == Endpoint(name="/healthz/etcd", state=state, detail=detail)
    assert {each.state for each in found.values()} == {"ok"}


def test_a_server_that_does_not_answer_is_asked_once() -> None:
    api = FakeApi(answers={"/readyz?verbose": ApiError(0, "no answer", "refused")})
    found = endpoints(api)
    assert [(each.name, each.state, each.detail) for each in found] == [(path, "failing", "refused") for path in PLAIN]
    assert api.requests == ["/readyz?verbose"]
