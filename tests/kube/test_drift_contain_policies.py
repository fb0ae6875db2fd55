"""Changes by hand to a NetworkPolicy: it is ours as a whole, but for what the API server fills in."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.kube.drift import same
from tasks.kube.objects import finish


def compared(wanted: dict[str, Any], live: dict[str, Any]) -> str | None:
    """With our label and fingerprint on both."""
    given = finish({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"}, **wanted})
    return same(given, {**live, "metadata": given["metadata"]})


def policy(*peers: Any, ports: Any = None, **spec: Any) -> dict[str, Any]:
    """A NetworkPolicy's body with one rule of ingress; None leaves a part out."""
    rule = {name: value for name, value in (("from", list(peers)), ("ports", ports)) if value}
    return {"spec": {"podSelector": {}, "ingress": [rule], **spec}}


WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
TEAM = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
BLOCK = {"ipBlock": {"cidr": "10.0.0.0/8"}}
EVERY: dict[str, Any] = {"namespaceSelector": {}}


@pytest.mark.parametrize(
    ("wanted", "live", "field"),
    [
        (policy(TEAM), policy(TEAM, podSelector={"matchLabels": {"app": "none"}}), "podSelector.matchLabels"),
        (policy(TEAM), policy(TEAM, podSelector={"matchExpressions": [{"key": "a"}]}), "podSelector.matchExpressions"),
        (policy(TEAM, podSelector={"matchLabels": {"a": "x"}}), policy(TEAM), "podSelector.matchLabels"),
        (policy(TEAM), policy(TEAM, ports=[{"port": 80, "protocol": "TCP"}]), "ingress[0].ports"),
        (policy(TEAM), policy({**TEAM, **WEB}), "ingress[0].from[0].podSelector"),
        (policy(TEAM), policy({**TEAM, "podSelector": {}}), "ingress[0].from[0].podSelector"),
        (
            policy(TEAM),
            policy({"namespaceSelector": {"matchLabels": {"team": "a", "b": ""}}}),
            "ingress[0].from[0].namespaceSelector.matchLabels.b",
        ),
        (
            policy({"namespaceSelector": {"matchLabels": {"team": "a", "b": ""}}}),
            policy(TEAM),
            "ingress[0].from[0].namespaceSelector.matchLabels.b",
        ),
        (
            policy(BLOCK),
            policy({"ipBlock": {**BLOCK["ipBlock"], "except": ["10.1.0.0/16"]}}),
            "ingress[0].from[0].ipBlock.except",
        ),
        (policy({**EVERY, **WEB}), policy(WEB), "ingress[0].from[0].namespaceSelector"),
        (
            policy({"namespaceSelector": {"matchLabels": {}}, **WEB}),
            policy(WEB),
            "ingress[0].from[0].namespaceSelector",
        ),
        (policy(WEB), policy({**EVERY, **WEB}), "ingress[0].from[0].namespaceSelector"),
        (policy(EVERY), policy(TEAM), "ingress[0].from[0].namespaceSelector.matchLabels"),
        (policy(TEAM), policy(TEAM, WEB), "ingress[0].from"),
        (policy(WEB, EVERY), policy(EVERY), "ingress[0].from"),
        (policy(BLOCK, TEAM), policy(BLOCK, EVERY), "ingress[0].from[1].namespaceSelector.matchLabels"),
        (policy(TEAM), policy(), "ingress[0].from"),
        (policy(), policy(TEAM), "ingress[0].from"),
        (
            policy(ports=[{"port": 80}]),
            policy(ports=[{"port": 80, "protocol": "TCP"}, {"port": 22, "protocol": "TCP"}]),
            "ingress[0].ports",
        ),
        (policy(ports=[{"port": 80}]), policy(ports=[{"port": 80, "protocol": "UDP"}]), "ingress[0].ports[0].protocol"),
        (
            policy(ports=[{"port": 80}]),
            policy(ports=[{"port": 80, "protocol": "TCP", "endPort": 90}]),
            "ingress[0].ports[0].endPort",
        ),
        (policy(ports=[{"port": 80}]), policy(ports=[{"protocol": "TCP"}]), "ingress[0].ports[0].port"),
        ({"spec": {"ingress": []}}, {"spec": {"ingress": [{}]}}, "ingress"),
        (
            {"spec": {"egress": [{"to": [TEAM]}]}},
            {"spec": {"egress": [{"to": [{**TEAM, **WEB}]}]}},
            "egress[0].to[0].podSelector",
        ),
        ({"spec": {"egress": [{"to": [TEAM]}]}}, {"spec": {}}, "egress"),
    ],
)
def test_a_policy_changed_by_hand(wanted: dict[str, Any], live: dict[str, Any], field: str) -> None:
    assert compared(wanted, live) == f"changed: spec.{field}"


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        (policy(TEAM), policy(TEAM, policyTypes=["Ingress"])),
        (policy(ports=[{"port": 80}, {}]), policy(ports=[{"port": 80, "protocol": "TCP"}, {"protocol": "TCP"}])),
        (
            {"spec": {"egress": [{"ports": [{"port": "dns"}]}]}},
            {"spec": {"egress": [{"ports": [{"port": "dns", "protocol": "TCP"}]}]}},
        ),
        (policy(ports=[{"port": 80, "protocol": "UDP"}]), policy(ports=[{"port": 80, "protocol": "UDP"}])),
        (policy({"namespaceSelector": {"matchLabels": {}, "matchExpressions": []}}), policy(EVERY)),
        (policy({**WEB, "namespaceSelector": None}), policy(WEB)),
        ({"spec": {"ingress": [{"from": [], "ports": None}]}}, {"spec": {"ingress": [{}]}}),
        (policy({"ipBlock": {"cidr": "::/0", "except": []}}), policy({"ipBlock": {"cidr": "::/0"}})),
        ({"spec": {"podSelector": {}, "ingress": [], "egress": None}}, {"spec": {"podSelector": {}}}),
        ({"spec": {"podSelector": {}}}, {"spec": {}}),
        ({"spec": {}}, {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
    ],
)
def test_a_policy_as_the_server_gives_it_back(wanted: dict[str, Any], live: dict[str, Any]) -> None:
    assert compared(wanted, live) is None
