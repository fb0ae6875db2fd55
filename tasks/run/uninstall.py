"""What `down` removes from a foreign cluster: everything that this project created there and others do not use.

In reverse order of needs: custom resources first, while their controllers can still finalise them; then releases,
those that others need last; then other objects, unused CRDs, and namespaces without objects of others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from tasks.clients import helm
from tasks.core.errors import LaunchError, some
from tasks.diagnose.command import run_command
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.facts import Facts
from tasks.facts.objects import Found, all_of, created_for, in_namespaces, is_custom, kinds, kinds_of
from tasks.k3d.removal import TASK
from tasks.kube.client import RetryingApi
from tasks.kube.objects import Key, Resources, deletion_blockers, live
from tasks.kube.ownership import CREATED_BY, RELEASE_NAME, belonging, created_by, foreign_objects
from tasks.kube.releases import LiveRelease, release_in
from tasks.kube.wait import NotInTime, poll
from tasks.run.foreign_objects import delete
from tasks.run.releases import is_pending
from tasks.settings.derived import HELM
from tasks.settings.needs import named_releases

Item = Mapping[str, Any]
_OF_KUBERNETES = ("kubernetes.io", "foregroundDeletion", "orphan")
"""Domains and names of finalizers that need no controller of a release."""
_DEFINITION, _CLAIM = "CustomResourceDefinition", "PersistentVolumeClaim"
CUSTOM, OBJECTS = "down: custom resources", "down: objects that this project created"
DEFINITIONS, NAMESPACES = "down: CRDs that this project created", "down: namespaces that this project created"
_TIMEOUT = 300.0
_SETTLE = 30.0
"""Seconds until dependents of removed objects must be gone, too: the garbage collector needs a moment."""


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
        self.labelled = created_for(self.api, self.kinds, self.environment, homes)
        self.created = {key: item for key, item in self.labelled.items.items() if created_by(item) == self.environment}
        self.spaces = tuple(key.name for key in self.created if key.kind == "Namespace")
        self.parts = [ref for each in self.own.values() for ref in (*each.objects, *each.hook_objects)]
        self.uids = {*known, *(_uid(item) for item in self.created.values())}
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
            *(f"{key.kind.lower()} {_shown(key)}" for key in others),
            *(f"what cannot be listed: {each}" for each in found.unseen),
        ]

    def belonging_uids(self) -> set[str]:
        """Uids of objects that belong to this project in its namespaces."""
        return {_uid(self.inside.items[key]) for key in self.belongs}


def read(facts: Facts) -> Scope:
    """Decide what is removed and what stays, from the current state of the cluster."""
    inventory = Inventory(facts)
    staying: dict[str, str] = {}
    for key, item in inventory.labelled.items.items():
        # controllers copy a Service's labels to the objects that they create for it
        if key not in inventory.created and not item["metadata"].get("ownerReferences") and key.kind != "Endpoints":
            staying[f"{key.kind.lower()} {_shown(key)}"] = "it has the label, but this project did not create it"
    held = _held_releases(facts, inventory)
    for (namespace, name), why in held.items():
        staying[f"release {name} in {namespace}"] = f"{why}; so does what this project created beside it"
    guests = inventory.guests()
    for namespace, name in held:
        guests.setdefault(namespace, []).append(f"release {name}")
    for name in inventory.spaces:
        if name in guests:
            staying[f"namespace {name}"] = f"this project did not create everything in it: {some(guests[name])}"
    occupied = {namespace for namespace, _ in held}
    going = {key: item for key, item in inventory.created.items() if key.namespace not in occupied}
    definitions = {key: item for key, item in going.items() if key.kind == _DEFINITION}
    used = {key: users for key in definitions if (users := inventory.users([key.name]))}
    staying |= {f"CRD {key.name}": f"others use it: {some(users)}" for key, users in used.items()}
    spaces = [key for key in going if key.kind == "Namespace" and key.name not in guests]
    first = {key: item for key, item in going.items() if _is_finalised(key, item) and key not in definitions}
    rest = [key for key in going if key.kind not in ("Namespace", _DEFINITION) and key not in first]
    own = tuple(each for name, each in inventory.own.items() if name not in held)
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
        claims=tuple(sorted(_shown(key) for key in inventory.belongs if key.kind == _CLAIM and key.namespace in free)),
        staying=staying,
        known=frozenset(inventory.belonging_uids() | inventory.uids),
        parts=tuple(inventory.parts),
    )


def _held_releases(facts: Facts, inventory: Inventory) -> dict[tuple[str, str], str]:
    """Own releases that stay: a Helm is working on them, others use their CRDs, or one that stays needs them."""
    held: dict[tuple[str, str], str] = {}
    for name, each in inventory.own.items():
        if is_pending(each):
            held[name] = f"{each.status}: a Helm is working on it, or was killed (invoke up --clear-pending)"
        elif users := inventory.users(each.definitions):
            held[name] = f"others use its custom resources: {some(users)}"
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
        wanted = [key for key in release.objects if is_custom(key.api_version)]
        for key, item in live(inventory.api, Resources(inventory.api), wanted).items():
            notes = item["metadata"].get("annotations") or {} if item is not None else {}
            if item is not None and notes.get(RELEASE_NAME) == release.name and notes.get(helm.KEEP) != "keep":
                found[key] = item
    return found


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


def _uid(item: Item) -> str:
    return str(item["metadata"].get("uid") or "")


def _targets(items: Mapping[Key, Item]) -> tuple[Target, ...]:
    return tuple(Target(key, _uid(item)) for key, item in items.items())


def _shown(key: Key) -> str:
    return f"{key.namespace}/{key.name}" if key.namespace else key.name


# The steps


def steps(facts: Facts, scope: Scope) -> list[Step]:
    """Removals, each part after its dependents; and a skipped step for everything that stays."""
    wait = facts.settings.timeouts.health
    blank = Step(name=CUSTOM, task=TASK, deadline=wait, skip="there are none")
    found = [replace(blank, **_part(scope.custom, _deleting(facts, scope.custom, gone=True)))]
    uninstalls = {(each.namespace, each.name): f"down: release {each.namespace}/{each.name}" for each in scope.releases}
    needed_by: dict[tuple[str, str], list[str]] = {}
    for name, needs in needs_of(facts).items():
        for need in needs:
            if name in uninstalls:
                needed_by.setdefault(need, []).append(uninstalls[name])
    for each in scope.releases:
        key = (each.namespace, each.name)
        found.append(
            Step(
                name=uninstalls[key],
                task=TASK,
                kind=HELM,
                action=_uninstalling(facts, each, scope.known),
                needs=(CUSTOM, *needed_by.get(key, ())),
                deadline=_TIMEOUT + 15,
                why=f"it has the label {CREATED_BY}={facts.environment}",
            )
        )
    before = tuple(step.name for step in found)
    found.append(replace(blank, name=OBJECTS, needs=before, **_part(scope.objects, _deleting(facts, scope.objects))))
    crds = _part(scope.definitions, _deleting_unused(facts, scope.definitions))
    found.append(replace(blank, name=DEFINITIONS, needs=(OBJECTS,), **crds))
    spaces = _part(scope.namespaces, _deleting_namespaces(facts, scope))
    if scope.namespaces:
        names = ", ".join(each.key.name for each in scope.namespaces)
        claims = f", including the data of the claims {', '.join(scope.claims)}" if scope.claims else ""
        spaces["why"] = f"{names} with everything in them{claims}"
    found.append(replace(blank, name=NAMESPACES, needs=(DEFINITIONS,), **spaces))
    staying = sorted(scope.staying.items())
    return [*found, *(Step(name=f"down: {name}", task=TASK, skip=f"it stays: {why}") for name, why in staying)]


def _part(targets: Sequence[Target], action: Action) -> dict[str, Any]:
    if not targets:
        return {}
    counts = [each.key.kind for each in targets]
    shown_counts = ", ".join(f"{counts.count(kind)} {kind}" for kind in dict.fromkeys(counts))
    return {"action": action, "skip": None, "why": shown_counts}


def _deleting(facts: Facts, targets: Sequence[Target], *, gone: bool = False) -> Action:
    def act(context: Context) -> Report | None:
        left = _delete(facts, targets, context)
        if gone:
            _until_gone(facts, targets, context)
        return Report(why=f"left, since others have recreated them: {', '.join(left)}" if left else "")

    return act


def _delete(facts: Facts, targets: Sequence[Target], context: Context) -> list[str]:
    """Names of those that are no longer the objects of the inventory: they stay."""
    api, left = facts.api(), list[str]()
    resources = Resources(api)
    for key, known in targets:
        context.wait(0)
        if not delete(api, resources, key, known):
            left.append(f"{key.kind.lower()} {_shown(key)}")
    facts.programs.note(context, "\n".join(f"{each.key.kind.lower()} {_shown(each.key)}" for each in targets))
    return left


def _until_gone(facts: Facts, targets: Sequence[Target], context: Context) -> None:
    left: dict[str, str] = {}
    api = facts.api()
    resources = Resources(api)

    def looked() -> bool | None:
        there = live(api, resources, [each.key for each in targets])
        left.clear()
        for key, known in targets:
            item = there[key]
            if item is not None and _uid(item) == known:
                left[f"{key.kind.lower()} {_shown(key)}"] = deletion_blockers(item)
        context.say(f"{len(left)} of {len(targets)} still exist")
        return None if left else True

    poll(looked, context, telling=lambda: "; ".join(f"{name} waits for {held}" for name, held in left.items()))


def _uninstalling(facts: Facts, release: LiveRelease, known: Collection[str]) -> Action:
    """Reads the cluster again first: others may use it by now. What the garbage collector deletes does not count."""

    def act(context: Context) -> Report | None:
        now = release_in(facts.api(), release.namespace, release.name)
        if now is None:
            return Report(skipped=True, why="it is gone")
        users = Inventory(facts, known).users(now.definitions) if now.definitions else []
        if is_pending(now) or now.labels.get(CREATED_BY) != facts.environment or users:
            raise LaunchError(
                f"the release {release.name} in {release.namespace} was not uninstalled",
                why=f"others use its custom resources: {some(users)}" if users else f"its status is {now.status}",
                fix="run `invoke down` again: it checks again",
            )
        command = helm.uninstall(facts.paths.kubeconfig, release.name, release.namespace, _TIMEOUT)
        return Report(exit_code=run_command(facts.helm_programs, command, context).code)

    return act


def _deleting_unused(facts: Facts, targets: Sequence[Target]) -> Action:
    def act(context: Context) -> Report | None:
        api, used = facts.api(), list[str]()
        known, _ = kinds(api)

        def unused() -> bool | None:
            found = [all_of(api, kinds_of(known, each.key.name)) for each in targets]
            used[:] = [f"{key.kind.lower()} {_shown(key)}" for each in found for key in each.items]
            used.extend(kind for each in found for kind in each.unseen)
            return not used or None

        try:
            poll(unused, replace(context, deadline=min(context.deadline, _SETTLE)), pause=1.0)
        except NotInTime:
            raise LaunchError(
                "CRDs that this project created were not removed",
                why=f"they have custom resources, which would be deleted with them: {some(used)}",
                fix="remove those first, if they are no longer needed, and run `invoke down` again",
            ) from None
        _delete(facts, targets, context)
        return None

    return act


def _deleting_namespaces(facts: Facts, scope: Scope) -> Action:
    """Reads the namespaces again first. Ends when they are gone."""

    def act(context: Context) -> Report | None:
        api, guests = facts.api(), dict[str, list[str]]()
        known, silent = kinds(api)
        names = [each.key.name for each in scope.namespaces]

        def alone() -> bool | None:
            guests.clear()
            guests.update(_new_guests(facts, in_namespaces(api, known, names), scope, silent))
            return None if guests else True

        telling = lambda: "; ".join(f"{name}: {some(each)}" for name, each in guests.items())  # noqa: E731
        poll(alone, replace(context, deadline=min(context.deadline, _SETTLE)), pause=1.0, telling=telling)
        _delete(facts, scope.namespaces, context)
        _until_gone(facts, scope.namespaces, context)
        return None

    return act


def _new_guests(facts: Facts, inside: Found, scope: Scope, silent: Sequence[str]) -> dict[str, list[str]]:
    """Objects created in these namespaces since the inventory, and not being deleted."""
    own = belonging(inside.items, facts.environment, scope.parts, scope.known)
    going = {key for key, item in inside.items.items() if item["metadata"].get("deletionTimestamp")}
    found = foreign_objects(inside.items, own | going)
    unseen = [*silent, *inside.unseen]
    return {**found, **({"what cannot be listed": unseen} if unseen else {})}
