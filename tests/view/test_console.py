"""Text that fits, tables of it, and the only functions that print."""

import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tasks.core.redact import clean, conceal
from tasks.view import console


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.04, "0.0 s"),
        (-0.1, "0.0 s"),
        (9.96, "10.0 s"),
        (99.94, "99.9 s"),
        (99.96, "1 min 40 s"),
        (185, "3 min 05 s"),
        (3719.6, "1 h 02 min"),
    ],
)
def test_seconds_as_people_read_them(value: float, text: str) -> None:
    assert console.seconds(value) == text


def test_what_a_program_wrote_cannot_move_the_cursor_or_forge_a_line() -> None:
    assert clean("\x1b[31mred\x1b[0m \x1b]0;title\x07ok\r\nnext\x07\u202e") == "red ok  next  "


@pytest.mark.parametrize("width", range(12))
@pytest.mark.parametrize("text", ["", "abcdefghij", "日本語日本語", "e\u0301" * 9])
def test_what_is_cut_fits(text: str, width: int) -> None:
    short = console.cut(text, width)
    assert console.cells(short) <= width
    assert short in (text, "") or short.endswith("…")
    assert console.cells(console.pad(short, 20)) == 20


def test_commands_in_back_quotes_survive_wrapping() -> None:
    lines = console.wrap("remove it with `helm uninstall cert-manager -n cert-manager`, or else", 40, first="  do: ")
    assert lines[0] == "  do: remove it with"
    assert "      `helm uninstall cert-manager -n cert-manager`," in lines
    assert console.wrap("a\nb", None, first="> ") == ["> a", "  b"]
    assert console.wrap("", 40, first="> ") == [">"]


@pytest.mark.parametrize("width", range(14))
def test_a_line_that_is_fitted_keeps_its_meanings(width: int) -> None:
    whole = console.line(("good", "good"), " and ", ("bad", "bad"))
    short = whole.fitted(width)
    assert short.text == console.cut(whole.text, width)
    assert all(style == "good" for text, style in short.parts if text in "good")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", console.UNICODE),
        ("ascii", console.ASCII),
        ("latin-1", console.ASCII),
        (None, console.ASCII),
        ("no-such", console.ASCII),
    ],
)
def test_an_encoding_without_our_signs_gets_plain_ones(encoding: str | None, expected: object) -> None:
    assert console.marks(encoding) is expected


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (40, "helm: argo, helm: cert, health"),
        (29, "helm: argo and 2 more"),
        (33, "helm: argo, helm: cert, health"),
        (21, "helm: argo and 2 more"),
        (20, "helm: ar… and 2 more"),
        (18, ""),
        (0, ""),
    ],
)
def test_whole_names_as_many_as_fit(room: int, text: str) -> None:
    found = console.listed(["helm: argo", "helm: cert", "health"], room)
    assert found == text
    assert console.cells(found) <= room


@pytest.mark.parametrize("width", [8, 12, 20, 40])
def test_with_broken_words_no_line_is_too_long(width: int) -> None:
    text = "registry.example.org/openframe/a-very-long-name and `helm: fetch a/b 1.0 s`"
    lines = console.wrap(text, width, first="  a ", rest="    ", break_words=True)
    assert max(console.cells(each) for each in lines) <= width
    assert "".join("".join(lines).split()) == "a" + "".join(text.split())


def test_lines_go_where_they_belong(capsys: pytest.CaptureFixture[str]) -> None:
    console.out(["a", console.line(("b", "good"))])
    console.err(["c"])
    assert capsys.readouterr() == ("a\nb\n", "c\n")


def test_nothing_secret_is_printed_not_even_across_two_parts(capsys: pytest.CaptureFixture[str]) -> None:
    conceal("correct-horse")
    console.out(["x correct-horse y", console.line(("corr", "good"), "ect-horse")])
    assert capsys.readouterr().out == "x *** y\n***\n"


@pytest.mark.parametrize("width", [None, *range(12, 40)])
def test_no_half_of_a_secret_is_shown_where_a_line_is_cut(width: int | None) -> None:
    conceal("correct-horse-battery")
    output = str(console.line("step").followed("it says correct-horse-battery", "dim", width))
    assert "corr" not in output


@pytest.mark.parametrize("github", [True, False])
def test_inert_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], github: bool) -> None:
    """Neither by a terminal nor by GitHub's runner, which reads both streams; its commands have a way of their own."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true" if github else "")
    text = "a::b\n\t::add-mask::x ##[set-output name=y]z\n\x1b]0;title\x07\x9b2Jb\r"
    shown = "a::b\n\t: :add-mask::x ## [set-output name=y]z\n" if github else text.partition("\x1b")[0]
    console.out([text, console.line("::stop-commands::t")])
    console.err([text])
    console.command("::error::a")
    printed = capsys.readouterr()
    last = ": :stop-commands::t" if github else "::stop-commands::t"
    assert printed.out == f"{shown} ]0;title  2Jb \n{last}\n::error::a\n"
    assert printed.err == f"{shown} ]0;title  2Jb \n"


def test_what_an_encoding_lacks_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.out(["naïve ✓", "\udcff"])
    assert raw.getvalue() == b"na?ve ?\n?\n"


def test_a_terminal_gets_colours_and_literal_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    console.out([console.line(("ok", "good"), " [red]:smile: " + "x" * 200)])
    assert "\x1b[32mok\x1b[0m [red]:smile: " in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1
    monkeypatch.setenv("NO_COLOR", "1")
    console.out([console.line(("plain", "good"))])
    assert terminal.getvalue().endswith("\nplain\n")


def test_every_meaning_is_a_style_of_rich() -> None:
    from rich.style import Style

    for style in console.STYLES.values():
        assert Style.parse(style) is not None
    assert console.as_text(console.line(("a", "bad"), "b")).plain == "ab"


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


ROWS = [["cluster", "ok", "openframe-dev runs with 1 server and 4 agents"], ["registry", "absent", "日本語"]]
HEAD = ("what", "state", "detail")


def test_columns_are_aligned() -> None:
    assert console.table(ROWS, head=HEAD) == [
        "what      state   detail",
        "--------  ------  ---------------------------------------------",
        "cluster   ok      openframe-dev runs with 1 server and 4 agents",
        "registry  absent  日本語",
    ]
    assert console.table([["a", "1"], ["b", "22"]], right=(1,)) == ["a   1", "b  22"]


@pytest.mark.parametrize("width", [24, 30, 40, 80, 160])
def test_it_fits_and_nothing_is_lost(width: int) -> None:
    lines = console.table(ROWS, head=HEAD, width=width)
    assert max(console.cells(shown) for shown in lines) <= width
    shown, desired = Counter("".join(lines)), Counter("".join(cell for row in ROWS for cell in row))
    del desired[" "]
    assert desired <= shown


def test_where_columns_cannot_fit_each_row_is_a_block() -> None:
    assert console.table([["a" * 12, "b" * 12, ""]], head=("one", "two", "three"), width=20) == [
        "one: aaaaaaaaaaaa",
        "two: bbbbbbbbbbbb",
    ]


def test_long_words_are_broken_and_control_characters_dropped() -> None:
    assert console.table([["x", "y" * 25 + "\x1b[31m"]], width=20) == ["x  " + "y" * 17, "   " + "y" * 8]


def test_a_name_that_is_copied_is_never_broken() -> None:
    row = ["n" * 15, "b" * 15]
    assert console.table([row], width=27, whole=(0,)) == ["n" * 15 + "  " + "b" * 10, " " * 17 + "b" * 5]
    assert console.table([row], head=("name", "b"), width=24, whole=(0,)) == ["name: " + "n" * 15, "b: " + "b" * 15]


def test_odd_tables() -> None:
    assert console.table([]) == []
    assert console.table([], head=("a",)) == ["a", "-"]
    with pytest.raises(ValueError, match="2 cells"):
        console.table([["a", "b"], ["c"]])


def test_words_are_broken_only_where_nothing_else_gives_way() -> None:
    row = ["a name of many words here", "k3d-openframe-cache-docker"]
    assert console.table([row], width=40) == ["a name of     k3d-openframe-cache-docker", "many words", "here"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")  # noqa: PTH110 - a device
def test_a_full_disk_is_told_and_leaves_nothing_that_python_would_flush() -> None:
    program = """
import sys
from tasks.core.errors import LaunchError
from tasks.view.console import err, out
try:
    out(["x"])
except LaunchError as error:
    err([str(error)])
out(["y"])
"""
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 0
    assert "could not be written\n  why: No space left on device" in done.stderr
