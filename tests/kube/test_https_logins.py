"""Logins over HTTPS: tokens, one renewal of a rejected one, and how the server is verified as the kubeconfig says."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.kube.client import ApiError, Credentials, Login
from tasks.kube.kubectl_transport import KubectlApi
from tasks.kube.transport import HttpsApi, open_api
from tests.programs import Answer, FakePrograms
from tests.tls import Certificates, Pair, Served, kubeconfig, serving, status


@pytest.fixture
def tokens(pki: Certificates) -> Iterator[Served]:
    with serving(pki.server, pki.authority, tokens=True) as served:
        yield served


def access(served: Served, pki: Certificates, **changes: Any) -> Credentials:
    given = {"server": served.url, "ca": pki.authority.certificate.read_bytes(), "token": "t1"}
    return Credentials(**{**given, **changes})


class Logins:
    """Logins one after another."""

    def __init__(self, *logins: Login) -> None:
        self.left = list(logins)

    def current(self) -> Login:
        return self.left[0]

    def renewed(self, rejected: Login) -> Login:
        assert rejected == self.left[0]
        if len(self.left) > 1:
            self.left.pop(0)
        return self.left[0]


def refusing(served: Served, *accepted: str) -> None:
    """The server accepts only these tokens."""
    known = {f"Bearer {token}" for token in accepted}
    served.answer = lambda _path: (200, b"{}") if served.logins[-1] in known else status(401, "Unauthorized")


def test_a_token_is_sent_with_each_request(tokens: Served, pki: Certificates) -> None:
    api = HttpsApi(access(tokens, pki))
    assert api.raw("/x")[0] == 200
    assert api.patch("/x", "{}")[0] == 200
    assert tokens.logins == ["Bearer t1"] * 2
    assert len(set(tokens.connections)) == 1
    tokens.stream = lambda: iter([b"{}\n"])
    assert list(api.watch("/x?watch=1")) == ["{}\n"]


def test_a_rejected_token_is_renewed_once_and_the_request_sent_again(tokens: Served, pki: Certificates) -> None:
    refusing(tokens, "t2")
    api = HttpsApi(access(tokens, pki), Logins(Login("t1"), Login("t2")))
    assert api.patch("/x", '{"a": 1}')[0] == 200
    assert tokens.logins == ["Bearer t1", "Bearer t2"]
    assert [body for _path, _type, body in tokens.taken] == [b'{"a": 1}'] * 2


@pytest.mark.parametrize("logins", [[Login("t1")], [Login("t1"), Login("t2")]])
def test_one_that_stays_rejected_names_its_owner(tokens: Served, pki: Certificates, logins: list[Login]) -> None:
    refusing(tokens)
    assert HttpsApi(access(tokens, pki), Logins(*logins)).raw("/x")[0] == 401
    assert len(tokens.logins) == len(logins)
    api = HttpsApi(access(tokens, pki), whose=lambda: ApiError(401, "of bob"))
    with pytest.raises(ApiError, match="of bob"):
        api.raw("/x")


def pair(held: Pair) -> Login:
    return Login("", held.certificate.read_bytes(), held.key.read_bytes())


def test_another_certificate_of_a_plugin_needs_another_connection(tokens: Served, pki: Certificates) -> None:
    logins = Logins(pair(pki.client), pair(pki.between))
    api = HttpsApi(access(tokens, pki, token=""), logins)
    for _ in range(2):
        api.raw("/x")
    logins.left.pop(0)
    api.raw("/x")
    assert tokens.logins == ["test-client", "test-client", "test-between"]
    assert len(set(tokens.connections)) == 2
    logins.left = [Login("", b"none", b"none")]
    with pytest.raises(ApiError, match="certificate that the credential plugin returns cannot be used"):
        api.raw("/x")


@pytest.mark.parametrize(
    ("changes", "trusted"),
    [
        ({"name": "127.0.0.1"}, True),
        ({"name": "kubernetes"}, False),
        ({"ca": b"", "insecure": True}, True),
        ({"ca": b"", "insecure": True, "name": "kubernetes"}, True),
    ],
)
def test_the_server_is_verified_so(tokens: Served, pki: Certificates, changes: dict[str, Any], trusted: bool) -> None:
    api = HttpsApi(access(tokens, pki, **changes))
    if trusted:
        assert api.raw("/x")[0] == 200
    else:
        with pytest.raises(ApiError, match="cannot be verified") as caught:
            api.raw("/x")
        assert caught.value.cause == "api-other-name"
        assert not tokens.logins, "no token is sent to an unknown server"


@pytest.mark.parametrize(("authority", "kind"), [("authority", HttpsApi), ("other", KubectlApi)])
def test_without_an_authority_the_systems_count_or_kubectls(
    tmp_path: Path, tokens: Served, pki: Certificates, monkeypatch: pytest.MonkeyPatch, authority: str, kind: type
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(getattr(pki, authority).certificate))
    path = tmp_path / "kubeconfig"
    user = {"client-certificate-data": None, "client-key-data": None, "token": "t1"}
    path.write_text(kubeconfig(access(tokens, pki), user=user, cluster={"certificate-authority-data": None}))
    api = open_api(path, FakePrograms())
    assert isinstance(api, kind)
    if kind is HttpsApi:
        assert api.raw("/x")[0] == 200
        assert len(set(tokens.connections)) == 1


@pytest.mark.parametrize("by_kubectl", [False, True])
def test_whose_login_is_rejected_is_told_for_a_foreign_cluster_only(
    tmp_path: Path, tokens: Served, pki: Certificates, by_kubectl: bool
) -> None:
    refusing(tokens)
    path = tmp_path / "kubeconfig"
    user = {"client-certificate-data": None, "client-key-data": None, "token": "s3cr3t-token"}
    path.write_text(kubeconfig(access(tokens, pki), user={**user, **({"as": "bob"} if by_kubectl else {})}))
    words = "error: You must be logged in to the server (Unauthorized)\n"
    programs = replace(FakePrograms(otherwise=Answer(err=words, code=1)), env={"KUBECONFIG": str(path)})
    assert open_api(path, programs).raw("/x")[0] == 401
    with pytest.raises(ApiError, match="does not accept the login of the context 'default'") as caught:
        open_api(path, programs, True).raw("/x")
    assert f"user 'default' in {path}" in caught.value.why
    assert "s3cr3t-token" not in str(caught.value)


def test_a_foreign_cluster_that_does_not_answer_may_be_behind_a_vpn(tmp_path: Path, pki: Certificates) -> None:
    with serving(pki.server, pki.authority, tokens=True) as gone:
        path = tmp_path / "kubeconfig"
        user = {"client-certificate-data": None, "client-key-data": None, "token": "t1"}
        path.write_text(kubeconfig(access(gone, pki), user=user))
    for foreign in (True, False):
        with pytest.raises(ApiError, match=f"API at 127.0.0.1:{gone.port} does not answer") as caught:
            open_api(path, FakePrograms(), foreign).raw("/x")
        assert ("VPN" in caught.value.fix, "Connection refused" in caught.value.what) == (foreign, foreign)
        assert (caught.value.code, caught.value.transient) == (0, True)
