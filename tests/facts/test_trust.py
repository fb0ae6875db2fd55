"""Whose certificates are trusted: what variables name, Python's own, the system's, or the bundle."""

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import certifi
import pytest

from tasks.core.errors import BadInput
from tasks.facts import trust as module
from tasks.facts.trust import trust
from tasks.host.transfer import Reach, open_address
from tests.host.server import serving
from tests.host.test_transfer import untrusted
from tests.tls import Certificates, Pair

URL = "https://mirror/x"


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Python as python.org installs it on a Mac, on a system without a bundle."""
    nowhere = str(tmp_path / "nowhere")
    paths = SimpleNamespace(openssl_cafile=nowhere, openssl_capath=nowhere)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(module, "SYSTEM", (str(tmp_path / "system.pem"),))
    module._trust.cache_clear()
    yield tmp_path
    module._trust.cache_clear()


@contextmanager
def mirror(pair: Pair) -> Iterator[str]:
    """A mirror of downloads with a certificate of that pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with serving(context) as server:
        server.files["/a"] = b"ok"
        yield f"https://127.0.0.1:{server.port}/a"


def status_of(url: str, environ: dict[str, str]) -> int:
    response = open_address(url, {}, environ, 5.0)
    response.close()
    return response.status or 0


def test_a_python_without_authorities_takes_the_systems_and_else_the_bundle(bare: Path, pki: Certificates) -> None:
    assert (trust({}).source, trust({}).own) == (certifi.where(), False)
    module._trust.cache_clear()
    (bare / "system.pem").write_bytes(pki.authority.certificate.read_bytes())
    assert trust({}).source == str(bare / "system.pem")
    with mirror(pki.server) as url:
        assert status_of(url, {}) == 200


def test_without_any_the_case_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_certifi", lambda: "")
    assert trust({}).source == ""
    error = Reach("helm", "tools.helm_url").broken(URL, URLError(untrusted(20)))
    assert "Python has no authorities of its own" in error.why
    assert "ca-certificates" in error.fix
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Install Certificates.command" in Reach("helm", "x").broken(URL, URLError(untrusted(20))).fix


@pytest.mark.parametrize("name", module.FILES)
def test_a_companys_authority_in_a_variable(name: str, bare: Path, pki: Certificates) -> None:
    environ = {name: f" {pki.authority.certificate} "}
    with mirror(pki.server) as url:
        assert status_of(url, environ) == 200
        with pytest.raises(URLError) as caught:
            status_of(url, {name: str(pki.other.certificate)})
    error = Reach("helm", "tools.helm_url").broken(url, caught.value, {name: str(pki.other.certificate)})
    assert f"read from {pki.other.certificate}" in error.why
    assert "SSL_CERT_FILE" in error.fix


def test_folders_of_certificates_by_any_names(bare: Path, pki: Certificates) -> None:
    folder = bare / "folder"
    folder.mkdir()
    (folder / "company.crt").write_bytes(pki.authority.certificate.read_bytes())
    (folder / "README").write_text("no certificate")
    with mirror(pki.server) as url:
        assert status_of(url, {"SSL_CERT_DIR": f"/none:{folder}"}) == 200
        assert status_of(url, {"REQUESTS_CA_BUNDLE": str(folder)}) == 200


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("SSL_CERT_FILE", None, "No such file"),
        ("REQUESTS_CA_BUNDLE", "no certificate here", "PEM"),
        ("SSL_CERT_FILE", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "PEM"),
        ("SSL_CERT_DIR", None, "PEM"),
    ],
)
def test_a_variable_that_names_none_is_told(name: str, content: str | None, why: str, bare: Path) -> None:
    path = bare / "given.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=f"{name} names {path}") as caught:
        trust({name: str(path)})
    assert why in caught.value.why


@pytest.mark.parametrize("code", [9, 10])
def test_a_certificate_of_another_time_asks_for_the_clock(code: int) -> None:
    assert "clock" in Reach("helm", "x").broken(URL, URLError(untrusted(code))).fix
