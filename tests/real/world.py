"""Where the tests on real clusters get images and charts from: the public ones, or what the environment names.

A machine without a way to Docker Hub and the public charts can still run them: LAB_MIRROR (a registry that has
their images, as the upstream of docker.io) and LAB_CHARTS (repositories `repo-a` to `repo-e`, each with a chart
`app-a` to `app-e`), beside K3S_IMAGE and K3D_IMAGE_….
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LETTERS = "abcde"


@dataclass(frozen=True, kw_only=True)
class World:
    """Settings that every test's profile begins with."""

    caches: tuple[dict[str, Any], ...] | None
    """None: as by default."""
    repositories: Mapping[str, str]
    charts: tuple[tuple[str, str], ...]
    """Chart and version; releases take them in turn."""
    image: str
    """One that a pod can run, and that comes through the caches; it answers /healthz."""
    port: int
    """Where it does."""
    shell: str
    """One with a shell and `sleep`."""

    def release(self, number: int, namespace: str, **more: Any) -> dict[str, Any]:
        """A release of one of the charts; its Deployment has the release's name."""
        chart, version = self.charts[number % len(self.charts)]
        name = str(more.pop("name", f"app-{LETTERS[number % len(LETTERS)]}"))
        return {"name": name, "namespace": namespace, "chart": chart, "version": version, **more}

    def settings(self, releases: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A profile."""
        own: dict[str, Any] = {"helm": {"repositories": dict(self.repositories), "releases": releases}}
        if self.caches is not None:
            own["registries"] = {"caches": list(self.caches)}
        return {**own, **more}


def world(environ: Mapping[str, str] = os.environ) -> World:
    """The one of this machine."""
    mirror, charts = environ.get("LAB_MIRROR"), environ.get("LAB_CHARTS")
    if mirror and charts:
        return World(
            caches=({"upstream": "docker.io", "url": mirror},),
            repositories={f"repo-{letter}": f"{charts}/repo-{letter}" for letter in LETTERS},
            charts=tuple((f"repo-{letter}/app-{letter}", "1.0.0") for letter in LETTERS),
            image="docker.io/lab/app-a:1",
            port=8080,
            shell="docker.io/rancher/mirrored-library-busybox:1.35.0",
        )
    return World(
        caches=None,
        repositories={"podinfo": "https://stefanprodan.github.io/podinfo"},
        charts=(("podinfo/podinfo", "6.7.1"),),
        image="ghcr.io/stefanprodan/podinfo:6.7.1",
        port=9898,
        shell="docker.io/library/busybox:1.36.1",
    )
