"""`invoke health`: nodes, the API's endpoints and system services, checked concurrently until a deadline."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tasks.core.units import count
from tasks.engine.step import Context, Report, Step
from tasks.engine.work import AwaitCluster, Milestone
from tasks.run.task import run_part, task
from tasks.settings.derived import API_READY, CREATE_CLUSTER, START_CLUSTER, SYSTEM_READY

if TYPE_CHECKING:
    from tasks.facts.facts import Facts
    from tasks.kube.client import Api
    from tasks.kube.objects import Key
    from tasks.run.session import Session

TASK = "health"
NODES, ENDPOINTS = "health: nodes are ready", "health: API endpoints"
REPORT = "health: nodes report again"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_APPS = "apps/v1"


@task("profile", "set", "engine", "context", query_ahead=True)
def health(session: Session) -> int:
    """Check the API's endpoints, nodes, system and base services until all are healthy."""
    return run_part(session, TASK, single_steps, lock=False, acts=False)


def single_steps(facts: Facts) -> list[Step]:
    """The steps of this task alone: also waits for components that nothing in a plan uses."""
    from tasks.run.images import remembering

    return remembering(facts, steps(facts, everything=True))


def expected_nodes(facts: Facts) -> int | None:
    """The expected number of nodes; None if this project does not manage the cluster."""
    if not facts.owns_cluster:
        return None
    running = len(facts.cluster.of("server", "agent"))
    return max(running, facts.settings.cluster.servers + facts.shape.agents)


def steps(facts: Facts, before: Sequence[Step] = (), *, everything: bool = False) -> list[Step]:
    """The waits; skipped if the current facts say that everything is healthy.

    `before`: steps that apply objects, which may use components. `everything`: also unused components.
    """
    from tasks.run import components

    healthy = well(facts, everything=everything)
    deadline = facts.settings.timeouts.health
    used = components.step(facts, before, everything=everything)
    system = partial(_system, facts, everything)
    found = [
        Step(
            name=name,
            task=TASK,
            action=action,
            needs=(API_READY,),
            wait=True,
            deadline=deadline,
            skip=healthy.get(name),
            why=why,
            expected=expected,
            work=AwaitCluster(milestone=milestone) if milestone is not None else None,
        )
        for name, action, why, expected, milestone in (
            (NODES, partial(_nodes, facts), "all configured nodes", 8.0, Milestone.NODES),
            (ENDPOINTS, partial(_endpoints, facts), "/readyz and what this server offers", 1.0, None),
            (SYSTEM_READY, system, "CoreDNS and the other workloads of kube-system", 12.0, Milestone.SYSTEM),
        )
    ]
    return [*found, used] if used is not None else found


def well(facts: Facts, *, everything: bool = False) -> dict[str, str]:
    """Steps that need not wait according to the facts, each with the reason."""
    from tasks.run import components

    live = facts.live
    if live is None:
        return {}
    found = {}
    lost = {*facts.lost_agents}
    up = {*live.nodes} - lost
    if up and not {*live.nodes_unready} - lost and len(up) >= (expected_nodes(facts) or 1):
        found[NODES] = f"all {len(up)} are ready"
    elif live.nodes_hidden:
        found[NODES] = "this login may not list them"
    if not live.failing:
        found[ENDPOINTS] = f"{len(live.served)} answer"
    complete = "coredns" in components.off(facts) or "deployment/coredns" in live.system
    waits = components.waited_for(facts, everything=everything)
    system = {key: text for key, text in live.system.items() if waits(key.partition("/")[2])}
    if complete and not any(system.values()):
        ready = f"{count(len(system), 'workload')} ready"
        found[SYSTEM_READY] = ready if system else "there are none, or this login may not read them"
    return found


def reporting(facts: Facts) -> Step:
    """A started cluster shows its old state until its kubelets report: no fact may be read earlier."""
    return Step(
        name=REPORT,
        task=TASK,
        action=partial(_reporting, facts),
        needs=(CREATE_CLUSTER if facts.restore is not None else START_CLUSTER, API_READY),
        wait=True,
        deadline=facts.settings.timeouts.health,
        why="until then the API shows the state before the nodes were stopped",
        expected=4.0,
    )


def _reporting(facts: Facts, context: Context) -> Report | None:
    """Each kubelet renews its node's lease every 10 s, and first when it starts (Kubernetes: Leases)."""
    from tasks.clients import docker
    from tasks.facts.cluster import node as read_node
    from tasks.kube.wait import poll

    ids = facts.programs.run(docker.containers(*docker.of_cluster(facts.name)), context).out.split()
    found = docker.inspected(facts.programs.run(docker.inspect(ids), context).out)
    resumed = facts.host.time if facts.host is not None and facts.cluster.paused else ""  # before they were resumed
    since = {
        node.kubernetes_name: max(resumed, str(each["State"].get("StartedAt", "")))
        for each in found
        if (node := read_node(each)).role in ("server", "agent")
    }
    silent: list[str] = []

    def look() -> bool | None:
        renewed = {
            item["metadata"]["name"]: str((item.get("spec") or {}).get("renewTime", ""))
            for item in facts.api().get(_LEASES)["items"]
        }
        silent[:] = [name for name, start in since.items() if not _later(renewed.get(name, ""), start)]
        context.say(f"{len(since) - len(silent)} of {len(since)} nodes")
        return None if silent else True

    poll(look, context, telling=lambda: f"no report from: {', '.join(silent)}")
    return Report(why=count(len(since), "node"))


def _later(time: str, start: str) -> bool:
    """Compares times of the engine's machine, RFC 3339 in UTC; whole seconds, since fractions differ in length."""
    return time[:19] > start[:19]


def _nodes(facts: Facts, context: Context) -> Report | None:
    from tasks.kube.readiness import node_fault, node_ready
    from tasks.kube.wait import NotInTime, watch

    wanted = expected_nodes(facts)
    words: dict[str, str] = {}

    def look(api: Api) -> list[str] | None:
        items = api.get("/api/v1/nodes")["items"]
        ready = [item["metadata"]["name"] for item in items if node_ready(item)]
        words.clear()
        words.update(
            dict.fromkeys(_names(facts) - {item["metadata"]["name"] for item in items}, "it is not registered")
        )
        words.update({item["metadata"]["name"]: node_fault(item) for item in items if not node_ready(item)})
        context.say(f"{len(ready)} of {wanted or len(items)} nodes")
        return ready if ready and len(ready) >= (wanted or len(items)) else None

    telling = lambda: "; ".join(f"{name}: {text}" for name, text in sorted(words.items()))  # noqa: E731
    try:
        ready = watch(facts.watched(), look, context, telling=telling)
    except NotInTime as error:
        if facts.owns_cluster and words:
            error.amend(fix=_remedy(facts, words))
        raise
    return Report(why=count(len(ready), "node"))


def _remedy(facts: Facts, words: Collection[str]) -> str:
    """What to do about nodes that are not ready, by their names."""
    own = {node.kubernetes_name: node.name for node in facts.cluster.of("server", "agent")}
    name = min(own.keys() & words, default=min(words))
    if own and name not in own:
        return f"its container is gone: kubectl delete node {name} --context {facts.context}"
    container = own.get(name, name)
    return f"docker logs {container} shows why; docker restart {container} makes it register again"


def _names(facts: Facts) -> set[str]:
    """Names of the nodes that a cluster of this project must have; of a foreign one they are unknown."""
    if not facts.owns_cluster:
        return set()
    there = {node.kubernetes_name for node in facts.cluster.of("server", "agent")}
    numbers = {"server": facts.settings.cluster.servers, "agent": facts.shape.agents}
    new = {f"k3d-{facts.name}-{role}-{number}" for role, most in numbers.items() for number in range(most)}
    return there or (set() if facts.restore is not None else new)


def _endpoints(facts: Facts, context: Context) -> Report | None:
    from tasks.kube.endpoints import endpoints
    from tasks.kube.wait import poll

    bad: list[str] = []

    def look() -> list[str] | None:
        found = endpoints(facts.api())
        bad[:] = [f"{each.name}: {each.detail}" for each in found if each.state == "failing"]
        return [each.name for each in found if each.state == "ok"] if not bad else None

    good = poll(look, context, pause=0.2, cap=1.0, telling=lambda: "; ".join(bad))
    return Report(why=f"{len(good)} answer")


def system_refs(api: Api, off: frozenset[str], waits: Callable[[str], bool] = lambda _name: True) -> tuple[Key, ...]:
    """Workloads of kube-system to wait for, by their names, including CoreDNS unless it is disabled."""
    from tasks.facts.running import system_items
    from tasks.kube.objects import Key

    dns = [] if "coredns" in off else [Key(_APPS, "Deployment", "kube-system", "coredns")]
    there = [
        Key(each["apiVersion"], each["kind"], "kube-system", each["metadata"]["name"])
        for each in system_items(api)
        if waits(each["metadata"]["name"])
    ]
    return tuple(dict.fromkeys([*dns, *there]))


def _system(facts: Facts, everything: bool, context: Context) -> Report | None:
    from tasks.kube.wait import wait_ready
    from tasks.run import components
    from tasks.run.explain import explain

    off, waits = components.off(facts), components.waited_for(facts, everything=everything)
    keys = lambda api: system_refs(api, off, waits)  # noqa: E731 - queried at each look
    ready = wait_ready(facts.watched(), keys, context, diagnose=partial(explain, facts))
    return Report(why=count(len(ready), "workload"))
