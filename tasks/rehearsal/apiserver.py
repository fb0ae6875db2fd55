"""The API server of rehearsed clusters: responses to requests at a port of this machine."""

import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from tasks.kube.objects import root
from tasks.rehearsal import apply, controllers, engine, objects
from tasks.rehearsal.apply import Refusal
from tasks.rehearsal.controllers import ControlPlane
from tasks.rehearsal.engine import Container, Document, stamp
from tasks.rehearsal.faults import Faults, Times
from tasks.rehearsal.folder import MARK, Folder
from tasks.rehearsal.objects import BUILT_IN, Kind, Objects, Transaction

_CHECKS = ("ping", "etcd", "poststarthook/start-apiserver-admission-initializer", "poststarthook/rbac/bootstrap-roles")
"""Some checks of an API server."""
_HEALTH = frozenset({"/readyz", "/healthz", "/livez"})
_SILENT, _BUSY = "silent", "busy"
"""How an API is down: no response, or one that it is not ready."""
_FLAP = 1.5
"""Default seconds of one outage."""
_RENEWED = 10.0
"""Seconds between two renewals of a node's lease (Kubernetes: Leases)."""
_SERVER = re.compile(r"^\s*server: https?://[^\s/]+:(\d+)\s*$", re.MULTILINE)
_REFUSED = "connect: connection refused"


class Silent(Exception):
    """No response."""


def port_of(kubeconfig: str) -> int | None:
    """The port of a rehearsed cluster's API, from its kubeconfig; None for any other cluster, or for several."""
    ports = _SERVER.findall(kubeconfig) if MARK in kubeconfig else []
    return int(ports[0]) if len(ports) == 1 else None


class Target:
    """The target of a path: a kind, objects of a namespace or one of them, or a subresource."""

    def __init__(self, kind: Kind, namespace: str, name: str = "", part: str = "") -> None:
        self.api_version, self.kind, self.plural, self.namespaced = kind
        self.namespace, self.name, self.part = namespace, name, part

    def missing(self) -> Refusal:
        """The error for a missing object."""
        group = self.api_version.rpartition("/")[0]
        plural = f"{self.plural}.{group}" if group else self.plural
        return Refusal(404, "NotFound", f'{plural} "{self.name}" not found')


class ApiServer:
    """The API servers of all clusters of a rehearsal. Thread-safe."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._stores: dict[str, Objects] = {}

    def is_serving(self, port: int) -> bool:
        """Whether a TLS server answers at a host port."""
        try:
            self.server(port)
        except Silent:
            return False
        return True

    def server(self, port: int) -> Container:
        """The server behind a host port: published by itself, or by the load balancer. Raises `Silent`."""
        now, doc = time.time(), self._folder.engine.read()
        found = engine.port_owner(doc, port, now)
        if found is not None and engine.role(found) == "loadbalancer":
            servers = engine.labelled(doc, cluster=engine.cluster(found), role="server")
            up = engine.reached(found, "answers", now)
            found = next((each for each in servers if up and engine.reached(each, "answers", now)), None)
        if found is None or not engine.reached(found, "answers", now):
            raise Silent(_REFUSED)
        return found

    def served(self, view: Transaction, now: float) -> list[Kind]:
        """The kinds that a cluster serves."""
        return served(view, now, self._folder.read("kinds.json"))

    def objects(self, cluster: str) -> Objects:
        """The objects of a cluster."""
        if cluster not in self._stores:
            self._stores[cluster] = Objects(self._folder.cluster(cluster))
        return self._stores[cluster]

    def request(self, method: str, port: int, path: str, body: str = "") -> tuple[int, str]:
        """Code and text. Raises `Silent`."""
        server, now = self.server(port), time.time()
        cluster = engine.cluster(server)
        times, faults = Times.of(self._folder), Faults(self._folder)
        down = _outage(server, faults, times, now)
        if down == _SILENT:
            raise Silent(_REFUSED)
        bare, _, query = path.partition("?")
        given = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
        answer = _answer_health(path, server, ready=not down and engine.reached(server, "ready", now))
        if answer is not None:
            return answer
        try:
            if down or not engine.reached(server, "ready", now):
                raise Refusal(503, "ServiceUnavailable", "apiserver not ready")
            if method == "GET":
                return 200, json.dumps(self._get(cluster, bare, given, now))
            with self.objects(cluster).change() as doc:
                plane = ControlPlane(doc, time.time(), times, faults)
                code, made = self._change(plane, method, bare, given, body)
                return code, json.dumps(made)
        except Refusal as refusal:
            return refusal.code, json.dumps(refusal.status())

    # -- reading --------------------------------------------------------------------------------------

    def _get(self, cluster: str, path: str, given: dict[str, str], now: float) -> Any:  # noqa: ANN401 - any JSON
        with self.objects(cluster).read() as view:
            known = self.served(view, now)
            listed = discovery(path, known)
            if listed is not None:
                return listed
            target = find(path, known)
            if target.kind == "Lease":
                items = _leases(self._folder.engine.read(), cluster, now)
            elif target.name:
                record = view.get(target.api_version, target.kind, target.namespace, target.name, now)
                if record is None:
                    raise target.missing()
                return {**objects.seen(record, now), "apiVersion": target.api_version, "kind": target.kind}
            else:
                rows = view.existing(target.api_version, target.kind, now, target.namespace)
                items = [objects.seen(each, now) for each in rows]
        labels, fields = given.get("labelSelector", ""), given.get("fieldSelector", "")
        chosen = [
            {key: value for key, value in each.items() if key not in ("apiVersion", "kind")}
            for each in items
            if _fits(each["metadata"].get("labels") or {}, labels) and _fits(each, fields)
        ]
        meta = {"resourceVersion": str(objects.micro(now))}
        return {"kind": f"{target.kind}List", "apiVersion": target.api_version, "metadata": meta, "items": chosen}

    # -- changing -------------------------------------------------------------------------------------

    def _change(
        self, plane: ControlPlane, method: str, path: str, given: dict[str, str], body: str
    ) -> tuple[int, dict[str, Any]]:
        target = find(path, self.served(plane.doc, plane.now))
        if method == "DELETE":
            record = plane.doc.get(target.api_version, target.kind, target.namespace, target.name, plane.now)
            if record is None:
                raise target.missing()
            controllers.delete(plane, record["object"])
            return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        obj = json.loads(body)
        obj["metadata"].pop("namespace", None)
        if target.namespaced:
            obj["metadata"]["namespace"] = target.namespace or "default"
        manager, dry = given.get("fieldManager", "unknown"), given.get("dryRun") == "All"
        return apply.apply(plane, obj, manager, part=target.part, dry=dry)


def _fits(values: Mapping[str, Any], selector: str) -> bool:
    """Whether labels, or fields, match: `KEY`, `KEY=VALUE` and `KEY!=VALUE`, separated by commas."""
    for part in filter(None, selector.split(",")):
        key, sign, value = part.partition("=")
        if key.endswith("!"):
            fits = values.get(key[:-1]) != value
        else:
            fits = values.get(key) == value if sign else key in values
        if not fits:
            return False
    return True


# -- served kinds, and the targets of paths ----------------------------------------------------------------


def served(view: Transaction, now: float, brought: Mapping[str, list[Any]]) -> list[Kind]:
    """Kinds of Kubernetes, of established CRDs, and those `brought` by k3s or by an installed release."""
    found = list(BUILT_IN)
    for record in view.records("apiextensions.k8s.io/v1", "CustomResourceDefinition"):
        if record["served"] > now:
            continue
        spec: dict[str, Any] = record["object"]["spec"]
        kind, plural, namespaced = spec["names"]["kind"], spec["names"]["plural"], spec.get("scope") != "Cluster"
        versions = [f"{spec['group']}/{each['name']}" for each in spec.get("versions") or () if each.get("served")]
        found += [(version, kind, plural, namespaced) for version in versions]
    rows = [*brought.get("k3s", ())]
    if brought.get("releases") and _installed(view):
        rows += brought["releases"]
    known = {(version, kind) for version, kind, *_ in found}
    more = {(version, kind): namespaced for version, kind, namespaced in rows if (version, kind) not in known}
    return found + [(version, kind, f"{kind.lower()}s", namespaced) for (version, kind), namespaced in more.items()]


def _installed(view: Transaction) -> bool:
    """Whether a release has been installed."""
    rows = (each["object"]["metadata"].get("labels") or {} for each in view.records("v1", "Secret"))
    return any(each.get("owner") == "helm" and each.get("status") == "deployed" for each in rows)


def find(path: str, known: list[Kind]) -> Target:
    """The target of a path. Raises `Refusal`."""
    for api_version in dict.fromkeys(kind[0] for kind in known):
        if not path.startswith(f"{root(api_version)}/"):
            continue
        namespace, parts = "", [unquote(part) for part in path[len(root(api_version)) + 1 :].split("/")]
        of = {kind[2]: kind for kind in known if kind[0] == api_version}
        if len(parts) > 2 and parts[0] == "namespaces" and parts[2] in of and of[parts[2]][3]:
            namespace, parts = parts[1], parts[2:]
        if parts[0] in of and len(parts) <= 3:
            return Target(of[parts[0]], namespace, *parts[1:])
    raise Refusal(404, "NotFound", "the server could not find the requested resource")


def discovery(path: str, known: list[Kind]) -> dict[str, Any] | None:
    """The discovery document for a path; None for any other path."""
    versions = list(dict.fromkeys(kind[0] for kind in known))
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups: dict[str, list[dict[str, str]]] = {}
        for each in versions:
            group, _, short = each.rpartition("/")
            groups.setdefault(group, []).append({"groupVersion": each, "version": short})
        rows = [{"name": group, "versions": found} for group, found in groups.items() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": rows}
    version = next((each for each in versions if root(each) == path.rstrip("/")), None)
    if version is None:
        return None
    resources = [
        {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}
        for of, kind, plural, namespaced in known
        if of == version
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


# -- health --------------------------------------------------------------------------


def _outage(server: Container, faults: Faults, times: Times, now: float) -> str:
    """How a fault keeps the API down now; empty if it is up."""
    cluster = engine.cluster(server)
    fault = faults.find("api-flaps", cluster, server["name"])
    life = engine.life(server, now)
    if fault is None or life is None:
        return ""
    if times.scale == 0:  # no time passes: count requests
        return _BUSY if faults.strike("api-flaps", cluster, server["name"]) is not None else ""
    length = float(fault.get("seconds") or _FLAP) * times.scale
    since = now - life["at"].get("ready", now) - float(fault.get("after") or 0.0) * times.scale
    number = int(since // (2 * length)) if since >= 0 and length > 0 else -1
    if number < 0 or since % (2 * length) >= length:
        return ""
    most = fault.get("times")
    if most is not None and number >= most:
        return ""
    return _BUSY if number % 2 else _SILENT


def _answer_health(path: str, server: Container, *, ready: bool) -> tuple[int, str] | None:
    """Responses for its health and version; None for other paths."""
    bare, _, query = path.partition("?")
    if bare in _HEALTH and not ready:
        return 500, f"[-]{_CHECKS[-1]} failed: reason withheld\n{bare.strip('/')} check failed\n"
    if bare in _HEALTH:
        return 200, "\n".join([f"[+]{each} ok" for each in _CHECKS] if query else ["ok"])
    root, _, check = bare.removeprefix("/").partition("/")
    if ready and f"/{root}" in _HEALTH:
        return (200, "ok") if check in _CHECKS else (404, "404 page not found\n")
    if ready and bare == "/version":
        version = engine.version(server["image"])
        major, minor = version.lstrip("v").split(".")[:2]
        return 200, json.dumps({"major": major, "minor": minor, "gitVersion": version, "platform": "linux/amd64"})
    return None


def _leases(doc: Document, cluster: str, now: float) -> list[dict[str, Any]]:
    """One per node, renewed as long as its kubelet runs; first a second after its start."""
    found = []
    for each in engine.labelled(doc, cluster=cluster):
        begun = [life for life in each["lives"] if life["at"].get("ready", now + 1) <= now]
        if engine.role(each) not in ("server", "agent") or not begun:
            continue
        start, end = begun[-1]["at"]["ready"], begun[-1]["end"]
        last = now if end is None or end > now else end
        moments = [begun[-1]["start"] + 1.0, start + _RENEWED * ((last - start) // _RENEWED), each["resumed"] + 1.0]
        renewed = max(moment for moment in moments if moment <= last or moment == moments[0])
        meta = {"name": each["name"], "namespace": "kube-node-lease", "resourceVersion": str(objects.micro(renewed))}
        spec = {"holderIdentity": each["name"], "leaseDurationSeconds": 40, "renewTime": stamp(renewed, 6)}
        found.append({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec})
    return found
