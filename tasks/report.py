"""`invoke report`: a recorded run as text, page and trace; two of them compared; all of them over time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.core.files import write_whole
from tasks.core.paths import output_file
from tasks.engine.estimate import history_file, load
from tasks.run.task import check_format, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.run.session import Session
    from tasks.runs.compare import Comparison
    from tasks.view.console import Line


@task(
    "profile",
    "set",
    help={
        "run": "latest, a task, a run's name or prefix, or a path; with --history a task",
        "against": "compare with that run; previous: the launch before it",
        "html": "write the page to this file or folder (default: next to the record)",
        "trace": "write a trace for Perfetto to this file or folder",
        "history": "totals of all runs over time instead",
        "format": "text or json",
    },
    values={"run": "tasks.run.completion:runs", "against": "tasks.run.completion:runs"},
)
def report(
    session: Session,
    run: str = "",
    against: str = "",
    html: str = "",
    trace: str = "",
    history: bool = False,
    format: str = "text",  # noqa: A002 - the option's name
) -> int:
    """Show where a run's time went: as text, page and trace, or against another run."""
    check_format(format)
    if not history:
        return _one(session, run, against, html, trace, form=format)
    for option, value in (("--against", against), ("--trace", trace)):
        if value:
            raise BadInput(f"{option} has no meaning with --history", why="it is for one run", fix="omit one of them")
    return _history(session, run, html, form=format)


def _one(session: Session, name: str, against: str, html: str, trace: str, *, form: str) -> int:
    from tasks.runs.catalogue import PREVIOUS, before, every, find, logs_of, read
    from tasks.runs.compare import compare
    from tasks.runs.document import document
    from tasks.runs.page import html as page
    from tasks.runs.text import text
    from tasks.runs.trace import trace_text

    log_dir = Path(session.settings.log_dir)
    found = find(log_dir, name)
    run = read(found)
    logs = logs_of(found, run)
    both: Comparison | None = None
    beside = found.name
    if against:
        other = read(before(log_dir, run) if against == PREVIOUS else find(log_dir, against))
        both = compare(other, run, every(log_dir))  # the range of totals comes from all others
        beside = f"{found.name}-against-{other.name}"
    written = {}
    if html or form == "text":  # default: beside its record
        written["page"] = _write(
            html or str(found.path.with_name(f"{beside}.html")), f"{found.name}.html", page(run, logs, both)
        )
    if trace:
        written["trace"] = _write(trace, f"{found.name}.trace.json", trace_text(run, logs))
    if form == "json":
        _out_json(document(run, logs, both), written)
    else:
        _out(text(run, logs, both, **_terminal()), written)
    return 0


def _history(session: Session, name: str, html: str, *, form: str) -> int:
    from tasks.runs.catalogue import every, find
    from tasks.runs.document import history
    from tasks.runs.history import history_text, trend
    from tasks.runs.page import history_html

    log_dir = Path(session.settings.log_dir)
    runs = every(log_dir)
    if not name and not runs:
        find(log_dir, "")  # raises the error that there is none
    if name:
        runs = [run for run in runs if run.task == name]
        if not runs:
            raise BadInput(
                f"no run of a task '{name}' is recorded below {log_dir}",
                why="with --history, --run names a task",
                fix="leave --run out to see all",
            )
    points = trend(runs)
    past = history_file(session.environ)
    engines = dict.fromkeys(run.engine for run in runs)
    guards = {name for run in runs for name in run.guards}  # they last as long as the run, so no estimate
    expected = {
        engine: {name: took for name, took in steps.items() if name not in guards}
        for engine in engines
        if (steps := load(past, engine))
    }
    written = {}
    if html:
        written["page"] = _write(html, "history.html", history_html(points, expected))
    if form == "json":
        _out_json(history(points, expected), written)
    else:
        _out(history_text(points, expected, **_terminal()), written)
    return 0


def _write(given: str, name: str, content: str) -> str:
    """Write a file, or one called `name` into a folder; returns its path. Raises `BadInput`."""
    path = output_file(given)
    if path.is_dir():
        path /= name
    try:
        write_whole(path, content)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            fix="use a file in an existing, writable folder: --html PATH, --trace PATH",
        ) from None
    return str(path)


def _out_json(made: dict[str, Any], written: dict[str, str]) -> None:
    from tasks.view.console import out

    out([json.dumps({**made, "written": written}, indent=1, ensure_ascii=False)])


def _out(lines: Sequence[Line | str], written: dict[str, str]) -> None:
    from tasks.view.console import out

    places = [f"{what:<6}{path}" for what, path in written.items()]
    out([*lines, *(["", *places] if places else [])])


def _terminal() -> dict[str, Any]:
    """Width and marks of standard output."""
    from tasks.view.console import marks, width_of

    return {"width": width_of(sys.stdout), "marks": marks(sys.stdout.encoding)}
