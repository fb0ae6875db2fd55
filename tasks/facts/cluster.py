"""The state of a cluster and of its containers on the engine, and its owner: found by exact label, read only.

Users of one engine have the same cluster names by default, and access to each other's nodes: a label on nodes, set
at their creation, names the owner. That is a user (uid) of a machine (/etc/machine-id): the same from every clone and
shell. A container with an engine outside of it has the machine id of an image, or none; there, and on a system without
one, the state folder counts instead. OPENFRAME_OWNER names an owner that several users or job containers share.
"""

import contextlib
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from tasks.clients import docker
from tasks.core.errors import BadInput, LaunchError
from tasks.core.files import MACHINE, sha256, unfinished
from tasks.core.paths import user_name
from tasks.core.redact import redact
from tasks.facts.endpoint import contained, endpoint, outside
from tasks.facts.mounts import restored
from tasks.process.programs import Programs

_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
MARKER = "/openframe-complete"
"""A file in server-0 that marks its creation as recorded complete; it survives stop and start."""
_NO_FILE = re.compile(r"[Cc]ould not find the file|No such container")
"""Docker 20.10 says `No such container:path` for a missing file in older clients, all others the first."""
UNKNOWN = "an unknown owner"
"""The owner of a cluster that was created before owners were recorded, and has no files in the state folder."""
_SETTLED = 10.0
"""Seconds after which Docker itself counts a start as successful (moby: `restartmanager`)."""
_RESTARTS = 2
"""Number of restarts by the engine, the last one more recent than that, for a crash loop. A single one may help."""
_TELLING = re.compile(r"^(?:panic|fatal|error)\b|\blevel=(?:fatal|panic|error)\b|\b(?:FATAL|ERROR|ERRO|FATA)\b")
_MESSAGE = re.compile(r'\bmsg="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A user, or a name shared by users."""

    id: str
    name: str
    """For display: `alice@laptop`."""

    @property
    def label(self) -> str:
        """As a label's value."""
        return urlencode({"id": self.id, "name": self.name})


def owner_of(label: str) -> Owner | None:
    """The owner in a label; None if it has none."""
    fields = {name: texts[0] for name, texts in parse_qs(label).items()}
    return Owner(id=fields["id"], name=fields.get("name", "somebody")) if "id" in fields else None


def owner(environ: Mapping[str, str], state: Path, given: str | None = None) -> Owner:
    """The owner of this process's clusters. `given`: setting cluster.owner; `state`: the user's state folder."""
    if given:
        return Owner(id=sha256(f"name\n{given}", 16), name=given)
    name = f"{user_name()}@{socket.gethostname()}"
    return Owner(id=sha256(f"user\n{os.geteuid()}\n{_place(environ, state)}", 16), name=name)


def _place(environ: Mapping[str, str], state: Path) -> str:
    if not (contained(environ) and outside(environ, endpoint(environ))):
        with contextlib.suppress(OSError):
            text = MACHINE.read_text().strip()
            if _MACHINE_ID.fullmatch(text):
                return text
    return _identity(state)


def _identity(state: Path) -> str:
    """An id of the state folder, created on first use; if it cannot be stored, the machine's name."""
    path = state / "identity"
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, fresh = unfinished(path)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(os.urandom(16).hex())
            with contextlib.suppress(FileExistsError):  # another run has created it meanwhile
                path.hardlink_to(fresh)
        finally:
            fresh.unlink()
        return path.read_text().strip()
    except OSError:
        return socket.gethostname()


class ContainerState(Enum):
    """The state of a container."""

    CREATED = "was never started"
    RUNNING = "runs"
    PAUSED = "is paused"
    LOOPING = "keeps ending"
    """The engine restarts it after each exit; in between it may run for a moment."""
    STOPPED = "is stopped"


def container_state(inspected: Mapping[str, Any], now: float | None = None) -> ContainerState:
    """The state of a container from `docker container inspect`. `now`: seconds of the epoch."""
    found = inspected["State"]
    if found.get("Status") == "created":
        return ContainerState.CREATED
    if found.get("Restarting"):
        return ContainerState.LOOPING
    if not found.get("Running"):
        return ContainerState.STOPPED
    if found.get("Paused"):
        return ContainerState.PAUSED
    again = int(inspected.get("RestartCount") or 0) >= _RESTARTS
    young = age(found, time.time() if now is None else now) < _SETTLED
    return ContainerState.LOOPING if again and young else ContainerState.RUNNING


def last_words(programs: Programs, name: str) -> str:
    """The line of a container's log that explains its end best; empty if there is none."""
    with contextlib.suppress(LaunchError):
        return telling_line((done := programs.run(docker.logs(name), quiet=True)).out + done.err)
    return ""


def telling_line(log: str) -> str:
    """The last line with an error, reduced to its message; else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    found = next((line for line in reversed(lines) if _TELLING.search(line)), lines[-1] if lines else "")
    message = _MESSAGE.search(found)
    return redact(message[1] if message else found)[:200]


def age(found: Mapping[str, Any], now: float) -> float:
    """Seconds since its last start; large if unknown."""
    try:
        return abs(now - datetime.fromisoformat(str(found["StartedAt"])).timestamp())
    except (KeyError, ValueError):
        return float("inf")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The claimant of a cluster name."""

    owner: Owner
    known: bool = True
    """The state folder has files for a cluster of this name: if it has no owner label, it belongs to the claimant."""


class Presence(Enum):
    """Whether a cluster exists."""

    ABSENT = "absent"
    RUNNING = "running"
    STOPPED = "stopped"
    """All or some of its nodes are stopped."""
    INCOMPLETE = "incomplete"
    """Created by this project, but its creation was never recorded as complete."""
    FOREIGN = "foreign"
    """A cluster of this name that this project did not create, or that belongs to another user of the engine."""

    @property
    def to_create(self) -> bool:
        """Whether a launch creates the cluster."""
        return self in (Presence.ABSENT, Presence.INCOMPLETE)

    @property
    def complete(self) -> bool:
        """Whether it was created completely, and may be used."""
        return self in (Presence.RUNNING, Presence.STOPPED)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One container of a cluster."""

    id: str
    name: str
    role: str
    """server, agent or loadbalancer, as k3d labels it."""
    state: ContainerState
    exit_code: int
    nano_cpus: int
    """CPU limit in billionths of a CPU; 0: none."""
    memory: int
    """Memory limit in bytes; 0: none."""
    published: tuple[tuple[int, str, int], ...]
    """Container port, host address, host port."""
    labels: Mapping[str, str]
    command: tuple[str, ...] = ()
    """Arguments of its entrypoint: `server` or `agent`, and arguments of k3s."""
    env: tuple[str, ...] = field(default=(), repr=False)
    """Variables as NAME=value; they may be secret."""
    binds: tuple[str, ...] = ()
    """Mounts, as SOURCE:TARGET[:OPTIONS]."""
    last: str = ""
    """For a node in a crash loop, the line of its log with the reason."""

    @property
    def kubernetes_name(self) -> str:
        """Its name in Kubernetes: the container's, except for a node restored under another name."""
        given = [word.partition("=")[2] for word in self.command if word.startswith("--node-name=")]
        return given[-1] if given else self.name

    @property
    def running(self) -> bool:
        """Whether it works: neither paused, nor in a crash loop."""
        return self.state is ContainerState.RUNNING

    @property
    def condition(self) -> str:
        """Its name, and its fault if it is more than stopped."""
        if self.state in (ContainerState.RUNNING, ContainerState.STOPPED):
            return self.name
        return f"{self.name} ({self.state.value}{f': {self.last}' if self.last else ''})"


@dataclass(frozen=True, kw_only=True)
class ClusterState:
    """A cluster on the engine."""

    name: str
    presence: Presence
    nodes: tuple[Node, ...] = ()
    owner: str = ""
    """Owner of a foreign cluster that this project created; `UNKNOWN` without an owner label."""

    def of(self, *roles: str) -> tuple[Node, ...]:
        """Nodes of these roles, in the order of their names."""
        return tuple(node for node in self.nodes if node.role in roles)

    @property
    def paused(self) -> tuple[Node, ...]:
        """Paused nodes, those first through which the API is reached."""
        rank = {"server": 0, "loadbalancer": 1}
        found = [node for node in self.nodes if node.state is ContainerState.PAUSED]
        return tuple(sorted(found, key=lambda each: rank.get(each.role, 2)))

    @property
    def only_paused(self) -> bool:
        """Whether resuming its nodes is enough to start it."""
        return bool(self.paused) and all(each.running or each in self.paused for each in self.nodes)

    @property
    def first(self) -> Node | None:
        """server-0."""
        return next(iter(self.of("server")), None)

    @property
    def network(self) -> str:
        """The network of its nodes, by name."""
        return self.nodes[0].labels.get("k3d.cluster.network", f"k3d-{self.name}")

    @property
    def label(self) -> str:
        """The settings at its creation, from a label of its first server; empty if it has none."""
        return self.first.labels.get(docker.CONFIG_LABEL, "") if self.first else ""

    @property
    def incomplete(self) -> str:
        """Why it has to be created again although nodes of it exist."""
        lost = not self.first and self.of("agent")  # a creation begins with the servers
        return "its server's container is gone" if lost else "its creation was never recorded as complete"

    def port(self, inside: int, *, first_server: bool = False) -> int | None:
        """The host port for a port of the cluster: on server-0, or preferably on the load balancer."""
        roles = ("server", "loadbalancer") if first_server else ("loadbalancer", "server")
        published = (each for role in roles for node in self.of(role) for each in node.published)
        return next((host for port, _address, host in published if port == inside), None)


def node(inspected: Mapping[str, Any]) -> Node:
    """One container of `docker inspect`."""
    labels = inspected["Config"].get("Labels") or {}
    host = inspected.get("HostConfig") or {}
    published = [
        (int(inside.split("/")[0]), entry.get("HostIp", ""), int(entry["HostPort"]))
        for inside, entries in (host.get("PortBindings") or {}).items()
        for entry in entries or ()
        if str(entry.get("HostPort", "")).isdigit()
    ]
    return Node(
        id=inspected["Id"],
        name=inspected["Name"].lstrip("/"),
        role=labels.get("k3d.role", ""),
        state=container_state(inspected),
        exit_code=int(inspected["State"].get("ExitCode") or 0),
        nano_cpus=int(host.get("NanoCpus") or 0),
        memory=int(host.get("Memory") or 0),
        published=tuple(sorted(published)),
        labels=labels,
        command=tuple(inspected["Config"].get("Cmd") or ()),
        env=tuple(inspected["Config"].get("Env") or ()),
        binds=tuple(host.get("Binds") or ()),
    )


def read(
    name: str, inspected: Sequence[Mapping[str, Any]], *, complete: bool, claim: Claim | None = None
) -> ClusterState:
    """A cluster from its inspected containers. `complete`: the marker of its creation was found.

    Without a `claim` its owner does not matter.
    """
    nodes = tuple(sorted((node(each) for each in inspected), key=lambda n: _order(n.name)))
    main = [each for each in nodes if each.role in ("server", "agent")]
    other = _other(main, claim) if claim is not None else ""
    if not nodes:
        presence = Presence.ABSENT
    elif main and all(each.labels.get(docker.OURS) != name for each in main):
        presence = Presence.FOREIGN  # one labelled node is enough: others may have been added manually
    elif other:
        return ClusterState(name=name, presence=Presence.FOREIGN, nodes=nodes, owner=other)
    elif not any(each.role == "server" for each in main) or not complete:
        presence = Presence.INCOMPLETE
    elif all(each.running for each in nodes if each.role != "noRole"):
        presence = Presence.RUNNING
    else:
        presence = Presence.STOPPED
    return ClusterState(name=name, presence=presence, nodes=nodes)


def _other(main: Sequence[Node], claim: Claim) -> str:
    """Name of another owner; empty for the claimant's own cluster."""
    owners = [found for each in main if (found := owner_of(each.labels.get(docker.OWNER, ""))) is not None]
    if not owners:
        return UNKNOWN if main and not claim.known else ""  # an earlier version did not record owners
    return "" if any(each.id == claim.owner.id for each in owners) else owners[0].name


def _order(name: str) -> tuple[str, int]:
    """agent-10 after agent-9."""
    head, _, number = name.rpartition("-")
    return (head, int(number)) if number.isdigit() else (name, -1)


def cluster_state(
    programs: Programs, name: str, known_complete: str | None = None, *, claim: Claim | None = None
) -> ClusterState:
    """Query the engine. `known_complete`: id of a server-0 whose marker was seen before, which saves a query."""
    ids = programs.run(docker.containers(*docker.of_cluster(name))).out.split()
    inspected = docker.inspected(programs.run(docker.inspect(ids)).out) if ids else ()
    found = _with_last(programs, read(name, inspected, complete=True, claim=claim))
    if found.first is None or found.presence is Presence.FOREIGN or found.first.id == known_complete:
        return found
    marker = programs.run(look := docker.has_file(found.first.id, MARKER))
    if marker.code != 0 and not no_such_file(marker.err) and restored(found.of("server", "agent")):
        marker = programs.run(look)
    if marker.code != 0 and not no_such_file(marker.err):
        raise LaunchError(
            f"the engine does not report whether the creation of the cluster '{name}' was completed",
            why=marker.err.strip() or f"docker cp ended with code {marker.code}",
            fix=f"run it again; if a file that its nodes mount is gone: put it back, or k3d cluster delete {name}",
            exit_code=marker.code,
        )
    return found if marker.code == 0 else replace(found, presence=Presence.INCOMPLETE)


def _with_last(programs: Programs, cluster: ClusterState) -> ClusterState:
    """With the last log lines of nodes in a crash loop."""
    last = {each.id: last_words(programs, each.name) for each in cluster.nodes if each.state is ContainerState.LOOPING}
    return replace(cluster, nodes=tuple(replace(each, last=last.get(each.id, "")) for each in cluster.nodes))


def no_such_file(err: str) -> bool:
    """Whether `docker cp` says that the file, or the whole container, does not exist; its code is 1 for everything."""
    return _NO_FILE.search(err) is not None


def refuse_foreign(cluster: ClusterState) -> None:
    """A cluster of this name that does not belong to the user is never changed. Raises `BadInput`."""
    if cluster.presence is not Presence.FOREIGN:
        return
    other, delete = "choose another name (CLUSTER_NAME=…)", f"k3d cluster delete {cluster.name}"
    if not cluster.owner:
        raise BadInput(
            f"a k3d cluster '{cluster.name}' exists that this project did not create",
            why=f"its nodes lack the label {docker.OURS}: it may be in use",
            fix=f"{other}, or delete it yourself: {delete}",
        )
    raise BadInput(
        f"the cluster '{cluster.name}' belongs to {cluster.owner}",
        why="users of one engine share the names of its clusters, and never change or remove those of others",
        fix=f"{other}; to share it, set the same OPENFRAME_OWNER=NAME on both sides before it is created; "
        f"if it is no longer needed: {delete}",
    )
