"""A process that has read secrets leaves no core dump, nor do its children; and nothing that others may change."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.given import ROOT

DUMPING = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.umask(int(sys.argv[1], 8))
from tasks.process.children import close
close()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)
open("made", "w").close()
os.mkdir("folder")
if os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-c", "import os; os.abort()"])
_, child = os.wait()
print(os.WCOREDUMP(child), flush=True)
os.abort()
"""


def ran(folder: Path, umask: str) -> list[str]:
    """What it printed before it aborted."""
    command, environ = [sys.executable, "-c", DUMPING, umask], {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False).stdout.split()


def test_neither_it_nor_a_child_leaves_a_core_dump(tmp_path: Path) -> None:
    assert ran(tmp_path, "022") == [str(min(1, resource.getrlimit(resource.RLIMIT_CORE)[1] % 2**63)), "False"]
    assert not list(tmp_path.glob("core*"))


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [("000", 0o644, 0o755), ("077", 0o600, 0o700), ("027", 0o640, 0o750)]
)
def test_nothing_is_made_that_others_may_write(tmp_path: Path, umask: str, file: int, folder: int) -> None:
    ran(tmp_path, umask)
    assert (tmp_path / "made").stat().st_mode & 0o777 == file
    assert (tmp_path / "folder").stat().st_mode & 0o777 == folder
