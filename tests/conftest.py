"""What holds for every test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.process.children import CHILDREN
from tests.tls import Certificates, Served, certificates, serving

if TYPE_CHECKING:
    from tests.given_engine import Machine


@pytest.fixture(autouse=True)
def _on_a_host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run in a container: that detection is not what they test."""
    if request.node.get_closest_marker("cluster") is None:
        # The leaf, since a caller may have a name of its own for what asks it: the engine's process is this one.
        monkeypatch.setattr("tasks.facts.endpoint._listener", lambda _point: os.getpid())
        monkeypatch.setattr("tasks.facts.host.helm_at_work", lambda _release: None)


@pytest.fixture(scope="session")
def users_own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in place of the account's own."""
    return tmp_path_factory.mktemp("users-own")


@pytest.fixture(autouse=True)
def _no_folder_of_the_account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, users_own: Path) -> None:
    """Where a test names no folder for state and cache, the process's environment does: never the account's own."""
    if request.node.get_closest_marker("cluster") is None:
        for name in ("STATE", "CACHE"):
            monkeypatch.setenv(f"XDG_{name}_HOME", str(users_own / name.lower()))


@pytest.fixture(autouse=True)
def _nothing_is_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test of this process has concealed is no secret here: a short one is in any text."""
    monkeypatch.setattr("tasks.core.redact._values", ())


@pytest.fixture(autouse=True)
def _programs_may_start() -> None:
    """A test of a whole task closes the registry of children for this process."""
    CHILDREN.open()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """An engine without anything on it."""
    from tests.given_engine import Machine

    return Machine(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A cluster's certificates."""
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def served(pki: Certificates) -> Iterator[Served]:
    """An API server on loopback."""
    with serving(pki.server, pki.authority) as running:
        yield running


@pytest.fixture(scope="session")
def ended_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(10)
    return process.pid
