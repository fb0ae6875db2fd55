"""What make says, with the awk and sed of any system."""

from __future__ import annotations

import re
import subprocess

from tests.given import ROOT


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
    assert not re.search(r"\bsed\b", (ROOT / "Makefile").read_text(encoding="utf-8"))
