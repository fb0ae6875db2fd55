"""Parts of a launch, names of steps that other steps need, and kinds of work with a bound of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.settings.schema import Build, Cache, OwnStep, Release

PARTS = ("prepull", "registry", "build", "cluster", "namespaces", "secrets", "manifests", "helm", "health", "steps")
NEEDS_CLUSTER = frozenset({"namespaces", "secrets", "manifests", "helm", "health", "steps"})
"""Parts that work in a cluster that is there, and never make one."""

DOWNLOAD, PULL, HELM, BUILD, OWN = "download", "pull ahead", "helm", "build", "own steps"
"""Kinds of work with a bound of their own: images for the host, and for nodes, `pool.downloads` each; releases; builds;
the user's own commands.

Charts are small, and much waits for them: they have none.
"""

CREATE_CLUSTER, START_CLUSTER = "cluster: create", "cluster: start"
OWN_CRDS, OWN_READY = "manifests: your CRDs", "manifests: your CRDs are served"
REMOVE_INCOMPLETE = "cluster: remove what was left half-made"
API_READY = "cluster: API ready"
NAMESPACES, SECRETS, QUOTAS = "namespaces: apply", "secrets: apply", "manifests: quotas are counted"
SYSTEM_READY = "health: system services"
PUSH_REGISTRY = "registry: push"

LEAVE_OUT = "secrets: leave out "
BASE_LEFT_OUT = "manifests: base resources that are left out"
NAMESPACES_LEFT = "namespaces: left as they are"
LEFT_OUT = (LEAVE_OUT, BASE_LEFT_OUT, NAMESPACES_LEFT)
"""How the names of steps begin that only tell what is left out on purpose."""

SYSTEM = "the system"
"""What the steps about images call those of kube-system."""
FIND_IMAGES, FETCH_IMAGES = "registry: find images of ", "registry: fetch images of "
PULL_AHEAD = "registry: pull into server-0 images of "
"""Before `SYSTEM`, or what `release_name` gives."""


def pull_name(image: str) -> str:
    """The step that pulls an image of the host."""
    return f"prepull: {image}"


def build_name(build: Build) -> str:
    """The step that builds an image."""
    return f"build: {build.name}"


def push_name(build: Build) -> str:
    """The step after which nodes can pull the image of a build: what uses the image needs it."""
    return f"build: push {build.name}"


def cache_name(cache: Cache) -> str:
    """The step after which a cache runs."""
    return f"registry: cache of {cache.upstream}"


def install_name(release: Release) -> str:
    """The step that installs a release."""
    return f"helm: install {release_name(release)}"


def ready_name(release: Release) -> str:
    """The step that waits for a release."""
    return f"helm: {release_name(release)} ready"


def manifests_name(needs: Sequence[str]) -> str:
    """The step that applies those of the user's own manifests that need these releases."""
    return f"manifests: yours after {', '.join(needs)}" if needs else "manifests: yours"


def own_name(step: OwnStep) -> str:
    """The step of a command of the user's own."""
    return f"steps: {step.name}"


def done_name(release: Release) -> str:
    """The step after which what needs a release may begin."""
    return ready_name(release) if release.wait else install_name(release)


def release_name(release: Release) -> str:
    """A release in names of steps: with its namespace where that is not its own name."""
    return release.name if release.namespace == release.name else f"{release.name} in {release.namespace}"


_SETTINGS = {
    "work": "CONCURRENCY_LEVEL",
    "waits": "pool.waits",
    "downloads": "K3D_CONCURRENT_DOWNLOADS",
    DOWNLOAD: "K3D_CONCURRENT_DOWNLOADS",
    PULL: "K3D_CONCURRENT_DOWNLOADS",
    HELM: "pool.helm",
    BUILD: "pool.builds",
    OWN: "pool.steps",
}
"""The setting behind each bound."""


def setting_of(bound: str) -> str:
    """The setting behind a bound of the pool."""
    return _SETTINGS.get(bound, f"bound for '{bound}'")
