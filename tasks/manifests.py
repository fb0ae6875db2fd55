"""Base resources, and the user's own manifests after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import namespaces
from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.units import quantity
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.facts import Facts
from tasks.kube.addresses import assumed
from tasks.kube.apply import split
from tasks.kube.drift import differences
from tasks.kube.objects import Key, fill, finish, is_namespace, key, opened, repeat, unmarked
from tasks.run.apply import apply_step, difference
from tasks.run.quotas import counted_step
from tasks.settings import k3s_arguments as k3s
from tasks.settings.releases import named
from tasks.settings.step_names import API_READY, NAMESPACES, QUOTAS, SYSTEM_READY, done_name, install_name, ready_name

if TYPE_CHECKING:
    from tasks.settings.schema import Settings

NODE_LOCAL_DNS = "files/nodelocaldns-configmap.yaml"
STORAGE = "files/local-path-storage.yaml"
POLICIES = "files/default-network-policies.yaml"
QUOTAS_FILE = "files/resource-quotas.yaml"

_LOCAL_DNS = "169.254.20.10"
"""Link-local; the address that its documentation proposes (Kubernetes: Using NodeLocal DNSCache)."""


def base(
    settings: Settings,
    root: Path,
    *,
    managed: Sequence[str],
    admitted: Sequence[str] = (),
    nodes: Sequence[str] | None = None,
    whole_cluster: bool = True,
) -> list[dict[str, Any]]:
    """The base resources that are switched on; policies and quotas once for each of `managed`.

    `admitted`: namespaces that the policies let in by name. `nodes`: blocks of node addresses; None: those that a k3d
    cluster will have. Without `whole_cluster` nothing is made outside the managed namespaces. Raises `BadInput` for a
    template that cannot be read, and for a quota that is no quantity.
    """
    manifests = settings.manifests
    wanted: list[tuple[str, bool]] = []
    if manifests.node_local_dns and whole_cluster:
        wanted.append((NODE_LOCAL_DNS, False))
    if manifests.storage_class and whole_cluster:
        wanted.append((STORAGE, False))
    if manifests.quota.enabled:
        wanted.append((QUOTAS_FILE, True))
    if manifests.network_policies:
        wanted.append((POLICIES, True))
    blocks = assumed(settings) if nodes is None else nodes
    found: list[dict[str, Any]] = []
    for name, everywhere in wanted:
        for obj in _template(settings, root, name, blocks, admitted):
            namespace = obj["metadata"].get("namespace")
            if everywhere and not namespace:
                found += [_in(obj, each) for each in dict.fromkeys(managed)]
            elif whole_cluster or namespace in managed:
                found.append(finish(obj))
    return found


def _template(
    settings: Settings, root: Path, name: str, blocks: Sequence[str], admitted: Sequence[str]
) -> list[dict[str, Any]]:
    """The objects of a template, filled in after it was parsed: a setting's text cannot become structure."""
    values = {"IP": settings.cluster.bind_address, "DOMAIN": settings.cluster.domain}
    if name == NODE_LOCAL_DNS:
        values |= _dns(settings)
    elif name == QUOTAS_FILE:
        values |= _quota(settings)
    repeated = {
        "SYSTEM_NAMESPACE": sorted({"kube-system", ingress_namespace(settings)}),
        "NAMESPACE": list(dict.fromkeys(admitted)),
        "NODE_BLOCK": blocks,
    }
    found: list[dict[str, Any]] = []
    for document in documents(read_text(root / name, "a template of base resources"), name):
        for _, given in opened(document.value, document.place):
            obj: Any = given
            for placeholder, texts in repeated.items():
                obj = repeat(obj, placeholder, texts)
            found.append(fill(obj, values))
    return found


def _in(obj: dict[str, Any], namespace: str) -> dict[str, Any]:
    return finish({**obj, "metadata": {**obj["metadata"], "namespace": namespace}})


def ingress_namespace(settings: Settings) -> str:
    """Where the ingress controller's pods are: k3s starts Traefik in kube-system, a release has its own."""
    controller = settings.ingress.controller
    if controller in ("traefik", "none"):
        return "kube-system"
    charts = {release.chart.rstrip("/").rpartition("/")[2]: release.namespace for release in settings.helm.releases}
    return charts.get(controller, controller)


def _dns(settings: Settings) -> dict[str, str]:
    cluster = settings.cluster
    try:
        services = k3s.dns_addresses(cluster)
    except ValueError as error:
        raise BadInput(
            f"cluster.args.k3s: service-cidr={','.join(k3s.service_ranges(cluster))} cannot be used: {error}",
            why="the DNS service has the tenth address of each range",
            fix=f"write it as {k3s.SERVICE_RANGE}, which is k3s's default",
        ) from None
    return {"CLUSTER_DNS": " ".join(services), "CLUSTER_DOMAIN": k3s.domain(cluster), "LOCAL_DNS": _LOCAL_DNS}


def _quota(settings: Settings) -> dict[str, str]:
    quota = settings.manifests.quota
    values = {
        name: str(getattr(quota, name))
        for name in ("requests_cpu", "requests_memory", "pods", "default_cpu", "default_memory")
    }
    for name, text in values.items():
        number = quantity(text)
        if number is None or number < 0:
            raise BadInput(
                f"manifests.quota.{name} is '{text}', which is no amount",
                why="Kubernetes would refuse the quota, and with it every pod of the namespaces",
                fix="write it as 500m, 2, 512Mi or 16Gi",
            )
    return {name.upper(): text for name, text in values.items()}


TASK = "manifests"
LEFT_OUT = "manifests: base resources that are left out"
BASE = "manifests: base resources"
OWN_CRDS, OWN_READY, OWN = "manifests: your CRDs", "manifests: your CRDs are served", "manifests: yours"
_MAKERS = frozenset(
    {"APIService", "CustomResourceDefinition", "DaemonSet", "Deployment", "HelmChart", "Job", "Pod", "StatefulSet"}
)
"""Kinds of objects that may bring kinds, or answer for webhooks, some time after they are applied."""


def wanted_base(facts: Facts) -> list[dict[str, Any]]:
    """Base resources as configured. The policies let in every namespace that something of the launch goes to.

    In a cluster that is not this project's they go only into namespaces that it created, and nowhere else; the policies
    name the addresses that its nodes really have.
    """
    admitted = [*namespaces.names(facts), *(release.namespace for release in facts.releases)]
    return base(
        facts.settings,
        facts.root,
        managed=[each for each in facts.settings.namespaces if not namespaces.is_foreign(facts, each)],
        admitted=admitted,
        nodes=None if facts.owns_cluster or facts.live is None else facts.live.node_blocks,
        whole_cluster=facts.owns_cluster,
    )


def _left_out(facts: Facts) -> str:
    """Base resources that are switched on, and do not go into a cluster that is not this project's."""
    if facts.owns_cluster:
        return ""
    wanted = facts.settings.manifests
    whole = [name for name, on in ((NODE_LOCAL_DNS, wanted.node_local_dns), (STORAGE, wanted.storage_class)) if on]
    foreign = [each for each in facts.settings.namespaces if namespaces.is_foreign(facts, each)]
    parts = [f"{' and '.join(whole)}: only in a cluster that this project makes"] if whole else []
    if foreign and (wanted.quota.enabled or wanted.network_policies):
        parts.append(f"policies and quotas of {', '.join(foreign)}: not created by this project")
    return "; ".join(parts)


def wanted_own(facts: Facts) -> list[dict[str, Any]]:
    """The user's own, without namespaces that a launch makes anyway: these are made as the user's files have them."""
    made = namespaces.defined(facts)
    return [each for each in facts.own_objects() if not (is_namespace(each) and each["metadata"]["name"] in made)]


def _by_needs(facts: Facts, own: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The user's own by the releases that their files need; those that need none first."""
    needs: dict[Key, tuple[str, ...]] = {}
    for file in facts.settings.manifests.files:
        for each in facts.own_objects([file.path]) if file.needs else ():
            needs[key(each)] = tuple(dict.fromkeys((*needs.get(key(each), ()), *file.needs)))
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {(): []}
    for each in own:
        found.setdefault(needs.get(key(each), ()), []).append(each)
    return found


def steps(facts: Facts) -> list[Step]:
    """Base resources in one apply; then the user's CRDs, and when they are served, the rest.

    What the rest needs of releases may come while it is applied: see `tasks.run.sending`. Files that name their
    `needs` are applied after these, each group by a step of its own.
    """
    resources = wanted_base(facts)
    found = [apply_step(facts, BASE, TASK, resources, needs=(API_READY, NAMESPACES))]
    quotas = tuple(each for each in resources if each["kind"] == "ResourceQuota")
    if quotas:
        found.append(counted_step(facts, QUOTAS, quotas, needs=(BASE,), skip=found[0].skip))
    left_out = _left_out(facts)
    if left_out:
        found.append(Step(name=LEFT_OUT, task=TASK, skip=left_out))
    own = [each for each in wanted_own(facts) if not is_there_as_wanted(facts, each)]
    if not own:
        return found
    groups = _by_needs(facts, own)
    crds, rest = split(groups.pop(()))
    needs: tuple[str, ...] = (API_READY, NAMESPACES)
    if crds:
        found.append(apply_step(facts, OWN_CRDS, TASK, crds, needs=(API_READY,)))
        found.append(
            Step(
                name=OWN_READY,
                task=TASK,
                action=_served(facts, crds),
                needs=(OWN_CRDS,),
                wait=True,
                deadline=facts.settings.timeouts.command,
                skip=found[-1].skip,
                why="what uses them is refused before",
                expected=0.5,
            )
        )
        needs = (*needs, OWN_READY)
    brings = any(each["kind"] in _MAKERS for each in difference(facts, own).objects)
    if rest or not groups:
        found.append(_own_step(facts, OWN, rest, needs=needs, brings=brings))
    for names, objects in groups.items():
        after = [each for name in names for each in named(name, facts.releases)]
        before = (API_READY, NAMESPACES, *(done_name(each) for each in after))
        found.append(_own_step(facts, f"{OWN} after {', '.join(names)}", objects, needs=before, brings=brings))
    return found


def is_there_as_wanted(facts: Facts, obj: dict[str, Any]) -> bool:
    """Whether it is a namespace that was there before and would not be changed: manifests often bring theirs."""
    if not is_namespace(obj) or not namespaces.is_foreign(facts, obj["metadata"]["name"]):
        return False
    there = facts.live.objects.get(key(obj)) if facts.live is not None else None
    return there is not None and not differences(unmarked(obj), there)


def _own_step(facts: Facts, name: str, objects: list[dict[str, Any]], *, needs: tuple[str, ...], brings: bool) -> Step:
    """One that awaits what is being installed meanwhile."""
    step = apply_step(facts, name, TASK, objects, needs=needs, more_to_come=brings)
    names = [part for release in facts.releases for part in (install_name(release), ready_name(release))]
    return step if step.skip is not None else replace(step, awaits=(*names, SYSTEM_READY), wait=True)


def _served(facts: Facts, crds: list[dict[str, Any]]) -> Action:
    def act(context: Context) -> Report | None:
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
        return None

    return act
