"""What events tell; messages of Kubernetes 1.32 and containerd 1.7 unless another source is named."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.redact import conceal
from tasks.diagnose.events import events_trouble, is_old_news, pulling_trouble
from tests.causes.items import event

_QUOTA = (
    'Error creating: pods "app-7c-x" is forbidden: exceeded quota: openframe, requested: pods=1, used: pods=100, '
    "limited: pods=100"
)


@pytest.mark.parametrize(
    ("told", "cause", "hopeless", "says"),
    [
        (
            event("FailedCreate", _QUOTA, kind="ReplicaSet", name="app-7c"),
            "quota-exceeded",
            False,
            "replicaset web/app-7c",
        ),
        (
            event(
                "FailedCreate",
                'Error creating: pods "app-7c-x" is forbidden: violates PodSecurity "restricted:latest": '
                "allowPrivilegeEscalation != false",
                kind="ReplicaSet",
                name="app-7c",
            ),
            "forbidden",
            True,
            "PodSecurity",
        ),
        (
            event(
                "FailedCreate",
                'Error creating: pods "app-7c-x" is forbidden: status unknown for quota: openframe, resources: pods',
                kind="ReplicaSet",
            ),
            "quota-settling",
            False,
            "not counted yet",
        ),
        (
            event(
                "FailedCreate",
                'Error creating: pods "app-7c-x" is forbidden: error looking up service account web/app: '
                'serviceaccount "app" not found',
                kind="ReplicaSet",
            ),
            "account-settling",
            False,
            "web/app",
        ),
        (
            event("FailedCreate", "Error creating: the sky fell", kind="ReplicaSet"),
            "pods-refused",
            False,
            "the sky fell",
        ),
        (
            event(
                "Failed",
                'Failed to pull image "nope:1": failed to pull and unpack image "docker.io/library/nope:1": failed to '
                'resolve reference "docker.io/library/nope:1": docker.io/library/nope:1: not found',
            ),
            "image-missing",
            True,
            "nope:1",
        ),
        (event("Failed", 'Error: secret "db" not found'), "secret-missing", False, "'db'"),
        (
            event(
                "Failed",
                'Error: failed to create containerd task: exec: "serve": executable file not found in $PATH: unknown',
            ),
            "container-start",
            False,
            "executable file not found",
        ),
        (
            event(
                "FailedCreatePodSandBox",
                "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox image "
                '"rancher/mirrored-pause:3.6": failed to pull image "rancher/mirrored-pause:3.6": failed to pull '
                "and unpack image "
                '"docker.io/rancher/mirrored-pause:3.6": failed to resolve reference '
                '"docker.io/rancher/mirrored-pause:3.6": failed '
                'to do request: Head "https://registry-1.docker.io/v2/rancher/mirrored-pause/manifests/3.6": dial '
                "tcp: lookup "
                "registry-1.docker.io: Try again",
            ),
            "image-pull",
            False,
            "rancher/mirrored-pause:3.6",
        ),
        (
            event(
                "FailedCreatePodSandBox",
                "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for "
                'sandbox "0a": plugin type="flannel" failed (add): loadFlannelSubnetEnv failed: open '
                "/run/flannel/subnet.env: no such "
                "file or directory",
            ),
            "pod-network",
            False,
            "subnet.env",
        ),
        (
            event("FailedMount", 'MountVolume.SetUp failed for volume "tls" : secret "app-tls" not found'),
            "secret-missing",
            False,
            "'app-tls'",
        ),
        (
            event(
                "FailedMount",
                'MountVolume.SetUp failed for volume "x" : hostPath type check failed: /data is not a directory',
            ),
            "volume-mount",
            False,
            "hostPath",
        ),
        (
            event(
                "ProvisioningFailed",
                'storageclass.storage.k8s.io "fast" not found',
                kind="PersistentVolumeClaim",
                name="data",
            ),
            "storage-class",
            True,
            "'fast'",
        ),
        (
            event(
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
                kind="PersistentVolumeClaim",
                name="data",
            ),
            "storage-class",
            True,
            "no volume",
        ),
        (event("FailedScheduling", "0/1 nodes are available: 1 Insufficient memory."), "memory-short", False, "memory"),
        # k3d-io/k3d#130
        (
            event(
                "FreeDiskSpaceFailed",
                "failed to garbage collect required amount of images. Wanted to free 9528868044 bytes, but "
                "freed 25951436 bytes",
                kind="Node",
                name="k3d-dev-server-0",
            ),
            "disk-full",
            False,
            "Wanted to free",
        ),
        (
            event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
            "probe",
            False,
            "statuscode: 503",
        ),
        (
            event("BackOff", "Back-off restarting failed container app in pod app-1_web(0c1)"),
            "crash",
            False,
            "Back-off",
        ),
    ],
)
def test_what_an_event_tells(told: dict[str, Any], cause: str, hopeless: bool, says: str) -> None:
    trouble = events_trouble([told])
    assert trouble is not None
    assert (trouble.cause, trouble.hopeless) == (cause, hopeless), trouble
    assert says in f"{trouble.what} {trouble.why}", trouble
    assert trouble.fix


@pytest.mark.parametrize(
    "told",
    [
        event("Failed", "Error: ErrImagePull"),
        event("Failed", "Error: ImagePullBackOff"),
        {**event("FailedScheduling", "0/1 nodes are available: 1 Insufficient memory."), "type": "Normal"},
        event("NodeNotReady", "Node is not ready"),
        {},
    ],
)
def test_events_that_tell_nothing(told: dict[str, Any]) -> None:
    assert events_trouble([told]) is None


def test_only_what_belongs_to_the_names_counts() -> None:
    others = event("Failed", 'Error: secret "theirs" not found', name="apple-5-x")
    ours = event("Failed", 'Error: secret "ours" not found', name="app-7c-x")
    trouble = events_trouble([others, ours], {"app"})
    assert trouble is not None
    assert "'ours'" in trouble.what
    assert events_trouble([others], {"app"}) is None


def test_the_telling_kind_counts_before_the_newest() -> None:
    quota = event("FailedCreate", _QUOTA, kind="ReplicaSet", at="10:00:00")
    probe = event("Unhealthy", "Readiness probe failed", at="10:09:00")
    trouble = events_trouble([probe, quota])
    assert trouble is not None
    assert trouble.cause == "quota-exceeded"


def test_of_one_kind_the_newest_counts() -> None:
    told = [event("Failed", f'Error: secret "{at}" not found', at=f"10:00:0{at}") for at in (1, 3, 2)]
    trouble = events_trouble(told)
    assert trouble is not None
    assert "'3'" in trouble.what


def test_what_is_hopeless_counts_first() -> None:
    told = [event("FailedCreate", _QUOTA), event("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')]
    trouble = events_trouble(told)
    assert trouble is not None
    assert trouble.cause == "storage-class"


def test_events_of_the_newer_api() -> None:
    trouble = events_trouble(
        [
            {
                "type": "Warning",
                "reason": "Failed",
                "note": 'Error: configmap "app" not found',
                "regarding": {"kind": "Pod", "namespace": "web", "name": "app-1"},
                "eventTime": "2026-11-24T10:00:00.123456Z",
            }
        ]
    )
    assert trouble is not None
    assert trouble.what == "pod web/app-1: the configmap 'app' is not there"


def test_no_secret_is_told() -> None:
    conceal("s3cr3t-of-events")
    trouble = events_trouble([event("Unhealthy", "Readiness probe failed: token s3cr3t-of-events refused")])
    assert trouble is not None
    assert "s3cr3t" not in str(trouble)


PULLING = event("Pulling", 'Pulling image "shop/web:1"', type="Normal", lastTimestamp="2026-11-25T10:00:05Z")


def test_a_pull_that_goes_on() -> None:
    found = pulling_trouble([PULLING], ["app"])
    assert found is not None
    assert found.cause == "image-pulling"
    assert "shop/web:1" in found.what
    assert "2026-11-25T10:00:05Z" in found.why
    assert not found.hopeless


@pytest.mark.parametrize(
    "end",
    [
        event(
            "Pulled",
            'Successfully pulled image "shop/web:1" in 2s',
            type="Normal",
            lastTimestamp="2026-11-25T10:00:07Z",
        ),
        event("Failed", 'Failed to pull image "shop/web:1": EOF', lastTimestamp="2026-11-25T10:00:07Z"),
    ],
)
def test_a_pull_that_has_ended(end: dict[str, Any]) -> None:
    assert pulling_trouble([end, PULLING], ["app"]) is None


def test_a_pull_of_another_s() -> None:
    assert pulling_trouble([PULLING], ["other"]) is None


def test_old_news() -> None:
    told = event("FailedScheduling", "0/1 nodes are available")
    assert is_old_news(told, {"app-1"})
    assert not is_old_news(told, {"app-2"})
    assert not is_old_news(PULLING, {"app-1"})


def test_a_node_without_room_for_a_pod() -> None:
    """containerd 2 in k3s 1.33, whose folder lay on a disk of 4 MB."""
    message = (
        "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd container: error "
        "unpacking image: failed to extract layer sha256:a0c4: mount callback failed on /var/lib/rancher/k3s/agent/"
        "containerd/tmpmounts/containerd-mount442266666: write /var/lib/rancher/k3s/agent/containerd/tmpmounts/"
        "containerd-mount442266666/pause: no space left on device: unknown"
    )
    found = events_trouble([event("FailedCreatePodSandBox", message)])
    assert found is not None
    assert (found.cause, found.hopeless) == ("disk-full", True)
    assert "pod web/app-1" in found.what
    assert "no space left on device" in found.why
