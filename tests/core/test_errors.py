"""What an error says, and how a cause is added to it."""

import errno
import os

import pytest

from tasks.core.errors import BadInput, Diagnosis, LaunchError, of_system, some

CAUSE = Diagnosis(cause="dns", what="the name is not found", why="no network", fix="see DNS", transient=True)


def test_what_why_and_what_to_do() -> None:
    assert str(LaunchError("a", why="b", fix="c")) == "a\n  why: b\n  do:  c"
    assert str(LaunchError("a")) == "a"


def test_a_cause_becomes_the_reason_and_what_happened_stays() -> None:
    error = BadInput("helm ended with code 1", why="old", fix="old", exit_code=1).explain(CAUSE)
    assert (error.what, error.why) == ("helm ended with code 1", "the name is not found: no network")
    assert (error.fix, error.cause, error.transient, error.exit_code) == ("see DNS", "dns", True, 1)
    assert isinstance(error, BadInput)


def test_an_error_of_a_diagnosis() -> None:
    error = LaunchError.of(CAUSE, exit_code=2)
    assert error.diagnosis is CAUSE
    assert (error.args, error.exit_code) == (("the name is not found",), 2)


def test_parts_are_changed_by_name() -> None:
    error = LaunchError("a", why="b", transient=True)
    assert error.amend(transient=False, fix="c") is error
    assert (error.what, error.why, error.fix, error.transient) == ("a", "b", "c", False)


@pytest.mark.parametrize(
    "code",
    [
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENFILE),
        *(errno.EFBIG, errno.EIO, errno.ESTALE),
    ],
)
def test_an_error_of_the_operating_system_that_is_no_bug(code: int) -> None:
    error = of_system(OSError(code, os.strerror(code), "/state/k3d.yaml"))
    assert error is not None
    assert error.what == f"/state/k3d.yaml: {os.strerror(code)}"
    assert error.why
    assert error.fix


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), ValueError("x"), OSError("x")])
def test_any_other_is_one(error: Exception) -> None:
    assert of_system(error) is None


def test_the_first_few_and_how_many_more() -> None:
    assert some(["a", "b", "c", "d"]) == "a, b, c, d"
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
