"""The last lines of a run: after success its total and what would shorten it; otherwise what failed, and why."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.core.errors import LaunchError, some
from tasks.core.files import file_name
from tasks.core.redact import redact
from tasks.core.units import count
from tasks.engine.step import Result, State
from tasks.process.command import CommandFailed
from tasks.settings.derived import setting_of
from tasks.view.console import PIPED, UNICODE, Line, Marks, cells, chain, line, seconds, wrap

if TYPE_CHECKING:
    from tasks.engine.record import RunRecord

_LABEL = 16
_NARROW = 44
"""Columns below which a label has a line of its own."""
_PATH_LINES = 6
"""Steps of a long critical path that are named, the longest: the summary must fit a screen."""
_NAMED = 0.05
"""Seconds below which a step of the critical path is not named."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A finished run, and what its task adds to the record."""

    run: RunRecord
    inspect: str = ""
    """The command to inspect what a failed run has left."""
    logs: Path | None = None
    """The folder with a log for each step."""
    note: str = ""
    """Shown in every view, such as that nothing real was created."""
    access: Sequence[tuple[str, str]] = ()
    """Labels and texts: what is running now, and how to reach it."""


def summary(ending: Summary, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """The last lines of a successful run; one line if everything was done already."""
    run = ending.run
    ran, skipped = run.count(State.RAN), run.count(State.SKIPPED)
    if skipped == len(run.results):
        what = count(skipped, "step") + " skipped" if run.results else "no steps"
        message = _head(marks, f"{run.task}: nothing to do", f": {what} ({seconds(run.wall_s)})", width)
        return [*_note(ending, width), *message, *notes(ending, width), *entries(ending.access, width)]
    steps = count(ran, "step") + " ran" + (f", {skipped} skipped" if skipped else "")
    lines = [*_note(ending, width), *_head(marks, f"{run.task} took {seconds(run.wall_s)}", f": {steps}", width)]
    lines += notes(ending, width)
    if ran < 2:
        return [*lines, *entries(ending.access, width)]
    share = f"{min(1.0, run.floor_s / run.wall_s):.0%}" if run.wall_s > 0 else "all"
    lines += _entry("longest chain", f"{seconds(run.floor_s)}, {share} of the total", width)
    lines += _path(timed(run.path), width or PIPED, marks)
    lines += _entry("took longest", chain(timed(run.busy[:3]), ", ", _columns(width)), width)
    work = f"{run.concurrently:.1f} steps on average ({seconds(run.busy_s)} in {seconds(run.wall_s)})"
    lines += _entry("concurrently", work, width)
    if run.queued_s >= max(0.5, run.wall_s * 0.02):
        lines += _entry("queued", _queued(run), width)
    if text := hint(run):
        lines += _entry("next", text, width)
    return [*lines, *([line()] if ending.access else []), *entries(ending.access, width)]


def entries(rows: Sequence[tuple[str, str]], width: int | None) -> list[Line]:
    """Labels and texts, one entry each; a command in backquotes is not wrapped, and loses its quotes."""
    return [each for label, text in rows for each in _entry(label, redact(text), width, commands=True)]


def notes(ending: Summary, width: int | None) -> list[Line]:
    """Notes of successful steps for the user, one entry each."""
    return [each for note in ending.run.notes for each in _entry("note", redact(note), width)]


def hint(run: RunRecord) -> str:
    """The one change that would help most, or nothing for a run too short to gain from it."""
    queued = run.queued_by(run.path)
    if queued and sum(queued.values()) >= max(0.5, run.wall_s * 0.1):
        bound, waited = max(queued.items(), key=lambda item: item[1])
        return f"the critical path queued {seconds(waited)} for a place; a larger {setting_of(bound)} may help"
    again = [r.name for r in run.results if r.attempts > 1 and r.seconds > 0 and r.name not in run.guards]
    if again:
        return f"{some(again)} needed more than one attempt; the logs show why"
    longest = max(run.path, key=lambda r: r.seconds, default=None)
    if longest is None or run.wall_s < 2:
        return ""
    if run.floor_s >= run.wall_s * 0.9 and longest.seconds >= run.wall_s * 0.3:
        return f"more concurrency cannot help; the longest chain determines the time, above all '{longest.name}'"
    return f"look at '{longest.name}' first: {seconds(longest.seconds)} of the total are spent in it"


def timed(results: Sequence[Result]) -> list[tuple[str, float]]:
    """Names and seconds of steps that took long enough to be named."""
    return [(r.name, r.seconds) for r in results if r.seconds >= _NAMED]


def _queued(run: RunRecord) -> str:
    queued = run.queued_by(run.acted)
    return ", ".join(f"{seconds(s)} by {setting_of(bound)}" for bound, s in sorted(queued.items(), key=lambda i: -i[1]))


def _note(ending: Summary, width: int | None) -> list[Line]:
    return [line((part, "warn")) for part in wrap(ending.note, width, break_words=True)] if ending.note else []


def _head(marks: Marks, what: str, more: str, width: int | None) -> list[Line]:
    """The first line; on a narrow screen, several."""
    whole = line((marks.ran, "good"), (f" {what}", "strong"), more)
    if width is None or cells(whole.text) <= width:
        return [whole]
    mark = f"{marks.ran} "
    parts = wrap(what + more, width, first=mark, rest="  ", break_words=True)
    return [line((part[: len(mark)], "good"), (part[len(mark) :], "strong")) for part in parts]


def _path(pairs: list[tuple[str, float]], width: int, marks: Marks) -> Sequence[Line]:
    for kept in range(len(pairs), 0, -1):
        least = sorted(took for _, took in pairs)[len(pairs) - kept]
        shown = [pair for pair in pairs if pair[1] >= least]
        left = f" ({count(len(pairs) - len(shown), 'shorter step')} left out)" if len(shown) < len(pairs) else ""
        lines = _entry("critical path", chain(shown, f" {marks.arrow} ", _columns(width)) + left, width)
        if len(lines) <= _PATH_LINES or len(shown) <= 3:
            return lines
    return ()


def _columns(width: int | None) -> int | None:
    """Columns for texts after, or on a narrow screen below, their labels."""
    return None if width is None else width - (_LABEL if width >= _NARROW else 4)


def _entry(label: str, text: str, width: int | None, *, commands: bool = False) -> Sequence[Line]:
    """`commands`: texts in backquotes are not broken."""
    quoted = commands or label in ("critical path", "took longest")
    if width is not None and width < _NARROW:
        parts = wrap(text, width, first=" " * 4, break_words=not commands)
        texts = [part.replace("`", "") if quoted else part for part in parts]
        return [line((f"  {label}", "dim")), *[line(part) for part in texts]]
    parts = wrap(text, width, first=f"  {label:<{_LABEL - 2}}", rest=" " * _LABEL, break_words=not commands)
    texts = [part.replace("`", "") if quoted else part for part in parts]
    return [line((part[:_LABEL], "dim"), part[_LABEL:]) for part in texts]


def failure(ending: Summary, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """The last lines of a failed or interrupted run; several failures in order."""
    run = ending.run
    lines = [line((ending.note, "warn"))] if ending.note else []
    named: set[str] = set()
    for result in run.failed:
        lost = [name for name in _followers(result, run) if name not in named]
        named.update(lost)
        lines += [*_one(result, ending, lost, width, marks), line()]
    lines += notes(ending, width)
    lines.append(_verdict(run, len(named)))
    if ending.inspect:
        left = "What was created stays for inspection" if run.task != "down" else "The rest was not removed"
        lines += [line(f"{left}. To look at it:"), line(f"  {ending.inspect}")]
    return lines


def refusal(error: LaunchError, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """An expected error outside a run: what happened, why, what to do."""
    head = _wrap(error.what, width, first=f"{marks.failed} ", rest="  ")
    lines = [line((text, "bad")) for text in head]
    if isinstance(error, CommandFailed):
        lines += _command(error, error.what, marks)
    return lines + _why_and_fix(error.why, error.fix, width)


def _one(result: Result, ending: Summary, lost: list[str], width: int | None, marks: Marks) -> list[Line]:
    tries = f", at attempt {result.attempts}" if result.attempts > 1 else ""
    lines = [
        line((f"{marks.failed} {result.name}", "bad"), (f" failed after {seconds(result.seconds)}{tries}", "strong"))
    ]
    error = result.error
    cause = error if isinstance(error, LaunchError) else None
    what = cause.what if cause is not None else result.why
    lines += [line(text) for text in _wrap(what, width, first="  ")]
    command = _failed_command(error)
    if command is not None:
        lines += _command(command, what, marks)
    elif cause is None and error is not None:
        trace = "".join(traceback.format_exception(error))
        lines += [line(f"  {text}") for text in trace.splitlines()]
        lines += _why_and_fix("", "this is a bug: please report it with these lines", width)
    if cause is not None:
        lines += _why_and_fix(cause.why, cause.fix, width)
    if ending.logs is not None and (log := ending.logs / f"{file_name(result.name)}.log").exists():
        lines.append(line(("  log:  ", "dim"), shlex.quote(str(log))))
    if lost:
        lines += [line((text, "dim")) for text in wrap(f"not run because of it: {some(lost, 4)}", width, first="  ")]
    return lines


def _command(error: CommandFailed, message: str, marks: Marks) -> list[Line]:
    """The command in pasteable form, and its last lines unless `message` contains them all."""
    tail = error.tail()
    if len(tail) == 1 and tail[0].strip() in message:
        tail = []
    shown = [line((f"  {marks.bar} ", "dim"), text) for text in tail]
    first, *rest = error.done.command.paste().split("\n")  # an argument may have several lines
    return [line(("  $ ", "dim"), first), *[line(text) for text in rest], *shown]


def _why_and_fix(why: str, fix: str, width: int | None) -> list[Line]:
    lines = [line((text[:8], "dim"), text[8:]) for text in _wrap(why, width, first="  why:  ")] if why else []
    if fix:
        lines += [line((text[:8], "good"), text[8:]) for text in _wrap(fix, width, first="  do:   ")]
    return lines


def _wrap(text: str, width: int | None, first: str, rest: str | None = None) -> list[str]:
    """As `wrap`, masked first: a secret split at a line's end would not be recognised."""
    return wrap(redact(text), width, first=first, rest=rest)


def _failed_command(error: BaseException | None) -> CommandFailed | None:
    """The failed command behind an error; a recognised cause is attached to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, CommandFailed):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _followers(result: Result, run: RunRecord) -> list[str]:
    """Steps that did not run because they need this one, directly or not; in the plan's order."""
    lost = {result.name}
    pending = [r for r in run.results if r.state is State.ABORTED]
    found = True
    while found:
        more = [r.name for r in pending if r.name not in lost and lost.intersection(r.needs)]
        lost.update(more)
        found = bool(more)
    return [r.name for r in pending if r.name in lost]


def _verdict(run: RunRecord, lost: int) -> Line:
    """How the run as a whole ended, and whether it can be continued."""
    ended = [r for r in run.results if r.state is State.ABORTED and r.name not in run.guards]
    stopped = sum(r.start_s is not None for r in ended)
    waiting = len(ended) - stopped - (lost if run.failed else 0)
    good = run.count(State.RAN) + run.count(State.SKIPPED)
    parts = [f"{good} of {count(len(run.results), 'step')} done"]
    if stopped:
        parts.append(f"{stopped} stopped")
    if waiting > 0:
        parts.append(f"{waiting}{' more' if lost else ''} not begun")
    how = "was interrupted" if run.outcome == "interrupted" else "failed"
    again = "make tools" if run.task == "tools" else f"invoke {run.task}"  # that is not a task of invoke
    goes_on = f"; `{again}` continues from here" if good or stopped else ""
    return line((f"{run.task} {how} after {seconds(run.wall_s)}", "strong"), f": {', '.join(parts)}{goes_on}")
