"""All checks together, and how a launch is stopped by them."""

from __future__ import annotations

from dataclasses import replace

from tasks.checks.examine import examine, problems
from tasks.checks.facts import HostFacts
from tasks.checks.finding import Level, Unfit
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


def test_problems_are_one_error() -> None:
    facts = replace(WELL, disk=Disk(total=100 * GIB, free=GIB))
    found = problems(examine(facts))
    error = Unfit(found)
    assert error.what.startswith("disk: 1.0 GiB of 100.0 GiB free")
    assert (error.why, error.fix, error.status) == (found[0].why, found[0].fix, 1)
    several = Unfit(problems(examine(replace(facts, bindable=False, settings=settings(bind_address="10.1.2.3")))))
    assert several.what == "2 things would stop this launch: disk, address"
    assert len(several.why.splitlines()) == len(several.fix.splitlines()) == 2
    assert "IP=127.0.0.1" in several.fix
