"""Fixes are run with the rights that are there, once, and never beyond them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasks.checks.facts import Rights
from tasks.checks.finding import Finding, Level, Remedy, mend
from tests.facts.fake import Answer, FakePrograms

SYSCTL = Remedy(argv=("sysctl", "-w", "fs.inotify.max_user_instances=512"))
FETCH = Remedy(fetch=True)


def finding(check: str, remedy: Remedy | None) -> Finding:
    return Finding(check=check, level=Level.WARNING, what="w", why="y", fix="f", remedy=remedy)


def never() -> int:
    raise AssertionError("nothing is to be fetched")


def gives(code: int) -> Callable[[], int]:
    return lambda: code


@pytest.mark.parametrize(
    ("rights", "line"),
    [
        (Rights(root=True, sudo=None), "sysctl -w fs.inotify.max_user_instances=512"),
        (Rights(root=False, sudo=True), "sudo -n sysctl -w fs.inotify.max_user_instances=512"),
    ],
)
def test_with_rights_it_runs(rights: Rights, line: str) -> None:
    programs = FakePrograms(answers={"sysctl": Answer(), "sudo -n sysctl": Answer()})
    (done,) = mend([finding("inotify", SYSCTL), finding("disk", None)], rights, programs, never)
    assert programs.lines == [line]
    assert (done.check, done.command, done.ran, done.result) == ("inotify", line, True, "ran")


@pytest.mark.parametrize("rights", [Rights(root=False, sudo=False), Rights(root=False, sudo=None), None])
def test_without_rights_it_is_left(rights: Rights | None) -> None:
    programs = FakePrograms(answers={"sysctl": Answer(), "sudo": Answer()})
    (done,) = mend([finding("inotify", SYSCTL)], rights, programs, never)
    assert programs.asked == []
    assert not done.ran
    assert done.command == "sudo sysctl -w fs.inotify.max_user_instances=512"
    assert "needs root" in done.result


def test_a_fix_that_fails_is_told() -> None:
    programs = FakePrograms(answers={"sysctl": Answer(code=255, err="sysctl: permission denied on key")})
    (done,) = mend([finding("inotify", SYSCTL)], Rights(root=True, sudo=None), programs, never)
    assert done.ran
    assert done.result == "failed: sysctl ended with code 255: sysctl: permission denied on key"


@pytest.mark.parametrize(("code", "result"), [(0, "ran"), (1, "failed with code 1")])
def test_programs_are_fetched_once_for_all(code: int, result: str) -> None:
    found = [finding("k3d", FETCH), finding("helm", FETCH), finding("kubectl", FETCH)]
    (done,) = mend(found, None, FakePrograms(), gives(code))
    assert (done.check, done.command, done.ran, done.result) == ("k3d", "make tools", True, result)
