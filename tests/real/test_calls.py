"""The real programs take every call of calls.yaml, one after another, and give what the embedded engine gives."""

import io
import os
import re
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from tasks.clients import docker
from tasks.clients import helm as helm_tool
from tasks.core.imageref import linux_platform
from tasks.process.command import Command, Completed
from tasks.settings.k3s_arguments import FAIL_CGROUP_V1
from tests import calls
from tests.calls import Row
from tests.real.project import containers, run
from tests.real.world import World

_REGISTRY, _CACHE, _NETWORK = "k3d-calls-registry", "k3d-calls-cache", "k3d-calls"
_PATIENCE = 240.0
"""Seconds that a call may take."""


class Replay:
    """Makes the calls, and does between them what a launch does without a program."""

    def __init__(self, folder: Path, words: dict[str, str], environ: dict[str, str], program: str) -> None:
        self.folder, self.words, self.environ, self.program = folder, words, environ, program
        self.endless: list[tuple[Row, subprocess.Popen[bytes]]] = []

    def play(self, rows: list[Row]) -> None:
        for row in rows:
            argv = tuple(calls.fill(part, self.words) for part in row.argv)
            if argv[0] == "docker" and argv[1] in calls.ENDLESS:
                self.endless.append((row, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)))
                continue
            self._check(row, self._made(argv, row))
        self._end()

    def _made(self, argv: tuple[str, ...], row: Row) -> Completed:
        path = self.program if argv[0] == "helm" else argv[0]
        done = subprocess.run(
            [path, *argv[1:]],
            env=self.environ,
            input=(row.stdin or "").encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        out = done.stdout.decode("utf-8", "replace")
        command = Command(argv=argv, stdin=row.stdin)
        return Completed(
            command=command, code=done.returncode, out=out, err=done.stderr.decode(), seconds=0.0, raw=done.stdout
        )

    def _check(self, row: Row, done: Completed) -> None:
        assert done.code in row.ok, f"{done.command.argv}: {done.code}: {done.out}{done.err}"
        assert row.gives in ("", calls.kind(done)), f"{done.command.argv}: {done.out}{done.err}"
        if row.argv[:2] == ("docker", "run"):
            cache = "<cache>" in row.argv
            self.words["cache-id" if cache else "registry-id"] = done.out.strip()
            _answers(int(self.words["cache-port" if cache else "push-port"]))
            if not cache:
                self._push()
        elif row.argv[:3] == ("k3d", "cluster", "create"):
            for node in ("server-0", "agent-0"):
                self.words[node] = run("docker", "inspect", "--format", "{{.Id}}", f"k3d-calls-{node}").strip()
        elif row.argv[:2] == ("helm", "pull") and "--plain-http" in row.argv:
            archive = Path(self.words["web-archive"])
            shutil.copy(archive, Path(self.words["umbrella-copy"], "charts"))
        elif row.argv[:2] == ("docker", "cp") and row.argv[-1] == "-":
            self._reach(done.raw)

    def _push(self) -> None:
        """The chart of a repository, into the push registry: the umbrella chart depends on it."""
        words, registry = self.words, self.words["oci-chart"].rpartition("/")[0]
        place = Path(words["part-folder"]).parent
        helm = self._helm
        helm("repo", "update", "shop")
        helm("pull", words["web-chart"], "--version", words["web-version"], "--destination", str(place))
        helm("push", str(place / Path(words["web-archive"]).name), registry, "--plain-http")

    def _helm(self, *args: str) -> None:
        subprocess.run([self.program, *args], env=self.environ, check=True, capture_output=True, timeout=_PATIENCE)

    def _reach(self, raw: bytes) -> None:
        """The kubeconfig, and the namespaces of the releases."""
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            (member,) = archive.getmembers()
            file = archive.extractfile(member)
            assert file is not None
            text = file.read().decode()
        path = self.folder / "kubeconfig"
        path.write_text(re.sub(r"(?m)server: \S+$", f"server: https://127.0.0.1:{self.words['api-port']}", text))
        for name in ("platform", "client-tools"):
            run("kubectl", "--kubeconfig", str(path), "create", "namespace", name)

    def _end(self) -> None:
        """What would go on for ever is ended, as a launch ends it."""
        for row, process in self.endless:
            process.terminate()
            out, _ = process.communicate(timeout=30)
            assert process.returncode in row.ok, f"{row.argv}: {process.returncode}: {out.decode()}"
            if row.gives:
                done = Completed(command=Command(argv=row.argv), code=0, out=out.decode(), err="", seconds=0.0, raw=out)
                assert calls.kind(done) == row.gives, out.decode()
                assert b"k3d-calls-server-0" in out
                assert b"k3d-calls-agent-0" in out
        self.endless.clear()


def _answers(port: int) -> None:
    """Until a registry does."""
    end = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < end, f"nothing answers at port {port}"
            time.sleep(0.05)


def _free(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _helm(major: int) -> str:
    """A Helm of that version; skips where there is none."""
    for name in ("helm", f"helm{major}"):
        path = shutil.which(name)
        if path is not None and run(path, "version", "--short").startswith(f"v{major}."):
            return path
    pytest.skip(f"no Helm {major} on the PATH")


@pytest.fixture
def clean() -> Iterator[None]:
    """Whatever a call has created is deleted in the end."""
    assert not containers("calls"), "a cluster calls is there already: remove it first"
    yield
    found = [*containers("calls"), _REGISTRY, _CACHE]
    subprocess.run(["docker", "rm", "--force", "--volumes", *found], capture_output=True, check=False)
    subprocess.run(
        ["docker", "volume", "rm", "--force", "k3d-calls-images", _REGISTRY, _CACHE], capture_output=True, check=False
    )
    subprocess.run(["docker", "network", "rm", _NETWORK], capture_output=True, check=False)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("major", [4, 3] if os.environ.get("LONG") else [4])
def test_the_real_programs_take_every_call(major: int, here: World, tmp_path: Path) -> None:
    program = _helm(major)
    folder, charts = tmp_path / "calls", tmp_path / "charts"
    folder.mkdir()
    (charts / "chart" / "charts").mkdir(parents=True)
    chart, version = here.charts[0]
    repository, _, name = chart.partition("/")
    image = os.environ.get("K3S_IMAGE", "rancher/k3s:v1.35.5-k3s1")
    found = re.search(r"v?([0-9]+\.[0-9]+\.[0-9]+)", image.rpartition(":")[2])
    archive = str(charts / f"{name}-{version}.tgz")
    cache_port, push_port, http, https, api = _free(5)
    words = {
        "node-image": image,
        "node-image-quoted": quote(image, safe=""),
        "tools-image": os.environ.get("K3D_IMAGE_TOOLS", "ghcr.io/k3d-io/k3d-tools:5.9.0"),
        "registry-image": "docker.io/library/registry:2",
        "kube-version": found[1] if found else "1.35.5",
        "platform": linux_platform(os.uname().machine),
        "upstream": here.caches[0]["url"] if here.caches else "https://registry-1.docker.io",
        "cache": _CACHE,
        "owner": "id=0123456789abcdef&name=calls",
        "cache-port": cache_port,
        "push-port": push_port,
        "http-port": http,
        "https-port": https,
        "api-port": api,
        "web-chart": f"shop/{name}",
        "web-version": version,
        "web-archive": archive,
        "web-image": here.image,
        "db-image": here.image,
        "pull-inside": docker.PULL_INSIDE,
        "db-chart": f"shop/{name}",
        "db-version": version,
        "db-archive": archive,
        "downloads": str(charts),
        "folder": str(folder),
        "fingerprint": "0123456789abcdef",
        "lease": "openframe-lease-0123456789ab",
        "lease-label": "kind=use&until=0",
        "moment": f"{time.time():.6f}",
        "oci-chart": f"oci://127.0.0.1:{push_port}/charts/{name}",
        "umbrella": "./umbrella",
        "umbrella-copy": str(charts / "chart"),
        "umbrella-image": here.image,
        "part-folder": str(tmp_path / "part"),
    }
    rows = [{"name": "part", "version": "*", "repository": "file://../part"}, {"name": name, "version": version}]
    for place, dependencies in ((charts / "chart", rows), (tmp_path / "part", [])):
        document = {"apiVersion": "v2", "name": place.name, "version": "1.0.0", "dependencies": dependencies}
        place.mkdir(exist_ok=True)
        (place / "Chart.yaml").write_text(yaml.safe_dump(document))
    own = helm_tool.environment(tmp_path / "helm")
    repositories = Path(own["HELM_REPOSITORY_CONFIG"])
    repositories.parent.mkdir(parents=True)
    repositories.write_text(helm_tool.repositories({"shop": here.repositories[repository]}))
    for file, content in calls.files().items():
        filled = calls.fill(content, words)
        if file == "k3d.yaml" and run("docker", "info", "--format", "{{.CgroupVersion}}").strip() == "1":
            own_argument = {"arg": f"--kubelet-arg={FAIL_CGROUP_V1}=false", "nodeFilters": ["server:*", "agent:*"]}
            filled["options"]["k3s"]["extraArgs"].append(own_argument)  # calls.yaml was recorded with cgroup v2
        (folder / file).write_text(yaml.safe_dump(filled))
    (folder / "k3d-calls-server-0.part").write_text("complete\n")
    replay = Replay(folder, words, {**os.environ, **own}, program)
    replay.play(calls.rows("up", major))
    replay.play(calls.rows("down", major))
    assert containers("calls") == []
    assert _NETWORK not in run("docker", "network", "ls", "--format", "{{.Name}}").split()
