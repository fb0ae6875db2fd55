"""Nodes, the API's endpoints, system services: asked at the same time until a deadline."""

from __future__ import annotations

from typing import Any

from tasks.cluster.arguments import disabled
from tasks.cluster.plan import READY
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.readiness import node_ready
from tasks.situation import Situation
from tasks.tools.kuberesources import Key
from tasks.waiting import wait_ready

TASK = "health"
NODES, ENDPOINTS, SYSTEM = "health: nodes are ready", "health: API endpoints", "health: system services"
_APPS = "apps/v1"


def expected_nodes(situation: Situation) -> int | None:
    """How many nodes there should be; None where the cluster is not ours."""
    if situation.engine == "existing":
        return None
    running = len(situation.standing.of("server", "agent"))
    return max(running, situation.settings.cluster.servers + situation.shape.agents)


def steps(situation: Situation) -> list[Step]:
    """Three waits; skipped where the facts, read a moment ago, say that all is well."""
    healthy = well(situation)
    deadline = situation.settings.timeouts.health
    return [
        Step(
            name=name,
            task=TASK,
            action=action,
            needs=(READY,),
            wait=True,
            deadline=deadline,
            skip=healthy.get(name),
            why=why,
            expected=expected,
        )
        for name, action, why, expected in (
            (NODES, _nodes(situation), "all that are configured", 8.0),
            (ENDPOINTS, _endpoints(situation), "/readyz and what this server offers", 1.0),
            (SYSTEM, _system(situation), "CoreDNS and what else runs in kube-system", 12.0),
        )
    ]


def well(situation: Situation) -> dict[str, str]:
    """Steps of which the facts say already that nothing has to be waited for, each with the reason."""
    live = situation.live
    if live is None:
        return {}
    found = {}
    wanted = expected_nodes(situation)
    if live.nodes and not live.nodes_unready and len(live.nodes) >= (wanted or 1):
        found[NODES] = f"all {len(live.nodes)} are"
    if not live.failing:
        found[ENDPOINTS] = f"{len(live.served)} answer"
    off = disabled(situation.settings.cluster, situation.settings.ingress.controller)
    needed = situation.engine == "existing" or "coredns" in off or "deployment/coredns" in live.system
    if needed and not any(live.system.values()):
        found[SYSTEM] = f"{len(live.system)} workloads are ready"
    return found


def _nodes(situation: Situation) -> Action:
    def act(context: Context) -> Report | None:
        from tasks.tools.kubeapi import wait_until

        wanted = expected_nodes(situation)
        seen: list[str] = []

        def look() -> list[str] | None:
            items = situation.api().get("/api/v1/nodes")["items"]
            ready = [item["metadata"]["name"] for item in items if node_ready(item)]
            seen[:] = [item["metadata"]["name"] for item in items if not node_ready(item)]
            context.say(f"{len(ready)} of {wanted or len(items)} nodes")
            return ready if ready and len(ready) >= (wanted or len(items)) else None

        ready = wait_until(
            look, context, pause=0.2, cap=0.5, telling=lambda: f"not ready: {', '.join(seen) or 'none seen'}"
        )
        return Report(why=f"{len(ready)} nodes")

    return act


def _endpoints(situation: Situation) -> Action:
    def act(context: Context) -> Report | None:
        from tasks.tools.kubeapi import wait_until
        from tasks.tools.kubeendpoints import endpoints

        bad: list[str] = []

        def look() -> list[str] | None:
            found = endpoints(situation.api())
            bad[:] = [f"{each.name}: {each.detail}" for each in found if each.state == "failing"]
            return [each.name for each in found if each.state == "ok"] if not bad else None

        good = wait_until(look, context, pause=0.2, cap=1.0, telling=lambda: "; ".join(bad))
        return Report(why=f"{len(good)} answer")

    return act


def system_refs(api: Any, off: frozenset[str]) -> tuple[Key, ...]:  # noqa: ANN401 - an Api; its Protocol is loaded late
    """Workloads of kube-system, CoreDNS among them unless it is disabled, and jobs that install k3s's own charts."""
    refs = (
        [] if "coredns" in off else [Key(kind="Deployment", api_version=_APPS, namespace="kube-system", name="coredns")]
    )
    for plural, kind in (("deployments", "Deployment"), ("daemonsets", "DaemonSet")):
        items = api.get(f"/apis/{_APPS}/namespaces/kube-system/{plural}")["items"]
        refs += [
            Key(kind=kind, api_version=_APPS, namespace="kube-system", name=item["metadata"]["name"]) for item in items
        ]
    jobs = api.get("/apis/batch/v1/namespaces/kube-system/jobs")["items"]
    refs += [
        Key(kind="Job", api_version="batch/v1", namespace="kube-system", name=job["metadata"]["name"])
        for job in jobs
        if job["metadata"]["name"].startswith("helm-install-")
    ]
    return tuple(dict.fromkeys(refs))


def _system(situation: Situation) -> Action:
    def act(context: Context) -> Report | None:
        off = disabled(situation.settings.cluster, situation.settings.ingress.controller)
        done: tuple[Key, ...] = ()
        while True:  # what is ready may have installed more: look again until nothing new is there
            refs = system_refs(situation.api(), off)
            if refs == done:
                return Report(why=f"{len(refs)} workloads")
            wait_ready(situation.api(), refs, context)
            done = refs

    return act
