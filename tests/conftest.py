"""What holds for every test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _on_a_host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run in a container: what is asked there is not part of what they are about."""
    if request.node.get_closest_marker("cluster") is None and request.module.__name__ != "tests.facts.test_enclosure":
        monkeypatch.setattr("tasks.facts.enclosure.outside", lambda *_: False)
