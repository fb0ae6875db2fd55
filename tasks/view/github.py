"""GitHub Actions: plain lines while it runs, then an annotation and a log for each failure, and a job summary.

Workflow commands and their escapes: GitHub's documentation, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasks.core.files import file_name
from tasks.core.redact import redact
from tasks.core.units import KIB
from tasks.engine.step import Result, State
from tasks.view.console import UNICODE, Line, clean, line, out, seconds
from tasks.view.figures import Ending, figures
from tasks.view.launch import Launch
from tasks.view.plain import Plain

_LAST_LINES = 200
_LAST_BYTES = 64 * KIB


class GitHub(Plain):
    """Plain lines, and what GitHub Actions makes of failures."""

    def __init__(self, launch: Launch, *, summary_file: Path | None = None) -> None:
        super().__init__(launch)
        self._summary_file = summary_file

    def _show(self, lines: Iterable[Line]) -> None:
        out(line(harmless(shown.text)) for shown in lines)

    def conclude(self, ending: Ending) -> None:
        """Summary or failure as text, then annotations, logs and the job's summary."""
        super().conclude(ending)
        for result in ending.failed:
            out([annotation(result, ending)])
            if lines := _log(result, ending.logs):
                out(group(f"log of {result.name}", lines, secrets.token_hex(16)))
        if self._summary_file is not None:
            text = redact("\n".join(job_summary(ending)) + "\n")
            with contextlib.suppress(OSError), self._summary_file.open("a", encoding="utf-8") as file:
                file.write(text)


def annotation(result: Result, ending: Ending) -> str:
    """One `::error` line: what happened, why, what to do."""
    cause = ending.causes.get(result.name) or result.error
    texts = [getattr(cause, "what", "") or result.why]
    texts += [f"{label}: {text}" for label in ("why", "fix") if (text := getattr(cause, label, ""))]
    title = escape_property(clean(f"{ending.task}: {result.name} failed"))
    data = escape("\n".join(texts))
    return f"::error title={title}::{data}"


def group(title: str, lines: Sequence[str], token: str) -> list[str]:
    """A folded part of the job's log. No line in it is taken for a command: the token alone ends that."""
    shown = [clean(text) for text in lines]
    return [f"::group::{escape(clean(title))}", f"::stop-commands::{token}", *shown, f"::{token}::", "::endgroup::"]


def harmless(text: str) -> str:
    """The text so that the runner takes no part of it for a command, in its new or its old form."""
    text = text.replace("##[", "## [")
    return text.replace("::", ": :", 1) if text.lstrip().startswith("::") else text


def escape(text: str) -> str:
    """The data of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """A property of a command."""
    return escape(text).replace(":", "%3A").replace(",", "%2C")


def job_summary(ending: Ending) -> list[str]:
    """The run as Markdown."""
    got = figures(ending.steps, ending.results, ending.wall_s)
    states = ", ".join(f"{number} {state.value}" for state, number in got.counts.items() if number)
    how = "interrupted" if ending.interrupted else "done" if ending.good else "failed"
    mark = UNICODE.ran if ending.good else UNICODE.failed
    path = f" {UNICODE.arrow} ".join(f"{name} {seconds(took)}" for name, took in got.path if took >= 0.05)
    lines = [f"### {mark} {_cell(ending.task)}: {how} in {seconds(ending.wall_s)}", ""]
    lines += [_cell(ending.note), ""] if ending.note else []
    lines += [f"- {_cell(each)}" for each in ending.notes] + [""] * bool(ending.notes)
    pairs = [
        ("Total", seconds(ending.wall_s)),
        ("Longest chain of needs", seconds(got.floor_s)),
        ("Critical path", path),
        ("Side by side", f"{got.concurrently:.1f} steps on the average"),
        ("Steps", states),
    ]
    lines += ["| | |", "| --- | --- |", *[f"| {name} | {_cell(text)} |" for name, text in pairs], ""]
    lines += ["<details><summary>All steps</summary>", "", "| Step | State | Start | Time | Why |"]
    lines.append("| --- | --- | ---: | ---: | --- |")
    lines += [_row(result) for result in ending.results]
    return [*lines, "", "</details>", ""]


def _row(result: Result) -> str:
    start = seconds(result.start_s) if result.start_s is not None and result.state is not State.SKIPPED else ""
    time = seconds(result.seconds) if start else ""
    return f"| {_cell(result.name)} | {result.state.value} | {start} | {time} | {_cell(result.why)} |"


def _cell(text: str) -> str:
    """Text that Markdown shows as it is, within one cell of a table."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|~":
        text = text.replace(sign, f"\\{sign}")
    return text


def _log(result: Result, folder: Path | None) -> list[str]:
    """The end of a step's log; nothing if there is none."""
    if folder is None:
        return []
    try:
        with (folder / f"{file_name(result.name)}.log").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LAST_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
    except OSError:
        return []
