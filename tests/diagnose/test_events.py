"""What events say of a pod; messages of Kubernetes 1.32 and containerd 1.7 unless another source is named."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from tasks.core.errors import Diagnosis
from tasks.core.redact import conceal
from tasks.diagnose.events import diagnose_events, diagnose_pending_pull, is_outdated
from tests.diagnose.objects import event

_QUOTA = (
    'Error creating: pods "app-7c-x" is forbidden: exceeded quota: openframe, requested: pods=1, used: pods=100, '
    "limited: pods=100"
)
_FORBIDDEN = 'Error creating: pods "app-7c-x" is forbidden: '
_SANDBOX = "Failed to create pod sandbox: rpc error: code = Unknown desc = "
_PAUSE = "docker.io/rancher/mirrored-pause:3.6"


def told(*events: Mapping[str, Any], names: Collection[str] = ()) -> Diagnosis:
    """What these events say; they do say something."""
    found = diagnose_events(events, names)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("reason", "message", "cause", "transient", "output"),
    [
        ("FailedCreate", _QUOTA, "quota-exceeded", True, "pod web/app-1 cannot create its pods: the quota openframe"),
        (
            "FailedCreate",
            f'{_FORBIDDEN}violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
            "pod-security",
            False,
            "level 'restricted'",
        ),
        (
            "ReplicaSetCreateError",
            f"{_FORBIDDEN}status unknown for quota: openframe, resources: pods",
            "quota-settling",
            True,
            "no status yet",
        ),
        ("FailedCreate", "Error creating: the sky fell", "pods-refused", True, "the sky fell"),
        (
            "Failed",
            (
                'Failed to pull image "nope:1": failed to pull and unpack image "docker.io/library/nope:1": failed to '
                'resolve reference "docker.io/library/nope:1": docker.io/library/nope:1: not found'
            ),
            "image-missing",
            False,
            "cannot pull nope:1",
        ),
        ("Failed", 'Error: secret "db" not found', "secret-missing", True, "takes its environment"),
        (
            "FailedCreatePodSandBox",
            (
                f'{_SANDBOX}failed to get sandbox image "{_PAUSE}": failed to pull image "{_PAUSE}": failed to pull '
                f'and unpack image "{_PAUSE}": failed to do request: dial tcp: lookup registry-1.docker.io: Try again'
            ),
            "image-pull",
            True,
            "rancher/mirrored-pause:3.6",
        ),
        (  # containerd 2 in k3s 1.33, whose folder was on a disk of 4 MB
            "FailedCreatePodSandBox",
            (
                f"{_SANDBOX}failed to create containerd container: error unpacking image: failed to extract layer "
                "sha256:a0c4: mount callback failed: write /var/lib/rancher/k3s/agent/pause: no space left on device: "
                "unknown"
            ),
            "disk-full",
            False,
            "no space left on device",
        ),
        ("FailedMount", 'MountVolume.SetUp failed: secret "app-tls" not found', "secret-missing", True, "its volumes"),
        ("FailedAttachVolume", "/data is not a directory", "volume-mount", True, "/data"),
        ("FailedBinding", "no storage class is set", "storage-class", False, "no volume"),
        ("FailedScheduling", "0/1 nodes are available: 1 Insufficient memory.", "memory-short", True, "memory"),
    ],
)
def test_what_an_event_says(reason: str, message: str, cause: str, transient: bool, output: str) -> None:
    found = told(event(reason, message))
    assert (found.cause, found.transient) == (cause, transient), found
    assert found.what.startswith("pod web/app-1")
    assert output in f"{found.what} {found.why}", found
    assert found.fix


@pytest.mark.parametrize(
    "other",
    [
        event("Failed", "Error: ErrImagePull"),
        event("Failed", "Error: ImagePullBackOff"),
        {**event("FailedScheduling", "0/1 nodes are available: 1 Insufficient memory."), "type": "Normal"},
        event("NodeNotReady", "Node is not ready"),
        {},
    ],
)
def test_events_that_say_nothing_new(other: dict[str, Any]) -> None:
    assert diagnose_events([other]) is None


def test_only_what_belongs_to_the_names_counts() -> None:
    other = event("Failed", 'Error: secret "of-another" not found', name="apple-5-x")
    own = event("Failed", 'Error: secret "own" not found', name="app-7c-x")
    assert "'own'" in told(other, own, names={"app"}).what
    assert diagnose_events([other], {"app"}) is None


@pytest.mark.parametrize(
    ("events", "output"),
    [
        pytest.param(
            [event("Unhealthy", "probe failed", at="10:09:00"), event("FailedCreate", _QUOTA, at="10:00:00")],
            "the quota",
            id="the-telling-reason-before-the-newest",
        ),
        pytest.param(
            [event("Failed", f'Error: secret "{at}" not found', at=f"10:00:0{at}") for at in (1, 3, 2)],
            "'3'",
            id="of-one-reason-the-newest",
        ),
        pytest.param(
            [
                event("FailedCreate", _QUOTA),
                event("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found'),
            ],
            "'fast'",
            id="what-does-not-pass-first",
        ),
    ],
)
def test_of_several_events(events: list[dict[str, Any]], output: str) -> None:
    assert output in told(*events).what


def test_events_of_the_newer_api() -> None:
    newer = {
        "type": "Warning",
        "reason": "Failed",
        "note": 'Error: configmap "app" not found',
        "regarding": {"kind": "Pod", "namespace": "web", "name": "app-1"},
        "eventTime": "2026-11-24T10:00:00.123456Z",
    }
    assert told(newer).what == "pod web/app-1: the configmap 'app' is not there"


def test_no_secret_is_repeated() -> None:
    conceal("s3cr3t-of-events")
    assert "s3cr3t" not in str(told(event("Unhealthy", "Readiness probe failed: token s3cr3t-of-events refused")))


def _pull(reason: str, message: str, at: str) -> dict[str, Any]:
    return event(reason, message, type="Normal", lastTimestamp=f"2026-11-25T10:00:{at}Z")


PULLING = _pull("Pulling", 'Pulling image "shop/web:1"', "05")


def test_a_pull_that_goes_on() -> None:
    found = diagnose_pending_pull([PULLING], ["app"])
    assert found is not None
    assert (found.cause, found.transient) == ("image-pulling", True)
    assert "shop/web:1" in found.what
    assert "2026-11-25T10:00:05Z" in found.why


@pytest.mark.parametrize(
    "end",
    [
        _pull("Pulled", 'Successfully pulled image "shop/web:1" in 2s', "07"),
        _pull("Failed", 'Failed to pull image "shop/web:1": EOF', "07"),
    ],
)
def test_a_pull_that_has_ended(end: dict[str, Any]) -> None:
    assert diagnose_pending_pull([end, PULLING], ["app"]) is None


def test_a_pull_of_another_pod() -> None:
    assert diagnose_pending_pull([PULLING], ["other"]) is None


def test_events_from_before_a_pod_was_scheduled() -> None:
    scheduling = event("FailedScheduling", "0/1 nodes are available")
    assert is_outdated(scheduling, {"app-1"})
    assert not is_outdated(scheduling, {"app-2"})
    assert not is_outdated(PULLING, {"app-1"})


@pytest.mark.parametrize(("uid", "over"), [("old", True), ("new", False), (None, False)])
def test_a_warning_about_a_deleted_object_of_the_same_name_is_over(uid: str | None, over: bool) -> None:
    """A Deployment that is installed again has a ReplicaSet of the same name, whose hash follows from its template."""
    found = event("FailedCreate", "Error creating: pods is forbidden", kind="ReplicaSet", name="app-7c")
    about = {**found["involvedObject"], **({"uid": uid} if uid else {})}
    place = (str(about.get("namespace")), "ReplicaSet", "app-7c")
    assert is_outdated({**found, "involvedObject": about}, (), {place: "new"}) is over
    assert not is_outdated({**found, "involvedObject": about}, (), {("elsewhere", *place[1:]): "new"})


@pytest.mark.parametrize(
    ("kind", "pods", "over"),
    [("ReplicaSet", {"app-7c-x"}, True), ("ReplicaSet", {"app-8d-x"}, False), ("StatefulSet", {"app-7c-0"}, False)],
)
def test_a_refusal_of_pods_that_were_created_since(kind: str, pods: set[str], over: bool) -> None:
    """metrics-server is denied by this project itself while a launch that creates the cluster runs."""
    refused = event("FailedCreate", "Error creating: pods is forbidden", kind=kind, name="app-7c")
    assert is_outdated(refused, pods) is over
