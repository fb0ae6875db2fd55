"""The user's own commands as steps of a launch: their needs, their dependents, and whether they have to run.

A step with `inputs` is skipped while its fingerprint equals the recorded one, and nothing that it needs
is installed, built or run in this launch, or has been since. A step without inputs runs at each launch.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from graphlib import TopologicalSorter
from typing import NamedTuple

from tasks.core.errors import LaunchError, PlanError
from tasks.engine.step import Context, Report, Retry, Step
from tasks.engine.work import BuildImage, RunOwn
from tasks.facts.cluster import Presence
from tasks.facts.facts import Facts
from tasks.facts.manifest_files import needs_by_object, own_objects
from tasks.facts.secrets import read_secrets
from tasks.kube.objects import key
from tasks.run import own_tasks
from tasks.run.builds import pushed
from tasks.run.own_command import changed, fingerprint, marker, run_own, variables
from tasks.settings import derived
from tasks.settings.needs import (
    BUILD,
    CLUSTER,
    MANIFESTS,
    RELEASE,
    STEP,
    TASK,
    Target,
    is_early,
    own_steps,
    references,
    spellings,
)
from tasks.settings.origin import nearest
from tasks.settings.schema_parts import OwnStep

PART = "steps"
EACH_TIME = "it has no `inputs`, so it runs at each launch"


class Ends(NamedTuple):
    """Steps of a plan for a reference."""

    first: tuple[str, ...]
    """These must not start before the steps that come before the reference."""
    done: tuple[str, ...]
    """The reference is done after these."""
    makes: tuple[str, ...]
    """If one of these has to act, the reference changes."""


def with_own(facts: Facts, plan: Sequence[Step]) -> list[Step]:
    """A plan with the user's steps, from the settings and in Python, with their needs and dependents connected."""
    before = references(facts.settings).before
    own = steps(facts, plan)
    targets = {derived.own_name(each): before[each.name] for each in _wanted(facts, "up")}
    firsts = {name: [each for one in found for each in ends(facts, one, plan).first] for name, found in targets.items()}
    return woven(facts, _before([*plan, *own], firsts), own_tasks.steps(facts))


def woven(facts: Facts, plan: Sequence[Step], more: Sequence[own_tasks.Step], *, alone: bool = False) -> list[Step]:
    """A plan with steps that the user has written in Python. Raises `PlanError` for an unknown name.

    `alone`: names of a launch's own steps count as met.
    """
    known = spellings(facts.settings)
    names = {step.name for step in (*plan, *more)}

    def meant(own: Step, text: str, *, first: bool) -> tuple[str, ...]:
        found = known.get(text, ())
        if len(found) == 1:
            there = ends(facts, found[0], plan)
            return there.first if first else there.done
        if text in names or (alone and not found):
            return (text,)
        near = nearest(text, [*known, *names])
        told = f"did you mean {near}?" if near else "use the name of a task, a release, a build, manifests or a step"
        why = f"{len(found)} things have that name" if found else "nothing of this launch has that name"
        raise PlanError(
            f"the step '{own.name}' names '{text}'",
            why=why,
            fix=f"write {' or '.join(map(str, found))}" if found else told,
        )

    firsts = {own.name: [each for text in own.before for each in meant(own, text, first=True)] for own in more}
    made = [
        replace(own, needs=tuple(each for text in own.needs for each in meant(own, text, first=False))) for own in more
    ]
    return _before([*plan, *made], firsts)


def _before(plan: Sequence[Step], firsts: Mapping[str, Sequence[str]]) -> list[Step]:
    """The same plan, where these steps come first and the named ones need them."""
    waiting: dict[str, list[str]] = {}
    for name, found in firsts.items():
        for each in found:
            waiting.setdefault(each, []).append(name)
    whole = [replace(step, needs=(*step.needs, *waiting.get(step.name, ()))) for step in plan]
    return _without_rings(whole) if waiting else whole


def _without_rings(plan: Sequence[Step]) -> list[Step]:
    """No step awaits one that now needs it: the user's manifests may come before a release."""
    above: dict[str, set[str]] = {}
    needs = {step.name: step.needs for step in plan}

    def all_of(name: str) -> set[str]:
        if name not in above:
            above[name] = set()
            above[name] = {each for need in needs.get(name, ()) for each in (need, *all_of(need))}
        return above[name]

    return [
        replace(step, awaits=tuple(each for each in step.awaits if step.name not in all_of(each)))
        if step.awaits
        else step
        for step in plan
    ]


def steps(
    facts: Facts, plan: Sequence[Step], *, only: Collection[str] = (), force: bool = False, when: str = "up"
) -> list[Step]:
    """The user's steps with their needs. `only`: those of these names; `force`: ignore the records.

    Raises `BadInput` for inputs that cannot be read.
    """
    known = {step.name: step for step in plan}
    wanted = {own.name: own for own in _wanted(facts, when) if not only or own.name in only}
    needs = references(facts.settings).needs
    graph = {name: [each.name for each in needs[name] if each.kind == STEP] for name in wanted}
    found = []
    for name in TopologicalSorter(graph).static_order():
        if name in wanted:
            made = _steps(facts, wanted[name], needs, known, force=force)
            known |= {step.name: step for step in made}
            found += made
    return found


def _wanted(facts: Facts, when: str) -> list[OwnStep]:
    return [own for own in own_steps(facts.settings) if own.when == when]


def _steps(
    facts: Facts, own: OwnStep, needs: Mapping[str, list[Target]], known: Mapping[str, Step], *, force: bool
) -> list[Step]:
    """The step, and if it may end before the cluster exists, another one that records it."""
    targets = needs[own.name]
    all_ends = [ends(facts, target, tuple(known.values())) for target in targets]
    mark = fingerprint(facts, own, targets) if own.inputs is not None else ""
    why = (
        "the cluster is to be removed"
        if own.when == "down"
        else EACH_TIME
        if not mark
        else "it is forced to run"
        if force
        else ""
    )
    skip = None
    if not why:
        acting = _active(facts, [name for each in all_ends for name in each.makes], known)
        why = changed(facts, own, mark, targets) or (f"after '{acting[0]}'" if acting else "")
        skip = None if why else "its inputs and needs have not changed since its last success"
    early = own.when == "up" and _is_early(own.name, needs)
    remember = partial(_remember, facts, own, mark, targets) if mark else None
    images = pushed(facts, variables(facts, own))
    step = Step(
        name=derived.own_name(own),
        task=PART,
        kind=None if own.wait else derived.OWN,
        action=partial(_act, facts, own, remember if not early else None),
        needs=tuple(dict.fromkeys([*(name for each in all_ends for name in each.done), *images])),
        wait=own.wait,
        deadline=own.timeout,
        retry=Retry(attempts=own.retries + 1, first=1.0),
        why=f"unless {_shown(own.unless)}: {why}" if own.unless is not None and skip is None else why,
        skip=skip,
        work=RunOwn(step=own.name),
    )
    if remember is None or not early or skip is not None:
        return [step]
    later = Step(
        name=f"{step.name} is remembered",
        task=PART,
        action=lambda context: Report(notes=remember(context)),
        needs=(step.name, derived.API_READY),
        wait=True,
        why="it may have ended before the cluster existed",
        expected=0.1,
        optional=True,
    )
    return [step, later]


def _is_early(name: str, needs: Mapping[str, list[Target]]) -> bool:
    """Whether a step may end before the cluster's API answers."""
    return all(
        _is_early(each.name, needs) if each.kind == STEP else is_early(each) and each != CLUSTER for each in needs[name]
    )


def _shown(argv: Sequence[str]) -> str:
    import shlex

    return argv[0] if len(argv) == 1 else shlex.join(argv)


def _act(facts: Facts, own: OwnStep, remember: partial[tuple[str, ...]] | None, context: Context) -> Report | None:
    report = facts.backend.own(("step", own.name), partial(run_own, facts, own), context) or Report()
    return report if remember is None else replace(report, notes=remember(context))


def _remember(facts: Facts, own: OwnStep, mark: str, needs: Sequence[Target], context: Context) -> tuple[str, ...]:
    """Record its success in the cluster. If that fails it runs again next time: a note says so."""
    from tasks.run.apply import applying

    try:
        applying(facts, [marker(facts, own, mark, needs)])(context)
    except LaunchError as error:
        return (f"{derived.own_name(own)}: its run could not be recorded, so it will run again: {error.what}",)
    return ()


def each_time(facts: Facts, plan: Sequence[Step] = ()) -> frozenset[str]:
    """Names of steps that run at each launch, including those in Python of a plan: running them is no drift."""
    python = (step.name for step in plan if isinstance(step, own_tasks.Step))
    return frozenset([*(derived.own_name(own) for own in _wanted(facts, "up") if own.inputs is None), *python])


def _active(facts: Facts, names: Sequence[str], known: Mapping[str, Step]) -> list[str]:
    """Those of these steps that have something to do; one that runs at each launch does not count as a change."""
    always = each_time(facts)
    return [name for name in names if name in known and known[name].skip is None and name not in always]


def ends(facts: Facts, target: Target, plan: Sequence[Step]) -> Ends:
    """The steps of a reference. Steps that are missing in this plan are met, or never needed."""
    if target.kind == TASK:
        return _of_task(target.name, plan)
    if target.kind == MANIFESTS:
        return _of_manifests(facts, target.name)
    if target.kind == RELEASE:
        release = next(each for each in facts.releases if f"{each.namespace}/{each.name}" == target.name)
        return Ends((derived.install_name(release),), (derived.done_name(release),), (derived.install_name(release),))
    if target.kind == BUILD:
        build = next(each for each in derived.enabled_builds(facts.settings) if each.name == target.name)
        return Ends(
            (derived.build_name(build),),
            (derived.push_name(build),),
            (derived.build_name(build), derived.push_name(build)),
        )
    own = next(each for each in own_steps(facts.settings) if each.name == target.name)
    return Ends(*[(derived.own_name(own),)] * 3)


def _of_task(name: str, plan: Sequence[Step]) -> Ends:
    all_of = tuple(step.name for step in plan if step.task == name and not step.until and not step.optional)
    if name == "cluster":
        return Ends(
            all_of, (derived.CREATE_CLUSTER, derived.START_CLUSTER, derived.API_READY), (derived.CREATE_CLUSTER,)
        )
    if name == "helm":
        installs = tuple(step.name for step in plan if step.task == name and step.kind is not None)
        return Ends(installs, all_of, installs)
    return Ends(all_of, all_of, all_of if name in ("namespaces", "secrets", "manifests") else ())


def _of_manifests(facts: Facts, path: str) -> Ends:
    groups = needs_by_object(facts)
    names = {derived.manifests_name(groups.get(key(each), ())) for each in own_objects(facts, [path])}
    found = tuple(sorted({*names, derived.OWN_CRDS} if derived.manifests_name(()) in names else names))
    return Ends(found, (*found, derived.OWN_READY), found)


def before_builds(plan: Sequence[Step]) -> list[Step]:
    """The user's steps that run before builds, with all their needs: a tag depends on the files that they write.

    None of them if one needs the cluster: then all are in one plan, and the tags are those from before.
    """
    needs = {step.name: step.needs for step in plan}

    def behind(names: Iterable[str]) -> set[str]:
        found, left = set[str](), list(names)
        while left:
            if (name := left.pop()) not in found:
                found.add(name)
                left += needs.get(name, ())
        return found

    early = behind(step.name for step in plan if isinstance(step.work, BuildImage))
    own = (step for step in plan if step.task == PART or isinstance(step, own_tasks.Step))
    wanted = behind(step.name for step in own if step.skip is None and step.name in early)
    if wanted & {derived.CREATE_CLUSTER, derived.API_READY}:
        return []
    return [step for step in plan if step.name in wanted]


def down_steps(facts: Facts) -> list[Step]:
    """The steps with `when: down`, skipped with a note if the cluster does not run: they need it."""
    wanted = _wanted(facts, "down")
    if not wanted:
        return []
    fault = _unreachable(facts)
    if not fault:
        with contextlib.suppress(LaunchError):  # only to have their values masked
            read_secrets(facts.settings, facts.environ, facts.root, facts.programs, ("secrets",))
        return steps(facts, (), when="down")
    return [
        Step(
            name=derived.own_name(own), task=PART, skip=fault, notes=(f"{derived.own_name(own)} was not run: {fault}",)
        )
        for own in wanted
    ]


def _unreachable(facts: Facts) -> str:
    from tasks.run.gather import connect

    if facts.owns_cluster and facts.cluster.presence is not Presence.RUNNING:
        return "the cluster does not run"
    try:
        connect(facts)
    except LaunchError as error:
        return f"the cluster's API cannot be reached ({error.what})"
    return ""


def before_removal(facts: Facts, removing: Sequence[Step]) -> list[Step]:
    """The removal of a cluster, after the steps with `when: down`. If one fails the cluster stays: it may save data."""
    own = down_steps(facts)
    names = tuple(step.name for step in own)
    return [*own, *(step if step.needs else replace(step, needs=names) for step in removing)]
