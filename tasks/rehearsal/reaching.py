"""How kubectl and helm reach a rehearsed cluster: by the port in a kubeconfig, as the real ones do."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

from tasks.rehearsal import kinds
from tasks.rehearsal.call import Exit
from tasks.rehearsal.kube import Kube, Silent
from tasks.rehearsal.place import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasks.rehearsal.call import Call


class Cluster:
    """The API behind a kubeconfig."""

    def __init__(self, call: Call, kubeconfig: str) -> None:
        self.port = _port(call, kubeconfig)
        self._kube = Kube(call.place)

    def ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        """Code and text. Raises `Exit` where nothing answers."""
        try:
            return self._kube.request(method, self.port, path, body)
        except Silent:
            told = f"The connection to the server 127.0.0.1:{self.port} was refused"
            raise Exit(1, f"{told} - did you specify the right host or port?") from None

    def get(self, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """A document; None where it is not there. Raises `Refused`."""
        code, text = self.ask("GET", path)
        if code == 404:
            return None
        if code >= 400:
            raise Refused(text)
        return json.loads(text)

    def path(self, obj: dict[str, Any], namespace: str) -> str:
        """Of an object, by the kinds that are served. Raises `Exit` for a kind that is not."""
        api_version, kind = str(obj.get("apiVersion", "")), str(obj.get("kind", ""))
        name = str((obj.get("metadata") or {}).get("name", ""))
        found = self.get(kinds.root(api_version)) or {}
        row = next(
            (each for each in found.get("resources") or () if each["kind"] == kind and "/" not in each["name"]), None
        )
        if row is None:
            told = f'no matches for kind "{kind}" in version "{api_version}"'
            raise Exit(
                1,
                f'error: resource mapping not found for name: "{name}" namespace: "{namespace}" from "STDIN": {told}\n'
                "ensure CRDs are installed first",
            )
        where = f"/namespaces/{namespace}" if row.get("namespaced") else ""
        return f"{kinds.root(api_version)}{where}/{row['name']}/{name}"


class Refused(Exception):
    """The API has not done what it was asked."""

    def __init__(self, text: str) -> None:
        told = json.loads(text)
        self.reason, self.message = str(told.get("reason") or "InternalError"), str(told.get("message") or text)
        super().__init__(self.message)

    @property
    def text(self) -> str:
        """As kubectl tells it."""
        return f"Error from server ({self.reason}): {self.message}"


def _port(call: Call, kubeconfig: str) -> int:
    """Raises `Exit`; a cluster that is not rehearsed is never reached."""
    from tasks.core import yaml

    path = Path(kubeconfig or call.environ.get("KUBECONFIG", "").split(":")[0] or "/nonexistent")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        if kubeconfig:
            raise Exit(1, f"error: stat {kubeconfig}: no such file or directory") from None
        raise Exit(1, "The connection to the server localhost:8080 was refused") from None
    document = yaml.load(text)
    current = document.get("current-context")
    context: dict[str, Any] = next(
        (each["context"] for each in document.get("contexts") or () if each["name"] == current), {}
    )
    for each in document.get("clusters") or ():
        if each.get("name") == context.get("cluster"):
            if MARK not in json.dumps(each.get("cluster") or {}):
                break
            return urlsplit(str(each["cluster"].get("server"))).port or 443
    raise Exit(1, f"REHEARSAL: {path} leads to a cluster that is not rehearsed; nothing real is reached")


def documents(text: str) -> list[dict[str, Any]]:
    """The objects of a stream, those of lists among them. Raises `Exit`."""
    from tasks.core import yaml

    try:
        found = [each.value for each in yaml.documents(text)]
    except yaml.YamlError as error:
        raise Exit(1, f"error: error parsing STDIN: error converting YAML to JSON: yaml: {error}") from None
    made: list[dict[str, Any]] = []
    for each in found:
        if isinstance(each, dict):
            made += each.get("items") or [] if each.get("kind") == "List" else [each]
    return made
