"""What `down` removes from a foreign cluster, and what stays there, decided from what exists in it.

Removed is everything that this project created there and others do not use.
"""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tasks.clients import helm
from tasks.core.errors import some
from tasks.facts.facts import Facts
from tasks.facts.objects import all_of, in_namespaces, is_custom, kinds, kinds_of, labelled
from tasks.kube.client import RetryingApi
from tasks.kube.objects import Key, Resources, live
from tasks.kube.objects import key as key_of
from tasks.kube.ownership import CREATED_BY, RELEASE_NAME, belonging, created_by, foreign_objects, owner_of, taken
from tasks.kube.releases import LiveRelease, present
from tasks.run.releases import is_pending
from tasks.settings.needs import named_releases

Item = Mapping[str, Any]
_OF_KUBERNETES = ("kubernetes.io", "foregroundDeletion", "orphan")
"""Domains and names of finalizers that need no controller of a release."""
_DEFINITION, _CLAIM = "CustomResourceDefinition", "PersistentVolumeClaim"
_DEFINITIONS = "apiextensions.k8s.io/v1"


class Target(NamedTuple):
    """One object by uid, not a later one of the same name."""

    key: Key
    uid: str


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is removed, and what stays."""

    custom: tuple[Target, ...] = ()
    """Custom resources, also those of releases, and other objects that a controller outside Kubernetes finalises."""
    releases: tuple[LiveRelease, ...] = ()
    objects: tuple[Target, ...] = ()
    definitions: tuple[Target, ...] = ()
    namespaces: tuple[Target, ...] = ()
    claims: tuple[str, ...] = ()
    """PersistentVolumeClaims in these namespaces, whose data is removed with them."""
    staying: Mapping[str, str] = field(default_factory=dict)
    """What stays, and why."""
    known: frozenset[str] = frozenset()
    """Uids of all objects that belong to this project: also those of their dependents that are deleted later."""
    parts: tuple[Key, ...] = ()
    """The objects of its releases, including hooks."""


class Inventory:
    """What exists in the cluster, read once for one decision."""

    def __init__(self, facts: Facts, known: Collection[str] = ()) -> None:
        assert facts.live is not None
        self.facts, self.api, self.environment = facts, RetryingApi(facts.api()), facts.environment
        self.all = facts.live.releases
        self.own = {name: each for name, each in self.all.items() if each.labels.get(CREATED_BY) == self.environment}
        self.kinds, self.silent = kinds(self.api)
        homes = [key.name for key, there in facts.live.objects.items() if key.kind == "Namespace" and there]
        self.labelled = labelled(self.api, self.kinds, CREATED_BY, self.environment, homes)
        self.created = {key: item for key, item in self.labelled.items.items() if created_by(item) == self.environment}
        self.spaces = tuple(key.name for key in self.created if key.kind == "Namespace")
        self.parts = [ref for each in self.own.values() for ref in (*each.objects, *each.hook_objects)]
        self.contents = {name: present(self.api, each) for name, each in self.own.items()}
        self.uids = {*known, *(uid_of(item) for item in self.created.values())}
        self.inside = in_namespaces(self.api, self.kinds, self.spaces)
        self.belongs = belonging(self.inside.items, self.environment, self.parts, self.uids)

    def guests(self) -> dict[str, list[str]]:
        """By namespace that this project created: objects of others in it, or kinds that cannot be listed."""
        found = foreign_objects(self.inside.items, self.belongs)
        for namespace, name in self.all:
            if namespace in self.spaces and (namespace, name) not in self.own:
                found.setdefault(namespace, []).insert(0, f"release {name}")
        unseen = [*self.silent, *self.inside.unseen]
        return {name: [f"what cannot be listed: {some(unseen)}"] for name in self.spaces} if unseen else found

    def users(self, definitions: Iterable[str]) -> list[str]:
        """Custom resources of these CRDs that others have created, or kinds that cannot be listed."""
        found = all_of(self.api, [kind for name in definitions for kind in kinds_of(self.kinds, name)])
        own = belonging(found.items, self.environment, self.parts, {*self.uids, *self.belonging_uids()})
        others = [key for key in found.items if key not in own and key not in self.belongs]
        return [
            *(f"{key.kind.lower()} {shown(key)}" for key in others),
            *(f"what cannot be listed: {each}" for each in found.unseen),
        ]

    def belonging_uids(self) -> set[str]:
        """Uids of objects that belong to this project in its namespaces."""
        return {uid_of(self.inside.items[key]) for key in self.belongs}


def read(facts: Facts) -> Scope:
    """Decide what is removed and what stays, from the current state of the cluster."""
    inventory = Inventory(facts)
    staying: dict[str, str] = {}
    for key, item in inventory.labelled.items.items():
        # controllers copy a Service's labels to the objects that they create for it
        if key not in inventory.created and not item["metadata"].get("ownerReferences") and key.kind != "Endpoints":
            staying[f"{key.kind.lower()} {shown(key)}"] = "it has the label, but this project did not create it"
    held = _held_releases(facts, inventory)
    for (namespace, name), why in held.items():
        staying[f"release {name} in {namespace}"] = f"{why}; so does what this project created beside it"
    guests = inventory.guests()
    for namespace, name in held:
        guests.setdefault(namespace, []).append(f"release {name}")
    own = tuple(each for name, each in inventory.own.items() if name not in held)
    for release in own:
        parts = inventory.contents[release.namespace, release.name]
        for item in (parts[key] for key in sorted(release.kept & parts.keys()) if key.kind != _DEFINITION):
            staying[_named(item)] = f"the chart of the release {release.name} keeps it ({helm.KEEP})"
            guests.setdefault(item["metadata"].get("namespace", ""), []).append(_named(item))
        if left := _left_definitions(inventory, release):
            way = f"kubectl delete crd {' '.join(left)} --context {shlex.quote(facts.context)}"
            names = f"CRDs of the release {release.name} in {release.namespace}"
            staying[names] = f"Helm leaves these of its chart; unless others use them: {way}"
    for name in inventory.spaces:
        if name in guests:
            staying[f"namespace {name}"] = f"not everything in it goes: {some(guests[name])}"
    occupied = {namespace for namespace, _ in held}
    going = {key: item for key, item in inventory.created.items() if key.namespace not in occupied}
    definitions = {key: item for key, item in going.items() if key.kind == _DEFINITION}
    used = {key: users for key in definitions if (users := inventory.users([key.name]))}
    staying |= {f"CRD {key.name}": f"others use it: {some(users)}" for key, users in used.items()}
    spaces = [key for key in going if key.kind == "Namespace" and key.name not in guests]
    first = {key: item for key, item in going.items() if _is_finalised(key, item) and key not in definitions}
    rest = [key for key in going if key.kind not in ("Namespace", _DEFINITION) and key not in first]
    first |= _of_releases(inventory, own)
    hooks = {each: item for each, item in _left_by_hooks(inventory, own).items() if each.namespace not in occupied}
    going |= hooks
    rest += [each for each in hooks if each not in rest and each not in first]
    free = {key.name for key in spaces}
    return Scope(
        custom=_targets(first),
        releases=own,
        objects=_targets({key: going[key] for key in rest}),
        definitions=_targets({key: going[key] for key in definitions if key not in used}),
        namespaces=_targets({key: going[key] for key in spaces}),
        claims=tuple(sorted(shown(key) for key in inventory.belongs if key.kind == _CLAIM and key.namespace in free)),
        staying=staying,
        known=frozenset(inventory.belonging_uids() | inventory.uids),
        parts=tuple(inventory.parts),
    )


def foreign_parts(release: LiveRelease, parts: Mapping[Key, Item]) -> str:
    """Objects of a release that are others' by now, which Helm would remove with it; empty if there are none."""
    others = [item for item in parts.values() if taken(item, release.name, release.namespace)]
    return some([f"{_named(item)} ({owner_of(item)})" for item in others])


def _named(item: Item) -> str:
    return f"{item['kind'].lower()} {shown(key_of(item))}"


def is_busy(release: LiveRelease) -> bool:
    """Whether a Helm may be working on it for another purpose than `down`: one that uninstalls it may have failed."""
    return is_pending(release) and release.status != "uninstalling"


def _held_releases(facts: Facts, inventory: Inventory) -> dict[tuple[str, str], str]:
    """Own releases that stay: a Helm is working on them, others use their CRDs, or one that stays needs them."""
    held: dict[tuple[str, str], str] = {}
    for name, each in inventory.own.items():
        if is_busy(each):
            held[name] = f"{each.status}: a Helm is working on it, or was killed (invoke up --clear-pending)"
        elif users := inventory.users(each.definitions):
            held[name] = f"others use its custom resources: {some(users)}"
        elif others := foreign_parts(each, inventory.contents[name]):
            held[name] = f"Helm would remove what is others' by now: {others}"
    needs = needs_of(facts)
    waiting = list(held)
    while waiting:
        for need in needs.get(waiting.pop(), ()):
            if need in inventory.own and need not in held:
                held[need] = "a release that stays needs it"
                waiting.append(need)
    return held


def needs_of(facts: Facts) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """By release: those that it needs, as configured."""
    return {
        (each.namespace, each.name): [
            (other.namespace, other.name) for need in each.needs for other in named_releases(need, facts.releases)
        ]
        for each in facts.releases
    }


def _of_releases(inventory: Inventory, own: Sequence[LiveRelease]) -> dict[Key, Item]:
    """Custom resources of these releases: Helm would remove them together with their controllers."""
    found: dict[Key, Item] = {}
    for release in own:
        for key, item in inventory.contents[release.namespace, release.name].items():
            notes = item["metadata"].get("annotations") or {}
            if is_custom(key.api_version) and RELEASE_NAME in notes and notes.get(helm.KEEP) != "keep":
                found[key] = item
    return found


def _left_definitions(inventory: Inventory, release: LiveRelease) -> list[str]:
    """CRDs that Helm leaves of a release: those of its chart's `crds/`, and those that the chart keeps."""
    going = {ref.name for ref in release.objects if ref.kind == _DEFINITION and ref not in release.kept}
    going |= {key.name for key in inventory.created if key.kind == _DEFINITION}
    wanted = [Key(_DEFINITIONS, _DEFINITION, None, name) for name in release.definitions if name not in going]
    there = live(inventory.api, Resources(inventory.api), wanted)
    return sorted(key.name for key, item in there.items() if item is not None)


def _left_by_hooks(inventory: Inventory, own: Sequence[LiveRelease]) -> dict[Key, Item]:
    """What hooks of these releases created and Helm leaves behind: not what existed before, or is another release's."""
    found: dict[Key, Item] = {}
    for release in own:
        for key, item in live(inventory.api, Resources(inventory.api), release.hook_objects).items():
            if item is None or key.namespace in inventory.spaces:
                continue
            meta = item["metadata"]
            managers = [str(entry.get("manager")) for entry in meta.get("managedFields") or ()]
            by_helm = any(name.startswith("helm") for name in managers)  # version 3 uses its program's name
            if by_helm and _since(item, release.begun) and RELEASE_NAME not in (meta.get("annotations") or {}):
                found[key] = item
    return found


def _since(item: Item, begun: str) -> bool:
    try:
        first = datetime.fromisoformat(begun).replace(microsecond=0)
        return datetime.fromisoformat(str(item["metadata"]["creationTimestamp"])) >= first
    except (KeyError, TypeError, ValueError):
        return False


def _is_finalised(key: Key, item: Item) -> bool:
    domains = [str(each).partition("/")[0] for each in item["metadata"].get("finalizers") or ()]
    return is_custom(key.api_version) or not all(each.endswith(_OF_KUBERNETES) for each in domains)


def uid_of(item: Item) -> str:
    """The uid of an object; empty if it has none."""
    return str(item["metadata"].get("uid") or "")


def _targets(items: Mapping[Key, Item]) -> tuple[Target, ...]:
    return tuple(Target(key, uid_of(item)) for key, item in items.items())


def shown(key: Key) -> str:
    """An object's namespace and name, for display."""
    return f"{key.namespace}/{key.name}" if key.namespace else key.name
