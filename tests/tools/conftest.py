"""Certificates are made once for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tools.tls import Certificates, Served, certificates, serving


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A cluster's certificates."""
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def served(made: Certificates) -> Iterator[Served]:
    """An API server on loopback."""
    with serving(made.server, made.authority) as running:
        yield running
