"""The composite action, the workflow that shows it, and the script behind it name the same things."""

import os
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / ".ci" / "launch"


def test_what_is_used_is_there() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    workflow = yaml.safe_load((ROOT / ".github/workflows/environment.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"] if step.get("uses") == "./"]
    assert len(steps) == 3
    assert {name for step in steps for name in step.get("with", {})} <= set(action["inputs"])
    called = set(re.findall(r"launch\" (\w+)", (ROOT / "action.yml").read_text()))
    assert called == set(re.findall(r"^(\w+)\)$", SCRIPT.read_text(), re.MULTILINE))


def test_a_snapshot_is_of_one_configuration(tmp_path: Path) -> None:
    def key(settings: str) -> str:
        path = tmp_path / "output"
        environ = {**os.environ, "GITHUB_OUTPUT": str(path), "SETTINGS": settings}
        subprocess.run([str(SCRIPT), "key"], env=environ, check=True)
        found = path.read_text()
        path.unlink()
        return found

    assert re.fullmatch(r"snapshot=[0-9a-f]{64}\n", key(""))
    assert key("") == key("") != key("cluster.agents=2")
