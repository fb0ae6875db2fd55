"""What keeps a pod, or what creates pods; messages as the kubelet, containerd and the scheduler write them."""

from typing import Any

import pytest

from tasks.core.errors import Diagnosis
from tasks.core.redact import conceal
from tasks.diagnose.pods import CRASHES, diagnose_pod, diagnose_scheduling, diagnose_workload, too_much
from tests.diagnose.objects import node, pod, unschedulable, waiting

_RESOLVE = (
    'failed to pull and unpack image "docker.io/library/nope:1": failed to resolve reference '
    '"docker.io/library/nope:1": '
)
_MANIFEST = "https://registry-1.docker.io/v2/library/nope/manifests/1"
_QUOTA = (
    'pods "app-7c-x" is forbidden: exceeded quota: openframe, requested: requests.memory=4Gi, used: '
    "requests.memory=15Gi, limited: requests.memory=16Gi"
)


def found(status: dict[str, Any], nodes: tuple[dict[str, Any], ...] = ()) -> Diagnosis:
    """Of a pod that cannot become ready."""
    diagnosis = diagnose_pod(status, nodes)
    assert diagnosis is not None
    assert diagnosis.fix
    return diagnosis


@pytest.mark.parametrize(
    ("reason", "message", "cause", "transient"),
    [
        # containerd 1.7, `rpc error` as the kubelet of Kubernetes 1.32 repeats it
        (
            "ErrImagePull",
            f"rpc error: code = NotFound desc = {_RESOLVE}docker.io/library/nope:1: not found",
            "image-missing",
            False,
        ),
        (
            "ErrImagePull",
            (
                f"{_RESOLVE}pull access denied, repository does not exist or may require authorization: server "
                "message: insufficient_scope: authorization failed"
            ),
            "image-denied",
            False,
        ),
        # Kubernetes 1.32 and later: the reason is kept while it waits
        (
            "ImagePullBackOff",
            f'Back-off pulling image "nope:1": ErrImagePull: {_RESOLVE}docker.io/library/nope:1: not found',
            "image-missing",
            False,
        ),
        # earlier versions do not keep it
        ("ImagePullBackOff", 'Back-off pulling image "nope:1"', "image-pull", True),
        # suxess-it/kubriX#1075
        (
            "ErrImagePull",
            (
                'failed to pull and unpack image "docker.io/prom/memcached-exporter:v0.15.0": failed to copy: '
                f"httpReadSeeker: failed open: unexpected status code {_MANIFEST}: 429 Too Many Requests - Server "
                "message: toomanyrequests: You have reached your unauthenticated pull rate limit."
            ),
            "rate-limit",
            True,
        ),
        (
            "ErrImagePull",
            (
                f'{_RESOLVE}failed to do request: Head "{_MANIFEST}": dial tcp: lookup registry-1.docker.io on '
                "10.43.0.10:53: no such host"
            ),
            "dns",
            True,
        ),
        (
            "ErrImagePull",
            f'{_RESOLVE}failed to do request: Head "{_MANIFEST}": http: server gave HTTP response to HTTPS client',
            "registry-plain",
            False,
        ),
        ("ErrImagePull", f"{_RESOLVE}no match for platform in manifest: not found", "image-platform", False),
        (
            "ErrImagePull",
            (
                'failed to pull and unpack image "docker.io/library/x:1": failed to extract layer sha256:5d: mount '
                "callback failed: write /usr/lib/libc.so: no space left on device"
            ),
            "disk-full",
            False,
        ),
    ],
)
def test_images_that_do_not_come(reason: str, message: str, cause: str, transient: bool) -> None:
    diagnosis = found(pod(waiting(reason, message), image="nope:1"))
    assert (diagnosis.cause, diagnosis.transient) == (cause, transient)
    assert diagnosis.what == "pod web/app-1 cannot pull nope:1"
    assert diagnosis.details["image"] == "nope:1"
    last = message.rsplit(": ", 1)[-1]
    assert last in diagnosis.why or cause == "image-pull"


@pytest.mark.parametrize(
    ("reason", "message", "cause", "transient"),
    [
        ("CreateContainerConfigError", 'secret "db-password" not found', "secret-missing", True),
        ("CreateContainerConfigError", "container has runAsNonRoot", "container-config", False),
        ("CreateContainerError", "context deadline exceeded", "container-start", True),
    ],
)
def test_containers_that_cannot_be_created(reason: str, message: str, cause: str, transient: bool) -> None:
    diagnosis = found(pod(waiting(reason, message)))
    assert (diagnosis.cause, diagnosis.transient) == (cause, transient)
    assert diagnosis.what.startswith("pod web/app-1: ")
    assert "…" not in diagnosis.what + diagnosis.why


def test_an_image_that_only_the_status_names() -> None:
    status = pod(waiting("ErrImageNeverPull"))
    status["spec"] = {}
    assert found(status).what.endswith("does not have the image an image")
    status["status"]["containerStatuses"][0]["image"] = "nope:1"
    assert found(status).what.endswith("does not have the image nope:1")


def _crashing(restarts: int, **last: Any) -> dict[str, Any]:
    message = "back-off 40s restarting failed container=app pod=app-1_web(0c1)"
    return pod(waiting("CrashLoopBackOff", message, restarts=restarts, last=last), phase="Running")


def test_a_container_that_crashes() -> None:
    diagnosis = found(_crashing(2, exitCode=3, reason="Error", message="boot\nno database\n"))
    assert diagnosis.what == "pod web/app-1: its container crashes repeatedly"
    assert diagnosis.why == "it exited with code 3, and was restarted 2 times: no database"
    assert diagnosis.fix == "kubectl logs app-1 -c app --previous -n web"


@pytest.mark.parametrize(
    ("restarts", "last", "cause", "transient"),
    [
        (CRASHES - 1, {"exitCode": 1, "reason": "Error"}, "crash", True),
        (CRASHES, {"exitCode": 1, "reason": "Error"}, "crash", False),
        (2, {"exitCode": 137, "reason": "OOMKilled"}, "out-of-memory", True),
        (3, {"exitCode": 137, "reason": "OOMKilled"}, "out-of-memory", False),
        (1, {"reason": "StartError", "message": 'exec: "x": no such file or directory'}, "container-start", False),
        (1, {}, "crash", True),
    ],
)
def test_after_some_exits_it_is_not_transient(restarts: int, last: dict[str, Any], cause: str, transient: bool) -> None:
    diagnosis = found(_crashing(restarts, **last))
    assert (diagnosis.cause, diagnosis.transient) == (cause, transient)


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        (127, "code 127 (the shell does not find a program)"),
        (139, "code 139 (SIGSEGV)"),
        (255, "code 255,"),
        (0, "code 0 (success)"),
    ],
)
def test_what_an_exit_code_means(code: int, meant: str) -> None:
    diagnosis = found(_crashing(1, exitCode=code, reason="Error"))
    assert meant in diagnosis.why
    assert diagnosis.cause == ("crash" if code else "container-ends")


@pytest.mark.parametrize(("policy", "cause"), [("Always", "container-ends"), ("OnFailure", None)])
def test_a_container_that_has_ended_well(policy: str, cause: str | None) -> None:
    ended = {"name": "app", "restartCount": 1, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
    there = pod(ended, init=({**ended, "name": "init"},), phase="Running")
    there["spec"]["restartPolicy"] = policy
    diagnosis = diagnose_pod(there)
    assert (diagnosis and diagnosis.cause) == cause
    assert diagnosis is None or "container app" in diagnosis.what


@pytest.mark.parametrize("policy", [{}, {"restartPolicy": "Always"}], ids=["init", "sidecar"])
def test_an_init_container_that_does_not_end(policy: dict[str, str]) -> None:
    running = {"name": "wait", "ready": False, "state": {"running": {"startedAt": "2026-11-24T10:00:00Z"}}}
    waits = pod(waiting("PodInitializing"), init=(running,))
    waits["spec"]["initContainers"][0] |= policy
    diagnosis = diagnose_pod(waits)
    if policy:
        assert diagnosis is None
    else:
        assert diagnosis is not None
        assert (diagnosis.cause, diagnosis.transient) == ("init-running", True)
        assert diagnosis.what == "pod web/app-1 waits for its init container wait"


def test_an_init_container_is_named_where_there_are_several() -> None:
    init = waiting("ErrImagePull", "manifest unknown", name="migrate")
    diagnosis = found(pod(waiting("PodInitializing"), init=(init,), image="m:1"))
    assert diagnosis.what == "pod web/app-1 (container migrate) cannot pull m:1"


def test_what_does_not_pass_counts_before_what_may() -> None:
    both = pod(
        waiting("CreateContainerConfigError", 'secret "a" not found', name="a"),
        waiting("InvalidImageName", "x", name="b"),
    )
    assert found(both).cause == "image-name"


@pytest.mark.parametrize(
    ("status", "cause", "what"),
    [
        (
            {"reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."},
            "disk-full",
            "was put off its node",
        ),
        ({"reason": "Evicted", "message": "The node was low on resource: memory."}, "evicted", "was put off its node"),
        ({"reason": "NodeLost"}, "pod-failed", "has failed"),
        ({}, "pod-failed", "has failed"),
    ],
)
def test_a_pod_that_has_failed(status: dict[str, Any], cause: str, what: str) -> None:
    diagnosis = found(pod(phase="Failed", **status))
    assert (diagnosis.cause, diagnosis.what) == (cause, f"pod web/app-1 {what}")
    assert diagnosis.why == (status.get("message") or status.get("reason") or "its status gives no reason")


def test_a_pod_that_is_not_started_again() -> None:
    ended = {"name": "app", "restartCount": 0, "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}
    diagnosis = found(pod(ended, phase="Failed"))
    assert (diagnosis.cause, diagnosis.transient) == ("crash", True)
    assert "code 2" in diagnosis.why


def test_a_pod_whose_probe_has_not_passed() -> None:
    running = {"name": "app", "ready": False, "state": {"running": {"startedAt": "2026-11-24T10:00:00Z"}}}
    diagnosis = found(pod(running, phase="Running"))
    assert (diagnosis.cause, diagnosis.transient) == ("probe", True)
    assert diagnosis.why.endswith(": app")


@pytest.mark.parametrize(
    ("reason", "kind", "message"),
    [
        ("SchedulingGated", "PodScheduled", "Scheduling is blocked due to non-empty scheduling gates"),
        (
            "ReadinessGatesNotReady",
            "Ready",
            'the status of pod readiness gate "mesh.example/x" is not "True", but False',
        ),
    ],
)
def test_a_pod_of_which_another_program_has_to_say_something(reason: str, kind: str, message: str) -> None:
    diagnosis = found(pod(conditions={"PodScheduled": ("True", "", ""), kind: ("False", reason, message)}))
    assert (diagnosis.cause, diagnosis.why, diagnosis.transient) == ("pod-gated", message, True)


def test_a_pod_of_a_scheduler_that_is_not_there() -> None:
    waits = pod(phase="Pending")
    assert diagnose_pod(waits) is None
    waits["spec"]["schedulerName"] = "volcano"
    assert "the scheduler volcano" in found(waits).why


@pytest.mark.parametrize(
    "status",
    [
        pod(waiting("ContainerCreating")),
        pod(waiting("PodInitializing")),
        pod(),
        pod(phase="Succeeded"),
        pod(waiting("CrashLoopBackOff"), conditions={"Ready": ("True", "", "")}),
        {},
        {"status": None, "metadata": None},
    ],
)
def test_pods_that_nothing_keeps(status: dict[str, Any]) -> None:
    assert diagnose_pod(status) is None


def test_no_secret_is_repeated() -> None:
    conceal("s3cr3t-in-a-log")
    diagnosis = found(_crashing(1, exitCode=1, reason="Error", message="password s3cr3t-in-a-log is wrong"))
    assert "s3cr3t" not in str(diagnosis)
    assert "***" in diagnosis.why


def test_a_pod_that_no_node_takes_now() -> None:
    diagnosis = found(unschedulable("0/1 nodes are available: 1 Insufficient memory."))
    assert (diagnosis.cause, diagnosis.transient) == ("memory-short", True)


def test_a_pod_that_no_node_could_ever_take() -> None:
    big = unschedulable("0/2 nodes are available: 2 Insufficient memory.", requests={"memory": "4Gi"})
    diagnosis = found(big, (node("2Gi"), node("1500Mi")))
    assert not diagnosis.transient
    assert diagnosis.why == "it asks for 4 GiB of memory, and the largest node has 2 GiB of memory"


def test_reasons_are_counted_without_those_of_preemption() -> None:
    diagnosis = diagnose_scheduling(
        "pod web/app-1",
        "0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {dedicated: db}. preemption: "
        "0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
    )
    assert diagnosis.why == "1 Insufficient memory, 1 node(s) had untolerated taint {dedicated: db}"


@pytest.mark.parametrize(
    ("requests", "nodes", "expected"),
    [
        (
            {"memory": "4Gi"},
            [node("2Gi"), node("3Gi")],
            "it asks for 4 GiB of memory, and the largest node has 3 GiB of memory",
        ),
        ({"cpu": "2500m"}, [node("2Gi", "2")], "it asks for 2.5 CPUs, and the largest node has 2 CPUs"),
        ({"memory": "1Gi", "cpu": "1"}, [node("2Gi")], ""),
        ({}, [node("2Gi")], ""),
        ({"memory": "4Gi"}, [{"status": {}}], ""),
        ({"memory": "4Gi"}, [], ""),
    ],
)
def test_what_is_beyond_every_node(requests: dict[str, str], nodes: list[Any], expected: str) -> None:
    assert too_much(unschedulable("x", requests=requests), nodes) == expected


def test_init_containers_count_by_the_largest() -> None:
    big = unschedulable("x", requests={"memory": "1Gi"})
    requests = [{"resources": {"requests": {"memory": amount}}} for amount in ("5Gi", "2Gi")]
    big["spec"]["initContainers"] = requests
    assert too_much(big, [node("4Gi")]).startswith("it asks for 5 GiB")


def _workload(kind: str, *conditions: tuple[str, str, str, str]) -> dict[str, Any]:
    names = ("type", "status", "reason", "message")
    return {
        "kind": kind,
        "metadata": {"name": "app", "namespace": "web"},
        "status": {"conditions": [dict(zip(names, each, strict=True)) for each in conditions]},
    }


def test_a_quota_that_admits_no_pod() -> None:
    diagnosis = diagnose_workload(_workload("Deployment", ("ReplicaFailure", "True", "FailedCreate", _QUOTA)))
    assert diagnosis is not None
    what = "deployment web/app cannot create its pods: the quota openframe of the namespace is used up"
    assert diagnosis.what == what
    assert "requested: requests.memory=4Gi" in diagnosis.why
    assert diagnosis.transient


@pytest.mark.parametrize(("requested", "passes"), [("4Gi", True), ("16Gi", True), ("17Gi", False)])
def test_more_than_a_quota_allows_at_all_will_not_pass(requested: str, passes: bool) -> None:
    refusal = _QUOTA.replace("memory=4Gi", f"memory={requested}")
    diagnosis = diagnose_workload(_workload("Deployment", ("ReplicaFailure", "True", "FailedCreate", refusal)))
    assert diagnosis is not None
    assert diagnosis.transient is passes


@pytest.mark.parametrize(
    ("kind", "condition", "cause"),
    [
        (
            "ReplicaSet",
            ("ReplicaFailure", "True", "FailedCreate", 'pods "x" is forbidden: failed quota: q: must specify cpu'),
            "quota-unset",
        ),
        ("Job", ("Failed", "True", "BackoffLimitExceeded", "Job has reached the specified limit"), "job-failed"),
        ("Deployment", ("Progressing", "False", "ProgressDeadlineExceeded", "timed out"), "progress-deadline"),
    ],
)
def test_workloads_that_have_given_up(kind: str, condition: tuple[str, str, str, str], cause: str) -> None:
    diagnosis = diagnose_workload(_workload(kind, condition))
    assert diagnosis is not None
    assert (diagnosis.cause, diagnosis.transient) == (cause, False)


def test_a_job_names_its_log() -> None:
    diagnosis = diagnose_workload(_workload("Job", ("Failed", "True", "DeadlineExceeded", "it took too long")))
    assert diagnosis is not None
    assert (diagnosis.what, diagnosis.why) == ("job web/app has failed", "DeadlineExceeded: it took too long")
    assert diagnosis.fix == "kubectl logs job/app -n web"


@pytest.mark.parametrize(
    "item",
    [
        _workload(
            "Deployment",
            ("Progressing", "True", "ReplicaSetUpdated", ""),
            ("Available", "False", "MinimumReplicasUnavailable", ""),
        ),
        _workload("Deployment", ("ReplicaFailure", "False", "", "")),
        _workload("Job"),
        _workload("StatefulSet", ("Failed", "True", "x", "x")),
        {},
    ],
)
def test_workloads_that_nothing_keeps(item: dict[str, Any]) -> None:
    assert diagnose_workload(item) is None
