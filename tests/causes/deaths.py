"""Logs of nodes that have ended, as k3s and its components write them, and what must be known of each death."""

from __future__ import annotations

from dataclasses import dataclass

_KUBELET = "failed to parse kubelet flag: unknown flag: --max-parallelism"
STARTED = 'time="2026-11-24T10:00:00Z" level=info msg="Starting k3s v1.32.3+k3s1 (079ffa8d)"\n'


@dataclass(frozen=True, kw_only=True)
class Death:
    """A log, and what must be known of the death."""

    cause: str
    log: str
    says: tuple[str, ...]
    hopeless: bool = True
    code: int = 1

    def __str__(self) -> str:
        return self.cause


DEATHS = [
    Death(  # k3s 1.32.1: k3s-io/k3s#11781, pkg/daemons/executor/embed.go
        cause="component-flag",
        log=STARTED + f'Error: {_KUBELET}\ntime="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: {_KUBELET}"\n',
        says=("kubelet does not know the flag --max-parallelism", "take --max-parallelism out of cluster.args.kubelet"),
    ),
    Death(  # k3s 1.32.2, an error and then exit 1: dajudge/kindcontainer#366
        cause="component-flag",
        log=STARTED + f'time="2026-11-24T10:00:09Z" level=error msg="kubelet exited: {_KUBELET}"\n',
        says=("--max-parallelism", "cluster.args.kubelet"),
    ),
    Death(  # k3s main branch: pkg/signals/signals.go quotes once more, and k3s ends with code 0
        cause="component-flag",
        log=STARTED
        + f'time="2026-11-24T10:00:09Z" level=error msg="Shutdown request received: \\"kubelet exited: {_KUBELET}'
        '\\""\ntime="2026-11-24T10:00:10Z" level=info msg="Shutting down embedded etcd"\n',
        says=("--max-parallelism", "cluster.args.kubelet"),
        code=0,
    ),
    Death(  # a component that runs as a process of its own: its log stands in k3s's message
        cause="component-flag",
        log=STARTED + 'time="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: exit status 1: E1124 10:00:09.1 12 '
        f'run.go:72] \\"command failed\\" err=\\"{_KUBELET}\\""\n',
        says=("--max-parallelism", "cluster.args.kubelet"),
    ),
    Death(
        cause="component-flag",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="apiserver exited: unknown flag: --enable-swagger-ui"\n',
        says=("API server", "--enable-swagger-ui", "cluster.args.apiserver"),
    ),
    Death(
        cause="component-flag",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="controller-manager exited: unknown flag: '
        '--concurrent-rc-syncs"\n',
        says=("its controller manager", "--concurrent-rc-syncs", "cluster.args.controller_manager"),
    ),
    Death(
        cause="component-flag",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="cloud-controller-manager exited: unknown flag: --foo"\n',
        says=("its cloud controller manager", "cluster.args.cloud_controller_manager"),
    ),
    Death(
        cause="component-flag",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="scheduler exited: unknown flag: --address"\n',
        says=("scheduler", "--address", "cluster.args.scheduler"),
    ),
    Death(  # kubernetes: pflag's own words
        cause="component-value",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="scheduler exited: invalid argument \\"high\\" for \\"-v, '
        '--v\\" flag: '
        'strconv.ParseInt: parsing \\"high\\": invalid syntax"\n',
        says=("--v=high", "invalid syntax", "cluster.args.scheduler"),
    ),
    Death(  # kubernetes: component-base/featuregate
        cause="component-feature",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: failed to set feature gates from initial '
        "flags-based "
        'config: unrecognized feature gate: Foo"\n',
        says=("feature gate Foo", "cluster.args.kubelet"),
    ),
    Death(  # a component that dies before k3s can say which one it was
        cause="component-flag",
        log='E1124 10:00:09.143 12 run.go:72] "command failed" err="unknown flag: --bar"\n',
        says=("one of its components", "--bar"),
    ),
    Death(  # k3s: urfave/cli, with its usage between
        cause="k3s-flag",
        log="Incorrect Usage: flag provided but not defined: -foo\n\nNAME:\n   k3s server - Run management server\n"
        + "   --help, -h  show help\n" * 150
        + 'time="2026-11-24T10:00:00Z" level=fatal msg="flag provided but not defined: -foo"\n',
        says=("k3s does not know the flag --foo", "cluster.args.k3s"),
    ),
    Death(
        cause="k3s-value",
        log='time="2026-11-24T10:00:00Z" level=fatal msg="invalid value \\"x\\" for flag -https-listen-port: parse '
        'error"\n',
        says=("--https-listen-port=x", "parse error"),
    ),
    Death(  # kubernetes: pkg/kubelet/kubeletconfig/configfiles
        cause="kubelet-config",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: failed to merge kubelet configs: failed '
        "to load kubelet "
        "dropin file, path: /var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-x.conf, error: failed to load Kubelet "
        "config file "
        "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-x.conf, error failed to decode: strict decoding error: "
        "unknown field "
        '\\"maxParallelPulls\\""\n',
        says=("the field maxParallelPulls", "cluster.kubelet_config"),
    ),
    Death(
        cause="kubelet-config",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: failed to merge kubelet configs: json: '
        "cannot unmarshal "
        'string into Go struct field KubeletConfiguration.maxPods of type int32"\n',
        says=("the field maxPods", "of type int32"),
    ),
    Death(  # kubernetes: pkg/kubelet/apis/config/validation
        cause="kubelet-config",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: failed to validate kubelet '
        "configuration, error: invalid "
        'configuration: maxParallelImagePulls -1 must be a positive number, path: &TypeMeta{Kind:,APIVersion:,}"\n',
        says=("maxParallelImagePulls -1 must be a positive number",),
    ),
    Death(  # NVIDIA/OpenShell#360, k3s 1.35
        cause="cgroup-v1",
        log='time="2026-11-24T10:00:09Z" level=error msg="Shutdown request received: \\"kubelet exited: failed to '
        "validate kubelet "
        "configuration, error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is "
        "unsupported and "
        'will be removed in a future release, path: &TypeMeta{Kind:,APIVersion:,}\\""\n',
        says=("cgroup version 1", "fail-cgroupv1=false"),
        code=0,
    ),
    Death(  # k3d-io/k3d#505
        cause="cgroup-missing",
        log='time="2021-02-18T00:12:24.14Z" level=error msg="Failed to find memory cgroup, you may need to add '
        '\\"cgroup_memory=1 '
        'cgroup_enable=memory\\" to your linux cmdline (/boot/cmdline.txt on a Raspberry Pi)"\n'
        'time="2021-02-18T00:12:24.15Z" level=fatal msg="failed to find memory cgroup, you may need to add '
        '\\"cgroup_memory=1 '
        'cgroup_enable=memory\\" to your linux cmdline (/boot/cmdline.txt on a Raspberry Pi)"\n',
        says=("the cgroup controller memory", "cgroup_enable=memory"),
    ),
    Death(  # k3d-io/k3d#853
        cause="cgroup-missing",
        log='time="2021-11-12T06:53:31Z" level=fatal msg="failed to find memory cgroup (v2)"\n',
        says=("the cgroup controller memory",),
    ),
    Death(  # k3s-io/k3s#5080
        cause="cgroup-missing",
        log='time="2022-02-08T06:53:31Z" level=fatal msg="pids cgroup controller not found"\n',
        says=("the cgroup controller pids", "user@.service.d/delegate.conf"),
    ),
    Death(  # k3s-io/k3s#4085: the component's own lines tell it, and no last one does
        cause="cgroup-state",
        log='E0927 22:36:42.258178       1 kubelet.go:1423] "Failed to start ContainerManager" err="cannot enter '
        "cgroupv2 "
        '\\"/sys/fs/cgroup/kubepods\\" with domain controllers -- it is in an invalid state"\n',
        says=("K3D_FIX_CGROUPV2",),
    ),
    Death(  # kubermatic/kubermatic#7490
        cause="inotify-limit",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: failed to run Kubelet: inotify_init: too '
        'many open files"\n',
        says=("inotify", "fs.inotify.max_user_instances=512"),
    ),
    Death(  # the inotify watches are used up, and the disk is not full
        cause="inotify-limit",
        log="panic: inotify_add_watch /var/lib/rancher/k3s/agent/etc: no space left on device\n",
        says=("inotify",),
    ),
    Death(  # the kernel's ENOSPC, as Go tells it
        cause="disk-full",
        log='time="2026-11-24T10:00:01Z" level=fatal msg="starting kubernetes: preparing server: write '
        '/var/lib/rancher/k3s/server/tls/server-ca.crt: no space left on device"\n',
        says=("disk is full", "docker system prune"),
    ),
    Death(  # rancher/k3k#278, arsfeld/nixos#313
        cause="node-token",
        log='time="2026-11-24T10:00:01Z" level=fatal msg="starting kubernetes: preparing server: bootstrap data '
        "already found and "
        'encrypted with different token"\n',
        says=("token", "--recreate"),
    ),
    Death(  # k3s: pkg/clientaccess/token.go
        cause="node-token",
        log='time="2026-11-24T10:00:01Z" level=fatal msg="starting kubernetes: preparing server: failed to '
        "validate token: token CA "
        'hash does not match the Cluster CA certificate hash: a != b"\n',
        says=("token",),
    ),
    Death(  # k3s: pkg/server/handlers, pkg/agent/config
        cause="node-password",
        log='time="2026-11-24T10:00:01Z" level=error msg="Node password rejected, duplicate hostname or contents of '
        "'/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the "
        '--with-node-id flag"\n',
        says=("k3d-dev-agent-0.node-password.k3s",),
    ),
    Death(  # k3d-io/k3d#53
        cause="node-port",
        log="E0522 09:07:03.921885       1 server.go:677] Starting health server failed: listen tcp "
        "127.0.0.1:10248: bind: address "
        "already in use\nF0522 09:07:03.923644       1 server.go:149] listen tcp 0.0.0.0:10250: bind: address "
        "already in use\n"
        "goroutine 8180 [running]:\ngithub.com/rancher/k3s/vendor/k8s.io/klog.stacks(0xc0001d9b00)\n",
        says=("0.0.0.0:10250",),
    ),
    Death(  # k3s-io/k3s#3266
        cause="node-snapshotter",
        log='time="2021-05-04T10:00:01Z" level=error msg="Failed to retrieve agent config: \\"overlayfs\\" '
        "snapshotter cannot be "
        'enabled for \\"/var/lib/rancher/k3s/agent/containerd\\", try using \\"fuse-overlayfs\\" or \\"native\\": '
        "failed to mount "
        'overlay: invalid argument"\n',
        says=("overlayfs", "failed to mount overlay: invalid argument", "snapshotter=native"),
    ),
    Death(  # k3s-io/k3s#12673, 1.33: it goes on waiting
        cause="node-snapshotter",
        log='time="2025-07-28T10:00:01Z" level=info msg="Waiting to retrieve agent configuration; server is not ready: '
        '\\"overlayfs\\" snapshotter cannot be enabled for \\"/var/lib/rancher/k3s/agent/containerd\\", try using '
        '\\"fuse-overlayfs\\" or \\"native\\": failed to mount overlay: operation not permitted"\n',
        says=("overlayfs", "operation not permitted"),
    ),
    Death(  # NVIDIA/OpenShell#457, dajudge/kindcontainer#366
        cause="node-kmsg",
        log='E0318 21:59:40.848321  117 kubelet.go:568] "Failed to create an oomWatcher (running in UserNS, Hint: '
        "enable "
        'KubeletInUserNamespace feature flag to ignore the error)" err="open /dev/kmsg: operation not permitted"\n'
        "Error: failed to run Kubelet: failed to create kubelet: open /dev/kmsg: operation not permitted\n"
        'time="2025-02-27T13:43:30Z" level=error msg="kubelet exited: failed to run Kubelet: failed to create '
        "kubelet: open "
        '/dev/kmsg: operation not permitted"\n',
        says=("/dev/kmsg", "KubeletInUserNamespace=true"),
    ),
    Death(  # k3d-io/k3d#612, kubernetes/minikube#11418
        cause="node-conntrack",
        log="I0519 23:21:19.511490       7 conntrack.go:100] Set sysctl 'net/netfilter/nf_conntrack_max' to 524288\n"
        "F0519 23:21:19.512       7 server.go:495] open /proc/sys/net/netfilter/nf_conntrack_max: permission denied\n",
        says=("nf_conntrack_max", "conntrack-max-per-core=0"),
    ),
    Death(  # kubernetes: pkg/kubelet/cm/container_manager_linux.go
        cause="node-swap",
        log='time="2026-11-24T10:00:09Z" level=fatal msg="kubelet exited: failed to run Kubelet: running with swap '
        "on is not "
        'supported, please disable swap or set --fail-swap-on flag to false. /proc/swaps contained: [Filename]"\n',
        says=("swap", "fail-swap-on=false"),
    ),
    Death(  # Go: crypto/x509
        cause="clock",
        log='time="2020-01-01T00:00:01Z" level=fatal msg="starting kubernetes: preparing server: tls: failed to '
        "verify certificate: "
        "x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:01Z is before "
        '2026-11-24T09:59:59Z"\n',
        says=("2020-01-01", "date -u"),
    ),
    Death(
        cause="wrong-processor",
        log="exec /bin/k3d-entrypoint.sh: exec format error\n",
        says=("another processor", "K3S_IMAGE"),
        code=255,
    ),
    Death(  # k3s-io/k3s#7428
        cause="node-datastore",
        log='time="2023-05-05T04:16:13Z" level=fatal msg="starting kubernetes: preparing server: start managed '
        "database: joining "
        'etcd cluster: etcdserver: unhealthy cluster"\n',
        says=("etcdserver: unhealthy cluster",),
        hopeless=False,
    ),
    Death(  # k3s-io/k3s#11331
        cause="node-datastore",
        log='time="2024-11-16T20:35:38Z" level=fatal msg="etcd cluster join failed: cannot fetch cluster info from '
        "peer urls: could "
        'not retrieve cluster information from the given URLs"\n',
        says=("cannot fetch cluster info",),
        hopeless=False,
    ),
    Death(  # k3s: pkg/clientaccess/token.go
        cause="node-server",
        log='time="2026-11-24T10:00:01Z" level=fatal msg="starting kubernetes: preparing server: failed to get CA '
        "certs: Get "
        '\\"https://k3d-dev-server-0:6443/cacerts\\": dial tcp 172.18.0.2:6443: connect: connection refused"\n',
        says=("first server", "connection refused"),
        hopeless=False,
    ),
    Death(  # k3s: pkg/executor/embed/embed.go
        cause="node-slow",
        log='time="2026-11-24T10:00:01Z" level=fatal msg="Kubelet failed to wait for apiserver ready: timed out '
        "waiting for the "
        'condition"\n',
        says=("too slow", "K3D_AGENTS"),
        hopeless=False,
    ),
    Death(
        cause="node-memory",
        log=STARTED + 'time="2026-11-24T10:00:09Z" level=info msg="Running kube-apiserver --advertise-port=6443"\n',
        says=("memory", "docker inspect k3d-dev-agent-0", "K3D_MEMORY_LIMIT_SERVER"),
        hopeless=False,
        code=137,
    ),
]
