"""GitHub Actions: plain lines while it runs, then an annotation for each failure, and a job summary.

Workflow commands and their escapes: GitHub's documentation, "Workflow commands for GitHub Actions".
"""

import contextlib
from pathlib import Path

from tasks.core.redact import clean, redact
from tasks.engine.step import Result, State
from tasks.view.console import UNICODE, command, seconds
from tasks.view.launch import Launch, Plain
from tasks.view.summary import Summary, timed


class GitHub(Plain):
    """Plain lines, and annotations and a summary for GitHub Actions."""

    def __init__(self, launch: Launch, *, summary_file: Path | None = None) -> None:
        super().__init__(launch)
        self._summary_file = summary_file

    def conclude(self, ending: Summary) -> None:
        """Summary or failure as text, then annotations and the job's summary."""
        super().conclude(ending)
        for result in ending.run.failed:
            command(annotation(result, ending.run.task))
        if self._summary_file is not None:
            text = redact("\n".join(job_summary(ending)) + "\n")
            with contextlib.suppress(OSError), self._summary_file.open("a", encoding="utf-8") as file:
                file.write(text)


def annotation(result: Result, task: str) -> str:
    """One `::error` line: what happened, why, what to do."""
    cause = result.error
    texts = [getattr(cause, "what", "") or result.why]
    texts += [f"{label}: {text}" for label in ("why", "fix") if (text := getattr(cause, label, ""))]
    title = escape_property(clean(f"{task}: {result.name} failed"))
    data = escape("\n".join(texts))
    return f"::error title={title}::{data}"


def escape(text: str) -> str:
    """The data of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """A property of a command."""
    return escape(text).replace(":", "%3A").replace(",", "%2C")


def job_summary(ending: Summary) -> list[str]:
    """The run as Markdown."""
    run = ending.run
    states = ", ".join(f"{number} {state.value}" for state in State if (number := run.count(state)))
    mark = UNICODE.ran if run.good else UNICODE.failed
    path = f" {UNICODE.arrow} ".join(f"{name} {seconds(took)}" for name, took in timed(run.path))
    lines = [f"### {mark} {_cell(run.task)}: {'done' if run.good else run.outcome} in {seconds(run.wall_s)}", ""]
    lines += [_cell(ending.note), ""] if ending.note else []
    lines += [f"- {_cell(each)}" for each in run.notes] + [""] * bool(run.notes)
    pairs = [
        ("Total", seconds(run.wall_s)),
        ("Longest chain of needs", seconds(run.floor_s)),
        ("Critical path", path),
        ("Concurrently", f"{run.concurrently:.1f} steps on the average"),
        ("Steps", states),
    ]
    lines += ["| | |", "| --- | --- |", *[f"| {name} | {_cell(text)} |" for name, text in pairs], ""]
    lines += ["<details><summary>All steps</summary>", "", "| Step | State | Start | Time | Why |"]
    lines.append("| --- | --- | ---: | ---: | --- |")
    lines += [_row(result) for result in run.results]
    return [*lines, "", "</details>", ""]


def _row(result: Result) -> str:
    start = seconds(result.start_s) if result.start_s is not None and result.state is not State.SKIPPED else ""
    time = seconds(result.seconds) if start else ""
    return f"| {_cell(result.name)} | {result.state.value} | {start} | {time} | {_cell(result.why)} |"


def _cell(text: str) -> str:
    """Text escaped for one cell of a Markdown table."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|~":
        text = text.replace(sign, f"\\{sign}")
    return text
