"""Rules between settings, each reported with the layer that broke it."""

from pathlib import Path

import pytest

from tests.settings.project import refused, resolved


@pytest.mark.parametrize(
    ("sets", "reported"),
    [
        (["cluster.ports.http=443"], ["cluster.ports.https and cluster.ports.http are both 443"]),
        (["cluster.ports.api=80"], ["cluster.ports.api and cluster.ports.http are both 80"]),
        (["registries.port=6550"], ["registries.port and cluster.ports.api are both 6550"]),
        (["cluster.ports.extra=[5050:80@server:0:direct]"], ["cluster.ports.extra.0 and registries.port"]),
        (["cluster.ports.extra=[400-500:400-500]"], ["are both 443"]),
        (["cluster.ports.extra=['1000:1', '127.0.0.1:1000:2']"], ["cluster.ports.extra.1 and cluster.ports.extra.0"]),
        (["namespaces=a b a"], ["namespaces names 'a' twice"]),
        (["registries.caches=[{upstream: x.io}, {upstream: x-io}]"], ["x.io has a cache already"]),
        (["registries.caches.x={username_env: A}"], ["has no password_env"]),
        (["registries.caches.x={password_env: A}"], ["has no username_env"]),
        (["secrets.s.values.k={env: A, file: b}"], ["secrets.s.values.k has 2 sources (env, file)"]),
        (["secrets.s.values.k={}"], ["secrets.s.values.k has 0 sources"]),
        (["builds=[{name: a}, {name: a, target: x}]"], ["another build has that name"]),
        (["builds.a={}", "registries.push=false"], ["nodes could not pull it"]),
        (
            ["builds.a.image=k3d-openframe-registry:5000/shop/api"],
            ["nodes use that name of the push registry", "write shop/api"],
        ),
        (["builds.a.secrets.npm={}"], ["builds.a.secrets.npm has 0 sources"]),
        (["cluster.kubernetes_version=v1.31.1", "cluster.kubelet_config.maxPods=5"], ["k3s reads them from 1.32 on"]),
        (["helm.releases.cert-manager.chart=jetstck/cert-manager"], ["did you mean jetstack/cert-manager?"]),
        (["helm.releases.cert-manager.chart=zzz/x"], ["add helm.repositories.zzz"]),
        (["helm.releases.cert-manager.chart=cert-manager"], ["a chart is repository/chart"]),
        (["helm.releases.cert-manager.chart=https://x.io/a.tgz"], ["a chart is repository/chart"]),
        (["helm.releases.cert-manager.chart=jetstack/a/b"], ["a chart is repository/chart"]),
        (["helm.repositories.jetstack=null"], ["no repository is named 'jetstack'"]),
        (["helm.releases.cert-manager.needs=nothing"], ["no release has that name; there are: no others"]),
        (["helm.releases.cert-manager.needs=cert-manager"], ["cert-manager → cert-manager"]),
    ],
)
def test_broken_rules(tmp_path: Path, sets: list[str], reported: list[str]) -> None:
    error = refused(tmp_path, *sets)
    assert error.what.startswith(("--set: ", "default: "))
    for part in reported:
        assert part in str(error)


@pytest.mark.parametrize(
    "sets",
    [
        ["cluster.ports.http=null", "cluster.ports.https=80"],
        ["cluster.ports.http_fallback=443"],
        ["registries.push=false", "registries.port=80"],
        ["cluster.ports.extra=['80:80/udp', '443', '0:5', '127.0.0.1:90:1']"],
        ["cluster.kubernetes_version=v1.31.1", "cluster.image=mine:1", "cluster.kubelet_config.maxPods=5"],
        ["registries.caches.x={username_env: A, password_env: B}"],
        ["builds.a.image=ghcr.io/me/a", "registries.push=false"],
        ["builds=[{name: a}, {name: a, enabled: false}]"],
        ["cluster.servers=2"],
        ["cluster.args.kubelet=[max-parallelism=4, image-pull-progress-deadline=1m]"],
        ["helm.releases.cert-manager={enabled: false, chart: nonsense, needs: [nothing]}"],
        ["helm.releases.cert-manager.chart=./charts/x"],
        ["helm.releases.cert-manager.chart=../x"],
        ["helm.releases.cert-manager.chart=/x"],
        ["helm.releases.cert-manager.chart=oci://x.io/a"],
    ],
)
def test_what_is_allowed(tmp_path: Path, sets: list[str]) -> None:
    resolved(tmp_path, *sets)


def test_the_layer_that_made_the_clash_is_named(tmp_path: Path) -> None:
    (tmp_path / "invoke.yaml").write_text("openframe:\n  cluster:\n    ports: {http: 5050}\n", encoding="utf-8")
    assert refused(tmp_path).what.startswith("invoke.yaml, line 3: registries.port and cluster.ports.http are both")


@pytest.mark.parametrize(
    ("sets", "reported"),
    [
        (
            "cluster.env=['P=http://me:s3cret@proxy:3128@sever:*']",
            "cluster.env.0 ends in '@sever:*', which names no nodes",
        ),
        ("cluster.env=['A=s3cret@server']", "cluster.env.0 ends in '@server'"),
        ("cluster.env=['A=s3cret@server:0:direct']", "direct is for ports alone"),
        ("cluster.env=['s3cret@server:*']", "cluster.env.0 is not NAME=value"),
        ("cluster.volumes=['/s3cret:/b@agents']", "cluster.volumes.0 ends in '@agents'"),
        ("cluster.args.k3s=['token=s3cret@agent:x']", "cluster.args.k3s.0 ends in '@agent:x'"),
        ("cluster.args.k3s=['--cluster-cidr']", "cluster.args.k3s gives cluster-cidr no value"),
        ("cluster.args.apiserver=['token=s3cret@agent:*']", "cluster.args.apiserver gives token to agents only"),
    ],
)
def test_what_k3d_or_k3s_would_refuse_is_told_when_settings_are_read(tmp_path: Path, sets: str, reported: str) -> None:
    error = refused(tmp_path, sets)
    assert reported in error.what
    assert "s3cret" not in f"{error} {error.why} {error.fix}"


@pytest.mark.parametrize("port", ["80:80@sever:0", "80:80@server", "80:80@server:0:indirect"])
def test_ports_name_nodes_that_k3d_knows(tmp_path: Path, port: str) -> None:
    assert "must be written as k3d does" in refused(tmp_path, f"cluster.ports.extra=['{port}']").why
