"""Addresses as the projects publish them, and what of an address may be seen."""

from __future__ import annotations

import pytest

from tasks.host.published import Target, asset, shown
from tasks.settings.schema import Tools

ARM_MAC = Target(system="darwin", arch="arm64")
LINUX = Target(system="linux", arch="amd64")


@pytest.mark.parametrize(
    ("program", "version", "target", "url", "sums", "name", "member"),
    [
        (
            "k3d",
            "v5.9.0",
            LINUX,
            "https://github.com/k3d-io/k3d/releases/download/v5.9.0/k3d-linux-amd64",
            "https://github.com/k3d-io/k3d/releases/download/v5.9.0/checksums.txt",
            "k3d-linux-amd64",
            None,
        ),
        (
            "kubectl",
            "v1.33.13",
            ARM_MAC,
            "https://dl.k8s.io/release/v1.33.13/bin/darwin/arm64/kubectl",
            "https://dl.k8s.io/release/v1.33.13/bin/darwin/arm64/kubectl.sha256",
            "kubectl",
            None,
        ),
        (
            "helm",
            "v4.1.4",
            LINUX,
            "https://get.helm.sh/helm-v4.1.4-linux-amd64.tar.gz",
            "https://get.helm.sh/helm-v4.1.4-linux-amd64.tar.gz.sha256sum",
            "helm-v4.1.4-linux-amd64.tar.gz",
            "linux-amd64/helm",
        ),
    ],
)
def test_where_releases_lie(
    program: str, version: str, target: Target, url: str, sums: str, name: str, member: str | None
) -> None:
    made = asset(program, version, target, Tools())
    assert (made.url, made.checksum_url, made.name, made.member) == (url, sums, name, member)
    assert made.listed is (program == "k3d")
    assert made.file == f"{program}-{version}-{target}"


def test_a_mirrors_address_may_end_in_a_slash() -> None:
    made = asset("helm", "v4.1.4", LINUX, Tools(helm_url="http://mirror.local:8080/helm/"))
    assert made.url == "http://mirror.local:8080/helm/helm-v4.1.4-linux-amd64.tar.gz"
    assert made.setting == "tools.helm_url"


@pytest.mark.parametrize(
    ("url", "wanted"),
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
def test_no_secret_of_an_address_is_shown(url: str, wanted: str) -> None:
    assert shown(url) == wanted
