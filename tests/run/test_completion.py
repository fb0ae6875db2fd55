"""What shells complete: by invoke's own scripts in bash and zsh, and as the answer to the words of a command line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.collection import TASKS, _load
from tasks.core import yaml
from tasks.core.paths import state_folder
from tasks.run.completion import completions
from tests.given import ROOT

CONTEXTS = ("k3d-dev", "arn:aws:eks:eu:1:cluster/a", "$(touch /tmp/owned)", "two words")
PULL = ("", "true", "false")
DRIVE = {
    "bash": """
source <(invoke --print-completion-script bash)
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_complete_invoke invoke '{current}' ''
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "zsh": """
source <(invoke --print-completion-script zsh)
words=({words})
_complete_invoke
printf '%s\\n' "${{(@M)reply:#{current}*}}"
""",
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    runs = tmp_path / "logs" / "runs"
    runs.mkdir(parents=True, mode=0o700)
    runs.parent.chmod(0o700)
    (runs / "20261127T101010.123Z-up.json").write_text("{}")
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    snapshots = state_folder(state) / "snapshots"
    snapshots.mkdir(parents=True)
    for name in ("seeded-1.json", "empty.json", ".part.json", "0123456789abcdef.journal", "$(touch owned).json"):
        (snapshots / name).write_text("{}")
    (tmp_path / "kubeconfig").write_text(yaml.dump({"contexts": [{"name": name} for name in CONTEXTS]}))
    return {
        "HOME": str(tmp_path),
        **state,
        "KUBECONFIG": f"{tmp_path / 'kubeconfig'}:{tmp_path / 'missing'}",
        "DEPLOY_LOG_DIR": str(tmp_path / "logs"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
    }


def answered(environ: dict[str, str], *words: str) -> list[str] | None:
    return completions(["invoke", *words], lambda name: _load(name) if name in TASKS else None, ROOT, environ)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["up", "--profile"], ["ci", "dev", "low-memory", "none"]),
        (["up", "--profile", "c"], ["ci", "dev", "low-memory", "none"]),  # shells filter
        (["up", "--profile=c"], ["--profile=ci", "--profile=dev", "--profile=low-memory", "--profile=none"]),
        (["up", "--profile", "=", "c"], ["ci", "dev", "low-memory", "none"]),  # as bash has it
        (["up", "--engine"], ["k3d", "existing", "rehearsal"]),
        (["plan", "--format"], ["text", "json", "mermaid", "dot"]),
        (["status", "--format"], ["text", "json"]),
        (["up", "--context"], ["k3d-dev", "arn:aws:eks:eu:1:cluster/a"]),
        (["up", "--context", "arn", ":", "aws", ":"], ["eks:eu:1:cluster/a"]),
        (["report", "--run"], ["latest", "20261127T101010.123Z-up"]),
        (["report", "--run", "up"], ["latest", "20261127T101010.123Z-up"]),
        (["bench", "--modes"], ["sequential", "staged", "graph", "create"]),
        (["plan", "--timing"], ["default"]),
        (["logs", "--run"], ["latest", "20261127T101010.123Z-up"]),
        (["up", "--snapshot"], ["empty", "seeded-1"]),
        (["snapshot", "--delete=se"], ["--delete=empty", "--delete=seeded-1"]),
        (["up", "--set", "cluster.serv"], ["cluster.server_labels.", "cluster.servers="]),
        (["up", "--set", "ingress.controller="], None),
        (["up", "--set", "helm.releases.cert-manager.en"], None),
        (["bundle", "s"], ["save", "load", "list"]),
        (["bundle", "save", "fi"], []),  # a file: the shell's
        (["up", "--rec"], ["--recreate"]),
        (["/x/invoke", "up", "--rollb"], ["--rollback"]),
        (["up", "--set", "no.such"], []),
    ],
)
def test_answers(words: Sequence[str], expected: list[str] | None, environ: dict[str, str]) -> None:
    found = answered(environ, *(words[1:] if words[0].endswith("invoke") else words))
    assert found is not None
    if expected is None:
        assert all(each.startswith(words[-1]) and "=" in each for each in found)
        assert len(found) > 1
    else:
        assert found == expected


@pytest.mark.parametrize("words", [[], ["u"], ["up", ""], ["--li"], ["up", "--profile", "ci"], ["no-such", "--x"]])
def test_the_rest_is_invokes_own(words: Sequence[str], environ: dict[str, str]) -> None:
    assert answered(environ, *words) is None


def test_settings_are_offered_a_level_at_a_time(environ: dict[str, str]) -> None:
    first = answered(environ, "up", "--set", "") or []
    assert {"cluster.", "helm.", "namespaces="} <= set(first)
    assert "cluster.limits." in (answered(environ, "up", "--set", "clus") or [])
    assert "helm.releases.cert-manager.enabled=" in (answered(environ, "up", "--set", "helm.releases.c") or [])


def test_settings_that_are_wrong_are_no_error(environ: dict[str, str]) -> None:
    assert answered(environ, "up", "--profile", "no-such", "--set", "clus") == []
    (Path(environ["HOME"]) / "kubeconfig").write_text("{")
    assert answered(environ, "up", "--context") == []


@pytest.mark.whole
@pytest.mark.parametrize("shell", DRIVE)
@pytest.mark.parametrize(
    ("words", "current", "expected"),
    [
        ("invoke up --context k", "k", ["k3d-dev"]),
        ("invoke plan --set cluster.pull_", "cluster.pull_", [f"cluster.pull_ahead={each}" for each in PULL]),
        ("invoke up --rol", "--rol", ["--rollback"]),
    ],
)
def test_in_a_shell(shell: str, words: str, current: str, expected: list[str], environ: dict[str, str]) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    script = DRIVE[shell].format(words=words, current=current)
    done = subprocess.run([program, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout.split()) == ("", expected)
    assert not Path("/tmp/owned").exists()
