"""Logins in settings are concealed when they are read: whatever is shown, logged or recorded later has none."""

import json
import time
from pathlib import Path

import pytest

from tasks.core.redact import redact
from tasks.settings.merge import as_json
from tasks.settings.origin import without_assigned
from tests.settings.project import project, refused, resolved

PLACES = {
    "a repository": "helm: {repositories: {mine: 'https://robot:VALUE@charts.example.com/x'}}",
    "a parameter": "helm: {repositories: {mine: 'https://charts.example.com/x?private_token=VALUE'}}",
    "a value of a release": "helm: {releases: {a: {namespace: a, chart: ./a, values: {url: 'postgres://u:VALUE@db'}}}}",
    "a password of a release": "helm: {releases: {a: {namespace: a, chart: ./a, values: {u: [{password: VALUE}]}}}}",
    "an argument of a build": "builds: {app: {context: ., args: {NPM_TOKEN: VALUE}}}",
    "an escaped text": 'helm: {repositories: {mine: "https:\\/\\/robot:VALUE\\x40charts.example.com"}}',
    "a mirror of programs": "tools: {k3d_url: 'https://VALUE@mirror.example.com'}",
    "the nodes' proxy": "cluster: {env: ['HTTPS_PROXY=http://me:VALUE@proxy:3128@server:*']}",
    "the nodes' proxy without a scheme": "cluster: {env: ['https_proxy=me:VALUE@proxy:3128@server:*']}",
    "the nodes' token": "cluster: {env: ['API_TOKEN=VALUE@server:*']}",
    "an argument": "cluster: {args: {k3s: ['--token=VALUE']}}",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_login_is_concealed_wherever_it_stands(place: str, tmp_path: Path) -> None:
    value = f"c4nary-in-{place.replace(' ', '-').replace(chr(39), '')}"
    found = resolved(project(tmp_path, mine=PLACES[place].replace("VALUE", value)), profile="mine")
    assert redact(f"a program said {value}!") == "a program said ***!"
    assert value not in as_json(found, "")


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HTTPS_PROXY", "http://me:c4n%40ry-proxy@p:3128", "c4n@ry-proxy"),
        ("no_such_http_proxy", "me:c4nary-plain@p:3128", "c4nary-plain"),
        ("BLOB_URL", "https://blob/x?sv=1&sig=c4nary-signature", "c4nary-signature"),
        ("DATABASE_URL", "postgres://u:c4nary-database@db/x", "c4nary-database"),
    ],
)
def test_so_are_those_of_variables(name: str, value: str, secret: str, tmp_path: Path) -> None:
    resolved(tmp_path, environ={name: value})
    assert redact(f"<{secret}>") == "<***>"


@pytest.mark.parametrize(
    "text",
    [
        "helm: {repositories: {mine: 'https://me:VALUE/x@host'}}\n",
        "helm: {repositories: {mine: 'ftp://me:VALUE@host'}}\n",
        "helm: {repositories: {mine: 'https://me:VALUE@host\n",
        "helm: {releases: {a: {namespace: a, chart: 'oci://me:VALUE@host/x/a'}}}\n",
    ],
)
def test_no_error_of_settings_shows_one(text: str, tmp_path: Path) -> None:
    value = f"c4nary{len(text)}"
    error = refused(project(tmp_path, mine=text.replace("VALUE", value)), profile="mine")
    assert value not in redact(str(error))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('"k3d.cluster.token": "VALUE",', '"k3d.cluster.token": "***",'),
        ("&#34;k3d.cluster.token&#34;: &#34;VALUE&#34;,", "&#34;k3d.cluster.token&#34;: ***,"),
        ('{"n":"{\\"password\\":\\"VA LUE\\",\\"n\\":1}"}', '{"n":"{\\"password\\":\\"***\\",\\"n\\":1}"}'),
        ('["echo \\"AWS_SECRET_ACCESS_KEY=VALUE\\"; x"]', '["echo \\"AWS_SECRET_ACCESS_KEY=***\\"; x"]'),
        ('{"token": 4711, "b": 1}', '{"token": "***", "b": 1}'),
        ('{"automountServiceAccountToken": false}', '{"automountServiceAccountToken": false}'),
        ("DB_PASSWORD='VA LUE' x", "DB_PASSWORD='***' x"),
        ("run --auth-token VALUE --verbose", "run --auth-token *** --verbose"),
        ("unknown flag: --token", "unknown flag: --token"),
        ("DB_PASSWORD: <set to the key x>", "DB_PASSWORD: <set to the key x>"),
        ("it got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.VALUE back", "it got *** back"),
        ("cloning with ghp_VALUEVALUEVALUEVALUE1 now", "cloning with *** now"),
        ("-----BEGIN EC PRIVATE KEY-----\nVALUE\n-----END", "-----BEGIN EC PRIVATE KEY-----***-----END"),
    ],
)
def test_what_is_assigned_to_the_name_of_a_secret_is_masked_and_json_stays_json(text: str, shown: str) -> None:
    assert without_assigned(text) == shown


@pytest.mark.parametrize(
    "part", ["--aaaa-", "-", '"token": "', "token='", "Bearer ", "token : ", "key", "eyJ", "token   "]
)
def test_no_line_takes_long(part: str) -> None:
    began = time.process_time()
    without_assigned(part * (400_000 // len(part)) + "token")
    assert time.process_time() - began < 5


def test_any_value_is_masked_whole() -> None:
    for value in ("x", "a b", 'a"b', "a\\b", 'C:\\"', "it's", "two\nlines", "{[,]}", "<&>"):
        inner = json.dumps({"password": value})
        found = json.loads(without_assigned(json.dumps({"token": value, "list": [inner]}, indent=1)))
        assert found["token"] == "***"
        assert json.loads(found["list"][0]) == {"password": "***"}


def test_a_login_in_the_name_of_a_chart_is_refused(tmp_path: Path) -> None:
    text = "helm: {releases: {a: {namespace: a, chart: 'oci://me:c4nary-oci@host/x/a'}}}\n"
    error = refused(project(tmp_path, mine=text), profile="mine")
    assert "oci://***@host/x/a" in error.what
    assert "helm registry login" in error.fix
