"""What merges, what is replaced, and how one part of a list is changed, added or taken out."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    ("option", "told"),
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
def test_what_cannot_be_merged_is_told(tmp_path: Path, option: str, told: str) -> None:
    project(tmp_path, mine=f"{CERT_MANAGER}      values: {{list: [a]}}\n")
    error = refused(tmp_path, option, profile="mine")
    assert "--set" in error.what
    assert told in str(error)


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
