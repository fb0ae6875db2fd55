"""Checks of the engine's machine, the programs on this one, and the user's permissions, against the plan."""

from collections.abc import Iterator, Sequence

from tasks.checks.facts import HostFacts
from tasks.checks.finding import Finding, Remedy, ok, problem, unknown, warning
from tasks.core.units import GIB, MIB, count, gib, memory_bytes
from tasks.facts.programs import numbers
from tasks.settings.k3s_arguments import value_of
from tasks.settings.needs import enabled_releases

LEAST_DISK, GOOD_DISK = 2 * GIB, 10 * GIB
"""Bytes free: below the first a node's images do not fit, below the second a few charts fill the disk."""
EVICTION = 0.05
"""Free share below which k3s marks its nodes and evicts pods (k3s: `eviction-hard`, imagefs and nodefs)."""
LEAST_MEMORY = 2 * GIB
"""k3s's documentation: a server needs 2 GB."""
OVERCOMMIT = 1.5
"""Limits are not reservations: a plan may overcommit memory, but not without end."""
INSTANCES, WATCHES = 512, 524288
"""What several nodes need together (k3d#968)."""
_ONE_NODE = 128
_TOO_FEW = 4
"""Instances per node: kubelet and containerd alone open more."""

K3S, OTHER = 250 * MIB, 60 * MIB
"""Bytes on the engine's disk: the node image, and one of the small ones (registry, proxy, tools)."""
NODE = 300 * MIB
"""k3s unpacks its own programs in each node (k3s: `/var/lib/rancher/k3s/data`)."""
SYSTEM = 900 * MIB
"""Images of k3s's own pods in all nodes together, unpacked and packed, and in the caches."""
RELEASE = 500 * MIB
"""Images of one chart: a few of some 60 MiB each, packed and unpacked, in a node and in a cache."""


def cpus(facts: HostFacts) -> Iterator[Finding]:
    """Few CPUs are only slow; a limit above their number is reduced to it."""
    engine = facts.engine
    if engine is None:
        return
    what = f"{count(engine.cpus, 'CPU')} for {_nodes(facts)}"
    if engine.cpus >= 2:
        yield ok(what)
        return
    yield warning(
        what,
        why="a launch takes several times as long as on two",
        fix="give the engine more CPUs (Docker Desktop: Settings, Resources; `colima start --cpu 4`)",
    )


def memory(facts: HostFacts) -> Iterator[Finding]:
    """Memory compared with the limits of all nodes together."""
    engine = facts.engine
    if engine is None or not engine.memory_bytes:
        return
    have = engine.memory_bytes
    server, agent, planned = _planned(facts)
    if have < LEAST_MEMORY:
        yield warning(
            f"the engine has {gib(have)}",
            why="a k3s server alone needs 2 GiB; on shortage processes are killed, mostly the API server",
            fix="give the engine more memory (Docker Desktop: Settings, Resources; `colima start --memory 8`)",
        )
    elif planned > have * OVERCOMMIT:
        agents = max(0, (have - server * facts.settings.cluster.servers) // agent)
        yield warning(
            f"{_nodes(facts)} may use {gib(planned)}, and the engine has {gib(have)}",
            why="limits are not reservations, but if they are used up the kernel kills processes",
            fix=f"`K3D_AGENTS={agents} invoke up`, or lower K3D_MEMORY_LIMIT_AGENT",
        )
    else:
        bound = f", which may use {gib(planned)}" if planned else ", without limits"
        yield ok(f"{gib(have)} for {_nodes(facts)}{bound}")


def disk(facts: HostFacts) -> Iterator[Finding]:
    """Disk space for images and volumes, where the engine stores them."""
    engine, found = facts.engine, facts.disk
    if engine is None:
        return
    if found is None:
        yield unknown(_unseen(facts))
        return
    what = f"{gib(found.free)} of {gib(found.total)} free below {engine.root_dir}"
    evicts = found.free < EVICTION * found.total and not _own_eviction(facts)
    if found.free < LEAST_DISK or evicts:
        yield problem(
            what,
            why="below 5 % k3s evicts pods and accepts no new ones" if evicts else "images would not fit",
            fix="`docker system df` shows what uses the space, `docker image prune` removes images that nothing uses",
        )
    elif found.free < GOOD_DISK:
        yield warning(
            what,
            why="images of a few charts need that much",
            fix="`docker system df` shows what uses the space",
        )
    else:
        yield ok(what)


def images(facts: HostFacts) -> Iterator[Finding]:
    """Disk space compared with the images to be pulled."""
    if facts.missing is None or facts.disk is None or facts.engine is None:
        return
    need = _images_size(facts, facts.missing)
    left = facts.disk.free - need
    what = f"about {gib(need)}: {_images_shown(facts, facts.missing)}"
    if left < EVICTION * facts.disk.total:
        yield warning(
            f"{what}; {gib(facts.disk.free)} are free",
            why="the launch would leave less than 5 % of the disk, and k3s evicts pods then",
            fix="`docker system df` shows what uses the space, `docker image prune` removes images that nothing uses",
        )
    else:
        yield ok(what)


def inotify(facts: HostFacts) -> Iterator[Finding]:
    """All nodes share the limits of one user."""
    engine, found = facts.engine, facts.inotify
    if engine is None:
        return
    if found is None:
        yield unknown(_unseen(facts))
        return
    nodes = _node_count(facts)
    least = (INSTANCES, WATCHES // 8) if nodes > 1 else (_ONE_NODE, WATCHES // 64)
    what = f"{found.instances} instances and {found.watches} watches for {_nodes(facts)}"
    if found.instances >= least[0] and found.watches >= least[1]:
        yield ok(what)
        return
    change = (
        f"fs.inotify.max_user_instances={max(INSTANCES, found.instances)}",
        f"fs.inotify.max_user_watches={max(WATCHES, found.watches)}",
    )
    report = problem if found.instances < _TOO_FEW * nodes else warning
    yield report(
        what,
        why="nodes without free ones fail with 'too many open files' or never become ready",
        fix=f"`sudo sysctl -w {' '.join(change)}`; for every boot, put these two lines into /etc/sysctl.d/99-k3d.conf",
        remedy=Remedy(argv=("sysctl", "-w", *change)),
    )


def sudo(facts: HostFacts) -> Iterator[Finding]:
    """No launch needs it: `docker-tune` and some fixes do."""
    rights = facts.rights
    if rights is None:
        return
    if rights.enough:
        yield ok("you are root" if rights.root else "works without a password")
        return
    what = "there is none" if rights.sudo is None else "asks for a password"
    if facts.settings.docker.tune == "auto":
        yield warning(
            f"{what}, and docker.tune is auto",
            why="Docker's daemon.json belongs to root, so it will not be changed",
            fix="`sudo invoke docker-tune` once, or docker.tune off",
        )
    else:
        yield ok(f"{what}: commands that need root are left to you")


def folders(facts: HostFacts) -> Iterator[Finding]:
    """The folders for the state of clusters, and their private kubeconfigs."""
    error = facts.folders
    if error is not None:
        yield problem(error.what, why=error.why, fix=error.fix)


def kubeconfig(facts: HostFacts) -> Iterator[Finding]:
    """A launch continues without it: its private kubeconfig always exists."""
    if facts.unwritable:
        yield warning(
            f"your kubeconfig cannot be written: {facts.unwritable}",
            why="the cluster's entry will not be put into the first file of KUBECONFIG",
            fix="mount or make it writable, or set KUBECONFIG to another one; or kubeconfig.merge=false",
        )


def _planned(facts: HostFacts) -> tuple[int, int, int]:
    """Limits of a server and of an agent, and of all nodes together; bytes."""
    cluster = facts.settings.cluster
    server, agent = memory_bytes(cluster.limits.server_memory), memory_bytes(cluster.limits.agent_memory)
    total = cluster.servers * server + facts.agents * agent
    return server, agent, total if cluster.limits.enabled else 0


def _images_size(facts: HostFacts, missing: Sequence[str]) -> int:
    need = sum(K3S if image == missing[0] and "k3s" in image else OTHER for image in missing)
    if facts.cluster_exists:
        return need
    return need + _node_count(facts) * NODE + SYSTEM + len(enabled_releases(facts.settings)) * RELEASE


def _images_shown(facts: HostFacts, missing: Sequence[str]) -> str:
    pulled = f"{count(len(missing), 'image')} to pull"
    if facts.cluster_exists:
        return f"{pulled}, and the cluster already has its own"
    releases = count(len(enabled_releases(facts.settings)), "release")
    return f"{pulled}, and those of {count(_node_count(facts), 'node')} and {releases}"


def _node_count(facts: HostFacts) -> int:
    return facts.settings.cluster.servers + facts.agents


def _own_eviction(facts: HostFacts) -> bool:
    cluster = facts.settings.cluster
    return value_of(cluster, "kubelet", "eviction-hard") is not None or "evictionHard" in cluster.kubelet_config


def _unseen(facts: HostFacts) -> str:
    assert facts.engine is not None
    where = "in its own machine" if facts.engine.desktop else "elsewhere, or in a container"
    return f"the engine runs {where}, which cannot be inspected from here"


def _nodes(facts: HostFacts) -> str:
    return f"{count(facts.settings.cluster.servers, 'server')} and {count(facts.agents, 'agent')}"


K3D_MAJOR = 5
"""This project writes and reads its configuration and labels."""
_FETCH = Remedy(fetch=True)
_HELM_WITH = {3: 15, 4: 34}
"""Kubernetes' minor version that x.0 of this Helm would be built with; one more for each minor of Helm
(helm.sh: version skew, 3.13 to 3.20, and 4.0 to 4.2)."""
_HELM_BACK = 3


def k3d(facts: HostFacts) -> Iterator[Finding]:
    """The k3d that creates the cluster."""
    if facts.versions is None or facts.context is not None:
        return
    version = facts.versions.k3d
    if numbers(version) and numbers(version)[0] > K3D_MAJOR:
        yield problem(
            f"k3d {version} is newer than the supported versions",
            why=f"it writes configurations for k3d {K3D_MAJOR}",
            fix="`make tools` puts the pinned version into the project's folder, which precedes the PATH",
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
    """The oldest and the newest minor of Kubernetes that this Helm supports; None if unknown."""
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
    """What is wrong with a program itself; `up` downloads missing and outdated ones before it starts."""
    report = problem if facts.fetched else warning
    if version is None:
        return report(
            f"{name} is missing, or does not report its version",
            why="every launch needs it"
            + ("" if facts.fetched else "; `invoke up` downloads the pinned version, which needs the network"),
            fix="`make tools`",
            remedy=_FETCH,
        )
    minimum = facts.minimum.get(name)
    if minimum is None or not numbers(version) or numbers(version) >= numbers(minimum)[: len(numbers(version))]:
        return None
    return report(
        f"{name} {version} is too old",
        why=f"{minimum} or later is needed" + ("" if facts.fetched else "; `invoke up` downloads the pinned version"),
        fix="`make tools`",
        remedy=_FETCH,
    )
