"""Containers from their start to their removal, and what happens in them meanwhile, written down when they are started.

Stages of a server: `start`, `apiserver`, `answers` (its port speaks), `components` (all the others are started),
`ready` (/readyz is 200), `up` (k3d goes on). Of an agent: `start`, `components`, `ready` (it is registered).
"""

from __future__ import annotations

from tasks.core.imageref import parse
from tasks.rehearsal import engine, k3s
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tasks.rehearsal.engine import Container, Document
    from tasks.rehearsal.program import Call

    Plan = list[tuple[str, float, str]]
    """Stage, moment, and the lines that are written then."""

UP, REGISTERED, BALANCING = "k3s is up and running", "Successfully registered node", "start worker processes"
"""What k3d waits for in a log (k3d: `pkg/types/k3slogs.go`)."""
_LIVES = 10
"""Starts of a node that ends again and again, as far ahead as they are written down."""
_BACK_OFF, _LONGEST, _LEAST = 0.1, 10.0, 0.02
"""Seconds until the engine starts it again: first, then twice as many each time; at most; and where no time passes."""
_NO_SPACE = "no space left on device"
_PANIC = "panic: runtime error: invalid memory address or nil pointer dereference"


def create_refused(call: Call, doc: Document, name: str, ref: str) -> str:
    """Why the engine makes no such container; empty if it does."""
    there = engine.find(doc, name)
    if there is not None:
        return f'Conflict. The container name "/{name}" is already in use by container "{there["id"]}".'
    if engine.find_image(doc, ref) is None:
        return f"No such image: {parse(ref).listed}"
    if call.faults.strike("disk-full", f"container {name}"):
        return f"mkdir /var/lib/docker/overlay2/{engine.identity()}-init: {_NO_SPACE}"
    return ""


def start(call: Call, doc: Document, container: Container, at: float) -> str:
    """Start it; why it could not be started, or an empty text."""
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
    if container["labels"].get("k3d.role") == "server":
        _wake(call, doc, container)
    k3s.node_up(call, doc, container)
    return ""


def stop(call: Call, container: Container, at: float) -> str:
    """End it on demand: it is not started again. Nothing is ever in its way: an empty text."""
    if engine.running(container, at) or engine.restarting(container, at):
        engine.end(container, at, 143)
        k3s.node_down(call, container)
    return ""


def remove(call: Call, doc: Document, container: Container) -> None:
    """Take it away."""
    del doc["containers"][container["id"]]
    k3s.node_down(call, container)
    k3s.forget(call, doc, container)


# -- what will happen -------------------------------------------------------------------------------------


def _live(call: Call, doc: Document, container: Container, at: float) -> None:
    """Write down what will be: one life, or those of a container that ends again and again."""
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
    """Agents that have waited for a server go on."""
    for agent in engine.labelled(doc, cluster=server["labels"]["k3d.cluster"], role="agent"):
        life = agent["lives"][-1] if agent["lives"] else None
        if life is not None and life["end"] is None and "ready" not in life["at"]:
            _write(agent, _plan(call, doc, agent, life["start"])[1:])


def _plan(call: Call, doc: Document, container: Container, at: float) -> Plan:
    role, name, seconds = container["labels"].get("k3d.role"), container["name"], call.times.seconds
    k3s_version = f"{engine.version(container['image'])} (REHEARSAL)"
    if role == "server":
        answers = at + seconds("server answers")
        ready = answers + seconds("api ready")
        joins = any(each.startswith("K3S_URL=") for each in container["env"])
        up = max(ready, at + seconds("server joins")) if joins else ready
        early, later = at + 0.25 * (answers - at), (answers + ready) / 2
        return [
            ("start", at, _info(at, f"Starting k3s {k3s_version}")),
            ("apiserver", early, _info(early, "Running kube-apiserver --advertise-port=6443 --secure-port=6444")),
            ("answers", answers, _info(answers, "Containerd is now running", "Kube API server is now running")),
            ("components", later, _info(later, f"Running kubelet --hostname-override={name}")),
            ("ready", ready, _info(ready, "Cluster dns configmap has been set successfully")),
            ("up", up, _info(up, f"{REGISTERED} {name}", UP)),
        ]
    if role == "agent":
        api = engine.ready_at(doc, container["labels"].get("k3d.cluster", ""), at)
        first = ("start", at, _info(at, f"Starting k3s agent {k3s_version}"))
        if api is None:
            return [first, ("waits", at, _info(at, "Waiting to retrieve agent configuration; server is not ready"))]
        begun, registered = max(at, api), max(at + seconds("agent registers"), api)
        return [
            first,
            ("components", begun, _info(begun, f"Running kubelet --hostname-override={name}")),
            ("ready", registered, _info(registered, f"{REGISTERED} {name}")),
        ]
    if role == "loadbalancer":
        up = at + seconds("loadbalancer")
        return [("start", at, ""), ("answers", up, f"[notice] 12#12: {BALANCING}")]
    return [("start", at, ""), ("answers", at, _info(at, "listening on [::]:5000"))]


def _death(call: Call, container: Container, plan: Plan) -> tuple[int, float, int, str] | None:
    """How many stages it reaches before it ends, when it ends, its exit code and last line; None: it does not end."""
    role, name, began = container["labels"].get("k3d.role"), container["name"], plan[0][1]
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
    """Lines as logrus writes them."""
    return "\n".join(f'time="{stamp(at, 0)}" level=info msg="{text}"' for text in texts)


def _fatal(at: float, text: str) -> str:
    return f'time="{stamp(at, 0)}" level=fatal msg="{text}"'
