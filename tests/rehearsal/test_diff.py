"""`plan --diff` and `status --diff` on the embedded engine: each difference is named, and nothing else."""

import json

import pytest

from tasks.rehearsal.folder import Folder
from tests.rehearsal.played import Played
from tests.rehearsal.reach import delete, scale

pytestmark = pytest.mark.whole


def test_only_differences(played: Played, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert played.run("plan", exit_code=True, diff=True) == 5
    absent = capsys.readouterr().out
    assert "+ cluster openframe-dev" in absent
    assert "+ release db in client-tools: shop/db 2.0.0" in absent
    assert played.run() == 0
    capsys.readouterr()
    assert played.run("plan", exit_code=True, diff=True) == 0
    assert capsys.readouterr().out == "✓ no differences: everything is as configured\n"

    place = Folder(played.place)
    delete(place, "/apis/networking.k8s.io/v1/namespaces/platform/networkpolicies/openframe-default-ingress")
    scale(place, "platform", "web", 3)
    monkeypatch.setenv("GITHUB_TOKEN_CLASSIC", "ghp_another0123456789")
    sets = ("helm.releases.db.values.image=shop/db:3", 'cluster.args.kubelet=["max-pods=120"]')
    assert played.run("plan", *sets, exit_code=True, format="json", diff=True) == 5
    out = capsys.readouterr().out
    assert "ghp_" not in out
    found = json.loads(out)["diff"]
    assert found["settings"] == ["cluster.args: kubelet max-pods: none → 120"]
    assert {(each["object"].rpartition("/")[2], each["action"]) for each in found["objects"]} == {
        ("github-pat-secret", "change"),
        ("openframe-default-ingress", "create"),
    }
    fields = {
        each["release"]: [field for one in each["objects"] for field in one["fields"]] for each in found["releases"]
    }
    image = "spec.template.spec.containers[db].image"
    assert fields == {
        "web in platform": [{"path": "spec.replicas", "before": "3", "after": "1", "secret": False}],
        "db in client-tools": [
            {"path": image, "before": "docker.io/library/db:2.0.0", "after": "shop/db:3", "secret": False}
        ],
    }
    assert played.run("status", *sets, diff=True) == 5
    off = "manifests.quota.enabled=false"
    assert played.run("rehearse", sets[0]) == 0
    assert played.run("plan", sets[0], exit_code=True, diff=True) == 0
    capsys.readouterr()
    assert played.run("plan", sets[0], off, exit_code=True, diff=True) == 5
    assert "- platform/resourcequota/openframe-quota" in capsys.readouterr().out
    assert played.run("rehearse", sets[0], off) == 0
    assert played.run("plan", sets[0], off, exit_code=True, diff=True) == 0


def test_a_stopped_cluster(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    assert played.run() == 0
    assert played.run("down", stop=True) == 0
    capsys.readouterr()
    assert played.run("status", diff=True) == 3
    assert "stopped" in capsys.readouterr().out
    assert played.run("plan", exit_code=True, diff=True) == 5
