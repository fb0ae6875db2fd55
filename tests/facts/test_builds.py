"""Tags of builds: known before anything is built, and new when the inputs of an image change."""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.clients.docker_build import Builder
from tasks.clients.dockerfile import ignored
from tasks.core.errors import BadInput
from tasks.facts import builds as build_context
from tasks.facts.backend import K3d
from tasks.facts.builds import BuildState, builder_of, context_digest, located, read_inputs, remember_built
from tasks.facts.engine import Engine
from tasks.facts.facts import Facts
from tasks.facts.registries import Registry
from tasks.settings.derived import cache_container
from tests import given
from tests.programs import Answer, FakePrograms

BASE = "docker.io/library/alpine:3"
PUSH = Registry(name="k3d-openframe-registry", id="1", upstream="push", port=5050, networks=())


class Registries(K3d):
    """What registries at ports of this machine have."""

    def __init__(self) -> None:
        self.have: dict[str, str] = {}

    def digest(self, port: int, image: Any) -> str:
        return self.have.get(f"{port} {image.full}", "")


def host(**changes: Any) -> Engine:
    return cast("Engine", SimpleNamespace(**{"buildx": True, "client": "28.0.0", "platform": "linux/amd64", **changes}))


def states(folder: Path, build: Mapping[str, Any] | None = None, **more: Any) -> tuple[BuildState, ...]:
    settings = given.settings(builds=[{"name": "api", "context": "ctx", **(build or {})}], **more.pop("settings", {}))
    engine = more.pop("engine", host())
    found: Any = {"owns_cluster": True, "environ": {}, "parts": ("helm",), **more}
    parts, environ = found.pop("parts"), found.pop("environ")
    return read_inputs(settings, parts, folder, folder / "cache", environ, lambda: engine, **found)


def facts(folder: Path, inspected: Mapping[str, str] | None = None, **more: Any) -> Facts:
    """`inspected`: digests of the images that the engine has."""
    rows = [
        json.dumps({"id": "sha256:id", "tags": [name], "digests": [f"x@{digest}"] if digest else None})
        for name, digest in (inspected or {}).items()
    ]
    programs = FakePrograms(
        answers={"docker image inspect": Answer(out="\n".join(rows), code=1)}, otherwise=Answer(code=1)
    )
    backend = more.pop("backend", Registries())
    return given.facts(folder, programs, backend=backend, **{"registries": {PUSH.name: PUSH}, **more})


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "ctx"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {BASE}\nARG A\nCOPY src /src\n")
    (folder / "src").mkdir()
    (folder / "src" / "main.go").write_text("package main\n")
    (folder / "notes").write_text("not copied\n")
    return folder


def tag(tmp_path: Path, build: Mapping[str, Any] | None = None, **inspected: str) -> str:
    (found,) = located(facts(tmp_path, {"alpine:3": inspected.get("base", "sha256:1")}), states(tmp_path, build))
    return found.tag


def test_a_tag_is_of_content_and_of_no_port(tmp_path: Path, context: Path) -> None:
    (found,) = located(facts(tmp_path), states(tmp_path))
    assert found.image == f"k3d-openframe-registry:5000/api:{found.tag}"
    assert found.placeholders == {
        "image:api": found.image,
        "repository:api": "k3d-openframe-registry:5000/api",
        "tag:api": found.tag,
    }
    assert found.tag.startswith("sha256-")
    (moved,) = located(facts(tmp_path), states(tmp_path, settings={"registries": {"port": 5999}}))
    assert moved.image == found.image


@pytest.mark.parametrize(
    "change", [{"target": "x"}, {"args": {"A": "1"}}, {"platform": "linux/arm64"}, {"secrets": {"n": {"env": "N"}}}]
)
def test_a_tag_changes_with_what_is_configured(tmp_path: Path, context: Path, change: dict[str, Any]) -> None:
    assert tag(tmp_path, change) != tag(tmp_path)


def test_a_tag_changes_with_what_is_copied_alone(tmp_path: Path, context: Path) -> None:
    first = tag(tmp_path)
    (context / "notes").write_text("changed\n")
    (tmp_path / "cache").joinpath("other").mkdir(parents=True)
    assert tag(tmp_path) == first
    (context / "src" / "main.go").write_text("package other\n")
    second = tag(tmp_path)
    assert second != first
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text() + "USER 1\n")
    assert tag(tmp_path) not in (first, second)


@pytest.mark.parametrize("part", ["current", "current/main.go", "cur*/main.go"])
def test_what_a_link_leads_to_counts_where_the_link_is_copied(tmp_path: Path, context: Path, part: str) -> None:
    (context / "current").symlink_to("src")
    (context / "Dockerfile").write_text(f"FROM {BASE}\nCOPY {part} /src\n")
    first = tag(tmp_path)
    (context / "src" / "main.go").write_text("package other\n")
    assert tag(tmp_path) != first


@pytest.mark.parametrize("link", [False, True])
def test_logs_in_a_context_are_no_input(tmp_path: Path, context: Path, link: bool) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (context / "logs" / "runs").mkdir(parents=True)
    folder = context
    if link:
        (folder := tmp_path / "link").symlink_to(context)
    own = {"settings": {"log_dir": str(folder / "logs")}}
    before, other = states(tmp_path, **own)[0].inputs, states(tmp_path)[0].inputs
    (context / "logs" / "runs" / "a.log").write_text("more")
    assert states(tmp_path, settings={"log_dir": str(folder / "logs")})[0].inputs == before
    assert states(tmp_path)[0].inputs != other


def test_a_tag_changes_with_the_base_image(tmp_path: Path, context: Path) -> None:
    assert tag(tmp_path, base="sha256:1") != tag(tmp_path, base="sha256:2")


def test_a_base_that_was_not_there_is_no_change_when_it_has_come(tmp_path: Path, context: Path) -> None:
    (first,) = located(facts(tmp_path), states(tmp_path))
    after = facts(tmp_path, {"alpine:3": "sha256:1"})
    remember_built(after, first, {})
    assert located(after, states(tmp_path))[0].tag == first.tag
    assert located(facts(tmp_path), states(tmp_path))[0].tag == first.tag, "offline, it counts as it was"
    assert located(facts(tmp_path, {"alpine:3": "sha256:2"}), states(tmp_path))[0].tag != first.tag


def test_files_that_change_while_they_are_built_leave_the_tag_of_before(tmp_path: Path, context: Path) -> None:
    (first,) = located(facts(tmp_path), states(tmp_path))
    remember_built(facts(tmp_path), first, {})
    (context / "src" / "main.go").write_text("package other\n")
    with pytest.raises(BadInput, match="changed meanwhile"):
        remember_built(facts(tmp_path), first, {})
    new = tag(tmp_path)
    (context / "src" / "main.go").write_text("package main\n")
    assert len({first.tag, new, located(facts(tmp_path), states(tmp_path))[0].tag}) == 3


def test_a_base_is_asked_of_the_cache_where_the_engine_has_it_not(tmp_path: Path, context: Path) -> None:
    """BuildKit does not store base images in the engine, but reports their digests."""
    name = cache_container(given.settings().registries.caches[0])
    cache = Registry(name=name, id="2", upstream="docker.io", port=5051, networks=())
    registries, plain = Registries(), facts(tmp_path)
    (first,) = located(plain, states(tmp_path))
    remember_built(plain, first, {"docker.io/library/alpine:3": "sha256:1"})

    def now(digest: str) -> str:
        registries.have = {"5051 docker.io/library/alpine:3": digest}
        there = facts(tmp_path, backend=registries, registries={PUSH.name: PUSH, name: cache})
        return located(there, states(tmp_path))[0].tag

    assert now("sha256:1") == first.tag
    assert now("sha256:2") != first.tag


def test_where_an_image_is(tmp_path: Path, context: Path) -> None:
    (found,) = located(facts(tmp_path), states(tmp_path))
    assert (found.built, found.pushed) == (False, False)
    (built,) = located(facts(tmp_path, {found.image: ""}), states(tmp_path))
    assert (built.built, built.pushed) == (True, False)
    registries = Registries()
    registries.have[f"5050 {found.image}"] = "sha256:9"
    (pushed,) = located(facts(tmp_path, backend=registries), states(tmp_path))
    assert pushed.pushed


def test_another_registry_is_asked_by_docker_and_its_login(tmp_path: Path, context: Path) -> None:
    result = facts(tmp_path)
    (found,) = located(result, states(tmp_path, {"image": "ghcr.io/me/api"}))
    assert isinstance(result.programs, FakePrograms)
    assert f"docker manifest inspect {found.image}" in result.programs.lines
    assert found.repository == "ghcr.io/me/api"


def test_a_dockerignore_of_the_dockerfile_is_buildkits_alone(tmp_path: Path, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    plain = states(tmp_path)[0].inputs
    (context / "Dockerfile.dockerignore").write_text("*\n")
    with_it = states(tmp_path)[0].inputs
    classic = states(tmp_path, engine=host(buildx=False))[0].inputs
    assert len({plain, with_it, classic}) == 3
    (context / "src" / "main.go").write_text("changed")
    assert states(tmp_path)[0].inputs == with_it
    assert states(tmp_path, engine=host(buildx=False))[0].inputs != classic


@pytest.mark.parametrize(
    ("engine", "desired", "builder"),
    [
        ({}, "", Builder.BUILDX),
        ({}, "0", Builder.CLASSIC),
        ({"buildx": False}, "", Builder.CLASSIC),
        ({"buildx": False, "client": ""}, "1", Builder.BUILDKIT),
    ],
)
def test_what_docker_builds_with(engine: dict[str, Any], desired: str, builder: Builder) -> None:
    assert builder_of(host(**engine), desired) is builder


@pytest.mark.parametrize(
    ("build", "more", "reported"),
    [
        ({"context": "nowhere"}, {}, "nowhere is not a folder"),
        ({"dockerfile": "Other"}, {}, "Other: No such file"),
        ({"secrets": {"n": {"env": "N"}}}, {"engine": host(buildx=False)}, "needs secrets"),
        ({"platform": "linux/arm64"}, {"engine": host(buildx=False)}, "needs the platform linux/arm64"),
        ({"dockerfile": "Heredoc"}, {"engine": host(buildx=False)}, "needs here-documents (line 2)"),
        ({}, {"owns_cluster": False}, "--set builds.api.image=REGISTRY/api"),
    ],
)
def test_what_cannot_be_built_is_refused(
    tmp_path: Path, context: Path, build: dict[str, Any], more: dict[str, Any], reported: str
) -> None:
    (context / "Heredoc").write_text(f"FROM {BASE}\nRUN <<EOF\ntrue\nEOF\n")
    with pytest.raises(BadInput) as caught:
        states(tmp_path, build, **more)
    assert reported in str(caught.value)


@pytest.mark.parametrize("look", ["is_symlink", "is_dir"])
def test_unreadable_files_are_named(tmp_path: Path, context: Path, monkeypatch: pytest.MonkeyPatch, look: str) -> None:
    def refused(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, look, refused)
    with pytest.raises(BadInput, match=r"the build 'api' cannot be read: .*Permission denied"):
        states(tmp_path)


def test_nothing_is_read_where_nothing_is_needed(tmp_path: Path) -> None:
    """The context of this one is not there."""
    assert states(tmp_path, parts=("secrets",)) == ()
    assert states(tmp_path, {"enabled": False}) == ()
    assert states(tmp_path, {"image": "ghcr.io/me/a", "context": "."} | {"enabled": False}, owns_cluster=False) == ()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("a")
    (folder / "sub" / "b").write_text("b")
    (folder / "left.log").write_text("c")
    (folder / "link").symlink_to("a")
    return folder


def digest(tree: Path) -> str:
    return context_digest(tree, ignored("*.log"), tree.parent / "index")


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "a").write_text("A"),
        lambda tree: (tree / "a").chmod(0o755),
        lambda tree: (tree / "a").rename(tree / "z"),
        lambda tree: (tree / "sub" / "new").mkdir(),
        lambda tree: (tree / "sub").chmod(0o700),
        lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("sub")),
        lambda tree: (tree / "sub" / "b").unlink(),
    ],
)
def test_it_changes_with_names_modes_and_contents(tree: Path, change: Callable[[Path], object]) -> None:
    before = digest(tree)
    change(tree)
    assert digest(tree) != before


def test_it_does_not_change_with_times_nor_with_what_docker_does_not_send(tree: Path) -> None:
    before = digest(tree)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "run"))
    os.utime(tree / "a", (1, 1))
    (tree / "left.log").write_text("changed")
    assert digest(tree) == before


def test_a_folder_that_is_gone_meanwhile_is_none(tree: Path) -> None:
    def left_out(path: str, folder: bool) -> bool:
        if folder:
            shutil.rmtree(tree / path)
        return path.endswith(".log")

    index = tree.parent / "index"
    assert context_digest(tree, left_out, index) == digest(tree)


def test_contents_are_read_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def file_digest(path: Path) -> str:
        read.append(path.name)
        return "x"

    monkeypatch.setattr(build_context, "file_digest", file_digest)
    monkeypatch.setattr(build_context, "_FRESH", -1)
    first = digest(tree)
    assert (sorted(read), digest(tree)) == (["a", "b"], first)
    (tree / "a").write_text("other")
    digest(tree)
    assert read[2:] == ["a"]


def test_what_was_changed_a_moment_ago_is_read_again(tree: Path) -> None:
    """It may be changed once more within one tick of the file system's clock."""
    digest(tree)
    assert not (tree.parent / "index").exists()
    past = time.time_ns() - 10_000_000_000
    os.utime(tree / "a", ns=(past, past))  # its change time is of now
    digest(tree)
    assert not (tree.parent / "index").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"form": 0, "files": {}}', '{"form": 1}'])
def test_a_broken_index_is_none(tree: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(tree)
    (tree.parent / "index").write_text(content)
    monkeypatch.setattr(build_context, "_FRESH", -1)
    assert digest(tree) == before
    assert set(json.loads((tree.parent / "index").read_text())["files"]) == {"a", "sub/b"}
