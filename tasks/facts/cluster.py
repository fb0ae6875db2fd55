"""The state of a cluster and of its containers on the engine, and who owns it: found by exact label, read only.

Users of one engine have the same cluster names by default, and each other's nodes in reach: a label on nodes, written
when they are made, names the owner. That is a user (uid) of a machine (/etc/machine-id): the same from every clone and
shell. A container whose engine is outside of it has the machine id of an image, or none; there, and where a system has
none, the state folder counts instead. OPENFRAME_OWNER names an owner that several users or job containers share.
"""

from __future__ import annotations

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
from tasks.process.programs import Programs

_MACHINE_ID = re.compile(r"[0-9a-f]{32}")
MARKER = "/openframe-complete"
"""A file in server-0 that says that its creation was recorded as complete; it survives stop and start."""
_NO_FILE = re.compile(r"[Cc]ould not find the file|No such container")
"""Docker 20.10 says `No such container:path` for a missing file in older clients, all others the first."""
UNKNOWN = "somebody whose name it does not tell"
"""The owner of a cluster that was made before owners were written down, and of which nothing is in the state folder."""
_SETTLED = 10.0
"""Seconds after which Docker itself counts a start as a success (moby: `restartmanager`)."""
_RESTARTS = 2
"""Restarts by the engine of which the last is younger than that: it keeps ending. One alone may have helped."""
_TELLING = re.compile(r"^(?:panic|fatal|error)\b|\blevel=(?:fatal|panic|error)\b|\b(?:FATAL|ERROR|ERRO|FATA)\b")
_MESSAGE = re.compile(r'\bmsg="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A user, or a name that users share."""

    id: str
    name: str
    """For people: `alice@laptop`."""

    @property
    def label(self) -> str:
        """As a label's value."""
        return urlencode({"id": self.id, "name": self.name})


def owner_of(label: str) -> Owner | None:
    """The owner that a label names; None where it names none."""
    fields = parse_qs(label)
    found = fields.get("id", [""])[0]
    return Owner(id=found, name=fields.get("name", ["somebody"])[0]) if found else None


def owner(environ: Mapping[str, str], state: Path, given: str | None = None) -> Owner:
    """Whose clusters this process makes. `given`: setting cluster.owner; `state`: the user's state folder."""
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
    """A number of the state folder, created at its first use; where it cannot be stored, the machine's name."""
    path = state / "identity"
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, fresh = unfinished(path)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(os.urandom(16).hex())
            with contextlib.suppress(FileExistsError):  # another run has made it meanwhile
                path.hardlink_to(fresh)
        finally:
            fresh.unlink()
        return path.read_text().strip()
    except OSError:
        return socket.gethostname()


class ContainerState(Enum):
    """What a container does."""

    CREATED = "was never started"
    RUNNING = "runs"
    PAUSED = "is paused"
    LOOPING = "keeps ending"
    """The engine starts it again after each end; between two of them it may run for a moment."""
    STOPPED = "is stopped"


def container_state(inspected: Mapping[str, Any], now: float | None = None) -> ContainerState:
    """What one container of `docker container inspect` does. `now`: seconds of the epoch."""
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
    """The line of a container's log that says most about its end; empty where there is none."""
    try:
        done = programs.run(docker.logs(name), quiet=True)
    except LaunchError:
        return ""
    return telling_line(done.out + done.err)


def telling_line(log: str) -> str:
    """The last line that names a failure, without what surrounds its message; else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    found = next((line for line in reversed(lines) if _TELLING.search(line)), lines[-1] if lines else "")
    message = _MESSAGE.search(found)
    return redact(message[1] if message else found)[:200]


def age(found: Mapping[str, Any], now: float) -> float:
    """Seconds since its last start; many where that does not show."""
    try:
        return abs(now - datetime.fromisoformat(str(found["StartedAt"])).timestamp())
    except (KeyError, ValueError):
        return float("inf")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Who claims a cluster of some name."""

    owner: Owner
    known: bool = True
    """Something of a cluster of this name is in the state folder: one that names no owner is the claimant's."""


class Presence(Enum):
    """How much of a cluster is there."""

    ABSENT = "absent"
    RUNNING = "running"
    STOPPED = "stopped"
    """All or some of its nodes do not run."""
    INCOMPLETE = "incomplete"
    """Made by us, but its creation was never recorded as complete."""
    FOREIGN = "foreign"
    """A cluster of this name that this project did not make, or that belongs to another user of the engine."""


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
    """Words that its entrypoint gets: `server` or `agent`, and arguments of k3s."""
    env: tuple[str, ...] = field(default=(), repr=False)
    """Variables as NAME=value; they may be secret."""
    binds: tuple[str, ...] = ()
    """What is mounted, as SOURCE:TARGET[:OPTIONS]."""
    last: str = ""
    """Of one that keeps ending, the line of its log that says why."""

    @property
    def kubernetes_name(self) -> str:
        """Its name in Kubernetes: the container's, but for one that was restored under another."""
        given = [word.partition("=")[2] for word in self.command if word.startswith("--node-name=")]
        return given[-1] if given else self.name

    @property
    def running(self) -> bool:
        """Whether it works: not paused, nor between two starts of one that keeps ending."""
        return self.state is ContainerState.RUNNING

    @property
    def condition(self) -> str:
        """Its name, and what is wrong with it where that is more than that it is stopped."""
        if self.state in (ContainerState.RUNNING, ContainerState.STOPPED):
            return self.name
        return f"{self.name} ({self.state.value}{f': {self.last}' if self.last else ''})"


@dataclass(frozen=True, kw_only=True)
class ClusterState:
    """A cluster as the engine has it."""

    name: str
    presence: Presence
    nodes: tuple[Node, ...] = ()
    owner: str = ""
    """Name of the owner of a foreign cluster that this project made; `UNKNOWN` where no label names one."""

    def of(self, *roles: str) -> tuple[Node, ...]:
        """Nodes of these roles, in the order of their names."""
        return tuple(node for node in self.nodes if node.role in roles)

    @property
    def paused(self) -> tuple[Node, ...]:
        """Nodes whose processes are frozen, those first by which the API is reached."""
        rank = {"server": 0, "loadbalancer": 1}
        found = [node for node in self.nodes if node.state is ContainerState.PAUSED]
        return tuple(sorted(found, key=lambda each: rank.get(each.role, 2)))

    @property
    def only_paused(self) -> bool:
        """Whether it would run if its nodes were resumed."""
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
        """What the cluster was made with, as its first server remembers it; empty if it does not."""
        return self.first.labels.get(docker.CONFIG_LABEL, "") if self.first else ""

    def port(self, inside: int, *, first_server: bool = False) -> int | None:
        """The host port at which a port of the cluster is published: on server-0, or on the load balancer first."""
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

    Without a `claim` it does not matter whose it is.
    """
    nodes = tuple(sorted((node(each) for each in inspected), key=lambda n: _order(n.name)))
    main = [each for each in nodes if each.role in ("server", "agent")]
    other = _other(main, claim) if claim is not None else ""
    if not nodes:
        presence = Presence.ABSENT
    elif main and all(each.labels.get(docker.OURS) != name for each in main):
        presence = Presence.FOREIGN  # one labelled node is enough: others may have been added by hand
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
    """Name of another owner; empty for a cluster that is the claimant's."""
    owners = [found for each in main if (found := owner_of(each.labels.get(docker.OWNER, ""))) is not None]
    if not owners:
        return UNKNOWN if main and not claim.known else ""  # an earlier version has written no owner
    return "" if any(each.id == claim.owner.id for each in owners) else owners[0].name


def _order(name: str) -> tuple[str, int]:
    """agent-10 after agent-9."""
    head, _, number = name.rpartition("-")
    return (head, int(number)) if number.isdigit() else (name, -1)


def cluster_state(
    programs: Programs, name: str, known_complete: str | None = None, *, claim: Claim | None = None
) -> ClusterState:
    """Query the engine. `known_complete`: id of a server-0 whose marker has been seen before, which saves a query."""
    ids = programs.run(docker.containers(f"{docker.CLUSTER_LABEL}={name}")).out.split()
    if not ids:
        return ClusterState(name=name, presence=Presence.ABSENT)
    inspected = docker.inspected(programs.run(docker.inspect(ids)).out)
    found = _with_last(programs, read(name, inspected, complete=True, claim=claim))
    if found.first is None or found.presence is Presence.FOREIGN or found.first.id == known_complete:
        return found
    marker = programs.run(docker.has_file(found.first.id, MARKER))
    if marker.code != 0 and not no_such_file(marker.err):
        raise LaunchError(
            f"the engine does not tell whether the creation of the cluster '{name}' was completed",
            why=marker.err.strip() or f"docker cp ended with code {marker.code}",
            fix="run it again; what is not known to be incomplete is never removed",
            exit_code=marker.code,
        )
    return found if marker.code == 0 else replace(found, presence=Presence.INCOMPLETE)


def _with_last(programs: Programs, cluster: ClusterState) -> ClusterState:
    """With the last words of nodes that keep ending."""
    last = {each.id: last_words(programs, each.name) for each in cluster.nodes if each.state is ContainerState.LOOPING}
    return replace(cluster, nodes=tuple(replace(each, last=last.get(each.id, "")) for each in cluster.nodes))


def no_such_file(err: str) -> bool:
    """Whether `docker cp` says that the file, or the whole container, is not there; its code is 1 for everything."""
    return _NO_FILE.search(err) is not None


def refuse_foreign(cluster: ClusterState) -> None:
    """A cluster of this name that is not the user's is never touched. Raises `BadInput`."""
    if cluster.presence is not Presence.FOREIGN:
        return
    other, delete = "choose another name (CLUSTER_NAME=…)", f"k3d cluster delete {cluster.name}"
    if not cluster.owner:
        raise BadInput(
            f"there is a k3d cluster '{cluster.name}' that this project did not make",
            why=f"its nodes lack the label {docker.OURS}: it may hold somebody's work",
            fix=f"{other}, or delete it yourself: {delete}",
        )
    raise BadInput(
        f"the cluster '{cluster.name}' belongs to {cluster.owner}",
        why="who shares an engine shares the names of its clusters, and nobody changes or removes another's",
        fix=f"{other}; if it is yours as well, say so on both sides before it is made (OPENFRAME_OWNER=NAME); "
        f"if nobody needs it any more: {delete}",
    )
