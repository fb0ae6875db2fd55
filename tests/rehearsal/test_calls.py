"""A launch's calls of programs, and those of `down`, are the ones of calls.yaml."""

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from tasks.clients import docker
from tasks.core.imageref import linux_platform
from tasks.rehearsal.folder import prepare
from tests import calls
from tests.calls import ENDLESS, Row
from tests.rehearsal.played import Played

pytestmark = pytest.mark.whole

UPSTREAM = "http://192.0.2.7:5000"
IMAGES = {
    "node-image": "rancher/k3s:v1.35.5-k3s1",
    "tools-image": "ghcr.io/k3d-io/k3d-tools:5.9.0",
    "registry-image": "docker.io/library/registry:2",
}
PORTS = {"http-port": "28080", "https-port": "28443", "api-port": "26550", "push-port": "25050"}
SETS = (
    "registries.name=calls-registry",
    f"registries.port={PORTS['push-port']}",
    f'registries.caches=[{{"upstream": "docker.io", "url": "{UPSTREAM}"}}]',
    f"cluster.ports.http={PORTS['http-port']}",
    f"cluster.ports.https={PORTS['https-port']}",
    f"cluster.ports.api={PORTS['api-port']}",
    'helm.releases.web.values={"greeting": "hello"}',
    "cluster.pull_ahead=true",
)


OCI = f"oci://127.0.0.1:{PORTS['push-port']}/charts/more"


def umbrella(folder: Path) -> str:
    """A chart whose dependencies are not in its charts/ folder."""
    rows = [
        {"name": "part", "version": "*", "repository": "file://../part"},
        {"name": "more", "version": "1.2.3", "repository": OCI.removesuffix("/more")},
    ]
    for name, dependencies in (("umbrella", rows), ("part", [])):
        document = {"apiVersion": "v2", "name": name, "version": "1.0.0", "dependencies": dependencies}
        (folder / name).mkdir()
        (folder / name / "Chart.yaml").write_text(json.dumps(document))
    return str(folder / "umbrella")


@pytest.fixture
def launched(played: Played, monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.setenv("CLUSTER_NAME", "calls")
    return played


def words(played: Played) -> dict[str, str]:
    """What differs from one launch to another, in this one."""
    containers = {each["name"]: identity for identity, each in played.state()["containers"].items()}
    (hub,) = (name for name in containers if name.startswith("k3d-openframe-cache-"))
    cache = played.place / "home/cache/openframe"
    charts = {path.name: str(path) for path in (cache / "charts").glob("*/*.tgz")}
    (copy,) = (cache / "built-charts").glob("*/*/[!.]*")
    return {
        **IMAGES,
        "platform": linux_platform(os.uname().machine),
        **PORTS,
        "node-image-quoted": quote(IMAGES["node-image"], safe=""),
        "kube-version": "1.35.5",
        "upstream": UPSTREAM,
        "cache": hub,
        "cache-port": played.state()["containers"][containers[hub]]["ports"]["5000/tcp"][0]["HostPort"],
        "server-0": containers["k3d-calls-server-0"],
        "agent-0": containers["k3d-calls-agent-0"],
        "registry-id": containers["k3d-calls-registry"],
        "owner": played.state()["containers"][containers["k3d-calls-server-0"]]["labels"]["openframe.owner"],
        "cache-id": containers[hub],
        "web-chart": "shop/web",
        "web-version": "1.2.3",
        "web-image": "docker.io/library/web:1.2.3",
        "db-image": "docker.io/library/db:2.0.0",
        "pull-inside": docker.PULL_INSIDE,
        "web-archive": charts["web-1.2.3.tgz"],
        "db-chart": "shop/db",
        "db-version": "2.0.0",
        "db-archive": charts["db-2.0.0.tgz"],
        "folder": str(folder(played)),
        "oci-chart": OCI,
        "umbrella": str(played.folder / "umbrella"),
        "umbrella-copy": str(copy),
        "umbrella-image": "docker.io/library/umbrella:1.0.0",
        "part-folder": str(played.folder / "part"),
    }


def folder(played: Played) -> Path:
    """The cluster's own."""
    return played.place / "home/state/openframe/clusters/calls"


def calls_of(played: Played, known: dict[str, str]) -> list[Row]:
    """The recorded calls, as rows of calls.yaml."""
    return [
        Row(
            step=calls.put(step, known),
            argv=tuple(calls.put(part, known) for part in done.command.argv),
            stdin=calls.put(done.command.stdin, known),
            ok=done.command.ok,
            gives=calls.kind(done),
        )
        for step, done in played.ended
    ]


def compare(found: list[Row], expected: list[Row]) -> None:
    """The same calls by the same steps, with the same kinds of input and output; each that changes something, once."""
    by_call = {(row.step, row.line): row for row in expected}
    reported = {(row.step, row.line) for row in found}
    assert sorted(reported - set(by_call)) == []
    assert sorted(key for key, row in by_call.items() if not row.sometimes and key not in reported) == []
    for row in found:
        known = by_call[row.step, row.line]
        assert (row.stdin, row.ok) == (known.stdin, known.ok), row.line
        ended = row.argv[1] in ENDLESS and row.gives == "nothing"  # by the launch, before there was anything to tell
        assert ended or known.gives in ("", row.gives) or (known.gives, row.gives) == ("rows", "json"), row.line
    active = [row.line for row in found if not by_call[row.step, row.line].looks]
    assert sorted(active) == sorted(set(active))


@pytest.mark.parametrize("helm", [3, 4])
def test_a_launch_makes_these_calls_and_no_others(helm: int, launched: Played) -> None:
    (launched.folder / "logs").mkdir(mode=0o700)
    prepare(launched.place)
    (launched.place / "versions.json").write_text(json.dumps({"helm": {3: "v3.19.0", 4: "v4.1.4"}[helm]}))
    release = {"namespace": "platform", "chart": umbrella(launched.folder)}
    sets = (*SETS, f"helm.releases.umbrella={json.dumps(release)}")
    assert launched.run("rehearse", *sets) == 0
    known = words(launched)
    compare(calls_of(launched, known), calls.rows("up", helm))
    for name, content in calls.files().items():
        assert calls.put(yaml.safe_load((folder(launched) / name).read_text()), known) == content, name
    launched.ended.clear()
    assert launched.run("down", *sets) == 0
    compare(calls_of(launched, known), calls.rows("down", helm))
