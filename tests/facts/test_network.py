"""Proxies and certificate authorities of caches and nodes: as configured, or from the environment."""

import ssl
from pathlib import Path
from typing import Any

import certifi
import pytest

from tasks.core.errors import BadInput
from tasks.facts.facts import Network
from tasks.facts.network import network, proxies
from tests.given import settings

ONE, TWO = (
    f"-----BEGIN CERTIFICATE-----{each}-----END CERTIFICATE-----"
    for each in Path(certifi.where()).read_text().split("-----BEGIN CERTIFICATE-----")[1:3]
    for each in [each.partition("-----END")[0]]
)
LOGIN = "http://me:c4n%40ry@proxy:3128"


def network_of(root: Path = Path("/none"), environ: dict[str, str] | None = None, **given: Any) -> Network:
    return network(settings(network=given), environ or {}, root)


def test_by_default_there_is_none_whatever_the_environment_says() -> None:
    assert network_of(environ={"HTTPS_PROXY": LOGIN, "SSL_CERT_FILE": "/no/such/file"}) == Network()
    assert Network().environment() == Network().described == {}
    assert Network().mark == ""


def test_settings_become_variables_that_programs_in_go_read() -> None:
    found = network_of(proxy={"http": "proxy:3128", "https": LOGIN, "no_proxy": "corp.example; .x, 10.0.0.0/8"})
    assert found.environment(("k3d-a-server-0",)) == {
        "HTTP_PROXY": "http://proxy:3128",
        "HTTPS_PROXY": LOGIN,
        "NO_PROXY": "localhost,127.0.0.0/8,::1,k3d-a-server-0,corp.example,x,10.0.0.0/8",
    }
    assert network_of(proxy={"https": "p:1", "no_proxy": ["*"]}).environment()["NO_PROXY"] == "*"
    assert "c4n" not in f"{found!r}{found.described}"


def test_what_is_not_set_comes_from_the_environment_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "env.pem").write_text(ONE)
    environ = {
        "https_proxy": "env:1",
        "HTTP_PROXY": "env:2",
        "NO_PROXY": "a b 10.0.0.0/",
        "SSL_CERT_FILE": str(tmp_path / "env.pem"),
    }
    found = network_of(tmp_path, environ, from_environment=True, proxy={"http": "set:3"})
    assert (found.https and found.https.place, found.http and found.http.place) == ("env:1", "set:3")
    assert (found.direct, found.authorities) == (("a", "b"), f"{ONE}\n")
    (tmp_path / "own.pem").write_text(TWO)
    own = network_of(tmp_path, environ, from_environment=True, ca=["own.pem"], proxy={"no_proxy": ["c"]})
    assert (own.direct, own.authorities) == (("c",), f"{TWO}\n")


@pytest.mark.parametrize("place", ["localhost:3128", "127.0.0.1:3128", "[::1]:3128"])
def test_a_proxy_on_loopback_is_refused(place: str) -> None:
    with pytest.raises(BadInput, match=r"cannot reach the proxy http://\*\*\*@") as caught:
        network_of(proxy={"https": f"http://me:c4nary@{place}"})
    assert "c4nary" not in str(caught.value)
    with pytest.raises(BadInput, match="cannot reach"):
        proxies(settings(network={"from_environment": True}), {"ALL_PROXY": place})


def test_a_variable_that_names_no_proxy_is_told_unless_a_setting_stands_for_it() -> None:
    environ = {"HTTPS_PROXY": "http://me:c4nary@:1"}
    with pytest.raises(BadInput, match="HTTPS_PROXY names no proxy") as caught:
        network_of(environ=environ, from_environment=True)
    assert "c4nary" not in str(caught.value)
    assert network_of(environ=environ, from_environment=True, proxy={"https": "p:1"}).https is not None


def test_certificates_in_text_binary_and_folders_each_once(tmp_path: Path) -> None:
    (tmp_path / "two.crt").write_text(f"# Company\r\n{ONE}\r\ntrailing\n{TWO}\n{ONE}")
    (tmp_path / "der.cer").write_bytes(ssl.PEM_cert_to_DER_cert(ONE))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.pem").write_text(TWO)
    assert network_of(tmp_path, ca=["two.crt"]).authorities == f"{ONE}\n{TWO}\n"
    assert ssl.PEM_cert_to_DER_cert(network_of(tmp_path, ca=["der.cer"]).authorities) == ssl.PEM_cert_to_DER_cert(ONE)
    assert network_of(tmp_path, ca=[str(folder)]).authorities == f"{TWO}\n"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("missing.pem", None, "No such file"),
        ("empty.pem", b"", "no certificate"),
        ("key.pem", b"-----BEGIN PRIVATE KEY-----\nc4nary\n-----END PRIVATE KEY-----\n", "no certificate"),
        ("cut.pem", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "cannot be read"),
    ],
)
def test_a_file_without_certificates_is_told(name: str, content: bytes | None, why: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=f"network.ca names {name}") as caught:
        network_of(tmp_path, ca=[name])
    assert why in caught.value.why
    with pytest.raises(BadInput, match="REQUESTS_CA_BUNDLE names"):
        network_of(tmp_path, {"REQUESTS_CA_BUNDLE": name}, from_environment=True)


def test_what_changes_shows_in_words_and_never_a_login(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(ONE + "\n" + TWO)
    one = network_of(tmp_path, proxy={"https": LOGIN, "no_proxy": ["x"]}, ca=["ca.pem"])
    other = network_of(tmp_path, proxy={"https": LOGIN.replace("ry", "ries"), "no_proxy": ["x"]}, ca=["ca.pem"])
    assert one.described["network.proxy.https"].startswith("http://***@proxy:3128 (login ")
    assert one.described["network.proxy.no_proxy"] == "x"
    assert one.described["network.ca"].startswith("2 certificates ")
    assert one.described["network.proxy.https"] != other.described["network.proxy.https"]
    assert len({one.mark, other.mark, ""}) == 3
