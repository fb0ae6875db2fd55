"""Releases: kept as Helm keeps them, in a Secret for each revision, with their objects in the cluster."""

from __future__ import annotations

import base64
import gzip
import json
import time

from tasks.rehearsal.call import Exit
from tasks.rehearsal.flags import seconds
from tasks.rehearsal.helm_charts import found, manifest, rendered, values
from tasks.rehearsal.helm_post_render import post_rendered
from tasks.rehearsal.kubectl import put
from tasks.rehearsal.reaching import Cluster, Refused
from tasks.rehearsal.workloads import RELEASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.call import Call
    from tasks.rehearsal.flags import Given

_TYPE = "helm.sh/release.v1"
_SERVER_SIDE = "ssa"
_LOOK = 0.05
_OWN = frozenset({"name", "owner", "status", "version", "createdAt", "modifiedAt"})


class Revision:
    """One revision of a release."""

    def __init__(self, secret: dict[str, Any]) -> None:
        meta = secret["metadata"]
        self.namespace, self.labels = meta["namespace"], dict(meta.get("labels") or {})
        self.name, self.number = self.labels["name"], int(self.labels["version"])
        self.status = self.labels["status"]
        data = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        self.payload: dict[str, Any] = json.loads(gzip.decompress(data))

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What it has put into the cluster."""
        lines = (line for line in self.payload["manifest"].splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]


def _revisions(cluster: Cluster, namespace: str, name: str) -> list[Revision]:
    """Of a release, or of all; the oldest first."""
    where = f"/api/v1/namespaces/{namespace}/secrets" if namespace else "/api/v1/secrets"
    items = (cluster.get(f"{where}?labelSelector=owner%3Dhelm") or {}).get("items") or ()
    rows = [Revision(each) for each in items]
    return sorted((each for each in rows if name in ("", each.name)), key=lambda each: each.number)


def _keep(cluster: Cluster, revision: dict[str, Any], status: str, labels: dict[str, str]) -> None:
    name, number, namespace = revision["name"], revision["version"], revision["namespace"]
    payload = {**revision, "info": {"status": status, "description": ""}}
    data = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(payload).encode(), mtime=0)))
    own = {"name": name, "owner": "helm", "status": status, "version": str(number), "modifiedAt": str(int(time.time()))}
    put(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"sh.helm.release.v1.{name}.v{number}",
                "namespace": namespace,
                "labels": {**labels, **own},
            },
            "type": _TYPE,
            "data": {"release": data.decode()},
        },
        namespace,
        "helm",
    )


def _upgrade(call: Call, given: Given) -> None:
    _install(call, given, fresh=given.on("install"))


def _first(call: Call, given: Given) -> None:
    name = given.args[0]
    if _revisions(Cluster(call, given.get("kubeconfig")), given.get("namespace") or "default", name):
        raise Exit(1, "Error: INSTALLATION FAILED: cannot re-use a name that is still in use")
    _install(call, given, fresh=True)


def _install(call: Call, given: Given, *, fresh: bool) -> None:
    name, reference = given.args
    namespace = given.get("namespace") or "default"
    began = call.now()
    chart = found(call, reference, given.get("version"))
    own = values(call, given)
    cluster = Cluster(call, given.get("kubeconfig"))
    before = _revisions(cluster, namespace, name)
    word = "UPGRADE" if before else "INSTALLATION"
    if not before and not fresh:
        raise Exit(1, f'Error: UPGRADE FAILED: "{name}" has no deployed releases')
    if before and before[-1].status.startswith("pending-"):
        raise Exit(1, "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
    if cluster.get(f"/api/v1/namespaces/{namespace}") is None:
        if not given.on("create-namespace"):
            raise Exit(1, f'Error: {word} FAILED: create: failed to create: namespaces "{namespace}" not found')
        put(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, "", "helm")
    made = post_rendered(call, given, rendered(chart, name, namespace, own))
    labels = dict(part.partition("=")[::2] for row in given.all("labels") for part in row.split(","))
    revision = {
        "name": name,
        "namespace": namespace,
        "version": before[-1].number + 1 if before else 1,
        "chart": {"metadata": {"name": chart.name, "version": chart.version}},
        "config": own,
        "manifest": manifest(made),
        **_apply_method(call, before[-1].payload if before else None),
    }
    _keep(cluster, revision, "pending-upgrade" if before else "pending-install", labels)
    call.middle()
    if given.on("force-conflicts") and revision["apply_method"] != _SERVER_SIDE:
        _keep(cluster, revision, "failed", labels)
        raise Exit(1, f"Error: {word} FAILED: forceConflicts enabled when serverSideApply disabled")
    _put(cluster, revision, made, labels, word)
    call.wait_until(began + call.times.seconds("install", f"{namespace}/{name}", name))
    if given.on("wait") or given.on("atomic"):
        _ready(call, cluster, made, call.now() + seconds(given.get("timeout") or "5m"), word)
    for each in before:
        if each.status == "deployed":
            _keep(cluster, each.payload, "superseded", {k: v for k, v in each.labels.items() if k not in _OWN})
    _keep(cluster, revision, "deployed", labels)
    if given.get("output") == "json":
        call.say(json.dumps({**revision, "info": {"status": "deployed"}}))
        return
    told = "has been upgraded. Happy Helming!" if before else "does not exist. Installing it now."
    call.say(f'Release "{name}" {told}\nNAME: {name}\nNAMESPACE: {namespace}\nSTATUS: deployed')


def _apply_method(call: Call, last: dict[str, Any] | None) -> dict[str, str]:
    """How version 4 puts a revision in: as the one before, a first one by the server. Version 3 says nothing of it."""
    if call.place.version("helm").startswith("v3."):
        return {}
    return {"apply_method": _SERVER_SIDE if last is None else last.get("apply_method", "csa")}


def _put(
    cluster: Cluster, revision: dict[str, Any], made: list[dict[str, Any]], labels: dict[str, str], word: str
) -> None:
    """Its objects; one that is refused fails the release."""
    notes = {RELEASE: revision["name"], "meta.helm.sh/release-namespace": revision["namespace"]}
    for obj in made:
        meta = {**obj["metadata"], "annotations": {**(obj["metadata"].get("annotations") or {}), **notes}}
        try:
            put(cluster, {**obj, "metadata": meta}, str(revision["namespace"]), "helm")
        except Refused as refused:
            _keep(cluster, revision, "failed", labels)
            raise Exit(1, f"Error: {word} FAILED: {refused.message}") from None


def _ready(call: Call, cluster: Cluster, made: list[dict[str, Any]], end: float, word: str) -> None:
    """As `--wait` does it."""
    waiting = [obj for obj in made if obj["kind"] == "Deployment"]
    while True:
        late = []
        for obj in waiting:
            found_ = cluster.get(cluster.path(obj, obj["metadata"]["namespace"])) or {}
            status = found_.get("status") or {}
            if status.get("availableReplicas", 0) < obj["spec"]["replicas"]:
                late.append(obj)
        if not late:
            return
        if call.now() > end:
            raise Exit(1, f"Error: {word} FAILED: context deadline exceeded")
        time.sleep(_LOOK)


def _uninstall(call: Call, given: Given) -> None:
    cluster, namespace = Cluster(call, given.get("kubeconfig")), given.get("namespace") or "default"
    for name in given.args:
        rows = _revisions(cluster, namespace, name)
        if not rows:
            if given.on("ignore-not-found"):
                continue
            raise Exit(1, f"Error: uninstall: Release not loaded: {name}: release: not found")
        call.middle()
        call.wait("uninstall", f"{namespace}/{name}", name)
        for obj in rows[-1].objects:
            cluster.ask("DELETE", cluster.path(obj, namespace))
        for each in rows:
            cluster.ask("DELETE", f"/api/v1/namespaces/{namespace}/secrets/sh.helm.release.v1.{name}.v{each.number}")
        call.say(f'release "{name}" uninstalled')


def _rollback(call: Call, given: Given) -> None:
    name, *wanted = given.args
    cluster, namespace = Cluster(call, given.get("kubeconfig")), given.get("namespace") or "default"
    rows = _revisions(cluster, namespace, name)
    if not rows:
        raise Exit(1, "Error: release: not found")
    number = int(wanted[0]) if wanted else rows[-1].number - 1
    old = next((each for each in rows if each.number == number), None)
    if old is None:
        raise Exit(1, f"Error: release has no {number} version" if wanted else "Error: release has no 0 version")
    call.middle()
    call.wait("rollback", f"{namespace}/{name}", name)
    labels = {key: value for key, value in old.labels.items() if key not in _OWN}
    revision = {**old.payload, "version": rows[-1].number + 1}
    _put(cluster, revision, old.objects, labels, "ROLLBACK")
    for each in rows:
        if each.status == "deployed" or each.status.startswith("pending"):
            _keep(cluster, each.payload, "superseded", {k: v for k, v in each.labels.items() if k not in _OWN})
    _keep(cluster, revision, "deployed", labels)
    call.say("Rollback was a success! Happy Helming!")


def _list(call: Call, given: Given) -> None:
    cluster = Cluster(call, given.get("kubeconfig"))
    namespace = "" if given.on("all-namespaces") else given.get("namespace") or "default"
    newest = {(each.namespace, each.name): each for each in _revisions(cluster, namespace, "")}
    rows = [
        {
            "name": each.name,
            "namespace": each.namespace,
            "revision": str(each.number),
            "status": each.status,
            "chart": "-".join(each.payload["chart"]["metadata"].values()),
        }
        for each in newest.values()
    ]
    if given.get("output") == "json":
        call.say(json.dumps(rows))
        return
    for row in rows:
        call.say(row["name"] if given.on("short") else "\t".join(row.values()))


def _status(call: Call, given: Given) -> None:
    (name,) = given.args
    rows = _revisions(Cluster(call, given.get("kubeconfig")), given.get("namespace") or "default", name)
    if not rows:
        raise Exit(1, "Error: release: not found")
    call.say(json.dumps({**rows[-1].payload, "info": {"status": rows[-1].status}}))


def _history(call: Call, given: Given) -> None:
    (name,) = given.args
    rows = _revisions(Cluster(call, given.get("kubeconfig")), given.get("namespace") or "default", name)
    if not rows:
        raise Exit(1, "Error: release: not found")
    call.say(json.dumps([{"revision": each.number, "status": each.status} for each in rows]))


COMMANDS = {
    "upgrade": _upgrade,
    "install": _first,
    "uninstall": _uninstall,
    "rollback": _rollback,
    "list": _list,
    "status": _status,
    "history": _history,
}
