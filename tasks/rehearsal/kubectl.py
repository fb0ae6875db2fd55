"""The simulated kubectl, and how it and helm reach a rehearsed cluster: by the port in a kubeconfig."""

import json
import os
from pathlib import Path
from typing import Any

from tasks.kube.objects import path, root
from tasks.process.command import Command, CommandFailed
from tasks.process.programs import Programs
from tasks.rehearsal.apiserver import ApiServer, Silent, port_of
from tasks.rehearsal.folder import VERSIONS
from tasks.rehearsal.objects import BUILT_IN
from tasks.rehearsal.program import Call, Commands, Exit, Given, dispatch

_GROUPS = ("v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "storage.k8s.io/v1")
"""Where `get` looks up a kind without its group."""


def main(call: Call) -> None:
    """Raises `Exit`, `getopt.GetoptError`."""
    if call.args[:1] == ["--kubeconfig"]:  # it may precede the command, as in the message of a failed launch
        call.args = [*call.args[2:], *call.args[:2]]
    act, given = dispatch(call, _COMMANDS)
    try:
        act(call, given)
    except Refused as refused:
        raise Exit(1, f"Error from server ({refused.reason}): {refused.message}") from None


class Refused(Exception):
    """The API has rejected a request."""

    def __init__(self, text: str) -> None:
        status = json.loads(text) if text.startswith("{") else {"message": text}
        self.reason, self.message = str(status.get("reason") or "InternalError"), str(status.get("message") or text)
        super().__init__(self.message)


class Cluster:
    """The API behind a kubeconfig. Raises `Exit` if its cluster is not rehearsed."""

    def __init__(self, call: Call, kubeconfig: str) -> None:
        self._port = _port(call, kubeconfig)
        self._server = ApiServer(call.folder)

    def request(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        """Code and text. Raises `Exit` without a response."""
        try:
            return self._server.request(method, self._port, path, body)
        except Silent:
            message = f"The connection to the server 127.0.0.1:{self._port} was refused"
            raise Exit(1, f"{message} - did you specify the right host or port?") from None

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A document; None if it does not exist. Raises `Refused`."""
        code, text = self.request("GET", path)
        if code == 404:
            return None
        if code >= 400:
            raise Refused(text)
        return json.loads(text)

    def path(self, obj: dict[str, Any], namespace: str) -> str:
        """The path of an object of a release, whose kinds are built in."""
        kind = obj["apiVersion"], obj["kind"]
        plural, namespaced = next(each[2:] for each in BUILT_IN if each[:2] == kind)
        return path(obj["apiVersion"], plural, namespace if namespaced else "", obj["metadata"]["name"])

    def apply(self, obj: dict[str, Any], namespace: str, manager: str) -> None:
        """Server-side apply of one object. Raises `Refused`, `Exit`."""
        query = f"?fieldManager={manager}&force=true"
        code, text = self.request("PATCH", self.path(obj, namespace) + query, json.dumps(obj))
        if code >= 400:
            raise Refused(text)


def _port(call: Call, kubeconfig: str) -> int:
    """Raises `Exit`; a cluster that is not rehearsed is never contacted."""
    path = Path(kubeconfig or call.environ.get("KUBECONFIG", "").split(":")[0] or "/nonexistent")
    try:
        found = port_of(path.read_text(encoding="utf-8"))
    except OSError:
        raise Exit(1, f"error: stat {path}: no such file or directory") from None
    if found is None:
        raise Exit(1, f"REHEARSAL: {path} points to a cluster that is not rehearsed; nothing real is reached")
    return found


def objects_of(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML stream. Raises `Exit`."""
    from tasks.core import yaml

    try:
        found = [each.value for each in yaml.documents(text)]
    except yaml.YamlError as error:
        raise Exit(1, f"error: error parsing STDIN: error converting YAML to JSON: yaml: {error}") from None
    return [each for each in found if isinstance(each, dict)]


def _version(call: Call, _given: Given) -> None:
    call.say(json.dumps({"clientVersion": {"gitVersion": VERSIONS["kubectl"], "platform": "REHEARSAL"}}))


def _get(call: Call, given: Given) -> None:
    """Inspection: objects of a kind, or a path of the API."""
    call.wait("kubectl")
    cluster, path = Cluster(call, given.get("kubeconfig")), given.get("raw")
    if not path:
        kind, *names = [part for word in given.args for part in word.split("/")]
        path = _path(cluster, kind, "" if given.on("all-namespaces") else given.get("namespace") or "default")
        path += f"/{names[0]}" if names else ""
    code, text = cluster.request("GET", path)
    if code >= 400:
        raise Refused(text)
    if given.get("raw") or given.get("output") == "json":
        call.say(text)
        return
    found = json.loads(text)
    for each in found.get("items", [found]):
        call.say("   ".join(filter(None, (each["metadata"].get("namespace"), each["metadata"]["name"]))))


def _delete(call: Call, given: Given) -> None:
    """The objects of stdin; no failure if they are gone."""
    call.wait("kubectl")
    cluster = Cluster(call, given.get("kubeconfig"))
    for each in objects_of(call.stdin.read().decode()):
        cluster.request("DELETE", cluster.path(each, each["metadata"].get("namespace") or "default"))
        call.say(f'{each["kind"].lower()} "{each["metadata"]["name"]}" deleted')


def _path(cluster: Cluster, kind: str, namespace: str) -> str:
    for version in _GROUPS:
        for row in (cluster.get(root(version)) or {}).get("resources") or ():
            if kind.lower() in (row["name"], row["kind"].lower()):
                return path(version, row["name"], namespace if row["namespaced"] else "")
    raise Exit(1, f'error: the server doesn\'t have a resource type "{kind}"')


def _kustomize(call: Call, given: Given) -> None:
    """With the real kubectl, if it is installed: rendering contacts no cluster."""
    folders = [each for each in call.environ.get("PATH", "").split(os.pathsep) if Path(each) != call.folder.bin]
    own = Path(__file__).parents[2] / ".tools" / "bin"
    real = Programs(folder=own, env={"PATH": os.pathsep.join(folders)}).where("kubectl")
    if real is None:
        raise Exit(1, "error: REHEARSAL: a kustomization needs the real kubectl, which is not installed")
    try:
        done = Programs(env=call.environ).run(Command(argv=(real, "kustomize", *given.args)))
    except CommandFailed as error:
        raise Exit(error.done.code, error.done.err.strip()) from None
    call.write(done.raw)


_COMMANDS: Commands = {
    "version": (_version, "client output=,o", 0),
    "get": (_get, "kubeconfig= namespace=,n output=,o raw= all-namespaces,A", 0),
    "delete": (_delete, "kubeconfig= ignore-not-found wait= filename=,f", 0),
    "kustomize": (_kustomize, "enable-helm load-restrictor=", 1),
}
