"""All checks together, and how a launch is stopped by them."""

from __future__ import annotations

from dataclasses import replace

from tasks.checks.examine import CHECKS, examine, problems
from tasks.checks.facts import HostFacts
from tasks.checks.finding import Finding, Level, Unfit, problem
from tasks.facts.host import Disk
from tasks.settings.schema import Settings
from tests.checks.given import GIB, WELL, settings


def test_a_good_machine_has_no_warning() -> None:
    found = examine(WELL)
    assert {each.level for each in found} == {Level.OK}
    assert problems(found) == []
    assert [each.check for each in found] == [
        "engine",
        "cgroups",
        "k3d",
        "kubectl",
        "helm",
        "cpus",
        "memory",
        "disk",
        "inotify",
        *["ports"] * 4,
        "proxies",
        "DNS",
        "sudo",
    ]


def test_without_any_fact_only_the_environment_is_judged() -> None:
    assert [each.check for each in examine(HostFacts(settings=Settings()))] == ["proxies"]


def test_a_check_more_is_one_entry_more() -> None:
    def mine(facts: HostFacts) -> list[Finding]:
        return [problem(str(facts.agents), why="w", fix="f")]

    found = examine(WELL, (*CHECKS, ("mine", lambda facts: iter(mine(facts)))))
    assert [(each.check, each.what) for each in problems(found)] == [("mine", "4")]


def test_one_problem_is_the_error() -> None:
    found = problems(examine(replace(WELL, disk=Disk(total=100 * GIB, free=GIB))))
    error = Unfit(found)
    assert error.what.startswith("disk: 1.0 GiB of 100.0 GiB free")
    assert error.why == found[0].why
    assert error.fix == found[0].fix
    assert error.status == 1


def test_several_problems_are_one_error() -> None:
    facts = replace(
        WELL, disk=Disk(total=100 * GIB, free=GIB), bindable=False, settings=settings(bind_address="10.1.2.3")
    )
    error = Unfit(problems(examine(facts)))
    assert error.what == "2 things would stop this launch: disk, address"
    assert len(error.why.splitlines()) == len(error.fix.splitlines()) == 2
    assert "IP=127.0.0.1" in error.fix
