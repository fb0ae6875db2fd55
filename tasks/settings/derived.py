"""Names that follow from settings alone: parts of a launch, steps, containers and images, and kinds of work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tasks.core.files import sha256
from tasks.core.imageref import HUB, registry_of
from tasks.core.units import GIB, MIB, memory_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.settings.schema import Cache, Release, Settings
    from tasks.settings.schema_parts import Build, OwnStep


DATA = "/var/lib/rancher/k3s"
"""A node's data (k3s: --data-dir)."""
IDENTITY = "/etc/rancher/node"
"""A node's password; without it an agent cannot rejoin (k3s: `pkg/nodepassword`)."""
NODE_KUBECONFIG = "/output/kubeconfig.yaml"
"""Written by k3s before its API answers (k3d sets K3S_KUBECONFIG_OUTPUT; measured)."""
KUBELET_DROP_IN = f"{DATA}/agent/etc/kubelet.conf.d/50-openframe.conf"
"""Read by kubelets of k3s 1.32 and later (docs: k3s, kubelet configuration files)."""
COLLECTOR = "GOGC"
"""Variable that k3s's Go runtime and those of its children read (Go: package runtime, Environment Variables)."""
FINGERPRINT = "openframe.dev/fingerprint"
"""Annotation: digest of an object as applied; label of a release (Helm 3.13 or later): digest of its chart and values.

Not on Secrets: a digest of a short password reveals it."""
_DOCKER_HUB = "https://registry-1.docker.io"
"""docker.io in image names; that host itself serves none."""
_MINOR = re.compile(r":v?1\.(\d+)\.")
_HELPERS = "ghcr.io/k3d-io/k3d-{}:{}"


def balanced(settings: Settings) -> bool:
    """Whether k3d's load balancer is in front of the servers."""
    desired = settings.cluster.loadbalancer
    return settings.cluster.servers > 1 if desired is None else desired


def docker_memory(text: str) -> str:
    """A size in whole MiB: one spelling for equal sizes, so that 2G and 2048M are no change."""
    return f"{memory_bytes(text) // MIB}m"


def garbage_percent(memory: int | None) -> int | None:
    """The percentage by which the heap of a node's k3s may grow before a collection; None: Go's default, 100.

    `memory`: the node's limit in bytes, None without one. It grows with the node's GiB: garbage of the start is
    then collected less often, using memory that the node has to spare.
    """
    if memory is None:
        return 200
    times = min(memory // GIB, 4)
    return 100 * times if times > 1 else None


def upstream_url(cache: Cache) -> str:
    """The upstream address of a pull-through cache."""
    return cache.url or (_DOCKER_HUB if cache.upstream == HUB else f"https://{cache.upstream}")


def cache_slug(cache: Cache) -> str:
    """The upstream in the name of its container."""
    return re.sub(r"[^a-z0-9]+", "-", cache.upstream.lower()).strip("-")


def cache_container(cache: Cache) -> str:
    """The container of a cache.

    One with an unusual upstream is another container: a cache is never recreated under a cluster.
    """
    url = upstream_url(cache).rstrip("/")
    default = upstream_url(cache.model_copy(update={"url": None}))
    own = url != default or cache.username_env or cache.password_env
    mark = f"-{sha256(f'{url} {cache.username_env}', 6)}" if own else ""
    return f"k3d-openframe-cache-{cache_slug(cache)}{mark}"


def push_container(settings: Settings) -> str:
    """The container of the push registry."""
    return f"k3d-{settings.registries.name}"


def registry_containers(settings: Settings) -> dict[str, Cache | None]:
    """The configured registries by container, each with its cache; None: the push registry."""
    registries = settings.registries
    push: dict[str, Cache | None] = {push_container(settings): None} if registries.push else {}
    return {**push, **{cache_container(cache): cache for cache in registries.caches}}


def registries_in_use(settings: Settings) -> tuple[str, ...]:
    """In the order for k3d's `registries.use`: the push registry first, since k3d advertises the first one."""
    return tuple(f"{name}:5000" for name in registry_containers(settings))


def mirrors(settings: Settings) -> dict[str, list[str]]:
    """The cache that nodes try first, by upstream."""
    return {cache.upstream: [f"http://{cache_container(cache)}:5000"] for cache in settings.registries.caches}


def k3s_image(settings: Settings) -> str:
    """The node image: as configured, else from the version of Kubernetes."""
    if settings.cluster.image:
        return settings.cluster.image
    version = settings.cluster.kubernetes_version.replace("+", "-")
    version = version if version.startswith("v") else f"v{version}"
    return f"rancher/k3s:{version if '-k3s' in version else version + '-k3s1'}"


def kubernetes_minor(image: str) -> int | None:
    """35 for rancher/k3s:v1.35.5-k3s1; None for a tag without a version (latest, a digest)."""
    match = _MINOR.search(image)
    return int(match[1]) if match else None


def helper_images(settings: Settings, environ: Mapping[str, str], k3d_version: str) -> dict[str, str]:
    """k3d's helper images: it uses its own version as their tag (k3d: `version.GetHelperImageVersion`)."""
    tag = environ.get("K3D_HELPER_IMAGE_TAG") or k3d_version.lstrip("v")
    return {
        "tools": settings.cluster.tools_image or _HELPERS.format("tools", tag),
        "proxy": settings.cluster.loadbalancer_image or _HELPERS.format("proxy", tag),
    }


def host_images(settings: Settings, environ: Mapping[str, str], k3d_version: str) -> tuple[str, ...]:
    """Images that the engine itself needs, most important first."""
    helpers = helper_images(settings, environ, k3d_version)
    wanted = [k3s_image(settings), helpers["tools"]]
    if settings.registries.push or settings.registries.caches:
        wanted.append(settings.registries.image)
    if balanced(settings):
        wanted.append(helpers["proxy"])
    return tuple(dict.fromkeys([*wanted, *settings.images]))


def context_name(cluster: str) -> str:
    """A cluster's context, as named by k3d."""
    return f"k3d-{cluster}"


def enabled_builds(settings: Settings) -> list[Build]:
    """The enabled builds."""
    return [build for build in settings.builds if build.enabled]


def on_push_registry(build: Build) -> bool:
    """Whether a build's image goes to the push registry: its name has no other registry."""
    return not registry_of(build.repository)


def repository(settings: Settings, build: Build) -> str:
    """A build's image without a tag, for nodes: with the push registry's container name, never a port of the host."""
    if on_push_registry(build):
        return f"{push_container(settings)}:5000/{build.repository}"
    return build.repository


PARTS = ("prepull", "registry", "build", "cluster", "namespaces", "secrets", "manifests", "helm", "health", "steps")
NEEDS_CLUSTER = frozenset({"namespaces", "secrets", "manifests", "helm", "health", "steps"})
"""Parts that need an existing cluster, and never create one."""

DOWNLOAD, PULL, HELM, BUILD, OWN = "download", "pull ahead", "helm", "build", "own steps"
"""Kinds of work with bounds of their own: images for the host, and for nodes, `pool.downloads` each; releases; builds;
the user's own commands.

Charts are small, and much depends on them: they have no bound.
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
RELEASES_LEFT = "helm: releases that stay"
AGENTS_LEFT = "cluster: agents that stay"
STEP_RECORD = "openframe-step-"
"""Prefix of the ConfigMaps that record own steps."""
LEFT_OUT = (LEAVE_OUT, BASE_LEFT_OUT, NAMESPACES_LEFT, RELEASES_LEFT, AGENTS_LEFT)
"""Prefixes of the names of steps that only report what is skipped on purpose."""

SYSTEM = "the system"
"""The name for kube-system in steps about images."""
FIND_IMAGES, FETCH_IMAGES = "registry: find images of ", "registry: fetch images of "
PULL_AHEAD = "registry: pull into server-0 images of "
"""Followed by `SYSTEM`, or the result of `release_name`."""


def pull_name(image: str) -> str:
    """The step that pulls an image on the host."""
    return f"prepull: {image}"


def build_name(build: Build) -> str:
    """The step that builds an image."""
    return f"build: {build.name}"


def push_name(build: Build) -> str:
    """The step after which nodes can pull the image of a build."""
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
    """The step that applies the user's own manifests that need these releases."""
    return f"manifests: yours after {', '.join(needs)}" if needs else "manifests: yours"


def own_name(step: OwnStep) -> str:
    """The step of a user's own command."""
    return f"steps: {step.name}"


def done_name(release: Release) -> str:
    """The step after which dependents of a release may start."""
    return ready_name(release) if release.wait else install_name(release)


def release_name(release: Release) -> str:
    """A release in names of steps: with its namespace if that differs from its name."""
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
