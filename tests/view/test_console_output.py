"""The only functions that print."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.redact import conceal
from tasks.view.console import STYLES, as_text, err, line, out


def test_lines_go_where_they_belong(capsys: pytest.CaptureFixture[str]) -> None:
    out(["a", line(("b", "good"))])
    err(["c"])
    assert capsys.readouterr() == ("a\nb\n", "c\n")


def test_nothing_secret_is_printed_not_even_across_two_parts(capsys: pytest.CaptureFixture[str]) -> None:
    conceal("correct-horse")
    out(["x correct-horse y", line(("corr", "good"), "ect-horse")])
    assert capsys.readouterr().out == "x *** y\n***\n"


def test_what_an_encoding_lacks_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    out(["naïve ✓", "\udcff"])
    assert raw.getvalue() == b"na?ve ?\n?\n"


def test_a_terminal_gets_colours_and_literal_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    out([line(("ok", "good"), " [red]:smile: " + "x" * 200)])
    assert "\x1b[32mok\x1b[0m [red]:smile: " in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1
    monkeypatch.setenv("NO_COLOR", "1")
    out([line(("plain", "good"))])
    assert terminal.getvalue().endswith("\nplain\n")


def test_every_meaning_is_a_style_of_rich() -> None:
    from rich.style import Style

    for style in STYLES.values():
        assert Style.parse(style) is not None
    assert as_text(line(("a", "bad"), "b")).plain == "ab"


def test_a_reader_who_left_is_no_error() -> None:
    root = Path(__file__).parents[2]
    code = "from tasks.view.console import out\nfor _ in range(3): out(['x' * 100000])\nprint('more')"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, stdout=write, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
