"""Causes for which a node ends, as k3s and the components in it write them (k3s: `pkg/executor`, `pkg/cgroups`)."""

from __future__ import annotations

from tasks.diagnose.diagnosis import Cause

DELEGATE = (
    "`sudo sh -c 'mkdir -p /etc/systemd/system/user@.service.d && "
    'printf "[Service]\\nDelegate=cpu cpuset io memory pids\\n" > /etc/systemd/system/user@.service.d/delegate.conf && '
    "systemctl daemon-reload'`, then log out of all sessions and in again, or reboot"
)
"""Lets rootless containers have all controllers (docs: Docker, rootless mode, limiting resources)."""

_NODE = ("node", "k3d")
"""k3d repeats a node's last fatal line."""
_QUOTED = r"\"(?:-\w, )?(?P<flag>--[\w-]+)\""

_COMPONENTS = (
    ("kubelet", r"kubelet", "cluster.args.kubelet"),
    ("API server", r"(?:kube-)?apiserver", "cluster.args.apiserver"),
    ("cloud controller manager", r"cloud-controller-manager", "cluster.args.cloud_controller_manager"),
    ("controller manager", r"(?:kube-)?controller-manager", "cluster.args.controller_manager"),
    ("scheduler", r"(?:kube-)?scheduler", "cluster.args.scheduler"),
    ("kube-proxy", r"kube-proxy", "cluster.args.kube_proxy"),
    ("etcd", r"etcd", "cluster.args.k3s (etcd-arg=…)"),
)
"""Name for people, how k3s names it before ` exited:`, and the setting that hands its arguments on."""


def _flags() -> tuple[Cause, ...]:
    """A flag that a component does not know, or whose value it refuses; for each its own setting."""
    found: list[Cause] = []
    for people, name, setting in _COMPONENTS:
        before = rf"(?<![\w-]){name} exited: .*?"
        own = (r"failed to parse kubelet flag: unknown flag: (?P<flag>--[\w-]+)",) if name == "kubelet" else ()
        found += [
            Cause(
                id="component-flag",
                programs=_NODE,
                patterns=(rf"{before}unknown flag: (?P<flag>--[\w-]+)", *own),
                what=f"its {people} does not know the flag {{flag}}",
                why="Kubernetes of this version has no such flag, or has it no longer",
                fix=f"take {{flag}} out of {setting}",
            ),
            Cause(
                id="component-feature",
                programs=_NODE,
                patterns=(rf"{before}unrecognized feature gate: (?P<feature>[\w-]+)",),
                what=f"its {people} knows no feature gate {{feature}}",
                why="Kubernetes of this version has no such gate, or has it no longer",
                fix=f"take {{feature}} out of feature-gates in {setting}",
            ),
            Cause(
                id="component-value",
                programs=_NODE,
                patterns=(rf"{before}invalid argument \"(?P<value>[^\"]*)\" for {_QUOTED} flag: (?P<reason>.+)",),
                what=f"its {people} does not accept {{flag}}={{value}}",
                why="{reason}",
                fix=f"correct {{flag}} in {setting}",
            ),
        ]
    return tuple(found)


CAUSES = (
    *_flags(),
    Cause(
        id="component-flag",
        programs=("node",),
        patterns=(r"unknown flag: (?P<flag>--[\w-]+)",),
        what="one of its components does not know the flag {flag}",
        why="Kubernetes of this version has no such flag, or has it no longer",
        fix="take {flag} out of cluster.args",
    ),
    Cause(
        id="k3s-flag",
        programs=_NODE,
        patterns=(r"flag provided but not defined: -{1,2}(?P<flag>[\w-]+)",),
        what="k3s does not know the flag --{flag}",
        why="k3s of this version has no such flag; flags of components go in by their own settings",
        fix="take {flag} out of cluster.args.k3s, or put it into cluster.args.kubelet, .apiserver, …",
    ),
    Cause(
        id="k3s-value",
        programs=_NODE,
        patterns=(
            r"invalid value \"(?P<value>[^\"]*)\" for flag -{1,2}(?P<flag>[\w-]+): (?P<reason>.+)",
            r"[Ii]nvalid boolean value \"(?P<value>[^\"]*)\" for -{1,2}(?P<flag>[\w-]+): (?P<reason>.+)",
            r"flag needs an argument: -{1,2}(?P<flag>[\w-]+)",
        ),
        what="k3s does not accept --{flag}={value}",
        why="{reason}",
        fix="correct {flag} in cluster.args.k3s",
        otherwise={"value": "", "reason": "it needs a value"},
    ),
    Cause(
        id="cgroup-v1",
        programs=_NODE,
        patterns=(r"configured to not run on a host using cgroup v1",),
        what="its kubelet refuses this machine's cgroup version 1",
        why="Kubernetes 1.35 and later do so by default",
        fix="switch the machine to cgroup v2 (WSL2: kernelCommandLine=cgroup_no_v1=all in .wslconfig), "
        "or add fail-cgroupv1=false to cluster.args.kubelet, or an older K8S_VERSION",
    ),
    Cause(
        id="cgroup-missing",
        programs=_NODE,
        patterns=(
            r"[Ff]ailed to find (?P<controller>\w+) cgroup",
            r"(?P<controller>\w+) cgroup controller not found",
            r"cgroup.* (?P<controller>\w+) .*not mounted",
        ),
        what="the cgroup controller {controller} is missing",
        why="the kernel was started without it, or (rootless Docker) it is not delegated to your user",
        fix=f"add cgroup_enable={{controller}} to the kernel's command line and restart; rootless Docker: {DELEGATE}",
    ),
    Cause(
        id="cgroup-state",
        programs=_NODE,
        patterns=(r"cannot enter cgroupv2 .*it is in an invalid state",),
        what="its kubelet cannot make cgroups",
        why="k3s shares its cgroup with other processes of the container (k3s older than 1.22 on cgroup v2)",
        fix="a newer K8S_VERSION; with an old one export K3D_FIX_CGROUPV2=1",
    ),
    Cause(
        id="inotify-limit",
        programs=("node",),
        patterns=(
            r"(?:inotify|fsnotify).*(?:too many open files|no space left on device)",
            r"user specified limit on total number of inotify",
            r"too many open files",
        ),
        what="the engine's machine has no inotify instance left",
        why="every node needs several, and fs.inotify.max_user_instances is 128 by default (k3d#968)",
        fix="sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288; "
        "`invoke doctor --fix` does that",
    ),
    Cause(
        id="disk-full",
        programs=("node",),
        patterns=(r"no space left on device", r"database or disk is full", r"[Dd]isk quota exceeded"),
        what="the engine's disk is full",
        why="{line}",
        fix="docker system df shows what the engine holds; docker system prune frees what nobody uses "
        "(caches of images: invoke registry --purge)",
    ),
    Cause(
        id="node-token",
        programs=_NODE,
        patterns=(
            r"bootstrap data already found and encrypted with different token",
            r"token CA hash does not match the Cluster CA certificate hash",
            r"failed to normalize (?:server |agent )?token",
            r"invalid token format",
            r"(?:token|join) .*(?:not authorized|401 Unauthorized)",
        ),
        what="its token is not that of the cluster",
        why="the data of an earlier cluster were found, or the token was changed",
        fix="invoke up --recreate makes the cluster anew (what is in it is lost)",
    ),
    Cause(
        id="node-password",
        programs=_NODE,
        patterns=(r"Node password rejected", r"unable to verify password for node"),
        what="the cluster knows another node of this name",
        why="the node was made anew, and its password with it",
        fix="kubectl delete secret NODE.node-password.k3s -n kube-system; or invoke up --recreate",
    ),
    Cause(
        id="node-port",
        programs=_NODE,
        patterns=(r"listen (?:tcp|udp)[46]? (?P<address>\S+): bind: address already in use",),
        what="{address} inside it is in use already",
        why="two arguments give the same port, or the network of the node is the host's",
        fix="see https-listen-port, port and bind-address in cluster.args",
    ),
    Cause(
        id="node-snapshotter",
        programs=_NODE,
        patterns=(
            r"\"(?P<snapshotter>[\w-]+)\" snapshotter cannot be enabled for .*?: (?P<reason>.+)",
            r"failed to find snapshotter (?P<snapshotter>[^\s:]+)",
        ),
        what="its containerd cannot use {snapshotter} for images",
        why="{reason}",
        fix="the engine's storage lies on a file system without it (NFS, ZFS, another overlay): move Docker's "
        "data-root to ext4 or xfs, or add snapshotter=native to cluster.args.k3s",
        otherwise={"reason": "the file system below does not allow it"},
    ),
    Cause(
        id="node-kmsg",
        programs=_NODE,
        patterns=(r"open /dev/kmsg: (?P<reason>[\w ]+)",),
        what="its kubelet cannot read /dev/kmsg",
        why="{reason}: the engine is rootless, or runs in a container itself",
        fix="add feature-gates=KubeletInUserNamespace=true to cluster.args.kubelet",
    ),
    Cause(
        id="node-conntrack",
        programs=_NODE,
        patterns=(
            r"nf_conntrack_max: permission denied",
            r"nf_conntrack\S*: (?:permission denied|read-only file system)",
        ),
        what="its kube-proxy may not set nf_conntrack_max",
        why="since Linux 5.12 only the host itself may (k3d#612)",
        fix="add conntrack-max-per-core=0 to cluster.args.kube_proxy; or on the host: "
        "sudo sysctl net.netfilter.nf_conntrack_max=131072",
    ),
    Cause(
        id="node-swap",
        programs=_NODE,
        patterns=(r"[Rr]unning with swap on is not supported",),
        what="its kubelet does not run with swap",
        why="fail-swap-on is set, or this k3s does not turn it off",
        fix="add fail-swap-on=false to cluster.args.kubelet, or turn swap off: sudo swapoff -a",
    ),
    Cause(
        id="kubelet-config",
        programs=_NODE,
        patterns=(
            r"(?P<reason>strict decoding error: .*?unknown field \"(?P<field>[^\"]+)\")",
            r"(?P<reason>cannot unmarshal \w+ into .*KubeletConfiguration\.(?P<field>[\w.]+) of type \w+)",
            r"invalid configuration: (?P<reason>(?P<field>\w+).+)",
            r"failed to (?:load|merge|validate) kubelet config\w*,? ?(?P<reason>.+)",
        ),
        what="its kubelet does not accept the field {field} of its configuration",
        why="{reason}",
        fix="correct cluster.kubelet_config: fields are those of KubeletConfiguration of this Kubernetes version; "
        "pool.downloads writes maxParallelImagePulls, for k3s 1.32 or later",
        otherwise={"field": "that it names", "reason": "{line}"},
    ),
    Cause(
        id="clock",
        programs=("node",),
        patterns=(
            r"certificate has expired or is not yet valid: (?P<reason>.+)",
            r"certificate has expired or is not yet valid",
        ),
        what="one of its certificates is out of its time",
        why="{reason}",
        fix="see that the machine's clock is right (date -u); certificates that are older than a year: "
        "invoke up --recreate",
        otherwise={"reason": "it has expired, or the clock is wrong"},
    ),
    Cause(
        id="wrong-processor",
        programs=("node",),
        patterns=(r"exec format error",),
        what="its image is made for another processor",
        why="{line}",
        fix="a k3s image that has this machine's platform (K3S_IMAGE); docker rmi the wrong one first",
    ),
    Cause(
        id="node-datastore",
        programs=("node",),
        patterns=(
            r"(?:etcd cluster join failed|joining etcd cluster|start managed database): (?P<reason>.+)",
            r"etcdserver: (?P<reason>.+)",
            r"failed to publish local member to cluster(?P<reason>)",
        ),
        what="it cannot join the other servers' etcd",
        why="{reason}",
        fix="it tries again while the others elect; if it stays so, docker logs of the first server tells, "
        "and invoke up --recreate makes them anew",
        transient=True,
        otherwise={"reason": "no majority of them answers"},
    ),
    Cause(
        id="node-server",
        programs=("node",),
        patterns=(
            r"failed to get CA certs: (?P<reason>.+)",
            r"Failed to validate connection to cluster at \S+: (?P<reason>.+)",
        ),
        what="it does not reach the first server",
        why="{reason}",
        fix="it tries again; docker logs of the first server tells whether that one is well",
        transient=True,
    ),
    Cause(
        id="node-slow",
        programs=("node",),
        patterns=(
            r"failed to wait for (?:apiserver ready|API server to become ready): (?P<reason>.+)",
            r"leaderelection lost(?P<reason>)",
            r"(?:apiserver|kubelet|scheduler|controller-manager) exited: .*context deadline exceeded(?P<reason>)",
        ),
        what="its API server was too slow",
        why="the machine has too little processor time or too slow a disk for so many nodes",
        fix="fewer nodes (K3D_AGENTS), or a smaller CONCURRENCY_LEVEL; `invoke doctor` compares them with the machine",
        transient=True,
    ),
    Cause(
        id="node-memory",
        programs=("node",),
        patterns=(r"fatal error: runtime: (?:out of memory|cannot allocate memory)", r"[Cc]annot allocate memory"),
        codes=(137, -9),
        what="it was killed: its memory was used up, or somebody killed it",
        why="the kernel ends what passes its container's limit (code 137)",
        fix="docker inspect NODE shows State.OOMKilled; raise K3D_MEMORY_LIMIT_SERVER or K3D_MEMORY_LIMIT_AGENT, "
        "or ask for fewer nodes (K3D_AGENTS)",
        transient=True,
    ),
)
