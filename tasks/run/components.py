"""Waits for the optional components of the cluster that something in this launch uses."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from tasks.engine.step import Context, Report, Step
from tasks.facts.facts import Facts, Live
from tasks.facts.running import system_items
from tasks.k3d.arguments import disabled
from tasks.kube import components
from tasks.kube.client import Api
from tasks.kube.objects import Key
from tasks.run.explain import explain
from tasks.settings.derived import API_READY, NEEDS_CLUSTER

TASK = "health"
IN_USE = "health: components in use"
DEFER, RELEASE = "health: defer metrics-server", "health: start metrics-server"
ALL = "all"
_DISABLED_AS = {components.PROVISIONER: "local-storage"}
"""Names of components for `--disable` that differ (k3s: Packaged Components)."""
_METRICS_API = Key("apiregistration.k8s.io/v1", "APIService", None, "v1beta1.metrics.k8s.io")
_AUTOSCALES, _ANSWERS = 75.0, 30.0
"""Seconds until an autoscaler has metrics (two scrapes and a sync of its controller, 15 s each, and the start of the
pods), and until an Ingress answers."""
_APPEARS = 30.0
"""Seconds after the first workload of kube-system in which each component of k3s has an object, if it is deployed
at all: k3s applies its packaged manifests as soon as its API answers, unless a `.skip` file is beside them."""
_NOT_YET = (0, 502, 503, 504)
"""Responses of an ingress controller, or a proxy to it, that does not know the Ingress yet."""


def waited_for(facts: Facts, *, everything: bool = False) -> Callable[[str], bool]:
    """Whether to wait for a workload of kube-system even if nothing uses it, by its name."""
    named = frozenset(components.OPTIONAL if everything else facts.settings.health.wait_for)
    if ALL in named:
        named = frozenset(components.OPTIONAL)
    return lambda name: (found := components.component(name)) is None or found in named or name in named


def off(facts: Facts) -> frozenset[str]:
    """Disabled components of k3s; a foreign cluster may have none of them."""
    if not facts.owns_cluster:
        return frozenset({"coredns", *components.OPTIONAL})
    names = disabled(facts.settings.cluster, facts.settings.ingress.controller)
    return names | {each for each in components.OPTIONAL if _DISABLED_AS.get(each, each) in names}


def starting(live: Live, waits: Callable[[str], bool]) -> tuple[str, ...]:
    """Components that are not ready and are awaited only if something uses them."""
    return _not_awaited((key.partition("/")[2] for key, text in live.system.items() if text), waits)


def step(facts: Facts, before: Sequence[Step], *, everything: bool = False) -> Step | None:
    """The wait that starts once all objects of the launch are applied; None if everything is awaited anyway.

    `before`: the steps that apply the objects.
    """
    waits = waited_for(facts, everything=everything)
    if all(waits(name) for name in components.OPTIONAL):
        return None
    skip, notes = _settled(facts, waits) if all(each.skip is not None for each in before) else (None, ())
    return Step(
        name=IN_USE,
        task=TASK,
        action=partial(_waiting, facts),
        needs=(API_READY, *(each.name for each in before)),
        wait=True,
        deadline=facts.settings.timeouts.health,
        skip=skip,
        notes=notes,
        why="components used by a claim, an Ingress or an autoscaler",
        expected=0.1,
    )


def _settled(facts: Facts, waits: Callable[[str], bool]) -> tuple[str | None, tuple[str, ...]]:
    """Why nothing needs to be awaited, by the facts, with notes for the user; None if something does."""
    live = facts.live
    if live is None:
        return None, ()
    late = starting(live, waits)
    used = [each for each in late if live.use is not None and each in live.use.needed]
    if used:
        return None, ()
    return ("nothing uses what is still starting" if late else "all existing ones are ready"), _note(late)


def _note(late: Collection[str]) -> tuple[str, ...]:
    return (f"still starting, and not used: {', '.join(late)}; `invoke health` waits for it",) if late else ()


def _namespaces(facts: Facts) -> frozenset[str]:
    return frozenset({*facts.settings.namespaces, *(each.namespace for each in facts.releases)})


def defers(facts: Facts) -> bool:
    """Whether metrics-server starts after the launch: in a new cluster, if nothing is known to need it."""
    from tasks.run.desired import user_objects

    new = facts.cluster.presence.to_create and facts.restore is None
    if not new or components.METRICS in off(facts) or waited_for(facts)(components.METRICS):
        return False
    return all(each.get("kind") != "HorizontalPodAutoscaler" for each in user_objects(facts))


def deferral_steps(facts: Facts, found: Sequence[Step]) -> list[Step]:
    """Steps that defer metrics-server until all other steps (`found`) are done; none if it is not deferred.

    The next launch removes what a killed or failed one has left.
    """
    new = defers(facts)
    left = not facts.cluster.presence.to_create and facts.paths.deferral.exists()
    if not new and not left:
        return []
    # a step of the user's own may need it
    waited = NEEDS_CLUSTER - {"steps"}
    before = [step.name for step in found if step.skip is None and step.task in waited and not step.until]
    why = "everything else is done" if new else "a launch that failed has deferred it"
    rows = (
        (DEFER, _defer, (API_READY,), "no known user"),
        (RELEASE, _release, (DEFER if new else API_READY, *before), why),
    )
    return [
        Step(
            name=name,
            task=TASK,
            action=partial(action, facts),
            needs=needs,
            wait=True,
            deadline=5.0,
            why=why,
            expected=0.05,
            optional=True,
        )
        for name, action, needs, why in (rows if new else rows[1:])
    ]


def _defer(facts: Facts, _context: Context) -> Report:
    with contextlib.suppress(OSError):  # it expires anyway
        facts.paths.deferral.touch(mode=0o600)
    unable = components.defer(facts.api())
    if unable:
        facts.paths.deferral.unlink(missing_ok=True)
    return Report(
        why=f"not done: {unable}" if unable else f"until the launch is over, at most {components.DEFERRED_S} s"
    )


def _release(facts: Facts, _context: Context) -> Report:
    why = "" if _end(facts) else "it expires on its own"
    return Report(why=why, notes=_note(_late(facts.api(), waited_for(facts))))


def _end(facts: Facts) -> bool:
    ended = components.end_deferral(facts.api())
    if ended:
        facts.paths.deferral.unlink(missing_ok=True)
    return ended


def _waiting(facts: Facts, context: Context) -> Report | None:
    from tasks.kube.wait import wait_ready

    use = components.in_use(facts.api(), _namespaces(facts))
    needed = {name: why for name, why in use.needed.items() if name not in off(facts)}
    done, absent = [], set[str]()
    if components.METRICS in needed and defers(facts):
        _end(facts)
    if needed:
        keys = lambda api: _keys(api, needed, absent)  # noqa: E731 - bound arguments
        done = wait_ready(facts.watched(), keys, context, diagnose=partial(explain, facts))
    notes = [f"{needed[name]} needs {name}, which is not installed in this cluster" for name in sorted(absent)]
    if components.METRICS not in absent:
        notes += _autoscaled(facts, use, context)
    notes += _answering(facts, use, context)
    if not defers(facts):
        notes += _note(_late(facts.api(), waited_for(facts)))
    why = ", ".join(f"{name} for {why}" for name, why in needed.items()) or "none is used"
    return Report(why=f"{why}: {len(done)} are ready" if done else why, notes=tuple(notes))


def _keys(api: Api, needed: Collection[str], absent: set[str]) -> list[Key]:
    """The workloads of these components, and those that each must have eventually.

    `absent` gets the components that have no objects in the cluster, and will not get any.
    """
    there = [(components.component(item["metadata"]["name"]), item) for item in system_items(api)]
    absent.clear()
    if _old([item for _, item in there]):
        absent.update(set(needed) - {name for name, _ in there})
    keys = [Key("apps/v1", "Deployment", "kube-system", name) for name in needed if name not in absent]
    keys += [
        Key(item["apiVersion"], item["kind"], "kube-system", item["metadata"]["name"])
        for name, item in there
        if name in needed
    ]
    if components.METRICS in needed and components.METRICS not in absent:
        keys.append(_METRICS_API)
    return list(dict.fromkeys(keys))


def _old(items: Iterable[components.Item]) -> bool:
    """Whether the first of these is so old that everything installed with it must exist."""
    made = [datetime.fromisoformat(text) for each in items if (text := each["metadata"].get("creationTimestamp"))]
    return bool(made) and (datetime.now(UTC) - min(made)).total_seconds() >= _APPEARS


def _late(api: Api, waits: Callable[[str], bool]) -> tuple[str, ...]:
    from tasks.kube.readiness import workload_ready

    return _not_awaited((item["metadata"]["name"] for item in system_items(api) if not workload_ready(item)[0]), waits)


def _not_awaited(late: Iterable[str], waits: Callable[[str], bool]) -> tuple[str, ...]:
    return tuple(sorted({components.component(name) or name for name in late if not waits(name)}))


def _autoscaled(facts: Facts, use: components.Use, context: Context) -> list[str]:
    """Wait until autoscalers have metrics."""
    if not use.autoscalers or components.METRICS in off(facts):
        return []

    def without() -> list[str]:
        found = [
            (each, components.scales(each)) for each in components.in_use(facts.api(), _namespaces(facts)).autoscalers
        ]
        return [
            f"horizontalpodautoscaler/{each['metadata']['name']} has no metrics yet: {text}"
            for each, (good, text) in found
            if not good
        ]

    return _bounded(without, context, _AUTOSCALES)


def _answering(facts: Facts, use: components.Use, context: Context) -> list[str]:
    """Wait until each Ingress answers at the published port."""
    ports = facts.outputs.ports or facts.ports
    if not use.ingresses or not facts.owns_cluster or ports is None or not ports.http:
        return []
    port, address = ports.http, facts.settings.cluster.bind_address

    def silent() -> list[str]:
        found = []
        for each in components.in_use(facts.api(), _namespaces(facts)).ingresses:
            host, path = _first_rule(each)
            status = facts.backend.http_status(address, port, host, path)
            known = bool(((each.get("status") or {}).get("loadBalancer") or {}).get("ingress"))
            if status in _NOT_YET or (status == 404 and not known):
                url = f"http://{host or address}:{port}{path}"
                found.append(f"ingress/{each['metadata']['name']} does not answer yet at {url}")
        return found

    return _bounded(silent, context, _ANSWERS)


def _bounded(missing: Callable[[], list[str]], context: Context, seconds: float) -> list[str]:
    """Wait until nothing is missing; after the timeout the rest becomes notes, which fail nothing."""
    from tasks.kube.wait import NotInTime, poll

    left: list[str] = []

    def look() -> bool | None:
        left[:] = missing()
        context.say("; ".join(left) or "all answer")
        return None if left else True

    try:
        poll(look, replace(context, deadline=min(seconds, context.deadline)), pause=0.2, cap=1.0)
    except NotInTime:
        return left
    return []


def _first_rule(ingress: components.Item) -> tuple[str, str]:
    """Host name and path to request."""
    rules: Sequence[components.Item] = (ingress.get("spec") or {}).get("rules") or ({},)
    paths: Sequence[components.Item] = (rules[0].get("http") or {}).get("paths") or ({},)
    path = str(paths[0].get("path") or "/")
    return str(rules[0].get("host") or "").replace("*", "any"), path if path.startswith("/") else "/"
