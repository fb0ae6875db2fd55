"""Docker's command lines, and the parsing of their output.

Clusters are found by the exact labels `k3d.cluster=NAME` and `app=k3d`: Docker's `name=` filter is an unanchored
regular expression, by which `dev` finds `dev-2`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tasks.core.imageref import parse
from tasks.process.command import Command, repeated

DEFAULT_PLATFORM = "DOCKER_DEFAULT_PLATFORM"
"""docker's variable for the platform of pulls and new containers; nodes and registries use the engine's own."""
CLUSTER_LABEL = "k3d.cluster"
"""k3d's own label of everything that belongs to one cluster (k3d: `pkg/types/types.go`)."""
OURS = "openframe.cluster"
"""Label of this project on the nodes of its clusters; the value is the cluster's name."""
OWNER = "openframe.owner"
"""On the nodes of a cluster, and on registries: their owner (`tasks.facts.cluster`)."""
LEASE = "openframe.lease"
"""On empty volumes: who is about to use the shared registries, or removes them (`tasks.k3d.registry_lease`)."""
CONFIG_LABEL = "openframe.config"
"""The cluster's settings at creation, as a query string: see `tasks.facts.cluster`."""
CACHE_LABEL, PUSH = "openframe.cache", "push"
"""On registries of this project: the upstream that they cache, or `push`."""
BUNDLE_LABEL = "openframe.bundle"
"""On caches of this project that were filled from a bundle, and have no upstream."""
NETWORK_LABEL = "openframe.network"
"""On caches of this project: changes with their proxies and certificate authorities; missing if they have none."""

REGISTRY_DEBUG = "127.0.0.1:5001"
"""Where a registry serves its metrics, inside its container only (distribution: `http.debug`)."""


def _labels(labels: Mapping[str, str]) -> tuple[str, ...]:
    return repeated("--label", (f"{key}={value}" for key, value in labels.items()))


def _with(labels: Iterable[str]) -> tuple[str, ...]:
    """A filter for all of these labels."""
    return repeated("--filter", (f"label={label}" for label in labels))


def of_cluster(name: str) -> tuple[str, str]:
    """Labels of what k3d creates for a cluster, and finds it by; others may use one of them for their own."""
    return f"{CLUSTER_LABEL}={name}", "app=k3d"


def containers(*labels: str) -> Command:
    """Ids of containers, running or not, that have all these labels."""
    return Command(argv=("docker", "ps", "--all", "--quiet", "--no-trunc", *_with(labels)))


def published() -> Command:
    """All running containers, as lines of JSON, including their published ports."""
    return Command(argv=("docker", "ps", "--no-trunc", "--format", "{{json .}}"))


def inspect(ids: Sequence[str]) -> Command:
    """Details of containers, with the token of a cluster in those of its nodes; missing ones are skipped (code 1)."""
    return Command(argv=("docker", "container", "inspect", *ids), ok=(0, 1), secret=True)


def inspected(out: str) -> list[dict[str, Any]]:
    """The parsed output of `inspect`."""
    found: list[dict[str, Any]] = json.loads(out) if out.strip() else []
    return found


def images(refs: Sequence[str]) -> Command:
    """Names and platforms of those images that the engine has; missing ones only change the code."""
    shown = "{{json .RepoTags}}{{json .RepoDigests}}{{json .Os}}{{json .Architecture}}"
    return Command(argv=("docker", "image", "inspect", "--format", shown, *refs), ok=(0, 1))


def platforms(out: str, refs: Iterable[str]) -> dict[str, str]:
    """The references that `images` found, each with its platform; a tag next to a digest is ignored."""
    decoder = json.JSONDecoder()
    values: list[Any] = []
    text = out.replace("\n", "")
    while text:
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    rows = zip(values[::4], values[1::4], values[2::4], values[3::4], strict=True)
    found = {name: f"{os}/{arch}" for tags, digests, os, arch in rows for name in (*(tags or ()), *(digests or ()))}
    return {ref: found[name] for ref in refs if (name := parse(ref).listed) in found}


def fits(image: str, engine: str) -> bool:
    """Whether an image of one platform runs on an engine of another without emulation; unknown platforms do."""
    return not engine or image.split("/")[1:2] in (engine.split("/")[1:2], [""])


def pull(ref: str, deadline: float, platform: str = "") -> Command:
    """Pull one image, for a platform; empty: docker's default."""
    return Command(argv=("docker", "pull", *_for(platform), ref), deadline=deadline)


def _for(platform: str) -> tuple[str, ...]:
    """Overrides the variable DOCKER_DEFAULT_PLATFORM."""
    return ("--platform", platform) if platform else ()


def load(feed: Callable[[BinaryIO], None], deadline: float) -> Command:
    """Load images from an archive on stdin, with the names in it."""
    return Command(argv=("docker", "load", "--quiet"), feed=feed, shown_stdin="BUNDLE", deadline=deadline)


def save(ref: str, path: Path, deadline: float) -> Command:
    """Save an image of the engine as an archive."""
    return Command(argv=("docker", "save", "--output", str(path), ref), deadline=deadline)


def fill_registry(name: str, feed: Callable[[BinaryIO], None], deadline: float) -> Command:
    """Unpack an archive of a registry's files into its storage."""
    argv = ("docker", "cp", "-", f"{name}:/var/lib/registry")
    return Command(argv=argv, feed=feed, shown_stdin="BUNDLE", deadline=deadline)


def node_images(node: str) -> Command:
    """The images in a k3s node, as JSON."""
    return Command(argv=("docker", "exec", node, "crictl", "images", "--output", "json"), ok=(0, 1, 126, 127))


def listed_images(out: str) -> list[Mapping[str, Any]]:
    """The parsed output of `images_inside`; empty for a crictl without JSON support."""
    try:
        found = json.loads(out or "{}").get("images")
    except (ValueError, AttributeError):
        return []
    return [each for each in found or () if isinstance(each, dict)]


def image_names(out: str) -> set[str]:
    """Image names in the output of `images_inside`; a crictl without JSON support prints them first in each line."""
    found = listed_images(out)
    names = {str(name) for each in found for name in each.get("repoTags") or each.get("repoDigests") or ()}
    return names if found else {line.split()[0] for line in out.splitlines() if "/" in line and line[:1] != "{"}


def tag(ref: str, name: str) -> Command:
    """Give an image another name."""
    return Command(argv=("docker", "tag", ref, name))


def untag(ref: str) -> Command:
    """Remove one of several names of an image."""
    return Command(argv=("docker", "rmi", "--no-prune", ref))


@dataclass(frozen=True, kw_only=True)
class RegistrySpec:
    """The parameters of a registry's container."""

    name: str
    image: str
    port: int
    volume: str
    labels: Mapping[str, str]
    upstream: str | None = None
    """With an upstream it is a pull-through cache."""
    platform: str = ""
    """The engine's own platform; empty: docker's default."""
    env_file: str | None = None
    """A file of variables that may be secret: none of them is in an argument."""


def run_registry(spec: RegistrySpec) -> Command:
    """Start a registry on loopback."""
    return Command(argv=("docker", "run", "--detach", *_for(spec.platform), *_registry(spec)))


def create_registry(spec: RegistrySpec) -> Command:
    """Create a registry without starting it, so that files can be copied in."""
    return Command(argv=("docker", "create", *_for(spec.platform), *_registry(spec)))


def _registry(spec: RegistrySpec) -> tuple[str, ...]:
    """With k3d's own labels, so that `registries.use` accepts it (k3d: `pkg/client/registry.go`)."""
    own = {
        "app": "k3d",
        CLUSTER_LABEL: "",
        "k3d.role": "registry",
        "k3d.registry.host": "",
        "k3d.registry.hostIP": "127.0.0.1",
        "k3s.registry.port.external": str(spec.port),
        "k3s.registry.port.internal": "5000",
        **spec.labels,
    }
    remote = (f"REGISTRY_PROXY_REMOTEURL={spec.upstream}", f"REGISTRY_HTTP_DEBUG_ADDR={REGISTRY_DEBUG}")
    return (
        *("--name", spec.name, "--restart", "unless-stopped"),
        *("--publish", f"127.0.0.1:{spec.port}:5000", "--volume", f"{spec.volume}:/var/lib/registry"),
        *_labels(own),
        *repeated("--env", remote if spec.upstream else ()),
        *(("--env-file", spec.env_file) if spec.env_file else ()),
        spec.image,
    )


def start(names: Sequence[str]) -> Command:
    """Start containers that exist."""
    return Command(argv=("docker", "start", *names))


def pause(names: Sequence[str]) -> Command:
    """Freeze the processes of running containers, one container after another."""
    return Command(argv=("docker", "pause", *names))


def unpause(names: Sequence[str]) -> Command:
    """Resume paused containers."""
    return Command(argv=("docker", "unpause", *names))


def restart(name: str) -> Command:
    """Restart a container: `start` ignores one that keeps exiting, since it counts as running."""
    return Command(argv=("docker", "restart", name))


def stop(names: Sequence[str], seconds: int = 10) -> Command:
    """Stop containers concurrently; killed after that many seconds (the long flag was renamed in 28)."""
    return Command(argv=("docker", "stop", "-t", str(seconds), *names), deadline=seconds + 60)


def remove(names: Sequence[str]) -> Command:
    """Kill and remove containers with their anonymous volumes."""
    return Command(argv=("docker", "rm", "--force", "--volumes", *names), deadline=120)


def copy_out(container: str, path: str) -> Command:
    """Copy a file from a container, running or not, as a tar archive to stdout."""
    return Command(argv=("docker", "cp", f"{container}:{path}", "-"))


def extracted(archive: bytes) -> bytes | None:
    """The file in the output of `copy_out`; None if it is no file. Raises `tarfile.TarError`, IndexError."""
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        file = found.extractfile(found.getmembers()[0])
        return file.read() if file is not None else None


def copy_folder_out(container: str, path: str, folder: str) -> Command:
    """Copy a folder from a container, running or not, to this machine; code 1 if there is none."""
    return Command(argv=("docker", "cp", f"{container}:{path}", folder), ok=(0, 1))


def node_containers(node: str) -> Command:
    """Containers of a running k3s node, including exited ones, as its containerd lists them."""
    return Command(argv=("docker", "exec", node, "crictl", "ps", "--all"), deadline=15.0)


def has_file(container: str, path: str) -> Command:
    """Whether a file exists in a container, running or not: code 0 if it does."""
    return replace(copy_out(container, path), ok=(0, 1))


def copy_in(source: str, container: str, path: str) -> Command:
    """Copy a file into a container, running or not."""
    return Command(argv=("docker", "cp", source, f"{container}:{path}"))


def limit(containers: Sequence[str], cpus: float, memory: int) -> Command:
    """Limits for running containers: CPUs, which k3d does not support (k3d#13, #491, #880), and bytes of memory.

    0 CPUs: unchanged. Memory plus swap may be twice that, Docker's default for a container created with a limit.
    """
    sizes = ("--memory", str(memory), "--memory-swap", str(2 * memory))
    return Command(argv=("docker", "update", *(("--cpus", f"{cpus:g}") if cpus else ()), *sizes, *containers))


def events(cluster: str) -> Command:
    """Events of a cluster's containers from now on, one JSON object per line. Codes besides 0 are those of signals."""
    chosen = ("type=container", f"label={CLUSTER_LABEL}={cluster}", "event=start", "event=die", "event=oom")
    argv = ("docker", "events", *repeated("--filter", chosen), "--format", "{{json .}}")
    return Command(argv=argv, deadline=86400.0, ok=(0, -9, -15, 137, 143))


def follow(container: str, since: str) -> Command:
    """A container's log, followed from a time (the engine's, seconds of the epoch) on."""
    argv = ("docker", "logs", "--follow", "--since", since, container)
    return Command(argv=argv, deadline=86400.0, ok=(0, 1, -15, 143))


def top(container: str) -> Command:
    """The processes in a container, from the engine's own `ps`; code 1 if it does not run."""
    return Command(argv=("docker", "top", container), deadline=10.0, ok=(0, 1))


def logs(container: str, lines: int = 400) -> Command:
    """The end of a container's log."""
    return Command(argv=("docker", "logs", "--tail", str(lines), container))


def networks(cluster: str) -> Command:
    """The network of a cluster, with its members; code 1 if there is none."""
    return Command(argv=("docker", "network", "inspect", f"k3d-{cluster}"), ok=(0, 1))


def members(network: str) -> Command:
    """All containers of a network as lines of JSON, including stopped ones: without it they could not start again."""
    shown = ("--filter", f"network={network}", "--format", "{{json .}}")
    return Command(argv=("docker", "ps", "--all", "--no-trunc", *shown))


def disconnect(network: str, container: str) -> Command:
    """Disconnect a container from a network; no failure if it is not connected."""
    return Command(argv=("docker", "network", "disconnect", "--force", network, container), ok=(0, 1))


def connect(network: str, container: str) -> Command:
    """Connect a container to a network."""
    return Command(argv=("docker", "network", "connect", network, container))


def create_network(name: str, subnet: str | None = None) -> Command:
    """Create a network as k3d does; no failure if it exists."""
    chosen = ("--subnet", subnet) if subnet else ()
    return Command(argv=("docker", "network", "create", "--label", "app=k3d", *chosen, name), ok=(0, 1))


def remove_network(name: str) -> Command:
    """Remove a network; code 1 if it is gone."""
    return Command(argv=("docker", "network", "rm", name), ok=(0, 1))


def volumes(*labels: str) -> Command:
    """Names of volumes that have all these labels."""
    return Command(argv=("docker", "volume", "ls", "--quiet", *_with(labels)))


def leases() -> Command:
    """Volumes that are leases, as lines of JSON with their labels."""
    return Command(argv=("docker", "volume", "ls", *_with((LEASE,)), "--format", "{{json .}}"))


def create_volume(name: str, labels: Mapping[str, str]) -> Command:
    """Create a named volume; no failure if it exists."""
    return Command(argv=("docker", "volume", "create", *_labels(labels), name))


def remove_volumes(names: Sequence[str]) -> Command:
    """Remove volumes; no failure if they are gone."""
    return Command(argv=("docker", "volume", "rm", "--force", *names))


PULL_INSIDE = """
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  crictl images -q >/dev/null 2>&1 && break
  sleep 0.2
done
for image; do
  crictl pull "$image" >/dev/null 2>&1 && echo "$image"
done
true
"""
"""containerd starts a moment after the API answers; crictl pulls through the node's mirrors, as for pods."""


def pull_into_node(node: str, images: Sequence[str], deadline: float) -> Command:
    """Pull images into a k3s node, one after another; prints those that are present afterwards."""
    return Command(argv=("docker", "exec", node, "sh", "-c", PULL_INSIDE, "sh", *images), deadline=deadline)


def disk(container: str) -> Command:
    """KiB that a registry stores, by `du` inside it; fails for images without `du`."""
    return Command(argv=("docker", "exec", container, "du", "-sk", "/var/lib/registry"), ok=(0, 1, 126, 127))
