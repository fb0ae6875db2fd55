"""`cluster.args` parsed like k3s: one spelling of each argument, its value, and its nodes.

Arguments may be written with or without dashes, with `=`, a blank or a new item before the value, repeated, and
with k3d's node filters. Values derived from them (address ranges, the cluster's domain) are here, too, and the flags
of k3s itself: an unknown one makes the node exit.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.settings.node_filters import split

if TYPE_CHECKING:
    from tasks.settings.schema_parts import Cluster

SERVERS, EVERYWHERE = ("server:*",), ("server:*", "agent:*")
COMPONENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "apiserver": ("kube-apiserver-arg", SERVERS),
    "controller_manager": ("kube-controller-manager-arg", SERVERS),
    "cloud_controller_manager": ("kube-cloud-controller-manager-arg", SERVERS),
    "scheduler": ("kube-scheduler-arg", SERVERS),
    "kubelet": ("kubelet-arg", EVERYWHERE),
    "kube_proxy": ("kube-proxy-arg", EVERYWHERE),
}
"""By the part of `cluster.args`: the argument of k3s that passes on a component's own, and the nodes that have it."""
POD_RANGE, SERVICE_RANGE, DOMAIN = "10.42.0.0/16", "10.43.0.0/16", "cluster.local"
"""k3s's defaults of `cluster-cidr`, `service-cidr` and `cluster-domain` (docs: k3s server, networking)."""
NODE_PREFIX = {4: 24, 6: 64}
"""Kubernetes' default size of a node's part of the pods' range (kube-controller-manager: node-cidr-mask-size)."""
NO_CGROUP_V1, FAIL_CGROUP_V1 = 35, "fail-cgroupv1"
"""From Kubernetes 1.35 on the kubelet rejects cgroup v1 unless this argument is false (KEP-5573). The argument is known
from 1.31 on (KEP-4569)."""
_CONFIG = "/etc/rancher/k3s/config.yaml"
_OF_ONE_NODE = frozenset({"config", "node-name", "server"})
"""Also known to agents, but no value fits servers and agents alike: without a filter they go to servers."""
_RANGES = frozenset({"cluster-cidr", "service-cidr"})
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)
_SEVERAL = re.compile(r"\s--?[a-zA-Z]")
_ARGUMENT = re.compile(r"-*([^\s=-][^\s=]*)(?:(?:=|\s+)(.*))?", re.DOTALL)

_SERVER = """
    advertise-address advertise-port# agent-token agent-token-file bind-address cluster-cidr cluster-dns
    cluster-domain cluster-init? cluster-reset-restore-path cluster-reset? datastore-cafile datastore-certfile
    datastore-endpoint datastore-keyfile default-local-storage-path disable disable-apiserver?
    disable-cloud-controller? disable-controller-manager? disable-etcd? disable-helm-controller? disable-kube-proxy?
    disable-network-policy? disable-scheduler? egress-selector-mode embedded-registry? enable-pprof? etcd-arg
    etcd-disable-snapshots? etcd-expose-metrics? etcd-s3-access-key etcd-s3-bucket etcd-s3-bucket-lookup-type
    etcd-s3-config-secret etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-folder etcd-s3-insecure? etcd-s3-proxy
    etcd-s3-region etcd-s3-retention# etcd-s3-secret-key etcd-s3-session-token etcd-s3-skip-ssl-verify?
    etcd-s3-timeout etcd-s3? etcd-snapshot-compress? etcd-snapshot-dir etcd-snapshot-name
    etcd-snapshot-reconcile-interval etcd-snapshot-retention# etcd-snapshot-schedule-cron flannel-backend
    flannel-external-ip? flannel-ipv6-masq? helm-job-image https-listen-port# kine-tls? kube-apiserver-arg
    kube-cloud-controller-arg kube-cloud-controller-manager-arg kube-controller-arg kube-controller-manager-arg
    kube-scheduler-arg secrets-encryption-provider secrets-encryption? service-cidr service-node-port-range
    servicelb-namespace supervisor-metrics? supervisor-port# system-default-registry tls-san tls-san-security?
    write-kubeconfig write-kubeconfig-group write-kubeconfig-mode
"""
"""Flags of servers (k3s 1.33: `pkg/cli/cmds/server.go`). A suffix shows the value: `#` a whole number, `?` none;
others take any text."""
_BOTH = """
    airgap-extra-registry alsologtostderr? cluster-secret config container-runtime-endpoint data-dir debug?
    default-runtime disable-default-registry-endpoint? disable-selinux? docker? flannel-cni-conf flannel-conf
    flannel-iface image-credential-provider-bin-dir image-credential-provider-config image-service-endpoint
    kube-proxy-arg kubelet-arg lb-server-port# log no-flannel? node-external-dns node-external-ip node-internal-dns
    node-ip node-label node-name node-taint nonroot-devices? pause-image prefer-bundled-bin? private-registry
    protect-kernel-defaults? resolv-conf rootless? selinux? server snapshotter token token-file v vmodule vpn-auth
    vpn-auth-file with-node-id?
"""
"""Flags of agents, too (k3s 1.33: `pkg/cli/cmds/agent.go`)."""
SHORT = {
    "c": "config",
    "d": "data-dir",
    "i": "node-ip",
    "l": "log",
    "o": "write-kubeconfig",
    "s": "server",
    "t": "token",
}
"""Their short names."""


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of k3s or of a component."""

    name: str
    """Without dashes; the long name if there are two."""
    value: str | None
    """None: without a value."""
    filters: tuple[str, ...] = ()
    """k3d's node filters; empty: the default nodes."""

    @property
    def text(self) -> str:
        """`name=value`, without dashes."""
        return self.name if self.value is None else f"{self.name}={self.value}"


def parsed(part: str, texts: Sequence[str]) -> Iterator[Argument]:
    """The arguments of one part of `cluster.args`. A value may be the next item, as on a command line."""
    known = flags("server") if part == "k3s" else {}
    rest = list(texts)
    while rest:
        text, filters = split(rest.pop(0))
        match = _ARGUMENT.fullmatch(text.strip())
        if match is None:  # nothing but dashes
            continue
        name, value = match[1], match[2]
        name = SHORT.get(name, name) if part == "k3s" else name
        if value is None and rest and _takes_next(text, known.get(name), rest[0]):
            value, more = split(rest.pop(0))
            filters = filters or more
        if value is not None and (quoted := _QUOTED.fullmatch(value)):  # as a shell would remove them
            value = quoted[2]
        yield Argument(name=name, value=value, filters=filters)


def flags(role: str) -> dict[str, str]:
    """Names of `k3s server` or `k3s agent` flags, each with its suffix."""
    words = f"{_BOTH} {_SERVER if role == 'server' else ''}".split()
    return {word.rstrip("#?"): word[-1] if word[-1] in "#?" else "" for word in words}


def _takes_next(text: str, sign: str | None, following: str) -> bool:
    """Whether a flag's value is the next item; `sign`: the suffix of a known flag, `?` none."""
    if following.startswith("-"):
        return False
    return text.startswith("-") if sign is None else sign != "?"


@lru_cache(maxsize=64)
def _all(part: str, texts: tuple[str, ...]) -> tuple[Argument, ...]:
    return tuple(parsed(part, texts))


def arguments_of(cluster: Cluster, part: str) -> tuple[Argument, ...]:
    """The arguments of `k3s`, or of a component: includes those in k3s's own `kubelet-arg=…` and the like."""
    if part == "k3s":
        return _all("k3s", cluster.args.k3s)
    return (*handed_on(cluster, part), *_all(part, getattr(cluster.args, part)))


def handed_on(cluster: Cluster, part: str) -> Iterator[Argument]:
    """Arguments of a component within `cluster.args.k3s`."""
    for each in arguments_of(cluster, "k3s"):
        if each.name == COMPONENTS[part][0] and each.value:
            yield from (
                Argument(name=one.name, value=one.value, filters=each.filters) for one in parsed("", (each.value,))
            )


def _in_force(cluster: Cluster, part: str) -> Iterator[Argument]:
    """Including those of a configuration file, which k3s reads before its arguments."""
    if part == "k3s":
        yield from _of_file(cluster)
    yield from arguments_of(cluster, part)


def _of_file(cluster: Cluster) -> Iterator[Argument]:
    """Arguments in k3s's configuration file, if that is a file of this machine mounted into nodes.

    An unreadable one is left for k3s to report (k3s: `pkg/configfilearg`; docs: configuration file).
    """
    from tasks.core import yaml

    given = [each.value for each in arguments_of(cluster, "k3s") if each.name == "config" and each.value]
    variables = dict(split(text).value.partition("=")[::2] for text in cluster.env)
    path = variables.get("K3S_CONFIG_FILE") or (given[-1] if given else _CONFIG)
    for text in cluster.volumes:
        source, _, rest = split(text).value.partition(":")
        target = rest.partition(":")[0].rstrip("/")
        if not source.startswith("/") or not (target and f"{path}/".startswith(f"{target}/")):
            continue
        try:
            found = yaml.load(Path(source + path[len(target) :]).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YamlError):
            continue
        for name, value in found.items() if isinstance(found, dict) else ():
            for each in value if isinstance(value, list) else [value]:
                yield Argument(name=SHORT.get(str(name), str(name)), value=str(each))


def value_of(cluster: Cluster, part: str, name: str) -> str | None:
    """An argument's value, the last one if it is repeated; None: not given, "" without a value."""
    given = [each.value or "" for each in _in_force(cluster, part) if each.name == name]
    return given[-1] if given else None


def values_of(cluster: Cluster, name: str) -> tuple[str, ...]:
    """All values of a list argument of k3s: repeated, or separated by commas (dual-stack ranges)."""
    given = (each.value or "" for each in _in_force(cluster, "k3s") if each.name == name)
    return tuple(part.strip() for text in given for part in text.split(",") if part.strip())


def allows_cgroup_v1(cluster: Cluster) -> bool | None:
    """Whether kubelets are configured to run on cgroup v1, or not to; None: not configured."""
    given = value_of(cluster, "kubelet", FAIL_CGROUP_V1)
    if given is not None:
        return given.lower() in ("false", "f", "0")
    field = cluster.kubelet_config.get("failCgroupV1")
    return None if field is None else field is False


def pod_ranges(cluster: Cluster) -> tuple[str, ...]:
    """Ranges of the pods' addresses."""
    return values_of(cluster, "cluster-cidr") or (POD_RANGE,)


def service_ranges(cluster: Cluster) -> tuple[str, ...]:
    """Ranges of the Services' addresses."""
    return values_of(cluster, "service-cidr") or (SERVICE_RANGE,)


def node_prefix(cluster: Cluster, version: int) -> int:
    """The prefix length of a node's part of the pods' range, for IPv4 or IPv6."""
    names = ("node-cidr-mask-size", f"node-cidr-mask-size-ipv{version}")
    given = [value_of(cluster, "controller_manager", name) for name in names]
    sizes = [int(text) for text in given if text is not None and text.isdigit()]
    return sizes[-1] if sizes else NODE_PREFIX[version]


def dns_addresses(cluster: Cluster) -> tuple[str, ...]:
    """Addresses of the cluster's DNS service: configured, else the tenth of each range of Services, as in k3s.

    Raises ValueError for an invalid range, or one without a tenth address.
    """
    given = values_of(cluster, "cluster-dns")
    try:
        return given or tuple(str(ipaddress.ip_network(text, strict=False)[10]) for text in service_ranges(cluster))
    except IndexError:
        raise ValueError("it has no tenth address") from None


def domain(cluster: Cluster) -> str:
    """The domain of the cluster's Services."""
    return value_of(cluster, "k3s", "cluster-domain") or DOMAIN


def disabled(cluster: Cluster) -> frozenset[str]:
    """Disabled components of k3s."""
    return frozenset(values_of(cluster, "disable"))


def where(part: str, argument: Argument) -> tuple[str, ...]:
    """The node filters of an argument for k3d: agents never get one that makes them exit.

    Agents get arguments that both know; unknown ones go to servers. Empty: a server-only argument was given to agents.
    """
    name = argument.name if part == "k3s" else COMPONENTS[part][0]
    both, server = flags("agent"), flags("server")
    if not argument.filters:
        return EVERYWHERE if name in both and name not in _OF_ONE_NODE else SERVERS
    nodes = [each for text in argument.filters for each in (EVERYWHERE if text.startswith("all") else (text,))]
    if name in server and name not in both:
        nodes = [text for text in nodes if not text.startswith("agent")]
    return tuple(dict.fromkeys(nodes))


def faults(part: str, texts: Sequence[str]) -> Iterator[str]:
    """Faults that make k3s exit, without values that may be secret."""
    for each in parsed(part, texts):
        if not where(part, each):
            yield f"gives {each.name} to agents only: {';'.join(each.filters)}"
        elif part == "k3s" and each.value is None and flags("server").get(each.name, "?") != "?":
            yield f"gives {each.name} no value"
        elif _SEVERAL.search(each.value or ""):
            yield f"has more than one argument in the item that starts with {each.name}: each is an item of its own"
        elif part == "k3s" and each.name in _RANGES:
            yield from (f"gives {each.name} {text}, which is not a network" for text in _no_networks(each.value or ""))


def _no_networks(value: str) -> Iterator[str]:
    for text in filter(None, map(str.strip, value.split(","))):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield f"'{text[:40]}'"
