"""Pods of metrics-server are refused for some seconds, so that it does not compete with what a launch waits for.

It costs a launch one of its 19 processor seconds, and more on a busy machine (docs/performance.md). A
ValidatingAdmissionPolicy (Kubernetes 1.30 and later) refuses its pods until `release` takes that away, or until a time
that the policy itself names, by the API server's own clock: nothing depends on the program that made it being alive
then. The ReplicaSet's controller tries again by itself, with pauses that double from 5 ms (Kubernetes: workqueue's
default rate limiter).
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasks.clients.kubectl import FIELD_MANAGER
from tasks.kube.client import Sender
from tasks.kube.components import METRICS
from tasks.kube.objects import MANAGED_BY

if TYPE_CHECKING:
    from tasks.kube.client import Api

LAST = 20
"""Seconds after the API server's first start. The controller's next attempt is at most as far away again."""
NAME = f"{FIELD_MANAGER}-deferred-start"
_GROUP = "admissionregistration.k8s.io/v1"
_POLICIES = f"/apis/{_GROUP}/validatingadmissionpolicies"
_BINDINGS = f"/apis/{_GROUP}/validatingadmissionpolicybindings"
_GONE, _EXISTS = 404, 409


def policy(end: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    """The policy that refuses pods of metrics-server until `end` (UTC), and its binding."""
    metadata = {"name": NAME, "labels": {MANAGED_BY: FIELD_MANAGER}}
    text = f"{end:%Y-%m-%dT%H:%M:%SZ}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    expression = (
        f"!has(object.metadata.generateName) || !object.metadata.generateName.startsWith('{METRICS}-')"
        f" || timestamp(object.metadata.creationTimestamp) >= timestamp('{text}')"
    )
    spec = {
        "failurePolicy": "Ignore",
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "resourceRules": [rule],
        },
        "validations": [
            {"expression": expression, "message": f"{METRICS} starts when the launch is over, at the latest {text}"}
        ],
    }
    return (
        {"apiVersion": _GROUP, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {
            "apiVersion": _GROUP,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": NAME, "validationActions": ["Deny"]},
        },
    )


def defer(api: Api) -> str | None:
    """Refuse pods of metrics-server until `LAST` seconds after the cluster's first start; why not, where it cannot be.

    Raises `ApiError`.
    """
    if not isinstance(api, Sender):
        return "this API takes no such request"
    # this namespace is made when the server first starts, at a time of its own clock
    began = datetime.fromisoformat(api.get("/api/v1/namespaces/kube-system")["metadata"]["creationTimestamp"])
    for path, obj in zip((_POLICIES, _BINDINGS), policy(began + timedelta(seconds=LAST)), strict=True):
        code, text = api.send("POST", path, json.dumps(obj))
        if code == _GONE:
            return "this Kubernetes has no such policies"
        if code not in (200, 201, _EXISTS):
            return text.strip()[:200] or f"the API answered {code}"
    return None


def release(api: Api) -> bool:
    """Take the refusal away; False where that could not be done, and it ends by itself. Raises `ApiError`."""
    if not isinstance(api, Sender):
        return False
    codes = [api.send("DELETE", f"{path}/{NAME}", "{}")[0] for path in (_BINDINGS, _POLICIES)]
    return all(code in (200, 202, _GONE) for code in codes)
