"""A bundle on a real engine, the same to the byte, and a launch that queries no registry and no chart server."""

import shutil
from pathlib import Path

import pytest

from tests.real.conftest import Make
from tests.real.project import Project, containers, run
from tests.real.world import World

NOWHERE = "http://127.0.0.1:9"
"""Nobody answers there."""


@pytest.fixture(scope="module")
def saved(here: World, make: Make) -> tuple[Project, Path]:
    """A project after `down`, and a bundle of it; its caches and charts are deleted, too."""
    project = make("bundle-one", here.settings([here.release(0, "platform")], cluster={"agents": 0}))
    bundle = project.folder / "bundle.tar"
    for call in (("up",), ("bundle", "save", str(bundle))):
        done = project.invoke(*call)
        assert done.code == 0, done.text
    first = bundle.read_bytes()
    stamp = bundle.stat().st_mtime_ns
    again = project.invoke("bundle", "save", str(bundle))
    assert "unchanged" in again.out, again.text
    assert bundle.stat().st_mtime_ns == stamp
    bundle.unlink()
    assert project.invoke("bundle", "save", str(bundle)).code == 0
    assert bundle.read_bytes() == first
    assert project.invoke("down").code == 0
    shutil.rmtree(project.folder / "cache")
    shutil.rmtree(project.folder / "state" / "openframe" / "images")
    return project, bundle


def test_what_is_wrong_with_it_is_told_before_anything_starts(saved: tuple[Project, Path]) -> None:
    project, bundle = saved
    damaged = project.folder / "damaged.tar"
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    for path, reported in ((damaged, "it is damaged"), (project.profile, "it is no tar archive")):
        done = project.invoke("up", "--bundle", str(path))
        assert done.code == 2
        assert reported in done.text
    lacking = project.invoke("up", "--bundle", str(bundle), "--set", "images=[docker.io/library/none:1]")
    assert lacking.code == 2
    assert "it lacks the image docker.io/library/none:1" in lacking.text
    assert not containers(project.cluster)


def test_a_launch_from_it_needs_no_chart_server_and_no_upstream(saved: tuple[Project, Path]) -> None:
    """The caches are recreated without an upstream, where no other cluster pulls through them."""
    project, bundle = saved
    local = "127.0.0.1,localhost,0.0.0.0"
    done = project.invoke("up", "--bundle", str(bundle), HTTP_PROXY=NOWHERE, HTTPS_PROXY=NOWHERE, NO_PROXY=local)
    assert done.code == 0, done.text
    states = project.states()
    assert not [name for name, state in states.items() if name.startswith("helm: fetch") and state == "ran"]
    assert project.invoke("status").code == 0
    cache = next(name for name in run("docker", "ps", "--format", "{{.Names}}").split() if "cache-docker-io" in name)
    assert "openframe.bundle" in run("docker", "inspect", "--format", "{{json .Config.Labels}}", cache)
    assert project.invoke("down").code == 0
    again = project.invoke("registry")  # lets it ask again
    assert again.code == 0, again.text
    assert "openframe.bundle" not in run("docker", "inspect", "--format", "{{json .Config.Labels}}", cache)
