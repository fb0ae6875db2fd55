"""Images of pods, pulled into server-0 as soon as its containerd runs, some seconds before pods are placed there.

A node is ready some three seconds after its containerd answers, and a pod is placed on a node that is ready: first of
all on server-0, since k3d starts agents when the server is up. On two processors that saves nothing, since the
cluster's own start needs them (measured): it is done where the engine has more, unless a setting says otherwise. What
cannot be pulled now is left to the node, which tells why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tasks import caching, health, helm
from tasks.chart_images import key_of, system_key, what_of
from tasks.cluster.plan import READY
from tasks.engine.step import Action, Context, Report, Step
from tasks.errors import LaunchError
from tasks.facts.standing import Presence
from tasks.situation import Situation
from tasks.tools import docker

AHEAD = "registry: pull into server-0 images of "
KIND = "pull ahead"
"""Bounded as downloads are: more pulls at once bring nothing."""
_ENOUGH = 4
"""CPUs of the engine."""


def wanted(situation: Situation) -> bool:
    """As the setting says, else by the engine's CPUs."""
    wish = situation.settings.cluster.pull_ahead
    return situation.host is not None and situation.host.cpus >= _ENOUGH if wish is None else wish


def steps(situation: Situation, plan: Collection[Step]) -> list[Step]:
    """For a cluster that this plan makes: of the system, then of each release, until its pods are ready.

    They guard nothing, but end as guards do: nobody waits for what no pod needs any more.
    """
    making = situation.standing.presence in (Presence.ABSENT, Presence.INCOMPLETE)
    if not making or not wanted(situation):
        return []
    waited = {step.name for step in plan if step.skip is None}
    there = {step.name for step in plan}
    return [step for step in _all(situation, there) if step.until[0] in waited]


def _all(situation: Situation, there: Collection[str]) -> Iterator[Step]:
    yield from _step(situation, caching.SYSTEM, system_key(situation), health.SYSTEM, there)
    for release in situation.releases:
        last = helm.ready_name(release) if release.wait else helm.install_name(release)
        yield from _step(situation, what_of(release), key_of(situation, release), last, there)


def _step(situation: Situation, what: str, key: str, until: str, there: Collection[str]) -> Iterator[Step]:
    fetch = f"{caching.FETCH}{what}"
    if fetch not in there:  # nobody knows its images yet, or no cache stands before their registries
        return
    yield Step(
        name=f"{AHEAD}{what}",
        task=caching.TASK,
        kind=KIND,
        action=_pulling(situation, key),
        needs=(READY, fetch),
        until=(until,),
        deadline=situation.settings.timeouts.pull,
        why="before its pods are placed",
        expected=2.0,
        optional=True,
    )


def _pulling(situation: Situation, key: str) -> Action:
    def act(context: Context) -> Report | None:
        images = caching.known(situation, key) or ()
        if not images:
            return Report(why="it names none", skipped=True)
        command = docker.pull_inside(f"k3d-{situation.name}-server-0", images, context.deadline)
        try:
            pulled = situation.programs.run(command, context).out.split()
        except LaunchError as error:
            return Report(why=f"left to the node: {error.what}")
        return Report(why=f"{len(pulled)} of {len(images)} images")

    return act
