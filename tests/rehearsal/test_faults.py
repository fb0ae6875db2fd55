"""Faults, and two at a time: a launch ends well, or with its cause; the next one ends well."""

import pytest

from tests.rehearsal.played import RELEASES, Played

pytestmark = pytest.mark.whole

IMPATIENT = (
    "timeouts.pull=2",
    "timeouts.api=5",
    "timeouts.health=4",
    "cluster.timeout=6",
    RELEASES[1].replace('"namespace"', '"timeout": 2, "namespace"'),
)
FAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "pull-stalls=rancher/k3s": (1, ("prepull: rancher/k3s", "did not end within 2 s")),
    "pull-rate-limited=rancher/k3s": (1, ("its rate limit is reached", "docker login")),
    "pull-rate-limited=rancher/k3s,times=1": (0, ()),
    "image-missing=rancher/k3s": (1, ("there is no image rancher/k3s", "cluster.kubernetes_version")),
    "registry-dies=k3d-openframe-cache-docker-io": (0, ()),
    "port-taken=80,times=1": (0, ()),
    "port-taken=6550": (0, ()),
    "node-crashes=server-0": (1, ("k3d-openframe-dev-server-0 has ended", "panic: runtime error")),
    "node-crashes=agent-0": (1, ("k3d-openframe-dev-agent-0 has ended", "docker logs k3d-openframe-dev-agent-0")),
    "api-flaps=server-0,after=0.1,times=2": (0, ()),
    "disk-full=rancher/k3s": (1, ("the disk is full", "docker system df")),
    "disk-full=k3d-openframe-dev-server-0": (1, ("the disk is full", "docker system df")),
    "release-never-ready=web": (1, ("helm: web in platform ready", "deployment/web")),
    "image-missing=platform/web": (1, ("helm: web in platform ready", "image")),
    "repository-fails=shop,times=2": (0, ()),
    "repository-fails=shop": (1, ("shop", "500 Internal Server Error")),
    "hangs=helm repo update": (1, ("no answer within 2 s from the chart repository", "timeouts.pull")),
    "engine-restarts,times=1": (1, ("the Docker engine has stopped, or was restarted", "invoke up")),
    "killed=k3d cluster create": (1, ("k3d was ended by SIGKILL", "the program was killed")),
    "killed=helm upgrade --install web,times=1": (1, ("helm was ended by SIGKILL",)),
    "killed=k3s:v1.35.5-k3s1": (1, ("docker was ended by SIGKILL",)),
    "hangs=k3s:v1.35.5-k3s1": (1, ("prepull: rancher/k3s", "did not end within 2 s")),
    "hangs=helm upgrade --install web": (1, ("helm did not end within",)),
    "registry-dies=k3d-openframe-cache-docker-io & pull-rate-limited=rancher/k3s,times=1": (0, ()),
    "pull-rate-limited=rancher/k3s,times=1 & release-never-ready=web": (1, ("deployment/web",)),
}


@pytest.fixture(autouse=True)
def _without_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is ended soon."""
    monkeypatch.setattr("tasks.clients.helm.GRACE", 0.5)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    found = capsys.readouterr()
    return found.out + found.err


@pytest.mark.parametrize("faults", FAULTS)
def test_a_fault_ends_well_or_with_its_cause(faults: str, played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    code, words = FAULTS[faults]
    assert played.run("rehearse", *IMPATIENT, fault=tuple(faults.split(" & ")), scale="0.05") == code
    record, text = played.record(), printed(capsys)
    assert record["outcome"] == ("ok" if code == 0 else "failed"), text
    assert "Traceback" not in text
    assert "REHEARSAL" in text
    assert [word for word in words if word not in text] == [], text
    assert bool([step for step in record["steps"] if step["state"] == "failed"]) is bool(code)
    ends = faults.startswith("registry-dies")  # one that keeps ending may end between two looks at it, for a while
    for _ in range(6 if ends else 1):
        assert played.run() == 0, printed(capsys)  # what has failed is completed
        if not ends or played.run("status") == 0:
            return
    raise AssertionError(printed(capsys))
