"""Docker's command lines, and what their output means.

Clusters are found by the exact label `k3d.cluster=NAME`: Docker's `name=` filter is an unanchored
regular expression, by which `dev` finds `dev-2`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from tasks.core.imageref import parse
from tasks.process.command import Command, repeated

DEFAULT_PLATFORM = "DOCKER_DEFAULT_PLATFORM"
"""docker's variable for the platform of what it pulls and creates; nodes and registries have the engine's own."""
CLUSTER_LABEL = "k3d.cluster"
"""k3d's own label of everything that belongs to one cluster (k3d: `pkg/types/types.go`)."""
OURS = "openframe.cluster"
"""Our label on the nodes of a cluster that this project made; its value is the cluster's name."""
OWNER = "openframe.owner"
"""On the nodes of a cluster, and on registries: who made them (`tasks.facts.cluster`)."""
LEASE = "openframe.lease"
"""On volumes without content: who is about to use the shared registries, or removes them (`tasks.k3d.lease`)."""
CONFIG_LABEL = "openframe.config"
"""What the cluster was made with, as a query string: see `tasks.facts.cluster`."""
CACHE_LABEL, PUSH = "openframe.cache", "push"
"""On registries of ours: the upstream they stand before, or that one pushes to them."""
BUNDLE_LABEL = "openframe.bundle"
"""On caches of ours that were filled from a bundle, and ask nobody."""
NETWORK_LABEL = "openframe.network"
"""On caches of ours: changes with their proxies and certificate authorities; not there if they have none."""

REGISTRY_DEBUG = "127.0.0.1:5001"
"""Where a registry tells its numbers, to itself alone (distribution: `http.debug`)."""


def _labels(labels: Mapping[str, str]) -> tuple[str, ...]:
    return repeated("--label", (f"{key}={value}" for key, value in labels.items()))


def _with(labels: Iterable[str]) -> tuple[str, ...]:
    """A filter for what carries all of them."""
    return repeated("--filter", (f"label={label}" for label in labels))


def containers(*labels: str) -> Command:
    """Ids of containers, running or not, that carry all these labels."""
    return Command(argv=("docker", "ps", "--all", "--quiet", "--no-trunc", *_with(labels)))


def published() -> Command:
    """All containers that run, as lines of JSON: what is published on which port is in them."""
    return Command(argv=("docker", "ps", "--no-trunc", "--format", "{{json .}}"))


def inspect(ids: Sequence[str]) -> Command:
    """Everything about containers; one that is gone meanwhile is left out (code 1)."""
    return Command(argv=("docker", "container", "inspect", *ids), ok=(0, 1))


def inspected(out: str) -> list[dict[str, Any]]:
    """What `inspect` printed."""
    found: list[dict[str, Any]] = json.loads(out) if out.strip() else []
    return found


def images(refs: Sequence[str]) -> Command:
    """Names and platforms of those images that the engine has; missing ones only change the code."""
    shown = "{{json .RepoTags}}{{json .RepoDigests}}{{json .Os}}{{json .Architecture}}"
    return Command(argv=("docker", "image", "inspect", "--format", shown, *refs), ok=(0, 1))


def platforms(out: str, refs: Iterable[str]) -> dict[str, str]:
    """Those of the references that `images` found, each with its platform; a tag beside a digest does not count."""
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
    """Whether an image of one platform runs on an engine of another without emulation; what is not known does."""
    return not engine or image.split("/")[1:2] in (engine.split("/")[1:2], [""])


def pull(ref: str, deadline: float, platform: str = "") -> Command:
    """Download one image, for a platform; empty: for that which docker chooses."""
    return Command(argv=("docker", "pull", *_for(platform), ref), deadline=deadline)


def _for(platform: str) -> tuple[str, ...]:
    """It wins over the variable DOCKER_DEFAULT_PLATFORM."""
    return ("--platform", platform) if platform else ()


def load(feed: Callable[[BinaryIO], None], deadline: float) -> Command:
    """Images out of an archive that is written to stdin, under the names that it gives them."""
    return Command(argv=("docker", "load", "--quiet"), feed=feed, shown_stdin="BUNDLE", deadline=deadline)


def save(ref: str, path: Path, deadline: float) -> Command:
    """An image of the engine as an archive."""
    return Command(argv=("docker", "save", "--output", str(path), ref), deadline=deadline)


def fill_registry(name: str, feed: Callable[[BinaryIO], None], deadline: float) -> Command:
    """An archive of a registry's files onto its disk."""
    argv = ("docker", "cp", "-", f"{name}:/var/lib/registry")
    return Command(argv=argv, feed=feed, shown_stdin="BUNDLE", deadline=deadline)


def images_inside(node: str) -> Command:
    """The images that a k3s node has, as JSON."""
    return Command(argv=("docker", "exec", node, "crictl", "images", "--output", "json"), ok=(0, 1, 126, 127))


def listed_images(out: str) -> list[Mapping[str, Any]]:
    """What `images_inside` printed; empty for a crictl that knows no JSON."""
    try:
        found = json.loads(out or "{}").get("images")
    except (ValueError, AttributeError):
        return []
    return [each for each in found or () if isinstance(each, dict)]


def image_names(out: str) -> set[str]:
    """Names that `images_inside` printed; a crictl that knows no JSON has them first in each line."""
    found = listed_images(out)
    names = {str(name) for each in found for name in each.get("repoTags") or each.get("repoDigests") or ()}
    return names if found else {line.split()[0] for line in out.splitlines() if "/" in line and line[:1] != "{"}


def tag(ref: str, name: str) -> Command:
    """Give an image another name."""
    return Command(argv=("docker", "tag", ref, name))


def untag(ref: str) -> Command:
    """Take a name from an image that has another one too."""
    return Command(argv=("docker", "rmi", "--no-prune", ref))


@dataclass(frozen=True, kw_only=True)
class RegistrySpec:
    """What a registry's container is made from."""

    name: str
    image: str
    port: int
    volume: str
    labels: Mapping[str, str]
    upstream: str | None = None
    """With one it is a pull-through cache of it."""
    platform: str = ""
    """The engine's own; empty: docker's default."""
    env_file: str | None = None
    """A file of variables that may be secret: none of them is in an argument."""


def run_registry(spec: RegistrySpec) -> Command:
    """Start a registry on loopback."""
    return Command(argv=("docker", "run", "--detach", *_for(spec.platform), *_registry(spec)))


def create_registry(spec: RegistrySpec) -> Command:
    """Make a registry that is not started yet: files are copied in first."""
    return Command(argv=("docker", "create", *_for(spec.platform), *_registry(spec)))


def _registry(spec: RegistrySpec) -> tuple[str, ...]:
    """k3d's own labels make it one that `registries.use` accepts (k3d: `pkg/client/registry.go`)."""
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
    """Freeze the processes of containers that run, one container after another."""
    return Command(argv=("docker", "pause", *names))


def unpause(names: Sequence[str]) -> Command:
    """Let paused containers go on."""
    return Command(argv=("docker", "unpause", *names))


def restart(name: str) -> Command:
    """Start a container anew: `start` leaves one alone that keeps ending, since it counts as running."""
    return Command(argv=("docker", "restart", name))


def stop(names: Sequence[str], seconds: int = 10) -> Command:
    """Stop containers, all at once; killed after that many seconds (the long flag has changed its name in 28)."""
    return Command(argv=("docker", "stop", "-t", str(seconds), *names), deadline=seconds + 60)


def remove(names: Sequence[str]) -> Command:
    """Kill and remove containers with their anonymous volumes."""
    return Command(argv=("docker", "rm", "--force", "--volumes", *names), deadline=120)


def copy_out(container: str, path: str) -> Command:
    """A file out of a container, running or not, as a tar archive on stdout."""
    return Command(argv=("docker", "cp", f"{container}:{path}", "-"))


def extracted(archive: bytes) -> bytes | None:
    """The file in what `copy_out` gave; None for what is no file. Raises `tarfile.TarError`, IndexError."""
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        file = found.extractfile(found.getmembers()[0])
        return file.read() if file is not None else None


def copy_folder_out(container: str, path: str, folder: str) -> Command:
    """A folder out of a container, running or not, into one of this machine; code 1 if there is none."""
    return Command(argv=("docker", "cp", f"{container}:{path}", folder), ok=(0, 1))


def containers_inside(node: str) -> Command:
    """Containers of a k3s node that runs, ended ones too, as its containerd lists them."""
    return Command(argv=("docker", "exec", node, "crictl", "ps", "--all"), deadline=15.0)


def has_file(container: str, path: str) -> Command:
    """Whether a file is in a container, running or not: code 0 if it is."""
    return replace(copy_out(container, path), ok=(0, 1))


def copy_in(source: str, container: str, path: str) -> Command:
    """A file into a container, running or not."""
    return Command(argv=("docker", "cp", source, f"{container}:{path}"))


def limit(containers: Sequence[str], cpus: float, memory: int) -> Command:
    """Limits for containers that run: CPUs, of which k3d has none (k3d#13, #491, #880), and bytes of memory.

    With swap it may be twice that, as Docker has it for a container made with a limit.
    """
    sizes = ("--memory", str(memory), "--memory-swap", str(2 * memory))
    return Command(argv=("docker", "update", "--cpus", f"{cpus:g}", *sizes, *containers))


def events(cluster: str) -> Command:
    """What happens to a cluster's containers from now on, one JSON a line."""
    chosen = ("type=container", f"label={CLUSTER_LABEL}={cluster}", "event=start", "event=die", "event=oom")
    argv = ("docker", "events", *repeated("--filter", chosen), "--format", "{{json .}}")
    return Command(argv=argv, deadline=86400.0, ok=(0, -15, 143))


def follow(container: str, since: str) -> Command:
    """A container's log from a time (the engine's, seconds of the epoch) on, as it grows."""
    argv = ("docker", "logs", "--follow", "--since", since, container)
    return Command(argv=argv, deadline=86400.0, ok=(0, 1, -15, 143))


def top(container: str) -> Command:
    """The processes in a container as the engine's own `ps` shows them; code 1 if it does not run."""
    return Command(argv=("docker", "top", container), deadline=10.0, ok=(0, 1))


def logs(container: str, lines: int = 400) -> Command:
    """The end of a container's log."""
    return Command(argv=("docker", "logs", "--tail", str(lines), container))


def networks(cluster: str) -> Command:
    """The network of a cluster, with who is in it; code 1 if there is none."""
    return Command(argv=("docker", "network", "inspect", f"k3d-{cluster}"), ok=(0, 1))


def members(network: str) -> Command:
    """All containers of a network as lines of JSON, those that do not run among them: without it they never would."""
    shown = ("--filter", f"network={network}", "--format", "{{json .}}")
    return Command(argv=("docker", "ps", "--all", "--no-trunc", *shown))


def disconnect(network: str, container: str) -> Command:
    """Take a container out of a network; one that is not in it is no failure."""
    return Command(argv=("docker", "network", "disconnect", "--force", network, container), ok=(0, 1))


def connect(network: str, container: str) -> Command:
    """Put a container into a network."""
    return Command(argv=("docker", "network", "connect", network, container))


def create_network(name: str, subnet: str | None = None) -> Command:
    """A network as k3d makes it; one that exists is no failure."""
    chosen = ("--subnet", subnet) if subnet else ()
    return Command(argv=("docker", "network", "create", "--label", "app=k3d", *chosen, name), ok=(0, 1))


def remove_network(name: str) -> Command:
    """Remove a network; code 1 if it is gone."""
    return Command(argv=("docker", "network", "rm", name), ok=(0, 1))


def volumes(*labels: str) -> Command:
    """Names of volumes that carry all these labels."""
    return Command(argv=("docker", "volume", "ls", "--quiet", *_with(labels)))


def leases() -> Command:
    """Volumes that are leases, as lines of JSON with their labels."""
    return Command(argv=("docker", "volume", "ls", *_with((LEASE,)), "--format", "{{json .}}"))


def create_volume(name: str, labels: Mapping[str, str]) -> Command:
    """A named volume; one that exists is no failure."""
    return Command(argv=("docker", "volume", "create", *_labels(labels), name))


def remove_volumes(names: Sequence[str]) -> Command:
    """Remove volumes; ones that are gone are no failure."""
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
"""containerd runs a moment after the API answers; what crictl pulls comes through the node's mirrors, as for pods."""


def pull_inside(node: str, images: Sequence[str], deadline: float) -> Command:
    """Pull images into a k3s node, one after another; prints those that are there then."""
    return Command(argv=("docker", "exec", node, "sh", "-c", PULL_INSIDE, "sh", *images), deadline=deadline)


def disk(container: str) -> Command:
    """KiB that a registry keeps, by `du` inside it; images without it end with a code."""
    return Command(argv=("docker", "exec", container, "du", "-sk", "/var/lib/registry"), ok=(0, 1, 126, 127))
