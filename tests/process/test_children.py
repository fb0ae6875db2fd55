"""The registry of living children: who is known, who is ended, and who is left alone."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from tasks.process.children import Children
from tests.programs import until


@pytest.fixture
def born() -> Iterator[list[subprocess.Popen[bytes]]]:
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for each in found:
        if each.poll() is None:
            os.killpg(each.pid, signal.SIGKILL)
        each.wait(5)
        if each.stdout is not None:
            each.stdout.close()


def group(born: list[subprocess.Popen[bytes]], text: str = "exec sleep 30", first: str = ":") -> int:
    """A process that leads a group of its own, and has done what it does `first`."""
    result = subprocess.Popen(["sh", "-c", f"{first}; echo; {text}"], start_new_session=True, stdout=subprocess.PIPE)
    born.append(result)
    assert result.stdout is not None
    result.stdout.readline()
    return result.pid


def reap(children: Children, born: list[subprocess.Popen[bytes]]) -> None:
    """What a waiting thread does for each of its children."""

    def wait(each: subprocess.Popen[bytes]) -> None:
        each.wait()
        children.remove(each.pid)

    for each in born:
        threading.Thread(target=wait, args=(each,), daemon=True).start()


def test_a_group_is_known_from_add_to_remove() -> None:
    children = Children()
    children.add(4_000_001)
    children.add(4_000_002)
    children.remove(4_000_001)
    children.remove(4_000_001)
    assert children.alive() == {4_000_002}


DEAF = ("while :; do sleep 0.05; done", "sleep 30; sleep 30")


@pytest.mark.parametrize(("deaf", "patience"), [((), 5.0), (DEAF, 0.3)])
def test_all_end_at_once_or_are_killed_after_one_deadline(
    deaf: tuple[str, ...], patience: float, born: list[subprocess.Popen[bytes]]
) -> None:
    children = Children()
    for _ in range(2):
        children.add(group(born))
    for text in deaf:
        children.add(group(born, text, first="trap '' TERM"))
    reap(children, born)
    began = time.monotonic()
    assert children.stop(patience) is not bool(deaf)
    until(lambda: not children.alive(), 3)
    assert time.monotonic() - began < 3
    assert [each.wait(1) for each in born] == [-signal.SIGTERM] * 2 + [-signal.SIGKILL] * len(deaf)


def test_nothing_to_stop_takes_no_time() -> None:
    began = time.monotonic()
    assert Children().stop(5)
    assert time.monotonic() - began < 1


def test_children_of_a_closed_registry_are_killed(born: list[subprocess.Popen[bytes]]) -> None:
    children = Children()
    children.close(0)
    first = group(born)
    children.add(first)
    assert children.ending(first)
    assert born[0].wait(3) == -signal.SIGKILL
    children.remove(first)
    children.open()
    second = group(born)
    children.add(second)
    assert not children.ending(second)
    assert born[1].poll() is None


def test_a_group_that_is_not_known_is_not_ended(born: list[subprocess.Popen[bytes]]) -> None:
    """Its number may be another's by now."""
    children = Children()
    pid = group(born)
    children.end(pid)
    children.add(pid)
    children.remove(pid)
    children.end(pid)
    assert not children.ending(pid)
    with pytest.raises(subprocess.TimeoutExpired):
        born[0].wait(0.1)
    children.add(pid)
    assert not children.ending(pid)
    children.end(pid)
    assert children.ending(pid), "until it has ended"
    assert born[0].wait(3) == -signal.SIGTERM
    children.remove(pid)
    assert not children.ending(pid)


def test_a_group_exists_as_long_as_somebody_of_it_lives(born: list[subprocess.Popen[bytes]]) -> None:
    pid = group(born, "sleep 30 & exit 0")
    born[0].wait(3)
    assert Children.exists(pid)
    Children.signal(pid, signal.SIGKILL)
    until(lambda: not Children.exists(pid), 3)
    Children.signal(pid, signal.SIGKILL)


def test_the_dead_who_are_not_waited_for_do_not_count(born: list[subprocess.Popen[bytes]]) -> None:
    pid = group(born, "exit 0")
    until(lambda: not Children.exists(pid), 3)
    assert born[0].returncode is None
