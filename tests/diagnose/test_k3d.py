"""Causes that k3d tells itself; wording of k3d 5.9."""

from __future__ import annotations

import pytest

from tests.causes.told import Case, check

CASES = [
    Case(  # cmd/cluster/clusterCreate.go
        program="k3d",
        cause="cluster-exists",
        text="\x1b[31mFATA\x1b[0m[0000] Failed to create cluster 'dev' because a cluster with that name already "
        "exists\n",
        says=("'dev'", "CLUSTER_NAME"),
    ),
    Case(  # cmd/util/config/config.go, pkg/config/jsonschema.go
        program="k3d",
        cause="k3d-schema",
        text="FATA[0000] Schema Validation failed for config file /s/k3d.yaml: - options.k3d: Additional property "
        "foo is "
        "not allowed\n",
        says=("options.k3d: Additional property foo is not allowed",),
    ),
    Case(  # cmd/util/filter.go
        program="k3d",
        cause="node-filter",
        text="FATA[0000] invalid flag '80:80@a@b': only one unescaped '@' allowed for node filter(s) (Escape "
        "literal '@' "
        "with '\\')",
        says=("80:80@a@b",),
    ),
    Case(  # pkg/util/filter.go
        program="k3d",
        cause="node-filter",
        text="FATA[0000] error processing/sanitizing simple config: failed to filter nodes by filter 'all': Failed to "
        "parse node filters: invalid format or empty subset in 'all'",
        says=("'all'", "@all:*"),
    ),
    Case(  # pkg/util/filter.go
        program="k3d",
        cause="node-filter",
        text="Node filter 'loadbalancer' targets a node that does not exist (disabled?)",
        says=("'loadbalancer'",),
    ),
    Case(  # pkg/client/ports.go
        program="k3d",
        cause="port-mapping",
        text="FATA[0000] error processing cluster configuration: error parsing port spec '80:x': Invalid "
        "containerPort: x",
        says=("Invalid containerPort: x", "cluster.ports.extra"),
    ),
    Case(  # pkg/client/ports.go
        program="k3d",
        cause="port-mapping",
        text="port-mapping of type 'proxy' specified, but loadbalancer is disabled",
        says=("loadbalancer is disabled",),
    ),
    Case(  # pkg/config/validate.go, pkg/runtimes/util/volumes.go
        program="k3d",
        cause="volume-mount",
        text="FATA[0000] Failed Cluster Configuration Validation:  failed to validate volume mount 'data:x': "
        "volume mount "
        "destination doesn't appear to be an absolute path: 'x' in 'data:x'",
        says=("data:x", "cluster.volumes"),
    ),
    Case(  # pkg/config/validate.go
        program="k3d",
        cause="cluster-name",
        text="FATA[0000] Failed Cluster Configuration Validation:  provided cluster name 'A_b' does not match "
        "requirements: Hostname 'A_b' contains characters other than 'Aa-Zz', '0-9' or '-'",
        says=("'A_b'",),
    ),
    Case(  # pkg/client/cluster.go
        program="k3d",
        cause="registry-missing",
        text="ERRO[0000] Failed Cluster Preparation: Failed to find registry node 'k3d-openframe-registry': Didn't "
        "find "
        "container for node 'k3d-openframe-registry'",
        says=("k3d-openframe-registry", "invoke registry"),
    ),
    Case(  # pkg/client/cluster.go
        program="k3d",
        cause="cluster-missing",
        text="FATA[0000] No nodes found for given cluster",
        says=("invoke up",),
    ),
    Case(  # pkg/client/node.go
        program="k3d",
        cause="node-timeout",
        text="ERRO[0180] Failed Cluster Start: Failed to add one or more agents: Node k3d-dev-agent-1 failed to "
        "get ready: "
        "Context deadline exceeded while waiting for log message 'successfully registered node' of node "
        "k3d-dev-agent-1: context deadline exceeded",
        says=("docker logs k3d-dev-agent-1",),
    ),
    Case(
        program="k3d",
        cause="k3d-timeout",
        text="ERRO[0180] Failed Cluster Start: context deadline exceeded\nFATA[0180] Cluster creation FAILED, rollback "
        "deactivated.",
        says=("cluster.timeout",),
    ),
    Case(  # k3d-io/k3d#890: k3d repeats the node's last line, which tells more than its own end
        program="k3d",
        cause="cgroup-missing",
        text="WARN[0020] warning: encountered fatal log from node k3d-kubeflow-server-0 (retrying 0/10): "
        '\x07time="2021-12-13T12:22:10.841643887Z" level=fatal msg="failed to find memory cgroup, you may need to add '
        '\\"cgroup_memory=1 cgroup_enable=memory\\" to your linux cmdline (/boot/cmdline.txt on a Raspberry Pi)"\n'
        "ERRO[0030] Failed Cluster Start: context deadline exceeded",
        says=("memory", "cgroup_enable=memory"),
    ),
    Case(  # k3d 5.9 with a flag of k3d 4
        program="k3d",
        cause="unknown-flag",
        text="FATA[0000] unknown flag: --k3s-server-arg",
        says=("--k3s-server-arg", "make tools"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_k3d_says(case: Case) -> None:
    check(case)
