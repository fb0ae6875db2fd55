"""From settings and an engine to the facts: what is queried, what is not, and what is refused."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput, LaunchError, NoEngine
from tasks.facts.cluster import Presence
from tasks.run.gather import gather
from tests.given_engine import INFO, OTHER, Machine
from tests.programs import Answer

ALL = ("prepull", "registry", "cluster", "namespaces", "secrets", "manifests", "helm", "health")


def commands_of(machine: Machine) -> str:
    return "\n".join(machine.programs.lines)


def test_nothing_is_there(machine: Machine) -> None:
    session = machine.session()
    found = gather(session, ALL)
    assert found.cluster.presence is Presence.ABSENT
    assert (found.shape.agents, found.shape.concurrency) == (2, 2), "4 CPUs and 8 GiB"
    assert found.live is None
    assert found.ports is not None
    assert machine.acted == []
    assert session.system == {
        "cpus": 4,
        "memory_gib": 8.0,
        "arch": "x86_64",
        "os": INFO["OperatingSystem"],
        "docker": INFO["ServerVersion"],
        "k3d": "v5.9.0",
        "kubectl": "v1.33.13",
        "helm": "v4.1.4",
        "k3s_image": "rancher/k3s:v1.35.5-k3s1",
    }


@pytest.mark.parametrize(
    ("sections", "agents", "concurrency"),
    [
        ({}, 2, 2),
        ({"cluster": {"agents": 0}}, 0, 2),
        ({"cluster": {"agents": 5}, "pool": {"concurrency": 9}}, 5, 9),
    ],
)
def test_the_machine_decides_what_is_not_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], agents: int, concurrency: int
) -> None:
    shape = gather(Machine(tmp_path, monkeypatch, **sections).session(), ()).shape
    assert (shape.agents, shape.concurrency) == (agents, concurrency)


@pytest.mark.parametrize(("above", "pulls"), [((), None), (("pool.downloads",), 3)])
def test_pulls_of_nodes_have_a_bound_if_it_is_set(machine: Machine, above: tuple[str, ...], pulls: int | None) -> None:
    assert gather(machine.session(above=above), ()).shape.parallel_pulls == pulls


@pytest.mark.parametrize("shared", [False, True])
def test_whose_cluster_it_is_matters_but_for_what_all_share(machine: Machine, shared: bool) -> None:
    machine.owner = OTHER
    machine.make()
    with contextlib.nullcontext() if shared else pytest.raises(BadInput, match="belongs to alice@laptop"):
        assert gather(machine.session(), (), refuse=not shared).cluster.presence is Presence.FOREIGN


@pytest.mark.parametrize(
    ("parts", "checked"),
    [((), False), (("prepull", "registry"), False), (("cluster",), True), (("helm",), True), (ALL, True)],
)
def test_the_cluster_is_queried_only_for_inner_parts(machine: Machine, parts: tuple[str, ...], checked: bool) -> None:
    machine.make()
    assert (gather(machine.session(), parts).live is not None) is checked
    assert bool(machine.api.requests) is checked


def test_images_and_registries_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, registries={"caches": []})
    machine.put_registries()
    found = gather(machine.session(), ALL)
    assert found.images == {
        "rancher/k3s:v1.35.5-k3s1": True,
        "ghcr.io/k3d-io/k3d-tools:5.9.0": True,
        "docker.io/library/registry:2": True,
    }
    assert list(found.registries) == ["k3d-openframe-registry"]
    machine.images = False
    assert not any(gather(machine.session(), ALL).images.values())


def test_nodes_know_the_push_registry_by_its_current_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, registries={"caches": []})
    assert ":5050" in gather(machine.session(), ()).shape.registries_yaml
    machine.put_registries()
    machine.containers[0]["HostConfig"]["PortBindings"]["5000/tcp"][0]["HostPort"] = "5077"
    found = gather(machine.session(), ()).shape.registries_yaml
    assert ":5077" in found
    assert ":5050" not in found


def test_where_k3d_is_missing_the_pinned_one_decides_on_images(machine: Machine) -> None:
    machine.fails["k3d version"] = Answer(code=127, err="not found")
    assert "ghcr.io/k3d-io/k3d-tools:5.9.0" in gather(machine.session(), ()).images


def test_no_engine_is_told_before_anything_that_follows_from_it(machine: Machine) -> None:
    output = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    machine.fails["docker"] = Answer(code=1, err=output)
    with pytest.raises(NoEngine) as caught:
        gather(machine.session(), ALL)
    assert caught.value.status == 6


def test_k3d_gets_none_of_our_variables_but_its_own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, cluster={"tools_image": "mirror/tools:1"})
    environ = {
        "K3D_AGENTS": "4",
        "K3D_MEMORY_LIMIT_SERVER": "2G",
        "K3D_FIX_DNS": "0",
        "DOCKER_HOST": "unix:///x.sock",
        "KUBECONFIG": "/mine",
        "HTTPS_PROXY": "http://proxy",
    }
    found = gather(machine.session(environ=environ), ()).k3d_programs.env
    state = str(tmp_path / "state" / "openframe" / "clusters" / "openframe-dev")
    assert {name: value for name, value in found.items() if name.startswith("K3D_")} == {
        "K3D_FIX_DNS": "0",
        "K3D_IMAGE_TOOLS": "mirror/tools:1",
    }
    assert found["DOCKER_HOST"] == "unix:///x.sock"
    assert found["HTTPS_PROXY"] == "http://proxy"
    assert "KUBECONFIG" not in found
    assert found["TMPDIR"].startswith(state)


def test_helm_gets_places_of_ours(machine: Machine, tmp_path: Path) -> None:
    env = gather(machine.session(), ()).helm_programs.env
    assert env["HELM_REPOSITORY_CONFIG"].startswith(f"{tmp_path}/cache/openframe/repositories/")
    assert env["HELM_KUBECONTEXT"] == ""


@pytest.mark.parametrize(("reported", "major"), [("v4.1.4+g0b8", 4), ("v3.19.0", 3), ("", 4)])
def test_helms_flags_follow_its_version(machine: Machine, reported: str, major: int) -> None:
    machine.fails["helm version"] = Answer(out=reported)
    assert gather(machine.session(), ()).helm_major == major


# -- single tasks -----------------------------------------------------------------------------------


# -- the API ----------------------------------------------------------------------------------------


def test_the_private_kubeconfig_is_read_from_the_server_where_there_is_none(machine: Machine) -> None:
    machine.make()
    session = machine.session()
    gather(session, ("health",))
    (copied,) = machine.programs.calls_of("docker cp")[-1:]
    assert copied.line.endswith("-server-0:/output/kubeconfig.yaml -")
    assert "docker cp k3d-" not in copied.line, "by its id: who has that name may be another cluster's by now"
    assert session.paths.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert "127.0.0.1:6550" in session.paths.kubeconfig.read_text()
    machine.programs.calls.clear()
    gather(session, ("health",))
    assert "output/kubeconfig" not in commands_of(machine), "it is still right"


@pytest.mark.parametrize("change", ["port", "refused"])
def test_a_kubeconfig_of_an_earlier_cluster_is_read_again(machine: Machine, change: str) -> None:
    machine.make()
    session = machine.session()
    gather(session, ("health",))
    if change == "port":
        file = session.paths.kubeconfig
        file.write_text(file.read_text().replace(":6550", ":6551"))
    else:
        machine.api.answers["/readyz"] = (401, "Unauthorized")
        machine.api.changes["/readyz", machine.api.requests.count("/readyz") + 2] = machine.api.answers.clear
    machine.programs.calls.clear()
    gather(session, ("health",))
    assert "output/kubeconfig" in commands_of(machine)


def silent(machine: Machine, monkeypatch: pytest.MonkeyPatch, logs: str) -> LaunchError:
    """The report on a cluster whose API does not answer."""
    machine.make()
    machine.api.answers["/readyz"] = (500, "")
    machine.fails["docker logs"] = Answer(err=logs)
    ticks = iter(range(0, 1000, 5))
    monkeypatch.setattr("time.monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(LaunchError) as caught:
        gather(machine.session(), ("health",))
    return caught.value


def test_an_api_that_never_answers_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    error = silent(machine, monkeypatch, "I1125 all is quiet")
    assert "runs, but its API does not answer" in error.what
    assert "127.0.0.1:6550" in error.why


def test_an_api_whose_server_died_is_told_with_the_cause(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = (
        'time="2026-11-25T02:09:00Z" level=fatal msg="kubelet exited: failed to parse kubelet flag: unknown flag: --x"'
    )
    error = silent(machine, monkeypatch, logs)
    assert "k3d-openframe-dev-server-0" in error.what
    assert "--x" in f"{error.what} {error.why}"
