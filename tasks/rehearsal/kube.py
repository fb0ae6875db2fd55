"""The Kubernetes API of rehearsed clusters: what it answers to a request at a port of this machine."""

from __future__ import annotations

import json
import time
from urllib.parse import parse_qs, unquote

from tasks.rehearsal import admission, apply, containers, health, kinds, objects, selecting, workloads
from tasks.rehearsal.admission import Refusal
from tasks.rehearsal.cluster import store
from tasks.rehearsal.faults import Faults
from tasks.rehearsal.objects import Objects
from tasks.rehearsal.store import Store
from tasks.rehearsal.times import Times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.containers import Container
    from tasks.rehearsal.kinds import Kind
    from tasks.rehearsal.objects import View
    from tasks.rehearsal.place import Place

_REFUSED = "connect: connection refused"


class Silent(Exception):
    """Nothing answers there."""


class Where:
    """The parts of a path."""

    def __init__(self, kind: Kind, namespace: str, name: str, part: str) -> None:
        self.kind, self.namespace, self.name, self.part = kind, namespace, name, part

    def missing(self) -> Refusal:
        """It is not there."""
        group = self.kind[0].rpartition("/")[0]
        plural = f"{self.kind[2]}.{group}" if group else self.kind[2]
        return Refusal(404, "NotFound", f'{plural} "{self.name}" not found')


class Kube:
    """All rehearsed clusters of a place. Thread-safe."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._engine = Store(place.engine, containers.blank)
        self._stores: dict[str, Objects] = {}

    def answers(self, port: int) -> bool:
        """Whether something speaks TLS at a host port."""
        try:
            self.server(port)
        except Silent:
            return False
        return True

    def server(self, port: int) -> Container:
        """The server behind a host port: it publishes that itself, or the load balancer before it. Raises `Silent`."""
        now, doc = time.time(), self._engine.read()
        found = containers.holder(doc, port, now)
        if found is not None and found["labels"].get("k3d.role") == "loadbalancer":
            servers = containers.labelled(doc, cluster=found["labels"].get("k3d.cluster", ""), role="server")
            up = containers.reached(found, "answers", now)
            found = next((each for each in servers if up and containers.reached(each, "answers", now)), None)
        if found is None or not containers.reached(found, "answers", now):
            raise Silent(_REFUSED)
        return found

    def served(self, view: View, now: float) -> list[kinds.Kind]:
        """The kinds that a cluster serves."""
        return kinds.served(view, now, self._place.read("kinds.json", {}))

    def objects(self, cluster: str) -> Objects:
        """The objects of a cluster."""
        if cluster not in self._stores:
            self._stores[cluster] = store(self._place, cluster)
        return self._stores[cluster]

    def request(self, method: str, port: int, path: str, body: str = "") -> tuple[int, str]:
        """Code and text. Raises `Silent`."""
        server, now = self.server(port), time.time()
        cluster = server["labels"]["k3d.cluster"]
        times, faults = Times(self._place.read("times.json", {})), Faults(self._place)
        down = health.flap(server, faults, times, now)
        if down == health.SILENT:
            raise Silent(_REFUSED)
        bare, _, query = path.partition("?")
        if down or not containers.reached(server, "ready", now):
            if bare in health.PATHS:
                return health.unready(bare)
            return self._told(Refusal(503, "ServiceUnavailable", "apiserver not ready"))
        told = health.answer(path, server)
        if told is not None:
            return told
        given = {key: values[-1] for key, values in parse_qs(query, keep_blank_values=True).items()}
        try:
            if method == "GET":
                return 200, json.dumps(self._get(cluster, bare, given, now))
            with self.objects(cluster).change() as doc:
                world = workloads.World(doc, time.time(), times, faults)
                doc.sweep(world.now)
                code, made = self._change(world, method, bare, given, body)
                return code, json.dumps(made)
        except Refusal as refusal:
            return self._told(refusal)

    @staticmethod
    def _told(refusal: Refusal) -> tuple[int, str]:
        return refusal.code, json.dumps(refusal.status())

    # -- reading --------------------------------------------------------------------------------------

    def _get(self, cluster: str, path: str, given: dict[str, str], now: float) -> Any:  # noqa: ANN401 - any JSON
        with self.objects(cluster).read() as view:
            known = self.served(view, now)
            listed = health.discovery(path, known)
            if listed is not None:
                return listed
            where = find(path, known)
            if where.name and where.kind[1] != "Lease":
                record = view.get(where.kind[0], where.kind[1], where.namespace, where.name, now)
                if record is None:
                    raise where.missing()
                return _typed(objects.seen(record, now), where.kind)
            items = self._list(view, cluster, where, now)
        if where.name:
            one = next((each for each in items if each["metadata"]["name"] == where.name), None)
            if one is None:
                raise where.missing()
            return one
        chosen = [
            {key: value for key, value in each.items() if key not in ("apiVersion", "kind")}
            for each in items
            if selecting.labels(given.get("labelSelector", ""), each)
            and selecting.fields(given.get("fieldSelector", ""), each)
        ]
        meta = {"resourceVersion": str(objects.micro(now))}
        return {"kind": f"{where.kind[1]}List", "apiVersion": where.kind[0], "metadata": meta, "items": chosen}

    def _list(self, view: View, cluster: str, where: Where, now: float) -> list[dict[str, Any]]:
        """Objects of a kind, in one namespace or all."""
        if where.kind[1] == "Lease":
            return [
                each
                for each in health.leases(self._engine.read(), cluster, now)
                if where.namespace in ("", each["metadata"]["namespace"])
            ]
        return [
            _typed(objects.seen(each, now), where.kind)
            for each in view.existing(where.kind[0], where.kind[1], now, where.namespace)
        ]

    # -- changing -------------------------------------------------------------------------------------

    def _change(
        self, world: workloads.World, method: str, path: str, given: dict[str, str], body: str
    ) -> tuple[int, dict[str, Any]]:
        where = find(path, self.served(world.doc, world.now))
        if method == "DELETE":
            record = world.doc.get(where.kind[0], where.kind[1], where.namespace, where.name, world.now)
            if record is None:
                raise where.missing()
            workloads.release(world, record["object"], world.now)
            return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        try:
            obj = json.loads(body)
        except ValueError:
            raise Refusal(400, "BadRequest", "error decoding YAML: the body is no JSON document") from None
        meta = obj.setdefault("metadata", {})
        if (obj.get("kind"), obj.get("apiVersion")) != (where.kind[1], where.kind[0]):
            raise Refusal(400, "BadRequest", "the object's kind is not the one of its path")
        if meta.setdefault("name", where.name) != where.name:
            told = f"name in URL does not match name in {where.kind[1]} object"
            raise Refusal(400, "BadRequest", told)
        if where.kind[3]:
            meta["namespace"] = where.namespace or "default"
        else:
            meta.pop("namespace", None)
        return apply.apply(
            world,
            obj,
            given.get("fieldManager", "unknown"),
            part=where.part,
            dry=given.get("dryRun") == "All",
            strict=True,
        )


def _typed(obj: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """As the version of the path has it."""
    return {**obj, "apiVersion": kind[0], "kind": kind[1]}


def find(path: str, known: list[Kind]) -> Where:
    """What a path means. Raises `Refusal`."""
    for api_version in dict.fromkeys(kind[0] for kind in known):
        root = kinds.root(api_version)
        if not path.startswith(f"{root}/"):
            continue
        parts = [unquote(part) for part in path[len(root) + 1 :].split("/")]
        namespace = ""
        of = {kind[2]: kind for kind in known if kind[0] == api_version}
        if len(parts) > 2 and parts[0] == "namespaces" and parts[2] in of and of[parts[2]][3]:
            namespace, parts = parts[1], parts[2:]
        if parts[0] in of and len(parts) <= 3:
            return Where(of[parts[0]], namespace, *[*parts[1:], "", ""][:2])
    raise Refusal(404, "NotFound", "the server could not find the requested resource")


__all__ = ["Kube", "Silent", "Where", "admission", "find"]
