"""Bad input to the real processes: one message, code 2, and nothing of a launch has begun."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import BadInput
from tasks.run.task import Options, begin
from tasks.settings.files import check_invoke_yaml
from tasks.settings.schema import Settings
from tasks.settings.types import places
from tests import given

pytestmark = pytest.mark.whole

VARIABLES = [shape.env for _, shape in places(Settings) if shape.env is not None]
PROGRAMS = ("docker", "k3d", "kubectl", "helm", "sudo")
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
FILES: dict[str, bytes] = {
    "no end": b"openframe: [a,\n",
    "bytes": bytes(range(256)),
    "a NUL": b"openframe:\x00 {}\n",
    "a tab": b"openframe:\n\tcluster: {}\n",
    "another encoding": "openframe: {profile: ä}\n".encode("utf-16"),
    "a list": b"- openframe\n",
    "a text": b"openframe\n",
    "invoke's own name": b"run: 3\n",
    "a name twice": b"openframe: {}\nopenframe: {}\n",
    "no such name": b"openframe: {cluster: {agnets: 3}}\n",
    "a wrong type": b"openframe: {cluster: {agents: [1]}}\n",
    "out of range": b"openframe: {pool: {concurrency: 0}}\n",
    "an object of Python": b"openframe: !!python/object/apply:os.system [id]\n",
    "too deep": b"openframe: " + b"[" * 50_000,
    "too many": b"openframe:\n  " + BOMB.replace("\n", "\n  ").encode(),
    "itself": b"openframe: &a {cluster: *a}\n",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project elsewhere, with programs that leave a trace if anybody calls them."""
    root = tmp_path_factory.mktemp("project")
    for name in ("tasks", "config", "files"):
        shutil.copytree(given.ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(given.ROOT / "tasks.py", root)
    (root / "bin").mkdir()
    for name in PROGRAMS:
        (root / "bin" / name).write_text('#!/bin/sh\necho "$0 $*" >> "$TRACE"\nexit 1\n')
        (root / "bin" / name).chmod(0o755)
    return root


def refused(project: Path, folder: Path, *argv: str, **environ: str) -> str:
    """The message of a refused call, which has begun nothing."""
    trace, home = folder / "trace", folder / "home"
    home.mkdir()
    env = {
        "PATH": f"{project / 'bin'}:/usr/bin:/bin",
        "HOME": str(home),
        "TRACE": str(trace),
        "DEPLOY_LOG_DIR": str(folder / "openframe-logs"),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *argv],
        cwd=project,
        env={**env, **environ},
        capture_output=True,
        timeout=60,
        check=False,
    )
    reported = done.stderr.decode()
    assert done.returncode == 2, reported
    assert "Traceback" not in reported
    assert "do:" in reported
    assert not trace.exists()
    assert list(home.iterdir()) == []
    assert not (folder / "openframe-logs").exists()
    assert all(char.isprintable() or char == "\n" for char in reported), ascii(reported)
    return reported


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable(tmp_path: Path, variable: str) -> None:
    with pytest.raises(BadInput) as caught:
        begin(Options(task="up"), given.ROOT, {"HOME": str(tmp_path), variable: "--odd \x1b[31m"})
    assert variable in str(caught.value)
    assert "--odd" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_variable_of_a_process(project: Path, tmp_path: Path) -> None:
    reported = refused(project, tmp_path, "up", CLUSTER_NAME="--odd \x1b[31m")
    assert "CLUSTER_NAME" in reported
    assert "--odd" in reported


@pytest.mark.parametrize("name", FILES)
def test_each_broken_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "invoke.yaml").write_bytes(FILES[name])
    (tmp_path / "config").mkdir()

    def read() -> None:
        check_invoke_yaml(tmp_path, {})  # as the collection does before invoke reads it
        begin(Options(task="up"), tmp_path, {"HOME": str(tmp_path)})

    with pytest.raises(BadInput, match=r"invoke\.yaml"):
        read()


@pytest.mark.parametrize(
    ("argv", "reported"),
    [
        (["up", "--set", "cluster.agnets=3"], "cluster.agents"),
        (["up", "--engine", "existing"], "--context"),
        (["docker-tune", "--set", "docker.daemon_json=daemon.json"], "docker.daemon_json"),
        (["bundle", "list", "~nobody-at-all/x"], "no home folder of that user"),
        (["report", "--run", "~nobody-at-all/x"], "no home folder of that user"),
        (["report", "--set", "log_dir=~nobody-at-all/x"], "no home folder of that user"),
        (["logs", "--export", "~nobody-at-all/x"], "no home folder of that user"),
    ],
)
def test_an_option(project: Path, tmp_path: Path, argv: list[str], reported: str) -> None:
    assert reported in refused(project, tmp_path, *argv)
