"""Causes that the Kubernetes API tells and that pass; wording of kubectl 1.32 unless another source is named."""

from __future__ import annotations

import pytest

from tests.causes.told import Case, check

_OPENAPI = 'error: error validating "STDIN": error validating data: failed to download openapi: '
_CHOOSE = "; if you choose to ignore these errors, turn validation off with --validate=false"

CASES = [
    Case(
        program="kubectl",
        cause="api-refused",
        text="The connection to the server 127.0.0.1:6550 was refused - did you specify the right host or port?",
        says=("127.0.0.1:6550", "invoke status"),
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="api-refused",
        text=f'{_OPENAPI}Get "https://127.0.0.1:6550/openapi/v2?timeout=32s": dial tcp 127.0.0.1:6550: connect: '
        f"connection "
        f"refused{_CHOOSE}",
        says=("127.0.0.1:6550",),
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="api-refused",
        text="Unable to connect to the server: EOF",
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="api-refused",
        text="Unable to connect to the server: net/http: TLS handshake timeout",
        transient=True,
    ),
    Case(  # helm 4.2: pkg/kube/client.go
        program="helm",
        cause="api-refused",
        text='Error: kubernetes cluster unreachable: Get "https://127.0.0.1:6550/version": dial tcp 127.0.0.1:6550: '
        "connect: connection refused",
        transient=True,
    ),
    Case(  # a cluster of somebody else that is named, not numbered
        program="kubectl",
        cause="dns",
        text=f'{_OPENAPI}Get "https://k8s.invalid/openapi/v2?timeout=32s": dial tcp: lookup k8s.invalid on '
        f"10.0.0.2:53: no "
        f"such host{_CHOOSE}",
        says=("k8s.invalid",),
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="api-busy",
        text="Error from server (ServiceUnavailable): the server is currently unable to handle the request",
        transient=True,
    ),
    Case(program="kubectl", cause="api-busy", text="Error from server: etcdserver: leader changed", transient=True),
    Case(program="kubectl", cause="api-busy", text="Error from server: etcdserver: request timed out", transient=True),
    Case(
        program="kubectl",
        cause="api-busy",
        text='E1125 01:58:06.009859    3437 memcache.go:265] "Unhandled Error" err="couldn\'t get current server '
        "API group "
        'list: the server is currently unable to handle the request"\nerror: unable to recognize "STDIN": the '
        "server is "
        "currently unable to handle the request",
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="api-busy",
        text="Error from server (TooManyRequests): the server has received too many requests and has asked us to "
        "try again "
        "later",
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="api-busy",
        text="Error from server (Timeout): Timeout: request did not complete within the allotted timeout",
        transient=True,
    ),
    Case(  # kubernetes/kubernetes#73698
        program="kubectl",
        cause="quota-settling",
        text='Error from server (Forbidden): pods "x" is forbidden: status unknown for quota: openframe, '
        "resources: pods",
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="conflict",
        text='error: Operation cannot be fulfilled on configmaps "x": the object has been modified; please apply '
        "your changes "
        "to the latest version and try again\nPlease review the fields above--they currently have other managers.",
        says=('configmaps "x"',),
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="conflict",
        text='Error from server (AlreadyExists): configmaps "x" already exists',
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="namespace-ending",
        text='Error from server (Forbidden): configmaps "x" is forbidden: unable to create new content in '
        "namespace old "
        "because it is being terminated",
        says=("old",),
        transient=True,
    ),
    Case(  # kubernetes: plugin/pkg/admission/serviceaccount
        program="kubectl",
        cause="account-settling",
        text='Error from server (Forbidden): error when creating "STDIN": pods "x" is forbidden: error looking up '
        "service "
        'account new/default: serviceaccount "default" not found',
        says=("new/default",),
        transient=True,
    ),
    Case(  # kubeflow/community-distribution#2660
        program="kubectl",
        cause="webhook-failing",
        text='Error from server (InternalError): error when creating "STDIN": Internal error occurred: failed '
        "calling webhook "
        '"webhook.cert-manager.io": failed to call webhook: Post '
        '"https://cert-manager-webhook.cert-manager.svc:443/mutate?timeout=10s": dial tcp 10.96.218.186:443: connect: '
        "connection refused",
        says=("webhook.cert-manager.io", "connection refused"),
        transient=True,
    ),
    Case(
        program="helm",
        cause="webhook-failing",
        text="Error: INSTALLATION FAILED: Internal error occurred: failed calling webhook "
        '"webhook.cert-manager.io": failed to '
        'call webhook: Post "https://cert-manager-webhook.cert-manager.svc:443/validate?timeout=30s": no endpoints '
        'available for service "cert-manager-webhook"',
        says=("no endpoints available",),
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="kind-missing",
        text='error: resource mapping not found for name: "x" namespace: "default" from "STDIN": no matches for kind '
        '"Certificate" in version "cert-manager.io/v1"\nensure CRDs are installed first',
        says=("Certificate of cert-manager.io/v1",),
        transient=True,
    ),
    Case(
        program="kubectl",
        cause="kind-missing",
        text="Error from server (NotFound): the server could not find the requested resource",
        transient=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_passes(case: Case) -> None:
    check(case)
