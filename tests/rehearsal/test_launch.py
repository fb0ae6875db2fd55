"""Whole launches on the embedded engine: the product's own graph and command lines, against the stand-ins."""

import json
import subprocess

import pytest

from tasks.rehearsal.folder import Folder, prepare
from tests.rehearsal.played import Played
from tests.rehearsal.reach import delete, scale

pytestmark = pytest.mark.whole


def test_a_launch_ends_well_and_leaves_what_is_configured(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    assert played.run() == 0
    record = played.record()
    assert (record["task"], record["engine"], record["outcome"]) == ("rehearse", "rehearsal", "ok")
    assert set(played.states().values()) == {"ran"}
    found = played.objects()
    assert {"/platform", "/client-tools"} <= set(found["v1 Namespace"])
    assert "platform/github-pat-secret" in found["v1 Secret"]
    for kind in ("apps/v1 Deployment", "v1 Service", "v1 Endpoints"):
        assert {"platform/web", "client-tools/db"} <= set(found[kind])
    assert any(name.startswith("platform/web-") for name in found["discovery.k8s.io/v1 EndpointSlice"])
    names = {each["name"] for each in played.state()["containers"].values()}
    assert {"k3d-openframe-dev-server-0", "k3d-openframe-dev-agent-0", "k3d-openframe-registry"} <= names
    shown = capsys.readouterr().out
    assert shown.count("REHEARSAL: ") == 2  # at its begin and at its end
    kubeconfig = played.place / "home/state/openframe/clusters/openframe-dev/kubeconfig"
    look = [played.place / "bin/kubectl", "--kubeconfig", kubeconfig, "get", "pods", "--all-namespaces"]
    output = subprocess.run([str(each) for each in look], capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in output.splitlines() if "web-" in line or "db-" in line] == [
        "client-tools",
        "platform",
    ]


def test_a_second_launch_finds_nothing_to_do(played: Played) -> None:
    assert played.run() == 0
    played.commands.clear()
    assert played.run() == 0
    assert set(played.states().values()) == {"skipped"}
    active = [
        command.argv for command in played.commands if command.argv[:2] in {("k3d", "cluster"), ("helm", "upgrade")}
    ]
    assert active == []
    assert played.run("status") == 0


def test_what_was_taken_away_is_made_again_and_nothing_else(played: Played) -> None:

    assert played.run() == 0
    delete(Folder(played.place), "/api/v1/namespaces/platform/secrets/github-pat-secret")
    delete(Folder(played.place), "/apis/apps/v1/namespaces/client-tools/deployments/db")
    assert played.run("status") == 5
    assert played.run() == 0
    ran = {name for name, state in played.states().items() if state == "ran"} - {"cluster: watch the nodes"}
    waits = {"helm: db in client-tools ready", "health: components in use"}
    assert ran == {"secrets: apply", "helm: install db in client-tools", *waits}


@pytest.mark.parametrize("version", ["v3.19.0", "v4.1.4"])
def test_whose_replicas_win_is_a_setting_of_the_release(
    played: Played, version: str, capsys: pytest.CaptureFixture[str]
) -> None:

    (played.folder / "logs").mkdir(mode=0o700)
    prepare(played.place)
    (played.place / "versions.json").write_text(json.dumps({"helm": version}))
    assert played.run() == 0
    place = Folder(played.place)
    for replicas, whose, left in ((3, "theirs", 3), (4, "ours", 1)):
        scale(place, "platform", "web", replicas)
        capsys.readouterr()
        changed = (f"helm.releases.web.conflicts={whose}", f'helm.releases.web.values={{"round": {replicas}}}')
        assert played.run("rehearse", *changed) == 0
        assert scale(place, "platform", "web", None) == left
        shown = " ".join(capsys.readouterr().out.split())
        assert "release web: spec.replicas of deployment/web in platform, owned by kubectl, is" in shown
        assert played.run("status", *changed) == 0


def test_down_clears_it_and_the_user_has_never_been_touched(played: Played) -> None:
    assert played.run() == 0
    assert played.run("down") == 0
    assert not played.place.exists()
    assert not (played.folder / "user").exists()
    assert played.run("status") == 4


def test_a_folder_of_the_user_is_left_alone(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    script = played.place / "bin" / "docker"
    script.parent.mkdir(parents=True, mode=0o700)
    played.place.parent.chmod(0o700)
    script.write_text("theirs")
    assert (played.run(), played.run("down")) == (2, 2)
    assert "is not a rehearsal's folder: it contains bin" in capsys.readouterr().err
    assert [path for path in played.place.rglob("*") if path.is_file()] == [script]
    assert script.read_text() == "theirs"


def test_a_cluster_that_another_one_stands_beside_leaves_it(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    assert played.run() == 0
    monkeypatch.setenv("CLUSTER_NAME", "other")
    assert played.run("rehearse", "cluster.ports.http=8181", "cluster.ports.https=8444") == 0
    assert played.run("down") == 0
    names = {each["name"] for each in played.state()["containers"].values()}
    assert "k3d-openframe-dev-server-0" in names
    assert not any("k3d-other" in name for name in names)


@pytest.mark.parametrize(
    ("sets", "nodes"),
    [
        (("cluster.agents=0",), {"server-0"}),
        (("cluster.servers=3", "cluster.agents=0"), {"server-0", "server-1", "server-2", "serverlb"}),
        (("cluster.loadbalancer=true", "cluster.agents=0"), {"server-0", "serverlb"}),
    ],
)
def test_other_shapes(sets: tuple[str, ...], nodes: set[str], played: Played) -> None:
    assert played.run("rehearse", *sets) == 0
    names = {each["name"] for each in played.state()["containers"].values()}
    assert {f"k3d-openframe-dev-{node}" for node in nodes} == {name for name in names if "openframe-dev-" in name}


def test_more_agents_are_added(played: Played) -> None:
    assert played.run() == 0
    assert played.run("rehearse", "cluster.agents=2") == 0
    names = {each["name"] for each in played.state()["containers"].values()}
    assert "k3d-openframe-dev-agent-1" in "".join(sorted(names))


def test_what_is_refused_before_a_run_says_rehearsal_too(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    assert played.run("helm") == 4
    assert capsys.readouterr().err.count("REHEARSAL: ") == 1
