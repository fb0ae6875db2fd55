"""Packaged components of k3s: which are in use and by what, deferring metrics-server, LoadBalancers without address.

k3s deploys its packaged components into kube-system (docs.k3s.io: Packaged Components). metrics-server becomes ready
25 to 40 s after the API, since it needs two scrapes; Traefik is installed by a Helm job. A launch that uses neither
need not wait for them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasks.kube.client import ApiError, Sender
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY, Key

if TYPE_CHECKING:
    from tasks.kube.client import Api

Item = Mapping[str, Any]

METRICS, PROVISIONER, TRAEFIK = "metrics-server", "local-path-provisioner", "traefik"
OPTIONAL = (METRICS, PROVISIONER, TRAEFIK)
"""Awaited only if something uses them; every other workload of kube-system is always awaited."""
_LOCAL_PATH = "rancher.io/local-path"
_TRAEFIK_CLASS = "traefik.io/ingress-controller"
_DEFAULT_CLASS, _DEFAULT_INGRESS = (
    "storageclass.kubernetes.io/is-default-class",
    "ingressclass.kubernetes.io/is-default-class",
)
_CLAIMS, _CLASSES = "/api/v1/persistentvolumeclaims", "/apis/storage.k8s.io/v1/storageclasses"
_INGRESSES, _INGRESS_CLASSES = "/apis/networking.k8s.io/v1/ingresses", "/apis/networking.k8s.io/v1/ingressclasses"
_ROUTES = tuple(
    f"/apis/traefik.io/v1alpha1/{each}" for each in ("ingressroutes", "ingressroutetcps", "ingressrouteudps")
)
"""Traefik's own kinds of what an Ingress is (docs: Traefik, Kubernetes CRD)."""
_GATEWAYS, _GATEWAY_CLASSES = (f"/apis/gateway.networking.k8s.io/v1/{each}" for each in ("gateways", "gatewayclasses"))
_TRAEFIK_GATEWAYS = "traefik.io/gateway-controller"
_AUTOSCALERS = "/apis/autoscaling/v2/horizontalpodautoscalers"


@dataclass(frozen=True, kw_only=True)
class Use:
    """What in the watched namespaces needs an optional component."""

    needed: Mapping[str, str] = field(default_factory=dict)
    """The first object that needs it, by component."""
    ingresses: tuple[Item, ...] = ()
    """Ingresses of a class that exists in the cluster."""
    autoscalers: tuple[Item, ...] = ()
    """HorizontalPodAutoscalers that scale by metrics of metrics-server."""


def component(name: str) -> str | None:
    """The optional component that a workload of kube-system belongs to, by the workload's name; None for others.

    k3s names the jobs that install a chart helm-install-POLICY[-crd], and ServiceLB's DaemonSets svclb-POLICY-ID.
    """
    bare = name.removeprefix("helm-install-").removeprefix("svclb-")
    return next((each for each in OPTIONAL if bare == each or bare.startswith(f"{each}-")), None)


def in_use(api: Api, namespaces: Collection[str]) -> Use:
    """Read what needs a component, in these namespaces. Raises `ApiError`.

    Kinds that may not be read, or are not served, need nothing.
    """
    needed: dict[str, str] = {}
    claims = _of(_items(api, _CLAIMS), namespaces)
    if claims:
        classes = _items(api, _CLASSES)
        local = {_name(each) for each in classes if each.get("provisioner") == _LOCAL_PATH}
        default = _default(classes, _DEFAULT_CLASS)
        chosen = [each for each in claims if _spec(each).get("storageClassName", default) in local]
        if chosen:
            needed[PROVISIONER] = f"persistentvolumeclaim/{_name(chosen[0])}"
    ingresses = _of(_items(api, _INGRESSES), namespaces)
    served: list[Item] = []
    if ingresses:
        classes = _items(api, _INGRESS_CLASSES)
        default, controllers = _default(classes, _DEFAULT_INGRESS), {_name(e): _spec(e) for e in classes}
        for each in ingresses:
            name = _ingress_class(each) or default
            controller = controllers.get(name, {}).get("controller")
            if name == TRAEFIK or controller == _TRAEFIK_CLASS or not (name or controllers):
                needed.setdefault(TRAEFIK, f"ingress/{_name(each)}")
            if name in controllers:
                served.append(each)
    if TRAEFIK not in needed and (route := _route(api, namespaces)):
        needed[TRAEFIK] = route
    scaled = [each for each in _of(_items(api, _AUTOSCALERS), namespaces) if _by_resources(each)]
    if scaled:
        needed[METRICS] = f"horizontalpodautoscaler/{_name(scaled[0])}"
    return Use(needed=needed, ingresses=tuple(served), autoscalers=tuple(scaled))


def scales(autoscaler: Item) -> tuple[bool, str]:
    """Whether an autoscaler has its metrics, or will never get them by waiting; and its message.

    The controller checks every 15 s (Kubernetes: horizontal-pod-autoscaler-sync-period). A target without
    CPU requests, or scaled to zero, fails for another reason and is not waited for.
    """
    rows: Iterable[Item] = (autoscaler.get("status") or {}).get("conditions") or ()
    row = next((row for row in rows if row.get("type") == "ScalingActive"), None)
    if row is None:
        return False, "its controller has not processed it yet"
    message = str(row.get("message") or row.get("reason") or "")
    if row.get("status") == "True":
        return True, ""
    passing = row.get("reason") == "FailedGetResourceMetric" and "missing request for" not in message
    return not passing, message


def _route(api: Api, namespaces: Collection[str]) -> str:
    """The first of Traefik's own routes, or Gateways of its class; empty if there is none."""
    for path in _ROUTES:
        if found := _of(_items(api, path), namespaces):
            return f"{path.rpartition('/')[2].removesuffix('s')}/{_name(found[0])}"
    gateways = _of(_items(api, _GATEWAYS), namespaces)
    classes = _items(api, _GATEWAY_CLASSES) if gateways else []
    own = {_name(each) for each in classes if _spec(each).get("controllerName") == _TRAEFIK_GATEWAYS} or {TRAEFIK}
    return next((f"gateway/{_name(each)}" for each in gateways if _spec(each).get("gatewayClassName") in own), "")


def _items(api: Api, path: str) -> list[Item]:
    try:
        return list(api.get(path)["items"] or ())
    except ApiError as error:
        if error.code in (403, 404, 503):
            return []
        raise


def _of(items: Sequence[Item], namespaces: Collection[str]) -> list[Item]:
    return [each for each in items if each["metadata"].get("namespace") in namespaces]


def _name(item: Item) -> str:
    return str(item["metadata"]["name"])


def _spec(item: Item) -> Item:
    found = item.get("spec")
    return found if isinstance(found, Mapping) else {}


def _default(classes: Sequence[Item], annotation: str) -> str:
    marked = (each for each in classes if (each["metadata"].get("annotations") or {}).get(annotation) == "true")
    return next((_name(each) for each in marked), "")


def _ingress_class(ingress: Item) -> str:
    annotations = ingress["metadata"].get("annotations") or {}
    return str(_spec(ingress).get("ingressClassName") or annotations.get("kubernetes.io/ingress.class") or "")


def _by_resources(autoscaler: Item) -> bool:
    kinds = {row.get("type") for row in _spec(autoscaler).get("metrics") or ({"type": "Resource"},)}
    return bool(kinds & {"Resource", "ContainerResource"})


# -- metrics-server is deferred for some seconds, so that it does not compete with what a launch waits for
#
# It costs a launch one of its 19 CPU seconds, and more on a busy machine (docs/performance.md). A
# ValidatingAdmissionPolicy (Kubernetes 1.30 and later) denies its pods until `end_deferral` removes the policy, or
# until a time in the policy itself, by the API server's clock: it ends even if this program is no longer
# running. The ReplicaSet controller retries on its own, with pauses that double from 5 ms (Kubernetes:
# workqueue's default rate limiter).

DEFERRED_S = 20
"""Seconds after the API server's first start. The controller's next attempt is at most as long after that."""
POLICY = f"{FIELD_MANAGER}-deferred-start"
_GROUP = "admissionregistration.k8s.io/v1"
_POLICIES = f"/apis/{_GROUP}/validatingadmissionpolicies"
_BINDINGS = f"/apis/{_GROUP}/validatingadmissionpolicybindings"
_GONE, _EXISTS = 404, 409


def deferral_policy(end: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    """The policy that denies pods of metrics-server until `end` (UTC), and its binding."""
    metadata = {"name": POLICY, "labels": {MANAGED_BY: FIELD_MANAGER}}
    text = f"{end:%Y-%m-%dT%H:%M:%SZ}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    expression = (
        f"!has(object.metadata.generateName) || !object.metadata.generateName.startsWith('{METRICS}-')"
        f" || timestamp(object.metadata.creationTimestamp) >= timestamp('{text}')"
    )
    spec = {
        "failurePolicy": "Ignore",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "resourceRules": [rule],
        },
        "validations": [
            {"expression": expression, "message": f"{METRICS} starts when the launch is over, at the latest {text}"}
        ],
    }
    return (
        {"apiVersion": _GROUP, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {
            "apiVersion": _GROUP,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": POLICY, "validationActions": ["Deny"]},
        },
    )


def defer(api: Api) -> str | None:
    """Deny pods of metrics-server until `DEFERRED_S` seconds after the cluster's first start; returns why it cannot.

    Raises `ApiError`.
    """
    if not isinstance(api, Sender):
        return "this API does not accept such requests"
    # the server creates this namespace at its first start, by its own clock
    began = datetime.fromisoformat(api.get("/api/v1/namespaces/kube-system")["metadata"]["creationTimestamp"])
    for path, obj in zip((_POLICIES, _BINDINGS), deferral_policy(began + timedelta(seconds=DEFERRED_S)), strict=True):
        code, text = api.send("POST", path, json.dumps(obj))
        if code == _GONE:
            return "this Kubernetes has no such policies"
        if code not in (200, 201, _EXISTS):
            return text.strip()[:200] or f"the API answered {code}"
    return None


def end_deferral(api: Api) -> bool:
    """Remove the policy; False if that failed, and it ends by its time limit. Raises `ApiError`."""
    if not isinstance(api, Sender):
        return False
    codes = [api.send("DELETE", f"{path}/{POLICY}", "{}")[0] for path in (_BINDINGS, _POLICIES)]
    return all(code in (200, 202, _GONE) for code in codes)


# -- Services of type LoadBalancer without an address, because another Service uses their ports
#
# For each such Service k3s's ServiceLB creates a DaemonSet in kube-system whose pods bind the Service's ports on the
# nodes (docs.k3s.io: Networking Services). Of two Services with the same port only the first gets it; the pods of the
# other stay pending.

SERVICE_NAMESPACE, SERVICE_NAME = "svccontroller.k3s.cattle.io/svcnamespace", "svccontroller.k3s.cattle.io/svcname"
"""Labels of ServiceLB's DaemonSets and of their pods (k3s: pkg/cloudprovider/servicelb.go)."""
_PODS = f"/api/v1/namespaces/kube-system/pods?labelSelector={SERVICE_NAMESPACE}"
_SERVICES = "/api/v1/services"


def balanced(items: Iterable[Item], namespace: str) -> tuple[Key, ...]:
    """The Services of type LoadBalancer among these objects; `namespace` is the default namespace."""
    return tuple(
        Key("v1", "Service", str(meta.get("namespace") or namespace), str(meta.get("name")))
        for item in items
        if item.get("kind") == "Service" and (item.get("spec") or {}).get("type") == "LoadBalancer"
        if (meta := item.get("metadata") or {})
    )


def without_address(api: Api, services: Collection[Key]) -> list[str]:
    """Which of these Services get no address, and which ones use their ports; empty if the query fails."""
    try:
        refused = {
            (labels.get(SERVICE_NAMESPACE), labels.get(SERVICE_NAME))
            for pod in api.get(_PODS)["items"]
            if _ports_taken(pod) and (labels := pod["metadata"].get("labels") or {})
        }
        chosen = [key for key in services if (key.namespace, key.name) in refused]
        every = api.get(_SERVICES)["items"] if chosen else []
    except ApiError:
        return []
    return [_described(key, every) for key in chosen]


def _ports_taken(pod: Item) -> bool:
    """Whether the scheduler finds no node with these ports free (Kubernetes: reason of the NodePorts plugin)."""
    rows = (pod.get("status") or {}).get("conditions") or ()
    return any(row.get("status") == "False" and "free ports" in str(row.get("message") or "") for row in rows)


def _described(key: Key, services: Collection[Item]) -> str:
    place = f"{key.namespace}/{key.name}"
    wanted = next((_ports(each) for each in services if _place(each) == place), set())
    others = {
        _place(each): ", ".join(map(str, sorted(shared)))
        for each in services
        if ((each.get("status") or {}).get("loadBalancer") or {}).get("ingress") and (shared := _ports(each) & wanted)
    }
    holders = "; ".join(f"service {other} has {ports}" for other, ports in others.items() if other != place)
    return (
        f"service {place} gets no address: {holders or 'its ports are in use on every node'}. "
        "Give one of them another port, or type ClusterIP"
    )


def _ports(service: Item) -> set[int]:
    return {int(each["port"]) for each in (service.get("spec") or {}).get("ports") or ()}


def _place(item: Item) -> str:
    return f"{item['metadata'].get('namespace')}/{item['metadata']['name']}"
