"""Objects that a launch applies: namespaces, secrets, base resources from `files/`, own manifests."""

import contextlib
import functools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tasks.core.documents import documents, read_text
from tasks.core.errors import BadInput
from tasks.core.units import quantity
from tasks.facts.facts import Facts
from tasks.kube import objects
from tasks.kube.drift import differences
from tasks.settings.derived import STEP_RECORD
from tasks.settings.schema import Settings
from tasks.settings.valid import SYSTEM_NAMESPACES, dns_label

NODE_LOCAL_DNS = "files/nodelocaldns-configmap.yaml"
STORAGE = "files/local-path-storage.yaml"
POLICIES = "files/default-network-policies.yaml"
QUOTAS_FILE = "files/resource-quotas.yaml"
_LOCAL_DNS = "169.254.20.10"
"""Link-local address, as proposed by its documentation (Kubernetes: Using NodeLocal DNSCache)."""


def desired_objects(facts: Facts, parts: Collection[str]) -> list[dict[str, Any]]:
    """The objects of these parts; always with namespaces, which contain everything else."""
    return [*desired_namespaces(facts), *contents(facts, parts)]


def contents(facts: Facts, parts: Collection[str]) -> list[dict[str, Any]]:
    """The same without the namespaces."""
    found: list[dict[str, Any]] = []
    if "secrets" in parts:
        found += facts.secrets
    if "manifests" in parts:
        found += base_objects(facts) + user_objects(facts)
    return found


def desired_keys(facts: Facts, parts: Collection[str]) -> list[objects.Key]:
    """Their keys, without duplicates, and those of base resources that are switched off."""
    off = base_objects_off(facts) if "manifests" in parts else []
    return list(dict.fromkeys(objects.key(each) for each in (*desired_objects(facts, parts), *off)))


def namespace_objects(names: Sequence[str]) -> list[dict[str, Any]]:
    """One object for each name, in order, without duplicates. Raises `BadInput` for an invalid name."""
    return [
        objects.finish({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _checked(name)}})
        for name in dict.fromkeys(names)
    ]


def _checked(name: str) -> str:
    try:
        return dns_label(name)
    except ValueError as error:
        raise BadInput(
            f"'{name}' cannot be the name of a namespace",
            why=f"it {error}",
            fix="correct it where it is set: namespaces (NAMESPACES), or the namespace of a release or a secret",
        ) from None


def namespace_names(facts: Facts) -> tuple[str, ...]:
    """Configured namespaces, then those of releases and secrets that are not among them."""
    settings = facts.settings
    more = [release.namespace for release in facts.releases]
    more += [name for secret in settings.secrets for name in secret.namespaces or ()]
    theirs = {"default", *SYSTEM_NAMESPACES}
    return tuple(dict.fromkeys([*settings.namespaces, *(name for name in more if name not in theirs)]))


def desired_namespaces(facts: Facts, only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The namespace objects, from the user's own manifests where they are there; `only` those that a task needs."""
    own = user_namespaces(facts)
    made = namespace_objects([name for name in namespace_names(facts) if only is None or name in only])
    return [own.get(each["metadata"]["name"], each) for each in made]


def user_namespaces(facts: Facts) -> dict[str, dict[str, Any]]:
    """Namespaces of a launch that the user's own manifests contain, too (with labels, for example), by name.

    Applied twice with different fields, they would never be as desired. Without those that existed before.
    """
    own = {each["metadata"]["name"]: each for each in _own_objects(facts) if objects.is_namespace(each)}
    return {name: own[name] for name in namespace_names(facts) if name in own and not is_foreign(facts, name)}


def is_foreign(facts: Facts, name: str) -> bool:
    """Whether a namespace of a foreign cluster existed before: it is used, and never changed."""
    if facts.owns_cluster or facts.live is None:
        return False
    from tasks.kube.ownership import created_by

    there = facts.live.objects.get(objects.Key("v1", "Namespace", None, name))
    if there is None or there["metadata"].get("deletionTimestamp"):
        return False
    return created_by(there) != facts.environment


def base_objects(facts: Facts) -> list[dict[str, Any]]:
    """Base resources as configured. The policies allow every namespace that the launch uses.

    On a foreign cluster they go only into namespaces that this project created; the policies
    use the real addresses of its nodes.
    """
    managed = [each for each in facts.settings.namespaces if not is_foreign(facts, each)]
    if managed and facts.live is not None and facts.live.nodes_hidden and facts.settings.manifests.network_policies:
        raise BadInput(
            f"the network policies of {', '.join(managed)} need the addresses of the nodes",
            why="this login may not list nodes: webhooks that the API server calls from a node would be refused",
            fix="ask for the permission to list nodes, or set manifests.network_policies: false",
        )
    admitted = [*namespace_names(facts), *(release.namespace for release in facts.releases)]
    return base_resources(
        facts.settings,
        facts.root,
        managed=managed,
        admitted=admitted,
        nodes=None if facts.owns_cluster or facts.live is None else facts.live.node_blocks,
        whole_cluster=facts.owns_cluster,
    )


def base_objects_off(facts: Facts) -> list[dict[str, Any]]:
    """Base resources that the settings switch off; only in a cluster of this project, where an earlier run made them.

    Nobody needs a template that is not used: one that cannot be read is no error here.
    """
    if not facts.owns_cluster:
        return []
    own = {objects.key(each) for each in user_objects(facts)}  # the same file may be among the user's own
    found: list[dict[str, Any]] = []
    with contextlib.suppress(BadInput):
        found = base_resources(facts.settings, facts.root, managed=facts.settings.namespaces, off=True)
    return [each for each in found if objects.key(each) not in own]


def to_remove(facts: Facts) -> list[dict[str, Any]]:
    """Those of them that exist, as this project applied them."""
    there = facts.live.objects if facts.live is not None else {}
    return [each for each in base_objects_off(facts) if objects.is_marked(there.get(objects.key(each)))]


def user_objects(facts: Facts) -> list[dict[str, Any]]:
    """The user's own objects, except namespaces that a launch creates anyway, with the fields in the user's files."""
    made = user_namespaces(facts)
    return [
        each for each in _own_objects(facts) if not (objects.is_namespace(each) and each["metadata"]["name"] in made)
    ]


def _own_objects(facts: Facts) -> list[dict[str, Any]]:
    """The objects of the user's files; without any, no parser is imported."""
    if not facts.settings.manifests.files:
        return []
    from tasks.facts.manifest_files import own_objects

    return own_objects(facts)


def is_unchanged_namespace(facts: Facts, obj: dict[str, Any]) -> bool:
    """Whether it is an existing namespace that would not change: manifests often include theirs."""
    if not objects.is_namespace(obj) or not is_foreign(facts, obj["metadata"]["name"]):
        return False
    there = facts.live.objects.get(objects.key(obj)) if facts.live is not None else None
    return there is not None and not differences(objects.unmarked(obj), there)


# Base resources, from templates in `files/`


def base_resources(
    settings: Settings,
    root: Path,
    *,
    managed: Sequence[str],
    admitted: Sequence[str] = (),
    nodes: Sequence[str] | None = None,
    whole_cluster: bool = True,
    off: bool = False,
) -> list[dict[str, Any]]:
    """The enabled base resources, or the others if `off`; policies and quotas once for each of `managed`.

    `admitted`: namespaces that the policies allow by name. `nodes`: blocks of node addresses; None: those that a k3d
    cluster will have. Without `whole_cluster` nothing is created outside the managed namespaces. Raises `BadInput` for
    an invalid template, and for an invalid quantity in a quota.
    """
    from tasks.kube.addresses import assumed  # most single tasks need none of it

    manifests = settings.manifests
    rows = (
        (NODE_LOCAL_DNS, False, manifests.node_local_dns),
        (STORAGE, False, manifests.storage_class),
        (QUOTAS_FILE, True, manifests.quota.enabled),
        (POLICIES, True, manifests.network_policies),
    )
    blocks = assumed(settings) if nodes is None else nodes
    found: list[dict[str, Any]] = []
    for name, everywhere, on in rows:
        if on == off or not (everywhere or whole_cluster):
            continue
        for obj in _template(settings, root, name, blocks, admitted):
            namespace = obj["metadata"].get("namespace")
            if everywhere and not namespace:
                homes = [{**obj["metadata"], "namespace": each} for each in dict.fromkeys(managed)]
                found += [objects.finish({**obj, "metadata": each}) for each in homes]
            elif whole_cluster or namespace in managed:
                found.append(objects.finish(obj))
    return found


def _template(
    settings: Settings, root: Path, name: str, blocks: Sequence[str], admitted: Sequence[str]
) -> list[dict[str, Any]]:
    """The objects of a template, filled in after parsing: a setting's text cannot change the structure."""
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
    for given in _parsed(read_text(root / name, "a template of base resources"), name):
        obj: Any = given
        for placeholder, texts in repeated.items():
            obj = objects.repeat(obj, placeholder, texts)
        found.append(objects.fill(obj, values))
    return found


@functools.lru_cache(maxsize=8)
def _parsed(text: str, name: str) -> tuple[dict[str, Any], ...]:
    """The objects of a template; a launch needs them up to four times."""
    return tuple(obj for each in documents(text, name) for _place, obj in objects.opened(each.value, each.place))


def ingress_namespace(settings: Settings) -> str:
    """The namespace of the ingress controller's pods: kube-system for k3s's Traefik, or that of a release."""
    controller = settings.ingress.controller
    if controller in ("traefik", "none"):
        return "kube-system"
    charts = {release.chart.rstrip("/").rpartition("/")[2]: release.namespace for release in settings.helm.releases}
    return charts.get(controller, controller)


def _dns(settings: Settings) -> dict[str, str]:
    from tasks.settings import k3s_arguments as k3s

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
                f"manifests.quota.{name} is '{text}', which is not a quantity",
                why="Kubernetes would reject the quota, and then every pod of the namespaces",
                fix="write it as 500m, 2, 512Mi or 16Gi",
            )
    return {name.upper(): text for name, text in values.items()}


def refuse_foreign_objects(facts: Facts, parts: Collection[str]) -> None:
    """Raises `Foreign` with the owner of each object and release in a foreign cluster that a
    launch would change and that is not of this environment.
    """
    from tasks.kube.ownership import CREATED_BY, created_by, installed_by, owner_of, refused

    assert facts.live is not None
    live, found = facts.live, dict[str, str]()
    for each in contents(facts, parts):
        there = live.objects.get(objects.key(each))
        if there is None or is_unchanged_namespace(facts, each):
            continue
        if created_by(there) != facts.environment:
            found[objects.display(each)] = owner_of(there)
    for release in facts.releases if "helm" in parts else ():
        installed = live.releases.get((release.namespace, release.name))
        if installed is not None and installed.labels.get(CREATED_BY) != facts.environment:
            found[f"{release.namespace}/release/{release.name}"] = installed_by(installed)
    if found:
        raise refused(f"the cluster of context '{facts.cluster.name}'", found)


def marker_key(facts: Facts, name: str) -> objects.Key:
    """The key of the object that records a step. On a foreign cluster other environments may have one of that name.

    There it is in the first of the launch's namespaces that existed before: the login may be limited to these.
    """
    if facts.owns_cluster:
        return objects.Key("v1", "ConfigMap", "kube-system", STEP_RECORD + name)
    home = next((each for each in namespace_names(facts) if is_foreign(facts, each)), "default")
    return objects.Key("v1", "ConfigMap", home, f"{STEP_RECORD}{name}-{objects.digest(facts.environment)}")


def marker_keys(facts: Facts, parts: Collection[str]) -> list[objects.Key]:
    """The keys of all records that a launch of these parts reads."""
    if "steps" not in parts:
        return []
    from tasks.settings.needs import own_steps

    return [marker_key(facts, step.name) for step in own_steps(facts.settings) if step.inputs is not None]
