"""The comparison modes' commands, and the bash script of the same."""

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.benchmark.commands import create, script, stages
from tasks.benchmark.variants import Workspace
from tasks.facts.facts import Facts
from tests import given

RELEASES = [
    {"name": "one", "namespace": "platform", "chart": "repo/one", "version": "1.0.0"},
    {"name": "two", "namespace": "platform", "chart": "repo/two", "needs": ["one"]},
    {"name": "three", "namespace": "platform", "chart": "./three", "wait": False},
]
SETTINGS = given.settings(
    namespaces=["platform", "tools"],
    helm={
        "repositories": {"repo": "https://charts.example.com", "unused": "https://x.example.com"},
        "releases": RELEASES,
    },
    cluster={"name": "openframe-bench", "agents": 1, "args": {"k3s": ["disable=metrics-server"], "kubelet": ["v=2"]}},
)
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "login", "namespace": "platform"},
    "data": {"password": "aHVudGVyMg=="},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "files").mkdir()
    session = cast("Any", SimpleNamespace(settings=SETTINGS, environ={"PATH": "/usr/bin:/bin", "K3D_AGENTS": "9"}))
    return Workspace(session=session, folder=tmp_path, cluster="openframe-bench")


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    return given.facts(tmp_path, settings=SETTINGS, secrets=(SECRET,))


def _lines(workspace: Workspace, facts: Facts) -> dict[str, list[str]]:
    return {stage.name: [call.command.paste() for call in stage.calls] for stage in stages(workspace, facts)}


def test_a_command_for_each_thing_in_the_scripts_order(workspace: Workspace, facts: Facts) -> None:
    lines = _lines(workspace, facts)
    assert list(lines) == [
        "images",
        "registries",
        "cluster",
        "namespaces",
        "secrets",
        "base resources",
        "repositories added",
        "repositories updated",
        "releases, level 1",
        "releases, level 2",
    ]
    assert [line.split()[:2] for line in lines["images"]] == [["docker", "pull"]] * len(facts.images)
    assert lines["namespaces"] == ["kubectl create namespace platform", "kubectl create namespace tools"]
    assert lines["repositories added"] == ["helm repo add repo https://charts.example.com"]
    assert len(lines["base resources"]) > 6
    assert all(line.startswith("kubectl apply --filename ") for line in lines["base resources"])


def test_a_chart_of_the_push_registry_is_asked_for_by_http(workspace: Workspace, facts: Facts) -> None:
    release = facts.releases[0].model_copy(update={"chart": "oci://localhost:5050/charts/one", "needs": ()})
    (line,) = _lines(workspace, replace(facts, releases=(release,)))["releases"]
    assert "one oci://localhost:5050/charts/one --namespace platform --plain-http --version 1.0.0" in line


def test_releases_stand_in_the_level_that_their_needs_allow(workspace: Workspace, facts: Facts) -> None:
    lines = _lines(workspace, facts)
    assert [line.split("--install ")[1].split()[0] for line in lines["releases, level 1"]] == ["one", "three"]
    first, second = lines["releases, level 1"][0], lines["releases, level 2"][0]
    assert "helm upgrade --install one repo/one --namespace platform --version 1.0.0" in first
    assert " --wait " in first
    assert " --wait " not in lines["releases, level 1"][1]
    assert "--install two" in second


def test_the_cluster_is_made_as_k3d_does_it_by_default(workspace: Workspace, facts: Facts) -> None:
    [line] = _lines(workspace, facts)["cluster"]
    assert line.startswith("k3d cluster create openframe-bench --image ")
    assert "--servers 1 --agents 1" in line
    assert "--no-lb" not in line
    assert "--k3s-arg '--disable=metrics-server@server:*'" in line
    assert "--k3s-arg '--kubelet-arg=v=2@server:*;agent:*'" in line
    assert "kube-api-qps" not in line  # what this project adds by itself is no default
    assert line.count("--registry-use") == len(facts.shape.registries)
    [bare] = create(workspace, facts, bare=True).calls
    assert "--no-lb" in bare.command.argv


@pytest.mark.parametrize(
    ("image", "permitted"), [("rancher/k3s:v1.35.5-k3s1", True), ("rancher/k3s:v1.34.1-k3s1", False)]
)
def test_kubelets_are_permitted_cgroup_v1(workspace: Workspace, facts: Facts, image: str, permitted: bool) -> None:
    old = replace(facts, shape=replace(facts.shape, cgroup_v1=True, image=image))
    [line] = _lines(workspace, old)["cluster"]
    assert ("--kubelet-arg=fail-cgroupv1=false@server:*;agent:*" in line) is permitted


def test_a_secret_is_in_a_file_of_ours_and_in_no_command(workspace: Workspace, facts: Facts) -> None:
    lines = _lines(workspace, facts)
    assert "aHVudGVyMg==" not in str(lines)
    path = Path(lines["secrets"][0].split()[-1])
    assert "aHVudGVyMg==" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_registries_that_stand_are_left_standing(workspace: Workspace, tmp_path: Path) -> None:
    names = stages(workspace, given.facts(tmp_path, settings=SETTINGS))[1].calls
    there = {call.command.argv[call.command.argv.index("--name") + 1]: object() for call in names}
    lines = _lines(workspace, given.facts(tmp_path, settings=SETTINGS, registries=there))
    assert "registries" not in lines


@pytest.mark.parametrize("together", [False, True])
def test_the_script_is_bash(workspace: Workspace, facts: Facts, together: bool) -> None:
    planned = stages(workspace, facts)
    lines = script(planned, workspace.environ, together=together)
    subprocess.run(["bash", "-n"], input="\n".join(lines), text=True, check=True)
    commands = [call.command.argv[0] for stage in planned for call in stage.calls]
    assert sum(" >/dev/null" in line for line in lines) == len(commands)
    assert sum(line.startswith("for pid in") for line in lines) == (len(planned) if together else 0)
    assert f"export KUBECONFIG={workspace.kubeconfig}" in lines
    assert not [line for line in lines if "K3D_AGENTS" in line]  # k3d would take it for its own


def test_helm_has_files_of_its_own(workspace: Workspace) -> None:
    own = {name: value for name, value in workspace.environ.items() if name.startswith("HELM_") and value}
    assert own
    assert all(value.startswith(str(workspace.folder)) for value in own.values())
