"""Engines in machines of their own: the steps are told, and nothing is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.host.daemon import away, elsewhere
from tasks.host.daemon_json import Desired
from tests.checks.given import engine

DESIRED = Desired(downloads=10, uploads=8, mirror="http://127.0.0.1:5051")


def host(**changes: Any) -> Any:
    return replace(engine(), **{"desktop": True, "here": False, **changes})


@pytest.mark.parametrize(
    ("changes", "told", "mirror"),
    [
        ({"os": "Docker Desktop", "name": "docker-desktop"}, "Settings, Docker Engine", False),
        ({"name": "colima", "context": "colima"}, "`colima stop`, then `colima start --edit`", True),
        ({"name": "colima-work", "context": "colima-work"}, "colima start --profile work --edit", True),
        ({"os": "OrbStack", "name": "orbstack"}, "orb restart docker", False),
        ({"name": "lima-rancher-desktop"}, "/etc/docker/daemon.json", True),
        ({"desktop": False, "name": "somewhere"}, "machine 'somewhere'", True),
    ],
)
def test_steps(changes: dict[str, Any], told: str, mirror: bool) -> None:
    found = host(**changes)
    assert away(found)
    error = elsewhere(found, DESIRED)
    text = str(error)
    assert told in text
    assert "nothing was changed" in error.what
    assert "max-concurrent-downloads" in error.fix
    assert ("127.0.0.1:5051" in error.fix) is mirror
    assert error.status == 1


def test_nothing_is_told_of_what_is_not_wished_for() -> None:
    assert "registry-mirrors" not in elsewhere(host(name="colima"), Desired(downloads=10)).fix


def test_an_engine_on_this_machine_is_not_away() -> None:
    assert not away(engine())
    assert away(host(desktop=False))
