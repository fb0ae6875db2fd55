"""Secrets as objects, what is left out, and that no value is seen outside the objects."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.clients.kubectl import apply
from tasks.core.errors import BadInput
from tasks.core.redact import redact
from tasks.facts.secrets import ReadFile, RunCommand, Skipped, Sources, docker_config, secret_objects
from tasks.kube.apply import stream
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY, decoded
from tasks.settings.derived import FINGERPRINT
from tasks.settings.schema import Settings

FILES = {
    "tls.crt": b"-----BEGIN CERTIFICATE-----\ncanary-crt-0123456789\n-----END CERTIFICATE-----\n",
    "tls.key": b"-----BEGIN PRIVATE KEY-----\ncanary-key-0123456789\n-----END PRIVATE KEY-----\n",
    "ca.crt": b"-----BEGIN CERTIFICATE-----\ncanary-ca-0123456789\n-----END CERTIFICATE-----\n",
    "encrypted": b"-----BEGIN ENCRYPTED PRIVATE KEY-----\ncanary-enc-0123456789\n-----END ENCRYPTED PRIVATE KEY-----\n",
    "helper": b'{"auths": {"ghcr.io": {}}, "credsStore": "desktop"}',
    "large": b"x" * 600_000,
    "config": b'{"auths": {"ghcr.io": {"auth": "Y2FuYXJ5OmluLWF1dGg="}, "quay.io": {"password": "canary-q"}}}',
    "google": b'{\n  "type": "service_account",\n  "private_key": "canary-google"\n}\n',
    "binary": b"\x00\xff\xfe\n",
    "word": b"canary-word\r\n",
}
ENVIRON = {"TOKEN": "canary-token", "USER_NAME": "canary-user", "ODD": 'canary "quoted" \\ wört', "NOTHING": ""}


def read_secrets(
    *expected: dict[str, Any], namespaces: tuple[str, ...] = ("a", "b")
) -> tuple[list[dict[str, Any]], list[Skipped]]:
    settings = Settings.model_validate({"namespaces": namespaces, "secrets": expected})
    return secret_objects(settings, given(ENVIRON, run=lambda argv: f"canary-of {' '.join(argv)}\n".encode()))


def no_command(argv: Sequence[str]) -> bytes:
    raise AssertionError(f"{argv} was run")


def given(environ: Mapping[str, str], *, read: ReadFile = FILES.__getitem__, run: RunCommand = no_command) -> Sources:
    return Sources(environ=environ, read_file=read, run_command=run)


def values(objects: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    return decoded(objects[0])


def env(name: str = "TOKEN") -> dict[str, str]:
    return {"env": name}


def test_the_default_is_the_login_of_ghcr_in_every_namespace() -> None:
    settings = Settings()
    objects, skipped = secret_objects(settings, given({"GITHUB_TOKEN_CLASSIC": "canary-ghp"}))
    assert skipped == []
    assert [each["metadata"]["namespace"] for each in objects] == list(settings.namespaces)
    for each in objects:
        assert each["metadata"]["name"] == "github-pat-secret"
        assert each["metadata"]["labels"] == {MANAGED_BY: FIELD_MANAGER}
        assert FINGERPRINT not in each["metadata"].get("annotations", {})
        assert each["type"] == "kubernetes.io/dockerconfigjson"
        assert set(each["data"]) == {".dockerconfigjson"}
    assert json.loads(values(objects)[".dockerconfigjson"]) == {
        "auths": {
            "ghcr.io": {
                "username": "openframe",
                "password": "canary-ghp",
                "auth": base64.b64encode(b"openframe:canary-ghp").decode(),
            }
        }
    }


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "GITHUB_TOKEN_CLASSIC is not set; an existing secret stays"),
        ({"GITHUB_TOKEN_CLASSIC": " \n"}, "GITHUB_TOKEN_CLASSIC is empty; an existing secret stays"),
    ],
)
def test_without_the_token_it_is_left_out_with_the_reason(environ: dict[str, str], why: str) -> None:
    assert secret_objects(Settings(), given(environ)) == (
        [],
        [Skipped("github-pat-secret", why)],
    )


@pytest.mark.parametrize(
    ("expected", "kind", "data"),
    [
        (
            {"values": {"t": env(), "w": {"file": "word"}, "b": {"file": "binary"}, "c": {"command": ["x", "y"]}}},
            "Opaque",
            {"t": b"canary-token", "w": b"canary-word", "b": b"\x00\xff\xfe\n", "c": b"canary-of x y"},
        ),
        ({"values": {"odd": env("ODD")}}, "Opaque", {"odd": 'canary "quoted" \\ wört'.encode()}),
        (
            {"type": "tls", "values": {"tls.crt": {"file": "tls.crt"}, "tls.key": {"file": "tls.key"}}},
            "kubernetes.io/tls",
            {"tls.crt": FILES["tls.crt"], "tls.key": FILES["tls.key"]},
        ),
        (
            {"type": "tls", "values": {name: {"file": name} for name in ("tls.crt", "tls.key", "ca.crt")}},
            "kubernetes.io/tls",
            {name: FILES[name] for name in ("tls.crt", "tls.key", "ca.crt")},
        ),
        (
            {"type": "kubernetes.io/ssh-auth", "values": {"ssh-privatekey": {"file": "tls.key"}}},
            "kubernetes.io/ssh-auth",
            {"ssh-privatekey": FILES["tls.key"]},
        ),
        (
            {"type": "basic-auth", "values": {"password": env()}},
            "kubernetes.io/basic-auth",
            {"username": b"openframe", "password": b"canary-token"},
        ),
        (
            {"type": "basic-auth", "username": "other", "values": {"password": {"file": "binary"}}},
            "kubernetes.io/basic-auth",
            {"username": b"other", "password": b"\x00\xff\xfe\n"},
        ),
        (
            {"type": "basic-auth", "values": {"password": env(), "username": env("USER_NAME")}},
            "kubernetes.io/basic-auth",
            {"username": b"canary-user", "password": b"canary-token"},
        ),
        (
            {"type": "dockerconfigjson", "registry": "r:5000", "values": {"password": env("ODD")}},
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": docker_config("r:5000", "openframe", 'canary "quoted" \\ wört')},
        ),
    ],
)
def test_each_type(expected: dict[str, Any], kind: str, data: dict[str, bytes]) -> None:
    objects, skipped = read_secrets({"name": "s", **expected})
    assert skipped == []
    assert [each["metadata"]["namespace"] for each in objects] == ["a", "b"]
    assert {each["type"] for each in objects} == {kind}
    assert values(objects) == data


@pytest.mark.parametrize("registry", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_the_key_under_which_every_client_looks(registry: str) -> None:
    config = json.loads(docker_config(registry, "u", "p"))
    assert list(config["auths"]) == ["https://index.docker.io/v1/"]


@pytest.mark.parametrize("password", ['canary-"é"', "canary-\\n"])
def test_a_login_is_read_back_and_masked_in_every_form(password: str) -> None:
    text = docker_config("ghcr.io", "me", password)
    login = json.loads(text)["auths"]["ghcr.io"]
    assert base64.b64decode(login["auth"]).decode() == f"me:{password}"
    for form in (login["auth"], text.decode(), base64.b64encode(text).decode(), json.dumps(password)[1:-1]):
        assert redact(f"<{form}>") == "<***>"


def password_of(kind: str, content: bytes, source: str) -> str:
    """What becomes of a password that a source gives."""
    settings = Settings.model_validate(
        {"namespaces": ["a"], "secrets": [{"name": "s", "type": kind, "values": {"password": {source: "P"}}}]}
    )
    objects, _ = secret_objects(settings, given({"P": content.decode()}, read=lambda name: content))
    data = values(objects)
    login = json.loads(data[".dockerconfigjson"])["auths"]["ghcr.io"] if kind == "dockerconfigjson" else None
    if login is None:
        return data["password"].decode()
    assert base64.b64decode(login["auth"]).decode() == f"{login['username']}:{login['password']}"
    return str(login["password"])


@pytest.mark.parametrize("source", ["env", "file"])
@pytest.mark.parametrize(
    ("content", "of_registry", "of_basic_auth"),
    [
        (b"canary-1\n", "canary-1", "canary-1"),
        (b"canary-2\r\n", "canary-2", "canary-2"),
        (b" canary-3 \t\n", "canary-3", None),
        (b"canary 4 ", "canary 4", "canary 4 "),
        ("\ufeffcanary-5\r\n".encode(), "canary-5", None),
    ],
)
def test_a_login_has_no_line_end_and_one_of_a_registry_no_blanks_around_it(
    source: str, content: bytes, of_registry: str, of_basic_auth: str | None
) -> None:
    assert password_of("dockerconfigjson", content, source) == of_registry
    if of_basic_auth is not None:
        assert password_of("basic-auth", content, source) == of_basic_auth


@pytest.mark.parametrize("kind", ["dockerconfigjson", "basic-auth"])
@pytest.mark.parametrize(
    "content", ["canary-6\ncanary-7", "canary-6\r\ncanary-7\n", "canary-6\x1b[0m", "canary\u200b-6"]
)
def test_a_login_of_several_lines_is_refused_and_not_shown(kind: str, content: str) -> None:
    with pytest.raises(BadInput, match="the secret 's' cannot be created") as caught:
        password_of(kind, content.encode(), "env")
    assert "line break" in caught.value.why
    assert "canary" not in f"{caught.value!s}{caught.value.__context__!r}"


def test_data_that_is_no_login_keeps_what_stands_around_it() -> None:
    objects, _ = secret_objects(
        Settings.model_validate({"namespaces": ["a"], "secrets": [{"name": "s", "values": {"k": {"env": "K"}}}]}),
        given({"K": " canary-8 \n"}),
    )
    assert values(objects) == {"k": b" canary-8 \n"}


def test_own_namespaces_win_and_each_comes_once() -> None:
    objects, _ = read_secrets(
        {"name": "s", "namespaces": "c  a,c", "values": {"k": env()}},
        {"name": "s", "namespaces": ["d"], "values": {"k": env("USER_NAME")}},
    )
    assert [(each["metadata"]["namespace"], decoded(each)["k"]) for each in objects] == [
        ("c", b"canary-token"),
        ("a", b"canary-token"),
        ("d", b"canary-user"),
    ]


def test_each_source_is_read_once() -> None:
    calls: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> bytes:
        calls.append(argv)
        return b"canary"

    settings = Settings.model_validate({"secrets": [{"name": "s", "values": {"k": {"command": ["x"]}}}]})
    objects, _ = secret_objects(settings, given({}, run=run))
    assert len(objects) == 6
    assert calls == [("x",)]


def test_one_empty_source_leaves_the_whole_secret_out_and_no_other() -> None:
    empty = {"k": env(), "l": env("NOTHING")}
    objects, skipped = read_secrets(
        {"name": "s", "namespaces": ["x", "y"], "values": empty},
        {"name": "s", "namespaces": ["z"], "values": empty},
        {"name": "t", "type": "basic-auth", "values": {"password": env("NOTHING")}},
        {"name": "u", "namespaces": [], "values": {"k": env()}},
        {"name": "v", "values": {"k": env()}},
    )
    why = "NOTHING is empty; an existing secret stays"
    assert skipped == [("s in x, y", why), ("s in z", why), ("t", why), ("u", "it has no namespace")]
    assert [each["metadata"]["name"] for each in objects] == ["v", "v"]


@pytest.mark.parametrize(
    ("expected", "why", "fix"),
    [
        ({"name": "Upper", "values": {"k": env()}}, "a-z, 0-9, - and .", "another name"),
        ({"name": "s" * 254, "values": {"k": env()}}, "at most 253", "another name"),
        ({"name": "s\n", "values": {"k": env()}}, "a-z", "another name"),
        ({"values": {}}, "no values", "`values`"),
        ({"values": {"a b": env()}}, "'a b' is not a valid key", "`values`"),
        ({"values": {".": env()}}, "'.' is not a valid key", "`values`"),
        ({"values": {"..a": env()}}, "'..a' is not a valid key", "`values`"),
        ({"type": "dockerconfigjson", "values": {"token": env()}}, "no value 'password'", "password (and may have"),
        (
            {"type": "dockerconfigjson", "values": {"password": env(), "x": env()}},
            "'x' is not a key of this",
            "username",
        ),
        ({"type": "dockerconfigjson", "registry": " ", "values": {"password": env()}}, "no registry", "`registry`"),
        ({"type": "dockerconfigjson", "username": "a:b", "values": {"password": env()}}, "a colon", "user name"),
        ({"type": "dockerconfigjson", "values": {"password": {"file": "binary"}}}, "not UTF-8", "source"),
        ({"type": "tls", "values": {"tls.crt": env()}}, "no value 'tls.key'", "tls.crt, tls.key (and may have ca.crt)"),
        (
            {"type": "tls", "values": {"tls.crt": env(), "tls.key": env(), "key": env()}},
            "'key' is not a key of this",
            "ca.crt",
        ),
        (
            {"type": "tls", "values": {"tls.crt": {"file": "tls.key"}, "tls.key": {"file": "tls.crt"}}},
            "its tls.crt holds the key",
            "swap",
        ),
        (
            {"type": "tls", "values": {"tls.crt": {"file": "binary"}, "tls.key": {"file": "tls.key"}}},
            "its tls.crt is not PEM",
            "openssl pkcs12",
        ),
        (
            {"type": "tls", "values": {"tls.crt": {"file": "tls.crt"}, "tls.key": {"file": "encrypted"}}},
            "its tls.key is encrypted",
            "openssl pkey",
        ),
        ({"type": "dockerconfigjson", "values": {".dockerconfigjson": env()}}, "no JSON text with `auths`", "correct"),
        ({"type": "dockerconfigjson", "values": {".dockerconfigjson": {"file": "helper"}}}, "has no login", "username"),
        ({"values": {key: {"file": "large"} for key in "ab"}}, "its values have 1200000 bytes", "split it"),
        ({"type": "basic-auth", "values": {"username": env()}}, "no value 'password'", "the type basic-auth takes"),
    ],
)
def test_what_kubernetes_or_a_client_would_refuse_is_told(expected: dict[str, Any], why: str, fix: str) -> None:
    with pytest.raises(BadInput) as error:
        read_secrets({"name": "s", **expected})
    assert error.value.what == f"the secret '{expected.get('name', 's')}' cannot be created"
    assert why in error.value.why
    assert fix in error.value.fix
    assert error.value.fix.endswith("(settings: secrets)")
    assert error.value.__context__ is None
    assert "canary" not in f"{error.value!s}{error.value!r}{error.value.__dict__}"


def test_a_name_that_comes_twice_in_a_namespace_is_refused() -> None:
    again = {"name": "s", "values": {"k": env()}}
    with pytest.raises(BadInput) as error:
        read_secrets(again, {**again, "namespaces": ["x", "b"]})
    assert "namespace 'b'" in error.value.why


def test_keys_that_files_may_have() -> None:
    names = (".hidden", "a..b", "UPPER_case-1.txt", "_")
    objects, _ = read_secrets({"name": "s.with.dots", "values": dict.fromkeys(names, env())})
    assert set(values(objects)) == set(names)


def test_values_stand_in_no_argument_and_no_text_that_is_shown() -> None:
    objects, skipped = read_secrets(
        {"name": "a", "type": "dockerconfigjson", "values": {"password": env("ODD"), "username": env("USER_NAME")}},
        {"name": "b", "values": {"k": {"file": "tls.key"}, "l": {"file": "binary"}, "m": {"command": ["x"]}}},
        {"name": "c", "type": "basic-auth", "values": {"password": {"file": "word"}}},
        {"name": "d", "values": {"k": env(), "l": env("NOTHING")}},
        {"name": "e", "values": {f"k{n}": {"file": name} for n, name in enumerate(FILES) if FILES[name].strip()}},
    )
    text = stream(objects)
    command = apply(Path("kubeconfig"), text, manager=FIELD_MANAGER)
    given = [value for each in objects for key, value in each["data"].items() if key != "username"]
    assert all(value in text for value in given)
    for shown in (" ".join(command.argv), command.paste(), repr(skipped), redact(text), redact(repr(objects))):
        assert "canary" not in shown
        assert not [value for value in given if len(value) > 8 and value in shown]
    for plain in (*ENVIRON.values(), *(content.decode("latin-1") for content in FILES.values()), "canary-of x"):
        assert "canary" not in redact(f"error: {plain} is wrong")


def test_a_whole_docker_config_is_taken_as_it_is_and_concealed() -> None:
    source = {"type": "dockerconfigjson", "registry": " ", "values": {".dockerconfigjson": {"file": "config"}}}
    objects, _ = read_secrets({"name": "s", **source})
    assert values(objects) == {".dockerconfigjson": FILES["config"]}
    assert redact("canary-q Y2FuYXJ5OmluLWF1dGg= in-auth") == "*** *** ***"


def test_a_key_file_of_google_is_a_password() -> None:
    source = {"type": "dockerconfigjson", "registry": "gcr.io", "username": "_json_key"}
    objects, _ = read_secrets({"name": "s", **source, "values": {"password": {"file": "google"}}})
    login = json.loads(values(objects)[".dockerconfigjson"])["auths"]["gcr.io"]
    assert login["password"] == FILES["google"].decode().strip()


def test_one_file_may_hold_certificate_and_key() -> None:
    both = FILES["tls.crt"] + FILES["tls.key"]
    sources = {key: {"file": "both"} for key in ("tls.crt", "tls.key")}
    settings = Settings.model_validate(
        {"namespaces": ["a"], "secrets": [{"name": "s", "type": "tls", "values": sources}]}
    )
    objects, _ = secret_objects(settings, given(ENVIRON, read=lambda _: both))
    assert values(objects) == {"tls.crt": both, "tls.key": both}
