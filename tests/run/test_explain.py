"""Why something does not become ready, with what the cluster shows besides the status of its pod."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import Diagnosis
from tasks.diagnose.pods import diagnose_pod, diagnose_workload
from tasks.facts.facts import Facts
from tasks.run.explain import explain
from tests.diagnose import objects
from tests.given import facts
from tests.given_live import FakeApi, obj, reached
from tests.programs import FakePrograms

POD = "/api/v1/namespaces/web/pods/app-1"
LOG = f"{POD}/log?container=app&tailLines=20&previous=true"
FIRST = f"{POD}/log?container=app&tailLines=20"
EVENTS = "/api/v1/namespaces/web/events?fieldSelector=involvedObject.name%3D"
DENIED = (
    'failed to resolve reference "ghcr.io/shop/web:1": pull access denied, repository does not exist or may require '
    "authorization: server message: insufficient_scope: authorization failed"
)


def crashed(code: int = 1, restarts: int = 5) -> dict[str, Any]:
    last = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
    return objects.pod(objects.waiting("CrashLoopBackOff", restarts=restarts, last=last), phase="Running")


def why(tmp_path: Path, pod: dict[str, Any], *others: dict[str, Any], **answers: Any) -> Diagnosis:
    found = diagnose_pod(pod)
    assert found is not None
    return explain(_facts(tmp_path, {**pod, "apiVersion": "v1"}, *others, answers=answers), found)


def _facts(tmp_path: Path, *there: dict[str, Any], answers: dict[str, Any]) -> Facts:
    found = facts(tmp_path, FakePrograms())
    reached(found, FakeApi(*there, answers=answers))
    return found


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("starting\nFATAL: DB_HOST is not set\n", "FATAL: DB_HOST is not set"),
        ("Error: Cannot find module 'x'\n    at resolve (loader.js:1)\n", "Error: Cannot find module 'x'"),
        ("one\ntwo\n", "two"),
        ("login with s3cr3t-of-web failed\n", "login with *** failed"),
        ("DB_PASSWORD=hunter2-hunter2 is wrong", "DB_PASSWORD=*** is wrong"),
        ("the user logs in with in-the-manifest", "the user logs in with ***"),
    ],
)
def test_a_crash_has_the_end_of_its_log_without_secrets(log: str, shown: str, tmp_path: Path) -> None:
    pod = crashed()
    pod["spec"]["containers"][0]["env"] = [{"name": "API_TOKEN", "value": "in-the-manifest"}]
    secret = obj("Secret", "db", "web", data={"a": base64.b64encode(b"s3cr3t-of-web").decode()})
    found = why(tmp_path, pod, secret, **{LOG: log, EVENTS + "app-1": {"items": []}})
    assert found.why == f"it exited with code 1, and was restarted 5 times. Its log ends with: {shown}"
    assert found.fix == "kubectl logs app-1 -c app --previous -n web"


def test_no_log_is_shown_if_secrets_cannot_be_read(tmp_path: Path) -> None:
    denied = {"/api/v1/namespaces/web/secrets?fieldSelector=type%21%3Dhelm.sh%2Frelease.v1": (403, "no")}
    found = why(tmp_path, crashed(), **denied, **{LOG: "s3cr3t", EVENTS + "app-1": {"items": []}})
    assert found.why == "it exited with code 1, and was restarted 5 times"


def test_a_container_that_may_still_come_up_is_not_examined(tmp_path: Path) -> None:
    found = why(tmp_path, crashed(restarts=2), **{LOG: "x"})
    assert "log" not in found.why


@pytest.mark.parametrize(
    ("event", "cause", "said"),
    [
        (
            objects.event("Killing", "Container app failed liveness probe, will be restarted", type="Normal"),
            "probe",
            "Liveness probe failed: HTTP probe failed with statuscode: 500",
        ),
        (objects.event("FailedPostStartHook", "PostStartHook failed"), "start-hook", "PostStartHook failed"),
        (objects.event("BackOff", "Back-off restarting failed container"), "crash", "code 137 (SIGKILL)"),
    ],
)
def test_who_ended_a_container(event: dict[str, Any], cause: str, said: str, tmp_path: Path) -> None:
    probe = objects.event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500", at="09:59:00")
    found = why(tmp_path, crashed(137), **{EVENTS + "app-1": {"items": [probe, event]}, LOG: (400, ""), FIRST: ""})
    assert (found.cause, found.transient) == (cause, False)
    assert said in found.why


def test_a_claim_without_a_storage_class_ends_the_wait(tmp_path: Path) -> None:
    pod = objects.unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
    pod["spec"]["volumes"] = [{"persistentVolumeClaim": {"claimName": "data"}}, {"emptyDir": {}}]
    missing = 'storageclass.storage.k8s.io "gp3" not found'
    event = objects.event("ProvisioningFailed", missing, kind="PersistentVolumeClaim", name="data")
    found = why(tmp_path, pod, **{EVENTS + "data": {"items": [event]}})
    assert (found.cause, found.transient) == ("storage-class", False)
    assert "there is no storage class 'gp3'" in found.what
    assert why(tmp_path, pod, **{EVENTS + "data": {"items": []}}).transient


def _login(host: str) -> dict[str, Any]:
    text = json.dumps({"auths": {host: {"auth": "eDp5"}}})
    return obj("Secret", "reg", "web", data={".dockerconfigjson": base64.b64encode(text.encode()).decode()})


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ([], "its imagePullSecret 'reg' does not exist"),
        ([_login("quay.io")], "its imagePullSecret 'reg' has no login for ghcr.io"),
        ([obj("Secret", "reg", "web", data={"a": "b"})], "'reg' is not of type kubernetes.io/dockerconfigjson"),
        ([_login("https://ghcr.io/v1/")], ""),
    ],
)
def test_a_pull_secret_that_does_not_help(secrets: list[dict[str, Any]], said: str, tmp_path: Path) -> None:
    pod = objects.pod(objects.waiting("ErrImagePull", DENIED), image="ghcr.io/shop/web:1")
    pod["spec"]["imagePullSecrets"] = [{"name": "reg"}]
    found = why(tmp_path, pod, *secrets)
    assert found.cause == "image-denied"
    assert found.why.endswith(said) if said else "imagePullSecret" not in found.why
    assert ("in the namespace web" in found.fix) is bool(said)


def test_a_job_has_the_end_of_its_pods_log(tmp_path: Path) -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "its limit"}
    item = {"kind": "Job", "metadata": {"name": "app", "namespace": "web"}, "status": {"conditions": [failed]}}
    found = diagnose_workload(item)
    assert found is not None
    there = _facts(
        tmp_path, {**objects.pod(), "apiVersion": "v1"}, answers={LOG: (400, ""), FIRST: "ERROR: no table\n"}
    )
    told = explain(there, replace(found, transient=False))
    assert told.why == "BackoffLimitExceeded: its limit. Its log ends with: ERROR: no table"


def test_a_log_that_its_node_has_removed(tmp_path: Path) -> None:
    gone = "unable to retrieve container logs for containerd://6523ac59"
    found = why(tmp_path, crashed(), **{LOG: gone, FIRST: "no such table\n", EVENTS + "app-1": {"items": []}})
    assert found.why.endswith("Its log ends with: no such table")
