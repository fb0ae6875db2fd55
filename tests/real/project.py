"""A fresh clone of the project with folders of its own, and `invoke` in it as a user calls it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "ghp_canary" + "0123456789abcdefXYZ"
"""The values of secrets; searched wherever they must not be."""


def _clone(path: Path) -> Path:
    """One for all tests, with its bytecode: none compiles a module again."""
    if not path.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(path)], check=True)
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(path / "tasks")], check=True)
    return path


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of invoke that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(kw_only=True)
class Project:
    """The clone, and the environment of a user who has nothing else."""

    root: Path
    home: Path
    environ: dict[str, str] = field(repr=False)
    profile: Path

    @classmethod
    def make(cls, folder: Path, cluster: str, settings: Mapping[str, Any]) -> Project:
        """Clone into a folder; the profile holds the settings."""
        root, home = folder / "project", folder / "home"
        shutil.copytree(_clone(folder.parent / "clone"), root, symlinks=True)
        home.mkdir()
        remaining = ("PATH", "K3S_IMAGE", "K3D_IMAGE_LOADBALANCER", "K3D_IMAGE_TOOLS", "DOCKER_HOST", "LANG")
        environ = {name: os.environ[name] for name in remaining if name in os.environ}
        environ |= {
            "HOME": str(home),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "KUBECONFIG": str(home / "kubeconfig"),
            "DEPLOY_LOG_DIR": str(folder / "openframe-logs"),
            "TMPDIR": str(folder / "tmp"),
            "CLUSTER_NAME": cluster,
            "GITHUB_TOKEN_CLASSIC": TOKEN,
        }
        (folder / "tmp").mkdir()
        result = cls(root=root, home=home, environ=environ, profile=folder / "profile.yaml")
        result.configure(settings)
        return result

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Give it another profile."""
        self.profile.write_text(yaml.safe_dump(dict(settings)))

    @property
    def folder(self) -> Path:
        return self.profile.parent

    @property
    def cluster(self) -> str:
        return self.environ["CLUSTER_NAME"]

    @property
    def logs(self) -> Path:
        return Path(self.environ["DEPLOY_LOG_DIR"])

    @property
    def kubeconfig(self) -> Path:
        """The private one."""
        return self.folder / "state" / "openframe" / "clusters" / self.cluster / "kubeconfig"

    def argv(self, task: str, *options: str) -> list[str]:
        return [sys.executable, "-m", "invoke", task, *self._profile(task), *options]

    def _profile(self, task: str) -> list[str]:
        return ["--profile", str(self.profile)]

    def invoke(self, task: str, *options: str, timeout: float = 240.0, **environ: str) -> Call:
        """Call a task and wait for its end."""
        begin = time.monotonic()
        done = subprocess.run(
            self.argv(task, *options),
            cwd=self.root,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Call(code=done.returncode, out=done.stdout, err=done.stderr, seconds=time.monotonic() - begin)

    def start(self, task: str, *options: str) -> subprocess.Popen[str]:
        """Begin a task in a process group of its own."""
        return subprocess.Popen(
            self.argv(task, *options),
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def record(self) -> dict[str, Any]:
        """The newest record of a task that acts."""
        found: dict[str, Any] = json.loads((self.logs / "latest.json").read_text())
        return found

    def states(self) -> dict[str, str]:
        """State of each step in the newest record."""
        return {step["name"]: step["state"] for step in self.record()["steps"]}

    def kubectl(self, *argv: str) -> str:
        """What kubectl says with the private kubeconfig."""
        return run("kubectl", "--kubeconfig", str(self.kubeconfig), *argv)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "--all-namespaces", "--output=json"))[
            "items"
        ]
        return found


def run(*argv: str) -> str:
    """A command that must end well; what it wrote."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def interrupt(process: subprocess.Popen[str]) -> tuple[float, list[psutil.Process]]:
    """Ctrl-C as a terminal sends it, to the whole group; seconds until the end, and children that are left."""
    children = psutil.Process(process.pid).children(recursive=True)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    took = time.monotonic() - begin
    return took, [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def containers(cluster: str) -> list[str]:
    """Names of a cluster's containers, running or not."""
    out = run("docker", "ps", "--all", "--filter", f"label=k3d.cluster={cluster}", "--format", "{{.Names}}")
    return sorted(out.split())


def remains(cluster: str) -> list[str]:
    """Whatever the engine still has of a cluster: containers, networks, volumes."""
    found = containers(cluster)
    networks = run("docker", "network", "ls", "--format", "{{.Name}}").split()
    volumes = run("docker", "volume", "ls", "--filter", f"label=k3d.cluster={cluster}", "--format", "{{.Name}}").split()
    return [*found, *(name for name in networks if name == f"k3d-{cluster}"), *volumes]
