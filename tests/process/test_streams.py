"""What programs read and write: whole, as it comes, and no more of it than is theirs."""

import os
import selectors
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.process import runner
from tasks.process.command import Command
from tasks.process.runner import Sink
from tests.programs import lives, pid_in, programs, script, until

MUCH = "0123456789abcde\n" * (5 * 65536)


def test_both_streams_are_kept_apart() -> None:
    done = programs().run(script("echo out; echo err >&2; echo more"))
    assert (done.out, done.err) == ("out\nmore\n", "err\n")


def test_lines_are_heard_while_the_program_runs(tmp_path: Path) -> None:
    received: list[str] = []

    def listen(line: str) -> None:
        received.append(line)
        if line == "ready":
            (tmp_path / "go").touch()

    text = 'printf rea; sleep 0.05; echo dy; while [ ! -e "$1/go" ]; do sleep 0.01; done; echo gone >&2; printf last'
    done = programs().run(script(text, str(tmp_path)), listen=listen)
    assert received == ["ready", "gone", "last"]
    assert done.out == "ready\nlast"


def test_a_sign_of_two_bytes_may_come_in_two_pieces() -> None:
    received: list[str] = []
    programs().run(script(r"printf '\303'; sleep 0.05; printf '\244\n\377\n\n'"), listen=received.append)
    assert received == ["ä", "\ufffd", ""]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb", b"c\n"], ["a", "bc"]),
        ([b"a", b"b", b"", b"c"], ["abc"]),
        ([b"\n\n"], ["", ""]),
        ([], []),
        ([b"a\r\n"], ["a\r"]),
    ],
)
def test_a_sink_hands_on_whole_lines(pieces: list[bytes], lines: list[str]) -> None:
    received: list[str] = []
    sink = Sink(received.append)
    for piece in pieces:
        sink.feed(piece)
    sink.finish()
    assert received == lines
    assert sink.data() == b"".join(pieces)


def test_a_line_without_end_is_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.process.runner._LINE", 10)
    received: list[str] = []
    sink = Sink(received.append, kept=20)
    for _ in range(100):
        sink.feed(b"0123456")
    sink.feed(b"\n")
    sink.feed(b"next\n")
    assert received == ["[...]", "next"]


def test_of_lines_that_arrive_together_the_last_is_shown_where_a_command_may_write_without_end() -> None:
    received: list[str] = []
    sink = Sink(received.append, kept=1000)
    for piece in (b"1\n2\n3", b"3\n4", b"4\n5\n6\n", b"7"):
        sink.feed(piece)
    sink.finish()
    assert received == ["2", "33", "6", "7"]
    assert sink.data() == b"1\n2\n33\n44\n5\n6\n7"


@pytest.mark.parametrize(
    ("program", "stdin", "out"),
    [("cat", None, ""), ("cat", MUCH, MUCH), ("true", MUCH, "")],
    ids=["closed for who is given nothing", "much comes through whole", "nobody reads it"],
)
def test_input(program: str, stdin: str | None, out: str) -> None:
    assert programs().run(Command(argv=(program,), stdin=stdin, deadline=10.0)).out == out


def test_input_is_in_no_argument_and_no_environment() -> None:
    seen: list[str] = []

    def listen(line: str) -> None:
        if not seen:
            child = psutil.Process(int(line))
            seen.extend([*child.cmdline(), *child.environ().values()])

    done = programs().run(script("echo $$; cat; sleep 0.1", stdin="correct horse"), listen=listen)
    assert "correct horse" in done.out
    assert seen
    assert not any("horse" in text for text in seen)


def test_much_output_on_both_streams_does_not_block() -> None:
    began = time.monotonic()
    text = "head -c 10000000 /dev/zero & head -c 10000000 /dev/zero >&2; wait"
    done = programs().run(script(text))
    assert (len(done.out), len(done.err)) == (10_000_000, 10_000_000)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("lines", ["yes 0123456789 |", "tr '\\0' x < /dev/zero |"])
def test_twenty_megabytes_are_heard(lines: str) -> None:
    """As many short lines, and as one line without an end."""
    began = time.monotonic()
    count = [0]

    def listen(line: str) -> None:
        count[0] += len(line)

    done = programs().run(script(f"{lines} head -c 20000000"), listen=listen)
    assert len(done.out) == 20_000_000
    assert count[0] + done.out.count("\n") == 20_000_000
    assert time.monotonic() - began < 15


def test_output_that_is_no_text_is_kept_as_it_came() -> None:
    every = bytes(range(256)) * 40
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 40)"
    done = programs().run(Command(argv=(sys.executable, "-c", code)))
    assert done.raw == every
    assert done.out == every.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("text", "stays"), [("sleep 30 & echo $! > $1/pid; echo y", True), ("yes & echo $! > $1/pid; sleep 0.1", False)]
)
def test_who_inherited_the_output_is_not_waited_for(tmp_path: Path, text: str, stays: bool) -> None:
    """Nor read for ever, where it writes for ever."""
    began = time.monotonic()
    done = programs().run(script(text, str(tmp_path), deadline=10))
    assert time.monotonic() - began < (1.5 if stays else 5)
    assert done.out.startswith("y\n")
    left = pid_in(tmp_path / "pid")
    until(lambda: lives(left) is stays, 5)
    if stays:
        os.kill(left, signal.SIGKILL)


def test_what_can_be_in_a_pipe_is_all_that_is_read_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[float] = []

    def never_empty(_selector: object, seconds: float) -> int:
        reads.append(seconds)
        return 65536

    monkeypatch.setattr(runner, "_read", never_empty)
    with selectors.DefaultSelector() as selector:
        runner._drain(selector)
    assert reads == [0] * 32


def test_what_programs_write_is_in_no_log_of_python(caplog: pytest.LogCaptureFixture) -> None:
    """`invoke --debug` shows the log of every module, sh's own too."""
    with caplog.at_level("DEBUG"):
        programs().run(script("cat; echo horse >&2", stdin="correct battery staple"))
    assert "battery" not in caplog.text
    assert "horse" not in caplog.text.replace("echo horse", "")
