"""The stand-in for helm, version 4 or what versions.json says. A release's revisions are Secrets, as Helm has them."""

from __future__ import annotations

import base64
import gzip
import json
import os
import time
from pathlib import Path

from tasks.rehearsal import helm_charts
from tasks.rehearsal.controllers import RELEASE
from tasks.rehearsal.helm_charts import find, manifest, rendered, values
from tasks.rehearsal.kubectl import Cluster, Refused, objects_of
from tasks.rehearsal.program import Exit, dispatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.program import Call, Commands, Given

_CHART = "version= plain-http registry-config= kubeconfig= namespace=,n"
_INSTALL = (
    f"{_CHART} values=,f install,i labels=,l timeout= disable-openapi-validation post-renderer= "
    "post-renderer-args= output=,o dry-run="
)
_ONLY = {
    3: {"repo update": "fail-on-repo-update-fail"},
    4: dict.fromkeys(("upgrade", "install", "rollback"), "force-conflicts"),
}
"""Flags that only one of the versions has."""
_TYPE = "helm.sh/release.v1"
_SERVER_SIDE = "ssa"
_OWN = frozenset({"name", "owner", "status", "version", "createdAt", "modifiedAt"})
"""Labels of a revision that are Helm's own."""


def main(call: Call) -> None:
    """Raises `Exit`, `getopt.GetoptError`."""
    version = call.folder.version("helm")
    if call.args[:1] == ["version"]:
        call.say(f"{version}+gREHEARSAL")
        return
    only = _ONLY[3 if version.startswith("v3.") else 4]
    known = {**helm_charts.COMMANDS, **_COMMANDS}
    act, given = dispatch(
        call, {name: (act, f"{flags} {only.get(name, '')}", least) for name, (act, flags, least) in known.items()}
    )
    try:
        act(call, given)
    except Refused as refused:
        raise Exit(1, f"Error: {refused.message}") from None


class Revision:
    """One revision of a release."""

    def __init__(self, secret: dict[str, Any]) -> None:
        meta = secret["metadata"]
        labels = dict(meta.get("labels") or {})
        self.name, self.number, self.status = labels["name"], int(labels["version"]), labels["status"]
        self.labels = {key: value for key, value in labels.items() if key not in _OWN}
        data = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        self.payload: dict[str, Any] = json.loads(gzip.decompress(data))

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What it has put into the cluster."""
        lines = (line for line in self.payload["manifest"].splitlines() if line.startswith("{"))
        return [json.loads(line) for line in lines]


class Release:
    """The release that a command is about, in its cluster."""

    def __init__(self, call: Call, given: Given) -> None:
        self.call, self.name, self.namespace = call, given.args[0], given.get("namespace") or "default"
        self.cluster = Cluster(call, given.get("kubeconfig"))

    def revisions(self) -> list[Revision]:
        """The oldest first."""
        path = f"/api/v1/namespaces/{self.namespace}/secrets?labelSelector=owner%3Dhelm%2Cname%3D{self.name}"
        rows = [Revision(each) for each in (self.cluster.get(path) or {}).get("items") or ()]
        return sorted(rows, key=lambda each: each.number)

    def store(self, payload: dict[str, Any], status: str, labels: dict[str, str]) -> None:
        """Keep a revision with a status."""
        whole = {**payload, "info": {"status": status, "description": ""}}
        data = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(whole).encode(), mtime=0)))
        number = str(payload["version"])
        own = {"name": self.name, "owner": "helm", "status": status, "version": number}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"sh.helm.release.v1.{self.name}.v{number}",
                "namespace": self.namespace,
                "labels": {**labels, **own, "modifiedAt": str(int(time.time()))},
            },
            "type": _TYPE,
            "data": {"release": data.decode()},
        }
        self.cluster.apply(secret, self.namespace, "helm")

    def apply(self, payload: dict[str, Any], objects: list[dict[str, Any]], labels: dict[str, str], word: str) -> None:
        """Put in its objects; one that is refused fails the release. Raises `Exit`."""
        notes = {RELEASE: self.name, "meta.helm.sh/release-namespace": self.namespace}
        for obj in objects:
            meta = {**obj["metadata"], "annotations": {**(obj["metadata"].get("annotations") or {}), **notes}}
            try:
                self.cluster.apply({**obj, "metadata": meta}, self.namespace, "helm")
            except Refused as refused:
                self.store(payload, "failed", labels)
                raise Exit(1, f"Error: {word} FAILED: {refused.message}") from None

    def supersede(self, revisions: list[Revision]) -> None:
        """Revisions that another one replaces."""
        for each in revisions:
            if each.status == "deployed" or each.status.startswith("pending"):
                self.store(each.payload, "superseded", each.labels)


def _upgrade(call: Call, given: Given) -> None:
    """`helm upgrade`, and `helm install`, which takes only a name that is not used yet."""
    began, release, installs = call.now(), Release(call, given), call.args[0] == "install"
    chart, own = find(call, given.args[1], given.get("version")), values(call, given)
    before = release.revisions()
    word = "UPGRADE" if before else "INSTALLATION"
    if before and installs:
        raise Exit(1, "Error: INSTALLATION FAILED: cannot re-use a name that is still in use")
    if not before and not installs and not given.on("install"):
        raise Exit(1, f'Error: UPGRADE FAILED: "{release.name}" has no deployed releases')
    if before and before[-1].status.startswith("pending-"):
        raise Exit(1, "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
    if release.cluster.get(f"/api/v1/namespaces/{release.namespace}") is None:
        raise Exit(1, f'Error: {word} FAILED: create: failed to create: namespaces "{release.namespace}" not found')
    objects = _post_rendered(call, given, rendered(chart, release.name, release.namespace, own))
    labels = dict(part.partition("=")[::2] for row in given.all("labels") for part in row.split(","))
    payload = {
        "name": release.name,
        "namespace": release.namespace,
        "version": before[-1].number + 1 if before else 1,
        "chart": {"metadata": {"name": chart.name, "version": chart.version}},
        "config": own,
        "manifest": manifest(objects),
        **_apply_method(call, before[-1].payload if before else None),
    }
    if given.get("dry-run"):
        call.say(json.dumps({**payload, "info": {"status": "pending-upgrade" if before else "pending-install"}}))
        return
    release.store(payload, "pending-upgrade" if before else "pending-install", labels)
    call.checkpoint()
    if given.on("force-conflicts") and payload["apply_method"] != _SERVER_SIDE:
        release.store(payload, "failed", labels)
        raise Exit(1, f"Error: {word} FAILED: forceConflicts enabled when serverSideApply disabled")
    release.apply(payload, objects, labels, word)
    call.wait_until(began + call.times.seconds("install", f"{release.namespace}/{release.name}", release.name))
    release.supersede(before)
    release.store(payload, "deployed", labels)
    call.say(json.dumps({**payload, "info": {"status": "deployed"}}))


def _apply_method(call: Call, last: dict[str, Any] | None) -> dict[str, str]:
    """How version 4 applies a revision: as the one before, a first one by the server. Version 3 does not record it."""
    if call.folder.version("helm").startswith("v3."):
        return {}
    return {"apply_method": _SERVER_SIDE if last is None else last.get("apply_method", "csa")}


def _uninstall(call: Call, given: Given) -> None:
    release = Release(call, given)
    rows = release.revisions()
    if not rows:
        if given.on("ignore-not-found"):
            return
        raise Exit(1, f"Error: uninstall: Release not loaded: {release.name}: release: not found")
    call.checkpoint()
    call.wait("uninstall", f"{release.namespace}/{release.name}", release.name)
    for obj in rows[-1].objects:
        release.cluster.request("DELETE", release.cluster.path(obj, release.namespace))
    for each in rows:
        secret = f"sh.helm.release.v1.{release.name}.v{each.number}"
        release.cluster.request("DELETE", f"/api/v1/namespaces/{release.namespace}/secrets/{secret}")
    call.say(f'release "{release.name}" uninstalled')


def _rollback(call: Call, given: Given) -> None:
    """To the revision before."""
    release = Release(call, given)
    rows = release.revisions()
    if not rows:
        raise Exit(1, "Error: release: not found")
    old = next((each for each in rows if each.number == rows[-1].number - 1), None)
    if old is None:
        raise Exit(1, "Error: release has no 0 version")
    call.checkpoint()
    call.wait("rollback", f"{release.namespace}/{release.name}", release.name)
    payload = {**old.payload, "version": rows[-1].number + 1}
    release.apply(payload, old.objects, old.labels, "ROLLBACK")
    release.supersede(rows)
    release.store(payload, "deployed", old.labels)
    call.say("Rollback was a success! Happy Helming!")


def _post_rendered(call: Call, given: Given, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects as the post-renderer leaves them: a program for version 3, a plugin for version 4. Raises `Exit`."""
    name = given.get("post-renderer")
    if not name:
        return objects
    import subprocess

    old = call.folder.version("helm").startswith("v3.")
    argv, env = ([name], dict(call.environ)) if old else _plugin(call, name)
    done = subprocess.run(  # noqa: S603 - what the caller names, as Helm does
        [*argv, *given.all("post-renderer-args")],
        input=manifest(objects).encode(),
        capture_output=True,
        env=env,
        check=False,
    )
    if done.returncode:
        raise Exit(1, f"Error: UPGRADE FAILED: error while running post render: exit status {done.returncode}")
    return objects_of(done.stdout.decode())


def _plugin(call: Call, name: str) -> tuple[list[str], dict[str, str]]:
    """The command of a plugin, with its variables filled in, and its environment. Raises `Exit`."""
    for folder in call.environ.get("HELM_PLUGINS", "").split(os.pathsep):
        path = Path(folder) / name
        if (path / "plugin.yaml").is_file():
            (command,) = json.loads((path / "plugin.yaml").read_text())["runtimeConfig"]["platformCommand"]
            env = {**call.environ, "HELM_PLUGIN_DIR": str(path)}
            return [_filled(word, env) for word in (command["command"], *command["args"])], env
    raise Exit(1, f"Error: plugin: {{Name:{name} Type:postrenderer/v1}} not found")


def _filled(word: str, env: dict[str, str]) -> str:
    for key, value in env.items():
        word = word.replace(f"${{{key}}}", value)
    return word


_COMMANDS: Commands = {
    "upgrade": (_upgrade, _INSTALL, 2),
    "install": (_upgrade, _INSTALL, 2),
    "uninstall": (_uninstall, "kubeconfig= namespace=,n ignore-not-found timeout=", 1),
    "rollback": (_rollback, "kubeconfig= namespace=,n timeout=", 1),
}
