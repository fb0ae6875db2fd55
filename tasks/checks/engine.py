"""Checks of the Docker engine: whether it answers, is new enough, and can run k3s."""

from collections.abc import Iterator, Sequence

from tasks.checks.facts import HostFacts
from tasks.checks.finding import Finding, Remedy, ok, problem, unknown, warning
from tasks.clients.docker import DEFAULT_PLATFORM, fits
from tasks.diagnose.rules import fragments
from tasks.facts.endpoint import EngineStopped
from tasks.facts.engine import Engine
from tasks.facts.programs import numbers
from tasks.settings.k3s_arguments import FAIL_CGROUP_V1, NO_CGROUP_V1, allows_cgroup_v1

LEAST_DOCKER = (20, 10, 5)
"""k3d's README: needs runc 1.0.0-rc93 or later (k3d#807)."""
K3S_NEEDS = (("memory", "pids"), ("memory", "cpu", "cpuset", "pids"))
"""Controllers without which k3s exits at once, on cgroup v1 and v2 (k3s: `cgroups.Validate`, kubelet arguments)."""
_UNFIT_STORAGE = {
    "zfs": "k3s does not support ZFS for its images (k3s#66)",
    "vfs": "it copies every layer of every image: slow, and it fills the disk",
}


def reachable(facts: HostFacts) -> Iterator[Finding]:
    """Whether it is reachable, and its version."""
    error, engine = facts.no_engine, facts.engine
    if error is not None:
        start = isinstance(error, EngineStopped) and facts.startable
        yield problem(
            error.what,
            why=error.why,
            fix=error.fix,
            remedy=Remedy(argv=("systemctl", "start", "docker")) if start else None,
        )
    if engine is None:
        return
    kind = " (rootless)" if engine.rootless else ""
    away = "not on this machine" if engine.files else "outside of this container"
    place = "in its own virtual machine" if engine.desktop else "on this machine" if engine.here else away
    known = numbers(engine.version)
    if known and known < LEAST_DOCKER:
        yield problem(
            f"Docker {engine.version} is too old",
            why=f"k3d needs {'.'.join(map(str, LEAST_DOCKER))} or later: older ones have a runc on which k3s fails",
            fix="update Docker Engine: https://docs.docker.com/engine/install/",
        )
    else:
        what = f"Docker {engine.version}{kind} on {engine.os}, {place}"
        yield ok(what) if known else unknown(what)


def files(facts: HostFacts) -> Iterator[Finding]:
    """A container with the engine's socket and network, but its own file system."""
    if facts.engine is not None and not facts.engine.files:
        yield warning(
            "the engine cannot see this container's files",
            why="nodes show the memory of the whole machine (their limits apply anyway), and several servers "
            "cannot get settings for their kubelets",
            fix="mount the state folder into this container from the same path of the engine's machine",
        )


def platform(facts: HostFacts) -> Iterator[Finding]:
    """Docker's variable for another platform than the engine's own."""
    chosen = facts.environ.get(DEFAULT_PLATFORM, "")
    if facts.engine is None or not chosen or fits(chosen, facts.engine.platform):
        return
    yield warning(
        f"{DEFAULT_PLATFORM} is {chosen}, and the engine's platform is {facts.engine.platform}",
        why="k3s does not run under emulation, so nodes, registries and pulls of a launch ignore the variable",
        fix=f"`unset {DEFAULT_PLATFORM}` unless other work needs it",
    )


def cgroups(facts: HostFacts) -> Iterator[Finding]:
    """The cgroup version against the k3s version, and the controllers that a kubelet needs."""
    engine = facts.engine
    if engine is None:
        return
    missing = [name for name in K3S_NEEDS[engine.cgroup_version != 1] if name in engine.missing_controllers]
    if engine.rootless and engine.cgroup_version == 1:
        yield problem(
            "a rootless engine on cgroup v1",
            why="only cgroup v2 lets an ordinary user set limits, which a kubelet must",
            fix="start the kernel with cgroup v2: add `systemd.unified_cgroup_hierarchy=1` to its command line, reboot",
        )
    elif missing:
        yield _missing_controllers(engine, missing)
    elif engine.cgroup_version == 1 and facts.kubernetes is None:
        yield unknown(
            "cgroup v1, and the image's name does not show its Kubernetes version",
            why=f"from 1.{NO_CGROUP_V1} on the kubelet rejects cgroup v1",
        )
    elif engine.cgroup_version == 1 and (facts.kubernetes or 0) >= NO_CGROUP_V1:
        if allows_cgroup_v1(facts.settings.cluster) is False:
            yield problem(
                f"cgroup v1, which Kubernetes 1.{facts.kubernetes} rejects in this configuration",
                why=f"from 1.{NO_CGROUP_V1} on every node would exit at once, repeatedly",
                fix=f"remove {FAIL_CGROUP_V1} from cluster.args.kubelet and failCgroupV1 from "
                f"cluster.kubelet_config, or choose a K8S_VERSION below 1.{NO_CGROUP_V1}, or a host with cgroup v2",
            )
        else:
            yield ok(f"cgroup v1, on which Kubernetes 1.{facts.kubernetes} runs by {FAIL_CGROUP_V1}=false")
    elif engine.cgroup_version:
        yield ok(f"cgroup v{engine.cgroup_version}")
    else:
        yield unknown("the engine does not report its cgroup version")


def storage(facts: HostFacts) -> Iterator[Finding]:
    """Storage drivers on which k3s is known to fail or to be slow."""
    engine = facts.engine
    if engine is None:
        return
    for name in dict.fromkeys((engine.driver, engine.backing)):
        if name in _UNFIT_STORAGE:
            yield warning(
                f"the engine's storage driver is {name}",
                why=_UNFIT_STORAGE[name],
                fix='`--set cluster.args.k3s=["snapshotter=native"]`, or move the engine\'s data to ext4 or xfs'
                if name == "zfs"
                else "let Docker use overlay2: https://docs.docker.com/engine/storage/drivers/",
            )


def forwarding(facts: HostFacts) -> Iterator[Finding]:
    """Without IP forwarding no container reaches another network."""
    if facts.engine is not None and not facts.engine.forwarding:
        yield warning(
            "the engine's machine does not forward IPv4",
            why="pods would reach neither other nodes nor the internet",
            fix="`sudo sysctl -w net.ipv4.ip_forward=1`, and restart Docker",
        )


def unpacking(facts: HostFacts) -> Iterator[Finding]:
    """Docker uses `unpigz` to unpack images if it is installed (dockerd's reference: MOBY_DISABLE_PIGZ)."""
    if facts.unpigz is False:
        yield warning(
            "the engine unpacks images without unpigz",
            why="no cluster can start until the node image is unpacked: with unpigz that took two thirds of the time",
            fix="`sudo apt-get install pigz`, or your system's package of that name: the next pull uses it",
        )


def owner(facts: HostFacts) -> Iterator[Finding]:
    """Users who share an engine share the names of its clusters."""
    if facts.other_owner:
        yield problem(
            f"the cluster '{facts.settings.cluster.name}' belongs to {facts.other_owner}",
            why="clusters of other users are never changed or removed",
            fix="choose another name (CLUSTER_NAME=…)",
        )


def _missing_controllers(engine: Engine, missing: Sequence[str]) -> Finding:
    names, many = " and ".join(missing), len(missing) > 1
    what = f"{names} cgroup controller{'s' if many else ''}"
    where = "" if engine.here else "on the engine's machine: "
    boot = "add `cgroup_enable=memory cgroup_memory=1` to the kernel's command line (Raspberry Pi: cmdline.txt), reboot"
    if "memory" not in missing:
        boot = "enable them in the kernel, or the container or machine that the engine runs in: `cat /proc/cgroups`"
    if engine.rootless:
        return problem(
            f"the rootless engine lacks the {what}",
            why=f"systemd does not delegate {'them' if many else 'it'} to your user, and k3s exits at once without",
            fix=where + fragments("node")["delegate"],
        )
    return problem(
        f"the engine lacks the {what}",
        why="k3s exits at once without",
        fix=where + boot,
    )
