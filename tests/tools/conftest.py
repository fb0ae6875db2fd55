"""Programs may be started, and certificates are made once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.tools.children import CHILDREN
from tests.tools.tls import Certificates, Served, certificates, serving


@pytest.fixture(autouse=True)
def children_may_live() -> None:
    """A test of a whole task closes the registry for this process."""
    CHILDREN.open()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A cluster's certificates."""
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def served(made: Certificates) -> Iterator[Served]:
    """An API server on loopback."""
    with serving(made.server, made.authority) as running:
        yield running
