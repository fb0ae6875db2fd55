"""What is in a cluster that runs: its API reached by the private kubeconfig, and asked."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import replace

from tasks.cluster.answer import fetch_kubeconfig
from tasks.engine.step import Context
from tasks.errors import LaunchError
from tasks.facts.standing import Standing
from tasks.situation import Situation
from tasks.tools import docker
from tasks.wanted import wanted_keys

_STARTS = 10.0
"""Seconds for the API of a cluster whose containers run."""


def with_live(situation: Situation, parts: Collection[str]) -> Situation:
    """The same with what is in the cluster. Raises `LaunchError` for an API that does not answer, or refuses us."""
    from tasks.facts.live import look
    from tasks.tools.kubeapi import NotInTime, Patient, until_ready

    if situation.engine != "existing" and not _reachable(situation):
        fetch_kubeconfig(situation, None, port=_first_api(situation.standing))
        try:  # one that was started a moment ago needs a little; one that is dead never answers
            until_ready(situation.api, Context(step="the cluster's API", deadline=_STARTS), cap=0.25)
        except NotInTime:
            raise _silent(situation) from None
    interesting = {(release.namespace, release.name): release.wait_for_jobs for release in situation.releases}
    return replace(situation, live=look(Patient(situation.api()), wanted_keys(situation, parts), interesting))


def _reachable(situation: Situation) -> bool:
    """Whether the private kubeconfig of an earlier run is still right."""
    from tasks.tools.kubeapi import ApiError, credentials, ready

    path = situation.folders.kubeconfig
    if not path.exists():
        return False
    access = credentials(path.read_text(encoding="utf-8"))
    port = _first_api(situation.standing)
    with contextlib.suppress(ApiError):  # one that this kubeconfig does not fit: it is read from the server again
        return access is not None and access.server.endswith(f":{port}") and ready(situation.api())
    return False


def _first_api(stands: Standing) -> int | None:
    return stands.port(6443, first_server=True)


def _silent(situation: Situation) -> LaunchError:
    from tasks.causes.node_death import is_last, node_death

    first = situation.standing.first
    if first is not None:
        done = situation.programs.run(docker.logs(first.name), quiet=True)
        if any(is_last(line) for line in (done.out + done.err).splitlines()):
            return node_death(first.name, 1, False, done.out + done.err)
    return LaunchError(
        f"the cluster '{situation.name}' runs, but its API does not answer",
        why=f"nothing answered at 127.0.0.1:{_first_api(situation.standing)} within {_STARTS:g} s",
        fix=f"docker logs k3d-{situation.name}-server-0; `invoke down --stop` and `invoke up` start it again",
    )
