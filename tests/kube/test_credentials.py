"""Logins of a kubeconfig: which need no kubectl, when a token is read or asked for again, and what a failure says."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.core.redact import redact
from tasks.kube.client import ApiError, Credentials, Login, credentials
from tasks.kube.logins import conceal_login, rejected, source
from tasks.process.login import cache_of, cached_logins
from tasks.process.runner import CannotStart
from tests.programs import Answer, Call, FakePrograms
from tests.tls import kubeconfig

HELD = Credentials(server="https://127.0.0.1:6550", ca=b"CA", certificate=b"CERT", key=b"KEY")
BARE = Credentials(server=HELD.server, ca=HELD.ca)
V1, BETA = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
EXEC = {"command": "aws", "apiVersion": BETA}


def text(user: dict[str, Any], cluster: dict[str, Any] | None = None) -> str:
    """A kubeconfig whose user has only this."""
    none = {"client-certificate-data": None, "client-key-data": None}
    return kubeconfig(HELD, user={**none, **user}, cluster=cluster or {})


def test_only_the_current_context_counts() -> None:
    document = yaml.safe_load(kubeconfig(HELD))
    document["clusters"].insert(0, {"name": "other", "cluster": {"server": "https://other"}})
    document["users"].insert(0, {"name": "other", "user": {"token": "t"}})
    document["contexts"].insert(0, {"name": "other", "context": {"cluster": "other", "user": "other"}})
    assert credentials(yaml.safe_dump(document)) == HELD
    document["current-context"] = "other"
    assert credentials(yaml.safe_dump(document)) == Credentials(server="https://other", ca=b"", token="t")


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("user", {"token": "two\nlines"}),
        ("user", {"tokenFile": "/nowhere/t"}),
        ("user", {"exec": {**EXEC}}),  # beside a certificate client-go does not run it
        ("user", {"auth-provider": {"name": "gcp"}}),
        ("user", {"username": "u", "password": "p"}),
        ("user", {"as": "somebody"}),
        ("user", {"as-groups": ["g"]}),
        ("user", {"client-certificate-data": None}),
        ("user", {"client-certificate-data": None, "client-key-data": None}),
        ("user", {"client-key-data": ""}),
        ("user", {"client-key-data": None, "client-key": "/k.pem"}),
        ("user", {"client-certificate": "/c.pem"}),
        ("user", {"client-key-data": "no base64!"}),
        ("cluster", {"certificate-authority-data": None, "certificate-authority": "/etc/passwd"}),
        ("cluster", {"certificate-authority": "/ca.pem"}),
        ("cluster", {"insecure-skip-tls-verify": True}),  # beside an authority it is invalid
        ("cluster", {"proxy-url": "socks5://h"}),
        ("cluster", {"server": "http://127.0.0.1:8080"}),
        ("cluster", {"server": None}),
    ],
)
def test_what_needs_more_than_a_certificate_or_a_token_is_kubectls(part: str, changes: dict[str, Any]) -> None:
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


@pytest.mark.parametrize("given", ["", "a", "[]", "contexts: ", "current-context: x", "{unclosed", "kind: Config"])
def test_what_is_no_kubeconfig_has_no_credentials(given: str) -> None:
    assert credentials(given) is None


def test_how_the_server_is_verified_is_read() -> None:
    cluster = {"certificate-authority-data": None, "insecure-skip-tls-verify": True, "tls-server-name": "kubernetes"}
    found = credentials(text({"token": "t"}, cluster))
    assert found == Credentials(server=HELD.server, ca=b"", token="t", insecure=True, name="kubernetes")


@pytest.mark.parametrize(
    "changes",
    [
        {"apiVersion": "client.authentication.k8s.io/v1alpha1"},
        {"apiVersion": V1},  # requires interactiveMode
        {"interactiveMode": "Always"},
        {"interactiveMode": "Sometimes"},
        {"command": ""},
    ],
)
def test_a_plugin_that_is_invalid_or_needs_a_terminal_is_kubectls(changes: dict[str, Any]) -> None:
    assert credentials(text({"exec": {**EXEC, **changes}})) is None


def plugin(
    folder: Path, programs: FakePrograms, user: dict[str, Any] = EXEC, cluster: dict[str, Any] | None = None
) -> Any:
    access = credentials(text({"exec": user}, cluster))
    assert access is not None
    return source(access, folder / "kubeconfig", programs)


def says(token: str = "", *, expiry: float | None = None, version: str = BETA, **status: Any) -> str:
    if expiry is not None:
        status["expirationTimestamp"] = f"{datetime.now(UTC) + timedelta(seconds=expiry):%Y-%m-%dT%H:%M:%SZ}"
    return json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": {"token": token, **status}})


def test_a_plugin_gets_what_client_go_gives_it(tmp_path: Path) -> None:
    user = {
        **EXEC,
        "apiVersion": V1,
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": True,
        "args": ["get", "1"],
    }
    user["env"] = [{"name": "AWS_PROFILE", "value": "team"}, {"name": "EMPTY", "value": ""}]
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    programs = FakePrograms(otherwise=Answer(out=says("token-of-v1", version=V1)), env={"PATH": "/p"})
    found = plugin(tmp_path, programs, user, {"extensions": [{"name": "x"}, extension]})
    assert found.current() == Login(token="token-of-v1")
    (call,) = programs.calls
    assert (call.line, call.quiet, call.command.stdin) == ("aws get 1", True, None)
    assert (call.env["AWS_PROFILE"], call.env["EMPTY"], call.env["PATH"]) == ("team", "", "/p")
    assert not call.command.env, "errors show it"
    cluster = {"server": HELD.server, "certificate-authority-data": "Q0E=", "config": {"audience": "a"}}
    assert json.loads(call.env["KUBERNETES_EXEC_INFO"]) == {
        "kind": "ExecCredential",
        "apiVersion": V1,
        "spec": {"interactive": False, "cluster": cluster},
    }
    assert redact("a token-of-v1 b") == "a *** b"


@pytest.mark.parametrize(
    ("expiry", "later", "runs"),
    [
        (None, 86400, 1),
        (3600, 3530, 1),
        (3600, 3545, 2),  # before it ends, not after
        (10, 6, 1),
        (10, 9, 2),
        (-5, 0, 1),  # a clock that is wrong: not for every request
        (-5, 2, 2),
    ],
)
def test_a_plugin_is_run_again_before_its_answer_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expiry: float | None, later: float, runs: int
) -> None:
    programs = FakePrograms(answers={"aws": [Answer(out=says("t1", expiry=expiry)), Answer(out=says("t2"))]})
    found = plugin(tmp_path, programs)
    assert found.current().token == "t1"
    now = time.time() + later
    monkeypatch.setattr("tasks.kube.logins.time.time", lambda: now)
    assert found.current().token == f"t{runs}"
    assert len(programs.calls) == runs


def test_a_rejected_answer_is_renewed_once_for_all_requests(tmp_path: Path) -> None:
    cache = cache_of(tmp_path / "kubeconfig")
    cache.write_text("9999999999\nold")
    programs = FakePrograms(answers={"aws": [Answer(out=says("t1")), Answer(out=says("t2"))]})
    found = plugin(tmp_path, programs)
    first = found.current()
    assert cache.read_text(), "kubectl and Helm use it, too"
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(found.renewed, [first] * 4)) == {Login(token="t2")}
    assert len(programs.calls) == 2
    assert cache.read_text() == ""


def test_a_certificate_of_a_plugin(tmp_path: Path) -> None:
    answer = says(clientCertificateData="CERT", clientKeyData="KEY")
    found = plugin(tmp_path, FakePrograms(otherwise=Answer(out=answer)))
    assert found.current() == Login("", b"CERT", b"KEY")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (Answer(err="first\nnot logged in\n", code=3), "executable aws failed with exit code 3"),
        (Answer(err="not logged in\n/usr/bin/aws ended with code 255\n", code=255), "/usr/bin/aws ended with code 255"),
        (
            Answer(err="open https://login.example.com\n", late=True),
            "not ended within 30 s; it wrote: open https://login",
        ),
        (CannotStart("the program aws cannot be started", why="a noexec file system"), "a noexec file system"),
        (Answer(out="token"), "wrote no valid ExecCredential"),
        (Answer(out="[]"), "wrote no valid ExecCredential"),
        (Answer(out=says("t", expirationTimestamp="tomorrow")), "wrote no valid ExecCredential"),
        (Answer(out=says("t", version=V1)), f"{BETA}, plugin returned version {V1}"),
        (Answer(out=says()), "didn't return a token or cert/key pair"),
        (Answer(out=says("two\nlines")), "didn't return a token or cert/key pair"),
        (Answer(out=says("t", clientKeyData="KEY")), "didn't return a token or cert/key pair"),
    ],
)
def test_a_plugin_that_fails_says_why(tmp_path: Path, script: Any, said: str) -> None:
    programs = FakePrograms(answers={"aws": script})
    with pytest.raises(ApiError, match="the credential plugin aws gives no login") as caught:
        plugin(tmp_path, programs).current()
    assert said in caught.value.why
    assert (caught.value.cause, caught.value.transient) == ("api-login-helper", False)
    assert "kubectl --context NAME" in caught.value.fix


def test_one_that_is_not_installed_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(ApiError) as caught:
        plugin(tmp_path, FakePrograms(), {**EXEC, "installHint": "Get it:\n  brew install awscli"}).current()
    assert "exec: executable aws not found" in caught.value.why
    assert caught.value.fix.startswith("Get it: brew install awscli; ")


def test_requests_that_waited_for_it_fail_with_it(tmp_path: Path) -> None:
    def fail(_call: Call) -> Answer:
        time.sleep(0.2)
        return Answer(code=1)

    programs = FakePrograms(answers={"aws": fail})
    found = plugin(tmp_path, programs)
    with ThreadPoolExecutor(4) as pool:
        failures = [pool.submit(found.current) for _ in range(4)]
    assert all(isinstance(each.exception(), ApiError) for each in failures)
    assert len(programs.calls) == 1
    with pytest.raises(ApiError):
        found.current()
    assert len(programs.calls) == 2, "a later request tries again"


def test_a_token_file_is_read_again_and_its_last_token_stays(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token-number-1\n")
    access = credentials(text({"tokenFile": str(file)}))
    assert access is not None
    found: Any = source(access, tmp_path, FakePrograms())
    assert found.current() == Login(token="token-number-1")
    file.write_text("token-number-2")
    assert found.renewed(found.current()) == Login(token="token-number-2")
    assert redact("Bearer token-number-2") == "Bearer ***"
    file.unlink()
    assert found.current() == Login(token="token-number-2")
    both = credentials(text({"tokenFile": str(file), "token": "t"}))
    assert both is not None
    found = source(both, tmp_path, FakePrograms())
    assert found.current().token == "t"


@pytest.mark.parametrize(
    ("user", "why", "fix"),
    [
        ({"token": "t"}, "its token has expired", "kubectl config set-credentials default --token TOKEN"),
        ({"tokenFile": "/run/t"}, "the token in /run/t has expired", "write a valid token to that file"),
        ({"exec": EXEC}, "what its credential plugin aws returns has expired", "log in again"),
        ({"exec": {**EXEC, "command": "sh"}}, "plugin /bin/sh returns", "log in again with what /bin/sh belongs to"),
        ({}, "its login has expired", "renew it there"),
    ],
)
def test_a_rejected_login_is_named_with_its_file(tmp_path: Path, user: dict[str, Any], why: str, fix: str) -> None:
    file = tmp_path / "config"
    file.write_text(text(user))
    started = cached_logins(text(user), tmp_path / "private", {"PATH": "/bin"})
    error = rejected(started, {"KUBECONFIG": str(file)})
    assert error.what == "the API does not accept the login of the context 'default'"
    assert why in error.why
    assert f"(user 'default' in {file})" in error.why
    assert fix in error.fix
    assert "kubectl --context default get namespaces" in error.fix
    assert (error.cause, error.code, error.transient) == ("api-login", 401, False)


def test_secrets_of_a_login_are_masked(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cr3t-of-a-file")
    args = [
        "get-token",
        "--oidc-client-secret=s3cr3t-in-one",
        "--client-secret",
        "s3cr3t-in-two",
        "--cluster",
        "public",
    ]
    login = {**EXEC, "args": args, "env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "s3cr3t-in-env"}]}
    user = {"token": "s3cr3t-token", "password": "s3cr3t-password", "tokenFile": str(file), "exec": login}
    conceal_login(text(user))
    shown = redact(f"{user} s3cr3t-of-a-file")
    assert "s3cr3t" not in shown
    assert "public" in shown
