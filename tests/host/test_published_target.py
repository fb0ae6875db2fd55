"""Names of systems and architectures; what is not published is refused."""

from __future__ import annotations

import pytest

from tasks.core.errors import LaunchError
from tasks.host.published import target


@pytest.mark.parametrize(
    ("system", "machine", "wanted"),
    [
        ("Linux", "x86_64", "linux-amd64"),
        ("Linux", "aarch64", "linux-arm64"),
        ("Linux", "armv7l", "linux-arm"),
        ("Darwin", "x86_64", "darwin-amd64"),
        ("Darwin", "arm64", "darwin-arm64"),
    ],
)
def test_known_machines(system: str, machine: str, wanted: str) -> None:
    assert str(target(system, machine)) == wanted


@pytest.mark.parametrize(
    ("system", "machine"),
    [("Linux", "riscv64"), ("Linux", "i686"), ("Linux", "armv6l"), ("FreeBSD", "amd64"), ("Darwin", "armv7l")],
)
def test_others_are_refused_with_what_can_be_done(system: str, machine: str) -> None:
    with pytest.raises(LaunchError, match=f"{system} on {machine}") as caught:
        target(system, machine)
    assert "linux-arm64" in caught.value.why
    assert "PATH" in caught.value.fix
