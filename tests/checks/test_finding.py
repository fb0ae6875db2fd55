"""How findings are shown."""

import json

import pytest

from tasks.checks.finding import Finding, Level, Mended, Remedy, as_json, as_lines
from tasks.view.console import cells

GOOD = Finding(Level.OK, "Docker 28.2.2", check="engine")
UNSEEN = Finding(Level.UNKNOWN, "the engine runs in its own machine", check="disk")
BAD = Finding(
    check="cgroups",
    level=Level.PROBLEM,
    what="cgroup v1, which Kubernetes 1.35 refuses",
    why="every node would die at once",
    fix="`--set cluster.x=1`",
)
MILD = Finding(
    check="inotify",
    level=Level.WARNING,
    what="128 instances",
    why="w",
    fix="`sudo sysctl -w a=1 b=2`",
    remedy=Remedy(argv=("sysctl", "-w", "a=1", "b=2")),
)
RAN = Mended(check="inotify", command="sysctl -w a=1", ran=True, result="ran")


def test_a_table_then_what_to_do_then_the_verdict() -> None:
    assert [str(line) for line in as_lines([GOOD, UNSEEN, BAD, MILD], [RAN])] == [
        "sysctl -w a=1: ran",
        "",
        "check    result     finding",
        "-------  ---------  ----------------------------------------",
        "engine   ok         Docker 28.2.2",
        "disk     not known  the engine runs in its own machine",
        "cgroups  problem    cgroup v1, which Kubernetes 1.35 refuses",
        "inotify  warning    128 instances",
        "",
        "cgroups: cgroup v1, which Kubernetes 1.35 refuses",
        "  why:  every node would die at once",
        "  do:   `--set cluster.x=1`",
        "",
        "inotify: 128 instances",
        "  why:  w",
        "  do:   `sudo sysctl -w a=1 b=2`",
        "",
        "1 problem would stop a launch; 1 warning; `invoke doctor --fix` runs the fixes that are safe",
    ]


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([GOOD, UNSEEN], "nothing here would stop a launch"),
        ([GOOD, BAD, BAD], "2 problems would stop a launch"),
        (
            [MILD],
            "nothing here would stop a launch; 1 warning; `invoke doctor --fix` runs the fixes that are safe",
        ),
    ],
)
def test_the_verdict(findings: list[Finding], verdict: str) -> None:
    assert str(as_lines(findings, [])[-1]) == verdict


def test_it_fits_and_commands_stay_whole() -> None:
    shown = [str(line) for line in as_lines([GOOD, UNSEEN, BAD, MILD], [], width=44)]
    assert all(cells(line) <= 44 for line in shown[:-1])
    assert "  do:   `sudo sysctl -w a=1 b=2`" in shown


def test_the_document() -> None:
    document = json.loads(as_json([BAD, MILD], [RAN], cluster="dev", exit_code=1))
    assert document["cluster"] == "dev"
    assert document["exit_code"] == 1
    assert document["findings"][0] == {
        "check": "cgroups",
        "level": "problem",
        "what": BAD.what,
        "why": BAD.why,
        "fix": BAD.fix,
        "safe": False,
    }
    assert document["findings"][1]["safe"] is True
    assert document["fixed"] == [{"check": "inotify", "command": "sysctl -w a=1", "ran": True, "result": "ran"}]
