"""`invoke manifests`: base resources, and the user's own manifests after them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks import namespaces
from tasks.core.errors import some
from tasks.core.units import quantity
from tasks.engine.step import Context, Report, Step
from tasks.engine.work import RunCommand
from tasks.run.task import run_part, task
from tasks.settings import derived

if TYPE_CHECKING:
    from tasks.facts.facts import Facts, Live
    from tasks.kube.client import Api, Direct
    from tasks.run.session import Session

TASK = "manifests"
BASE = "manifests: base resources"
BASE_OFF = "manifests: remove base resources"
NEW_NODES = "manifests: addresses of new nodes"
_JOINS = 30.0
"""Seconds until a node that has joined has its addresses: they are assigned at once."""
_MAKERS = frozenset(
    {"APIService", "CustomResourceDefinition", "DaemonSet", "Deployment", "HelmChart", "Job", "Pod", "StatefulSet"}
)
"""Kinds of objects that may define kinds, or serve webhooks, some time after they are applied."""
Place = tuple[str, str]
"""Namespace and name."""
_LIST = "/api/v1/resourcequotas"
_COUNTED_BY_PODS = ("pods", "requests.", "limits.", "cpu", "memory")
"""Name prefixes of resources that pods use: a namespace without pods uses none of them."""
_COUNTED_BY_CLAIMS = "requests.storage"
"""An exception: storage, which may exist without a pod."""


@task(query_ahead=True)
def manifests(session: Session) -> int:
    """Apply the base resources and your own manifests."""
    return run_part(session, TASK, single_steps)


def single_steps(facts: Facts) -> list[Step]:
    """The steps of this task alone: with the missing namespaces and images that it needs."""
    from tasks.run.desired import user_namespaces, user_objects

    found = namespaces.missing(facts, {*facts.settings.namespaces, *user_namespaces(facts)})
    if facts.builds:
        from tasks.run import builds

        found += builds.steps(facts, builds.used(facts, user_objects(facts)))
    return [*found, *steps(facts)]


def _left_out(facts: Facts) -> str:
    """Enabled base resources that are not applied on a foreign cluster."""
    from tasks.run.desired import NODE_LOCAL_DNS, STORAGE, is_foreign

    if facts.owns_cluster:
        return ""
    wanted = facts.settings.manifests
    whole = [name for name, on in ((NODE_LOCAL_DNS, wanted.node_local_dns), (STORAGE, wanted.storage_class)) if on]
    foreign = [each for each in facts.settings.namespaces if is_foreign(facts, each)]
    parts = [f"{' and '.join(whole)}: only in a cluster that this project creates"] if whole else []
    if foreign and (wanted.quota.enabled or wanted.network_policies):
        parts.append(f"policies and quotas of {', '.join(foreign)}: not created by this project")
    return "; ".join(parts)


def _removal(facts: Facts, surplus: Sequence[dict[str, Any]]) -> Step:
    """Delete base resources that the settings switch off: a quota, for example, would continue to reject pods."""
    from tasks.clients import kubectl
    from tasks.diagnose.command import command_action
    from tasks.kube.apply import stream
    from tasks.kube.objects import display

    return Step(
        name=BASE_OFF,
        task=TASK,
        action=command_action(facts.programs, kubectl.delete(facts.paths.kubeconfig, stream(surplus))),
        needs=(derived.API_READY,),
        why=f"switched off in the settings: {some([display(each) for each in surplus])}",
        expected=0.3,
        work=RunCommand(program="kubectl"),
    )


def _by_needs(facts: Facts, own: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The user's own objects by the releases that their files need; those without needs first."""
    from tasks.facts.manifest_files import needs_by_object
    from tasks.kube.objects import key

    needs = needs_by_object(facts)
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {(): []}
    for each in own:
        found.setdefault(needs.get(key(each), ()), []).append(each)
    return found


def steps(facts: Facts) -> list[Step]:
    """Base resources in one apply; then the user's CRDs, and once they are served, the rest.

    Releases may create what the rest needs while it is applied: see `tasks.run.sending`. Files that name their
    `needs` are applied after those, each group by a step of its own.
    """
    from tasks.kube.apply import split
    from tasks.run.apply import apply_step, difference
    from tasks.run.desired import base_objects, is_unchanged_namespace, to_remove, user_objects
    from tasks.settings.needs import named_releases

    resources = base_objects(facts)
    found = [apply_step(facts, BASE, TASK, resources, needs=(derived.API_READY, derived.NAMESPACES))]
    quotas = tuple(each for each in resources if each["kind"] == "ResourceQuota")
    if quotas:
        found.append(counted_step(facts, derived.QUOTAS, quotas, needs=(BASE,), skip=found[0].skip))
    policies = tuple(each for each in resources if each["kind"] == "NetworkPolicy")
    if policies and not facts.owns_cluster and facts.live is not None and facts.live.nodes_joining:
        found.append(_new_nodes(facts, facts.live))
    if surplus := to_remove(facts):
        found.append(_removal(facts, surplus))
    left_out = _left_out(facts)
    if left_out:
        found.append(Step(name=derived.BASE_LEFT_OUT, task=TASK, skip=left_out))
    own = [each for each in user_objects(facts) if not is_unchanged_namespace(facts, each)]
    if not own:
        return found
    groups = _by_needs(facts, own)
    crds, rest = split(groups.pop(()))
    needs: tuple[str, ...] = (derived.API_READY, derived.NAMESPACES)
    if crds:
        found.append(apply_step(facts, derived.OWN_CRDS, TASK, crds, needs=(derived.API_READY,)))
        found.append(
            Step(
                name=derived.OWN_READY,
                task=TASK,
                action=partial(_wait_served, facts, crds),
                needs=(derived.OWN_CRDS,),
                wait=True,
                deadline=facts.settings.timeouts.command,
                skip=found[-1].skip,
                why="their objects are rejected before that",
                expected=0.5,
            )
        )
        needs = (*needs, derived.OWN_READY)
    brings = any(each["kind"] in _MAKERS for each in difference(facts, own).objects)
    if rest or not groups:
        found.append(_own_step(facts, derived.manifests_name(()), rest, needs=needs, brings=brings))
    for names, objects in groups.items():
        after = [each for name in names for each in named_releases(name, facts.releases)]
        before = (derived.API_READY, derived.NAMESPACES, *(derived.done_name(each) for each in after))
        found.append(_own_step(facts, derived.manifests_name(names), objects, needs=before, brings=brings))
    return found


def _new_nodes(facts: Facts, live: Live) -> Step:
    """The policies again, once nodes that join a foreign cluster at this moment have their addresses."""

    def act(context: Context) -> Report:
        from tasks.kube.addresses import joining, of_nodes
        from tasks.kube.wait import NotInTime, poll
        from tasks.run.apply import applying
        from tasks.run.desired import base_objects

        found: list[dict[str, Any]] = []

        def addressed() -> bool | None:
            found[:] = facts.api().get("/api/v1/nodes")["items"]
            return not joining(found) or None

        with contextlib.suppress(NotInTime):  # `health` reports nodes that do not become ready
            poll(addressed, replace(context, deadline=_JOINS), pause=0.5)
        blocks = of_nodes(found)
        now = replace(facts, live=replace(live, node_blocks=blocks))
        applying(now, [each for each in base_objects(now) if each["kind"] == "NetworkPolicy"])(context)
        return Report(why=f"{', '.join(sorted(set(blocks) - set(live.node_blocks))) or 'there are none'}")

    names = ", ".join(live.nodes_joining)
    deadline = _JOINS + facts.settings.timeouts.command
    why = f"the network policies need those of {names}"
    return Step(
        name=NEW_NODES, task=TASK, action=act, needs=(BASE,), wait=True, deadline=deadline, why=why, expected=3.0
    )


def _own_step(facts: Facts, name: str, objects: list[dict[str, Any]], *, needs: tuple[str, ...], brings: bool) -> Step:
    """A step that awaits what is being installed concurrently."""
    from tasks.run.apply import apply_step

    if facts.builds:
        from tasks.run.builds import pushed

        needs = (*needs, *pushed(facts, objects))
    step = apply_step(facts, name, TASK, objects, needs=needs, more_to_come=brings)
    names = [
        part for release in facts.releases for part in (derived.install_name(release), derived.ready_name(release))
    ]
    return step if step.skip is not None else replace(step, awaits=(*names, derived.SYSTEM_READY), wait=True)


def _wait_served(facts: Facts, crds: list[dict[str, Any]], context: Context) -> None:
    from tasks.kube.objects import Key
    from tasks.kube.wait import wait_ready

    refs = [
        Key(
            kind="CustomResourceDefinition",
            api_version="apiextensions.k8s.io/v1",
            namespace=None,
            name=crd["metadata"]["name"],
        )
        for crd in crds
    ]
    wait_ready(facts.watched(), refs, context)


# A quota is enforced once its usage is counted: pods of its namespace are rejected before that (kubernetes#73698). The
# controller that counts is one of the last to start: seconds after the API answers (measured: 3 to 5). In a namespace
# without pods there is nothing to count, so a zero usage is written at once; from then on admission counts.


def counted_step(
    facts: Facts, name: str, quotas: Sequence[Mapping[str, Any]], *, needs: tuple[str, ...], skip: str | None
) -> Step:
    """One wait for all of them."""
    return Step(
        name=name,
        task="manifests",
        action=partial(_counting, facts, quotas),
        needs=needs,
        wait=True,
        deadline=facts.settings.timeouts.command,
        skip=skip,
        why="pods of a namespace are rejected before that",
        expected=0.2,
    )


def _place(obj: Mapping[str, Any]) -> Place:
    return obj["metadata"].get("namespace") or "default", obj["metadata"]["name"]


def _counting(facts: Facts, quotas: Sequence[Mapping[str, Any]], context: Context) -> Report | None:
    from tasks.kube.client import permitted
    from tasks.kube.objects import Resources, key, live
    from tasks.kube.wait import watch

    left = {_place(each) for each in quotas}
    wanted = frozenset(left)
    written = _written(facts, quotas)
    resources = Resources(facts.api())

    def counted(api: Api) -> bool | None:
        there = permitted(api, _LIST)
        if there is None:
            there = [each for each in live(api, resources, map(key, quotas)).values() if each is not None]
        left.clear()
        left.update(wanted - {_place(item) for item in there if _is_counted(item)})
        context.say(f"{len(wanted) - len(left)} of {len(wanted)} quotas")
        return None if left else True

    def telling() -> str:
        return "not counted yet: " + ", ".join(f"{namespace}/{name}" for namespace, name in sorted(left))

    watch(facts.watched(), counted, context, telling=telling)
    return Report(why=f"{len(written)} of {len(wanted)} are for namespaces without pods" if written else "")


def _is_counted(quota: Mapping[str, Any]) -> bool:
    status = quota.get("status") or {}
    hard = quota["spec"].get("hard") or {}
    return _same(status.get("hard") or {}, hard) and set(hard) <= set(status.get("used") or {})


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return {name: quantity(text) for name, text in one.items()} == {
        name: quantity(text) for name, text in other.items()
    }


def _written(facts: Facts, quotas: Sequence[Mapping[str, Any]]) -> list[Place]:
    """Quotas whose usage is written by this step. The controller counts the others, as usual.

    On a foreign cluster the controller already runs, and there may be too many pods to read.
    """
    from tasks.kube.client import ApiError, Direct

    api, found = facts.api(), list[Place]()
    if isinstance(api, Direct) and facts.owns_cluster:
        with contextlib.suppress(ApiError):
            found.extend(_write(api, quotas))
    return found


def _only_pods(quota: Mapping[str, Any]) -> bool:
    spec = quota["spec"]
    names = [str(each) for each in spec.get("hard") or {}]
    counted = all(each.startswith(_COUNTED_BY_PODS) and each != _COUNTED_BY_CLAIMS for each in names)
    return counted and not spec.get("scopes") and not spec.get("scopeSelector")


def _write(api: Direct, quotas: Sequence[Mapping[str, Any]]) -> Iterator[Place]:
    """Set the usage to zero for namespaces without pods, unless the quota has a status already."""
    busy = {item["metadata"]["namespace"] for item in api.get("/api/v1/pods")["items"]}
    known = {_place(item) for item in api.get(_LIST)["items"] if (item.get("status") or {}).get("used")}
    for quota in quotas:
        namespace, name = _place(quota)
        hard = quota["spec"].get("hard") or {}
        if namespace in busy or (namespace, name) in known or not _only_pods(quota):
            continue
        body = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": name, "namespace": namespace},
            "status": {"hard": hard, "used": dict.fromkeys(hard, "0")},
        }
        path = f"/api/v1/namespaces/{namespace}/resourcequotas/{name}/status?fieldManager=openframe&force=true"
        code, _ = api.patch(path, json.dumps(body))
        if code == 200:
            yield namespace, name
