"""Checksum files as they are published, and files that are none."""

import pytest

from tasks.core.errors import LaunchError
from tasks.core.redact import bare_address
from tasks.host import assets
from tasks.host.assets import Asset, Target, asset, target
from tasks.settings.schema import Tools
from tests.host.server import LINUX

A, B = "a" * 64, "b" * 64


def result(program: str) -> Asset:
    return asset(program, "v1.2.3", LINUX, Tools())


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("k3d", f"{B}  _dist/k3d-darwin-amd64\n{A}  _dist/k3d-linux-amd64\n{B}  _dist/k3d-linux-arm64\n"),
        ("k3d", f"{A} *k3d-linux-amd64\r\n"),
        ("kubectl", A),
        ("kubectl", f"{A.upper()}\n\n"),
        ("kubectl", f"{A}  kubectl\n"),
        ("helm", f"{A}  helm-v1.2.3-linux-amd64.tar.gz\n"),
        ("helm", f"{A}  helm-v1.2.3-linux-amd64.tar.gz\n{A}  helm-v1.2.3-linux-amd64.tar.gz\n"),
    ],
)
def test_the_sum_of_the_asset_is_found(program: str, text: str) -> None:
    assert assets.published(text, result(program)) == A


@pytest.mark.parametrize(
    ("program", "text", "why"),
    [
        ("k3d", "", "no sum for k3d-linux-amd64"),
        ("k3d", A, "no sum for k3d-linux-amd64"),
        ("k3d", f"{A}  _dist/k3d-linux-amd64.exe\n", "no sum"),
        ("k3d", f"{A}  _dist/not-k3d-linux-amd64\n", "no sum"),
        ("k3d", f"{A}  k3d-linux-amd64\n{B}  k3d-linux-amd64\n", "several different sums"),
        ("kubectl", "<html><title>Sign in</title>", "line 1 is not a checksum: '<html>"),
        ("kubectl", A[:-1], "line 1 is not a checksum"),
        ("kubectl", A + "a", "line 1 is not a checksum"),
        ("kubectl", f"{A}\n{B}\n", "several different sums"),
        ("helm", f"{A}  helm-v1.2.4-linux-amd64.tar.gz\n", "no sum"),
        ("helm", f"{A}  helm-v1.2.3-linux-amd64.tar.gz\nnonsense\n", "line 2 is not a checksum"),
        ("helm", "g" * 64, "line 1 is not a checksum"),
    ],
)
def test_anything_else_is_refused(program: str, text: str, why: str) -> None:
    with pytest.raises(LaunchError, match="is not a usable checksum file") as caught:
        assets.published(text, result(program))
    assert why in caught.value.why
    assert f"tools.{program}_url" in caught.value.fix
    assert not caught.value.transient


def test_a_mismatch_tells_both_sums_and_no_password() -> None:
    file = asset("helm", "v1.2.3", LINUX, Tools(helm_url="https://me:hidden-word@h"))
    error = assets.mismatch(file, A, B, transient=False)
    assert A in error.why
    assert B in error.why
    assert "hidden-word" not in str(error)


ARM_MAC = Target(system="darwin", arch="arm64")


GITHUB = "https://github.com/k3d-io/k3d/releases/download/v5.9.0"
KUBECTL = "https://dl.k8s.io/release/v1.33.13/bin/darwin/arm64/kubectl"
HELM = "https://get.helm.sh/helm-v4.1.4-linux-amd64.tar.gz"


@pytest.mark.parametrize(
    ("program", "version", "target", "url", "sums", "name", "member"),
    [
        ("k3d", "v5.9.0", LINUX, f"{GITHUB}/k3d-linux-amd64", f"{GITHUB}/checksums.txt", "k3d-linux-amd64", None),
        ("kubectl", "v1.33.13", ARM_MAC, KUBECTL, f"{KUBECTL}.sha256", "kubectl", None),
        ("helm", "v4.1.4", LINUX, HELM, f"{HELM}.sha256sum", HELM.rpartition("/")[2], "linux-amd64/helm"),
    ],
)
def test_where_releases_lie(
    program: str, version: str, target: Target, url: str, sums: str, name: str, member: str | None
) -> None:
    result = asset(program, version, target, Tools())
    assert (result.url, result.checksum_url, result.name, result.member) == (url, sums, name, member)
    assert result.listed is (program == "k3d")
    assert result.file == f"{program}-{version}-{target}"


def test_a_mirrors_address_may_end_in_a_slash() -> None:
    result = asset("helm", "v4.1.4", LINUX, Tools(helm_url="http://mirror.local:8080/helm/"))
    assert result.url == "http://mirror.local:8080/helm/helm-v4.1.4-linux-amd64.tar.gz"
    assert result.setting == "tools.helm_url"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/a/b", "https://h/a/b"),
        ("https://me:p%40ss@h:8443/a", "https://h:8443/a"),
        ("https://token@h/a", "https://h/a"),
        ("https://me:p@ss@h/a", "https://h/a"),
        ("https://h/a?X-Amz-Signature=secret#f", "https://h/a"),
        ("https://[::1]:1/a", "https://[::1]:1/a"),
        ("https://[bad/a", "an address that cannot be read"),
    ],
)
def test_no_secret_of_an_address_is_shown(url: str, expected: str) -> None:
    assert bare_address(url) == expected


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("Linux", "x86_64", "linux-amd64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Linux", "armv7l", "linux-arm"),
        ("Darwin", "arm64", "darwin-arm64"),
    ],
)
def test_known_machines(system: str, machine: str, expected: str) -> None:
    assert str(target(system, machine)) == expected


@pytest.mark.parametrize(
    ("system", "machine"),
    [("Linux", "riscv64"), ("Linux", "i686"), ("Linux", "armv6l"), ("FreeBSD", "amd64"), ("Darwin", "armv7l")],
)
def test_others_are_refused_with_what_can_be_done(system: str, machine: str) -> None:
    with pytest.raises(LaunchError, match=f"{system} on {machine}") as caught:
        target(system, machine)
    assert "linux-arm64" in caught.value.why
    assert "PATH" in caught.value.fix
