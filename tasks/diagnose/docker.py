"""Causes that the Docker engine tells: k3d hands them on in its own words."""

from __future__ import annotations

from tasks.diagnose.diagnosis import Cause

_BOTH = ("docker", "k3d")

CAUSES = (
    Cause(
        id="engine-denied",
        programs=_BOTH,
        patterns=(
            (
                r"permission denied while trying to connect to the [Dd]ocker (?:daemon socket|API) at "
                r"(?P<where>\S+?)[:.]?(?=\s|$)"
            ),
            r"dial unix (?P<where>\S+): connect: permission denied",
        ),
        what="you may not use the Docker engine at {where}",
        why="its socket belongs to root and to the group docker, and your user is not in it",
        fix="sudo usermod -aG docker $USER, then log in again; or use rootless Docker",
    ),
    Cause(
        id="engine-absent",
        programs=_BOTH,
        patterns=(
            r"Cannot connect to the Docker daemon at (?P<where>\S+?)\. Is the docker daemon running",
            r"failed to connect to the docker API at (?P<where>[^;\s]+)",
            r"error during connect: .*docker_engine",
            r"Cannot connect to the Docker daemon",
        ),
        what="no Docker engine answers at {where}",
        why="it is not running, or DOCKER_HOST (or the current docker context) points elsewhere",
        fix="start Docker, then `invoke doctor`; without Docker, `make rehearse` shows the launch",
        otherwise={"where": "the address where it is looked for"},
    ),
    Cause(
        id="engine-version",
        programs=_BOTH,
        patterns=(
            (
                r"client version (?P<version>\S+) is too (?P<which>old|new)\. "
                r"(?P<limit>M\w+ supported API version is [\d.]+\d)"
            ),
        ),
        what="this program and the Docker engine speak different versions of its API",
        why="the program speaks {version}, which is too {which}: {limit}",
        fix="update the older one of the two; unset DOCKER_API_VERSION if it is set",
    ),
    Cause(
        id="port-privileged",
        programs=_BOTH,
        patterns=(
            r"cannot expose (?:privileged )?port (?P<port>\d+)",
            r"listen (?:tcp|udp)[46]? \S*?:(?P<port>\d+): bind: permission denied",
        ),
        what="this engine may not publish port {port}",
        why="a rootless engine has no right to ports below net.ipv4.ip_unprivileged_port_start",
        fix="choose ports from 1024 on (--set cluster.ports.http=8080 --set cluster.ports.https=8443), "
        "or: sudo sysctl net.ipv4.ip_unprivileged_port_start=80",
    ),
    Cause(
        id="port-taken",
        programs=_BOTH,
        patterns=(
            r"Bind for \S+?:(?P<port>\d+) failed: port is already allocated",
            r"[Pp]orts are not available: .*?listen (?:tcp|udp)[46]? \S*?:(?P<port>\d+): bind",
            r"[Pp]orts are not available: exposing port (?:TCP|UDP) \S*?:(?P<port>\d+) ",
            r"failed to bind host port (?:for )?\S*?:(?P<port>\d+)[:/].*address already in use",
            (
                r"^(?!.*level=fatal).*listen (?:tcp|udp)[46]? \S*?:(?P<port>\d+): bind: "
                r"(?:address already in use|Only one usage of each socket)"
            ),
            r"port is already allocated",
            r"[Pp]orts are not available",
            r"failed to (?:bind|listen on) .*address already in use",
        ),
        what="port {port} is taken",
        why="another container or another program of this machine listens there",
        fix="docker ps shows the containers with their ports, `ss -ltnp` the programs; stop that one, or choose "
        "another port (cluster.ports.http, .https, .api, registries.port)",
        otherwise={"port": "that was wished"},
    ),
    Cause(
        id="address-clash",
        programs=_BOTH,
        patterns=(r"Error response from daemon: Address already in use",),
        what="an address in the cluster's network is in use already",
        why="the engine gave it to another container while the cluster was made (k3d#550)",
        fix="try again; cluster.subnet gives the cluster a network of its own",
        transient=True,
    ),
    Cause(
        id="address-pool",
        programs=_BOTH,
        patterns=(
            r"could not find an available, non-overlapping IPv4 address pool",
            r"all predefined address pools have been fully subnetted",
        ),
        what="the engine has no address range left for another network",
        why="each cluster has a network of its own; old ones, or a VPN's routes, hold all the ranges",
        fix="docker network prune removes networks that nobody uses; leave the VPN; or set cluster.subnet",
    ),
    Cause(
        id="inotify-limit",
        programs=_BOTH,
        patterns=(r"(?:inotify|fsnotify).*(?:too many open files|no space left on device)",),
        what="the engine's machine has no inotify instance left",
        why="every node needs several, and fs.inotify.max_user_instances is 128 by default (k3d#968)",
        fix="sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288; "
        "`invoke doctor --fix` does that",
    ),
    Cause(
        id="disk-full",
        programs=(),
        patterns=(
            r"no space left on device",
            r"[Dd]isk quota exceeded",
            r"not enough (?:free )?(?:disk )?space",
            r"There is not enough space on the disk",
        ),
        what="the disk is full",
        why="{line}",
        fix="docker system df shows what the engine holds; docker system prune frees what nobody uses "
        "(caches of images: invoke registry --purge)",
    ),
    Cause(
        id="name-taken",
        programs=_BOTH,
        patterns=(
            r'Conflict\. The container name "/?(?P<name>[^"]+)" is already in use by container "(?P<id>[0-9a-f]{12})',
        ),
        what="there is a container '{name}' already",
        why="it is {id}, left from an earlier run or made by another one just now",
        fix="docker ps -a --filter id={id} shows it; if nobody needs it: docker rm -f {id}",
    ),
    Cause(
        id="mount-kind",
        programs=_BOTH,
        patterns=(
            r"Are you trying to mount a directory onto a file",
            r"docker failed to create container .*: Error response from daemon: not a directory",
        ),
        what="the engine cannot mount a file of this machine into a node",
        why="it does not see that path as this machine does; with memory limits k3d mounts a /proc/meminfo of its "
        "own (k3d#1039, #1087)",
        fix="share the folder with the engine (Docker Desktop: Settings, Resources, File sharing), "
        "or launch without limits: K3D_RESOURCE_OPTIMIZATION=false",
    ),
    Cause(
        id="mount-denied",
        programs=_BOTH,
        patterns=(
            r"[Mm]ounts denied",
            r"path (?P<path>\S+) is not shared from the host",
            r"invalid mount config for type \"bind\": bind source path does not exist: (?P<path>\S+)",
        ),
        what="the engine does not see {path}",
        why="it runs in another machine (Docker Desktop, Colima, a remote DOCKER_HOST), and that path is not there",
        fix="share the folder with the engine (Docker Desktop: Settings, Resources, File sharing); see cluster.volumes",
        otherwise={"path": "a path that is to be mounted"},
    ),
    Cause(
        id="firewall-reset",
        programs=_BOTH,
        patterns=(r"iptables.*No chain/target/match by that name",),
        what="the engine's firewall rules are gone",
        why="a firewall (firewalld, ufw) was started or reloaded after Docker and has dropped them",
        fix="restart Docker: sudo systemctl restart docker",
    ),
    Cause(
        id="runtime-failed",
        programs=_BOTH,
        patterns=(
            r"OCI runtime create failed: (?P<reason>.+)",
            r"failed to create (?:shim )?task(?: for container)?: (?P<reason>.+)",
        ),
        what="the engine cannot start the container",
        why="{reason}",
        fix="`invoke doctor` checks the engine and its machine; docker info tells the engine's own warnings",
    ),
    Cause(
        id="engine-cancelled",
        programs=_BOTH,
        patterns=(
            r"Error response from daemon: (?:.*: )?context cancell?ed",
            r"Error response from daemon: .*(?:shutting down|server closed)",
        ),
        what="the engine gave the request up",
        why="it is being restarted, or the command was ended from outside",
        fix="see that Docker runs, and try again",
        transient=True,
    ),
)
