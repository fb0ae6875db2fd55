"""k3d, kubectl and helm: there, new enough, and fit for the cluster's Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.checks.facts import HostFacts
from tasks.checks.finding import Finding, Remedy, ok, problem, warning
from tasks.facts.programs import numbers

K3D_MAJOR = 5
"""Its configuration and labels are what this project writes and reads."""
_FETCH = Remedy(fetch=True)
_HELM_WITH = {3: 15, 4: 34}
"""Kubernetes' minor version that x.0 of this Helm would be built with; one more for each minor of Helm
(helm.sh: version skew, 3.13 to 3.20, and 4.0 to 4.2)."""
_HELM_BACK = 3


def k3d(facts: HostFacts) -> Iterator[Finding]:
    """The one that makes the cluster."""
    if facts.versions is None or facts.context is not None:
        return
    version = facts.versions.k3d
    if numbers(version) and numbers(version)[0] > K3D_MAJOR:
        yield problem(
            f"k3d {version} is newer than what this project knows",
            why=f"it writes configurations for k3d {K3D_MAJOR}",
            fix="`make tools` puts the pinned version into the project's folder, where it wins over the PATH",
            remedy=_FETCH,
        )
    else:
        yield _fit("k3d", version, facts) or ok(str(version))


def kubectl(facts: HostFacts) -> Iterator[Finding]:
    """One minor version of difference to the API server is supported (Kubernetes: version skew policy)."""
    if facts.versions is None:
        return
    version, server = facts.versions.kubectl, facts.kubernetes
    bad = _fit("kubectl", version, facts)
    own = numbers(version)
    if bad is not None:
        yield bad
    elif server is None or len(own) < 2:
        yield ok(str(version))
    elif abs(own[1] - server) > 1:
        yield warning(
            f"kubectl {version} for Kubernetes 1.{server}",
            why=f"one minor version of difference is supported, these are {abs(own[1] - server)} apart",
            fix=f"use a kubectl of 1.{max(0, server - 1)} to 1.{server + 1}, or a K8S_VERSION near 1.{own[1]}",
        )
    else:
        yield ok(f"{version} for Kubernetes 1.{server}")


def helm(facts: HostFacts) -> Iterator[Finding]:
    """Each Helm is built with one Kubernetes, and supports that one and the three before it."""
    if facts.versions is None:
        return
    version, server = facts.versions.helm, facts.kubernetes
    bad = _fit("helm", version, facts)
    window = helm_window(version)
    if bad is not None:
        yield bad
    elif server is None or window is None:
        yield ok(str(version))
    elif not window[0] <= server <= window[1]:
        yield warning(
            f"Helm {version} for Kubernetes 1.{server}",
            why=f"it supports 1.{window[0]} to 1.{window[1]}",
            fix="choose a Helm, or a K8S_VERSION, so that both fit: https://helm.sh/docs/topics/version_skew/",
        )
    else:
        yield ok(f"{version} for Kubernetes 1.{server}")


def helm_window(version: str | None) -> tuple[int, int] | None:
    """The oldest and the newest minor of Kubernetes that this Helm supports; None where that is not known."""
    own = numbers(version)
    if len(own) < 2 or own[0] not in _HELM_WITH:
        return None
    newest = _HELM_WITH[own[0]] + own[1]
    return newest - _HELM_BACK, newest


def context(facts: HostFacts) -> Iterator[Finding]:
    """With the engine `existing`: the cluster behind the context answers."""
    found = facts.context
    if found is None:
        return
    if found.version is not None:
        yield ok(f"{found.name}: Kubernetes {found.version}")
        return
    yield problem(
        f"the API behind the context '{found.name}' was not reached",
        why=found.error,
        fix=f"`kubectl --context {found.name} version`; `kubectl config get-contexts` shows the names",
    )


def _fit(name: str, version: str | None, facts: HostFacts) -> Finding | None:
    """What is wrong with a program by itself; `up` fetches what is missing or too old before it starts."""
    report = problem if facts.fetched else warning
    if version is None:
        return report(
            f"{name} is missing, or does not tell its version",
            why="no launch goes without it"
            + ("" if facts.fetched else "; `invoke up` fetches the pinned version, which needs the network"),
            fix="`make tools`",
            remedy=_FETCH,
        )
    minimum = facts.minimum.get(name)
    if minimum is None or not numbers(version) or numbers(version) >= numbers(minimum)[: len(numbers(version))]:
        return None
    return report(
        f"{name} {version} is too old",
        why=f"{minimum} or later is needed" + ("" if facts.fetched else "; `invoke up` fetches the pinned version"),
        fix="`make tools`",
        remedy=_FETCH,
    )
