"""Why no node takes a pod, read from what the scheduler says (Kubernetes: `pkg/scheduler/framework`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tasks.core.units import GIB, quantity
from tasks.diagnose.diagnosis import clean, short
from tasks.diagnose.workloads import Item, Trouble, part, rows

_BODY = re.compile(r"nodes are available: (?P<reasons>.*?)(?:\.? preemption: .*)?$")
_SPLIT = re.compile(r", (?=\d+ )")
_MORE = "more memory (K3D_MEMORY_LIMIT_SERVER, K3D_MEMORY_LIMIT_AGENT), more agents (K3D_AGENTS), or smaller requests"


@dataclass(frozen=True, kw_only=True)
class _Reason:
    """One kind of refusal; the order of the table is that of their weight."""

    pattern: str
    cause: str
    what: str
    fix: str


_REASONS = (
    _Reason(
        pattern=r"persistentvolumeclaim \"(?P<name>[^\"]+)\" not found",
        cause="claim-missing",
        what="its volume claim '{name}' is not there",
        fix="see that the chart or a manifest makes the claim, in the pod's namespace",
    ),
    _Reason(
        pattern=r"unbound immediate PersistentVolumeClaims|didn't find available persistent volumes",
        cause="claim-pending",
        what="a volume that it claims is not there",
        fix="kubectl get pvc,events of its namespace; the claim's storage class must exist (local-path, …)",
    ),
    _Reason(
        pattern=r"volume node affinity conflict",
        cause="claim-elsewhere",
        what="its volume lies on a node that cannot take it",
        fix="delete the claim if its data may go: a local volume stays on the node where it was made",
    ),
    _Reason(
        pattern=r"disk-pressure",
        cause="disk-full",
        what="the nodes' disk is nearly full",
        fix="docker system df shows what the engine holds; docker system prune frees what nobody uses",
    ),
    _Reason(
        pattern=r"memory-pressure|Insufficient memory",
        cause="memory-short",
        what="no node has the memory that it asks for",
        fix=_MORE,
    ),
    _Reason(
        pattern=r"Insufficient cpu",
        cause="cpu-short",
        what="no node has the CPU that it asks for",
        fix="more agents (K3D_AGENTS), or smaller requests",
    ),
    _Reason(
        pattern=r"Insufficient (?P<name>[\w./-]+)",
        cause="resource-short",
        what="no node has the {name} that it asks for",
        fix="take that request out of the chart's values, or add a node that offers it",
    ),
    _Reason(
        pattern=r"Too many pods",
        cause="pods-full",
        what="the nodes take no more pods",
        fix="more agents (K3D_AGENTS), or maxPods in cluster.kubelet_config (110 by default)",
    ),
    _Reason(
        pattern=r"didn't have free ports",
        cause="host-port-taken",
        what="a port of the node that it asks for is taken",
        fix="two controllers want the same hostPort (80, 443): see ingress.controller, and what ServiceLB publishes",
    ),
    _Reason(
        pattern=r"didn't match Pod's node affinity/selector|didn't match node selector",
        cause="selector-unmet",
        what="no node has the labels that it asks for",
        fix="see nodeSelector and affinity in the chart's values; cluster.server_labels and .agent_labels are settings",
    ),
    _Reason(
        pattern=r"anti-affinity|topology spread constraints",
        cause="spread-unmet",
        what="it may not share a node with its like, and there are too few nodes",
        fix="more agents (K3D_AGENTS), fewer replicas, or no anti-affinity in the chart's values",
    ),
    _Reason(
        pattern=r"taint \{(?:node\.kubernetes\.io/(?:not-ready|unreachable|network-unavailable)"
        r"|node\.cloudprovider\.kubernetes\.io/uninitialized)",
        cause="nodes-unready",
        what="no node is ready yet",
        fix="it goes on when one is; if none becomes ready, `invoke health` and docker logs of the nodes tell why",
    ),
    _Reason(
        pattern=r"taint \{(?P<name>[^}]+)\}",
        cause="taint",
        what="it does not tolerate the taint {name}",
        fix="add a toleration to the chart's values, or take the taint off the node",
    ),
    _Reason(
        pattern=r"were unschedulable|node\.kubernetes\.io/unschedulable",
        cause="node-cordoned",
        what="its nodes are cordoned",
        fix="kubectl uncordon NODE",
    ),
    _Reason(
        pattern=r"no nodes available to schedule pods",
        cause="nodes-unready",
        what="there is no node yet",
        fix="it goes on when one registers; if none does, docker logs of the nodes tell why",
    ),
)


def scheduling_trouble(subject: str, message: str, pod: Item | None = None, nodes: Sequence[Item] = ()) -> Trouble:
    """Why a pod is not scheduled.

    Hopeless only where `nodes` are given, all that there will be, and the pod asks for more than any of
    them could give if it were empty: everything else changes with what else runs, and with nodes that join.
    """
    text = clean(message)
    asked = too_much(pod, nodes) if pod is not None and nodes else ""
    body = _BODY.search(short(text, 2000))
    counted = _SPLIT.split(body["reasons"]) if body is not None else [text]
    for known in _REASONS:
        for told in counted:
            match = re.search(known.pattern, told)
            if match is not None:
                return Trouble(
                    cause=known.cause,
                    what=f"{subject} cannot be scheduled: {known.what.format_map(match.groupdict())}",
                    why=asked or short(", ".join(counted)),
                    fix=known.fix,
                    hopeless=bool(asked),
                )
    return Trouble(
        cause="unschedulable",
        what=f"{subject} cannot be scheduled",
        why=short(text),
        fix="kubectl describe of the pod tells more",
    )


def too_much(pod: Item, nodes: Sequence[Item]) -> str:
    """What a pod asks for beyond the largest node; "" if one could take it."""
    for name in ("memory", "cpu"):
        wanted = _requested(pod, name)
        offered = [quantity(part(node, "status", "allocatable").get(name)) for node in nodes]
        largest = max((each for each in offered if each is not None), default=None)
        if largest is not None and wanted > largest:
            return f"it asks for {_shown(wanted, name)}, and the largest node has {_shown(largest, name)}"
    return ""


def _requested(pod: Item, name: str) -> Decimal:
    """The sum over its containers, or its largest init container (Kubernetes: `resource.PodRequests`)."""

    def request(container: Item) -> Decimal:
        return quantity(part(container, "resources", "requests").get(name)) or Decimal(0)

    spec = part(pod, "spec")
    together = sum((request(each) for each in rows(spec, "containers")), Decimal(0))
    return max([together, *(request(each) for each in rows(spec, "initContainers"))])


def _shown(amount: Decimal, name: str) -> str:
    return f"{amount / GIB:.2g} GiB of memory" if name == "memory" else f"{amount:.2g} CPUs"
