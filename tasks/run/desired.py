"""Objects that a launch puts into the cluster, by settings and files: namespaces, secrets, manifests."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tasks.core.errors import BadInput
from tasks.facts.facts import Facts
from tasks.kube.drift import differences
from tasks.kube.objects import Key, finish, is_namespace, key, unmarked
from tasks.settings.words import dns_label


def desired_objects(facts: Facts, parts: Collection[str]) -> list[dict[str, Any]]:
    """The objects of these parts; namespaces always, since everything else lives in them."""
    return [*desired_namespaces(facts), *contents(facts, parts)]


def contents(facts: Facts, parts: Collection[str]) -> list[dict[str, Any]]:
    """The same without the namespaces that hold them."""
    found: list[dict[str, Any]] = []
    if "secrets" in parts:
        found += facts.secrets
    if "manifests" in parts:
        found += base_objects(facts) + user_objects(facts)
    return found


def desired_keys(facts: Facts, parts: Collection[str]) -> list[Key]:
    """Their keys, each once."""
    return list(dict.fromkeys(key(each) for each in desired_objects(facts, parts)))


def namespace_objects(names: Sequence[str]) -> list[dict[str, Any]]:
    """One object for each name, in their order, a name that comes twice once. Raises `BadInput` for an odd name."""
    return [
        finish({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _checked(name)}})
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
    theirs = {"default", "kube-system", "kube-public", "kube-node-lease"}
    return tuple(dict.fromkeys([*settings.namespaces, *(name for name in more if name not in theirs)]))


def desired_namespaces(facts: Facts, only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The objects, as the user's own manifests have them where they do; `only` those that a single task needs."""
    own = user_namespaces(facts)
    made = namespace_objects([name for name in namespace_names(facts) if only is None or name in only])
    return [own.get(each["metadata"]["name"], each) for each in made]


def user_namespaces(facts: Facts) -> dict[str, dict[str, Any]]:
    """Namespaces of a launch that the user's own manifests hold too (with labels, for example), by name.

    Applied twice with different fields, they would never be as wanted. Not those that were there before a launch.
    """
    own = {each["metadata"]["name"]: each for each in _own_objects(facts) if is_namespace(each)}
    return {name: own[name] for name in namespace_names(facts) if name in own and not is_foreign(facts, name)}


def is_foreign(facts: Facts, name: str) -> bool:
    """Whether a namespace was there before, in a cluster that is not this project's: used, and never changed."""
    if facts.owns_cluster or facts.live is None:
        return False
    from tasks.kube.ownership import created_by

    there = facts.live.objects.get(Key("v1", "Namespace", None, name))
    if there is None or there["metadata"].get("deletionTimestamp"):
        return False
    return created_by(there) != facts.environment


def base_objects(facts: Facts) -> list[dict[str, Any]]:
    """Base resources as configured. The policies let in every namespace that something of the launch goes to.

    In a cluster that is not this project's they go only into namespaces that it created, and nowhere else; the policies
    name the addresses that its nodes really have.
    """
    from tasks.run.base_resources import base_resources

    admitted = [*namespace_names(facts), *(release.namespace for release in facts.releases)]
    return base_resources(
        facts.settings,
        facts.root,
        managed=[each for each in facts.settings.namespaces if not is_foreign(facts, each)],
        admitted=admitted,
        nodes=None if facts.owns_cluster or facts.live is None else facts.live.node_blocks,
        whole_cluster=facts.owns_cluster,
    )


def user_objects(facts: Facts) -> list[dict[str, Any]]:
    """The user's own, without namespaces that a launch makes anyway: these are made as the user's files have them."""
    made = user_namespaces(facts)
    return [each for each in _own_objects(facts) if not (is_namespace(each) and each["metadata"]["name"] in made)]


def _own_objects(facts: Facts) -> list[dict[str, Any]]:
    """As the user's files have them; who has none needs no reader of files."""
    if not facts.settings.manifests.files:
        return []
    from tasks.facts.manifest_files import own_objects

    return own_objects(facts)


def is_unchanged_namespace(facts: Facts, obj: dict[str, Any]) -> bool:
    """Whether it is a namespace that was there before and would not be changed: manifests often bring theirs."""
    if not is_namespace(obj) or not is_foreign(facts, obj["metadata"]["name"]):
        return False
    there = facts.live.objects.get(key(obj)) if facts.live is not None else None
    return there is not None and not differences(unmarked(obj), there)
