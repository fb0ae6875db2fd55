"""Containers from their start to their removal, and what happens in them meanwhile, written down when they are started.

Stages of a server: `start`, `apiserver`, `answers` (its port speaks), `components` (all the others are started),
`ready` (/readyz is 200), `up` (k3d goes on). Of an agent: `start`, `components`, `ready` (it is registered). A node
that ends, ends at a stage.
"""

from __future__ import annotations

from tasks.core.imageref import parse
from tasks.rehearsal import containers, images, k3s
from tasks.rehearsal.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.rehearsal.containers import Container, Document
    from tasks.rehearsal.program import Call

    Plan = list[tuple[str, float, list[str]]]
    """Stage, moment, and the lines that are written then."""

UP, REGISTERED, BALANCING, LISTENING = (
    "k3s is up and running",
    "Successfully registered node",
    "start worker processes",
    "listening on [::]:5000",
)
"""What k3d waits for in a log (k3d: `pkg/types/k3slogs.go`)."""
INITIAL = "Containerd is now running"
"""The same of the first of several servers."""
_LIVES = 10
"""Starts of a node that ends again and again, as far ahead as they are written down."""
_BACK_OFF = (0.1, 10.0)
"""Seconds until the engine starts it again: the first time, and at most; twice as long each time."""
_NO_SPACE = "no space left on device"
_LEAST = 0.02
"""Seconds between two lives, where nothing takes any time."""


def create_refused(call: Call, doc: Document, name: str, ref: str) -> str:
    """Why the engine makes no such container; empty if it does."""
    there = containers.find(doc, name)
    if there is not None and there["name"] == name:
        said = f'Conflict. The container name "/{name}" is already in use by container "{there["id"]}".'
        return f"{said} You have to remove (or rename) that container to be able to reuse that name."
    if images.find(doc, ref) is None:
        return f"No such image: {parse(ref).listed}"
    if call.faults.strike("disk-full", f"container {name}"):
        return f"mkdir /var/lib/docker/overlay2/{containers.identity()}-init: {_NO_SPACE}"
    return ""


def start(call: Call, doc: Document, container: Container, at: float) -> str:
    """Start it; why it could not be started, or an empty text."""
    if containers.running(container, at):
        return ""
    networking = "failed to set up container networking: driver failed programming external connectivity on endpoint"
    endpoint = next(iter(container["networks"].values()), {"endpoint": "", "ip": ""})
    why = ""
    for inside, address, port in containers.published(container):
        at_address = address or "0.0.0.0"  # noqa: S104 - as Docker writes it
        if call.faults.strike("port-taken", f"{at_address}:{port}"):
            mapped = f"{at_address}:{port}:{endpoint['ip']}:{inside}"
            why = f"failed to bind host port for {mapped}: address already in use"
        elif containers.port_owner(doc, port, at, address) is not None:
            why = f"Bind for {at_address}:{port} failed: port is already allocated"
        if why:
            said = f"{networking} {container['name']} ({endpoint['endpoint']}): {why}"
            container["error"], container["exit"] = said, 128
            return said
    _boot(doc, container, at, call)
    k3s.node_up(call, doc, container)
    return ""


def stop(call: Call, container: Container, at: float, code: int = 143) -> None:
    """End it on demand: it is not started again."""
    if containers.running(container, at) or containers.restarting(container, at):
        containers.end(container, at, code)
        k3s.node_down(call, container)


def remove(call: Call, doc: Document, container: Container, at: float) -> None:
    """Take it away."""
    containers.remove(doc, container, at)
    k3s.node_down(call, container)
    k3s.forget(call, doc, container)


# -- what will happen -------------------------------------------------------------------------------------


def _boot(doc: Document, container: Container, at: float, call: Call) -> None:
    """Start a container that exists; what will be is written down."""
    containers.begin(container, at)
    container["error"] = ""
    plan, death = _plan(doc, container, at, call), None
    for number in range(_LIVES):
        death = _death(container, plan, call)
        if death is None:
            break
        pause = max(_LEAST, min(_BACK_OFF[1], _BACK_OFF[0] * 2**number) * call.times.scale)
        last = number == _LIVES - 1
        _end(container, plan, death, None if last else pause)
        plan = _plan(doc, container, container["lives"][-1][0], call)
    if death is None:
        _write(container, plan)
    if container["labels"].get("k3d.role") == "server":
        _wake(doc, container, call)


def _plan(doc: Document, container: Container, at: float, call: Call) -> Plan:
    role = container["labels"].get("k3d.role")
    if role == "server":
        return _server(container, at, call)
    if role == "agent":
        return _agent(doc, container, at, call)
    if role == "loadbalancer":
        up = at + call.times.seconds("loadbalancer")
        return [("start", at, []), ("answers", up, [f"{_day(up)} [notice] 12#12: {BALANCING}"])]
    if role == "registry":
        return [("start", at, []), ("answers", at, [_line(at, f"{LISTENING}", program="registry")])]
    return [("start", at, [])]


def _server(container: Container, at: float, call: Call) -> Plan:
    seconds = call.times.seconds
    answers = at + seconds("server answers")
    ready = answers + seconds("api ready")
    up = max(ready, at + seconds("server joins")) if joins(container) else ready
    name = container["name"]
    early = at + 0.25 * (answers - at)
    return [
        ("start", at, [_line(at, f"Starting k3s {containers.version(container['image'])} (REHEARSAL)")]),
        ("apiserver", early, [_line(early, "Running kube-apiserver --advertise-port=6443 --secure-port=6444")]),
        ("answers", answers, [_line(answers, INITIAL), _line(answers, "Kube API server is now running")]),
        ("components", (answers + ready) / 2, [_line(ready, f"Running kubelet --hostname-override={name}")]),
        ("ready", ready, [_line(ready, "Cluster dns configmap has been set successfully")]),
        ("up", up, [_line(up, f"{REGISTERED} {name}"), _line(up, UP)]),
    ]


def _agent(doc: Document, container: Container, at: float, call: Call) -> Plan:
    api = containers.ready_at(doc, container["labels"].get("k3d.cluster", ""), at)
    first = ("start", at, [_line(at, f"Starting k3s agent {containers.version(container['image'])} (REHEARSAL)")])
    if api is None:
        text = "Waiting to retrieve agent configuration; server is not ready: connect: connection refused"
        return [first, ("waits", at, [_line(at, text)])]
    registered = max(at + call.times.seconds("agent registers"), api)
    between = max(at, api)
    name = container["name"]
    return [
        first,
        ("components", between, [_line(between, f"Running kubelet --hostname-override={name}")]),
        ("ready", registered, [_line(registered, f"{REGISTERED} {name}")]),
    ]


def joins(container: Container) -> bool:
    """Whether it is a further server of a cluster."""
    return any(each.startswith("K3S_URL=") for each in container["env"])


def _wake(doc: Document, server: Container, call: Call) -> None:
    """Agents that have waited for a server go on."""
    for agent in containers.labelled(doc, cluster=server["labels"].get("k3d.cluster", ""), role="agent"):
        life = agent["lives"][-1] if agent["lives"] else None
        if life is not None and life[1] is None and "ready" not in life[4]:
            _write(agent, _plan(doc, agent, life[0], call)[1:])


def _write(container: Container, plan: Plan) -> None:
    for stage, moment, lines in plan:
        container["lives"][-1][4][stage] = moment
        containers.log(container, moment, *lines)


# -- ends -------------------------------------------------------------------------------------------------


def _death(container: Container, plan: Plan, call: Call) -> tuple[float, str, int, bool, Sequence[str]] | None:
    """When it ends, before which stage, with which code, whether for its memory, and its last lines."""
    role, name = container["labels"].get("k3d.role"), container["name"]
    stages = {stage: moment for stage, moment, _ in plan}
    if role in ("server", "agent"):
        if call.faults.strike("disk-full", name):
            moment, text = stages["start"], "no space left on device"
            where = "write /var/lib/rancher/k3s/server/tls/server-ca.crt"
            line = f'level=fatal msg="starting kubernetes: preparing server: {where}: {text}"'
            return moment, "apiserver" if role == "server" else "components", 1, False, [_stamped(moment, line)]
        fault = call.faults.strike("node-crashes", name)
    elif role == "registry":
        fault = call.faults.strike("registry-dies", name)
    else:
        return None
    if fault is None:
        return None
    if fault.get("after") is None:
        stage = {"server": "up", "agent": "ready"}.get(str(role), "")
        moment = stages.get(stage, stages["start"])
    else:
        moment = stages["start"] + float(fault["after"]) * call.times.scale
        stage = next((each for each, when, _ in plan if when > moment), "")
    if role == "registry":
        return (
            moment,
            stage,
            2,
            False,
            [_stamped(moment, 'level=fatal msg="write /var/lib/registry: input/output error"')],
        )
    return moment, stage, 2, False, ["panic: runtime error: invalid memory address or nil pointer dereference"]


def _end(
    container: Container, plan: Plan, death: tuple[float, str, int, bool, Sequence[str]], pause: float | None
) -> None:
    """Write down a life until its end, and the begin of the next one, if there is one."""
    moment, before, code, oom, lines = death
    for stage, when, said in plan:
        if stage == before or when > moment:
            break
        container["lives"][-1][4][stage] = when
        containers.log(container, when, *said)
    containers.log(container, moment, *lines)
    container["lives"][-1][1:4] = [moment, code, oom]
    if pause is not None:
        container["lives"].append([moment + pause, None, 0, False, {}])


# -- lines ------------------------------------------------------------------------------------------------


def _line(at: float, text: str, program: str = "") -> str:
    """As logrus writes it."""
    more = " service=registry" if program else ""
    return _stamped(at, f'level=info msg="{text}"{more}')


def _stamped(at: float, line: str) -> str:
    return f'time="{stamp(at, 0)}" {line}' if line.startswith("level=") else line


def _day(at: float) -> str:
    """As nginx writes a moment."""
    return stamp(at, 0).replace("-", "/").replace("T", " ").removesuffix("Z")
