"""Addresses of nodes, as pods see them."""

import ipaddress
from typing import Any

import pytest

from tasks.kube.addresses import assumed, joining, of_nodes
from tasks.settings.schema import Settings
from tests.given_live import node


def blocks(**cluster: Any) -> tuple[str, ...]:
    return assumed(Settings.model_validate({"cluster": cluster}))


def holds(found: tuple[str, ...], address: str) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(each) for each in found)


@pytest.mark.parametrize(
    ("cluster", "inside", "outside"),
    [
        (
            {},
            ["172.18.0.2", "192.168.16.3", "10.42.0.0", "10.42.0.1", "10.42.15.0", "10.42.15.1"],
            ["10.42.0.2", "10.42.3.77", "10.42.15.255", "10.43.0.1", "8.8.8.8"],
        ),
        ({"agents": 20}, ["10.42.40.0"], []),
        ({"agents": 0}, [], ["10.42.16.0"]),
        ({"subnet": "10.7.0.0/24"}, ["10.7.0.3"], ["172.18.0.2"]),
        ({"subnet": "auto"}, ["172.18.0.2"], []),
        (
            {"args": {"k3s": ["cluster-cidr=10.52.0.0/16,fd00:42::/56"]}},
            ["10.52.3.1", "fd00:42:0:2::1"],
            ["10.42.0.1", "fd00:42:0:2::2"],
        ),
        # networks that hold the pods' range are left out
        ({"args": {"k3s": ["cluster-cidr=172.20.0.0/16"]}}, ["172.20.1.1", "192.168.0.1"], ["172.20.0.5"]),
    ],
)
def test_nodes_are_let_in_and_pods_are_not(cluster: dict[str, Any], inside: list[str], outside: list[str]) -> None:
    found = blocks(**cluster)
    assert [address for address in inside + outside if holds(found, address)] == inside


def test_a_small_pod_range_ends() -> None:
    assert blocks(subnet="10.7.0.0/24", args={"k3s": ["cluster-cidr=10.52.0.0/23"]}) == (
        "10.7.0.0/24",
        "10.52.0.0/31",
        "10.52.1.0/31",
    )


@pytest.mark.parametrize(
    "args",
    [
        {"k3s": ["--cluster-cidr=10.52.0.0/23"]},
        {"k3s": ["cluster-cidr 10.52.0.0/23@server:*"]},
        {"k3s": ["--cluster-cidr", "10.52.0.0/23"]},
    ],
)
def test_the_pods_range_is_followed_however_it_is_written(args: dict[str, Any]) -> None:
    assert blocks(subnet="10.7.0.0/24", args=args)[1:] == ("10.52.0.0/31", "10.52.1.0/31")


def test_the_size_of_a_nodes_part_is_followed() -> None:
    for args in (
        {"controller_manager": ["--node-cidr-mask-size=26"]},
        {"k3s": ["kube-controller-manager-arg=node-cidr-mask-size=26"]},
    ):
        found = blocks(subnet="10.7.0.0/24", args={**args, "k3s": ["cluster-cidr=10.52.0.0/25", *args.get("k3s", [])]})
        assert found[1:] == ("10.52.0.0/31", "10.52.0.64/31")


def test_blocks_of_nodes_that_are_there() -> None:
    nodes: list[dict[str, Any]] = [
        {
            "spec": {"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24", "fd00:42::/64"]},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "10.0.0.5"}, {"type": "Hostname", "address": "a"}]
            },
        },
        {"spec": {"podCIDR": "10.42.7.0/24"}, "status": {"addresses": [{"type": "InternalIP", "address": "fd00::5"}]}},
        {"spec": {}, "status": {}},
        {},
    ]
    assert of_nodes(nodes) == ("10.0.0.5/32", "10.42.0.0/31", "fd00:42::/127", "fd00::5/128", "10.42.7.0/31")
    assert of_nodes([]) == ()


@pytest.mark.parametrize(
    ("nodes", "late"),
    [
        ([node("a")], ()),
        ([node("a"), node("b", ready=False, ranges=False)], ("b",)),
        ([node("a", ready=False, ranges=False)], ("a",)),
        ([node("a", ranges=False), node("b", ready=False, ranges=False)], ()),
        ([node("a"), node("lost", ready=False)], ()),
    ],
)
def test_a_node_joins_until_it_has_its_range_unless_none_here_has_one(nodes: Any, late: tuple[str, ...]) -> None:
    assert joining(nodes) == late
