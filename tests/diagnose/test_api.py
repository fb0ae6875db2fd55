"""Causes that the Kubernetes API tells and that no repetition heals; wording of kubectl 1.32, or as named."""

from __future__ import annotations

import pytest

from tests.causes.told import Case, check, told

_CHOOSE = "; if you choose to ignore these errors, turn validation off with --validate=false"

CASES = [
    Case(
        program="kubectl",
        cause="api-login",
        text='E1125 01:58:04.383850    3027 memcache.go:265] "Unhandled Error" err="couldn\'t get current server '
        "API group "
        'list: the server has asked for the client to provide credentials"\nerror: unable to recognize "STDIN": the '
        "server has asked for the client to provide credentials",
        says=("invoke cluster",),
    ),
    Case(
        program="kubectl",
        cause="api-login",
        text="error: You must be logged in to the server (Unauthorized)",
    ),
    Case(
        program="kubectl",
        cause="api-stranger",
        text="Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown "
        "authority",
        says=("signed by unknown authority", "recreated", "NO_PROXY"),
    ),
    Case(
        program="helm",
        cause="api-stranger",
        text='Error: Kubernetes cluster unreachable: Get "https://127.0.0.1:6550/version": tls: failed to verify '
        'certificate: x509: certificate signed by unknown authority (possibly because of "crypto/rsa: verification '
        'error" while trying to verify candidate authority certificate "k3s-server-ca@1753618691")',
    ),
    Case(  # Go: crypto/x509
        program="kubectl",
        cause="api-not-yet-valid",
        text="Unable to connect to the server: tls: failed to verify certificate: x509: certificate has expired or is "
        "not yet valid: current time 2026-11-25T01:00:00Z is before 2026-11-25T03:10:05Z",
        says=("2026-11-25T01:00:00Z", "date -u"),
    ),
    Case(
        program="helm",
        cause="api-expired",
        text='Error: Kubernetes cluster unreachable: Get "https://127.0.0.1:6550/version": tls: failed to verify '
        "certificate: x509: certificate has expired or is not yet valid: current time 2027-11-25T01:00:00Z is after "
        "2026-11-25T03:10:05Z",
        says=("2027-11-25T01:00:00Z", "invoke down --stop"),
    ),
    Case(
        program="kubectl",
        cause="api-other-name",
        text="Unable to connect to the server: tls: failed to verify certificate: x509: certificate is valid for "
        "10.43.0.1, 127.0.0.1, not 192.168.1.7",
        says=("not 192.168.1.7", "--tls-san"),
    ),
    Case(
        program="kubectl",
        cause="api-login",
        text="Unable to connect to the server: remote error: tls: expired certificate",
    ),
    Case(
        program="kubectl",
        cause="api-login",
        text='Error from server (Forbidden): nodes is forbidden: User "system:anonymous" cannot list resource "nodes" '
        'in API group "" at the cluster scope',
    ),
    Case(  # client-go: plugin/pkg/client/auth/exec
        program="kubectl",
        cause="api-login-helper",
        text="Unable to connect to the server: getting credentials: exec: executable aws not found",
        says=("executable aws not found",),
    ),
    Case(  # client-go: tools/clientcmd/validation.go
        program="kubectl",
        cause="api-login-helper",
        text="error: interactiveMode must be specified for aws to use exec authentication plugin",
        says=("interactiveMode must be specified",),
    ),
    Case(
        program="kubectl",
        cause="forbidden",
        text='Error from server (Forbidden): configmaps "x" is forbidden: User "bob" cannot patch resource '
        '"configmaps" in '
        'API group "" in the namespace "default"',
        says=('User "bob" cannot patch',),
    ),
    Case(
        program="kubectl",
        cause="quota-exceeded",
        text='Error from server (Forbidden): pods "x" is forbidden: exceeded quota: openframe, requested: pods=1, '
        "used: "
        "pods=100, limited: pods=100",
        says=("openframe", "requested: pods=1", "manifests.quota.requests_cpu"),
    ),
    Case(  # kubernetes: pkg/quota/v1/evaluator/core/pods.go
        program="kubectl",
        cause="quota-unset",
        text='Error from server (Forbidden): error when creating "STDIN": pods "x" is forbidden: failed quota: '
        "openframe: "
        "must specify requests.cpu for: app; requests.memory for: app",
        says=("requests.cpu for: app",),
    ),
    Case(
        program="kubectl",
        cause="object-invalid",
        text='The Service "x" is invalid: \n* spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, '
        "inclusive\n"
        "* spec.ports: Required value",
        says=("Service x is not valid", "spec.ports[0].port: Invalid value: 0"),
    ),
    Case(
        program="kubectl",
        cause="object-invalid",
        text='error: error validating "STDIN": error validating data: [apiVersion not set, kind not set]' + _CHOOSE,
        says=("[apiVersion not set, kind not set]",),
    ),
    Case(
        program="kubectl",
        cause="field-immutable",
        text='The Secret "x" is invalid: type: Invalid value: "Opaque": field is immutable',
        says=("type of Secret x", "field is immutable"),
    ),
    Case(  # kubernetes: pkg/apis/storage/validation
        program="kubectl",
        cause="field-immutable",
        text='The StorageClass "local-path" is invalid: \n* parameters: Forbidden: updates to parameters are '
        "forbidden.\n"
        "* provisioner: Forbidden: updates to provisioner are forbidden.",
        says=("parameters of StorageClass local-path",),
    ),
    Case(  # helm 3: pkg/kube/client.go
        program="helm",
        cause="field-immutable",
        text='Error: UPGRADE FAILED: cannot patch "app" with kind Deployment: Deployment.apps "app" is invalid: '
        'spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{"app":"b"}}: field is immutable',
        says=("spec.selector of Deployment app",),
    ),
    Case(
        program="kubectl",
        cause="field-unknown",
        text="Error from server: failed to create typed patch object (default/x; v1, Kind=ConfigMap): .dat: field not "
        "declared in schema",
        says=("there is no field .dat",),
    ),
    Case(
        program="kubectl",
        cause="field-unknown",
        text='Error from server (BadRequest): error when creating "STDIN": Deployment in version "v1" cannot be '
        "handled as a "
        'Deployment: strict decoding error: unknown field "spec.replica"',
        says=("spec.replica",),
    ),
    Case(
        program="kubectl",
        cause="manifest-unreadable",
        text="error: error parsing STDIN: error converting YAML to JSON: yaml: mapping values are not allowed in this "
        "context",
        says=("mapping values are not allowed",),
    ),
    Case(
        program="kubectl",
        cause="manifest-unreadable",
        text='error: unable to decode "STDIN": Object \'Kind\' is missing in \'{"a":"b"}\'',
        says=("'Kind' is missing",),
    ),
    Case(
        program="kubectl",
        cause="conflict-owner",
        text='error: Apply failed with 1 conflict: conflict with "helm" using v1: .data.a\nPlease review the '
        "fields above",
        says=('conflict with "helm" using v1: .data.a',),
    ),
    Case(  # helm 4.2: pkg/kube/client.go
        program="helm",
        cause="conflict-owner",
        text="Error: UPGRADE FAILED: conflict occurred while applying object default/app apps/v1, Kind=Deployment: "
        "Apply "
        'failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas',
    ),
    Case(
        program="kubectl",
        cause="object-large",
        text='Error from server (RequestEntityTooLarge): error when creating "STDIN": Request entity too large: '
        "limit is "
        "3145728",
    ),
    Case(
        program="kubectl",
        cause="namespace-missing",
        text='Error from server (NotFound): namespaces "nope" not found',
        says=("'nope'", "invoke namespaces"),
    ),
    Case(
        program="kubectl",
        cause="webhook-denied",
        text='Error from server (Forbidden): admission webhook "validate.nginx.ingress.kubernetes.io" denied the '
        "request: "
        'host "a.localhost" and path "/" is already defined in ingress default/b',
        says=("validate.nginx.ingress.kubernetes.io", "already defined in ingress default/b"),
    ),
    Case(
        program="kubectl",
        cause="unknown-flag",
        text="error: unknown flag: --foo\nSee 'kubectl apply --help' for usage.",
        says=("--foo",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_api_says(case: Case) -> None:
    check(case)


def test_of_several_objects_the_one_that_no_repetition_heals_counts() -> None:
    error = told(
        "kubectl",
        'error: Operation cannot be fulfilled on configmaps "x": the object has been modified; please apply\n'
        'The Secret "y" is invalid: type: Invalid value: "Opaque": field is immutable\n',
    )
    assert (error.cause, error.transient) == ("field-immutable", False)
