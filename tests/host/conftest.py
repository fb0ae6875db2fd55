"""The server that the tests of downloads ask."""

from collections.abc import Iterator

import pytest

from tests.host.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
