"""All namespaces at once: the configured ones, and those that releases name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from tasks.core.errors import BadInput
from tasks.engine.step import Context, Report, Step
from tasks.facts.facts import Facts
from tasks.kube.objects import Key, deletion_blockers, finish, is_namespace
from tasks.kube.ownership import created_by
from tasks.run.apply import apply_step, ending
from tasks.settings.step_names import API_READY, NAMESPACES
from tasks.settings.words import dns_label


def namespaces(names: Sequence[str]) -> list[dict[str, Any]]:
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


TASK = "namespaces"
GONE = "namespaces: those being deleted are gone"
THEIRS = "namespaces: left as they are"


def names(facts: Facts) -> tuple[str, ...]:
    """Configured namespaces, then those of releases and secrets that are not among them."""
    settings = facts.settings
    more = [release.namespace for release in facts.releases]
    more += [name for secret in settings.secrets for name in secret.namespaces or ()]
    theirs = {"default", "kube-system", "kube-public", "kube-node-lease"}
    return tuple(dict.fromkeys([*settings.namespaces, *(name for name in more if name not in theirs)]))


def wanted(facts: Facts, only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The objects, as the user's own manifests have them where they do; `only` those that a single task needs."""
    own = defined(facts)
    made = namespaces([name for name in names(facts) if only is None or name in only])
    return [own.get(each["metadata"]["name"], each) for each in made]


def defined(facts: Facts) -> dict[str, dict[str, Any]]:
    """Namespaces of a launch that the user's own manifests hold too (with labels, for example), by name.

    Applied twice with different fields, they would never be as wanted. Not those that were there before a launch.
    """
    own = {each["metadata"]["name"]: each for each in facts.own_objects() if is_namespace(each)}
    return {name: own[name] for name in names(facts) if name in own and not is_foreign(facts, name)}


def steps(facts: Facts, only: Collection[str] | None = None) -> list[Step]:
    """One server-side apply of those that are missing or changed; first what is being deleted must be gone."""
    objects = wanted(facts, only)
    theirs = [each for each in objects if is_foreign(facts, each["metadata"]["name"])]
    ours = [each for each in objects if each not in theirs]
    apply = apply_step(facts, NAMESPACES, TASK, ours, needs=(API_READY,), expected=0.3)
    if theirs and not ours:
        apply = replace(apply, skip="all are there")
    found = [apply]
    going = [each["metadata"]["name"] for each in objects if ending(facts, each["metadata"]["name"])]
    if going:
        found = [_gone(facts, going), replace(apply, needs=(*apply.needs, GONE))]
    if theirs:
        listed = ", ".join(each["metadata"]["name"] for each in theirs)
        found.append(Step(name=THEIRS, task=TASK, skip=f"{listed}: there before, and not changed"))
    return found


def is_foreign(facts: Facts, name: str) -> bool:
    """Whether a namespace was there before, in a cluster that is not this project's: used, and never changed."""
    if facts.owns_cluster or facts.live is None:
        return False
    there = facts.live.objects.get(Key("v1", "Namespace", None, name))
    if there is None or there["metadata"].get("deletionTimestamp"):
        return False
    return created_by(there) != facts.environment


def _gone(facts: Facts, names: Sequence[str]) -> Step:
    """What goes into a namespace that is being deleted is refused."""

    def act(context: Context) -> Report | None:
        from tasks.kube.wait import poll

        left: dict[str, str] = {}

        def look() -> bool | None:
            items = facts.api().get("/api/v1/namespaces")["items"]
            left.clear()
            for each in items:
                name, going = each["metadata"]["name"], each["metadata"].get("deletionTimestamp")
                if name in names and going:
                    left[name] = deletion_blockers(each)
            context.say(f"{len(left)} of {len(names)} are still there")
            return None if left else True

        poll(look, context, telling=lambda: "; ".join(f"{name}: {held}" for name, held in left.items()))
        return None

    return Step(
        name=GONE,
        task=TASK,
        action=act,
        needs=(API_READY,),
        wait=True,
        deadline=facts.settings.timeouts.health,
        why=f"{', '.join(names)}: what goes into them before is refused",
        expected=5.0,
    )
