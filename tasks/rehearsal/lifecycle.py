"""Containers from start to removal; all events in between are written at the start.

Stages of a server: `apiserver`, `answers` (its port answers), `ready` (/readyz is 200), `up` (k3d continues). Of an
agent: `ready` (it is registered). Objects of a new cluster itself are in k3s.json (k3s 1.32), each
with its name for `--disable`; `later` ones appear when k3s's Helm jobs are done.
"""

import json
from pathlib import Path

from tasks.rehearsal import controllers, engine, objects
from tasks.rehearsal.controllers import ControlPlane
from tasks.rehearsal.engine import Container, Document, stamp
from tasks.rehearsal.objects import Object, Objects
from tasks.rehearsal.program import Call

Plan = list[tuple[str, float, str]]
"""Stage, time, and the lines that are logged then."""

UP, REGISTERED, BALANCING = "k3s is up and running", "Successfully registered node", "start worker processes"
"""Log lines that k3d waits for (k3d: `pkg/types/k3slogs.go`)."""
_LIVES = 10
"""Number of starts of a node in a crash loop that are written in advance."""
_BACK_OFF, _LONGEST, _LEAST = 0.1, 10.0, 0.02
"""Seconds until the engine restarts it: first, then doubling; at most; and without a time scale."""
_GRACE = 40.0
"""Seconds after which a silent node counts as lost (kube-controller-manager: `node-monitor-grace-period`)."""
_NO_SPACE = "no space left on device"
_PANIC = "panic: runtime error: invalid memory address or nil pointer dereference"


def create_refused(call: Call, doc: Document, name: str) -> str:
    """Why the engine cannot create the container; empty if it can."""
    there = engine.find(doc, name)
    if there is not None:
        return f'Conflict. The container name "/{name}" is already in use by container "{there["id"]}".'
    if call.faults.strike("disk-full", f"container {name}"):
        return f"mkdir /var/lib/docker/overlay2/{engine.identity()}-init: {_NO_SPACE}"
    return ""


def start(call: Call, doc: Document, container: Container, at: float) -> str:
    """Start it; returns the error, or an empty text."""
    if engine.running(container, at):
        return ""
    for inside, address, port in engine.published(container):
        where, why = f"{address or '0.0.0.0'}:{port}", ""  # noqa: S104 - as Docker writes it
        if call.faults.strike("port-taken", where):
            inner = next(iter(container["networks"].values()), "")
            why = f"failed to bind host port for {where}:{inner}:{inside}: address already in use"
        elif engine.port_owner(doc, port, at, address) is not None:
            why = f"Bind for {where} failed: port is already allocated"
        if why:
            failed = "failed to set up container networking: driver failed programming external connectivity"
            container["error"], container["exit"] = f"{failed} on endpoint {container['name']}: {why}", 128
            return str(container["error"])
    _live(call, doc, container, at)
    if engine.role(container) == "server":
        _wake(call, doc, container)
    _node_up(call, doc, container)
    return ""


def stop(call: Call, container: Container, at: float) -> str:
    """Stop it: it is not restarted. Always succeeds: an empty text."""
    if engine.running(container, at) or engine.restarting(container, at):
        engine.end(container, at, 143)
        _node_down(call, container)
    return ""


def remove(call: Call, doc: Document, container: Container) -> str:
    """Remove it. Always succeeds: an empty text."""
    del doc["containers"][container["id"]]
    _node_down(call, container)
    _forget(call, doc, container)
    return ""


# -- what will happen -------------------------------------------------------------------------------------


def _live(call: Call, doc: Document, container: Container, at: float) -> None:
    """Write the future: one life, or those of a container in a crash loop."""
    engine.begin(container, at)
    for number in range(_LIVES):
        plan = _plan(call, doc, container, container["lives"][-1]["start"])
        death = _death(call, container, plan)
        if death is None:
            _write(container, plan)
            return
        stages, moment, code, line = death
        _write(container, [*plan[:stages], ("", moment, line)])
        container["lives"][-1] |= {"end": moment, "code": code}
        if number < _LIVES - 1:
            pause = max(_LEAST, min(_LONGEST, _BACK_OFF * 2**number) * call.times.scale)
            container["lives"].append({"start": moment + pause, "end": None, "code": 0, "at": {}})


def _write(container: Container, plan: Plan) -> None:
    for stage, moment, text in plan:
        if stage:
            container["lives"][-1]["at"][stage] = moment
        container["log"] += [[moment, line] for line in text.splitlines()]


def _wake(call: Call, doc: Document, server: Container) -> None:
    """Agents that waited for a server continue."""
    for agent in engine.labelled(doc, cluster=engine.cluster(server), role="agent"):
        life = agent["lives"][-1] if agent["lives"] else None
        if life is not None and life["end"] is None and "ready" not in life["at"]:
            _write(agent, _plan(call, doc, agent, life["start"])[1:])


def _plan(call: Call, doc: Document, container: Container, at: float) -> Plan:
    role, name, seconds = engine.role(container), container["name"], call.times.seconds
    version = f"{engine.version(container['image'])} (REHEARSAL)"
    if role == "server":
        answers = at + seconds("server answers")
        ready = answers + seconds("api ready")
        joins = any(each.startswith("K3S_URL=") for each in container["env"])
        up = max(ready, at + seconds("server joins")) if joins else ready
        return [
            ("", at, _info(at, f"Starting k3s {version}")),
            ("apiserver", at + 0.25 * (answers - at), ""),
            ("answers", answers, ""),
            ("ready", ready, ""),
            ("up", up, _info(up, f"{REGISTERED} {name}", UP)),
        ]
    if role == "agent":
        api = engine.ready_at(doc, engine.cluster(container), at)
        first = ("", at, _info(at, f"Starting k3s agent {version}"))
        if api is None:
            return [first]
        registered = max(at + seconds("agent registers"), api)
        return [first, ("ready", registered, _info(registered, f"{REGISTERED} {name}"))]
    if role == "loadbalancer":
        up = at + seconds("loadbalancer")
        return [("answers", up, f"[notice] 12#12: {BALANCING}")]
    return [("", at, _info(at, "listening on [::]:5000"))]


def _death(call: Call, container: Container, plan: Plan) -> tuple[int, float, int, str] | None:
    """The number of stages before it exits, when, its exit code and last line; None: it does not exit."""
    role, name, began = engine.role(container), container["name"], plan[0][1]
    node = role in ("server", "agent")
    if node and call.faults.strike("disk-full", name):
        where = "write /var/lib/rancher/k3s/server/tls/server-ca.crt"
        return 1, began, 1, _fatal(began, f"starting kubernetes: preparing server: {where}: {_NO_SPACE}")
    if not node and role != "registry":
        return None
    fault = call.faults.strike("node-crashes" if node else "registry-dies", name)
    if fault is None:
        return None
    if fault.get("after") is not None:
        moment = began + float(fault["after"]) * call.times.scale
        stages = sum(when <= moment for _, when, _ in plan)
    else:
        moment, stages = (plan[-1][1], len(plan) - 1) if node else (began, len(plan))
    return stages, moment, 2, _PANIC if node else _fatal(moment, "write /var/lib/registry: input/output error")


def _info(at: float, *texts: str) -> str:
    """Lines in the format of logrus."""
    return "\n".join(f'time="{stamp(at, 0)}" level=info msg="{text}"' for text in texts)


def _fatal(at: float, text: str) -> str:
    return f'time="{stamp(at, 0)}" level=fatal msg="{text}"'


# -- nodes, and what is in a cluster -----------------------------------------------------------------------


def _node_up(call: Call, doc: Document, container: Container) -> None:
    """After the start of a node's container: determines when it is registered and ready, unless it will exit."""
    cluster = engine.cluster(container)
    registered = next((life["at"]["ready"] for life in container["lives"] if "ready" in life["at"]), None)
    if engine.role(container) not in ("server", "agent") or registered is None:
        return
    api = engine.ready_at(doc, cluster, call.now())
    ready = max(
        (registered if api is None else api) + call.times.seconds("nodes ready"),
        registered + call.times.seconds("agent registers"),
    )
    with Objects(call.folder.cluster(cluster)).change() as there:
        now = call.now()
        old = there.get("v1", "Node", "", container["name"], call.now())
        obj = objects.settle(old, now) if old is not None else _node(container)
        stages = [[ready, {"status": {"conditions": [_ready("True")]}}]]
        there.put(obj, now, stages=stages, ready=ready, **{"from": registered if old is None else now})
        plane = ControlPlane(there, now, call.times, call.faults)
        if not there.fact("seeded") and engine.role(container) == "server":
            there.set_fact("seeded", True)
            there.set_fact("ready", registered)
            there.set_fact("controllers", registered + call.times.seconds("controllers"))
            _seed(ControlPlane(there, registered, call.times, call.faults), container)
        elif old is None:
            for each in there.existing("apps/v1", "DaemonSet", now):
                controllers.follow(plane, each, each["object"])


def _node_down(call: Call, container: Container) -> None:
    """It was stopped: after a while its node counts as lost."""
    cluster = engine.cluster(container)
    if engine.role(container) not in ("server", "agent") or not call.folder.cluster(cluster).exists():
        return
    with Objects(call.folder.cluster(cluster)).change() as there:
        record = there.get("v1", "Node", "", container["name"], call.now())
        if record is not None:
            lost = call.now() + _GRACE * call.times.scale
            past = [each for each in record["stages"] if each[0] <= call.now()]
            record["stages"] = [*past, [lost, {"status": {"conditions": [_ready("Unknown")]}}]]


def _forget(call: Call, doc: Document, container: Container) -> None:
    """The last server's container was removed, and with it all objects."""
    cluster = engine.cluster(container)
    if engine.role(container) == "server" and not engine.labelled(doc, cluster=cluster, role="server"):
        with Objects(call.folder.cluster(cluster)).change() as there:
            there.clear()


def _ready(word: str) -> dict[str, str]:
    reason = {"True": "KubeletReady", "False": "KubeletNotReady", "Unknown": "NodeStatusUnknown"}[word]
    return {"type": "Ready", "status": word, "reason": reason}


def _node(container: Container) -> Object:
    name, address = container["name"], next(iter(container["networks"].values()), "")
    server = engine.role(container) == "server"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        **{f"node-role.kubernetes.io/{role}": "true" for role in ("control-plane", "master") if server},
        **dict(part.partition("=")[::2] for part in engine.argument(container, "node-label")),
    }
    status = {
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "conditions": [_ready("False")],
        "allocatable": {"cpu": "2", "memory": "2097152Ki", "pods": "110"},
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def _seed(plane: ControlPlane, server: Container) -> None:
    """Objects that exist when the API is ready, or appear on their own."""
    disabled, done = engine.argument(server, "disable"), plane.now
    for row in json.loads(Path(__file__).with_name("k3s.json").read_bytes()):
        if not {*row.get("unless", ())}.isdisjoint(disabled):
            continue
        now = done if row.get("later") else plane.now
        here = ControlPlane(plane.doc, now, plane.times, plane.faults)
        record = plane.doc.put(row["object"], now, stages=[], **{"from": now})
        controllers.follow(here, record, None)
        if row["object"]["kind"] == "Job":
            done = max(done, *(moment for moment, _ in record["stages"]))
