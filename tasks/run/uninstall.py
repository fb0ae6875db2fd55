"""The steps of `down` on a foreign cluster: each removal after what depends on it, and checked again just before it.

In reverse order of needs: custom resources first, while their controllers can still finalise them; then releases,
those that others need last; then other objects, unused CRDs, and namespaces without objects of others.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from tasks.clients import helm
from tasks.core.errors import LaunchError, some
from tasks.diagnose.command import run_command
from tasks.engine.step import Action, Context, Report, Step
from tasks.facts.facts import Facts
from tasks.facts.objects import Found, all_of, in_namespaces, kinds, kinds_of
from tasks.k3d.removal import TASK
from tasks.kube.objects import Resources, deletion_blockers, live
from tasks.kube.ownership import CREATED_BY, belonging, foreign_objects
from tasks.kube.releases import LiveRelease, present, release_in
from tasks.kube.wait import NotInTime, poll
from tasks.process.command import CommandFailed
from tasks.run.foreign_objects import delete
from tasks.run.inventory import Inventory, Scope, Target, foreign_parts, is_busy, needs_of, shown, uid_of
from tasks.run.releases import uninstalling
from tasks.settings.derived import HELM

CUSTOM, OBJECTS = "down: custom resources", "down: objects that this project created"
DEFINITIONS, NAMESPACES = "down: CRDs that this project created", "down: namespaces that this project created"
_TIMEOUT = 300.0
_FINALISE = (
    "see that the controllers which remove these finalizers run, or remove them yourself (kubectl edit); then run "
    "`invoke down` again"
)
_SETTLE = 30.0
"""Seconds until dependents of removed objects must be gone, too: the garbage collector needs a moment."""


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
            left.append(f"{key.kind.lower()} {shown(key)}")
    facts.programs.note(context, "\n".join(f"{each.key.kind.lower()} {shown(each.key)}" for each in targets))
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
            if item is not None and uid_of(item) == known:
                left[f"{key.kind.lower()} {shown(key)}"] = deletion_blockers(item)
        context.say(f"{len(left)} of {len(targets)} still exist")
        return None if left else True

    try:
        poll(looked, context, telling=lambda: "; ".join(f"{name} waits for {held}" for name, held in left.items()))
    except NotInTime as error:
        error.amend(fix=_FINALISE)
        raise


def _uninstalling(facts: Facts, release: LiveRelease, known: Collection[str]) -> Action:
    """Reads the cluster again first: others may use it by now. What the garbage collector deletes does not count."""

    def act(context: Context) -> Report | None:
        now = release_in(facts.api(), release.namespace, release.name)
        if now is None:
            return Report(skipped=True, why="it is gone")
        users = Inventory(facts, known).users(now.definitions) if now.definitions else []
        others = foreign_parts(now, present(facts.api(), now))
        if is_busy(now) or now.labels.get(CREATED_BY) != facts.environment or users or others:
            why = f"others use its custom resources: {some(users)}" if users else f"its status is {now.status}"
            raise LaunchError(
                f"the release {release.name} in {release.namespace} was not uninstalled",
                why=f"Helm would remove what is others' by now: {others}" if others else why,
                fix="run `invoke down` again: it checks again",
            )
        command = helm.uninstall(facts.paths.kubeconfig, release.name, release.namespace, _TIMEOUT)
        try:
            return Report(exit_code=run_command(facts.helm_programs, command, context).code)
        except CommandFailed as error:
            if now.hook_objects:
                way = uninstalling(facts, release.name, release.namespace)
                way = f"{way} --no-hooks removes it without its hooks"
                error.amend(fix="; ".join(filter(None, (error.fix, way))))
            raise

    return act


def _deleting_unused(facts: Facts, targets: Sequence[Target]) -> Action:
    def act(context: Context) -> Report | None:
        api, used = facts.api(), list[str]()
        known, _ = kinds(api)

        def unused() -> bool | None:
            found = [all_of(api, kinds_of(known, each.key.name)) for each in targets]
            used[:] = [f"{key.kind.lower()} {shown(key)}" for each in found for key in each.items]
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
