"""The simulated helm, version 4 or that of versions.json.

Charts are generated from their names: a Deployment and its Service. A release's revisions are Secrets, as in Helm.
"""

import base64
import gzip
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from tasks.clients.helm import is_exact, record_name
from tasks.kube.ownership import RELEASE_NAME, RELEASE_NAMESPACE
from tasks.kube.releases import OWN_LABELS, SERVER_SIDE, payload
from tasks.process.command import Command, CommandFailed
from tasks.process.programs import Programs
from tasks.rehearsal.kubectl import Cluster, Refused, objects_of
from tasks.rehearsal.program import Call, Commands, Exit, Given, dispatch

Object = dict[str, Any]

_NEWEST = "1.0.0"
_FILES = ("Chart.yaml", "values.yaml")
"""What is read of a chart."""


def main(call: Call) -> None:
    """Raises `Exit`, `getopt.GetoptError`."""
    if call.args[:1] == ["version"]:
        call.say(f"{call.folder.version('helm')}+gREHEARSAL")
        return
    act, given = dispatch(call, {**_COMMANDS, **(_ONLY_3 if _is_old(call) else _ONLY_4)})
    try:
        act(call, given)
    except Refused as refused:
        raise Exit(1, f"Error: {refused.message}") from None


def _is_old(call: Call) -> bool:
    """Whether it is version 3."""
    return call.folder.version("helm").startswith("v3.")


# -- charts -----------------------------------------------------------------------------------------------


class _Chart:
    """A chart's name, version, and image unless values override it."""

    def __init__(self, name: str, version: str, image: object = None) -> None:
        self.name, self.version = name, version
        usual = f"docker.io/library/{re.sub(r'[^a-z0-9-]', '-', name.lower())}:{version.lstrip('v')}"
        self.image = image if isinstance(image, str) else usual

    def packed(self) -> bytes:
        """Like `helm package`; deterministic."""
        head = {"apiVersion": "v2", "name": self.name, "version": self.version, "type": "application"}
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as archive:
            for name, content in zip(_FILES, (head, {"image": self.image, "replicas": 1}), strict=True):
                data, info = json.dumps(content).encode(), tarfile.TarInfo(f"{self.name}/{name}")
                info.size, info.mode = len(data), 0o644
                archive.addfile(info, io.BytesIO(data))
        return made.getvalue()

    def rendered(self, release: str, namespace: str, values: Mapping[str, Any]) -> list[Object]:
        """The objects of a release of it."""
        name = release if self.name in release else f"{release}-{self.name}"[:63]
        labels = {"app.kubernetes.io/name": self.name, "app.kubernetes.io/instance": release}
        image = values["image"] if isinstance(values.get("image"), str) else self.image
        replicas = values.get("replicas", values.get("replicaCount", 1))
        container = {"name": self.name, "image": image, "readinessProbe": {"tcpSocket": {"port": 80}}}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        meta = {"name": name, "namespace": namespace, "labels": {**labels, "app.kubernetes.io/managed-by": "Helm"}}
        ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
        spec = {
            "replicas": replicas if isinstance(replicas, int) else 1,
            "selector": {"matchLabels": labels},
            "template": pod,
        }
        return [
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": ports}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
        ]


def _find(call: Call, reference: str, version: str) -> _Chart:
    """A chart by its reference: a path, an OCI address, or a repository's. Raises `Exit`.

    For a range of versions it is the latest one of all charts.
    """
    path = Path(reference)
    if reference.startswith((".", "/")) or path.exists():
        return _read(path)
    repository, _, name = reference.partition("/")
    if reference.startswith("oci://"):
        name = reference.rstrip("/").rpartition("/")[2]
    elif not name or repository not in _repositories(call):
        raise Exit(1, f"Error: repo {repository} not found")
    elif call.faults.strike("image-missing", f"chart {reference}"):
        raise Exit(1, f'Error: chart "{name}" version "{version}" not found in {repository} repository')
    return _Chart(name, version if is_exact(version) else _NEWEST)


def _read(path: Path) -> _Chart:
    """The chart in an archive, or a folder. Raises `Exit`."""
    texts: dict[str, str] = {}
    if path.is_dir():
        texts = {name: (path / name).read_text() for name in _FILES if (path / name).is_file()}
    else:
        try:
            with tarfile.open(path) as archive:
                for member in archive.getmembers():
                    name = member.name.partition("/")[2]
                    file = archive.extractfile(member) if name in _FILES else None
                    if file is not None:
                        texts[name] = file.read().decode("utf-8", "replace")
        except (tarfile.TarError, OSError, EOFError):
            raise Exit(1, f"Error: file '{path}' does not appear to be a gzipped archive; got 'text/plain'") from None
    if "Chart.yaml" not in texts:
        raise Exit(1, "Error: Chart.yaml file is missing")
    head, values = (_load(texts.get(name, "{}")) or {} for name in _FILES)
    return _Chart(str(head["name"]), str(head["version"]), values.get("image"))


def _load(text: str) -> Any:  # noqa: ANN401 - any YAML value
    """A YAML document; tasks and simulated programs write JSON, which is parsed at a tenth of the cost."""
    try:
        return json.loads(text)
    except ValueError:
        from tasks.core import yaml

        return yaml.load(text)


def _repositories(call: Call) -> list[str]:
    path = Path(call.environ.get("HELM_REPOSITORY_CONFIG", ""))
    found = _load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [str(each["name"]) for each in found.get("repositories") or ()]


def _manifest(objects: list[Object]) -> str:
    """As Helm prints it."""
    return "".join(f"---\n# Source: rehearsed\n{json.dumps(each)}\n" for each in objects)


def _values(call: Call) -> dict[str, Any]:
    """Values from stdin."""
    return dict(_load(call.stdin.read().decode()) or {})


def _update(call: Call, given: Given) -> None:
    call.checkpoint()
    call.wait("repo update")
    failed = [name for name in given.args if call.faults.strike("repository-fails", name)]
    for name in failed:
        call.say(f'...Unable to get an update from the "{name}" chart repository:')
        call.say(f"\tfailed to fetch {name}/index.yaml : 500 Internal Server Error")
    if failed and (given.on("fail-on-repo-update-fail") or not _is_old(call)):
        raise Exit(1, f"Error: failed to update the following repositories: [{' '.join(failed)}]")
    call.say("Update Complete. ⎈Happy Helming!⎈")


def _pull(call: Call, given: Given) -> None:
    reference = given.args[0]
    chart = _find(call, reference, given.get("version"))
    call.checkpoint()
    call.wait("chart pull", reference)
    (Path(given.get("destination")) / f"{chart.name}-{chart.version}.tgz").write_bytes(chart.packed())


def _template(call: Call, given: Given) -> None:
    release, reference = given.args
    chart = _find(call, reference, "")
    call.wait("template", release)
    call.write(_manifest(chart.rendered(release, given.get("namespace"), _values(call))).encode())


def _package(call: Call, given: Given) -> None:
    chart = _read(Path(given.args[0]))
    target = Path(given.get("destination")) / f"{chart.name}-{chart.version}.tgz"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(chart.packed())
    call.say(f"Successfully packaged chart and saved it to: {target}")


def _dependencies(call: Call, given: Given) -> None:
    """For a chart's folder; versions are not compared."""
    folder = Path(given.args[0])
    if not (folder / "Chart.yaml").is_file():
        raise Exit(1, "Error: Chart.yaml file is missing")
    call.say("NAME\tVERSION\tREPOSITORY\tSTATUS")
    for row in _load((folder / "Chart.yaml").read_text(encoding="utf-8")).get("dependencies") or ():
        name = str(row["name"])
        unpacked = (folder / "charts" / name / "Chart.yaml").is_file()
        state = "unpacked" if unpacked else "ok" if any((folder / "charts").glob(f"{name}-*.tgz")) else "missing"
        call.say("\t".join((name, str(row.get("version") or ""), str(row.get("repository") or ""), state)))


# -- releases ---------------------------------------------------------------------------------------------


class _Revision:
    """One revision of a release."""

    def __init__(self, secret: Object) -> None:
        labels = secret["metadata"]["labels"]
        self.number, self.status = int(labels["version"]), str(labels["status"])
        self.labels = {key: value for key, value in labels.items() if key not in OWN_LABELS}
        self.payload = payload(secret["data"]["release"])

    @property
    def objects(self) -> list[Object]:
        """Its applied objects."""
        return [json.loads(line) for line in self.payload["manifest"].splitlines() if line.startswith("{")]


class _Release:
    """The release of a command, in its cluster."""

    def __init__(self, call: Call, given: Given) -> None:
        self.name, self.namespace = given.args[0], given.get("namespace")
        self.key = (f"{self.namespace}/{self.name}", self.name)
        self.cluster = Cluster(call, given.get("kubeconfig"))
        path = f"/api/v1/namespaces/{self.namespace}/secrets?labelSelector=owner%3Dhelm%2Cname%3D{self.name}"
        rows = [_Revision(each) for each in (self.cluster.get(path) or {}).get("items") or ()]
        self.revisions = sorted(rows, key=lambda each: each.number)

    def store(self, payload: Mapping[str, Any], status: str, labels: Mapping[str, str]) -> None:
        """Store a revision with a status."""
        whole, number = {**payload, "info": {"status": status, "description": ""}}, str(payload["version"])
        data = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(whole).encode(), mtime=0)))
        own = {"name": self.name, "owner": "helm", "status": status, "version": number}
        meta = {
            "name": record_name(self.name, payload["version"]),
            "namespace": self.namespace,
            "labels": {**labels, **own, "modifiedAt": str(int(time.time()))},
        }
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "helm.sh/release.v1"}
        self.cluster.apply({**secret, "data": {"release": data.decode()}}, self.namespace, "helm")

    def deploy(self, payload: dict[str, Any], objects: list[Object], labels: Mapping[str, str], word: str) -> None:
        """Apply its objects; a rejected one fails the release. Raises `Exit`."""
        notes = {RELEASE_NAME: self.name, RELEASE_NAMESPACE: self.namespace}
        for obj in objects:
            meta = {**obj["metadata"], "annotations": {**(obj["metadata"].get("annotations") or {}), **notes}}
            try:
                self.cluster.apply({**obj, "metadata": meta}, self.namespace, "helm")
            except Refused as refused:
                self.store(payload, "failed", labels)
                raise Exit(1, f"Error: {word} FAILED: {refused.message}") from None

    def finish(self, payload: dict[str, Any], labels: Mapping[str, str]) -> None:
        """Mark the revision as deployed, and the previous ones as superseded."""
        for each in self.revisions:
            if each.status == "deployed" or each.status.startswith("pending"):
                self.store(each.payload, "superseded", each.labels)
        self.store(payload, "deployed", labels)


def _upgrade(call: Call, given: Given) -> None:
    """`helm upgrade --install`."""
    chart, own, release = _find(call, given.args[1], ""), _values(call), _Release(call, given)
    last = release.revisions[-1] if release.revisions else None
    word = "UPGRADE" if last else "INSTALLATION"
    if last and last.status.startswith("pending-"):
        raise Exit(1, "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
    if release.cluster.get(f"/api/v1/namespaces/{release.namespace}") is None:
        raise Exit(1, f'Error: {word} FAILED: create: failed to create: namespaces "{release.namespace}" not found')
    objects = _post_rendered(call, given, chart.rendered(release.name, release.namespace, own))
    labels = dict(part.partition("=")[::2] for row in given.all("labels") for part in row.split(","))
    payload = {
        "name": release.name,
        "namespace": release.namespace,
        "version": last.number + 1 if last else 1,
        "chart": {"metadata": {"name": chart.name, "version": chart.version}},
        "config": own,
        "manifest": _manifest(objects),
    }
    if not _is_old(call):  # version 4 applies a revision like the previous one, a first one server-side
        payload["apply_method"] = last.payload.get("apply_method", "csa") if last else SERVER_SIDE
    pending = "pending-upgrade" if last else "pending-install"
    if given.get("dry-run"):
        call.say(json.dumps({**payload, "info": {"status": pending}}))
        return
    release.store(payload, pending, labels)
    call.checkpoint()
    release.deploy(payload, objects, labels, word)
    call.wait_until(call.began + call.times.seconds("install", *release.key))
    release.finish(payload, labels)
    call.say(json.dumps({**payload, "info": {"status": "deployed"}}))


def _uninstall(call: Call, given: Given) -> None:
    """A missing one is no failure: `--ignore-not-found`."""
    release = _Release(call, given)
    if not release.revisions:
        return
    call.checkpoint()
    call.wait("uninstall", *release.key)
    for obj in release.revisions[-1].objects:
        release.cluster.request("DELETE", release.cluster.path(obj, release.namespace))
    for each in release.revisions:
        secret = record_name(release.name, each.number)
        release.cluster.request("DELETE", f"/api/v1/namespaces/{release.namespace}/secrets/{secret}")
    call.say(f'release "{release.name}" uninstalled')


def _rollback(call: Call, given: Given) -> None:
    """To the previous revision. Raises `Exit`."""
    release = _Release(call, given)
    if len(release.revisions) < 2:
        raise Exit(1, f"Error: release{' has no 0 version' if release.revisions else ': not found'}")
    old, last = release.revisions[-2:]
    call.checkpoint()
    call.wait("rollback", *release.key)
    payload = {**old.payload, "version": last.number + 1}
    release.deploy(payload, old.objects, old.labels, "ROLLBACK")
    release.finish(payload, old.labels)
    call.say("Rollback was a success! Happy Helming!")


def _post_rendered(call: Call, given: Given, objects: list[Object]) -> list[Object]:
    """The objects as returned by the post-renderer: a program for version 3, a plugin for version 4. Raises `Exit`."""
    name = given.get("post-renderer")
    if not name:
        return objects
    argv, env = ([name], call.environ) if _is_old(call) else _plugin(call, name)
    command = Command(argv=(*argv, *given.all("post-renderer-args")), stdin=_manifest(objects))
    try:
        return objects_of(Programs(env=env).run(command).out)
    except CommandFailed as error:
        raise Exit(
            1, f"Error: UPGRADE FAILED: error while running post render: exit status {error.exit_code}"
        ) from None


def _plugin(call: Call, name: str) -> tuple[list[str], dict[str, str]]:
    """The command of a plugin, with its variables filled in, and its environment. Raises `Exit`."""
    for folder in call.environ.get("HELM_PLUGINS", "").split(os.pathsep):
        path = Path(folder) / name
        if (path / "plugin.yaml").is_file():
            (command,) = json.loads((path / "plugin.yaml").read_text())["runtimeConfig"]["platformCommand"]
            env = {**call.environ, "HELM_PLUGIN_DIR": str(path)}
            words = (command["command"], *command["args"])
            return [Template(word).safe_substitute(env) for word in words], env
    raise Exit(1, f"Error: plugin: {{Name:{name} Type:postrenderer/v1}} not found")


_CHART = "version= plain-http registry-config= namespace=,n"
_INSTALL = (
    "kubeconfig= namespace=,n values=,f install,i reset-values labels=,l timeout= disable-openapi-validation "
    "post-renderer= post-renderer-args= output=,o dry-run="
)
_ROLLBACK = "kubeconfig= namespace=,n timeout="
_COMMANDS: Commands = {
    "repo update": (_update, "", 0),
    "pull": (_pull, f"{_CHART} destination=,d", 1),
    "template": (_template, f"{_CHART} values=,f include-crds kube-version=", 2),
    "package": (_package, "destination=,d", 1),
    "dependency list": (_dependencies, "", 1),
    "upgrade": (_upgrade, _INSTALL, 2),
    "uninstall": (_uninstall, f"{_ROLLBACK} ignore-not-found", 1),
    "rollback": (_rollback, _ROLLBACK, 1),
}
_ONLY_3: Commands = {"repo update": (_update, "fail-on-repo-update-fail", 0)}
_ONLY_4: Commands = {
    "upgrade": (_upgrade, f"{_INSTALL} force-conflicts", 2),
    "rollback": (_rollback, f"{_ROLLBACK} force-conflicts", 1),
}
"""Commands with options of only one of the versions."""
