"""Other names, more of everything, taken ports, and a user who has clusters of his own."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.real.conftest import Make
from tests.real.project import Project, run
from tests.real.world import World

CLUSTER = "other-one"
NAMESPACES = [f"team-{number}" for number in range(12)]
ARGUMENTS = [
    "--cluster-cidr=10.52.0.0/16",
    "--service-cidr",
    "10.53.0.0/16",
    "cluster-domain home.arpa@all",
    "--node-label=a=b",
]
LOGIN = "http://me:pa$$wo$rd@x@proxy.example:3128"
FOREIGN = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "current-context": "work",
    "clusters": [
        {"name": "production", "cluster": {"server": "https://192.0.2.1:6443", "insecure-skip-tls-verify": True}}
    ],
    "users": [{"name": "me", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}}}],
    "contexts": [
        {"name": "work", "context": {"cluster": "production", "user": "me", "namespace": "mine"}},
        {"name": "other", "context": {"cluster": "production", "user": "me"}},
    ],
}


DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
"""
WIDGET = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "own", "namespace": "team-0"}}
BESIDE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beside", "namespace": "team-0"}}


def operator(folder: Path) -> Path:
    """A chart that defines a kind, and nothing else."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: widgets\nversion: 1.0.0\n")
    (folder / "templates" / "crd.yaml").write_text(DEFINITION)
    return folder


@contextlib.contextmanager
def listening(*ports: int) -> Iterator[None]:
    """Somebody else's servers on loopback; a port that is taken already is as good."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            server = stack.enter_context(socket.socket())
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                server.bind(("127.0.0.1", port))
                server.listen()
        yield


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Iterator[Project]:
    releases = []
    for number in range(12):
        # chains three deep: 0 <- 1 <- 2, 3 <- 4 <- 5, …
        needs = [f"svc-{number - 1}"] if number % 3 else []
        releases.append(here.release(number, NAMESPACES[number], name=f"svc-{number}", needs=needs))
    cluster = {"agents": 3, "args": {"k3s": ARGUMENTS}, "env": [f"EXAMPLE={LOGIN}@agent:*"]}
    settings = here.settings(releases, namespaces=NAMESPACES, cluster=cluster)
    result = make(CLUSTER, settings)
    chart, own = operator(result.folder / "widgets"), result.folder / "own.yaml"
    own.write_text(yaml.safe_dump_all([WIDGET, BESIDE]))
    late = {"name": "widgets", "namespace": "team-0", "chart": str(chart), "needs": ["svc-1"]}
    helm = {**settings["helm"], "releases": [*releases, late]}
    result.configure({**settings, "helm": helm, "manifests": {"files": [str(own)]}})
    first, second = result.home / "first", result.home / "second"
    first.write_text(yaml.safe_dump(FOREIGN, sort_keys=False))
    first.chmod(0o640)
    second.write_text(yaml.safe_dump({**FOREIGN, "current-context": "", "contexts": []}, sort_keys=False))
    result.environ["KUBECONFIG"] = f"{first}:{second}"
    with listening(80, 443, 6550):
        done = result.invoke("up")
        assert done.code == 0, done.text
        yield result


def test_everything_stands(project: Project) -> None:
    names = {item["metadata"]["name"] for item in project.objects("namespaces")}
    assert names >= set(NAMESPACES)
    assert len(project.objects("nodes")) == 4
    assert len([s for s in project.objects("secrets") if s["metadata"]["name"] == "github-pat-secret"]) == 12
    deployed = [d for d in project.objects("deployments") if d["metadata"]["namespace"] in NAMESPACES]
    assert len(deployed) == 12
    assert all(d["status"].get("availableReplicas") for d in deployed)


def test_arguments_of_k3s_are_followed_however_they_are_written(project: Project) -> None:
    nodes = project.objects("nodes")
    assert all(node["spec"]["podCIDR"].startswith("10.52.") for node in nodes)
    assert all(node["metadata"]["labels"].get("a") == "b" for node in nodes), "agents take it too"
    policies = json.dumps(
        [each for each in project.objects("networkpolicies") if each["metadata"]["namespace"] == "team-0"]
    )
    assert "10.52.0.0/31" in policies
    assert "10.42." not in policies
    (dns,) = [each for each in project.objects("configmaps") if each["metadata"]["name"] == "node-local-dns"]
    assert "home.arpa:53" in dns["data"]["Corefile"]
    assert "10.53.0.10" in dns["data"]["Corefile"]


def test_the_nodes_that_a_variable_is_for_have_it_as_it_is_written(project: Project) -> None:
    for name, there in (("server-0", False), ("agent-0", True)):
        shown = run("docker", "inspect", "--format", "{{json .Config.Env}}", f"k3d-{CLUSTER}-{name}")
        assert (f"EXAMPLE={LOGIN}" in json.loads(shown)) is there


def test_releases_came_in_the_order_of_their_needs(project: Project) -> None:
    steps = {step["name"]: step for step in project.record()["steps"]}
    for number in range(12):
        if number % 3:
            before = steps[f"helm: svc-{number - 1} in team-{number - 1} ready"]
            assert steps[f"helm: install svc-{number} in team-{number}"]["start_s"] >= before["end_s"]


def test_a_manifest_whose_kind_a_release_brings_was_applied_when_it_was_served(project: Project) -> None:
    assert [each["metadata"]["name"] for each in project.objects("widgets.example.com")] == ["own"]
    steps = {step["name"]: step for step in project.record()["steps"]}
    own, fetched = steps["manifests: yours"], steps["helm: install widgets in team-0"]
    assert own["start_s"] < fetched["start_s"], "it waits for nothing before it begins"
    assert own["end_s"] > fetched["start_s"]
    assert own["attempts"] == 1
    assert "widget/own after" in own["why"]


def test_taken_ports_were_left_alone(project: Project) -> None:
    server = json.loads(run("docker", "inspect", f"k3d-{CLUSTER}-server-0"))[0]
    bound = {inside.split("/")[0]: rows[0]["HostPort"] for inside, rows in server["HostConfig"]["PortBindings"].items()}
    assert bound["80"] != "80"
    assert bound["443"] != "443"
    assert bound["6443"] != "6550"
    assert (
        "is used"
        in project.record()["steps"][[s["name"] for s in project.record()["steps"]].index("cluster: create")]["why"]
    )


def test_the_users_other_contexts_are_all_still_there(project: Project) -> None:
    first, second = (Path(text) for text in project.environ["KUBECONFIG"].split(":"))
    found = yaml.safe_load(first.read_text())
    for part in ("clusters", "users", "contexts"):
        for row in FOREIGN[part]:
            assert row in found[part]
    assert found["preferences"] == FOREIGN["preferences"]
    assert found["current-context"] == f"k3d-{CLUSTER}"
    assert first.stat().st_mode & 0o777 == 0o640
    assert yaml.safe_load(second.read_text()) == {**FOREIGN, "current-context": "", "contexts": []}


def test_down_gives_the_kubeconfig_back_as_it_was(project: Project) -> None:
    assert project.invoke("down").code == 0
    first, second = (Path(text) for text in project.environ["KUBECONFIG"].split(":"))
    assert yaml.safe_load(first.read_text()) == FOREIGN
    assert yaml.safe_load(second.read_text()) == {**FOREIGN, "current-context": "", "contexts": []}
