"""What the API server fills in or leaves out is no change; what was added to a field that is ours as a whole is."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.kube.drift import same
from tasks.kube.objects import finish

ADMISSION = "admissionregistration.k8s.io/v1"
NETWORKING = "networking.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io/v1"


def obj(kind: str, api: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, **more}


def compared(wanted: dict[str, Any], live: dict[str, Any]) -> str | None:
    """With our label and fingerprint on both."""
    given = finish(wanted)
    return same(given, {**live, "metadata": given["metadata"]})


@pytest.mark.parametrize(
    ("wanted", "live", "why"),
    [
        (obj("ConfigMap", data={"a": "1Gi"}), {"data": {"a": "1024Mi"}}, "changed: data.a"),
        (obj("ConfigMap", data={"requests": "1"}), {"data": {"requests": "1000m"}}, "changed: data.requests"),
        (obj("ConfigMap", binaryData={"a": "aGk\n="}), {"binaryData": {"a": "aGk="}}, None),
        (obj("ConfigMap", binaryData={"a": "aGk="}), {"binaryData": {"a": "aG8="}}, "changed: binaryData.a"),
        (obj("ResourceQuota", spec={"hard": {"pods": "100"}}), {"spec": {"hard": {"pods": 100}}}, None),
        (
            obj("ResourceQuota", spec={"hard": {"count/deployments.apps": "1k"}}),
            {"spec": {"hard": {"count/deployments.apps": "1000"}}},
            None,
        ),
        (
            obj("Service", spec={"ports": [{"port": 80}]}),
            {"spec": {"ports": [{"port": 80}, {"port": 81}], "clusterIP": "x"}},
            None,
        ),
        (
            obj("ClusterRole", rules=[], aggregationRule={"a": "x"}),
            {"rules": [{}], "aggregationRule": {"a": "x"}},
            None,
        ),
        (obj("A", rules=[]), {"rules": None}, None),
        (obj("A", spec={"a": 1}), {"spec": {"a": True}}, "changed: spec.a"),
        (obj("A", spec={"a": 1}), {"spec": {"a": 1.0}}, None),
        (obj("A", spec={"a": None, "b": 0, "c": {"d": []}}), {"spec": {"a": 5}}, None),
        (obj("A", spec={"b": 0}), {"spec": {"b": 1}}, "changed: spec.b"),
        (obj("A", spec={"l": ["a", "b"]}), {"spec": {"l": ["a", "b", "c"]}}, "changed: spec.l"),
        (obj("A", spec={"l": [["a"], ["b"]]}), {"spec": {"l": [["a"], ["b"]]}}, None),
        (obj("A", spec={"l": [1]}), {"spec": {"l": [True]}}, "changed: spec.l"),
        (obj("A", status={"x": 1}), {}, None),
    ],
)
def test_what_the_api_server_changes(wanted: dict[str, Any], live: dict[str, Any], why: str | None) -> None:
    assert compared(wanted, live) == why


def test_finalizers_of_others_are_no_change() -> None:
    wanted = obj("A")
    wanted["metadata"]["finalizers"] = ["ours"]
    live = finish(wanted)
    live["metadata"]["finalizers"] = ["theirs", "ours"]
    assert same(finish(wanted), live) is None
    live["metadata"]["finalizers"] = ["theirs"]
    assert same(finish(wanted), live) == "changed: metadata.finalizers"


def limits(kind: str = "Container", **item: Any) -> dict[str, Any]:
    return {"spec": {"limits": [{"type": kind, **item}]}}


OURS = {"cpu": "50m", "memory": "64Mi"}


@pytest.mark.parametrize(
    ("wanted", "live", "field"),
    [
        (limits(defaultRequest=OURS), limits(defaultRequest=OURS), None),
        (limits(defaultRequest={"cpu": 0}), limits(defaultRequest={"cpu": "0"}), None),
        (limits(defaultRequest={"cpu": 0.5}), limits(defaultRequest={"cpu": "500m"}), None),
        (limits(defaultRequest=OURS), limits(defaultRequest=OURS, default={"cpu": "1"}), "default"),
        (limits(defaultRequest=OURS), limits(defaultRequest=OURS, max={"cpu": "1"}), "max"),
        (limits(defaultRequest=OURS), limits(defaultRequest={**OURS, "storage": "1"}), "defaultRequest.storage"),
        # what SetDefaults_LimitRangeItem fills in, from the greatest to the least
        (limits(max={"cpu": "2"}), limits(max={"cpu": "2"}, default={"cpu": "2"}, defaultRequest={"cpu": "2"}), None),
        (limits(default={"cpu": "2"}), limits(default={"cpu": "2"}, defaultRequest={"cpu": "2000m"}), None),
        (limits(min={"cpu": "1"}), limits(min={"cpu": "1"}, defaultRequest={"cpu": "1"}), None),
        (
            limits(max={"cpu": "4"}, min={"cpu": "1", "memory": "1Gi"}, default={"cpu": "3"}),
            limits(
                max={"cpu": "4"},
                min={"cpu": "1", "memory": "1Gi"},
                default={"cpu": "3"},
                defaultRequest={"cpu": "3", "memory": "1Gi"},
            ),
            None,
        ),
        (
            limits(max={"cpu": "2"}),
            limits(max={"cpu": "2"}, default={"cpu": "1"}, defaultRequest={"cpu": "2"}),
            "default.cpu",
        ),
        (
            limits(max={"cpu": "2"}, default={}),
            limits(max={"cpu": "2"}, default={"cpu": "2", "memory": "1Gi"}, defaultRequest={"cpu": "2"}),
            "default.memory",
        ),
        # which it does for containers only
        (limits("Pod", max={"cpu": "2"}), limits("Pod", max={"cpu": "2"}), None),
        (limits("Pod", max={"cpu": "2"}), limits("Pod", max={"cpu": "2"}, default={"cpu": "2"}), "default"),
        (limits(maxLimitRequestRatio={"cpu": 2}), limits(maxLimitRequestRatio={"cpu": "2"}), None),
        (limits(max="no mapping"), limits(), "max"),
    ],
)
def test_a_limit_range(wanted: dict[str, Any], live: dict[str, Any], field: str | None) -> None:
    why = f"changed: spec.limits[0].{field}" if field else None
    assert compared(obj("LimitRange", **wanted), live) == why


GET = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
USER = {"kind": "User", "name": "eve"}
ACCOUNT = {"kind": "ServiceAccount", "name": "a", "namespace": "b"}
CALL = {"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["pods"]}
TEAM = {"matchLabels": {"team": "a"}}


def webhook(**more: Any) -> dict[str, Any]:
    return {"webhooks": [{"name": "a.b.c", **more}]}


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
@pytest.mark.parametrize(
    ("wanted", "live", "field"),
    [
        (GET, {**GET, "resourceNames": []}, None),
        (GET, {**GET, "resourceNames": ["one"]}, "rules[0].resourceNames"),
        (GET, {**GET, "verbs": ["get", "list"]}, "rules[0].verbs"),
        (GET, {**GET, "verbs": ["list"]}, "rules[0].verbs"),
        ({**GET, "resourceNames": ["one"]}, GET, "rules[0].resourceNames"),
        (
            {"nonResourceURLs": ["/a"], "verbs": ["get"], "apiGroups": []},
            {"nonResourceURLs": ["/a"], "verbs": ["get"]},
            None,
        ),
    ],
)
def test_a_role(kind: str, wanted: dict[str, Any], live: dict[str, Any], field: str | None) -> None:
    why = f"changed: {field}" if field else None
    assert compared(obj(kind, RBAC, rules=[wanted]), {"rules": [live]}) == why


@pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
@pytest.mark.parametrize(
    ("wanted", "live", "field"),
    [
        (USER, {**USER, "apiGroup": RBAC.removesuffix("/v1")}, None),
        ({**USER, "kind": "Group"}, {**USER, "kind": "Group", "apiGroup": RBAC.removesuffix("/v1")}, None),
        (ACCOUNT, ACCOUNT, None),
        ({**ACCOUNT, "apiGroup": ""}, ACCOUNT, None),
        (USER, {**USER, "apiGroup": "other"}, "subjects[0].apiGroup"),
        ({"kind": "ServiceAccount", "name": "a"}, ACCOUNT, "subjects[0].namespace"),
    ],
)
def test_a_binding(kind: str, wanted: dict[str, Any], live: dict[str, Any], field: str | None) -> None:
    why = f"changed: {field}" if field else None
    assert compared(obj(kind, RBAC, subjects=[wanted]), {"subjects": [live]}) == why


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
@pytest.mark.parametrize(
    ("wanted", "live", "field"),
    [
        (webhook(rules=[CALL]), webhook(rules=[{**CALL, "scope": "*"}], timeoutSeconds=30, objectSelector={}), None),
        (webhook(rules=[CALL]), webhook(rules=[{**CALL, "scope": "Cluster"}]), "rules[0].scope"),
        (
            webhook(rules=[CALL]),
            webhook(rules=[{**CALL, "resources": ["pods", "nodes"], "scope": "*"}]),
            "rules[0].resources",
        ),
        (webhook(objectSelector={}), webhook(objectSelector={}), None),
        (webhook(objectSelector={}), webhook(objectSelector=TEAM), "objectSelector.matchLabels"),
        # its certificate is put in by others, and a managed cluster leaves its own namespaces out
        (webhook(clientConfig={"url": "u"}), webhook(clientConfig={"url": "u", "caBundle": "x"}), None),
        (webhook(namespaceSelector={}), webhook(namespaceSelector=TEAM), None),
    ],
)
def test_a_webhook(kind: str, wanted: dict[str, Any], live: dict[str, Any], field: str | None) -> None:
    why = f"changed: webhooks[0].{field}" if field else None
    assert compared(obj(kind, ADMISSION, **wanted), live) == why


def pods(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


@pytest.mark.parametrize(
    ("wanted", "live", "field"),
    [
        (obj("Service", spec={"selector": {"a": "x"}}), {"spec": {"selector": {"a": "x", "b": ""}}}, "spec.selector.b"),
        (
            obj("Service", spec={"selector": {"max": "1"}}),
            {"spec": {"selector": {"max": "1000m"}}},
            "spec.selector.max",
        ),
        (obj("Service", spec={"selector": {"a": ""}}), {"spec": {}}, "spec.selector.a"),
        (obj("Service", spec={"selector": {}}), {"spec": {}}, None),
        (obj("Service", spec={"type": "ClusterIP"}), {"spec": {"type": "ClusterIP", "selector": {"a": "x"}}}, None),
        *[
            (
                obj(kind, "apps/v1", **pods(nodeSelector={"a": "x"})),
                pods(nodeSelector={"a": "x", "b": "y"}),
                "spec.template.spec.nodeSelector.b",
            )
            for kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")
        ],
        (
            obj("CronJob", "batch/v1", spec={"jobTemplate": pods(nodeSelector={})}),
            {"spec": {"jobTemplate": pods(nodeSelector={"b": "y"})}},
            "spec.jobTemplate.spec.template.spec.nodeSelector.b",
        ),
        (obj("Pod", spec={"nodeSelector": {"a": "x"}}), {"spec": {"nodeSelector": {"a": "x", "b": "y"}}}, None),
        (
            obj("PodDisruptionBudget", "policy/v1", spec={"selector": {"matchLabels": {}}}),
            {"spec": {"selector": {"matchLabels": {"a": "x"}}}},
            "spec.selector.matchLabels",
        ),
        (
            obj("PodDisruptionBudget", "policy/v1", spec={"selector": {"matchLabels": {}}}),
            {"spec": {"selector": {}}},
            None,
        ),
        (
            obj("Ingress", NETWORKING, spec={"rules": [{"http": {"paths": [{"path": "/"}]}}]}),
            {"spec": {"rules": [{"host": "a", "http": {"paths": [{"path": "/"}]}}]}},
            "spec.rules[0].host",
        ),
        (
            obj("ClusterRole", RBAC, aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "x"}}]}),
            {"rules": [GET], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "x"}}, {}]}},
            "aggregationRule.clusterRoleSelectors",
        ),
        (obj("ClusterRole", RBAC, rules=[]), {"rules": None}, None),
        (obj("ClusterRole", RBAC, rules=[]), {"rules": [GET]}, "rules"),
        # of what is not Kubernetes' own, nobody knows here what its server fills in
        (
            obj(
                "NetworkPolicy",
                "example.com/v1",
                spec={"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]},
            ),
            {"spec": {"podSelector": {"a": "x"}, "ingress": [{"from": [{"podSelector": {}, "filled": "in"}]}]}},
            None,
        ),
    ],
)
def test_other_kinds(wanted: dict[str, Any], live: dict[str, Any], field: str | None) -> None:
    assert compared(wanted, live) == (f"changed: {field}" if field else None)
