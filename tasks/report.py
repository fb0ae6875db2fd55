"""`invoke report`: a recorded run as text, page and trace; two of them side by side; all of them over time."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadInput
from tasks.core.files import write_whole
from tasks.run.session import Session
from tasks.runs.catalogue import PREVIOUS, Recorded, before, every, find, read
from tasks.runs.compare import Comparison, compare
from tasks.runs.recorded import Run

if TYPE_CHECKING:
    from tasks.view.console import Line


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was asked for; empty: nothing of that kind."""

    run: str = ""
    against: str = ""
    html: str = ""
    trace: str = ""
    form: str = "text"


def report(session: Session, wanted: Wanted, *, history: bool) -> int:
    """Show it, and write the page and the trace. Raises `BadInput`."""
    if wanted.form not in ("text", "json"):
        raise BadInput(f"--format is '{wanted.form}'", why="there are two", fix="use text or json")
    return _history(session, wanted) if history else _one(session, wanted)


def _one(session: Session, wanted: Wanted) -> int:
    from tasks.runs.document import document
    from tasks.runs.page import html
    from tasks.runs.text import text
    from tasks.runs.trace import trace_text

    log_dir = Path(session.settings.log_dir).expanduser()
    found = find(log_dir, wanted.run)
    run = read(found)
    both = _against(log_dir, run, wanted.against) if wanted.against else None
    written = {}
    page = wanted.html or (str(_beside(found, both)) if wanted.form == "text" else "")
    if page:
        written["page"] = _write(page, f"{found.name}.html", html(run, both))
    if wanted.trace:
        written["trace"] = _write(wanted.trace, f"{found.name}.trace.json", trace_text(run))
    if wanted.form == "json":
        _tell_json(document(run, both), written)
    else:
        _tell(text(run, both, width=_width(), marks=_marks()), written)
    return 0


def _history(session: Session, wanted: Wanted) -> int:
    from tasks.engine.history import history_file, load
    from tasks.runs.document import history
    from tasks.runs.history import past_text, trend
    from tasks.runs.history_page import past_html

    for option, value in (("--against", wanted.against), ("--trace", wanted.trace)):
        if value:
            raise BadInput(f"{option} has no meaning with --history", why="it is about one run", fix="leave one out")
    log_dir = Path(session.settings.log_dir).expanduser()
    runs = every(log_dir)
    if not wanted.run and not runs:
        find(log_dir, "")  # says that there is none
    if wanted.run:
        runs = [run for run in runs if run.task == wanted.run]
        if not runs:
            raise BadInput(
                f"no run of a task '{wanted.run}' is recorded below {log_dir}",
                why="with --history, --run names a task",
                fix="leave --run out to see all",
            )
    points = trend(runs)
    past = history_file(session.environ)
    engines = dict.fromkeys(run.engine for run in runs)
    guards = {row.name for run in runs for row in run.guards}  # they last as long as the run: nothing to expect
    expected = {
        engine: {name: took for name, took in steps.items() if name not in guards}
        for engine in engines
        if (steps := load(past, engine))
    }
    written = {}
    if wanted.html:
        written["page"] = _write(wanted.html, "history.html", past_html(points, expected))
    if wanted.form == "json":
        _tell_json(history(points, expected), written)
    else:
        _tell(past_text(points, expected, width=_width(), marks=_marks()), written)
    return 0


def _against(log_dir: Path, run: Run, given: str) -> Comparison:
    """Hold a run against another; what totals vary by is read from all others."""
    other = read(before(log_dir, run) if given == PREVIOUS else find(log_dir, given))
    return compare(other, run, every(log_dir))


def _beside(found: Recorded, both: Comparison | None) -> Path:
    """Where a page goes that no place was named for: next to its record."""
    name = found.name if both is None else f"{found.name}-against-{both.before.name}"
    return found.path.with_name(f"{name}.html")


def _write(given: str, name: str, content: str) -> str:
    """Write a file, or one called `name` into a folder; its path. Raises `BadInput`."""
    path = Path(given).expanduser().absolute()
    if path.is_dir():
        path /= name
    try:
        write_whole(path, content)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written",
            why=error.strerror or str(error),
            fix="name a file in a folder that exists and may be written to: --html PATH, --trace PATH",
        ) from None
    return str(path)


def _tell_json(made: dict[str, Any], written: dict[str, str]) -> None:
    from tasks.view.console import out

    out([json.dumps({**made, "written": written}, indent=1, ensure_ascii=False)])


def _tell(lines: Sequence[Line | str], written: dict[str, str]) -> None:
    from tasks.view.console import out

    told = [f"{what:<6}{path}" for what, path in written.items()]
    out([*lines, *(["", *told] if told else [])])


def _width() -> int | None:
    from tasks.view.console import width_of

    return width_of(sys.stdout)


def _marks() -> Any:  # noqa: ANN401 - `Marks`
    from tasks.view.console import marks

    return marks(sys.stdout.encoding)
