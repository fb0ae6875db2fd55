"""kubectl's command lines: always with a private kubeconfig, never the current context."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tasks.process.command import Command

_PLAIN: Mapping[str, str] = MappingProxyType({"KUBERC": "off"})
"""Ignores the user's own defaults (kubectl 1.33 or later, ~/.kube/kuberc): its examples, `get --output` and
`delete --interactive`, would break these commands (Kubernetes: reference of kuberc)."""


def _call(kubeconfig: Path, *words: str, deadline: float, stdin: str | None = None, shown: str = "OBJECTS") -> Command:
    """One call; `stdin` is read with `--filename -`, and displayed as `shown`."""
    argv = ("kubectl", "--kubeconfig", str(kubeconfig), *words)
    if stdin is None:
        return Command(argv=argv, env=_PLAIN, deadline=deadline)
    return Command(argv=(*argv, "--filename", "-"), env=_PLAIN, stdin=stdin, shown_stdin=shown, deadline=deadline)


def apply(kubeconfig: Path, stream: str, *, manager: str, dry_run: bool = False, deadline: float = 60.0) -> Command:
    """Server-side apply of objects. Code 1 with the objects' names on stderr if one is rejected.

    `dry_run`: the server returns what they would become, and changes nothing.
    """
    words = ["apply", "--server-side", "--force-conflicts", f"--field-manager={manager}"]
    if dry_run:
        words += ["--dry-run=server", "--output=json"]
    return _call(kubeconfig, *words, stdin=stream, deadline=deadline)


def delete(kubeconfig: Path, stream: str, *, deadline: float = 120.0) -> Command:
    """Delete objects; no failure if they are gone."""
    return _call(kubeconfig, "delete", "--ignore-not-found", "--wait=false", stdin=stream, deadline=deadline)


def raw(kubeconfig: Path, path: str, *, deadline: float = 30.0) -> Command:
    """The API's response to a path."""
    return _call(kubeconfig, "get", "--raw", path, deadline=deadline)


_VERBS = {"POST": "create", "PUT": "replace", "DELETE": "delete"}


def send(kubeconfig: Path, method: str, path: str, body: str, *, deadline: float = 60.0) -> Command:
    """One request with a body, unchanged: without discovery, and with at most one effect."""
    return _call(kubeconfig, _VERBS[method], "--raw", path, stdin=body, shown="OBJECT", deadline=deadline)


def kustomize(folder: Path, *, deadline: float) -> Command:
    """The objects of a kustomization folder, as YAML; no cluster is contacted. They may contain secrets."""
    return Command(argv=("kubectl", "kustomize", str(folder)), env=_PLAIN, deadline=deadline)


def describe(kubeconfig: Path, kind: str, namespace: str = "", *, deadline: float = 60.0) -> Command:
    """All objects of a kind in words, with their events; `namespace` for a namespaced kind."""
    where = ("--namespace", namespace) if namespace else ()
    return _call(kubeconfig, "describe", kind, *where, deadline=deadline)


def flattened(context: str) -> Command:
    """One context of the user's kubeconfig, with everything that it needs, as a file of its own."""
    return Command(
        argv=("kubectl", "config", "view", "--minify", "--flatten", "--raw", f"--context={context}", "--output=yaml"),
        env=_PLAIN,
    )


def contexts() -> Command:
    """Names of all contexts of the user's kubeconfig; code 1 where a file of it cannot be read."""
    return Command(argv=("kubectl", "config", "get-contexts", "--output=name"), env=_PLAIN, ok=(0, 1))
