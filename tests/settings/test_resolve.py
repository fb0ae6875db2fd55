"""Layers and profiles go over each other in their order, and every value knows which one has set it."""

from pathlib import Path

import pytest

from tasks.settings.origin import shown_option
from tasks.settings.schema import Settings
from tests.settings.project import origins, project, refused, resolved, values

INVOKE = """\
run:
  echo: true
profile: mine
openframe:
  cluster:
    name: file
    servers: 3
    ports:
      http: 8081
"""
MINE = "cluster:\n  name: profile\n  agents: 2\n"


def test_nothing_set_is_the_defaults(tmp_path: Path) -> None:
    found = resolved(tmp_path)
    assert found.settings == Settings()
    assert origins(found) == {}


def test_each_layer_goes_over_the_one_before(tmp_path: Path) -> None:
    project(tmp_path, INVOKE, mine=MINE)
    steps = [
        (resolved(tmp_path, profile="none"), "file", "invoke.yaml:6"),
        (resolved(tmp_path), "profile", "config/mine.yaml:2"),
        (resolved(tmp_path, environ={"CLUSTER_NAME": "env"}), "env", "CLUSTER_NAME"),
        (resolved(tmp_path, "cluster.name=option", environ={"CLUSTER_NAME": "env"}), "option", "--set"),
        (resolved(tmp_path, "cluster.name=first", "cluster.name=last"), "last", "--set"),
    ]
    for found, name, origin in steps:
        assert found.settings.cluster.name == name
        assert origins(found)["cluster.name"] == origin
    assert steps[3][0].settings.cluster.servers == 3
    assert steps[3][0].settings.cluster.agents == 2
    assert origins(steps[3][0]) == {
        "profile": "invoke.yaml:3",
        "cluster.name": "--set",
        "cluster.servers": "invoke.yaml:7",
        "cluster.agents": "config/mine.yaml:3",
        "cluster.ports.http": "invoke.yaml:9",
    }


def test_an_empty_variable_is_not_set_and_others_are_nobodys_business(tmp_path: Path) -> None:
    environ = {"CLUSTER_NAME": "", "NAMESPACES": "  ", "K3D_AGENTS": "", "K3D_NONSENSE": "x", "OPENFRAME_ODD": "y"}
    assert resolved(tmp_path, environ=environ).settings == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("CLUSTER_NAME", "dev-2", "cluster.name", "dev-2"),
        ("K8S_VERSION", "1.33.1", "cluster.kubernetes_version", "1.33.1"),
        ("K3S_IMAGE", "rancher/k3s:v1.33.1-k3s1", "cluster.image", "rancher/k3s:v1.33.1-k3s1"),
        ("NAMESPACES", " a  b\tc\n", "namespaces", ["a", "b", "c"]),
        ("NAMESPACES", "a,b", "namespaces", ["a", "b"]),
        ("IP", "0.0.0.0", "cluster.bind_address", "0.0.0.0"),
        ("DOMAIN", "127.0.0.1.nip.io", "cluster.domain", "127.0.0.1.nip.io"),
        ("K3D_RESOURCE_OPTIMIZATION", "OFF", "cluster.limits.enabled", False),
        ("K3D_MEMORY_LIMIT_SERVER", "512m", "cluster.limits.server_memory", "512m"),
        ("K3D_MEMORY_LIMIT_AGENT", "1.5GiB", "cluster.limits.agent_memory", "1.5GiB"),
        ("K3D_CPU_LIMIT_SERVER", "0.5", "cluster.limits.server_cpus", 0.5),
        ("K3D_CPU_LIMIT_AGENT", "3", "cluster.limits.agent_cpus", 3.0),
        ("K3D_CONCURRENT_DOWNLOADS", "5", "pool.downloads", 5),
        ("K3D_AGENTS", "0", "cluster.agents", 0),
        ("CONCURRENCY_LEVEL", " 8 ", "pool.concurrency", 8),
        ("DEPLOY_LOG_DIR", "/tmp/some where", "log_dir", "/tmp/some where"),
        ("SILENT", "1", "silent", True),
        ("K3D_IMAGE_LOADBALANCER", "my/proxy:1", "cluster.loadbalancer_image", "my/proxy:1"),
        ("K3D_IMAGE_TOOLS", "my/tools:1", "cluster.tools_image", "my/tools:1"),
    ],
)
def test_each_variable_sets_its_setting(tmp_path: Path, variable: str, text: str, path: str, value: object) -> None:
    found = resolved(tmp_path, environ={variable: text})
    assert values(found)[path] == value
    assert origins(found) == {path: variable}


@pytest.mark.parametrize(
    ("option", "path", "value"),
    [
        ("cluster.agents=0", "cluster.agents", 0),
        ("cluster.agents=", "cluster.agents", None),
        ("cluster.agents=null", "cluster.agents", None),
        ("cluster.name=123", "cluster.name", "123"),
        ("cluster.name='123'", "cluster.name", "123"),
        ("cluster.name=on", "cluster.name", "on"),
        ("silent=yes", "silent", True),
        ("docker.tune=off", "docker.tune", "off"),
        ("cluster.limits.server_memory=2147483648", "cluster.limits.server_memory", "2147483648"),
        ("namespaces=[a, b]", "namespaces", ["a", "b"]),
        ('namespaces=["a","b"]', "namespaces", ["a", "b"]),
        ("namespaces=a b", "namespaces", ["a", "b"]),
        ("namespaces=[]", "namespaces", []),
        ("images=a/b:1 c/d", "images", ["a/b:1", "c/d"]),
        ("cluster.args.kubelet=[max-parallelism=4]", "cluster.args.kubelet", ["max-parallelism=4"]),
        ("cluster.server_labels.example\\.com/gpu=yes", "cluster.server_labels.example\\.com/gpu", "yes"),
        ("cluster.kubelet_config={maxPods: 50}", "cluster.kubelet_config.maxPods", 50),
        ("cluster.kubelet_config.maxPods=50", "cluster.kubelet_config.maxPods", 50),
        ("helm.repositories.mine=https://x.example", "helm.repositories.mine", "https://x.example"),
        ("helm.releases.cert-manager.version=1.32", "helm.releases.cert-manager.version", "1.32"),
        ("helm.releases.0.version=1", "helm.releases.cert-manager.version", "1"),
        ("helm.releases.cert-manager.values.crds.enabled=no", "helm.releases.cert-manager.values.crds.enabled", False),
        ("helm.releases.cert-manager.values.x=1.50", "helm.releases.cert-manager.values.x", 1.5),
        ("helm.releases.cert-manager.values.x='1.50'", "helm.releases.cert-manager.values.x", "1.50"),
        ("registries.caches.ghcr\\.io.url=http://m.example", "registries.caches.ghcr\\.io.url", "http://m.example"),
        ("cluster.domain=a=b", None, None),
    ],
)
def test_values_of_set_are_yaml_except_for_texts(tmp_path: Path, option: str, path: str | None, value: object) -> None:
    if path is None:
        assert "'a=b'" in refused(tmp_path, option).what
        return
    found = resolved(tmp_path, option)
    assert values(found)[path] == value
    assert origins(found) == {path: "--set"}


def test_above_default_tells_layers_and_not_values(tmp_path: Path) -> None:
    assert not resolved(tmp_path).above_default("pool.downloads")
    same = resolved(tmp_path, environ={"K3D_CONCURRENT_DOWNLOADS": "3"})
    assert same.above_default("pool.downloads")
    assert same.above_default("pool")
    assert not same.above_default("cluster")
    one = resolved(tmp_path, "helm.releases.cert-manager.wait=false")
    assert one.above_default("helm.releases")
    assert one.above_default("helm.releases.cert-manager.wait")
    assert not one.above_default("helm.releases.cert-manager.chart")
    assert not one.above_default("registries.caches.ghcr\\.io.upstream")
    with pytest.raises(KeyError, match=r"pool\.dwonloads"):
        one.above_default("pool.dwonloads")


def test_the_hash_is_of_the_settings_and_of_nothing_else(tmp_path: Path) -> None:
    plain = resolved(tmp_path).settings_hash
    assert len(plain) == 16
    project(tmp_path, "openframe:\n  log_dir: /elsewhere\n  silent: true\n", mine="cluster: {servers: 1}")
    assert resolved(tmp_path, profile="mine").settings_hash == plain
    other = resolved(tmp_path, "cluster.server_labels={a: x, b: y}").settings_hash
    assert other == resolved(tmp_path, "cluster.server_labels={b: y, a: x}").settings_hash != plain
    secret = resolved(tmp_path, "cluster.env=[TOKEN=hunter2@server:*]").settings_hash
    assert secret == resolved(tmp_path, "cluster.env=[TOKEN=swordfish@server:*]").settings_hash
    assert secret not in (plain, resolved(tmp_path, "cluster.env=[OTHER=hunter2@server:*]").settings_hash)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cluster.agents=2", "cluster.agents=2"),
        ("helm.releases.db.values.auth.password=postgres", "helm.releases.db.values.auth.password=***"),
        ('helm.releases.db={"chart": "r/db", "values": {"password": "x"}}', "helm.releases.db=***"),
        ("cluster.env=[A=b]", "cluster.env=***"),
        ("helm.repositories.r=https://me:secret@host/x", "helm.repositories.r=***"),
        ("helm.releases=[unclosed", "helm.releases=***"),
    ],
)
def test_an_option_is_shown_without_what_may_be_secret(text: str, shown: str) -> None:
    """The end of `up` repeats them, and so do results of `bench`."""
    assert shown_option(text) == shown


ROOT = Path(__file__).parents[2]


def named(text: str) -> str:
    return f"cluster: {{name: {text}}}\n"


def test_option_then_variable_then_file_then_none(tmp_path: Path) -> None:
    project(tmp_path, "profile: a\n", a=named("a"), b=named("b"), c=named("c"))
    environ = {"OPENFRAME_PROFILE": "b"}
    for found, name, origin in (
        (resolved(tmp_path, profile="c", environ=environ), "c", "--profile"),
        (resolved(tmp_path, "profile=c", environ=environ), "c", "--set"),
        (resolved(tmp_path, "profile=b", environ=environ, profile="c"), "c", "--profile"),
        (resolved(tmp_path, environ=environ), "b", "OPENFRAME_PROFILE"),
        (resolved(tmp_path, environ={"OPENFRAME_PROFILE": ""}, profile=""), "a", "invoke.yaml:1"),
    ):
        assert (found.settings.profile, found.settings.cluster.name) == (name, name)
        assert origins(found)["profile"] == origin
    assert resolved(tmp_path, profile="none").settings.profile is None
    assert resolved(tmp_path, "profile=null").settings.profile is None


def test_profile_may_stand_below_our_name_too(tmp_path: Path) -> None:
    project(tmp_path, "openframe: {profile: a}\n", a=named("a"))
    assert resolved(tmp_path).settings.cluster.name == "a"
    project(tmp_path, "profile: a\nopenframe: {profile: b}\n")
    assert "profile is set twice" in refused(tmp_path).what


def test_what_has_a_slash_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "my.yaml").write_text(named("mine"), encoding="utf-8")
    (elsewhere / "my.json").write_text('{"cluster": {"name": "json"}}', encoding="utf-8")
    root = project(tmp_path, "profile: ./elsewhere/my.yaml\n")
    monkeypatch.chdir(elsewhere)
    for path in ("./my.yaml", str(elsewhere / "my.yaml")):
        found = resolved(root, profile=path)
        assert found.settings.cluster.name == "mine"
        assert origins(found)["cluster.name"] == f"{path}:1"
    assert resolved(root, environ={"OPENFRAME_PROFILE": "../elsewhere/my.yaml"}).settings.cluster.name == "mine"
    assert resolved(root, profile="./my.json").settings.cluster.name == "json"
    monkeypatch.chdir("/")
    assert resolved(root).settings.cluster.name == "mine"  # invoke.yaml's is seen from its own folder


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("low-memry", ["'low-memry'", "ci, low-memory", "did you mean low-memory?"]),
        ("qqq", ["there are ci, low-memory"]),
        ("./nowhere.yaml", ["there is no file"]),
        ("~nobody-at-all/x.yaml", ["no home folder of that user"]),
        ("mine.yaml", ["write ./mine.yaml"]),
        ("a\x00b", ["'a\\x00b'", "it is not a file name"]),
        ("\udcff", ["'\\udcff'"]),
        ("x" * 5000, ["it is not a file name"]),
        ("x" * 300, ["there is no"]),
        ("./" + "x" * 300, ["there is no file"]),
        ("./config", ["there is no file"]),
        ("/dev/zero", ["there is no file"]),
        ("pins", ["there are ci, low-memory"]),
    ],
)
def test_a_missing_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reported: list[str]) -> None:
    project(tmp_path, ci="", low_memory="", pins="k3d: {}\n")
    (tmp_path / "mine.yaml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    error = refused(tmp_path, profile=name)
    assert error.what.startswith("--profile: ")
    for part in reported:
        assert part in str(error)
    assert "OPENFRAME_PROFILE" in refused(tmp_path, environ={"OPENFRAME_PROFILE": name}).what


def test_without_any_profile_that_is_said(tmp_path: Path) -> None:
    assert "config/ has none" in refused(tmp_path, profile="x").why


@pytest.mark.parametrize("name", ["dev", "ci", "low-memory"])
def test_the_profiles_of_the_project_are_valid_and_say_for_whom_they_are(name: str) -> None:
    found = resolved(ROOT, profile=name)
    assert found.settings.profile == name
    text = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=../docs/reference/settings.schema.json\n#\n# For ")


def test_what_the_profiles_are_for() -> None:
    assert resolved(ROOT).settings == resolved(ROOT, profile="none").settings
    dev, ci, low = (resolved(ROOT, profile=name) for name in ("dev", "ci", "low-memory"))
    assert dev.settings_hash == resolved(ROOT).settings_hash
    assert not dev.above_default("pool.downloads")
    assert not ci.settings.kubeconfig.switch
    assert ci.settings.registries.caches == ()
    assert low.settings.cluster.agents == 0
    assert low.above_default("pool.downloads")
    assert [cache.upstream for cache in low.settings.registries.caches] == ["docker.io"]
