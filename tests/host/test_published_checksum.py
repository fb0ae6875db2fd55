"""Checksum files as they are published, and files that are none."""

from __future__ import annotations

import pytest

from tasks.core.errors import LaunchError
from tasks.host import published
from tasks.host.published import Asset, asset
from tasks.settings.schema import Tools
from tests.host.server import LINUX

A, B = "a" * 64, "b" * 64


def made(program: str) -> Asset:
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
    assert published.published(text, made(program)) == A


@pytest.mark.parametrize(
    ("program", "text", "why"),
    [
        ("k3d", "", "no sum for k3d-linux-amd64"),
        ("k3d", A, "no sum for k3d-linux-amd64"),
        ("k3d", f"{A}  _dist/k3d-linux-amd64.exe\n", "no sum"),
        ("k3d", f"{A}  _dist/not-k3d-linux-amd64\n", "no sum"),
        ("k3d", f"{A}  k3d-linux-amd64\n{B}  k3d-linux-amd64\n", "several different sums"),
        ("kubectl", "<html><title>Sign in</title>", "line 1 is no checksum: '<html>"),
        ("kubectl", A[:-1], "line 1 is no checksum"),
        ("kubectl", A + "a", "line 1 is no checksum"),
        ("kubectl", f"{A}\n{B}\n", "several different sums"),
        ("helm", f"{A}  helm-v1.2.4-linux-amd64.tar.gz\n", "no sum"),
        ("helm", f"{A}  helm-v1.2.3-linux-amd64.tar.gz\nnonsense\n", "line 2 is no checksum"),
        ("helm", "g" * 64, "line 1 is no checksum"),
    ],
)
def test_anything_else_is_refused(program: str, text: str, why: str) -> None:
    with pytest.raises(LaunchError, match="is no usable checksum file") as caught:
        published.published(text, made(program))
    assert why in caught.value.why
    assert f"tools.{program}_url" in caught.value.fix
    assert not caught.value.transient


def test_a_mismatch_tells_both_sums_and_no_password() -> None:
    file = asset("helm", "v1.2.3", LINUX, Tools(helm_url="https://me:hidden-word@h"))
    error = published.mismatch(file, A, B, transient=False)
    assert A in error.why
    assert B in error.why
    assert "hidden-word" not in str(error)
