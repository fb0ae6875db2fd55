"""A token is looked for wherever it must not be, through a whole launch."""

import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote

import psutil

from tests.real.conftest import Make
from tests.real.project import TOKEN, containers, run
from tests.real.world import World

CLUSTER = "secret-one"
OTHERS = {"file": "file-canary-4711-abcdef", "command": "command-canary-0815-ghijkl"}
LOGIN = "login-canary-2342@mnopqr"


class Spy(threading.Thread):
    """Reads all command lines again and again."""

    def __init__(self, expected: list[str]) -> None:
        super().__init__(daemon=True)
        self.wanted, self.seen, self.looks, self.over = expected, set[str](), 0, threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            self.looks += 1
            for process in psutil.process_iter():
                try:
                    line = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode("utf-8", "replace")
                except OSError:
                    continue
                self.seen.update(line for text in self.wanted if text in line)
            time.sleep(0.01)


def test_no_token_in_command_lines_logs_records_errors_or_containers(here: World, make: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(OTHERS["file"] + "\n")
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\necho {OTHERS['command']}\n")
    script.chmod(0o700)
    secrets = {
        "from-file": {"values": {"token": {"file": str(tmp_path / "token")}}},
        "from-command": {"type": "basic-auth", "values": {"password": {"command": [str(script)]}}},
    }
    settings = here.settings([here.release(0, "apps")], namespaces=["apps"], cluster={"agents": 0}, secrets=secrets)
    login = f"://robot:{quote(LOGIN, safe='')}@"
    settings["helm"]["repositories"] = {name: url.replace("://", login) for name, url in here.repositories.items()}
    project = make(CLUSTER, settings)
    expected = [TOKEN, *OTHERS.values(), LOGIN, quote(LOGIN, safe="")]
    spy = Spy(expected)
    spy.start()
    failing = [project.invoke("up", "--set", 'cluster.args.kubelet=["no-such-flag=1"]')]
    inspected = run("docker", "inspect", *containers(CLUSTER))
    up = project.invoke("up", "--recreate")
    failing += [
        project.invoke("helm", "--set", "helm.releases.app-a.chart=./no-such-chart"),
        project.invoke("helm", "--set", "helm.releases.app-a.version=0.0.0-none"),
    ]
    spy.over.set()
    assert up.code == 0, up.text
    assert all(call.code in (1, 2) for call in failing), failing
    assert len([s for s in project.objects("secrets") if s["metadata"]["namespace"] == "apps"]) >= 3
    assert spy.looks > 50
    assert not spy.seen
    for text in expected:
        assert text not in up.text + "".join(call.text for call in failing)
        assert text not in inspected
        for path in project.folder.rglob("*"):
            if path.name in ("repositories.yaml", "profile.yaml"):  # what Helm reads, private; and what the user wrote
                assert path.name == "profile.yaml" or path.stat().st_mode & 0o077 == 0
            elif path.is_file() and not path.is_symlink() and project.root not in path.parents:
                assert text.encode() not in path.read_bytes(), path
        assert text not in run("docker", "inspect", *containers(CLUSTER))
    env = subprocess.run(
        ["docker", "exec", f"k3d-{CLUSTER}-server-0", "env"], capture_output=True, text=True, check=True
    )
    assert TOKEN not in env.stdout
