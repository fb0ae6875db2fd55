"""Four launches of different clusters at the same time, of one user on one engine: none is in another's way."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.rehearsal.folder import Folder
from tests.given import ROOT
from tests.rehearsal.played import objects

pytestmark = pytest.mark.whole

NAMES = tuple(f"crowd-{number}" for number in range(4))


def together(folder: Path, task: str) -> list[tuple[int, str]]:
    """The same task for all clusters at once: exit codes, and what was said."""
    started = []
    for name in NAMES:
        environ = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "DEPLOY_LOG_DIR": str(folder / "openframe-logs"),
            "GITHUB_TOKEN_CLASSIC": "ghp_canary0123456789",
            "CLUSTER_NAME": name,
        }
        options = ["--set", "cluster.agents=0", "--set", "helm.releases=[]", "--set", "namespaces=a b"]
        if task == "rehearse":
            options += ["--time-scale", "0"]
        else:
            options += ["--engine", "rehearsal"]
        argv = [sys.executable, "-m", "invoke", task, *options]
        started.append(
            subprocess.Popen(
                argv,
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    output = [process.communicate(timeout=240)[0] for process in started]
    return [(process.returncode, text) for process, text in zip(started, output, strict=True)]


def test_four_at_once(tmp_path: Path) -> None:
    (tmp_path / "openframe-logs").mkdir(mode=0o700)
    for code, text in together(tmp_path, "rehearse"):
        assert code == 0, text
    place = Folder(tmp_path / "openframe-logs" / "rehearsal")
    engine = json.loads(place.engine.path.read_text())
    names = {each["name"] for each in engine["containers"].values()}
    assert {f"k3d-{name}-server-0" for name in NAMES} <= names
    assert sum("cache-docker-io" in name for name in names) == 1
    ports = [
        row["HostPort"]
        for each in engine["containers"].values()
        for rows in (each.get("ports") or {}).values()
        for row in rows
    ]
    assert len(ports) == len(set(ports)) >= 3 * len(NAMES)
    for name in NAMES:
        found = objects(place.root, name)
        assert {"a/github-pat-secret", "b/github-pat-secret"} <= set(found["v1 Secret"]), name
    for task in ("status", "down"):
        for code, text in together(tmp_path, task):
            assert code == 0, text
