"""The whole launch: from a fresh clone, again at once, after damage, and its end."""

import base64
import json
import os
import subprocess

import pytest
import yaml

from tasks.clients import docker
from tasks.core.imageref import parse
from tasks.kube.components import POLICY
from tasks.run.components import DEFER, RELEASE
from tasks.settings.derived import PULL_AHEAD
from tests.real.conftest import Make
from tests.real.project import TOKEN, Project, containers, remains, run
from tests.real.world import World

NAMESPACES = [
    "platform",
    "openframe-datasources",
    "openframe-microservices",
    "integrated-tools-datasources",
    "integrated-tools",
    "client-tools",
]
CLUSTER, NEIGHBOUR = "openframe-real", "openframe-real-2"


CHARTS = {
    "operator": """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: rules.example.com
  annotations: {since: 2024-02-31}
spec:
  group: example.com
  names: {kind: Rule, plural: rules, singular: rule, listKind: RuleList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          operator:
            type: string
            enum:
            - =
            - "!="
""",
    "rules": """\
{{- if not (.Capabilities.APIVersions.Has "example.com/v1/Rule") }}{{ fail "nobody serves rules" }}{{ end }}
apiVersion: example.com/v1
kind: Rule
metadata: {name: mine}
operator: =
""",
}
"""What people's charts bring: a definition that only Kubernetes' reader takes, and a chart that needs its cluster."""


@pytest.fixture(scope="module")
def project(here: World, make: Make, tmp_path_factory: pytest.TempPathFactory) -> Project:
    releases = [here.release(number, NAMESPACES[number]) for number in range(5)]
    for name, text in CHARTS.items():
        folder = tmp_path_factory.mktemp("charts") / name
        (folder / "templates").mkdir(parents=True)
        (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n")
        (folder / "templates" / "all.yaml").write_text(text)
        needs = {"needs": ["operator"]} if name == "rules" else {}
        releases.append({"name": name, "namespace": NAMESPACES[0], "chart": str(folder), **needs})
    return make(CLUSTER, here.settings(releases, cluster={"pull_ahead": True}))


@pytest.fixture(scope="module")
def neighbour(here: World, make: Make) -> list[str]:
    """Another cluster whose name begins with this one's; its containers."""
    other = make(NEIGHBOUR, here.settings([], registries={"push": False, "caches": []}))
    done = other.invoke("cluster", "--set", "cluster.agents=0")
    assert done.code == 0, done.text
    return ids(NEIGHBOUR)


def ids(cluster: str) -> list[str]:
    return sorted(run("docker", "ps", "--quiet", "--filter", f"label=k3d.cluster={cluster}").split())


def hits(name: str) -> int:
    """Blobs that were requested from a cache, from distribution's log."""
    logs = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
    return (logs.stdout + logs.stderr).count("/blobs/sha256")


def test_up_makes_the_whole_environment(project: Project, neighbour: list[str]) -> None:
    assert neighbour
    done = subprocess.run(
        ["make", "up", f"ARGS=--profile {project.profile}"],
        cwd=project.root,
        env={**os.environ, **project.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "registry: find images of rules in platform: left out" in done.stdout
    assert [rule["operator"] for rule in project.objects("rules.example.com")] == ["="]
    names = {item["metadata"]["name"] for item in project.objects("namespaces")}
    assert names >= set(NAMESPACES)
    secrets = [s for s in project.objects("secrets") if s["metadata"]["name"] == "github-pat-secret"]
    assert sorted(s["metadata"]["namespace"] for s in secrets) == sorted(NAMESPACES)
    for secret in secrets:
        login = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]["ghcr.io"]
        assert login["password"] == TOKEN
    for kind in ("resourcequotas", "limitranges", "networkpolicies"):
        assert sorted(o["metadata"]["namespace"] for o in project.objects(kind)) == sorted(NAMESPACES), kind
    assert "openframe-local" in {o["metadata"]["name"] for o in project.objects("storageclasses")}
    assert "node-local-dns" in {o["metadata"]["name"] for o in project.objects("configmaps")}
    ready = {
        (d["metadata"]["namespace"], d["metadata"]["name"]): d["status"].get("availableReplicas", 0)
        for d in project.objects("deployments")
        if d["metadata"]["namespace"] in NAMESPACES
    }
    assert len(ready) >= 5
    assert all(ready.values()), ready


def test_images_were_pulled_into_the_server(project: Project) -> None:
    """Whether a pod there requests one before or after depends on the scheduler and the network."""
    steps = [step for step in project.record()["steps"] if step["name"].startswith(PULL_AHEAD)]
    assert len(steps) >= 5
    assert {step["state"] for step in steps} <= {"ran", "skipped"}
    pulled = {step["name"].removeprefix(PULL_AHEAD) for step in steps if step["why"] == "1 of 1 images"}
    assert pulled, steps
    listed = docker.image_names(run(*docker.node_images(f"k3d-{CLUSTER}-server-0").argv))
    there = {parse(name).full for name in listed}
    requested = {
        parse(container["image"]).full
        for deployment in project.objects("deployments")
        if "{name} in {namespace}".format(**deployment["metadata"]) in pulled
        for container in deployment["spec"]["template"]["spec"]["containers"]
    }
    assert requested
    assert requested <= there


def test_metrics_server_was_deferred_and_nothing_of_that_is_left(project: Project) -> None:
    """It is in kube-system where the nodes' image brings it."""
    steps = {step["name"]: step for step in project.record()["steps"]}
    assert steps[DEFER]["why"].startswith("until the launch is over"), steps[DEFER]
    assert steps[RELEASE]["state"] == "ran"
    kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings"
    assert POLICY not in project.kubectl("get", kinds, "--output=name")
    reported = [
        e["message"] for e in project.objects("events") if e.get("reason") == "FailedCreate" and POLICY in e["message"]
    ]
    there = {item["metadata"]["name"] for item in project.objects("deployments")}
    assert bool(reported) == ("metrics-server" in there)


def test_the_caches_served_the_pulls(project: Project) -> None:
    caches = run("docker", "ps", "--filter", "label=openframe.cache", "--format", "{{.Names}}").split()
    requested = {name: hits(name) for name in caches if "cache" in name}
    assert sum(requested.values()) > 0, requested


def test_limits_and_labels_of_the_nodes(project: Project) -> None:
    roles = {node["metadata"]["name"]: node["metadata"]["labels"].get("role") for node in project.objects("nodes")}
    assert roles[f"k3d-{CLUSTER}-server-0"] == "server"
    assert {role for name, role in roles.items() if "agent" in name} <= {"agent"}
    shown = run("docker", "inspect", "--format", "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}", *ids(CLUSTER))
    for line in shown.splitlines():
        cpus, memory = line.split()
        assert int(cpus) > 0
        assert int(memory) > 0


def test_the_private_kubeconfig_is_private_and_the_users_has_the_entry(project: Project) -> None:
    assert project.kubeconfig.stat().st_mode & 0o777 == 0o600
    shown = run("kubectl", "--kubeconfig", project.environ["KUBECONFIG"], "config", "current-context")
    assert shown.strip() == f"k3d-{CLUSTER}"


def test_again_at_once_nothing_is_done_and_every_step_says_why(project: Project) -> None:
    project.kubectl("wait", "--for=condition=Available", "deployments", "--all", "--all-namespaces", "--timeout=90s")
    before = project.kubectl("get", "all,secrets,configmaps", "--all-namespaces", "--output=name")
    done = project.invoke("up")
    assert done.code == 0, done.text
    assert "nothing to do" in done.out
    steps = project.record()["steps"]
    assert {step["state"] for step in steps} == {"skipped"}
    assert all(step["why"] for step in steps)
    assert project.kubectl("get", "all,secrets,configmaps", "--all-namespaces", "--output=name") == before
    assert project.invoke("status").code == 0


def test_what_was_deleted_by_hand_is_restored_and_nothing_else(project: Project) -> None:
    project.kubectl("--namespace", NAMESPACES[0], "delete", "secret", "github-pat-secret")
    helm = ["helm", "--kubeconfig", str(project.kubeconfig)]
    deployed = json.loads(run(*helm, "list", "--namespace", NAMESPACES[2], "--output", "json"))[0]["name"]
    run(*helm, "uninstall", deployed, "--namespace", NAMESPACES[2])
    assert project.invoke("status").code == 5
    done = project.invoke("up")
    assert done.code == 0, done.text
    ran = {name for name, state in project.states().items() if state == "ran"}
    where = f"{deployed} in {NAMESPACES[2]}"
    waits = {"cluster: watch the nodes", "health: components in use"}
    assert ran - waits == {"secrets: apply", f"helm: install {where}", f"helm: {where} ready"}
    assert "nothing to do" in project.invoke("up").out


def test_an_upgrade_meets_a_deployment_that_somebody_has_scaled(project: Project) -> None:
    """Helm 4 refuses to upgrade it by itself."""
    release, namespace = "app-b", NAMESPACES[1]
    settings = project.profile.read_text()
    changed = yaml.safe_load(settings)
    (row,) = (each for each in changed["helm"]["releases"] if each["name"] == release)
    for whose, replicas in (("theirs", 2), ("ours", 1)):
        project.kubectl("--namespace", namespace, "scale", f"deployment/{release}", "--replicas=2")
        row |= {"conflicts": whose, "values": {"round": whose}}
        project.configure(changed)
        done = project.invoke("helm")
        assert done.code == 0, done.text
        output = f"spec.replicas of deployment/{release} in {namespace}, owned by kubectl"
        assert output in " ".join(done.out.split()), done.out
        found = project.kubectl(
            "--namespace", namespace, "get", f"deployment/{release}", "--output=jsonpath={.spec.replicas}"
        )
        assert int(found) == replicas
        assert project.invoke("status").code == 0
    project.profile.write_text(settings)
    assert project.invoke("helm").code == 0


def test_a_diff_names_what_somebody_has_changed_and_nothing_else(project: Project) -> None:
    assert project.invoke("plan", "--diff", "--exit-code").code == 0
    release, namespace = "app-b", NAMESPACES[1]
    project.kubectl("--namespace", namespace, "scale", f"deployment/{release}", "--replicas=0")
    project.kubectl("--namespace", namespace, "delete", f"service/{release}", "resourcequota/openframe-quota")
    done = project.invoke("plan", "--diff", "--exit-code")
    assert done.code == 5, done.text
    named = {line.strip() for line in done.out.splitlines() if line.lstrip()[:2] in ("+ ", "~ ", "- ")}
    assert {each for each in named if " release " not in each} == {
        f"+ {namespace}/resourcequota/openframe-quota",
        f"+ {namespace}/service/{release}",
        f"~ {namespace}/deployment/{release}",
    }
    assert "spec.replicas: 0 → 1" in done.out
    assert project.invoke("up").code == 0
    assert "no differences" in project.invoke("status", "--diff").out


def test_a_stopped_cluster_is_started(project: Project) -> None:
    assert project.invoke("health").code == 0, "what the launch deferred is there by now"
    assert project.invoke("down", "--stop").code == 0
    assert project.invoke("status").code == 3
    assert project.invoke("namespaces").code == 3
    done = project.invoke("up")
    assert done.code == 0, done.text
    assert project.invoke("status").code == 0


def test_the_records_are_there(project: Project) -> None:
    record = project.record()
    assert record["schema"] == 1
    assert record["outcome"] == "ok"
    assert record["system"]["k3d"]
    log = (project.logs / "cluster_setup_benchmark.log").read_text()
    assert "Cluster setup completed in" in log
    assert project.logs.stat().st_mode & 0o777 == 0o700


def test_another_owner_is_refused_with_the_name_of_this_one(project: Project) -> None:
    nodes = containers(project.cluster)
    for task, options in (("down", ()), ("up", ("--recreate",)), ("namespaces", ())):
        done = project.invoke(task, *options, OPENFRAME_OWNER="somebody-else")
        assert done.code == 2, done.text
        assert f"the cluster '{project.cluster}' belongs to " in done.err
    assert containers(project.cluster) == nodes


def test_down_leaves_nothing_but_the_shared_registries(project: Project, neighbour: list[str]) -> None:
    done = project.invoke("down")
    assert done.code == 0, done.text
    assert remains(CLUSTER) == []
    assert list((project.folder / "tmp").iterdir()) == []
    assert not project.kubeconfig.exists()
    contexts = run("kubectl", "--kubeconfig", project.environ["KUBECONFIG"], "config", "get-contexts", "--output=name")
    assert f"k3d-{CLUSTER}" not in contexts.split()
    assert "k3d-openframe-registry" in run("docker", "ps", "--format", "{{.Names}}").split()
    assert ids(NEIGHBOUR) == neighbour
    assert containers(NEIGHBOUR)
    assert project.invoke("down").code == 0
    assert project.invoke("status").code == 4


def test_no_token_stands_in_any_file_that_is_left(project: Project) -> None:
    for path in project.folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and project.root not in path.parents:
            assert TOKEN.encode() not in path.read_bytes(), path
