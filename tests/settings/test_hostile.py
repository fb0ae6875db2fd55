"""Values that want to be more than values: options, shell words, ways out of a folder.

No shell is ever asked, so what counts is that no program takes a value for an option. Where such a value is allowed, it
is because of where it goes, said here; a new setting is one that refuses it, or one more line.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.core.errors import BadInput
from tasks.settings.resolve import resolve
from tasks.settings.schema import Settings
from tasks.settings.types import places
from tests.settings.project import project

HOSTILE = ["--help", "-x", "$(id)", "`id`", ";id", "|id", "../../x", "-a\nb", "a\x00b"]
IN_FILES = {
    # lines of the k3d configuration, which is a file: arguments of k3s, not of a program of ours
    *(f"cluster.args.{name}" for name in ("k3s", "apiserver", "controller_manager", "cloud_controller_manager")),
    *(f"cluster.args.{name}" for name in ("scheduler", "kubelet", "kube_proxy")),
    "cluster.env",
    "cluster.volumes",
    # read and written by ourselves, as paths
    "log_dir",
    "manifests.files",
    "network.ca",
    # given to Helm as a whole path
    "helm.registry_config",
}
PARTED = ("network.proxy.no_proxy", '";id"')
"""A host named id: as in NO_PROXY, a semicolon parts hosts."""
ONE_LINE = [text for text in HOSTILE if text.isprintable()]
PATHS = [".".join(path) for path, _ in places(Settings)]


def taken(root: Path, given: str) -> bool:
    try:
        resolve(root, {}, None, [given])
    except BadInput:
        return False
    return True


@pytest.mark.parametrize("path", PATHS)
def test_settings(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path)
    monkeypatch.chdir(tmp_path)  # a profile is searched from the working directory, too
    for text in HOSTILE:
        escaped = text.replace("\n", "\\n").replace("\x00", "\\0")
        for given in (f'"{escaped}"', f'["{escaped}"]'):
            allowed = (path in IN_FILES and text in ONE_LINE) or (path, given) == PARTED
            assert not taken(tmp_path, f"{path}={given}") or allowed, (path, given)


GOOD: dict[str, dict[str, Any]] = {
    "helm.releases": {"name": "a", "namespace": "b", "chart": "jetstack/a"},
    "registries.caches": {"upstream": "a.example"},
    "secrets": {"name": "a", "values": {"k": {"env": "A"}}},
}
PARTS = [
    ("helm.releases", "name"),
    ("helm.releases", "namespace"),
    ("helm.releases", "chart"),
    ("registries.caches", "upstream"),
    ("registries.caches", "url"),
    ("registries.caches", "username_env"),
    ("registries.caches", "password_env"),
    ("secrets", "name"),
    ("secrets", "namespaces"),
    ("secrets", "type"),
]


@pytest.mark.parametrize(("place", "name"), PARTS)
def test_parts_of_lists(tmp_path: Path, place: str, name: str) -> None:
    project(tmp_path)
    for text in HOSTILE:
        if (name, text) == ("chart", "../../x"):  # a chart of the user's own; its whole path is what Helm gets
            continue
        part = {**GOOD[place], name: [text] if name == "namespaces" else text}
        assert not taken(tmp_path, f"{place}={json.dumps([part])}"), text


@pytest.mark.parametrize("text", HOSTILE)
def test_repositories(tmp_path: Path, text: str) -> None:
    project(tmp_path)
    for given in ({text: "https://a.example"}, {"a": text}, {"a": f"{text}://a.example"}):
        assert not taken(tmp_path, f"helm.repositories={json.dumps(given)}")
