"""What merges, what is replaced, how one part of a list is changed, and what `invoke config` shows of it."""

import json
from pathlib import Path

import pytest

from tasks.settings.layers import of_options
from tasks.settings.merge import as_json, as_rows, rows
from tasks.settings.schema import Settings
from tests.settings.project import origins, project, refused, resolved, values

CERT_MANAGER = "helm:\n  releases:\n    cert-manager:\n"
APP = "    app:\n      namespace: app\n      chart: ./charts/app\n"


def test_mappings_merge_and_null_takes_out(tmp_path: Path) -> None:
    text = "helm:\n  repositories:\n    grafana: null\n    mine: https://x.example\n"
    found = resolved(project(tmp_path, mine=text), profile="mine")
    names = list(found.settings.helm.repositories)
    assert names == ["jetstack", "ingress-nginx", "prometheus-community", "bitnami", "mine"]
    assert origins(found, "helm") == {"helm.repositories.mine": "config/mine.yaml:4"}


def test_a_name_with_nothing_behind_it_changes_nothing(tmp_path: Path) -> None:
    text = "cluster:\n  ports:\n  server_labels:\n  kubelet_config:\nhelm:\n  releases:\nsecrets:\n"
    assert origins(resolved(project(tmp_path, mine=text), profile="mine")) == {"profile": "--profile"}


def test_lists_of_texts_are_replaced(tmp_path: Path) -> None:
    project(tmp_path, "openframe:\n  namespaces: [a, b]\n", mine="namespaces: [c]\n")
    assert resolved(tmp_path, profile="mine").settings.namespaces == ("c",)
    assert resolved(tmp_path, "namespaces=[]").settings.namespaces == ()


def test_one_release_is_changed_by_its_name(tmp_path: Path) -> None:
    text = f"{CERT_MANAGER}      enabled: false\n      values: {{crds: {{keep: true}}}}\n"
    (release,) = resolved(project(tmp_path, mine=text), profile="mine").settings.helm.releases
    assert (release.name, release.version, release.enabled) == ("cert-manager", "v1.20.3", False)
    assert release.values["crds"] == {"enabled": True, "keep": True}


def test_a_profile_adds_a_release_and_the_command_line_changes_it(tmp_path: Path) -> None:
    project(tmp_path, mine=f"helm:\n  releases:\n{APP}")
    found = resolved(tmp_path, "helm.releases.app.version=2", profile="mine")
    assert [release.name for release in found.settings.helm.releases] == ["cert-manager", "app"]
    assert origins(found, "helm.releases") == {
        "helm.releases.app.name": "config/mine.yaml:3",
        "helm.releases.app.namespace": "config/mine.yaml:4",
        "helm.releases.app.chart": "config/mine.yaml:5",
        "helm.releases.app.version": "--set",
    }


def test_a_release_can_be_made_on_the_command_line_alone(tmp_path: Path) -> None:
    sets = ["helm.releases.app.namespace=app", "helm.releases.app.chart=oci://r.example/app"]
    assert resolved(tmp_path, *sets).settings.helm.releases[1].chart == "oci://r.example/app"


def test_a_list_replaces_all_parts(tmp_path: Path) -> None:
    text = "helm:\n  releases:\n  - {name: app, namespace: app, chart: ./app}\n"
    found = resolved(project(tmp_path, mine=text), profile="mine")
    assert [release.name for release in found.settings.helm.releases] == ["app"]
    assert origins(found, "helm.releases")["helm.releases.app.chart"] == "config/mine.yaml:3"
    found = resolved(tmp_path, "helm.releases=[]", profile="mine")
    assert found.settings.helm.releases == ()
    assert origins(found, "helm.releases") == {"helm.releases": "--set"}


def test_null_takes_a_part_out(tmp_path: Path) -> None:
    project(tmp_path, mine="registries:\n  caches:\n    ghcr.io: null\n    quay.io: null\n")
    found = resolved(tmp_path, profile="mine").settings
    assert [cache.upstream for cache in found.registries.caches] == ["docker.io", "registry.k8s.io"]
    assert resolved(tmp_path, "secrets.github-pat-secret=").settings.secrets == ()


def test_parts_of_one_name_are_told_apart_by_their_namespace(tmp_path: Path) -> None:
    text = "helm:\n  releases:\n    a/app: {chart: ./app}\n    b/app: {chart: ./app}\n"
    project(tmp_path, mine=text)
    found = resolved(tmp_path, "helm.releases.b/app.version=2", profile="mine").settings.helm.releases
    assert [(each.namespace, each.name, each.version) for each in found[1:]] == [("a", "app", None), ("b", "app", "2")]
    error = refused(tmp_path, "helm.releases.app.version=2", profile="mine")
    assert "a/app or b/app" in error.fix


def test_the_source_of_a_secret_replaces_the_one_below(tmp_path: Path) -> None:
    path = "secrets.github-pat-secret.values.password"
    found = resolved(tmp_path, f"{path}.file=./token")
    assert values(found, [path]) == {f"{path}.file": "./token"}
    found = resolved(tmp_path, f"{path}={{command: [pass, show, token]}}")
    assert found.settings.secrets[0].values["password"].command == ("pass", "show", "token")


def test_null_stays_in_what_helm_reads(tmp_path: Path) -> None:
    found = resolved(tmp_path, "helm.releases.cert-manager.values.crds=null").settings
    assert found.helm.releases[0].values["crds"] is None


def test_a_layer_above_does_not_hide_what_is_wrong_below(tmp_path: Path) -> None:
    project(tmp_path, "openframe:\n  cluster:\n    agents: many\n")
    assert "invoke.yaml, line 3" in refused(tmp_path, "cluster.agents=2").what


def test_a_mapping_goes_over_a_wrong_value_and_both_are_told(tmp_path: Path) -> None:
    project(tmp_path, "openframe:\n  cluster: 5\n", mine="cluster: {agnets: 2}\n")
    error = refused(tmp_path, profile="mine")
    assert error.what == "2 settings cannot be used"
    assert "invoke.yaml, line 2: cluster is 5" in error.why
    assert "did you mean cluster.agents?" in error.why


@pytest.mark.parametrize(
    ("option", "reported"),
    [
        ("helm.releases.cert-manager.values.list.0=x", "is a list"),
        ("helm.releases.cert-manger.enabled=false", "did you mean helm.releases.cert-manager?"),
        ("helm.releases.cert-manger=null", "did you mean helm.releases.cert-manager?"),
        ("helm.releases.5.version=1", "has no namespace and no chart"),
        ("helm.releases=[1]", "helm.releases.0 is 1"),
        ("helm.releases=x", "helm.releases is 'x'"),
        ("helm.releases.cert-manager=x", "helm.releases.cert-manager is 'x'"),
    ],
)
def test_what_cannot_be_merged_is_told(tmp_path: Path, option: str, reported: str) -> None:
    project(tmp_path, mine=f"{CERT_MANAGER}      values: {{list: [a]}}\n")
    error = refused(tmp_path, option, profile="mine")
    assert "--set" in error.what
    assert reported in str(error)


def test_a_manifest_is_a_path_or_a_path_with_its_needs(tmp_path: Path) -> None:
    project(
        tmp_path,
        "openframe:\n  manifests:\n    files: [a.yaml, {path: b, needs: cert-manager}]\n",
        mine="manifests:\n  files:\n    a.yaml: {needs: [cert-manager]}\n    b: null\n",
    )
    found = [resolved(tmp_path), resolved(tmp_path, profile="mine"), resolved(tmp_path, "manifests.files=[c]")]
    assert [[(file.path, file.needs) for file in each.settings.manifests.files] for each in found] == [
        [("a.yaml", ()), ("b", ("cert-manager",))],
        [("a.yaml", ("cert-manager",))],
        [("c", ())],
    ]


SECRET = "hunter2-hunter2"


def test_rows_have_path_value_and_layer(tmp_path: Path) -> None:
    project(tmp_path, "openframe:\n  cluster: {servers: 3}\n")
    found = resolved(tmp_path, "cluster.limits.server_cpus=2", environ={"K3D_AGENTS": "2"})
    assert [row for row in as_rows(found, "cluster.") if row[2] != "default"] == [
        ["cluster.servers", "3", "invoke.yaml:2"],
        ["cluster.agents", "2", "K3D_AGENTS"],
        ["cluster.limits.server_cpus", "2", "--set"],
    ]
    shown = {row[0]: row[1] for row in as_rows(found, "")}
    assert shown["cluster.image"] == "null"
    assert shown["cluster.limits.enabled"] == "true"
    assert shown["namespaces"].startswith('["platform", ')
    assert shown["cluster.kubelet_config"] == "{}"
    assert shown["helm.releases.cert-manager.values.crds.enabled"] == "true"
    assert shown["registries.caches.registry\\.k8s\\.io.upstream"] == "registry.k8s.io"
    assert shown["secrets.github-pat-secret.values.password.env"] == "GITHUB_TOKEN_CLASSIC"


def test_only_takes_the_paths_that_begin_so(tmp_path: Path) -> None:
    found = resolved(tmp_path)
    shown = [row[0] for row in as_rows(found, "docker")]
    assert shown == [f"docker.{name}" for name in type(found.settings.docker).model_fields]
    assert as_rows(found, "nothing") == []
    assert list(json.loads(as_json(found, "docker.tune"))["settings"]) == ["docker.tune"]


def test_json_is_one_mapping_by_path(tmp_path: Path) -> None:
    project(tmp_path, mine="cluster:\n  agents: 2\n")
    found = json.loads(as_json(resolved(tmp_path, profile="mine"), ""))
    assert found["settings_hash"] == resolved(tmp_path, profile="mine").settings_hash
    assert found["settings"]["cluster.agents"] == {
        "value": 2,
        "layer": "profile",
        "source": "config/mine.yaml",
        "line": 2,
    }
    assert found["settings"]["cluster.servers"]["layer"] == "default"


def test_what_a_new_part_leaves_out_is_a_default(tmp_path: Path) -> None:
    project(tmp_path, mine="helm:\n  releases:\n    app: {namespace: app, chart: ./app}\n")
    found = {row[0]: row[2] for row in as_rows(resolved(tmp_path, profile="mine"), "helm.releases.app")}
    assert found["helm.releases.app.chart"] == "config/mine.yaml:3"
    assert found["helm.releases.app.timeout"] == found["helm.releases.app.values"] == "default"


def test_every_path_that_is_shown_can_be_set(tmp_path: Path) -> None:
    found = resolved(tmp_path)
    sets = tuple(
        f"{row.path}={json.dumps(row.value)}" for row in rows(found) if row.path != "profile" and row.value is not None
    )
    assert len(sets) > 80
    reported: list[object] = []
    assert len(of_options(sets, reported.append)) == len(sets)
    assert resolved(tmp_path, *sets).settings == Settings()
    assert reported == []


def test_no_secret_is_shown(tmp_path: Path) -> None:
    text = f"""
cluster:
  env: ['API_TOKEN={SECRET}@server:*', 'B={SECRET}=@x']
  args: {{k3s: ['token={SECRET}', 'disable=traefik']}}
helm:
  repositories: {{mine: 'https://me:{SECRET}@x.example/charts'}}
  releases:
    cert-manager:
      values:
        adminPassword: {SECRET}
        auth: {{token: {SECRET}, secretKey: {SECRET}, list: [{{password: {SECRET}}}], existingSecret: by-name}}
        url: postgres://me:{SECRET}@db/x
"""
    found = resolved(project(tmp_path, mine=text), profile="mine")
    shown = json.dumps(as_rows(found, "")) + as_json(found, "")
    assert SECRET not in shown
    values = {row.path: row.value for row in rows(found)}
    assert values["cluster.env"] == ["API_TOKEN=***@server:*", "B=***"]
    assert values["cluster.args.k3s"] == ["token=***", "disable=traefik"]
    assert values["helm.repositories.mine"] == "https://***@x.example/charts"
    assert values["helm.releases.cert-manager.values.auth.existingSecret"] == "by-name"
    assert values["helm.releases.cert-manager.values.url"] == "postgres://***@db/x"
