"""Helm's command lines for versions 3 and 4, its places, and its repositories file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.clients import helm
from tasks.clients.postrender import PostRenderer
from tasks.process.command import Command

KUBE = Path("/state/kubeconfig")
WHERE = "--kubeconfig /state/kubeconfig --namespace apps"
UPGRADE = (
    f"helm upgrade --install web /c {WHERE} --values - --reset-values --labels openframe.dev/fingerprint=abc"
    " --timeout 300s{} --output json"
)
RENDERER = PostRenderer(flags=("--post-renderer", "x"), env={})


def upgrade(**more: Any) -> Command:
    return helm.upgrade(KUBE, "web", "apps", "/c", values="{}", fingerprint="abc", timeout=300.0, **more)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (helm.update(["a", "b"], 3, 60.0), "helm repo update a b --fail-on-repo-update-fail"),
        (helm.update(["a", "b"], 4, 60.0), "helm repo update a b"),
        (helm.pull("r/c", "1.2.3", Path("/c"), 60.0), "helm pull r/c --version 1.2.3 --destination /c"),
        (helm.pull("oci://h/c", None, Path("/c"), 60.0), "helm pull oci://h/c --destination /c"),
        (upgrade(), UPGRADE.format("")),
        (
            upgrade(verb="install"),
            UPGRADE.format("").replace("upgrade --install", "install").replace(" --reset-values", ""),
        ),
        (upgrade(validate=False), UPGRADE.format(" --disable-openapi-validation")),
        (
            upgrade(force_conflicts=True, post_renderer=RENDERER, dry_run=True),
            UPGRADE.format(" --force-conflicts --post-renderer x --dry-run=server"),
        ),
        (
            helm.rollback(KUBE, "web", "apps", 90.0, force_conflicts=True),
            f"helm rollback web {WHERE} --timeout 90s --force-conflicts",
        ),
        (helm.uninstall(KUBE, "web", "apps", 90.0), f"helm uninstall web {WHERE} --ignore-not-found --timeout 90s"),
        (helm.rollback(KUBE, "web", "apps", 90.0), f"helm rollback web {WHERE} --timeout 90s"),
        (
            helm.template("web", "apps", "/c", values="{}", kube_version="v1.32.3", deadline=60.0),
            "helm template web /c --namespace apps --values - --include-crds --kube-version v1.32.3",
        ),
    ],
)
def test_command_lines(command: Command, line: str) -> None:
    assert " ".join(command.argv) == line
    assert command.ok == (0,)


@pytest.mark.parametrize(
    "command",
    [
        helm.upgrade(KUBE, "r", "n", "c", values="password: x", fingerprint="f", timeout=30),
        helm.template("r", "n", "c", values="password: x", kube_version="v1", deadline=40),
    ],
)
def test_values_go_in_by_stdin_and_are_not_shown(command: Command) -> None:
    assert command.stdin == "password: x"
    assert command.paste().endswith(" < VALUES")
    assert command.deadline == 40


def test_nothing_of_the_users_leads_helm_elsewhere() -> None:
    """An empty variable is as good as none to Helm (3.19 and 4.2: `pkg/cli/environment.go`)."""
    result = helm.environment(Path("/cache"))
    places = "CONFIG_HOME CACHE_HOME DATA_HOME REPOSITORY_CONFIG REPOSITORY_CACHE REGISTRY_CONFIG CONTENT_CACHE"
    assert all(result.pop(f"HELM_{place}").startswith("/cache/") for place in places.split())
    others = (
        "DRIVER KUBEAPISERVER KUBEASGROUPS KUBEASUSER KUBECAFILE KUBECONTEXT KUBEINSECURE_SKIP_TLS_VERIFY "
        "KUBETLS_SERVER_NAME KUBETOKEN"
    )
    assert result == {f"HELM_{name}": "" for name in others.split()}


def test_the_repositories_file_is_what_helm_reads() -> None:
    text = helm.repositories({"b": "https://b.example", "a": "https://a.example/charts"})
    assert yaml.safe_load(text) == {
        "apiVersion": "v1",
        "repositories": [
            {"name": "a", "url": "https://a.example/charts"},
            {"name": "b", "url": "https://b.example"},
        ],
    }


# -- .helmignore: the cases of Helm's own tests (`pkg/ignore/rules_test.go`), and rules in doubt ---------------


@pytest.mark.parametrize(
    ("rule", "name", "folder", "ignored"),
    [
        ("helm.txt", "helm.txt", False, True),
        ("helm.*", "rudder.txt", False, False),
        ("*.txt", "cargo/a.txt", False, True),
        ("cargo/*.txt", "cargo/a.txt", False, True),
        ("cargo/*.txt", "mast/a.txt", False, False),
        ("*/a.txt", "cargo/deep/a.txt", False, False),
        ("ru[c-e]?er.txt", "rudder.txt", False, True),
        ("[^r]*", "rudder.txt", False, False),
        ("", "templates/.dotfile", False, True),
        (".*", ".swp", False, True),
        ("cargo/", "cargo", True, True),
        ("cargo/", "cargo", False, False),
        ("/a.txt", "cargo/a.txt", False, False),
        ("/cargo/a.txt", "cargo/a.txt", False, True),
        ("# a\r\n\r\n*~\r\n", "values.yaml~", False, True),
        ("!a.txt", "b.txt", False, False),
        ("*.yaml\n!Chart.yaml", "Chart.yaml", False, True),
        ("a/**/b", "a/x/b", False, False),
    ],
)
def test_what_helm_does_not_read(tmp_path: Path, rule: str, name: str, folder: bool, ignored: bool) -> None:
    (tmp_path / ".helmignore").write_bytes(f"\ufeff{rule}\n".encode())
    assert helm.helmignore(tmp_path)(name, folder) is ignored


def test_without_one_only_hidden_templates_are_not_read(tmp_path: Path) -> None:
    assert [helm.helmignore(tmp_path)(name, False) for name in ("templates/.a", ".a")] == [True, False]
