"""Kinds that a cluster serves, and the paths of their objects."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from tasks.rehearsal.objects import View

_TABLE = """
v1 Namespace namespaces -
v1 Node nodes -
v1 PersistentVolume persistentvolumes -
v1 ConfigMap configmaps
v1 Endpoints endpoints
v1 Event events
v1 LimitRange limitranges
v1 PersistentVolumeClaim persistentvolumeclaims
v1 Pod pods
v1 ReplicationController replicationcontrollers
v1 ResourceQuota resourcequotas
v1 Secret secrets
v1 Service services
v1 ServiceAccount serviceaccounts
admissionregistration.k8s.io/v1 MutatingWebhookConfiguration mutatingwebhookconfigurations -
admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy validatingadmissionpolicies -
admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings -
admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration validatingwebhookconfigurations -
apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions -
apiregistration.k8s.io/v1 APIService apiservices -
apps/v1 ControllerRevision controllerrevisions
apps/v1 DaemonSet daemonsets
apps/v1 Deployment deployments
apps/v1 ReplicaSet replicasets
apps/v1 StatefulSet statefulsets
autoscaling/v1 HorizontalPodAutoscaler horizontalpodautoscalers
autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers
batch/v1 CronJob cronjobs
batch/v1 Job jobs
certificates.k8s.io/v1 CertificateSigningRequest certificatesigningrequests -
coordination.k8s.io/v1 Lease leases
discovery.k8s.io/v1 EndpointSlice endpointslices
helm.cattle.io/v1 HelmChart helmcharts
helm.cattle.io/v1 HelmChartConfig helmchartconfigs
k3s.cattle.io/v1 Addon addons
networking.k8s.io/v1 Ingress ingresses
networking.k8s.io/v1 IngressClass ingressclasses -
networking.k8s.io/v1 NetworkPolicy networkpolicies
node.k8s.io/v1 RuntimeClass runtimeclasses -
policy/v1 PodDisruptionBudget poddisruptionbudgets
rbac.authorization.k8s.io/v1 ClusterRole clusterroles -
rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings -
rbac.authorization.k8s.io/v1 Role roles
rbac.authorization.k8s.io/v1 RoleBinding rolebindings
scheduling.k8s.io/v1 PriorityClass priorityclasses -
storage.k8s.io/v1 CSIDriver csidrivers -
storage.k8s.io/v1 CSINode csinodes -
storage.k8s.io/v1 StorageClass storageclasses -
storage.k8s.io/v1 VolumeAttachment volumeattachments -
"""
"""Kubernetes 1.33 and k3s, as far as manifests name them; `-`: without namespaces."""
Kind = tuple[str, str, str, bool]
"""Version, kind, plural, whether it has namespaces."""


def builtin() -> Iterator[Kind]:
    """Those that are always there."""
    for row in _TABLE.split("\n"):
        words = row.split()
        if words:
            yield words[0], words[1], words[2], len(words) == 3


def served(view: View, now: float, brought: Mapping[str, list[Any]]) -> list[Kind]:
    """Those, the kinds of definitions that are established, and what is `brought` by k3s or once a release is there."""
    found = list(builtin())
    for record in view.records("apiextensions.k8s.io/v1", "CustomResourceDefinition"):
        if record["served"] > now:
            continue
        spec: dict[str, Any] = record["object"]["spec"]
        for version in spec.get("versions") or ():
            if version.get("served"):
                names = spec["names"]
                api = f"{spec['group']}/{version['name']}"
                found.append((api, names["kind"], names["plural"], spec.get("scope") != "Cluster"))
    known = {(version, kind) for version, kind, *_ in found}
    for version, kind, namespaced in (
        *brought.get("k3s", ()),
        *(brought["releases"] if brought.get("releases") and _installed(view) else ()),
    ):
        if (version, kind) not in known:
            known.add((version, kind))
            found.append((version, kind, f"{kind.lower()}s", namespaced))
    return found


def _installed(view: View) -> bool:
    """Whether a release has been installed."""
    rows = (each["object"]["metadata"].get("labels") or {} for each in view.records("v1", "Secret"))
    return any(each.get("owner") == "helm" and each.get("status") == "deployed" for each in rows)


def root(api_version: str) -> str:
    """The path of a group and version."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def bucket(api_version: str, kind: str) -> str:
    """Where a cluster's document keeps the objects of a kind: all served versions of one are the same objects."""
    if kind == "HorizontalPodAutoscaler":
        api_version = "autoscaling/v2"
    group = api_version.rpartition("/")[0]
    known = group in _GROUPS or not group
    return f"{api_version} {kind}" if known else f"{group} {kind}"


_GROUPS = frozenset(version.rpartition("/")[0] for version, *_ in builtin())
