"""Docker's command lines, and image references as Docker lists them."""

import json
from dataclasses import replace

import pytest

from tasks.clients import docker
from tasks.process.command import Command

LINES = [
    (
        docker.containers("k3d.cluster=dev", "k3d.role=server"),
        "docker ps --all --quiet --no-trunc --filter label=k3d.cluster=dev --filter label=k3d.role=server",
    ),
    (docker.published(), "docker ps --no-trunc --format {{json .}}"),
    (docker.inspect(["a", "b"]), "docker container inspect a b"),
    (
        docker.images(["x:1"]),
        "docker image inspect --format {{json .RepoTags}}{{json .RepoDigests}}{{json .Os}}{{json .Architecture}} x:1",
    ),
    (docker.pull("x:1", 9.0), "docker pull x:1"),
    (docker.pull("x:1", 9.0, "linux/arm64"), "docker pull --platform linux/arm64 x:1"),
    (docker.start(["a", "b"]), "docker start a b"),
    (docker.stop(["a", "b"], 3), "docker stop -t 3 a b"),
    (docker.remove(["a", "b"]), "docker rm --force --volumes a b"),
    (docker.has_file("a", "/x"), "docker cp a:/x -"),
    (docker.copy_in("/y", "a", "/x"), "docker cp /y a:/x"),
    (
        docker.limit(["a", "b"], 1.5, 1536 * 1024**2),
        "docker update --cpus 1.5 --memory 1610612736 --memory-swap 3221225472 a b",
    ),
    (docker.follow("a", "1700"), "docker logs --follow --since 1700 a"),
    (docker.logs("a", 7), "docker logs --tail 7 a"),
    (docker.networks("dev"), "docker network inspect k3d-dev"),
    (docker.disconnect("k3d-dev", "a"), "docker network disconnect --force k3d-dev a"),
    (docker.connect("k3d-dev", "a"), "docker network connect k3d-dev a"),
    (docker.remove_network("k3d-dev"), "docker network rm k3d-dev"),
    (docker.volumes("a=b", "c"), "docker volume ls --quiet --filter label=a=b --filter label=c"),
    (docker.create_volume("v", {"a": "b"}), "docker volume create --label a=b v"),
    (docker.remove_volumes(["v", "w"]), "docker volume rm --force v w"),
    (docker.disk("a"), "docker exec a du -sk /var/lib/registry"),
    (
        docker.events("dev"),
        (
            "docker events --filter type=container --filter label=k3d.cluster=dev"
            " --filter event=start --filter event=die --filter event=oom --format {{json .}}"
        ),
    ),
]


@pytest.mark.parametrize(("command", "line"), LINES, ids=lambda value: value if isinstance(value, str) else "")
def test_command_lines(command: Command, line: str) -> None:
    assert " ".join(command.argv) == line
    assert command.stdin is None
    assert command.env == {}


REGISTRY = (
    "--name cache --restart unless-stopped --publish 127.0.0.1:5051:5000 --volume cache:/var/lib/registry"
    " --label app=k3d --label k3d.cluster= --label k3d.role=registry --label k3d.registry.host="
    " --label k3d.registry.hostIP=127.0.0.1 --label k3s.registry.port.external=5051"
    " --label k3s.registry.port.internal=5000 --label openframe.cache=ghcr.io"
)


def test_a_registry_is_on_loopback_and_has_k3ds_labels() -> None:
    labels = {docker.CACHE_LABEL: "ghcr.io"}
    url = "https://ghcr.io"
    spec = docker.RegistrySpec(name="cache", image="registry:2", port=5051, volume="cache", labels=labels)
    run = docker.run_registry(replace(spec, upstream=url))
    result = docker.create_registry(spec)
    remote = f"--env REGISTRY_PROXY_REMOTEURL={url} --env REGISTRY_HTTP_DEBUG_ADDR=127.0.0.1:5001"
    assert " ".join(run.argv) == f"docker run --detach {REGISTRY} {remote} registry:2"
    assert " ".join(result.argv) == f"docker create {REGISTRY} registry:2"


DIGEST = "sha256:" + "a1" * 32


def listing(*images: tuple[list[str] | None, list[str] | None]) -> str:
    return "".join(f'{json.dumps(tags)}{json.dumps(digests)}"linux""amd64"\n' for tags, digests in images)


@pytest.mark.parametrize(
    ("images", "ref", "there"),
    [
        ([(["registry:2"], [f"registry@{DIGEST}"])], "docker.io/library/registry:2", True),
        ([(["registry:2"], [])], "registry:3", False),
        ([(["registry:2"], [])], "ghcr.io/library/registry:2", False),
        ([([], [f"a/b@{DIGEST}"])], f"docker.io/a/b@{DIGEST}", True),
        ([([], [f"a/b@{DIGEST}"])], f"docker.io/a/b:1@{DIGEST}", True),
        ([(["a/b:1"], [f"a/b@sha256:{'0' * 64}"])], f"a/b:1@{DIGEST}", False),
        ([(["localhost:5000/a:1"], [f"localhost:5000/a@{DIGEST}"])], f"localhost:5000/a:1@{DIGEST}", True),
        ([(["localhost:5000/a:1"], [])], "localhost:5000/a:1", True),
        ([(["a:1", "b:2"], None), (None, []), (["c:latest"], [])], "c", True),
        ([(["a:1", "b:2"], None), (None, []), (["c:latest"], [])], "b:2", True),
        ([], "a:1", False),
    ],
)
def test_images_that_exist(images: list[tuple[list[str] | None, list[str] | None]], ref: str, there: bool) -> None:
    assert docker.platforms(listing(*images), [ref, "never/there:1"]) == ({ref: "linux/amd64"} if there else {})


@pytest.mark.parametrize("out", ["", "\n", "\n\n"])
def test_no_image_at_all(out: str) -> None:
    assert docker.platforms(out, ["a:1"]) == {}


@pytest.mark.parametrize(
    ("image", "engine", "fits"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/arm64", "linux/amd64", False),
        ("linux/amd64", "linux/arm64", False),
        ("linux/arm", "linux/arm/v7", True),
        ("linux/", "linux/amd64", True),
        ("linux/amd64", "", True),
    ],
)
def test_whether_an_image_is_for_an_engine(image: str, engine: str, fits: bool) -> None:
    assert docker.fits(image, engine) is fits


@pytest.mark.parametrize(("out", "found"), [("", []), ("[]\n", []), ('[{"Id": "a"}]\n', [{"Id": "a"}])])
def test_what_inspect_printed(out: str, found: list[object]) -> None:
    assert docker.inspected(out) == found
