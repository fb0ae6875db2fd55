"""Causes that Helm tells itself, in the words of versions 3 and 4."""

from __future__ import annotations

import pytest

from tests.causes.told import Case, check, told

CASES = [
    Case(  # helm/helm#10323
        program="helm",
        cause="release-pending",
        text="Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
        says=("invoke helm",),
    ),
    Case(  # helm 3
        program="helm",
        cause="release-name",
        text="Error: INSTALLATION FAILED: cannot re-use a name that is still in use",
    ),
    Case(  # helm 4: pkg/action/install.go
        program="helm",
        cause="release-name",
        text="Error: release name check failed: cannot reuse a name that is still in use",
    ),
    Case(  # pkg/storage/driver/driver.go
        program="helm",
        cause="release-undeployed",
        text='Error: UPGRADE FAILED: "app" has no deployed releases',
        says=("the release app", "helm uninstall app"),
    ),
    Case(  # pkg/action/validate.go
        program="helm",
        cause="release-owner",
        text='Error: unable to continue with install: ServiceAccount "app" in namespace "web" exists and cannot be '
        "imported "
        "into the current release: invalid ownership metadata; label validation error: missing key "
        '"app.kubernetes.io/managed-by": must be set to "Helm"',
        says=('ServiceAccount "app" in namespace "web"', "missing key"),
    ),
    Case(  # pkg/downloader/chart_downloader.go
        program="helm",
        cause="chart-missing",
        text="Error: chart \"cert-manager\" matching v9.9.9 not found in jetstack index. (try 'helm repo update'): "
        "no chart "
        "version found for cert-manager-v9.9.9",
        says=("cert-manager in version v9.9.9", "jetstack"),
    ),
    Case(  # Helm 4.3: a registry by HTTP
        program="helm",
        cause="chart-plain-http",
        text='Error: failed to perform "FetchReference" on source: Get "https://registry.lan:5000/v2/charts/app/manifests/'
        '0.1.0": http: server gave HTTP response to HTTPS client',
        says=("helm.plain_http=registry.lan:5000",),
    ),
    Case(  # Helm 3.19 and 4.3: no login
        program="helm",
        cause="chart-denied",
        text='Error: failed to perform "FetchReference" on source: GET "http://localhost:5000/v2/charts/app/manifests/'
        '0.1.0": basic credential not found',
        says=("helm registry login localhost:5000", "helm.registry_config"),
    ),
    Case(  # a wrong password
        program="helm",
        cause="chart-denied",
        text='Error: GET "http://localhost:5000/v2/charts/app/tags/list": response status code 401: Unauthorized',
        says=("helm registry login localhost:5000",),
    ),
    Case(
        program="helm",
        cause="chart-missing-oci",
        text='Error: failed to perform "FetchReference" on source: 127.0.0.1:5050/charts/app:0.2.0: not found',
        says=("127.0.0.1:5050/charts/app:0.2.0", "helm push"),
    ),
    Case(
        program="helm",
        cause="chart-missing-oci",
        text='Error: GET "http://127.0.0.1:5050/v2/charts/nope/tags/list": response status code 404: name unknown: '
        "repository name not known to registry: map[name:charts/nope]",
        says=("no chart charts/nope:", "helm push"),
    ),
    Case(  # pkg/repo/v1/chartrepo.go
        program="helm",
        cause="chart-missing",
        text='Error: chart "nope" not found in https://charts.jetstack.io repository',
        says=("nope",),
    ),
    Case(  # pkg/downloader/chart_downloader.go
        program="helm",
        cause="repository-unknown",
        text="Error: repo jetstak not found",
        says=("jetstak", "helm.repositories"),
    ),
    Case(
        program="helm",
        cause="repository-unknown",
        text="Error: no cached repo found. (try 'helm repo update'): open /c/repository/x-index.yaml: no such file or "
        "directory",
    ),
    Case(  # kubernetes-sigs/cluster-api-operator#332
        program="helm",
        cause="repository-bad",
        text='...Unable to get an update from the "capi-operator" chart repository '
        "(https://kubernetes-sigs.github.io/x):\n"
        "\tfailed to fetch https://kubernetes-sigs.github.io/x/index.yaml : 404 Not Found\n"
        "Error: failed to update the following repositories: [https://kubernetes-sigs.github.io/x]",
        says=("https://kubernetes-sigs.github.io/x/index.yaml", "404 Not Found"),
    ),
    Case(  # helm/charts#1320
        program="helm",
        cause="repository-bad",
        text='...Unable to get an update from the "stable" chart repository (https://charts.example):\n'
        "\terror unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go value of type "
        "repo.IndexFile",
        says=("https://charts.example is no chart repository",),
    ),
    Case(  # yandex/perforator#9
        program="helm",
        cause="repository-bad",
        text='Error: looks like "https://perforator.tech/helm-charts" is not a valid chart repository or cannot be '
        "reached: "
        'error unmarshaling JSON: while decoding JSON: json: unknown field "<!doctype html><html prefix=\\"og"',
        says=("https://perforator.tech/helm-charts",),
    ),
    Case(  # open-metadata/openmetadata-helm-charts#134, helm 3
        program="helm",
        cause="values-schema",
        text="Error: UPGRADE FAILED: values don't meet the specifications of the schema(s) in the following chart(s):\n"
        "openmetadata:\n- global.pipelineServiceClientConfig: Additional property hostIp is not allowed\n",
        says=("openmetadata", "Additional property hostIp is not allowed"),
    ),
    Case(  # helm 4: pkg/chart/common/util/jsonschema.go
        program="helm",
        cause="values-schema",
        text="Error: values don't meet the specifications of the schema(s) in the following chart(s):\napp:\n"
        "- at '': additional properties 'foo' not allowed\n",
        says=("additional properties 'foo' not allowed",),
    ),
    Case(
        program="helm",
        cause="values-unreadable",
        text="Error: failed to parse values.yaml: error converting YAML to JSON: yaml: line 3: did not find "
        "expected key",
        says=("line 3",),
    ),
    Case(  # pkg/engine/engine.go
        program="helm",
        cause="template-error",
        text="Error: execution error at (app/templates/deployment.yaml:12:4): image.tag is required",
        says=("app/templates/deployment.yaml:12:4", "image.tag is required"),
    ),
    Case(  # helm 3
        program="helm",
        cause="template-error",
        text='Error: template: app/templates/svc.yaml:5:20: executing "app/templates/svc.yaml" at <.Values.a.b>: '
        "nil pointer "
        "evaluating interface {}.b",
        says=("app/templates/svc.yaml:5:20", "nil pointer"),
    ),
    Case(  # helm 4: reformatted by pkg/engine/engine.go
        program="helm",
        cause="template-error",
        text='Error: app/templates/svc.yaml:5:20\n  executing "app/templates/svc.yaml" at <.Values.a.b>:\n    nil '
        "pointer "
        "evaluating interface {}.b",
        says=("app/templates/svc.yaml:5:20", "nil pointer"),
    ),
    Case(
        program="helm",
        cause="template-error",
        text="Error: YAML parse error on app/templates/cm.yaml: error converting YAML to JSON: yaml: line 6: could "
        "not find "
        "expected ':'",
        says=("app/templates/cm.yaml", "line 6"),
    ),
    Case(  # pkg/action/action.go
        program="helm",
        cause="chart-kubernetes",
        text="Error: INSTALLATION FAILED: chart requires kubeVersion: >=1.34.0-0 which is incompatible with Kubernetes "
        "v1.32.3+k3s1",
        says=(">=1.34.0-0", "v1.32.3+k3s1"),
    ),
    Case(  # pkg/action/install.go
        program="helm",
        cause="chart-dependencies",
        text="Error: an error occurred while checking for chart dependencies. You may need to run 'helm dependency "
        "build' to "
        "fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: postgresql, redis",
        says=("postgresql, redis",),
    ),
    Case(
        program="helm",
        cause="chart-unreadable",
        text="Error: Chart.yaml file is missing",
    ),
    Case(  # pkg/action/install.go
        program="helm",
        cause="hook-failed",
        text="Error: INSTALLATION FAILED: failed pre-install: 1 error occurred:\n\t* job app-migrate failed: "
        "BackoffLimitExceeded\n\n",
        says=("pre-install", "job app-migrate failed: BackoffLimitExceeded"),
    ),
    Case(  # helm 3
        program="helm",
        cause="release-timeout",
        text="Error: UPGRADE FAILED: timed out waiting for the condition",
    ),
    Case(  # helm 4: pkg/kube/statuswait.go
        program="helm",
        cause="release-timeout",
        text="Error: resource Deployment/web/app not ready. status: InProgress, message: Available: 0/1\ncontext "
        "deadline "
        "exceeded",
        says=("Deployment/web/app", "InProgress"),
    ),
    Case(  # helm 4: pkg/action/install.go
        program="helm",
        cause="kind-missing",
        text="Error: unable to build kubernetes objects from release manifest: resource mapping not found for name: "
        '"app" namespace: "" from "": no matches for kind "ServiceMonitor" in version '
        '"monitoring.coreos.com/v1"\nensure '
        "CRDs are installed first",
        says=("ServiceMonitor",),
        transient=True,
    ),
    Case(
        program="helm",
        cause="namespace-ending",
        text='Error: failed to create resource: configmaps "x" is forbidden: unable to create new content in '
        "namespace web "
        "because it is being terminated",
        transient=True,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_helm_says(case: Case) -> None:
    check(case)


def test_helm_tells_of_repositories_on_stdout() -> None:
    error = told(
        "helm",
        "Error: failed to update the following repositories: [https://charts.jetstack.io]\n",
        out="Hang tight while we grab the latest from your chart repositories...\n...Unable to get an update from "
        'the "jetstack"'
        ' chart repository (https://charts.jetstack.io):\n\tGet "https://charts.jetstack.io/index.yaml": dial tcp: '
        "lookup "
        "charts.jetstack.io on 127.0.0.53:53: no such host\n",
    )
    assert (error.cause, error.transient) == ("dns", True)
