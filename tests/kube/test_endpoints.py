"""The API's health endpoints: well, failing with what fails, or not offered by this server."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tasks.kube.client import ApiError, Endpoint, endpoints
from tests.fake_kubectl import FakeApi

NOW, THEN = "start-apiserver-admission-initializer", "start-kube-apiserver-admission-initializer"
WELL = """[+]ping ok
[+]log ok
[+]etcd ok
[+]poststarthook/{hook} ok
[+]shutdown ok
readyz check passed
"""
PLAIN = ("/api", "/apis", "/healthz", "/healthz/etcd", "/readyz")


def answers(more: Mapping[str, Any] = MappingProxyType({}), hook: str = NOW) -> FakeApi:
    found: dict[str, Any] = dict.fromkeys(PLAIN, (200, "ok"))
    found["/readyz?verbose"] = (200, WELL.format(hook=hook))
    found[f"/healthz/poststarthook/{hook}"] = (200, "ok")
    return FakeApi({**found, **more})


@pytest.mark.parametrize("hook", [NOW, THEN])
def test_all_that_a_server_offers_is_well(hook: str) -> None:
    found = endpoints(answers(hook=hook))
    assert [each.name for each in found] == [*PLAIN, f"/healthz/poststarthook/{hook}"]
    assert {each.state for each in found} == {"ok"}


def test_a_hook_that_no_server_names_is_asked_by_its_name_of_today() -> None:
    api = answers()
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
    found = {each.name: each for each in endpoints(answers({"/healthz/etcd": answer}))}
    assert found.pop("/healthz/etcd") == Endpoint(name="/healthz/etcd", state=state, detail=detail)
    assert {each.state for each in found.values()} == {"ok"}


def test_a_server_that_is_not_ready_is_asked_for_the_rest() -> None:
    text = WELL.format(hook=NOW).replace("[+]etcd ok", "[-]etcd failed: reason withheld")
    api = answers({"/readyz?verbose": (500, text), "/readyz": (500, text)})
    found = {each.name: each.state for each in endpoints(api)}
    assert found["/readyz"] == "failing"
    assert found[f"/healthz/poststarthook/{NOW}"] == "ok"


def test_a_server_that_does_not_answer_is_asked_once() -> None:
    api = FakeApi({"/readyz?verbose": ApiError(0, "no answer", "refused")})
    found = endpoints(api)
    assert [(each.name, each.state, each.detail) for each in found] == [(path, "failing", "refused") for path in PLAIN]
    assert api.asked == ["/readyz?verbose"]
