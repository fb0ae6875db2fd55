"""The engine `existing`: the same objects on a foreign cluster, which is neither created nor removed."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.real.conftest import Make
from tests.real.project import Project, containers, run
from tests.real.sameness import differences, objects
from tests.real.world import World

CLUSTER = "somebody-elses"
CONTEXT = "their-cluster"


@pytest.fixture(scope="module")
def project(here: World, make: Make) -> Project:
    bare = {"agents": 0, "args": {"k3s": ["disable=metrics-server"]}}  # it would still start: a change by nobody
    result = make(CLUSTER, here.settings([here.release(0, "apps")], namespaces=["apps", "more"], cluster=bare))
    for task in ("cluster", "health"):
        done = result.invoke(task)
        assert done.code == 0, done.text
    theirs = result.home / "their-kubeconfig"
    theirs.write_text(result.kubeconfig.read_text())
    run("kubectl", "--kubeconfig", str(theirs), "config", "rename-context", f"k3d-{CLUSTER}", CONTEXT)
    run("kubectl", "--kubeconfig", str(theirs), "config", "unset", "current-context")
    result.environ["KUBECONFIG"] = str(theirs)
    return result


def existing(project: Project, task: str, *options: str, code: int = 0, context: str = CONTEXT) -> str:
    done = project.invoke(task, "--engine", "existing", "--context", context, *options)
    assert done.code == code, done.text
    return done.text


def test_the_context_must_be_named_and_be_there(project: Project) -> None:
    assert project.invoke("up", "--engine", "existing").code == 2
    wrong = project.invoke("up", "--engine", "existing", "--context", "no-such")
    assert wrong.code == 2
    assert CONTEXT in wrong.err


def test_what_is_there_is_refused_with_its_owner_and_not_touched(project: Project) -> None:
    project.kubectl("create", "namespace", "taken")
    project.kubectl("create", "secret", "generic", "github-pat-secret", "--namespace", "taken", "--from-literal=a=b")
    before = objects(project)
    for task in ("plan", "status", "up"):
        text = existing(project, task, "--set", 'namespaces=["taken"]', code=2)
        assert "taken/secret/github-pat-secret" in text
        assert "field manager kubectl-create" in text
    assert differences(before, objects(project)) == []


def test_up_puts_the_same_objects_in_and_touches_no_cluster(project: Project) -> None:
    before, theirs = containers(CLUSTER), Path(project.environ["KUBECONFIG"]).read_text()
    started = time.time()
    existing(project, "up")
    assert containers(CLUSTER) == before
    assert Path(project.environ["KUBECONFIG"]).read_text() == theirs
    events = run(
        "docker",
        "events",
        "--since",
        str(int(started)),
        "--until",
        str(int(time.time()) + 1),
        "--filter",
        "type=container",
        "--filter",
        "event=create",
        "--format",
        "{{json .}}",
    )
    assert not [line for line in events.splitlines() if json.loads(line)["Actor"]["Attributes"].get("app") == "k3d"]
    names = {item["metadata"]["name"] for item in project.objects("namespaces")}
    assert {"apps", "more"} <= names
    secrets = [s["metadata"] for s in project.objects("secrets") if s["metadata"]["name"] == "github-pat-secret"]
    assert {each["namespace"] for each in secrets} == {"apps", "more", "taken"}
    assert len(project.objects("networkpolicies")) == 2
    assert "node-local-dns" not in {item["metadata"]["name"] for item in project.objects("configmaps")}
    assert "openframe-local" not in {item["metadata"]["name"] for item in project.objects("storageclasses")}
    assert "nothing to do" in existing(project, "up")
    existing(project, "status")


def test_a_token_or_a_credential_plugin_is_enough_and_one_that_is_revoked_is_named(project: Project) -> None:
    project.kubectl("create", "serviceaccount", "boss")
    project.kubectl(
        "create", "clusterrolebinding", "boss", "--clusterrole=cluster-admin", "--serviceaccount=default:boss"
    )
    token = project.kubectl("create", "token", "boss").strip()
    version, theirs = "client.authentication.k8s.io/v1", project.environ["KUBECONFIG"]
    end = f"{datetime.now(UTC) + timedelta(seconds=10):%Y-%m-%dT%H:%M:%SZ}"
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token, "expirationTimestamp": end}}
    program = Path(theirs).with_name("their-login")
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
    program.chmod(0o755)
    document = yaml.safe_load(Path(theirs).read_text())
    login = {"exec": {"command": "./their-login", "apiVersion": version, "interactiveMode": "IfAvailable"}}
    for name, user in {"by-token": {"token": token}, "by-plugin": login}.items():
        document["users"].append({"name": name, "user": user})
        cluster = document["contexts"][0]["context"]["cluster"]
        document["contexts"].append({"name": name, "context": {"cluster": cluster, "user": name}})
    Path(theirs).write_text(yaml.safe_dump(document))
    for context in ("by-token", "by-plugin"):
        assert "nothing to do" in existing(project, "up", context=context)
    project.kubectl("delete", "serviceaccount", "boss")
    time.sleep(11)  # the API server remembers a token for 10 s (kube-apiserver: `TokenSuccessCacheTTL`)
    for context in ("by-token", "by-plugin"):
        text = existing(project, "up", context=context, code=1)
        assert f"user '{context}' in {theirs}" in text
        assert token not in text


def test_down_asks_and_removes_only_what_it_created(project: Project) -> None:
    project.kubectl("create", "namespace", "not-ours")
    project.kubectl("label", "namespace", "not-ours", "app.kubernetes.io/managed-by=openframe")
    project.kubectl("create", "configmap", "notes", "--namespace", "more")
    refused = existing(project, "down", code=2)
    assert "--yes" in refused
    existing(project, "down", "--yes")
    names = {item["metadata"]["name"] for item in project.objects("namespaces")}
    assert names & {"apps", "more", "not-ours"} == {"more", "not-ours"}
    project.kubectl("delete", "configmap", "notes", "--namespace", "more")
    existing(project, "down", "--yes")
    names = {item["metadata"]["name"] for item in project.objects("namespaces")}
    assert names & {"apps", "more", "not-ours"} == {"not-ours"}
    assert containers(CLUSTER)
