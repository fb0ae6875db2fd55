"""Services of type LoadBalancer that get no address, because another one has their ports.

k3s's ServiceLB gives each such Service a DaemonSet in kube-system whose pods take the Service's ports on the nodes
(docs.k3s.io: Networking Services). Of two Services with one port only the first gets it; the pods of the other stay
pending.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tasks.kube.client import ApiError
from tasks.kube.objects import Key

if TYPE_CHECKING:
    from tasks.kube.client import Api

Item = Mapping[str, Any]
SERVICE_NAMESPACE, SERVICE_NAME = "svccontroller.k3s.cattle.io/svcnamespace", "svccontroller.k3s.cattle.io/svcname"
"""Labels of ServiceLB's DaemonSets and of their pods (k3s: pkg/cloudprovider/servicelb.go)."""
_PODS = f"/api/v1/namespaces/kube-system/pods?labelSelector={SERVICE_NAMESPACE}"
_SERVICES = "/api/v1/services"


def balanced(items: Iterable[Item], namespace: str) -> tuple[Key, ...]:
    """Those of these objects that are Services of type LoadBalancer; without a namespace they are in this one."""
    return tuple(
        Key("v1", "Service", str(meta.get("namespace") or namespace), str(meta.get("name")))
        for item in items
        if item.get("kind") == "Service" and (item.get("spec") or {}).get("type") == "LoadBalancer"
        if (meta := item.get("metadata") or {})
    )


def without_address(api: Api, services: Collection[Key]) -> list[str]:
    """Which of these Services get no address, and who has their ports; none where that cannot be asked."""
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
    return [_told(key, every) for key in chosen]


def _ports_taken(pod: Item) -> bool:
    """Whether the scheduler finds no node with these ports (Kubernetes: the NodePorts plugin's reason)."""
    rows = (pod.get("status") or {}).get("conditions") or ()
    return any(row.get("status") == "False" and "free ports" in str(row.get("message") or "") for row in rows)


def _told(key: Key, services: Collection[Item]) -> str:
    place = f"{key.namespace}/{key.name}"
    wanted = next((_ports(each) for each in services if _place(each) == place), set())
    others = {
        _place(each): ", ".join(map(str, sorted(shared)))
        for each in services
        if ((each.get("status") or {}).get("loadBalancer") or {}).get("ingress") and (shared := _ports(each) & wanted)
    }
    holders = "; ".join(f"service {other} has {ports}" for other, ports in others.items() if other != place)
    return (
        f"service {place} gets no address: {holders or 'its ports are taken on every node'}. "
        "Give one of them another port, or type ClusterIP"
    )


def _ports(service: Item) -> set[int]:
    return {int(each["port"]) for each in (service.get("spec") or {}).get("ports") or ()}


def _place(item: Item) -> str:
    return f"{item['metadata'].get('namespace')}/{item['metadata']['name']}"
