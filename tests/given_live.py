"""A cluster's API served from objects, the objects that it serves, and runs of plans against fakes."""

import base64
import gzip
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote

from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Cancel, Context, Report, Result, Step
from tasks.facts.facts import Facts, Live
from tasks.kube.client import Api, ApiError
from tasks.kube.objects import FIELD_MANAGER, MANAGED_BY, Key, key
from tasks.kube.ownership import CREATED_BY, marked
from tasks.kube.releases import LiveRelease
from tasks.settings.derived import FINGERPRINT

Object = dict[str, Any]
KINDS: Mapping[tuple[str, str], tuple[str, bool]] = {
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "Endpoints"): ("endpoints", True),
    ("v1", "Event"): ("events", True),
    ("v1", "LimitRange"): ("limitranges", True),
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "Node"): ("nodes", False),
    ("v1", "PersistentVolumeClaim"): ("persistentvolumeclaims", True),
    ("v1", "Pod"): ("pods", True),
    ("v1", "ResourceQuota"): ("resourcequotas", True),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "Service"): ("services", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("apps/v1", "DaemonSet"): ("daemonsets", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("apps/v1", "ReplicaSet"): ("replicasets", True),
    ("apps/v1", "StatefulSet"): ("statefulsets", True),
    ("batch/v1", "CronJob"): ("cronjobs", True),
    ("batch/v1", "Job"): ("jobs", True),
    ("coordination.k8s.io/v1", "Lease"): ("leases", True),
    ("networking.k8s.io/v1", "NetworkPolicy"): ("networkpolicies", True),
    ("networking.k8s.io/v1", "Ingress"): ("ingresses", True),
    ("networking.k8s.io/v1", "IngressClass"): ("ingressclasses", False),
    ("traefik.io/v1alpha1", "IngressRoute"): ("ingressroutes", True),
    ("traefik.io/v1alpha1", "IngressRouteTCP"): ("ingressroutetcps", True),
    ("gateway.networking.k8s.io/v1", "Gateway"): ("gateways", True),
    ("gateway.networking.k8s.io/v1", "GatewayClass"): ("gatewayclasses", False),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): ("horizontalpodautoscalers", True),
    ("apiregistration.k8s.io/v1", "APIService"): ("apiservices", False),
    ("storage.k8s.io/v1", "StorageClass"): ("storageclasses", False),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): ("customresourcedefinitions", False),
    ("data.example.com/v1", "Database"): ("databases", True),
}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_Api = TypeVar("_Api", bound="FakeApi")
HEALTHY = ("/api", "/apis", "/healthz", "/healthz/etcd", "/readyz")


class FakeApi(Api):
    """Serves objects; `answers` by path win over them. `changes` are made before the n-th question for a path."""

    def __init__(self, *objects: Mapping[str, Any], answers: Mapping[str, Any] | None = None) -> None:
        self.objects: dict[Key, Mapping[str, Any]] = {}
        self.answers: dict[str, Any] = dict(answers or {})
        self.requests: list[str] = []
        self.changes: dict[tuple[str, int], Callable[[], object]] = {}
        self.put(*objects)

    def put(self, *objects: Mapping[str, Any]) -> None:
        self.objects |= {key(each): each for each in objects}

    def remove(self, *objects: Mapping[str, Any]) -> None:
        for each in objects:
            self.objects.pop(key(each), None)

    def at(self, path: str, count: int, *objects: Mapping[str, Any]) -> None:
        """From the n-th question for this path on, these objects are as given."""
        self.changes[path, count] = lambda: self.put(*objects)

    def raw(self, path: str) -> tuple[int, str]:
        self.requests.append(path)
        change = self.changes.get((path, self.requests.count(path)))
        if change is not None:
            change()
        found = self.answers.get(path)
        if found is None:
            found = self._served(path)
        if isinstance(found, ApiError):
            raise found
        if isinstance(found, tuple):
            return int(found[0]), str(found[1])
        return 200, found if isinstance(found, str) else json.dumps(found)

    def _served(self, path: str) -> Any:
        place, _, query = path.partition("?")
        if place == "/apis":
            groups = dict.fromkeys(version for version, _kind in KINDS if "/" in version)
            return {"groups": [{"preferredVersion": {"groupVersion": each}} for each in groups]}
        if place in HEALTHY:
            return "[+]poststarthook/start-apiserver-admission-initializer ok" if query else "ok"
        if place.startswith("/healthz/poststarthook/"):
            return "ok"
        for (api_version, kind), (plural, namespaced) in KINDS.items():
            root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            if place == root:
                rows = [(v, k, p, n) for (v, k), (p, n) in KINDS.items() if v == api_version]
                return {"resources": [{"name": p, "kind": k, "namespaced": n, "verbs": VERBS} for _v, k, p, n in rows]}
            here = [each for each in self.objects.values() if (each["apiVersion"], each["kind"]) == (api_version, kind)]
            answer = _find(place.removeprefix(f"{root}/").split("/"), plural, namespaced, here)
            if place.startswith(f"{root}/") and answer is not None:
                return _selected(answer, query)
        return (404, "not found")


def _find(parts: list[str], plural: str, namespaced: bool, here: list[Mapping[str, Any]]) -> Any:
    """A list or an object, if the path is of this kind. Objects in a list do not say their kind, as in the real API."""
    namespace = None
    if namespaced and len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    if parts[0] != plural or len(parts) > 2:
        return None
    if namespace is not None:
        here = [each for each in here if each["metadata"].get("namespace") == namespace]
    if len(parts) == 2:
        return next((each for each in here if each["metadata"]["name"] == parts[1]), (404, "not found"))
    return {
        "items": [{name: part for name, part in each.items() if name not in ("apiVersion", "kind")} for each in here]
    }


def _selected(answer: Any, query: str) -> Any:
    """As far as our own questions select: by one label, Helm's Secrets, or all others."""
    label, _, value = unquote(parse_qs(query).get("labelSelector", [""])[0]).partition("=")
    if label in (CREATED_BY, MANAGED_BY):
        rows = [each for each in answer["items"] if (each["metadata"].get("labels") or {}).get(label) == value]
        return {"items": rows}
    if "helm.sh" not in query:
        return answer
    expected = "type%3Dhelm" in query
    return {"items": [each for each in answer["items"] if (each.get("type") == "helm.sh/release.v1") is expected]}


def reached(facts: Facts, api: _Api) -> _Api:
    """The facts's API is this one."""
    facts._api[:] = [api]
    return api


class Eager(Cancel):
    """A flag for waits that do not pause."""

    def wait(self, seconds: float | None = None) -> bool:
        return self.is_set()


def eager(step: str = "a step", deadline: float = 20.0, said: list[str] | None = None) -> Context:
    """For an action that waits: it polls again at once."""
    lines = said if said is not None else []
    return Context(step=step, deadline=deadline, cancelled=Eager(), say=lines.append)


def acted(step: Step, *, deadline: float = 20.0, said: list[str] | None = None) -> Report:
    """Let a step that waits act once, without pauses."""
    return step.action(eager(deadline=deadline, said=said)) or Report()


def named(steps: Sequence[Step]) -> dict[str, Step]:
    """Steps of one part of a plan by name; needs that are not among them are another part's."""
    found = {step.name: step for step in steps}
    assert len(found) == len(steps)
    return found


def ran(steps: Sequence[Step]) -> dict[str, Result]:
    """Run a plan; needs that are not in it count as met."""
    names = {step.name for step in steps}
    fit = [replace(s, needs=tuple(n for n in s.needs if n in names)) for s in steps]
    return {result.name: result for result in Run(fit, Bounds(work=4)).execute()}


# -- objects --------------------------------------------------------------------------------------


def obj(kind: str, name: str, namespace: str | None = None, **more: Any) -> Object:
    """Any object; `labels`, `deleting` and `owner` (kind and name) go into its metadata."""
    api_version = next(version for version, known in KINDS if known == kind)
    metadata: Object = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    if labels := more.pop("labels", None):
        metadata["labels"] = labels
    if more.pop("deleting", False):
        metadata["deletionTimestamp"] = "2026-11-24T02:31:00Z"
    if owner := more.pop("owner", None):
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1]}]
    metadata |= more.pop("metadata", {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def created(obj: Mapping[str, Any], environment: str = "me.dev", **metadata: Any) -> Object:
    """An object as the API holds it after this project created it for an environment."""
    built = marked(obj, environment)
    fields: Object = {f"f:{name}": {} for name in obj if name not in ("apiVersion", "kind", "metadata")}
    fields["f:metadata"] = {"f:labels": {f"f:{name}": {} for name in built["metadata"]["labels"]}}
    entry = {"manager": FIELD_MANAGER, "operation": "Update", "fieldsV1": fields}
    return uid_given({**built, "metadata": {**built["metadata"], "managedFields": [entry], **metadata}})


def uid_given(obj: Mapping[str, Any]) -> Object:
    """With a uid that follows from what it is, and those of its owners."""
    metadata = {"uid": _uid(obj["kind"], obj["metadata"]["name"]), **obj["metadata"]}
    owners = [{"uid": _uid(each["kind"], each["name"]), **each} for each in metadata.get("ownerReferences", ())]
    return {**obj, "metadata": {**metadata, **({"ownerReferences": owners} if owners else {})}}


def _uid(kind: str, name: str) -> str:
    return f"uid of {kind} {name}"


def node(name: str, *, ready: bool = True, address: str = "172.18.0.2", ranges: bool = True) -> Object:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    addresses = [{"type": "InternalIP", "address": address}]
    spec = {"podCIDR": "10.42.0.0/24"} if ranges else {}
    return obj("Node", name, status={"conditions": conditions, "addresses": addresses}, spec=spec)


def deployment(name: str, namespace: str = "default", *, ready: bool = True, **more: Any) -> Object:
    status = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": int(ready)}
    return obj("Deployment", name, namespace, spec={"replicas": 1}, status=status, **more)


def job(name: str, namespace: str = "kube-system", *, done: bool = True) -> Object:
    conditions = [{"type": "Complete", "status": "True"}] if done else []
    return obj("Job", name, namespace, spec={}, status={"conditions": conditions})


def stored(*, manifest: str = "", name: str = "web", namespace: str = "web", **labels: str) -> Object:
    """The Secret in which Helm keeps a revision of a release."""
    data = {"release": packed(manifest)}
    given = {"owner": "helm", "name": name, "status": "deployed", "version": "1", **labels}
    revision = f"sh.helm.release.v1.{name}.v{given['version']}"
    return obj("Secret", revision, namespace, labels=given, type="helm.sh/release.v1", data=data)


def packed(manifest: str, **more: Any) -> str:
    """A revision of a release as its Secret holds it; `hooks`, `chart`, `apply_method`."""
    inner = gzip.compress(json.dumps({"manifest": manifest, **more}).encode(), mtime=0)
    return base64.b64encode(base64.b64encode(inner)).decode()


def manifest(*objects: Mapping[str, Any]) -> str:
    """Objects as Helm writes them."""
    return "".join(f"---\n{json.dumps(each)}\n" for each in objects)


# -- facts ----------------------------------------------------------------------------------------


def release(fingerprint: str | None = None, **changes: Any) -> LiveRelease:
    """A release `web` in namespace `web` that is deployed; `objects` is its manifest, `crds` its chart's folder.

    `server_side`: how it was applied; `server_side_before`: how the revision before was.
    """
    given: dict[str, Any] = {"name": "web", "namespace": "web", "status": "deployed", "revision": 1}
    given["labels"] = {} if fingerprint is None else {FINGERPRINT: fingerprint}
    built, hooks, crds = (changes.pop(name, ()) for name in ("objects", "hooks", "crds"))
    now, before = ("ssa" if changes.pop(name, False) else "" for name in ("server_side", "server_side_before"))
    files = [{"name": "crds/all.yaml", "data": base64.b64encode(manifest(*crds).encode()).decode()}]
    info = {"first_deployed": "2026-11-24T02:31:00.7+00:00"}
    more: Object = {"chart": {"files": files}, "apply_method": now, "info": info}
    more["hooks"] = [{"manifest": manifest(each)} for each in hooks]
    found = LiveRelease(**{**given, **changes})
    return replace(found, packed=packed(manifest(*built), **more), packed_before=packed("", apply_method=before))


def holding(objects: Collection[Mapping[str, Any]], **changes: Any) -> Live:
    """Facts of a cluster in which these objects are, just as given."""
    return Live(**{"objects": {key(each): each for each in objects}, "releases": {}, **changes})
