"""Images of a launch: which they are, which are pulled, and how."""

from pathlib import Path
from typing import Any

import pytest

from tasks import prepull
from tasks.clients.registry_http import NotFetched
from tasks.core.errors import LaunchError
from tasks.core.imageref import Reference, parse
from tasks.engine.step import Context, Step
from tasks.facts.backend import K3d
from tasks.process.command import CommandFailed
from tasks.run.images import size_of
from tasks.settings.derived import helper_images, host_images, k3s_image, pull_name
from tests.checks.given import engine
from tests.given import act, facts, settings
from tests.programs import Answer, FakePrograms

K3S, TOOLS = "rancher/k3s:v1.35.5-k3s1", "ghcr.io/k3d-io/k3d-tools:5.9.0"
PROXY, REGISTRY = "ghcr.io/k3d-io/k3d-proxy:5.9.0", "docker.io/library/registry:2"


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({}, "rancher/k3s:v1.35.5-k3s1"),
        ({"kubernetes_version": "v1.33.1"}, "rancher/k3s:v1.33.1-k3s1"),
        ({"kubernetes_version": "1.33.1"}, "rancher/k3s:v1.33.1-k3s1"),
        ({"kubernetes_version": "v1.33.1+k3s2"}, "rancher/k3s:v1.33.1-k3s2"),
        ({"kubernetes_version": "v1.33.1-k3s2"}, "rancher/k3s:v1.33.1-k3s2"),
        ({"kubernetes_version": "v1.33.1-rc1"}, "rancher/k3s:v1.33.1-rc1-k3s1"),
        ({"kubernetes_version": "v1.33.1", "image": "mine/k3s:7"}, "mine/k3s:7"),
    ],
)
def test_the_node_image(cluster: dict[str, Any], expected: str) -> None:
    assert k3s_image(settings(cluster=cluster)) == expected


@pytest.mark.parametrize(
    ("cluster", "environ", "version", "tools", "proxy"),
    [
        ({}, {}, "v5.9.0", TOOLS, PROXY),
        ({}, {}, "5.9.0", TOOLS, PROXY),
        ({}, {"K3D_HELPER_IMAGE_TAG": "7"}, "v5.9.0", "ghcr.io/k3d-io/k3d-tools:7", "ghcr.io/k3d-io/k3d-proxy:7"),
        (
            {"tools_image": "a/t:1", "loadbalancer_image": "a/p:1"},
            {"K3D_HELPER_IMAGE_TAG": "7"},
            "v5.9.0",
            "a/t:1",
            "a/p:1",
        ),
    ],
)
def test_k3ds_helpers(cluster: dict[str, Any], environ: dict[str, str], version: str, tools: str, proxy: str) -> None:
    assert helper_images(settings(cluster=cluster), environ, version) == {"tools": tools, "proxy": proxy}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, (K3S, TOOLS, REGISTRY)),
        ({"cluster": {"servers": 3}}, (K3S, TOOLS, REGISTRY, PROXY)),
        ({"cluster": {"loadbalancer": True}}, (K3S, TOOLS, REGISTRY, PROXY)),
        ({"cluster": {"servers": 3, "loadbalancer": False}}, (K3S, TOOLS, REGISTRY)),
        ({"registries": {"push": False}}, (K3S, TOOLS, REGISTRY)),
        ({"registries": {"caches": []}}, (K3S, TOOLS, REGISTRY)),
        ({"registries": {"push": False, "caches": []}}, (K3S, TOOLS)),
        ({"registries": {"image": "registry:3"}}, (K3S, TOOLS, "registry:3")),
        ({"images": ["redis:7", "redis:7", K3S]}, (K3S, TOOLS, REGISTRY, "redis:7")),
    ],
)
def test_images_of_a_launch(sections: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert host_images(settings(**sections), {}, "v5.9.0") == expected


def test_those_that_are_there_are_skipped(tmp_path: Path) -> None:
    steps = prepull.steps(facts(tmp_path, images={K3S: True, TOOLS: False}))
    assert [(step.name, step.skip) for step in steps] == [(pull_name(K3S), "already pulled"), (pull_name(TOOLS), None)]
    for step in steps:
        assert (step.task, step.kind, step.needs, step.wait) == ("prepull", "download", (), True)
        assert step.retry.attempts > 1
        assert step.deadline == 900


@pytest.mark.parametrize(
    ("needed", "expected"),
    [
        (None, [None, None]),
        (frozenset({K3S}), [None, "what needs it already exists"]),
        (frozenset(), ["what needs it already exists"] * 2),
    ],
)
def test_unneeded_images_are_skipped(tmp_path: Path, needed: frozenset[str] | None, expected: list[str | None]) -> None:
    steps = prepull.steps(facts(tmp_path, images={K3S: False, TOOLS: False}), needed=needed)
    assert [step.skip for step in steps] == expected


PULL = """v1.35.5-k3s1: Pulling from rancher/k3s
0123456789ab: Pulling fs layer
ba9876543210: Pulling fs layer
0123456789ab: Verifying Checksum
0123456789ab: Pull complete
ba9876543210: Already exists
Digest: sha256:0123
Status: Downloaded newer image for rancher/k3s:v1.35.5-k3s1
"""


def test_a_pull_and_its_progress(tmp_path: Path) -> None:
    fake, output = FakePrograms(answers={"docker pull": PULL}), list[str]()
    (step,) = prepull.steps(facts(tmp_path, fake, images={K3S: False}, settings=settings(timeouts={"pull": 77})))
    report = act(step, say=output.append)
    assert (report.why, report.exit_code) == ("pulled", 0)
    assert fake.lines == [f"docker pull {K3S}"]
    assert fake.commands[0].deadline == step.deadline == 77
    assert output == [f"{done} of {layers} layers" for done, layers in ((0, 1), (0, 2), (0, 2), (1, 2), (2, 2))]


@pytest.mark.parametrize(
    ("text", "transient"),
    [
        ("Error response from daemon: net/http: TLS handshake timeout", True),
        ("toomanyrequests: You have reached your pull rate limit", True),
        ("Error response from daemon: manifest for rancher/k3s:v9 not found: manifest unknown", False),
        ("write /var/lib/docker/tmp/x: no space left on device", False),
    ],
)
def test_what_can_pass_is_tried_again_and_the_rest_is_not(tmp_path: Path, text: str, transient: bool) -> None:
    fake = FakePrograms(answers={"docker pull": Answer(code=1, err=text)})
    (step,) = prepull.steps(facts(tmp_path, fake, images={K3S: False}))
    with pytest.raises(CommandFailed) as caught:
        act(step)
    assert caught.value.cause
    assert caught.value.transient is transient


@pytest.mark.parametrize(
    ("silent", "why", "size"),
    [(False, "through cache, 55 MB", 55_000_000), (True, "through cache", None)],  # no other layer had to come
)
def test_through_a_cache_it_tells_what_came(tmp_path: Path, silent: bool, why: str, size: int | None) -> None:
    class Cached(K3d):
        def layers(self, port: int, image: Reference, arch: str, context: Context) -> dict[str, int]:
            assert (port, image.repository) == (5051, "rancher/k3s")
            if silent:
                raise NotFetched("the cache answered 500")
            return {"sha256:0123456789ab" + "0" * 52: 55_000_000, "sha256:ba9876543210" + "0" * 52: 104_000_000}

    fake = FakePrograms(answers={"docker pull": PULL}, otherwise=Answer())
    there = facts(tmp_path, fake, images={K3S: False}, backend=Cached())
    there.outputs.registry_ports["cache"] = 5051
    (step,) = prepull.steps(there, caches={K3S: ("cache", "registry: cache")})
    assert act(step).why == why
    assert size_of(there, K3S) == size


# -- platforms ----------------------------------------------------------------------------------------------


def listed(architecture: str, image: str = K3S) -> str:
    return f'["{parse(image).listed}"][]"linux""{architecture}"'


def pulled(folder: Path, architecture: str, **changes: Any) -> tuple[FakePrograms, Step]:
    """The step that pulls the nodes' image on an amd64 engine, and gets one of this architecture."""
    fake = FakePrograms(answers={"docker pull": PULL, "docker image inspect": listed(architecture)})
    given = {"images": {K3S: False}, "other_platforms": {K3S: "linux/arm64"}, **changes}
    (step,) = prepull.steps(facts(folder, fake, host=engine(), **given))
    return fake, step


def test_images_are_pulled_for_the_engines_own_platform(tmp_path: Path) -> None:
    """Docker itself would follow DOCKER_DEFAULT_PLATFORM."""
    fake, step = pulled(tmp_path, "amd64")
    assert step.why == "the engine has it for linux/arm64 only"
    assert act(step).why == "pulled"
    assert fake.lines[0] == f"docker pull --platform linux/amd64 {K3S}"


def test_an_image_that_nothing_is_made_from_may_be_of_any_platform(tmp_path: Path) -> None:
    fake = FakePrograms(answers={"docker pull": PULL, "docker image inspect": listed("arm64", "redis:7")})
    result = facts(tmp_path, fake, host=engine(), images={"redis:7": False}, settings=settings(images=["redis:7", K3S]))
    (step,) = prepull.steps(result)
    assert act(step).why == "pulled; it exists for linux/arm64 only"
    _, step = pulled(tmp_path, "arm64", settings=settings(images=[K3S]))
    with pytest.raises(LaunchError, match=f"{K3S} is for linux/arm64, and the engine's platform is linux/amd64"):
        act(step)  # nodes are made from it; Docker takes one of a single platform whatever was asked for, and warns


def test_a_pull_that_fails_tells_of_the_one_that_is_there(tmp_path: Path) -> None:
    fake = FakePrograms(
        answers={"docker pull": Answer(code=1, err="dial tcp: lookup registry-1.docker.io: no such host")}
    )
    result = facts(tmp_path, fake, host=engine(), images={K3S: False}, other_platforms={K3S: "linux/arm64"})
    (step,) = prepull.steps(result)
    with pytest.raises(CommandFailed) as caught:
        act(step)
    assert "the existing one is for linux/arm64" in caught.value.why
