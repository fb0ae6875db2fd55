"""Components that k3s brings and that only some clusters need: which are in use, and by what.

k3s deploys its packaged components into kube-system (docs.k3s.io: Packaged Components). metrics-server becomes ready
25 to 40 s after the API answers, since it wants two scrapes; Traefik is installed by a Helm job. Who uses neither
need not wait for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.kube.client import ApiError

if TYPE_CHECKING:
    from tasks.kube.client import Api

Item = Mapping[str, Any]

METRICS, PROVISIONER, TRAEFIK = "metrics-server", "local-path-provisioner", "traefik"
OPTIONAL = (METRICS, PROVISIONER, TRAEFIK)
"""Waited for only where something needs them; every other workload of kube-system is always waited for."""
METRICS_API = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"
_LOCAL_PATH = "rancher.io/local-path"
_TRAEFIK_CLASS = "traefik.io/ingress-controller"
_DEFAULT_CLASS, _DEFAULT_INGRESS = (
    "storageclass.kubernetes.io/is-default-class",
    "ingressclass.kubernetes.io/is-default-class",
)
_CLAIMS, _CLASSES = "/api/v1/persistentvolumeclaims", "/apis/storage.k8s.io/v1/storageclasses"
_INGRESSES, _INGRESS_CLASSES = "/apis/networking.k8s.io/v1/ingresses", "/apis/networking.k8s.io/v1/ingressclasses"
_AUTOSCALERS = "/apis/autoscaling/v2/horizontalpodautoscalers"


@dataclass(frozen=True, kw_only=True)
class Use:
    """What in the watched namespaces needs an optional component."""

    needed: Mapping[str, str] = field(default_factory=dict)
    """By component the first object that needs it."""
    ingresses: tuple[Item, ...] = ()
    """Ingresses of a class that the cluster has."""
    autoscalers: tuple[Item, ...] = ()
    """HorizontalPodAutoscalers that scale by what metrics-server measures."""


def component(name: str) -> str | None:
    """The optional component that a workload of kube-system belongs to, by the workload's name; None for others.

    k3s names the jobs that install a chart helm-install-NAME[-crd], and ServiceLB's DaemonSets svclb-NAME-ID.
    """
    bare = name.removeprefix("helm-install-").removeprefix("svclb-")
    return next((each for each in OPTIONAL if bare == each or bare.startswith(f"{each}-")), None)


def in_use(api: Api, namespaces: Collection[str]) -> Use:
    """Read what needs a component, in these namespaces. Raises `ApiError`.

    What may not be read, or is not served, needs nothing.
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
    scaled = [each for each in _of(_items(api, _AUTOSCALERS), namespaces) if _by_resources(each)]
    if scaled:
        needed[METRICS] = f"horizontalpodautoscaler/{_name(scaled[0])}"
    return Use(needed=needed, ingresses=tuple(served), autoscalers=tuple(scaled))


def scales(autoscaler: Item) -> tuple[bool, str]:
    """Whether an autoscaler has what it scales by, or never will by waiting; and what it says.

    The controller looks every 15 s (Kubernetes: horizontal-pod-autoscaler-sync-period). A target that requests no
    processor time, or is scaled to zero, has another reason and is not waited for.
    """
    rows: Iterable[Item] = (autoscaler.get("status") or {}).get("conditions") or ()
    row = next((row for row in rows if row.get("type") == "ScalingActive"), None)
    if row is None:
        return False, "its controller has not looked at it yet"
    said = str(row.get("message") or row.get("reason") or "")
    if row.get("status") == "True":
        return True, ""
    passing = row.get("reason") == "FailedGetResourceMetric" and "missing request for" not in said
    return not passing, said


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
