"""Causes that the Docker engine tells, in its own words."""

from __future__ import annotations

import pytest

from tests.causes.told import Case, check, told

_ENDPOINT = (
    "failed to set up container networking: driver failed programming external connectivity on endpoint x (0a1b)"
)

CASES = [
    Case(  # docker 28.2.2, run without an engine
        program="docker",
        cause="engine-absent",
        text="Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
        says=("at unix:///var/run/docker.sock", "make rehearse"),
    ),
    Case(  # docker/cli 29.7: vendor/github.com/moby/moby/client/request.go
        program="docker",
        cause="engine-absent",
        text="failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if "
        "the daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory",
        says=("unix:///var/run/docker.sock",),
    ),
    Case(  # docker 20.10 to 28: client/request.go
        program="docker",
        cause="engine-denied",
        text="permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
        'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.47/containers/json": dial unix /var/run/docker.sock: connect: '
        "permission denied",
        says=("unix:///var/run/docker.sock:", "usermod -aG docker"),
    ),
    Case(  # docker/cli 29.7: vendor/github.com/moby/moby/client/request.go
        program="docker",
        cause="engine-denied",
        text="permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
        says=("unix:///var/run/docker.sock",),
    ),
    Case(  # Docker 29: daemon/server/middleware/version.go
        program="k3d",
        cause="engine-version",
        text="FATA[0000] docker failed to list: Error response from daemon: client version 1.41 is too old. Minimum "
        "supported API version is 1.44, please upgrade your client to a newer version",
        says=("1.41", "too old", "Minimum supported API version is 1.44"),
    ),
    Case(  # moby 28.5: libnetwork/portallocator
        program="docker",
        cause="port-taken",
        text=f"docker: Error response from daemon: {_ENDPOINT}: Bind for 127.0.0.1:5050 failed: port is already "
        "allocated.\n\nRun 'docker run --help' for more information",
        says=("port 5050", "registries.port"),
    ),
    Case(  # moby 29: daemon/libnetwork/portallocator/osallocator_linux.go
        program="docker",
        cause="port-taken",
        text=f"Error response from daemon: {_ENDPOINT}: failed to bind host port 127.0.0.1:5051/tcp: address already "
        "in use",
        says=("port 5051",),
    ),
    Case(  # moby 28.0
        program="docker",
        cause="port-taken",
        text=f"Error response from daemon: {_ENDPOINT}: failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp: "
        "address already in use",
        says=("port 80",),
    ),
    Case(  # docker 20.10 to 27, with the userland proxy
        program="docker",
        cause="port-taken",
        text="Error response from daemon: driver failed programming external connectivity on endpoint x (0a1b): Error "
        "starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
        says=("port 8080",),
    ),
    Case(  # docker/model-runner#596, Docker Desktop for Mac
        program="docker",
        cause="port-taken",
        text="Error response from daemon: ports are not available: exposing port TCP 127.0.0.1:12434 -> 127.0.0.1:0: "
        "listen tcp4 127.0.0.1:12434: bind: address already in use",
        says=("port 12434",),
    ),
    Case(  # docker/for-win#14712
        program="docker",
        cause="port-taken",
        text="Error response from daemon: Ports are not available: exposing port TCP 0.0.0.0:61616 -> 127.0.0.1:0: "
        "listen tcp 0.0.0.0:61616: bind: An attempt was made to access a socket in a way forbidden by its access "
        "permissions.",
        says=("port 61616",),
    ),
    Case(  # k3d-io/k3d#248
        program="k3d",
        cause="port-taken",
        text="\x1b[36mINFO\x1b[0m[0001] Creating LoadBalancer 'k3d-tester-masterlb'\n"
        "\x1b[31mERRO\x1b[0m[0001] Error response from daemon: driver failed programming external connectivity on "
        "endpoint k3d-tester-masterlb (16357f): Bind for 0.0.0.0:54321 failed: port is already allocated\n"
        "\x1b[31mERRO\x1b[0m[0001] Failed to create cluster >>> Rolling Back\n"
        "\x1b[31mFATA\x1b[0m[0002] Cluster creation FAILED, all changes have been rolled back!\n",
        says=("port 54321", "cluster.ports.http"),
    ),
    Case(  # evertramos/nginx-proxy-automation#257, rootless Docker
        program="k3d",
        cause="port-privileged",
        text="Error starting userland proxy: error while calling PortManager.AddPort(): cannot expose privileged port "
        "443, you can add 'net.ipv4.ip_unprivileged_port_start=443' to /etc/sysctl.conf (currently 1024), or set "
        "CAP_NET_BIND_SERVICE on rootlesskit binary, or choose a larger port number (>= 1024): listen tcp4 "
        "127.0.0.1:443: bind: permission denied",
        says=("port 443", "cluster.ports.https=8443"),
    ),
    Case(  # k3d-io/k3d#550: an address of the network, no port
        program="k3d",
        cause="address-clash",
        text="ERRO[0020] Failed Cluster Start: Failed to start server k3d-test25-server-1: Error response from daemon: "
        "Address already in use",
        says=("cluster.subnet",),
        transient=True,
    ),
    Case(  # concourse/concourse#2155
        program="k3d",
        cause="address-pool",
        text="failed to create cluster network: docker failed to create new network 'k3d-a': Error response from "
        "daemon: "
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
        says=("docker network prune",),
    ),
    Case(  # moby 28.5: libnetwork/ipamapi/contract.go
        program="k3d",
        cause="address-pool",
        text="Error response from daemon: all predefined address pools have been fully subnetted",
    ),
    Case(  # docker 27, on a full disk
        program="docker",
        cause="disk-full",
        text="failed to register layer: write /usr/lib/libLLVM-15.so.1: no space left on device",
        says=("docker system prune", "libLLVM"),
    ),
    Case(  # moby: daemon/errors.go
        program="docker",
        cause="name-taken",
        text='docker: Error response from daemon: Conflict. The container name "/k3d-openframe-registry" is already in '
        'use by container "d5e0f5f6a2c1b7e1c6aa0f7b3f1f6f27d1b1d1a5f4ef1d6f1b8ac1d0a7e2c3b4". You have to remove (or '
        "rename) that container to be able to reuse that name.",
        says=("k3d-openframe-registry", "docker rm -f d5e0f5f6a2c1"),
    ),
    Case(  # k3d-io/k3d#1039
        program="k3d",
        cause="mount-kind",
        text="ERRO[0003] Failed Cluster Creation: failed setup of server/agent node k3d-tm-server-0: failed to create "
        "node: runtime failed to create node 'k3d-tm-server-0': failed to create container for node "
        "'k3d-tm-server-0': docker failed to create container 'k3d-tm-server-0': Error response from daemon: not a "
        "directory",
        says=("K3D_RESOURCE_OPTIMIZATION=false",),
    ),
    Case(  # k3d-io/k3d#1087
        program="k3d",
        cause="mount-kind",
        text="Error response from daemon: OCI runtime create failed: container_linux.go:370: starting container "
        "process "
        'caused: rootfs_linux.go:59: mounting "/root/.k3d/.k3d-a-server-0/meminfo" to rootfs at "/proc/meminfo" '
        "caused: not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if "
        "the specified host path exists and is the expected type",
    ),
    Case(  # Docker Desktop for Mac
        program="docker",
        cause="mount-denied",
        text="docker: Error response from daemon: Mounts denied: \nThe path /srv/data is not shared from the host "
        "and is "
        "not known to Docker.\nYou can configure shared paths from Docker -> Preferences... -> Resources -> File "
        "Sharing.",
        says=("File sharing",),
    ),
    Case(  # moby: volume/mounts/validate.go
        program="k3d",
        cause="mount-denied",
        text='Error response from daemon: invalid mount config for type "bind": bind source path does not exist: '
        "/srv/x",
        says=("/srv/x",),
    ),
    Case(  # moby/moby#23154
        program="docker",
        cause="firewall-reset",
        text="docker: Error response from daemon: driver failed programming external connectivity on endpoint x "
        "(ca69): "
        "iptables failed: iptables --wait -t nat -A DOCKER -p tcp -d 0/0 --dport 8080 -j DNAT --to-destination "
        "172.17.0.2:8080 ! -i docker0: iptables: No chain/target/match by that name.\n (exit status 1).",
        says=("systemctl restart docker",),
    ),
    Case(  # runc 1.2 under docker 27
        program="docker",
        cause="runtime-failed",
        text="docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI "
        "runtime create failed: runc create failed: unable to start container process: unable to apply cgroup "
        "configuration: mkdir /sys/fs/cgroup/docker/0a: read-only file system",
        says=("read-only file system",),
    ),
    Case(
        program="docker",
        cause="inotify-limit",
        text="Error response from daemon: failed to create fsnotify watcher: too many open files",
        says=("fs.inotify.max_user_instances=512",),
    ),
    Case(
        program="docker",
        cause="engine-cancelled",
        text="Error response from daemon: context canceled",
        transient=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_engine_says(case: Case) -> None:
    check(case)


def test_the_port_is_told_to_who_asks() -> None:
    error = told("k3d", "Bind for 0.0.0.0:8080 failed: port is already allocated")
    assert dict(error.details) == {"port": "8080"}


def test_a_port_inside_a_node_is_no_port_of_the_host() -> None:
    error = told(
        "k3d",
        "WARN[0022] warning: encountered fatal log from node k3d-a-server-0 (retrying 0/10): level=fatal "
        'msg="listen tcp 0.0.0.0:10250: bind: address already in use"',
    )
    assert error.cause == "node-port"
