"""Causes that registries tell."""

from __future__ import annotations

import pytest

from tests.causes.told import Case, check

CASES = [
    Case(  # Docker Hub, since 2025: antimony-team/antimony#1
        program="docker",
        cause="rate-limit",
        text="Error response from daemon: toomanyrequests: You have reached your unauthenticated pull rate limit. "
        "https://www.docker.com/increase-rate-limit",
        says=("docker login", "registries.caches"),
        transient=True,
    ),
    Case(  # Docker Hub, before: kodekloudhub/kodekloud-engineer#58
        program="k3d",
        cause="rate-limit",
        text="docker failed to pull image 'docker.io/rancher/k3s:v1.32.3-k3s1': Error response from daemon: "
        "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and "
        "upgrading: https://www.docker.com/increase-rate-limit",
        transient=True,
    ),
    Case(  # docker 28 with its own store: distribution/registry/api/v2/errors.go
        program="docker",
        cause="image-missing",
        text="Error response from daemon: manifest for rancher/k3s:v1.99.0-k3s1 not found: manifest unknown: manifest "
        "unknown",
        says=("there is no image rancher/k3s:v1.99.0-k3s1", "cluster.kubernetes_version"),
    ),
    Case(  # docker 29 with containerd's store: containerd core/remotes/docker/resolver.go
        program="docker",
        cause="image-missing",
        text='Error response from daemon: failed to resolve reference "docker.io/rancher/k3s:nope": '
        "docker.io/rancher/k3s:nope: not found",
        says=("docker.io/rancher/k3s:nope",),
    ),
    Case(  # ghcr.io, docker 28
        program="docker",
        cause="image-missing",
        text="Error response from daemon: manifest unknown",
    ),
    Case(  # moby: daemon/internal/distribution/errors.go
        program="docker",
        cause="image-denied",
        text="Error response from daemon: pull access denied for nope/nope, repository does not exist or may require "
        "'docker login': denied: requested access to the resource is denied",
        says=("nope/nope", "docker login"),
    ),
    Case(  # ghcr.io, docker 27
        program="docker",
        cause="image-denied",
        text='Error response from daemon: Head "https://ghcr.io/v2/flamingo-stack/x/manifests/1.0": denied',
        says=("GITHUB_TOKEN_CLASSIC",),
    ),
    Case(
        program="docker",
        cause="image-denied",
        text='Error response from daemon: Get "https://quay.io/v2/x/y/manifests/1": unauthorized: access to the '
        "requested resource is not authorized",
    ),
    Case(  # moby: daemon/internal/distribution/pull_v2.go
        program="docker",
        cause="image-platform",
        text="Error response from daemon: no matching manifest for linux/arm64/v8 in the manifest list entries",
        says=("linux/arm64/v8",),
    ),
    Case(  # docker/cli, `docker pull A:b:c`
        program="docker",
        cause="image-name",
        text="invalid reference format: repository name (Rancher/k3s) must be lowercase",
        says=("must be lowercase",),
    ),
    Case(
        program="docker",
        cause="registry-plain",
        text='Error response from daemon: Get "https://registry.lan:5000/v2/": http: server gave HTTP response to '
        "HTTPS "
        "client",
        says=("insecure-registries",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_registries_say(case: Case) -> None:
    check(case)
