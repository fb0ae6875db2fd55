"""The user's kubeconfig: our entry comes, is switched to and goes; all else stays as it was."""

import base64
import difflib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients import kubeconfig
from tasks.core.errors import BadInput

CA = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
NODE = f"""
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {CA}
    server: https://0.0.0.0:6443
  name: default
contexts:
- context: {{cluster: default, user: default}}
  name: default
current-context: default
kind: Config
preferences: {{}}
users:
- name: default
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
"""
"""As k3s writes it."""

REAL = """\
# my clusters
apiVersion: v1
kind: Config
preferences:
  colors: true
clusters:
- name: prod
  cluster:
    server: https://prod.example:6443   # behind the VPN
    certificate-authority: /etc/prod/ca.pem
    extensions:
    - name: minikube.sigs.k8s.io
      extension: {version: v1.35.0, last-update: "Mon, 01 Jan 2024"}
- &shared
  name: größe-🎉
  cluster: {server: https://shared.example, insecure-skip-tls-verify: true}
contexts:
- name: prod
  context: {cluster: prod, user: prod, namespace: web}
- context: {user: tok, cluster: größe-🎉}
  name: other
current-context: prod
users:
- name: prod
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: aws
      args: [eks, get-token, --cluster-name, prod]
      env:
      - {name: AWS_PROFILE, value: "0123"}
- name: tok
  user: {token: 12:30:45}
- name: quoted
  user: {token: "1e5", username: "yes"}
unknown-key: [1, two, 3.0]
copy: *shared
"""


def entry(cluster: str = "dev", port: int = 6550) -> str:
    return kubeconfig.private(NODE, cluster, f"https://127.0.0.1:{port}")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(REAL, encoding="utf-8")
    return path


ACTS = pytest.mark.parametrize(
    "act",
    [lambda p: kubeconfig.merge(p, entry()), lambda p: kubeconfig.switch(p, "x"), lambda p: kubeconfig.remove(p, "x")],
)


def read(path: Path) -> dict[str, Any]:
    """Every plain scalar as it is written."""
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    return document


def test_the_private_kubeconfig_has_k3ds_names_and_our_address_and_is_private(tmp_path: Path) -> None:
    result = yaml.safe_load(entry())
    assert result == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "k3d-dev", "cluster": {"certificate-authority-data": CA, "server": "https://127.0.0.1:6550"}}
        ],
        "users": [
            {"name": "admin@k3d-dev", "user": {"client-certificate-data": "Q0VSVA==", "client-key-data": "S0VZ"}}
        ],
        "contexts": [{"name": "k3d-dev", "context": {"cluster": "k3d-dev", "user": "admin@k3d-dev"}}],
        "current-context": "k3d-dev",
    }
    path = tmp_path / "clusters" / "dev" / "kubeconfig"
    for _ in range(2):
        kubeconfig.write_private(path, entry())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text() == entry()


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("", "/home/me/.kube/config"),
        ("/a/config", "/a/config"),
        ("/a/config:/b/config", "/a/config"),
        (":/b/config:", "/b/config"),
        ("~/k", "/home/me/k"),
        ("relative/k", "relative/k"),
    ],
)
def test_the_first_file_of_kubeconfig_gets_entries(variable: str, path: str) -> None:
    assert kubeconfig.target({"KUBECONFIG": variable, "HOME": "/home/me"}) == Path(path)
    assert kubeconfig.target({"HOME": "/home/me"}) == Path("/home/me/.kube/config")


def test_an_entry_comes_and_goes_and_all_else_stays_as_it_was_written(config: Path) -> None:
    """Comments, quotes, numbers, order and anchors, to the byte."""
    before = read(config)
    assert not kubeconfig.has_entry(config, entry())
    assert kubeconfig.merge(config, entry())
    after = read(config)
    for part, name in (("clusters", "k3d-dev"), ("users", "admin@k3d-dev"), ("contexts", "k3d-dev")):
        assert [row["name"] for row in after[part]] == [*(row["name"] for row in before[part]), name]
    assert kubeconfig.current_context(config) == "prod"
    assert kubeconfig.names_context(config, "k3d-dev")
    assert kubeconfig.has_entry(config, entry())
    kubeconfig.switch(config, "k3d-dev")
    written, now = REAL.splitlines(), config.read_text(encoding="utf-8").splitlines()
    assert [row for row in difflib.ndiff(written, now) if row.startswith("-")] == ["- current-context: prod"]
    kubeconfig.remove(config, "k3d-dev")
    assert config.read_text(encoding="utf-8") == REAL


def test_nothing_is_written_where_nothing_changes(config: Path) -> None:
    kubeconfig.merge(config, entry())
    kubeconfig.switch(config, "k3d-dev")
    before = config.read_bytes(), config.stat().st_ino
    assert not kubeconfig.merge(config, entry())
    assert not kubeconfig.switch(config, "k3d-dev")
    assert not kubeconfig.switch(config, "k3d-nobody")
    assert not kubeconfig.remove(config, "k3d-nobody")
    assert (config.read_bytes(), config.stat().st_ino) == before


def test_an_entry_that_has_changed_is_replaced_where_it_stands(config: Path) -> None:
    kubeconfig.merge(config, entry("dev"))
    kubeconfig.merge(config, entry("next", 6551))
    assert kubeconfig.merge(config, entry("dev", 6560))
    names = [row["name"] for row in read(config)["clusters"]]
    assert names == ["prod", "größe-🎉", "k3d-dev", "k3d-next"]
    assert read(config)["clusters"][2]["cluster"]["server"] == "https://127.0.0.1:6560"
    assert not kubeconfig.has_entry(config, entry("dev"))
    assert kubeconfig.has_entry(config, entry("dev", 6560))


def test_what_a_reader_added_to_our_context_stays(config: Path) -> None:
    """`kubectl config set-context --current --namespace=web`, and what we remember there."""
    kubeconfig.merge(config, entry())
    kubeconfig.switch(config, "k3d-dev")
    document = yaml.load(config.read_text(), Loader=yaml.BaseLoader)
    context = document["contexts"][-1]["context"]
    context["namespace"] = "web"
    context["extensions"].insert(0, {"name": "theirs", "extension": {"a": "b"}})
    config.write_text(yaml.safe_dump(document, allow_unicode=True))
    assert kubeconfig.has_entry(config, entry())
    assert not kubeconfig.merge(config, entry())
    context["user"] = "somebody"
    config.write_text(yaml.safe_dump(document, allow_unicode=True))
    assert kubeconfig.merge(config, entry())
    ours = read(config)["contexts"][-1]["context"]
    assert (ours["namespace"], ours["user"]) == ("web", "admin@k3d-dev")
    kubeconfig.switch(config, "prod")
    kubeconfig.switch(config, "k3d-dev")
    extensions = read(config)["contexts"][-1]["context"]["extensions"]
    assert [each["name"] for each in extensions] == ["theirs", "openframe"]
    assert kubeconfig.remove(config, "k3d-dev")
    assert kubeconfig.current_context(config) == "prod"


@pytest.mark.parametrize("others", [["k3d-dev-2"], ["dev"], ["k3d-de", "k3d-devel"]])
def test_a_neighbour_with_a_name_like_ours_stays(config: Path, others: list[str]) -> None:
    for name in others:
        kubeconfig.merge(config, entry(name.removeprefix("k3d-")))
    kubeconfig.merge(config, entry())
    left = read(config)
    kubeconfig.remove(config, "k3d-dev")
    for part in ("clusters", "users", "contexts"):
        assert read(config)[part] == left[part][:-1]


def test_a_context_of_that_name_that_is_of_another_cluster_is_the_users(config: Path) -> None:
    text = "contexts:\n- {name: k3d-dev, context: {cluster: prod, user: me}}\ncurrent-context: k3d-dev\n"
    config.write_text(text)
    assert kubeconfig.unwritable(config, "k3d-dev").startswith("its context k3d-dev is another cluster's, ")
    with pytest.raises(BadInput, match="another cluster's"):
        kubeconfig.merge(config, entry())
    assert not kubeconfig.remove(config, "k3d-dev")
    assert config.read_text() == text


def test_the_context_before_comes_back_only_if_it_is_there(config: Path) -> None:
    """With KUBECONFIG=a:b the current context is in a, and what it names may be in b: that one comes back, too."""
    elsewhere = config.with_name("a")
    elsewhere.write_text("current-context: in-b\n")
    kubeconfig.merge(elsewhere, entry())
    kubeconfig.switch(elsewhere, "k3d-dev")
    kubeconfig.remove(elsewhere, "k3d-dev")
    assert kubeconfig.current_context(elsewhere) == "in-b"
    kubeconfig.merge(config, entry("dev"))
    kubeconfig.merge(config, entry("next"))
    kubeconfig.switch(config, "k3d-dev")
    kubeconfig.switch(config, "k3d-next")
    kubeconfig.remove(config, "k3d-dev")
    assert kubeconfig.current_context(config) == "k3d-next"
    kubeconfig.remove(config, "k3d-next")
    assert kubeconfig.current_context(config) == ""
    assert read(config)["current-context"] == ""
    kubeconfig.merge(config, entry())
    kubeconfig.switch(config, "k3d-dev")
    config.write_text(config.read_text().replace("current-context: k3d-dev", "current-context: other"))
    kubeconfig.remove(config, "k3d-dev")
    assert kubeconfig.current_context(config) == "other", "what its user has chosen meanwhile stays"


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n", "---\n", "clusters:\ncontexts: null\nusers: []\n"])
def test_a_file_that_holds_nothing_gets_everything(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "new" / ".kube" / "config"
    if text is not None:
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert not kubeconfig.names_context(path, "k3d-dev")
    assert kubeconfig.current_context(path) == ""
    assert kubeconfig.merge(path, entry())
    assert kubeconfig.switch(path, "k3d-dev")
    result = read(path)
    assert (result["apiVersion"], result["kind"], result["current-context"]) == ("v1", "Config", "k3d-dev")
    assert kubeconfig.has_entry(path, entry())
    assert kubeconfig.remove(path, "k3d-dev")
    assert (read(path)["clusters"], read(path)["current-context"]) == ([], "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"clusters: [unclosed\ntoken: hush\n", "line 2"),
        (b"users:\n- name: a\n  user: {token: hush, x: y: z}\n", "line 3"),
        (b"\ttoken: hush\n", "line 1"),
        (b"clusters: " + b"[" * 50_000, "nest"),
        (b"just a text\n", "holds a text, not a mapping"),
        (b"12:30\n", "holds a text, not a mapping"),
        (b"- a\n- b\n", "holds a list"),
        (b"clusters: {}\n", "'clusters' is not a list"),
        (b"users: [hush]\n", "'users' is not a list of entries"),
        (b"a: 1\n---\nb: 2\n", "line 3"),
        (b"token: \xff\xfe hush", "utf-8"),
        (b"token: hush\x00", "U+0000"),
        (b"a: !mine hush\n", "!mine"),
    ],
)
@ACTS
def test_what_is_no_kubeconfig_stays(tmp_path: Path, content: bytes, why: str, act: Callable[[Path], bool]) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="is not a kubeconfig") as caught:
        act(path)
    assert why in caught.value.why
    assert "hush" not in str(caught.value)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert not kubeconfig.names_context(path, "x")
    assert not kubeconfig.has_entry(path, entry())
    assert kubeconfig.current_context(path) == ""


@ACTS
def test_a_device_is_no_kubeconfig_and_stays_one(tmp_path: Path, act: Callable[[Path], bool]) -> None:
    device = tmp_path / "null"
    os.mkfifo(device)
    with pytest.raises(BadInput, match="is not a kubeconfig") as caught:
        act(device)
    assert "a device" in caught.value.why
    assert "a device" in kubeconfig.unwritable(device, "x")
    assert kubeconfig.current_context(device) == ""
    assert device.is_fifo()


@pytest.mark.parametrize("broken", ["cluster: text", "cluster:", "other: 1"])
def test_a_spoilt_entry_of_ours_is_replaced(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "config"
    path.write_text(f"clusters:\n- name: k3d-dev\n  {broken}\ncontexts:\n- name: k3d-dev\n")
    assert not kubeconfig.has_entry(path, entry())
    assert kubeconfig.merge(path, entry())
    assert kubeconfig.has_entry(path, entry())
    assert kubeconfig.switch(path, "k3d-dev")


def test_kubectl_takes_the_file_and_ours_takes_kubectls(config: Path) -> None:
    """Where a kubectl is on this machine: what we wrote means the same to it, and what it wrote to us."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl on the PATH")

    def ask(*args: str) -> str:
        environ = {"PATH": os.environ["PATH"], "HOME": str(config.parent), "KUBECONFIG": str(config)}
        done = subprocess.run([kubectl, *args], env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    config.write_text(REAL.replace("copy: *shared\n", ""), encoding="utf-8")
    everything = ("config", "view", "--raw", "--output=json")
    before = ask(*everything)
    kubeconfig.merge(config, entry())
    kubeconfig.switch(config, "k3d-dev")
    assert ask("config", "current-context").strip() == "k3d-dev"
    assert ask("config", "view", "--raw", "--output=jsonpath={.users[?(@.name=='tok')].user.token}") == "12:30:45"
    ask("config", "set-context", "--current", "--namespace=1e3")
    assert kubeconfig.has_entry(config, entry())
    assert not kubeconfig.merge(config, entry())
    kubeconfig.merge(config, entry("next"))
    assert ask("config", "view", "--raw", "--minify", "--output=jsonpath={.contexts[0].context.namespace}") == "1e3"
    kubeconfig.remove(config, "k3d-next")
    kubeconfig.remove(config, "k3d-dev")
    assert ask(*everything) == before
