"""Host ports: configured ones, fallbacks, any; those of an existing cluster; and those that its removal frees."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import LaunchError
from tasks.facts.cluster import Presence
from tasks.facts.facts import Ports
from tasks.k3d.ports import choose_ports, choosers, held_by, ports_for, without_cluster
from tests import given
from tests.checks.given import engine
from tests.programs import FakePrograms

PUBLISHED = [(80, "127.0.0.1", 80), (443, "127.0.0.1", 443), (6443, "127.0.0.1", 6550)]


class Taken:
    """Ports that programs of this machine hold, by address; "" is every address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ports: set[tuple[str, int]] = set()
        monkeypatch.setattr("tasks.facts.ports.taken", self._taken)
        monkeypatch.setattr("tasks.facts.ports._any", lambda: iter((40001, 40002, 40003, 40004)))
        monkeypatch.setattr("tasks.facts.ports.low_port_start", lambda: 1024)

    def by(self, *ports: int, address: str = "") -> None:
        self.ports |= {(address, port) for port in ports}

    def _taken(self, address: str, port: int) -> bool:
        assert 0 < port < 65536
        return {("", port), (address, port)} & self.ports != set()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    return Taken(monkeypatch)


def docker(*ports: int) -> FakePrograms:
    """An engine whose containers publish these."""
    rows = [json.dumps({"Names": f"c{port}", "Ports": f"127.0.0.1:{port}->80/tcp"}) for port in ports]
    return FakePrograms(answers={"docker ps": "\n".join(rows)})


def chosen(programs: FakePrograms, refused: frozenset[int] = frozenset(), **cluster: Any) -> Ports:
    own = cluster.pop("own", frozenset())
    host = engine(**cluster.pop("engine", {}))
    return choose_ports(programs, given.settings(cluster=cluster), refused, host, own=own)


@pytest.mark.parametrize(
    ("busy", "published", "more", "ports"),
    [
        ([], [], {}, (80, 443, 6550)),
        ([80], [443], {}, (8080, 8443, 6550)),
        ([80, 8080], [], {}, (40001, 443, 6550)),
        ([6550, 6551, 80, 8080, 40001], [], {}, (40002, 443, 40003)),
        ([], [6550], {}, (80, 443, 6551)),
        ([80, 443], [], {"ports": {"http_fallback": 8443, "https_fallback": 8443}}, (8443, 40001, 6550)),
        ([], [], {"ports": {"http": None, "https": None}}, (None, None, 6550)),
        ([], [], {"refused": frozenset({80, 8080, 6550})}, (40001, 443, 6551)),  # by the engine
        ([80, 443], [80, 443, 6550], {"own": frozenset({80, 6550})}, (80, 8443, 6550)),  # of nodes that will be gone
        ([], [], {"engine": {"SecurityOptions": ["name=rootless"]}}, (8080, 8443, 6550)),
    ],
)
def test_a_wish_else_its_fallback_else_any(
    taken: Taken, busy: list[int], published: list[int], more: dict[str, Any], ports: tuple[int | None, ...]
) -> None:
    taken.by(*busy)
    found = chosen(docker(*published), **more)
    assert (found.http, found.https, found.api, found.early) == (*ports, None)


def test_where_no_port_is_free_it_is_told(taken: Taken) -> None:
    taken.by(80, 8080, 40001, 40002, 40003, 40004)
    with pytest.raises(LaunchError, match="there is no free port for 80"):
        chosen(docker())


@pytest.mark.parametrize(
    ("api", "busy", "early"), [(6550, [], 7550), (6550, [7550], 40001), (65000, [], 64000), (64535, [], 65535)]
)
def test_with_a_load_balancer_server_0_has_its_own_port(taken: Taken, api: int, busy: list[int], early: int) -> None:
    taken.by(*busy)
    found = chosen(docker(), servers=3, ports={"api": api})
    assert (found.api, found.early, found.first_api) == (api, early, early)


def test_the_api_is_published_on_loopback_whatever_the_bind_address(taken: Taken) -> None:
    taken.by(80, 6550, address="127.0.0.1")
    taken.by(443, 6551, address="192.168.1.5")
    found = chosen(docker(), bind_address="192.168.1.5")
    assert (found.http, found.https, found.api) == (80, 8443, 6551)


@pytest.mark.parametrize("presence", [Presence.RUNNING, Presence.STOPPED])
def test_a_cluster_that_stands_has_its_ports(taken: Taken, presence: Presence) -> None:
    taken.by(80, 443, 6550)
    node = given.node("server-0", published=((80, "127.0.0.1", 8080), (6443, "127.0.0.1", 6551)))
    ports = ports_for(docker(), given.settings(), given.cluster_state(presence, node), engine())
    assert ports == Ports(http=8080, https=None, api=6551)


def test_with_a_load_balancer_the_first_servers_own_port_is_known_too(taken: Taken) -> None:
    balancer = given.node("serverlb", published=tuple(PUBLISHED))
    server = given.node("server-0", published=((6443, "127.0.0.1", 7550),))
    ports = ports_for(docker(), given.settings(), given.cluster_state(Presence.RUNNING, balancer, server), engine())
    assert ports == Ports(http=80, https=443, api=6550, early=7550)


@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.INCOMPLETE])
def test_a_cluster_that_has_to_be_made_gets_what_is_wished(taken: Taken, presence: Presence) -> None:
    """In a partly created cluster the load balancer, which publishes 80 and 443, may be missing."""
    nodes = () if presence is Presence.ABSENT else (given.node("server-0"),)
    taken.by(6550)
    ports = ports_for(docker(), given.settings(), given.cluster_state(presence, *nodes), engine())
    assert ports == Ports(http=80, https=443, api=6551 if presence is Presence.ABSENT else 6550)


def test_what_is_made_anew_follows_the_settings(taken: Taken, tmp_path: Path) -> None:
    taken.by(80, 443, 6550)
    settings = given.settings(cluster={"ports": {"http": 9090, "https": None}})
    node = given.node("server-0", published=tuple(PUBLISHED))
    facts = given.facts(
        tmp_path,
        docker(80, 443, 6550),
        settings=settings,
        cluster=given.cluster_state(Presence.RUNNING, node),
        ports=Ports(http=80, https=443, api=6550),
        live=given.live(),
    )
    fresh = without_cluster(facts)
    assert fresh.ports == Ports(http=9090, https=None, api=6550)
    assert (fresh.cluster.presence, fresh.cluster.nodes, fresh.live) == (Presence.ABSENT, (), None)
    assert held_by(facts.cluster) == {80, 443, 6550}


# -- choices for plans ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "busy", "published", "http"),
    [(80, [], [], 8080), (None, [80], [], 8080), (None, [], [80], 8080), (443, [], [], 80), (None, [], [], 80)],
)
def test_after_a_refusal_the_next_is_chosen(
    taken: Taken, tmp_path: Path, reported: int | None, busy: list[int], published: list[int], http: int
) -> None:
    taken.by(*busy)
    facts = given.facts(tmp_path, docker(*published))
    assert choosers(facts).next_ports(Ports(http=80, https=443, api=6550), reported).http == http


def test_ports_of_registries_are_given_once_each(taken: Taken, tmp_path: Path) -> None:
    taken.by(5052)
    free = choosers(given.facts(tmp_path, docker(5051))).free_port
    assert [free(5050), free(None), free(None), free(5050)] == [5050, 40001, 40002, 40003]
