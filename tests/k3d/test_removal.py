"""What is removed of a cluster: everything that was created for it, by exact label, and nothing else."""

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients.kubeconfig import NotWritten, Unfit
from tasks.core.errors import BadInput, LaunchError
from tasks.engine.scheduler import Run
from tasks.engine.step import Bounds, State, Step
from tasks.facts.cluster import Owner, Presence
from tasks.facts.facts import Facts
from tasks.k3d import removal
from tasks.k3d.removal import (
    ENTRY,
    FILES,
    NETWORK,
    NODES,
    VOLUMES,
    Remains,
    before,
    own_containers,
    remains,
    stop_steps,
)
from tasks.k3d.steps import WATCH
from tasks.process.command import CommandFailed
from tasks.settings.derived import CREATE_CLUSTER, REMOVE_INCOMPLETE
from tests.facts import inspected
from tests.given import act, by_name, cluster_state, facts, node
from tests.given_engine import GHCR, PUSHED
from tests.programs import Answer, FakePrograms

IDS = ("350d0a6f737f2632d84def53fffbc324", "9f76b2a69da9cfa21b113260e5fa2839")
LABEL = "label=k3d.cluster=openframe-dev --filter label=app=k3d"
OURS = {"clusters": "k3d-openframe-dev", "contexts": "k3d-openframe-dev", "users": "admin@k3d-openframe-dev"}


def network(name: str = "k3d-openframe-dev", label: str | None = "k3d") -> str:
    """As `docker network inspect` prints it."""
    return json.dumps([{"Name": name, "Id": "8c1e9a719bac", "Labels": {"app": label} if label else {}}])


def members(*names: str) -> str:
    """As `docker ps` lists who is in it: this cluster's nodes, and others, of which some are registries."""
    ids = dict(zip(("k3d-openframe-dev-server-0", "k3d-openframe-dev-agent-0"), IDS, strict=True))
    registry = "app=k3d,k3d.cluster=,k3d.role=registry"
    labels = {PUSHED: f"{registry},openframe.cache=push", GHCR: registry}
    rows = [
        {
            "ID": ids.get(name, f"id-of-{name}"),
            "Names": name,
            "Labels": labels.get(name, "app=mine" if "database" in name else "k3d.cluster=other"),
        }
        for name in names
    ]
    return "".join(f"{json.dumps(each)}\n" for each in rows)


NODES_INSIDE = ("k3d-openframe-dev-server-0", "k3d-openframe-dev-agent-0")
NO_NETWORK = Answer(out="[]\n", err="Error: No such network: k3d-openframe-dev", code=1)


def docker(
    *,
    ids: tuple[str, ...] = IDS,
    networks: str | Answer | None = None,
    inside: tuple[str, ...] = (*NODES_INSIDE, PUSHED),
    volumes: str = "k3d-openframe-dev-images\n",
) -> FakePrograms:
    return FakePrograms(
        answers={
            "docker": "",
            "docker ps": "\n".join(ids),
            "docker network inspect": network() if networks is None else networks,
            "docker ps --all --no-trunc --filter network=k3d-openframe-dev ": members(*inside),
            "docker volume ls": volumes,
        }
    )


def with_entry(folder: Path, authority: str = "QUJD", server: str = "https://127.0.0.1:6550") -> Path:
    """The user's kubeconfig, with the cluster's entry and another one."""
    path = folder / ".kube" / "config"
    path.parent.mkdir(exist_ok=True)
    rows = {part: [{"name": name, part[:-1]: {}}, {"name": "other", part[:-1]: {}}] for part, name in OURS.items()}
    rows["clusters"][0]["cluster"] = {"server": server, "certificate-authority-data": authority}
    path.write_text(yaml.safe_dump({"current-context": "other", **rows}), encoding="utf-8")
    return path


def with_files(given: Facts) -> None:
    (given.paths.state / "config" / "k3d").mkdir(parents=True)
    own = {"name": OURS["clusters"], "cluster": {"certificate-authority-data": "QUJD"}}
    given.paths.kubeconfig.write_text(yaml.safe_dump({"clusters": [own]}), encoding="utf-8")


def run(given: Facts) -> list[State]:
    steps = removal.steps(given, remains(given))
    return [result.state for result in Run(steps, Bounds(work=4), refresh=0.01).execute()]


def test_what_there_is(tmp_path: Path) -> None:
    fake = docker()
    given = facts(tmp_path, fake)
    with_entry(tmp_path)
    with_files(given)
    found = remains(given)
    assert found == Remains(
        containers=IDS,
        network="k3d-openframe-dev",
        guests=(PUSHED,),
        volumes=("k3d-openframe-dev-images",),
        entry=True,
        files=True,
    )
    assert fake.lines == [
        f"docker ps --all --quiet --no-trunc --filter {LABEL}",
        "docker network inspect k3d-openframe-dev",
        "docker ps --all --no-trunc --filter network=k3d-openframe-dev --format {{json .}}",
        f"docker volume ls --quiet --filter {LABEL}",
    ]


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (network(), "k3d-openframe-dev"),
        (network(label=None), None),
        (network(label="mine"), None),
        (NO_NETWORK, None),
    ],
)
def test_only_a_network_that_k3d_made(tmp_path: Path, networks: str | Answer, expected: str | None) -> None:
    """Also one that k3d calls external, since it found it: of an interrupted creation."""
    first = node("server-0", labels={"k3d.cluster.network.external": "true"})
    given = facts(tmp_path, docker(networks=networks), cluster=cluster_state(Presence.RUNNING, first))
    assert remains(given).network == expected


@pytest.mark.parametrize(
    ("stranger", "guests"), [("k3d-other-server-0", ()), ("somebodys-database", (PUSHED,))], ids=["nodes", "database"]
)
def test_a_network_with_something_foreign_stays(tmp_path: Path, stranger: str, guests: tuple[str, ...]) -> None:
    """Nodes of a cluster that was created with `--network k3d-NAME` would lose each other, and their registries.

    A registry of this project that stays with anything else would count as used by the cluster, which is gone.
    """
    fake = docker(inside=(*NODES_INSIDE, PUSHED, GHCR, stranger))
    given = facts(tmp_path, fake)
    found = remains(given)
    assert (found.guests, found.strangers) == (guests, (stranger,))
    plan = by_name(removal.steps(given, found))
    assert [name for name in plan if name.startswith("down: take ")] == [
        f"down: take {each} out of the network" for each in guests
    ]
    assert f"it stays, since other containers use it: {stranger}" == plan[NETWORK].skip
    assert plan[NODES].skip is None


@pytest.mark.parametrize(
    ("stranger", "guests"), [("somebodys-database", (PUSHED,)), ("k3d-other-server-0", ()), (GHCR, (PUSHED,))]
)
def test_a_network_of_the_users_is_left_as_it_was(tmp_path: Path, stranger: str, guests: tuple[str, ...]) -> None:
    """This project's registries would keep its owner from removing it; nodes of other clusters need them."""
    given = facts(tmp_path, docker(networks=network(label=None), inside=(*NODES_INSIDE, PUSHED, stranger)))
    found = remains(given)
    assert (found.network, found.guests, found.strangers) == (None, guests, ())
    plan = by_name(removal.steps(given, found))
    assert [name for name in plan if name.startswith("down: take ")] == [
        f"down: take {each} out of the network" for each in guests
    ]
    assert plan[NETWORK].skip == "k3d created none for it"


ALL = Remains(
    containers=IDS,
    network="k3d-openframe-dev",
    guests=(PUSHED, GHCR),
    volumes=("k3d-openframe-dev-images",),
    entry=True,
    files=True,
)


def test_nodes_go_first_and_the_network_after_its_guests(tmp_path: Path) -> None:
    fake = docker()
    plan = by_name(removal.steps(facts(tmp_path, fake), ALL))
    guests = tuple(f"down: take {name} out of the network" for name in (PUSHED, GHCR))
    assert {name: step.needs for name, step in plan.items()} == {
        NODES: (),
        **dict.fromkeys((*guests, VOLUMES, ENTRY, FILES), (NODES,)),
        NETWORK: (NODES, *guests),
    }
    assert all(step.skip is None and step.task == "down" for step in plan.values())
    for name in (NODES, *guests, NETWORK, VOLUMES):
        act(plan[name])
    assert fake.lines == [
        f"docker rm --force --volumes {IDS[0]} {IDS[1]}",
        f"docker network disconnect --force k3d-openframe-dev {PUSHED}",
        f"docker network disconnect --force k3d-openframe-dev {GHCR}",
        "docker network rm k3d-openframe-dev",
        "docker volume rm --force k3d-openframe-dev-images",
    ]


@pytest.mark.parametrize(
    ("error", "stays"),
    [("remove k3d-openframe-dev-images: volume is in use - [f2390219085401a8]", True), ("boom", False)],
)
def test_a_volume_that_something_of_others_uses_stays(tmp_path: Path, error: str, stays: bool) -> None:
    fake = docker()
    fake.answers["docker volume rm"] = Answer(err=f"Error response from daemon: {error}", code=1)
    step = by_name(removal.steps(facts(tmp_path, fake), ALL))[VOLUMES]
    if stays:
        (note,) = act(step).notes
        assert "the container f23902190854 uses it" in note
        assert "docker volume rm k3d-openframe-dev-images" in note
    else:
        with pytest.raises(CommandFailed, match="boom"):
            act(step)


def test_the_entry_is_taken_out_and_others_stay(tmp_path: Path) -> None:
    path = with_entry(tmp_path)
    step = by_name(removal.steps(facts(tmp_path), ALL))[ENTRY]
    assert step.why == str(path)
    assert not act(step).skipped
    left = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {part: [row["name"] for row in left[part]] for part in OURS} == {key: ["other"] for key in OURS}
    assert act(step).skipped


@pytest.mark.parametrize(("kind", "output"), [(NotWritten, "Read-only file system"), (Unfit, "is not a kubeconfig")])
def test_an_entry_that_cannot_be_taken_out_does_not_keep_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[NotWritten | Unfit], output: str
) -> None:
    def refused(path: Path, _name: str) -> bool:
        raise kind(path, "Read-only file system")

    monkeypatch.setattr("tasks.k3d.removal.remove", refused)
    report = act(by_name(removal.steps(facts(tmp_path), ALL))[ENTRY])
    assert report.skipped
    assert f"{output}: its entry stays" in report.why


@pytest.mark.parametrize(
    ("known", "runs", "authority", "server", "removed"),
    [
        (True, True, "QUJD", "https://127.0.0.1:6550", True),
        (True, False, "QUJD", "https://127.0.0.1:6550", True),
        (True, True, "REVG", "https://127.0.0.1:6550", False),
        (False, True, "REVG", "https://0.0.0.0:6550", True),  # the private one is lost: by the port that its API has
        (False, True, "REVG", "https://127.0.0.1:6551", False),
        (False, True, "REVG", "https://10.0.0.5:6550", False),
        (False, True, "REVG", "https://127.0.0.1:none", False),
        (False, False, "REVG", "https://127.0.0.1:6550", False),
    ],
)
def test_an_entry_of_another_cluster_of_that_name_stays(
    tmp_path: Path, known: bool, runs: bool, authority: str, server: str, removed: bool
) -> None:
    """It may be one of another engine, or on another machine: with the entry its login would be lost."""
    path = with_entry(tmp_path, authority, server)
    given = facts(tmp_path, presence=Presence.RUNNING if runs else Presence.ABSENT)
    if known:
        with_files(given)
    before = path.read_text(encoding="utf-8")
    step = by_name(removal.steps(given, remains(given)))[ENTRY]
    if removed:
        assert not act(step).skipped
    else:
        assert step.skip == "its k3d-openframe-dev is another cluster's"
        assert path.read_text(encoding="utf-8") == before


def test_private_files(tmp_path: Path) -> None:
    given = facts(tmp_path)
    with_files(given)
    neighbour = given.paths.state.with_name("openframe-dev-2")
    neighbour.mkdir()
    act(by_name(removal.steps(given, ALL))[FILES])
    assert not given.paths.state.exists()
    assert neighbour.exists()
    act(by_name(removal.steps(given, ALL))[FILES])  # they may be gone meanwhile


def test_what_is_not_there_is_not_removed(tmp_path: Path) -> None:
    """The second time nothing is found, and that is reported."""
    given = facts(tmp_path, docker())
    with_entry(tmp_path)
    with_files(given)
    assert set(run(given)) == {State.RAN}
    again = facts(tmp_path, docker(ids=(), networks=NO_NETWORK, volumes=""))
    assert remains(again) == Remains()
    assert set(run(again)) == {State.SKIPPED}
    assert [(step.name, step.skip) for step in removal.steps(again, Remains())] == [
        (NODES, "there are none"),
        (NETWORK, "k3d created none for it"),
        (VOLUMES, "there are none"),
        (ENTRY, "it has none"),
        (FILES, "there are none"),
    ]


# -- stopping ----------------------------------------------------------------------------------------


def test_stopping_is_for_nodes_that_run(tmp_path: Path) -> None:
    fake = docker()
    nodes = (node("server-0"), node("agent-0", running=False), node("serverlb"))
    (step,) = stop_steps(facts(tmp_path, fake, cluster=cluster_state(Presence.RUNNING, *nodes)))
    act(step)
    assert fake.lines == ["docker stop -t 10 k3d-openframe-dev-server-0 k3d-openframe-dev-serverlb"]
    (step,) = stop_steps(facts(tmp_path, presence=Presence.STOPPED))
    assert step.skip == "none of them is running"


# -- making it anew ----------------------------------------------------------------------------------


def making() -> list[Step]:
    return [
        Step(name="prepull: k3s", task="prepull"),
        Step(name=REMOVE_INCOMPLETE, task="cluster"),
        Step(name=CREATE_CLUSTER, task="cluster", needs=("prepull: k3s",)),
        Step(name="namespaces: apply", task="namespaces", needs=(CREATE_CLUSTER,)),
        Step(name=WATCH, task="cluster", until=(CREATE_CLUSTER,)),
    ]


def test_what_makes_a_cluster_waits_for_what_removes_the_old_one(tmp_path: Path) -> None:
    old = removal.steps(facts(tmp_path), replace(ALL, guests=()))
    plan = by_name(before(old, making()))
    names = {step.name for step in old}
    assert list(plan)[: len(old)] == [step.name for step in old]
    assert plan["prepull: k3s"].needs == ()  # images come meanwhile
    assert plan["namespaces: apply"].needs == (CREATE_CLUSTER,)
    for name in (CREATE_CLUSTER, REMOVE_INCOMPLETE, WATCH):  # the watch must not see the old nodes die
        assert names <= set(plan[name].needs), name


ALICE, BOB = Owner(id="a1", name="alice@laptop"), Owner(id="b2", name="bob@laptop")
OTHERS = inspected.container("server-0", "server", labels={"openframe.owner": ALICE.label})
TOOLS = inspected.container("tools", "noRole", state="exited")


@pytest.mark.parametrize(("owner", "refused"), [(ALICE, False), (BOB, True)])
def test_what_is_removed_is_the_users_at_that_moment(owner: Owner, refused: bool) -> None:
    programs = inspected.docker(OTHERS)
    with pytest.raises(BadInput, match="alice@laptop") if refused else contextlib.nullcontext():
        assert own_containers(programs, "openframe-dev", owner.label) == [OTHERS["Id"]]


def tools(seconds: float) -> dict[str, object]:
    """The container of tools that k3d creates first, so many seconds ago."""
    return {**TOOLS, "Created": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()}


@pytest.mark.parametrize(
    ("checks", "outcome", "waited"),
    [
        ([[20]], [TOOLS["Id"]], 0),
        ([[2], [20]], [TOOLS["Id"]], 0.5),  # its creation was killed
        ([[2], []], [], 0.5),
        ([[2], [2, OTHERS]], BadInput, 0.5),
        ([[2]], LaunchError, 6),  # one creation after the other
    ],
)
def test_a_creation_without_a_node_is_waited_for(
    checks: list[list[Any]], outcome: list[str] | type[Exception], waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two users, or two jobs, launch at the same moment: what k3d creates first has no label of its owner.

    `looks`: what there is at each look: others, and tools by their age in seconds.
    """
    there = [[tools(each) if isinstance(each, int) else each for each in look] for look in checks]
    waits: list[float] = []
    monkeypatch.setattr("tasks.k3d.removal.time.sleep", waits.append)
    programs = FakePrograms(
        answers={
            "docker ps --all": ["\n".join(str(each["Id"]) for each in look) for look in there],
            "docker container inspect": [json.dumps(look) for look in there],
        }
    )
    with pytest.raises(outcome) if isinstance(outcome, type) else contextlib.nullcontext():
        assert own_containers(programs, "openframe-dev", BOB.label) == outcome
    assert sum(waits) == waited
