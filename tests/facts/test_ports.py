"""Ports: what Docker lists, what listens, and what is chosen instead."""

import errno
import json
import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest

from tasks.core.errors import LaunchError
from tasks.facts import ports as module
from tasks.facts.ports import bindable, choose, docker_ports, holders, listening, low_port_start, taken

REGISTRY = {
    "Names": "lab-upstream",
    "Labels": "",
    "Ports": "127.0.0.1:5000->5000/tcp",
    "State": "running",
}
"""As docker 28.2 lists it, less what nobody reads."""


def row(ports: str, name: str = "c", labels: str = "") -> str:
    return json.dumps({**REGISTRY, "Names": name, "Ports": ports, "Labels": labels})


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("127.0.0.1:5000->5000/tcp", {5000}),
        ("0.0.0.0:80->80/tcp, :::80->80/tcp, 0.0.0.0:6550->6443/tcp", {80, 6550}),
        ("0.0.0.0:443->443/tcp, [::]:443->443/tcp", {443}),
        ("80/tcp", set()),
        ("0.0.0.0:53->53/udp", set()),
        ("0.0.0.0:30000-30003->30000-30003/tcp, 443/tcp", {30000, 30001, 30002, 30003}),
        ("", set()),
    ],
)
def test_published_ports(ports: str, expected: set[int]) -> None:
    assert docker_ports(row(ports)) == expected


def test_all_containers_and_who_they_are() -> None:
    out = row("0.0.0.0:80->80/tcp", "k3d-dev-serverlb", "k3d.cluster=dev,k3d.role=loadbalancer") + "\n"
    out += row("127.0.0.1:5000->5000/tcp", "lab-upstream") + "\n\n"
    found = holders(out)
    assert docker_ports(out) == {80, 5000}
    assert found[80].container == "k3d-dev-serverlb"
    assert found[80].labels == {"k3d.cluster": "dev", "k3d.role": "loadbalancer"}
    assert holders("") == {}


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket() as result:
        result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        result.bind(("127.0.0.1", 0))
        result.listen(8)
        yield result


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def test_a_port_that_answers_at_the_other_address_of_localhost_is_taken() -> None:
    """A browser connects to ::1 first: it would show another server's page."""
    try:
        other = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6")
    with other:
        port = other.getsockname()[1]
        assert taken("127.0.0.1", port)
    assert not taken("127.0.0.1", port)


def test_a_port_that_answers_is_taken(server: socket.socket) -> None:
    port = port_of(server)
    assert taken("127.0.0.1", port)
    assert taken("0.0.0.0", port)
    server.close()
    assert not taken("127.0.0.1", port)
    assert not taken("0.0.0.0", port)


def test_a_listener_without_answer_is_found_by_binding(server: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_answers", lambda _address, _port: False)
    assert taken("127.0.0.1", port_of(server))


def test_a_port_that_was_used_a_moment_ago_is_free(server: socket.socket) -> None:
    with socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        accepted.close()
        client.recv(1)
    port = port_of(server)
    server.close()
    assert not taken("127.0.0.1", port)


@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EPERM])
def test_a_refusal_for_want_of_rights_says_nothing(refusal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_answers", lambda _address, _port: False)
    monkeypatch.setattr(module, "_bind", lambda _address, _port: refusal)
    listed: dict[int, str] = {}
    monkeypatch.setattr(module, "listening", lambda _ports: listed)
    assert not taken("127.0.0.1", 80)
    listed[80] = "nginx (process 812)"
    assert taken("127.0.0.1", 80)


@pytest.mark.parametrize("address", ["192.0.2.7", "not-an-address.invalid"])
def test_an_address_of_elsewhere_is_not_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_answers", lambda _address, _port: False)
    monkeypatch.setattr(module, "_bind", lambda _address, _port: errno.EADDRNOTAVAIL)
    assert not taken(address, 8080)


def test_who_listens(server: socket.socket) -> None:
    found = listening({port_of(server)})
    assert f"(process {os.getpid()})" in found[port_of(server)]
    assert listening({1}) == {}


def test_a_system_that_does_not_tell_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert listening({80}) == {}


def test_a_listener_of_another_user_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SimpleNamespace(status=psutil.CONN_LISTEN, laddr=SimpleNamespace(ip="::", port=80), pid=None)
    monkeypatch.setattr(psutil, "net_connections", lambda kind: [seen])
    assert listening({80}) == {80: "a program of another user"}


@pytest.mark.parametrize(
    ("busy", "fallback", "expected"), [(set(), 8080, 80), ({80}, 8080, 8080), (set(), None, 80), ({8080}, 8080, 80)]
)
def test_the_wish_then_its_fallback(busy: set[int], fallback: int | None, expected: int) -> None:
    assert choose(80, fallback, busy.__contains__) == expected


@pytest.mark.parametrize("fallback", [8080, None])
def test_then_any_that_is_free(fallback: int | None) -> None:
    refused: list[int] = []

    def busy(port: int) -> bool:
        refused.append(port)
        return len(refused) < 6

    port = choose(80, fallback, busy)
    assert port == refused[-1]
    assert port > 1024
    assert len(set(refused)) == len(refused)
    assert not taken("127.0.0.1", port)


def test_it_ends_where_all_are_taken() -> None:
    with pytest.raises(LaunchError, match="no free port for 80") as caught:
        choose(80, 8080, lambda _port: True)
    assert "8080" in caught.value.why


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("192.0.2.7", False), ("localhost", False), ("", False)],
)
def test_addresses_of_this_machine(address: str, expected: bool) -> None:
    assert bindable(address) is expected


def test_low_ports() -> None:
    assert 0 <= low_port_start() <= 65535
