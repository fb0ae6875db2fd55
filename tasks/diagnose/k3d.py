"""Causes that k3d tells itself (k3d 5.9: `cmd/`, `pkg/config`, `pkg/client`)."""

from __future__ import annotations

from tasks.diagnose.diagnosis import Cause

_K3D = ("k3d",)

CAUSES = (
    Cause(
        id="cluster-exists",
        programs=_K3D,
        patterns=(r"Failed to create cluster '(?P<cluster>[^']+)' because a cluster with that name already exists",),
        what="there is a cluster '{cluster}' already",
        why="it was made since this launch looked, or by something else",
        fix="run `invoke up` again: it goes on with a cluster of its own, and refuses another's; "
        "or choose another CLUSTER_NAME",
    ),
    Cause(
        id="k3d-schema",
        programs=_K3D,
        patterns=(
            r"Schema Validation failed for config file \S+: (?:- )?(?P<reason>.+)",
            r"Cannot validate config file \S+: (?P<reason>.+)",
            r"Failed to read config file \S+: (?P<reason>.+)",
        ),
        what="k3d does not accept the generated configuration",
        why="{reason}",
        fix="a setting under cluster.* that is handed on as it is (ports.extra, volumes, env, args) is the likely one; "
        "else this k3d is not of version 5.9: `make tools` fetches the pinned one",
    ),
    Cause(
        id="node-filter",
        programs=_K3D,
        patterns=(
            r"invalid flag '(?P<value>[^']+)'.*node filter",
            r"Failed to parse node (?:filters?|specifiers)[^:]*: .*'(?P<value>[^']+)'",
            r"[Nn]ode filter '(?P<value>[^']+)' targets a node that does not exist",
            r"(?:failed to filter nodes|error filtering nodes?).*'(?P<value>[^']+)'",
            r"Index out of range: .*in filter '(?P<value>[^']+)'",
        ),
        what="k3d does not know which nodes '{value}' means",
        why="{line}",
        fix="a filter is written @server:*, @agent:0 or @all:*, and must name nodes that the cluster will have "
        "(cluster.servers, cluster.agents)",
    ),
    Cause(
        id="port-mapping",
        programs=_K3D,
        patterns=(
            r"error parsing port spec '(?P<value>[^']+)': (?P<reason>.+)",
            r"cannot apply a direct port-mapping \((?P<value>[^)]+)\) to more than one node(?P<reason>)",
            r"port-mapping of type 'proxy' specified, but (?P<reason>loadbalancer is disabled)",
            r"Same Portmapping can not be used for (?P<reason>multiple nodes)",
            r"[Ii]nvalid (?:port-?mapping|hostPort|containerPort|port)[^:]*: (?P<reason>.+)",
        ),
        what="a port of the cluster is not written as k3d reads it",
        why="{line}",
        fix="correct cluster.ports.extra: HOST:CONTAINER@server:0:direct, or @loadbalancer where there is one",
    ),
    Cause(
        id="volume-mount",
        programs=_K3D,
        patterns=(
            r"failed to validate volume mount '(?P<value>[^']+)': (?P<reason>.+)",
            r"invalid volume mount '(?P<value>[^']+)': (?P<reason>.+)",
        ),
        what="k3d cannot mount '{value}'",
        why="{reason}",
        fix="correct cluster.volumes: SOURCE:/absolute/destination@FILTER, where SOURCE exists",
    ),
    Cause(
        id="cluster-name",
        programs=_K3D,
        patterns=(r"provided cluster name '(?P<cluster>[^']*)' does not match requirements: (?P<reason>.+)",),
        what="'{cluster}' cannot be a cluster's name",
        why="{reason}",
        fix="choose another CLUSTER_NAME: lower case, digits and dashes, at most 32 characters",
    ),
    Cause(
        id="registry-missing",
        programs=_K3D,
        patterns=(r"Failed to find registry node '?(?P<registry>[^':\s]+)",),
        what="there is no registry {registry} that the cluster is to use",
        why="it was removed since this launch looked",
        fix="`invoke registry` makes it; then `invoke up` again",
    ),
    Cause(
        id="cluster-missing",
        programs=_K3D,
        patterns=(r"No nodes found for given cluster", r"Failed to find specified cluster '(?P<cluster>[^']+)'"),
        what="k3d finds no cluster of that name",
        why="its nodes were removed since this launch looked",
        fix="`invoke up` makes it again",
    ),
)

TIMEOUTS = (
    Cause(
        id="node-timeout",
        programs=_K3D,
        patterns=(
            r"waiting for log message '(?P<message>[^']+)' of node (?P<node>[\w.-]+)",
            r"Node (?P<node>[\w.-]+) failed to get ready",
            r"error waiting for log line `(?P<message>[^`]+)` from node '(?P<node>[^']+)'",
        ),
        what="the node {node} was not ready in time",
        why="k3d waits for a line in the node's log, and does not tell why it never came",
        fix="docker logs {node} tells; on a slow machine a longer cluster.timeout, or fewer nodes (K3D_AGENTS)",
    ),
    Cause(
        id="k3d-timeout",
        programs=_K3D,
        patterns=(r"context deadline exceeded", r"Context deadline exceeded"),
        what="the cluster was not ready in time",
        why="k3d's own limit has passed, and it does not tell what it waited for",
        fix="docker ps -a --filter label=app=k3d shows a node that has ended, docker logs NODE why; "
        "on a slow machine a longer cluster.timeout, or fewer nodes (K3D_AGENTS)",
    ),
)
"""Looked for last: what hides behind a time-out is told by the others."""
