"""Flags of k3s itself (k3s 1.33: `pkg/cli/cmds/server.go`, `agent.go`): whoever gives another one ends its node.

A sign after a name tells what it takes: `#` a whole number, `?` nothing; others take any text.
"""

from __future__ import annotations

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
_BOTH = """
    airgap-extra-registry alsologtostderr? cluster-secret config container-runtime-endpoint data-dir debug?
    default-runtime disable-default-registry-endpoint? disable-selinux? docker? flannel-cni-conf flannel-conf
    flannel-iface image-credential-provider-bin-dir image-credential-provider-config image-service-endpoint
    kube-proxy-arg kubelet-arg lb-server-port# log no-flannel? node-external-dns node-external-ip node-internal-dns
    node-ip node-label node-name node-taint nonroot-devices? pause-image prefer-bundled-bin? private-registry
    protect-kernel-defaults? resolv-conf rootless? selinux? server snapshotter token token-file v vmodule vpn-auth
    vpn-auth-file with-node-id?
"""

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


def flags(role: str) -> dict[str, str]:
    """Names, each with its sign, of `k3s server` or `k3s agent`."""
    words = f"{_BOTH} {_SERVER if role == 'server' else ''}".split()
    return {word.rstrip("#?"): word[-1] if word[-1] in "#?" else "" for word in words}
