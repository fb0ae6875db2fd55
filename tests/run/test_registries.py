"""Names and plans of the push registry and the caches; proxies and authorities reach them as files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import certifi
import pytest

from tasks.clients.docker import OWNER
from tasks.engine.step import Step
from tasks.facts.cluster import ContainerState, Presence
from tasks.facts.facts import AUTHORITIES, Facts
from tasks.facts.network import network
from tasks.facts.registries import Registry, read
from tasks.k3d.registry_container import labels
from tasks.run.registries import missing, steps
from tasks.settings import derived
from tasks.settings.schema import Cache
from tests.facts import inspected
from tests.given import act, facts, settings
from tests.given_engine import GHCR, HUB, ONLY_GHCR, ONLY_PUSH, OTHER, PUSHED, engine, only, ports, there
from tests.programs import Call, FakePrograms, visible

LOGIN = {"upstream": "ghcr.io", "username_env": "CACHE_USER", "password_env": "CACHE_PASSWORD"}
CANARY = "c4nary-of-a-proxy"
ADDRESS = f"http://me:{CANARY}@proxy:3128"
PROXY = {"https": ADDRESS, "no_proxy": ["corp.example"]}
VARIABLES = {"HTTPS_PROXY": ADDRESS, "NO_PROXY": "localhost,127.0.0.0/8,::1,corp.example"}


def test_by_default() -> None:
    assert list(derived.registry_containers(settings())) == [
        PUSHED,
        HUB,
        GHCR,
        "k3d-openframe-cache-quay-io",
        "k3d-openframe-cache-registry-k8s-io",
    ]
    assert derived.registries_in_use(settings())[0] == f"{PUSHED}:5000"  # k3d tells clients of the first one
    assert derived.mirrors(settings())["docker.io"] == [f"http://{HUB}:5000"]


@pytest.mark.parametrize(
    ("registries", "expected"),
    [
        ({"push": False}, 4),
        ({"caches": []}, 1),
        ({"push": False, "caches": []}, 0),
    ],
)
def test_each_can_be_left_out(registries: Mapping[str, Any], expected: int) -> None:
    assert (
        len(derived.registry_containers(settings(registries=registries)))
        == len(derived.registries_in_use(settings(registries=registries)))
        == expected
    )


def test_the_push_registrys_name_is_a_setting() -> None:
    assert derived.push_container(settings(registries={"name": "mine"})) == "k3d-mine"


@pytest.mark.parametrize(
    ("cache", "name", "url"),
    [
        ({"upstream": "ghcr.io"}, GHCR, "https://ghcr.io"),
        ({"upstream": "ghcr.io", "url": "https://ghcr.io/"}, GHCR, "https://ghcr.io/"),
        ({"upstream": "docker.io"}, HUB, "https://registry-1.docker.io"),  # docker.io itself serves no images
        ({"upstream": "docker.io", "url": "https://registry-1.docker.io"}, HUB, "https://registry-1.docker.io"),
        ({"upstream": "r.example.com:5000"}, "k3d-openframe-cache-r-example-com-5000", "https://r.example.com:5000"),
    ],
)
def test_a_caches_name_and_address(cache: dict[str, Any], name: str, url: str) -> None:
    assert (derived.cache_container(Cache(**cache)), derived.upstream_url(Cache(**cache))) == (name, url)


@pytest.mark.parametrize(
    "cache",
    [
        {"upstream": "ghcr.io", "url": "http://mirror.example.com"},
        {"upstream": "ghcr.io", "url": "http://other.example.com"},
        {"upstream": "docker.io", "url": "https://mirror.gcr.io"},
        LOGIN,
        {**LOGIN, "username_env": "ANOTHER"},
    ],
)
def test_a_cache_that_asks_elsewhere_is_another_container(cache: dict[str, Any]) -> None:
    result = derived.cache_container(Cache(**cache))
    usual = derived.cache_container(Cache(upstream=cache["upstream"]))
    assert result.startswith(f"{usual}-")
    assert len(result) == len(usual) + 7
    assert derived.cache_container(Cache(**{**cache, "url": "http://another.example.com"})) != result


@pytest.mark.parametrize(
    ("found", "presence", "skip", "why"),
    [
        (there(), Presence.ABSENT, f"{PUSHED} runs at 127.0.0.1:5050", ""),
        (there(networks=("bridge",)), Presence.ABSENT, f"{PUSHED} runs at 127.0.0.1:5050", ""),
        (there(networks=("bridge",)), Presence.INCOMPLETE, f"{PUSHED} runs at 127.0.0.1:5050", ""),
        (there(), Presence.RUNNING, f"{PUSHED} runs at 127.0.0.1:5050", ""),
        (there(networks=("bridge",)), Presence.RUNNING, None, f"{PUSHED} is not in k3d-openframe-dev"),
        (there(state=ContainerState.STOPPED), Presence.ABSENT, None, f"{PUSHED} is stopped"),
        (there(state=ContainerState.STOPPED), Presence.STOPPED, None, f"{PUSHED} is stopped"),
        (there(state=ContainerState.LOOPING), Presence.RUNNING, None, f"{PUSHED} keeps ending"),
        (there(state=ContainerState.CREATED), Presence.ABSENT, None, "it is missing"),
    ],
)
def test_what_is_there(tmp_path: Path, found: Registry, presence: Presence, skip: str | None, why: str) -> None:
    given = facts(tmp_path, settings=ONLY_PUSH, presence=presence, registries={PUSHED: found})
    step = only(given)
    assert (step.skip, step.why) == (skip, why)


@pytest.mark.parametrize(
    ("state", "networks", "presence", "lines"),
    [
        ("exited", ("k3d-openframe-dev",), Presence.ABSENT, [f"docker start {PUSHED}"]),
        ("exited", ("k3d-openframe-dev",), Presence.STOPPED, [f"docker start {PUSHED}"]),
        ("restarting", ("k3d-openframe-dev",), Presence.RUNNING, [f"docker restart {PUSHED}"]),
        ("paused", ("k3d-openframe-dev",), Presence.RUNNING, [f"docker unpause {PUSHED}"]),
        (
            "exited",
            (),
            Presence.STOPPED,
            [f"docker start {PUSHED}", f"docker network connect k3d-openframe-dev {PUSHED}"],
        ),
        ("running", (), Presence.RUNNING, [f"docker network connect k3d-openframe-dev {PUSHED}"]),
    ],
)
def test_what_is_done_to_it(
    tmp_path: Path,
    state: str,
    networks: tuple[str, ...],
    presence: Presence,
    lines: list[str],
) -> None:
    found = inspected.registry(state=state, networks=networks)
    fake = engine(**{"docker container inspect": json.dumps([found])})
    act(only(facts(tmp_path, fake, settings=ONLY_PUSH, presence=presence, registries=read([found]))))
    assert [line for line in fake.lines if "inspect" not in line] == lines


@pytest.fixture(autouse=True)
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.clients.registry_http.answers", lambda *_: True)


def given(folder: Path, fake: FakePrograms, **more: Any) -> Facts:
    """One cache, and proxies and authorities for it."""
    registries = {"push": False, "caches": [{"upstream": "ghcr.io"}]}
    return facts(folder, fake, settings=settings(registries=registries, network=more))


def authority(folder: Path) -> str:
    """A file with a certificate."""
    first = Path(certifi.where()).read_text().split("-----END")[0]
    (folder / "ca.pem").write_text(f"{first}-----END CERTIFICATE-----\n")
    return "ca.pem"


class Copies:
    """What was handed to docker as files, and read while it was there."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def env(self, call: Call) -> str:
        path = call.command.argv[call.command.argv.index("--env-file") + 1]
        self.files["env"] = Path(path).read_text()
        assert Path(path).stat().st_mode & 0o777 == 0o600
        return "id-of-it\n"

    def copied(self, call: Call) -> str:
        self.files[call.command.argv[3]] = Path(call.command.argv[2]).read_text()
        return ""


def test_proxies_go_in_by_a_file_of_variables(tmp_path: Path) -> None:
    copies = Copies()
    fake = engine(**{"docker run": copies.env})
    found = given(tmp_path, fake, proxy=PROXY)
    act(only(found, ports(5051)))
    assert copies.files["env"] == "".join(f"{name}={value}\n" for name, value in VARIABLES.items())
    assert CANARY not in visible(fake.calls)
    assert not list(tmp_path.rglob("*.env"))
    assert f"openframe.network={found.shape.network.mark}" in fake.calls_of("docker run")[0].line


def test_authorities_are_copied_in_before_it_starts(tmp_path: Path) -> None:
    copies = Copies()
    fake = engine(**{"docker create": "id-of-it\n", "docker cp": copies.copied})
    found = given(tmp_path, fake, ca=[authority(tmp_path)])
    act(only(found, ports(5051)))
    assert copies.files == {f"{GHCR}:{AUTHORITIES}": found.shape.network.authorities}
    assert [each.argv[1] for each in fake.commands][-3:] == ["create", "cp", "start"]
    assert "REGISTRY_PROXY_REMOTEURL=https://ghcr.io" in fake.calls_of("docker create")[0].line


def test_with_a_login_too(tmp_path: Path) -> None:
    copies = Copies()
    fake = engine(**{"docker create": copies.env, "docker cp": copies.copied})
    login = {"upstream": "ghcr.io", "username_env": "U", "password_env": "P"}
    chosen = settings(
        registries={"push": False, "caches": [login]}, network={"proxy": PROXY, "ca": [authority(tmp_path)]}
    )
    act(only(facts(tmp_path, fake, settings=chosen, environ={"U": "me", "P": "c4nary-of-a-login"}), ports(5051)))
    assert {name.rpartition("/")[2] for name in copies.files} == {"env", "config.yml", "openframe-ca.pem"}


def test_the_push_registry_asks_nobody_and_gets_none(tmp_path: Path) -> None:
    fake = engine()
    chosen = settings(registries={"caches": []}, network={"proxy": PROXY, "ca": [authority(tmp_path)]})
    act(only(facts(tmp_path, fake, settings=chosen)))
    assert "--env" not in fake.calls_of("docker run")[0].line
    assert "openframe.network" not in fake.calls_of("docker run")[0].line


def made_with(folder: Path, variables: Mapping[str, str], *, mark: str | None = None, **more: Any) -> dict[str, Any]:
    """A cache as Docker shows it, created with the proxies above unless `mark` differs."""
    chosen = network(settings(network={"proxy": PROXY}), {}, folder)
    cache = settings(registries={"caches": [{"upstream": "ghcr.io"}]}).registries.caches[0]
    marked = {"openframe.network": chosen.mark if mark is None else mark}
    return inspected.registry(
        GHCR,
        port="5051",
        labels={**labels(cache), **marked},
        env=[f"{name}={value}" for name, value in variables.items()],
        **more,
    )


def step_for(folder: Path, fake: FakePrograms, there: dict[str, Any]) -> Step:
    found = given(folder, fake, proxy=PROXY)
    registries: dict[str, Registry] = read([there])
    found = facts(folder, fake, settings=found.settings, registries=registries)
    (step,) = steps(found, ports(5999))
    assert missing(found) is (step.skip is None)
    return step


def test_one_that_has_them_is_left_alone(tmp_path: Path) -> None:
    there = made_with(tmp_path, {**VARIABLES, "PATH": "/bin", "NO_PROXY": VARIABLES["NO_PROXY"]})
    assert step_for(tmp_path, engine(), there).skip == f"{GHCR} runs at 127.0.0.1:5051"


@pytest.mark.parametrize(
    ("variables", "mark"),
    [
        ({}, ""),  # made before there was a proxy
        (VARIABLES, "another"),  # other authorities
        ({**VARIABLES, "HTTPS_PROXY": "http://me:former-password@proxy:3128"}, None),
    ],
)
def test_one_is_recreated_with_port_and_network(variables: Mapping[str, str], mark: str | None, tmp_path: Path) -> None:
    there = made_with(tmp_path, variables, mark=mark, networks=("bridge", "k3d-one", "k3d-two"))
    copies = Copies()
    fake = engine(**{"docker container inspect": json.dumps([there]), "docker run": copies.env})
    step = step_for(tmp_path, fake, there)
    assert "have changed" in step.why
    assert act(step).why == f"{GHCR} at 127.0.0.1:5051"
    did = [line for line in fake.lines if "inspect" not in line]
    assert did[0] == f"docker rm --force --volumes {GHCR}"
    assert did[1].startswith("docker volume create")
    assert f"--volume {GHCR}:/var/lib/registry" in did[2]
    assert "--publish 127.0.0.1:5051:5000" in did[2]
    assert did[3:] == [f"docker network connect {name} {GHCR}" for name in ("k3d-one", "k3d-two")]


@pytest.mark.parametrize(("networks", "remaining"), [(("bridge", "k3d-alices"), True), (("bridge",), False)])
def test_one_that_another_user_has_made_is_not_recreated_while_clusters_use_it(
    tmp_path: Path, networks: tuple[str, ...], remaining: bool
) -> None:
    """Recreated with this user's proxies and login, those clusters would pull through them."""
    there = made_with(tmp_path, {}, mark="", networks=networks)
    there["Config"]["Labels"][OWNER] = OTHER
    assert (step_for(tmp_path, engine(), there).skip is not None) is remaining


def test_proxies_that_are_configured_no_more_are_taken_out(tmp_path: Path) -> None:
    there = made_with(tmp_path, VARIABLES)
    fake = engine(**{"docker container inspect": json.dumps([there])})
    (step,) = steps(facts(tmp_path, fake, settings=ONLY_GHCR, registries=read([there])), ports(5999))
    act(step)
    assert "--env-file" not in fake.calls_of("docker run")[0].line


def test_variables_that_docker_itself_gives_to_containers_are_no_change(tmp_path: Path) -> None:
    """The CLI sets those of ~/.docker/config.json (docs: Docker, "Use a proxy server with the Docker CLI")."""
    there = made_with(tmp_path, VARIABLES, mark="")
    (step,) = steps(facts(tmp_path, engine(), settings=ONLY_GHCR, registries=read([there])), ports())
    assert step.skip is not None


def test_one_of_somebody_else_is_used_as_it_is(tmp_path: Path) -> None:
    there = inspected.registry(GHCR, port="5051", ours=False)
    assert step_for(tmp_path, engine(), there).skip is not None
    assert PUSHED not in step_for(tmp_path, engine(), there).name
