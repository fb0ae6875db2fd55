"""What `invoke config` shows: every value, what has set it, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.settings.merge import as_json, as_rows, rows
from tasks.settings.resolve import of_options
from tasks.settings.schema import Settings
from tests.settings.project import project, resolved

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
    told: list[object] = []
    assert len(of_options(sets, told.append)) == len(sets)
    assert resolved(tmp_path, *sets).settings == Settings()
    assert told == []


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
