"""A process that has read secrets leaves no core dump, nor do its children; and nothing that others may change."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

DUMPING = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.umask(int(sys.argv[2], 8))
from tasks.process.children import close
if sys.argv[1] == "closed":
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


def ran(folder: Path, how: str, umask: str) -> tuple[list[str], bool]:
    """What it printed, and whether it left a core dump itself."""
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", DUMPING, how, umask],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    reported = process.stdout.read().split()
    process.stdout.close()
    _, status = os.waitpid(process.pid, 0)
    process.returncode = status
    return reported, os.WCOREDUMP(status)


def test_neither_it_nor_a_child_leaves_a_core_dump(tmp_path: Path) -> None:
    reported, dumped = ran(tmp_path, "closed", "022")
    assert reported == [str(min(1, resource.getrlimit(resource.RLIMIT_CORE)[1] % 2**63)), "False"]
    assert not dumped
    assert not list(tmp_path.glob("core*"))


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [("000", 0o644, 0o755), ("077", 0o600, 0o700), ("027", 0o640, 0o750)]
)
def test_nothing_is_made_that_others_may_write(tmp_path: Path, umask: str, file: int, folder: int) -> None:
    ran(tmp_path, "closed", umask)
    assert (tmp_path / "made").stat().st_mode & 0o777 == file
    assert (tmp_path / "folder").stat().st_mode & 0o777 == folder
