"""A folder of logs, objects and events for finding a cause: without secrets, bounded, as far as readable."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tasks.clients import docker, kubectl
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import file_name, write_whole
from tasks.core.redact import redact
from tasks.core.units import MIB, mib
from tasks.diagnose.node import is_last, node_death
from tasks.diagnose.pods import condition, diagnose_pod
from tasks.engine.step import Context
from tasks.facts.cluster import ContainerState, Node
from tasks.facts.facts import Facts, concurrently
from tasks.facts.objects import all_of, in_namespaces, kinds
from tasks.kube.client import Api, NoAnswer, RetryingApi
from tasks.kube.concealing import conceal_cluster, shortened, without_secrets
from tasks.kube.readiness import node_ready
from tasks.run.gather import connect, gather_state
from tasks.run.preview import conceal_settings
from tasks.run.session import Session
from tasks.settings.derived import DATA
from tasks.settings.origin import without_assigned

Item = Mapping[str, Any]
FILE, WHOLE = 2 * MIB, 100 * MIB
"""Maximum bytes of one file, and of all together."""
_CONTAINERD, _POD_LOGS = f"{DATA}/agent/containerd/containerd.log", "/var/log/pods"
_SYSTEM = "kube-system"
_NODE_LOG, _LEAST_LOG, _LARGEST_LOG, _ALL_POD_LOGS = 4 * MIB, MIB // 64, MIB, 48 * MIB
"""Maximum bytes of a node's log; of a container's log, between the two values, so that all together fit the last."""


class Export:
    """The folder. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Create it, mode 0700. Raises `BadInput` if it is not empty, or cannot be created."""
        self.folder = folder
        self.missing: list[str] = []
        """What could not be collected, each with the reason."""
        self.files = self.bytes = 0
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise BadInput(
                    f"{folder} is not empty",
                    why="files of an earlier export, or of something else, would be mixed with this one",
                    fix="choose another folder, or empty it",
                )
        except OSError as error:
            raise _unwritable(folder, error) from None

    def write(self, name: str, text: str, most: int = FILE) -> None:
        """Write a file at a relative path, with secrets masked; the middle of a long text is omitted."""
        data = shortened(without_assigned(redact(text)), most).encode("utf-8", "replace")
        with self._lock:
            if self.bytes + len(data) > WHOLE:
                self.missing.append(f"{name}: the export would be larger than {mib(WHOLE)}")
                return
            self.files, self.bytes = self.files + 1, self.bytes + len(data)
        path = self.folder.joinpath(*(_safe(part) for part in name.split("/")))
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, data.decode())
        except OSError as error:
            raise _unwritable(path, error) from None

    def json(self, name: str, value: Any, most: int = FILE) -> None:  # noqa: ANN401 - any JSON value
        """Write a JSON document."""
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", most)

    @contextlib.contextmanager
    def collecting(self, what: str) -> Iterator[None]:
        """Errors inside are noted as missing, and are no failure: an export is for broken clusters."""
        try:
            yield
        except BadInput:
            raise
        except LaunchError as error:
            self.missing.append(redact(f"{what}: {error.diagnosis.reason}"))


def _safe(part: str) -> str:
    """A safe file name."""
    name = file_name(part)[:200]
    return name if name.strip(".") else f"_{name}"


def _unwritable(path: Path, error: OSError) -> BadInput:
    reason = error.strerror or str(error)
    return BadInput(
        f"{path} cannot be written",
        why="a file, or a link to nothing, has that name" if isinstance(error, FileExistsError) else reason,
        fix="choose a writable folder on a disk with free space: --export DIR",
    )


# What of a cluster goes into it


@dataclass(kw_only=True)
class ClusterDump:
    """A cluster that can be read at least in part, and its export."""

    export: Export
    facts: Facts
    api: Api | None = None
    """None if it does not answer."""
    nodes: list[Item] = field(default_factory=list)
    pods: list[Item] = field(default_factory=list)
    masked: bool = False
    """Whether values of Secrets are known, and so masked. If not, only logs of pods in kube-system are
    exported: others may contain such values."""

    @classmethod
    def begin(cls, session: Session, export: Export) -> ClusterDump | None:
        """Find nodes, API and pods, and conceal all secrets before anything is written. None without an engine.

        Raises `BadInput` for another owner's cluster, or a context that does not exist.
        """
        made: ClusterDump | None = None
        conceal_settings(session)
        with export.collecting("the cluster"):
            made = cls(export=export, facts=gather_state(session))
            made._conceal()
        if made is not None and not made.masked and (made.facts.cluster.nodes or not made.facts.owns_cluster):
            export.missing.append("logs of pods outside of kube-system: Secrets, which they may print, cannot be read")
        return made

    def _conceal(self) -> None:
        first = self.facts.cluster.first
        if self.facts.owns_cluster and first is None:
            return
        if first is not None and first.state in (ContainerState.STOPPED, ContainerState.PAUSED):
            self.export.missing.append(f"the API: {first.name} {first.state.value}")
            return
        with self.export.collecting("the API"):
            connect(self.facts)
            self.api = self.facts.api()
        if self.api is not None:
            with self.export.collecting("Secrets"):
                names = [(each.namespace, each.name) for each in self.facts.releases]
                conceal_cluster(self.api, self.scope, names)
                self.masked = True
            self.nodes = self._listed("/api/v1/nodes")
            self.pods = self._listed(*self._places("pods"))
            for pod in self.pods:
                without_secrets(pod)  # conceals the values of its variables

    @property
    def scope(self) -> tuple[str, ...] | None:
        """Namespaces that are read; None: all. On a foreign cluster those in the settings."""
        if self.facts.owns_cluster:
            return None
        homes = [*self.facts.settings.namespaces, *(release.namespace for release in self.facts.releases)]
        return tuple(dict.fromkeys(homes))

    @cached_property
    def events(self) -> list[Item]:
        """The latest last."""
        return sorted(self._listed(*self._places("events")), key=_moment)

    @property
    def namespaces(self) -> list[str]:
        """Those that have pods."""
        return sorted({pod["metadata"]["namespace"] for pod in self.pods})

    def _places(self, plural: str) -> list[str]:
        root = "/api/v1"
        return [f"{root}/{plural}"] if self.scope is None else [f"{root}/namespaces/{n}/{plural}" for n in self.scope]

    def _listed(self, *paths: str) -> list[Item]:
        found: list[Item] = []
        if self.api is not None:
            for path in paths:
                with self.export.collecting(path):
                    found += self.api.get(path)["items"] or ()
        return found

    def write_container(self, name: str, path: str, _context: Context) -> None:
        """The log of a container on the engine."""
        with self.export.collecting(f"the log of {name}"):
            self.export.write(path, self._log(name), _NODE_LOG)

    def _log(self, name: str) -> str:
        done = self.facts.programs.run(docker.logs(name, 20_000), quiet=True)
        return done.out + done.err

    def write_node(self, node: Node, context: Context) -> None:
        """The logs of a node's container and its containerd; also of kube-system's pods, if there is no API."""
        place, run = f"nodes/{node.name}", partial(self.facts.programs.run, quiet=True)
        self.write_container(node.name, f"{place}/k3s.log", context)
        with self.export.collecting(f"{node.name}: docker inspect"):
            for found in docker.inspected(run(docker.inspect([node.id])).out):
                found["Config"]["Env"] = [f"{row.partition('=')[0]}=***" for row in found["Config"].get("Env") or ()]
                self.export.write(f"{place}/inspect.json", json.dumps(found, indent=1))
        if node.role not in ("server", "agent") or self.facts.backend.rehearsed:
            return
        if node.running:
            with self.export.collecting(f"{node.name}: crictl ps"):
                self.export.write(f"{place}/containers.txt", run(docker.node_containers(node.name)).out)
        with tempfile.TemporaryDirectory(prefix="openframe-export-") as folder:
            for what in (_CONTAINERD, *((_POD_LOGS,) if self.api is None else ())):
                with self.export.collecting(f"{node.name}: {what}"):
                    run(docker.copy_folder_out(node.name, what, folder))
            for path in sorted(Path(folder).rglob("*.log"), key=lambda each: -each.lstat().st_mtime):
                pods = path.relative_to(folder).parts[1:]  # pods/NAMESPACE_POD_UID/CONTAINER/0.log
                if path.is_symlink() or not path.is_file() or (pods and not pods[0].startswith(f"{_SYSTEM}_")):
                    continue
                self.export.write(f"{place}/{path.relative_to(folder)}", read_end(path), _LARGEST_LOG)

    def write_objects(self, _context: Context) -> None:
        """All objects by namespace and kind, without the values of Secrets."""
        assert self.api is not None
        with self.export.collecting("objects"):
            api = RetryingApi(self.api, 20.0)
            known, silent = kinds(api, "list")
            found = all_of(api, known) if self.scope is None else in_namespaces(api, known, self.scope)
            self.export.missing += [*silent, *found.unseen]
            by_file: dict[str, list[Item]] = {}
            for key, item in found.items.items():
                name = ".".join(filter(None, (key.kind.lower(), key.api_version.rpartition("/")[0], "json")))
                by_file.setdefault(f"objects/{key.namespace or '_cluster'}/{name}", []).append(without_secrets(item))
            for name, items in by_file.items():
                self.export.json(name, {"items": items})

    def write_events(self, _context: Context) -> None:
        """One per line."""
        self.export.write("events.txt", "".join(f"{_line(each)}\n" for each in self.events))

    def describe(self, kind: str, namespace: str, path: str, _context: Context) -> None:
        """All objects of a kind as described by kubectl."""
        with self.export.collecting(f"kubectl describe {kind} {namespace}".rstrip()):
            command = kubectl.describe(self.facts.paths.kubeconfig, kind, namespace)
            self.export.write(path, self.facts.programs.run(command, quiet=True).out)

    def write_pods(self, namespace: str, context: Context) -> None:
        """Descriptions, and the logs of all containers, including previous ones; unready pods first."""
        assert self.api is not None
        api, end, silent = self.api, time.monotonic() + context.deadline, list[str]()
        share = max(_LEAST_LOG, min(_LARGEST_LOG, _ALL_POD_LOGS // max(1, len(self.pods))))
        self.describe("pods", namespace, f"pods/{namespace}/describe.txt", context)

        def write_log(path: str, query: str) -> None:
            if silent or time.monotonic() > end:
                self.export.missing.append(f"{path}: timed out")
                return
            with self.export.collecting(path):
                try:
                    code, text = api.raw(f"/api/v1/namespaces/{namespace}/pods/{query}")
                except NoAnswer:
                    silent.append(path)
                    raise
                if code == 200:
                    self.export.write(path, text, share)
                elif code != 400:  # a container that was not started has none
                    raise LaunchError(f"the API answered {code}", why=text.strip()[:200])

        here = [pod for pod in self.pods if pod["metadata"]["namespace"] == namespace]
        if not self.masked and namespace != _SYSTEM:
            return
        here.sort(key=lambda pod: condition(pod, "Ready").get("status") == "True")
        with concurrently(4) as pool:
            list(pool.map(lambda each: write_log(*each), [each for pod in here for each in _logs(pod)]))

    def broken_nodes(self) -> Iterator[str]:
        """Containers of the cluster with their states, causes of their ends, and nodes that are not ready."""
        if self.facts.owns_cluster and not self.facts.cluster.nodes:
            yield "the engine has no container of this cluster"
        for node in self.facts.cluster.nodes:
            yield f"{node.name}: {node.state.value}{'' if node.running else f', exit code {node.exit_code}'}"
            message = ""
            if node.role in ("server", "agent") and not (self.facts.backend.rehearsed and node.running):
                with self.export.collecting(f"the log of {node.name}"):
                    message = self._log(node.name)
            over = not node.running and node.state is not ContainerState.PAUSED
            ended = over or (self.api is None and any(is_last(line) for line in message.splitlines()))
            if message and ended:
                death = node_death(node.name, node.exit_code, node.state is ContainerState.LOOPING, message)
                yield from (f"  {line}" for line in str(death).splitlines())
        for item in self.nodes:
            if not node_ready(item):
                yield f"{item['metadata']['name']}: not ready, according to the API"

    def unready_pods(self) -> Iterator[str]:
        """Why each pod is not ready, and what to do about it."""
        for pod in self.pods:
            found = diagnose_pod(pod, self.nodes)
            if found is not None:
                yield found.reason
                yield f"  do:  {found.fix}"
                yield f"  see: pods/{pod['metadata']['namespace']}/{pod['metadata']['name']}/"

    def warnings(self) -> list[str]:
        """The latest warnings."""
        return [_line(each) for each in self.events if each.get("type") == "Warning"][-30:]


def read_end(path: Path) -> str:
    """The end of a file; an unreadable file yields a message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 8 * MIB))
            return file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}\n"


def _logs(pod: Item) -> Iterator[Sequence[str]]:
    """For each container of a pod, the file for its log and the query."""
    meta, status = pod["metadata"], pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for row in status.get(kind) or ():
            path = f"pods/{meta['namespace']}/{meta['name']}/{row['name']}"
            query = f"{meta['name']}/log?container={row['name']}&timestamps=true&tailLines=5000"
            yield f"{path}.log", query
            if row.get("restartCount"):
                yield f"{path}.previous.log", f"{query}&previous=true"


def _moment(event: Item) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _line(event: Item) -> str:
    of = event.get("involvedObject") or {}
    what = "/".join(str(of[part]) for part in ("namespace", "kind", "name") if of.get(part))
    times = f" (x{event['count']})" if (event.get("count") or 1) > 1 else ""
    return f"{_moment(event)} {event.get('type')} {event.get('reason')} {what}{times}: {event.get('message') or ''}"
