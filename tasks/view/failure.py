"""The lines that end a run which did not go well: which step failed, why, what to do, and what did not run."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Iterator

from tasks.core.errors import LaunchError
from tasks.core.files import file_name
from tasks.core.redact import redact
from tasks.engine.record import RunRecord
from tasks.engine.step import Result, State
from tasks.process.command import CommandFailed
from tasks.view.console import UNICODE, Line, Marks, count, line, seconds, some, wrap
from tasks.view.summary import Ending, notes


def failure(ending: Ending, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """The lines that end a run which failed or was interrupted; several failures in their order."""
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
        lines += [line("What was made stays for inspection. To look at it:"), line(f"  {ending.inspect}")]
    return lines


def refusal(error: LaunchError, *, width: int | None = None, marks: Marks = UNICODE) -> list[Line]:
    """An expected error outside a run: what happened, why, what to do."""
    head = _wrap(error.what, width, first=f"{marks.failed} ", rest="  ")
    lines = [line((text, "bad")) for text in head]
    if isinstance(error, CommandFailed):
        lines += _command(error, error.what, marks)
    return lines + _why_and_fix(error.why, error.fix, width)


def _one(result: Result, ending: Ending, lost: list[str], width: int | None, marks: Marks) -> list[Line]:
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
        lines += [line(f"  {text}") for text in _trace(error)]
        lines += _why_and_fix("", "this is a fault of the program: please report it with these lines", width)
    if cause is not None:
        lines += _why_and_fix(cause.why, cause.fix, width)
    if ending.logs is not None and (log := ending.logs / f"{file_name(result.name)}.log").exists():
        lines.append(line(("  log:  ", "dim"), shlex.quote(str(log))))
    if lost:
        lines += [line((text, "dim")) for text in wrap(f"not run because of it: {some(lost, 4)}", width, first="  ")]
    return lines


def _command(error: CommandFailed, said: str, marks: Marks) -> list[Line]:
    """The command in pasteable form, and its last lines unless what was `said` of it holds them all."""
    tail = error.tail()
    if len(tail) == 1 and tail[0].strip() in said:
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
    """As `wrap`, masked before: a secret that a line's end has cut in two would not be found any more."""
    return wrap(redact(text), width, first=first, rest=rest)


def _failed_command(error: BaseException | None) -> CommandFailed | None:
    """The command behind an error: a recognised cause is kept on the command's own failure."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, CommandFailed):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _trace(error: BaseException) -> Iterator[str]:
    for part in traceback.format_exception(error):
        yield from part.rstrip().splitlines()


def _followers(result: Result, run: RunRecord) -> list[str]:
    """What did not run because it needs this step, at any remove; in the plan's order."""
    lost = {result.name}
    pending = [r for r in run.results if r.state is State.ABORTED]
    found = True
    while found:
        more = [r.name for r in pending if r.name not in lost and lost.intersection(r.needs)]
        lost.update(more)
        found = bool(more)
    return [r.name for r in pending if r.name in lost]


def _verdict(run: RunRecord, lost: int) -> Line:
    """How the run as a whole ended, and that it can be gone on with."""
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
    again = "make tools" if run.task == "tools" else f"invoke {run.task}"  # that one is no task of invoke's
    goes_on = f"; `{again}` goes on from here" if good or stopped else ""
    return line((f"{run.task} {how} after {seconds(run.wall_s)}", "strong"), f": {', '.join(parts)}{goes_on}")
