"""What is the matter with a pod; messages as the kubelet and containerd write them."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.redact import conceal
from tasks.diagnose.pods import CRASHES, pod_trouble
from tests.causes.items import node, pod, unschedulable, waiting

_RESOLVE = (
    'failed to pull and unpack image "docker.io/library/nope:1": failed to resolve reference '
    '"docker.io/library/nope:1": '
)
_DENIED = (
    "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: "
    "authorization failed"
)

PULLS = [
    # containerd 1.7, `rpc error` as the kubelet of Kubernetes 1.32 hands it on
    (
        "ErrImagePull",
        f"rpc error: code = NotFound desc = {_RESOLVE}docker.io/library/nope:1: not found",
        "image-missing",
        True,
    ),
    ("ErrImagePull", f"{_RESOLVE}{_DENIED}", "image-denied", True),
    # Kubernetes 1.32 and later: the reason is kept while it waits
    (
        "ImagePullBackOff",
        f'Back-off pulling image "nope:1": ErrImagePull: {_RESOLVE}docker.io/library/nope:1: not found',
        "image-missing",
        True,
    ),
    # earlier versions do not keep it
    ("ImagePullBackOff", 'Back-off pulling image "nope:1"', "image-pull", False),
    # suxess-it/kubriX#1075
    (
        "ErrImagePull",
        (
            'failed to pull and unpack image "docker.io/prom/memcached-exporter:v0.15.0": failed to copy: '
            "httpReadSeeker: failed "
            "open: unexpected status code "
            "https://registry-1.docker.io/v2/prom/memcached-exporter/manifests/sha256:bb01: 429 Too "
            "Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. "
            "https://www.docker.com/increase-rate-limit"
        ),
        "rate-limit",
        False,
    ),
    (
        "ErrImagePull",
        (
            f'{_RESOLVE}failed to do request: Head "https://registry-1.docker.io/v2/library/nope/manifests/1": dial '
            f"tcp: lookup "
            "registry-1.docker.io on 10.43.0.10:53: no such host"
        ),
        "dns",
        False,
    ),
    (
        "ErrImagePull",
        (
            f'{_RESOLVE}failed to do request: Head "https://registry.lan:5000/v2/nope/manifests/1": http: server gave '
            f"HTTP response "
            "to HTTPS client"
        ),
        "registry-plain",
        True,
    ),
    ("ErrImagePull", f"{_RESOLVE}no match for platform in manifest: not found", "image-platform", True),
    (
        "ErrImagePull",
        (
            'failed to pull and unpack image "docker.io/library/x:1": failed to extract layer sha256:5d: mount '
            "callback failed: write "
            "/usr/lib/libc.so: no space left on device"
        ),
        "disk-full",
        True,
    ),
]


@pytest.mark.parametrize(("reason", "message", "cause", "hopeless"), PULLS)
def test_images_that_do_not_come(reason: str, message: str, cause: str, hopeless: bool) -> None:
    trouble = pod_trouble(pod(waiting(reason, message), image="nope:1"))
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == (cause, hopeless)
    assert trouble.what == "pod web/app-1 cannot pull nope:1"
    assert trouble.fix


def test_the_registrys_own_words_are_told() -> None:
    trouble = pod_trouble(pod(waiting(*PULLS[1][:2]), image="nope:1"))
    assert trouble is not None
    assert "insufficient_scope: authorization failed" in trouble.why
    assert str(trouble.error()).startswith("pod web/app-1 cannot pull nope:1\n  why: ")


@pytest.mark.parametrize(
    ("status", "cause", "hopeless", "says"),
    [
        (
            waiting(
                "InvalidImageName",
                'Failed to apply default image tag "A": couldn\'t parse image name "A": invalid reference '
                "format: repository name (library/A) must be lowercase",
            ),
            "image-name",
            True,
            "must be lowercase",
        ),
        (
            waiting("ErrImageNeverPull", 'Container image "x" is not present with pull policy of Never'),
            "image-never-pulled",
            True,
            "imagePullPolicy",
        ),
        (
            waiting("CreateContainerConfigError", 'secret "db-password" not found'),
            "secret-missing",
            False,
            "'db-password' is not there",
        ),
        (waiting("CreateContainerConfigError", 'configmap "app" not found'), "configmap-missing", False, "'app'"),
        (
            waiting("CreateContainerConfigError", "couldn't find key url in ConfigMap web/app"),
            "configmap-missing",
            False,
            "'web/app' has no key url",
        ),
        (
            waiting(
                "CreateContainerConfigError",
                'container has runAsNonRoot and image will run as root (pod: "app-1_web(0)", container: app)',
            ),
            "container-config",
            True,
            "runAsNonRoot",
        ),
        (
            waiting(
                "RunContainerError",
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc "
                'create failed: unable to start container process: error during container init: exec: "serve": '
                "executable file "
                "not found in $PATH: unknown",
            ),
            "container-start",
            True,
            "executable file not found",
        ),
        (waiting("CreateContainerError", "context deadline exceeded"), "container-start", False, "context deadline"),
    ],
)
def test_containers_that_cannot_be_made(status: Any, cause: str, hopeless: bool, says: str) -> None:
    trouble = pod_trouble(pod(status))
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == (cause, hopeless)
    assert says in f"{trouble.what} {trouble.why}"


def _crashing(restarts: int, **last: Any) -> dict[str, Any]:
    message = "back-off 40s restarting failed container=app pod=app-1_web(0c1)"
    return waiting("CrashLoopBackOff", message, restarts=restarts, last=last)


def test_a_container_that_crashes() -> None:
    trouble = pod_trouble(pod(_crashing(2, exitCode=3, reason="Error", message="boot\nno database\n"), phase="Running"))
    assert trouble is not None
    assert trouble.what == "pod web/app-1: its container ends again and again"
    assert trouble.why == "it ended with code 3, and was restarted 2 times: no database"
    assert trouble.fix == "kubectl logs app-1 -c app --previous -n web"
    assert not trouble.hopeless


def test_what_it_waited_for_would_have_come() -> None:
    assert [
        trouble.hopeless
        for restarts in (CRASHES - 1, CRASHES)
        if (trouble := pod_trouble(pod(_crashing(restarts, exitCode=1, reason="Error"))))
    ] == [False, True]


@pytest.mark.parametrize(("restarts", "hopeless"), [(1, False), (2, False), (3, True)])
def test_a_container_without_enough_memory(restarts: int, hopeless: bool) -> None:
    trouble = pod_trouble(pod(_crashing(restarts, exitCode=137, reason="OOMKilled"), phase="Running"))
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == ("out-of-memory", hopeless)
    assert "resources.limits.memory" in trouble.fix


def test_a_program_that_is_not_in_the_image_does_not_come_into_it() -> None:
    trouble = pod_trouble(
        pod(_crashing(1, exitCode=128, reason="StartError", message='exec: "x": no such file or directory'))
    )
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == ("container-start", True)


def test_an_init_container_is_named_where_there_are_several() -> None:
    trouble = pod_trouble(
        pod(
            waiting("PodInitializing"), init=(waiting("ErrImagePull", "manifest unknown", name="migrate"),), image="m:1"
        )
    )
    assert trouble is not None
    assert trouble.what == "pod web/app-1 (container migrate) cannot pull m:1"


def test_what_is_hopeless_counts_before_what_may_pass() -> None:
    both = pod(
        waiting("CreateContainerConfigError", 'secret "a" not found', name="a"),
        waiting("InvalidImageName", "x", name="b"),
    )
    trouble = pod_trouble(both)
    assert trouble is not None
    assert trouble.cause == "image-name"


def test_a_pod_that_was_put_off_its_node() -> None:
    trouble = pod_trouble(
        pod(
            phase="Failed",
            reason="Evicted",
            message="The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi",
        )
    )
    assert trouble is not None
    assert (trouble.cause, trouble.what) == ("disk-full", "pod web/app-1 was put off its node")


def test_a_pod_that_is_not_started_again() -> None:
    ended = {"name": "app", "restartCount": 0, "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}
    trouble = pod_trouble(pod(ended, phase="Failed"))
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == ("crash", False)
    assert "code 2" in trouble.why


def test_a_pod_whose_probe_has_not_passed() -> None:
    running = {
        "name": "app",
        "ready": False,
        "restartCount": 0,
        "state": {"running": {"startedAt": "2026-11-24T10:00:00Z"}},
    }
    trouble = pod_trouble(pod(running, phase="Running"))
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == ("probe", False)
    assert trouble.why.endswith(": app")


@pytest.mark.parametrize(
    "well",
    [
        pod(waiting("ContainerCreating")),
        pod(waiting("PodInitializing")),
        pod(),
        pod(phase="Succeeded"),
        pod(waiting("CrashLoopBackOff"), conditions={"Ready": ("True", "", "")}),
        pod(conditions={"PodScheduled": ("False", "SchedulingGated", "")}),
        {},
        {"status": None, "metadata": None},
    ],
)
def test_pods_that_are_well_or_on_their_way(well: dict[str, Any]) -> None:
    assert pod_trouble(well) is None


def test_a_pod_that_no_node_takes() -> None:
    trouble = pod_trouble(unschedulable("0/1 nodes are available: 1 Insufficient memory."))
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == ("memory-short", False)


def test_a_pod_that_no_node_could_ever_take() -> None:
    big = unschedulable("0/2 nodes are available: 2 Insufficient memory.", requests={"memory": "4Gi"})
    trouble = pod_trouble(big, [node("2Gi"), node("1500Mi")])
    assert trouble is not None
    assert trouble.hopeless
    assert trouble.why == "it asks for 4 GiB of memory, and the largest node has 2 GiB of memory"


def test_no_secret_is_told() -> None:
    conceal("s3cr3t-in-a-log")
    trouble = pod_trouble(pod(_crashing(1, exitCode=1, reason="Error", message="password s3cr3t-in-a-log is wrong")))
    assert trouble is not None
    assert "s3cr3t" not in str(trouble)
    assert "***" in trouble.why
