"""What make says, with the awk and sed of any system."""

import re
import subprocess
from pathlib import Path

from tasks.collection import TASKS
from tests.given import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_each_task_is_a_target() -> None:
    (listed,) = re.findall(r"^TASKS := (.+)$", MAKEFILE, re.MULTILINE)
    assert sorted([*listed.split(), "bench"]) == sorted(TASKS)


def test_a_make_that_an_own_step_runs_gets_nothing_of_this_call(tmp_path: Path) -> None:
    """Variables of a command line would override those of the user's own Makefile."""
    (tmp_path / "theirs").write_text("ARGS := theirs\nBUNDLE ?= theirs\nall:\n\t@echo $(ARGS) $(BUNDLE) $(PYTHON)end\n")
    head = MAKEFILE.partition("\nTASKS :=")[0]
    (tmp_path / "Makefile").write_text(f"{head}\nup:\n\t@echo $(ARGS)\n\t@make --no-print-directory -f theirs\n")
    argv = ["make", "-j2", "-k", "ARGS=--profile ci", "BUNDLE=b", "PYTHON=p", "--no-print-directory", "up"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines(), done.stderr) == (["--profile ci", "theirs theirs end"], "")


def test_help_lists_targets_in_columns() -> None:
    command = ["make", "--no-print-directory", "help"]  # these tests may be started by make themselves
    reported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = dict(re.findall(r"^([a-z-]+) +(.+)$", reported, re.MULTILINE))
    assert rows["help"] == "this list"
    assert rows["test"] == "the tests that need no cluster"
    assert "\t" not in reported
    assert "rehearse" in reported.splitlines()[-1]


def test_no_recipe_counts_on_what_only_gnu_sed_does() -> None:
    """BSD sed prints `t` for `\\t`, and has no -r or -i without a suffix."""
    assert not re.search(r"\bsed\b", MAKEFILE)
