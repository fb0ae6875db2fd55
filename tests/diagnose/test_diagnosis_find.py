"""The cause of a failed command: what is filled in, and what stays."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tasks.core.redact import conceal
from tasks.diagnose.diagnosis import Cause, clean, explain, recognise, short
from tasks.process.command import Command, CommandFailed, DeadlinePassed
from tests.causes.told import completed, told


def test_what_happened_stays_and_the_rest_is_filled_in() -> None:
    error = told("docker", "Error response from daemon: context canceled\n")
    assert error.what == "docker ended with code 1: Error response from daemon: context canceled"
    assert error.why.startswith("the engine gave the request up: ")
    assert (error.cause, error.transient, error.exit_code) == ("engine-cancelled", True, 1)


def test_a_fresh_error_with_the_same_command() -> None:
    before = CommandFailed(completed("k3d", "x"))
    after = explain(before, "k3d")
    assert after is not before
    assert after.done is before.done


def test_without_a_known_cause_it_says_what_it_said() -> None:
    before = CommandFailed(completed("helm", "Error: something new\n"), why="a", fix="b", transient=True)
    after = explain(before, "helm")
    assert (after.cause, after.why, after.fix, after.transient) == ("", "a", "b", True)
    assert dict(after.details) == {}


def test_a_deadline_stays_a_deadline() -> None:
    done = completed("docker", "dial tcp: lookup ghcr.io on 10.0.0.2:53: no such host\n", code=-15)
    after = explain(DeadlinePassed(done, 7.0), "docker")
    assert isinstance(after, DeadlinePassed)
    assert str(after).startswith("docker did not end within 7 s\n")
    assert (after.cause, after.transient) == ("dns", True)
    plain = explain(DeadlinePassed(completed("docker", "", code=-9), 7.0), "docker")
    assert (plain.cause, plain.fix) == ("", "look at its last lines; a longer deadline is a setting (timeouts.*)")


@pytest.mark.parametrize("program", ["docker", "/usr/bin/docker", "C:/docker/docker.exe"])
def test_a_program_is_known_by_its_last_name(program: str) -> None:
    error = explain(CommandFailed(completed("docker", "toomanyrequests: x")), program)
    assert error.cause == "rate-limit"


def test_a_cause_of_another_program_is_none() -> None:
    assert told("kubectl", "Error response from daemon: context canceled").cause == ""
    assert told("docker", "cannot re-use a name that is still in use").cause == ""


@pytest.mark.parametrize("code", [-9, 137])
def test_a_program_that_was_killed(code: int) -> None:
    error = told("helm", "", code=code)
    assert error.cause == "killed"
    assert "memory" in error.why


def test_what_it_wrote_counts_before_how_it_ended() -> None:
    assert told("docker", "no space left on device", code=137).cause == "disk-full"


def test_another_processor() -> None:
    assert told("k3d", "exec /bin/sh: exec format error").cause == "wrong-processor"


def test_no_secret_is_told() -> None:
    conceal("hunter2-the-token")
    error = told("helm", "Error: failed to parse values.yaml: yaml: line 2: hunter2-the-token is no mapping")
    assert error.cause == "values-unreadable"
    assert "hunter2" not in str(error)
    assert "***" in error.why


def test_nothing_of_a_quiet_stdout_is_told() -> None:
    done = replace(completed("helm", "Error: x\n", out="no space left on device: a manifest\n"), quiet=True)
    assert explain(CommandFailed(done), "helm").cause == ""
    told_ = explain(CommandFailed(replace(done, err="Error: no space left on device\n")), "helm")
    assert (told_.cause, told_.why) == ("disk-full", "the disk is full: Error: no space left on device")


def test_output_is_searched_without_colours_and_controls() -> None:
    assert clean("\x1b[31mFATA\x1b[0m[0002] a\r\nb\x07c\td") == "FATA[0002] a\nbc\td"


def test_parts_are_one_line_and_not_long() -> None:
    assert short(" a\n  b ") == "a b"
    assert len(short("x" * 999)) == 300
    assert short("x" * 999).endswith("…")


def test_much_output_is_searched_in_a_moment() -> None:
    noise = "A" * 400_000 + "\n" + 'level=info msg="pulled image x/y:1 from registry 10.0.0.1:5000 in 12 s"\n' * 3000
    begin = time.monotonic()
    assert told("helm", noise).cause == ""
    assert told("k3d", noise + "port is already allocated\n").cause == "port-taken"
    assert time.monotonic() - begin < 5


def test_a_part_that_is_missing_leaves_a_gap_and_no_traceback() -> None:
    cause = Cause(id="x", programs=(), patterns=("a(?P<b>c)?",), what="{b} {nothing}", why="{line}", fix="f")
    found = recognise([cause], "za")
    assert found is not None
    assert found.reason == "… …: za"


def test_what_is_missing_may_be_said_otherwise() -> None:
    cause = Cause(id="x", programs=(), patterns=("a(?P<b>c)?",), what="{b}", fix="f", otherwise={"b": "from {line}"})
    found, captured = recognise([cause], "za"), recognise([cause], "ac")
    assert found is not None
    assert captured is not None
    assert (found.what, dict(found.details)) == ("from za", {})
    assert (captured.what, dict(captured.details)) == ("c", {"b": "c"})


def test_the_command_of_the_error_is_untouched() -> None:
    done = replace(completed("helm", "x"), command=Command(argv=("helm", "list")))
    assert explain(CommandFailed(done), "helm").done.command.argv == ("helm", "list")
