"""How the container of a registry is created: once, with its login, at a free port."""

import contextlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.core.errors import BadInput, LaunchError
from tasks.core.lock import Held, held
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, Context, State
from tasks.facts.cluster import Presence
from tasks.k3d.registry_container import configuration, hold_registries, lock
from tasks.run.registries import steps
from tasks.settings.derived import cache_container
from tasks.settings.schema import Cache
from tests.facts import inspected
from tests.given import act, facts, settings
from tests.given_engine import ABSENT, GHCR, ONLY_GHCR, ONLY_PUSH, PUSHED, engine, only, ports, there
from tests.programs import Answer, Call, context, tarred, visible

LOGIN = {"upstream": "ghcr.io", "username_env": "CACHE_USER", "password_env": "CACHE_PASSWORD"}
WITH_LOGIN = settings(registries={"push": False, "caches": [LOGIN]})
CANARY = "s3cr3t-c4nary!"


@pytest.fixture(autouse=True)
def probed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ports at which a registry that was started is waited for."""
    found: list[int] = []

    def answers(port: int, _context: Context, seconds: float) -> bool:
        assert seconds < 10
        found.append(port)
        return True

    monkeypatch.setattr("tasks.clients.registry_http.answers", answers)
    return found


def options(argv: tuple[str, ...], name: str) -> list[str]:
    return [argv[place + 1] for place, each in enumerate(argv) if each == name]


def test_a_push_registry_is_made(tmp_path: Path) -> None:
    fake, free = engine(), ports(5050)
    given = facts(tmp_path, fake, settings=ONLY_PUSH)
    report = act(only(given, free))
    assert report.why == f"{PUSHED} at 127.0.0.1:5050"
    assert given.outputs.registry_ports == {PUSHED: 5050}
    assert free.requested == [5050]
    volume = f"docker volume create --label openframe.cache=push {PUSHED}"
    assert fake.lines[:2] == [f"docker container inspect {PUSHED}", volume]
    argv = fake.commands[2].argv
    assert argv[:3] == ("docker", "run", "--detach")
    assert argv[-1] == "docker.io/library/registry:2"
    assert options(argv, "--name") == [PUSHED]
    assert options(argv, "--publish") == ["127.0.0.1:5050:5000"]  # loopback only
    assert options(argv, "--volume") == [f"{PUSHED}:/var/lib/registry"]
    assert options(argv, "--restart") == ["unless-stopped"]
    assert options(argv, "--env") == []
    assert {"app=k3d", "k3d.role=registry", "k3d.cluster=", "openframe.cache=push"} <= set(options(argv, "--label"))
    assert len(fake.calls) == 3


def test_a_cache_is_made(tmp_path: Path) -> None:
    fake, free = engine(), ports(5051)
    given = facts(tmp_path, fake, settings=ONLY_GHCR)
    assert act(only(given, free)).why == f"{GHCR} at 127.0.0.1:5051"
    assert given.outputs.registry_ports == {GHCR: 5051}
    assert free.requested == [None]  # any port will do
    argv = fake.calls_of("docker run")[0].command.argv
    assert options(argv, "--env") == [
        "REGISTRY_PROXY_REMOTEURL=https://ghcr.io",
        "REGISTRY_HTTP_DEBUG_ADDR=127.0.0.1:5001",
    ]
    labels = options(argv, "--label")
    assert {"openframe.cache=ghcr.io", "openframe.upstream=https://ghcr.io"} <= set(labels)
    assert "openframe.cache=ghcr.io" in fake.calls_of("docker volume create")[0].line


@pytest.mark.parametrize(
    ("args", "path"),
    [
        (["/etc/docker/registry/config.yml"], "/etc/docker/registry/config.yml"),
        (["serve", "/etc/distribution/config.yml"], "/etc/distribution/config.yml"),
        ([], "/etc/docker/registry/config.yml"),
    ],
)
def test_a_login_is_a_file_where_the_registry_command_reads(tmp_path: Path, args: list[str], path: str) -> None:
    files: list[tuple[str, dict[str, Any], int]] = []

    def copy(probed: Call) -> str:
        source = Path(probed.command.argv[2])
        files.append((probed.line, yaml.safe_load(source.read_text(encoding="utf-8")), source.stat().st_mode & 0o777))
        return ""

    inspect = [ABSENT, json.dumps([{"Args": args}])]
    fake = engine(**{"docker cp": copy, "docker create": "id-of-it\n", "docker container inspect": inspect})
    given = facts(tmp_path, fake, settings=WITH_LOGIN, environ={"CACHE_USER": "me", "CACHE_PASSWORD": CANARY})
    step = only(given)
    assert "never as an argument" in step.why
    act(step)
    name = cache_container(Cache(**LOGIN))
    ((line, written, mode),) = files
    assert line.endswith(f" {name}:{path}")
    assert written["proxy"] == {"remoteurl": "https://ghcr.io", "username": "me", "password": CANARY}
    assert written["http"]["addr"] == ":5000"
    assert mode == 0o600
    verbs = ["container", "volume", "create", "container", "cp", "start"]
    assert [call.command.argv[1] for call in fake.calls] == verbs
    assert given.outputs.registry_ids == {name: "id-of-it"}
    assert CANARY not in visible(fake.calls)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY in path.read_text(encoding="utf-8")]
    assert not options(fake.calls_of("docker create")[0].command.argv, "--env")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"U": "me ", "P": f"{CANARY}\r\n"}, {"username": "me", "password": CANARY}),
        ({"P": "a token of mine"}, {"password": "a token of mine"}),
        ({"U": "me", "P": f"{CANARY}\nmore"}, "P contains a line break"),
        ({"U": "me", "P": ""}, "P is empty"),
    ],
)
def test_a_caches_login_is_taken_without_the_end_of_its_line(environ: dict[str, str], expected: Any) -> None:
    """And nothing that is not named."""
    cache = Cache(upstream="ghcr.io", password_env="P", **({"username_env": "U"} if "U" in environ else {}))
    if isinstance(expected, str):
        with pytest.raises(BadInput, match=expected) as caught:
            configuration(cache, environ)
        assert CANARY not in str(caught.value)
    else:
        proxy = yaml.safe_load(configuration(cache, environ))["proxy"]
        assert proxy == {"remoteurl": "https://ghcr.io", **expected}


@pytest.mark.parametrize("runs", [True, False])
def test_another_launch_has_made_it_meanwhile(tmp_path: Path, probed: list[int], runs: bool) -> None:
    found = inspected.registry(port="5077", state="running" if runs else "exited")
    fake = engine(**{"docker container inspect": json.dumps([found])})
    given = facts(tmp_path, fake, settings=ONLY_PUSH)
    report = act(only(given))
    assert report.skipped is runs
    assert report.why == (f"{PUSHED} runs at 127.0.0.1:5077" if runs else f"{PUSHED} at 127.0.0.1:5077, started")
    assert given.outputs.registry_ports == {PUSHED: 5077}
    assert probed == ([] if runs else [5077]), "one that was started now is waited for"
    assert fake.lines == [f"docker container inspect {PUSHED}", *([] if runs else [f"docker start {PUSHED}"])]


@pytest.mark.parametrize(("networks", "joins"), [(("bridge",), 1), (("k3d-openframe-dev",), 0)])
def test_and_is_put_into_the_network_if_it_is_not_there(tmp_path: Path, networks: tuple[str, ...], joins: int) -> None:
    fake = engine(**{"docker container inspect": json.dumps([inspected.registry(networks=networks)])})
    act(only(facts(tmp_path, fake, settings=ONLY_PUSH, presence=Presence.RUNNING)))
    assert len(fake.calls_of("docker network connect")) == joins


@pytest.mark.parametrize("ours", [True, False])
def test_one_that_never_ran_is_made_again_if_it_is_ours(tmp_path: Path, ours: bool) -> None:
    """Its port was taken, or its maker was killed before its login was in."""
    found = inspected.registry(state="created", ours=ours)
    fake = engine(**{"docker container inspect": json.dumps([found])})
    with contextlib.nullcontext() if ours else pytest.raises(LaunchError, match="this project did not create"):
        act(only(facts(tmp_path, fake, settings=ONLY_PUSH)))
    verbs = [call.command.argv[1] for call in fake.calls]
    assert verbs == (["container", "rm", "volume", "run"] if ours else ["container"])
    assert not ours or fake.lines[1] == f"docker rm --force --volumes {PUSHED}"


OCCUPIED = Answer(
    code=125, err="docker: Error response from daemon: Bind for 127.0.0.1:5050 failed: port is already allocated."
)


def test_a_container_that_is_no_registry_is_left_alone(tmp_path: Path) -> None:
    """k3d would not find a registry of that name, and the launch would say that it was removed."""
    found = inspected.registry(ours=False, labels={"k3d.role": ""})
    fake = engine(**{"docker container inspect": json.dumps([found])})
    step = only(facts(tmp_path, fake, settings=ONLY_PUSH), ports(5050))
    with pytest.raises(LaunchError, match=f"'{PUSHED}' exists that is no registry") as caught:
        act(step)
    assert f"docker rename {PUSHED}" in caught.value.fix
    assert fake.lines == [f"docker container inspect {PUSHED}"]


def test_a_port_that_is_taken_after_all(tmp_path: Path, probed: list[int]) -> None:
    created = json.dumps([inspected.registry(state="created")])
    fake = engine(**{"docker container inspect": [ABSENT, created], "docker run": [OCCUPIED, "id-of-the-second\n"]})
    given = facts(tmp_path, fake, settings=ONLY_PUSH)
    step = only(given, ports(5050, 5051))
    fast = replace(step, needs=(), retry=replace(step.retry, first=0.0))
    (result,) = Run([fast], Bounds(work=1), refresh=0.01).execute()
    assert (result.state, result.attempts) == (State.RAN, 2)
    assert result.why == f"{PUSHED} at 127.0.0.1:5051"
    assert given.outputs.registry_ports == {PUSHED: 5051}
    assert given.outputs.registry_ids == {PUSHED: "id-of-the-second"}
    assert probed == [5051]
    assert [options(call.command.argv, "--publish") for call in fake.calls_of("docker run")] == [
        ["127.0.0.1:5050:5000"],
        ["127.0.0.1:5051:5000"],
    ]


# -- one that does not run ---------------------------------------------------------------------------


def archive(text: str) -> Answer:
    """A file as `docker cp NAME:FILE -` gives it."""
    return Answer(raw=tarred({"scheduler-state.json": text}))


@pytest.mark.parametrize(
    ("expiry", "heals"),
    [
        (archive('{"a'), True),
        (archive(""), True),
        (archive("null"), True),
        (archive("{}"), False),
        (archive('{"library/x@sha256:1": {"Key": "x"}}'), False),
        (Answer(code=1, err=inspected.NO_FILE_20), False),
        (Answer(raw=b"no archive"), False),
    ],
)
@pytest.mark.parametrize("state", ["restarting", "exited"])
def test_a_cache_with_a_truncated_list_gets_a_new_one(tmp_path: Path, expiry: Answer, heals: bool, state: str) -> None:
    copied: list[str] = []

    def copy(probed: Call) -> Answer | str:
        if probed.command.argv[-1] == "-":
            return expiry
        copied.append(Path(probed.command.argv[2]).read_text())
        return ""

    found = inspected.registry(GHCR, state=state, labels={"openframe.cache": "ghcr.io"})
    fake = engine(**{"docker container inspect": json.dumps([found]), "docker cp": copy})
    report = act(only(facts(tmp_path, fake, settings=ONLY_GHCR)))
    assert copied == (["{}"] if heals else [])
    assert ("was truncated" in report.why) is heals
    verbs = [call.command.argv[1] for call in fake.calls if call.command.argv[1] not in ("container", "cp")]
    plain = {"restarting": ["restart"], "exited": ["start"]}[state]
    assert verbs == (["stop", "start"] if heals else plain)


@pytest.mark.parametrize("required", [True, False])
def test_one_that_keeps_ending_and_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, required: bool) -> None:
    monkeypatch.setattr("tasks.clients.registry_http.answers", lambda *_: False)
    found = inspected.registry(GHCR, state="restarting", labels={"openframe.cache": "ghcr.io"})
    fake = engine(**{"docker container inspect": json.dumps([found]), "docker logs": Answer(err="panic: no space\n")})
    given = facts(tmp_path, fake, settings=ONLY_GHCR)
    (step,) = steps(given, ports(), required=required)
    reported = f"the registry {GHCR} keeps ending: panic: no space"
    if required:
        with pytest.raises(LaunchError, match=reported):
            act(step)
    else:
        assert act(step).notes == (f"{reported}: images of ghcr.io are pulled from there, without it",)


# -- held for a launch -------------------------------------------------------------------------------


def test_registries_that_are_gone_before_the_cluster_is_made_are_made_again(tmp_path: Path) -> None:
    fake = engine(**{"docker container inspect": "[]"})
    built = facts(tmp_path, fake, settings=ONLY_PUSH, registries={PUSHED: there(port=5077)})
    hold_registries(built, context())
    assert [line.split()[1] for line in fake.lines][:3] == ["volume", "volume", "container"]
    assert "openframe-lease-" in fake.lines[0]
    assert options(fake.calls_of("docker run")[0].command.argv, "--publish") == ["127.0.0.1:5077:5000"]
    built.close()
    assert fake.lines[-1].startswith("docker volume rm --force openframe-lease-")


def test_those_that_are_there_are_only_held(tmp_path: Path) -> None:
    fake = engine(**{"docker container inspect": json.dumps([inspected.registry()])})
    hold_registries(facts(tmp_path, fake, settings=ONLY_PUSH, registries={PUSHED: there()}), context())
    assert len(fake.calls) == 3
    fake.calls.clear()
    hold_registries(facts(tmp_path, fake, settings=settings(registries={"push": False, "caches": []})), context())
    assert fake.calls == []


@pytest.mark.parametrize("theirs", [True, False])
def test_one_that_is_being_created_is_awaited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: bool) -> None:
    monkeypatch.setattr("tasks.k3d.registry_container._PAUSE", 0.0)
    owner = {"openframe.owner": "id=another&name=alice"} if theirs else {}
    created = json.dumps([inspected.registry(state="created", labels=owner)])
    ready = json.dumps([inspected.registry(labels=owner)])
    fake = engine(**{"docker container inspect": [created, created, ready]})
    report = act(only(facts(tmp_path, fake, settings=ONLY_PUSH)))
    assert report.skipped is theirs
    assert bool(fake.calls_of("docker rm")) is not theirs


# -- at the same time --------------------------------------------------------------------------------


def test_several_are_made_at_the_same_time_and_get_different_ports(tmp_path: Path) -> None:
    barrier = threading.Barrier(5, timeout=10)

    def start(_call: Call) -> str:
        barrier.wait()  # all five are here, or it breaks
        return ""

    chosen: list[int] = []

    def free(_desired: int | None) -> int:
        port = 5050 + len(chosen)
        chosen.append(port)
        return port

    fake = engine(**{"docker run": start})
    built = [replace(step, needs=()) for step in steps(facts(tmp_path, fake), free)]
    results = Run(built, Bounds(work=5), refresh=0.01).execute()
    assert {result.state for result in results} == {State.RAN}
    published = [options(call.command.argv, "--publish")[0] for call in fake.calls_of("docker run")]
    assert len(set(published)) == 5


def test_none_is_made_while_they_are_purged(tmp_path: Path) -> None:
    given = facts(tmp_path, engine(), settings=ONLY_PUSH)
    with held(lock(given.paths.state.parent), "registry"), pytest.raises(Held, match="'registries'"):
        only(given).action(context(deadline=0.05))


def test_no_cluster_can_hold_their_lock(tmp_path: Path) -> None:
    assert lock(tmp_path).stem.startswith(".")
    with pytest.raises(ValueError, match=r"cluster\.name|must consist"):
        settings(cluster={"name": lock(tmp_path).stem})
